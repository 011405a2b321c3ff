"""Reviews, and the rows of many that are closed."""

from datetime import datetime
from typing import Any

from alerter.models import Review, to_ms
from alerter.store import State
from tests.support.values import SITE


def review(review_id: str = "r1", rating: int = 1, **fields: Any) -> Review:
    """A review with an id and a rating, and whatever else a test is about."""
    return Review(id=review_id, rating=rating, **fields)


def closed_reviews(state: State, at_rest: datetime, number: int) -> None:
    """As many reviews as that, alerted in one digest and answered at one moment."""
    first, at = 1 + int(state.value("SELECT coalesce(max(id), 0) FROM alerts")), to_ms(at_rest)
    with state.transaction():
        state.execute(
            "WITH RECURSIVE n(alert) AS"
            " (SELECT :first UNION ALL SELECT alert + 1 FROM n LIMIT :number)"
            " INSERT INTO alerts"
            " SELECT alert, 'new:' || :site || ':' || id, 'new', :site, id, :at, '{}'"
            f" FROM (SELECT alert, {_RANDOM_ID} AS id FROM n)",
            {"first": first, "number": number, "site": SITE, "at": at},
        )
        state.execute(
            "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at,"
            " answered, rejected, alerted_at, closing, content, as_of)"
            " SELECT site_id, review_id, 2, 1, 'closed', raised_at, 1, 0, raised_at, 'answered',"
            """ '{"title": "Stale", "body": "Hard as stone"}', raised_at"""
            " FROM alerts WHERE id >= ?",
            [first],
        )
        state.execute(
            "INSERT INTO messages (id, destination, form, status, message_id, attempts,"
            " attempted_at)"
            f" VALUES ({first}, 'email:owner', 'digest', 'sent', '{at}', 1, {at})"
        )
        state.execute(
            "INSERT INTO deliveries (alert, destination, status, grouping, due_at, message)"
            " SELECT id, 'email:owner', 'sent', 'burst', 0, :first FROM alerts WHERE id >= :first",
            {"first": first},
        )


# As long as a GUID of Wix's, and as random.
_RANDOM_ID = " || '-' || ".join(f"hex(randomblob({length}))" for length in (4, 2, 2, 2, 6))
