"""The deliveries that a changed config affects. Call all of it within one transaction."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import Alert, AlertKind, Grouping, Review, from_ms, to_ms
from alerter.store.clusters import reviews_of
from alerter.store.items import load_alert
from alerter.store.reviews import load_review
from alerter.store.sql import json_numbers, json_values
from alerter.store.state import State

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Queued:
    """A delivery that was not sent for certain: it is pending, in doubt or failed."""

    alert: int
    destination: str
    grouping: Grouping
    due_at: datetime
    priority: int = 0


def queued_deliveries(state: State, destinations: Collection[str]) -> list[Queued]:
    """Return the unsent deliveries to these destinations."""
    return _queued(
        state,
        f"status IN ('pending', 'failed') AND destination IN {json_values()}",
        [json.dumps(list(destinations))],
    )


def queued_for_others(state: State, destinations: Collection[str]) -> list[Queued]:
    """Return the unsent deliveries to all other destinations."""
    return _queued(
        state,
        f"status IN ('pending', 'failed') AND destination NOT IN {json_values()}",
        [json.dumps(list(destinations))],
    )


def partly_delivered(state: State, destinations: Collection[str]) -> list[Queued]:
    """Return the deliveries of mails that only some addresses of these destinations accepted."""
    return _queued(
        state,
        "message IN (SELECT id FROM messages WHERE status = 'sent' AND to_left IS NOT NULL"
        f" AND destination IN {json_values()})",
        [json.dumps(list(destinations))],
    )


def held_deliveries(state: State, now: datetime) -> list[Queued]:
    """Return the deliveries that are held for quiet hours."""
    return _queued(state, "status = 'pending' AND message IS NULL AND due_at > ?", [to_ms(now)])


def unrouted_deliveries(state: State, site_ids: Collection[str]) -> list[Queued]:
    """Return the deliveries of alerts that no receiver got by the configs so far.

    Of open reviews of these sites only, and without alerts that may have arrived somewhere.
    """
    return _queued(
        state,
        "withdrawn IS NOT NULL AND EXISTS (SELECT 1 FROM alerts JOIN reviews"
        "  ON reviews.site_id = alerts.site_id AND reviews.review_id = alerts.review_id"
        " WHERE alerts.id = deliveries.alert AND reviews.status = 'open'"
        f" AND alerts.site_id IN {json_values()} AND {_UNROUTED}"
        "  AND NOT EXISTS (SELECT 1 FROM deliveries"
        "   WHERE alert = alerts.id AND withdrawn IS DISTINCT FROM 'unsent'))",
        [json.dumps(list(site_ids))],
    )


def _queued(state: State, where: str, params: Sequence[Any]) -> list[Queued]:
    rows = state.rows(
        f"SELECT alert, destination, grouping, due_at, priority FROM deliveries WHERE {where}",
        params,
    )
    return [
        Queued(
            row["alert"],
            row["destination"],
            Grouping(row["grouping"]),
            from_ms(row["due_at"]),
            row["priority"],
        )
        for row in rows
    ]


def alerts_with_reviews(
    state: State, ids: Iterable[int]
) -> Iterator[tuple[int, Alert, tuple[Review, ...]]]:
    """Yield these alerts by id, the oldest first, with their reviews as they are stored now.

    A cluster has several; an alert that is about none has none.
    """
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _AT_ONCE):
        for row in state.rows(
            "SELECT alerts.id, key, kind, alerts.site_id, alerts.review_id, detail, rating,"
            " revision, entity_id, contact_id, content, topics FROM alerts"
            " LEFT JOIN reviews ON reviews.site_id = alerts.site_id"
            "  AND reviews.review_id = alerts.review_id"
            f" WHERE alerts.id IN {json_numbers()} ORDER BY alerts.id",
            [json.dumps(wanted[start : start + _AT_ONCE])],
        ):
            alert = load_alert(row)
            if alert.kind is AlertKind.CLUSTER:
                yield row["id"], alert, tuple(reviews_of(state, row["id"]))
            else:
                found = (load_review(row),) if row["content"] is not None else ()
                yield row["id"], alert, found


def cancel_deliveries(state: State, deliveries: Sequence[Queued]) -> None:
    """Cancel deliveries, also in messages in doubt, and delete messages that have no others."""
    state.execute_many(
        "UPDATE deliveries SET status = 'cancelled', message = NULL,"
        " withdrawn = CASE WHEN status = 'pending' AND message IS NULL THEN 'unsent'"
        "  ELSE 'in_doubt' END"
        " WHERE alert = :alert AND destination = :destination",
        [{"alert": each.alert, "destination": each.destination} for each in deliveries],
    )
    state.execute(
        "DELETE FROM messages WHERE status IN ('sending', 'in_doubt', 'failed')"
        f" AND destination IN {json_values()}"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.message = messages.id)",
        [json.dumps(sorted({each.destination for each in deliveries}))],
    )


def queue_deliveries(state: State, deliveries: Sequence[Queued]) -> None:
    """Queue deliveries, also those that were cancelled before."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at, priority)"
        " VALUES (:alert, :destination, 'pending', :grouping, :due, :priority)"
        " ON CONFLICT (alert, destination) DO UPDATE SET status = 'pending', message = NULL,"
        " withdrawn = NULL, grouping = excluded.grouping, due_at = excluded.due_at,"
        " priority = excluded.priority"
        " WHERE deliveries.status = 'cancelled'",
        [
            {
                "alert": each.alert,
                "destination": each.destination,
                "grouping": each.grouping,
                "due": to_ms(each.due_at),
                "priority": each.priority,
            }
            for each in deliveries
        ],
    )


def reschedule_deliveries(state: State, until: Iterable[tuple[Queued, datetime]]) -> None:
    """Give each held delivery a new moment."""
    state.execute_many(
        "UPDATE deliveries SET due_at = :due WHERE alert = :alert AND destination = :destination",
        [
            {"alert": each.alert, "destination": each.destination, "due": to_ms(due_at)}
            for each, due_at in until
        ],
    )


def destinations_by_alert(state: State, ids: Iterable[int]) -> dict[int, set[str]]:
    """Return the destinations of each alert, without cancelled deliveries."""
    found: dict[int, set[str]] = {each: set() for each in ids}
    for row in state.rows(
        "SELECT alert, destination FROM deliveries WHERE status <> 'cancelled'"
        f" AND alert IN {json_numbers()}",
        [json.dumps(list(found))],
    ):
        found[row["alert"]].add(row["destination"])
    return found


def unrouted_counts(state: State, ids: Collection[int]) -> Counter[str]:
    """Return how many of these alerts of open reviews have no destination left, by site id."""
    return Counter(
        row["site_id"]
        for row in state.rows(
            "SELECT alerts.site_id FROM alerts JOIN reviews ON reviews.site_id = alerts.site_id"
            "  AND reviews.review_id = alerts.review_id"
            f" WHERE alerts.id IN {json_numbers()}"
            f" AND kind <> 'closed' AND reviews.status = 'open' AND {_UNROUTED}",
            [json.dumps(sorted(ids))],
        )
    )


def has_unrouted(state: State, site_id: str) -> bool:
    """Whether a config left an alert of an open review of a site without a destination."""
    return bool(
        state.value(
            "SELECT EXISTS (SELECT 1 FROM reviews JOIN alerts ON alerts.site_id = reviews.site_id"
            "  AND alerts.review_id = reviews.review_id AND alerts.kind <> 'closed'"
            " WHERE reviews.site_id = ? AND reviews.status = 'open'"
            " AND EXISTS (SELECT 1 FROM deliveries"
            f"  WHERE alert = alerts.id AND withdrawn IS NOT NULL) AND {_UNROUTED})",
            [site_id],
        )
    )


def stop_retrying_addresses(state: State, partly: Sequence[Queued]) -> None:
    """Do not retry the addresses that have not accepted the mails of these deliveries."""
    state.execute_many(
        "UPDATE messages SET to_left = NULL, due_at = NULL"
        " WHERE id = (SELECT message FROM deliveries"
        "  WHERE alert = :alert AND destination = :destination)",
        [{"alert": each.alert, "destination": each.destination} for each in partly],
    )


def freeze_messages_of_others(state: State, destinations: Collection[str]) -> None:
    """Do not change messages that other destinations got, nor retry their addresses."""
    state.execute(
        "UPDATE messages SET stale = 0, erase = FALSE, to_left = NULL, due_at = NULL,"
        " failing_since = NULL WHERE status = 'sent' AND (stale > 0 OR to_left IS NOT NULL)"
        f" AND destination NOT IN {json_values()}",
        [json.dumps(list(destinations))],
    )


def set_details(state: State, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Write the details of alerts, by the id of the alert."""
    state.execute_many(
        "UPDATE alerts SET detail = :detail WHERE id = :alert",
        [
            {"alert": alert, "detail": json.dumps(detail, ensure_ascii=False)}
            for alert, detail in details.items()
        ],
    )


# Whether no one gets an alert, nor a later one about its review.
_UNROUTED = (
    "NOT EXISTS (SELECT 1 FROM alerts AS later JOIN deliveries ON deliveries.alert = later.id"
    " WHERE later.site_id = alerts.site_id AND later.review_id = alerts.review_id"
    " AND later.id >= alerts.id AND later.kind <> 'closed' AND deliveries.status <> 'cancelled')"
)
