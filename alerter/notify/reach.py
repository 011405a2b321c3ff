"""Whether a destination can be called now: waits, parking and bad addresses, and the trouble that they are."""

from datetime import datetime, timedelta
from random import Random

from alerter.clock import Clock
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Medium, Receipt
from alerter.notify import backoff
from alerter.notify.destination import Destination
from alerter.store import State, blocks
from alerter.store.blocks import Block
from alerter.trouble.tracker import Troubles

# How often a destination that failed is looked at while nothing waits for it.
_LOOK_EVERY = timedelta(minutes=5)


class Reach:
    """The blocks of one destination, its service and its addresses."""

    def __init__(
        self, state: State, clock: Clock, troubles: Troubles, destination: Destination
    ) -> None:
        self._scopes = destination.scopes
        self._service = destination.service
        self._addresses = f"addresses:{destination.receiver}"
        self._all = [
            *self._scopes,
            *([self._addresses] if destination.medium == Medium.EMAIL else []),
        ]
        self._state = state
        self._clock = clock
        self._troubles = troubles
        self._random = Random()  # noqa: S311 - jitter

    def held(self, now: datetime) -> Block | None:
        """Return what keeps the destination from being called now; what has lasted becomes trouble."""
        block = blocks.get_block(self._state, self._scopes, now)
        if block:
            self._troubles.notice(block.scope, block.since)
        return block

    def claim_try(self, now: datetime) -> bool:
        """Take the try that is due of what is parked, before a message is sent; False where nothing is parked."""
        return bool(blocks.claim_attempt(self._state, self._all, now))

    def claim_look(self, now: datetime) -> bool:
        """Take the try that is due where no message waits: a look at the service shows whether it works again."""
        return self.claim_try(now) or bool(
            blocks.claim_attempt(self._state, self._all, now, _LOOK_EVERY, parked=False)
        )

    def note_look(self, began: datetime) -> None:
        """Note that a look found everything good."""
        with self._state.transaction(*self._scopes):
            blocks.lift_blocks_before(self._state, self._all, began)
            self._troubles.reached(self._all)

    def note_reached(self, began: datetime) -> None:
        """Note that a call that began at a moment was answered well; what was blocked since then still is."""
        with self._state.transaction(*self._scopes):
            blocks.lift_blocks_before(self._state, self._scopes, began)
            self._troubles.reached(self._scopes)

    def note_there(self, began: datetime) -> None:
        """Note that the destination's service answered a look: only that look has to wait."""
        with self._state.transaction(*self._scopes):
            blocks.lift_blocks_before(self._state, self._scopes[:1], began)
            self._troubles.reached(self._scopes[:1])

    def note_taken(self, receipt: Receipt, *, by_the_rest: bool) -> None:
        """Note which addresses took a mail, or the rest of them did, within a transaction."""
        if self._addresses not in self._all:
            return
        if receipt.refused:
            reason = f"{receipt.refused} of them: {receipt.answer}"
            blocks.set_block(self._state, self._addresses, self._clock.now(), None, reason)
            self._troubles.begin(self._addresses, reason)
        else:
            # The rest says nothing of an address that refused the mail for good before.
            blocks.lift_blocks(self._state, [self._addresses], keep_parked=by_the_rest)
            self._troubles.reached([self._addresses])

    def note_not_taken(self, due_at: datetime, reason: str) -> None:
        """Note that some addresses did not take a mail for now, within a transaction."""
        now = self._clock.now()
        blocks.set_block(self._state, self._addresses, now, due_at, reason)
        self._troubles.notice(
            self._addresses, blocks.blocked_since(self._state, self._addresses) or now
        )

    def wait_after(self, error: DeliveryError, now: datetime) -> timedelta | None:
        """How long an error keeps us from calling; None: until a person has mended something."""
        since = blocks.blocked_since(self._state, self._scope_of(error)) or now
        return backoff.wait(
            error.kind, max(now - since, timedelta()), error.retry_after, self._random
        )

    def hold_back(self, error: DeliveryError, now: datetime, wait: timedelta | None) -> None:
        """Leave what an error is the fault of alone for a while, or park it."""
        scope, reason = self._scope_of(error), str(error)
        with self._state.transaction(*self._scopes):
            blocks.set_block(
                self._state, scope, now, now + wait if wait is not None else None, reason
            )
            if wait is None:
                self._troubles.begin(scope, reason)
            else:
                self._troubles.notice(scope, blocks.blocked_since(self._state, scope) or now)

    def method_held(self, method: str, now: datetime) -> datetime | None:
        """Return until when a method of the service must not be called, where posting may go on."""
        block = blocks.get_block(self._state, [self._method_scope(method)], now)
        return block.until if block else None

    def hold_method(self, method: str, error: DeliveryError, now: datetime) -> datetime:
        """Leave one method of the service alone, as it asked; returns until when."""
        wait = backoff.wait(ErrorKind.THROTTLED, timedelta(), error.retry_after, self._random)
        until = now + (wait or timedelta())
        blocks.set_block(self._state, self._method_scope(method), now, until, str(error))
        return until

    def note_answered(self, method: str, began: datetime) -> None:
        """Note that a method, whose call began at a moment, was not throttled."""
        scope = self._method_scope(method)
        if blocks.blocked_since(self._state, scope):
            with self._state.transaction(*self._scopes):
                blocks.lift_blocks_before(self._state, [scope], began)
                self._troubles.reached([scope])

    def wait_for_addresses(self, attempts: int) -> timedelta:
        """Return how long to wait before a mail goes to the addresses again that did not take it."""
        tried_for = timedelta(seconds=2 ** min(attempts, 6))
        return backoff.wait(ErrorKind.TRANSIENT, tried_for, None, self._random) or timedelta()

    def _method_scope(self, method: str) -> str:
        return f"method:{self._service}:{method}"

    def _scope_of(self, error: DeliveryError) -> str:
        return self._scopes[1 if error.kind in (ErrorKind.THROTTLED, ErrorKind.SERVICE) else 0]
