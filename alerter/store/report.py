"""What `alerter status`, `alerter explain` and the metrics read from the database."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from alerter.models import AlertKind, Form, Product, StoredReview, from_ms, receiver_of, to_ms
from alerter.orders import Order
from alerter.store.orders import load_order
from alerter.store.outbox import UNSETTLED
from alerter.store.reminders import Reminders, get_reminders_of
from alerter.store.reviews import get_reviews
from alerter.store.sql import json_field, json_values, moment_or_none
from alerter.store.state import State

# No transaction is open for so long.
_SETTLED = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class SiteReport:
    """The last complete poll of a site, and how many of its reviews are open."""

    last_success: datetime | None = None
    open_reviews: int = 0
    sees_private: bool = True


@dataclass(frozen=True, slots=True)
class OpenReview:
    """A low-rated review that was alerted and not answered."""

    site_id: str
    review_id: str
    rating: int
    title: str
    created: datetime


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """A stored review, its reminders for each destination, and its product.

    `created`: None if an older version pruned it. `unverified`: it comes from a restored backup
    and Wix was not asked for it since, so it has no text. `order`: the one behind it, if known.
    """

    known: StoredReview
    created: datetime | None
    reminders: list[Reminders]
    product: Product
    unverified: bool = False
    order: Order | None = None


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """The status of a delivery; `form` and what follows is of its message, if it has one."""

    destination: str
    status: str
    due_at: datetime
    form: Form | None = None
    in_doubt: bool = False
    attempts: int = 0
    attempted_at: datetime | None = None
    message_id: str = ""
    slack_ts: str | None = None
    slack_channel: str | None = None
    partly_accepted: bool = False
    stale: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AlertReport:
    """An alert and its deliveries; a cluster has several `reviews`."""

    key: str
    kind: AlertKind
    raised_at: datetime
    detail: Mapping[str, Any]
    deliveries: list[DeliveryReport]
    reviews: int = 1


def site_reports(state: State) -> dict[str, SiteReport]:
    """Return the report of each site by its id."""
    rows = state.rows(SITES)
    return {
        row["site_id"]: SiteReport(
            last_success=moment_or_none(row["last_success"]),
            open_reviews=row["open_reviews"],
            sees_private=row["sees_private"] is None or bool(row["sees_private"]),
        )
        for row in rows
    }


def delivery_counts(state: State) -> dict[str, dict[str, int]]:
    """Return the number of deliveries by receiver and status, with those that were pruned."""
    counted: dict[str, dict[str, int]] = {}
    for row in state.rows(
        "SELECT destination, status, count(*) AS number FROM deliveries"
        " GROUP BY destination, status"
        " UNION ALL SELECT destination, status, number FROM pruned_deliveries"
    ):
        its = counted.setdefault(receiver_of(row["destination"]), {})
        its[row["status"]] = its.get(row["status"], 0) + row["number"]
    return counted


def unsent_counts(state: State) -> Counter[tuple[str, str]]:
    """Return how many deliveries are pending or have failed, by receiver and status."""
    rows = state.rows(
        "SELECT destination, status, count(*) AS number FROM deliveries"
        f" WHERE {UNSETTLED} GROUP BY destination, status"
    )
    counted = Counter[tuple[str, str]]()
    for row in rows:
        counted[receiver_of(row["destination"]), row["status"]] += row["number"]
    return counted


def oldest_pending(state: State) -> datetime | None:
    """Return when the pending delivery that waits longest was first due; None without any.

    A delivery is due once its alert is raised and it is not held.
    """
    return moment_or_none(
        state.value(
            "SELECT min(CASE WHEN raised_at > due_at THEN raised_at ELSE due_at END)"
            " FROM deliveries JOIN alerts ON alerts.id = alert"
            f" WHERE {UNSETTLED} AND status = 'pending'"
        )
    )


def open_review_count(state: State, site_ids: Iterable[str]) -> int:
    """Return how many reviews of these sites are open."""
    rows = state.rows(
        "SELECT site_id, count(*) AS number FROM reviews WHERE status = 'open' GROUP BY site_id"
    )
    numbers = {row["site_id"]: row["number"] for row in rows}
    return sum(numbers.get(site_id, 0) for site_id in site_ids)


def open_reviews(
    state: State, site_ids: Collection[str], most: int, *, newest: bool = False
) -> list[OpenReview]:
    """Return at most `most` open reviews of these sites, the oldest or the newest first."""
    order = "DESC" if newest else "ASC"
    title = json_field("content", "$.title")
    rows = state.rows(
        "SELECT site_id, review_id, rating, created_at,"
        f" CASE WHEN unverified THEN '' ELSE coalesce({title}, '') END AS title"
        " FROM reviews JOIN sites USING (site_id)"
        f" WHERE status = 'open' AND site_id IN {json_values()}"
        f" ORDER BY created_at {order}, review_id {order} LIMIT ?",
        [json.dumps(list(site_ids)), most],
    )
    return [
        OpenReview(
            row["site_id"],
            row["review_id"],
            row["rating"],
            row["title"],
            from_ms(row["created_at"]),
        )
        for row in rows
    ]


def ids_beginning(
    state: State, beginning: str, site_ids: Collection[str] | None, most: int
) -> list[str]:
    """Return the ids of stored reviews that begin with a text, the shortest first, at most `most`.

    `site_ids`: only reviews of these sites; None for all sites.
    """
    of_sites = f"AND site_id IN {json_values(':sites')}"
    rows = state.rows(
        "SELECT review_id FROM reviews"
        " WHERE substr(review_id, 1, length(:beginning)) = :beginning"
        f" {of_sites if site_ids is not None else ''}"
        " GROUP BY review_id ORDER BY length(review_id), review_id LIMIT :most",
        {"beginning": beginning, "sites": json.dumps(list(site_ids or ())), "most": most},
    )
    return [row["review_id"] for row in rows]


def unique_beginnings(state: State, beginnings: Collection[str], length: int) -> set[str]:
    """Return those of these beginnings of ids, each of `length`, that one stored id has."""
    rows = state.rows(
        "SELECT beginning FROM"
        " (SELECT substr(review_id, 1, CAST(:length AS INTEGER)) AS beginning, review_id"
        "  FROM reviews) AS ids"
        f" WHERE beginning IN {json_values(':beginnings')}"
        " GROUP BY beginning HAVING count(DISTINCT review_id) = 1",
        {"length": length, "beginnings": json.dumps(sorted(beginnings))},
    )
    return {row["beginning"] for row in rows}


def get_review_record(state: State, site_id: str, review_id: str) -> ReviewRecord | None:
    """Return a stored review; None if there is none."""
    known = get_reviews(state, site_id, [review_id]).get(review_id)
    row = state.row(
        "SELECT created_at, products.name, url, unverified, orders.content AS bought FROM reviews"
        " LEFT JOIN products USING (site_id, entity_id) LEFT JOIN sites USING (site_id)"
        " LEFT JOIN orders USING (site_id, review_id) WHERE site_id = ? AND review_id = ?",
        [site_id, review_id],
    )
    if known is None or row is None:
        return None
    created = from_ms(row["created_at"]) if row["created_at"] else None
    if row["unverified"]:
        known = replace(known, review=replace(known.review, title="", body="", author="", media=()))
    return ReviewRecord(
        known,
        created,
        get_reminders_of(state, site_id, review_id),
        Product(row["name"], row["url"]),
        unverified=bool(row["unverified"]),
        order=None if row["unverified"] else load_order(row["bought"]),
    )


def alert_reports(state: State, site_id: str, review_id: str) -> list[AlertReport]:
    """Return the alerts of a review with their deliveries, the oldest first."""
    rows = state.rows(
        "SELECT id, key, kind, raised_at, detail FROM alerts"
        " WHERE site_id = ? AND review_id = ? ORDER BY id",
        [site_id, review_id],
    )
    return _reports_of(state, rows)


def cluster_reports(state: State, site_id: str, review_id: str) -> list[AlertReport]:
    """Return the clusters that have a review, each with the number of its reviews."""
    rows = state.rows(
        "SELECT id, key, kind, raised_at, detail, (SELECT count(*) FROM cluster_reviews AS its"
        "  WHERE its.alert = alerts.id) AS reviews"
        " FROM alerts JOIN cluster_reviews ON cluster_reviews.alert = alerts.id"
        " WHERE cluster_reviews.site_id = ? AND cluster_reviews.review_id = ? ORDER BY id",
        [site_id, review_id],
    )
    return _reports_of(state, rows)


def _reports_of(state: State, rows: Iterable[Mapping[str, Any]]) -> list[AlertReport]:
    return [
        AlertReport(
            key=row["key"],
            kind=AlertKind(row["kind"]),
            raised_at=from_ms(row["raised_at"]),
            detail=json.loads(row["detail"]),
            deliveries=_deliveries_of(state, row["id"]),
            reviews=row.get("reviews", 1),
        )
        for row in rows
    ]


def _deliveries_of(state: State, alert: int) -> list[DeliveryReport]:
    rows = state.rows(
        "SELECT deliveries.*, messages.status AS message_status, form, attempts, attempted_at,"
        " message_id, slack_ts, slack_channel, to_left, stale, error"
        " FROM deliveries LEFT JOIN messages ON messages.id = deliveries.message"
        " WHERE alert = ? ORDER BY deliveries.destination",
        [alert],
    )
    return [_delivery(row) for row in rows]


def _delivery(row: Mapping[str, Any]) -> DeliveryReport:
    due_at = from_ms(row["due_at"])
    if row["message_id"] is None:
        return DeliveryReport(row["destination"], row["status"], due_at)
    return DeliveryReport(
        destination=row["destination"],
        status=row["status"],
        due_at=due_at,
        form=Form(row["form"]),
        in_doubt=row["message_status"] in ("sending", "in_doubt"),
        attempts=row["attempts"],
        attempted_at=from_ms(row["attempted_at"]),
        message_id=row["message_id"],
        slack_ts=row["slack_ts"],
        slack_channel=row["slack_channel"],
        partly_accepted=row["to_left"] is not None,
        stale=bool(row["stale"]),
        error=row["error"],
    )


def oldest_success(state: State, site_ids: Iterable[str]) -> datetime | None:
    """Return the oldest last complete poll of these sites; None if one was never read."""
    ms = state.value(
        f"SELECT min(coalesce(last_success, 0)) FROM {json_values()} AS wanted"
        " LEFT JOIN sites ON site_id = value",
        [json.dumps(list(site_ids))],
    )
    return from_ms(ms) if ms else None


def alerts_raised(
    state: State, after: int, now: datetime
) -> tuple[dict[str, int], dict[str, int], int]:
    """Return how many alerts of each kind come after an alert id: those settled, and all of them.

    Also return the last id of the settled ones, after which none is missed: in a cluster, ids are
    given out in another order than their transactions are committed.
    """
    last = state.value(
        "SELECT max(id) FROM alerts WHERE id > ? AND raised_at < ?", [after, to_ms(now - _SETTLED)]
    )
    rows = state.rows(
        "SELECT kind, count(*) AS number, count(CASE WHEN id <= :last THEN 1 END) AS settled"
        " FROM alerts WHERE id > :after GROUP BY kind",
        {"after": after, "last": last or after},
    )
    settled = {row["kind"]: row["settled"] for row in rows}
    return settled, {row["kind"]: row["number"] for row in rows}, int(last or after)


SITES = (
    "SELECT sites.site_id, last_success, sees_private, coalesce(number, 0) AS open_reviews"
    " FROM sites LEFT JOIN (SELECT site_id, count(*) AS number FROM reviews"
    "  WHERE status = 'open' GROUP BY site_id) AS counted ON counted.site_id = sites.site_id"
)
