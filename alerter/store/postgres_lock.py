"""The lock of a PostgreSQL database: advisory locks of a session, and notes in a table."""

from contextlib import suppress
from typing import Any, Self

import psycopg

from alerter.config.state import PostgresUrl
from alerter.errors import StateError
from alerter.store.file_lock import Holder, Note
from alerter.store.postgres_connection import PostgresConnection, connect, lock_key, postgres_errors

# Locks by their names: the one that sends, and beside it a backfill that does, or who asks for it.
_SENDER, _BACKFILL, _ASKED = "sender", "backfill", "asked"
# https://www.postgresql.org/docs/current/view-pg-locks.html: the key of 64 bits is in two parts.
_IS_LOCKED = """
SELECT EXISTS (SELECT 1 FROM pg_locks
  WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND classid::bigint = %s AND objid::bigint = %s)
"""
# The notes of one kind, each with the name of its owner behind a colon.
_OF = "(name = %s OR starts_with(name, %s || ':'))"


class PostgresLock:
    """Advisory locks on a connection of its own, which the server releases when it ends."""

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url
        self._conn: PostgresConnection | None = None
        self._schema = ""
        self._holds = False

    def acquire(self, holder: Holder) -> Holder | None:
        """Take the lock and return None, or return the kind of process that holds it."""
        shared = "_shared" if holder is Holder.WORKER else ""
        if not self._value(f"SELECT pg_try_advisory_lock{shared}(%s)", self._key(_SENDER)):
            return self.recorded_holder() or Holder.RUN
        self._value("SELECT pg_advisory_unlock_shared(%s)", self._key(_ASKED))
        if holder is Holder.BACKFILL:
            self._value("SELECT pg_try_advisory_lock(%s)", self._key(_BACKFILL))
        self._holds = True
        return None

    def hold(self, holder: Holder) -> bool:
        """Return True with the lock held; take it again if its connection was lost.

        Return False if another process took it first. Raise StateError while the server is away.
        """
        if self._holds and self._conn is not None and not self._conn.closed:
            with suppress(StateError):
                self._value("SELECT 1")
                return True
        return self.acquire(holder) is None

    def ask(self) -> None:
        """Ask the holder of the lock to release it, for as long as this process waits for it."""
        self._value("SELECT pg_try_advisory_lock_shared(%s)", self._key(_ASKED))

    def is_asked_for(self) -> bool:
        """Whether another process waits for the lock."""
        return self._holds and self._is_locked(_ASKED)

    def release(self) -> None:
        """Release the lock."""
        self._holds = False
        if self._conn is not None:
            with suppress(psycopg.Error):
                self._conn.execute("SELECT pg_advisory_unlock_all()")  # a close takes a moment
                self._conn.close()
            self._conn = None

    def recorded_holder(self) -> Holder | None:
        """Return what kind of process has the lock; None for none."""
        if not self.is_held():
            return None
        return Holder.BACKFILL if self._is_locked(_BACKFILL) else Holder.RUN

    def is_held(self) -> bool:
        """Return whether another process holds the lock."""
        return self._is_locked(_SENDER)

    def get_note(self, note: Note) -> bytes:
        """Return a note; empty where there is none. Raise StateError."""
        if not self._value("SELECT to_regclass('notes') IS NOT NULL"):
            return b""
        found: str = self._value("SELECT value FROM notes WHERE name = %s", note) or ""
        return found.encode()

    def get_notes(self, note: Note) -> list[bytes]:
        """Return this note of every process that has written one. Raise StateError."""
        with postgres_errors(str(self._url)):
            rows = self._connected().execute(f"SELECT value FROM notes WHERE {_OF}", [note, note])
            return [str(value).encode() for (value,) in rows]

    def put_note(self, note: Note, content: bytes, owner: str = "") -> None:
        """Write a note; that of a request deletes the answers to the last one. Raise StateError."""
        put = (
            "INSERT INTO notes (name, value) VALUES (%s, %s) ON CONFLICT (name)"
            " DO UPDATE SET value = excluded.value RETURNING name"
        )
        values = [f"{note}:{owner}" if owner else note, content.decode()]
        if note is Note.REQUEST:
            answers = f"WITH answers AS (DELETE FROM notes WHERE {_OF})"
            self._value(f"{answers} {put}", Note.ANSWER, Note.ANSWER, *values)
        else:
            self._value(put, *values)

    def open_wake(self) -> None:
        """Return None: a worker asks the server each second anyway."""

    def _is_locked(self, name: str) -> bool:
        key = self._key(name) % 2**64
        return bool(self._value(_IS_LOCKED, key >> 32, key % 2**32))

    def _key(self, name: str) -> int:
        self._connected()
        return lock_key(self._schema, name)

    def _connected(self) -> PostgresConnection:
        if self._conn is None or self._conn.closed:
            self._holds = False
            self._conn = connect(self._url)
            with postgres_errors(str(self._url)):
                [schema] = self._conn.execute("SELECT current_schema()").fetchone() or [""]
            self._schema = str(schema)
        return self._conn

    def _value(self, sql: str, *params: Any) -> Any:
        with postgres_errors(str(self._url)):
            row = self._connected().execute(sql, params).fetchone()
        return row[0] if row else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
