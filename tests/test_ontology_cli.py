"""`clario ontology`: what each command prints, and its exit code."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import DATA, NEW, OLD, Server
from typer.testing import CliRunner

from clario.cli.ontology import app
from clario.errors import OntologyError, UnknownTermError
from clario.ontology import release
from clario.ontology.index import Index
from clario.ontology.release import Manifest

NEW_OBO = str(DATA / f"hp-small-{NEW}.obo")


def run(*arguments: str | Path, code: int = 0) -> Any:
    """Run a command; an error that `clario` itself would print is raised."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def printed(*arguments: str | Path, code: int = 0) -> Any:
    """What a command prints into a pipe, which is JSON."""
    return json.loads(run(*arguments, code=code).stdout)


def test_info_shows_the_release_in_use(shipped: Manifest) -> None:
    assert printed("info") == json.loads(shipped.to_json())
    table = run("info", "--format", "table").stdout
    assert OLD in table
    assert "https://hpo.jax.org/app/license" in table


def test_info_finds_damage(shipped: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "manifest.json").write_text(shipped.to_json(), "utf-8")
    (tmp_path / "index.zip").write_bytes(b"0" * shipped.index_bytes)
    monkeypatch.setattr(release, "SHIPPED_FOLDER", tmp_path)
    with pytest.raises(OntologyError, match="damaged"):
        run("info")


def test_build_use_and_list(shipped: Manifest) -> None:
    assert f"clario ontology use {NEW}" in run("build", NEW_OBO).stderr
    assert [(m["release"], m["active"]) for m in printed("list")] == [(OLD, True), (NEW, False)]
    run("use", NEW)
    assert [(m["release"], m["active"]) for m in printed("list")] == [(OLD, False), (NEW, True)]
    (row,) = (line for line in run("list", "--format", "table").stdout.splitlines() if NEW in line)
    assert "*" in row
    run("use", "shipped")
    assert printed("info")["release"] == OLD


def test_build_into_a_folder(small_lay: Path, tmp_path: Path) -> None:
    run("build", NEW_OBO, "--lay", small_lay, "--output", tmp_path / "out")
    manifest = Manifest.from_json((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest.lay_lexicon_sha256 == hashlib.sha256(small_lay.read_bytes()).hexdigest()


def test_update_installs_and_uses_only_when_asked(shipped: Manifest, server: Server) -> None:
    content = Path(NEW_OBO).read_bytes()
    url = server.serve("/hp.obo", content)
    told = run("update", "--url", url, "--release", NEW, "--size", str(len(content))).stderr
    assert f"clario ontology use {NEW}" in told
    assert release.active().release == OLD
    run("update", "--url", url, "--sha256", hashlib.sha256(content).hexdigest(), "--use")
    assert release.active().release == NEW


def test_diff_takes_releases_and_files(new: Index) -> None:
    difference = printed("diff", OLD, NEW_OBO)
    assert difference == printed("diff", OLD, NEW)
    assert difference["renamed"] == [["HP:0001945", "Fever", "Fièvre"]]
    table = run("diff", OLD, NEW, "--format", "table").stdout
    assert all(name in table for name in ("Dry lips", "Fièvre", "Aching joints", "Vague feeling"))
    assert "obsoleted, without a successor: none" in run("diff", NEW, NEW, "--format", "table").stdout


def test_migrate_reports_and_fails_where_an_id_has_no_successor(new: Index, tmp_path: Path) -> None:
    path = tmp_path / "cohort.csv"
    path.write_text("HP:0001278\nHP:0100001\n")
    report = printed("migrate", path, "--in-place", "--release", NEW)
    assert report["release"] == NEW
    assert [change["new"] for change in report["changes"]] == ["HP:0000217", "HP:0002829"]
    assert path.read_text() == "HP:0000217\nHP:0002829\n"
    path.write_text("HP:0001278\nHP:0100003\n")
    target = tmp_path / "out.csv"
    table = run("migrate", path, "--output", target, "--release", NEW, "--format", "table", code=1).stdout
    assert "HP:0100003" in table
    assert target.read_text() == "HP:0000217\nHP:0100003\n"


def test_migrate_wants_one_place_for_the_result(shipped: Manifest, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("HP:0001278")
    assert "--output FILE or --in-place" in run("migrate", path, code=2).stderr.replace("\n", " ")
    run("migrate", path, "--in-place", "--output", tmp_path / "b.txt", code=2)
    assert path.read_text() == "HP:0001278"


def test_show_gives_terms_with_what_stands_around_them(new: Index) -> None:
    (dry, joints) = printed("show", "HP:0000217", "HP:0100001", "--release", NEW)
    assert dry["label"] == "Xerostomia"
    assert dry["definition"].startswith("Dryness of the mouth")
    assert dry["synonyms"] == [{"text": "Dry mouth", "scope": "EXACT", "kind": "layperson"}]
    assert dry["parents"] == [{"hpo_id": "HP:0000118", "label": "Phenotypic abnormality"}]
    assert dry["children"] == [{"hpo_id": "HP:0200001", "label": "Dry lips"}]
    assert (joints["asked"], joints["hpo_id"], joints["label"]) == ("HP:0100001", "HP:0002829", "Arthralgia")


def test_show_tells_of_alternative_ids_in_a_table(old: Index) -> None:
    table = run("show", "HP:0001278", "--format", "table").stdout
    assert "HP:0000217 Xerostomia (HP:0001278 is now this term)" in table
    assert "Dry mouth (exact, layperson)" in table


def test_show_of_an_unknown_id_prints_nothing_else(old: Index) -> None:
    with pytest.raises(UnknownTermError, match="HP:7777777"):
        run("show", "HP:0000217", "HP:7777777")


def test_a_table_cannot_steer_the_terminal(old: Index, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"hpo_id": "HP:0000217", "hpo_label": "\x1b[2J[red]:smile:"}))
    table = run("migrate", path, "--in-place", "--format", "table").stdout
    assert "\x1b" not in table
    assert "[2J[red]:smile:" in table


@pytest.mark.parametrize("command", ["info", "list", "use", "build", "update", "diff", "migrate", "show"])
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    assert f"clario ontology {command}" in run(command, "--help").stdout
