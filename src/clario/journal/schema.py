"""The tables of a journal, as the steps that lead to them: step n brings a file from format n to n + 1.

A step that has shipped is never changed; another one is added.
"""

from typing import Final

APPLICATION_ID: Final = 0x436C4A6E  # "CljN": how SQLite and `file` tell a journal from other databases

_FIRST: Final = (
    """CREATE TABLE entries (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        text TEXT NOT NULL,
        recorded TEXT,
        created REAL NOT NULL
    )""",
    # What the last extraction said; its entities are rows, so that a window can name one of just this extraction.
    """CREATE TABLE extractions (
        entry INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
        model TEXT NOT NULL,
        hpo_release TEXT NOT NULL,
        ts_event_hint TEXT,
        warnings TEXT NOT NULL,
        fallback INTEGER NOT NULL,
        made REAL NOT NULL
    )""",
    """CREATE TABLE entities (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        entry INTEGER NOT NULL REFERENCES extractions ON DELETE CASCADE,
        entity TEXT NOT NULL
    )""",
    "CREATE INDEX entities_of ON entities (entry)",
    """CREATE TABLE jobs (
        entry INTEGER PRIMARY KEY REFERENCES entries ON DELETE CASCADE,
        state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed')),
        tries INTEGER NOT NULL DEFAULT 0,
        due REAL NOT NULL,
        token TEXT,
        leased_until REAL,
        error TEXT
    )""",
    "CREATE INDEX jobs_due ON jobs (state, due)",
    # Only ever added to: what people decided, what they took back, and who. `item` is the entity it is about.
    """CREATE TABLE history (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        entry INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE,
        annotator TEXT NOT NULL,
        version INTEGER NOT NULL,
        action TEXT NOT NULL,
        item TEXT NOT NULL,
        before TEXT,
        after TEXT,
        made REAL NOT NULL,
        UNIQUE (entry, annotator, version)
    )""",
    """CREATE TABLE passes (
        entry INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE,
        annotator TEXT NOT NULL,
        finished REAL NOT NULL,
        PRIMARY KEY (entry, annotator)
    )""",
)

MIGRATIONS: Final = (_FIRST,)
