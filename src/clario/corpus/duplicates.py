"""Near-duplicate texts: the same text with some words changed, moved, added or cut off.

Two texts are compared where they share word 5-grams (Broder 1997, "On the resemblance and containment of
documents": here a fifth of the shorter text's), and scored by RapidFuzz's token_set_ratio. Words that differ
are edits; a text that is a part of another scores 1. A retelling in other words is no near-duplicate.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

SHINGLE: Final = 5  # words
CONTAINED: Final = 0.2  # of the shorter text's shingles
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Shingles = frozenset[tuple[str, ...]]


class Texts:
    """Texts so far, each found again by an inverted index on its word 5-grams."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._shingles: list[Shingles] = []
        self._postings: dict[tuple[str, ...], list[int]] = {}

    def __len__(self) -> int:
        return len(self._words)

    def add(self, text: str) -> int:
        """Take up a text; its position, counted from 0."""
        words, shingles = _shingles(text)
        position = len(self)
        self._words.append(words)
        self._shingles.append(shingles)
        for shingle in shingles:
            self._postings.setdefault(shingle, []).append(position)
        return position

    def similar(self, text: str, threshold: float) -> list[tuple[int, float]]:
        """The texts so far whose similarity to `text` is at least `threshold` (0 to 1), by position."""
        from rapidfuzz.fuzz import token_set_ratio

        words, shingles = _shingles(text)
        shared: Counter[int] = Counter()
        for shingle in shingles:
            shared.update(self._postings.get(shingle, ()))
        found = []
        for position, common in shared.items():
            if common >= CONTAINED * min(len(shingles), len(self._shingles[position])):
                score = token_set_ratio(words, self._words[position], score_cutoff=100 * threshold) / 100
                if score >= threshold:
                    found.append((position, score))
        return sorted(found)


def similarity(first: str, second: str) -> float:
    """How similar two texts are, 0 to 1; 0 where they share no stretch of words worth the name."""
    texts = Texts()
    texts.add(first)
    return next((score for _, score in texts.similar(second, 0.0)), 0.0)


def near_duplicates(texts: Sequence[str], threshold: float = 0.7) -> list[tuple[int, int, float]]:
    """All pairs of texts whose similarity is at least `threshold` (0 to 1), each pair once.

    Texts without a word are left out.

    Returns:
        (position, later position, similarity), sorted.
    """
    seen, found = Texts(), []
    for later, text in enumerate(texts):
        found += [(position, later, score) for position, score in seen.similar(text, threshold)]
        seen.add(text)
    return sorted(found)


def _shingles(text: str) -> tuple[str, Shingles]:
    words = [word.casefold().replace("’", "'") for word in _WORD.findall(text)]
    starts = range(max(len(words) - SHINGLE + 1, 1)) if words else ()
    return " ".join(words), frozenset(tuple(words[start : start + SHINGLE]) for start in starts)
