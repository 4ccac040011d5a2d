"""What models write: read as it stands, or with good will and a warning; what cannot be read is an error."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.entities import Assertion, EntityType
from clario.errors import ModelError
from clario.extraction.parse import Answer, Proposed, parse
from clario.extraction.prompt import MOST_ENTITIES, SHOTS, answer

DRY = {
    "name_colloquial": "mouth so dry",
    "name_canonical": "Xerostomia",
    "type": "symptom",
    "assertion": "present",
}
FEVER = {"name_colloquial": "fever", "name_canonical": "Fever", "type": "symptom", "assertion": "absent"}
BOTH = [
    Proposed("mouth so dry", "Xerostomia", EntityType.SYMPTOM, Assertion.PRESENT),
    Proposed("fever", "Fever", EntityType.SYMPTOM, Assertion.ABSENT),
]
WHOLE = json.dumps({"entities": [DRY, FEVER]})


def one(**changes: Any) -> Answer:
    """What is read of an answer with one entity, changed."""
    return parse(json.dumps({"entities": [DRY | changes]}))


@pytest.mark.parametrize("raw", [WHOLE, f"\n {WHOLE}\n", f"{WHOLE}<end_of_turn>\n", f"{WHOLE}<turn|>"])
def test_what_was_asked_for_is_read_without_a_word(raw: str) -> None:
    assert parse(raw) == Answer(BOTH, [], True)


def test_what_models_are_trained_to_write_is_read() -> None:
    for _, entities in SHOTS:
        read = parse(answer(entities))
        assert (len(read.entities), read.warnings, read.whole) == (len(entities), [], True)


def test_nothing_found_is_an_answer() -> None:
    assert parse('{"entities":[]}') == Answer([], [], True)
    assert parse("[]").entities == []


@pytest.mark.parametrize(
    "raw",
    [
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```",
        f"Sure! Here {{it}} is [1]:\n{WHOLE}\nAnything else?",
        f"<think>The user {{wants}} {{}}</think>{WHOLE}",
        f"{WHOLE}<end_of_turn>\n<start_of_turn>user\n" + '{"entities": []}',
        json.dumps([DRY, FEVER]),
        json.dumps({"Entities": [DRY, FEVER], "note": "done"}),
        WHOLE[:-1],  # nothing of the entities is lost
        WHOLE.replace("}]", "},]").replace('"present"', '"present",'),
        json.dumps({"entities": [DRY | {"confidence": 0.9}, FEVER]}),
    ],
)
def test_good_will(raw: str) -> None:
    read = parse(raw)
    assert (read.entities, read.whole) == (BOTH, True)


@pytest.mark.parametrize("end", range(len(WHOLE) - 1))
def test_an_answer_cut_anywhere_keeps_its_whole_entities_or_is_an_error(end: int) -> None:
    kept = [
        entity for entity, last in zip(BOTH, (WHOLE.index("}"), WHOLE.rindex("}]")), strict=True) if last < end
    ]
    if not kept:
        with pytest.raises(ModelError, match="is not the JSON"):
            parse(WHOLE[:end])
        return
    read = parse(WHOLE[:end])
    assert (read.entities, read.whole) == (kept, False)
    assert f"cut off or broken; {len(kept)} whole" in read.warnings[0]


@pytest.mark.parametrize(
    ("changes", "kind", "assertion"),
    [
        ({"type": "Medication"}, "med", "present"),
        ({"type": "lab value"}, "lab_marker", "present"),
        ({"type": "LAB-MARKER"}, "lab_marker", "present"),
        ({"type": "behaviour", "assertion": "Denied"}, "behavior", "absent"),
        ({"assertion": "family history"}, "symptom", "other"),
        ({"assertion": "possible"}, "symptom", "hypothetical"),
        ({"negated": True}, "symptom", "absent"),
    ],
)
def test_usual_other_words(changes: dict[str, Any], kind: str, assertion: str) -> None:
    (entity,) = one(**changes).entities
    assert (entity.type, entity.assertion) == (kind, assertion)


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"type": "genotype"}, "type"),
        ({"type": None}, "type"),
        ({"type": ["symptom"]}, "type"),
        ({"assertion": "unknown"}, "assertion"),
        ({"assertion": ""}, "assertion"),
        ({"assertion": 1}, "assertion"),
        ({"name_colloquial": ""}, "quote"),
        ({"name_colloquial": None}, "quote"),
    ],
)
def test_what_is_unknown_is_left_out_and_never_made_present(changes: dict[str, Any], missing: str) -> None:
    read = parse(json.dumps({"entities": [DRY | changes, FEVER]}))
    assert read.entities == BOTH[1:]
    assert f"entity 1 was left out: its {missing} is missing or unknown" in read.warnings
    with pytest.raises(ModelError, match="none of the 1 entities"):
        one(**changes)


def test_an_assertion_that_is_not_told_is_left_to_the_context() -> None:
    read = parse(json.dumps({"entities": [{"quote": "mouth so dry", "type": "symptom"}]}))
    assert read.entities == [Proposed("mouth so dry", "mouth so dry", EntityType.SYMPTOM, None)]
    assert "entity 1 came without an assertion; the context decided" in read.warnings


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "mouth so dry"),
        ("  ", "mouth so dry"),
        ("x" * 301, "mouth so dry"),
        (" Dry \n mouth\x00 ", "Dry mouth"),
        ("Dry\ud83d mouth", "Dry mouth"),
    ],
)
def test_names_are_fit_to_be_shown(given: object, name: str) -> None:
    (entity,) = one(name_canonical=given).entities
    assert entity.name_canonical == name


def test_a_model_that_loops_is_stopped() -> None:
    read = parse(json.dumps({"entities": [DRY] * (MOST_ENTITIES + 1)}))
    assert (len(read.entities), read.whole) == (MOST_ENTITIES, False)
    assert read.warnings == [
        f"the model named {MOST_ENTITIES + 1} entities; only the first {MOST_ENTITIES} are kept"
    ]


@pytest.mark.parametrize(
    "raw",
    [
        "", "I see no symptoms.", "null", "7", '"fever"', "{}", '{"answer": 1}', '{"entities": null}',
        '{"entities": "fever"}', '{"entities": ["fever"]}', '{"entities": [', "[1, 2]", "[[]]", "[" * 50_000,
        '{"a":' * 20_000, '{"' * 50_000, '"' * 50_000, "<think>{}", '{"entities":[' + " " * 100_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_an_error_and_no_empty_success(raw: str) -> None:
    with pytest.raises(ModelError, match=r"try again, or a model that can write JSON"):
        parse(raw)


SECRET = "zxqv"  # stands for the words of a patient
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([SECRET, "symptom", "present", ""]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["entities", "type", "assertion", "quote", "negated", SECRET]), inner)
    ),
)


@given(value=JUNK, end=st.integers(0, 200))
def test_whatever_is_written_no_message_repeats_it(value: Any, end: int) -> None:
    for raw in (json.dumps(value), json.dumps(value)[:end]):
        try:
            said = "".join(parse(raw).warnings)
        except ModelError as error:
            said = str(error)
        assert SECRET not in said
