"""The public contract: the JSON Schema and a whole answer, as files that only a deliberate change may touch."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from typer.testing import CliRunner

import clario
from clario.cli import app
from clario.entities import Entity, Extraction, Match, Mention

GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_published_schema_is_the_golden_one() -> None:
    printed = CliRunner().invoke(app, ["schema"])
    assert printed.exit_code == 0
    assert json.loads(printed.stdout) == json.loads((GOLDEN / "extraction.schema.json").read_text())


def test_the_answer_for_an_example_is_the_golden_one() -> None:
    text = (EXAMPLES / "dry_mouth.txt").read_text(encoding="utf-8")
    answer = clario.Clario("lexicon").extract(text, id="dry_mouth")
    assert json.loads(answer.model_dump_json()) == json.loads((GOLDEN / "dry_mouth.json").read_text())


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.txt")), ids=lambda path: path.stem)
def test_every_answer_validates_against_the_schema(example: Path) -> None:
    schema = json.loads((GOLDEN / "extraction.schema.json").read_text())
    answer = clario.Clario("lexicon").extract(example.read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(json.loads(answer.model_dump_json()))


def test_an_answer_survives_json() -> None:
    answer = clario.Clario("lexicon").extract("Dry mouth, no fever.")
    assert Extraction.model_validate_json(answer.model_dump_json()) == answer


def test_a_quote_must_be_as_long_as_its_span() -> None:
    with pytest.raises(ValidationError, match="length of name_colloquial"):
        Mention(type="symptom", name_colloquial="fever", start=0, end=4, name_canonical="Fever", confidence=0.5)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_a_confidence_lies_between_0_and_1(confidence: float) -> None:
    with pytest.raises(ValidationError):
        Match(method="exact", name="Fever", score=confidence)


def test_an_unknown_assertion_is_refused_not_turned_into_present() -> None:
    good = clario.Clario("lexicon").extract("fever").entities[0].model_dump()
    with pytest.raises(ValidationError):
        Entity.model_validate(good | {"assertion": "affirmed"})
