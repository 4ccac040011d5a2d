"""Raw model outputs: as given and normalised, and what becomes of their quotes and names."""

import json

import pytest

from clario.entities import Assertion, EntityType
from clario.evaluation import baseline
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver

WHOLE = {
    "entities": [
        {"name_colloquial": "dry mouth", "name_canonical": "Xerostomia", "type": "symptom", "assertion": "absent"}
    ]
}


def read(value: object) -> list[tuple[str, str, str, str]] | None:
    """What the normalised output holds: (quote, name, type, assertion)."""
    output = baseline.normalised(value if isinstance(value, str) else json.dumps(value))
    return None if output is None else [
        (e.name_colloquial, e.name_canonical, e.type.value, e.assertion.value) for e in output.entities
    ]  # fmt: skip


class TestAsGiven:
    def test_the_requested_json_counts(self) -> None:
        output = baseline.as_given(json.dumps(WHOLE))
        assert output
        assert output.entities[0].assertion is Assertion.ABSENT

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "Here you are: " + json.dumps(WHOLE),
            "```json\n" + json.dumps(WHOLE) + "\n```",
            json.dumps(WHOLE["entities"]),
            json.dumps({"symptoms": ["dry mouth"]}),
            json.dumps({"entities": [WHOLE["entities"][0] | {"type": "disease"}]}),
            json.dumps({"entities": [WHOLE["entities"][0] | {"severity": 3}]}),
            json.dumps({"entities": [{"name_colloquial": "dry mouth"}]}),
            json.dumps(WHOLE)[:-2],
        ],
    )
    def test_anything_else_does_not(self, raw: str) -> None:
        assert baseline.as_given(raw) is None


class TestNormalised:
    def test_the_requested_json_stays_as_it_is(self) -> None:
        assert baseline.normalised(json.dumps(WHOLE)) == baseline.as_given(json.dumps(WHOLE))

    def test_the_ad_hoc_shape(self) -> None:
        found = read({
            "symptoms": ["dry mouth", {"name": "fever", "value": "mild"}],
            "triggers": "hot days",
            "body_parts": ["mouth"],
            "medications": [{"name": "aspirin", "value": "75 mg"}],
            "lab_values": {"ferritin": 9, "CRP": "high"},
        })  # fmt: skip
        assert found == [
            ("dry mouth", "dry mouth", "symptom", "present"),
            ("fever", "fever", "symptom", "present"),
            ("hot days", "hot days", "trigger", "present"),
            ("aspirin", "aspirin", "med", "present"),
            ("ferritin", "ferritin", "lab_marker", "present"),
            ("CRP", "CRP", "lab_marker", "present"),
        ]

    def test_one_object_where_a_list_was_expected(self) -> None:
        assert read({"Lab_Values": {"name": "ferritin", "value": 9}}) == [
            ("ferritin", "ferritin", "lab_marker", "present")
        ]

    @pytest.mark.parametrize("frame", ["```json\n{}\n```", "Sure! Here is {{it}}: {} Anything else?", "\n\n{}"])
    def test_prose_and_fences_are_skipped(self, frame: str) -> None:
        raw = frame.replace("{}", json.dumps(WHOLE))
        assert read(raw) == [("dry mouth", "Xerostomia", "symptom", "absent")]

    def test_other_names_of_keys_and_values(self) -> None:
        found = read([
            {"quote": "puffer", "name": "salbutamol", "type": "Medication"},
            {"text": "fits", "term": "Seizure", "type": "symptom", "negated": True},
            {"mention": "rash", "type": "symptom", "assertion": "denied"},
        ])  # fmt: skip
        assert found == [
            ("puffer", "salbutamol", "med", "present"),
            ("fits", "Seizure", "symptom", "absent"),
            ("rash", "rash", "symptom", "absent"),
        ]

    def test_an_assertion_or_type_that_is_none_of_ours_is_not_made_present(self) -> None:
        assert read([{"name": "rash", "type": "symptom", "assertion": "perhaps"}]) == []
        assert read([{"name": "rash", "type": "genotype"}]) == []

    def test_items_without_a_name_are_left_out(self) -> None:
        assert read({"symptoms": ["", "  ", None, True, {"severity": 3, "name": None}, [], "rash"]}) == [
            ("rash", "rash", "symptom", "present")
        ]

    @pytest.mark.parametrize(
        "raw",
        [
            "",
            "I see no symptoms.",
            json.dumps(WHOLE)[:-2],
            '{"answer": 1}',
            "7",
            '"fever"',
            "[" * 5_000,
            '{"a":' * 500,
        ],
    )
    def test_no_answer_in_it(self, raw: str) -> None:
        assert read(raw) is None

    def test_an_empty_answer_is_an_answer(self) -> None:
        assert read({"entities": []}) == read("[]") == read({"symptoms": None}) == []


class TestLocate:
    text = "Dry mouth again. My  mouth’s dry, dry mouth!"

    @pytest.mark.parametrize(
        ("quote", "place"),
        [
            ("dry mouth", (34, 43)),  # as written goes before another case
            ("my mouth's DRY", (17, 32)),
            ("dry eyes", None),
            ("  ", None),
        ],
    )
    def test_places(self, quote: str, place: tuple[int, int] | None) -> None:
        assert baseline.locate(quote, self.text, set()) == place

    def test_the_next_place_where_the_first_is_taken(self) -> None:
        assert baseline.locate("dry", "dry, dry", {(0, 3)}) == (5, 8)
        assert baseline.locate("dry", "dry", {(0, 3)}) == (0, 3)

    def test_whole_words_go_first(self) -> None:
        assert baseline.locate("ill", "still ill", set()) == (6, 9)
        assert baseline.locate("headach", "a headache", set()) == (2, 9)

    def test_signs_of_patterns_are_only_signs(self) -> None:
        assert baseline.locate("a+b (c)?", "see A+B (c)?", set()) == (4, 12)


def test_annotations_have_places_and_ids(old: Index) -> None:
    raw = {
        "symptoms": [{"quote": "mouth like sandpaper", "name": "dryness"}, "pyrexia", "green ears"],
        "medications": ["fever"],
    }
    text = "Pyrexia, and a mouth like sandpaper."
    found = baseline.annotations(baseline.normalised(json.dumps(raw)), text, Resolver(old))
    assert [(a.start, a.end, a.hpo_id) for a in found] == [
        (15, 35, "HP:0000217"),  # the canonical name says nothing, the quote does
        (0, 7, "HP:0001945"),
        (None, None, None),
        (None, None, None),  # a medicine never gets an id
    ]
    assert found[0].type is EntityType.SYMPTOM
    assert baseline.annotations(None, text, Resolver(old)) == ()


def test_a_quote_told_twice_is_in_two_places(old: Index) -> None:
    output = baseline.normalised('{"symptoms": ["fever", "fever"]}')
    found = baseline.annotations(output, "fever, then fever", Resolver(old))
    assert [(a.start, a.end) for a in found] == [(0, 5), (12, 17)]
