"""Record what people do about reviews, and carry it out: at Wix exactly once."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

from alerter.actions import Action, ActionKind, NewAction, Outcome
from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.errors import (
    StateBusy,
    StateError,
    WixAuthError,
    WixError,
    WixNotFound,
    WixRefused,
    WixThrottled,
    WixUnavailable,
)
from alerter.models import Review, Status
from alerter.respond.rules import decide
from alerter.scopes import Scope
from alerter.store import State, Wake, actions, holds, reviews, stale_messages
from alerter.wix.client import WixClient
from alerter.wix.waits import respect_waits

log = logging.getLogger(__name__)

# How long a process may carry an action out after its last step, before another takes it over.
LEASE = timedelta(seconds=60)
# Seconds that one call to Wix may take: it must end within the lease.
_CALL = 25.0
# Seconds after a lost answer at which Wix is asked whether the call has arrived.
_READ_BACK = (2.0, 5.0, 15.0)
_MOST_CALLS = 2
# How long an action waits for Wix, and between two tries.
WAITS_FOR_WIX = timedelta(hours=1)
_SHORTEST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(minutes=1)
# The owner of what the process carries out that holds the lock of the database.
DAEMON = "run"
_GOOD = {Outcome.DONE, Outcome.ALREADY, Outcome.CHANGED_MEANWHILE}

Record = Callable[[Site, Review], Awaitable[object]]


class _TakenOver(Exception):
    """Another process has taken the action over."""


class Responder:
    """Records and carries out actions.

    `record` stores what Wix returned about a review, `wake` wakes the workers of destinations.
    `patience`: how long an action waits for Wix. `owner`: DAEMON, or any other process.
    """

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        wix: WixClient,
        record: Record,
        wake: Wake,
        *,
        patience: timedelta = WAITS_FOR_WIX,
        owner: str = "command",
    ) -> None:
        self._state = state
        self._clock = clock
        self._wix = wix
        self._record = record
        self._wake = wake
        self._patience = patience
        self._owner = owner
        self._sites = {site.site_id: site for site in config.sites}

    def request(self, new: NewAction) -> Action:
        """Record an action, and return it; one that needs no call to Wix is settled at once.

        An action whose key is on record already is returned as it is. Raise StateError.
        """
        with self._state.transaction(Scope.SITE.of(new.site_id)):
            action, is_new = actions.put_action(self._state, new, self._clock.now())
            if is_new and not new.kind.is_call:
                action = self._settle_here(action)
            woken = self._mark_stale(new) if is_new else set()
        if is_new:
            log.info(
                "action recorded: kind=%s through=%s review=%s",
                new.kind,
                new.through,
                new.review_id,
            )
        self._wake(woken)
        return action

    async def carry_out(self, action: Action) -> Action:
        """Carry out an action at Wix; return it settled, or as it is where it has to wait.

        Raise StateError.
        """
        owner = f"{self._owner}:{uuid4()}"
        with self._state.transaction(Scope.SITE.of(action.new.site_id)):
            taken = actions.take_action(self._state, action.id, owner, self._clock.now(), LEASE)
        if taken is None:
            return actions.get_action(self._state, action.id) or action
        try:
            return await self._carry_out(taken)
        except _TakenOver:
            log.warning("action taken over by another process: review=%s", action.new.review_id)
            return actions.get_action(self._state, action.id) or action

    async def _carry_out(self, action: Action) -> Action:
        site = self._sites.get(action.new.site_id)
        if site is None:
            return self._settle(action, Outcome.GONE, "the config does not have its site")
        if action.calls:  # the process that called Wix has died since
            return await self._read_back(action, site)
        return await self._look_and_call(action, site)

    async def _look_and_call(self, action: Action, site: Site) -> Action:
        """Read the review, and send the action unless what was read is a reason against it."""
        try:
            before = await self._read(action, site)
        except WixError as error:
            return self._fail(action, error)
        if (outcome := decide(action, before)) is not None:
            return self._settle(action, outcome, "")
        action = replace(action, calls=action.calls + 1, looked=before.revision)
        self._renew(action)
        try:
            after = await self._call(action, site)
        except (WixNotFound, WixAuthError, WixRefused, WixThrottled) as error:
            action = replace(action, calls=action.calls - 1)
            self._renew(action)
            return self._fail(action, error)
        except WixError as error:
            log.info("answer lost: review=%s: %s", action.new.review_id, error)
            return await self._read_back(action, site)
        if after is None:
            return self._settle(action, Outcome.DONE, "")
        outcome = decide(action, after)
        if outcome is None or outcome not in _GOOD:
            return await self._read_back(action, site)
        await self._record_read(site, after)
        return self._settle(action, outcome, "")

    async def _read_back(self, action: Action, site: Site) -> Action:
        """Find out whether a call has arrived whose answer was lost; else send it once more."""
        last: Review | WixError | None = None
        for seconds in _READ_BACK:
            await self._clock.sleep(seconds)
            self._renew(action)
            try:
                last = await self._read(action, site)
            except WixError as error:
                last = error
                if isinstance(error, WixNotFound | WixAuthError):
                    break
            else:
                if (outcome := decide(action, last)) is not None:
                    return self._settle(action, outcome, "")
        if isinstance(last, WixNotFound | WixAuthError):
            # Wix may have taken the call before the review or the permission went.
            return self._settle(action, Outcome.LOST, last.text)
        if isinstance(last, WixError):
            return self._fail(action, last)
        if action.calls < _MOST_CALLS:
            return await self._look_and_call(action, site)
        return self._settle(action, Outcome.LOST, "")

    async def _read(self, action: Action, site: Site) -> Review:
        """Read the review, and record it. Raise WixError."""
        async with self._asking(site):
            review = await self._wix.review(site, action.new.review_id)
        await self._record_read(site, review)
        return review

    async def _call(self, action: Action, site: Site) -> Review | None:
        """Call Wix, and return the review after it, where Wix returns it. Raise WixError."""
        new = action.new
        async with self._asking(site):
            if new.kind is ActionKind.REPLY:
                return await self._wix.set_reply(site, new.review_id, new.reply)
            publish = new.kind is ActionKind.PUBLISH
            return await self._wix.moderate(site, new.review_id, publish=publish)

    @asynccontextmanager
    async def _asking(self, site: Site) -> AsyncIterator[None]:
        """Limit a call in time, and respect and record until when Wix wants no calls of a site."""
        async with respect_waits(self._state, self._clock, site.site_id):
            try:
                async with self._clock.timeout(_CALL):
                    yield
            except TimeoutError:
                raise WixUnavailable("Wix did not answer in time") from None

    async def _record_read(self, site: Site, review: Review) -> None:
        try:
            await self._record(site, review)
        except StateBusy as error:
            log.warning("review not recorded yet, the next rescan does it: %s", error)

    def _renew(self, action: Action) -> None:
        """Record the next step before it is made. Raise _TakenOver."""
        with self._state.transaction(Scope.SITE.of(action.new.site_id)):
            if not actions.renew_lease(self._state, action, self._clock.now(), LEASE):
                raise _TakenOver

    def _fail(self, action: Action, error: WixError) -> Action:
        """Settle an action that Wix refuses, or try it later while Wix cannot be asked."""
        if isinstance(error, WixNotFound):
            return self._settle(action, Outcome.GONE, error.text)
        if isinstance(error, WixAuthError):
            return self._settle(action, Outcome.FORBIDDEN, error.text)
        if isinstance(error, WixRefused):
            return self._settle(action, Outcome.REFUSED, error.text)
        now = self._clock.now()
        retry_after = error.retry_after if isinstance(error, WixUnavailable) else None
        wait = max(_SHORTEST_WAIT, min(abs(now - action.at), _LONGEST_WAIT))
        wait = max(wait, timedelta(seconds=retry_after or 0))
        if abs(now - action.at) + wait > self._patience:
            outcome = Outcome.LOST if action.calls else Outcome.UNREACHABLE
            return self._settle(action, outcome, error.text)
        with self._state.transaction(Scope.SITE.of(action.new.site_id)):
            actions.postpone_action(self._state, action, now + wait)
        return actions.get_action(self._state, action.id) or action

    def _settle(self, action: Action, outcome: Outcome, answer: str) -> Action:
        with self._state.transaction(Scope.SITE.of(action.new.site_id)):
            settled = self._settle_within(action, outcome, answer)
            woken = self._mark_stale(action.new)
        log.info(
            "action settled: kind=%s outcome=%s review=%s",
            action.new.kind,
            outcome,
            action.new.review_id,
        )
        self._wake(woken)
        return settled

    def _settle_within(self, action: Action, outcome: Outcome, answer: str) -> Action:
        return actions.settle_action(
            self._state, action, outcome, answer, self._clock.now(), good=outcome in _GOOD
        )

    def _settle_here(self, action: Action) -> Action:
        """Apply a claim, a release or a snooze, within the transaction that records it."""
        new, now = action.new, self._clock.now()
        known = reviews.get_reviews(self._state, new.site_id, [new.review_id]).get(new.review_id)
        if known is None:
            return self._settle_within(action, Outcome.GONE, "")
        if known.status is not Status.OPEN:
            return self._settle_within(action, Outcome.NOT_OPEN, known.closing or "")
        if new.kind is not ActionKind.RELEASE:
            holds.hold_back_reminders(self._state, new.site_id, new.review_id)
        ended = ActionKind.SNOOZE if new.kind is ActionKind.SNOOZE else ActionKind.CLAIM
        before = actions.end_holds(self._state, new.site_id, [new.review_id], now, ended)
        answer = ", ".join(name for name in before if name != new.person.name)
        return self._settle_within(action, Outcome.DONE, answer)

    def _mark_stale(self, new: NewAction) -> set[str]:
        """Record that messages do not show yet what people do; return their destinations."""
        return stale_messages.mark_stale(self._state, new.site_id, [new.review_id])


class PendingActions:
    """Carries out actions in tasks of their own.

    `round` takes those that no living process carries out: it died, or put them off.
    """

    _AT_ONCE = 20

    def __init__(self, state: State, clock: Clock, responder: Responder) -> None:
        self._state = state
        self._clock = clock
        self._responder = responder
        self._tasks: dict[int, asyncio.Task[None]] = {}

    @property
    def under_way(self) -> set[asyncio.Task[None]]:
        """The tasks of the actions that are being carried out."""
        return set(self._tasks.values())

    def start(self, action: Action) -> None:
        """Carry out an action, unless it is settled or being carried out here."""
        if action.is_settled or action.id in self._tasks:
            return
        task = asyncio.create_task(self._carry_out(action))
        self._tasks[action.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(action.id, None))

    async def wait(self, action: Action, seconds: float) -> None:
        """Wait until an action was carried out here as far as possible, or for so many seconds."""
        task = self._tasks.get(action.id)
        if task is None:
            return
        with suppress(TimeoutError):
            async with self._clock.timeout(seconds):
                await asyncio.shield(task)

    async def round(self) -> None:
        """Start the actions that are due."""
        try:
            now = self._clock.now()
            for action in actions.due_actions(
                self._state, now, LEASE, WAITS_FOR_WIX, self._AT_ONCE
            ):
                self.start(action)
        except StateError as error:
            log.warning("actions cannot be read now: %s", error)

    async def _carry_out(self, action: Action) -> None:
        try:
            await self._responder.carry_out(action)
        except StateError as error:
            log.warning("action is tried again later: review=%s: %s", action.new.review_id, error)
