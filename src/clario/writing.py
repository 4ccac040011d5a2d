"""Write Extractions as they come: JSON lines, one JSON array, or CSV with an entity a row.

A file is written aside as `NAME.partial` and renamed when it is whole; an interrupted one stays there,
and JSON lines can be continued from it.
"""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from clario.entities import Entity, Extraction
from clario.errors import OutputError

FORMATS = ("table", "json", "jsonl", "csv")
COLUMNS = (
    "id",
    "type",
    "name_colloquial",
    "start",
    "end",
    "name_canonical",
    "hpo_id",
    "hpo_label",
    "assertion",
    "confidence",
    "match_method",
    "match_name",
    "match_score",
    "match_candidates",
    "model",
    "hpo_release",
    "ts_event_hint",
)


class Writer(Protocol):
    """Takes Extractions one by one."""

    def write(self, extraction: Extraction) -> None:
        """Write one Extraction, whole."""

    def close(self) -> None:
        """Write what the format needs at its end."""


class JsonLines:
    """One Extraction a line, flushed line by line."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, extraction: Extraction) -> None:
        self._file.write(extraction.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()


class JsonArray:
    """One JSON array of all Extractions."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._lead = file, "["

    def write(self, extraction: Extraction) -> None:
        self._file.write(f"{self._lead}\n{extraction.model_dump_json(indent=1)}")
        self._lead = ","

    def close(self) -> None:
        self._file.write(("[" if self._lead == "[" else "\n") + "]\n")
        self._file.flush()


class Csv:
    """One entity a row; a text without entities has none."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, extraction: Extraction) -> None:
        self._rows.writerows(_row(extraction, entity) for entity in extraction.entities)
        self._file.flush()

    def close(self) -> None:
        self._file.flush()


def _row(extraction: Extraction, entity: Entity) -> list[object]:
    match = entity.match
    return [
        extraction.id,
        entity.type,
        entity.name_colloquial,
        entity.start,
        entity.end,
        entity.name_canonical,
        entity.hpo_id,
        entity.hpo_label,
        entity.assertion,
        entity.confidence,
        match.method,
        match.name,
        match.score,
        " ".join(match.candidates),
        extraction.model,
        extraction.hpo_release,
        extraction.ts_event_hint,
    ]


def writer(format: str, file: IO[str]) -> Writer:
    """The writer of a format other than "table"."""
    kinds: dict[str, type[JsonLines | JsonArray | Csv]] = {"jsonl": JsonLines, "json": JsonArray, "csv": Csv}
    return kinds[format](file)


def partial(output: Path) -> Path:
    """Where an output stands until it is whole."""
    return output.with_name(output.name + ".partial")


@contextmanager
def opened(output: Path, format: str, *, resume: bool) -> Iterator[Writer]:
    """A writer to a file that is renamed to its name when the block ends well, and else stays partial.

    A device or a pipe is written to as it is.

    Raises:
        OutputError: the file cannot be written, or an interrupted one stands there and is not to be continued.
    """
    aside = output if output.exists() and not output.is_file() else partial(output)
    if aside != output and aside.exists() and not resume:
        raise OutputError(f"{aside} is left from an interrupted run: continue it with --resume, or delete it")
    try:
        with aside.open("a" if resume else "w", encoding="utf-8", newline="") as file:
            target = writer(format, file)
            yield target
            target.close()
        if aside != output:
            _put(aside, output)
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror or error}") from None


def _put(aside: Path, output: Path) -> None:
    """Give a whole file its name, once its bytes are on the disk."""
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(aside, output)


def done(output: Path, model: str, hpo_release: str) -> Counter[str]:
    """The ids that an interrupted or finished file of JSON lines holds already, and how often each.

    Prepares the file to be continued: it is put aside as partial, and a half-written last line is cut off.

    Raises:
        OutputError: the file cannot be read, is not ours, or was made with another model or release.
    """
    aside = partial(output)
    try:
        if not aside.exists() and output.exists():
            aside.write_bytes(output.read_bytes())
        if not aside.exists():
            return Counter()
        return Counter(_ids(aside, model, hpo_release))
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror or error}") from None


def _ids(aside: Path, model: str, hpo_release: str) -> Iterable[str]:
    ids, whole = list[str](), 0
    with aside.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            ids.append(_id(line, f"{aside}, line {number}", (model, hpo_release)))
            whole += len(line)
    os.truncate(aside, whole)
    return ids


def _id(line: bytes, where: str, made_with: tuple[str, str]) -> str:
    try:
        record = json.loads(line)
        identifier, made = record["id"], (record["model"], record["hpo_release"])
    except (ValueError, KeyError, TypeError):
        raise OutputError(
            f"{where}: not an Extraction; --resume continues only files of 'clario extract'"
        ) from None
    if made != made_with:
        raise OutputError(
            f"{where}: made with {made[0]}, HPO {made[1]}, not with {made_with[0]}, HPO {made_with[1]}"
        )
    return str(identifier)
