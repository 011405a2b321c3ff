"""A request to reload and its answer, in the lock file of the daemon.

It reaches the daemon from another container or user namespace too, where a signal would not, and no
other process that has the daemon's old process id by now.
"""

import fcntl
import json
import os
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alerter.errors import StateError
from alerter.store.lock import Holder, lock_path

# Behind what `lock.Lock` writes.
_REQUEST_AT, _ANSWER_AT = 32, 64
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """The daemon's answer: whether the config is in force, and faults or what needs a restart.

    `taken` is None while the daemon is at it.
    """

    request: str
    taken: bool | None = None
    texts: tuple[str, ...] = ()


def request_reload(state: Path) -> str | None:
    """Ask the daemon to reload, and return the id of the request; None if no daemon runs.

    After a crash the daemon seems to run; then there is no answer. Raise StateError.
    """
    if not is_daemons(state):
        return None
    request = secrets.token_hex(8)
    _write(state, _REQUEST_AT, request.encode())
    return request


def get_requested_reload(state: Path) -> str:
    """Return the id of the last request; empty where there is none. Raise StateError."""
    return _read(state, _REQUEST_AT, _ANSWER_AT - _REQUEST_AT).rstrip(b"\0").decode()


def put_reload_answer(state: Path, answer: ReloadAnswer) -> None:
    """Answer a request. Raise StateError."""
    _write(state, _ANSWER_AT, json.dumps(asdict(answer)).encode()[:_LONGEST_ANSWER])


def get_reload_answer(state: Path, request: str) -> ReloadAnswer | None:
    """Return the answer to a request; None where there is none yet. Raise StateError."""
    found: dict[str, Any] = {}
    with suppress(ValueError):  # half written, or cut
        found = json.loads(_read(state, _ANSWER_AT, _LONGEST_ANSWER))
    if found.get("request") != request:
        return None
    return ReloadAnswer(request, found["taken"], tuple(found["texts"]))


def is_daemons(state: Path) -> bool:
    """Return whether a daemon has the lock, or had it when it crashed. Raise StateError."""
    return _read(state, 0, len(Holder.RUN)) == Holder.RUN.encode()


def is_locked(state: Path) -> bool:
    """Return whether a process holds the lock. Ask rarely: it takes the lock for a moment."""
    try:
        fd = os.open(lock_path(state), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _read(state: Path, at: int, most: int) -> bytes:
    path = lock_path(state)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(fd, most, at)
        finally:
            os.close(fd)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}") from error


def _write(state: Path, at: int, content: bytes) -> None:
    path = lock_path(state)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, at)
            os.pwrite(fd, content, at)
        finally:
            os.close(fd)
    except OSError as error:
        raise StateError(
            f"{path}: cannot be written: {error.strerror}; reload as the user that runs alerter"
        ) from error
