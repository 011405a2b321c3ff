"""Alerts in the database, with the deliveries that they are raised with."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alerter.models import Alert, AlertKind, Grouping, to_ms
from alerter.store.sql import json_field, json_values
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert to raise, and its destinations, each with the moment to send it (None: now)."""

    alert: Alert
    routes: Sequence[tuple[str, datetime | None]]
    grouping: Grouping = Grouping.BURST


def raise_alerts(state: State, new_alerts: Sequence[NewAlert], now: datetime) -> int:
    """Write alerts with their deliveries, within a transaction; return how many were new.

    An alert whose key exists already is ignored.
    """
    deliveries, follow_ups = [], []
    ids = _insert_alerts(state, [each.alert for each in new_alerts], now)
    number = len(ids)
    for each in new_alerts:
        alert = each.alert
        alert_id = ids.pop(alert.key, None)
        rows = [
            {
                "alert": alert_id,
                "destination": destination,
                "grouping": each.grouping,
                "priority": int(each.grouping is Grouping.EACH and "backfill" in alert.detail),
                "due": to_ms(due_at) if due_at else 0,
                "site": alert.site_id,
                "review": alert.review_id,
            }
            for destination, due_at in each.routes
        ]
        if alert_id is not None:
            deliveries += rows
        if alert.kind is not AlertKind.NEW:
            follow_ups += rows
    state.execute_many(_QUEUE, deliveries)
    state.execute_many(_HOLD_NO_LONGER, follow_ups)
    return number


def _insert_alerts(state: State, alerts: Iterable[Alert], now: datetime) -> dict[str, int]:
    """Insert alerts and return their ids by key, without those whose key exists already."""
    found = [
        (
            each.key,
            each.kind,
            each.site_id,
            each.review_id,
            _encode(each.detail) if each.detail else "{}",
        )
        for each in alerts
    ]
    rows = state.rows(_INSERT, {"now": to_ms(now), "alerts": json.dumps(found)}) if found else []
    return {row["key"]: row["id"] for row in rows}


def count_alerts(state: State, site_id: str, review_id: str, kind: AlertKind) -> int:
    """Return how many alerts of a kind a review has raised, to number the key of the next.

    Pruned alerts of any kind are included.
    """
    return int(
        state.value(
            "SELECT count(*) + coalesce((SELECT pruned_alerts FROM reviews"
            "  WHERE site_id = :site AND review_id = :review), 0)"
            " FROM alerts WHERE site_id = :site AND review_id = :review AND kind = :kind",
            {"site": site_id, "review": review_id, "kind": kind},
        )
    )


def first_alert(state: State, site_id: str, review_id: str) -> int | None:
    """Return the id of the first alert of a review; None if there is none or it was pruned."""
    alert: int | None = state.value(
        "SELECT min(id) FROM alerts"
        " WHERE site_id = ? AND review_id = ? AND kind IN ('new', 'lowered')",
        [site_id, review_id],
    )
    return alert


def alerted_destinations(state: State, site_id: str, review_id: str) -> dict[str, bool]:
    """Return the destinations of a review's alerts: True if sent, False if still pending."""
    rows = state.rows(
        "SELECT destination, max(CASE WHEN deliveries.status = 'sent' THEN 1 ELSE 0 END) AS sent"
        " FROM alerts JOIN deliveries"
        "  ON deliveries.alert = alerts.id AND deliveries.status IN ('sent', 'pending')"
        " WHERE site_id = ? AND review_id = ? AND kind IN ('new', 'lowered') GROUP BY destination",
        [site_id, review_id],
    )
    return {row["destination"]: bool(row["sent"]) for row in rows}


def queue_alert(state: State, alert: int, routes: Iterable[tuple[str, datetime | None]]) -> None:
    """Queue a stored alert for destinations that never got it, within a transaction."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
        " VALUES (:alert, :destination, 'pending', 'burst', :due)"
        " ON CONFLICT (alert, destination)"
        " DO UPDATE SET status = 'pending', message = NULL, withdrawn = NULL,"
        " due_at = excluded.due_at",
        [
            {"alert": alert, "destination": destination, "due": to_ms(due_at) if due_at else 0}
            for destination, due_at in routes
        ],
    )


def queue_cluster(state: State, alert: int, routes: Iterable[tuple[str, datetime | None]]) -> None:
    """Queue the alert of a cluster for destinations that it was not for so far; in a transaction.

    It leaves in a message of its own. What is held for longer than now is sent earlier.
    """
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
        " VALUES (:alert, :destination, 'pending', 'each', :due)"
        " ON CONFLICT (alert, destination) DO UPDATE SET due_at = excluded.due_at"
        " WHERE deliveries.status = 'pending' AND deliveries.message IS NULL"
        " AND deliveries.due_at > excluded.due_at",
        [
            {"alert": alert, "destination": destination, "due": to_ms(due_at) if due_at else 0}
            for destination, due_at in routes
        ],
    )


def cancel_unsent(state: State, site_id: str, review_id: str) -> bool:
    """Cancel the unsent alerts of a closed review; return whether any alert of it was sent.

    Pruned alerts count as sent, and so does a review without deliveries. Call it within a
    transaction.
    """
    of_review = (
        "alert IN (SELECT id FROM alerts"
        " WHERE site_id = :site AND review_id = :review AND kind <> 'closed')"
    )
    found = {"site": site_id, "review": review_id}
    state.execute(
        "UPDATE deliveries SET status = 'cancelled', withdrawn = NULL WHERE"
        " (withdrawn IS NOT NULL OR status = 'failed' OR (status = 'pending' AND message IS NULL))"
        f" AND {of_review}",
        found,
    )
    row = state.row(
        "SELECT count(*) AS number, count(*) FILTER (WHERE status <> 'cancelled') AS sent,"
        " (SELECT pruned_alerts FROM reviews WHERE site_id = :site AND review_id = :review)"
        f" AS pruned FROM deliveries WHERE {of_review}",
        found,
    )
    return bool(row and (row["pruned"] or row["sent"] or not row["number"]))


def cancel_closing(state: State, site_id: str, review_id: str) -> None:
    """Cancel the unsent `closed` of a review that is open again, within a transaction."""
    state.execute(
        # Written so that SQLite looks the deliveries up by their alert, not by their status.
        "UPDATE deliveries SET status = 'cancelled'"
        " WHERE status NOT IN ('sent', 'cancelled') AND message IS NULL AND alert IN"
        " (SELECT id FROM alerts WHERE site_id = ? AND review_id = ? AND kind = 'closed')",
        [site_id, review_id],
    )


# A text is found in a detail as it is: see `erasure.py`.
_encode = json.JSONEncoder(ensure_ascii=False).encode
_ALERT = [json_field("value", f"$[{place}]") for place in range(5)]
# WHERE, as SQLite would read ON as a part of the FROM: https://www.sqlite.org/lang_upsert.html
_INSERT = f"""
INSERT INTO alerts (key, kind, site_id, review_id, detail, raised_at)
SELECT {", ".join(_ALERT)}, CAST(:now AS BIGINT) FROM {json_values(":alerts")} AS given
WHERE value IS NOT NULL ON CONFLICT (key) DO NOTHING RETURNING id, key
"""
_QUEUE = """
INSERT INTO deliveries (alert, destination, status, grouping, due_at, priority)
VALUES (:alert, :destination, 'pending', :grouping, :due, :priority)
"""
# Held deliveries of a review are sent no later than a newer alert of it, so that the order stays.
_HOLD_NO_LONGER = """
UPDATE deliveries SET due_at = :due WHERE destination = :destination
  AND status = 'pending' AND message IS NULL AND due_at > :due
  AND alert IN (SELECT id FROM alerts WHERE site_id = :site AND review_id = :review)
"""
