"""The lay lexicon: every entry is live, told apart from the others, and rich enough to learn from."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

from clario.ontology.release import load

LEXICON = Path(__file__).parent.parent / "data" / "lexicon" / "lay_phrases.jsonl"


@cache
def entries() -> list[dict]:
    return [json.loads(line) for line in LEXICON.read_text(encoding="utf-8").splitlines()]


def test_every_term_is_live_phenotypic_and_called_by_its_label() -> None:
    index = load()
    for entry in entries():
        assert index.live(entry["hpo_id"]) == entry["hpo_id"]
        assert index.is_phenotypic(entry["hpo_id"])
        assert index.label(entry["hpo_id"]) == entry["hpo_label"]


def test_terms_stand_once_and_in_order() -> None:
    ids = [entry["hpo_id"] for entry in entries()]
    assert ids == sorted(set(ids))
    assert len(ids) >= 4000


def test_a_phrase_means_one_term() -> None:
    phrases = Counter(phrase.casefold() for entry in entries() for phrase in entry["phrases"])
    assert [phrase for phrase, number in phrases.items() if number > 1] == []


def test_phrases_are_short_and_enough() -> None:
    for entry in entries():
        assert 4 <= len(entry["phrases"]) <= 12, entry["hpo_id"]
        for phrase in entry["phrases"]:
            assert phrase == phrase.strip()
            assert 2 <= len(phrase.split()) <= 16, phrase


def test_no_phrase_is_the_label_of_its_term() -> None:
    copied = [e["hpo_id"] for e in entries() if e["hpo_label"].casefold() in {p.casefold() for p in e["phrases"]}]
    assert copied == []
