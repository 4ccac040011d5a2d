"""The benchmarks of `mini` run without peers, and say what they say they say. Nothing here is timed."""

import json
from pathlib import Path
from types import ModuleType

import pytest

from clario.entities import Assertion, EntityType
from clario.evaluation.metrics import Annotation
from clario.evaluation.read import GoldDiary
from clario.ontology import release as releases
from clario.ontology.index import Index

ROOT = Path(__file__).parent.parent
MODULES = ("common", "child", "obographs", "gsc_plus", "mini_speed", "errors")
KNEE_PAIN, ANKLE_PAIN = "HP:0030839", "HP:0030840"
Modules = dict[str, ModuleType]


@pytest.fixture(scope="module")
def index() -> Index:
    return releases.load("2026-02-16")


def test_mini_is_measured_beside_the_lexicon(bench: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    bench["mini_speed"].main(["--no-peers", "--quick", "--json"])
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["tools"].keys() == {"mini", "lexicon"}
    assert results["ratios"] == {}
    for figures in results["tools"].values():
        assert figures["alone_median_ms"] <= figures["alone_p95_ms"]
        assert figures["peak_bytes"] > 10 * 2**20
        assert figures["first_answer_seconds"] > figures["alone_median_ms"] / 1000
    assert results["tools"]["mini"]["peak_bytes"] > results["tools"]["lexicon"]["peak_bytes"]


def test_ratios_are_over_fenominal(bench: Modules) -> None:
    tools = {"mini": {"batch_per_second": 10.0}, "fenominal": {"batch_per_second": 40.0}}
    assert bench["mini_speed"].ratios(tools)["mini"] == {"batch_per_second": 0.25}


def test_every_diary_has_80_words_and_its_own_beginning(bench: Modules) -> None:
    texts = bench["mini_speed"].diaries(30)
    assert {len(text.split(" ")) for text in texts} == {80}
    assert len({text[:40] for text in texts}) == 30


def test_terms_are_related_by_their_paths(bench: Modules, index: Index) -> None:
    relation = bench["errors"].relation
    parent = index.parents(KNEE_PAIN)[0]
    assert parent in index.parents(ANKLE_PAIN), "the two are siblings in this release"
    above = index.parents(parent)[0]
    assert relation(index, KNEE_PAIN, parent) == "parent"
    assert relation(index, parent, KNEE_PAIN) == "child"
    assert relation(index, KNEE_PAIN, above) == "ancestor"
    assert relation(index, above, KNEE_PAIN) == "descendant"
    assert relation(index, KNEE_PAIN, ANKLE_PAIN) == "sibling"
    assert relation(index, KNEE_PAIN, "HP:0000217") == "far"


def test_an_error_is_told_once_with_all_that_is_wrong(bench: Modules, index: Index) -> None:
    def mention(start: int, hpo_id: str | None, told: Assertion = Assertion.PRESENT, *alt: str) -> Annotation:
        return Annotation(EntityType.SYMPTOM, start, start + 4, told, hpo_id, frozenset(alt))

    text = "aaaa bbbb cccc dddd eeee"
    gold = (mention(0, KNEE_PAIN), mention(5, KNEE_PAIN, Assertion.PRESENT, ANKLE_PAIN), mention(10, None))
    gold += (mention(15, KNEE_PAIN),)
    found = [
        mention(0, ANKLE_PAIN, Assertion.PAST),
        mention(5, ANKLE_PAIN),
        mention(10, ANKLE_PAIN),
        mention(20, None),
    ]
    told = bench["errors"].errors_of(GoldDiary("d", text, gold, None), found, index)
    assert [(e.kinds, e.relation) for e in told] == [
        (("assertion", "term"), "sibling"),
        (("unasked",), None),
        (("missed",), None),
        (("spurious",), None),
    ]
    assert told[0].context == "[aaaa] bbbb cccc dddd eeee"
    assert (told[2].found, told[3].gold) == (None, None)


@pytest.mark.parametrize("script", ["mini_speed", "errors"])
def test_help_tells_what_is_measured_against_what(
    script: str, bench: Modules, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        bench[script].main(["--help"])
    assert "Against" in capsys.readouterr().out
