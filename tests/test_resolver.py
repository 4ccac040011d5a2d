"""From names to terms: stages, ties, and changes of meaning that are never crossed."""

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clario
from clario.ontology.index import NameKind
from clario.ontology.release import load
from clario.ontology.resolver import Resolver


@cache
def resolver() -> Resolver:
    return Resolver(load())


FOUND = [
    ("Xerostomia", "HP:0000217", "exact"),
    ("Dry mouth", "HP:0000217", "exact"),
    ("dry mouth", "HP:0000217", "normalized"),
    ("DRY MOUTHS", "HP:0000217", "normalized"),
    ("dryness of the mouth", "HP:0000217", "normalized"),
    ("Finger pain", "HP:0030837", "exact"),
    ("pain in the knees", "HP:0030839", "normalized"),
    ("oedema of the legs", "HP:0010741", "normalized"),
    ("head ache", "HP:0002315", "normalized"),
    ("hyper tension", "HP:0000822", "normalized"),
    ("hurts to pee", "HP:0100518", "exact"),
    ("itchy", "HP:0000989", "normalized"),
    ("diarhea", "HP:0002014", "fuzzy"),
    ("hypertention", "HP:0000822", "fuzzy"),
    ("hyptension", "HP:0002615", "fuzzy"),
    ("microcephlay", "HP:0000252", "fuzzy"),
    ("Xerostomya", "HP:0000217", "fuzzy"),
    ("Malar rash", "HP:0025300", "exact"),
    ("Cutaneous photosensitivity", "HP:0000992", "exact"),
]
NOT_FOUND = [
    "mouth",
    "running",
    "",
    " ",
    "?!",
    "no fever",
    "left",
    "xyzzy",
    "hyperhypo",
    "no",
    "12",
    "\x00",
    "🤒",
    "the of in",
]


@pytest.mark.parametrize(("name", "hpo_id", "method"), FOUND)
def test_names_find_their_term_at_their_stage(name: str, hpo_id: str, method: str) -> None:
    answer = resolver().resolve(name)
    assert (answer.hpo_id, answer.method) == (hpo_id, method)
    assert answer.label == resolver().index.label(hpo_id)


@pytest.mark.parametrize("name", NOT_FOUND)
def test_what_names_nothing_finds_nothing(name: str) -> None:
    answer = resolver().resolve(name)
    assert (answer.hpo_id, answer.label, answer.method, answer.score) == (None, None, "none", 0.0)


@pytest.mark.parametrize(
    ("typed", "never"),
    [
        ("hypotenion", "Hypertension"),
        ("hypertenion", "Hypotension"),
        ("hyponatremya", "Hypernatremia"),
        ("hyperkalemya", "Hypokalemia"),
        ("macrocephlay", "Microcephaly"),
        ("tachycarda", "Bradycardia"),
        ("adducted tumb", "Hitchhiker thumb"),
        ("oligodactily", "Polydactyly"),
        ("able to wlak", "Inability to walk"),
        ("symmetrical weakness", "Asymmetric limb muscle weakness"),
    ],
)
def test_a_typing_error_never_crosses_a_change_of_meaning(typed: str, never: str) -> None:
    assert resolver().resolve(typed).label != never


def test_a_name_that_two_terms_share_is_reported_and_scores_less() -> None:
    names = resolver().index.names
    groups = (names.at(position) for position in range(len(names.keys)))
    shared = next(g for g in groups if len({n.hpo_id for n in g}) > 1 and len({(n.text, n.kind) for n in g}) == 1)
    answer = resolver().resolve(shared[0].text)
    ids = {name.hpo_id for name in shared}
    assert answer.hpo_id in ids
    assert ids - {answer.hpo_id} <= {c.hpo_id for c in answer.candidates}
    assert answer.score <= 0.5


def test_a_typing_error_that_may_mean_two_terms_settles_nothing() -> None:
    answer = resolver().resolve("hypxtension")
    assert answer.hpo_id is None or answer.label in {"Hypotension"}


def test_the_first_name_of_a_stage_decides() -> None:
    assert resolver().resolve("Fever", "Dry mouth").label == "Fever"
    assert resolver().resolve("feever", "Dry mouth").label == "Xerostomia"  # exact beats fuzzy
    assert resolver().resolve("nothing of the kind", "dry mouth").label == "Xerostomia"


def test_every_label_resolves_to_its_own_term_exactly() -> None:
    index = resolver().index
    wrong = [
        hpo_id
        for hpo_id in index.ids
        if index.is_phenotypic(hpo_id)
        and (answer := resolver().resolve(index.label(hpo_id))).hpo_id != hpo_id
        and answer.method == "exact"
    ]
    assert wrong == []


def test_every_synonym_reaches_its_term_as_answer_or_candidate() -> None:
    names = [n for n in resolver().index.names if n.kind is NameKind.EXACT][::23]
    for name in names:
        answer = resolver().resolve(name.text, candidates=20)
        assert name.hpo_id in {answer.hpo_id, *(c.hpo_id for c in answer.candidates)}, name


@settings(max_examples=200)
@given(st.text(max_size=80))
def test_any_name_gets_a_live_phenotypic_term_or_none_and_the_same_twice(name: str) -> None:
    answer = resolver().resolve(name)
    assert answer == resolver().resolve(name)
    for hpo_id in filter(None, (answer.hpo_id, *(c.hpo_id for c in answer.candidates))):
        assert resolver().index.live(hpo_id) == hpo_id
        assert resolver().index.is_phenotypic(hpo_id)


def test_search_ranks_terms_that_share_words() -> None:
    found = resolver().search("mouth so dry I can't swallow toast", 5)
    assert found[0].label == "Xerostomia"
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert resolver().search("", 5) == []


def test_the_public_call() -> None:
    assert clario.resolve("dry mouth").hpo_id == "HP:0000217"
    assert clario.resolve("dry mouth") == clario.resolve("dry mouth")
