"""The dense stage of the resolver: the terms nearest in meaning to a phrase that no name matches.

The vectors that are asked must be of the release in use and of the encoder at hand: those beside the compiled
index (see `install`), else the model's own. Nothing of the encoder is loaded before the first phrase is asked.
"""

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from clario.errors import ModelError
from clario.ontology import dense
from clario.ontology.dense import Near, TermVectors
from clario.ontology.encoder import FOLDER, LINKER, Encoder
from clario.ontology.index import PHENOTYPIC_ABNORMALITY, Index

if TYPE_CHECKING:
    from clario.ontology.encoder import Floats

LONGEST = 300  # code points; what is longer is a text, not a phrase
_DENIAL = re.compile(r"\s*(?:no|not|without|never|denie[sd])\s+(?:(?:any|had|have|having|got)\s+)*", re.IGNORECASE)


def logistic(weights: Sequence[float], told: Sequence[float]) -> float:
    """The logistic function of weighted features, by which all confidences are told (Platt 1999)."""
    value = sum(w * x for w, x in zip(weights, told, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, value))))


class Setting(NamedTuple):
    """How the probability that a term is right is told, and from which probability on it is the answer.

    `weights` of the logistic function (Platt 1999): of one, the term's score, and its lead over the next best.
    """

    weights: tuple[float, float, float]
    least: float

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Self:
        """The setting that a model's manifest holds; `UNSET` where it has none."""
        found = manifest.get("calibration", {}).get("dense")
        if found is None:
            return cls(*UNSET)
        one, score, lead = found["weights"]
        return cls((one, score, lead), found["least"])

    def probability(self, score: float, lead: float) -> float:
        """That a term is right which has this score and this lead (less than 0 where another is better)."""
        one, by_score, by_lead = self.weights
        return logistic((one, by_score, by_lead), (1.0, score, lead))

    def likely(self, near: Sequence[Near]) -> list[Near]:
        """Terms, the nearest first, with probabilities for scores."""
        best, second = (near[place].score if place < len(near) else 0.0 for place in (0, 1))
        leads = [one.score - (second if place == 0 else best) for place, one in enumerate(near)]
        return [Near(one.hpo_id, self.probability(one.score, lead)) for one, lead in zip(near, leads, strict=True)]


UNSET = Setting((-23.3465, 24.2022, 12.675), 0.55)
"""Of a model whose manifest has no setting: `benchmarks/dense_threshold.py` on mini d6a75865d382."""


class Meaning:
    """Terms by meaning, for one release. Thread-safe.

    Args:
        index: the release.
        folder: the model's.
    """

    def __init__(self, index: Index, folder: Path = FOLDER) -> None:
        self.index = index
        self.encoder = Encoder(folder)
        self._lock = RLock()
        self._vectors: TermVectors | None = None

    @cached_property
    def file(self) -> Path | None:
        """The vectors that belong to the release; None where there are none.

        Raises:
            ModelError: a file of vectors is broken.
        """
        own, shipped = (folder / dense.FILE for folder in (self.index.folder, self.encoder.folder))
        if own.exists() and dense.owners(own) == (self.index.sha256, self.encoder.sha256):
            return own
        if shipped.exists() and dense.owners(shipped)[0] == self.index.sha256:
            return shipped
        return None

    @property
    def vectors(self) -> TermVectors:
        """The vectors of the release.

        Raises:
            ModelError: there are none, or their file is broken.
        """
        with self._lock:
            if self._vectors is None:
                if self.file is None:
                    raise ModelError(
                        f"there are no vectors of terms for HPO {self.index.release} as compiled here"
                    )
                self._vectors = dense.load(self.file)
            return self._vectors

    @cached_property
    def setting(self) -> Setting:
        """How sure it must be; raises ModelError where the model has no manifest."""
        return Setting.of(self.encoder.manifest)

    def answers(self, phrase: str, count: int) -> list[Near]:
        """The likely terms with their probabilities, best first; none where even the best is not likely enough.

        Raises:
            ModelError: the model or the vectors are broken.
        """
        near = self.nearest(phrase, count)
        found = self.setting.likely(near)
        if not found or found[0].score < self.setting.least or self.denies(phrase, near[0]):
            return []
        return found[:count]

    def nearest(self, phrase: str, count: int) -> list[Near]:
        """The nearest terms below Phenotypic abnormality, and at least two; none where there is no word."""
        # Half a surrogate pair is no text that the tokenizer takes.
        words = phrase[: LONGEST + 1].encode("utf-8", "replace").decode()
        says = len(words) <= LONGEST and any(letter.isalpha() for letter in words)
        vectors = self.encoder.phrases([words] if says else [])
        if not vectors.any():
            return []
        return self.nearest_to(vectors, max(count, 2))

    def nearest_to(self, vectors: "Floats", count: int) -> list[Near]:
        """The best terms below Phenotypic abnormality of a query [1, dimensions]."""
        (near,) = self.vectors.nearest(vectors, count + 1)
        return [one for one in near if one.hpo_id != PHENOTYPIC_ABNORMALITY][:count]

    def within(self, text: str) -> "Within":
        """Gives the terms nearest to parts of a text.

        Raises:
            ModelError: the model or the vectors are broken.
        """
        return Within(self, text)

    def denies(self, phrase: str, best: Near) -> bool:
        """Whether a phrase denies its term ("no trouble peeing") and is not meant by it ("no interest in food").

        A denial takes a phrase away from its term: without it, the phrase is nearer.
        """
        denial = _DENIAL.match(phrase)
        if denial is None:
            return False
        return any(
            one.hpo_id == best.hpo_id and one.score >= best.score
            for one in self.nearest(phrase[denial.end() :], 5)
        )


class Within:
    """The terms nearest to parts of a text, each read where it stands and alone; see `Encoder.mentions`."""

    def __init__(self, meaning: Meaning, text: str) -> None:
        self._meaning = meaning
        self._reading = meaning.encoder.read(text)
        self._states = meaning.encoder.states(self._reading, LINKER)[0] if len(self._reading.ids) else None

    def nearest(self, start: int, end: int, count: int) -> list[Near]:
        """The best terms of the text between two code points, best first; none where no word stands there."""
        first, last = self._pieces(start, end)
        if self._states is None or first >= last:
            return []
        vectors = self._meaning.encoder.mentions(self._states, self._reading, [(first, last)])
        return self._meaning.nearest_to(vectors, count)

    def _pieces(self, start: int, end: int) -> tuple[int, int]:
        """The first word piece that reaches into a part of the text, and the one after the last."""
        reading = self._reading
        return int(bisect_right(reading.ends, start)), int(bisect_left(reading.starts, end))
