"""The base with an adapter in it: 16-bit weights, one GGUF file, and what Ollama needs.

Merging is done in float32 on 16-bit weights, never on 4-bit ones, whose rounding the adapter would not survive.
"""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from clario.errors import InputError, ModelError
from clario.extraction import prompt
from clario.extraction.gguf_header import read_header
from clario.extraction.llama_model import SHOTS
from clario.paths import aside, sync_folder, write_atomically
from clario.training.convert import ARCHITECTURE, RECORD, Adapter, gguf_name, read_adapter, writing

KINDS: Final = {"f16": 1, "bf16": 32, "q8_0": 7}
"""How a merged GGUF may hold its matrices, with llama.cpp's number of that file type."""


def merge(folder: Path, base: str, output: Path) -> int:
    """Write the base with an adapter in it: bfloat16 weights and tokenizer; gives the number of merged modules.

    Args:
        base: a hub id, a folder or a GGUF file with weights of 16 bits, or that are read as such.
        output: a folder that is not there yet.

    Raises:
        InputError, ModelError: see `read_adapter`; or the base cannot be read, is quantised, or does not fit.
    """
    import torch

    from clario.training import base_model

    adapter = read_adapter(folder)
    if output.exists():
        raise InputError(f"{output} is there already; name a new folder")
    model = base_model.load(base, torch.float32)
    if not base.endswith(".gguf") and getattr(model.config, "quantization_config", None):
        raise ModelError(f"{base} is quantised, and merging would change what it says; name its 16-bit weights")
    _add(model, adapter)
    part = aside(output)
    try:
        _save(model, part)
        _save_tokenizer(base, part)
        (part / RECORD).write_text(json.dumps({"recipe": {"shots": adapter.shots}}), "utf-8")
        part.rename(output)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(output.parent)
    return len(adapter.pairs)


def _save(model: Any, folder: Path) -> None:
    """Weights and configuration. What is tied is written once; that a GGUF file was quantised holds no more."""
    import torch
    from safetensors.torch import save_file

    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    state = {name: weight for name, weight in model.state_dict().items() if name not in tied}
    folder.mkdir(parents=True)
    half = {name: weight.to(torch.bfloat16).contiguous() for name, weight in state.items()}
    save_file(half, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.config.dtype = torch.bfloat16
    model.config.save_pretrained(folder)


def _save_tokenizer(base: str, folder: Path) -> None:
    from transformers import AutoTokenizer

    path = Path(base)
    from_file = (str(path.parent), {"gguf_file": path.name}) if path.suffix == ".gguf" else (base, {})
    AutoTokenizer.from_pretrained(from_file[0], **from_file[1]).save_pretrained(folder)


def _add(model: Any, adapter: Adapter) -> None:
    import torch

    left = dict(adapter.pairs)
    with torch.no_grad():
        for module, part in model.named_modules():
            pair = left.pop(gguf_name(module) or "", None)
            if pair is None:
                continue
            change = torch.from_numpy(pair.product())
            if change.shape != part.weight.shape:
                raise ModelError(f"the adapter is another base's: {module} has other sizes; name the right one")
            part.weight += change
    if left:
        raise ModelError(f"the adapter is another base's: it has {len(left)} modules that this one lacks")


def write_gguf(merged: Path, base: Path, output: Path, kind: str = "q8_0") -> int:
    """Write a merged folder as one GGUF file; gives the number of its tensors.

    Tokenizer and settings are those of the base's GGUF file. GGUF holds the norms of Gemma with the 1 added that
    the model adds to them.

    Args:
        kind: of `KINDS`; norms are float32 always.

    Raises:
        InputError: no such folder, or no such kind.
        ModelError: the folder has other tensors than the base's file.
    """
    if kind not in KINDS:
        raise InputError(f"no kind {kind[:20]!r}; there are {', '.join(KINDS)}")
    tensors, wanted = _merged_tensors(merged), read_header(base).tensors
    shapes = {name: tuple(reversed(tensor.shape)) for name, tensor in tensors.items()}
    if shapes != wanted:
        raise ModelError(f"{merged} and {base} differ in {len(set(shapes.items()) ^ set(wanted.items()))} tensors")
    record = json.loads((merged / RECORD).read_text("utf-8")) if (merged / RECORD).exists() else {}
    with writing(output, ARCHITECTURE) as writer:
        _copy_metadata(writer, base)
        writer.add_file_type(KINDS[kind])
        writer.add_bool(SHOTS, bool(record.get("recipe", {}).get("shots", False)))
        for name, tensor in tensors.items():
            _add_tensor(writer, name, tensor, kind)
    return len(read_header(output).tensors)


def _merged_tensors(merged: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    files = sorted(merged.glob("*.safetensors"))
    if not files:
        raise InputError(f"{merged} has no weights; make it by 'clario train export ADAPTER --to merged'")
    tensors = {}
    for module, tensor in (pair for file in files for pair in load_file(file).items()):
        name = gguf_name(module.removesuffix(".weight"))
        if module == "lm_head.weight":  # tied to the embedding
            continue
        if name is None:
            raise ModelError(f"{module} has no place in a GGUF file of Gemma 3; nothing was written")
        values = tensor.float().numpy()
        tensors[name] = values + 1 if name.endswith("norm.weight") else values
    return tensors


def _copy_metadata(writer: Any, base: Path) -> None:
    from gguf import GGUFReader, GGUFValueType

    own = {"general.architecture", "general.file_type"}
    for name, field in GGUFReader(base).fields.items():
        if name.startswith("GGUF.") or name in own:
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind is GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, inner)


def _add_tensor(writer: Any, name: str, values: Any, kind: str) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if values.ndim < 2 or kind == "f16":
        writer.add_tensor(name, values.astype(np.float32 if values.ndim < 2 else np.float16))
        return
    stored = GGMLQuantizationType[kind.upper()]
    writer.add_tensor(name, quantize(values, stored), raw_dtype=stored)


# Ollama

_TEMPLATE: Final = (
    "{{- $system := .System }}{{ range .Messages }}"
    '{{ if eq .Role "user" }}<start_of_turn>user\n'
    '{{ if $system }}{{ $system }}\n\n{{ $system = "" }}{{ end }}{{ .Content }}<end_of_turn>\n'
    '{{ else if eq .Role "assistant" }}<start_of_turn>model\n{{ .Content }}<end_of_turn>\n{{ end }}'
    "{{ end }}<start_of_turn>model\n"
)


def modelfile(gguf: str, shots: bool) -> str:
    """An Ollama Modelfile of a merged GGUF file beside it, whose turns are those of `prompt.render`.

    Grammar: https://github.com/ollama/ollama/blob/main/docs/modelfile.md
    """
    shown = prompt.messages("", shots)[1:-1]
    lines = [f"FROM ./{gguf}", f'TEMPLATE """{_TEMPLATE}"""', f'SYSTEM """{prompt.SYSTEM}"""']
    lines += [f'MESSAGE {turn["role"]} """{turn["content"]}"""' for turn in shown]
    stops = [f"PARAMETER stop {prompt.END}", "PARAMETER temperature 0", "PARAMETER num_ctx 4096"]
    return "\n".join([*lines, *stops]) + "\n"


def write_ollama(merged: Path, base: Path, output: Path, kind: str = "q8_0") -> None:
    """Write a folder for `ollama create NAME -f Modelfile`; raises as `write_gguf`."""
    write_gguf(merged, base, output / "model.gguf", kind)
    shots = bool(read_header(output / "model.gguf").metadata.get(SHOTS))
    with write_atomically(output / "Modelfile") as file:
        file.write(modelfile("model.gguf", shots).encode())


def write_merged(adapter: Path, weights: str, base: Path, output: Path, kind: str, *, ollama: bool) -> None:
    """Merge an adapter and write a GGUF file, or the folder for Ollama; raises as `merge` and `write_gguf`."""
    with TemporaryDirectory(prefix="clario-merged-") as folder:
        merged = Path(folder) / "merged"
        merge(adapter, weights, merged)
        (write_ollama if ollama else write_gguf)(merged, base, output, kind)
