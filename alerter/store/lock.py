"""The lock of the database: only the process that holds it sends messages."""

import socket
from pathlib import Path
from typing import Protocol, Self

from alerter.config.state import PostgresUrl
from alerter.store.file_lock import FileLock, Holder, Note


class Lock(Protocol):
    """A lock that its process takes when it begins to send, and that ends with the process."""

    def acquire(self, holder: Holder) -> Holder | None:
        """Take the lock and return None, or return the kind of process that holds it."""

    def hold(self, holder: Holder) -> bool:
        """Return True with the lock held; take it again if it was lost.

        Return False if another process took it first.
        """

    def ask(self) -> None:
        """Ask the holder of the lock to release it, as a backfill does. Raise StateError."""

    def is_asked_for(self) -> bool:
        """Whether another process has asked for the lock since it was taken."""

    def release(self) -> None:
        """Release the lock."""

    def recorded_holder(self) -> Holder | None:
        """Return what kind of process has the lock; None for none."""

    def is_held(self) -> bool:
        """Return whether a process holds the lock."""

    def get_note(self, note: Note) -> bytes:
        """Return a note; empty where there is none. Raise StateError."""

    def get_notes(self, note: Note) -> list[bytes]:
        """Return this note of every process that has written one. Raise StateError."""

    def put_note(self, note: Note, content: bytes, owner: str = "") -> None:
        """Write a note; that of a request deletes the answers to the last one. Raise StateError.

        `owner`: the process that answers, where there may be several.
        """

    def open_wake(self) -> socket.socket | None:
        """Return a socket that can be read after each request, to be closed by the caller.

        None where there is none: then requests have to be looked for.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def lock_of(database: Path | PostgresUrl) -> Lock:
    """Return the lock of a database, which is not taken yet."""
    if isinstance(database, Path):
        return FileLock(database)
    from alerter.store.postgres_lock import PostgresLock  # noqa: PLC0415 - needs the extra

    return PostgresLock(database)
