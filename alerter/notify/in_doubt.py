"""Messages in doubt: the answer to the call was lost, so they may have arrived."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Message, Receipt
from alerter.notify.availability import Availability
from alerter.notify.destination import Notifier
from alerter.store import State, messages

# A look that is not complete after this long is abandoned: the message is posted once more.
PATIENCE = timedelta(minutes=10)
# The most calls with one uid, and the waits between them.
_MOST_SENT = 3
_WAITS = (timedelta(seconds=5), timedelta(seconds=60))
# How often a message that was posted twice is looked for where Slack does not allow a look.
_BLIND_WAIT = timedelta(minutes=1)
# A message that is overdue by this much, as after a suspend, is looked for before anything else.
_LATE = timedelta(minutes=1)


class Step(StrEnum):
    """The next step with a message in doubt."""

    LOOK = "look whether it has arrived"
    SEND = "send it: it has certainly not arrived"
    REPEAT = "send it once more: it may have arrived"
    GIVE_UP = "give it up: it may have arrived, and was repeated"


def next_step(
    message: Message, now: datetime, *, can_look: bool, keeps_uid: bool = False, blind: bool = False
) -> Step:
    """Return the next step with a message in doubt or not accepted by some addresses. Pure.

    `blind`: the service does not allow a look, so that nothing can be found out.
    """
    if not message.lost:
        return Step.SEND
    if keeps_uid:
        return Step.GIVE_UP if message.lost >= _MOST_SENT else Step.SEND
    repeated = message.lost > 1
    if not can_look:
        return Step.GIVE_UP if repeated else Step.REPEAT
    if blind and not repeated:
        return Step.REPEAT
    if message.looked_since is None or abs(now - message.looked_since) < PATIENCE:
        return Step.LOOK
    if message.due_at and abs(now - message.due_at) >= _LATE:
        return Step.LOOK
    return Step.GIVE_UP if repeated else Step.REPEAT


def wait_after_loss(
    message: Message, settle_after: timedelta, *, can_look: bool, keeps_uid: bool
) -> timedelta:
    """Return the wait before the next step with a message whose answer was just lost. Pure."""
    if can_look:
        return settle_after
    if message.lost and not keeps_uid:
        return timedelta()  # it was repeated, and is given up
    return _WAITS[min(message.lost, len(_WAITS) - 1)]


class Looks:
    """Looks for messages in doubt at a service, one page for each call."""

    def __init__(self, state: State, notifier: Notifier, availability: Availability) -> None:
        self._state = state
        self._notifier = notifier
        self._availability = availability

    async def look(self, message: Message, now: datetime) -> Receipt | Message | None:
        """Search the next page for a message.

        Return its receipt if it is found, the message to send again if it has not arrived, or None
        if the look goes on later. Raise DeliveryError if the service cannot be called.
        """
        if until := self._availability.method_held_until("look", now):
            self._postpone(message, now, until)
            return None
        try:
            look = await self._notifier.look(message)
        except DeliveryError as error:
            if error.kind is ErrorKind.THROTTLED:
                # Each method of Slack has a rate limit of its own: posting goes on.
                self._availability.mark_destination_reachable(now)
                until = self._availability.hold_back_method("look", error, now)
                self._postpone(message, now, until)
                return None
            # Nothing was sent, so the message itself cannot be at fault.
            kind = ErrorKind.TRANSIENT if error.kind is ErrorKind.MESSAGE else error.kind
            raise DeliveryError(str(error), kind, retry_after=error.retry_after) from error
        self._availability.mark_method_answered("look", now)
        searched = replace(message, looked_since=message.looked_since or now, look=look.position)
        if look.receipt:
            return look.receipt
        if look.position:
            messages.postpone(self._state, searched, now)
            return None
        if not look.blind:
            return replace(message, lost=0)
        if next_step(message, now, can_look=True, blind=True) is Step.REPEAT:
            return replace(message, repeat=True)
        messages.postpone(self._state, searched, now + _BLIND_WAIT)
        return None

    def _postpone(self, message: Message, now: datetime, until: datetime) -> None:
        since = message.looked_since or now
        searched = replace(message, looked_since=since)
        messages.postpone(self._state, searched, max(now, min(until, since + PATIENCE)))
