"""Read diaries from files: `.txt` (one diary), `.jsonl` (`id`, `text`), `.csv` (a `text` column), `-`.

What cannot be read becomes a `Failure` that names the file and the line; the rest is read on. Optional
`id` and `ts_recorded` fields or columns are kept.
"""

import csv
import io
import json
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import IO, Any

from clario.entities import Failure
from clario.errors import InputError
from clario.extraction.dates import parse_recorded
from clario.pipeline import LONGEST, Diary

STDIN = "-"
KINDS = (".txt", ".jsonl", ".csv")
_LONGEST_LINE = 16 * LONGEST  # bytes; a JSON line of a text of `LONGEST` escaped code points


def diaries(paths: Iterable[str], recorded: date | None = None) -> Iterator[Diary | Failure]:
    """All diaries of the files, in order, as a stream.

    Args:
        paths: names of files, or `-` for the standard input.
        recorded: the day that diaries without a `ts_recorded` of their own were written.
    """
    for path in paths:
        try:
            yield from _file(path, recorded)
        except InputError as error:
            yield Failure(id=path, error=str(error))
        except OSError as error:
            yield Failure(id=path, error=f"{path}: {error.strerror or 'cannot be read'}")


def count(paths: Iterable[str]) -> int | None:
    """How many diaries the files hold at most, for a progress bar; None where the standard input is among them."""
    total = 0
    for path in paths:
        if path == STDIN:
            return None
        total += _count(Path(path))
    return total


def _count(path: Path) -> int:
    if path.suffix.lower() == ".txt" or not path.is_file():
        return 1
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    return lines - 1 if path.suffix.lower() == ".csv" else lines


def _file(path: str, recorded: date | None) -> Iterator[Diary | Failure]:
    if path == STDIN:
        yield from _stdin(sys.stdin.buffer, recorded)
        return
    kind = Path(path).suffix.lower()
    if Path(path).is_dir():
        raise InputError(f"{path}: a folder; name its files, such as {path.rstrip('/')}/*.txt")
    if kind not in KINDS:
        raise InputError(f"{path}: unknown kind of file; a diary comes as {', '.join(KINDS)} or '-'")
    with open(path, "rb") as file:
        if kind == ".txt":
            yield Diary(path, _text(file.read(4 * LONGEST + 1), path), recorded)
        elif kind == ".jsonl":
            yield from _jsonl(file, path, recorded)
        else:
            yield from _csv(file, path, recorded)


def _stdin(file: IO[bytes], recorded: date | None) -> Iterator[Diary | Failure]:
    """JSON lines where the first line is a JSON object, else one diary."""
    first = file.readline(_LONGEST_LINE)
    if first.lstrip().startswith(b"{") and _is_object(first):
        yield from _jsonl(_Chained(first, file), "standard input", recorded)
    else:
        rest = file.read(4 * LONGEST + 1)
        yield Diary(STDIN, _text(first + rest, "standard input"), recorded)


class _Chained:
    """A file whose first line was read already."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def readline(self, limit: int) -> bytes:
        first, self._first = self._first, b""
        return first or self._rest.readline(limit)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _text(data: bytes, where: str) -> str:
    if len(data) > 4 * LONGEST:
        raise InputError(f"{where}: more than {4 * LONGEST:,} bytes; at most {LONGEST:,} characters are one diary")
    if b"\0" in data:
        raise InputError(f"{where}: a binary file (it has a zero byte at {data.index(0):,}), not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 (byte {error.start:,}); convert it, for example with iconv -f latin1 -t utf-8"
        ) from None


def _jsonl(file: Any, path: str, recorded: date | None) -> Iterator[Diary | Failure]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        where = f"{path}, line {number}"
        if not line.endswith(b"\n") and len(line) >= _LONGEST_LINE:
            raise InputError(f"{where}: longer than {_LONGEST_LINE:,} bytes")
        if line.strip():
            try:
                yield _record(_object(line, where), f"{path}:{number}", where, recorded)
            except InputError as error:
                yield Failure(id=f"{path}:{number}", error=str(error))


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(_text(line, where))
    except (ValueError, RecursionError) as error:
        at = f" (column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where}: not a whole JSON object{at}; is the line cut off?") from None
    if not isinstance(record, dict):
        raise InputError(f'{where}: expected an object like {{"id": "1", "text": "..."}}')
    return record


def _record(record: dict[str, Any], default_id: str, where: str, recorded: date | None) -> Diary:
    if not isinstance(record.get("text"), str):
        raise InputError(f'{where}: no field "text" with a string')
    own = record.get("ts_recorded")
    if own:
        try:
            recorded = parse_recorded(str(own))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    identifier = record.get("id")
    return Diary(default_id if identifier in (None, "") else str(identifier), record["text"], recorded)


def _csv(file: IO[bytes], path: str, recorded: date | None) -> Iterator[Diary | Failure]:
    csv.field_size_limit(4 * LONGEST)
    # Bytes that are not UTF-8 pass as surrogates here, so that only the row they stand in is refused.
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(lines, path, recorded)
    finally:
        lines.detach()  # the file is closed by whoever opened it


def _rows(lines: io.TextIOWrapper, path: str, recorded: date | None) -> Iterator[Diary | Failure]:
    head = lines.readline(_LONGEST_LINE)
    names = next(csv.reader([head], delimiter=_delimiter(head)), [])
    if "text" not in names:
        shown = ", ".join(name.strip() for name in names)[:200].encode("ascii", "replace").decode()
        raise InputError(f"{path}: no column 'text' (columns: {shown or 'none'})")
    rows = csv.DictReader(lines, names, delimiter=_delimiter(head), strict=True)
    try:
        for number, row in enumerate(rows, 1):
            yield _row(row, f"{path}:{number}", f"{path}, row {number}", recorded)
    except csv.Error as error:
        raise InputError(f"{path}: broken CSV near line {rows.line_num + 1}: {error}") from None


def _row(row: dict[str, Any], default_id: str, where: str, recorded: date | None) -> Diary | Failure:
    try:
        text = row.get("text") or ""
        _text(text.encode("utf-8", "surrogateescape"), where)
        return _record(row | {"text": text}, default_id, where, recorded)
    except InputError as error:
        return Failure(id=default_id, error=str(error))


def _delimiter(head: str) -> str:
    return max(",;\t", key=head.count)
