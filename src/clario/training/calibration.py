"""What the confidences of `mini` are told from, fitted on the validation part, and how well they fit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from clario.extraction.mini import Found, MiniExtractor, features, probability
from clario.training.logistic import fitted
from clario.training.texts import read

_FOLDS = 5
_ALL_BUT = 0.005  # of F1


class Placed(Protocol):
    """What stands somewhere in a text."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


class Judged(NamedTuple):
    """A mention that was found: its diary, whether its type is right, and what gold has there."""

    diary: int
    found: Found
    right_type: bool
    gold_id: str | None
    accepted: frozenset[str]

    @property
    def right_term(self) -> bool:
        """Whether the nearest term would do."""
        return self.right_type and bool(self.found.near) and self.found.near[0].hpo_id in self.accepted


def judge(extractor: MiniExtractor, path: Path) -> list[Judged]:
    """Read the diaries of a file and hold what was found against the gold mentions."""
    diaries = read(path)
    judged = []
    for number, (diary, found) in enumerate(
        zip(diaries, extractor.find([d["text"] for d in diaries]), strict=True)
    ):
        gold = aligned(diary["entities"], found)
        judged += [_judged(number, one, gold.get(place)) for place, one in enumerate(found)]
    return judged


def _judged(diary: int, found: Found, gold: dict[str, Any] | None) -> Judged:
    if gold is None or gold["type"] != found.type:
        return Judged(diary, found, False, None, frozenset())
    accepted = frozenset([gold["hpo_id"], *gold["alt_ids"]]) - {None}
    return Judged(diary, found, True, gold["hpo_id"], accepted)


def aligned(gold: Sequence[dict[str, Any]], found: Sequence[Placed]) -> dict[int, dict[str, Any]]:
    """The gold mention of each found one that overlaps one; one to one, the most alike first."""
    pairs = []
    for g, entity in enumerate(gold):
        for f, one in enumerate(found):
            shared = min(entity["end"], one.end) - max(entity["start"], one.start)
            if shared > 0:
                whole = max(entity["end"], one.end) - min(entity["start"], one.start)
                pairs.append((-shared / whole, g, f))
    aligned: dict[int, dict[str, Any]] = {}
    used = set()
    for _, g, f in sorted(pairs):
        if g not in used and f not in aligned:
            used.add(g)
            aligned[f] = gold[g]
    return aligned


def calibrate(judged: Sequence[Judged]) -> dict[str, Any]:
    """The weights of the confidences (see `mini.features`) and the least probability of a term to be named.

    `term`: the nearest term is right. `linked`, `unlinked`, `other`: the answer as given is right.
    """
    with_terms = [one for one in judged if one.found.near]
    term = _fit([(one.found, one.right_term) for one in with_terms])
    least = _least(with_terms, term)
    linked = [one for one in with_terms if probability(term, one.found) >= least]
    unlinked = [one for one in with_terms if probability(term, one.found) < least]
    return {
        "term": term,
        "least": least,
        "linked": _fit([(one.found, one.right_term) for one in linked]),
        "unlinked": _fit([(one.found, one.right_type and one.gold_id is None) for one in unlinked]),
        "other": _fit([(one.found, one.right_type) for one in judged if not one.found.near]),
    }


def _least(judged: Sequence[Judged], term: Sequence[float]) -> float:
    """The least threshold whose F1 of right terms, among those named, is all but the best.

    The curve is flat at its top, where the best is chance; to a reviewer a doubtful term tells more than none.
    """
    scored = sorted(((probability(term, one.found), one.right_term) for one in judged), reverse=True)
    wanted = sum(one.gold_id is not None for one in judged)
    right = np.cumsum([is_right for _, is_right in scored])
    f1 = 2 * right / (np.arange(1, len(scored) + 1) + wanted)
    last = int(np.flatnonzero(f1 >= f1.max() - _ALL_BUT)[-1])
    return round(scored[last][0], 4)


def _fit(rows: Sequence[tuple[Found, bool]]) -> list[float]:
    """The weights of `features` by logistic regression."""
    if not rows:
        return [0.0, 0.0, 0.0, 0.0]
    x = np.array([features(found) for found, _ in rows])
    y = np.array([right for _, right in rows], float)
    return [round(float(w), 5) for w in fitted(x, y)]


def error_of(judged: Sequence[Judged]) -> float:
    """Expected calibration error of `term` in ten bins, each fifth of the diaries told by the other four."""
    pairs = []
    for fold in range(_FOLDS):
        rest = [(j.found, j.right_term) for j in judged if j.found.near and j.diary % _FOLDS != fold]
        weights = _fit(rest)
        own = [j for j in judged if j.found.near and j.diary % _FOLDS == fold]
        pairs += [(probability(weights, j.found), j.right_term) for j in own]
    p, right = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs], float)
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [abs((p - right)[bins == b].sum()) for b in range(10)]
    return float(sum(gaps) / max(len(p), 1))


def write(folder: Path, record: dict[str, Any]) -> None:
    """Write a model's manifest."""
    (folder / "mini.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
