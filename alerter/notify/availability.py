"""Whether a destination can be called now: its waits, its parking and its bad addresses."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from random import Random

from alerter.clock import Clock
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Medium, Receipt
from alerter.notify import backoff
from alerter.notify.destination import Destination
from alerter.scopes import ALL_TROUBLE, Scope, method_scope
from alerter.store import State, blocks, troubles
from alerter.store.blocks import Block
from alerter.trouble.tracker import Troubles

# A destination that failed and has nothing to send is checked this often.
_CHECK_EVERY = timedelta(minutes=5)


class Availability:
    """The blocks of one destination, its service and its addresses.

    A block that is set or lifted begins or ends the trouble of its scope in the same transaction,
    which holds `locks`.
    """

    def __init__(
        self, state: State, clock: Clock, troubles: Troubles, destination: Destination
    ) -> None:
        self._service = destination.service
        self._own = Scope.DESTINATION.of(destination.name)
        self._shared = Scope.SERVICE.of(destination.service)
        self._scopes = [self._own, self._shared]  # whose blocks hold it back
        # How long a parked service asked us to wait: it is not tried before, `retry` or not.
        self._asked_wait = self._method_scope("send")
        self._addresses = Scope.ADDRESSES.of(destination.receiver)
        self._all = [
            *self._scopes,
            *([self._addresses] if destination.medium == Medium.EMAIL else []),
        ]
        waits = [self._asked_wait, self._method_scope("look"), self._method_scope("update")]
        self._blockable = [*self._all, *waits]
        self.locks = {*self._scopes, ALL_TROUBLE}
        self._state = state
        self._clock = clock
        self._troubles = troubles
        # Whether there are blocks at all, and what is parked may be tried, since `check_block`.
        self._has_blocks = True
        self._try_is_due = False
        self._random = Random()  # noqa: S311 - jitter

    def check_block(self, now: datetime) -> Block | None:
        """Return the block that holds now, if any; one that has lasted begins trouble.

        Call it at the beginning of each step: where it finds none, the step looks for no other.
        """
        self._has_blocks, self._try_is_due = blocks.have_blocks(self._state, self._blockable), False
        if not self._has_blocks:
            return None
        block, self._try_is_due = blocks.get_block_or_try(
            self._state, [*self._scopes, self._asked_wait], now
        )
        if block:
            self._troubles.begin_if_lasting(block.scope, block.since)
        return block

    def claim_try(self, now: datetime) -> bool:
        """Claim the hourly try of what is parked, before a message is sent.

        False: another process has claimed it since `check_block`.
        """
        return not self._has_blocks or self._claim_parked(now) or not self._try_is_due

    def claim_check(self, now: datetime) -> bool:
        """Claim a check of what is parked or failed, as no message is due; False: none is due."""
        return self._has_blocks and (
            self._claim_parked(now)
            or bool(blocks.claim_attempt(self._state, self._all, now, _CHECK_EVERY, parked=False))
        )

    def _claim_parked(self, now: datetime) -> bool:
        return bool(blocks.claim_attempt(self._state, self._all, now))

    def lift_ended(self, now: datetime) -> bool:
        """Lift the blocks that are over, where nothing is due and only a message could be tried.

        Return whether there were any. What is parked stays parked until a message is sent.
        """
        ended = blocks.ended_blocks(self._state, self._all, now) if self._has_blocks else []
        if ended:
            with self._state.transaction(*self.locks):
                blocks.lift_blocks(self._state, ended, keep_parked=True)
                self._troubles.end_unblocked(ended)
        return bool(ended)

    def note_success(self, others: Iterable[str]) -> bool:
        """Note that a call succeeded; return whether there are blocks or trouble that may end.

        Those are of the destination, its service and its addresses, and of `others`.
        """
        self._troubles.end_waits([self._own])
        return troubles.have_faults(self._state, [*self._all, self._asked_wait, *others])

    def mark_check_passed(self, began: datetime) -> None:
        """Lift all blocks that were set before a check that found no fault."""
        self._lift_before(self._all, began)

    def mark_reachable(self, began: datetime) -> None:
        """Lift the blocks that were set before a successful call began; later ones stay."""
        self._lift_before([*self._scopes, self._asked_wait], began)

    def mark_destination_reachable(self, began: datetime) -> None:
        """Lift the destination's own blocks: its service answered, if only to throttle a method."""
        self._lift_before([self._own], began)

    def _lift_before(self, scopes: list[str], began: datetime) -> None:
        with self._state.transaction(*self.locks):
            lifted = blocks.lift_blocks_before(self._state, scopes, began)
            self._troubles.end_unblocked(scopes)
            if self._shared in lifted:
                # The others must not wait while nothing keeps them from sending.
                self._troubles.wake_service(self._service)

    def record_receipt(self, receipt: Receipt, *, retried: bool) -> None:
        """Record which addresses accepted or refused a mail, within a transaction.

        `retried`: the mail went only to those that had not accepted it before.
        """
        if self._addresses not in self._all:
            return
        if receipt.refused:
            reason = f"{receipt.refused} of them: {receipt.answer}"
            blocks.set_block(self._state, self._addresses, self._clock.now(), None, reason)
            self._troubles.begin(self._addresses, reason)
        else:
            # A retry proves nothing about an address that refused the mail for good before.
            blocks.lift_blocks(self._state, [self._addresses], keep_parked=retried)
            self._troubles.end_unblocked([self._addresses])

    def hold_back_addresses(self, due_at: datetime, reason: str) -> None:
        """Record that some addresses refused a mail for now, within a transaction."""
        now = self._clock.now()
        blocks.set_block(self._state, self._addresses, now, due_at, reason)
        self._troubles.begin_if_lasting(
            self._addresses, blocks.blocked_since(self._state, self._addresses) or now
        )

    def address_wait(self, attempts: int) -> timedelta:
        """Return the wait before a mail is sent again to the addresses that refused it for now."""
        failing_for = timedelta(seconds=2 ** min(attempts, 6))
        return backoff.wait(ErrorKind.TRANSIENT, failing_for, None, self._random) or timedelta()

    def wait_after_error(self, error: DeliveryError, now: datetime) -> timedelta | None:
        """Return how long an error forbids calls; None: until a person has corrected it."""
        since = blocks.blocked_since(self._state, self._scope_of(error)) or now
        return backoff.wait(
            error.kind, max(now - since, timedelta()), error.retry_after, self._random
        )

    def hold_back(self, error: DeliveryError, now: datetime, wait: timedelta | None) -> None:
        """Block the destination or service that an error comes from; None: park it."""
        scope, reason = self._scope_of(error), str(error)
        until = now + wait if wait is not None else None
        with self._state.transaction(*self.locks):
            if error.kind is ErrorKind.THROTTLED and blocks.is_parked(self._state, scope):
                blocks.set_block(self._state, self._asked_wait, now, until, reason)
                return
            blocks.set_block(self._state, scope, now, until, reason)
            if until is None:
                self._troubles.begin(scope, reason)
            else:
                since = blocks.blocked_since(self._state, scope) or now
                self._troubles.begin_if_lasting(scope, since)

    def method_held_until(self, method: str, now: datetime) -> datetime | None:
        """Return the end of the wait for one method of the service, while others may be called."""
        if not self._has_blocks:
            return None
        block = blocks.get_block(self._state, [self._method_scope(method)], now)
        return block.until if block else None

    def hold_back_method(self, method: str, error: DeliveryError, now: datetime) -> datetime:
        """Block one method of the service for as long as it asked; return until when."""
        wait = backoff.wait(ErrorKind.THROTTLED, timedelta(), error.retry_after, self._random)
        until = now + (wait or timedelta())
        blocks.set_block(self._state, self._method_scope(method), now, until, str(error))
        return until

    def mark_method_answered(self, method: str, began: datetime) -> None:
        """Lift the wait for a method that answered a call that began at a moment."""
        scope = self._method_scope(method)
        if blocks.blocked_since(self._state, scope):
            self._lift_before([scope], began)

    def _method_scope(self, method: str) -> str:
        return method_scope(self._service, method)

    def _scope_of(self, error: DeliveryError) -> str:
        is_shared = error.kind in (ErrorKind.THROTTLED, ErrorKind.SERVICE)
        return self._shared if is_shared else self._own
