"""Read a chosen past of one site, once."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import timedelta

from alerter.clock import Clock
from alerter.config import Limits, Site
from alerter.errors import WixUnavailable
from alerter.models import Review, StoredReview
from alerter.watch.reader import Reader
from alerter.watch.topics import Topics
from alerter.watch.triage import is_alertable_past
from alerter.wix.client import Page, ReviewFilter

log = logging.getLogger(__name__)

# From how long Wix has been failing, and its Retry-After in seconds, to how long to wait.
Wait = Callable[[timedelta, float | None], timedelta]
# Stands around each query: it respects and records until when Wix wants none.
Asking = Callable[[], AbstractAsyncContextManager[None]]
_PATIENCE = timedelta(minutes=10)
_LONG = 5.0  # seconds


async def pages_with_retries(
    reader: Reader,
    clock: Clock,
    site: Site,
    span: ReviewFilter,
    wait: Wait,
    asking: Asking = nullcontext,
) -> AsyncIterator[Page]:
    """Yield the pages of a query. Wait while Wix cannot answer, at most ten minutes.

    Then raise WixError. After a failure, reading continues from the newest review, so some reviews
    come twice.
    """
    since, last_page = span.since, clock.monotonic()
    while True:
        try:
            async with asking():
                async for page in reader.pages(site, replace(span, since=since)):
                    last_page = clock.monotonic()
                    since = page.newest or since
                    yield page
        except WixUnavailable as error:
            failing_for = timedelta(seconds=clock.monotonic() - last_page)
            if failing_for > _PATIENCE:
                raise
            seconds = wait(failing_for, error.retry_after).total_seconds()
            if seconds >= _LONG:  # a person looks on
                log.warning('site "%s": backfill waits for %.0f s: %s', site.name, seconds, error)
            await clock.sleep(seconds)
        else:
            return


def alertable_reviews(
    page: Page, known: dict[str, StoredReview], limits: Limits, topics: Topics
) -> list[Review]:
    """Return the reviews on a page that a backfill alerts: low-rated, unanswered, never alerted."""
    return [
        review
        for review in map(topics.tagged, page.reviews)
        if is_alertable_past(review, limits.of(review.topics))
        and not (review.id in known and known[review.id].alerted_at)
    ]
