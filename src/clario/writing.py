"""Write Extractions as they come: JSON lines, one JSON array, or CSV with an entity a row.

A file is written aside as `NAME.partial` and renamed when it is whole; an interrupted one stays there,
and JSON lines can be continued from it. While a run writes it, it is locked.
"""

import csv
import json
import os
import shutil
import stat
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from clario.entities import Entity, Extraction
from clario.errors import OutputError

if sys.platform != "win32":
    import fcntl

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


class Sink(Protocol):
    """What a writer needs of a text file."""

    def write(self, text: str, /) -> object:
        """Take some text."""

    def flush(self) -> None:
        """Pass on what was taken."""


class Writer(Protocol):
    """Takes Extractions one by one."""

    def write(self, extraction: Extraction) -> None:
        """Write one Extraction, whole."""

    def close(self) -> None:
        """Write what the format needs at its end."""


class JsonLines:
    """One Extraction a line, flushed line by line."""

    def __init__(self, file: Sink) -> None:
        self._file = file

    def write(self, extraction: Extraction) -> None:
        self._file.write(extraction.model_dump_json() + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.flush()


class JsonArray:
    """One JSON array of all Extractions."""

    def __init__(self, file: Sink) -> None:
        self._file, self._lead = file, "["

    def write(self, extraction: Extraction) -> None:
        self._file.write(f"{self._lead}\n{extraction.model_dump_json(indent=1)}")
        self._lead = ","

    def close(self) -> None:
        self._file.write(("[" if self._lead == "[" else "\n") + "]\n")
        self._file.flush()


class Csv:
    """One entity a row; a text without entities has none."""

    def __init__(self, file: Sink) -> None:
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


def writer(format: str, file: Sink) -> Writer:
    """The writer of a format other than "table"."""
    kinds: dict[str, type[JsonLines | JsonArray | Csv]] = {"jsonl": JsonLines, "json": JsonArray, "csv": Csv}
    return kinds[format](file)


def partial(output: Path) -> Path:
    """Where an output stands until it is whole; beside the file itself where `output` is a link."""
    return Path(os.path.realpath(output) + ".partial")


@contextmanager
def opened(
    output: Path, format: str, *, made_with: tuple[str, str] | None = None
) -> Iterator[tuple[Writer, Counter[str]]]:
    """A file that is renamed to its name when the block ends well, and else stays partial.

    It takes the permissions of the file it replaces. A device or a pipe is written to as it is.

    Args:
        made_with: model and release, to continue an interrupted or finished file of JSON lines that was made
            with them; None begins anew. A partial file in another format is of no use and is overwritten.

    Yields:
        The writer, and the ids that are in the file already, with how often each is.

    Raises:
        OutputError: the file cannot be written, another run is writing it, an interrupted one stands there and
            is not to be continued, or the one to continue is not ours or was made with other than `made_with`.
    """
    try:
        if output.exists() and not output.is_file():
            with output.open("w", encoding="utf-8", newline="") as file:
                yield from _written(format, file, Counter())
        else:
            with _locked(partial(output)) as handle:
                yield from _replacing(handle, Path(os.path.realpath(output)), format, made_with)
    except BrokenPipeError:
        raise  # somebody stopped reading
    except OSError as error:
        raise OutputError(f"{output}: {error.strerror or error}") from None


def _written(format: str, file: Sink, done: Counter[str]) -> Iterator[tuple[Writer, Counter[str]]]:
    target = writer(format, file)
    yield target, done
    target.close()


def _replacing(
    handle: int, output: Path, format: str, made_with: tuple[str, str] | None
) -> Iterator[tuple[Writer, Counter[str]]]:
    aside = partial(output)
    try:
        done = _begun(handle, output, format, made_with)
        with open(handle, "a", encoding="utf-8", newline="", closefd=False) as file:
            yield from _written(format, file, done)
    except BaseException:
        if os.fstat(handle).st_size == 0:  # nothing that is worth keeping
            with suppress(OSError):
                aside.unlink()
        raise
    os.fsync(handle)
    with suppress(OSError):  # not every file system has permissions
        aside.chmod(_mode(output))
    if sys.platform == "win32":
        os.close(handle)  # an open file has to keep its name there
    os.replace(aside, output)


@contextmanager
def _locked(aside: Path) -> Iterator[int]:
    """A handle on the partial file, readable by its owner alone; other runs are kept out until it is closed."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(aside, flags, 0o600)
    try:
        if not _lock(handle, aside):
            raise OutputError(f"{aside}: another run is writing it")
        with suppress(OSError):
            aside.chmod(0o600)
        yield handle
    finally:
        with suppress(OSError):  # closed already
            os.close(handle)


def _lock(handle: int, aside: Path) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    try:
        return os.path.samestat(os.fstat(handle), aside.stat())
    except FileNotFoundError:  # the other run has just finished it
        return False


def _mode(output: Path) -> int:
    try:
        return stat.S_IMODE(output.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0o077)
        os.umask(umask)
        return 0o666 & ~umask


def _begun(handle: int, output: Path, format: str, made_with: tuple[str, str] | None) -> Counter[str]:
    """Make the partial file ready to be continued, or empty. The ids that are in it."""
    aside, size = partial(output), os.fstat(handle).st_size
    if made_with is None:
        if size and format == "jsonl":
            raise OutputError(f"{aside} is left from an interrupted run: continue it with --resume, or delete it")
        os.ftruncate(handle, 0)
        return Counter()
    source = aside if size else output
    if not source.exists():
        return Counter()
    ids, whole = _ids(source, made_with)
    if source == output:
        with output.open("rb") as finished, open(handle, "wb", closefd=False) as file:
            shutil.copyfileobj(finished, file)
    os.ftruncate(handle, whole)  # a half-written last line goes
    return Counter(ids)


def _ids(path: Path, made_with: tuple[str, str]) -> tuple[list[str], int]:
    """The ids of a file of JSON lines, and the bytes that its whole lines have."""
    ids, whole = list[str](), 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            ids.append(_id(line, f"{path}, line {number}", made_with))
            whole += len(line)
    return ids, whole


def _id(line: bytes, where: str, made_with: tuple[str, str]) -> str:
    try:
        record = json.loads(line)
        identifier, made = record["id"], (record["model"], record["hpo_release"])
    except (ValueError, KeyError, TypeError):
        made = None
    # Raised out here: within, the error would keep the line, which quotes a diary.
    if made is None:
        raise OutputError(f"{where}: not an Extraction; --resume continues only files of 'clario extract'")
    if made != made_with:
        raise OutputError(
            f"{where}: made with {made[0]}, HPO {made[1]}, not with {made_with[0]}, HPO {made_with[1]}"
        )
    return str(identifier)
