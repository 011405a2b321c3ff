"""Updates of messages that were sent: new content in place, or deletion.

A refused update keeps the old text. It never parks a destination and never holds up another
message. Text that must be erased is the exception: its update is retried until the text is gone.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.errors import DeliveryError, ErrorKind, RenderError, StateError, phrase_defect
from alerter.models import Message
from alerter.notify.availability import Availability
from alerter.notify.destination import Destination
from alerter.scopes import Scope
from alerter.store import State, messages, stale_messages
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# An update that fails for now is retried for this long, with waits from the first to the longest.
_RETRIED_FOR = timedelta(days=1)
_FIRST_WAIT = timedelta(seconds=2)
_LONGEST_WAIT = timedelta(hours=1)
_ERASE_EVERY = timedelta(days=1)
_RETRIED = (ErrorKind.TRANSIENT, ErrorKind.THROTTLED, ErrorKind.SERVICE)

Write = Callable[[Callable[[], None]], Awaitable[None]]


class Updates:
    """Updates the messages of one destination."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        destination: Destination,
        troubles: Troubles,
        availability: Availability,
        write: Write,
    ) -> None:
        self._state = state
        self._clock = clock
        self._destination = destination
        self._troubles = troubles
        self._availability = availability
        self._write = write
        self._scope = Scope.ERASURE.of(destination.name)

    def due(self, at: datetime | None, now: datetime) -> tuple[Message, int] | None:
        """Return the next message to update, and how often its content has changed.

        `at`: when the next may be updated, as far as the database knows.
        """
        if at is None or at > now or self._availability.method_held_until("update", now):
            return None
        return stale_messages.get_outdated(self._state, self._destination.name, now)

    def next_at(self, at: datetime | None, now: datetime) -> datetime | None:
        """Return when the next message may be updated; None: no update is pending."""
        held_until = self._availability.method_held_until("update", now) if at else None
        return max(at, held_until) if at and held_until else at

    async def update(self, message: Message, changes: int, began: datetime) -> None:
        """Replace the content of a message by its current content; idempotent."""
        try:
            await self._destination.notifier.update(message, self._destination.render(message))
        except RenderError as error:
            await self._handle_error(message, changes, DeliveryError(str(error), ErrorKind.MESSAGE))
        except DeliveryError as error:
            if error.kind is ErrorKind.MESSAGE and not message.plain:
                await self.update(replace(message, plain=True), changes, began)
            else:
                await self._handle_error(message, changes, error)
        except StateError:
            raise
        except Exception as error:  # retried later, so that it holds up no alert
            if not message.failing_since:
                log.exception('receiver "%s": a defect of alerter', self._destination.receiver)
            reason = phrase_defect(error)
            await self._handle_error(message, changes, DeliveryError(reason, ErrorKind.TRANSIENT))
        else:
            await self._write(lambda: self._mark_updated(message, changes, began))
            self._availability.mark_method_answered("update", began)

    def _mark_updated(self, message: Message, changes: int, began: datetime) -> None:
        with self._state.transaction(*self._availability.locks):
            stale_messages.mark_updated(self._state, message, changes)
            if self._availability.note_success([self._scope]):
                self._availability.mark_reachable(began)
                self._end_trouble()

    def _end_trouble(self) -> None:
        if not stale_messages.unerased_count(self._state, self._destination.name):
            self._troubles.end([self._scope])

    async def _handle_error(self, message: Message, changes: int, error: DeliveryError) -> None:
        """Retry a failed update later; after a day keep the old text, unless it must be erased."""
        now = self._clock.now()
        if error.kind is ErrorKind.THROTTLED:
            self._availability.hold_back_method("update", error, now)
            return
        if not error.in_doubt:
            self._availability.mark_method_answered("update", now)
        failing_since = message.failing_since or now
        failing_for = abs(now - failing_since)
        failing = replace(message, failing_since=failing_since)
        if error.kind in _RETRIED and failing_for < _RETRIED_FOR:
            wait = min(max(failing_for, _FIRST_WAIT), _LONGEST_WAIT)
            await self._write(lambda: messages.postpone(self._state, failing, now + wait))
        elif message.erase:
            await self._erase(failing, error, now)
        else:
            log.warning(
                'receiver "%s": a message keeps its old text: %s',
                self._destination.receiver,
                error,
            )
            await self._write(lambda: stale_messages.mark_updated(self._state, message, changes))

    async def _erase(self, message: Message, error: DeliveryError, now: datetime) -> None:
        """Delete a message whose text cannot be replaced; if that fails, retry daily."""
        failing_since = message.failing_since or now
        if abs(now - failing_since) >= _ERASE_EVERY:
            try:
                await self._destination.notifier.delete(message)
            except DeliveryError as refusal:
                error = refusal
            else:
                await self._write(lambda: self._mark_deleted(message))
                return
        reason = f"{error}; a deleted review's words still stand there"

        def record() -> None:
            with self._state.transaction(*self._availability.locks):
                messages.postpone(self._state, message, now + _ERASE_EVERY)
                self._troubles.begin(self._scope, reason)

        await self._write(record)

    def _mark_deleted(self, message: Message) -> None:
        with self._state.transaction(*self._availability.locks):
            stale_messages.mark_deleted(self._state, message)
            self._end_trouble()
