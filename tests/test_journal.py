"""The journal: entries, corrections that survive a new extraction, the queue, and what the file is made of."""

import datetime as dt
import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clario.entities import Assertion, Entity, EntityType, Extraction, Match, MatchMethod
from clario.errors import InputError, OutputError, UnknownTermError
from clario.journal import database, exchange, keys, schema
from clario.journal.records import Add, ConflictError, Job, State, Status, UnknownEntryError
from clario.journal.store import Journal
from clario.journal.timeline import cells, columns, plot, tracks
from clario.ontology.index import Index

TEXT = "Mouth so dry today, both knees hurt. No fever."
DRY, KNEE, FEVER = "HP:0000217", "HP:0030839", "HP:0001945"


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 11, 26, tzinfo=dt.UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock, index: Index) -> Iterator[Journal]:
    with Journal(tmp_path / "j.db", clock=clock, index=index) as journal:
        yield journal


def entity(quote: str, hpo_id: str | None, index: Index, text: str = TEXT, **changes: Any) -> Entity:
    label = index.label(hpo_id) if hpo_id else None
    start = text.index(quote)
    made = Entity(
        type=EntityType.SYMPTOM, name_colloquial=quote, start=start, end=start + len(quote),
        name_canonical=label or quote, hpo_id=hpo_id, hpo_label=label, assertion=Assertion.PRESENT, confidence=0.7,
        match=Match(method=MatchMethod.EXACT if label else MatchMethod.NONE, name=label, score=0.9, candidates=()),
    )  # fmt: skip
    return made.model_copy(update=changes)


def extraction(*entities: Entity, model: str = "model 1", hint: str | None = None) -> Extraction:
    return Extraction(id="1", entities=entities, model=model, hpo_release="2026-02-16", ts_event_hint=hint)


def read(journal: Journal, *entities: Entity, **more: Any) -> None:
    """Do the job that is due with this result."""
    job = journal.claim()
    assert job
    assert journal.complete(job, extraction(*entities, **more))


@pytest.fixture
def entry(journal: Journal, index: Index) -> str:
    """An entry in which a dry mouth, knees and a fever were found."""
    id = journal.add(TEXT, dt.date(2026, 11, 20)).id
    found = entity("Mouth so dry", DRY, index), entity("knees hurt", KNEE, index), entity("fever", FEVER, index)
    read(journal, *found)
    return id


def shown(journal: Journal, id: str, **options: Any) -> list[tuple[str, str]]:
    return [(e.name_colloquial, e.assertion.value) for e in journal.effective(id, **options).entities]


def test_an_entry_is_kept_with_its_day_and_queued(journal: Journal, clock: Clock) -> None:
    first = journal.add("Tired.", dt.date(2026, 11, 20))
    second = journal.add("Tired.", dt.datetime(2026, 11, 19, 23, 50))
    assert (first.id, second.id) == ("1", "2")
    assert [e.recorded for e in journal.entries()] == [dt.date(2026, 11, 19), dt.date(2026, 11, 20)]
    assert first.created.timestamp() == clock.now
    assert first.state is State.WAITING
    assert journal.waiting()[State.WAITING] == 2


def test_the_same_text_under_the_same_id_is_one_entry(journal: Journal) -> None:
    assert journal.add("Tired.", id="x") == journal.add("Tired.", id="x")
    with pytest.raises(InputError, match="another entry has the id 'x'"):
        journal.add("Hungry.", id="x")
    assert len(journal.entries()) == 1


def test_a_number_that_is_taken_is_no_id(journal: Journal) -> None:
    journal.add("Tired.", id="2")
    assert journal.add("Tired.").id == "2-2"


@pytest.mark.parametrize("text", ["", " \n", "half \ud83d of a pair", "zero \0 byte"])
def test_what_is_no_text_is_refused(journal: Journal, text: str) -> None:
    with pytest.raises(InputError):
        journal.add(text)
    assert journal.entries() == []


def test_ids_of_deleted_entries_are_not_given_again(journal: Journal) -> None:
    journal.delete(journal.add("Tired.").id)
    assert journal.add("Hungry.").id == "2"


def test_nothing_of_a_deleted_entry_stays_in_the_files(journal: Journal, entry: str, tmp_path: Path) -> None:
    journal.correct(entry, 0, {"action": "reject", "item": journal.effective(entry).items[0].key})
    journal.finish(entry)
    journal.delete(entry)
    with pytest.raises(UnknownEntryError):
        journal.entry(entry)
    assert all(b"Mouth" not in file.read_bytes() for file in tmp_path.iterdir())
    for table in ("entries", "jobs", "extractions", "entities", "history", "passes"):
        assert not journal._db.rows(f"SELECT * FROM {table}")


def test_corrections_change_what_is_shown_and_never_what_was_found(journal: Journal, entry: str) -> None:
    dry, knee, fever = (item.key for item in journal.effective(entry).items)
    journal.correct(entry, 0, {"action": "accept", "item": dry})
    journal.correct(entry, 1, {"action": "reject", "item": knee})
    view = journal.correct(entry, 2, {"action": "assertion", "item": fever, "assertion": "absent"})
    assert [item.status for item in view.items] == [Status.ACCEPTED, Status.REJECTED, Status.CHANGED]
    assert shown(journal, entry) == [("Mouth so dry", "present"), ("fever", "absent")]
    assert view.items[2].proposed
    assert view.items[2].proposed.assertion is Assertion.PRESENT
    found = journal.extraction(entry)
    assert found
    assert len(found.entities) == 3
    assert view.extraction().model == "model 1, corrected by me"


def test_a_term_a_type_and_a_span_can_be_changed(journal: Journal, entry: str, index: Index) -> None:
    dry, knee, _ = (item.key for item in journal.effective(entry).items)
    view = journal.correct(entry, 0, {"action": "term", "item": dry, "hpo_id": "HP:0000224", "alt_ids": [DRY]})
    changed = view.items[0]
    assert (changed.entity.hpo_label, changed.alt_ids) == (index.label("HP:0000224"), (DRY,))
    assert changed.entity.confidence == 1
    view = journal.correct(entry, 1, {"action": "span", "item": knee, "start": 20, "end": 35})
    assert view.items[1].entity.name_colloquial == "both knees hurt"
    view = journal.correct(entry, 2, {"action": "type", "item": knee, "type": "behavior"})
    assert (view.items[1].entity.hpo_id, view.items[1].entity.name_canonical) == (None, "both knees hurt")
    view = journal.correct(entry, 3, {"action": "term", "item": dry, "hpo_id": None})
    assert (view.items[0].entity.hpo_id, view.items[0].entity.name_canonical) == (None, "Mouth so dry")


@pytest.mark.parametrize(
    "change",
    [
        {"action": "term", "item": "m1", "hpo_id": "HP:9999999"},
        {"action": "span", "item": "m1", "start": 5, "end": 5},
        {"action": "span", "item": "m1", "start": 5, "end": 1000},
        {"action": "span", "item": "m1", "start": 5, "end": 6},  # a blank
        {"action": "assertion", "item": "m1", "assertion": "maybe"},
        {"action": "shout", "item": "m1"},
        {"action": "accept"},
        {"action": "add", "type": "med", "start": 0, "end": 5, "hpo_id": DRY},
        {"action": "accept", "item": "m999"},
        {},
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    journal: Journal, entry: str, change: dict[str, Any]
) -> None:
    before = journal.effective(entry)
    with pytest.raises((InputError, UnknownTermError)) as caught:
        journal.correct(entry, 0, change)
    assert journal.effective(entry) == before
    assert "dry" not in str(caught.value)


def test_two_windows_do_not_overwrite_each_other(journal: Journal, entry: str, tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db") as other:
        seen = other.effective(entry)
        journal.correct(entry, 0, {"action": "reject", "item": seen.items[0].key})
        with pytest.raises(ConflictError, match="at version 1"):
            other.correct(entry, seen.version, {"action": "accept", "item": seen.items[0].key})
        with pytest.raises(ConflictError):
            other.undo(entry, seen.version)
        assert other.effective(entry).items[0].status is Status.REJECTED


def test_many_windows_at_once_lose_no_change(tmp_path: Path, index: Index) -> None:
    """Each tries until its changes are made; every one that was made is in the history."""
    path = tmp_path / "many.db"
    with Journal(path, index=index) as journal:
        id = journal.add("word " * 50).id

    def edit(number: int) -> None:
        with Journal(path, index=index) as window:
            for at in range(5):
                start = 5 * (5 * number + at)
                change = {"action": "add", "type": "behavior", "start": start, "end": start + 4}
                while True:
                    try:
                        window.correct(id, window.effective(id).version, change)
                        break
                    except ConflictError:
                        continue

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Journal(path, index=index) as journal:
        assert journal.effective(id).version == 20
        assert [item.entity.start for item in journal.effective(id).items] == [5 * n for n in range(20)]


def test_undo_and_redo_walk_the_history_which_keeps_everything(journal: Journal, entry: str) -> None:
    dry, knee, _ = (item.key for item in journal.effective(entry).items)
    start = journal.effective(entry).items
    journal.correct(entry, 0, {"action": "reject", "item": dry})
    both = journal.correct(entry, 1, {"action": "assertion", "item": knee, "assertion": "past"}).items
    journal.undo(entry, 2)
    assert journal.undo(entry, 3).items == start
    journal.redo(entry, 4)
    view = journal.redo(entry, 5)
    assert view.items == both
    assert (view.can_undo, view.can_redo) == (True, False)
    assert [s.action for s in journal.history(entry)] == ["reject", "assertion", "undo", "undo", "redo", "redo"]
    journal.undo(entry, 6)
    view = journal.correct(entry, 7, {"action": "accept", "item": knee})
    assert not view.can_redo
    with pytest.raises(InputError, match="no change to do again"):
        journal.redo(entry, 8)


def test_nothing_is_undone_where_nothing_was_done(journal: Journal, entry: str) -> None:
    with pytest.raises(InputError, match="no change to undo"):
        journal.undo(entry, 0)


def test_corrections_survive_a_new_extraction(journal: Journal, entry: str, index: Index) -> None:
    dry, knee, fever = (item.key for item in journal.effective(entry).items)
    journal.correct(entry, 0, {"action": "accept", "item": dry})
    journal.correct(entry, 1, {"action": "reject", "item": knee})
    journal.correct(entry, 2, {"action": "assertion", "item": fever, "assertion": "absent"})
    journal.correct(entry, 3, {"action": "add", "type": "trigger", "start": 13, "end": 18})
    journal.again([entry])
    found = [
        entity("both knees hurt", KNEE, index),  # rejected before, in other words
        entity("No fever", FEVER, index, assertion=Assertion.HYPOTHETICAL),  # decided before
        entity("today", None, index, type=EntityType.BEHAVIOR),  # something else at the same words
    ]
    read(journal, *found, model="model 2")
    assert shown(journal, entry) == [
        ("Mouth so dry", "present"),  # no longer found, but accepted
        ("today", "present"),
        ("today", "present"),
        ("fever", "absent"),
    ]
    assert journal.effective(entry).model == "model 2"
    assert len(journal.history(entry)) == 4


def test_a_proposal_of_an_older_extraction_is_a_conflict_and_not_another_entity(
    journal: Journal, entry: str, index: Index
) -> None:
    old = journal.effective(entry).items[0].key
    journal.again([entry])
    read(journal, entity("fever", FEVER, index))
    with pytest.raises(ConflictError, match="read anew"):
        journal.correct(entry, 0, {"action": "accept", "item": old})


def test_what_was_added_is_not_shown_twice_once_a_model_finds_it(
    journal: Journal, entry: str, index: Index
) -> None:
    journal.correct(entry, 0, {"action": "add", "type": "symptom", "start": 20, "end": 35, "hpo_id": "HP:0002829"})
    assert len(journal.effective(entry).items) == 4  # a second term for the knees
    journal.again([entry])
    read(journal, entity("knees hurt", "HP:0002829", index))
    assert [item.status for item in journal.effective(entry).items] == [Status.ADDED]


def test_annotators_do_not_see_each_other_and_the_blind_not_the_model(journal: Journal, entry: str) -> None:
    first = journal.effective(entry).items[0].key
    journal.correct(entry, 0, {"action": "reject", "item": first}, "anna")
    assert len(shown(journal, entry, annotator="ben")) == 3
    view = journal.effective(entry, "ben", blind=True)
    assert (view.items, view.model, view.version) == ((), None, 0)
    view = journal.correct(entry, 0, Add(type=EntityType.SYMPTOM, start=0, end=12, hpo_id=DRY), "ben", blind=True)
    assert [item.entity.hpo_id for item in view.items] == [DRY]


def test_agreement_counts_what_both_have_finished(journal: Journal) -> None:
    ids = [journal.add(TEXT).id for _ in range(3)]
    add = {"action": "add", "type": "symptom", "start": 0, "end": 12, "hpo_id": DRY}
    for id in ids:
        journal.correct(id, 0, add, "anna", blind=True)
        journal.finish(id, "anna")
    journal.correct(ids[0], 0, {**add, "start": 6}, "ben", blind=True)
    journal.finish(ids[0], "ben")
    journal.finish(ids[1], "ben")
    found = exchange.agree(journal, "anna", "ben")
    assert (found.diaries, found.mentions, found.same_id) == (2, 2 / 3, 1.0)
    assert journal.annotators() == {"anna": 3, "ben": 2}
    journal.finish(ids[1], "ben", False)
    assert exchange.agree(journal, "anna", "ben").mentions == 1.0


def test_a_job_is_one_workers_until_its_lease_is_over(journal: Journal, clock: Clock) -> None:
    journal.add("Tired.")
    mine = journal.claim(lease=10)
    assert mine
    assert journal.claim() is None
    clock.now += 9
    assert journal.renew(mine, 10)
    clock.now += 9
    assert journal.claim() is None
    clock.now += 1
    other = journal.claim(lease=10)
    assert other
    assert (other.entry, other.tries) == (mine.entry, 2)
    for late in (
        journal.complete(mine, extraction()), journal.postpone(mine, 1, "x"), journal.fail(mine, "x"),
        journal.renew(mine),
    ):  # fmt: skip
        assert late is False
    assert journal.extraction(mine.entry) is None
    assert journal.complete(other, extraction())


def test_a_result_for_what_was_queued_anew_or_deleted_is_not_written(journal: Journal, index: Index) -> None:
    id = journal.add(TEXT).id
    job = journal.claim()
    assert job
    journal.again([id])
    assert not journal.complete(job, extraction(entity("fever", FEVER, index)))
    assert journal.extraction(id) is None
    job = journal.claim()
    assert job
    journal.delete(id)
    assert not journal.complete(job, extraction(entity("fever", FEVER, index)))


def test_postponed_jobs_come_when_they_are_due(journal: Journal, clock: Clock) -> None:
    journal.add("Tired.")
    job = journal.claim()
    assert job
    assert journal.postpone(job, 5, "the server is away")
    assert journal.claim() is None
    assert journal.next_due() == 5
    assert journal.entry(job.entry).error == "the server is away"
    clock.now += 5
    assert journal.claim()


def test_a_new_extraction_replaces_the_old_one_wholly_or_not_at_all(
    journal: Journal, entry: str, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = journal.extraction(entry)
    journal.again([entry])
    job = journal.claim()
    assert job
    broken = extraction(entity("fever", FEVER, index), entity("knees hurt", KNEE, index))
    second = broken.entities[1]
    monkeypatch.setattr(type(second), "model_dump_json", _fails_for(second))
    with pytest.raises(RuntimeError):
        journal.complete(job, broken)
    monkeypatch.undo()
    assert journal.extraction(entry) == before
    assert journal.entry(entry).state is State.RUNNING


def _fails_for(it: Entity) -> Any:
    def dump(self: Entity, **options: Any) -> str:
        if self == it:
            raise RuntimeError
        return "{}"

    return dump


def test_again_takes_all_or_none(journal: Journal, entry: str) -> None:
    with pytest.raises(UnknownEntryError):
        journal.again([entry, "nowhere"])
    assert journal.entry(entry).state is State.DONE
    assert journal.again() == 1
    assert journal.entry(entry).state is State.WAITING


def test_outdated_are_those_of_another_model_or_release(journal: Journal, entry: str) -> None:
    assert journal.outdated("model 1", "2026-02-16") == []
    assert journal.outdated("model 2", "2026-02-16") == [entry]
    assert journal.outdated("model 1", "2027-01-01") == [entry]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "j.db"
    before = os.umask(0)
    try:
        with Journal(path) as journal:
            journal.add("Tired.")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) == {"j.db", "j.db-wal", "j.db-shm"}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("my own notes, which are long enough for a header of a database, I hope" * 20)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as foreign:
        foreign.execute("CREATE TABLE mine (a)")
    foreign.close()
    for path in (text, other):
        before = path.read_bytes()
        with pytest.raises(InputError, match="journal"):
            Journal(path)
        assert path.read_bytes() == before
    with pytest.raises(OutputError):
        Journal(tmp_path)


def test_older_files_are_brought_up_in_steps_each_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "j.db"
    with Journal(path) as journal:
        journal.add("Tired.")
    step = ("ALTER TABLE entries ADD COLUMN mood TEXT", "UPDATE entries SET mood = 'low'")
    monkeypatch.setattr(database, "MIGRATIONS", (*schema.MIGRATIONS, (*step, "broken")))
    with pytest.raises(OutputError):
        Journal(path)
    monkeypatch.setattr(database, "MIGRATIONS", (*schema.MIGRATIONS, step))
    with Journal(path) as journal:
        assert [row["mood"] for row in journal._db.rows("SELECT mood FROM entries")] == ["low"]
        assert [entry.text for entry in journal.entries()] == ["Tired."]
    monkeypatch.undo()
    with pytest.raises(InputError, match="newer Clario"):
        Journal(path)


def test_an_error_of_the_database_tells_no_text(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError) as caught:
        journal._db.execute("INSERT INTO entries (id, text, created) VALUES ('1', NULL, ?)", ("secret words",))
    assert "secret" not in repr(caught.value)
    assert caught.value.__context__ is None


def test_the_corpus_comes_in_and_goes_out_as_it_was(journal: Journal, tmp_path: Path) -> None:
    source = Path(__file__).parent.parent / "data" / "corpus" / "validation.jsonl"
    lines = source.read_text("utf-8").splitlines()[:12]
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    for _ in range(2):  # done again, it changes nothing
        tally = exchange.import_files(journal, [str(path)])
        exchange.import_annotations(journal, path, "gold", tally)
        assert not tally.failures
    assert (tally.added, tally.there, tally.annotated) == (0, 12, 0)
    out = {diary.id: diary for diary in exchange.gold(journal, "gold", finished=True)}
    from clario.corpus.dataset import load

    assert len(out) == 12
    for diary in load(path):
        mine = out[diary.id]
        assert mine.text == diary.text
        assert sorted(mine.entities, key=str) == sorted(diary.entities, key=str)


def test_lines_that_cannot_be_taken_are_named_and_the_others_are(journal: Journal, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(
        '{"id": "a", "text": "dry mouth", "entities": [{"type": "symptom", "secret": 1}]}\n'
        '{"id": "b", "text": "tired", "entities": []}\n{"id": "c", "text": "cut\n'
    )
    tally = exchange.import_files(journal, [str(path)])
    exchange.import_annotations(journal, path, "x", tally)
    assert {entry.id for entry in journal.entries()} == {"a", "b"}
    assert [failure.id.rpartition(":")[2] for failure in tally.failures] == ["3", "1", "3"]
    assert tally.annotated == 1
    assert not any("mouth" in failure.error for failure in tally.failures)


def test_the_timeline_has_the_day_that_the_text_tells_of(journal: Journal, index: Index) -> None:
    for day, hint, assertion in ((1, None, "present"), (3, None, "absent"), (9, "2026-11-05", "present")):
        journal.add(TEXT, dt.date(2026, 11, day))
        read(journal, entity("fever", FEVER, index, assertion=Assertion(assertion)), hint=hint)
    journal.add(TEXT, dt.date(2026, 11, 2))
    read(journal, entity("fever", FEVER, index, assertion=Assertion.OTHER))
    (track,) = tracks(journal)
    assert {day.day: assertion.value for day, assertion in track.days.items()} == {
        1: "present", 3: "absent", 5: "present",
    }  # fmt: skip
    starts, column = columns([track], 80)
    assert cells(track, len(starts), column) == "●·○·●"
    starts, column = columns([track], 2)
    assert cells(track, len(starts), column) == "●●"


def test_plots_are_pictures_of_the_terms(journal: Journal, entry: str) -> None:
    pytest.importorskip("matplotlib")
    svg = plot(tracks(journal), "svg")
    assert b"Knee pain" in svg
    assert b"Not a diagnosis" in svg
    assert svg == plot(tracks(journal), "svg")
    assert plot(tracks(journal), "png").startswith(b"\x89PNG")
    assert plot([], "svg").startswith(b"<?xml")


def test_an_encrypted_journal_opens_with_its_key_alone(tmp_path: Path) -> None:
    pytest.importorskip("sqlcipher3")
    path = tmp_path / "j.db"
    for key in ("it's a passphrase", "ab" * 32):
        with Journal(path, key=key) as journal:
            journal.add("very secret words")
            assert not any(b"secret" in file.read_bytes() for file in tmp_path.iterdir())
        assert database.is_encrypted(path)
        for wrong in ("wrong", None):
            with pytest.raises(InputError, match="the key does not fit"):
                Journal(path, key=wrong)
        with Journal(path, key=key) as journal:
            assert [entry.text for entry in journal.entries()] == ["very secret words"]
        path.unlink()


class Keyring:
    """A keyring as the library has it."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, key: str) -> None:
        self.kept[service, name] = key


def test_the_key_is_the_keyrings_else_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked, ring = tmp_path / "j.db", list[bool](), Keyring()

    def ask(new: bool) -> str:
        asked.append(new)
        return "typed"

    monkeypatch.setattr(keys, "_with_keyring", lambda use: use(ring))
    assert keys.key_of(path, ask) is None
    key = keys.key_of(path, ask, encrypted=True)
    assert key
    assert len(key) == 64
    path.write_bytes(b"not plain SQLite")
    assert keys.key_of(path, ask) == key
    monkeypatch.setattr(keys, "_with_keyring", lambda use: None)
    assert keys.key_of(path, ask) == "typed"
    path.unlink()
    assert keys.key_of(path, ask, encrypted=True) == "typed"
    assert asked == [False, True]
    Journal(path).close()
    with pytest.raises(InputError, match="not encrypted"):
        keys.key_of(path, ask, encrypted=True)


def test_jobs_carry_what_a_reader_needs(journal: Journal) -> None:
    journal.add("Tired.", dt.date(2026, 11, 20), id="x")
    job = journal.claim()
    assert job
    assert job == Job("x", "Tired.", dt.date(2026, 11, 20), 1, job.token)
