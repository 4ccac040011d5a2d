"""Gemma 4 E4B's text model with random weights: what it costs to load, to read diaries with, and to train.

    python benchmarks/e4b.py [--json FILE] [--folder FOLDER] [--cap GIGABYTES] [--tiny]

Needs a CUDA GPU, bitsandbytes, and 16 GB in FOLDER for the weights in bfloat16, which are loaded in NF4 with an
adapter of the recipe clario-v2, as the product does. It reads diaries one at a time with eager attention, as the
reference does, and in batches; and trains 22 steps by the recipe, every example of the full length. Logits, and
an adapter's gradients, must be the same with a cache and without, with activations computed again and without. A
PyTorch that may allocate no more than `--cap` shows what fits; the rest of 16 GB is CUDA's. `--tiny` is a trial on
a CPU, without 4 bits. Ends with 1 if anything differs, or a goal is missed.
"""

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from clario.extraction.greedy import Free, Generator, cache_argument
from clario.training import adapter, answers, base_model, qlora, recipes
from clario.training.prepared import VALIDATION, Array, Examples, Prepared
from clario.training.recipes import Recipe

E4B: Final = {
    "vocab_size": 262_144, "vocab_size_per_layer_input": 262_144, "hidden_size": 2560, "intermediate_size": 10_240,
    "num_hidden_layers": 42, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256,
    "global_head_dim": 512, "num_kv_shared_layers": 18, "hidden_size_per_layer_input": 256, "sliding_window": 512,
    "final_logit_softcapping": 30.0,
}  # fmt: skip
TINY: Final = E4B | {
    "vocab_size": 1024, "vocab_size_per_layer_input": 1024, "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 12, "head_dim": 16, "global_head_dim": 32, "num_kv_shared_layers": 5,
    "hidden_size_per_layer_input": 8, "sliding_window": 32,
}  # fmt: skip
SPREAD: Final = 0.02
STEPS: Final = 22
MEMORY, TIMES = 16.0, 15.0
"""Goals: gigabytes at most, for reading eight at once and for training; and how much faster batches must be."""
SHARE: Final = 0.1  # of what another text changes, and more than rounding does in 42 layers of bfloat16


@dataclass(frozen=True, slots=True)
class Sizes:
    """The model, and tokens: of prompts and answers that are read, of a text that is compared, of its answer."""

    model: dict[str, Any]
    prompt: int
    new: int
    alone: int
    compared: int
    answer: int


FULL: Final = Sizes(E4B, prompt=500, new=64, alone=2, compared=640, answer=400)
TRIAL: Final = Sizes(TINY, prompt=50, new=8, alone=2, compared=80, answer=24)
CUDA: Final = torch.cuda.is_available()


def write(sizes: Sizes, folder: Path) -> int:
    """Write a folder of random weights, a file for each layer; gives how many there are."""
    from safetensors.torch import save_file
    from transformers import Gemma4ForCausalLM, Gemma4TextConfig

    config = Gemma4TextConfig(**sizes.model, dtype="bfloat16", architectures=["Gemma4ForCausalLM"])
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in Gemma4ForCausalLM(config).state_dict().items() if k != "lm_head.weight"}
    files: dict[str, str] = {}
    for number, names in enumerate(_grouped(shapes)):
        file = f"model-{number + 1:05}.safetensors"
        save_file({name: _random(name, shapes[name]) for name in names}, folder / file, {"format": "pt"})
        files |= dict.fromkeys(names, file)
    count: int = sum(shape.numel() for shape in shapes.values())
    index = {"metadata": {"total_size": 2 * count}, "weight_map": files}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config.save_pretrained(folder)
    return count


def _grouped(names: Iterable[str]) -> Iterator[list[str]]:
    """The names of each layer, and each other name alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        layer = name.split(".layers.")
        groups.setdefault(layer[1].split(".")[0] if len(layer) > 1 else name, []).append(name)
    yield from groups.values()


def _random(name: str, shape: Any) -> torch.Tensor:
    """Random weights; norms are 1, but that of queries scales attention, which has no other scale."""
    if len(shape) == 1:
        value = shape[0] ** -0.5 if name.endswith("q_norm.weight") else 1.0
        return torch.full(shape, value, dtype=torch.bfloat16)
    device = "cuda" if CUDA else "cpu"
    return torch.randn(shape, dtype=torch.bfloat16, device=device).mul_(SPREAD).cpu()


def memory() -> dict[str, float]:
    """Gigabytes: what is held, and the peaks of what was held and of what PyTorch asked CUDA for."""
    if not CUDA:
        return {}
    found = {
        "resident_gb": torch.cuda.memory_allocated(), "peak_gb": torch.cuda.max_memory_allocated(),
        "peak_reserved_gb": torch.cuda.max_memory_reserved(),
    }  # fmt: skip
    return {name: round(value / 1e9, 2) for name, value in found.items()}


def start() -> float:
    """Free what is not used, forget the peaks, and tell the time."""
    gc.collect()
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    return time.perf_counter()


def since(started: float) -> float:
    """Seconds, all that was asked of the GPU done."""
    if CUDA:
        torch.cuda.synchronize()
    return time.perf_counter() - started


@contextmanager
def capped(gigabytes: float) -> Iterator[None]:
    """Let PyTorch allocate no more than so much."""
    whole = torch.cuda.get_device_properties(0).total_memory if CUDA else 0
    if CUDA:
        start()
        torch.cuda.set_per_process_memory_fraction(min(1.0, gigabytes * 1e9 / whole))
    try:
        yield
    finally:
        if CUDA:
            torch.cuda.set_per_process_memory_fraction(1.0)


def texts(count: int, length: int, sizes: Sizes, seed: int = 0) -> list[Array]:
    """Random token ids, of lengths within a fifth of `length`."""
    draw = np.random.default_rng([seed, count, length])
    lengths = draw.integers(length * 9 // 10, length * 11 // 10 + 1, count)
    return [draw.integers(10, sizes.model["vocab_size"], n) for n in lengths]


def reading(base: Any, sizes: Sizes, cap: float) -> dict[str, Any]:
    """Tokens a second, one text at a time with eager attention and in batches with SDPA."""
    rows: dict[str, Any] = {}
    base.set_attn_implementation("eager")
    rows["1 at a time, eager"] = _timed(lambda n, new: _reference(base, texts(n, sizes.prompt, sizes), new), sizes)
    base.set_attn_implementation("sdpa")
    with capped(cap):
        for size in (1, 8, 32):
            rows[f"{size} at once, sdpa"] = _timed(lambda n, new: _batch(base, n, new, sizes), sizes, size)
    slowest = rows["1 at a time, eager"]["tokens_per_s"]
    for row in rows.values():
        row["times"] = round(row["tokens_per_s"] / slowest, 1)
    return rows


def _timed(run: Callable[[int, int], int], sizes: Sizes, size: int | None = None) -> dict[str, Any]:
    """Run once for few tokens, then in earnest."""
    count = size or sizes.alone
    try:
        run(count if size else 1, 2)
        started = start()
        tokens = run(count, sizes.new)
    except torch.OutOfMemoryError:
        return {"tokens_per_s": 0.0, "failed": "out of memory"}
    seconds = since(started)
    return {"texts": count, "seconds": round(seconds, 2), "tokens_per_s": round(tokens / seconds, 2), **memory()}


def _reference(base: Any, prompts: Sequence[Array], new: int) -> int:
    for one in prompts:
        ids = torch.from_numpy(one)[None].to(base.device)
        told = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
        with torch.inference_mode():
            found = base.generate(ids, attention_mask=torch.ones_like(ids), **told)
        if found.shape[1] != len(one) + new:
            raise RuntimeError("an answer has not the length that was asked for")
    return len(prompts) * new


def _batch(base: Any, count: int, new: int, sizes: Sizes) -> int:
    written = [Free([], new) for _ in range(count)]
    Generator(base).write([one.tolist() for one in texts(count, sizes.prompt, sizes)], written)
    return sum(len(one.tokens) for one in written)


def cache_differs(base: Any, sizes: Sizes) -> dict[str, float]:
    """How much the last token's logits differ, read at once without a cache and after a cache of all before it."""
    ids, other = (
        torch.from_numpy(np.resize(texts(1, sizes.compared, sizes, seed)[0], sizes.compared))[None].to(base.device)
        for seed in (1, 2)
    )
    other[:, -1] = ids[:, -1]
    with torch.inference_mode():
        plain, control = (base(one, use_cache=False, logits_to_keep=1).logits for one in (ids, other))
        whole = base(ids, use_cache=True, logits_to_keep=1).logits
        name = cache_argument(base)
        cache = getattr(base(ids[:, :-1], use_cache=True, logits_to_keep=1), name)
        step = base(ids[:, -1:], use_cache=True, logits_to_keep=1, **{name: cache}).logits
    found = {"read with a cache": whole, "a token after a cache": step, "another text": control}
    return {name: _differs(plain, logits) for name, logits in found.items()}


def checkpointing_differs(course: qlora.Course, sizes: Sizes) -> dict[str, float]:
    """How much hidden states and the adapter's gradients differ if activations are computed again."""
    plain, again, control = (_gradients(course, sizes, *how) for how in ((False, 1), (True, 1), (True, 2)))
    names = ("hidden states", "gradients")
    found = {f"{name}, computed again": _differs(plain[n], again[n]) for n, name in enumerate(names)}
    return found | {f"{name}, another text": _differs(plain[n], control[n]) for n, name in enumerate(names)}


def _gradients(course: qlora.Course, sizes: Sizes, again: bool, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    text = np.resize(texts(1, sizes.compared, sizes, seed)[0], sizes.compared)
    batch = answers.collate([text], [sizes.compared - sizes.answer], [1 / sizes.answer], course.device)
    course.model.train(again)  # checkpointing is for training alone; dropout would hide what is sought
    for module in course.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with course._half():
        hidden = course.base.get_decoder()(input_ids=batch.ids, use_cache=False).last_hidden_state.detach()
        answers.loss_of(course.base, batch, course.recipe.chunk)[0].backward()
    slopes = [p.grad.flatten() for n, p in course.parameters.items() if "lora_B" in n]
    course.optimizer.zero_grad(set_to_none=True)
    return hidden, torch.cat(slopes)


def _differs(first: torch.Tensor, second: torch.Tensor) -> float:
    """The norm of the difference, as a share of the first one's."""
    a, b = first.detach().float(), second.detach().float()
    return float((a - b).norm() / a.norm())


def training(recipe: Recipe, sizes: Sizes, folder: Path, cap: float) -> dict[str, Any]:
    """22 steps of the recipe; see `clario.training.qlora.Course`."""
    draw = np.random.default_rng(3)
    count, length = STEPS * recipe.sources[0].batch, recipe.length
    ids = tuple(draw.integers(10, sizes.model["vocab_size"], (count, length)))
    diaries = Examples(ids, (length - sizes.answer,) * count)
    data = Prepared(folder, recipe, {"base": {}}, {"diaries": diaries, VALIDATION: Examples((), ())}, "random")
    course = qlora.Course(data, folder / "run", False, 0, None, str(folder), lambda line: print(line, flush=True))
    differs = checkpointing_differs(course, sizes)
    with capped(cap):
        start()
        try:
            course.run()
        except torch.OutOfMemoryError:
            return {"differs": differs, "failed": f"out of memory in step {course.step + 1}"}
    speed = {
        "steps_per_s": round(course.step / course.seconds, 3),
        "tokens_per_s": round(course.tokens / course.seconds),
    }
    told = {"steps": course.step, "weights": course.size, "seconds": round(course.seconds, 1), **speed}
    return {"differs": differs, **told, **memory(), "losses": course.losses}


def measured(recipe: Recipe, sizes: Sizes, folder: Path, cap: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """The parts of the report, each as soon as it is known."""
    started = start()
    yield "weights", {"count": write(sizes, folder), "seconds_to_write": round(since(started), 1)}
    started = start()
    dtype = torch.bfloat16 if CUDA else torch.float32
    base = base_model.load(str(folder), dtype, recipe.quantization, "cuda" if CUDA else "cpu")
    yield "load", {"seconds": round(since(started), 1), **memory()}
    adapter.wrap(base, recipe.lora).eval()
    yield "cache", cache_differs(base, sizes)
    yield "reading", reading(base, sizes, cap)
    del base
    start()
    yield "training", training(recipe, sizes, folder, cap)


def goals(report: dict[str, Any]) -> dict[str, bool]:
    """Which goals were reached."""
    cache, reads, trained = report["cache"], report["reading"], report["training"]
    again, most = trained["differs"], SHARE * cache["another text"]
    names = ("hidden states", "gradients")
    same = all(again[f"{name}, computed again"] < SHARE * again[f"{name}, another text"] for name in names)
    found = {
        "same logits with a cache": max(cache["read with a cache"], cache["a token after a cache"]) < most,
        "same gradients with activations computed again": same,
    }
    if CUDA:
        small = [part.get("peak_reserved_gb", np.inf) < MEMORY for part in (reads["8 at once, sdpa"], trained)]
        faster = reads["32 at once, sdpa"]["times"] >= TIMES
        found |= {"8 at once within 16 GB": small[0], "training within 16 GB": small[1], "15 times": faster}
    return found


def show(part: str, values: dict[str, Any]) -> None:
    """Print a part of the report as rows."""
    for name, value in values.items():
        if isinstance(value, dict):
            show(f"{part}, {name}", value)
        else:
            told = f"{value:.3g}" if isinstance(value, float) else value
            print(f"{part:28}  {name:46}  {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--folder", type=Path, help="where 16 GB can be written; of itself the temporary folder")
    parser.add_argument("--cap", type=float, default=15.5, help="gigabytes that PyTorch may allocate")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if not (CUDA or given.tiny):
        parser.exit(1, "this needs a CUDA GPU; --tiny does without\n")
    recipe = recipes.load("clario-v2")
    if given.tiny and not CUDA:
        plain = replace(recipe.optimizer, name="adamw_torch")
        recipe = replace(recipe, quantization="none", optimizer=plain, length=96, tokens=192, chunk=16)
    report: dict[str, Any] = {"device": torch.cuda.get_device_name() if CUDA else "cpu", "cap_gb": given.cap}
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for part, values in measured(recipe, TRIAL if given.tiny else FULL, Path(folder), given.cap):
            report[part] = values
            show(part, values)
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    report["goals"] = goals(report)
    show("goals", report["goals"])
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    sys.exit(not all(report["goals"].values()))


if __name__ == "__main__":
    main()
