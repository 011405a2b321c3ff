"""The lock beside the state file: only the process that holds it sends messages."""

import fcntl
import os
import socket
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Self

from alerter.errors import StateError

# Another process writes this after the holder's name to ask for the lock.
_ASKED = b"asked"
_ASKED_AT = 16


class Holder(StrEnum):
    """What kind of process holds the lock: alone, or as one `WORKER` of a cluster."""

    RUN = "run"
    WORKER = "worker"
    BACKFILL = "backfill"


class Note(StrEnum):
    """What processes tell each other beside the lock: a request to reload, and its answer."""

    REQUEST = "request"
    ANSWER = "answer"


# Where each note is in the file, behind what `FileLock` writes, and the most that it takes.
_NOTES = {Note.REQUEST: (32, 32), Note.ANSWER: (64, 64 * 1024)}


def real_path(path: Path) -> Path:
    """Return a path without symbolic links, so that a state file has one lock and one marker."""
    return Path(os.path.realpath(path))


def lock_path(state: Path) -> Path:
    """Return the lock file of a state file."""
    state = real_path(state)
    return state.with_name(state.name + ".lock")


class FileLock:
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

    def recorded_holder(self) -> Holder | None:
        """Return what kind of process has the lock, or had it when it crashed; None for none."""
        found = self._read(0, len(Holder.BACKFILL)).rstrip(b"\0")
        return next((kind for kind in Holder if found.startswith(kind.encode())), None)

    def is_held(self) -> bool:
        """Return whether a process holds the lock. Ask rarely: it takes the lock for a moment."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def get_note(self, note: Note) -> bytes:
        """Return a note; empty where there is none. Raise StateError."""
        at, most = _NOTES[note]
        return self._read(at, most).rstrip(b"\0")

    def get_notes(self, note: Note) -> list[bytes]:
        """Return the note, if there is one. Raise StateError."""
        return [found] if (found := self.get_note(note)) else []

    def put_note(self, note: Note, content: bytes, owner: str = "") -> None:  # noqa: ARG002 - one process
        """Write a note; that of a request deletes the answer to the last one. Raise StateError."""
        at, most = _NOTES[note]
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.ftruncate(fd, at)
                os.pwrite(fd, content[:most], at)
            finally:
                os.close(fd)
        except OSError as error:
            raise StateError(
                f"{self._path}: cannot be written: {error.strerror};"
                " reload as the user that runs alerter"
            ) from error
        if note is Note.REQUEST:
            self._wake()

    def open_wake(self) -> socket.socket | None:
        """Return a socket that can be read after each request; None where there is none.

        Its address is in Linux's abstract namespace, so that no file is beside the state file:
        https://man7.org/linux/man-pages/man7/unix.7.html
        """
        wake = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        wake.setblocking(False)
        try:
            wake.bind(self._wake_address())
        except OSError:
            wake.close()
            return None
        return wake

    def _wake(self) -> None:
        """Have the process read the request at once; one that cannot be reached looks for it."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(b"\n", self._wake_address())

    def _wake_address(self) -> bytes:
        about = self._path.stat()
        return f"\0alerter-{about.st_dev}-{about.st_ino}".encode()

    def _read(self, at: int, most: int) -> bytes:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return os.pread(fd, most, at)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StateError(f"{self._path}: cannot be read: {error.strerror}") from error

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
