"""A diary as it stands in a JSON answer, and where in it a quote may begin and end: no word is cut."""

import json
import re
import unicodedata
from bisect import bisect_left
from itertools import accumulate
from typing import Final

from clario.extraction.prompt import LONGEST_QUOTE

# Thai, Lao, Burmese, Khmer, kana, Chinese characters: words without spaces between them.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def escaped(text: str) -> bytes:
    """A text as it stands inside a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1].encode()


class Text:
    """A diary inside a JSON string. Places are code points, as are those of quotes; `data` counts bytes.

    Args:
        text: the diary.
        most_bytes: of a word with which a quote may begin.
    """

    def __init__(self, text: str, most_bytes: int) -> None:
        self.text = text
        parts = [escaped(character) for character in text]
        self.data = b"".join(parts)
        self.byte = list(accumulate(map(len, parts), initial=0))
        """By place: its first byte."""
        self.place = {byte: place for place, byte in enumerate(self.byte)}
        borders = [self._border(place) for place in range(len(text) + 1)]
        seen = [c.isprintable() and not c.isspace() for c in text]
        self.ends = [bool(n and seen[n - 1] and borders[n]) for n in range(len(text) + 1)]
        self.next_end = self._next_ends()
        self.starts = [
            n for n, (border, sight) in enumerate(zip(borders, seen, strict=False))
            if border and sight and (end := self.next_end[n + 1]) is not None
            and end - n <= LONGEST_QUOTE and self.byte[end] - self.byte[n] <= most_bytes
        ]  # fmt: skip

    def _border(self, place: int) -> bool:
        """Whether no word is cut at a place."""
        before, after = self.text[place - 1 : place], self.text[place : place + 1]
        if not before or not after:
            return True
        if unicodedata.category(after).startswith("M"):
            return False
        both = _in_word(before) and _in_word(after)
        return not both or bool(_UNSPACED.match(before) or _UNSPACED.match(after))

    def reaches(self, place: int, limit: int) -> bool:
        """Whether a quote may end from a place on, up to a limit."""
        end = self.next_end[place] if place < len(self.next_end) else None
        return end is not None and end <= limit

    def bytes_to_end(self, byte: int) -> int:
        """How many bytes a quote takes from a byte on until it may end."""
        end = self.next_end[bisect_left(self.byte, byte)]
        return self.byte[end] - byte if end is not None else 0

    def _next_ends(self) -> list[int | None]:
        """At each place, the first place from there on where a quote may end."""
        found, nearest = list[int | None](), None
        for place in range(len(self.text), -1, -1):
            nearest = place if self.ends[place] else nearest
            found.append(nearest)
        return found[::-1]


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")
