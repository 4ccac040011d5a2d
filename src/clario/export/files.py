"""Where documents go: one file, one of JSON lines, or a folder with a file each; whole, or not at all."""

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from clario.errors import InputError
from clario.export.records import Record
from clario.paths import write_atomically
from clario.writing import Sink

Render = Callable[[list[Record], int | None], str]
"""The JSON of one patient's records, with an indentation or on one line."""

SINGLE, LINES = ".json", (".jsonl", ".ndjson")
_SAFE = re.compile(r"[a-z0-9_][a-z0-9._-]{0,99}")


def write_lines(file: Sink, patients: Iterable[list[Record]], render: Render) -> None:
    """Write one document a line, as each is made."""
    for records in patients:
        file.write(render(records, None) + "\n")
    file.flush()


def write(output: Path, patients: Iterable[list[Record]], render: Render) -> None:
    """Write documents to a `.json` file (then there is one only), to `.jsonl` or `.ndjson`, else to a folder.

    A file appears when it is whole. In a folder that holds of each of its files.

    Raises:
        InputError: several documents for a `.json` file, or two of one name for a folder.
        OutputError: it cannot be written.
    """
    if output.is_dir() or not output.suffix:
        _write_folder(output, patients, render)
        return
    with write_atomically(output) as file:
        if output.suffix.lower() == SINGLE:
            file.write((_only(output, patients, render) + "\n").encode())
            return
        for records in patients:
            file.write((render(records, None) + "\n").encode())


def _only(output: Path, patients: Iterable[list[Record]], render: Render) -> str:
    stream = iter(patients)
    first = next(stream, None)
    if first is None:
        raise InputError("there is no Extraction to export")
    if next(stream, None) is not None:
        raise InputError(f"{output}: a .json file holds one patient; name a .jsonl file or a folder for several")
    return render(first, 1)


def _write_folder(folder: Path, patients: Iterable[list[Record]], render: Render) -> None:
    before = set[str]()
    for records in patients:
        name = file_name(records[0].subject)
        if name in before:
            raise InputError(
                f"two documents would both be {folder / name}: their diaries have one id; write a .jsonl file"
            )
        before.add(name)
        with write_atomically(folder / name) as file:
            file.write((render(records, 1) + "\n").encode())


def file_name(subject: str) -> str:
    """The file of a patient or diary: its id where that is a plain name, else what is plain of it and a checksum.

    >>> file_name("w01-01"), file_name("../../etc/passwd")
    ('w01-01.json', 'etc-passwd-ae7e2a1d.json')
    """
    if _SAFE.fullmatch(subject):
        return f"{subject}{SINGLE}"
    plain = re.sub(r"[^a-z0-9_]+", "-", subject.lower()).strip("-")[:60] or "diary"
    return f"{plain}-{hashlib.sha256(subject.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}{SINGLE}"
