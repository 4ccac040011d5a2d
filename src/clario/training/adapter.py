"""The adapter: put on a base by PEFT, written in bfloat16 with what it was made from and a card that says so.

adapter_model.safetensors, adapter_config.json    as PEFT has them
clario.json                                       what `clario.extraction.gemma_model` wants to know
training.json, README.md                          what it was made from, and the card generated from that
"""

import json
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from clario import __version__
from clario.errors import ModelError
from clario.extraction.gemma_model import FACTS, fingerprint
from clario.paths import aside, sha256_of, sync_folder
from clario.training.recipes import Lora

RECORD: Final = "training.json"
CARD: Final = "README.md"
_WEIGHTS: Final = "adapter_model.safetensors"
_PACKAGES: Final = ("torch", "transformers", "peft", "safetensors", "numpy", "bitsandbytes")


def wrap(base: Any, told: Lora) -> Any:
    """The base with a LoRA on the projections that the recipe names; its own weights stay frozen.

    PEFT's `prepare_model_for_kbit_training` is not used: it turns embeddings into float32, which for Gemma 4 E4B
    alone is more than 10 GB.

    Raises:
        ModelError: the base has no such projections, or something else would learn.
    """
    import peft

    config = peft.LoraConfig(
        r=told.r, lora_alpha=told.alpha, lora_dropout=told.dropout, target_modules=told.targets(),
        bias="none", task_type="CAUSAL_LM",
    )  # fmt: skip
    try:
        model = peft.get_peft_model(base, config)
    except ValueError:
        raise ModelError("this base has none of the projections that the recipe names") from None
    odd = [n for n, p in model.named_parameters() if p.requires_grad and ".layers." not in n]
    if odd:
        raise ModelError(f"{odd[0]} would learn, which is no projection of a language-model layer")
    return model


def save(model: Any, folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Write the adapter beside its record and card, wholly or not at all; gives the record, completed."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    part = aside(folder)
    part.mkdir(parents=True)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    half = {name: weight.to("cpu", torch.bfloat16).contiguous() for name, weight in state.items()}
    save_file(half, part / _WEIGHTS, {"format": "pt"})
    (part / _WEIGHTS).chmod(0o644)
    config = model.peft_config["default"]
    config.inference_mode, config.base_model_name_or_path = True, record["base"]["name"]
    config.save_pretrained(part)
    found = {"adapter_sha256": sha256_of(part / _WEIGHTS), "versions": _versions()}
    complete = {"clario": __version__, **found, **record}
    facts = {
        "base_fingerprint": fingerprint(model.get_base_model()), "shots": record["recipe"]["shots"],
        **record["recipe"]["reading"],
    }  # fmt: skip
    (part / FACTS).write_text(json.dumps(facts) + "\n", "utf-8")
    (part / CARD).write_text(card(complete), "utf-8")
    (part / RECORD).write_text(json.dumps(complete, indent=1) + "\n", "utf-8")
    if folder.exists():
        shutil.rmtree(folder)
    part.rename(folder)
    sync_folder(folder.parent)
    return complete


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


_CARD: Final = """---
base_model: {base}
library_name: peft
pipeline_tag: text-generation
license: {license}
language: en
tags: [lora, medical, HPO, phenotype, patient-language]
---

# Clario LoRA for {base}

Extracts symptoms, tests, medicines, triggers and behaviours from what patients write, as JSON: quote, clinical
name, type, assertion. It gives no HPO ids: those come from Clario's ontology look-up. **Not a diagnosis**, nor a
medical device. Trained on synthetic diaries in English; what real patients write may be read worse.{smoke}

The prompt is that of `clario.extraction.prompt`{shots}. The base's licence holds for base and adapter together.

## Training
Recipe `{recipe}`: rank {r}, alpha {alpha}, dropout {dropout}, on {modules} of every language-model layer; base in
{quantization}; {optimizer}, rate {rate:g}, {schedule}; loss on the answers alone.

| | |
|---|---|
| steps | {steps:,} of {planned:,} planned, seed {seed} |
| examples | {examples} |
| tokens seen, padding included | {tokens:,} |
| weights that learned | {weights:,} |
| seconds | {seconds:,} on {device}{peak} |
| loss at the end, training | {last} |
| loss on the validation diaries | {validation} |
| HPO release of the labels | {release} |
| packages | {versions} |

| what | SHA-256 |
|---|---|
{hashes}

All of it, with the losses on the way, is in `training.json`.
"""


def card(record: dict[str, Any]) -> str:
    """The model card: nothing in it but what the record says."""
    recipe, data = record["recipe"], record["data"]
    lora, optimizer = recipe["lora"], recipe["optimizer"]
    last = record["losses"][-1] if record["losses"] else {}
    hashes = {"adapter": record["adapter_sha256"], "base": record["base"].get("sha256")}
    hashes |= {"prompt": data["prompt_sha256"], **data["sources"]}
    return _CARD.format(
        base=record["base"]["name"], license="gemma" if "gemma-3" in record["base"]["name"] else "other",
        smoke="\n\n**A smoke run: two steps, of no use.**" if record["smoke"] else "",
        shots=", with its two demonstrations" if recipe["shots"] else ", without the demonstrations",
        recipe=recipe["name"], r=lora["r"], alpha=lora["alpha"], dropout=lora["dropout"],
        modules=", ".join(lora["modules"]),
        quantization="4 bits (NF4, double quantisation)" if recipe["quantization"] == "nf4" else "16 bits",
        optimizer=optimizer["name"], rate=optimizer["rate"], schedule=optimizer["schedule"],
        steps=record["steps"], planned=record["planned_steps"], seed=record["seed"],
        examples=", ".join(f"{n:,} {kind}" for kind, n in data["counts"].items()),
        tokens=record["tokens"], weights=record["weights"], seconds=record["seconds"], device=record["device"],
        peak=f", at most {record['peak_gigabytes']} GB" if record["peak_gigabytes"] else "",
        last=", ".join(f"{kind} {loss:.3f}" for kind, loss in last.items() if kind != "step"),
        validation=", ".join(f"{one['loss']:.3f} (step {one['step']})" for one in record["validation"]),
        release=data["release"], versions=", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        hashes="\n".join(f"| {k} | {v} |" for k, v in hashes.items() if v),
    )  # fmt: skip
