"""Parts of the corpus: train, validation, test. No disease stands in two parts, nor a writer where it can be.

A corpus that grows keeps its parts: `freeze` writes which id belongs where, with the sha256 of each file, and
`frozen` refuses files that are not those.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clario.corpus.dataset import PARTS, GoldDiary, load, save
from clario.errors import InputError
from clario.paths import sha256_of, write_atomically

SPLITS = "splits.json"


@dataclass(frozen=True, slots=True)
class Leak:
    """A disease that stands in two parts."""

    disease: str
    parts: tuple[str, str]


def split(diaries: Sequence[GoldDiary], writers: Mapping[str, Sequence[str]]) -> dict[str, list[GoldDiary]]:
    """Put diaries into parts by their writers; everybody whom no part names writes for train.

    A diary whose disease stands in a later part (test before validation before train) is left out.

    Args:
        writers: the writers of "validation" and "test".
    """
    part_of = {writer: part for part, named in writers.items() for writer in named}
    parts: dict[str, list[GoldDiary]] = {part: [] for part in PARTS}
    for diary in diaries:
        parts[part_of.get(diary.writer, "train")].append(diary)
    taken = _diseases(parts["test"])
    parts["validation"] = [d for d in parts["validation"] if d.disease not in taken]
    taken |= _diseases(parts["validation"])
    parts["train"] = [d for d in parts["train"] if d.disease not in taken]
    return parts


def leaks(parts: Mapping[str, Sequence[GoldDiary]]) -> list[Leak]:
    """The diseases that stand in more than one part."""
    found, seen = [], dict[str, str]()
    for part, diaries in parts.items():
        for disease in sorted(_diseases(diaries)):
            if disease in seen:
                found.append(Leak(disease, (seen[disease], part)))
            seen[disease] = part
    return found


def _diseases(diaries: Sequence[GoldDiary]) -> set[str]:
    return {diary.disease for diary in diaries if diary.disease}


def freeze(parts: Mapping[str, Sequence[GoldDiary]], folder: Path) -> None:
    """Write each part and then `splits.json`, which makes them official."""
    sha256 = {part: save(diaries, folder / f"{part}.jsonl") for part, diaries in parts.items()}
    record = {"parts": {part: [d.id for d in diaries] for part, diaries in parts.items()}, "sha256": sha256}
    with write_atomically(folder / SPLITS) as file:
        file.write((json.dumps(record, indent=1) + "\n").encode())


def frozen(folder: Path) -> dict[str, list[GoldDiary]]:
    """The parts of a folder.

    Raises:
        InputError: `splits.json` is missing or broken, or a file is not the one that was frozen.
    """
    try:
        record = json.loads((folder / SPLITS).read_text(encoding="utf-8"))
        expected = {part: (record["sha256"][part], record["parts"][part]) for part in PARTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / SPLITS}: no frozen splits ({type(error).__name__})") from None
    return {part: _part(folder / f"{part}.jsonl", *expected[part]) for part in PARTS}


def _part(path: Path, sha256: str, ids: Sequence[str]) -> list[GoldDiary]:
    diaries = load(path)
    if sha256_of(path) != sha256 or [d.id for d in diaries] != list(ids):
        raise InputError(f"{path}: not the file that {SPLITS} was frozen with")
    return diaries
