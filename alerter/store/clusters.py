"""Clusters in the database: the reviews of each, and the records that they are compared with.

A cluster is of one product of a site, or of what the site has no product for (`entity_id` None).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import Review, from_ms, to_ms
from alerter.store.reviews import load_review
from alerter.store.sql import json_field, json_values, moment_or_none
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class DatedReview:
    """A low-rated review as the rule of clusters sees it: `review` has its id, rating and dates.

    `alerted`: it was alerted, by a backfill too. `cluster`: the alert of the cluster that has it.
    """

    review: Review
    created: datetime
    alerted: bool = False
    cluster: int | None = None


def low_rated(
    state: State, site_id: str, entity_id: str | None, since: datetime, threshold: int
) -> list[DatedReview]:
    """Return the low-rated reviews created since a moment, oldest first.

    Without those that were rejected, are gone from Wix, or were erased.
    """
    rows = state.rows(
        "SELECT review_id, rating, created_at, alerted_at,"
        f" {json_field('content', '$.written')} AS written,"
        " (SELECT max(alert) FROM cluster_reviews WHERE cluster_reviews.site_id = reviews.site_id"
        "  AND cluster_reviews.review_id = reviews.review_id) AS cluster FROM reviews"
        f" WHERE {_of(entity_id)} AND created_at >= :since AND rating <= :threshold"
        f" AND {_COUNTED} ORDER BY created_at, review_id",
        {
            "site": site_id,
            "entity": entity_id,
            "since": to_ms(since),
            "threshold": threshold,
        },
    )
    return [
        DatedReview(
            _dated(row),
            from_ms(row["created_at"]),
            alerted=row["alerted_at"] is not None,
            cluster=row["cluster"],
        )
        for row in rows
    ]


def past_dates(
    state: State,
    site_id: str,
    entity_id: str | None,
    since: datetime,
    until: datetime,
    threshold: int,
) -> list[tuple[datetime, datetime | None]]:
    """Return when low-rated reviews before `until` were created and written, oldest first."""
    rows = state.rows(
        f"SELECT created_at, {json_field('content', '$.written')} AS written FROM reviews"
        f" WHERE {_of(entity_id)} AND created_at >= :since AND created_at < :until"
        f" AND rating <= :threshold AND {_COUNTED} ORDER BY created_at",
        {
            "site": site_id,
            "entity": entity_id,
            "since": to_ms(since),
            "until": to_ms(until),
            "threshold": threshold,
        },
    )
    return [(from_ms(row["created_at"]), _moment(row["written"])) for row in rows]


def _dated(row: Mapping[str, Any]) -> Review:
    return Review(
        row["review_id"],
        row["rating"],
        created=from_ms(row["created_at"]),
        written=_moment(row["written"]),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def record_start(state: State, site_id: str, entity_id: str | None) -> datetime | None:
    """Return when the earliest review on record was created, whatever became of it."""
    return moment_or_none(
        state.value(
            f"SELECT min(created_at) FROM reviews WHERE {_of(entity_id)} AND pruned_at IS NULL",
            {"site": site_id, "entity": entity_id},
        )
    )


def product_count(state: State, site_id: str, since: datetime, threshold: int, least: int) -> int:
    """Return how many products of a site got at least so many low-rated reviews since then."""
    return int(
        state.value(
            "SELECT count(*) FROM (SELECT entity_id FROM reviews WHERE site_id = ?"
            f" AND created_at >= ? AND rating <= ? AND {_COUNTED}"
            " GROUP BY entity_id HAVING count(*) >= ?) AS products",
            [site_id, to_ms(since), threshold, least],
        )
    )


def put_candidates(state: State, site_id: str, ids: Collection[str]) -> None:
    """Record new reviews whose clusters the last page of a poll decides, in a transaction."""
    state.execute_many(
        "INSERT INTO cluster_candidates (site_id, review_id) VALUES (:site, :review)"
        " ON CONFLICT (site_id, review_id) DO NOTHING",
        [{"site": site_id, "review": review_id} for review_id in ids],
    )


def take_candidates(state: State, site_id: str) -> set[str]:
    """Return the recorded candidates of a site, and remove them, within a transaction."""
    rows = state.rows("SELECT review_id FROM cluster_candidates WHERE site_id = ?", [site_id])
    if rows:
        state.execute("DELETE FROM cluster_candidates WHERE site_id = ?", [site_id])
    return {row["review_id"] for row in rows}


def get_alert_id(state: State, key: str) -> int:
    """Return the id of the alert with a key, which is there."""
    return int(state.value("SELECT id FROM alerts WHERE key = ?", [key]))


def add_reviews(state: State, alert: int, site_id: str, ids: Sequence[str]) -> None:
    """Record that these reviews belong to a cluster, within a transaction."""
    state.execute_many(
        "INSERT INTO cluster_reviews (alert, site_id, review_id) VALUES (:alert, :site, :review)"
        " ON CONFLICT (alert, site_id, review_id) DO NOTHING",
        [{"alert": alert, "site": site_id, "review": review_id} for review_id in ids],
    )


def reviews_of(state: State, alert: int) -> list[Review]:
    """Return the reviews of a cluster that are neither gone from Wix nor erased, oldest first."""
    rows = state.rows(
        "SELECT reviews.* FROM cluster_reviews JOIN reviews USING (site_id, review_id)"
        f" WHERE alert = ? AND {_SHOWN} ORDER BY created_at, review_id",
        [alert],
    )
    return [load_review(row) for row in rows]


def cancel_empty(state: State, site_id: str, ids: Collection[str]) -> None:
    """Cancel unsent alerts of clusters that have none but erased reviews, among them these."""
    state.execute(
        "UPDATE deliveries SET status = 'cancelled', withdrawn = NULL"
        " WHERE status IN ('pending', 'failed') AND message IS NULL AND alert IN"
        "  (SELECT alert FROM cluster_reviews"
        f"   WHERE site_id = :site AND review_id IN {json_values(':ids')})"
        " AND NOT EXISTS (SELECT 1 FROM cluster_reviews JOIN reviews USING (site_id, review_id)"
        f"  WHERE cluster_reviews.alert = deliveries.alert AND {_SHOWN})",
        {"site": site_id, "ids": json.dumps(list(ids))},
    )


def _of(entity_id: str | None) -> str:
    same = "entity_id IS NULL" if entity_id is None else "entity_id = :entity"
    return f"site_id = :site AND {same}"


# What counts as a low-rated review that a product got.
_COUNTED = "NOT rejected AND closing IS DISTINCT FROM 'gone' AND pruned_at IS NULL"
# What a message may show of a cluster.
_SHOWN = "NOT anonymized AND closing IS DISTINCT FROM 'gone' AND pruned_at IS NULL"
