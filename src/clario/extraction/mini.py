"""The `mini` extractor: a small encoder of our own, int8, on any processor, in milliseconds.

One pass tags the words (B, I, O of each type) and tells the assertion of each mention; the states of the
mention, in its diary and alone, are compared with the vectors of all terms. The canonical name of a symptom or
laboratory marker is the label of its term; where no term is near enough, or none is asked for, it is the quote.

Diaries in indirect words taught it; what stands in a text in plain words, the lexicon knows, see `union`.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from clario.entities import Assertion, EntityType, Mention
from clario.errors import ModelError
from clario.extraction import wordlist
from clario.extraction.base import Extractor
from clario.extraction.lexicon import LexiconExtractor
from clario.extraction.union import united
from clario.ontology.dense import Near
from clario.ontology.encoder import FOLDER, LINKER, TAGGER, Reading, workers
from clario.ontology.index import NameKind
from clario.ontology.meaning import Meaning, logistic
from clario.ontology.normalize import key, tokens
from clario.ontology.resolver import Resolver

if TYPE_CHECKING:
    from clario.ontology.encoder import Floats

_TYPES = tuple(EntityType(name) for name in ("symptom", "lab_marker", "med", "trigger", "behavior"))
_ASSERTIONS = tuple(Assertion(name) for name in ("present", "past", "absent", "other", "hypothetical"))
_WITH_TERMS = frozenset({EntityType.SYMPTOM, EntityType.LAB_MARKER})


class Span(NamedTuple):
    """A mention as the tagger found it: words (first, after the last), type, and how sure the tags are."""

    first: int
    last: int
    type: EntityType
    sure: float


class Found(NamedTuple):
    """A mention before calibration: code points, type, assertion, the tags' sureness, and the nearest terms."""

    start: int
    end: int
    type: EntityType
    assertion: Assertion
    sure: float
    near: list[Near]


class MiniExtractor(Extractor):
    """Reads texts with the encoder of a folder; by default the one that ships with Clario.

    Raises:
        ModelError: no model there, or no vectors of it for the release in use.
    """

    name = "mini"
    max_chars = 20_000

    def __init__(self, resolver: Resolver, folder: Path = FOLDER) -> None:
        super().__init__(resolver)
        shared = resolver.meaning.encoder.folder == folder
        self.meaning = resolver.meaning if shared else Meaning(resolver.index, folder)
        self.encoder = self.meaning.encoder
        self.version = f"{self.encoder.manifest['version']}+lexicon.{LexiconExtractor.version}"
        if self.meaning.file is None:
            raise ModelError(
                f"mini has no vectors of terms for HPO {resolver.release} as compiled here; build or update that "
                "release again, use the shipped one ('clario ontology use shipped'), or another model "
                "(--model lexicon)"
            )
        self._medicines = wordlist.load("medicines")
        self._lexicon = LexiconExtractor(resolver)

    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        """The mentions of each text; see `Extractor.extract`."""
        found = self.find(texts)
        read = [[self._mention(text, one) for one in ones] for text, ones in zip(texts, found, strict=True)]
        plain = self._lexicon.extract(texts)
        return [united(own, found, self._named) for own, found in zip(read, plain, strict=True)]

    def find(self, texts: Sequence[str]) -> list[list[Found]]:
        """The mentions of each text with what their confidence is told from; texts are read side by side."""
        if len(texts) == 1:
            return [self._find(texts[0])]
        with ThreadPoolExecutor(workers()) as pool:
            return list(pool.map(self._find, texts))

    def _find(self, text: str) -> list[Found]:
        reading = self.encoder.read(text)
        if not len(reading.ids):
            return []
        tagger, linker = self.encoder.states(reading, TAGGER, LINKER)
        spans = self._spans(tagger, reading)
        pieces = [(int(reading.words[s.first]), int(reading.words[s.last])) for s in spans]
        assertions = self._assertions(tagger, pieces)
        asked = [p for s, p in zip(spans, pieces, strict=True) if s.type in _WITH_TERMS]
        near = iter(self._near(linker, reading, asked))
        return [
            Found(
                int(reading.starts[first]), int(reading.ends[last - 1]), span.type, assertion, span.sure,
                next(near) if span.type in _WITH_TERMS else [],
            )
            for span, (first, last), assertion in zip(spans, pieces, assertions, strict=True)
        ]  # fmt: skip

    def _spans(self, states: "Floats", reading: Reading) -> list[Span]:
        """The best tags' spans: Viterbi's path (1967) of the words, each the mean of its pieces."""
        import numpy as np

        heads = self.encoder.heads
        counts = np.diff(reading.words)[:, None]
        words = np.add.reduceat(states, reading.words[:-1], axis=0) / counts
        scores = words @ heads["tag.weight"].T + heads["tag.bias"]
        tags = viterbi(scores.astype(np.float32), heads["moves"])
        shares = np.exp(scores - scores.max(1, keepdims=True))
        sure = shares[np.arange(len(tags)), tags] / shares.sum(1)
        return [Span(a, b, _TYPES[kind], float(sure[a:b].mean())) for a, b, kind in spans_of(tags)]

    def _assertions(self, states: "Floats", pieces: Sequence[tuple[int, int]]) -> list[Assertion]:
        heads = self.encoder.heads
        if not pieces:
            return []
        means = _means(states, pieces)
        hidden = _gelu(means @ heads["hidden.weight"].T + heads["hidden.bias"])
        scores = hidden @ heads["assertion.weight"].T + heads["assertion.bias"]
        return [_ASSERTIONS[place] for place in scores.argmax(1).tolist()]

    def _near(self, states: "Floats", reading: Reading, pieces: Sequence[tuple[int, int]]) -> list[list[Near]]:
        """The nearest terms of mentions."""
        if not pieces:
            return []
        return self.meaning.vectors.nearest(self.encoder.mentions(states, reading, pieces), 2)

    def _named(self, name: str) -> bool:
        """Whether a name is a label or an exact synonym of the release."""
        found = self.resolver.index.names.find(key(name))
        return any(one.text == name and one.kind <= NameKind.EXACT for one in found)

    def _mention(self, text: str, found: Found) -> Mention:
        quote = text[found.start : found.end]
        settings = self.encoder.manifest["calibration"]
        name, near = quote, found.near
        linked = bool(near) and probability(settings["term"], found) >= settings["least"]
        if linked:
            name = self.resolver.index.label(near[0].hpo_id)
        elif found.type is EntityType.MED:
            name = self._medicine(quote)
        kind = "linked" if linked else "unlinked" if near else "other"
        return Mention(
            type=found.type,
            name_colloquial=quote,
            start=found.start,
            end=found.end,
            name_canonical=name,
            assertion=found.assertion,
            confidence=round(probability(settings[kind], found), 4),
        )

    def _medicine(self, quote: str) -> str:
        listed = self._medicines.find(quote, tokens(quote))
        return listed[0].canonical if listed else quote


def features(found: Found) -> list[float]:
    """What a confidence is told from: one, the tags' log-odds, the best term's score, and its lead."""
    sure = min(max(found.sure, 1e-4), 1 - 1e-4)
    best = found.near[0].score if found.near else 0.0
    lead = best - found.near[1].score if len(found.near) > 1 else 0.0
    return [1.0, math.log(sure / (1 - sure)), best, lead]


def probability(weights: Sequence[float], found: Found) -> float:
    """The logistic function of the weighted features (Platt 1999)."""
    return logistic(weights, features(found))


def viterbi(scores: "Floats", moves: "Floats") -> list[int]:
    """The best sequence of tags; `scores` [words, tags], `moves` [from or start, to] (the start is last)."""
    best, back = scores[0] + moves[-1], []
    for row in scores[1:]:
        paths = best[:, None] + moves[:-1]
        back.append(paths.argmax(0))
        best = paths.max(0) + row
    tags = [int(best.argmax())]
    for places in reversed(back):
        tags.append(int(places[tags[-1]]))
    return tags[::-1]


def spans_of(tags: Sequence[int]) -> list[tuple[int, int, int]]:
    """Spans (first, after the last, type) of tags: 0 is outside, 1 + 2 type begins one, 2 + 2 type goes on."""
    spans, first = list[tuple[int, int, int]](), -1
    for place, tag in enumerate([*tags, 0]):
        if first >= 0 and (tag == 0 or tag % 2 == 1):
            spans.append((first, place, (tags[first] - 1) // 2))
            first = -1
        if tag % 2 == 1:
            first = place
    return spans


def _means(states: "Floats", pieces: Sequence[tuple[int, int]]) -> "Floats":
    import numpy as np

    return np.stack([states[first:last].mean(0) for first, last in pieces])


def _gelu(values: "Floats") -> "Floats":
    import numpy as np

    erf: Any = np.vectorize(math.erf, otypes=[np.float32])
    half: Floats = 0.5 * values * (1 + erf(values / math.sqrt(2)))
    return half
