"""Kill the journal's processes (-9) in the middle of their work: is anything lost or half written?

    python benchmarks/journal_kill.py --rounds 100

Each round two processes work on one file: they add entries, read them, correct them, take corrections back, and
queue entries anew. What a call returned from is written down; then both are killed at a random moment. After each
round: what was written down must be there, every extraction must be whole, the file sound. In the end a worker
must be able to finish every entry. A new file is begun every ten rounds, so that making it is interrupted, too.
"""

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from clario.entities import Assertion, Entity, EntityType, Extraction, Match, MatchMethod
from clario.errors import InputError
from clario.journal.records import State, Step
from clario.journal.store import Journal
from clario.journal.worker import Settings, Worker

LEASE = 0.5  # seconds
_NEW_FILE = 10  # rounds
_SLOWEST = 0.25  # seconds of work before a kill at most
_NOTHING = Match(method=MatchMethod.NONE, name=None, score=0, candidates=())
Done = dict[str, Any]


class EveryWord:
    """A reader that finds every word of a text, so that one can count whether an extraction is whole."""

    def read(self, text: str, id: str, recorded: date | None) -> Extraction:
        found, at = list[Entity](), 0
        for word in text.split():
            at = text.index(word, at)
            found.append(_entity(word, at))
            at += len(word)
        return Extraction(id=id, entities=tuple(found), model="every word", hpo_release="none", ts_event_hint=None)


def _entity(word: str, at: int) -> Entity:
    return Entity(
        type=EntityType.BEHAVIOR, name_colloquial=word, start=at, end=at + len(word), name_canonical=word,
        hpo_id=None, hpo_label=None, assertion=Assertion.PRESENT, confidence=0.5, match=_NOTHING,
    )  # fmt: skip


def work(path: Path, seed: int) -> None:
    """What a process does until it is killed: one random thing after another, told when it is done."""
    chance = random.Random(seed)
    _tell({"did": "opening"})
    with Journal(path) as journal:
        worker = Worker(journal, Settings(lease=LEASE), primary=EveryWord())
        while True:
            for done in _one_thing(journal, worker, chance):
                _tell(done)


def _tell(done: Done) -> None:
    print(json.dumps(done), flush=True)


def _one_thing(journal: Journal, worker: Worker, chance: random.Random) -> Iterator[Done]:
    what = chance.choice(("add", "read", "read", "correct", "correct", "undo", "again"))
    if what == "add":
        text = " ".join(f"w{chance.randrange(10**6)}" for _ in range(chance.randint(1, 40)))
        yield {"did": what, "id": journal.add(text).id, "text": text}
    elif what == "read":
        if processed := worker.process_one():
            yield {"did": what, "id": processed.entry}
    elif entries := journal.entries():
        id = chance.choice(entries).id
        if what == "again":
            journal.again([id])
        else:
            yield from _decide(journal, id, what, chance)


def _decide(journal: Journal, id: str, what: str, chance: random.Random) -> Iterator[Done]:
    view = journal.effective(id)
    try:
        if what == "undo":
            version = journal.undo(id, view.version).version
            yield {"did": "decide", "id": id, "version": version, "action": what}
        elif view.items:
            change = {"action": chance.choice(("accept", "reject")), "item": chance.choice(view.items).key}
            version = journal.correct(id, view.version, change).version
            yield {"did": "decide", "id": id, "version": version, **change}
    except InputError:  # nothing to undo, or the other process was quicker: it must not be overwritten
        return


def faults(path: Path, told: Sequence[Done]) -> list[str]:
    """What is lost or half written in a journal, of what its processes told."""
    if not path.exists():
        return ["there is no file"] if any(done["did"] != "opening" for done in told) else []
    with Journal(path) as journal:
        entries = {entry.id: entry for entry in journal.entries()}
        found = [f"entry {d['id']} lost" for d in told if d["did"] == "add" and d["id"] not in entries]
        found += [
            f"entry {d['id']} altered"
            for d in told
            if d["did"] == "add" and d["id"] in entries and entries[d["id"]].text != d["text"]
        ]
        for id, entry in entries.items():
            made = journal.extraction(id)
            if made and len(made.entities) != len(entry.text.split()):
                found.append(f"entry {id}: {len(made.entities)} of {len(entry.text.split())} entities")
            found += _lost_decisions(id, journal.history(id), told)
            journal.effective(id)
    return found + _unsound(path)


def _lost_decisions(id: str, history: Sequence[Step], told: Sequence[Done]) -> list[str]:
    versions = [step.version for step in history]
    found = [f"entry {id}: versions {versions}"] if versions != list(range(1, len(versions) + 1)) else []
    kept = {step.version: step for step in history}
    for done in (d for d in told if d["did"] == "decide" and d["id"] == id):
        step = kept.get(done["version"])
        if step is None or step.action != done["action"] or done.get("item", step.item) != step.item:
            found.append(f"entry {id}: decision {done['version']} lost")
    return found


def _unsound(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        checks = [row[0] for row in database.execute("PRAGMA integrity_check")]
        loose = list(database.execute("PRAGMA foreign_key_check"))
        jobs = database.execute("SELECT count(*) FROM entries WHERE number NOT IN (SELECT entry FROM jobs)")
        without = jobs.fetchone()[0]
    found = [] if checks == ["ok"] else checks
    return (
        found + [f"{len(loose)} rows without their entry"] * bool(loose) + [f"{without} jobs lost"] * bool(without)
    )


def a_round(path: Path, chance: random.Random, processes: int = 2) -> list[Done]:
    """Let processes work, kill them, and read what they told."""
    files = [path.with_name(f"told-{n}.jsonl") for n in range(processes)]
    running = [_start(path, file, chance.randrange(10**9)) for file in files]
    while not all(file.stat().st_size for file in files):
        time.sleep(0.002)
    time.sleep(chance.uniform(0, _SLOWEST))
    for process in chance.sample(running, len(running)):
        process.kill()
        process.wait()
        time.sleep(chance.uniform(0, 0.02))
    lines = [line for file in files for line in file.read_text("utf-8").splitlines(keepends=True)]
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _start(path: Path, told: Path, seed: int) -> "subprocess.Popen[bytes]":
    with told.open("wb") as file:
        return subprocess.Popen([sys.executable, __file__, "--work", str(path), "--seed", str(seed)], stdout=file)


def unfinished(path: Path) -> list[str]:
    """What a worker cannot finish of a journal whose processes were killed."""
    with Journal(path) as journal:
        journal.again(journal.failed())  # killed over one entry again and again
        for _ in Worker(journal, Settings(lease=LEASE), primary=EveryWord()).drain():
            pass
        counts = journal.waiting()
        read = [e for e in journal.entries() if e.state is State.DONE and e.entities == len(e.text.split())]
        total = sum(counts.values())
    return (
        [] if len(read) == total else [f"{total - len(read)} of {total} entries are not whole after all: {counts}"]
    )


def run(rounds: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """So many rounds: how often each thing was told, and all faults."""
    chance, counts, found, told = random.Random(seed), Counter[str](), list[str](), list[Done]()
    path = folder / "journal-0.sqlite3"
    for number in range(rounds):
        if number % _NEW_FILE == 0:
            path, told = folder / f"journal-{number}.sqlite3", []
        now = a_round(path, chance)
        told += now
        counts.update(done["did"] for done in now)
        found += [f"round {number}: {fault}" for fault in faults(path, told)]
        if path.exists() and (number % _NEW_FILE == _NEW_FILE - 1 or number == rounds - 1):
            found += unfinished(path)
    return counts, found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where something was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.work:
        work(given.work, given.seed)
    with tempfile.TemporaryDirectory() as folder:
        counts, found = run(given.rounds, given.seed, Path(folder))
    print(json.dumps({"rounds": given.rounds, "kills": 2 * given.rounds, "told": counts, "faults": found}))
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
