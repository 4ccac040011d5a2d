"""Names that mean the same have the same key; names that do not, do not."""

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.ontology.index import NameKind
from clario.ontology.normalize import key, tokens
from clario.ontology.release import load

SAME = [
    ("Dry mouth", "dry mouths"),
    ("Knee pain", "pain in the knees"),
    ("Oedema of the legs", "leg edema"),
    ("Anaemia", "anemia"),
    ("Diarrhoea", "diarrhea"),
    ("Tumour of the brain", "brain tumors"),
    ("grey hair", "Gray hair"),
    ("Crohn's disease", "crohn’s disease"),
    ("Sjögren syndrome", "sjogren syndrome"),
    ("Swollen feet", "foot swelling"),
    ("head-banging", "Head banging"),
    ("Missing teeth", "a missing tooth"),
    ("Generalised weakness", "generalized weakness"),
    ("Dryness of the mouth", "dry mouth"),
]
DIFFERENT = [
    ("Hypotension", "Hypertension"),
    ("left-to-right shunt", "right-to-left shunt"),
    ("fever", "no fever"),
    ("fever", "without fever"),
    ("left arm weakness", "right arm weakness"),
    ("Hyperthyroidism", "Hypothyroidism"),
    ("adducted thumb", "abducted thumb"),
    ("Macrocephaly", "Microcephaly"),
    ("Able to walk", "unable to walk"),
    ("VUR", "VUR I"),
    ("low density", "very low density"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_meaning_has_the_same_key(one: str, other: str) -> None:
    assert key(one) == key(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_meaning_has_another_key(one: str, other: str) -> None:
    assert key(one) != key(other)


@given(st.text(max_size=200))
def test_tokens_are_in_order_apart_and_inside_the_text(text: str) -> None:
    last = 0
    for token in tokens(text):
        assert last <= token.start < token.end <= len(text)
        last = token.end


@given(st.text(max_size=100))
def test_case_does_not_change_a_key_of_ascii(text: str) -> None:
    plain = text.encode("ascii", "ignore").decode()
    assert key(plain.upper()) == key(plain.lower())


@cache
def _british() -> list[tuple[str, str]]:
    index = load()
    return [
        (synonym.text, hpo_id)
        for hpo_id in index.ids
        if index.is_phenotypic(hpo_id)
        for synonym in index.term(hpo_id).synonyms
        if synonym.kind == "uk_spelling"
    ]


def test_british_spellings_of_the_release_share_the_key_of_an_american_name() -> None:
    """HPO marks about 1,050 synonyms as British; most have an American twin, a few stand alone."""
    index = load()
    alone = [
        text
        for text, hpo_id in _british()
        if not any(n.hpo_id == hpo_id and n.text != text for n in index.names.find(key(text)))
    ]
    assert len(alone) <= 0.03 * len(_british()), alone


def test_keys_keep_the_terms_of_the_release_apart() -> None:
    """A key may join terms only where their names differ in form alone; the share must stay small."""
    names = load().names
    joined = 0
    for position in range(len(names.keys)):
        own = [n for n in names.at(position) if n.kind <= NameKind.EXACT]
        if len({n.hpo_id for n in own}) > 1 and len({n.text.casefold() for n in own}) > 1:
            joined += 1
    assert joined <= 0.005 * len(names.keys)
