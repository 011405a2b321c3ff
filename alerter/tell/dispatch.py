"""Due deliveries → grouped into messages → sent → marked; one worker a destination, woken by the commit."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random
from uuid import uuid4

from alerter.clock import Clock
from alerter.config import Config
from alerter.counters import counts
from alerter.errors import DeliveryError, Kind, RenderError, StateError
from alerter.models import AlertKind, Form, Grouping, Message, Receipt
from alerter.store import State, outbox
from alerter.store.outbox import Due
from alerter.tell import backoff
from alerter.tell.outlet import Outlet
from alerter.tell.reach import Reach
from alerter.tell.state_alarm import StateAlarm
from alerter.trouble import Troubles

log = logging.getLogger(__name__)

# What is due goes by the wall clock, which may be set, or go on while the machine sleeps; and no delivery depends on
# its worker being woken.
_LOOK_AGAIN = 60.0
_STATE_WAIT = 1.0
_BUG_WAIT = 60.0
# A digest that a service will not have is tried in halves; below this size, one review at a time.
_SMALLEST_DIGEST = 10
_OF_TROUBLE = (AlertKind.TROUBLE, AlertKind.RECOVERED)


class Why(StrEnum):
    """Why a worker has nothing to do now."""

    NOTHING_DUE = "nothing is due"
    PACE = "the channel has just had a message"
    SETTLING = "too early to look for a message in doubt"
    HELD_BACK = "the destination or its service is left alone for a while"
    PARKED = "the destination or its service waits for a person"
    NO_STATE = "the state file cannot be used now"


@dataclass(frozen=True, slots=True)
class Pause:
    """A worker's rest: why, and for how many seconds (None: until something is queued, or mended)."""

    why: Why
    seconds: float | None = None


class Dispatcher:
    """Runs a worker for each destination."""

    def __init__(
        self, state: State, config: Config, clock: Clock, outlets: Sequence[Outlet], *, pace: float = 1.0
    ) -> None:
        turns: dict[str, float] = {}
        self._state = state
        self.troubles = Troubles(state, config, clock, self.wake)
        self.alarm = StateAlarm(config, clock, outlets, state)
        self._workers = {
            outlet.destination: Worker(
                state, clock, outlet, self.troubles, self.alarm, burst=config.alerts.burst, pace=pace, turns=turns
            )
            for outlet in outlets
        }

    def wake(self, destinations: Iterable[str]) -> None:
        """Have the workers of these destinations look at the outbox."""
        for destination in destinations:
            if worker := self._workers.get(destination):
                worker.awake.set()

    def wake_all(self) -> None:
        """Have every worker look where another process has queued something, or a person mended something."""
        try:
            changed = self._state.changed_elsewhere()
        except StateError:
            changed = True  # the workers say what is wrong with it
        if changed:
            self.wake(self._workers)

    async def run(self, ends_at: Sequence[Why] = ()) -> bool:
        """Send until every worker has come to a rest for one of these reasons; for ever where there is none.

        Returns whether nothing that was due is left.
        """
        while True:
            async with asyncio.TaskGroup() as workers:
                rests = [workers.create_task(worker.run(ends_at)) for worker in self._workers.values()]
            # One that had come to its rest may have been woken since: it is to tell of another's trouble.
            if not any(worker.awake.is_set() and not worker.stopping for worker in self._workers.values()):
                return all(rest.result() is Why.NOTHING_DUE for rest in rests)

    def stop(self) -> None:
        """Let each worker end the message in hand, and no other."""
        for worker in self._workers.values():
            worker.stopping = True
            worker.awake.set()


class Worker:
    """Sends what is due to one destination, one message after the other."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        outlet: Outlet,
        troubles: Troubles,
        alarm: StateAlarm,
        *,
        burst: int,
        pace: float,
        turns: dict[str, float],
    ) -> None:
        self.awake = asyncio.Event()
        self.stopping = False
        self._state = state
        self._clock = clock
        self._outlet = outlet
        self._troubles = troubles
        self._alarm = alarm
        self._burst = burst
        self._pace = pace
        self._turns = turns
        self._digest = outlet.digest
        self._random = Random()  # noqa: S311 - jitter
        # A message that the process before left in doubt may have gone out just now.
        self._attempted = clock.monotonic()
        self._reach = Reach(state, clock, troubles, outlet)
        self._began = clock.now()
        self._told: str | None = None

    async def run(self, ends_at: Sequence[Why]) -> Why | None:
        """Work until stopped (None), or until there is a rest for one of these reasons, and return that."""
        try:
            while not self.stopping:
                self.awake.clear()
                pause = await self._careful_step()
                if pause is None:
                    continue
                if pause.why in ends_at:
                    return pause.why
                if pause.why is Why.NOTHING_DUE:
                    await self._outlet.notifier.close()
                await self._rest(pause.seconds)
        finally:
            await self._outlet.notifier.close()
        return None

    async def _rest(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with self._clock.timeout(_LOOK_AGAIN if seconds is None else min(seconds, _LOOK_AGAIN)):
                await self.awake.wait()

    async def _careful_step(self) -> Pause | None:
        try:
            pause = await self.step()
            if pause:
                self._state.flush()
        except StateError as error:
            self._tell(f"waits: {error}")
            await self._alarm.ring(error)
            return Pause(Why.NO_STATE, _STATE_WAIT)
        except Exception:
            log.exception('receiver "%s": a fault of alerter itself; it goes on in a minute', self._outlet.receiver)
            return Pause(Why.NO_STATE, _BUG_WAIT)
        return pause

    async def step(self) -> Pause | None:
        """Send one message and return None, or say why there is none to send now."""
        now = self._began = self._clock.now()
        if block := self._reach.held(now):
            wait = None if block.parked else (block.until - now).total_seconds()
            return Pause(Why.PARKED if block.parked else Why.HELD_BACK, wait)
        message = outbox.under_way(self._state, self._outlet.destination, now)
        if message and (wait := self._too_early()) > 0:
            return Pause(Why.SETTLING, wait)
        members = [] if message else self._due(now)
        changed = None if message or members else outbox.stale(self._state, self._outlet.destination)
        if not (message or members or changed):
            return None if await self._looked(now) else self._until_next()
        if self._outlet.lane and (wait := self._turns.get(self._outlet.lane, 0) - self._clock.monotonic()) > 0:
            return Pause(Why.PACE, wait)
        self._reach.claim_try(now)
        self._take_turn()
        if message:
            await self._settle(message)
        elif members:
            await self._send_new(members, now)
        elif changed:
            await self._update(*changed)
        return None

    async def _looked(self, now: datetime) -> bool:
        """Where nothing is to be sent, look whether what failed works again; False where nothing had."""
        if not self._reach.claim_look(now):
            return False
        if all(finding.ok for finding in await self._outlet.notifier.check()):
            await self._write(lambda: self._reach.note_look(now))
        return True

    async def _send_new(self, members: Sequence[Due], now: datetime) -> None:
        form, alerts = group(members, self._burst, self._digest)
        thread = next((member.thread for member in members if member.alert == alerts[0]), None)
        uid = f"{uuid4().hex}@{self._outlet.notifier.domain}"
        if message := outbox.claim(self._state, self._outlet.destination, form, alerts, uid, now, thread):
            await self._attempt(message)

    async def _update(self, message: Message, changes: int) -> None:
        """Have a message say what is so now; done twice, it does no harm."""
        try:
            await self._outlet.notifier.update(message, self._outlet.render(message))
            await self._write(lambda: self._reach.note_reached(self._began))
        except RenderError as error:
            log.error('receiver "%s": a message keeps its old words: %s', self._outlet.receiver, error)  # noqa: TRY400
        except DeliveryError as error:
            if error.kind is not Kind.MESSAGE:
                await self._hold_back(error)
                return
            if not message.plain:
                await self._update(replace(message, plain=True), changes)
                return
            log.warning('receiver "%s": a message keeps its old words: %s', self._outlet.receiver, error)
        await self._write(lambda: outbox.updated(self._state, message, changes, []))
        self._take_turn()

    def _due(self, now: datetime) -> list[Due]:
        """What may leave now: as much as shows whether that is a digest, and then as much as fits into one."""
        found = outbox.due(self._state, self._outlet.destination, now, self._burst + 1)
        if len(found) > self._burst and found[0].grouping is not Grouping.EACH:
            found = outbox.due(self._state, self._outlet.destination, now, max(self._burst + 1, self._digest))
        return found

    def _until_next(self) -> Pause:
        due_at = outbox.next_due(self._state, self._outlet.destination)
        if due_at is None:
            return Pause(Why.NOTHING_DUE)
        return Pause(Why.NOTHING_DUE, max((due_at - self._clock.now()).total_seconds(), 0.0))

    def _too_early(self) -> float:
        """The seconds before a message in doubt can be looked for, by the clock that nobody sets."""
        return self._outlet.notifier.settle_after.total_seconds() - (self._clock.monotonic() - self._attempted)

    async def _settle(self, message: Message) -> None:
        """Look whether a message in doubt has arrived, and send it again if it has not."""
        try:
            receipt = await self._outlet.notifier.find(message)
        except DeliveryError as error:
            # Nothing was sent, so the message itself cannot be at fault.
            kind = Kind.TRANSIENT if error.kind is Kind.MESSAGE else error.kind
            await self._refused(message, DeliveryError(str(error), kind, retry_after=error.retry_after))
            return
        if receipt:
            await self._sent(message, receipt)
            return
        outbox.attempt_again(self._state, message, self._clock.now(), plain=message.plain)
        # Where one can look, a message that is not there has not arrived; a mailbox keeps its secret.
        await self._attempt(replace(message, in_doubt=not self._outlet.notifier.can_look))

    async def _attempt(self, message: Message) -> None:
        try:
            content = self._outlet.render(message)
            receipt = await self._outlet.notifier.send(message, content)
        except RenderError as error:
            await self._refused(message, DeliveryError(str(error), Kind.MESSAGE))
        except DeliveryError as error:
            await self._refused(message, error)
        else:
            await self._sent(message, receipt, content.subject)
        finally:
            self._attempted = self._clock.monotonic()
            self._take_turn()

    def _take_turn(self) -> None:
        """Nobody else posts to the channel for a while: from before the call on, and again from its answer on."""
        if self._outlet.lane:
            self._turns[self._outlet.lane] = self._clock.monotonic() + self._pace

    async def _sent(self, message: Message, receipt: Receipt, subject: str = "") -> None:
        if receipt.to_left:
            await self._try_the_rest_later(message, receipt.to_left)
            return
        await self._write(lambda: self._record_sent(message, receipt, subject))
        counts["messages_sent"] += 1
        counts[f"deliveries_sent:{self._outlet.receiver}"] += len(message.entries)
        if receipt.refused:
            log.error(
                'receiver "%s": %d of its addresses refused a mail for good, the others have it; correct the config',
                self._outlet.receiver,
                receipt.refused,
            )
        if self._told:
            log.info('receiver "%s": is reached again', self._outlet.receiver)
            self._told = None

    def _record_sent(self, message: Message, receipt: Receipt, subject: str) -> None:
        """Waits for no disk: a mark that a power failure takes leaves what any death before the mark leaves."""
        with self._state.transaction(relaxed=True):
            outbox.sent(self._state, message, receipt, [], subject)
            self._reach.note_reached(self._began)
            self._reach.note_taken(receipt, by_the_rest=bool(message.to_left))
            self._troubles.templates(self._outlet.faults())

    async def _try_the_rest_later(self, message: Message, to_left: Sequence[str]) -> None:
        """Most of a receiver's addresses have a message: the rest must not hold up what comes after it."""
        tried_for = timedelta(seconds=2 ** min(message.attempts, 6))
        wait = backoff.wait(Kind.TRANSIENT, tried_for, None, self._random) or timedelta()
        due_at = self._clock.now() + wait
        reason = f"{len(to_left)} of its addresses did not take a mail yet"
        await self._write(lambda: self._record_partly_taken(message, to_left, due_at, reason))
        self._tell(reason)

    def _record_partly_taken(self, message: Message, to_left: Sequence[str], due_at: datetime, reason: str) -> None:
        with self._state.transaction():
            outbox.partly_taken(self._state, message, to_left, due_at)
            self._reach.note_not_taken(due_at, reason)

    async def _refused(self, message: Message, error: DeliveryError) -> None:
        if error.kind is Kind.MESSAGE:
            await self._refused_for_itself(message, error)
            return
        if error.kind is Kind.TRANSIENT and message.to_left:
            await self._try_the_rest_later(message, message.to_left)
            return
        if error.in_doubt or message.in_doubt:
            await self._write(lambda: outbox.doubt(self._state, message, str(error)))
        else:
            await self._write(lambda: outbox.dissolve(self._state, message))
        await self._hold_back(error)

    async def _refused_for_itself(self, message: Message, error: DeliveryError) -> None:
        """Try in smaller pieces, then as plain text; then this one has failed, and others go on."""
        size = len(message.entries)
        if size > 1 and not message.in_doubt:
            self._digest = max(size // 2, _SMALLEST_DIGEST)
            alone = Grouping.EACH if size <= _SMALLEST_DIGEST else None
            await self._write(lambda: outbox.dissolve(self._state, message, alone))
            log.warning('receiver "%s": a digest of %d is tried in pieces: %s', self._outlet.receiver, size, error)
            return
        if not message.plain:
            again = replace(message, plain=True)
            await self._write(lambda: outbox.attempt_again(self._state, again, self._clock.now(), plain=True))
            await self._attempt(again)
            return
        await self._write(lambda: self._record_failed(message, str(error)))
        counts[f"deliveries_failed:{self._outlet.receiver}"] += size
        keys = ", ".join(entry.alert.key for entry in message.entries)
        log.error('receiver "%s": given up: %s: %s', self._outlet.receiver, keys, error)

    def _record_failed(self, message: Message, reason: str) -> None:
        # Trouble that cannot be told is not told of: that would never end.
        keys = [entry.alert.key for entry in message.entries if entry.alert.kind not in _OF_TROUBLE]
        with self._state.transaction():
            outbox.failed(self._state, message, reason)
            if keys:
                self._troubles.failed(self._outlet.destination, keys, reason)

    async def _hold_back(self, error: DeliveryError) -> None:
        now = self._clock.now()
        wait = self._reach.wait_after(error, now)
        await self._write(lambda: self._reach.hold_back(error, now, wait))
        self._tell(f"parked: {error}; then `alerter retry`" if wait is None else f"waits: {error}")

    async def _write(self, change: Callable[[], None]) -> None:
        """Write what a service has said, however long the state file takes to become writable again."""
        while True:
            try:
                change()
            except StateError as error:
                self._tell(f"an answer waits to be recorded: {error}")
                await self._alarm.ring(error)
                await self._clock.sleep(_STATE_WAIT)
            else:
                return

    def _tell(self, text: str) -> None:
        """Log what keeps us from sending, once until it changes."""
        if text != self._told:
            log.warning('receiver "%s": %s', self._outlet.receiver, text)
            self._told = text


def group(members: Sequence[Due], burst: int, digest: int) -> tuple[Form, list[int]]:
    """Which of the due deliveries (oldest first) leave together, and in what form. Pure."""
    first = members[0]
    # What Slack shows beneath an earlier message stays with what belongs there, and everything else without it.
    alike = [member for member in members if member.thread == first.thread]
    others = [member.alert for member in alike if member.grouping is not Grouping.EACH]
    if first.grouping is Grouping.EACH or (first.grouping is Grouping.BURST and len(others) <= burst):
        return Form.ALERT, [first.alert]
    together = others[:digest]
    return (Form.DIGEST if len(together) > 1 else Form.ALERT), together
