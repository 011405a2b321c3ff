"""Reviews in the database, and the last webhooks about reviews that are not stored."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from alerter.config import Limits
from alerter.models import CloseReason, Event, Reply, Review, Status, StoredReview, from_ms, to_ms
from alerter.store.sql import json_or_none, json_values, moment_or_none, ms_or_none
from alerter.store.state import State

_REVIEW = TypeAdapter(Review)
# Wix repeats a webhook for up to two days.
_UNRECORDED_FOR = timedelta(days=3)
# What has a column of its own is not repeated in `content`.
_COLUMNS = {"id", "rating", "revision", "entity_id", "contact_id", "topics"}


def dump_review(review: Review) -> str:
    """Return the JSON of the `content` column: all that differs from the default."""
    return _REVIEW.dump_json(review, exclude=_COLUMNS, exclude_defaults=True).decode()


def load_review(row: Mapping[str, Any]) -> Review:
    """Return the review of a row that has `content`, `review_id` and the other columns."""
    columns = {name: row[name] for name in _COLUMNS - {"id", "topics"}}
    columns |= {"id": row["review_id"], "topics": json.loads(row["topics"] or "[]")}
    return _REVIEW.validate_python(json.loads(row["content"]) | columns)


def get_reviews(state: State, site_id: str, ids: Iterable[str]) -> dict[str, StoredReview]:
    """Return those of these reviews that are stored, by id; pruned ones have no text."""
    rows = state.rows(
        f"SELECT * FROM reviews WHERE site_id = ? AND review_id IN {json_values()}",
        [site_id, json.dumps(list(ids))],
    )
    return {row["review_id"]: _stored_review(row) for row in rows}


def put_reviews(
    state: State, site_id: str, records: Sequence[StoredReview], seen_at: datetime
) -> None:
    """Write reviews as of `seen_at`, or of their own `as_of`. Within a transaction.

    One without a createdDate gets `seen_at` instead.
    """
    state.execute_many(_PUT, [_row(site_id, stored, seen_at) for stored in records])


def record_event(
    state: State, site_id: str, review_id: str, at: datetime | None, sequence: int
) -> None:
    """Record the webhook that a stored review comes from, within a transaction."""
    state.execute(
        "UPDATE reviews SET as_of = coalesce(?, as_of), event_sequence = ?"
        " WHERE site_id = ? AND review_id = ?",
        [ms_or_none(at), sequence, site_id, review_id],
    )


def mark_open(state: State, site_id: str, ids: Sequence[str], alerted_at: datetime) -> None:
    """Record that these reviews were alerted and are open, within a transaction."""
    state.execute_many(
        "UPDATE reviews SET status = 'open', alerted_at = :now"
        " WHERE site_id = :site AND review_id = :review",
        [{"site": site_id, "review": review_id, "now": to_ms(alerted_at)} for review_id in ids],
    )


def set_topics(state: State, site_id: str, topics: Mapping[str, Collection[str]]) -> None:
    """Record the topics of reviews, by their ids, within a transaction."""
    state.execute_many(
        "UPDATE reviews SET topics = :topics WHERE site_id = :site AND review_id = :review",
        [
            {"site": site_id, "review": review_id, "topics": _json_of_topics(names)}
            for review_id, names in topics.items()
        ],
    )


def record_authors(
    state: State, site_id: str, missing: Collection[str], present: Collection[str], as_of: datetime
) -> None:
    """Record which reviews Wix returned without their author at `as_of`, and which with it."""
    for ids, since in (
        (
            missing,
            "CASE WHEN authorless_since < :as_of THEN authorless_since ELSE :as_of END",
        ),
        (present, "NULL"),
    ):
        if ids:
            state.execute(
                f"UPDATE reviews SET authorless_since = {since}"
                f" WHERE site_id = :site AND review_id IN {json_values(':ids')}",
                {"site": site_id, "ids": json.dumps(list(ids)), "as_of": to_ms(as_of)},
            )


def unalerted_reviews(
    state: State, site_id: str, ids: Sequence[str], limits: Limits
) -> list[Review]:
    """Return those of these reviews that a backfill alerts, oldest first.

    They are low-rated, not answered, not rejected, and were never alerted.
    """
    rows = state.rows(
        f"SELECT * FROM reviews WHERE site_id = ? AND review_id IN {json_values()}"
        f" AND {LOW_RATED} AND {_UNALERTED} AND closing IS DISTINCT FROM 'gone'"
        " ORDER BY created_at, review_id",
        [site_id, json.dumps(list(ids)), limits.plain, limits.with_topic],
    )
    return [load_review(row) for row in rows]


def low_rated_counts(state: State, site_id: str, limits: Limits) -> tuple[int, int]:
    """Return how many low-rated reviews of a site are stored, and how many a backfill alerts."""
    row = state.row(
        f"SELECT count(*) AS low, count(*) FILTER (WHERE {_UNALERTED}) AS unalerted"
        f" FROM reviews WHERE site_id = ? AND {LOW_RATED} AND closing IS DISTINCT FROM 'gone'",
        [site_id, limits.plain, limits.with_topic],
    )
    return (row["low"], row["unalerted"]) if row else (0, 0)


def followed_reviews(state: State, site_id: str, since: datetime, threshold: int) -> list[str]:
    """Return the ids of reviews whose changes are followed.

    They are the open ones alerted since a moment, and the low-rated ones created since then.
    """
    rows = state.rows(
        "SELECT review_id FROM reviews"
        " WHERE site_id = :site AND status = 'open' AND alerted_at >= :since"
        " UNION SELECT review_id FROM reviews WHERE site_id = :site AND created_at >= :since"
        "  AND rating <= :threshold AND closing IS DISTINCT FROM 'gone' AND pruned_at IS NULL",
        {"site": site_id, "since": to_ms(since), "threshold": threshold},
    )
    return [row["review_id"] for row in rows]


def open_reviews_of(state: State, site_ids: Collection[str]) -> list[tuple[str, Review]]:
    """Return all open reviews of these sites, the oldest first, each with the id of its site."""
    rows = state.rows(
        f"SELECT * FROM reviews WHERE status = 'open' AND site_id IN {json_values()}"
        " ORDER BY created_at, site_id, review_id",
        [json.dumps(list(site_ids))],
    )
    return [(row["site_id"], load_review(row)) for row in rows]


def open_reviews_above(state: State, site_id: str, threshold: int) -> list[Review]:
    """Return the open reviews of a site that are rated above its threshold."""
    rows = state.rows(
        "SELECT * FROM reviews WHERE site_id = ? AND status = 'open' AND rating > ?",
        [site_id, threshold],
    )
    return [load_review(row) for row in rows]


def old_reviews(state: State, site_id: str, since: datetime, number: int) -> list[str]:
    """Return the next reviews after the cursor that have text and are not followed."""
    rows = state.rows(
        f"SELECT review_id {_WITH_TEXT} AND created_at < :since"
        " AND NOT (status = 'open' AND coalesce(alerted_at, 0) >= :since)"
        " ORDER BY review_id LIMIT :number",
        {"site": site_id, "since": to_ms(since), "number": number},
    )
    return [row["review_id"] for row in rows]


def old_review_count(state: State, site_id: str, since: datetime) -> int:
    """Return about how many reviews `old_reviews` returns over time."""
    return int(
        state.value(
            "SELECT count(*) FROM reviews"
            " WHERE site_id = ? AND created_at < ? AND pruned_at IS NULL",
            [site_id, to_ms(since)],
        )
    )


def unverified_reviews(state: State, site_id: str, number: int) -> list[str]:
    """Return the next reviews after the cursor whose text comes from a restored backup."""
    rows = state.rows(
        f"SELECT review_id {_WITH_TEXT} ORDER BY review_id LIMIT :number",
        {"site": site_id, "number": number},
    )
    return [row["review_id"] for row in rows]


def get_unrecorded(state: State, site_id: str, ids: Iterable[str]) -> dict[str, StoredReview]:
    """Return reviews that are not stored as they were seen last, to recognize an older webhook.

    They are closed, not low-rated, and without text.
    """
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
    """Record what was seen of a review that is not stored, within a transaction."""
    if event.review is None:
        return
    over = to_ms(now - _UNRECORDED_FOR)
    state.execute("DELETE FROM unrecorded_events WHERE received_at < ?", [over])
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


# With the two numbers of Limits.
LOW_RATED = "(rating <= ? OR (rating <= ? AND topics IS NOT NULL))"
_UNALERTED = "NOT answered AND NOT rejected AND alerted_at IS NULL"
_WITH_TEXT = (
    "FROM reviews WHERE site_id = :site AND pruned_at IS NULL AND NOT anonymized"
    " AND closing IS DISTINCT FROM 'gone'"
    " AND review_id > coalesce((SELECT revisited_to FROM sites WHERE site_id = :site), '')"
)
_PUT = """
INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered, rejected,
  alerted_at, closing, anonymized, entity_id, contact_id, as_of, content, topics)
VALUES (:site, :review, :revision, :rating, :status, :created, :answered, :rejected,
  :alerted, :closing, :anonymized, :entity, :contact, :seen, :content,
  :topics)
ON CONFLICT (site_id, review_id) DO UPDATE SET revision = excluded.revision,
  rating = excluded.rating, status = excluded.status, answered = excluded.answered,
  rejected = excluded.rejected, alerted_at = excluded.alerted_at, closing = excluded.closing,
  anonymized = excluded.anonymized, entity_id = excluded.entity_id,
  contact_id = excluded.contact_id, as_of = excluded.as_of, event_sequence = 0,
  content = excluded.content, topics = excluded.topics, pruned_at = NULL
"""


def _row(site_id: str, stored: StoredReview, seen_at: datetime) -> dict[str, Any]:
    review = stored.review
    return {
        "site": site_id,
        "review": review.id,
        "revision": review.revision,
        "rating": review.rating,
        "status": stored.status,
        "created": to_ms(review.created or seen_at),
        "answered": review.answered,
        "rejected": review.rejected,
        "alerted": ms_or_none(stored.alerted_at),
        "closing": stored.closing,
        "anonymized": stored.anonymized,
        "entity": review.entity_id,
        "contact": review.contact_id,
        "seen": to_ms(stored.as_of or seen_at),
        "content": dump_review(review),
        "topics": _json_of_topics(review.topics),
    }


def _json_of_topics(names: Collection[str]) -> str | None:
    return json_or_none(tuple(sorted(names)))


def _stored_review(row: dict[str, Any]) -> StoredReview:
    review, status = load_review(row), Status(row["status"])
    is_pruned = row["pruned_at"] is not None
    if is_pruned:  # the content is empty, but the columns still say this
        reply = Reply("") if row["answered"] else None
        review = replace(review, reply=reply, moderation="REJECTED" if row["rejected"] else "")
    return StoredReview(
        review,
        status,
        moment_or_none(row["alerted_at"]),
        CloseReason(row["closing"]) if row["closing"] else None,
        anonymized=bool(row["anonymized"]),
        pruned=is_pruned,
        as_of=moment_or_none(row["as_of"]),
        event_sequence=row["event_sequence"],
        authorless_since=moment_or_none(row["authorless_since"]),
    )
