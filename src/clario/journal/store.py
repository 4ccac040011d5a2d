"""`Journal`: entries, the queue, and what people decided about what was found."""

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from clario.entities import Entity
from clario.errors import InputError
from clario.journal import corrections
from clario.journal.corrections import Decisions
from clario.journal.database import Database, default_path
from clario.journal.entries import Clock
from clario.journal.queue import Queue
from clario.journal.records import ME, Add, Change, ConflictError, Item, Status, Step, View, change_of
from clario.ontology import release as releases
from clario.ontology.index import Index


class Journal(Queue):
    """Diaries in one SQLite file, with what was found in them and what people decided about it.

    Threads and processes may use one file at the same time. A context manager; else call `close`.

    Args:
        path: the file; None is the one in the user's data folder. It is made where there is none.
        key: of an encrypted journal, see `Database`.
        clock: seconds since 1970, for tests.
        index: the release that new terms are checked against; None is the one in use, loaded when needed.

    Raises:
        InputError: not a journal, one of a newer Clario, or the key does not fit.
        OutputError: the file cannot be made or written.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        key: str | None = None,
        clock: Clock = time.time,
        index: Index | None = None,
    ) -> None:
        self.path = Path(path) if path else default_path()
        super().__init__(Database(self.path, key), clock)
        self._given = index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @cached_property
    def _index(self) -> Index:
        return self._given or releases.load()

    def effective(self, id: str, annotator: str = ME, *, blind: bool = False) -> View:
        """An entry as an annotator sees it: the last extraction with that annotator's corrections.

        Args:
            blind: leave out what the model proposes and nobody has decided about.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        with self._db.transaction():
            number = self._number(id)
            return self._view(id, number, annotator, self._decisions(number, annotator), blind)

    def correct(
        self,
        id: str,
        version: int,
        change: Change | Mapping[str, Any],
        annotator: str = ME,
        *,
        blind: bool = False,
    ) -> View:
        """Make one change; when this returns, it is on the disk.

        Args:
            version: of the view that the annotator looked at.
            change: one of `records`, or the same as a JSON object.
            blind: only for the view that is returned.

        Returns:
            The view after it.

        Raises:
            UnknownEntryError: there is no entry of that id.
            ConflictError: the view has changed since, by another window or a new extraction; nothing is written.
            InputError: no such change, or it does not fit the text.
            UnknownTermError: no such term.
        """
        change = change_of(change)
        with self._db.transaction():
            number, decided = self._at(id, version, annotator)
            before, after = self._changed(number, decided, change)
            step = Step(version + 1, annotator, change.action, after.key, before, after, self._now())
            return self._written(id, number, decided, step, blind)

    def _changed(self, number: int, decided: Decisions, change: Change) -> tuple[Item | None, Item]:
        """The touched item as it was decided before, and after a change."""
        text = self._db.rows("SELECT text FROM entries WHERE number = ?", (number,))[0]["text"]
        if isinstance(change, Add):
            return None, corrections.added(change, f"h{decided.version + 1}", text, self._index)
        before = decided.items.get(change.item)
        item = before or self._proposed(number, change.item, decided)
        return before, corrections.changed(change, item, text, self._index)

    def _proposed(self, number: int, key: str, decided: Decisions) -> Item:
        shown = corrections.view(decided.items, self._proposals(number))
        for item in shown:
            if item.key == key and item.status is Status.PROPOSED:
                return item
        raise ConflictError("that entity is not there any more: the entry was read anew, or the change was undone")

    def undo(self, id: str, version: int, annotator: str = ME, *, blind: bool = False) -> View:
        """Take the annotator's last change back, which stays in the history; arguments and errors as `correct`."""
        with self._db.transaction():
            number, decided = self._at(id, version, annotator)
            if not decided.done:
                raise InputError("there is no change to undo")
            last = decided.done[-1]
            step = Step(version + 1, annotator, corrections.UNDO, last.item, last.after, last.before, self._now())
            return self._written(id, number, decided, step, blind)

    def redo(self, id: str, version: int, annotator: str = ME, *, blind: bool = False) -> View:
        """Make the change again that was undone last; arguments and errors as `correct`."""
        with self._db.transaction():
            number, decided = self._at(id, version, annotator)
            if not decided.undone:
                raise InputError("there is no change to do again")
            last = decided.undone[-1]
            step = Step(version + 1, annotator, corrections.REDO, last.item, last.before, last.after, self._now())
            return self._written(id, number, decided, step, blind)

    def history(self, id: str, annotator: str = ME) -> list[Step]:
        """All that an annotator ever did to an entry, from the first change on; nothing is ever taken out of it.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        return self._history(self._number(id), annotator)

    def finish(self, id: str, annotator: str = ME, finished: bool = True) -> None:
        """Say that an annotator is through with an entry (or not yet): only such entries count as annotated.

        Raises:
            UnknownEntryError: there is none of that id.
        """
        with self._db.transaction():
            key = (self._number(id), annotator)
            self._db.execute("DELETE FROM passes WHERE entry = ? AND annotator = ?", key)
            if finished:
                self._db.execute("INSERT INTO passes VALUES (?, ?, ?)", (*key, self._clock()))

    def annotate(self, id: str, changes: Sequence[Add], annotator: str = ME) -> bool:
        """All that an annotator found in an entry elsewhere, who is through with it then: all of it or nothing.

        Returns:
            False where that annotator has worked on the entry already; nothing is written then.

        Raises:
            UnknownEntryError, InputError, UnknownTermError: as `correct`.
        """
        with self._db.transaction():
            if self.history(id, annotator) or id in self.finished(annotator):
                return False
            for version, change in enumerate(changes):
                self.correct(id, version, change, annotator, blind=True)
            self.finish(id, annotator)
            return True

    def annotators(self) -> dict[str, int]:
        """Who has changed or finished entries, and how many each has finished."""
        rows = self._db.rows(
            """SELECT annotator, (SELECT count(*) FROM passes WHERE passes.annotator = a.annotator) AS n FROM
            (SELECT annotator FROM history UNION SELECT annotator FROM passes) a ORDER BY annotator"""
        )
        return {row["annotator"]: row["n"] for row in rows}

    def finished(self, annotator: str = ME) -> list[str]:
        """Ids of the entries that an annotator is through with."""
        query = "SELECT id FROM entries JOIN passes ON entry = number WHERE annotator = ? ORDER BY number"
        return [row["id"] for row in self._db.rows(query, (annotator,))]

    def _at(self, id: str, version: int, annotator: str) -> tuple[int, Decisions]:
        """The entry's number and decisions, if they are of that version."""
        number = self._number(id)
        decided = self._decisions(number, annotator)
        if decided.version != version:
            raise ConflictError(
                f"entry {id[:40]!r} is at version {decided.version} of {annotator}'s corrections, "
                f"not at {version}: another window changed it; look at it again"
            )
        return number, decided

    def _decisions(self, number: int, annotator: str) -> Decisions:
        return corrections.decisions(self._history(number, annotator))

    def _history(self, number: int, annotator: str) -> list[Step]:
        query = "SELECT * FROM history WHERE entry = ? AND annotator = ? ORDER BY version"
        return [_step(row) for row in self._db.rows(query, (number, annotator))]

    def _written(self, id: str, number: int, decided: Decisions, step: Step, blind: bool) -> View:
        self._db.execute(
            """INSERT INTO history (entry, annotator, version, action, item, before, after, made)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                number, step.annotator, step.version, step.action, step.item,
                _json(step.before), _json(step.after), step.made.timestamp(),
            ),
        )  # fmt: skip
        decided.take(step)
        return self._view(id, number, step.annotator, decided, blind)

    def _view(self, id: str, number: int, annotator: str, decided: Decisions, blind: bool) -> View:
        made = self._made(number)
        proposals: Mapping[str, Entity] = {} if blind else self._proposals(number)
        done = self._db.row("SELECT 1 FROM passes WHERE entry = ? AND annotator = ?", (number, annotator))
        return View(
            id=id, annotator=annotator, version=decided.version,
            items=corrections.view(decided.items, proposals), finished=done is not None,
            can_undo=bool(decided.done), can_redo=bool(decided.undone),
            model=made["model"] if made and not blind else None,
            hpo_release=made["hpo_release"] if made else self._index.release,
            ts_event_hint=made["ts_event_hint"] if made else None,
            warnings=tuple(json.loads(made["warnings"])) if made and not blind else (),
        )  # fmt: skip

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self._clock(), dt.UTC)


def _json(item: Item | None) -> str | None:
    return item.model_dump_json() if item else None


def _step(row: Any) -> Step:
    before, after = (Item.model_validate_json(row[side]) if row[side] else None for side in ("before", "after"))
    return Step(
        row["version"], row["annotator"], row["action"], row["item"], before, after,
        dt.datetime.fromtimestamp(row["made"], dt.UTC),
    )  # fmt: skip
