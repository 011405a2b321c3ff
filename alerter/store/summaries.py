"""What summaries tell of, in the state file."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import Product, from_ms, to_ms
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class LowRated:
    """A low-rated review as a summary counts it: nothing of what its customer wrote."""

    rating: int
    created: datetime
    entity_id: str | None
    product: Product
    answered: bool
    answered_at: datetime | None


def told_until(state: State, name: str, at: str, now: datetime) -> datetime:
    """How far a summary has been told: at first up to when it was seen, with this time of day or week."""
    row = state.row("SELECT at, told_until FROM summaries WHERE name = ?", [name])
    # A moment that is still to come is that of a clock that was wrong then.
    if row and row["at"] == at and row["told_until"] <= to_ms(now):
        return from_ms(row["told_until"])
    with state.transaction():
        state.execute(
            "INSERT INTO summaries (name, at, told_until) VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET at = excluded.at, told_until = excluded.told_until",
            [name, at, to_ms(now)],
        )
    return now


def told(state: State, name: str, until: datetime) -> None:
    """Note how far a summary has been told, within a transaction."""
    state.execute("UPDATE summaries SET told_until = ? WHERE name = ?", [to_ms(until), name])


def low_rated(
    state: State, site_id: str, since: datetime, until: datetime, threshold: int
) -> list[LowRated]:
    """The low-rated reviews of a site that were created in a span; what is rejected or gone does not count."""
    rows = state.rows(
        f"{_LOW_RATED} AND created_at >= ? AND created_at < ? AND rating <= ? AND NOT rejected AND pruned_at IS NULL"
        " AND closing IS NOT 'gone' ORDER BY created_at, review_id",
        [site_id, to_ms(since), to_ms(until), threshold],
    )
    return [_low_rated(row) for row in rows]


def still_open(state: State, site_id: str, alerted_since: datetime) -> list[LowRated]:
    """The open reviews of a site, newest first, that are followed still; of others nobody knows."""
    rows = state.rows(
        f"{_LOW_RATED} AND status = 'open' AND alerted_at >= ? ORDER BY created_at DESC, review_id",
        [site_id, to_ms(alerted_since)],
    )
    return [_low_rated(row) for row in rows]


_LOW_RATED = (
    "SELECT rating, created_at, reviews.entity_id, name, url, answered, json_extract(content, '$.reply.at') AS replied"
    " FROM reviews LEFT JOIN products ON products.site_id = reviews.site_id"
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
    )
