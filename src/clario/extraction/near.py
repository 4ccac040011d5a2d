"""Find colloquial phrases that a text says nearly: most of the words, in about the same place.

Nobody says "hats catch on the bulge behind" twice in the same words. A phrase of the lay lexicon counts as
nearly said where at least three of its content words stand close together and carry most of its weight,
each word weighted by its inverse document frequency in the lexicon.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from clario.extraction.phrases import Word, nearest, places_of

_FEWEST = 3  # words in common
_LEAST = 0.6  # of the phrase's weight; chosen on training diaries, see docs/LOG.md
_SLACK = 2  # other content words between them
_ANCHORS = 2  # rarest words, one of which must be said
# Without these words a phrase means another thing.
_DECISIVE = frozenset("left right no not never cant dont upper lower both one without".split())


@dataclass(frozen=True, slots=True)
class NearHit:
    """A phrase nearly said: which one, between which content words (inclusive), and the share of its weight."""

    phrase: int
    first: int
    last: int
    share: float


class NearMatcher:
    """Phrases by key, as `PhraseMatcher` has them; those too short to be said nearly are left out."""

    def __init__(self, keys: Sequence[str]) -> None:
        common = Counter(chain.from_iterable(map(str.split, keys)))
        self._weight = {stem: math.log(len(keys) / (1 + number)) for stem, number in common.items()}
        self._stems: dict[int, frozenset[str]] = {}
        self._anchored: dict[str, list[int]] = {}
        for number, key in enumerate(keys):
            stems = key.split()
            if len(stems) > _FEWEST:
                self._stems[number] = frozenset(stems)
                for anchor in sorted(stems, key=common.__getitem__)[:_ANCHORS]:
                    self._anchored.setdefault(anchor, []).append(number)

    def hits(self, words: Sequence[Word]) -> list[NearHit]:
        """The phrases nearly said by the words of a text, none overlapping another: the fullest first."""
        places = places_of(words)
        numbers = {number for stem in places for number in self._anchored.get(stem, ())}
        found = (hit for number in numbers for hit in self._around(words, places, number))
        chosen: list[NearHit] = []
        for hit in sorted(found, key=lambda h: (-h.share, h.first, h.phrase)):
            if all(hit.last < other.first or other.last < hit.first for other in chosen):
                chosen.append(hit)
        return chosen

    def _around(self, words: Sequence[Word], places: dict[str, list[int]], number: int) -> Iterator[NearHit]:
        stems = self._stems[number]
        said = stems & places.keys()
        if len(said) < _FEWEST or len(said) == len(stems) or (stems - said) & _DECISIVE:
            return
        share = sum(map(self._weight.__getitem__, said)) / sum(map(self._weight.__getitem__, stems))
        if share < _LEAST:
            return
        for place in places[max(said, key=lambda s: (self._weight[s], s))]:
            near = [nearest(words, places[stem], place) for stem in said]
            first, last = min(near), max(near)
            if last - first < len(said) + _SLACK and words[first].clause == words[last].clause:
                yield NearHit(number, first, last, share)
