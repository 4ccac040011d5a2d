"""Read diaries from files: `.txt` (one diary), `.jsonl` (`id`, `text`), `.csv` (a `text` column), `-`.

What cannot be read becomes a `Failure` that names the file and the line; the rest is read on. Optional
`id` and `ts_recorded` fields or columns are kept.
"""

import codecs
import csv
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
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
_JSON = re.compile(rb'\s*\{\s*(?:["}]|$)')  # how a line of JSON begins, also one that is cut off
_DELIMITERS = ",;\t"
_COLUMN_NAME = re.compile(r"[^\W\d][\w.-]{0,19}")


def diaries(paths: Iterable[str], recorded: date | None = None) -> Iterator[Diary | Failure]:
    """All diaries of the files, in order, as a stream.

    Args:
        paths: names of files, or `-` for the standard input.
        recorded: the day that diaries without a `ts_recorded` of their own were written.
    """
    for path in paths:
        name, fault = _encodable(path), ""
        try:
            yield from _file(path, name, recorded)
        except InputError as error:
            fault = str(error)
        except OSError as error:
            fault = f"{name}: {error.strerror or 'cannot be read'}"
        if fault:
            yield Failure(id=name, error=fault)


def count(paths: Iterable[str]) -> int | None:
    """How many diaries the files hold at most, for a progress bar; None where the standard input is among them."""
    total = 0
    for path in paths:
        if path == STDIN:
            return None
        with suppress(OSError):  # whoever reads it tells
            total += _count(Path(path))
    return total


def overwritten(output: Path, paths: Iterable[str]) -> str | None:
    """The first of the inputs that an output would take the place of, whatever names and links lead to it."""
    try:
        target = output.stat()
    except OSError:
        return None
    if not stat.S_ISREG(target.st_mode):
        return None
    for path in paths:
        with suppress(OSError, ValueError, AttributeError):  # not there, closed, or no file
            if os.path.samestat(target, os.fstat(sys.stdin.fileno()) if path == STDIN else os.stat(path)):
                return path
    return None


def _encodable(text: str) -> str:
    """A text that UTF-8 can hold: halves of surrogate pairs, such as of a file name in Latin-1, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _count(path: Path) -> int:
    if path.suffix.lower() == ".txt" or not path.is_file():
        return 1
    with path.open("rb") as file:
        lines = sum(1 for _ in file)
    return lines - 1 if path.suffix.lower() == ".csv" else lines


def _file(path: str, name: str, recorded: date | None) -> Iterator[Diary | Failure]:
    if path == STDIN:
        if sys.stdin is None:
            raise InputError("standard input: it is closed")
        yield from _stdin(sys.stdin.buffer, recorded)
        return
    kind = Path(path).suffix.lower()
    if Path(path).is_dir():
        raise InputError(f"{name}: a folder; name its files, such as {name.rstrip('/')}/*.txt")
    if kind not in KINDS:
        raise InputError(f"{name}: unknown kind of file; a diary comes as {', '.join(KINDS)} or '-'")
    with open(path, "rb") as file:
        if kind == ".txt":
            yield Diary(name, _text(file.read(4 * LONGEST + 1), name), recorded)
        elif kind == ".jsonl":
            yield from _jsonl(file, name, recorded)
        else:
            yield from _csv(file, name, recorded)


def _stdin(file: IO[bytes], recorded: date | None) -> Iterator[Diary | Failure]:
    """JSON lines where the first line that is not blank begins like JSON, else one diary."""
    ahead = _until_words(file)
    if ahead and _JSON.match(ahead[-1].removeprefix(codecs.BOM_UTF8)):
        yield from _jsonl(_Chained(ahead, file), "standard input", recorded)
    else:
        rest = file.read(4 * LONGEST + 1)
        yield Diary(STDIN, _text(b"".join([*ahead, rest]), "standard input"), recorded)


def _until_words(file: IO[bytes]) -> list[bytes]:
    """The first line with a word, and the blank ones before it, unless these alone are too many for a diary."""
    lines, size = list[bytes](), 0
    while size <= 4 * LONGEST and (line := file.readline(_LONGEST_LINE)):
        lines.append(line)
        size += len(line)
        if not _is_blank(line):
            break
    return lines


def _is_blank(line: bytes) -> bool:
    return not line.removeprefix(codecs.BOM_UTF8).strip()


class _Chained:
    """A file whose first lines were read already."""

    def __init__(self, first: Iterable[bytes], rest: IO[bytes]) -> None:
        self._first, self._rest = iter(first), rest

    def readline(self, limit: int) -> bytes:
        return next(self._first, b"") or self._rest.readline(limit)


# A raised error keeps the one that it was raised within, and such errors of Python keep the text that they
# are about. So below, nothing is raised inside an `except`.


def _text(data: bytes, where: str) -> str:
    if len(data) > 4 * LONGEST:
        raise InputError(f"{where}: more than {4 * LONGEST:,} bytes; at most {LONGEST:,} characters are one diary")
    if b"\0" in data:
        raise InputError(f"{where}: a binary file (it has a zero byte at {data.index(0):,}), not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start
    raise InputError(f"{where}: not UTF-8 (byte {at:,}); convert it, for example with iconv -f latin1 -t utf-8")


def _jsonl(file: Any, name: str, recorded: date | None) -> Iterator[Diary | Failure]:
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        where = f"{name}, line {number}"
        if not line.endswith(b"\n") and len(line) >= _LONGEST_LINE:
            raise InputError(f"{where}: longer than {_LONGEST_LINE:,} bytes")
        if not _is_blank(line):
            yield _line(line, f"{name}:{number}", where, recorded)


def _line(line: bytes, default_id: str, where: str, recorded: date | None) -> Diary | Failure:
    try:
        return _record(_object(line, where), default_id, where, recorded)
    except InputError as error:
        return Failure(id=default_id, error=str(error))


def _object(line: bytes, where: str) -> dict[str, Any]:
    text, column = _text(line, where), None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        column = getattr(error, "colno", 0)
    if column is not None:
        at = f" (column {column})" if column else ""
        raise InputError(f"{where}: not a whole JSON object{at}; is the line cut off?")
    if not isinstance(record, dict):
        raise InputError(f'{where}: expected an object like {{"id": "1", "text": "..."}}')
    return record


def _record(record: dict[str, Any], default_id: str, where: str, recorded: date | None) -> Diary:
    if not isinstance(record.get("text"), str):
        raise InputError(f'{where}: no field "text" with a string')
    fault = ""
    if own := record.get("ts_recorded"):
        try:
            recorded = parse_recorded(str(own))
        except InputError as error:
            fault = str(error)
    if fault:
        raise InputError(f"{where}: {fault}")
    identifier = record.get("id")
    named = default_id if identifier in (None, "") else _encodable(str(identifier))
    return Diary(named, record["text"], recorded)


def _csv(file: IO[bytes], name: str, recorded: date | None) -> Iterator[Diary | Failure]:
    csv.field_size_limit(4 * LONGEST)
    # Bytes that are not UTF-8 pass as surrogates here, so that only the row they stand in is refused.
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _rows(lines, name, recorded)
    finally:
        lines.detach()  # the file is closed by whoever opened it


def _rows(lines: io.TextIOWrapper, name: str, recorded: date | None) -> Iterator[Diary | Failure]:
    delimiter, names = _header(lines.readline(_LONGEST_LINE), name)
    number = 0
    for line, row in _parsed(csv.reader(_bounded(lines, name), delimiter=delimiter, strict=True)):
        if row:
            number += 1
            yield _row(names, row, f"{name}:{number}", f"{name}, row {number} (line {line})", recorded)


def _bounded(lines: io.TextIOWrapper, name: str) -> Iterator[str]:
    while line := lines.readline(_LONGEST_LINE):
        if len(line) >= _LONGEST_LINE:
            raise InputError(f"{name}: it has a line of more than {_LONGEST_LINE:,} characters")
        yield line


def _parsed(reader: Any) -> Iterator[tuple[int, list[str] | str]]:
    """Each row, or what is wrong with it, with the line it begins in: the reader goes on after an error."""
    row: list[str] | str
    while True:
        line = reader.line_num + 2  # the header was line 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = str(error)
        yield line, row


def _row(
    names: Sequence[str], row: list[str] | str, default_id: str, where: str, recorded: date | None
) -> Diary | Failure:
    try:
        return _record(_fields(names, row, where), default_id, where, recorded)
    except InputError as error:
        return Failure(id=default_id, error=str(error))


def _fields(names: Sequence[str], row: list[str] | str, where: str) -> dict[str, Any]:
    if isinstance(row, str):
        raise InputError(f"{where}: broken CSV: {row}")
    record = dict(zip(names, row, strict=False))
    if "text" not in record:
        raise InputError(f"{where}: it ends before the column 'text'")
    if any(row[len(names) :]):
        raise InputError(f"{where}: more fields than columns; put quotes around a text that holds the delimiter")
    _text(record["text"].encode("utf-8", "surrogateescape"), where)
    return record


def _header(head: str, name: str) -> tuple[str, list[str]]:
    """The delimiter that the header has a column `text` with, and its columns, in small letters."""
    for delimiter in _DELIMITERS:
        names = [column.strip().casefold() for column in _columns(head, delimiter)]
        if names.count("text") > 1:
            raise InputError(f"{name}: {names.count('text')} columns 'text'; name one only so")
        if "text" in names:
            return delimiter, names
    columns = _columns(head, max(_DELIMITERS, key=head.count))
    raise InputError(f"{name}: no column 'text' (columns: {_named(columns)})")


def _columns(head: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([head], delimiter=delimiter), [])
    except csv.Error:  # a field beyond the limit
        return []


def _named(columns: Sequence[str]) -> str:
    """The columns, or how many: what does not look like a header may be a diary."""
    names = [column.strip() for column in columns]
    if all(_COLUMN_NAME.fullmatch(name) for name in names) and len(names) <= 20:
        return ", ".join(names) or "none"
    return f"{len(names)}, and their names are not shown, for they may be a diary"
