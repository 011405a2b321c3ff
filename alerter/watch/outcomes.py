"""Record how rounds end: a site was read, could not be, or must not be for now."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.counters import counts
from alerter.errors import StateError, WixAuthError, WixError, phrase_defect
from alerter.scopes import ALL_TROUBLE, Scope
from alerter.store import State, blocks, judgements, known_sites
from alerter.trouble.tracker import Troubles
from alerter.watch.reader import Reader
from alerter.wix.waits import record_wait

log = logging.getLogger(__name__)

# Called where the database cannot be used.
StateFailed = Callable[[StateError], Awaitable[None]]

# A site that was not read for longer than this and two periods has that on record.
_UNREAD = timedelta(hours=1)


class Outcomes:
    """Records and logs how rounds end, with the trouble that this begins or ends."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        reader: Reader,
        troubles: Troubles,
        state_failed: StateFailed,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._reader = reader
        self._troubles = troubles
        self._state_failed = state_failed
        self._failing: dict[str, str] = {}

    async def record_success(self, sites: Sequence[Site]) -> list[Site]:
        """Record that sites were read, together. Return those of which that worked."""
        try:
            more = self._try_mark_success(sites)
        except StateError as error:
            await self._database_failed(sites, error)
            return []
        recorded = [
            site for site in sites if site.site_id not in more or await self._record_recovery(site)
        ]
        counts["rounds"] += len(recorded)
        for site in recorded:
            if self._failing.pop(site.site_id, None):
                log.info('site "%s": polls succeed again', site.name)
        return recorded

    async def record_failure(self, site: Site, error: Exception) -> None:
        """Record why a site could not be read, and log it once until the reason changes."""
        if isinstance(error, StateError):
            await self._database_failed([site], error)
            return
        if isinstance(error, WixError):
            reason = error.text
            self._log_failure(site, reason, str(error))
        else:
            reason = phrase_defect(error)
            self._log_failure(site, reason, reason, error)
        try:
            self.put_failure(site, reason, error)
        except StateError as fault:
            await self._state_failed(fault)

    def put_failure(self, site: Site, reason: str, error: Exception) -> None:
        """Record a failed poll and its Retry-After. A refusal is trouble at once, others later."""
        now, scope = self._clock.now(), Scope.SITE.of(site.site_id)
        with self._state.transaction(scope, ALL_TROUBLE):
            if isinstance(error, WixError):
                record_wait(self._state, site.site_id, now, error)
            since = known_sites.mark_poll_failure(self._state, site.site_id, now)
            if isinstance(error, WixAuthError) or now - since >= self._config.poll.trouble_after:
                self._troubles.begin(scope, reason, since)

    def note_blocked(self, site: Site, reason: str) -> None:
        """Begin trouble of a site that Wix has throttled for `trouble_after`."""
        log.debug('site "%s": waits, as Wix asked', site.name)
        since = known_sites.site_failing_since(self._state, site.site_id)
        if since and self._clock.now() - since >= self._config.poll.trouble_after:
            self._troubles.begin(Scope.SITE.of(site.site_id), reason, since)

    def note_unread(self, site: Site, last: datetime | None) -> None:
        """Record since when a site was not read, if that was long."""
        now = self._clock.now()
        if last and now - last > max(2 * self._config.poll.every, _UNREAD):
            judgements.put_unread_span(self._state, site.site_id, last, now)

    def _try_mark_success(self, sites: Sequence[Site]) -> set[str]:
        """Record that sites were read; return those of which there is more to record."""
        now, more = self._clock.now(), set[str]()
        for sees_private in (True, False):
            ids = [
                each.site_id for each in sites if self._reader.sees_private(each) == sees_private
            ]
            if ids:
                more |= known_sites.try_mark_success(
                    self._state, ids, now, sees_private=sees_private
                )
        return more

    async def _record_recovery(self, site: Site) -> bool:
        """Record that a site was read, and what that ends. Return whether that worked."""
        try:
            self._mark_recovered(site)
        except Exception as error:  # noqa: BLE001 - a defect fails one site, not the others
            await self.record_failure(site, error)
            return False
        return True

    def _mark_recovered(self, site: Site) -> None:
        now, scope = self._clock.now(), Scope.SITE.of(site.site_id)
        sees_private = self._reader.sees_private(site)
        with self._state.transaction(scope, ALL_TROUBLE):
            lost_at = known_sites.mark_poll_success(
                self._state, site.site_id, now, sees_private=sees_private
            )
            # One that began during the round, as with the order behind a review, goes on.
            if not blocks.is_blocked(self._state, scope, now):
                blocks.lift_blocks(self._state, [scope])
            self._troubles.end([scope])
            self._note_private(site, lost_at, now)

    def _note_private(self, site: Site, lost_at: datetime | None, now: datetime) -> None:
        """Begin trouble of a site that stopped showing its unpublished reviews."""
        if lost_at is None:
            self._troubles.end([Scope.PRIVATE.of(site.site_id)])
        elif now - lost_at >= self._config.poll.trouble_after:
            reason = "published reviews only; a review that waits for moderation is not seen"
            self._troubles.begin(Scope.PRIVATE.of(site.site_id), reason, lost_at)

    async def _database_failed(self, sites: Sequence[Site], error: StateError) -> None:
        for site in sites:
            self._log_failure(site, str(error), str(error))
        await self._state_failed(error)

    def _log_failure(
        self, site: Site, reason: str, text: str, fault: Exception | None = None
    ) -> None:
        """Log why a poll failed, once until the reason changes; `fault` with its traceback."""
        counts["rounds_failed"] += 1
        if self._failing.get(site.site_id) != reason:
            log.error('site "%s": poll failed: %s', site.name, text, exc_info=fault)
            self._failing[site.site_id] = reason
