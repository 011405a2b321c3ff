"""Reads one site over one span of time; a round does it for what is new."""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Config, Site
from alerter.counters import counts
from alerter.errors import StateError, WixAuthError, WixError, WixUnavailable
from alerter.store import State, blocks, reviews
from alerter.trouble import Troubles
from alerter.watch.intake import Intake
from alerter.watch.triage import OVERLAP, Reason
from alerter.watch.wix import Page, Span, WixClient
from alerter.watch.wix_review import UnreadableReview

log = logging.getLogger(__name__)

# Told of a state file that cannot be used.
StateFailed = Callable[[StateError], Awaitable[None]]

_ASK_AGAIN = timedelta(days=1)
_MOST_REMEMBERED = 10_000


class Reader:
    """Reads sites page by page, unpublished reviews included wherever the permission is there."""

    def __init__(self, wix: WixClient, clock: Clock) -> None:
        self._wix = wix
        self._clock = clock
        self._published_only: dict[str, datetime] = {}
        self._unreadable: set[tuple[str, str | None]] = set()

    def sees_private(self, site: Site) -> bool:
        """Whether the last read of a site included reviews that are not published."""
        return site.site_id not in self._published_only

    async def pages(self, site: Site, span: Span) -> AsyncIterator[Page]:
        """Yield the pages of a span, oldest first. Raises WixError."""
        private = self._asks_for_private(site)
        begun = False
        try:
            async for page in self._wix.pages(site, span, private=private):
                if private:
                    self._published_only.pop(site.site_id, None)
                begun = True
                self._note(site, page.unreadable)
                yield page
        except WixAuthError as error:
            if begun or not private or error.status != 403:
                raise
        if begun:
            return
        async for page in self._wix.pages(site, span, private=False):
            if not begun:
                begun = True
                self._published_alone(site)
            self._note(site, page.unreadable)
            yield page

    def _asks_for_private(self, site: Site) -> bool:
        """Ask at first, and again once a day: permissions get mended."""
        refused_at = self._published_only.get(site.site_id)
        return refused_at is None or abs(self._clock.now() - refused_at) >= _ASK_AGAIN

    def _published_alone(self, site: Site) -> None:
        if self.sees_private(site):
            log.warning(
                'site "%s": Wix lets us read published reviews only; a review that waits for moderation is not seen. '
                "Grant Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS) to see it",
                site.name,
            )
        self._published_only[site.site_id] = self._clock.now()

    def _note(self, site: Site, unreadable: tuple[UnreadableReview, ...]) -> None:
        for error in unreadable:
            name = (site.site_id, error.review_id)
            if name not in self._unreadable and len(self._unreadable) < _MOST_REMEMBERED:
                self._unreadable.add(name)
                counts["reviews_unreadable"] += 1
                log.error('site "%s": review %s %s; it is left out', site.name, error.review_id or "(no id)", error)


class Poller:
    """Makes the rounds of sites."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        reader: Reader,
        intake: Intake,
        troubles: Troubles,
        state_failed: StateFailed,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._reader = reader
        self._intake = intake
        self._troubles = troubles
        self._state_failed = state_failed
        self._failing: dict[str, str] = {}

    async def round(self, site: Site) -> bool:
        """Read what is new of a site; True where that went well. What went wrong is logged and on record."""
        scope = f"site:{site.site_id}"
        try:
            if blocks.held_back(self._state, scope, self._clock.now()):
                log.debug('site "%s": waits, as Wix asked', site.name)
                return False
            await self._read_new(site)
            with self._state.transaction():
                sees_private = self._reader.sees_private(site)
                reviews.succeeded(self._state, site.site_id, self._clock.now(), sees_private=sees_private)
                self._troubles.end([scope])
        except (WixError, StateError) as error:
            await self._failed(site, scope, error)
            return False
        counts["rounds"] += 1
        if self._failing.pop(site.site_id, None):
            log.info('site "%s": is read again', site.name)
        return True

    async def _read_new(self, site: Site) -> None:
        threshold = self._config.threshold(site)
        known = reviews.site_state(self._state, site.site_id)
        if known.covered_rating != threshold:
            await self._cover(site, known.covered_rating, threshold)
        if known.covered_rating:
            since = known.checkpoint - OVERLAP if known.checkpoint else None
            await self.read(site, Span(threshold, since=since), advance=True)

    async def _cover(self, site: Site, covered: int, threshold: int) -> None:
        """Put the past of ratings that were not watched so far on record, silently."""
        if covered < threshold:
            # Only a read of all that is watched may move the checkpoint.
            await self.read(site, Span(threshold, above=covered), advance=covered == 0)
            low, unanswered = reviews.low_rated(self._state, site.site_id, threshold)
            log.info(
                'site "%s": watching; %d low-rated on record, %d unanswered; `alerter backfill` tells of them',
                site.name,
                low,
                unanswered,
            )
        reviews.cover(self._state, site.site_id, threshold)

    async def read(self, site: Site, span: Span, *, advance: bool) -> Counter[Reason]:
        """Take in every page of a span; each is recorded, and the checkpoint moved, before the next is asked for."""
        seen: Counter[Reason] = Counter()
        async for page in self._reader.pages(site, span):
            seen += await self._intake.take(site, page.reviews, checkpoint=page.newest if advance else None)
        if imported := seen[Reason.IMPORTED]:
            log.info('site "%s": %d imported reviews recorded, not alerted', site.name, imported)
        return seen

    async def _failed(self, site: Site, scope: str, error: WixError | StateError) -> None:
        counts["rounds_failed"] += 1
        text = error.text if isinstance(error, WixError) else str(error)
        if self._failing.get(site.site_id) != text:
            log.error('site "%s": is not read: %s', site.name, error)
            self._failing[site.site_id] = text
        try:
            if isinstance(error, StateError):
                raise error
            self._record_failure(site, scope, error)
        except StateError as fault:
            await self._state_failed(fault)

    def _record_failure(self, site: Site, scope: str, error: WixError) -> None:
        """Keep to what Wix asked for; people hear of a refusal at once, and of silence when it lasts."""
        now = self._clock.now()
        with self._state.transaction():
            if isinstance(error, WixUnavailable) and error.retry_after:
                blocks.hold_back(self._state, scope, now, now + timedelta(seconds=error.retry_after), error.text)
            silent_for = now - reviews.failing_since(self._state, site.site_id, now)
            if isinstance(error, WixAuthError) or silent_for >= self._config.poll.trouble_after:
                self._troubles.begin(scope, error.text)
