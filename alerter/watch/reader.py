"""Read a site with the permissions that its key or app has."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.config import Site
from alerter.counters import counts
from alerter.errors import WixAuthError
from alerter.wix.client import Page, ReviewFilter, ReviewIds, WixClient
from alerter.wix.review import UnreadableReview

log = logging.getLogger(__name__)

# The poll after a refusal asks again; after repeated refusals Wix is asked once a day.
_ASK_AGAIN = timedelta(seconds=30)
_ASK_SELDOM = timedelta(days=1)
_GROWTH = 4
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class _Refusal:
    """When Wix last refused unpublished reviews, and how long it is not asked again."""

    at: datetime
    wait: timedelta


class Reader:
    """Reads sites page by page, with unpublished reviews where the permission allows it."""

    def __init__(self, wix: WixClient, clock: Clock) -> None:
        self._wix = wix
        self._clock = clock
        self._published_only: dict[str, _Refusal] = {}
        self._unreadable: set[tuple[str, str | None]] = set()

    def sees_private(self, site: Site) -> bool:
        """Return whether the last read of a site included unpublished reviews."""
        return site.site_id not in self._published_only

    async def pages(self, site: Site, wanted: ReviewFilter | ReviewIds) -> AsyncIterator[Page]:
        """Yield the pages of a query, oldest review first. Raise WixError."""
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
                self._note_published_only(site)
            self._note(site, page.unreadable)
            yield page

    async def look(self, site: Site, review_id: str) -> Page | None:
        """Read one review, published or not; None where Wix does not have it. Raise WixError."""
        page = await self._wix.look(site, review_id)
        if page:
            self._note(site, page.unreadable)
        return page

    async def count(self, site: Site, since: datetime, until: datetime) -> int:
        """Return how many reviews a site got in a span. Raise WixError."""
        return await self._wix.count(site, since, until, private=self.sees_private(site))

    def _asks_for_private(self, site: Site) -> bool:
        """Return whether to ask now: a firewall refuses once, and permissions get granted."""
        refusal = self._published_only.get(site.site_id)
        return refusal is None or abs(self._clock.now() - refusal.at) >= refusal.wait

    def _note_published_only(self, site: Site) -> None:
        before = self._published_only.get(site.site_id)
        if before is None:
            log.warning(
                'site "%s": published reviews only; a review that waits for moderation is not seen:'
                " grant Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS)",
                site.name,
            )
        wait = min(before.wait * _GROWTH, _ASK_SELDOM) if before else _ASK_AGAIN
        self._published_only[site.site_id] = _Refusal(self._clock.now(), wait)

    def _note(self, site: Site, unreadable: tuple[UnreadableReview, ...]) -> None:
        for error in unreadable:
            name = (site.site_id, error.review_id)
            if name not in self._unreadable and len(self._unreadable) < _MOST_REMEMBERED:
                self._unreadable.add(name)
                counts["reviews_unreadable"] += 1
                log.error(
                    'site "%s": review %s %s; it is left out',
                    site.name,
                    error.review_id or "(no id)",
                    error,
                )
