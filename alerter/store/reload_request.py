"""A request to reload and its answer, as notes beside the lock of the daemon.

It reaches the daemon from another container or user namespace too, where a signal would not, and no
other process that has the daemon's old process id by now.
"""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from alerter.store.file_lock import Holder, Note
from alerter.store.lock import Lock


@dataclass(frozen=True, slots=True)
class ReloadAnswer:
    """The daemon's answer: whether the config is in force, and faults or what needs a restart.

    `taken` is None while the daemon is at it.
    """

    request: str
    taken: bool | None = None
    texts: tuple[str, ...] = ()


def request_reload(lock: Lock) -> str | None:
    """Ask the daemon to reload, and return the id of the request; None if no daemon runs.

    After a crash the daemon may seem to run; then there is no answer. Raise StateError.
    """
    if not is_daemons(lock):
        return None
    request = secrets.token_hex(8)
    lock.put_note(Note.REQUEST, request.encode())
    return request


def get_requested_reload(lock: Lock) -> str:
    """Return the id of the last request; empty where there is none. Raise StateError."""
    return lock.get_note(Note.REQUEST).decode()


def put_reload_answer(lock: Lock, answer: ReloadAnswer) -> None:
    """Answer a request. Raise StateError."""
    lock.put_note(Note.ANSWER, json.dumps(asdict(answer)).encode())


def get_reload_answer(lock: Lock, request: str) -> ReloadAnswer | None:
    """Return the answer to a request; None where there is none yet. Raise StateError."""
    found: dict[str, Any] = {}
    with suppress(ValueError):  # half written, or cut
        found = json.loads(lock.get_note(Note.ANSWER))
    if found.get("request") != request:
        return None
    return ReloadAnswer(request, found["taken"], tuple(found["texts"]))


def is_daemons(lock: Lock) -> bool:
    """Return whether a daemon has the lock, or had it when it crashed. Raise StateError."""
    return lock.recorded_holder() is Holder.RUN
