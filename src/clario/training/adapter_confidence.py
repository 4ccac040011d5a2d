"""What an adapter's confidences are told from, fitted on diaries that it did not learn; see `gemma_model`."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clario.corpus import dataset
from clario.entities import Entity, EntityType, Extraction
from clario.errors import InputError
from clario.extraction.gemma_model import FACTS
from clario.extraction.nearby import NAMED, OTHER, evidence, nearby
from clario.ontology import release as releases
from clario.ontology.resolver import Resolver
from clario.paths import write_atomically
from clario.training.calibration import aligned
from clario.training.logistic import fitted


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
    candidates = int(facts.get("candidates", 0))
    kinds = (NAMED, OTHER) if candidates else (OTHER,)
    rows: dict[str, list[tuple[list[float], bool]]] = {kind: [] for kind in kinds}
    for kind, told, right in _judged(predictions, gold, candidates):
        rows[kind].append((told, right))
    if not all(rows.values()):
        raise InputError(f"{predictions} tells too little of the diaries of {gold} to fit anything on")
    facts["confidence"] = {kind: _weights(found) for kind, found in rows.items()}
    with write_atomically(adapter / FACTS) as file:
        file.write((json.dumps(facts) + "\n").encode())
    return dict(facts["confidence"])


def _judged(predictions: Path, gold: Path, candidates: int) -> Iterator[tuple[str, list[float], bool]]:
    """Each entity's kind, what its confidence is told from, and whether it has the type and a term of gold."""
    found, resolver = _read(predictions), Resolver(releases.load())
    for diary in dataset.load(gold):
        near, told = nearby(resolver, diary.text, candidates), found.get(diary.id, ())
        pairs = aligned([entity.model_dump() for entity in diary.entities], told)
        for place, one in enumerate(told):
            features = evidence(one.confidence, one.name_canonical, (one.start, one.end), near)
            yield (*features, _is_right(one, pairs.get(place)))


def _is_right(one: Entity, gold: dict[str, Any] | None) -> bool:
    if gold is None or gold["type"] != one.type:
        return False
    if one.type not in (EntityType.SYMPTOM, EntityType.LAB_MARKER) or one.hpo_id == gold["hpo_id"]:
        return True
    return one.hpo_id in gold["alt_ids"]


def _read(path: Path) -> dict[str, tuple[Entity, ...]]:
    try:
        lines = [Extraction.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} holds no extractions ({type(error).__name__})") from None
    return {one.id: one.entities for one in lines}


def _weights(rows: list[tuple[list[float], bool]]) -> list[float]:
    x = np.array([told for told, _ in rows])
    y = np.array([right for _, right in rows], float)
    return [round(float(weight), 4) for weight in fitted(x, y)]


def _facts(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({type(error).__name__}); name an adapter's folder") from None
