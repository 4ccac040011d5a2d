"""The entries of a journal, and what was last found in each."""

import datetime as dt
import json
from collections.abc import Callable, Mapping
from itertools import chain, count
from typing import Any

from clario.entities import Entity, Extraction
from clario.errors import InputError
from clario.journal.database import Database
from clario.journal.records import Entry, State, UnknownEntryError
from clario.pipeline import LONGEST

Clock = Callable[[], float]
_ENTRY = """SELECT e.number, e.id, e.text, e.recorded, e.created, j.state, j.error,
    (SELECT count(*) FROM entities WHERE entities.entry = e.number) AS found
    FROM entries e JOIN jobs j ON j.entry = e.number"""


class Entries:
    """Adding, listing, deleting; and the last extraction of each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db, self._clock = database, clock

    def add(self, text: str, recorded: dt.date | None = None, id: str | None = None) -> Entry:
        """Keep a diary, and queue it; when this returns, it is on the disk.

        Args:
            recorded: the day it was written, for its relative dates; of a date-time only the date is kept.
            id: a name of the caller's; the same text under the same name is the same entry, not a second one.

        Raises:
            InputError: no text, one too long, or another text has that id.
        """
        _check(text, id)
        day = recorded.date() if isinstance(recorded, dt.datetime) else recorded
        with self._db.transaction():
            if id is not None and (found := self._db.row(f"{_ENTRY} WHERE e.id = ?", (id,))):
                return _same(_entry(found), text, day)
            now = self._clock()
            values = (id or "\0", text, day.isoformat() if day else None, now)
            number = self._db.execute(
                "INSERT INTO entries (id, text, recorded, created) VALUES (?, ?, ?, ?)", values
            ).lastrowid
            if id is None:
                self._db.execute("UPDATE entries SET id = ? WHERE number = ?", (self._free(number), number))
            self._db.execute("INSERT INTO jobs (entry, state, due) VALUES (?, 'waiting', ?)", (number, now))
            return _entry(self._db.rows(f"{_ENTRY} WHERE e.number = ?", (number,))[0])

    def _free(self, number: int) -> str:
        """The number as an id, unless somebody has given it to another entry."""
        taken = {row["id"] for row in self._db.rows("SELECT id FROM entries WHERE id GLOB ?", (f"{number}*",))}
        names = chain([str(number)], (f"{number}-{n}" for n in count(2)))
        return next(name for name in names if name not in taken)

    def entry(self, id: str) -> Entry:
        """One entry.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        found = self._db.row(f"{_ENTRY} WHERE e.id = ?", (id,))
        if found is None:
            raise UnknownEntryError(f"no entry {id[:40]!r}; 'clario journal list' shows what there is")
        return _entry(found)

    def entries(self) -> list[Entry]:
        """All entries, by the day they were written (else came), then in the order in which they came."""
        order = "coalesce(e.recorded, date(e.created, 'unixepoch')), e.number"
        return [_entry(row) for row in self._db.rows(f"{_ENTRY} ORDER BY {order}")]

    def delete(self, id: str) -> None:
        """Delete an entry with all that was found in it and decided about it. It cannot be taken back.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        with self._db.transaction():
            self._db.execute("DELETE FROM entries WHERE number = ?", (self._number(id),))
        self._db.checkpoint()  # the log may hold its words

    def extraction(self, id: str) -> Extraction | None:
        """What the last extraction found, without anybody's corrections; None before the first.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        with self._db.transaction():
            number = self._number(id)
            made, proposals = self._made(number), self._proposals(number)
        if made is None:
            return None
        return Extraction(
            id=id, entities=tuple(proposals.values()), model=made["model"], hpo_release=made["hpo_release"],
            ts_event_hint=made["ts_event_hint"], warnings=tuple(json.loads(made["warnings"])),
        )  # fmt: skip

    def _number(self, id: str) -> int:
        found = self._db.row("SELECT number FROM entries WHERE id = ?", (id,))
        if found is None:
            raise UnknownEntryError(f"no entry {id[:40]!r}; 'clario journal list' shows what there is")
        number: int = found["number"]
        return number

    def _made(self, number: int) -> Any:
        return self._db.row("SELECT * FROM extractions WHERE entry = ?", (number,))

    def _proposals(self, number: int) -> Mapping[str, Entity]:
        """The entities of the last extraction by keys that no other extraction has."""
        rows = self._db.rows("SELECT number, entity FROM entities WHERE entry = ? ORDER BY number", (number,))
        return {f"m{row['number']}": Entity.model_validate_json(row["entity"]) for row in rows}


def _check(text: str, id: str | None) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InputError("an entry needs words")
    if len(text) > LONGEST:
        raise InputError(f"the text has {len(text):,} characters; at most {LONGEST:,} are one entry: split it")
    if not _is_unicode(text) or "\0" in text:
        raise InputError("the text is no Unicode text: half of a surrogate pair or a zero byte is in it")
    if id is not None and (not id.strip() or "\0" in id or not _is_unicode(id)):
        raise InputError("the id of an entry must not be empty, and be Unicode text")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _same(entry: Entry, text: str, recorded: dt.date | None) -> Entry:
    if (entry.text, entry.recorded) != (text, recorded):
        raise InputError(f"another entry has the id {entry.id[:40]!r}; give this one another, or none")
    return entry


def _entry(row: Any) -> Entry:
    return Entry(
        id=row["id"],
        text=row["text"],
        recorded=dt.date.fromisoformat(row["recorded"]) if row["recorded"] else None,
        created=dt.datetime.fromtimestamp(row["created"], dt.UTC),
        state=State(row["state"]),
        entities=row["found"],
        error=row["error"],
    )
