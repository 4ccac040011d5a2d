"""The journal's file: one SQLite database, readable by its owner alone, with a numbered format.

Write-ahead log, synchronous writes: what a call returned from is on the disk. What is deleted is overwritten, and
SQLite's temporary tables stay in memory, for all of it is somebody's diary.
"""

import importlib
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from clario.errors import InputError, OutputError
from clario.journal.schema import APPLICATION_ID, MIGRATIONS
from clario.paths import data_dir

NAME: Final = "journal.sqlite3"
PATIENCE: Final = 30.0  # seconds that a call waits for another process to finish writing
_PLAIN_HEADER: Final = b"SQLite format 3\0"
_RAW_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON", "PRAGMA temp_store = MEMORY",
)  # fmt: skip

Row = Any
Values = Sequence[object]


def default_path() -> Path:
    """The journal in the user's data folder."""
    return data_dir() / NAME


def is_encrypted(path: Path) -> bool:
    """Whether a file is there that is not plain SQLite: SQLCipher encrypts the header, too."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_PLAIN_HEADER))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, error) from None
    return bool(head) and head != _PLAIN_HEADER


class Database:
    """A connection that threads may share, one transaction at a time; other processes may use the file as well.

    Args:
        path: the file; it is made, with its folder, where there is none.
        key: of an encrypted journal: a passphrase, or 64 hexadecimal digits, which are taken as the key itself.

    Raises:
        InputError: not a journal, one of a newer Clario, or the key does not fit.
        OutputError: the file cannot be made or written.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._driver = _driver(key is not None)
        _make(path)
        self._connection = self._opened(key)

    def _opened(self, key: str | None) -> Any:
        connection = self._driver.connect(
            self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        try:
            self._prepare(connection, key)
        except self._driver.Error as error:
            fault = self._fault(error)
        except InputError:
            connection.close()
            raise
        else:
            return connection
        connection.close()
        raise fault

    def _prepare(self, connection: Any, key: str | None) -> None:
        connection.row_factory = self._driver.Row
        if key is not None:
            connection.execute(f"PRAGMA key = {_quoted(key)}")
        _refuse_foreign(connection, self.path)
        for setting in _SETTINGS:
            connection.execute(setting)
        while _step_up(connection, self.path):
            pass

    def close(self) -> None:
        """Close the file; what was written stays."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written in the block, or nothing of it. Blocks within blocks belong to the outermost.

        Raises:
            OutputError: it could not be written: no space, no permission, a broken file.
        """
        with self._lock:
            if self._depth:
                yield
                return
            self.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                with suppress(self._driver.Error):  # SQLite has rolled back of itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def execute(self, sql: str, values: Values = ()) -> Any:
        """Run one statement; the cursor. For rows, `rows` is the safe way: a cursor is not shared by threads."""
        with self._lock:
            try:
                return self._connection.execute(sql, values)
            except self._driver.Error as error:
                fault = self._fault(error)
            raise fault  # out here: within, it would keep the other, whose message may hold a value

    def rows(self, sql: str, values: Values = ()) -> list[Row]:
        """All rows of a query."""
        with self._lock:
            cursor = self.execute(sql, values)
            try:
                return list(cursor)
            except self._driver.Error as error:
                fault = self._fault(error)
            raise fault

    def row(self, sql: str, values: Values = ()) -> Row | None:
        """The first row of a query, or None."""
        found = self.rows(sql, values)
        return found[0] if found else None

    def checkpoint(self) -> None:
        """Empty the write-ahead log into the file, as far as no other process is reading."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _fault(self, error: Exception) -> InputError | OutputError:
        """An error of SQLite in our words; its own may hold values."""
        code = getattr(error, "sqlite_errorname", "") or str(error).partition(":")[0]
        if "NOTADB" in code or "not a database" in code:
            return InputError(f"{self.path} is no journal, or it is encrypted and the key does not fit")
        if "BUSY" in code or "locked" in code:
            return OutputError(f"{self.path}: another process has been writing for {PATIENCE:g} s; try again")
        return OutputError(f"{self.path} cannot be used ({code}); check the disk, its space and the permissions")


def _driver(encrypted: bool) -> Any:
    if not encrypted:
        return sqlite3
    try:
        return importlib.import_module("sqlcipher3.dbapi2")
    except ImportError:
        raise InputError("an encrypted journal needs SQLCipher: pip install 'clario[journal-encrypted]'") from None


def _make(path: Path) -> None:
    """The file, with its rights from the first moment on; the files that SQLite puts beside it take them over."""
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with suppress(OSError, AttributeError):  # not every file system, nor Windows, has permissions
            os.fchmod(handle, 0o600)
        os.close(handle)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path} cannot be used as a journal: {error.strerror or 'it cannot be opened'}")


def _refuse_foreign(connection: Any, path: Path) -> None:
    """Refuse a database that is somebody else's, before anything in it is changed."""
    found = "SELECT application_id, (SELECT count(*) FROM sqlite_master) FROM pragma_application_id"
    application, tables = connection.execute(found).fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise InputError(f"{path} is a database, but no journal of Clario; name another file")


def _step_up(connection: Any, path: Path) -> bool:
    """Bring an older file, or an empty one, up by one format, wholly or not at all; False where it is of today."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise InputError(f"{path} is a journal of a newer Clario (format {version}); update Clario")
    if version == len(MIGRATIONS):
        return False
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] == version:  # nobody else was quicker
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return True


def _quoted(key: str) -> str:
    """A key as SQLCipher's PRAGMA takes it, which knows no parameters."""
    if _RAW_KEY.fullmatch(key):
        return f"\"x'{key}'\""
    if not key or "\0" in key:
        raise InputError("the key of a journal must not be empty")
    return "'" + key.replace("'", "''") + "'"
