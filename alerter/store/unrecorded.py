"""The last webhooks about reviews that are not stored, to recognize older ones that come later."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from alerter.models import CloseReason, Event, Review, Status, StoredReview, from_ms, to_ms
from alerter.store.sql import json_values
from alerter.store.state import State

# Wix repeats a webhook for up to two days.
_KEPT = timedelta(days=3)


def get_unrecorded(state: State, site_id: str, ids: Iterable[str]) -> dict[str, StoredReview]:
    """Return these reviews as of their last webhook: closed, not low-rated, without text."""
    rows = state.rows(
        f"SELECT * FROM unrecorded_events WHERE site_id = ? AND review_id IN {json_values()}",
        [site_id, json.dumps(list(ids))],
    )
    return {
        row["review_id"]: StoredReview(
            Review(row["review_id"], row["rating"], revision=row["revision"]),
            Status.CLOSED,
            closing=CloseReason.RAISED,
            as_of=from_ms(row["as_of"]),
            event_sequence=row["event_sequence"],
        )
        for row in rows
    }


def put_unrecorded(state: State, site_id: str, event: Event, now: datetime) -> None:
    """Record a webhook about a review that is not stored, within a transaction."""
    if event.review is None:
        return
    state.execute("DELETE FROM unrecorded_events WHERE received_at < ?", [to_ms(now - _KEPT)])
    state.execute(
        "INSERT INTO unrecorded_events"
        " (site_id, review_id, revision, rating, as_of, event_sequence, received_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (site_id, review_id) DO UPDATE"
        " SET revision = excluded.revision, rating = excluded.rating, as_of = excluded.as_of,"
        " event_sequence = excluded.event_sequence, received_at = excluded.received_at",
        [
            site_id,
            event.review_id,
            event.review.revision,
            event.review.rating,
            to_ms(event.at or now),
            event.sequence,
            to_ms(now),
        ],
    )
