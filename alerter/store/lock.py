"""The lock beside the state file: only the process that holds it sends messages."""

import fcntl
import os
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

from alerter.errors import StateError

# Another process writes this after the holder's name to ask for the lock.
_ASKED = b"asked"
_ASKED_AT = 16


class Holder(StrEnum):
    """What kind of process holds the lock."""

    RUN = "run"
    BACKFILL = "backfill"


def real_path(path: Path) -> Path:
    """Return a path without symbolic links, so that a state file has one lock and one marker."""
    return Path(os.path.realpath(path))


def lock_path(state: Path) -> Path:
    """Return the lock file of a state file."""
    state = real_path(state)
    return state.with_name(state.name + ".lock")


class Lock:
    """An exclusive lock on `<state>.lock`, which the kernel releases when the process ends.

    It is never on the state file: closing any descriptor of that file drops SQLite's own locks,
    https://www.sqlite.org/howtocorrupt.html.
    """

    def __init__(self, state: Path) -> None:
        self._path = lock_path(state)
        self._fd: int | None = None

    def acquire(self, holder: Holder) -> Holder | None:
        """Take the lock and return None, or return the kind of process that holds it.

        Raise StateError if the file cannot be opened or written.
        """
        while True:
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held_by = os.pread(fd, _ASKED_AT, 0).rstrip(b"\0").decode()
                os.close(fd)
                return Holder.BACKFILL if held_by == Holder.BACKFILL else Holder.RUN
            if self._is_at_path(fd):
                break
            os.close(fd)  # deleted since it was opened: another process may lock a new file
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, holder.encode(), 0)
        except OSError as error:
            os.close(fd)
            raise StateError(f"{self._path}: cannot be written: {error.strerror}") from error
        self.release()
        self._fd = fd
        return None

    def hold(self, holder: Holder) -> bool:
        """Return True with the lock held; take it again if its file was deleted.

        Return False if another process took it first.
        """
        if self._fd is not None and self._is_at_path(self._fd):
            return True
        return self.acquire(holder) is None

    def ask(self) -> None:
        """Ask the holder of the lock to release it, as a backfill does. Raise StateError."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.pwrite(fd, _ASKED, _ASKED_AT)
            finally:
                os.close(fd)
        except OSError as error:
            raise StateError(f"{self._path}: cannot be written: {error.strerror}") from error

    def is_asked_for(self) -> bool:
        """Whether another process has asked for the lock since it was taken."""
        return self._fd is not None and os.pread(self._fd, len(_ASKED), _ASKED_AT) == _ASKED

    def release(self) -> None:
        """Release the lock; the empty file says that no process has it."""
        if self._fd is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{self._path}: cannot be opened: {error.strerror}") from error

    def _is_at_path(self, fd: int) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(fd), self._path.stat())
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
