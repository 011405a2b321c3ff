"""Reload: a running daemon takes a changed config as a whole, or not at all."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import ConfigError, StateError
from alerter.scopes import Scope
from alerter.service.ownership import is_set_within
from alerter.store import Lock
from alerter.store.reload_request import ReloadAnswer, get_requested_reload, put_reload_answer
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# Seconds between two looks for a request: where it wakes the process, and where it does not.
_LOOK_EVERY, _LOOK_OFTEN = 5.0, 1.0
_LATER = "the changed config comes into force later, as the database cannot be written"


@dataclass(slots=True)
class Reload:
    """The reload that was asked for last, until its config is in force or refused.

    SIGHUP or `alerter reload` asks for it; `request` is the id of the latter's. `worker`: the name
    of this process in a cluster. `kept` is what the changed config cannot change without a
    restart. `is_read`: whether the config that comes into force next was read from its files; else
    only sites of accounts have changed. `late_since` is when the database first kept the config
    from coming into force (monotonic).
    """

    asked: asyncio.Event
    load: Callable[[], Config] | None
    lock: Lock | None = None
    request: str = ""
    worker: str = ""
    kept: tuple[str, ...] = ()
    is_read: bool = False
    late_since: float | None = None

    @property
    def _scope(self) -> str:
        return Scope.CONFIG.of(self.worker) if self.worker else Scope.CONFIG

    def ignore_requests_until_now(self, lock: Lock) -> None:
        """Take the last request as answered: the config was read since. Raise StateError."""
        self.request = get_requested_reload(lock)

    async def watch_requests(self, lock: Lock, clock: Clock) -> None:
        """Wait for requests of `alerter reload`, for as long as the daemon runs."""
        self.lock = lock
        with _woken(lock) as (awake, every):
            while True:
                self._look_for_request(lock)
                await is_set_within(awake, clock.until_next(every))
                awake.clear()

    def _look_for_request(self, lock: Lock) -> None:
        with suppress(StateError):
            request = get_requested_reload(lock)
            if request and request != self.request:
                self.request = request
                self.answer(taken=None)
                self.asked.set()

    def answer(self, texts: Sequence[str] = (), *, taken: bool | None) -> None:
        """Answer the request of `alerter reload`, if there is one."""
        if self.lock and self.request:
            with suppress(StateError):  # it gives up after a while
                answer = ReloadAnswer(self.request, taken, tuple(texts), self.worker)
                put_reload_answer(self.lock, answer)

    def take(self) -> None:
        """Note that the changed config is in force."""
        self.late_since = None
        if self.is_read:
            self.is_read = False
            self.answer(self.kept, taken=True)

    def put_off(self, error: StateError, config: Config, clock: Clock, troubles: Troubles) -> None:
        """Try the reload again later; begin trouble once that lasts for `trouble_after`."""
        self.asked.set()
        now = clock.monotonic()
        if self.late_since is None:
            self.late_since = now
            log.warning("%s: %s", _LATER, error)
        self.answer([f"{_LATER}: {error}"], taken=False)
        if now - self.late_since >= config.poll.trouble_after.total_seconds():
            with suppress(StateError):  # then people are notified directly
                troubles.begin(self._scope, str(error))

    def read_again(self, config: Config, troubles: Troubles) -> Config | None:
        """Return the config as its files are now, or None where they have a fault.

        A fault is logged, and is trouble.
        """
        if self.load is None:
            return None
        try:
            changed = self.load()
        except ConfigError as error:
            self.late_since = None
            _refuse(error.problems, self._scope, troubles)
            self.answer(error.problems, taken=False)
            return None
        self.is_read = True
        kept = until_restart(config, changed)
        self.kept = tuple(
            f"{Config.model_fields[name].alias or name} has changed in the config: it needs a"
            " restart, and stays as it was until then"
            for name in kept
        )
        for text in self.kept:
            log.warning(text)
        return changed.model_copy(update=kept)


@contextmanager
def _woken(lock: Lock) -> Iterator[tuple[asyncio.Event, float]]:
    """Yield an event that requests set, if they can, and after how many seconds to look anyway."""
    awake, loop, wake = asyncio.Event(), asyncio.get_running_loop(), lock.open_wake()
    if wake is None:
        yield awake, _LOOK_OFTEN
        return

    def read() -> None:
        with suppress(BlockingIOError):
            wake.recv(1)
        awake.set()

    loop.add_reader(wake, read)
    try:
        yield awake, _LOOK_EVERY
    finally:
        loop.remove_reader(wake)
        wake.close()


def until_restart(old: Config, new: Config) -> dict[str, Any]:
    """Return the fields that only a restart changes, with their old values."""
    kept: dict[str, Any] = {}
    if new.database != old.database:
        place = {"file": old.state_file.file, "url": old.state_file.url}
        kept["state_file"] = new.state_file.model_copy(update=place)
    if new.web != old.web:
        kept["web"] = old.web
    if new.smtp and old.smtp and new.smtp.host != old.smtp.host:
        # The whole table: the old host must not get the new password.
        kept["smtp"] = old.smtp
    return kept


def _refuse(problems: Sequence[str], scope: str, troubles: Troubles) -> None:
    for problem in problems:
        log.error("the changed config: %s", problem)
    log.error("the changed config is refused; the old one stays in force")
    try:
        troubles.begin(scope, "; ".join(problems))
    except StateError as error:
        log.error("no one can be notified of it now: %s", error)  # noqa: TRY400 - the text says it all
