"""Read what a release is compiled from: an OBO file of HPO, and the lay lexicon."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from clario.errors import InputError, OntologyError
from clario.ontology.obo import HP_ID, Ontology, parse
from clario.paths import sha256_of

if TYPE_CHECKING:
    from io import BufferedIOBase

_MAX_LINE = 2**20  # bytes; the longest line of hp.obo has a few thousand
_MAX_LINES = 5_000_000  # hp.obo has about 250,000; stops what a small gzip file can blow up to


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Colloquial phrases as (HPO id, phrase), and the SHA-256 of the file that they stand in."""

    sha256: str
    phrases: list[tuple[str, str]]


def read_obo(path: Path, source: str | None = None) -> Ontology:
    """Parse an OBO file, gzipped or not. `source` is how errors name it.

    Raises:
        OntologyError: not there, not UTF-8, cut off, or not OBO; the message names file and line.
    """
    source = source or str(path)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return parse(_lines(_unpacked(file) if packed else file, source), source)
    except OSError as error:
        raise OntologyError(f"{source} cannot be read: {error.strerror or error}") from None


def _unpacked(file: "BufferedIOBase") -> "BufferedIOBase":
    import gzip

    return gzip.GzipFile(fileobj=file)


def _lines(file: "BufferedIOBase", source: str) -> Iterator[str]:
    import zlib

    number = 1
    try:
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE or number > _MAX_LINES:
                raise OntologyError(f"{source}, line {number}: too long for an OBO file of HPO")
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            number += 1
    except UnicodeDecodeError:
        raise OntologyError(f"{source}, line {number}: not UTF-8; is this a release of hp.obo?") from None
    except (EOFError, OSError, zlib.error) as error:
        raise OntologyError(f"{source}, line {number}: cannot be read on ({error}); fetch it again") from None


def read_lexicon(path: Path) -> Lexicon:
    """Read a lay lexicon: JSON Lines of {"hpo_id", "hpo_label", "phrases"}; the label is for readers.

    Raises:
        InputError: not there, or a line is no such entry; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    phrases = [
        (hpo_id, phrase)
        for number, line in enumerate(data.splitlines(), 1)
        for hpo_id, phrase in _entry(line, path, number)
    ]
    return Lexicon(sha256_of(path), phrases)


def _entry(line: bytes, path: Path, number: int) -> list[tuple[str, str]]:
    try:
        entry = json.loads(line)
        hpo_id, phrases = entry["hpo_id"], entry["phrases"]
        fits = isinstance(phrases, list) and HP_ID.fullmatch(hpo_id)
        if fits and all(isinstance(phrase, str) for phrase in phrases):
            return [(hpo_id, phrase) for phrase in phrases]
    except (ValueError, TypeError, KeyError):
        pass  # said below
    raise InputError(
        f'{path}, line {number}: not an entry of a lay lexicon, {{"hpo_id": "HP:...", "phrases": [...]}}'
    )
