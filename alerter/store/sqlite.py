"""The state file: SQLite opened, checked, locked and maintained."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlite_utils import Database

from alerter.errors import StateBusy, StateError
from alerter.store.file_lock import real_path
from alerter.store.migrations import migrations, names_of_migrations
from alerter.store.sql import Params

if TYPE_CHECKING:
    from alerter.store.progress import Progress

# Waiting for another process blocks the loop, so the wait is short; callers retry after StateBusy.
_BUSY_TIMEOUT_MS = 2000
# The user_version of a backup: it does not contain the alerts that were sent after it was made.
BACKUP = 1
# IS DISTINCT FROM: https://www.sqlite.org/releaselog/3_39_0.html
_OLDEST_SQLITE = (3, 39, 0)


class Sqlite:
    """A connection to a state file: the engine of SQLite.

    sqlite-utils opens and migrates the file. Queries use sqlite3 itself, because sqlite-utils
    runs each in a savepoint of its own, which takes longer.
    """

    relaxes = True
    shares_commits = True

    def __init__(self, db: Database, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._translated = Translated(path)
        self._db = db
        self.conn: sqlite3.Connection = db.conn
        self._version: int | None = None
        self._busy = False
        self._relaxed = False
        self._file = _identity(path)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        migrate: bool,
        sqlite_version: tuple[int, int, int] = sqlite3.sqlite_version_info,
    ) -> Self:
        """Open the state file for writing; see `State.open`."""
        _check_sqlite(sqlite_version)
        path = real_path(path)
        if is_file_there(path):
            inspect(path, migrate=migrate)
        elif not migrate:
            raise StateError(f"{path}: there is no state file yet; `alerter run` creates it")
        with Translated(path), ExitStack() as if_it_fails:
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
        """Open the state file for reading; see `State.read`."""
        _check_sqlite(sqlite3.sqlite_version_info)
        path = real_path(path)
        if not is_file_there(path):
            return cls.empty(path)
        inspect(path, migrate=False, check=False)
        with Translated(path):
            return cls(_read_only(path), path)

    @classmethod
    def empty(cls, path: Path) -> Self:
        """Return an empty state file in memory that takes no writes; errors name it by `path`."""
        made = cls.in_memory(path)
        made.execute("PRAGMA query_only = ON", ())
        return made

    @classmethod
    def in_memory(cls, path: Path) -> Self:
        """Return an empty state file in memory, which ends with it; errors name it by `path`."""
        db = _database(":memory:")
        migrations.apply(db)
        return cls(db, path)

    @property
    def changed(self) -> int:
        """How many rows this connection has changed."""
        return self.conn.total_changes

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self.conn.in_transaction

    def begin(self, scopes: Collection[str], *, relaxed: bool) -> None:  # noqa: ARG002 - one writer
        """Begin a transaction.

        IMMEDIATE, because one that reads before it writes ignores the busy timeout:
        https://www.sqlite.org/lang_transaction.html
        """
        with self._translated:
            self._relaxed = relaxed
            if relaxed:
                self.conn.execute("PRAGMA synchronous = NORMAL")
            try:
                with self._waiting_once():
                    self.conn.execute("BEGIN IMMEDIATE")
            except BaseException:
                self._end_relaxed()
                raise

    def commit(self) -> None:
        """Commit the transaction; roll it back where that fails."""
        try:
            with self._translated:
                self._db.commit()
        except StateError:
            self.rollback()
            raise
        self._end_relaxed()

    def rollback(self) -> None:
        """Roll the transaction back."""
        try:
            with self._translated:
                self._db.rollback()
        finally:
            self._end_relaxed()

    def _end_relaxed(self) -> None:
        if self._relaxed:
            self._relaxed = False
            self.conn.execute("PRAGMA synchronous = FULL")

    @contextmanager
    def _waiting_once(self) -> Iterator[None]:
        """Let only the first writer wait while another process holds the file.

        Each wait blocks the loop; thousands of sites would block it for hours.
        """
        try:
            with self._translated:
                yield
        except StateBusy:
            self._busy = True
            self.conn.execute("PRAGMA busy_timeout = 0")
            raise
        if self._busy:
            self._busy = False
            self.conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")

    def rows(self, sql: str, params: Params) -> list[dict[str, Any]]:
        """Return the rows that a query finds."""
        with self._translated:
            found = self.conn.execute(sql, params)
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found]

    def value(self, sql: str, params: Params) -> Any:
        """Return the first column of the first row, or None."""
        with self._translated:
            row = self.conn.execute(sql, params).fetchone()
        return row[0] if row else None

    def execute(self, sql: str, params: Params) -> int:
        """Run one statement; return the number of changed rows."""
        with self._translated:
            return self.conn.execute(sql, params).rowcount

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of these rows."""
        with self._translated:
            self.conn.executemany(sql, rows)

    def write_relaxed(self, sql: str, params: Params) -> int:
        """Run one statement outside a transaction without waiting for the disk."""
        with self._waiting_once():
            self.conn.execute("PRAGMA synchronous = NORMAL")
            try:
                return self.conn.execute(sql, params).rowcount
            finally:
                self.conn.execute("PRAGMA synchronous = FULL")

    def touch(self) -> None:
        """Write the user_version, which SQLite does even if it is unchanged."""
        self.execute("PRAGMA user_version = 0", ())

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""
        before, self._version = self._version, self.value("PRAGMA data_version", ())
        return before != self._version

    def guard(self, progress: "Progress") -> None:
        """Do nothing: `is_in_place` notices that a file was replaced."""

    def is_in_place(self) -> bool:
        """Whether the open file is still the one at its path; `restore` replaces it."""
        return _identity(self._path) == self._file

    def empty_log(self, *, wait: bool) -> bool:
        """Copy the log into the file, which overwrites what it frees (`secure_delete`).

        That is not possible while another process reads or writes; `wait` waits two seconds for it.
        """
        try:
            self.conn.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS if wait else 0}")
            return not self.value("PRAGMA wal_checkpoint(TRUNCATE)", ())
        except StateBusy:
            return False
        finally:
            self.conn.execute(f"PRAGMA busy_timeout = {0 if self._busy else _BUSY_TIMEOUT_MS}")

    async def rewrite(self) -> None:
        """Rewrite the file, as the unused part of its pages keeps copies of what SQLite moved.

        It takes as much room as the file.
        """
        self.execute("VACUUM", ())

    def close(self) -> None:
        """Close the file."""
        self._db.close()


class Translated:
    """Raises errors of SQLite and of the system as a StateError that names the file.

    A class, as each statement is within it and a generator takes three times as long.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, trace: object) -> None:
        path = self._path
        if isinstance(error, sqlite3.OperationalError):
            if "locked" in str(error) or "busy" in str(error):
                raise StateBusy(f"{path}: is locked by another process") from error
            raise StateError(f"{path}: {error}") from error
        if isinstance(error, sqlite3.DatabaseError):
            if "not a database" in str(error):
                text = f"{path}: is not a state file; name another one in `state`"
                raise StateError(text) from error
            raise StateError(f"{path}: {error}") from error
        if isinstance(error, OSError):
            raise StateError(f"{path}: {error.strerror}") from error


def _check_sqlite(version: tuple[int, int, int]) -> None:
    if version < _OLDEST_SQLITE:
        found = ".".join(map(str, version))
        raise StateError(f"SQLite 3.39 or later is needed; this Python has {found}")


def is_file_there(path: Path) -> bool:
    """Whether there is a state file at a path. Raise StateError."""
    with Translated(path):
        return path.exists() and path.stat().st_size > 0


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and inode of the file at a path."""
    with Translated(path):
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
    with Translated(path):
        if migrate:
            _roll_back(path)
    with Translated(path), closing(_read_only(path)) as db:
        if check and (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise StateError(
                f"{path}: is corrupt ({found}); restore a backup, or move it away to start again"
            )
        is_backup = db.execute("PRAGMA user_version").fetchone()[0] == BACKUP
        applied = {migration.name for migration in migrations.applied(db)}
        # sqlite-utils creates its own table first; a process may have died after that.
        tables = set(db.table_names()) - {migrations.migrations_table, "sqlite_sequence"}
    if tables and not applied:
        raise StateError(f"{path}: is a database, but not a state file of alerter")
    if is_backup and not backup:
        raise StateError(
            f"{path}: is a backup; put it in place with `alerter restore`, which repeats no alert"
        )
    check_version(str(path), applied, migrate=migrate)


def check_version(name: str, applied: Collection[str], *, migrate: bool) -> None:
    """Raise StateError where a newer alerter has migrated a database, or, else, an older one."""
    ours = names_of_migrations()
    if set(applied) - ours:
        raise StateError(f"{name}: was written by a newer alerter; install that version again")
    if ours - set(applied) and not migrate:
        raise StateError(
            f"{name}: has an older version; restart the service, which brings it up to date"
        )
