"""What an adapter's confidences are told from, fitted on diaries that it did not learn; see `gemma_model`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clario.errors import InputError
from clario.evaluation import metrics, read
from clario.evaluation.metrics import Annotation
from clario.extraction.gemma_model import FACTS
from clario.extraction.nearby import Nearby, nearby
from clario.ontology import release as releases
from clario.ontology.resolver import Resolver
from clario.paths import write_atomically
from clario.training.logistic import fitted

NAMED, OTHER = "named", "other"


def calibrate(adapter: Path, predictions: Path, gold: Path) -> dict[str, Any]:
    """Fit the weights of an adapter's confidences and write them beside it; gives them.

    Args:
        adapter: a folder whose clario.json has no "confidence" yet.
        predictions: what `clario extract --model gemma:ADAPTER --format jsonl` told of the diaries of `gold`.

    Raises:
        InputError: a file is missing or broken, or the adapter has weights already.
    """
    facts = _facts(adapter / FACTS)
    if "confidence" in facts:
        raise InputError(f"{adapter / FACTS} has weights already: its confidences are no mean probabilities")
    rows: dict[str, list[tuple[list[float], bool]]] = {NAMED: [], OTHER: []}
    for kind, told, right in _judged(read_pairs(predictions, gold), int(facts.get("candidates", 0))):
        rows[kind].append((told, right))
    facts["confidence"] = {kind: _weights(found) for kind, found in rows.items() if found}
    with write_atomically(adapter / FACTS) as file:
        file.write((json.dumps(facts) + "\n").encode())
    return dict(facts["confidence"])


def read_pairs(predictions: Path, gold: Path) -> Iterator[tuple[read.GoldDiary, tuple[Annotation, ...]]]:
    """The diaries of a file, each with what was told of it; raises InputError as `evaluation.read` does."""
    found = read.predictions(predictions)
    for diary in read.gold(gold, releases.load()).values():
        if diary.id in found:
            yield diary, found[diary.id].entities or ()


def _judged(
    pairs: Iterator[tuple[read.GoldDiary, tuple[Annotation, ...]]], candidates: int
) -> Iterator[tuple[str, list[float], bool]]:
    """Each entity's kind, what its confidence is told from, and whether it is right as `metrics` judges."""
    resolver = Resolver(releases.load())
    for diary, told in pairs:
        near = nearby(resolver, diary.text, candidates)
        right = {id(p) for g, p in metrics.align(diary.entities, told) if metrics.is_right(g, p)}
        for one in told:
            yield (*_features(one, near), id(one) in right)


def _features(one: Annotation, near: Nearby | None) -> tuple[str, list[float]]:
    sure = min(max(one.confidence or 0.0, 1e-4), 1 - 1e-4)
    told = [1.0, math.log(sure / (1 - sure))]
    span = one.start or 0, one.end or 0
    if near is None or one.name not in near.labels(span):
        return OTHER, told
    return NAMED, [*told, *near.lead(span)]


def _weights(rows: list[tuple[list[float], bool]]) -> list[float]:
    x = np.array([told for told, _ in rows])
    y = np.array([right for _, right in rows], float)
    return [round(float(weight), 4) for weight in fitted(x, y)]


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}); name an adapter's folder") from None
    return dict(facts)
