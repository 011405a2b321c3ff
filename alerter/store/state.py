"""The database: its state as a whole, opened with the engine that the config names."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from alerter.clock import ticks
from alerter.config.state import PostgresUrl
from alerter.counters import counts
from alerter.errors import StateBusy
from alerter.scopes import EVERY_SCOPE, is_lock
from alerter.store.engine import Engine
from alerter.store.lease import get_lease
from alerter.store.sql import Params
from alerter.store.sqlite import Sqlite, is_file_there

# Wakes the workers of these destinations, after a commit.
Wake = Callable[[Iterable[str]], None]


class State:
    """An open database. Every error of its engine is raised as a StateError."""

    def __init__(self, engine: Engine, database: Path | PostgresUrl) -> None:
        self.engine = engine
        self.database = database
        self._behind = False
        self._scopes: frozenset[str] = frozenset()
        # The number of transactions that changed something: while it grows, writing works.
        self.written = 0

    @classmethod
    def open(cls, database: Path | PostgresUrl, *, migrate: bool) -> Self:
        """Open the database for writing.

        `migrate`: create it or bring it up to date; only the holder of the lock may do so.
        Raise StateError, and leave the database unchanged, if it is not alerter's, is corrupt or
        has another version, or if its engine is too old.
        """
        return cls(_engine_for(database).open(database, migrate=migrate), database)

    @classmethod
    def read(cls, database: Path | PostgresUrl) -> Self:
        """Open the database for reading; without one, an empty one. Raise StateError."""
        engine = _engine_for(database).read(database)
        return cls.empty(database) if engine is None else cls(engine, database)

    @classmethod
    def empty(cls, database: Path | PostgresUrl = Path()) -> Self:
        """Return an empty database in memory that takes no writes; errors name it as given."""
        return cls(Sqlite.empty(Path(str(database))), database)

    @classmethod
    def in_memory(cls, database: Path | PostgresUrl) -> Self:
        """Return an empty database in memory, which ends with it; errors name it as given."""
        return cls(Sqlite.in_memory(Path(str(database))), database)

    def close(self) -> None:
        """Close the connection."""
        self.engine.close()

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
            if self.engine.in_transaction:
                yield
                return
            with self._begun(relaxed=relaxed):
                yield

    @contextmanager
    def _holding(self, scopes: Sequence[str]) -> Iterator[None]:
        held = self._scopes
        new = set() if EVERY_SCOPE in held else set(scopes) - held
        if unknown := [scope for scope in new if not is_lock(scope)]:
            raise ValueError(f"unknown scopes of a transaction: {unknown}")
        if new and self.engine.in_transaction:
            raise ValueError(f"the outer transaction does not name {sorted(new)}")
        self._scopes = held | new
        try:
            yield
        finally:
            self._scopes = held

    @contextmanager
    def _begun(self, *, relaxed: bool) -> Iterator[None]:
        changed, relaxed = self.engine.changed, relaxed and self.engine.relaxes
        with _timed():
            self.engine.begin(self._scopes, relaxed=relaxed)
            try:
                yield
            except BaseException:
                self.engine.rollback()
                raise
            self.engine.commit()
        self._behind = self._behind or relaxed
        self.written += self.engine.changed > changed

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is written inside if that fails, but not the rest of the open transaction.

        After some errors, such as a full disk, the engine has undone all of it.
        """
        self.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self.engine.in_transaction:
                self.execute("ROLLBACK TO part")
                self.execute("RELEASE part")
            raise
        self.execute("RELEASE part")

    def flush(self) -> None:
        """Wait until relaxed transactions are on disk. Raise StateError."""
        if self._behind:
            self.prove_writable()
            self._behind = False

    def prove_writable(self) -> None:
        """Write to the database without changing anything. Raise StateError if that fails."""
        with self.transaction():
            self.engine.touch()

    def confirm_lease(self) -> None:
        """Confirm the lease of this task, right before a call, unless that was just done.

        Raise LeaseLost where another worker has taken over, and StateError.
        """
        lease = get_lease()
        if lease and not lease.is_confirmed:
            with self.transaction():
                pass

    def is_in_place(self) -> bool:
        """Whether this is still the database that the config names; `restore` replaces a file."""
        return self.engine.is_in_place()

    def write_relaxed(self, sql: str, params: Params = ()) -> int:
        """Run one statement without waiting for the disk; return the number of changed rows.

        A power failure may undo it. Never call it within a transaction.
        """
        changed = self.engine.write_relaxed(sql, params)
        self.written += changed > 0
        return changed

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""
        return self.engine.changed_elsewhere()

    def owe_scrub(self) -> None:
        """Record, in the transaction that erases text, that `scrub` and a rebuild must follow."""
        self.execute("UPDATE scrubs SET owed = owed + 1, rebuilds_owed = rebuilds_owed + 1")

    def scrub(self, *, wait: bool = False) -> bool:
        """Remove erased text from the write-ahead log; return False if that is not possible yet.

        A later call, even after a crash, completes it. Never call it within a transaction.
        """
        if not (owed := self.value("SELECT owed FROM scrubs")):
            return True
        if not self.engine.empty_log(wait=wait):
            return False
        try:
            self.write_relaxed(
                "UPDATE scrubs SET owed = CASE WHEN owed > :done THEN owed - :done ELSE 0 END",
                {"done": owed},
            )
        except StateBusy:
            return False
        return True

    def rows(self, sql: str, params: Params = ()) -> list[dict[str, Any]]:
        """Return the rows that a query finds."""
        return self.engine.rows(sql, params)

    def row(self, sql: str, params: Params = ()) -> dict[str, Any] | None:
        """Return the first row that a query finds, or None."""
        return next(iter(self.engine.rows(sql, params)), None)

    def value(self, sql: str, params: Params = ()) -> Any:
        """Return the first column of the first row, or None."""
        return self.engine.value(sql, params)

    def execute(self, sql: str, params: Params = ()) -> int:
        """Run one statement, committed unless a transaction is open; return the changed rows."""
        return self.engine.execute(sql, params)

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of these rows. Call it within a transaction."""
        self.engine.execute_many(sql, rows)


def is_there(database: Path | PostgresUrl) -> bool:
    """Whether a database holds a state. Raise StateError."""
    if isinstance(database, Path):
        return is_file_there(database)
    with State.read(database) as state:
        return not isinstance(state.engine, Sqlite)


def _engine_for(database: Path | PostgresUrl) -> Any:
    """Return the engine of a database; what PostgreSQL needs is imported only where it is used."""
    if isinstance(database, Path):
        return Sqlite
    from alerter.store.postgres import Postgres  # noqa: PLC0415 - needs the extra `postgres`

    return Postgres


@contextmanager
def _timed() -> Iterator[None]:
    began = ticks()
    try:
        yield
    finally:
        counts["transactions"] += 1
        counts["transaction_ns"] += ticks() - began
