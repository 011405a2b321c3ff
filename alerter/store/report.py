"""What `alerter status` and `alerter explain` read from the state file."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alerter.models import AlertKind, Form, Product, StoredReview, from_ms, receiver_of
from alerter.store.outbox import UNSETTLED
from alerter.store.reminders import Reminders, get_reminders_of
from alerter.store.reviews import known_reviews
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class SiteReport:
    """How a site is doing."""

    last_success: datetime | None = None
    open_reviews: int = 0
    sees_private: bool = True


@dataclass(frozen=True, slots=True)
class OpenReview:
    """A review that nobody has answered yet."""

    site_id: str
    review_id: str
    rating: int
    title: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Record:
    """A review on record: when it was created, its reminders for each destination, and what it is about.

    `created` is not known of one that an older version pruned. Of a site that was restored and has not been asked since
    (`unverified`) it has no words, as they may be deleted at Wix.
    """

    known: StoredReview
    created: datetime | None
    reminders: list[Reminders]
    product: Product
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class DeliveryReport:
    """Where a delivery stands; all from `form` on is of the message that carries it, where there is one."""

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
    partly_taken: bool = False
    stale: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AlertReport:
    """An alert that was raised, and what came of it."""

    key: str
    kind: AlertKind
    raised_at: datetime
    detail: Mapping[str, Any]
    deliveries: list[DeliveryReport]


def sites(state: State) -> dict[str, SiteReport]:
    """How each site is doing, by its id."""
    rows = state.rows(
        "SELECT site_id, last_success, sees_private, (SELECT count(*) FROM reviews INDEXED BY reviews_open"
        "  WHERE reviews.site_id = sites.site_id AND status = 'open') AS open_reviews FROM sites"
    )
    return {
        row["site_id"]: SiteReport(
            last_success=from_ms(row["last_success"]) if row["last_success"] is not None else None,
            open_reviews=row["open_reviews"],
            sees_private=row["sees_private"] != 0,
        )
        for row in rows
    }


def deliveries(state: State) -> dict[str, dict[str, int]]:
    """How many deliveries of each receiver have which status, those that were pruned included."""
    counted: dict[str, dict[str, int]] = {}
    for row in state.rows(
        "SELECT destination, status, count(*) AS number FROM deliveries GROUP BY destination, status"
        " UNION ALL SELECT destination, status, number FROM pruned_deliveries"
    ):
        its = counted.setdefault(receiver_of(row["destination"]), {})
        its[row["status"]] = its.get(row["status"], 0) + row["number"]
    return counted


def oldest_pending(state: State) -> datetime | None:
    """Since when the delivery that has waited longest could have been made; one that is held, from its hour on."""
    ms = state.value(
        "SELECT min(max(raised_at, due_at)) FROM deliveries JOIN alerts ON alerts.id = alert"
        f" WHERE {UNSETTLED} AND status = 'pending'"
    )
    return from_ms(ms) if ms is not None else None


def open_reviews(state: State, site_ids: Collection[str], most: int) -> list[OpenReview]:
    """The open reviews of these sites, the oldest first."""
    rows = state.rows(
        "SELECT site_id, review_id, rating, created_at,"
        " CASE WHEN unverified = 1 THEN '' ELSE coalesce(json_extract(content, '$.title'), '') END AS title"
        " FROM reviews JOIN sites USING (site_id)"
        " WHERE status = 'open' AND site_id IN (SELECT value FROM json_each(?))"
        " ORDER BY created_at, review_id LIMIT ?",
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


def record(state: State, site_id: str, review_id: str) -> Record | None:
    """What is on record of a review."""
    known = known_reviews(state, site_id, [review_id]).get(review_id)
    row = state.row(
        "SELECT created_at, products.name, url, unverified FROM reviews"
        " LEFT JOIN products USING (site_id, entity_id) LEFT JOIN sites USING (site_id)"
        " WHERE site_id = ? AND review_id = ?",
        [site_id, review_id],
    )
    if known is None or row is None:
        return None
    created = from_ms(row["created_at"]) if row["created_at"] else None
    if row["unverified"]:
        known = replace(known, review=replace(known.review, title="", body="", author="", media=()))
    return Record(
        known,
        created,
        get_reminders_of(state, site_id, review_id),
        Product(row["name"], row["url"]),
        unverified=bool(row["unverified"]),
    )


def alerts(state: State, site_id: str, review_id: str) -> list[AlertReport]:
    """The alerts of a review with their deliveries, the oldest first."""
    rows = state.rows(
        "SELECT id, key, kind, raised_at, detail FROM alerts WHERE site_id = ? AND review_id = ? ORDER BY id",
        [site_id, review_id],
    )
    return [
        AlertReport(
            key=row["key"],
            kind=AlertKind(row["kind"]),
            raised_at=from_ms(row["raised_at"]),
            detail=json.loads(row["detail"]),
            deliveries=_deliveries_of(state, row["id"]),
        )
        for row in rows
    ]


def _deliveries_of(state: State, alert: int) -> list[DeliveryReport]:
    rows = state.rows(
        "SELECT deliveries.*, messages.status AS message_status, form, attempts, attempted_at, message_id, slack_ts,"
        " slack_channel, to_left, stale, error FROM deliveries LEFT JOIN messages ON messages.id = deliveries.message"
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
        partly_taken=row["to_left"] is not None,
        stale=bool(row["stale"]),
        error=row["error"],
    )


def oldest_success(state: State, site_ids: Iterable[str]) -> datetime | None:
    """When that one of these sites was read whose last good round is longest ago; None: one was never read."""
    ms = state.value(
        "SELECT min(ifnull(last_success, 0)) FROM json_each(?) LEFT JOIN sites ON site_id = value",
        [json.dumps(list(site_ids))],
    )
    return from_ms(ms) if ms else None


def alerts_raised(state: State, after: int) -> tuple[dict[str, int], int]:
    """How many alerts of each kind were raised after the one with that id, and the id of the last."""
    rows = state.rows(
        "SELECT kind, count(*) AS number, max(id) AS last FROM alerts WHERE id > ? GROUP BY kind",
        [after],
    )
    return {row["kind"]: row["number"] for row in rows}, max(
        (row["last"] for row in rows), default=after
    )
