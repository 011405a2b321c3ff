"""The deliveries that a changed config concerns, in the state file. All of it runs within one transaction."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerter.models import Alert, AlertKind, Grouping, Review, from_ms, to_ms
from alerter.store.reviews import load_review
from alerter.store.state import State

_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Queued:
    """A delivery that has not arrived: it waits, is in doubt or has failed."""

    alert: int
    destination: str
    grouping: Grouping
    due_at: datetime
    priority: int = 0


def queued(state: State, destinations: Collection[str]) -> list[Queued]:
    """What has not arrived of these destinations."""
    return _queued(
        state,
        "status IN ('pending', 'failed') AND destination IN (SELECT value FROM json_each(?))",
        [json.dumps(list(destinations))],
    )


def queued_for_others(state: State, destinations: Collection[str]) -> list[Queued]:
    """What has not arrived of any other destination."""
    return _queued(
        state,
        "status IN ('pending', 'failed') AND destination NOT IN (SELECT value FROM json_each(?))",
        [json.dumps(list(destinations))],
    )


def partly_taken(state: State, destinations: Collection[str]) -> list[Queued]:
    """What some addresses of these destinations have, and others are still to get."""
    return _queued(
        state,
        "message IN (SELECT id FROM messages WHERE status = 'sent' AND to_left IS NOT NULL"
        " AND destination IN (SELECT value FROM json_each(?)))",
        [json.dumps(list(destinations))],
    )


def held(state: State, now: datetime) -> list[Queued]:
    """What is held for quiet hours."""
    return _queued(state, "status = 'pending' AND message IS NULL AND due_at > ?", [to_ms(now)])


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


def alerts(state: State, ids: Iterable[int]) -> Iterator[tuple[int, Alert, Review | None]]:
    """These alerts, the oldest first, with their reviews as they are on record now."""
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), _AT_ONCE):
        for row in state.rows(
            "SELECT alerts.id, key, kind, alerts.site_id, alerts.review_id, detail, rating, revision, entity_id,"
            " contact_id, content FROM alerts LEFT JOIN reviews ON reviews.site_id = alerts.site_id"
            "  AND reviews.review_id = alerts.review_id"
            " WHERE alerts.id IN (SELECT value FROM json_each(?)) ORDER BY alerts.id",
            [json.dumps(wanted[start : start + _AT_ONCE])],
        ):
            alert = Alert(
                row["key"],
                AlertKind(row["kind"]),
                row["site_id"],
                row["review_id"],
                json.loads(row["detail"]),
            )
            yield row["id"], alert, load_review(row) if row["content"] is not None else None


def cancel(state: State, deliveries: Sequence[Queued]) -> None:
    """Cancel deliveries, those in a message in doubt too: that message goes on without them, or not at all."""
    state.execute_many(
        "UPDATE deliveries SET status = 'cancelled', message = NULL"
        " WHERE alert = :alert AND destination = :destination",
        [{"alert": each.alert, "destination": each.destination} for each in deliveries],
    )
    state.execute(
        "DELETE FROM messages WHERE status IN ('sending', 'in_doubt', 'failed')"
        " AND destination IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.message = messages.id)",
        [json.dumps(sorted({each.destination for each in deliveries}))],
    )


def add(state: State, deliveries: Sequence[Queued]) -> None:
    """Queue deliveries, also where they were cancelled before."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at, priority)"
        " VALUES (:alert, :destination, 'pending', :grouping, :due, :priority)"
        " ON CONFLICT (alert, destination) DO UPDATE SET status = 'pending', message = NULL,"
        " grouping = excluded.grouping, due_at = excluded.due_at, priority = excluded.priority"
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


def hold(state: State, until: Iterable[tuple[Queued, datetime]]) -> None:
    """Give held deliveries another time."""
    state.execute_many(
        "UPDATE deliveries SET due_at = :due WHERE alert = :alert AND destination = :destination",
        [
            {"alert": each.alert, "destination": each.destination, "due": to_ms(due_at)}
            for each, due_at in until
        ],
    )


def recipients(state: State, ids: Iterable[int]) -> dict[int, set[str]]:
    """The destinations that these alerts were sent to, are to be sent to, or failed to reach."""
    found: dict[int, set[str]] = {each: set() for each in ids}
    for row in state.rows(
        "SELECT alert, destination FROM deliveries WHERE status <> 'cancelled'"
        " AND alert IN (SELECT value FROM json_each(?))",
        [json.dumps(list(found))],
    ):
        found[row["alert"]].add(row["destination"])
    return found


def without_recipients(state: State, ids: Collection[int]) -> Counter[str]:
    """How many of these alerts of open reviews have no destination left, by site id."""
    return Counter(
        row["site_id"]
        for row in state.rows(
            "SELECT alerts.site_id FROM alerts JOIN reviews ON reviews.site_id = alerts.site_id"
            "  AND reviews.review_id = alerts.review_id"
            " WHERE alerts.id IN (SELECT value FROM json_each(?)) AND kind <> 'closed' AND reviews.status = 'open'"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status <> 'cancelled')",
            [json.dumps(sorted(ids))],
        )
    )


def has_unrouted(state: State, site_id: str) -> bool:
    """Whether an alert of an open review of a site was cancelled for every destination."""
    return bool(
        state.value(
            "SELECT EXISTS (SELECT 1 FROM reviews JOIN alerts ON alerts.site_id = reviews.site_id"
            "  AND alerts.review_id = reviews.review_id AND alerts.kind <> 'closed'"
            " WHERE reviews.site_id = ? AND reviews.status = 'open'"
            "  AND EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id)"
            "  AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status <> 'cancelled'))",
            [site_id],
        )
    )


def leave_as_sent(state: State, partly: Sequence[Queued]) -> None:
    """Try no further addresses of the mails that hold one of these deliveries."""
    state.execute_many(
        "UPDATE messages SET to_left = NULL, due_at = NULL"
        " WHERE id = (SELECT message FROM deliveries WHERE alert = :alert AND destination = :destination)",
        [{"alert": each.alert, "destination": each.destination} for each in partly],
    )


def leave_others_as_sent(state: State, destinations: Collection[str]) -> None:
    """Change no message that went to other destinations, and try no further addresses of theirs."""
    state.execute(
        "UPDATE messages SET stale = 0, erase = 0, to_left = NULL, due_at = NULL, failing_since = NULL"
        " WHERE status = 'sent' AND (stale > 0 OR to_left IS NOT NULL)"
        " AND destination NOT IN (SELECT value FROM json_each(?))",
        [json.dumps(list(destinations))],
    )


def change_detail(state: State, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Change what alerts hold beside their review."""
    state.execute_many(
        "UPDATE alerts SET detail = :detail WHERE id = :alert",
        [
            {"alert": alert, "detail": json.dumps(detail, ensure_ascii=False)}
            for alert, detail in details.items()
        ],
    )
