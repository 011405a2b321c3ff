"""The outbox: deliveries that wait to be sent in messages."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerter.models import AlertKind, Form, Grouping, Medium, Message, medium_of, to_ms
from alerter.scopes import Scope
from alerter.store import blocks
from alerter.store.items import get_items
from alerter.store.messages import (
    CLOSED_SINCE,
    MAY_SHOW,
    NEXT_MOMENT,
    OF_UNVERIFIED,
    PARTLY_ACCEPTED,
    UNDER_WAY,
    thread_of,
)
from alerter.store.sql import json_numbers, json_values, moment_or_none, ms_or_none
from alerter.store.stale_messages import OUTDATED
from alerter.store.state import State

# As the partial index has it, so that SQLite uses that index.
UNSETTLED = "status IN ('pending', 'failed')"


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A delivery that may be sent now; `thread` is the message that it must reply to."""

    alert: int
    grouping: Grouping
    kind: AlertKind = AlertKind.NEW
    thread: int | None = None


def due_deliveries(state: State, destination: str, now: datetime, most: int) -> list[DueDelivery]:
    """Return deliveries that may be sent now and are in no message yet, the oldest first.

    Those that a backfill sends one by one come last. A delivery waits while a message about its
    review, or of the trouble that it ends, is in doubt, and while Wix was not yet asked which
    reviews of a restored site exist.
    """
    has_threads = medium_of(destination) == Medium.SLACK
    root = f"({_ROOT} AND messages.slack_ts IS NOT NULL)" if has_threads else "NULL"
    rows = state.rows(
        "SELECT alert, grouping, alerts.kind,"
        f" CASE WHEN alerts.kind = 'closed' THEN {root} END AS thread"
        " FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
        " WHERE destination = :destination AND status = 'pending' AND message IS NULL"
        f" AND due_at <= :now AND NOT {OF_UNVERIFIED} AND NOT ({_SOME_IN_DOUBT} AND {_IN_DOUBT})"
        " ORDER BY priority, due_at, alert LIMIT :most",
        {"destination": destination, "now": to_ms(now), "most": most},
    )
    return [
        DueDelivery(row["alert"], Grouping(row["grouping"]), AlertKind(row["kind"]), row["thread"])
        for row in rows
    ]


def newest_due(state: State, destination: str, now: datetime) -> int:
    """Return the newest alert of the deliveries that are due; 0 without any."""
    alert: int | None = state.value(
        "SELECT max(alert) FROM deliveries WHERE destination = ? AND status = 'pending'"
        " AND message IS NULL AND due_at <= ?",
        [destination, to_ms(now)],
    )
    return alert or 0


@dataclass(frozen=True, slots=True)
class Upcoming:
    """When a destination has something to do next: now if it is due, None if there is nothing.

    `due_at`: send a delivery that is held until later; those that are due are not counted.
    `settle_at`: settle a message. `update_at`: update a message on Slack.
    """

    due_at: datetime | None
    settle_at: datetime | None
    update_at: datetime | None


def get_upcoming(state: State, destination: str, now: datetime) -> Upcoming:
    """Return when a destination has something to do next."""
    now_ms = to_ms(now)
    [row] = state.rows(_UPCOMING, {"destination": destination, "now": now_ms})
    # As stored, now may be up to half a millisecond later: what is due would not be due yet.
    return Upcoming(*(now if ms == now_ms else moment_or_none(ms) for ms in row.values()))


def draft(
    state: State, destination: str, form: Form, alerts: Sequence[int], now: datetime
) -> Message:
    """Return the message that these deliveries would make; write nothing."""
    return Message(0, "", destination, form, get_items(state, alerts, now), now)


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
    """Write a message of due deliveries with its first attempt, before the call that sends it.

    A message about one review replies to the first message about it. Return None if another
    process has cancelled all of the deliveries.
    """
    with state.transaction(Scope.DESTINATION.of(destination)):
        [row] = state.rows(
            _CLAIM,
            {
                "destination": destination,
                "form": form,
                "uid": uid,
                "thread": thread,
                "alert": alerts[0] if len(alerts) == 1 else None,
                "now": to_ms(now),
                "service_time": ms_or_none(service_time),
            },
        )
        members = state.rows(_ADD, [row["id"], destination, json.dumps(list(alerts))])
        if not members:
            state.execute("DELETE FROM messages WHERE id = ?", [row["id"]])
            return None
        entries = get_items(state, [each["alert"] for each in members], now)
        made = Message(row["id"], uid, destination, form, entries, now, service_time=service_time)
        parent = thread_of(state, row["parent"])
        return replace(made, thread=parent) if parent else made


def name_media(state: State, media: Mapping[str, str]) -> None:
    """Complete the destinations for which an earlier version stored only the receiver's name.

    `media`: the medium of each receiver. Call it within a transaction.
    """
    for table, column, prefix in (
        ("deliveries", "destination", ""),
        ("pruned_deliveries", "destination", ""),
        ("blocks", "scope", Scope.DESTINATION.of("")),
    ):
        state.execute_many(
            f"UPDATE {table} SET {column} = '{prefix}' || :medium || ':' || :receiver"
            f" WHERE {column} = '{prefix}:' || :receiver",
            [{"receiver": receiver, "medium": medium} for receiver, medium in media.items()],
        )


def shorten_holds(state: State, destination: str, latest: datetime) -> int:
    """Hold no delivery of a destination longer than until a moment; return how many changed."""
    return state.execute(
        "UPDATE deliveries SET due_at = :latest WHERE destination = :destination"
        " AND status = 'pending' AND message IS NULL AND due_at > :latest",
        {"destination": destination, "latest": to_ms(latest)},
    )


def requeue(state: State) -> tuple[int, int]:
    """Queue failed deliveries again and let parked scopes be tried; return how many of each.

    A message that may have arrived keeps its id: it is searched for, or sent as the same mail.
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
            "UPDATE messages SET status = 'in_doubt', lost = 1, plain = FALSE, due_at = NULL,"
            " looked_since = NULL, look = '' WHERE status = 'failed' AND lost > 0"
            " AND EXISTS (SELECT 1 FROM deliveries"
            "  WHERE message = messages.id AND deliveries.status = 'pending')"
        )
        # A failed message without deliveries would keep its parent from being pruned.
        state.execute(
            "DELETE FROM messages WHERE status = 'failed'"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)"
        )
        parked = blocks.retry_parked(state)
    return deliveries, len(parked)


def pending_count(state: State, destinations: Collection[str], now: datetime) -> int:
    """Return how many deliveries are pending and not held until later."""
    return int(
        state.value(
            f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'pending'"
            " AND (due_at <= ? OR message IS NOT NULL)"
            f" AND destination IN {json_values()}",
            [to_ms(now), json.dumps(list(destinations))],
        )
    )


def has_unknown_destinations(state: State, destinations: Collection[str]) -> bool:
    """Whether a delivery waits for a destination that is none of these."""
    return bool(
        state.value(
            f"SELECT 1 FROM deliveries WHERE {UNSETTLED} AND status = 'pending'"
            f" AND destination NOT IN {json_values()} LIMIT 1",
            [json.dumps(list(destinations))],
        )
    )


def failed_count(state: State) -> int:
    """Return how many deliveries have failed."""
    return int(
        state.value(f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'failed'")
    )


# The first message to a destination about the review of an alert; the outer query has `alerts`.
_ROOT = (
    "SELECT min(messages.id) FROM alerts AS others"
    " JOIN deliveries AS theirs ON theirs.alert = others.id"
    " JOIN messages ON messages.id = theirs.message WHERE others.site_id = alerts.site_id"
    " AND others.review_id = alerts.review_id AND theirs.destination = :destination"
    " AND messages.status = 'sent' AND messages.parent IS NULL"
)
_UPCOMING = (
    "SELECT (SELECT min(due_at) FROM deliveries WHERE destination = :destination"
    "  AND status = 'pending' AND message IS NULL AND due_at > :now) AS due_at,"
    f" (SELECT min({NEXT_MOMENT}) FROM messages WHERE destination = :destination"
    f"  AND ({UNDER_WAY} OR ({PARTLY_ACCEPTED})) AND {MAY_SHOW}) AS settle_at,"
    f" (SELECT min({NEXT_MOMENT}) FROM messages WHERE destination = :destination"
    f"  AND {OUTDATED} AND {MAY_SHOW}) AS update_at"
)
_CLAIM = (
    "INSERT INTO messages"
    " (destination, form, status, message_id, parent, attempts, attempted_at, service_time)"
    " VALUES (:destination, :form, 'sending', :uid,"
    f" coalesce(:thread, (SELECT ({_ROOT}) FROM alerts WHERE id = :alert)), 1, :now, :service_time)"
    " RETURNING id, parent"
)
_ADD = (
    "UPDATE deliveries SET message = ? WHERE destination = ? AND status = 'pending'"
    f" AND message IS NULL AND alert IN {json_numbers()} RETURNING alert"
)
# Whether any message to a destination is in doubt, which is looked up once; and whether one is
# about the review of an alert, or reports the trouble whose end the alert is: their keys differ in
# the kind only.
_SOME_IN_DOUBT = f"EXISTS (SELECT 1 FROM messages WHERE destination = :destination AND {UNDER_WAY})"
_IN_DOUBT = (
    "EXISTS (SELECT 1 FROM messages JOIN deliveries AS theirs ON theirs.message = messages.id"
    " JOIN alerts AS others ON others.id = theirs.alert"
    " WHERE messages.destination = :destination AND messages.status IN ('sending', 'in_doubt')"
    " AND (others.site_id = alerts.site_id AND others.review_id = alerts.review_id"
    " OR alerts.kind = 'recovered' AND others.key = 'trouble' || substr(alerts.key, 10)))"
)
