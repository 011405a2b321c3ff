"""Sends what is due to one destination: grouped into messages, claimed, sent, marked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from alerter.clock import Clock
from alerter.counters import counts
from alerter.errors import DeliveryError, ErrorKind, RenderError, StateError
from alerter.models import AlertKind, Form, Grouping, Message, Receipt
from alerter.notify.destination import Destination
from alerter.notify.digest import group, largest_that_fits
from alerter.notify.idle import Idle, IdleReason
from alerter.notify.in_doubt import Looks, Step, next_step, wait_after_loss
from alerter.notify.reach import Reach
from alerter.notify.state_failure import StateFailure
from alerter.notify.updates import Updates
from alerter.store import State, messages, outbox
from alerter.store.outbox import DueDelivery
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# What is due goes by the wall clock, which may be set, or go on while the machine sleeps; and no
# delivery depends on its worker being woken.
_LOOK_AGAIN = 60.0
_STATE_WAIT = 1.0
_BUG_WAIT = 60.0
# A digest that a service refuses is tried in halves, but not in smaller pieces than this.
_SMALLEST_DIGEST = 10
# A single run waits this long for a message in doubt; what takes longer is for the next run.
_SETTLED_SOON = 10.0
_OF_TROUBLE = (AlertKind.TROUBLE, AlertKind.RECOVERED)


class Worker:
    """Sends what is due to one destination, one message after the other."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        destination: Destination,
        troubles: Troubles,
        alarm: StateFailure,
        *,
        burst: int,
        pace: float,
        turns: dict[str, float],
    ) -> None:
        self.awake = asyncio.Event()
        self.stopping = False
        self._state = state
        self._clock = clock
        self._destination = destination
        self._troubles = troubles
        self._alarm = alarm
        self._burst = burst
        self._pace = pace
        self._turns = turns
        self._digest = destination.digest
        self._reach = Reach(state, clock, troubles, destination)
        self._looks = Looks(state, destination.notifier, self._reach)
        self._updates = Updates(state, clock, destination, troubles, self._reach, self._write)
        self._began = clock.now()
        # A message that the process before left in doubt may have gone out just now.
        self._attempted = clock.monotonic()
        self._logged: str | None = None

    async def run(self, ends_at: Sequence[IdleReason]) -> IdleReason | None:
        """Work until stopped (None), or until there is a pause for one of these reasons."""
        try:
            while not self.stopping:
                self.awake.clear()
                pause = await self._careful_step()
                if pause is None:
                    continue
                if pause.why in ends_at:
                    return pause.why
                if pause.why is IdleReason.NOTHING_DUE:
                    await self._destination.notifier.close()
                await self._rest(pause.seconds)
        finally:
            await self._destination.notifier.close()
        return None

    async def _rest(self, seconds: float | None) -> None:
        limit = _LOOK_AGAIN if seconds is None else min(seconds, _LOOK_AGAIN)
        with suppress(TimeoutError):
            async with self._clock.timeout(limit):
                await self.awake.wait()

    async def _careful_step(self) -> Idle | None:
        try:
            pause = await self.step()
            if pause:
                self._state.flush()
        except StateError as error:
            self._log_once(f"waits: {error}")
            await self._alarm.notify(error)
            return Idle(IdleReason.NO_STATE, _STATE_WAIT)
        except Exception:
            log.exception(
                'receiver "%s": a fault of alerter itself; it goes on in a minute',
                self._destination.receiver,
            )
            return Idle(IdleReason.NO_STATE, _BUG_WAIT)
        return pause

    async def step(self) -> Idle | None:
        """Send one message and return None, or say why there is none to send now."""
        now = self._began = self._clock.now()
        if block := self._reach.held(now):
            if block.parked:
                return Idle(IdleReason.PARKED)
            return Idle(IdleReason.BACKING_OFF, (block.until - now).total_seconds())
        work = self._choose(now)
        if work is None:
            pause = self._until_next(now)
            looked = pause.why is IdleReason.NOTHING_DUE and await self._looked(now)
            return None if looked else pause
        if (wait := self._wait_for_turn()) > 0:
            return Idle(IdleReason.PACE, wait)
        self._reach.claim_try(now)
        self._take_turn()
        await work()
        return None

    def _choose(self, now: datetime) -> Callable[[], Awaitable[None]] | None:
        """Choose what to do: settle what is in doubt, send what is due, or change what was sent."""
        message = messages.get_unsettled(self._state, self._destination.name, now)
        if message and self._too_early() <= 0:
            return partial(self._settle, message, now)
        if members := self._due(now):
            return partial(self._send_new, members, now)
        if outdated := self._updates.due(now):
            return partial(self._change, *outdated)
        return None

    def _too_early(self) -> float:
        """Return the seconds before a message can be looked for, by the clock that nobody sets."""
        settle_after = self._destination.notifier.settle_after.total_seconds()
        return settle_after - (self._clock.monotonic() - self._attempted)

    def _due(self, now: datetime) -> list[DueDelivery]:
        """Return what may leave now: what shows whether it is a digest, or what fits into one."""
        destination = self._destination.name
        found = outbox.due_deliveries(self._state, destination, now, self._burst + 1)
        if len(found) > self._burst and found[0].grouping is not Grouping.EACH:
            most = max(self._burst + 1, self._digest)
            found = outbox.due_deliveries(self._state, destination, now, most)
        return found

    def _until_next(self, now: datetime) -> Idle:
        destination = self._destination.name
        settled_at = messages.next_unsettled_at(self._state, destination, now)
        due_at = self._due_next(now)
        waits = [due_at, settled_at, self._updates.next_at(now)]
        seconds = min(
            (max((at - now).total_seconds(), 0.0) for at in waits if at is not None), default=None
        )
        if settled_at and messages.is_in_doubt(self._state, destination):
            wait = max((settled_at - now).total_seconds(), self._too_early())
            why = IdleReason.SETTLING if wait <= _SETTLED_SOON else IdleReason.IN_DOUBT
            return Idle(why, max(seconds or 0.0, self._too_early()))
        return Idle(IdleReason.NOTHING_DUE, seconds)

    def _due_next(self, now: datetime) -> datetime | None:
        """Return when the next delivery may leave, which nothing holds longer than the quiet hours.

        A clock that was ahead for a while may have held it until a night far away.
        """
        destination = self._destination.name
        due_at = outbox.next_due_at(self._state, destination, now)
        if due_at is None or self._destination.held_until is None:
            return due_at
        latest = self._destination.held_until(now) or now
        if due_at > latest and outbox.shorten_holds(self._state, destination, latest):
            return latest
        return due_at

    async def _looked(self, now: datetime) -> bool:
        """Where nothing is to be sent, look whether what failed works again; False: nothing failed."""
        if not self._reach.claim_look(now):
            return False
        if all(finding.ok for finding in await self._destination.notifier.check()):
            await self._write(lambda: self._reach.note_look(now))
        return True

    async def _send_new(self, members: Sequence[DueDelivery], now: datetime) -> None:
        form, alerts = group(members, self._burst, self._digest)
        if form is Form.DIGEST:
            alerts = largest_that_fits(self._state, self._destination, alerts, now)
            form = Form.DIGEST if len(alerts) > 1 else Form.ALERT
        thread = next((member.thread for member in members if member.alert == alerts[0]), None)
        message = outbox.claim(
            self._state,
            self._destination.name,
            form,
            alerts,
            f"{uuid4().hex}@{self._destination.notifier.domain}",
            now,
            thread=thread,
            service_time=self._destination.notifier.time_there(now),
        )
        if message:
            await self._attempt(message)

    async def _change(self, message: Message, changes: int) -> None:
        await self._updates.change(message, changes, self._began)
        self._take_turn()

    async def _settle(self, message: Message, now: datetime) -> None:
        """Take the next step with a message in doubt, or that some addresses have not taken."""
        notifier = self._destination.notifier
        step = next_step(message, now, can_look=notifier.can_look)
        if step is Step.LOOK:
            await self._look(message, now)
        elif step is Step.GIVE_UP:
            await self._give_up(message, "its answer was lost each time; it may have arrived")
        else:
            await self._send_again(replace(message, repeat=step is Step.REPEAT))

    async def _look(self, message: Message, now: datetime) -> None:
        try:
            found = await self._looks.look(message, now)
        except DeliveryError as error:
            await self._hold_back(error)
            return
        if isinstance(found, Receipt):
            await self._sent(message, found)
        elif found:
            await self._send_again(found)

    async def _send_again(self, message: Message) -> None:
        now = self._clock.now()
        again = replace(
            message, attempted_at=now, service_time=self._destination.notifier.time_there(now)
        )
        messages.count_attempt(self._state, again, now)
        await self._attempt(again)

    async def _attempt(self, message: Message) -> None:
        try:
            content = self._destination.render(message)
            receipt = await self._destination.notifier.send(message, content)
        except RenderError as error:
            await self._refused(message, DeliveryError(str(error), ErrorKind.MESSAGE))
        except DeliveryError as error:
            await self._refused(message, error)
        else:
            await self._sent(message, receipt, content.subject)
        finally:
            self._attempted = self._clock.monotonic()
            self._take_turn()

    def _wait_for_turn(self) -> float:
        rate_key = self._destination.rate_key
        return self._turns.get(rate_key, 0) - self._clock.monotonic() if rate_key else 0.0

    def _take_turn(self) -> None:
        """Keep the channel's pace: from before the call on, and again from its answer on."""
        if self._destination.rate_key:
            self._turns[self._destination.rate_key] = self._clock.monotonic() + self._pace

    async def _sent(self, message: Message, receipt: Receipt, subject: str = "") -> None:
        if receipt.to_left:
            await self._partly_taken(message, receipt, subject)
            return
        await self._write(lambda: self._record_sent(message, receipt, subject))
        if not message.to_left:
            self._count_sent(message)
        if receipt.refused:
            log.error(
                'receiver "%s": %d of its addresses refused a mail for good, the others have it; correct the config',
                self._destination.receiver,
                receipt.refused,
            )
        if self._logged:
            log.info('receiver "%s": is reached again', self._destination.receiver)
            self._logged = None

    def _count_sent(self, message: Message) -> None:
        counts["messages_sent"] += 1
        counts[f"deliveries_sent:{self._destination.receiver}"] += len(message.entries)

    def _record_sent(self, message: Message, receipt: Receipt, subject: str) -> None:
        """Record a message as sent, without waiting for the disk.

        A mark that a power failure takes leaves what any crash before the mark leaves.
        """
        with self._state.transaction(f"destination:{self._destination.name}", relaxed=True):
            messages.mark_sent(self._state, message, receipt, subject)
            self._reach.note_reached(self._began)
            self._reach.note_taken(receipt, by_the_rest=bool(message.to_left))
            self._troubles.templates(self._destination.faults())

    async def _partly_taken(self, message: Message, receipt: Receipt, subject: str) -> None:
        """Record that the mail is delivered to some addresses, and try the others by themselves."""
        due_at = self._clock.now() + self._reach.wait_for_addresses(message.attempts)
        to_left = receipt.to_left
        reason = f"{len(to_left)} of its addresses did not take a mail yet: {receipt.answer}"

        def record() -> None:
            with self._state.transaction(f"destination:{self._destination.name}"):
                messages.mark_partly_taken(self._state, message, to_left, due_at, subject)
                self._reach.note_reached(self._began)
                if receipt.refused:
                    self._reach.note_taken(receipt, by_the_rest=False)
                self._reach.note_not_taken(due_at, reason)

        await self._write(record)
        if not message.to_left:
            self._count_sent(message)
        self._log_once(reason)

    async def _refused(self, message: Message, error: DeliveryError) -> None:
        if error.kind is ErrorKind.MESSAGE:
            await self._refused_for_itself(message, error)
            return
        if message.to_left and error.kind is ErrorKind.TRANSIENT and not error.in_doubt:
            receipt = Receipt(str(error), to_left=message.to_left)
            await self._partly_taken(message, receipt, "")
            return
        if error.in_doubt or message.lost or message.to_left:
            await self._put_in_doubt(message, error)
        else:
            await self._write(lambda: messages.dissolve(self._state, message))
        await self._hold_back(error)

    async def _put_in_doubt(self, message: Message, error: DeliveryError) -> None:
        notifier = self._destination.notifier
        wait = timedelta()
        if error.in_doubt:
            wait = wait_after_loss(message, notifier.settle_after, can_look=notifier.can_look)
        due_at = self._clock.now() + wait
        await self._write(
            lambda: messages.mark_in_doubt(
                self._state, message, str(error), due_at, lost=error.in_doubt
            )
        )

    async def _refused_for_itself(self, message: Message, error: DeliveryError) -> None:
        """Try built-in templates, smaller digests and plain text; then this message has failed."""
        size = len(message.entries)
        if (
            not message.builtin
            and not message.plain
            and self._destination.refuse(message, str(error))
        ):
            await self._send_again(replace(message, builtin=True))
        elif size > _SMALLEST_DIGEST and not message.lost:
            self._digest = max(size // 2, _SMALLEST_DIGEST)
            await self._write(lambda: messages.dissolve(self._state, message))
            log.warning(
                'receiver "%s": a digest of %d is tried in pieces: %s',
                self._destination.receiver,
                size,
                error,
            )
        elif not message.plain:
            await self._send_again(replace(message, plain=True))
        else:
            await self._give_up(message, str(error))

    async def _give_up(self, message: Message, reason: str) -> None:
        if message.to_left:
            receipt = Receipt(reason, refused=len(message.to_left))
            await self._sent(message, receipt)
            return
        await self._write(lambda: self._record_failed(message, reason))
        counts[f"deliveries_failed:{self._destination.receiver}"] += len(message.entries)
        keys = ", ".join(entry.alert.key for entry in message.entries)
        log.error('receiver "%s": given up: %s: %s', self._destination.receiver, keys, reason)

    def _record_failed(self, message: Message, reason: str) -> None:
        with self._state.transaction(f"destination:{self._destination.name}"):
            messages.mark_failed(self._state, message, reason)
            # Trouble that cannot be sent is not trouble by itself: that would never end.
            if any(entry.alert.kind not in _OF_TROUBLE for entry in message.entries):
                # No keys: they name sites, and who is notified may have others.
                self._troubles.begin(f"message:{self._destination.name}", reason)

    async def _hold_back(self, error: DeliveryError) -> None:
        now = self._clock.now()
        wait = self._reach.wait_after(error, now)
        await self._write(lambda: self._reach.hold_back(error, now, wait))
        parked = wait is None
        self._log_once(f"parked: {error}; then `alerter retry`" if parked else f"waits: {error}")

    async def _write(self, change: Callable[[], None]) -> None:
        """Record what a service answered, however long the database takes to be writable again."""
        while True:
            try:
                change()
            except StateError as error:
                self._log_once(f"an answer waits to be recorded: {error}")
                await self._alarm.notify(error)
                await self._clock.sleep(_STATE_WAIT)
            else:
                return

    def _log_once(self, text: str) -> None:
        """Log what keeps us from sending, once until it changes."""
        if text != self._logged:
            log.warning('receiver "%s": %s', self._destination.receiver, text)
            self._logged = text
