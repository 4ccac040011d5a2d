"""`clario evaluate` as a user meets it: what it reads, what it refuses, what it writes."""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from clario.cli.evaluate import evaluate
from clario.entities import Extraction
from clario.errors import InputError, ModelError, OutputError
from clario.evaluation import bootstrap, read, run
from clario.ontology.release import Manifest

DRY, FEVER, JOINTS, FATIGUE = "HP:0000217", "HP:0001945", "HP:0002829", "HP:0012378"
TEXTS = {"a": "Dry mouth and fever since Monday.", "b": "No fever. So tired after aspirin.", "c": "A fine day."}

pytestmark = pytest.mark.usefixtures("shipped")
app = typer.Typer()
app.command()(evaluate)


def entity(diary: str, quote: str, hpo_id: str | None, **other: Any) -> dict[str, Any]:
    start = TEXTS[diary].index(quote)
    fields = {"type": "symptom", "name_colloquial": quote, "start": start, "end": start + len(quote)}
    return fields | {"hpo_id": hpo_id, "assertion": "present", "alt_ids": []} | other


GOLD: list[dict[str, Any]] = [
    {"entities": [entity("a", "Dry mouth", DRY), entity("a", "fever", FEVER)]},
    {
        "entities": [
            entity("b", "fever", FEVER, assertion="absent"),
            entity("b", "tired", FATIGUE, alt_ids=["HP:0100002"]),
            entity("b", "aspirin", None, type="med"),
        ]
    },
    {"entities": []},
]
GOLD = [{"id": name, "text": text} | found for (name, text), found in zip(TEXTS.items(), GOLD, strict=True)]


def save(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return path


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough to see that intervals and tests are there; tests/test_metrics.py checks what they say."""
    monkeypatch.setattr(bootstrap, "RESAMPLES", 40)
    monkeypatch.setattr(bootstrap, "SHUFFLES", 999)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the extra `eval` were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    return save(tmp_path / "gold.jsonl", GOLD)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def figures(*arguments: object, system: int = 0) -> dict[str, Any]:
    """The first part of each figure of a system, from the JSON on the standard output."""
    result = call(*arguments, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["systems"][system]["figures"]
    return {name: next(iter(parts.values()))[0] for name, parts in found.items()}


def error(*arguments: object) -> BaseException | None:
    return call(*arguments).exception


class TestScores:
    def test_the_gold_itself_is_perfect(self, gold: Path, tmp_path: Path) -> None:
        told = [
            r | {"entities": [e | {"name_canonical": e["name_colloquial"]} for e in r["entities"]]} for r in GOLD
        ]
        found = figures(gold, "--predictions", save(tmp_path / "p.jsonl", told))
        assert found.pop("schema") == 0  # gold lines are no Extractions
        assert found.pop("entities") == pytest.approx(5 / 3)
        assert found.pop("name") == 0.75  # "tired" is no name of Fatigue
        assert {value for value in found.values() if value is not None} == {1.0}

    def test_a_tool_that_gives_ids_only(self, gold: Path, tmp_path: Path) -> None:
        # Present gold: a {DRY, FEVER}, b {FATIGUE or HP:0100002}. Exact: 1 of 3 predicted, 3 gold; with
        # alternatives 2. HP:0100002 closes to {it, FATIGUE}, so that 2 of 4 predicted and 3 gold are shared.
        lines = [{"id": "a", "entities": [{"hpo_id": DRY}]}]
        lines += [{"id": "b", "entities": [{"hpo_id": "HP:0100002"}, {"hpo_id": FEVER}]}]
        found = figures(gold, "--predictions", save(tmp_path / "p.jsonl", lines))
        assert found == pytest.approx(
            {"id_exact": 2 / 6, "id_alternatives": 4 / 6, "id_hierarchical": 4 / 7, "entities": 1.0}, abs=1e-6
        )

    def test_retired_ids_count_as_their_successors(self, gold: Path, tmp_path: Path) -> None:
        lines = [{"id": "a", "entities": [{"hpo_id": "HP:0001278"}]}]
        assert figures(gold, "--predictions", save(tmp_path / "p.jsonl", lines))["id_exact"] == 0.5

    def test_a_model_by_name(self, gold: Path) -> None:
        found = figures(gold, "--model", "lexicon")
        assert found["schema"] == 1
        assert found["id_exact"] == pytest.approx(4 / 5)  # dry mouth and fever; "tired" is in no dictionary here

    def test_raw_outputs_as_given_and_normalised(self, gold: Path, tmp_path: Path) -> None:
        requested = {"name_colloquial": "Dry mouth", "name_canonical": "Xerostomia"}
        whole = {"entities": [requested | {"type": "symptom", "assertion": "present"}]}
        lines = [{"id": "a", "raw": json.dumps(whole)}, {"id": "b", "raw": '{"symptoms": ["tired", "Fatigue"]}'}]
        predictions = save(tmp_path / "vanilla.jsonl", [*lines, {"id": "c", "raw": "None found."}])
        given = figures(gold, "--predictions", predictions)
        normalised = figures(gold, "--predictions", predictions, system=1)
        assert (given["schema"], normalised["schema"]) == pytest.approx((1 / 3, 2 / 3), abs=1e-6)
        assert given["id_exact"] == 0.5  # 1 right of 1 predicted, 3 gold
        assert normalised["id_exact"] == 0.8  # 2 right of 2

    def test_gold_known_by_ids_only(self, tmp_path: Path) -> None:
        gold = save(tmp_path / "gsc.jsonl", [{"id": 1, "text": "Dry mouth.", "hpo_ids": [DRY, FEVER]}])
        found = figures(gold, "--model", "lexicon")
        assert found["id_exact"] == pytest.approx(2 / 3, abs=1e-6)
        assert "mention_overlap" not in found

    def test_the_second_annotator(self, tmp_path: Path) -> None:
        twice = [GOLD[0] | {"second_annotation": GOLD[0]["entities"][:1]}, *GOLD[1:]]
        gold = save(tmp_path / "gold.jsonl", twice)
        record = json.loads(call(gold, "--model", "lexicon", "--format", "json").stdout)
        second, system = record["second_annotator"]
        assert (second["name"], second["diaries"], system["name"], system["diaries"]) == (
            "second annotator", 1, "lexicon", 1,
        )  # fmt: skip
        assert second["figures"]["id_exact"]["f1"][0] == pytest.approx(2 / 3, abs=1e-6)  # 1 right of 1, 2 gold


class TestGaps:
    def test_what_is_missing_or_failed_counts_as_empty_and_is_named(self, gold: Path, tmp_path: Path) -> None:
        lines = [{"id": "a", "error": "too long"}, {"id": "c", "entities": []}]
        result = call(gold, "--predictions", save(tmp_path / "p.jsonl", lines), "--format", "json")
        system = json.loads(result.stdout)["systems"][0]
        assert (system["missing"], system["failed"]) == (["b"], ["a"])
        assert system["figures"]["id_exact"]["f1"][0] == 0
        assert "1 missing and 1 failed" in call(gold, "--predictions", tmp_path / "p.jsonl").stderr

    def test_an_id_of_no_release_is_wrong_and_counted(self, gold: Path, tmp_path: Path) -> None:
        lines = [{"id": "a", "entities": [{"hpo_id": "HP:9999999"}, {"hpo_id": DRY}]}]
        result = call(gold, "--predictions", save(tmp_path / "p.jsonl", lines), "--format", "json")
        system = json.loads(result.stdout)["systems"][0]
        assert system["remarks"] == {"ids that the release does not know": 1}
        assert system["figures"]["id_exact"]["precision"][0] == 0.5

    def test_a_quote_out_of_place_is_counted(self, gold: Path, tmp_path: Path) -> None:
        moved = entity("a", "fever", FEVER) | {"start": 0, "end": 5}
        result = call(gold, "--predictions", save(tmp_path / "p.jsonl", [{"id": "a", "entities": [moved]}]),
                      "--format", "json")  # fmt: skip
        assert json.loads(result.stdout)["systems"][0]["remarks"] == {"quotes that are not text[start:end]": 1}


class TestRefusals:
    def test_unknown_ids_are_named(self, gold: Path, tmp_path: Path) -> None:
        lines = [{"id": name, "entities": []} for name in ("a", "x", "y")]
        found = error(gold, "--predictions", save(tmp_path / "p.jsonl", lines))
        assert isinstance(found, InputError)
        assert "'x', 'y': no such ids in the gold file" in str(found)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('{"id": "b", "entities": [', "line 2: not a whole JSON object"),
            ("[1]", "line 2: not a JSON object"),
            ('{"entities": []}', 'line 2: no field "id"'),
            ('{"id": "b"}', 'line 2: no "entities", no "raw"'),
            ('{"id": "b", "entities": {}}', 'line 2: "entities" is not a list'),
            ('{"id": "a", "entities": []}', "line 2: the id 'a' was there before"),
            ('{"id": "b", "raw": "{}"}', 'some lines have "raw" and some "entities"'),
            ('{"id": "b", "entities": [{"hpo_id": "secret"}]}', "line 2: entity 1 hpo_id: String should match"),
            (
                '{"id": "b", "entities": [{}, {"assertion": "secret"}]}',
                "line 2: entity 2 assertion: Input should be",
            ),
            ('{"id": "b", "entities": [{"start": 3}]}', "entity 1: Value error, start and end go together"),
            ('{"id": "b", "entities": [{"start": 3, "end": 3}]}', "end must be greater than start"),
            ('{"id": "b", "entities": ["secret"]}', "line 2: entity 1"),
        ],
    )
    def test_a_broken_line_is_named_and_no_text_shown(
        self, gold: Path, tmp_path: Path, line: str, message: str
    ) -> None:
        path = tmp_path / "p.jsonl"
        path.write_text('{"id": "a", "entities": []}\n' + line + "\n")
        found = error(gold, "--predictions", path)
        assert isinstance(found, InputError)
        assert message in str(found)
        assert "secret" not in str(found)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"text": None}, 'no field "text"'),
            ({"entities": None}, 'no field "entities"'),
            ({"entities": [entity("a", "fever", "HP:9999999")]}, "'HP:9999999' is not a term"),
            ({"entities": [entity("a", "fever", FEVER) | {"start": 0, "end": 5}]}, "entity 1 is not text"),
        ],
    )
    def test_broken_gold(self, tmp_path: Path, change: dict[str, Any], message: str) -> None:
        found = error(save(tmp_path / "gold.jsonl", [GOLD[2], GOLD[0] | change]), "--model", "lexicon")
        assert isinstance(found, InputError)
        assert f"line 2: {message}" in str(found).replace("the quote of ", "")

    def test_files_that_are_not_there_or_not_text(self, gold: Path, tmp_path: Path) -> None:
        assert isinstance(error(tmp_path / "none.jsonl", "--model", "lexicon"), InputError)
        assert isinstance(error(gold, "--predictions", tmp_path), InputError)
        (tmp_path / "p.jsonl").write_bytes(b'{"id": "\xff"}\n')
        assert "line 1: not UTF-8" in str(error(gold, "--predictions", tmp_path / "p.jsonl"))
        (tmp_path / "empty.jsonl").write_bytes(b"")
        assert "no diaries in it" in str(error(tmp_path / "empty.jsonl", "--model", "lexicon"))

    def test_unknown_models(self, gold: Path) -> None:
        assert isinstance(error(gold, "--model", "none-such"), ModelError)
        assert isinstance(error(gold, "--model", "lexicon", "--against", "none-such"), ModelError)

    @pytest.mark.parametrize(
        "arguments",
        [[], ["--model", "lexicon", "--predictions", "x"], ["--model", "lexicon", "--part", "test"],
         ["--model", "lexicon", "--split", "x"], ["--model", "lexicon", "--split", "x", "--part", "dev"]],
    )  # fmt: skip
    def test_bad_use_is_exit_code_2(self, gold: Path, arguments: list[str]) -> None:
        assert call(gold, *arguments).exit_code == 2


class TestSplit:
    def test_a_part_of_it(self, gold: Path, tmp_path: Path) -> None:
        split = tmp_path / "split.json"
        split.write_text(json.dumps({"parts": {"train": ["a"], "validation": ["b"], "test": ["c"]}}))
        predictions = save(tmp_path / "p.jsonl", GOLD)  # those of the other parts are let pass
        result = call(
            gold, "--predictions", predictions, "--split", split, "--part", "validation", "--format", "json"
        )
        record = json.loads(result.stdout)
        assert record["gold"]["diaries"] == 1
        assert record["split"] == {
            "file": "split.json", "part": "validation", "sha256": hashlib.sha256(split.read_bytes()).hexdigest(),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "not a JSON file"),
            ("[]", 'no list of ids under "test"'),
            ('{"test": ["a", "z"]}', "1 of its diaries are not in"),
            ('{"test": []}', "is empty"),
        ],
    )
    def test_broken_splits(self, gold: Path, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "split.json").write_text(content)
        found = error(gold, "--model", "lexicon", "--split", tmp_path / "split.json", "--part", "test")
        assert isinstance(found, InputError)
        assert message in str(found)


class TestRunFolder:
    @pytest.mark.usefixtures("no_plots")
    def test_it_holds_the_report_with_its_provenance(
        self, gold: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Manifest
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["clario", "evaluate", "my gold.jsonl"])
        ids_only = save(tmp_path / "ids.jsonl", [{"id": "a", "entities": [{"hpo_id": DRY}]}])
        folder = tmp_path / "run"
        result = call(gold, "--model", "lexicon", "--against", ids_only, "--output", folder)
        assert result.exit_code == 0, result.output
        assert {path.name for path in folder.iterdir()} == {"report.json", "report.md", "predictions.jsonl"}
        record = json.loads((folder / "report.json").read_text("utf-8"))
        assert record["command"] == "clario evaluate 'my gold.jsonl'"
        assert record["hpo_release"] == shipped.release
        assert record["gold"]["sha256"] == hashlib.sha256(gold.read_bytes()).hexdigest()
        assert record["systems"][0]["model"].startswith("lexicon ")
        assert record["systems"][1]["sha256"] == hashlib.sha256(ids_only.read_bytes()).hexdigest()
        assert "matplotlib is missing" in record["no_plots"]
        page = (folder / "report.md").read_text("utf-8")
        for words in (
            "clario evaluate 'my gold.jsonl'",
            "HPO id F1, hierarchical",
            "lexicon less ids",
            "No plots",
        ):
            assert words in page

    @pytest.mark.usefixtures("no_plots")
    def test_its_predictions_can_be_scored_again(self, gold: Path, tmp_path: Path) -> None:
        call(gold, "--model", "lexicon", "--output", tmp_path / "run")
        lines = (tmp_path / "run" / "predictions.jsonl").read_text("utf-8").splitlines()
        assert [Extraction.model_validate_json(line).id for line in lines] == ["a", "b", "c"]
        again = figures(gold, "--predictions", tmp_path / "run" / "predictions.jsonl")
        assert again == figures(gold, "--model", "lexicon")

    def test_plots(self, gold: Path, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        call(gold, "--model", "lexicon", "--output", tmp_path / "run")
        record = json.loads((tmp_path / "run" / "report.json").read_text("utf-8"))
        assert record["plots"] == ["figures.svg", "reliability.svg"]
        drawn = (tmp_path / "run" / "figures.svg").read_text("utf-8")
        assert "HPO id F1, with alternatives" in drawn
        assert "![figures.svg](figures.svg)" in (tmp_path / "run" / "report.md").read_text("utf-8")

    @pytest.mark.usefixtures("no_plots")
    def test_an_earlier_report_is_replaced_and_other_files_are_not(self, gold: Path, tmp_path: Path) -> None:
        folder = tmp_path / "run"
        call(gold, "--model", "lexicon", "--output", folder)
        again = call(gold, "--predictions", save(tmp_path / "p.jsonl", GOLD), "--output", folder)
        assert again.exit_code == 0
        assert not (folder / "predictions.jsonl").exists()
        (folder / "notes.txt").write_text("mine")
        before = (folder / "report.json").read_bytes()
        assert isinstance(error(gold, "--model", "lexicon", "--output", folder), OutputError)
        assert (folder / "report.json").read_bytes() == before
        assert isinstance(error(gold, "--model", "lexicon", "--output", gold), OutputError)


class TestComparison:
    def test_the_better_system_on_many_diaries(self, tmp_path: Path) -> None:
        gold = save(tmp_path / "gold.jsonl", [GOLD[0] | {"id": f"d{n}"} for n in range(12)])
        none = save(tmp_path / "none.jsonl", [{"id": f"d{n}", "entities": []} for n in range(12)])
        result = call(gold, "--model", "lexicon", "--against", none, "--format", "json")
        comparison = json.loads(result.stdout)["comparison"]
        assert comparison["systems"] == ["lexicon", "none"]
        tested = comparison["figures"]["id_exact"]
        assert (tested["difference"], tested["interval"]) == (1.0, [1.0, 1.0])
        assert tested["p"] < 0.005  # 2 of the 4,096 swaps differ as much

    def test_a_system_does_not_differ_from_itself(self, gold: Path) -> None:
        result = call(gold, "--model", "lexicon", "--against", "lexicon", "--format", "json")
        assert {f["p"] for f in json.loads(result.stdout)["comparison"]["figures"].values()} == {1.0}

    def test_the_table_shows_it(self, gold: Path, tmp_path: Path) -> None:
        shown = call(gold, "--model", "lexicon", "--against", save(tmp_path / "p.jsonl", GOLD)).stdout
        assert "difference" in shown
        assert "3 diaries" in shown


def test_the_same_run_gives_the_same_figures(gold: Path) -> None:
    source = run.Source(model="lexicon")
    first, second = (run.evaluate(gold, source, source) for _ in range(2))
    assert first == second


def test_a_mark_at_the_start_of_the_file_is_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(b'\xef\xbb\xbf{"id": "a", "entities": []}\r\n\n')
    assert list(read.predictions(tmp_path / "p.jsonl")) == ["a"]
