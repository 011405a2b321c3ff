"""Ask Wix for the sites of accounts, and record them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from alerter.clock import Clock
from alerter.config import Account, Config, with_account_sites
from alerter.errors import StateError, WixAuthError, WixError, WixUnavailable, phrase_defect
from alerter.scopes import ALL_TROUBLE, Scope
from alerter.store import State, account_sites, blocks
from alerter.text import counted
from alerter.trouble.tracker import Troubles
from alerter.wix.client import WixClient
from alerter.wix.sites import MOST_LISTED, ListedSite

log = logging.getLogger(__name__)

# At a start and a reload the list is asked for again unless it is younger than this.
_FRESH = timedelta(minutes=1)


class AccountLists:
    """Lists the sites of accounts. `changed` is set once they are not those of the config."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        wix: WixClient,
        troubles: Troubles,
        state_failed: Callable[[StateError], Awaitable[None]],
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._wix = wix
        self._troubles = troubles
        self._state_failed = state_failed
        self._began = clock.now()
        self._failing: dict[str, str] = {}
        self.changed = asyncio.Event()

    async def round(self, *, at_start: bool = False) -> bool:
        """List each account that was not listed for an hour; `at_start`: since this start.

        Return whether no account failed; a failure is logged and recorded.
        """
        good = await asyncio.gather(
            *(self._round(account, at_start=at_start) for account in self._config.accounts)
        )
        return all(good)

    async def _round(self, account: Account, *, at_start: bool) -> bool:
        scope = Scope.ACCOUNT.of(account.account_id)
        try:
            if not self._is_due(account, at_start=at_start):
                return True
            if block := blocks.get_block(self._state, [scope], self._clock.now()):
                self._note_blocked(account, scope, block.reason)
                return False
            key = account.api_key.get_secret_value()
            self._record(account, scope, await self._wix.account_sites(key, account.account_id))
        except StateError as error:
            await self._state_failed(error)
            return False
        except Exception as error:  # noqa: BLE001 - a defect fails one account, not the others
            await self._failed(account, scope, error)
            return False
        if self._failing.pop(account.account_id, None):
            log.info('account "%s": its sites are listed again', account.name)
        return True

    def _is_due(self, account: Account, *, at_start: bool) -> bool:
        listed_at = account_sites.listed_at(self._state, account.account_id)
        if listed_at is None:
            return True
        now = self._clock.now()
        if at_start and not self._began - _FRESH <= listed_at <= now:
            return True
        return not timedelta() <= now - listed_at < account_sites.LISTS_APART

    def _record(self, account: Account, scope: str, listed: list[ListedSite]) -> None:
        names = {site.site_id: site.name for site in listed}
        with self._state.transaction(scope, ALL_TROUBLE):
            found = account_sites.record_list(
                self._state,
                account.account_id,
                names,
                self._clock.now(),
                complete=len(names) < MOST_LISTED,
            )
            blocks.lift_blocks(self._state, [scope])
            self._troubles.end([scope])
        if not found:
            return
        log.info(
            'account "%s": %s listed; added=%d changed=%d missing=%d removed=%d',
            account.name,
            counted(len(names), "site"),
            found.added,
            found.changed,
            found.missing,
            found.removed,
        )
        known = account_sites.get_account_sites(self._state)
        if with_account_sites(self._config, known) != self._config:
            self.changed.set()

    def _note_blocked(self, account: Account, scope: str, reason: str) -> None:
        """Begin trouble of an account that Wix has throttled for `trouble_after`."""
        since = account_sites.list_failing_since(self._state, account.account_id)
        if since and self._clock.now() - since >= self._config.poll.trouble_after:
            self._troubles.begin(scope, reason, since)

    async def _failed(self, account: Account, scope: str, error: Exception) -> None:
        is_wix = isinstance(error, WixError)
        reason = error.text if isinstance(error, WixError) else phrase_defect(error)
        if self._failing.get(account.account_id) != reason:
            log.error(
                'account "%s": its sites are not listed, those that are known stay: %s',
                account.name,
                error if is_wix else reason,
                exc_info=None if is_wix else error,
            )
            self._failing[account.account_id] = reason
        try:
            self._record_failure(account, scope, reason, error)
        except StateError as fault:
            await self._state_failed(fault)

    def _record_failure(self, account: Account, scope: str, reason: str, error: Exception) -> None:
        """Record a failure and its Retry-After. A refusal is trouble at once, others later."""
        now = self._clock.now()
        with self._state.transaction(scope, ALL_TROUBLE):
            if isinstance(error, WixUnavailable) and error.retry_after:
                until = now + timedelta(seconds=error.retry_after)
                blocks.set_block(self._state, scope, now, until, reason)
            since = account_sites.mark_list_failure(self._state, account.account_id, now)
            if isinstance(error, WixAuthError) or now - since >= self._config.poll.trouble_after:
                self._troubles.begin(scope, reason, since)
