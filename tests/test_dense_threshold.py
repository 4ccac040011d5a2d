"""How the threshold of the dense stage is told."""

import json
from pathlib import Path

import pytest

pytest.importorskip("tokenizers")

from clario.ontology import encoder, release
from clario.ontology.meaning import UNSET, Setting
from clario.ontology.resolver import Resolver
from clario.training import dense_threshold
from clario.training.dense_threshold import Asked

RIGHT, WRONG = frozenset({"HP:0000001"}), frozenset({"HP:0000002"})


def _asked(accepted: frozenset[str], score: float) -> Asked:
    return Asked(int(score * 1000), accepted, None, ("HP:0000001", score, 0.0))


SURE = [_asked(RIGHT, 0.8 + n / 1000) for n in range(40)]
UNSURE = [_asked(RIGHT if n % 4 == 0 else WRONG, 0.5 + n / 1000) for n in range(40)]
OTHER = [_asked(frozenset(), 0.3 + n / 1000) for n in range(40)]


def test_the_weights_tell_likely_from_unlikely_answers() -> None:
    weights = dense_threshold.fit([*SURE, *UNSURE, *OTHER])
    p = dense_threshold.probabilities([SURE[0], UNSURE[0], OTHER[0], Asked(0, RIGHT, None, None)], weights)
    assert p[0] > 0.7 > p[1] > p[2] > p[3] == 0
    assert dense_threshold.fit([]) == UNSET.weights


def test_the_threshold_answers_what_is_mostly_right() -> None:
    asked = [*SURE, *UNSURE, *OTHER]
    weights = dense_threshold.fit(asked)
    rows = dense_threshold.table(asked, weights)
    best = dense_threshold.chosen(rows)
    assert best.f_half == max(row.f_half for row in rows)
    assert (best.without_term, best.dense_precision) == (0.0, 1.0)
    assert [row.recall for row in rows] == sorted((row.recall for row in rows), reverse=True)


def test_names_count_in_every_row() -> None:
    named = Asked(0, RIGHT, "HP:0000001", None), Asked(0, frozenset(), "HP:0000001", None)
    none = dense_threshold.without([*named, *SURE[:2]])
    assert (none.precision, none.recall, none.dense_answers) == (0.5, 1 / 3, 0)


def test_a_file_of_diaries_gives_a_setting_that_the_model_takes(tmp_path: Path) -> None:
    entities = [
        {"type": "symptom", "name_colloquial": "my heart flutters", "hpo_id": "HP:0001962", "alt_ids": []},
        {"type": "symptom", "name_colloquial": "dry mouth", "hpo_id": "HP:0000217", "alt_ids": []},
        {"type": "symptom", "name_colloquial": "all of it", "hpo_id": None, "alt_ids": []},
        {"type": "med", "name_colloquial": "paracetamol", "hpo_id": None, "alt_ids": []},
    ]
    path = tmp_path / "validation.jsonl"
    path.write_text(json.dumps({"text": "", "entities": entities}) + "\n", "utf-8")
    flutter, dry, pill = dense_threshold.ask(Resolver(release.load()), path)
    assert flutter.right
    assert (dry.named, dry.found, pill.accepted) == ("HP:0000217", None, frozenset())
    made = dense_threshold.calibrate(encoder.FOLDER, path)
    assert Setting.of({"calibration": {"dense": json.loads(json.dumps(made))}}).least in dense_threshold.LEAST
