"""The queue of a journal: entries to be read, leased to workers, tried again later, and never lost.

A lease ends when its time is over, so that what a killed worker had taken is taken up again. Only who holds the
token of the present lease can say how a job went; whoever comes too late changes nothing.
"""

import datetime as dt
import json
import uuid
from collections.abc import Iterable
from typing import Any, Final

from clario.entities import Extraction
from clario.journal.entries import Entries
from clario.journal.records import Job, State

LEASE: Final = 60.0  # seconds; a worker that is alive renews it in time
_DUE: Final = """SELECT j.entry FROM jobs j WHERE (j.state = 'waiting' AND j.due <= ?)
    OR (j.state = 'running' AND j.leased_until <= ?) ORDER BY j.due, j.entry LIMIT 1"""
_OURS: Final = "entry = (SELECT number FROM entries WHERE id = ?) AND token = ? AND state = 'running'"


class Queue(Entries):
    """What is to be read, and how it went."""

    def claim(self, lease: float = LEASE) -> Job | None:
        """Take the next job that is due, for `lease` seconds; None where there is none.

        The try counts from here on, so that a text that kills its worker is not tried for ever.
        """
        now, token = self._clock(), uuid.uuid4().hex
        with self._db.transaction():
            found = self._db.row(_DUE, (now, now))
            if found is None:
                return None
            self._db.execute(
                """UPDATE jobs SET state = 'running', tries = tries + 1, token = ?, leased_until = ?
                WHERE entry = ?""",
                (token, now + lease, found["entry"]),
            )
            query = "SELECT id, text, recorded, tries FROM entries JOIN jobs ON entry = number WHERE entry = ?"
            return _job(self._db.rows(query, (found["entry"],))[0], token)

    def renew(self, job: Job, lease: float = LEASE) -> bool:
        """Keep a job for `lease` seconds from now; False where it is no longer ours."""
        until = self._clock() + lease
        sql = f"UPDATE jobs SET leased_until = ? WHERE {_OURS}"
        return bool(self._db.execute(sql, (until, job.entry, job.token)).rowcount)

    def complete(self, job: Job, extraction: Extraction, *, fallback: bool = False) -> bool:
        """Replace what was found in an entry, in one transaction; people's corrections are not touched.

        Returns:
            False, and nothing is written, where the job is no longer ours or the entry was deleted.
        """
        with self._db.transaction():
            if not self._end(job, State.DONE, None):
                return False
            number = self._db.rows("SELECT number FROM entries WHERE id = ?", (job.entry,))[0]["number"]
            self._replace(number, extraction, fallback)
            return True

    def _replace(self, number: int, found: Extraction, fallback: bool) -> None:
        self._db.execute("DELETE FROM extractions WHERE entry = ?", (number,))  # and its entities with it
        self._db.execute(
            "INSERT INTO extractions VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                number, found.model, found.hpo_release, found.ts_event_hint,
                json.dumps(found.warnings), fallback, self._clock(),
            ),
        )  # fmt: skip
        for entity in found.entities:
            self._db.execute(
                "INSERT INTO entities (entry, entity) VALUES (?, ?)", (number, entity.model_dump_json())
            )

    def postpone(self, job: Job, seconds: float, error: str) -> bool:
        """Give a job back, to be tried again after so many seconds. `error` is without words of the diary."""
        return self._end(job, State.WAITING, error, self._clock() + seconds)

    def fail(self, job: Job, error: str) -> bool:
        """Give a job up until somebody asks for it again; the entry and what was found before stay."""
        return self._end(job, State.FAILED, error)

    def _end(self, job: Job, state: State, error: str | None, due: float | None = None) -> bool:
        ended = "state = ?, error = ?, due = coalesce(?, due), token = NULL, leased_until = NULL"
        values = (state, error, due, job.entry, job.token)
        return bool(self._db.execute(f"UPDATE jobs SET {ended} WHERE {_OURS}", values).rowcount)

    def again(self, ids: Iterable[str] | None = None) -> int:
        """Queue entries to be read anew (None: all); the number of them. What was found stays until then.

        A worker that is reading one of them comes too late with its result.

        Raises:
            UnknownEntryError: there is no entry of one of the ids; none is queued then.
        """
        with self._db.transaction():
            rows = self._db.rows("SELECT number FROM entries") if ids is None else []
            numbers = [row["number"] for row in rows] if ids is None else [self._number(id) for id in ids]
            for number in numbers:
                self._requeue(number)
            return len(numbers)

    def outdated(self, model: str, hpo_release: str) -> list[str]:
        """Ids of the entries that were read, but with another model or release."""
        rows = self._db.rows(
            """SELECT id FROM entries JOIN extractions ON entry = number
            WHERE model <> ? OR hpo_release <> ? ORDER BY number""",
            (model, hpo_release),
        )
        return [row["id"] for row in rows]

    def fell_back(self) -> list[str]:
        """Ids of the entries that the fallback read because the extractor asked for did not answer."""
        query = "SELECT id FROM entries JOIN extractions ON entry = number WHERE fallback ORDER BY number"
        return [row["id"] for row in self._db.rows(query)]

    def failed(self) -> list[str]:
        """Ids of the entries that were given up."""
        query = "SELECT id FROM entries JOIN jobs ON entry = number WHERE state = 'failed' ORDER BY number"
        return [row["id"] for row in self._db.rows(query)]

    def waiting(self) -> dict[State, int]:
        """How many entries stand in each state."""
        rows = self._db.rows("SELECT state, count(*) AS n FROM jobs GROUP BY state")
        return dict.fromkeys(State, 0) | {State(row["state"]): row["n"] for row in rows}

    def next_due(self) -> float | None:
        """Seconds until a job can be claimed (0: now); None where none is queued."""
        row = self._db.rows(
            """SELECT min(CASE state WHEN 'waiting' THEN due ELSE leased_until END) AS due FROM jobs
            WHERE state IN ('waiting', 'running')"""
        )[0]
        return None if row["due"] is None else max(0.0, row["due"] - self._clock())

    def _requeue(self, number: int) -> None:
        self._db.execute(
            """UPDATE jobs SET state = 'waiting', tries = 0, due = ?, error = NULL, token = NULL,
            leased_until = NULL WHERE entry = ?""",
            (self._clock(), number),
        )


def _job(row: Any, token: str) -> Job:
    recorded = dt.date.fromisoformat(row["recorded"]) if row["recorded"] else None
    return Job(row["id"], row["text"], recorded, row["tries"], token)
