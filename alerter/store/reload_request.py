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
    """A daemon's answer: whether the config is in force, and faults or what needs a restart.

    `taken` is None while the daemon is at it. `worker`: its name in a cluster.
    """

    request: str
    taken: bool | None = None
    texts: tuple[str, ...] = ()
    worker: str = ""


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
    lock.put_note(Note.ANSWER, json.dumps(asdict(answer)).encode(), answer.worker)


def get_reload_answers(lock: Lock, request: str) -> dict[str, ReloadAnswer]:
    """Return the answers to a request that there are yet, by the worker's name. Raise StateError.

    The name is empty where there is no cluster.
    """
    answers = {}
    for note in lock.get_notes(Note.ANSWER):
        found: dict[str, Any] = {}
        with suppress(ValueError):  # half written, or cut
            found = json.loads(note)
        if found.get("request") == request:
            worker = found.get("worker", "")
            answers[worker] = ReloadAnswer(request, found["taken"], tuple(found["texts"]), worker)
    return answers


def is_daemons(lock: Lock) -> bool:
    """Return whether a daemon has the lock, or had it when it crashed. Raise StateError."""
    return lock.recorded_holder() is Holder.RUN
