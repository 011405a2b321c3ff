"""The outbox: deliveries that wait to leave in messages."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerter.models import AlertKind, Form, Grouping, Message, from_ms, to_ms
from alerter.store import blocks
from alerter.store.messages import CLOSED_SINCE, OF_UNVERIFIED, entries_of, is_in_doubt, thread_of
from alerter.store.state import State

# In the words of the index, or SQLite does not see that it may use it.
UNSETTLED = "status IN ('pending', 'failed')"


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that may leave now; `thread` is the earlier message that it must be a reply to."""

    alert: int
    grouping: Grouping
    kind: AlertKind = AlertKind.NEW
    thread: int | None = None


def due(state: State, destination: str, now: datetime, most: int) -> list[DueDelivery]:
    """Return deliveries that may leave now and are in no message yet, the oldest first.

    What a backfill sends one by one comes after everything else. What is about the same review as
    a message in doubt waits until that is settled. What is about a site that was restored waits
    until Wix was asked which reviews are still there.
    """
    waits = f" AND NOT ({_IN_DOUBT})" if is_in_doubt(state, destination) else ""
    rows = state.rows(
        "SELECT alert, grouping, alerts.kind, CASE WHEN alerts.kind = 'closed'"
        f" THEN ({_ROOT} AND messages.slack_ts IS NOT NULL) END AS thread"
        " FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
        " WHERE destination = :destination AND status = 'pending' AND message IS NULL"
        f" AND due_at <= :now{waits} AND NOT {OF_UNVERIFIED} ORDER BY priority, due_at, alert LIMIT :most",
        {"destination": destination, "now": to_ms(now), "most": most},
    )
    return [
        DueDelivery(row["alert"], Grouping(row["grouping"]), AlertKind(row["kind"]), row["thread"])
        for row in rows
    ]


def next_due(state: State, destination: str, now: datetime) -> datetime | None:
    """Return when the next delivery may leave that is held until later."""
    ms = state.value(
        "SELECT min(due_at) FROM deliveries WHERE destination = ? AND status = 'pending'"
        " AND message IS NULL AND due_at > ?",
        [destination, to_ms(now)],
    )
    return from_ms(ms) if ms is not None else None


def draft(
    state: State, destination: str, form: Form, alerts: Sequence[int], now: datetime
) -> Message:
    """Return the message that these deliveries would make, without recording anything."""
    return Message(0, "", destination, form, entries_of(state, alerts, now), now)


def claim(
    state: State,
    destination: str,
    form: Form,
    alerts: Sequence[int],
    uid: str,
    now: datetime,
    *,
    thread: int | None = None,
    service_time: datetime | None = None,
) -> Message | None:
    """Make a message of due deliveries, and count its first attempt, before the call that sends it.

    What is about one review becomes a reply to the first message about it. Returns None where
    another process has cancelled all of the deliveries meanwhile.
    """
    with state.transaction():
        if thread is None and len(alerts) == 1:
            thread = state.value(
                f"SELECT ({_ROOT}) FROM alerts WHERE id = :alert",
                {"alert": alerts[0], "destination": destination},
            )
        there = to_ms(service_time) if service_time else None
        message_id: int = state.value(
            "INSERT INTO messages"
            " (destination, form, status, message_id, parent, attempts, attempted_at, service_time)"
            " VALUES (?, ?, 'sending', ?, ?, 1, ?, ?) RETURNING id",
            [destination, form, uid, thread, to_ms(now), there],
        )
        members = state.rows(
            "UPDATE deliveries SET message = ? WHERE destination = ? AND status = 'pending'"
            " AND message IS NULL AND alert IN (SELECT value FROM json_each(?)) RETURNING alert",
            [message_id, destination, json.dumps(list(alerts))],
        )
        if not members:
            state.execute("DELETE FROM messages WHERE id = ?", [message_id])
            return None
        entries = entries_of(state, [each["alert"] for each in members], now)
        message = Message(message_id, uid, destination, form, entries, now)
        return replace(message, thread=thread_of(state, thread), service_time=service_time)


def name_media(state: State, media: Mapping[str, str]) -> None:
    """Complete the destinations of which an earlier version kept only the receiver's name.

    `media` has the medium of each receiver. Called within a transaction.
    """
    for table, column, prefix in (
        ("deliveries", "destination", ""),
        ("pruned_deliveries", "destination", ""),
        ("blocks", "scope", "destination:"),
    ):
        state.execute_many(
            f"UPDATE {table} SET {column} = '{prefix}' || :medium || ':' || :receiver"
            f" WHERE {column} = '{prefix}:' || :receiver",
            [{"receiver": receiver, "medium": medium} for receiver, medium in media.items()],
        )


def shorten_holds(state: State, destination: str, latest: datetime) -> int:
    """Have nothing be held for longer than until a moment; returns how many deliveries that concerns."""
    return state.execute(
        "UPDATE deliveries SET due_at = :latest WHERE destination = :destination AND status = 'pending'"
        " AND message IS NULL AND due_at > :latest",
        {"destination": destination, "latest": to_ms(latest)},
    )


def requeue(state: State) -> tuple[int, int]:
    """Queue failed deliveries again and end every block; return how many of each.

    A message that may have arrived stays what it is, under its old id: it is looked for, or sent
    as the same mail.
    """
    with state.transaction():
        state.execute(
            f"UPDATE deliveries SET status = 'cancelled' WHERE status = 'failed' AND {CLOSED_SINCE}"
        )
        in_doubt = "message IN (SELECT id FROM messages WHERE status = 'failed' AND lost > 0)"
        deliveries = state.execute(
            "UPDATE deliveries SET status = 'pending',"
            f" message = CASE WHEN {in_doubt} THEN message END WHERE status = 'failed'"
        )
        state.execute(
            "UPDATE messages SET status = 'in_doubt', lost = 1, plain = 0, due_at = NULL,"
            " looked_since = NULL, look = '' WHERE status = 'failed' AND lost > 0"
            " AND EXISTS (SELECT 1 FROM deliveries"
            "  WHERE message = messages.id AND deliveries.status = 'pending')"
        )
        # A failed message that carries nothing any more would keep its parent from being pruned.
        state.execute(
            "DELETE FROM messages WHERE status = 'failed'"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)"
        )
        parked = blocks.try_soon(state)
    return deliveries, len(parked)


def pending(state: State, destinations: Collection[str], now: datetime) -> int:
    """Return how many deliveries are still to be made, without those that are held until later."""
    return int(
        state.value(
            f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'pending'"
            " AND (due_at <= ? OR message IS NOT NULL)"
            " AND destination IN (SELECT value FROM json_each(?))",
            [to_ms(now), json.dumps(list(destinations))],
        )
    )


def failures(state: State) -> int:
    """Return how many deliveries have failed for good."""
    return int(
        state.value(f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'failed'")
    )


# The first message about the review of an alert to a destination; `alerts` is of a query around it.
_ROOT = (
    "SELECT min(messages.id) FROM alerts AS others"
    " JOIN deliveries AS theirs ON theirs.alert = others.id"
    " JOIN messages ON messages.id = theirs.message WHERE others.site_id = alerts.site_id"
    " AND others.review_id = alerts.review_id AND theirs.destination = :destination"
    " AND messages.status = 'sent' AND messages.parent IS NULL"
)
# Whether a message in doubt to a destination is about the review of an alert.
_IN_DOUBT = (
    "EXISTS (SELECT 1 FROM messages JOIN deliveries AS theirs ON theirs.message = messages.id"
    " JOIN alerts AS others ON others.id = theirs.alert"
    " WHERE messages.destination = :destination AND messages.status IN ('sending', 'in_doubt')"
    " AND others.site_id = alerts.site_id AND others.review_id = alerts.review_id)"
)
