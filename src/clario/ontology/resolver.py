"""From a name to HPO terms: exact, then normalised, then typing errors, then, where asked for, by meaning.

Same name, same answer. Each stage is tried for every given name before the next stage, so that a canonical name
found word for word beats a quote found with a typing error. Terms that share a name are reported, not settled
silently. Only the last stage uses a model, see `clario.ontology.meaning`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

from clario.ontology.index import Index, Name, NameKind, NameTable
from clario.ontology.normalize import (
    FUNCTION_WORDS,
    content,
    inflects,
    key,
    key_of,
    meaning,
    ordered_stems,
    stem,
    tokens,
)

if TYPE_CHECKING:
    from clario.ontology.meaning import Meaning

_KIND_SCORE = {
    NameKind.LABEL: 1.0,
    NameKind.EXACT: 0.98,
    NameKind.NARROW: 0.8,
    NameKind.BROAD: 0.7,
    NameKind.RELATED: 0.7,
    NameKind.ABBREVIATION: 0.8,
    NameKind.LAY: 0.9,
}
_FORM_SCORE = (1.0, 0.99, 0.97, 0.95, 0.93)  # by `_form`: from word for word to words in another order
_SPACING_SCORE, _TYPO_SCORE = 0.9, 0.9

# One letter or two decide the meaning here; a typing error never crosses from one to another.
_OPPOSITES = [
    {"hypo", "hyper"},
    {"macro", "micro"},
    {"inter", "intra", "infra"},
    {"abduc", "adduc"},
    {"ante", "anti"},
    {"supra", "super", "sub"},
    {"endo", "ecto", "exo", "eso"},
    {"poly", "oligo"},
    {"pre", "post", "pro"},
    {"tachy", "brady"},
    {"mono", "multi"},
    {"syn", "sym", "poly"},
    {"para", "peri"},
    {"leuko", "leio"},
]
_SHORTEST_TYPO, _LONG_WORD = 5, 8
_NOT_A_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A term that a name may mean, by which of its names, and how well it fits (0 to 1)."""

    hpo_id: str
    label: str
    name: str
    score: float


@dataclass(frozen=True, slots=True)
class Resolution:
    """The answer for a name. `hpo_id`, `label` and `name` are None where nothing fits (method "none").

    `method` is "exact", "normalized", "fuzzy", "dense" or "none"; `candidates` are the next best terms, and all
    of them where a typing error leaves it open which one is meant. Of a "dense" answer, `name` is the label and
    `score` the probability that it is right.
    """

    hpo_id: str | None
    label: str | None
    method: str
    name: str | None
    score: float
    candidates: tuple[Candidate, ...] = ()


NOTHING = Resolution(None, None, "none", None, 0.0)


class Resolver:
    """Names to terms of one release. Thread-safe: it only reads.

    Args:
        index: the release.
        model: the folder of the encoder of the dense stage; by default the one that ships with Clario.
    """

    def __init__(self, index: Index, model: Path | None = None) -> None:
        self.index = index
        self._model = model

    @cached_property
    def meaning(self) -> "Meaning":
        """The dense stage, with its model and vectors."""
        from clario.ontology.encoder import FOLDER
        from clario.ontology.meaning import Meaning

        return Meaning(self.index, self._model or FOLDER)

    @property
    def release(self) -> str:
        """Date of the HPO release that answers."""
        return self.index.release

    @property
    def has_dense(self) -> bool:
        """Whether there are vectors of the release in use; without them `dense` changes nothing."""
        return self.meaning.file is not None

    def resolve(self, *names: str, candidates: int = 5, dense: bool = False) -> Resolution:
        """Find the term that the names mean: the first name that a stage knows decides.

        Args:
            names: one or more names of the same thing, the most canonical first.
            candidates: how many further terms to report at most.
            dense: look for what no stage knows by its meaning, too. For what people type, and for names that a
                model made up; not for what an extractor found to mean no term.

        Raises:
            ModelError: `dense`, and the model or its vectors are broken.
        """
        stages = [self._by_key, self._by_spacing, self._by_typo]
        if dense:
            stages.append(lambda name: self._by_meaning(name, candidates + 1))
        for stage in stages:
            for name in names:
                found = stage(name)
                if found:
                    return self._answer(found, candidates)
        return NOTHING

    def search(self, phrase: str, limit: int = 10) -> list[Candidate]:
        """Terms whose names share words with a phrase, best first: the look-up for annotators.

        The score is the F1 of the words in common, each word weighted by its inverse document frequency.
        """
        query = dict.fromkeys(content(token.word for token in tokens(phrase)))
        best: dict[str, Candidate] = {}
        for table, position, score in self._overlaps(query):
            for name in table.at(position):
                known = best.get(name.hpo_id)
                score_of_name = round(score * _KIND_SCORE[name.kind], 4)
                if known is None or score_of_name > known.score:
                    best[name.hpo_id] = self._candidate(name, score_of_name)
        return sorted(best.values(), key=lambda c: (-c.score, c.hpo_id))[:limit]

    def _by_key(self, name: str) -> "_Found | None":
        return self._found(name, [n for n in self._lookup(name, key(name)) if _says(n.text, name)])

    def _by_spacing(self, name: str) -> "_Found | None":
        """Words written apart or together: head ache, nose bleed, hyper tension."""
        compact = _compact(name)
        spellings = self._compact_names.get(compact, ()) if len(compact) >= _LONG_WORD else ()
        found = self._found(name, [n for spelling in spellings for n in self._lookup(name, key(spelling))])
        return found and _Found("normalized", [(n, s * _SPACING_SCORE) for n, s in found.scored])

    def _by_typo(self, name: str) -> "_Found | None":
        best: dict[str, tuple[Name, float]] = {}
        for words, similarity in self._corrections(name):
            for found in self._lookup(name, key_of(content(words))):
                score = similarity * _TYPO_SCORE * _KIND_SCORE[found.kind]
                if found.hpo_id not in best or score > best[found.hpo_id][1]:
                    best[found.hpo_id] = (found, score)
        scored = sorted(best.values(), key=lambda pair: (-pair[1], pair[0].hpo_id))
        return _Found("fuzzy", scored) if scored else None

    def _by_meaning(self, name: str, count: int) -> "_Found | None":
        near = self.meaning.answers(name, count) if self.has_dense else []
        label = self.index.label
        scored = [(Name(label(one.hpo_id), one.hpo_id, NameKind.LABEL), one.score) for one in near]
        return _Found("dense", scored) if scored else None

    def _lookup(self, name: str, key: str) -> list[Name]:
        if not key:
            return []
        names = self.index.names.find(key)
        # An ontology name in the very form asked for leaves nothing to the lay lexicon, which is read later.
        if any(_form(found.text, name) <= 1 for found in names):
            return names
        return names + self.index.lay.find(key)

    def _found(self, name: str, names: list[Name]) -> "_Found | None":
        if not names:
            return None
        ranked = sorted(names, key=lambda n: (_form(n.text, name), n.kind, n.hpo_id))
        method = "exact" if ranked[0].text == name else "normalized"
        first_of_term = {n.hpo_id: n for n in reversed(ranked)}
        distinct = sorted(first_of_term.values(), key=ranked.index)
        return _Found(method, [(n, _FORM_SCORE[_form(n.text, name)] * _KIND_SCORE[n.kind]) for n in distinct])

    def _answer(self, found: "_Found", limit: int) -> Resolution:
        (first, score), *others = found.scored
        rest = tuple(self._candidate(name, round(s, 4)) for name, s in others)
        tied = [s for _, s in found.scored if s == score]
        if len(tied) > 1 and found.method == "fuzzy":
            return Resolution(None, None, "none", None, 0.0, (self._candidate(first, score), *rest)[:limit])
        score = round(score / len(tied), 4)
        return Resolution(
            first.hpo_id, self.index.label(first.hpo_id), found.method, first.text, score, rest[:limit]
        )

    def _candidate(self, name: Name, score: float) -> Candidate:
        return Candidate(name.hpo_id, self.index.label(name.hpo_id), name.text, score)

    def _corrections(self, name: str) -> Iterator[tuple[list[str], float]]:
        """Sequences of known words that a name with typing errors may mean, each with its similarity."""
        words = [token.word for token in tokens(name)]
        choices = [self._choices(word) for word in words]
        if not any(words) or all(choice == [(word, 0)] for word, choice in zip(words, choices, strict=True)):
            return
        letters = sum(map(len, words))
        for combination in islice(product(*choices), 16):
            errors = sum(distance for _, distance in combination)
            yield [word for word, _ in combination], 1 - errors / letters

    def _choices(self, word: str) -> list[tuple[str, int]]:
        """What a word may mean: itself where it is known or too short to tell, else its nearest known words."""
        if len(word) < _SHORTEST_TYPO or word in self.index.words or word in FUNCTION_WORDS:
            return [(word, 0)]
        return self.correct(word) or [(word, 0)]

    def correct(self, word: str) -> list[tuple[str, int]]:
        """The known words nearest to an unknown one, with the number of typing errors between them.

        One error is allowed, two from eight letters on; the first letter must be right; a word is never
        taken for its opposite (hypo-, hyper-), nor one with digits for another.
        """
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extract

        if not word.isalpha():
            return []
        cutoff = 2 if len(word) >= _LONG_WORD else 1
        known = self._words_by_letter.get(word[0], [])
        found = extract(word, known, scorer=OSA.distance, score_cutoff=cutoff, limit=8)
        near = [(other, int(distance)) for other, distance, _ in found if not _opposite(word, other)]
        least = min((distance for _, distance in near), default=0)
        by_stem = {stem(other): (other, distance) for other, distance in reversed(near) if distance == least}
        return sorted(by_stem.values())

    @cached_property
    def _words_by_letter(self) -> dict[str, list[str]]:
        by_letter: dict[str, list[str]] = {}
        for word in sorted(self.index.words):
            if word.isalpha() and len(word) >= _SHORTEST_TYPO - 1:
                by_letter.setdefault(word[0], []).append(word)
        return by_letter

    @cached_property
    def _compact_names(self) -> dict[str, list[str]]:
        compact: dict[str, list[str]] = {}
        for text in self.index.names.texts:
            compact.setdefault(_compact(text), []).append(text)
        return compact

    def _overlaps(self, query: Iterable[str]) -> Iterator[tuple[NameTable, int, float]]:
        weights = {word: self._weight(word) for word in query}
        shared: Counter[tuple[int, int]] = Counter()
        for word, weight in weights.items():
            for place in self._postings.get(word, ()):
                shared[place] += weight  # type: ignore[assignment]  # weights are floats
        total = sum(weights.values())
        for (number, position), common in shared.items():
            table = self._tables[number]
            length = sum(self._weight(word) for word in table.keys[position].split())
            yield table, position, 2 * common / (total + length)

    def _weight(self, word: str) -> float:
        documents = sum(len(table.keys) for table in self._tables)
        return math.log(1 + documents / (1 + len(self._postings.get(word, ()))))

    @property
    def _tables(self) -> tuple[NameTable, NameTable]:
        return self.index.names, self.index.lay

    @cached_property
    def _postings(self) -> dict[str, list[tuple[int, int]]]:
        postings: dict[str, list[tuple[int, int]]] = {}
        for number, table in enumerate(self._tables):
            for position, name_key in enumerate(table.keys):
                for word in set(name_key.split()):
                    postings.setdefault(word, []).append((number, position))
        return postings


@dataclass(frozen=True, slots=True)
class _Found:
    """Names that a stage found, best first, one a term, each with its score."""

    method: str
    scored: list[tuple[Name, float]]


def _form(name: str, asked: str) -> int:
    """How far a name's form is from the one asked for: 0 word for word, then case, spelling, inflection, order."""
    if name == asked:
        return 0
    if name.casefold() == asked.casefold():
        return 1
    if [t.word for t in tokens(name)] == [t.word for t in tokens(asked)]:
        return 2
    return 3 if ordered_stems(name) == ordered_stems(asked) else 4


def _says(name: str, asked: str) -> bool:
    """Whether a name of the key asked for is really said: a word alone must be an inflection of it."""
    if len(set(ordered_stems(name))) > 1:
        return True
    said, parts = ([token.word for token in tokens(text)] for text in (asked, name))
    alone = meaning(said)
    return said == parts or (len(parts) == len(set(alone)) == 1 and inflects(parts[0], alone[0]))


def _compact(name: str) -> str:
    return _NOT_A_LETTER.sub("", name.casefold())


def _opposite(word: str, other: str) -> bool:
    for group in _OPPOSITES:
        prefixes = [next((p for p in group if w.startswith(p)), None) for w in (word, other)]
        if all(prefixes) and prefixes[0] != prefixes[1]:
            return True
    return False
