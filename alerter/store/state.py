"""The state file itself: opening, refusing, transactions."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from sqlite_utils import Database

from alerter.clock import ticks
from alerter.counters import counts
from alerter.errors import StateBusy, StateError
from alerter.store.lock import real
from alerter.store.schema import migrations

# A busy wait blocks the loop, so it is short; whoever meets StateBusy tries again later.
_BUSY_TIMEOUT_MS = 2000
# The user_version of a copy that was set aside: what has been alerted since is not in it.
BACKUP = 1
_OLDEST_SQLITE = (3, 37, 0)  # STRICT tables: https://www.sqlite.org/stricttables.html

_Params = dict[str, Any] | Sequence[Any]


class State:
    """An open state file. Every error of SQLite leaves here as a StateError.

    sqlite-utils opens and migrates it; its queries, each in a savepoint of its own, would take longer than SQLite's.
    """

    def __init__(self, db: Database, path: Path) -> None:
        self.path = path
        self._db = db
        self._conn: sqlite3.Connection = db.conn
        self._version: int | None = None
        self._behind = False
        self._busy = False
        # How many transactions have changed something: while it grows, the file takes writes.
        self.written = 0
        self._file = _identity(path)

    @classmethod
    def open(cls, path: Path, *, migrate: bool) -> Self:
        """Open the state file for writing; the holder of the lock migrates it, or makes it where there is none.

        Raises StateError, and leaves the file as it is, where it is no state file, is corrupt or of another version.
        """
        _check_sqlite()
        path = real(path)
        if _is_there(path):
            inspect(path, migrate=migrate)
        elif not migrate:
            raise StateError(f"{path}: there is no state file yet; `alerter run` makes it")
        with translated(path):
            _keep_private(path)
            db = _database(path)
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = ON",
                "foreign_keys = ON",
            ):
                db.execute(f"PRAGMA {pragma}").fetchall()
            if migrate:
                migrations.apply(db)
        return cls(db, path)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Open the state file for reading only; None where there is none yet. Raises StateError."""
        _check_sqlite()
        path = real(path)
        if not _is_there(path):
            return None
        inspect(path, migrate=False, check=False)
        with translated(path):
            return cls(_read_only(path), path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, relaxed: bool = False) -> Iterator[None]:
        """All or nothing; one within another is part of it.

        A relaxed one does not wait for the disk: the next that does, or `flush`, takes it there. When the power fails
        before that, it is forgotten, together with whatever was written after it.
        Never `await` inside: another task's writes would join, and vanish with a rollback.
        """
        if self._conn.in_transaction:
            yield
            return
        changes = self._conn.total_changes
        with (
            _timed(),
            self._waiting_once(),
            translated(self.path),
            self._relaxed() if relaxed else nullcontext(),
        ):
            # IMMEDIATE, because a read that turns into a write ignores the busy timeout.
            self._conn.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.rollback()
                raise
            try:
                self._db.commit()
            except sqlite3.Error:
                self._db.rollback()
                raise
        self._behind = self._behind or relaxed
        self.written += self._conn.total_changes > changes

    def flush(self) -> None:
        """Wait until the disk has what relaxed transactions wrote. Raises StateError."""
        if self._behind:
            self.prove_writable()
            self._behind = False

    def prove_writable(self) -> None:
        """Write something that changes nothing. Raises StateError."""
        with self.transaction():
            # SQLite writes this number even where it is the same; nothing else uses it.
            self.execute("PRAGMA user_version = 0")

    def is_in_place(self) -> bool:
        """Whether the path still leads to the file that is open; a restore puts another one there."""
        return _identity(self.path) == self._file

    def note(self, sql: str, params: _Params = ()) -> int:
        """Change something that may be forgotten when the power fails: nobody waits for the disk.

        Never within a transaction. Returns how many rows it changed.
        """
        with self._waiting_once(), translated(self.path), self._relaxed():
            changed = self._conn.execute(sql, params).rowcount
        self.written += changed > 0
        return changed

    @contextmanager
    def _waiting_once(self) -> Iterator[None]:
        """While another process holds the file, only the first writer waits for it.

        A wait blocks the loop, and thousands of sites that wait one after the other would stop it for hours.
        """
        try:
            yield
        except StateBusy:
            self._busy = True
            self._conn.execute("PRAGMA busy_timeout = 0")
            raise
        if self._busy:
            self._busy = False
            self._conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")

    @contextmanager
    def _relaxed(self) -> Iterator[None]:
        self._conn.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._conn.execute("PRAGMA synchronous = FULL")

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since this was asked last."""
        before, self._version = self._version, self.value("PRAGMA data_version")
        return before != self._version

    def owe_scrub(self) -> None:
        """Note that words were erased, within the transaction that erases them: `scrub` has to follow."""
        self.execute("UPDATE scrubs SET owed = owed + 1")

    def scrub(self, *, wait: bool = False) -> bool:
        """Leave no copy of what was erased: empty the write-ahead log into the file, which overwrites what it frees.

        While another process reads or writes (with `wait`: for two seconds), the log stays as it is, this returns
        False, and a later call makes up for it, after a kill too. Never within a transaction.
        """
        if not (owed := self.value("SELECT owed FROM scrubs")):
            return True
        self._conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS if wait else 0}")
        try:
            if self.value("PRAGMA wal_checkpoint(TRUNCATE)"):
                return False
            self.note("UPDATE scrubs SET owed = max(owed - ?, 0)", [owed])
        except StateBusy:
            return False
        finally:
            self._conn.execute(f"PRAGMA busy_timeout = {0 if self._busy else _BUSY_TIMEOUT_MS}")
        return True

    def rows(self, sql: str, params: _Params = ()) -> list[dict[str, Any]]:
        """What a query finds."""
        with translated(self.path):
            found = self._conn.execute(sql, params)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def row(self, sql: str, params: _Params = ()) -> dict[str, Any] | None:
        """The first row that a query finds."""
        return next(iter(self.rows(sql, params)), None)

    def value(self, sql: str, params: _Params = ()) -> Any:
        """The first column of the first row, or None."""
        with translated(self.path):
            row = self._conn.execute(sql, params).fetchone()
        return row[0] if row else None

    def execute(self, sql: str, params: _Params = ()) -> int:
        """Change something, at once where no transaction is open; returns how many rows it changed."""
        with translated(self.path):
            return self._conn.execute(sql, params).rowcount

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same change for many rows; within a transaction only."""
        with translated(self.path):
            self._conn.executemany(sql, rows)


@contextmanager
def _timed() -> Iterator[None]:
    began = ticks()
    try:
        yield
    finally:
        counts["transactions"] += 1
        counts["transaction_ns"] += ticks() - began


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let no error of SQLite's or of the system's out but as a StateError that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error) or "busy" in str(error):
            raise StateBusy(f"{path}: is locked by another process") from error
        raise StateError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        if "not a database" in str(error):
            raise StateError(f"{path}: is not a state file; name another one in `state`") from error
        raise StateError(f"{path}: {error}") from error
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise StateError(
            f"SQLite 3.37 or later is needed; this Python has {sqlite3.sqlite_version}"
        )


def _is_there(path: Path) -> bool:
    with translated(path):
        return path.exists() and path.stat().st_size > 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file a path leads to now."""
    with translated(path):
        if not path.exists():
            return None
        found = path.stat()
        return found.st_dev, found.st_ino


def _keep_private(path: Path) -> None:
    """Make the file before SQLite does: it gives the -wal and -shm files beside it the same mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _roll_back(path: Path) -> None:
    """Undo what a process left half written that died while it made the file: SQLite reads nothing before that."""
    if path.with_name(f"{path.name}-journal").exists():
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as conn:
            conn.execute("PRAGMA schema_version").fetchone()


def _read_only(path: Path) -> Database:
    return _database(f"{path.absolute().as_uri()}?mode=ro")


def _database(path: Path | str) -> Database:
    """A connection that commits each statement by itself where no transaction is open."""
    uri = isinstance(path, str)
    conn = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, uri=uri)
    return Database(conn, execute_plugins=False)


def inspect(path: Path, *, migrate: bool, check: bool = True, backup: bool = False) -> None:
    """Refuse what is no state file of ours, without changing it, and a backup where none is wanted."""
    with translated(path):
        if migrate:
            _roll_back(path)
    with translated(path), closing(_read_only(path)) as db:
        if check and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StateError(
                f"{path}: is corrupt ({found}); restore a backup, or move it away to start anew"
            )
        is_backup = db.execute("PRAGMA user_version").fetchone()[0] == BACKUP
        applied = {migration.name for migration in migrations.applied(db)}
        # sqlite-utils makes its own table first; a process may have died just then.
        tables = set(db.table_names()) - {migrations.migrations_table, "sqlite_sequence"}
    ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - it has no public list
    if tables and not applied:
        raise StateError(f"{path}: is a database, but not a state file of alerter")
    if is_backup and not backup:
        raise StateError(
            f"{path}: is a backup; `alerter restore` puts one in place, so that no alert is repeated"
        )
    if applied - ours:
        raise StateError(f"{path}: was written by a newer alerter; install that version again")
    if ours - applied and not migrate:
        raise StateError(
            f"{path}: is of an older version; restart the service, which brings it up to date"
        )
