"""From texts to Extractions: order, failures, long texts, dates."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from clario import Clario, Diary, Extraction, Failure, Mention
from clario.errors import InputError, ModelError, OntologyError
from clario.extraction.base import Extractor, available, create
from clario.ontology.release import load
from clario.ontology.resolver import Resolver
from clario.pipeline import LONGEST, pieces_of

ROOT = Path(__file__).parent.parent


class Fragile(Extractor):
    """A unit test's extractor: it finds "fever", and fails on a batch that holds the word "bomb"."""

    name, version, max_chars, batch_size = "fragile", "1", 40, 4

    def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
        if any("bomb" in text for text in texts):
            raise ModelError("the model failed on a text")
        return [_fever(text) for text in texts]


def _fever(text: str) -> list[Mention]:
    at = text.find("fever")
    if at < 0:
        return []
    return [
        Mention(
            type="symptom", name_colloquial="fever", start=at, end=at + 5, name_canonical="Fever", confidence=0.9
        )
    ]


@pytest.fixture(scope="module")
def fragile() -> Clario:
    return Clario(Fragile(Resolver(load())))


def test_many_texts_keep_their_order_and_one_bad_text_loses_no_other(fragile: Clario) -> None:
    texts = [f"fever {n}" if n != 5 else "a bomb" for n in range(11)]
    results = list(fragile.extract_many(texts))
    assert [r.id for r in results] == [str(n) for n in range(11)]
    assert [isinstance(r, Failure) for r in results] == [n == 5 for n in range(11)]
    assert all(len(r.entities) == 1 for r in results if isinstance(r, Extraction))


def test_the_stream_starts_before_the_texts_end(fragile: Clario) -> None:
    seen = []

    def endless():
        for n in range(10**9):
            seen.append(n)
            yield f"fever {n}"

    first = next(fragile.extract_many(endless()))
    assert first.id == "0"
    assert len(seen) == Fragile.batch_size


def test_failures_of_whoever_read_the_texts_are_passed_on_in_place(fragile: Clario) -> None:
    broken = Failure(id="b", error="b.txt: not UTF-8")
    results = list(fragile.extract_many([Diary("a", "fever"), broken, Diary("c", "fever")]))
    assert [r.id for r in results] == ["a", "b", "c"]
    assert results[1] == broken


@pytest.mark.parametrize("bad", [None, 3, b"fever", "x" * (LONGEST + 1), "cut \ud800"])
def test_what_is_no_text_is_refused_without_showing_it(fragile: Clario, bad: object) -> None:
    with pytest.raises(InputError) as error:
        fragile.extract(bad)  # type: ignore[arg-type]
    assert "cut" not in str(error.value) or "it was cut" in str(error.value)
    (before, failed, after) = fragile.extract_many([Diary("0", "fever"), Diary("1", bad), Diary("2", "fever")])  # type: ignore[arg-type]
    assert isinstance(failed, Failure)
    assert len(before.entities) == len(after.entities) == 1


def test_a_long_text_is_read_in_pieces_with_true_offsets(fragile: Clario) -> None:
    text = "nothing here. " * 10 + "then a fever came.\n" + "quiet days. " * 10 + "fever again"
    entities = fragile.extract(text).entities
    assert [text[e.start : e.end] for e in entities] == ["fever", "fever"]
    assert entities[1].start == text.rindex("fever")


@pytest.mark.parametrize("text", ["", "word", "no breaks" * 50, "a b\n" * 60, "One. Two. " * 40, "x" * 500])
def test_pieces_cover_the_text_without_overlap(text: str) -> None:
    pieces = pieces_of(text, 40)
    assert "".join(text[a:b] for a, b in pieces) == text
    assert all(b - a <= 40 for a, b in pieces)


def test_an_empty_text_is_answered_with_a_warning() -> None:
    answer = Clario("lexicon").extract("  \n")
    assert answer.entities == ()
    assert answer.warnings == ("the text is empty",)


def test_every_answer_names_its_model_and_release() -> None:
    answer = Clario("lexicon").extract("dry mouth")
    assert answer.model.startswith("lexicon ")
    assert answer.hpo_release == "2026-02-16"


def test_relative_dates_are_told_only_for_a_recorded_day() -> None:
    clario = Clario("lexicon")
    day = date(2026, 11, 26)
    assert clario.extract("dry mouth since yesterday").ts_event_hint is None
    assert clario.extract("dry mouth since yesterday", recorded=day).ts_event_hint == "2026-11-25"


def test_the_assertions_come_from_the_context() -> None:
    answer = Clario("lexicon").extract("Dry mouth, no fever. My mum has migraines.")
    assert [(e.hpo_label, e.assertion) for e in answer.entities] == [
        ("Xerostomia", "present"),
        ("Fever", "absent"),
        ("Migraine", "other"),
    ]


def test_unknown_models_and_releases_are_named_with_what_there_is() -> None:
    with pytest.raises(ModelError, match=r"no model named 'nonsense'; installed: .*lexicon"):
        Clario("nonsense")
    with pytest.raises(OntologyError, match="1999-01-01"):
        Clario("lexicon", release="1999-01-01")


def test_extractors_are_found_by_entry_points() -> None:
    assert "lexicon" in available()
    assert create("lexicon", Resolver(load())).name == "lexicon"


def test_what_is_neither_text_nor_diary_is_a_failure_among_the_others(fragile: Clario) -> None:
    odd = [None, b"fever", Diary(1, "fever"), Diary("\ud800", "fever"), Diary("d", "fever", "today")]
    results = list(fragile.extract_many(["fever", *odd, "fever"]))
    assert [isinstance(r, Failure) for r in results] == [False, True, True, True, True, True, False]
    with pytest.raises(InputError, match="call extract"):
        fragile.extract_many("fever")


def test_what_a_failing_source_gave_before_is_read_first(fragile: Clario) -> None:
    def source():
        yield "fever"
        yield "a fever"
        raise OSError("the disk is gone")

    stream = fragile.extract_many(source())
    assert [next(stream).id, next(stream).id] == ["0", "1"]
    with pytest.raises(OSError, match="disk"):
        next(stream)


@pytest.mark.parametrize("fault", ["raises", "short", "offsets"])
def test_an_extractor_that_breaks_its_word_is_a_model_error_without_the_text(fault: str) -> None:
    class Faithless(Fragile):
        def extract(self, texts: Sequence[str]) -> list[list[Mention]]:
            if fault == "raises":
                raise ValueError(texts[0])
            return [] if fault == "short" else [_fever("fever") for _ in texts]

    with pytest.raises(ModelError) as error:
        Clario(Faithless(Resolver(load()))).extract("a secret")
    assert "secret" not in str(error.value)
    assert error.value.__context__ is None


def test_an_extractor_keeps_its_own_release() -> None:
    with pytest.raises(ModelError, match="release"):
        Clario(Fragile(Resolver(load())), release="2026-02-16")


def test_threads_that_come_first_together_get_the_same_answers() -> None:
    from clario.extraction import context_cues

    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").glob("*.txt"))]
    expected = [Clario("lexicon").extract(text) for text in texts]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(3):
            context_cues.cue_finder.cache_clear()
            reader = Clario("lexicon")
            with ThreadPoolExecutor(8) as pool:
                assert list(pool.map(reader.extract, texts * 4)) == expected * 4
    finally:
        sys.setswitchinterval(interval)
