"""Train the encoder of `mini` from a prepared folder: the linker, then the tagger on its lower layers.

    python -m clario.training.encoder PREPARED OUTPUT [--smoke] [--resume] [--seed N] [--hold-out]

runs on a machine that has PyTorch, NumPy and tokenizers and this package's source, and nothing else of Clario.
Each part is written when it is trained; with --resume a part that is there is not trained again.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from clario.training import linking, tagging
from clario.training.learning import Course
from clario.training.model import Encoder, Linker, Settings, from_arrays, to_arrays
from clario.training.texts import Tokens

LINKER = Settings(steps=1400)
TAGGER = Settings(steps=1500, rate=1e-4, heads=10.0, diaries=32)
SMOKE = {"steps": 2, "diaries": 2, "lay": 4, "alone": 2, "sentences": 2, "names": 4, "definitions": 2}
SHARED = 0  # layers of the tagger that are the linker's, unchanged: one pass would serve both
Log = Callable[[str], None]


def train(
    prepared: Path,
    output: Path,
    *,
    smoke: bool = False,
    resume: bool = False,
    seed: int = 0,
    hold_out: bool = False,
    shared: int = SHARED,
    log: Log = print,
) -> None:
    """Write linker-0.npz, linker-1.npz, tagger-0.npz, tagger-1.npz and training.json into `output`.

    Args:
        hold_out: learn nothing of what `benchmarks/linking.py` asks for; such a linker is for measuring only.
        shared: how many layers the tagger leaves as the linker has them.
    """
    output.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_float32_matmul_precision("high")
    started = time.monotonic()
    if not (resume and (output / "linker-1.npz").exists()):
        _train_linker(prepared, output, device, _settings(LINKER, smoke, seed), hold_out, smoke, log)
    if not hold_out and not (resume and (output / "tagger-1.npz").exists()):
        _train_tagger(prepared, output, device, _settings(TAGGER, smoke, seed), shared, log)
    record = {
        "prepared": json.loads((prepared / "prepared.json").read_text("utf-8")),
        "hold_out": hold_out, "seed": seed, "smoke": smoke, "shared": shared, "device": device.type,
        "linker": asdict(LINKER), "tagger": asdict(TAGGER), "torch": torch.__version__,
        "seconds": round(time.monotonic() - started),
    }  # fmt: skip
    (output / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")


def _settings(settings: Settings, smoke: bool, seed: int) -> Settings:
    return replace(settings, seed=seed, **(SMOKE if smoke else {}))  # type: ignore[arg-type]


def _train_linker(
    prepared: Path, output: Path, device: torch.device, settings: Settings, hold_out: bool, smoke: bool, log: Log
) -> None:
    torch.manual_seed(settings.seed)
    with np.load(prepared / "base.npz") as base:
        encoder = from_arrays(dict(base)).to(device)
    linker = Linker(encoder).to(device)
    made = linking.material(prepared, Tokens(prepared), hold_out, 100 if smoke else None)
    course = Course(encoder, made.diaries, settings, linker=(linker, linking.Teacher(made, settings, device)))
    _follow("linker", course, settings, log)
    save(output, "linker", encoder, linker)


def _train_tagger(
    prepared: Path, output: Path, device: torch.device, settings: Settings, shared: int, log: Log
) -> None:
    torch.manual_seed(settings.seed)
    arrays = load(output, "linker")
    with np.load(prepared / "base.npz") as base:
        arrays["words"] = base["words"].astype(np.float32)
    encoder = from_arrays({k: v for k, v in arrays.items() if not k.startswith("head.")}).to(device)
    freeze(encoder, shared)
    tokens = Tokens(prepared)
    diaries = tagging.tagged(prepared / "train.jsonl", tokens)
    tagger = tagging.Tagger(encoder).to(device)
    lessons = tagging.Lessons(diaries, settings, device)
    course = Course(encoder, [d.ids for d in diaries], settings, tagger=(tagger, lessons))
    _follow("tagger", course, settings, log)
    validation = tagging.tagged(prepared / "validation.jsonl", tokens)
    log(f"tagger, validation: {tagging.figures(tagger, validation, device)}")
    save(output, "tagger", encoder, tagger)


def freeze(encoder: Encoder, layers: int) -> None:
    """Leave the embeddings and the first layers as they are."""
    if layers:
        for module in (encoder.positions, encoder.norm, *encoder.layers[:layers]):
            module.requires_grad_(False)


def _follow(name: str, course: Course, settings: Settings, log: Log) -> None:
    started = time.monotonic()
    for number, loss in course.learn():
        if number in (1, settings.steps) or number % 100 == 0:
            log(f"{name}: step {number}, loss {loss.item():.3f}, {time.monotonic() - started:.0f} s")


def save(folder: Path, name: str, encoder: Encoder, head: nn.Module) -> None:
    """Write an encoder, its words' embedding left out, and its head, in two files of float16."""
    arrays = {key: array for key, array in to_arrays(encoder).items() if key != "words"}
    for key, value in head.state_dict().items():
        if not key.startswith("encoder."):
            arrays[f"head.{key}"] = value.detach().float().cpu().numpy()
    keys = sorted(arrays)
    for number, part in enumerate((keys[: len(keys) // 2], keys[len(keys) // 2 :])):
        np.savez_compressed(
            folder / f"{name}-{number}.npz", **{key: arrays[key].astype(np.float16) for key in part}
        )


def load(folder: Path, name: str) -> dict[str, Any]:
    """The arrays of a trained part, float32."""
    arrays: dict[str, Any] = {}
    for path in sorted(folder.glob(f"{name}-*.npz")):
        with np.load(path) as file:
            arrays |= {key: file[key].astype(np.float32) for key in file.files}
    return arrays


def main() -> None:
    """The command line of a machine that has no more of Clario than this."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("output", type=Path)
    for flag in ("--smoke", "--resume", "--hold-out"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shared", type=int, default=SHARED)
    given = vars(parser.parse_args())
    train(given.pop("prepared"), given.pop("output"), log=lambda line: print(line, flush=True), **given)


if __name__ == "__main__":
    main()
