"""`clario serve` as a user starts and ends it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
pytest.importorskip("uvicorn")

import httpx
from typer.testing import CliRunner

from clario.cli import app
from clario.errors import OntologyError
from clario.ontology.release import Manifest
from clario.service import knowledge

COMMAND = [sys.executable, "-c", "from clario.cli import main; main()", "serve", "--model", "lexicon"]
SECRET = "zebra"


@contextmanager
def served(*options: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A sidecar of its own process, and a client of it."""
    process = subprocess.Popen(
        [*COMMAND, *options], stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    try:
        assert process.stderr
        url = re.search(r"http://\S+?(?=,|$)", process.stderr.readline())
        assert url
        with httpx.Client(base_url=url[0], trust_env=False, timeout=20) as client:
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _refused(*options: str, **environment: str) -> str:
    result = CliRunner().invoke(app, ["serve", *options], env=environment)
    assert result.exit_code != 0
    return f"{result.output} {result.exception}"


def test_it_is_served_where_the_environment_says_and_ends_when_told() -> None:
    with served(CLARIO_EXTRACTOR_PORT="0") as (process, client):
        answer = client.post("/extract", json={"diary": f"Dry mouth and a {SECRET}"})
        assert answer.json()["entities"][0]["attrs"]["hpo_id"] == "HP:0000217"
        client.get("/v1/resolve", params={"q": SECRET})
        process.send_signal(signal.SIGINT)
        _, logged = process.communicate(timeout=20)
        assert process.returncode == 0
    assert "POST /extract 200" in logged
    assert "GET /v1/resolve 200" in logged
    assert SECRET not in logged
    assert "Traceback" not in logged


def test_a_token_is_taken_from_the_environment_and_never_printed() -> None:
    token = "a-token-of-this-test"
    with served("--port", "0", CLARIO_TOKEN=token) as (process, client):
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).is_success
        process.terminate()
        _, logged = process.communicate(timeout=20)
        assert process.returncode == 0
    assert token not in logged


def test_another_address_demands_a_token() -> None:
    assert "CLARIO_TOKEN" in _refused("--host", "0.0.0.0", CLARIO_TOKEN="")


def test_a_token_file_is_read_and_a_weak_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("short\n", "ascii")
    assert "at least 16" in _refused("--token-file", str(file))
    assert "No such file" in _refused("--token-file", str(tmp_path / "nowhere"))
    file.write_text("ümlaut", "utf-8")
    assert "ASCII" in _refused("--token-file", str(file))


def test_a_journal_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "there is no journal" in _refused("--journal", "--journal-file", str(tmp_path / "none.db"))


def test_the_entries_of_the_journal_are_on_the_page(tmp_path: Path) -> None:
    from clario.journal.store import Journal

    with Journal(tmp_path / "journal.db") as journal:
        journal.add("Dry mouth.", None)
    with served("--port", "0", "--journal", "--journal-file", str(tmp_path / "journal.db")) as (_, client):
        assert client.get("/").headers["content-type"].startswith("text/html")
        assert client.get("/review/api/status").json()["journal"] is True


def test_a_port_that_is_no_port_is_bad_use() -> None:
    result = CliRunner().invoke(app, ["serve"], env={"CLARIO_EXTRACTOR_PORT": "many"})
    assert result.exit_code == 2


def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = _refused("--model", "lexicon", "--port", str(taken.getsockname()[1]))
    assert "cannot listen on 127.0.0.1" in told


def test_help_shows_examples() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).output
    assert "clario serve --model lexicon --port 8000" in shown
    assert "CLARIO_KNOWLEDGE_PATH" in shown


def test_the_environments_releases_answer(small_shipped: Path, tmp_path: Path) -> None:
    release = knowledge.load(small_shipped).release
    (tmp_path / release).symlink_to(small_shipped)
    (tmp_path / "notes").mkdir()
    assert knowledge.load(tmp_path).release == release == "2025-01-01"
    with served("--port", "0", CLARIO_KNOWLEDGE_PATH=str(tmp_path)) as (_, client):
        assert client.get("/health").json()["hpo_release"] == release


def test_a_folder_without_the_release_is_told(small_shipped: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", small_shipped / "manifest.json"):
        assert "CLARIO_KNOWLEDGE_PATH" in _refused(CLARIO_KNOWLEDGE_PATH=str(folder))
    assert "HPO 2024-01-01" in _refused("--release", "2024-01-01", CLARIO_KNOWLEDGE_PATH=str(small_shipped))


def test_a_damaged_release_is_told(small_shipped: Path, tmp_path: Path) -> None:
    for name in ("manifest.json", "index.zip"):
        (tmp_path / name).write_bytes((small_shipped / name).read_bytes())
    assert (
        knowledge.load(tmp_path).release == Manifest.from_json((tmp_path / "manifest.json").read_bytes()).release
    )
    with (tmp_path / "index.zip").open("ab") as file:
        file.write(b"x")
    with pytest.raises(OntologyError, match="damaged"):
        knowledge.load(tmp_path)


def test_an_adapter_that_the_model_does_not_take_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = _refused("--model", "no-such-model", CLARIO_ADAPTER="some/adapter")
    assert "takes no adapter" in told
