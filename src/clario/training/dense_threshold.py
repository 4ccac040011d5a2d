"""When the dense stage of the resolver may answer: told on the validation part, kept in the model's manifest.

Asked are the quotes of the diaries, each alone: those with a term, and, as things that have none, the medicines,
triggers and behaviours. The names of the release answer first; the probability is fitted (Platt 1999) to what is
left to the dense stage. A wrong term is worse than none, so the least probability to answer with is the one with
the best F0.5 of the whole look-up, in which precision weighs twice what recall does (van Rijsbergen 1979).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from clario.entities import EntityType
from clario.ontology import release as releases
from clario.ontology.meaning import UNSET, Setting
from clario.ontology.resolver import Resolver
from clario.training.logistic import Array, fitted
from clario.training.texts import read

LEAST = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""The thresholds that are tried."""
_WITHOUT_TERMS = {EntityType.MED, EntityType.TRIGGER, EntityType.BEHAVIOR}
_FOLDS = 5


class Asked(NamedTuple):
    """A quote of a diary: which ids are right (none for what has no term), and what the look-up found.

    `named` is the id that a name gives. `found` is of the dense stage, None where it was not asked or has no
    answer at any threshold: the id, its score, and its lead over the next best.
    """

    diary: int
    accepted: frozenset[str]
    named: str | None
    found: tuple[str, float, float] | None

    @property
    def right(self) -> bool:
        """Whether the dense stage found a right id."""
        return self.found is not None and self.found[0] in self.accepted


class Row(NamedTuple):
    """What a threshold does: figures of the whole look-up, then of the dense stage alone."""

    least: float
    precision: float
    recall: float
    f_half: float
    dense_answers: int
    dense_precision: float
    without_term: float  # share of the quotes without a term that the dense stage gives one to


def ask(resolver: Resolver, path: Path) -> list[Asked]:
    """Look up the quotes of a file of diaries.

    Raises:
        ModelError: there are no vectors for the release of the resolver.
    """
    asked = []
    for number, diary in enumerate(read(path)):
        for entity in diary["entities"]:
            accepted = frozenset([entity["hpo_id"], *entity["alt_ids"]]) if entity["hpo_id"] else frozenset()
            if accepted or (entity["type"] in _WITHOUT_TERMS and not entity["alt_ids"]):
                asked.append(_asked(resolver, number, entity["name_colloquial"], accepted))
    return asked


def _asked(resolver: Resolver, diary: int, quote: str, accepted: frozenset[str]) -> Asked:
    named = resolver.resolve(quote).hpo_id
    near = [] if named else resolver.meaning.nearest(quote, 2)
    if len(near) < 2 or resolver.meaning.denies(quote, near[0]):
        return Asked(diary, accepted, named, None)
    return Asked(diary, accepted, named, (near[0].hpo_id, near[0].score, near[0].score - near[1].score))


def fit(asked: Sequence[Asked]) -> tuple[float, float, float]:
    """The weights of `Setting` by logistic regression."""
    rows = [(one.found, one.right) for one in asked if one.found]
    if not any(right for _, right in rows):
        return UNSET.weights
    x, y = np.array([(1.0, *found[1:]) for found, _ in rows]), np.array([right for _, right in rows], float)
    one, score, lead = (round(float(w), 4) for w in fitted(x, y))
    return one, score, lead


def probabilities(asked: Sequence[Asked], weights: tuple[float, float, float]) -> list[float]:
    """That the dense stage's answer to each is right; 0 where it has none."""
    setting = Setting(weights, 0.0)
    return [setting.probability(*one.found[1:]) if one.found else 0.0 for one in asked]


def table(asked: Sequence[Asked], weights: tuple[float, float, float]) -> list[Row]:
    """What each of `LEAST` does."""
    p = probabilities(asked, weights)
    return [_row(least, asked, [value >= least for value in p]) for least in LEAST]


def without(asked: Sequence[Asked]) -> Row:
    """The look-up without the dense stage."""
    return _row(1.0, asked, [False] * len(asked))


def _row(least: float, asked: Sequence[Asked], answers: Sequence[bool]) -> Row:
    dense = [one for one, answered in zip(asked, answers, strict=True) if answered]
    named = [one for one in asked if one.named]
    right_dense = sum(one.right for one in dense)
    right = right_dense + sum(one.named in one.accepted for one in named)
    wanted = sum(bool(one.accepted) for one in asked)
    precision, recall = _share(right, len(dense) + len(named)), _share(right, wanted)
    invented = sum(not one.accepted for one in dense)
    return Row(
        least, precision, recall, _share(1.25 * precision * recall, 0.25 * precision + recall),
        len(dense), _share(right_dense, len(dense)), _share(invented, len(asked) - wanted),
    )  # fmt: skip


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def chosen(rows: Sequence[Row]) -> Row:
    """The row with the best F0.5; of equal ones that with the higher threshold."""
    return max(rows, key=lambda row: (row.f_half, row.least))


def error_of(asked: Sequence[Asked]) -> float:
    """Expected calibration error in ten bins, each fifth of the diaries told by the other four."""
    gaps: Array = np.zeros(10)
    for fold in range(_FOLDS):
        weights = fit([one for one in asked if one.diary % _FOLDS != fold])
        own = [one for one in asked if one.found and one.diary % _FOLDS == fold]
        for p, one in zip(probabilities(own, weights), own, strict=True):
            gaps[min(int(p * 10), 9)] += p - one.right
    return _share(float(np.abs(gaps).sum()), sum(one.found is not None for one in asked))


def calibrate(folder: Path, validation: Path) -> dict[str, Any]:
    """The setting of the dense stage for a model's manifest, `calibration.dense`.

    Args:
        folder: the model's, with its vectors of the release in use.
        validation: the validation diaries.

    Raises:
        ModelError: the model or its vectors are missing or broken.
    """
    asked = ask(Resolver(releases.load(), folder), validation)
    weights = fit(asked)
    return {"weights": list(weights), "least": chosen(table(asked, weights)).least}
