"""Changes of messages that were sent: new words in the place of the old, or none at all.

A change that is refused keeps the old words. It never parks a destination and never holds up
another message. Words that must be erased are the exception: they are tried until they are gone.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.errors import DeliveryError, ErrorKind, RenderError
from alerter.models import Message
from alerter.notify.destination import Destination
from alerter.notify.reach import Reach
from alerter.store import State, messages, stale_messages
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# A service that cannot change a message now is asked again, for this long, and this often at most.
_PATIENCE = timedelta(days=1)
_SOONEST = timedelta(seconds=2)
_LATEST = timedelta(hours=1)
_ERASE_EVERY = timedelta(days=1)
_LATER = (ErrorKind.TRANSIENT, ErrorKind.THROTTLED, ErrorKind.SERVICE)

Write = Callable[[Callable[[], None]], Awaitable[None]]


class Updates:
    """Changes the messages of one destination."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        destination: Destination,
        troubles: Troubles,
        reach: Reach,
        write: Write,
    ) -> None:
        self._state = state
        self._clock = clock
        self._destination = destination
        self._troubles = troubles
        self._reach = reach
        self._write = write
        self._scope = f"erasure:{destination.name}"

    def due(self, now: datetime) -> tuple[Message, int] | None:
        """Return the next message to change, and how often it has changed."""
        if self._reach.method_held("update", now):
            return None
        return stale_messages.get_outdated(self._state, self._destination.name, now)

    def next_at(self, now: datetime) -> datetime | None:
        """Return when the next message may be changed."""
        at = stale_messages.next_outdated_at(self._state, self._destination.name, now)
        held = self._reach.method_held("update", now)
        return max(at, held) if at and held else at

    async def change(self, message: Message, changes: int, began: datetime) -> None:
        """Have a message say what is so now; done twice, it does no harm."""
        try:
            await self._destination.notifier.update(message, self._destination.render(message))
        except RenderError as error:
            await self._refused(message, changes, DeliveryError(str(error), ErrorKind.MESSAGE))
        except DeliveryError as error:
            if error.kind is ErrorKind.MESSAGE and not message.plain:
                await self.change(replace(message, plain=True), changes, began)
            else:
                await self._refused(message, changes, error)
        else:
            await self._write(lambda: self._record_changed(message, changes, began))
            self._reach.note_answered("update", began)

    def _record_changed(self, message: Message, changes: int, began: datetime) -> None:
        with self._state.transaction(f"destination:{self._destination.name}"):
            stale_messages.mark_updated(self._state, message, changes)
            self._reach.note_reached(began)
            self._end_trouble()

    def _end_trouble(self) -> None:
        if not stale_messages.unerased_count(self._state, self._destination.name):
            self._troubles.end([self._scope])

    async def _refused(self, message: Message, changes: int, error: DeliveryError) -> None:
        now = self._clock.now()
        if error.kind is ErrorKind.THROTTLED:
            self._reach.hold_method("update", error, now)
            return
        if not error.in_doubt:
            self._reach.note_answered("update", now)
        failing_since = message.failing_since or now
        failing_for = abs(now - failing_since)
        failing = replace(message, failing_since=failing_since)
        if error.kind in _LATER and failing_for < _PATIENCE:
            wait = min(max(failing_for, _SOONEST), _LATEST)
            await self._write(lambda: messages.postpone(self._state, failing, now + wait))
        elif message.erase:
            await self._erase(failing, error, now)
        else:
            log.warning(
                'receiver "%s": a message keeps its old words: %s',
                self._destination.receiver,
                error,
            )
            await self._write(lambda: stale_messages.mark_updated(self._state, message, changes))

    async def _erase(self, message: Message, error: DeliveryError, now: datetime) -> None:
        """Delete a message whose words cannot be replaced; where that fails too, try daily."""
        failing_since = message.failing_since or now
        if abs(now - failing_since) >= _ERASE_EVERY:
            try:
                await self._destination.notifier.delete(message)
            except DeliveryError as refusal:
                error = refusal
            else:
                await self._write(lambda: self._record_deleted(message))
                return
        reason = f"{error}; a deleted review's words still stand there"

        def record() -> None:
            with self._state.transaction(f"destination:{self._destination.name}"):
                messages.postpone(self._state, message, now + _ERASE_EVERY)
                self._troubles.begin(self._scope, reason)

        await self._write(record)

    def _record_deleted(self, message: Message) -> None:
        with self._state.transaction(f"destination:{self._destination.name}"):
            stale_messages.mark_deleted(self._state, message)
            self._end_trouble()
