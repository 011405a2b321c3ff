"""Decides what is sent to one destination next, and when."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from uuid import uuid4

from alerter.clock import Clock
from alerter.errors import DeliveryError, ErrorKind, StateError, phrase_defect
from alerter.models import Form, Grouping, Message, Receipt
from alerter.notify.availability import Availability
from alerter.notify.destination import Destination
from alerter.notify.digest import group, largest_that_fits
from alerter.notify.group_commit import GroupCommit
from alerter.notify.in_doubt import Looks, Step, next_step
from alerter.notify.sender import STATE_RETRY, MessageSender, RateLimits
from alerter.notify.state_failure import StateFailure
from alerter.notify.updates import Updates
from alerter.store import State, messages, outbox
from alerter.store.outbox import DueDelivery, Upcoming
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)

# A sleeping worker reads the outbox this often (seconds): due times follow the wall clock, which
# may be set or jump while the machine sleeps, and no delivery may depend on a wake-up call.
_WAKE_EVERY = 60.0
_DEFECT_WAIT = timedelta(minutes=1)
# `run --once` waits this long (seconds) for a message in doubt; the next run resolves the others.
_SETTLED_SOON = 10.0


class IdleReason(StrEnum):
    """Why a worker has nothing to do now."""

    NOTHING_DUE = "nothing is due"
    PACE = "the rate limit of the channel has to pass"
    SETTLING = "a message in doubt is resolved within seconds"
    IN_DOUBT = "a message in doubt is resolved later"
    BACKING_OFF = "the destination or its service failed and is retried later"
    PARKED = "the destination or its service waits for a person"
    NO_STATE = "the database cannot be used now"


@dataclass(frozen=True, slots=True)
class Idle:
    """Why a worker has nothing to do, and for how many seconds (None: until it is woken)."""

    reason: IdleReason
    seconds: float | None = None


class Worker:
    """Sends to one destination, one message after the other."""

    def __init__(
        self,
        state: State,
        commits: GroupCommit,
        clock: Clock,
        destination: Destination,
        troubles: Troubles,
        state_failure: StateFailure,
        limits: RateLimits,
        *,
        burst: int,
    ) -> None:
        self.awake = asyncio.Event()
        self.stopping = False
        self._state = state
        self._commits = commits
        self._clock = clock
        self._destination = destination
        self._state_failure = state_failure
        self._burst = burst
        self._one_by_one = False  # whether what was due last leaves one by one
        self._flood = 0  # the newest alert that was due when a digest left
        self._availability = Availability(state, clock, troubles, destination)
        self._sender = MessageSender(
            state,
            commits,
            clock,
            destination,
            troubles,
            state_failure,
            self._availability,
            limits,
        )
        self._looks = Looks(state, destination.notifier, self._availability)
        self._updates = Updates(
            state, clock, destination, troubles, self._availability, self._sender.write
        )
        self._defect: str | None = None
        self._prepared = False

    def stop(self) -> None:
        """Stop after the current message."""
        self.stopping = True
        self.awake.set()

    def recover(self) -> None:
        """Settle what another process was sending to the destination when it ended."""
        if messages.recover(self._state, self._destination.name):
            self._sender.note_attempt()

    async def run(self, ends_at: Sequence[IdleReason]) -> IdleReason | None:
        """Work until stopped (None), or until it is idle for one of these reasons."""
        try:
            while not self.stopping:
                self.awake.clear()
                idle = await self._careful_step()
                if idle is None:
                    continue
                if idle.reason in ends_at:
                    return idle.reason
                if idle.reason is IdleReason.NOTHING_DUE:
                    await self._destination.notifier.close()
                limit = _WAKE_EVERY if idle.seconds is None else min(idle.seconds, _WAKE_EVERY)
                with suppress(TimeoutError):
                    async with self._clock.timeout(limit):
                        await self.awake.wait()
        finally:
            await self._destination.notifier.close()
        return None

    async def _careful_step(self) -> Idle | None:
        """Take a step; an error of the database or a defect of alerter makes the worker idle."""
        try:
            await self._prepare()
            idle = await self.step()
            if idle:
                self._state.flush()
        except StateError as error:
            self._sender.log_once(f"waits: {error}")
            await self._state_failure.notify(error)
            return Idle(IdleReason.NO_STATE, STATE_RETRY)
        except Exception as error:
            reason = phrase_defect(error)
            if reason != self._defect:
                log.exception(
                    'receiver "%s": a defect of alerter; retried in a minute',
                    self._destination.receiver,
                )
                self._defect = reason
            await self._hold_back_after_defect(reason)
            return Idle(IdleReason.BACKING_OFF, _DEFECT_WAIT.total_seconds())
        if idle and idle.reason is IdleReason.NOTHING_DUE:
            self._defect = None
        return idle

    async def _prepare(self) -> None:
        """Prepare the notifier once, before the first step; a refusal holds back as any does."""
        if self._prepared:
            return
        self._prepared = True
        try:
            await self._destination.notifier.prepare()
        except DeliveryError as error:
            await self._sender.hold_back(error)

    async def _hold_back_after_defect(self, reason: str) -> None:
        """Block the destination as if its service had failed: what lasts becomes trouble."""
        error = DeliveryError(reason, ErrorKind.TRANSIENT)
        try:
            await self._sender.write(
                lambda: self._availability.hold_back(error, self._clock.now(), _DEFECT_WAIT)
            )
        except Exception:  # the defect may be there as well; the other workers go on
            log.exception('receiver "%s": a defect is not recorded', self._destination.receiver)

    async def step(self) -> Idle | None:
        """Send one message and return None, or return why there is none to send now."""
        now = self._sender.began = self._clock.now()
        if block := self._availability.check_block(now):
            if block.parked:
                return Idle(IdleReason.PARKED)
            return Idle(IdleReason.BACKING_OFF, (block.until - now).total_seconds())
        work = self._choose(now)
        if isinstance(work, Idle):
            checked = work.reason is IdleReason.NOTHING_DUE and await self._check_blocked(now)
            return None if checked else work
        if (wait := self._sender.claim_slot()) > 0:
            return Idle(IdleReason.PACE, wait)
        if not self._availability.claim_try(now):
            return Idle(IdleReason.PARKED)
        await work()
        return None

    def _choose(self, now: datetime) -> Callable[[], Awaitable[None]] | Idle:
        """Choose the work: resolve a message in doubt, send what is due, or update a message."""
        if self._sender.seconds_to_settle() <= 0 and (
            message := messages.get_unsettled(self._state, self._destination.name, now)
        ):
            return partial(self._resolve_in_doubt, message, now)
        if members := self._due(now):
            return partial(self._send_new, members, now)
        upcoming = outbox.get_upcoming(self._state, self._destination.name, now)
        if outdated := self._updates.due(upcoming.update_at, now):
            return partial(self._update, *outdated)
        return self._until_next(upcoming, now)

    def _due(self, now: datetime) -> list[DueDelivery]:
        """Return due deliveries: enough to decide on a digest, or as many as one may hold.

        Where the first leaves by itself, no other is needed.
        """
        find = partial(outbox.due_deliveries, self._state, self._destination.name, now)
        if self._one_by_one:
            found = find(1)
            if not found or found[0].grouping is Grouping.EACH:
                return found
        found = find(self._burst + 1)
        self._one_by_one = bool(found) and found[0].grouping is Grouping.EACH
        if len(found) > self._burst and not self._one_by_one:
            found = find(max(self._burst + 1, self._sender.digest))
        return found

    def _until_next(self, upcoming: Upcoming, now: datetime) -> Idle:
        destination, settle_at = self._destination.name, upcoming.settle_at
        due_at = self._shorten_hold(upcoming.due_at, now)
        waits = [due_at, settle_at, self._updates.next_at(upcoming.update_at, now)]
        seconds = min(
            (max((at - now).total_seconds(), 0.0) for at in waits if at is not None), default=None
        )
        if settle_at and messages.is_in_doubt(self._state, destination):
            settle = self._sender.seconds_to_settle()
            wait = max((settle_at - now).total_seconds(), settle)
            reason = IdleReason.SETTLING if wait <= _SETTLED_SOON else IdleReason.IN_DOUBT
            return Idle(reason, max(seconds or 0.0, settle))
        return Idle(IdleReason.NOTHING_DUE, seconds)

    def _shorten_hold(self, due_at: datetime | None, now: datetime) -> datetime | None:
        """Shorten a hold that outlasts the quiet hours; return when the next delivery is due.

        While the clock was ahead, a delivery may have been held until a night far in the future.
        """
        if due_at is None or self._destination.held_until is None:
            return due_at
        latest = self._destination.held_until(now) or now
        if due_at > latest and outbox.shorten_holds(self._state, self._destination.name, latest):
            return latest
        return due_at

    async def _check_blocked(self, now: datetime) -> bool:
        """Check a destination that failed and has nothing to send; False: no check is due."""
        if not self._destination.notifier.can_check:
            return self._availability.lift_ended(now)
        if not self._availability.claim_check(now):
            return False
        if all(finding.ok for finding in await self._destination.notifier.check()):
            await self._sender.write(lambda: self._availability.mark_check_passed(now))
        return True

    async def _send_new(self, members: Sequence[DueDelivery], now: datetime) -> None:
        """Claim the first of the due deliveries, or a digest of them, and send it."""
        is_flood = members[0].alert <= self._flood
        form, alerts = group(members, self._burst, self._sender.digest, is_flood=is_flood)
        if form is Form.DIGEST:
            self._flood = outbox.newest_due(self._state, self._destination.name, now)
            alerts = largest_that_fits(self._state, self._destination, alerts, now)
            form = Form.DIGEST if len(alerts) > 1 else Form.ALERT
        thread = next((member.thread for member in members if member.alert == alerts[0]), None)
        claim = partial(
            outbox.claim,
            self._state,
            self._destination.name,
            form,
            alerts,
            f"{uuid4().hex}@{self._destination.notifier.domain}",
            now,
            thread=thread,
            service_time=self._destination.notifier.service_time(now),
        )
        message = await self._commits.run(claim)
        if message:
            await self._sender.send(message)

    async def _update(self, message: Message, changes: int) -> None:
        await self._updates.update(message, changes, self._sender.began)
        self._sender.take_slot()

    async def _resolve_in_doubt(self, message: Message, now: datetime) -> None:
        """Take the next step with a message in doubt, or not accepted by some addresses yet."""
        notifier = self._destination.notifier
        step = next_step(message, now, can_look=notifier.can_look, keeps_uid=notifier.keeps_uid)
        if step is Step.LOOK:
            await self._look(message, now)
        elif step is Step.GIVE_UP:
            reason = "its answer was lost each time; it may have arrived"
            await self._sender.give_up(message, reason)
        else:
            await self._sender.send_again(replace(message, repeat=step is Step.REPEAT))

    async def _look(self, message: Message, now: datetime) -> None:
        try:
            found = await self._looks.look(message, now)
        except DeliveryError as error:
            await self._sender.hold_back(error)
            return
        if isinstance(found, Receipt):
            await self._sender.record_accepted(message, found)
        elif found and not found.lost and messages.has_closed_review(self._state, found):
            # It has certainly not arrived: of a closed review, what is unsent is cancelled.
            await self._sender.write(partial(messages.dissolve, self._state, found))
        elif found:
            await self._sender.send_again(found)
