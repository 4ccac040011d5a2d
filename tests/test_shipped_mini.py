"""The `mini` that ships: real weights, real texts."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clario
from clario.errors import ModelError
from clario.extraction import base
from clario.extraction.mini import FOLDER, MiniExtractor
from clario.ontology.index import Index
from clario.ontology.release import load
from clario.ontology.resolver import Resolver

FILES = sorted((Path(__file__).parent.parent / "examples").glob("*.txt"))
EXAMPLES = [path.read_text(encoding="utf-8") for path in FILES]


@cache
def reader() -> clario.Clario:
    return clario.Clario("mini")


def test_it_is_the_default_and_answers_the_first_example() -> None:
    assert base.DEFAULT == "mini"
    found = clario.Clario().extract("Mouth so dry I can't swallow toast, fingers ache when I type. No fever.")
    assert found.model.startswith("mini ")
    assert {(e.hpo_label, e.assertion.value) for e in found.entities} >= {
        ("Xerostomia", "present"),
        ("Finger pain", "present"),
        ("Fever", "absent"),
    }


def test_weights_and_vectors_stay_within_their_size() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 45e6


def test_the_same_text_has_the_same_answer_in_a_batch_alone_and_in_threads() -> None:
    alone = [reader().extract(text, id=str(n)) for n, text in enumerate(EXAMPLES)]
    assert list(reader().extract_many(EXAMPLES)) == alone
    fresh = clario.Clario("mini")
    with ThreadPoolExecutor(8) as pool:
        threads = list(pool.map(lambda pair: fresh.extract(pair[1], id=str(pair[0])), enumerate(EXAMPLES)))
    assert threads == alone


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200))
def test_quotes_are_slices_and_ids_are_live_for_any_text(text: str) -> None:
    for entity in reader().extract(text).entities:
        assert text[entity.start : entity.end] == entity.name_colloquial
        assert entity.hpo_id is None or reader().resolver.index.live(entity.hpo_id) == entity.hpo_id


def test_a_text_beyond_one_window_is_read_to_its_end() -> None:
    text = "We went to the market and it rained a little. " * 60 + "Then my knees hurt so much."
    assert reader().extract(text).entities[-1].start > 2600


def test_another_index_is_refused_by_name_and_read_by_the_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Index, "sha256", "0" * 64)
    resolver = Resolver(load())
    with pytest.raises(ModelError, match="--model lexicon"):
        MiniExtractor(resolver)
    assert base.default(resolver).name == "lexicon"
