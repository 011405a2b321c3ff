"""Summaries in the database: until when each was sent, and the reviews that they count."""

import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alerter.actions import NO_RESPONSE
from alerter.config import Limits
from alerter.models import Product, from_ms, to_ms
from alerter.store.actions import get_responses
from alerter.store.reviews import LOW_RATED
from alerter.store.sql import json_field
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class LowRated:
    """A low-rated review as a summary counts it, without its text.

    `claimed_by`: who is on an open one; else empty.
    """

    rating: int
    created: datetime
    entity_id: str | None
    product: Product
    answered: bool
    answered_at: datetime | None
    claimed_by: str = ""
    topics: tuple[str, ...] = ()


def start_summary(state: State, name: str, at: str, now: datetime) -> datetime:
    """Return until when a summary was sent; record `now` if it is new or has another time `at`."""
    row = state.row("SELECT at, sent_until FROM summaries WHERE name = ?", [name])
    # A moment in the future was recorded while the clock was wrong.
    if row and row["at"] == at and row["sent_until"] <= to_ms(now):
        return from_ms(row["sent_until"])
    with state.transaction():
        state.execute(
            "INSERT INTO summaries (name, at, sent_until) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET at = excluded.at, sent_until = excluded.sent_until",
            [name, at, to_ms(now)],
        )
    return now


def mark_summary_sent(state: State, name: str, until: datetime) -> None:
    """Record until when a summary was sent, within a transaction."""
    state.execute("UPDATE summaries SET sent_until = ? WHERE name = ?", [to_ms(until), name])


def low_rated_between(
    state: State, site_id: str, since: datetime, until: datetime, limits: Limits
) -> list[LowRated]:
    """Return the low-rated reviews of a site created in a period; not rejected or gone ones."""
    rows = state.rows(
        f"{_LOW_RATED} AND created_at >= ? AND created_at < ? AND {LOW_RATED} AND NOT rejected"
        " AND pruned_at IS NULL AND closing IS DISTINCT FROM 'gone'"
        " ORDER BY created_at, review_id",
        [site_id, to_ms(since), to_ms(until), limits.plain, limits.with_topic],
    )
    return [_low_rated(row) for row in rows]


def followed_open_reviews(
    state: State, site_id: str, alerted_since: datetime, now: datetime
) -> list[LowRated]:
    """Return the open reviews of a site that are still followed, newest first."""
    rows = state.rows(
        f"{_LOW_RATED} AND status = 'open' AND alerted_at >= ? ORDER BY created_at DESC, review_id",
        [site_id, to_ms(alerted_since)],
    )
    responses = get_responses(state, [(site_id, row["review_id"]) for row in rows], now)
    return [
        replace(
            _low_rated(row),
            claimed_by=responses.get((site_id, row["review_id"]), NO_RESPONSE).claimed_by,
        )
        for row in rows
    ]


def answers_by_person(
    state: State, site_id: str, since: datetime, until: datetime
) -> dict[str, list[float]]:
    """Return after how many seconds each person answered the reviews that they did in a period.

    Several replies of a person to one review are one answer, the first.
    """
    rows = state.rows(
        "SELECT person, min(finished_at) AS answered_at, created_at"
        " FROM actions JOIN reviews ON reviews.site_id = actions.site_id"
        "  AND reviews.review_id = actions.review_id"
        " WHERE actions.site_id = ? AND kind = 'reply' AND actions.status = 'done'"
        " AND outcome <> 'already' GROUP BY person, actions.review_id, created_at"
        " HAVING min(finished_at) >= ? AND min(finished_at) < ? ORDER BY person, answered_at",
        [site_id, to_ms(since), to_ms(until)],
    )
    found: dict[str, list[float]] = {}
    for row in rows:
        wait = max(row["answered_at"] - row["created_at"], 0) / 1000
        found.setdefault(row["person"], []).append(wait)
    return found


_LOW_RATED = (
    "SELECT review_id, rating, created_at, topics, reviews.entity_id, name, url, answered,"
    f" {json_field('content', '$.reply.at')} AS replied FROM reviews"
    " LEFT JOIN products ON products.site_id = reviews.site_id"
    "  AND products.entity_id = reviews.entity_id WHERE reviews.site_id = ?"
)


def _low_rated(row: dict[str, Any]) -> LowRated:
    return LowRated(
        rating=row["rating"],
        created=from_ms(row["created_at"]),
        entity_id=row["entity_id"],
        product=Product(row["name"], row["url"]),
        answered=bool(row["answered"]),
        answered_at=datetime.fromisoformat(row["replied"]) if row["replied"] else None,
        topics=tuple(json.loads(row["topics"] or "[]")),
    )
