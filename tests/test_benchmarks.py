"""The benchmark scripts run, without peers, and count what they say they count. Nothing here is timed."""

import gzip
import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clario.evaluation import bootstrap
from clario.ontology.index import Name, NameKind
from clario.ontology.sources import read_obo

ROOT = Path(__file__).parent.parent
MODULES = ("common", "child", "obographs", "gsc_plus", "side_by_side", "speed")
Modules = dict[str, ModuleType]


def _printed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_gsc_plus_runs_without_peers(bench: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    bench["gsc_plus"].main(["--no-peers", "--documents", "3", "--json"])
    report = _printed(capsys)
    data = ROOT / "data" / "benchmarks" / "gsc_plus.jsonl"
    gold = [json.loads(line)["hpo_ids"] for line in data.read_text("utf-8").splitlines()[:3]]
    files = report["provenance"]["files"]
    assert files["data/benchmarks/gsc_plus.jsonl"] == hashlib.sha256(data.read_bytes()).hexdigest()
    every, present, phenotypic, _ = report["results"]["scores"]
    assert [every["system"], present["system"]] == ["lexicon", "lexicon, present"]
    assert every["gold_ids"] == sum(map(len, gold)) > phenotypic["gold_ids"]
    assert every["predicted"] >= present["predicted"] > 0
    assert every["f1"]["value"] == pytest.approx(2 * every["right"] / (every["predicted"] + every["gold_ids"]))


def test_gsc_plus_scores_sets_of_ids_summed_over_documents(bench: Modules) -> None:
    gsc_plus = bench["gsc_plus"]
    documents = [gsc_plus.Abstract("a", "", frozenset("12")), gsc_plus.Abstract("b", "", frozenset("345"))]
    rows = gsc_plus.counts(documents, [frozenset("1"), frozenset("369")], lambda ids: ids)
    scored = gsc_plus.score(rows, bootstrap.draws(2, 10, 1))
    assert (scored["right"], scored["predicted"], scored["gold_ids"]) == (2, 4, 5)
    assert (scored["precision"]["value"], scored["recall"]["value"]) == (0.5, 0.4)
    restricted = gsc_plus.counts(documents, [frozenset("1"), frozenset("369")], lambda ids: set(ids) - {"6", "5"})
    assert restricted == [(1, 1, 2), (1, 2, 2)]


def test_gsc_plus_compares_pairwise(bench: Modules) -> None:
    gsc_plus = bench["gsc_plus"]
    documents = [gsc_plus.Abstract(str(n), "", frozenset({"x"})) for n in range(12)]
    right, wrong = [frozenset({"x"})] * 12, [frozenset({"y"})] * 12
    better = gsc_plus.compare(documents, {"lexicon": right, "fenominal": wrong})
    alike = gsc_plus.compare(documents, {"lexicon": right, "fenominal": right})
    assert better["f1_difference"] == 1
    assert better["p"] < 0.01
    assert alike["f1_difference"] == 0
    assert alike["p"] == 1


def test_obographs_keep_what_names_and_what_is_retired(bench: Modules) -> None:
    ontology = read_obo(ROOT / "tests" / "data" / "hp-small-2025-01-01.obo")
    (graph,) = bench["obographs"].convert(ontology)["graphs"]
    nodes = {node["id"].rpartition("/")[2].replace("_", ":"): node for node in graph["nodes"]}
    assert nodes.keys() == ontology.terms.keys()
    for hpo_id, term in ontology.terms.items():
        node = nodes[hpo_id]
        assert node["lbl"] == term.name
        assert [s["val"] for s in node["meta"].get("synonyms", [])] == [s.text for s in term.synonyms]
        assert node["meta"].get("deprecated", False) == term.obsolete
    assert len(graph["edges"]) == sum(len(term.parents) for term in ontology.terms.values())
    assert graph["meta"]["version"].endswith("2025-01-01/hp.json")


def test_speed_runs_without_peers(bench: Modules, capsys: pytest.CaptureFixture[str]) -> None:
    bench["speed"].main(["--no-peers", "--quick", "--json"])
    results = _printed(capsys)["results"]
    assert results["look_up"].keys() == {"clario"}
    assert results["read"].keys() == {"lexicon"}
    assert results["ratios"] == {}
    assert results["look_up"]["clario"]["lists"]["labels"]["right"] == 1
    assert results["read"]["lexicon"]["peak_bytes"] > 10 * 2**20


def test_speed_measures_the_same_names_in_every_run(bench: Modules) -> None:
    speed = bench["speed"]
    names = [
        Name(f"{kind} {n}", f"HP:{n:07}", kind) for n in range(60) for kind in (NameKind.LABEL, NameKind.EXACT)
    ]
    lists = speed.name_lists(names, speed.QUICK)
    assert lists == speed.name_lists(names, speed.QUICK)
    assert [len(set(some)) for some in lists.values()] == [50, 50]
    assert {text.split()[0] for text, _ in lists["labels"]} == {str(NameKind.LABEL)}
    assert lists["labels"] != sorted(lists["labels"])


def test_speed_ratios_are_clario_by_peer(bench: Modules) -> None:
    def tool(seconds: float, rate: float) -> dict[str, Any]:
        one = {"names": {"per_second": rate}}
        return {"load_seconds": seconds, "peak_bytes": 10, "lists": one, "sets": one}

    results = {"look_up": {"clario": tool(1, 30), "hpo3": tool(4, 10)}, "read": {"lexicon": tool(1, 1)}}
    assert bench["speed"].ratios(results) == {
        "look_up: load time, clario / hpo3": 0.25,
        "look_up: names a second, clario / hpo3": 3,
        "look_up: peak memory, clario / hpo3": 1,
    }


def test_a_look_up_counts_only_right_answers(bench: Modules) -> None:
    names = [["Scoliosis", "HP:0002650"], ["Xerostomia", "HP:0002650"]]
    given = {"with": "clario", "release": bench["common"].RELEASE, "lists": {"some": names}}
    assert bench["child"].look_up(given)["lists"]["some"] | {"seconds": 0} == {
        "asked": 2,
        "right": 1,
        "seconds": 0,
    }


def test_a_failing_process_is_told(bench: Modules) -> None:
    with pytest.raises(bench["common"].BenchmarkError, match="KeyError: 'no such task'"):
        bench["common"].fresh("no such task", {})


@pytest.mark.skipif(sys.platform == "win32", reason="stands a shell script in for an interpreter")
def test_a_peer_that_cannot_be_installed_is_told(bench: Modules, tmp_path: Path) -> None:
    python = tmp_path / "fenominal" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho 'ERROR: no network' >&2\nexit 1\n")
    python.chmod(0o755)
    with (
        bench["common"].environments(tmp_path) as peers,
        pytest.raises(bench["common"].BenchmarkError, match=r"--no-peers.*ERROR: no network"),
    ):
        peers.python("fenominal")


@pytest.mark.parametrize("script", ["gsc_plus", "speed"])
def test_help_tells_what_is_measured_against_what(
    script: str, bench: Modules, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        bench[script].main(["--help"])
    told = capsys.readouterr().out
    assert "Measured" in told
    assert "Against" in told
    assert "fenominal" in told


def test_systems_stand_side_by_side(bench: Modules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "data" / "corpus" / "validation.jsonl").read_text("utf-8").splitlines()[:3]
    (tmp_path / "validation.jsonl").write_text("".join(line + "\n" for line in lines), "utf-8")
    nothing = {"model": "m", "hpo_release": "2026-02-16", "ts_event_hint": None, "warnings": [], "entities": []}
    told = [json.dumps({"id": json.loads(line)["id"], **nothing}) for line in lines]
    for number in (1, 2):
        file = tmp_path / f"validation.{number}-system_{number}.jsonl.gz"
        file.write_bytes(gzip.compress("\n".join(told).encode()))
    monkeypatch.setattr(bench["side_by_side"], "CORPUS", tmp_path)
    table = bench["side_by_side"].table(tmp_path, "validation")
    assert "3 diaries" in table
    assert [line.split(" | ")[0] for line in table.splitlines()[4:]] == ["| system 1", "| system 2"]
    assert bench["side_by_side"].table(tmp_path, "test") == ""
