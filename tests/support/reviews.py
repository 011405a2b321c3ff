"""Reviews, and the rows of many that are closed."""

import uuid
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
    known, at = int(state.value("SELECT coalesce(max(id), 0) FROM alerts")), to_ms(at_rest)
    with state.transaction():
        state.execute_many(
            "INSERT INTO alerts (key, kind, site_id, review_id, raised_at, detail)"
            " VALUES ('new:' || :site || ':' || :review, 'new', :site, :review, :at, '{}')",
            [{"site": SITE, "review": str(uuid.uuid4()), "at": at} for _ in range(number)],
        )
        state.execute(
            "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at,"
            " answered, rejected, alerted_at, closing, content, as_of)"
            " SELECT site_id, review_id, 2, 1, 'closed', raised_at, TRUE, FALSE, raised_at,"
            " 'answered',"
            """ '{"title": "Stale", "body": "Hard as stone"}', raised_at"""
            " FROM alerts WHERE id > ?",
            [known],
        )
        state.execute(
            "INSERT INTO messages (destination, form, status, message_id, attempts,"
            " attempted_at)"
            f" VALUES ('email:owner', 'digest', 'sent', '{at}', 1, {at})"
        )
        state.execute(
            "INSERT INTO deliveries (alert, destination, status, grouping, due_at, message)"
            " SELECT id, 'email:owner', 'sent', 'burst', 0, (SELECT max(id) FROM messages)"
            " FROM alerts WHERE id > ?",
            [known],
        )
