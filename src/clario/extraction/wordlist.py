"""Curated lists of medicines and laboratory tests (`data/*.tsv`), and finding their names in a text."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from clario.ontology.normalize import Token, normal_word, tokens


@dataclass(frozen=True, slots=True)
class Listed:
    """A name of a list found in a text: its offsets, its canonical name, and the list's note."""

    start: int
    end: int
    canonical: str
    note: str


class WordList:
    """Names with their canonical forms, found word for word in any case, with or without a plural s."""

    def __init__(self, rows: Iterable[tuple[str, str, str]]) -> None:
        self._rows = {_words(name): (canonical, note) for name, canonical, note in rows}
        self._longest: dict[str, int] = {}  # first word -> words of the longest name that begins with it
        for first, *rest in self._rows:
            for form in (first, f"{first}s") if not rest else (first,):
                self._longest[form] = max(1 + len(rest), self._longest.get(form, 0))

    def find(self, text: str, words: Sequence[Token]) -> list[Listed]:
        """The longest names at each place of a text, from left to right; `words` are the tokens of the text."""
        found, place = list[Listed](), 0
        while place < len(words):
            length, row = self._longest_at(words, place, text)
            if row:
                found.append(Listed(words[place].start, words[place + length - 1].end, *row))
            place += length
        return found

    def _longest_at(self, words: Sequence[Token], place: int, text: str) -> tuple[int, tuple[str, str] | None]:
        longest = self._longest.get(words[place].word, 0)
        for length in range(min(longest, len(words) - place), 0, -1):
            stretch = words[place : place + length]
            row = self._row(tuple(token.word for token in stretch))
            if row and _unbroken(text, stretch):
                return length, row
        return 1, None

    def _row(self, name: tuple[str, ...]) -> tuple[str, str] | None:
        row = self._rows.get(name)
        if row is None and len(name[-1]) > 4 and name[-1].endswith("s"):
            row = self._rows.get((*name[:-1], name[-1][:-1]))
        return row


@cache
def load(name: str) -> WordList:
    """The shipped list of a name: "medicines" or "lab_tests"."""
    text = files("clario.extraction").joinpath("data", f"{name}.tsv").read_text(encoding="utf-8")
    return WordList(_parse(text))


def _parse(text: str) -> Iterator[tuple[str, str, str]]:
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    next(lines)  # the header
    for line in lines:
        name, canonical, *note = line.split("\t")
        yield name, canonical, note[0].strip() if note else ""


def _words(name: str) -> tuple[str, ...]:
    return tuple(token.word for token in tokens(name)) or (normal_word(name),)


def _unbroken(text: str, stretch: Sequence[Token]) -> bool:
    """Only spaces and hyphens inside a name: "vitamin. D" is not one."""
    pairs = pairwise(stretch)
    return all(not re.search(r"[.,;:!?\n]", text[a.end : b.start]) for a, b in pairs)
