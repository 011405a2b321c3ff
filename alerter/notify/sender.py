"""Sends the messages of one destination, and records what its service answered."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Protocol

from alerter.clock import Clock
from alerter.counters import counts
from alerter.errors import DeliveryError, ErrorKind, RenderError, StateError
from alerter.models import AlertKind, Message, Receipt
from alerter.notify.availability import Availability
from alerter.notify.destination import Destination
from alerter.notify.group_commit import GroupCommit
from alerter.notify.in_doubt import wait_after_loss
from alerter.notify.state_failure import StateFailure
from alerter.scopes import Scope
from alerter.store import State, messages
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# A database that cannot be used is tried again after this many seconds.
STATE_RETRY = 1.0
# Seconds between two calls: Slack takes one message a second in a channel.
_PACE = 1.0
# A digest that a service refuses is tried in halves, and from this size on as plain text first:
# one plain message is better than many single ones.
_SMALLEST_DIGEST = 10
_OF_TROUBLE = (AlertKind.TROUBLE, AlertKind.RECOVERED)


class RateLimits(Protocol):
    """Keeps calls with one rate key a second apart; all workers share it."""

    def claim_slot(self, rate_key: str | None) -> float:
        """Take the slot if a call is allowed now; else return the seconds until one is."""

    def take_slot(self, rate_key: str | None) -> None:
        """Allow the next call a second from now."""


class MemoryRateLimits:
    """The rate limits of one process that sends alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next_at: dict[str, float] = {}

    def claim_slot(self, rate_key: str | None) -> float:
        """Take the slot if a call is allowed now; else return the seconds until one is."""
        left = self._next_at.get(rate_key, 0.0) - self._clock.monotonic() if rate_key else 0.0
        if left <= 0:
            self.take_slot(rate_key)
        return max(left, 0.0)

    def take_slot(self, rate_key: str | None) -> None:
        """Allow the next call a second from now."""
        if rate_key:
            self._next_at[rate_key] = self._clock.monotonic() + _PACE


class MessageSender:
    """Sends the messages of one destination, and records each answer.

    `began`: the start of the worker's step; an answer lifts only blocks that were set before it.
    `digest`: the most reviews of a digest; it shrinks when the service refuses one.
    """

    def __init__(
        self,
        state: State,
        commits: GroupCommit,
        clock: Clock,
        destination: Destination,
        troubles: Troubles,
        state_failure: StateFailure,
        availability: Availability,
        limits: RateLimits,
    ) -> None:
        self.began = clock.now()
        self.digest = destination.digest
        # Small pieces grow again up to this: what the service refused was one of the reviews.
        self._most = destination.digest
        self._state = state
        self._commits = commits
        self._clock = clock
        self._destination = destination
        self._troubles = troubles
        self._state_failure = state_failure
        self._availability = availability
        self._limits = limits
        # The process before may have sent a message, now in doubt, a moment ago.
        self._attempted = clock.monotonic()
        self._logged: str | None = None

    def seconds_to_settle(self) -> float:
        """Return the seconds until the last attempt can be found, by the monotonic clock."""
        settle_after = self._destination.notifier.settle_after.total_seconds()
        return settle_after - (self._clock.monotonic() - self._attempted)

    def claim_slot(self) -> float:
        """Take the slot of a call; return the seconds until there is one, or 0 where it is taken.

        It keeps the pace of the channel from before a call on, `take_slot` from its answer on.
        """
        return self._limits.claim_slot(self._destination.rate_key)

    def take_slot(self) -> None:
        """Allow the next call a second from now."""
        self._limits.take_slot(self._destination.rate_key)

    async def send(self, message: Message) -> None:
        """Send a claimed message, and record the answer."""
        try:
            content = self._destination.render(message)
            self._state.confirm_lease()
            receipt = await self._destination.notifier.send(message, content)
        except RenderError as error:
            await self._handle_error(message, DeliveryError(str(error), ErrorKind.MESSAGE))
        except DeliveryError as error:
            await self._handle_error(message, error)
        else:
            await self.record_accepted(message, receipt, content.subject)
        finally:
            self.note_attempt()
            self.take_slot()

    def note_attempt(self) -> None:
        """Note that a call ends now, or that one may just have ended elsewhere."""
        self._attempted = self._clock.monotonic()

    async def send_again(self, message: Message) -> None:
        """Count one more attempt of a message, and send it."""
        now = self._clock.now()
        again = replace(
            message, attempted_at=now, service_time=self._destination.notifier.service_time(now)
        )
        await self._commits.run(partial(messages.count_attempt, self._state, again, now))
        await self.send(again)

    async def record_accepted(self, message: Message, receipt: Receipt, subject: str = "") -> None:
        """Record that the service accepted a message, or that some addresses of a mail did."""
        self.digest = min(2 * self.digest, self._most)
        if receipt.to_left:
            await self._record_partly_accepted(message, receipt, subject)
            return
        await self.write(lambda: self._mark_sent(message, receipt, subject), relaxed=True)
        if not message.to_left:
            self._count_sent(message)
        if receipt.refused:
            log.error(
                'receiver "%s": a mail is refused for good by %d of its addresses and accepted by'
                " the others; correct the config",
                self._destination.receiver,
                receipt.refused,
            )
        if self._logged:
            log.info('receiver "%s": is reached again', self._destination.receiver)
            self._logged = None

    def _mark_sent(self, message: Message, receipt: Receipt, subject: str) -> None:
        """Record a message as sent, without waiting for the disk.

        A power failure that loses this mark leaves the message in doubt, as any crash before it.
        """
        with self._state.transaction(*message.scopes, *self._availability.locks, relaxed=True):
            messages.mark_sent(self._state, message, receipt, subject)
            templates = self._destination.faults()
            scopes = [Scope.TEMPLATE.of(name) for name in templates]
            if (
                self._availability.note_success(scopes)
                or receipt.refused
                or any(templates.values())
            ):
                self._availability.mark_reachable(self.began)
                self._availability.record_receipt(receipt, retried=bool(message.to_left))
                self._troubles.update_templates(templates)

    async def _record_partly_accepted(
        self, message: Message, receipt: Receipt, subject: str
    ) -> None:
        """Record a mail as delivered to some addresses, and schedule a retry for the others."""
        due_at = self._clock.now() + self._availability.address_wait(message.attempts)
        to_left = receipt.to_left
        reason = f"{len(to_left)} of its addresses did not take a mail yet: {receipt.answer}"

        def record() -> None:
            with self._state.transaction(*message.scopes, *self._availability.locks):
                messages.mark_partly_accepted(self._state, message, to_left, due_at, subject)
                self._availability.mark_reachable(self.began)
                if receipt.refused:
                    self._availability.record_receipt(receipt, retried=False)
                self._availability.hold_back_addresses(due_at, reason)

        await self.write(record)
        if not message.to_left:
            self._count_sent(message)
        self.log_once(reason)

    def _count_sent(self, message: Message) -> None:
        log.info(
            'receiver "%s": message sent: medium=%s alerts=%d',
            self._destination.receiver,
            self._destination.medium,
            len(message.entries),
        )
        counts["messages_sent"] += 1
        counts[f"deliveries_sent:{self._destination.receiver}"] += len(message.entries)

    async def _handle_error(self, message: Message, error: DeliveryError) -> None:
        """Decide what follows from a failed call: for the message, then for the destination."""
        if error.kind is ErrorKind.MESSAGE:
            await self._handle_refused_message(message, error)
            return
        if message.to_left and error.kind is ErrorKind.TRANSIENT and not error.in_doubt:
            receipt = Receipt(str(error), to_left=message.to_left)
            await self._record_partly_accepted(message, receipt, "")
            return
        if error.in_doubt or message.lost or message.to_left:
            await self._put_in_doubt(message, error)
        else:
            await self.write(lambda: messages.dissolve(self._state, message))
        await self.hold_back(error)

    async def _put_in_doubt(self, message: Message, error: DeliveryError) -> None:
        notifier = self._destination.notifier
        wait = timedelta()
        if error.in_doubt:
            wait = wait_after_loss(
                message,
                notifier.settle_after,
                can_look=notifier.can_look,
                keeps_uid=notifier.keeps_uid,
            )
        due_at = self._clock.now() + wait
        await self.write(
            lambda: messages.mark_in_doubt(
                self._state, message, str(error), due_at, lost=error.in_doubt
            )
        )

    async def _handle_refused_message(self, message: Message, error: DeliveryError) -> None:
        """Try the built-in template, smaller digests and plain text; then give the message up."""
        size = len(message.entries)
        # What may have arrived, or has arrived at some addresses, must not go out otherwise.
        divisible = size > 1 and not message.lost and not message.to_left
        if (
            not message.builtin
            and not message.plain
            and self._destination.refuse(message, str(error))
        ):
            await self.send_again(replace(message, builtin=True))
        elif divisible and size > _SMALLEST_DIGEST:
            self.digest = self._most = max(size // 2, _SMALLEST_DIGEST)
            await self._divide(message, error)
        elif not message.plain:
            await self.send_again(replace(message, plain=True))
        elif divisible:
            self.digest = size // 2
            await self._divide(message, error)
        else:
            await self.give_up(message, str(error))

    async def _divide(self, message: Message, error: DeliveryError) -> None:
        await self.write(lambda: messages.dissolve(self._state, message))
        log.warning(
            'receiver "%s": a digest of %d is refused and tried in pieces: %s',
            self._destination.receiver,
            len(message.entries),
            error,
        )

    async def give_up(self, message: Message, reason: str) -> None:
        """Record a message as failed; a mail that some addresses accepted counts as sent."""
        if message.to_left:
            receipt = Receipt(reason, refused=len(message.to_left))
            await self.record_accepted(message, receipt)
            return
        await self.write(lambda: self._mark_failed(message, reason))
        counts[f"deliveries_failed:{self._destination.receiver}"] += len(message.entries)
        keys = ", ".join(entry.alert.key for entry in message.entries)
        log.error('receiver "%s": given up: %s: %s', self._destination.receiver, keys, reason)

    def _mark_failed(self, message: Message, reason: str) -> None:
        with self._state.transaction(*message.scopes, *self._availability.locks):
            messages.mark_failed(self._state, message, reason)
            # Trouble that cannot be sent is no trouble of its own: that would never end.
            if any(entry.alert.kind not in _OF_TROUBLE for entry in message.entries):
                # The reason holds no alert keys: they name sites, which recipients may not share.
                self._troubles.begin(Scope.MESSAGE.of(self._destination.name), reason)

    async def hold_back(self, error: DeliveryError) -> None:
        """Block what failed: for a while, or until a person has corrected it."""
        now = self._clock.now()
        wait = self._availability.wait_after_error(error, now)
        await self.write(lambda: self._availability.hold_back(error, now, wait))
        parked = wait is None
        self.log_once(f"parked: {error}; then `alerter retry`" if parked else f"waits: {error}")

    async def write(self, change: Callable[[], None], *, relaxed: bool = False) -> None:
        """Make a change in the database; retry for as long as it cannot be written."""
        while True:
            try:
                await self._commits.run(change, relaxed=relaxed)
            except StateError as error:
                self.log_once(f"an answer waits to be recorded: {error}")
                await self._state_failure.notify(error)
                await self._clock.sleep(STATE_RETRY)
            else:
                return

    def log_once(self, text: str) -> None:
        """Log why nothing is sent, once until the reason changes."""
        if text != self._logged:
            log.warning('receiver "%s": %s', self._destination.receiver, text)
            self._logged = text
