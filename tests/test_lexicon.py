"""The lexicon extractor: what it finds in lay sentences, and what it must not find."""

from functools import cache

import pytest

from clario.entities import EntityType, Mention
from clario.extraction.base import create
from clario.extraction.lexicon import LexiconExtractor
from clario.extraction.phrases import words_of
from clario.ontology.release import load
from clario.ontology.resolver import Resolver


@cache
def lexicon() -> LexiconExtractor:
    extractor = create("lexicon", Resolver(load()))
    assert isinstance(extractor, LexiconExtractor)
    return extractor


def mentions(text: str, kind: EntityType = EntityType.SYMPTOM) -> list[Mention]:
    return [m for m in lexicon().extract([text])[0] if m.type is kind]


def found(text: str) -> dict[str, str | None]:
    """Quote -> label of the symptoms of a text."""
    resolver = lexicon().resolver
    return {m.name_colloquial: resolver.resolve(m.name_canonical).label for m in mentions(text)}


@pytest.mark.parametrize(
    ("text", "quote", "label"),
    [
        ("My mouth is so dry today", "mouth is so dry", "Xerostomia"),
        ("pain in both my knees", "pain in both my knees", "Knee pain"),
        ("KNEE PAINS since Monday", "KNEE PAINS", "Knee pain"),
        ("kept coughing all night", "coughing", "Cough"),
        ("oedema of the legs", "oedema of the legs", "Pedal edema"),
        ("woke with a headache", "headache", "Headache"),
        ("it hurts to pee again", "hurts to pee", "Dysuria"),
        ("aplastic or hypoplastic nails", "hypoplastic nails", "Small nail"),
        ("she has the runs", "the runs", "Diarrhea"),
        ("diagnosed with OCD", "OCD", "Obsessive-compulsive trait"),
        ("nausea,vomiting and stomach pain", "vomiting", "Vomiting"),
        ("Sore throat; sneezing", "Sore throat", "Pharyngalgia"),
    ],
)
def test_a_symptom_is_found_where_it_stands(text: str, quote: str, label: str) -> None:
    answers = found(text)
    assert quote in answers, answers
    assert answers[quote] == label or quote == "OCD"


@pytest.mark.parametrize(
    "text",
    [
        "opened my mouth to speak",
        "the dog ran off with a bone",
        "he runs every morning",
        "an order from the shop",
        "it is cold outside, cold hands",
        "Knee. Pain relief adverts on telly",
        "the pain is gone but not my knee",
        "as or os cp",
        "a good day, nothing to report",
    ],
)
def test_ordinary_words_are_no_symptoms(text: str) -> None:
    wrong = "Hyperorality, Diarrhea, Atypical sorting, Osteoarthritis, Foot pain, Knee pain, Cerebral palsy"
    assert not set(found(text).values()) & set(wrong.split(", "))


def test_a_coordination_gives_both_terms() -> None:
    assert {"Hip pain", "Knee pain"} <= set(found("hip and knee pain").values())


def test_the_longest_name_wins() -> None:
    assert list(found("severe abdominal pain")) != ["pain"]
    assert "pain" not in found("abdominal pain")


@pytest.mark.parametrize(
    ("text", "kind", "quote", "canonical"),
    [
        ("took Calpol at two", EntityType.MED, "Calpol", "paracetamol"),
        ("on levothyroxine 50mcg", EntityType.MED, "levothyroxine", "levothyroxine"),
        ("ferritin 8 again", EntityType.LAB_MARKER, "ferritin 8", "ferritin"),
        ("BP was 92/58 standing", EntityType.LAB_MARKER, "BP was 92/58", "blood pressure"),
    ],
)
def test_medicines_and_tests_of_the_lists(text: str, kind: EntityType, quote: str, canonical: str) -> None:
    assert [(m.name_colloquial, m.name_canonical) for m in mentions(text, kind)] == [(quote, canonical)]


def test_an_abnormal_result_in_words_gets_its_term() -> None:
    (value,) = mentions("ferritin came back really low", EntityType.LAB_MARKER)
    assert lexicon().resolver.resolve(value.name_canonical).label == "Decreased circulating ferritin concentration"


def test_a_word_such_as_weight_is_a_value_only_beside_one() -> None:
    assert mentions("the weight of the world", EntityType.LAB_MARKER) == []
    assert [m.name_colloquial for m in mentions("weight 48.2 kg", EntityType.LAB_MARKER)] == ["weight 48.2 kg"]


def test_words_know_their_clause() -> None:
    words = words_of("Red eyes, dry mouth. Pain")
    assert [w.clause for w in words] == [0, 0, 0, 0, 1]
    assert [w.part for w in words] == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ("TSH\n\nlow mood today", ["TSH"]),
        ("ferritin\n12 March", ["ferritin"]),
        ("ferritin 2 weeks ago", ["ferritin"]),
        ("Ferritin: 9", ["Ferritin: 9"]),
        ("B12 120, glucose 5.4 mmol/l", ["B12 120", "glucose 5.4 mmol/l"]),
        ("glucose\n\nlow blood pressure", ["low blood pressure"]),
    ],
)
def test_values_stay_on_their_line_and_are_no_dates(text: str, quotes: list[str]) -> None:
    assert [m.name_colloquial for m in mentions(text, EntityType.LAB_MARKER)] == quotes


@pytest.mark.parametrize("text", ["ferritin" + " " * 19_000, "ferritin was " * 1_500, "knee pain " * 2_000])
def test_long_repetitive_texts_do_not_hang(text: str) -> None:
    assert lexicon().extract([text[:20_000]])


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("I am so itchy", "Pruritus"),
        ("felt dizzy again", "Vertigo"),
        ("she fainted", "Loss of consciousness"),
        ("not only itchy but bleeding", "Pruritus"),
        ("the dull head\u00adache", "Headache"),
    ],
)
def test_the_commonest_complaints_are_found_in_one_word(text: str, label: str) -> None:
    assert label in found(text).values()


def test_a_line_break_inside_a_sentence_is_no_border() -> None:
    text = (
        "Went to the market with my sister and bought far too much, then pain in my\nknee all the way home again."
    )
    assert "Knee pain" in found(text).values()
    assert "Knee pain" not in found("a pain\nknee").values()
