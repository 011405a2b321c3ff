"""What to do about a message whose answer was lost."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Message, Receipt
from alerter.notify.destination import Notifier
from alerter.notify.reach import Reach
from alerter.store import State, messages

# A look that has not ended after this long has failed: the message is posted once more.
PATIENCE = timedelta(minutes=10)
# A mail goes out this many times in all, and this long after the attempt before.
_MOST_MAILS = 3
# How often to look again for what was posted twice, where Slack does not let us look.
_BLIND_WAIT = timedelta(minutes=1)
# A message that nobody looked for when it was due, as the machine slept, say, is looked for first.
_LATE = timedelta(minutes=1)
_MAIL_WAITS = (timedelta(seconds=5), timedelta(seconds=60))


class Step(StrEnum):
    """The next step with a message in doubt."""

    LOOK = "look whether it has arrived"
    SEND = "send it: it has certainly not arrived"
    REPEAT = "send it once more: it may have arrived"
    GIVE_UP = "give it up: it may have arrived, and was repeated"


def next_step(message: Message, now: datetime, *, can_look: bool, blind: bool = False) -> Step:
    """Decide what to do now with a message in doubt, or one that some addresses have not taken. Pure.

    `blind`: the last look was refused, so that nothing can be found out.
    """
    if not message.lost:
        return Step.SEND
    if not can_look:
        return Step.GIVE_UP if message.lost >= _MOST_MAILS else Step.SEND
    repeated = message.lost > 1
    if blind and not repeated:
        return Step.REPEAT
    if message.looked_since is None or abs(now - message.looked_since) < PATIENCE:
        return Step.LOOK
    if message.due_at and abs(now - message.due_at) >= _LATE:
        return Step.LOOK
    return Step.GIVE_UP if repeated else Step.REPEAT


def wait_after_loss(message: Message, settle_after: timedelta, *, can_look: bool) -> timedelta:
    """Return how long to leave a message alone whose answer has just been lost. Pure."""
    if can_look:
        return settle_after
    return _MAIL_WAITS[min(message.lost, len(_MAIL_WAITS) - 1)]


class Looks:
    """Searches a service for messages in doubt, a page at a time."""

    def __init__(self, state: State, notifier: Notifier, reach: Reach) -> None:
        self._state = state
        self._notifier = notifier
        self._reach = reach

    async def look(self, message: Message, now: datetime) -> Receipt | Message | None:
        """Search the next page for a message.

        Returns where it stands, or the message to send again, or None where the look goes on
        later. Raises DeliveryError where the service cannot be reached.
        """
        if until := self._reach.method_held("look", now):
            self._postpone(message, now, until)
            return None
        try:
            look = await self._notifier.look(message)
        except DeliveryError as error:
            if (
                error.kind is ErrorKind.THROTTLED
            ):  # each method has a limit of its own: posting goes on
                self._reach.note_there(now)
                self._postpone(message, now, self._reach.hold_method("look", error, now))
                return None
            # Nothing was sent, so the message itself cannot be at fault.
            kind = ErrorKind.TRANSIENT if error.kind is ErrorKind.MESSAGE else error.kind
            raise DeliveryError(str(error), kind, retry_after=error.retry_after) from error
        self._reach.note_answered("look", now)
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
