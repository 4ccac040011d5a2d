"""The lexicon's sentences: every mention is a slice of its text, of a live term, and of no held-out diary."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

from clario.ontology.release import load

DATA = Path(__file__).parent.parent / "data"


@cache
def sentences() -> list[dict]:
    return [json.loads(line) for line in (DATA / "lexicon" / "sentences.jsonl").read_text("utf-8").splitlines()]


def _quote(sentence: dict) -> str:
    return sentence["text"][sentence["start"] : sentence["end"]]


def test_every_term_is_live_phenotypic_and_called_by_its_label() -> None:
    index = load()
    for sentence in sentences():
        assert index.live(sentence["hpo_id"]) == sentence["hpo_id"]
        assert index.is_phenotypic(sentence["hpo_id"])
        assert index.label(sentence["hpo_id"]) == sentence["hpo_label"]


def test_every_mention_is_a_trimmed_slice_and_not_the_label() -> None:
    for sentence in sentences():
        quote = _quote(sentence)
        assert quote
        assert quote == quote.strip()
        assert len(quote.split()) <= 16, quote
        assert quote.casefold() != sentence["hpo_label"].casefold()


def test_no_sentence_stands_twice() -> None:
    assert [text for text, n in Counter(s["text"] for s in sentences()).items() if n > 1] == []


def test_many_terms_with_several_sentences_each() -> None:
    per_term = Counter(sentence["hpo_id"] for sentence in sentences())
    assert len(sentences()) >= 8_000
    assert len(per_term) >= 1_600


def test_nothing_is_of_a_held_out_diary() -> None:
    held = {_runs(diary["text"]) for part in ("validation", "test") for diary in _diaries(part)}
    banned = frozenset().union(*held)
    assert [s["text"] for s in sentences() if _runs(s["text"]) & banned] == []


def _diaries(part: str) -> list[dict]:
    return [json.loads(line) for line in (DATA / "corpus" / f"{part}.jsonl").read_text("utf-8").splitlines()]


def _runs(text: str, words: int = 6) -> frozenset[str]:
    """All runs of six words of a text."""
    found = text.casefold().split()
    return frozenset(" ".join(found[i : i + words]) for i in range(len(found) - words + 1))
