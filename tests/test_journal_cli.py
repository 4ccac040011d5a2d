"""`clario journal` as people and scripts use it."""

import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from clario.cli import app
from clario.errors import ClarioError
from clario.extraction import base
from clario.journal import worker as workers
from clario.journal.store import Journal
from clario.journal.worker import MODEL_VARIABLE, URL_VARIABLE
from clario.ontology import release
from clario.ontology.index import Index
from clario.ontology.resolver import Resolver

TEXT = "Mouth so dry today. No fever."
Run = Callable[..., Result]
CREATED = cache(base.create)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: Index, resolver: Resolver) -> Run:
    """Run a command on a journal of this test's own, read by the lexicon, which is made once for all tests."""
    monkeypatch.setattr(workers, "Resolver", lambda index: resolver)
    monkeypatch.setattr(workers.base, "create", CREATED)
    monkeypatch.setattr(release, "load", lambda name=None: index)
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.setenv(MODEL_VARIABLE, "lexicon")
    monkeypatch.setenv("CLARIO_JOURNAL", str(tmp_path / "j.db"))

    def call(*args: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, ["journal", *map(str, args)], input=stdin)

    return call


@pytest.fixture
def filled(run: Run) -> Run:
    """The same with one entry that was read."""
    assert run("add", TEXT, "--recorded", "2026-11-20").stdout == "1\n"
    done = run("process")
    assert (done.exit_code, done.stdout) == (0, "1\t2\n"), done.output
    return run


def objects(done: Result) -> list[dict]:
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_added_is_listed_read_and_shown(filled: Run) -> None:
    assert filled("add", stdin="  tired\n").stdout == "2\n"
    first, second = objects(filled("list"))
    assert (first["recorded"], first["state"], first["entities"]) == ("2026-11-20", "done", 2)
    assert (second["text"], second["state"]) == ("  tired\n", "waiting")
    (shown,) = objects(filled("show", 1))
    labels = [item["entity"]["hpo_label"] for item in shown["items"]]
    assert (labels, shown["version"]) == (["Xerostomia", "Fever"], 0)
    table = filled("show", 1, "--format", "table").stdout
    assert "Not a diagnosis" in table
    assert "proposed" in table
    assert "tired" in filled("list", "--format", "table").stdout


def test_corrections_are_made_undone_and_refused(filled: Run) -> None:
    dry = objects(filled("show", 1))[0]["items"][0]["key"]
    assert filled("correct", 1, dry, "--assertion", "past").stdout == "version 1\n"
    assert filled("correct", 1, "--add", "13:18", "--type", "trigger").stdout == "version 2\n"
    assert isinstance(filled("correct", 1, dry, "--accept", "--version", 0).exception, ClarioError)
    assert filled("correct", 1, "--undo").stdout == "version 3\n"
    assert [line.split("\t")[2] for line in filled("show", 1, "--history").stdout.splitlines()] == [
        "assertion", "add", "undo",
    ]  # fmt: skip
    filled("process", 1)
    assert objects(filled("show", 1))[0]["items"][0]["status"] == "changed"


@pytest.mark.parametrize(
    "options",
    [
        [], ["m1"], ["m1", "--accept", "--reject"], ["--accept"], ["m1", "--undo"], ["m1", "--assertion", "maybe"],
        ["m1", "--span", "x:y"], ["--add", "1:2", "--type", "rash"],
    ],
)  # fmt: skip
def test_bad_use_is_told_and_changes_nothing(filled: Run, options: list[str]) -> None:
    assert filled("correct", 1, *options).exit_code == 2
    assert objects(filled("show", 1))[0]["version"] == 0


def test_a_journal_that_is_not_there_is_not_made_by_looking(run: Run, tmp_path: Path) -> None:
    done = run("list")
    assert isinstance(done.exception, ClarioError)
    assert "journal add" in str(done.exception)
    assert not (tmp_path / "j.db").exists()


def test_deleting_asks_or_wants_to_be_told(filled: Run) -> None:
    assert filled("delete", 1).exit_code == 1
    assert len(objects(filled("list"))) == 1
    assert filled("delete", 1, "--yes").exit_code == 0
    assert objects(filled("list")) == []


def test_the_journal_goes_out_and_comes_in_elsewhere(filled: Run, tmp_path: Path) -> None:
    fever = objects(filled("show", 1))[0]["items"][1]["key"]
    filled("correct", 1, fever, "--reject")
    out = tmp_path / "out.jsonl"
    assert filled("export", "--dates", "--output", out).exit_code == 0
    (diary,) = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [e["hpo_label"] for e in diary["entities"]] == ["Xerostomia"]
    other = ("--file", tmp_path / "other.db")
    done = filled("import", out, "--entities-of", "me", *other)
    assert done.stdout == "1 added, 0 there before, 1 annotated\n"
    assert filled("import", out, *other).stdout == "0 added, 1 there before, 0 annotated\n"
    assert objects(filled("export", "--dates", *other)) == [diary]
    (result,) = objects(filled("export", "--to", "extractions"))
    assert (result["id"], len(result["entities"])) == ("1", 1)


@pytest.mark.parametrize(("format", "module"), [("phenopacket", "phenopackets"), ("fhir", "fhir"), ("csv", "csv")])
def test_other_formats_go_through_the_exports(filled: Run, format: str, module: str) -> None:
    pytest.importorskip(module)
    done = filled("export", "--to", format)
    assert done.exit_code == 0, done.output
    assert "HP:0000217" in done.stdout
    assert "Mouth" not in done.stdout
    assert "Mouth so dry" in filled("export", "--to", format, "--quotes").stdout


def test_what_cannot_be_imported_is_named_and_the_rest_is_there(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text('{"id": "a", "text": "tired"}\n{"id": "b"}\n')
    done = run("import", path)
    assert (done.exit_code, done.stdout) == (1, "1 added, 0 there before, 0 annotated\n")
    assert "line 2" in done.stderr


def test_entities_of_another_text_are_not_taken_over(filled: Run, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    fever = {"type": "symptom", "name_colloquial": "Fever", "start": 0, "end": 5, "hpo_id": "HP:0001945",
             "hpo_label": "Fever", "alt_ids": [], "assertion": "present"}  # fmt: skip
    path.write_text(json.dumps({"id": "1", "text": "Fever again.", "entities": [fever]}))
    done = filled("import", path, "--entities-of", "anna")
    assert (done.exit_code, done.stdout) == (1, "0 added, 0 there before, 0 annotated\n")
    assert objects(filled("show", 1, "--annotator", "anna"))[0]["version"] == 0


def test_an_export_does_not_take_the_journals_place(filled: Run, tmp_path: Path) -> None:
    assert filled("export", "--output", tmp_path / "j.db").exit_code == 2
    assert len(objects(filled("list"))) == 1


def test_a_hint_that_is_no_day_does_not_stop_the_timeline(filled: Run, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as journal:
        found = journal.extraction("1")
        assert found
        journal.again()
        job = journal.claim()
        assert job
        assert journal.complete(job, found.model_copy(update={"ts_event_hint": "yesterday!"}))
    assert {day for track in objects(filled("timeline")) for day in track["days"]} == {"2026-11-20"}


def test_agreement_of_two_who_have_finished(filled: Run) -> None:
    for name, span in (("anna", "0:12"), ("ben", "6:12")):
        filled("correct", 1, "--add", span, "--term", "HP:0000217", "--annotator", name)
        filled("finish", 1, "--annotator", name)
    (found,) = objects(filled("agreement", "anna", "ben"))
    assert found["diaries"] == 1
    assert "mentions" in filled("agreement", "anna", "ben", "--format", "table").stdout


def test_the_timeline_is_shown_and_drawn(filled: Run, tmp_path: Path) -> None:
    assert {row["name"]: row["days"] for row in objects(filled("timeline"))} == {
        "Xerostomia": {"2026-11-20": "present"}, "Fever": {"2026-11-20": "absent"},
    }  # fmt: skip
    table = filled("timeline", "--format", "table").stdout
    assert "●" in table
    assert "Not a diagnosis" in table
    assert filled("timeline", "--output", tmp_path / "t.pdf").exit_code == 2
    pytest.importorskip("matplotlib")
    assert filled("timeline", "--output", tmp_path / "t.svg").exit_code == 0
    assert "Xerostomia" in (tmp_path / "t.svg").read_text("utf-8")


def test_changed_entries_are_read_anew(filled: Run, tmp_path: Path) -> None:
    assert filled("process", "--changed").stdout == ""
    with Journal(tmp_path / "j.db") as journal:
        journal._db.execute("UPDATE extractions SET model = 'older'")
    assert filled("process", "--changed").stdout == "1\t2\n"


def test_entries_that_nobody_can_read_are_kept_and_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:9")
    run("add", TEXT)
    done = run("process", "--tries", 1, "--fallback", "none")
    assert done.exit_code == 1
    assert "process --failed" in done.stderr
    assert "Mouth" not in done.output
    monkeypatch.delenv(URL_VARIABLE)
    assert run("process", "--failed").stdout == "1\t2\n"


def test_an_entry_written_in_an_editor_is_kept_even_if_the_journal_refuses_it(
    filled: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clario.cli import journal as command

    monkeypatch.setenv("EDITOR", f"{sys.executable} -c \"import sys; open(sys.argv[1], 'w').write('so tired')\"")
    monkeypatch.delenv("VISUAL", raising=False)
    with Journal(tmp_path / "j.db") as journal:
        assert command._edited(journal, journal.entries()[0].created.date()).text == "so tired"
        assert not list(tmp_path.glob(".entry-*"))
        monkeypatch.setattr(journal, "add", _refuse)
        with pytest.raises(ClarioError):
            command._edited(journal, journal.entries()[0].created.date())
    (left,) = tmp_path.glob(".entry-*")
    assert left.read_text() == "so tired"
    assert left.stat().st_mode & 0o777 == 0o600


def _refuse(*_: object) -> None:
    raise ClarioError("no space")
