"""The engine of PostgreSQL: one connection, rebuilt by itself when the server is back."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from alerter.clock import ticks
from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy, StateError, StatePutBack
from alerter.scopes import EVERY_SCOPE
from alerter.store.lease import get_lease
from alerter.store.postgres_connection import (
    PostgresConnection,
    PostgresRow,
    connect,
    lock_key,
    needs_reconnect,
    postgres_errors,
)
from alerter.store.postgres_schema import CHANGES, applied_migrations, bring_up, table_names
from alerter.store.sql import Params, to_postgres
from alerter.store.sqlite import check_version

if TYPE_CHECKING:
    from alerter.store.progress import Progress

_SHORT_LOCK_TIMEOUT, _LONG_TIMEOUT = 20, 60_000  # milliseconds
# A server that is away costs a tenth of the time at most, however long each attempt takes.
_PAUSE = 9
_SHORTEST_PAUSE = 100_000_000  # nanoseconds
# What `progress.Progress` has noted.
_PROGRESS = "SELECT value FROM notes WHERE name = 'progress'"
_NOTE = "UPDATE notes SET value = %s WHERE name = 'progress'"


class Postgres:
    """A connection to a PostgreSQL database.

    While the server is away, a call in so many raises StateBusy after a short wait, and all others
    at once. A transaction that has lost its connection raises StateBusy until its end.
    """

    # The server may be killed as any process, and would lose the mark of a message that was sent.
    relaxes = False
    shares_commits = False

    def __init__(self, url: PostgresUrl, *, read_only: bool = False) -> None:
        self.name = str(url)
        self.changed = 0
        self._url = url
        self._read_only = read_only
        self._conn: PostgresConnection | None = None
        self._again_at = 0
        # Why the last attempt to connect failed: the same until the next, to be logged once.
        self._failure = StateError()
        self._schema = ""
        self._durable = "on"
        self._begun = False
        self._busy = False
        self._changed_before = 0
        self._counted: int | None = None
        self._own = 0
        self._progress: Progress | None = None

    @classmethod
    def open(cls, url: PostgresUrl, *, migrate: bool) -> Self:
        """Open the database for writing; see `State.open`."""
        if migrate:
            bring_up(url)
        engine = cls(url)
        if not engine.holds_state():
            engine.close()
            raise StateError(f"{url}: there is no state yet; `alerter run` creates it")
        return engine

    @classmethod
    def read(cls, url: PostgresUrl) -> Self | None:
        """Open the database for reading; None where it holds no state yet. Raise StateError."""
        engine = cls(url, read_only=True)
        if engine.holds_state():
            return engine
        engine.close()
        return None

    def holds_state(self) -> bool:
        """Whether alerter has made its tables there."""
        with postgres_errors(self.name):
            return bool(applied_migrations(self._connected()))

    def _connected(self) -> PostgresConnection:
        """Return the connection, made again if it was lost outside a transaction."""
        if self._conn is not None and not self._conn.closed:
            return self._conn
        if self._begun:
            raise StateBusy(f"{self.name}: the connection was lost within a transaction")
        began = ticks()
        if began < self._again_at:
            raise copy(self._failure)
        try:
            self._conn = self._prepared(connect(self._url, read_only=self._read_only))
        except StateError as error:
            self._failure = error
            took = ticks() - began
            self._again_at = ticks() + max(_PAUSE * took, _SHORTEST_PAUSE)
            raise
        return self._conn

    def _prepared(self, conn: PostgresConnection) -> PostgresConnection:
        """Ask a new connection for what transactions need; commits of others wait for no disk."""
        try:
            with postgres_errors(self.name):
                if applied := applied_migrations(conn):
                    check_version(self.name, applied, migrate=False)
                    self._check_progress(conn)
                found = conn.execute(
                    "SELECT current_schema(), current_setting('synchronous_commit'),"
                    " set_config('synchronous_commit', 'off', false)"
                ).fetchone()
        except StateError:
            conn.close()
            raise
        self._schema, durable, _ = found or ("", "on", "")
        self._durable = "on" if durable == "off" else durable
        return conn

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._begun

    def begin(self, scopes: Collection[str], *, relaxed: bool) -> None:  # noqa: ARG002 - it never is
        """Begin a transaction, and take the locks of its scopes, in one order, before it reads.

        READ COMMITTED: each statement sees what is committed, so also what others wrote before
        they released these locks. Once a lock was waited for in vain, also one of a table, waits
        are short until a transaction has written, as each of them blocks the loop.
        """
        conn = self._connected()
        steps = ["BEGIN ISOLATION LEVEL READ COMMITTED"]
        steps.append(f"SET LOCAL synchronous_commit = {self._durable}")
        if self._busy:
            steps.append(f"SET LOCAL lock_timeout = {_SHORT_LOCK_TIMEOUT}")
        lease = get_lease()
        steps += [*self._locks(scopes), *([lease.query] if lease else [])]
        self._begun, self._changed_before = True, self.changed
        conn.patient = EVERY_SCOPE in scopes
        try:
            with postgres_errors(self.name):
                found = conn.execute("; ".join(steps), prepare=False)
                if lease:
                    while found.nextset():
                        pass
                    lease.confirm(is_held=found.fetchone() is not None)
        except BaseException as error:
            self._busy = self._busy or isinstance(error, StateBusy)
            self.rollback()
            raise

    def _locks(self, scopes: Collection[str]) -> list[str]:
        """Return the statements that take the locks of scopes.

        The lock of all scopes is one: the server has room for some thousands only. Who has it may
        change every site, and so is given the time.
        """
        everything = lock_key(self._schema, EVERY_SCOPE)
        if EVERY_SCOPE in scopes:
            return [
                f"SET LOCAL lock_timeout = {_LONG_TIMEOUT}",
                f"SET LOCAL statement_timeout = {_LONG_TIMEOUT}",
                f"SET LOCAL idle_in_transaction_session_timeout = {_LONG_TIMEOUT}",
                f"SELECT pg_advisory_xact_lock({everything})",
            ]
        keys = sorted({lock_key(self._schema, scope) for scope in scopes})
        if not keys:
            return []
        locks = ", ".join(f"pg_advisory_xact_lock({key})" for key in keys)
        return [f"SELECT pg_advisory_xact_lock_shared({everything})", f"SELECT {locks}"]

    def commit(self) -> None:
        """Commit the transaction; roll it back where that fails."""
        conn = self._conn
        if conn and conn.info.transaction_status is TransactionStatus.INERROR:
            self.rollback()  # a COMMIT would do so too, without an error
            raise StateError(f"{self.name}: a statement of the transaction failed")
        try:
            conn = self._connected()
            changes = self.changed > self._changed_before
            count = f"; SELECT nextval('{CHANGES}')" if changes else ""
            with postgres_errors(self.name):
                conn.execute(f"COMMIT{count}", prepare=False)
            self._own += changes
            self._busy = self._busy and not changes
        except BaseException:
            self.rollback()
            raise
        self._begun = conn.patient = False

    def rollback(self) -> None:
        """Roll the transaction back; a lost connection has done so."""
        self._begun = False
        if self._conn is not None and not self._conn.closed:
            self._conn.patient = False
            try:
                self._conn.execute("ROLLBACK", prepare=False)
            except psycopg.Error:
                self._conn.close()

    def rows(self, sql: str, params: Params) -> list[dict[str, Any]]:
        """Return the rows that a query finds."""
        with postgres_errors(self.name):
            found = self._run(sql, params)
            values, result = found.fetchall(), found.pgresult
        if not values or result is None:
            return []
        # `description` would also look up the types of the columns, which takes longer.
        names = [(result.fname(number) or b"").decode() for number in range(result.nfields)]
        return [dict(zip(names, row, strict=True)) for row in values]

    def value(self, sql: str, params: Params) -> Any:
        """Return the first column of the first row, or None."""
        with postgres_errors(self.name):
            row = self._run(sql, params).fetchone()
        return row[0] if row else None

    def execute(self, sql: str, params: Params) -> int:
        """Run one statement; return the number of changed rows."""
        if self._begun:
            with postgres_errors(self.name):
                return self._run(sql, params).rowcount
        self.begin((), relaxed=False)
        try:
            changed = self.execute(sql, params)
        except BaseException:
            self.rollback()
            raise
        self.commit()
        return changed

    def execute_many(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run one statement for each of these rows."""
        if not rows:
            return
        with postgres_errors(self.name), self._calling() as conn:
            cursor = conn.cursor()
            cursor.executemany(to_postgres(sql), rows)
            self.changed += max(cursor.rowcount, 0)

    def write_relaxed(self, sql: str, params: Params) -> int:
        """Run one statement outside a transaction without waiting for the disk.

        Other processes do not look for what has changed by it.
        """
        if self._busy:
            return self.execute(sql, params)  # its wait for a lock is short
        with postgres_errors(self.name):
            return self._run(sql, params).rowcount

    def _run(self, sql: str, params: Params) -> psycopg.Cursor[PostgresRow]:
        with self._calling() as conn:
            cursor = conn.execute(to_postgres(sql), params)
        if not (cursor.statusmessage or "").startswith("SELECT"):
            self.changed += max(cursor.rowcount, 0)
        return cursor

    @contextmanager
    def _calling(self) -> Iterator[PostgresConnection]:
        """Yield the connection, and close it where only a new one helps."""
        conn = self._connected()
        try:
            yield conn
        except psycopg.Error as error:
            self._busy = self._busy or isinstance(error, errors.LockNotAvailable)
            if needs_reconnect(error) and not self._read_only:
                conn.close()
            raise

    def touch(self) -> None:
        """Write a row as it is."""
        self.execute("UPDATE scrubs SET owed = owed", ())

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since the last call."""
        before, own = self._counted, self._own
        self._counted, self._own = self.value(f"SELECT last_value FROM {CHANGES}", ()), 0
        return before is None or self._counted != before + own

    def guard(self, progress: "Progress") -> None:
        """Check each connection, also the present one: a database is restored without any."""
        self._progress = progress
        with postgres_errors(self.name):
            self._check_progress(self._connected())

    def _check_progress(self, conn: PostgresConnection) -> None:
        if self._progress is None:
            return
        noted = conn.execute(_PROGRESS).fetchone()
        try:
            self._progress.check(noted[0] if noted else "", self.name)
        except StatePutBack:
            if not self._read_only:
                conn.execute(_NOTE, [self._progress.PUT_BACK])
            raise

    def is_in_place(self) -> bool:
        """Return True: `restore` replaces no database."""
        return True

    def empty_log(self, *, wait: bool) -> bool:  # noqa: ARG002 - there is nothing to wait for
        """Return True: the log is the server's, and is as old as its settings allow."""
        return True

    async def rewrite(self) -> None:
        """Vacuum the tables on a connection of its own; it takes long, and blocks nothing."""
        with postgres_errors(self.name):
            conn = await psycopg.AsyncConnection.connect(self._url.url, autocommit=True)
            async with conn:
                await conn.execute(f"VACUUM (ANALYZE) {', '.join(table_names())}")

    def close(self) -> None:
        """Close the connection."""
        with suppress(psycopg.Error):
            if self._conn is not None:
                self._conn.close()
