"""The confidences of an adapter are fitted on what it told, and only once."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from clario.cli import app
from clario.errors import InputError
from clario.training.adapter_confidence import calibrate

TEXT = "No fever, but my knees hurt."
FEVER = {"name_colloquial": "fever", "start": 3, "end": 8, "type": "symptom", "assertion": "absent"}
KNEES = {"name_colloquial": "knees hurt", "start": 17, "end": 27, "type": "symptom", "assertion": "present"}


def _told(place: dict[str, Any], hpo_id: str | None, label: str | None, confidence: float) -> dict[str, Any]:
    match = {"method": "exact" if hpo_id else "none", "name": label, "score": 1.0 if hpo_id else 0.0}
    name = label or place["name_colloquial"]
    found = {"hpo_id": hpo_id, "hpo_label": label, "name_canonical": name, "confidence": confidence}
    return {**place, **found, "match": {**match, "candidates": []}}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """An adapter, twenty predictions of which those that were sure are right, and their gold."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "clario.json").write_text('{"shots": false, "candidates": 1}', "utf-8")
    gold, told = [], []
    for number in range(20):
        right = number % 2 == 0
        entity = {**FEVER, "hpo_id": "HP:0001945", "hpo_label": "Fever", "alt_ids": []}
        other = {**KNEES, "type": "behavior", "hpo_id": None, "hpo_label": None, "alt_ids": []}
        gold.append({"id": str(number), "text": TEXT, "disease": None, "writer": "w", "entities": [entity, other]})
        term = ("HP:0001945", "Fever") if right else ("HP:0025143", "Chills")
        rows = [_told(FEVER, *term, 0.9 if right else 0.6)]
        rows.append(_told({**KNEES, "type": "behavior" if right else "med"}, None, None, 0.9 if right else 0.4))
        common = {"model": "m", "hpo_release": "2026-02-16", "ts_event_hint": None, "warnings": []}
        told.append({"id": str(number), "entities": rows, **common})
    for name, lines in (("gold", gold), ("told", told)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")
    return tmp_path / "adapter", tmp_path / "told.jsonl", tmp_path / "gold.jsonl"


def test_what_was_sure_and_right_stays_sure(files: tuple[Path, Path, Path]) -> None:
    adapter, told, gold = files
    weights = calibrate(adapter, told, gold)
    assert json.loads((adapter / "clario.json").read_text("utf-8")) == {
        "shots": False, "candidates": 1, "confidence": weights,
    }  # fmt: skip
    assert len(weights["named"]) == 4
    assert len(weights["other"]) == 2
    assert weights["other"][1] > 0


def test_weights_are_fitted_once(files: tuple[Path, Path, Path]) -> None:
    adapter, told, gold = files
    calibrate(adapter, told, gold)
    with pytest.raises(InputError, match="has weights already"):
        calibrate(adapter, told, gold)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_what_cannot_be_read_is_named(files: tuple[Path, Path, Path], broken: int) -> None:
    path = files[broken] / "clario.json" if broken == 0 else files[broken]
    path.write_text("{", "utf-8")
    result = CliRunner().invoke(
        app, ["train", "calibrate", str(files[0]), "--predictions", str(files[1]), "--gold", str(files[2])]
    )
    assert isinstance(result.exception, InputError)
    assert path.name in str(result.exception)
