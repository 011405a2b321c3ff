"""Direct notification: while the database cannot be written, nothing can be queued."""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from math import inf
from uuid import uuid4

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import DeliveryError, RenderError, StateBusy, StateError, StatePutBack
from alerter.models import Alert, AlertKind, Form, Message, MessageItem
from alerter.notify.destination import Destination
from alerter.scopes import Scope
from alerter.store import State
from alerter.store.marker import Marker

log = logging.getLogger(__name__)

# A database that another process keeps locked is trouble after this long.
BUSY_FOR = timedelta(minutes=5)
_NOTIFY_EVERY = timedelta(hours=1).total_seconds()
# The wait after a notification that reached no destination.
_RETRY_AFTER = timedelta(minutes=5).total_seconds()
# Other work waits for this notification, and a mail server may take minutes.
_TIMEOUT = 30.0


class _Answer(Enum):
    """The result of a direct notification: accepted, its answer lost, or not accepted."""

    ACCEPTED = auto()
    LOST = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Notified:
    """A fault that people were notified of directly, and which destinations were reached.

    `written`: how many writes of the database had succeeded by then. `scope`: of the trouble.
    """

    since: datetime
    reason: str
    destinations: list[str]
    written: int = 0
    scope: str = Scope.STATE


@dataclass(slots=True)
class FailureRecord:
    """What people were notified of, and when they may be again (`next_at`, monotonic seconds).

    `marker` keeps it over a restart, beside the state file.
    """

    marker: Marker | None = None
    notified: Notified | None = field(init=False, default=None)
    next_at: float = -inf

    def __post_init__(self) -> None:
        if self.marker:
            self.notified = _parse_record(self.marker.text())

    def put(self, notified: Notified) -> None:
        """Record what people were notified of."""
        self.notified = notified
        text = json.dumps(
            asdict(notified) | {"since": notified.since.isoformat(), "written": 0},
            ensure_ascii=False,
        )
        if self.marker and not self.marker.write(text):
            log.warning("no folder has room to record who was notified; it is lost at a restart")

    def clear(self) -> None:
        """Forget the fault: its recovery is queued, or no one was notified of it."""
        self.notified = None
        if self.marker:
            self.marker.remove()


def _parse_record(text: str) -> Notified | None:
    """Return the record in a marker; None if the marker had no room for one."""
    try:
        found = json.loads(text)
        return Notified(**found | {"since": datetime.fromisoformat(found["since"])})
    except (ValueError, TypeError, KeyError):
        return None


class StateFailure:
    """Notifies people of a database that cannot be written, once for each failure."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        destinations: Sequence[Destination],
        state: State,
        record: FailureRecord | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._state = state
        self._destinations = destinations
        # A writer that finds the file locked tries again within two rounds.
        self._busy_gap = 2 * max(config.poll.every, timedelta(minutes=1)).total_seconds()
        self._busy_for = min(BUSY_FOR, config.poll.trouble_after).total_seconds()
        self._busy_since = self._busy_at = -inf
        self._record = record or FailureRecord()

    async def notify(self, error: StateError) -> None:
        """Notify people, unless they were: at most once an hour, however often the file fails."""
        now = self._clock.monotonic()
        if isinstance(error, StateBusy) and not self._busy_for_long(now):
            return
        known = self._record.notified
        if isinstance(error, StatePutBack) and known and known.reason != str(error):
            self._record.clear()  # people know only that it was away
            self._record.next_at = -inf
        if now < self._record.next_at or self._record.notified:
            return
        self._record.next_at = now + _NOTIFY_EVERY
        since = self._clock.now()
        log.critical(
            "the database cannot be written; people are notified directly, once: %s", error
        )
        detail = _detail(Scope.STATE, error, since)
        reached: list[str] = []
        try:
            reached = await _notify_all(self._config, self._clock, self._destinations, detail)
        finally:  # a reload may cut it off
            if reached:
                self._record.put(Notified(since, str(error), reached, self._state.written))
            else:
                self._record.next_at = now + _RETRY_AFTER

    def get_recovered(self) -> Notified | None:
        """Return the fault that people were notified of, once the file was written again.

        Without destinations that are no longer in the config. None: no fault, or it lasts.
        """
        notified = self._record.notified
        if notified is None or notified.written == self._state.written:
            return None
        present = {destination.name for destination in self._destinations}
        return replace(
            notified, destinations=[name for name in notified.destinations if name in present]
        )

    def clear(self) -> None:
        """Forget the fault: its recovery is queued."""
        self._record.clear()

    def _busy_for_long(self, now: float) -> bool:
        """Return whether every attempt to write has found the file locked for long enough."""
        if now - self._busy_at > self._busy_gap:
            self._busy_since = now
        self._busy_at = now
        return now - self._busy_since >= self._busy_for


async def notify_failed_start(
    error: StateError,
    config: Config,
    clock: Clock,
    destinations: Sequence[Destination],
    record: FailureRecord,
) -> None:
    """Notify people that alerter cannot start, as its database cannot be used."""
    since = clock.now()
    detail = _detail(Scope.START, error, since)
    if reached := await _notify_all(config, clock, destinations, detail):
        record.put(Notified(since, str(error), reached, scope=Scope.START))
    else:
        record.clear()


def _detail(scope: Scope, error: StateError, since: datetime) -> dict[str, str]:
    return {"text": scope, "name": "", "reason": str(error), "since": since.isoformat()}


async def _notify_all(
    config: Config, clock: Clock, destinations: Sequence[Destination], detail: Mapping[str, str]
) -> list[str]:
    """Notify the destinations marked for trouble; if none of them accepts it, the others.

    Return those that accepted it, or may have, as the answer was lost.
    """
    trouble_receivers = {receiver.name for receiver in config.receivers if receiver.trouble}
    marked = [each for each in destinations if each.receiver in trouble_receivers]
    others = [each for each in destinations if each.receiver not in trouble_receivers]
    reached: list[str] = []
    for chosen in (marked, others):
        answers = await asyncio.gather(*(_notify(each, clock, detail) for each in chosen))
        reached += [
            destination.name
            for destination, answer in zip(chosen, answers, strict=True)
            if answer is not _Answer.FAILED
        ]
        if _Answer.ACCEPTED in answers:
            break
    return reached


async def _notify(destination: Destination, clock: Clock, detail: Mapping[str, str]) -> _Answer:
    key = f"{AlertKind.TROUBLE}:{Scope.STATE}"
    entry = MessageItem(Alert(key, AlertKind.TROUBLE, detail=detail))
    uid = f"{uuid4().hex}@{destination.notifier.domain}"
    message = Message(0, uid, destination.name, Form.ALERT, (entry,), clock.now())
    try:
        async with clock.timeout(_TIMEOUT):
            await destination.notifier.send(message, destination.render(message))
    except (DeliveryError, RenderError, TimeoutError) as error:
        log.error(  # noqa: TRY400 - one line
            'receiver "%s": cannot be notified directly: %s',
            destination.receiver,
            str(error) or "no answer",
        )
        is_lost = isinstance(error, DeliveryError) and error.in_doubt
        return _Answer.LOST if is_lost else _Answer.FAILED
    return _Answer.ACCEPTED
