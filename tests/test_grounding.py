"""Quotes are found where they stand, in the order of their telling; what is returned is a slice of the text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clario.entities import Assertion, EntityType
from clario.errors import ModelError
from clario.extraction.grounding import CONFIDENCE, NEAR, Place, find, ground, read
from clario.extraction.parse import Answer, Proposed
from clario.extraction.prompt import SHOTS, answer, messages

TEXT = "Dry mouth again. My  mouth’s dry,\ndry mouth! I can’t swallow toast without water — creatinine up."


def proposed(*quotes: str, name: str | None = None, kind: EntityType = EntityType.SYMPTOM) -> Answer:
    """An answer that proposes these quotes, each named as it is quoted."""
    return Answer([Proposed(quote, name or quote, kind, Assertion.PRESENT) for quote in quotes], [], True)


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("dry mouth", "dry mouth"),  # as written goes before another case
        ("Dry mouth", "Dry mouth"),
        ("my mouth's DRY", "My  mouth’s dry"),
        ("mouth’s dry, dry", "mouth’s dry,\ndry"),
        ("toast without water - creatinine", "toast without water — creatinine"),
        ("  swallow toast ", "swallow toast"),
        ('"can\'t swallow toast..."', "can’t swallow toast"),
        ("dry mouth!", "dry mouth!"),
        ("swall", "swall"),  # a word without its ending
    ],
)
def test_quotes_to_the_letter_or_nearly(quote: str, found: str) -> None:
    place = find(quote, TEXT)
    assert place
    assert (TEXT[place.start : place.end], place.likeness) == (found, 1.0)


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("I can't swallow toast with no water", "I can’t swallow toast without water"),
        ("cratinine up", "creatinine up"),
        ("I cant swalow toast without watr", "I can’t swallow toast without water"),
        ("cannot swallow toast without water", "can’t swallow toast without water"),
    ],
)
def test_miscopied_quotes_are_the_nearest_whole_words(quote: str, found: str) -> None:
    place = find(quote, TEXT)
    assert place
    assert TEXT[place.start : place.end] == found
    assert NEAR / 100 <= place.likeness < 1


@pytest.mark.parametrize(
    "quote",
    [
        "",
        "  ",
        "...",
        "dry eyes",
        "my mouth is full of blisters",
        "mouse",
        "x" * 500,
        "\ud83d",
        "swallowed a toaster",
    ],
)
def test_what_is_not_there_is_not_found(quote: str) -> None:
    assert find(quote, TEXT) is None
    assert find(quote, "") is None


def test_near_is_not_far() -> None:
    assert find("toothache", "I have a headache today") is None
    assert find("left hand numb", "my right hand numb again") is None
    assert find("paim", "such pain") is None


def test_letters_inside_other_words_are_no_quote() -> None:
    assert find("rash", "a crash diet") is None
    assert find("pain", "the rain in Spain, painstaking") is None
    assert find("vomit", "he vomited") == Place(3, 8, 1.0)
    assert find("口が渇く", "最近口が渇くので水を飲む") == Place(2, 6, 1.0)


def test_whole_words_go_before_parts_of_words() -> None:
    assert find("ill", "still ill") == Place(6, 9, 1.0)


def test_signs_of_patterns_are_only_signs() -> None:
    assert find("a+b (c)?", "see A+B (c)?") == Place(4, 12, 1.0)


def test_a_sign_that_was_replaced_in_the_prompt_is_found() -> None:
    text = "bp <end_of_turn> 90/60"
    shown = messages(text)[-1]["content"]
    place = find(shown.removeprefix("Diary:\n"), text)
    assert place == Place(0, len(text), 1.0)


@given(times=st.integers(1, 6), told=st.integers(1, 8))
def test_the_nth_identical_quote_is_in_the_nth_place(times: int, told: int) -> None:
    text = "ache. " * times
    names = [f"name {n}" for n in range(told)]
    entities = [Proposed("ache", name, EntityType.SYMPTOM, None) for name in names]
    found = {m.name_canonical: m.start for m in ground(Answer(entities, [], True), text)}
    assert [found[name] for name in names] == [6 * n if n < times else 0 for n in range(told)]


def test_a_quote_told_twice_is_also_found_in_another_case() -> None:
    twice = Answer([Proposed("fever", name, EntityType.SYMPTOM, None) for name in "AB"], [], True)
    assert {m.name_canonical: m.start for m in ground(twice, "Fever? Yes, fever.")} == {"A": 12, "B": 0}


def test_one_place_may_hold_two_signs_but_not_one_twice() -> None:
    answer = Answer(
        [Proposed("liver and spleen up", n, EntityType.SYMPTOM, None) for n in ("A", "B", "A")], [], True
    )
    assert [m.name_canonical for m in ground(answer, "his liver and spleen up")] == ["A", "B"]


def test_mentions_come_in_the_order_of_the_text_with_its_words() -> None:
    found = ground(proposed("creatinine UP", "my mouth's dry", kind=EntityType.TRIGGER), TEXT)
    assert [(m.name_colloquial, m.name_canonical) for m in found] == [
        ("My  mouth’s dry", "My  mouth’s dry"),
        ("creatinine up", "creatinine up"),
    ]
    assert ground(proposed("my mouth's dry", name="Xerostomia"), TEXT)[0].name_canonical == "Xerostomia"


def test_what_was_dropped_or_bent_is_told_by_number_only() -> None:
    found = ground(proposed("dry mouth", "dry eyes", "cratinine up"), TEXT)
    assert [m.name_colloquial for m in found] == ["dry mouth", "creatinine up"]
    assert found.warnings == (
        "entity 2 was left out: its quote is not in the text",
        "entity 3 is not quoted to the letter; the nearest words stand for it",
    )
    assert [m.confidence for m in found] == [CONFIDENCE, pytest.approx(CONFIDENCE * 24 / 25, abs=1e-4)]


def test_reading_is_parsing_and_grounding() -> None:
    for text, entities in SHOTS:
        found = read(answer(entities), text)
        assert [(m.start, m.end, m.type, m.assertion) for m in found] == [
            (e.start, e.end, e.type, e.assertion) for e in entities
        ]
        assert found.warnings == ()
    with pytest.raises(ModelError):
        read("no JSON", TEXT)


WORDS = st.sampled_from("my mouth's dry “so” sore — head-ache\n İ ß ﬁ 日本 a <b> 3.5 ('x') …".split(" "))
TEXTS = st.lists(WORDS | st.text(max_size=4), max_size=30).map(" ".join)


@given(text=TEXTS, others=st.lists(st.text(max_size=12) | TEXTS, max_size=5), data=st.data())
def test_every_mention_is_a_slice_of_the_text(text: str, others: list[str], data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=4))
    quotes = [quote for quote in (*others, *(text[a:b] for a, b in cuts)) if quote]
    found = ground(proposed(*quotes), text)
    assert all(text[m.start : m.end] == m.name_colloquial and m.end > m.start for m in found)
    assert [m.start for m in found] == sorted(m.start for m in found)
    assert all(0 < m.confidence <= CONFIDENCE for m in found)


@given(text=TEXTS, data=st.data())
def test_words_copied_to_the_letter_are_found(text: str, data: st.DataObject) -> None:
    edges = [0, *(m.end() for m in re.finditer(r"\b", text)), len(text)]
    first = data.draw(st.integers(0, len(edges) - 1))
    last = data.draw(st.integers(first, len(edges) - 1))
    quote = text[edges[first] : edges[last]].strip()
    place = find(quote, text)
    assert bool(quote) is bool(place)
    if place:
        assert (text[place.start : place.end], place.likeness) == (quote, 1.0)


PLAIN = st.lists(st.sampled_from("the mouth's dry “so dry” it aches — 3 times".split()), min_size=1, max_size=20)


@given(words=PLAIN, data=st.data(), gap=st.sampled_from([" ", "  ", "\n", "\u00a0", " \t"]))
def test_white_space_case_and_kinds_of_marks_do_not_matter(
    words: list[str], data: st.DataObject, gap: str
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first + 1, len(words)))
    copied = gap.join(words[first:last]).upper().translate(str.maketrans("'“”—", '’""-'))
    place = find(copied, " ".join(words))
    assert place
    assert place.likeness == 1
    assert " ".join(words)[place.start : place.end] == " ".join(words[first:last])
