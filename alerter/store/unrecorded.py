"""What webhooks said of reviews that are not on record, so that what is older than that is recognized."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from alerter.models import CloseReason, Event, Review, Status, StoredReview, from_ms, to_ms
from alerter.store.state import State

# Wix sends a webhook again for up to two days.
_KEPT = timedelta(days=3)


def get_unrecorded(state: State, site_id: str, ids: Iterable[str]) -> dict[str, StoredReview]:
    """Return how these reviews stood when a webhook last spoke of them: not low-rated, and with no words."""
    rows = state.rows(
        "SELECT * FROM unrecorded_events WHERE site_id = ? AND review_id IN (SELECT value FROM json_each(?))",
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


def note_unrecorded(state: State, site_id: str, event: Event, now: datetime) -> None:
    """Note what a webhook says of a review that is not put on record; within a transaction."""
    if event.review is None:
        return
    state.execute("DELETE FROM unrecorded_events WHERE received_at < ?", [to_ms(now - _KEPT)])
    state.execute(
        "INSERT INTO unrecorded_events"
        " (site_id, review_id, revision, rating, as_of, event_sequence, received_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (site_id, review_id) DO UPDATE SET revision = excluded.revision, rating = excluded.rating,"
        " as_of = excluded.as_of, event_sequence = excluded.event_sequence, received_at = excluded.received_at",
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
