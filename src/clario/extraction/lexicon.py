"""The `lexicon` extractor: dictionary matching over the whole text. No model, no training: the floor.

It looks for the names of the release, the project's lay lexicon, and two small lists (medicines and
laboratory tests), all normalised as the resolver does. It does not tell assertions: the context does.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from clario.entities import EntityType, Mention
from clario.extraction import wordlist
from clario.extraction.base import Extractor
from clario.extraction.near import NearHit, NearMatcher
from clario.extraction.phrases import Hit, PhraseMatcher, Word, settle, words_of
from clario.extraction.wordlist import Listed
from clario.ontology.index import Name, NameKind
from clario.ontology.normalize import inflects, tokens
from clario.ontology.resolver import Resolver

# Shares of right answers among what each kind of match found on the training diaries;
# `python benchmarks/lexicon_confidence.py` prints them. Keys: kind, words matched (at most 3), gap.
_CONFIDENCE = {
    (NameKind.LABEL, 1, False): 0.72,
    (NameKind.LABEL, 2, False): 0.78,
    (NameKind.LABEL, 2, True): 0.62,
    (NameKind.LABEL, 3, False): 0.85,
    (NameKind.EXACT, 1, False): 0.55,
    (NameKind.EXACT, 2, False): 0.68,
    (NameKind.EXACT, 2, True): 0.39,
    (NameKind.EXACT, 3, False): 0.77,
    (NameKind.LAY, 2, False): 0.62,
    (NameKind.LAY, 2, True): 0.43,
    (NameKind.LAY, 3, False): 0.79,
    (NameKind.LAY, 3, True): 0.65,
}
_OTHERWISE = 0.56
_NEARLY = 0.39
_LISTED = 0.95  # medicines and tests, word for word

_SHORTEST_ABBREVIATION, _LONGEST_ABBREVIATION = 3, 7
_GAP = r"[^\S\n]"  # white space within a line: values do not run across lines
_LINK = (
    rf"(?:{_GAP}++(?:levels?|count|results?|was|were|is|are|came|back|has|been|a|bit|very|really|too|still|just"
    r"|now|at|of|only|gone|went)\b)*+"
)
_LOW, _HIGH = (
    r"low(?:er)?|decreased|reduced|down|deficient",
    r"high(?:er)?|raised|elevated|increased|up|sky[ -]high",
)
_BEFORE = re.compile(rf"\b(?:({_LOW})|({_HIGH})){_GAP}+$", re.IGNORECASE)
_AFTER = re.compile(rf"{_LINK}{_GAP}++(?:({_LOW})|({_HIGH}))\b", re.IGNORECASE)
_UNIT = r"%|[µa-z]+/[a-z]+\b|(?:kg|kilos?|lbs?|st|bpm|mmol|cm)\b"
# "ferritin 2 weeks ago" and "ferritin 12 March" tell no value.
_TIME = r"(?:days?|weeks?|months?|years?|hours?|times|jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)"
_NUMBER = re.compile(
    rf"{_LINK}{_GAP}*+(?:[:=~<>≤≥]{_GAP}*+)?[-+]?\d++(?:[.,/]\d++)*+(?!{_GAP}*+{_TIME})(?:{_GAP}*+(?:{_UNIT}))?",
    re.IGNORECASE,
)
_NAMES_OF_LOW = (
    "low {}",
    "decreased {}",
    "reduced {}",
    "decreased circulating {} concentration",
    "reduced circulating {} concentration",
    "low blood {} levels",
    "decreased serum {}",
    "decreased {} level",
)
_NAMES_OF_HIGH = (
    "high {}",
    "elevated {}",
    "increased {}",
    "increased circulating {} concentration",
    "elevated circulating {} concentration",
    "high blood {} levels",
    "increased serum {}",
    "elevated {} level",
)


class LexiconExtractor(Extractor):
    """Longest-match tagging with the names of the ontology, the lay lexicon and the curated lists."""

    name = "lexicon"
    version = "1"
    max_chars = 20_000

    def __init__(self, resolver: Resolver) -> None:
        super().__init__(resolver)
        tables = (resolver.index.names, resolver.index.lay)
        self._places = [(table, place) for table in tables for place in range(len(table.keys))]
        self._matcher = PhraseMatcher([key for table in tables for key in table.keys])
        self._near = NearMatcher(tables[1].keys)
        self._worth = [1.0] * len(tables[0].keys) + [0.9] * len(tables[1].keys)
        self._medicines = wordlist.load("medicines")
        self._tests = wordlist.load("lab_tests")

    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The mentions of each text; see `Extractor.extract`."""
        return [self._mentions(text) for text in texts]

    def _mentions(self, text: str) -> list[Mention]:
        symptoms, words = self._symptoms(text), tokens(text)
        values = [
            value for listed in self._tests.find(text, words) if (value := self._value(text, listed, symptoms))
        ]
        symptoms = [mention for mention in symptoms if not _overlaps(mention, values)]
        medicines = [
            _mention(text, EntityType.MED, listed.start, listed.end, listed.canonical, _LISTED)
            for listed in self._medicines.find(text, words)
        ]
        medicines = [mention for mention in medicines if not _overlaps(mention, [*values, *symptoms])]
        return sorted([*values, *symptoms, *medicines], key=lambda m: (m.start, m.end))

    def _symptoms(self, text: str) -> list[Mention]:
        words = words_of(text)
        said = {hit: said for hit in self._matcher.hits(words) if (said := self._said(text, words, hit))}
        found = [_symptom(text, hit, said[hit]) for hit in settle(text, words, said, self._worth)]
        nearly = [self._nearly(text, words, hit) for hit in self._near.hits(words)]
        return [*found, *(mention for mention in nearly if not _overlaps(mention, found))]

    def _nearly(self, text: str, words: Sequence[Word], hit: NearHit) -> Mention:
        name = self.resolver.index.lay.at(hit.phrase)[0]
        start, end = words[hit.first].start, words[hit.last].end
        return _mention(text, EntityType.SYMPTOM, start, end, name.text, _NEARLY)

    def _said(self, text: str, words: Sequence[Word], hit: Hit) -> "_Said | None":
        """The name that a hit stands for and its span, or None where only the stems agree, not the words."""
        table, place = self._places[hit.phrase]
        candidates = (_said(name, text, words, hit) for name in table.at(place))
        return next(filter(None, candidates), None)

    def _value(self, text: str, listed: Listed, symptoms: Iterable[Mention]) -> Mention | None:
        """A test with its value; None for a word such as "weight" where no value stands near."""
        measured = _NUMBER.match(text, listed.end)
        before = _BEFORE.search(text[max(0, listed.start - 20) : listed.start])
        after = None if before else _AFTER.match(text, listed.end)
        result = before or after
        if listed.note and not measured and not result:
            return None
        start = listed.start - len(before[0]) if before else listed.start
        end = max(listed.end, *(found.end() for found in (measured, after) if found), 0)
        # What is only nearly said may be of another test ("creatinine came back low").
        said = (s for s in symptoms if s.start < end and start < s.end and s.confidence > _NEARLY)
        name = self._abnormality(listed.canonical, result) or listed.canonical
        if named := next(said, None):
            start, end, name = min(start, named.start), max(end, named.end), named.name_canonical
        # Body measurements told in words are symptoms; see docs/ANNOTATION.md, "Settled cases".
        told = listed.note and not measured
        return _mention(text, EntityType.SYMPTOM if told else EntityType.LAB_MARKER, start, end, name, _LISTED)

    def _abnormality(self, test: str, result: re.Match[str] | None) -> str | None:
        """The ontology's name for a low or high result of a test, where it has one."""
        if not result:
            return None
        for pattern in _NAMES_OF_LOW if result[1] else _NAMES_OF_HIGH:
            found = self.resolver.resolve(pattern.format(test))
            if found.method in {"exact", "normalized"}:
                return found.label
        return None


class _Said(NamedTuple):
    name: Name
    start: int
    end: int


def _said(name: Name, text: str, words: Sequence[Word], hit: Hit) -> _Said | None:
    """Whether a hit's words really say a name, beyond equal stems; and where."""
    start, end = words[hit.places[0]].start, words[hit.places[-1]].end
    if name.kind is NameKind.ABBREVIATION or (name.text.isupper() and len(name.text) < _LONGEST_ABBREVIATION):
        stands = name.text == text[start:end] and len(name.text) >= _SHORTEST_ABBREVIATION
    elif hit.size == 1:
        return _said_alone(name, text, words[hit.places[0]])
    else:
        # A comma divides symptoms ("nausea, vomiting"); only a colloquial phrase may run across it.
        stands = not hit.commas or (name.kind is NameKind.LAY and not hit.gap)
    return _Said(name, start, end) if stands else None


def _said_alone(name: Name, text: str, word: Word) -> _Said | None:
    """One content word: an inflection of the name ("coughing"), not what it derives from ("mouth": Mouthing).

    A name with function words ("the runs") must stand there with all of them.
    """
    parts = [token.word for token in tokens(name.text)]
    if len(parts) == 1:
        return _Said(name, word.start, word.end) if inflects(parts[0], word.word) else None
    begin = max(0, word.start - len(name.text) - 1)
    around = tokens(text[begin : word.end + len(name.text) + 1])
    for i in range(len(around) - len(parts) + 1):
        if [token.word for token in around[i : i + len(parts)]] == parts:
            return _Said(name, begin + around[i].start, begin + around[i + len(parts) - 1].end)
    return None


def _symptom(text: str, hit: Hit, said: _Said) -> Mention:
    kind = NameKind.LAY if said.name.kind is NameKind.LAY else min(said.name.kind, NameKind.EXACT)
    confidence = _CONFIDENCE.get((kind, min(hit.size, 3), hit.gap > 0), _OTHERWISE)
    return _mention(text, EntityType.SYMPTOM, said.start, said.end, said.name.text, confidence)


def _apart(mentions: Iterable[Mention]) -> list[Mention]:
    """Those that no earlier one overlaps."""
    kept = list[Mention]()
    for mention in mentions:
        if not _overlaps(mention, kept):
            kept.append(mention)
    return kept


def _overlaps(mention: Mention, others: Iterable[Mention]) -> bool:
    return any(mention.start < other.end and other.start < mention.end for other in others)


def _mention(text: str, kind: EntityType, start: int, end: int, name: str, confidence: float) -> Mention:
    return Mention(
        type=kind,
        name_colloquial=text[start:end],
        start=start,
        end=end,
        name_canonical=name,
        confidence=confidence,
    )
