"""Processes of the journal killed in the middle of their work; `benchmarks/journal_kill.py` does it 100 times."""

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield import_module("journal_kill")
    del sys.modules["journal_kill"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_processes_lose_nothing(
    kill: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kill, "_SLOWEST", 0.5)
    assert kill.main(["--rounds", "2", "--seed", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["faults"] == []
    assert report["kills"] == 4


DAMAGES = {
    "DELETE FROM entries WHERE number = 1": "entry 1 lost",
    "UPDATE entries SET text = 'other' WHERE number = 1": "entry 1 altered",
    "DELETE FROM entities WHERE number = 1": "entry 1: 1 of 2 entities",
    "DELETE FROM history WHERE version = 1": "entry 1: versions [2]",
    "DELETE FROM history": "entry 1: decision 2 lost",
    "DELETE FROM jobs": "jobs lost",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_check_would_see_what_is_lost(kill: ModuleType, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "j.db"
    with kill.Journal(path) as journal:
        text = journal.add("two words").text
        kill.Worker(journal, primary=kill.EveryWord()).process_one()
        key = journal.effective("1").items[1].key
        journal.correct("1", 0, {"action": "accept", "item": key})
        journal.correct("1", 1, {"action": "reject", "item": key})
    told = [
        {"did": "add", "id": "1", "text": text},
        {"did": "decide", "id": "1", "version": 1, "action": "accept", "item": key},
        {"did": "decide", "id": "1", "version": 2, "action": "reject", "item": key},
    ]
    assert kill.faults(path, told) == []
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute(damage)
        database.commit()
    assert any(DAMAGES[damage] in fault for fault in kill.faults(path, told))
