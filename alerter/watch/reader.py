"""Reads a site with whatever permission there is."""

import logging
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Site
from alerter.counters import counts
from alerter.errors import WixAuthError, WixError
from alerter.watch.wix import Page, Span, These, WixClient
from alerter.watch.wix_review import UnreadableReview

log = logging.getLogger(__name__)

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

    async def pages(self, site: Site, wanted: Span | These) -> AsyncIterator[Page]:
        """Yield the pages of what is wanted, oldest first. Raises WixError."""
        private = self._asks_for_private(site)
        begun = False
        try:
            async for page in self._wix.pages(site, wanted, private=private):
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
        async for page in self._wix.pages(site, wanted, private=False):
            if not begun:
                begun = True
                self._published_alone(site)
            self._note(site, page.unreadable)
            yield page

    async def is_there(self, site: Site, review_id: str) -> bool:
        """Whether Wix has a review, unpublished ones included. Raises WixError."""
        return await self._wix.is_there(site, review_id)

    async def count(self, site: Site, since: datetime, until: datetime) -> int | None:
        """How many reviews of any rating a site got in a span; None where Wix does not say."""
        try:
            return await self._wix.count(site, since, until, private=self.sees_private(site))
        except WixError as error:
            log.info('site "%s": Wix does not count its reviews, so their share is left out: %s', site.name, error)
            return None

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
