"""What of a site's past is on record, and what a config wants to be on record. Pure.

What earlier reads did not include is the past: it is recorded, and raises no alert.
"""

from datetime import datetime

from alerter.config import Limits
from alerter.models import Review
from alerter.store.known_sites import Coverage, SiteState
from alerter.watch.topics import Topics
from alerter.watch.triage import OVERLAP
from alerter.wix.client import ReviewFilter


def wanted_coverage(limits: Limits, topics: Topics) -> Coverage:
    """Return the coverage that reads by these limits have."""
    by_topic = limits.with_topic > limits.plain
    return Coverage(limits.with_topic, limits.plain, topics.mark if by_topic else "")


def is_covered(review: Review, site: SiteState, limits: Limits, topics: Topics) -> bool:
    """Return whether the reads of a site so far would have recorded a review like this.

    Above the threshold that depends on the lists of words. By changed ones, only what was created
    since the checkpoint is no past.
    """
    known = site.coverage
    if review.rating <= known.plain:
        return True
    if review.rating > known.rating:
        return False
    if known.lists == wanted_coverage(limits, topics).lists:
        return True
    return bool(site.checkpoint and review.created and review.created >= site.checkpoint - OVERLAP)


def unread_past(site: SiteState, wanted: Coverage, since: datetime) -> ReviewFilter | None:
    """Return what must be recorded silently before the wanted coverage holds; None for nothing.

    By changed lists of words, only reviews created from `since` on are read again.
    """
    known = site.coverage
    if wanted.rating <= known.plain:
        return None
    if wanted.plain <= known.plain and wanted.lists == known.lists:
        above = known.rating
        return ReviewFilter(wanted.rating, above=above) if wanted.rating > above else None
    if wanted.rating > known.rating or wanted.plain > known.plain or site.checkpoint is None:
        return ReviewFilter(wanted.rating, above=known.plain)
    until = site.checkpoint - OVERLAP
    if until <= since:
        return None
    return ReviewFilter(wanted.rating, above=known.plain, since=since, until=until)
