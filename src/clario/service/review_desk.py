"""Where diaries under review lie: the journal, and for pasted ones a journal that is in the server's memory alone.

A pasted diary becomes an entry of the journal on the disk only when its owner says so. Until then it is nowhere on
a disk, has an id that cannot be guessed, and is forgotten on demand, when nobody has touched it for a day, or when
the server stops. A full memory refuses new diaries; it drops none that is in use.
"""

import datetime as dt
import secrets
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

from clario.entities import Extraction
from clario.errors import InputError
from clario.journal.corrections import decisions
from clario.journal.database import Database
from clario.journal.entries import Clock
from clario.journal.records import Entry, Item, Step, UnknownEntryError
from clario.journal.store import Journal
from clario.ontology.index import Index

IDLE_HOURS = 24
MOST_DRAFTS = 200
MOST_CHARACTERS = 20_000_000
_IN_MEMORY = Path(":memory:")


class FullError(InputError):
    """The memory holds as many pasted diaries as it may."""


class Desk(Journal):
    """A journal whose entries may also be read by whoever shows them; it takes entries of another one over."""

    def took(self, id: str, extraction: Extraction) -> None:
        """Keep what was found in an entry just now, as a worker would have; its job is done with that.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        with self._db.transaction():
            number = self._number(id)
            done = "state = 'done', error = NULL, token = NULL, leased_until = NULL"
            self._db.execute(f"UPDATE jobs SET {done} WHERE entry = ?", (number,))
            self._replace(number, extraction, False)

    def take_over(self, other: "Desk", id: str) -> Entry:
        """A copy of another desk's entry, under an id of this one, with all that people did to it.

        Raises:
            UnknownEntryError: the other has none of that id.
        """
        old, read = other.entry(id), other.extraction(id)
        with self._db.transaction():
            entry = self.add(old.text, old.recorded)
            if read:
                self.took(entry.id, read.model_copy(update={"id": entry.id}))
            for annotator in other.annotators():
                self._follow(entry.id, other.history(id, annotator))
                if id in other.finished(annotator):
                    self.finish(entry.id, annotator)
        return self.entry(entry.id)

    def _follow(self, id: str, steps: list[Step]) -> None:
        """Write another journal's steps, under keys that this one gives to no entity."""
        number, decided = self._number(id), decisions(())
        for step in steps:
            before, after = _renamed(step.before), _renamed(step.after)
            mine = replace(step, item=_own(step.item), before=before, after=after)
            self._written(id, number, decided, mine, blind=True)


class Drafts(Desk):
    """Pasted diaries, in memory only. Safe to be used by many threads.

    Args:
        index: the release that new terms are checked against.
        clock: seconds since 1970, for tests.
    """

    def __init__(self, index: Index | None = None, clock: Clock = time.time) -> None:
        self._touched: dict[str, tuple[float, int]] = {}
        self._guard = threading.Lock()
        self.path = _IN_MEMORY
        self._db, self._clock, self._given = _Memory(), clock, index

    def put(self, text: str, recorded: dt.date | None) -> Entry:
        """Keep a pasted diary.

        Raises:
            FullError: there is no room.
            InputError: no words.
        """
        with self._guard:
            self._drop_idle()
            characters = sum(length for _, length in self._touched.values())
            if len(self._touched) >= MOST_DRAFTS or characters + len(text) > MOST_CHARACTERS:
                raise FullError("too many pasted diaries are open: forget some, or keep them in the journal")
            entry = self.add(text, recorded, secrets.token_urlsafe(16))
            self._touched[entry.id] = (self._clock(), len(text))
            return entry

    def touch(self, id: str) -> None:
        """Say that a draft is in use.

        Raises:
            UnknownEntryError: it is not there, or was forgotten.
        """
        with self._guard:
            self._drop_idle()
            if id not in self._touched:
                raise UnknownEntryError(
                    "this diary is not here any more: it was forgotten, or the server restarted"
                )
            self._touched[id] = (self._clock(), self._touched[id][1])

    def forget(self, id: str) -> None:
        """Remove a draft with all that was done to it; raises UnknownEntryError."""
        self.touch(id)
        with self._guard:
            if self._touched.pop(id, None):  # nobody was quicker
                self.delete(id)

    def hand_over(self, id: str, journal: Desk) -> Entry:
        """Make a draft an entry of a journal, once, and with the last change that was answered.

        Raises:
            UnknownEntryError: it is not there, was forgotten, or was handed over already.
        """
        self.touch(id)
        with self._db.transaction():  # who comes with a change meanwhile waits, and then is told that it is gone
            entry = journal.take_over(self, id)
            self._db.execute("DELETE FROM entries WHERE id = ?", (id,))
        with self._guard:
            self._touched.pop(id, None)
        return entry

    def _drop_idle(self) -> None:
        oldest = self._clock() - IDLE_HOURS * 3600
        for id in [id for id, (touched, _) in self._touched.items() if touched < oldest]:
            del self._touched[id]
            self.delete(id)


class Desks:
    """The drafts and, where there is one, the journal; what page and routes say of an id tells which is meant.

    Args:
        journal: the one on the disk, None for drafts alone.
        drafts: pasted diaries.
    """

    def __init__(self, drafts: Drafts, journal: Desk | None) -> None:
        self.drafts, self.journal = drafts, journal

    def of(self, id: str) -> tuple[Desk, str]:
        """The desk of a document and its id there: `d.` leads to the drafts, `j.` to the journal.

        Raises:
            UnknownEntryError: there is no such desk or draft.
        """
        desk, _, name = id.partition(".")
        if desk == "d":
            self.drafts.touch(name)
            return self.drafts, name
        if desk == "j" and self.journal is not None:
            return self.journal, name
        raise UnknownEntryError("there is no such diary; begin anew")

    def name(self, desk: Desk, id: str) -> str:
        """The id of a document by that of its desk."""
        return f"{'d' if desk is self.drafts else 'j'}.{id}"


class _Memory(Database):
    """A database without a file."""

    def __init__(self) -> None:
        self.path = _IN_MEMORY
        self._lock, self._depth, self._driver = threading.RLock(), 0, sqlite3
        self._connection = self._opened(None)


def _own(key: str) -> str:
    """Keys of proposals count the entities of one database (m7); in another they would meet its own."""
    return f"d{key[1:]}" if key.startswith("m") else key


def _renamed(item: Item | None) -> Item | None:
    return item and item.model_copy(update={"key": _own(item.key)})
