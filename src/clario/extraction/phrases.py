"""Find many known phrases in a text at once, in any inflection and order, with small gaps.

A phrase is the set of stems of its key. It is looked for only where its rarest stem stands, so that the
cost follows the text and not the size of the dictionary.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from clario.ontology.normalize import FUNCTION_WORDS, stem, tokens, unwrap

_BORDER = re.compile(r"[.!?;:\n(){}\[\]|…•*]|\s[-–—]+\s")
_COMMA = re.compile(r"[,/]")
_NEGATIONS = frozenset(
    "no not never without cant dont doesnt didnt wont isnt wasnt arent havent hasnt hadnt nor".split()
)
# Lay words that stand for a word of many names: "my knees hurt" is "knee pain".
_ALSO = {
    "hurt": "pain", "ach": "pain", "sore": "pain", "tummi": "stomach", "belli": "stomach", "puffi": "swell",
    "pee": "urin", "wee": "urin", "poo": "stool", "poop": "stool", "puke": "vomit",
}  # fmt: skip
_COORDINATORS = frozenset({"and", "or", "n"})


class Word(NamedTuple):
    """A content word of a text. `clause` and `part` tell which words no border, or no comma, divides."""

    stem: str
    word: str
    start: int
    end: int
    clause: int
    part: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A phrase found: which one, where its words stand among the content words, and how closely."""

    phrase: int
    places: tuple[int, ...]
    gap: int
    commas: bool

    @property
    def size(self) -> int:
        """The number of content words that matched."""
        return len(self.places)


def places_of(words: Sequence[Word]) -> dict[str, list[int]]:
    """Where each stem stands among the words, in order; also under the stem that a lay word stands for."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words):
        places.setdefault(word.stem, []).append(place)
        if word.stem in _ALSO:
            places.setdefault(_ALSO[word.stem], []).append(place)
    return places


def words_of(text: str) -> list[Word]:
    """The content words of a text with their offsets, clauses and parts of clauses."""
    words, clause, part, last = [], 0, 0, 0
    text = unwrap(text)
    for token in tokens(text):
        between = text[last : token.start]
        clause += bool(_BORDER.search(between))
        part += bool(_COMMA.search(between))
        last = token.end
        if token.word and token.word not in FUNCTION_WORDS:
            words.append(Word(stem(token.word), token.word, token.start, token.end, clause, part))
    return words


class PhraseMatcher:
    """A dictionary of phrases, each given as its key (stems between spaces).

    Args:
        keys: the key of each phrase; a hit names its phrase by position in this sequence.
        gap: for a number of stems, how many other content words may stand between them.
    """

    def __init__(self, keys: Sequence[str], gap: Sequence[int] = (0, 0, 1, 1, 2)) -> None:
        self._keys = keys
        self._gap = gap
        common = Counter(chain.from_iterable(map(str.split, keys)))
        self._anchored: dict[str, list[int]] = {}
        for number, key in enumerate(keys):
            anchor = min(key.split(), key=common.__getitem__)
            self._anchored.setdefault(anchor, []).append(number)

    def hits(self, words: Sequence[Word]) -> Iterator[Hit]:
        """Every phrase in the words of a text, overlapping ones included, in the order of their anchors."""
        places = places_of(words)
        for anchor, at in places.items():
            for number in self._anchored.get(anchor, ()):
                phrase = frozenset(self._keys[number].split())
                if phrase <= places.keys():
                    yield from self._around(words, places, number, phrase - {anchor}, at)

    def _around(
        self, words: Sequence[Word], places: dict[str, list[int]], number: int, rest: frozenset[str], at: list[int]
    ) -> Iterator[Hit]:
        """The hits of a phrase around each place of its anchor; `rest` are its other stems."""
        size = len(rest) + 1
        allowed = self._gap[min(size, len(self._gap) - 1)]
        for place in at:
            near = [nearest(words, places[stem], place) for stem in rest]
            found = tuple(sorted({place, *near}))
            gap = found[-1] - found[0] + 1 - size
            if len(found) == size and gap <= allowed and _together(words, found):
                commas = words[found[0]].part != words[found[-1]].part
                yield Hit(number, found, gap, commas)


def nearest(words: Sequence[Word], places: Sequence[int], place: int) -> int:
    """The nearest of some places, in order, to a place; in the same clause if there is one."""
    at, clause = bisect_left(places, place), words[place].clause
    return min(places[max(0, at - 1) : at + 1], key=lambda p: (words[p].clause != clause, abs(p - place)))


def _together(words: Sequence[Word], found: tuple[int, ...]) -> bool:
    """In one clause, and with no negation between that is not itself part of the phrase."""
    if words[found[0]].clause != words[found[-1]].clause:
        return False
    between = set(range(found[0], found[-1])) - set(found)
    return not any(words[place].word in _NEGATIONS for place in between)


def settle(text: str, words: Sequence[Word], hits: Iterable[Hit], worth: Sequence[float]) -> list[Hit]:
    """Choose among overlapping hits: more words first, then fewer gaps, then more worth, then further left.

    Two hits may share words only where a coordination divides them ("aplastic or hypoplastic nails").

    Args:
        worth: a preference for each phrase, by its number.
    """
    chosen: list[Hit] = []
    owner: dict[int, list[Hit]] = {}
    for hit in sorted(hits, key=lambda h: (h.gap - h.size, h.gap, -worth[h.phrase], h.places, h.phrase)):
        rivals = [rival for place in hit.places for rival in owner.get(place, ())]
        if all(_coordinated(text, words, hit, rival) for rival in rivals):
            chosen.append(hit)
            for place in hit.places:
                owner.setdefault(place, []).append(hit)
    return sorted(chosen, key=lambda h: (h.places, h.phrase))


def _coordinated(text: str, words: Sequence[Word], hit: Hit, rival: Hit) -> bool:
    mine, theirs = set(hit.places) - set(rival.places), set(rival.places) - set(hit.places)
    if not mine or not theirs:
        return False
    between = text[
        words[min(hit.places[0], rival.places[0])].start : words[max(hit.places[-1], rival.places[-1])].end
    ]
    return any(token.word in _COORDINATORS for token in tokens(between)) or "/" in between
