"""The assertion of a mention, told from the words around it: sentences of every construction, and properties."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clario.entities import Assertion
from clario.extraction.context import assertions, is_carers

DATA = Path(__file__).parent / "data"
SENTENCES: list[dict[str, str]] = [
    json.loads(line) for line in (DATA / "assertion_sentences.jsonl").read_text(encoding="utf-8").splitlines()
]
KNOWN_FAILURES = (DATA / "assertion_known_failures.txt").read_text(encoding="utf-8").splitlines()


def answer(text: str, quote: str) -> Assertion:
    start = text.index(quote)
    return assertions(text, [(start, start + len(quote))])[0]


@pytest.mark.parametrize(
    "sentence",
    [
        pytest.param(s, id=f"{s['construction']}-{n}")
        for n, s in enumerate(SENTENCES)
        if s["text"] not in KNOWN_FAILURES
    ],
)
def test_sentence(sentence: dict[str, str]) -> None:
    assert answer(sentence["text"], sentence["quote"]) == sentence["assertion"]


def test_known_failures_fail_and_are_few() -> None:
    failing = [s["text"] for s in SENTENCES if answer(s["text"], s["quote"]) != s["assertion"]]
    assert sorted(failing) == sorted(KNOWN_FAILURES)
    assert len(KNOWN_FAILURES) <= 5


def test_every_construction_has_every_assertion() -> None:
    cells = Counter((s["construction"], s["assertion"]) for s in SENTENCES)
    constructions = {s["construction"] for s in SENTENCES}
    assert len(constructions) == 12
    assert min(cells[construction, assertion] for construction in constructions for assertion in Assertion) >= 3


@pytest.mark.parametrize("sentence", SENTENCES[::4], ids=lambda s: s["text"])
def test_a_curly_apostrophe_is_an_apostrophe(sentence: dict[str, str]) -> None:
    text, quote = sentence["text"], sentence["quote"]
    assert answer(text.replace("'", "’"), quote.replace("'", "’")) == answer(text, quote)


@pytest.mark.parametrize(
    ("text", "quote"),
    [
        ("I don't have a cough", "cough"),
        ("I haven't had any hives", "hives"),
        ("it isn't sore", "sore"),
        ("they didn't swell", "swell"),
        ("she's not got a temperature", "temperature"),
    ],
)
def test_a_missing_apostrophe_changes_nothing(text: str, quote: str) -> None:
    assert answer(text, quote) == answer(text.replace("'", ""), quote) == Assertion.ABSENT


def test_one_diary_with_all_five() -> None:
    text = (
        "Headache again and my lips are cracked. No fever, chills or rash. As a kid I used to get hives. "
        "My mum has migraines. The leaflet says it can cause nausea. No wonder I can't sleep."
    )
    quotes = ["Headache", "lips are cracked", "chills", "rash", "hives", "migraines", "nausea", "can't sleep"]
    spans = [(text.index(quote), text.index(quote) + len(quote)) for quote in quotes]
    told = [answer.value for answer in assertions(text, spans)]
    assert told == ["present", "present", "absent", "absent", "past", "other", "hypothetical", "present"]


def test_a_denial_ends_with_its_sentence() -> None:
    assert answer("No fever. Cough worse.", "Cough") == Assertion.PRESENT
    assert answer("no fever\ncough worse", "cough") == Assertion.PRESENT


def test_a_line_break_inside_a_long_sentence_ends_nothing() -> None:
    line = "I went to see the new doctor on Monday and she was very thorough, but there was no"
    assert answer(f"{line}\nrash that she could see", "rash") == Assertion.ABSENT


@pytest.mark.parametrize(
    ("text", "carer"),
    [
        ("My son is 4 and he won't eat.", True),
        ("Our daughter has a rash.", True),
        ("She's 4 months and I am worn out.", True),
        ("Ellie wobbles when she walks and her hands shake.", True),
        ("Dad asks what day it is, he loses his keys, his way and his temper.", True),
        ("My mum has migraines.", False),
        ("I have a headache and my mum says she is worried.", False),
        ("My back hurts. My son brought me tea.", False),
    ],
)
def test_whose_diary_it_is(text: str, carer: bool) -> None:
    # In a carer's diary the writer's own complaints are somebody else's.
    told = answer(f"{text} Last week I had a nosebleed.", "nosebleed")
    assert told == (Assertion.OTHER if carer else Assertion.PRESENT)


def test_is_carers_counts_pronouns() -> None:
    assert is_carers("she limps and her foot drags".split(), [""] * 6)
    assert not is_carers("i limp and my foot drags".split(), [""] * 6)
    assert not is_carers([], [])


def test_spans_need_no_order_and_are_told_apart() -> None:
    text = "No fever but I cough, and my aunt has gout."
    spans = [(text.index(word), text.index(word) + len(word)) for word in ("gout", "fever", "cough")]
    told = assertions(text, spans)
    assert told == [Assertion.OTHER, Assertion.ABSENT, Assertion.PRESENT]
    assert assertions(text, spans[::-1]) == told[::-1]


@pytest.mark.parametrize("span", [(0, 0), (5, 5), (-9, -3), (90, 99), (8, 3), (2, 3), (0, 99)])
def test_odd_spans_have_an_answer(span: tuple[int, int]) -> None:
    assert len(assertions("no fever", [span])) == 1
    assert assertions("", [span]) == [Assertion.PRESENT]


def test_no_spans_no_answers() -> None:
    assert assertions("no fever", []) == []


TURNS_OF_PHRASE = [word for sentence in SENTENCES[::3] for word in sentence["text"].split()]
diaries = st.one_of(
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(TURNS_OF_PHRASE), st.text(max_size=4)), max_size=25).map(" ".join),
)
offsets = st.integers(-5, 200)


@settings(database=None, deadline=None, max_examples=150)
@given(text=diaries, spans=st.lists(st.tuples(offsets, offsets), max_size=6))
def test_any_text_and_any_spans_have_answers(text: str, spans: list[tuple[int, int]]) -> None:
    told = assertions(text, spans)
    assert len(told) == len(spans)
    assert all(isinstance(answer, Assertion) for answer in told)
    assert assertions(text, spans) == told
    assert [assertions(text, [span])[0] for span in spans] == told


@settings(database=None, deadline=None, max_examples=60)
@given(sentence=st.sampled_from(SENTENCES), before=st.sampled_from(["", "\n\n", "Monday.\n", "😀 ", "İ. ", "1. "]))
def test_offsets_are_code_points(sentence: dict[str, Any], before: str) -> None:
    text, start = before + sentence["text"], len(before) + sentence["text"].index(sentence["quote"])
    told = assertions(text, [(start, start + len(sentence["quote"]))])
    assert told == [answer(sentence["text"], sentence["quote"])]
