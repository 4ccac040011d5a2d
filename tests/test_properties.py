"""What holds for any text at all."""

import json
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from clario import Clario

WORDS = st.sampled_from(
    "no not my mum dry mouth fever knee pain pains in both hurts to pee ferritin 8 low weight 92/58 used "
    "had if never can't sleep "
    "ibuprofen Calpol , . ; and or \n \t \u2019 é 😷 İ ß ﬁ \u0301 \x00 \u202e since Monday".split(" ")
)
TEXTS = st.one_of(st.text(max_size=300), st.lists(WORDS, max_size=40).map(" ".join), st.lists(WORDS).map("".join))


@cache
def clario() -> Clario:
    return Clario("lexicon")


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("İİİİ dry mouth")
@example("ﬁngers ache, dry\u00a0mouth")
@example("e\u0301" * 50 + " fever")
def test_quotes_are_slices_ids_are_live_and_answers_repeat(text: str) -> None:
    answer = clario().extract(text)
    for entity in answer.entities:
        assert text[entity.start : entity.end] == entity.name_colloquial
        assert entity.name_colloquial.strip()
        for hpo_id in filter(None, (entity.hpo_id, *entity.match.candidates)):
            assert clario().resolver.index.live(hpo_id) == hpo_id
            assert clario().resolver.index.is_phenotypic(hpo_id)
        assert (entity.hpo_id is None) == (entity.hpo_label is None) == (entity.match.method == "none")
    assert answer == clario().extract(text)
    assert json.loads(answer.model_dump_json())["entities"] is not None


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXTS, max_size=6))
def test_a_batch_answers_as_each_alone(texts: list[str]) -> None:
    together = list(clario().extract_many(texts))
    alone = [clario().extract(text, id=str(n)) for n, text in enumerate(texts)]
    assert together == alone
