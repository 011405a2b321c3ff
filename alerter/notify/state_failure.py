"""The last resort: while the state file cannot be written nothing can be queued, so people are notified directly."""

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
from alerter.errors import DeliveryError, RenderError, StateBusy, StateError
from alerter.models import Alert, AlertKind, Form, Message, MessageItem
from alerter.notify.destination import Destination
from alerter.store import State
from alerter.store.marker import Marker

log = logging.getLogger(__name__)

# Another process that writes is no trouble before it has gone on for this long.
BUSY_FOR = timedelta(minutes=5)
_APART = timedelta(hours=1).total_seconds()
# Where nobody could be reached, this is how long the next attempt waits.
_AGAIN = timedelta(minutes=5).total_seconds()
_PATIENCE = 30.0
_GOES_ON = (
    "make room on the disk, or end the process that holds the file; alerter goes on by itself"
)
_START_AGAIN = (
    "mend what it says, or restore a backup, and start alerter again; it reads nothing before that"
)


class _Answer(Enum):
    """What became of a message that goes out directly."""

    YES = auto()
    LOST = auto()
    NO = auto()


@dataclass(frozen=True, slots=True)
class Notified:
    """What people were notified of directly: since when it was so, why, and which destinations got it."""

    since: datetime
    reason: str
    destinations: list[str]
    written: int = 0
    scope: str = "state"


@dataclass(slots=True)
class FailureRecord:
    """What people were notified of, and when they may be again; its note outlives the process."""

    marker: Marker | None = None
    notified: Notified | None = field(init=False, default=None)
    next_at: float = -inf

    def __post_init__(self) -> None:
        if self.marker:
            self.notified = _read_note(self.marker.text())

    def put(self, notified: Notified) -> None:
        """Record what people were notified of."""
        self.notified = notified
        text = json.dumps(
            asdict(notified) | {"since": notified.since.isoformat(), "written": 0},
            ensure_ascii=False,
        )
        if self.marker and not self.marker.write(text):
            log.warning("no folder has room to note who was notified; a restart forgets it")

    def clear(self) -> None:
        """Forget what people were notified of: the message that it is over is queued, or no one got the first."""
        self.notified = None
        if self.marker:
            self.marker.remove()


def _read_note(text: str) -> Notified | None:
    """Return what a note says; None where it had no room to say it."""
    try:
        found = json.loads(text)
        return Notified(**found | {"since": datetime.fromisoformat(found["since"])})
    except (ValueError, TypeError, KeyError):
        return None


class StateFailure:
    """Notifies people once of a state file that cannot be written, and again if it was written meanwhile."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        destinations: Sequence[Destination],
        state: State | None = None,
        record: FailureRecord | None = None,
    ) -> None:
        self._clock = clock
        self._state = state
        self._destinations = destinations
        self._marked = {receiver.name for receiver in config.receivers if receiver.trouble}
        # Who is kept from writing tries again within two rounds.
        self._apart = 2 * max(config.poll.every, timedelta(minutes=1)).total_seconds()
        self._busy_for = min(BUSY_FOR, config.poll.trouble_after).total_seconds()
        self._busy_since = self._busy_at = -inf
        self._record = record or FailureRecord()

    async def notify(self, error: StateError) -> None:
        """Notify people, unless they know; at most once an hour, however often the file fails and works again."""
        now = self._clock.monotonic()
        if isinstance(error, StateBusy) and not self._busy_for_long(now):
            return
        if now < self._record.next_at or self._record.notified:
            return
        self._record.next_at = now + _APART
        since = self._clock.now()
        log.critical(
            "the state file cannot be written, so nothing can be queued; people are notified once: %s",
            error,
        )
        destinations = await self._notify_all("the state file cannot be written", error, _GOES_ON)
        if destinations:
            self._record.put(Notified(since, str(error), destinations, self._written()))
        else:
            self._record.next_at = now + _AGAIN

    def over(self) -> Notified | None:
        """What people were notified of, once the file has been written again; None after `clear`.

        Destinations that the config does not have any more are left out.
        """
        notified = self._record.notified
        if notified is None or notified.written == self._written():
            return None
        present = {destination.name for destination in self._destinations}
        return replace(
            notified, destinations=[name for name in notified.destinations if name in present]
        )

    def clear(self) -> None:
        """Forget what people were notified of: the message that it is over is queued."""
        self._record.clear()

    async def notify_at_start(self, error: StateError) -> None:
        """Notify people that alerter does not start without its state file."""
        since = self._clock.now()
        if destinations := await self._notify_all("alerter does not start", error, _START_AGAIN):
            self._record.put(Notified(since, str(error), destinations, scope="start"))
        else:
            self._record.clear()

    def _written(self) -> int:
        return self._state.written if self._state else 0

    async def _notify_all(self, what: str, error: StateError, remedy: str) -> list[str]:
        """Notify those marked for trouble; if none of them is surely reached, all others.

        Returns who was reached, and who may have been, as an answer was lost.
        """
        detail = {
            "what": what,
            "reason": str(error),
            "remedy": remedy,
            "since": self._clock.now().isoformat(),
        }
        marked = [
            destination
            for destination in self._destinations
            if destination.receiver in self._marked
        ]
        others = [
            destination
            for destination in self._destinations
            if destination.receiver not in self._marked
        ]
        reached: list[str] = []
        for destinations in (marked, others):
            answers = await asyncio.gather(
                *(self._notify(destination, detail) for destination in destinations)
            )
            found = dict(
                zip([destination.name for destination in destinations], answers, strict=True)
            )
            reached += [name for name, answer in found.items() if answer is not _Answer.NO]
            if _Answer.YES in answers:
                break
        return reached

    def _busy_for_long(self, now: float) -> bool:
        """Whether the file has been busy each time that somebody tried, for a while."""
        if now - self._busy_at > self._apart:
            self._busy_since = now
        self._busy_at = now
        return now - self._busy_since >= self._busy_for

    async def _notify(self, destination: Destination, detail: Mapping[str, str]) -> _Answer:
        entry = MessageItem(Alert("trouble:state", AlertKind.TROUBLE, detail=detail))
        uid = f"{uuid4().hex}@{destination.notifier.domain}"
        message = Message(0, uid, destination.name, Form.ALERT, (entry,), self._clock.now())
        try:
            # Whoever rings has other work, and a mail server may take minutes.
            async with self._clock.timeout(_PATIENCE):
                await destination.notifier.send(message, destination.render(message))
        except (DeliveryError, RenderError, TimeoutError) as error:
            log.error(  # noqa: TRY400 - one line
                'receiver "%s": cannot be notified either: %s',
                destination.receiver,
                str(error) or "no answer",
            )
            is_lost = isinstance(error, DeliveryError) and error.in_doubt
            return _Answer.LOST if is_lost else _Answer.NO
        return _Answer.YES
