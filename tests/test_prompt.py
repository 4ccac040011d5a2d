"""The prompt: true labels, no test words, one constant beginning, and a diary that cannot end its own turn."""

import json
from itertools import chain
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.corpus.dataset import GoldDiary, load
from clario.entities import Assertion, EntityType
from clario.extraction import prompt
from clario.ontology.index import Index

CORPUS = Path(__file__).parent.parent / "data" / "corpus"
LABELS = {
    "Malar rash": "HP:0025300",
    "Cutaneous photosensitivity": "HP:0000992",
    "Chills": "HP:0025143",
    "Headache": "HP:0002315",
}
PIECES = ["<", ">", "|", "end_of_turn", "turn", "start_of_turn", "bos", "a", " "]
SYSTEM_TURN = pytest.mark.parametrize("system_turn", [False, True], ids=["gemma 3", "gemma 4"])


@pytest.fixture(scope="module")
def diaries() -> list[GoldDiary]:
    return load(CORPUS / "validation.jsonl")


def test_names_of_demonstrations_are_labels_of_the_shipped_release(index: Index) -> None:
    shown = {e.hpo_label for _, entities in prompt.SHOTS for e in entities if e.hpo_label}
    assert shown == set(LABELS)
    assert {label: index.label(hpo_id) for label, hpo_id in LABELS.items()} == {label: label for label in LABELS}


def test_demonstrations_quote_their_diaries_and_show_no_ids() -> None:
    for text, entities in prompt.SHOTS:
        assert all(text[e.start : e.end] == e.name_colloquial for e in entities)
    assert "HP:" not in json.dumps(prompt.messages("x"))


def test_no_quote_of_a_demonstration_stands_in_the_open_test_diaries() -> None:
    told = " ".join(d.text.lower() for part in ("validation", "test") for d in load(CORPUS / f"{part}.jsonl"))
    quotes = [e.name_colloquial.lower() for _, entities in prompt.SHOTS for e in entities]
    assert [quote for quote in quotes if quote in told] == []


def test_demonstrations_show_what_is_asked_for() -> None:
    shown = list(chain.from_iterable(entities for _, entities in prompt.SHOTS))
    assert {e.type for e in shown} == set(EntityType) - {EntityType.LAB_MARKER}
    assert {e.assertion for e in shown} == {Assertion.PRESENT, Assertion.ABSENT, Assertion.OTHER}


@pytest.mark.parametrize("word", [*EntityType, *Assertion])
def test_the_system_text_explains_every_type_and_assertion(word: str) -> None:
    assert f"{word} (" in prompt.SYSTEM or word == Assertion.PRESENT


def test_answers_keep_to_the_schema(diaries: list[GoldDiary]) -> None:
    validator = jsonschema.Draft202012Validator(prompt.SCHEMA)
    validator.check_schema(prompt.SCHEMA)
    for diary in diaries:
        validator.validate(json.loads(prompt.answer(diary.entities)))
    for _, entities in prompt.SHOTS:
        validator.validate(json.loads(prompt.answer(entities)))


@pytest.mark.parametrize(
    "wrong", [{"type": "disease"}, {"assertion": "unknown"}, {"name_colloquial": ""}, {"hpo_id": "HP:0000217"}]
)
def test_the_schema_refuses_what_is_not_asked_for(wrong: dict[str, str]) -> None:
    entity = {"name_colloquial": "dry", "name_canonical": "Xerostomia", "type": "symptom", "assertion": "present"}
    jsonschema.validate({"entities": [entity]}, prompt.SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"entities": [entity | wrong]}, prompt.SCHEMA)


def test_an_answer_follows_the_text_and_names_terms_by_their_labels(diaries: list[GoldDiary]) -> None:
    for diary in diaries:
        rows = json.loads(prompt.answer(reversed(diary.entities)))["entities"]
        quotes = [e.name_colloquial for e in sorted(diary.entities, key=lambda e: (e.start, e.end))]
        assert sorted(quotes) == sorted(row["name_colloquial"] for row in rows)
        starts = [diary.text.find(row["name_colloquial"]) for row in rows[:1]]
        assert starts == [diary.text.find(quotes[0])] if rows else True
        by_quote = {(e.name_colloquial, e.type, e.assertion): e for e in diary.entities}
        for row in rows:
            entity = by_quote[row["name_colloquial"], row["type"], row["assertion"]]
            named = entity.hpo_label if entity.type in ("symptom", "lab_marker") else None
            assert row["name_canonical"] == (named or entity.name_colloquial)


def test_an_answer_is_compact_and_keeps_letters() -> None:
    (_, (first, *_)), *_ = prompt.SHOTS
    told = prompt.answer([first._replace(name_colloquial='ce "feu" à joue', type=EntityType.BEHAVIOR)])
    assert told == (
        '{"entities":[{"name_colloquial":"ce \\"feu\\" à joue","name_canonical":"ce \\"feu\\" à joue",'
        '"type":"behavior","assertion":"present"}]}'
    )
    assert prompt.answer([]) == '{"entities":[]}'


def test_gemma_3_reads_the_system_text_in_the_first_user_turn() -> None:
    talk = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": " Two\n"},
    ]
    assert prompt.render(talk, system_turn=False) == (
        "<start_of_turn>user\nBe brief.\n\nOne<end_of_turn>\n<start_of_turn>model\n1<end_of_turn>\n"
        "<start_of_turn>user\nTwo<end_of_turn>\n<start_of_turn>model\n"
    )
    assert prompt.render(talk, system_turn=True) == (
        "<|turn>system\nBe brief.<turn|>\n<|turn>user\nOne<turn|>\n<|turn>model\n1<turn|>\n"
        "<|turn>user\nTwo<turn|>\n<|turn>model\n"
    )
    assert (
        prompt.render(talk[1:2], system_turn=False)
        == "<start_of_turn>user\nOne<end_of_turn>\n<start_of_turn>model\n"
    )


@SYSTEM_TURN
@pytest.mark.parametrize("shots", [True, False])
def test_everything_before_the_diary_is_constant(system_turn: bool, shots: bool) -> None:
    rendered = [prompt.render(prompt.messages(text, shots), system_turn) for text in ("Ache.", "<Sore>", "Ööh")]
    before = rendered[0].rpartition("Ache.")[0]
    assert before.endswith("Diary:\n")
    assert all(text.startswith(before) for text in rendered)
    assert (prompt.SHOTS[0][0] in before) is shots


@SYSTEM_TURN
@given(text=st.lists(st.sampled_from(PIECES)).map("".join))
def test_a_diary_cannot_end_its_turn(system_turn: bool, text: str) -> None:
    usual = prompt.render(prompt.messages("x"), system_turn)
    rendered = prompt.render(prompt.messages(text), system_turn)
    for marker in ("<end_of_turn>", "<start_of_turn>", "<turn|>", "<|turn>", "<bos>"):
        assert rendered.count(marker) == usual.count(marker)
    (asked,) = [m["content"] for m in prompt.messages(text)[-1:]]
    assert len(asked) == len("Diary:\n") + len(text)
