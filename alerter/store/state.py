"""The SQLite state file: opening, checks, transactions."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from sqlite_utils import Database

from alerter.clock import ticks
from alerter.counters import counts
from alerter.errors import StateBusy, StateError
from alerter.scopes import is_lock
from alerter.store.lock import real_path
from alerter.store.migrations import migrations

# Waiting for another process blocks the loop, so the wait is short; callers retry after StateBusy.
_BUSY_TIMEOUT_MS = 2000
# The user_version of a backup: it does not contain the alerts that were sent after it was made.
BACKUP = 1
# IS DISTINCT FROM: https://www.sqlite.org/releaselog/3_39_0.html
_OLDEST_SQLITE = (3, 39, 0)

_Params = dict[str, Any] | Sequence[Any]
# Wakes the workers of these destinations, after a commit.
Wake = Callable[[Iterable[str]], None]


class State:
    """An open state file. Every error of SQLite is raised as a StateError.

    sqlite-utils opens and migrates the file. Queries use sqlite3 itself, because sqlite-utils
    runs each in a savepoint of its own, which takes longer.
    """

    def __init__(self, db: Database, path: Path) -> None:
        self.path = path
        self._db = db
        self._conn: sqlite3.Connection = db.conn
        self._version: int | None = None
        self._behind = False
        self._busy = False
        self._scopes: frozenset[str] = frozenset()
        # The number of transactions that changed something: while it grows, writing works.
        self.written = 0
        self._file = _identity(path)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        migrate: bool,
        sqlite_version: tuple[int, int, int] = sqlite3.sqlite_version_info,
    ) -> Self:
        """Open the state file for writing.

        `migrate`: create the file or bring it up to date; only the holder of the lock may do so.
        Raise StateError, and leave the file unchanged, if it is not a state file, is corrupt or
        has another version, or if SQLite is too old.
        """
        _check_sqlite(sqlite_version)
        path = real_path(path)
        if is_there(path):
            inspect(path, migrate=migrate)
        elif not migrate:
            raise StateError(f"{path}: there is no state file yet; `alerter run` creates it")
        with translated(path), ExitStack() as if_it_fails:
            _keep_private(path)
            db = if_it_fails.enter_context(closing(_database(path)))
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "secure_delete = ON",
                "foreign_keys = ON",
            ):
                db.execute(f"PRAGMA {pragma}").fetchall()
            if migrate:
                with db.atomic():  # readers see all of them, or none
                    migrations.apply(db)
            if_it_fails.pop_all()
        return cls(db, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Open the state file for reading; without one, an empty one. Raise StateError."""
        _check_sqlite(sqlite3.sqlite_version_info)
        path = real_path(path)
        if not is_there(path):
            return cls.empty(path)
        inspect(path, migrate=False, check=False)
        with translated(path):
            return cls(_read_only(path), path)

    @classmethod
    def empty(cls, path: Path = Path()) -> Self:
        """Return an empty state file in memory that takes no writes; errors name it by `path`."""
        state = cls.in_memory(path)
        state.execute("PRAGMA query_only = ON")
        return state

    @classmethod
    def in_memory(cls, path: Path) -> Self:
        """Return an empty state file in memory, which ends with it; errors name it by `path`."""
        db = _database(":memory:")
        migrations.apply(db)
        return cls(db, path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def transaction(self, *scopes: str, relaxed: bool = False) -> Iterator[None]:
        """Commit all that is written inside, or nothing; a nested transaction joins the outer one.

        `scopes` names what is read before it is written, such as `site:<site id>`: two processes
        do not do so at the same time. The outermost transaction names the scopes of all nested
        ones, so that locks are taken at once, in one order. SQLite has one writer anyway, and only
        checks the names.

        A `relaxed` transaction does not wait for the disk: the next that is not relaxed, or
        `flush`, does. A power failure before that loses it and all that was written after it.
        Never `await` inside: the writes of another task would join, and be lost with a rollback.
        """
        with self._holding(scopes):
            if self._conn.in_transaction:
                yield
                return
            with self._begun(relaxed=relaxed):
                yield

    @contextmanager
    def _holding(self, scopes: Sequence[str]) -> Iterator[None]:
        held = self._scopes
        new = set(scopes) - held
        if unknown := [scope for scope in new if not is_lock(scope)]:
            raise ValueError(f"unknown scopes of a transaction: {unknown}")
        if new and self._conn.in_transaction:
            raise ValueError(f"the outer transaction does not name {sorted(new)}")
        self._scopes = held | new
        try:
            yield
        finally:
            self._scopes = held

    @contextmanager
    def _begun(self, *, relaxed: bool) -> Iterator[None]:
        changes = self._conn.total_changes
        with (
            _timed(),
            self._waiting_once(),
            translated(self.path),
            self._relaxed() if relaxed else nullcontext(),
        ):
            # IMMEDIATE, because a transaction that reads before it writes ignores the busy timeout:
            # https://www.sqlite.org/lang_transaction.html
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
        """Wait until relaxed transactions are on disk. Raise StateError."""
        if self._behind:
            self.prove_writable()
            self._behind = False

    def prove_writable(self) -> None:
        """Write to the file without changing anything. Raise StateError if that fails."""
        with self.transaction():
            # SQLite writes this number even if it is unchanged; only backups have another one.
            self.execute("PRAGMA user_version = 0")

    def is_in_place(self) -> bool:
        """Whether the open file is still the one at its path; `restore` replaces it."""
        return _identity(self.path) == self._file

    def write_relaxed(self, sql: str, params: _Params = ()) -> int:
        """Run one statement without waiting for the disk; return the number of changed rows.

        A power failure may undo it. Never call it within a transaction.
        """
        with self._waiting_once(), translated(self.path), self._relaxed():
            changed = self._conn.execute(sql, params).rowcount
        self.written += changed > 0
        return changed

    @contextmanager
    def _waiting_once(self) -> Iterator[None]:
        """Let only the first writer wait while another process holds the file.

        Each wait blocks the loop; thousands of sites would block it for hours.
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
        """Whether another process has written since the last call."""
        before, self._version = self._version, self.value("PRAGMA data_version")
        return before != self._version

    def owe_scrub(self) -> None:
        """Record, in the transaction that erases text, that `scrub` and a rebuild must follow."""
        self.execute("UPDATE scrubs SET owed = owed + 1, rebuilds_owed = rebuilds_owed + 1")

    def scrub(self, *, wait: bool = False) -> bool:
        """Remove erased text from the write-ahead log; return False if that is not possible yet.

        The log is copied into the file, which overwrites what it frees (`secure_delete`). That
        is not possible while another process reads or writes; `wait` waits two seconds for it. A
        later call, even after a crash, completes it. Never call it within a transaction.
        """
        if not (owed := self.value("SELECT owed FROM scrubs")):
            return True
        self._conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS if wait else 0}")
        try:
            if self.value("PRAGMA wal_checkpoint(TRUNCATE)"):
                return False
            self.write_relaxed(
                "UPDATE scrubs SET owed = CASE WHEN owed > :done THEN owed - :done ELSE 0 END",
                {"done": owed},
            )
        except StateBusy:
            return False
        finally:
            self._conn.execute(f"PRAGMA busy_timeout = {0 if self._busy else _BUSY_TIMEOUT_MS}")
        return True

    def rows(self, sql: str, params: _Params = ()) -> list[dict[str, Any]]:
        """Return the rows that a query finds."""
        with translated(self.path):
            found = self._conn.execute(sql, params)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def row(self, sql: str, params: _Params = ()) -> dict[str, Any] | None:
        """Return the first row that a query finds, or None."""
        return next(iter(self.rows(sql, params)), None)

    def value(self, sql: str, params: _Params = ()) -> Any:
        """Return the first column of the first row, or None."""
        with translated(self.path):
            row = self._conn.execute(sql, params).fetchone()
        return row[0] if row else None

    def execute(self, sql: str, params: _Params = ()) -> int:
        """Run one statement, committed unless a transaction is open; return the changed rows."""
        with translated(self.path):
            return self._conn.execute(sql, params).rowcount

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of these rows. Call it within a transaction."""
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
    """Raise errors of SQLite and of the system as a StateError that names the file."""
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


def _check_sqlite(version: tuple[int, int, int]) -> None:
    if version < _OLDEST_SQLITE:
        found = ".".join(map(str, version))
        raise StateError(f"SQLite 3.39 or later is needed; this Python has {found}")


def is_there(path: Path) -> bool:
    """Whether there is a state file at a path. Raise StateError."""
    with translated(path):
        return path.exists() and path.stat().st_size > 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file at a path."""
    with translated(path):
        if not path.exists():
            return None
        found = path.stat()
        return found.st_dev, found.st_ino


def _keep_private(path: Path) -> None:
    """Create the file with mode 0600; SQLite gives its -wal and -shm files the same mode."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
    finally:
        os.close(fd)


def _roll_back(path: Path) -> None:
    """Roll back the creation of a file that a crash interrupted: read-only connections cannot."""
    if path.with_name(f"{path.name}-journal").exists():
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as conn:
            conn.execute("PRAGMA schema_version").fetchone()


def _read_only(path: Path) -> Database:
    return _database(f"{path.absolute().as_uri()}?mode=ro")


def _database(path: Path | str) -> Database:
    """Return a connection that commits each statement unless a transaction is open."""
    uri = isinstance(path, str)
    conn = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_MS / 1000, isolation_level=None, uri=uri)
    return Database(conn, execute_plugins=False)


def inspect(path: Path, *, migrate: bool, check: bool = True, backup: bool = False) -> None:
    """Raise StateError if a file is not a usable state file, without changing it.

    `check`: look for corruption. `backup`: accept a backup. `migrate`: accept an older version.
    """
    with translated(path):
        if migrate:
            _roll_back(path)
    with translated(path), closing(_read_only(path)) as db:
        if check and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StateError(
                f"{path}: is corrupt ({found}); restore a backup, or move it away to start again"
            )
        is_backup = db.execute("PRAGMA user_version").fetchone()[0] == BACKUP
        applied = {migration.name for migration in migrations.applied(db)}
        # sqlite-utils creates its own table first; a process may have died after that.
        tables = set(db.table_names()) - {migrations.migrations_table, "sqlite_sequence"}
    ours = {migration.name for migration in migrations._migrations}  # noqa: SLF001 - it has no public list
    if tables and not applied:
        raise StateError(f"{path}: is a database, but not a state file of alerter")
    if is_backup and not backup:
        raise StateError(
            f"{path}: is a backup; put it in place with `alerter restore`, which repeats no alert"
        )
    if applied - ours:
        raise StateError(f"{path}: was written by a newer alerter; install that version again")
    if ours - applied and not migrate:
        raise StateError(
            f"{path}: has an older version; restart the service, which brings it up to date"
        )
