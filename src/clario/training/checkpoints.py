"""Checkpoints that survive a kill: written aside, synced, then renamed; one that is not whole is passed over."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from clario.paths import aside, sha256_of, sync_folder

STATE: Final = "state.json"
TENSORS: Final = "tensors.pt"
KEPT: Final = 2


def save(folder: Path, step: int, tensors: dict[str, Any], state: dict[str, Any]) -> Path:
    """Write the checkpoint of a step, and delete all but the last two.

    Args:
        tensors: what `torch.save` takes and `torch.load` gives back with `weights_only`.
        state: what JSON takes.
    """
    import torch

    target = folder / f"step-{step:07}"
    part = aside(target)
    part.mkdir(parents=True)
    torch.save(tensors, part / TENSORS)
    told = {**state, "step": step, "tensors_sha256": sha256_of(part / TENSORS)}
    (part / STATE).write_text(json.dumps(told) + "\n", "utf-8")
    for path in (part / TENSORS, part / STATE):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)
    sync_folder(folder)
    _tidy(folder)
    return target


def latest(folder: Path, log: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Tensors and state of the last whole checkpoint; None where there is none."""
    import torch

    for path in reversed(list(_found(folder))):
        state = _state(path)
        if state is None:
            log(f"{path.name} is not whole: passed over")
            continue
        return torch.load(path / TENSORS, map_location="cpu", weights_only=True), state
    return None


def _state(path: Path) -> dict[str, Any] | None:
    """The state, where the checkpoint is whole."""
    try:
        state: dict[str, Any] = json.loads((path / STATE).read_text("utf-8"))
        return state if sha256_of(path / TENSORS) == state["tensors_sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _found(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("step-*"))


def _tidy(folder: Path) -> None:
    for old in [*list(_found(folder))[:-KEPT], *folder.glob(".step-*.part")]:
        shutil.rmtree(old)


def clear(folder: Path) -> None:
    """Delete all checkpoints of an earlier run."""
    if folder.exists():
        shutil.rmtree(folder)
