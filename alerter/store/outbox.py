"""The outbox in the state file: deliveries, and the messages that carry them."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alerter.models import (
    Alert,
    AlertKind,
    Closing,
    Entry,
    Form,
    Grouping,
    Message,
    Product,
    Receipt,
    Thread,
    from_ms,
    to_ms,
)
from alerter.store import blocks
from alerter.store.context import context_of
from alerter.store.reminders import start_reminders
from alerter.store.reviews import load_review
from alerter.store.state import State

# Said in the words of the index, or SQLite does not see that it may use it.
UNSETTLED = "status IN ('pending', 'failed')"


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may leave now; one that Slack shows only beneath an earlier message names that as `thread`."""

    alert: int
    grouping: Grouping
    kind: AlertKind = AlertKind.NEW
    thread: int | None = None


def due(state: State, destination: str, now: datetime, most: int) -> list[Due]:
    """The deliveries of a destination that may leave now and are in no message yet, oldest first."""
    rows = state.rows(
        "SELECT alert, grouping, alerts.kind,"
        f" iif(alerts.kind = 'closed', ({_ROOT} AND messages.slack_ts IS NOT NULL), NULL) AS thread"
        " FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
        " WHERE destination = :destination AND status = 'pending' AND message IS NULL AND due_at <= :now"
        " ORDER BY due_at, alert LIMIT :most",
        {"destination": destination, "now": to_ms(now), "most": most},
    )
    return [Due(row["alert"], Grouping(row["grouping"]), AlertKind(row["kind"]), row["thread"]) for row in rows]


def next_due(state: State, destination: str) -> datetime | None:
    """When the next waiting delivery of a destination may leave, or its next partly taken message be tried again."""
    ms = state.value(
        "SELECT min(due_at) FROM (SELECT min(due_at) AS due_at FROM deliveries"
        "  WHERE destination = :destination AND status = 'pending' AND message IS NULL"
        " UNION ALL SELECT min(due_at) FROM messages"
        "  WHERE destination = :destination AND status IN ('sending', 'in_doubt'))",
        {"destination": destination},
    )
    return from_ms(ms) if ms is not None else None


def claim(
    state: State,
    destination: str,
    form: Form,
    alerts: Sequence[int],
    uid: str,
    now: datetime,
    thread: int | None = None,
) -> Message | None:
    """Make a message of due deliveries, and count its first attempt, before the call that sends it.

    What is said of one review goes beneath the first message about it. None where another process has cancelled all
    of the deliveries meanwhile.
    """
    with state.transaction():
        if thread is None and len(alerts) == 1:
            thread = state.value(
                f"SELECT ({_ROOT}) FROM alerts WHERE id = :alert", {"alert": alerts[0], "destination": destination}
            )
        message_id: int = state.value(
            "INSERT INTO messages (destination, form, status, message_id, parent, attempts, attempted_at)"
            " VALUES (?, ?, 'sending', ?, ?, 1, ?) RETURNING id",
            [destination, form, uid, thread, to_ms(now)],
        )
        members = state.execute(
            "UPDATE deliveries SET message = ? WHERE destination = ? AND status = 'pending' AND message IS NULL"
            " AND alert IN (SELECT value FROM json_each(?))",
            [message_id, destination, json.dumps(list(alerts))],
        )
        if not members:
            state.execute("DELETE FROM messages WHERE id = ?", [message_id])
            return None
        return Message(
            message_id, uid, destination, form, _entries(state, message_id, now), now, thread=_thread(state, thread)
        )


def under_way(state: State, destination: str, now: datetime) -> Message | None:
    """The oldest message of a destination that has gone out without a final answer: it is in doubt.

    One that some addresses have taken keeps nobody waiting, and comes up when it is due, or when the clock was set back
    since its attempt.
    """
    row = state.row(
        "SELECT * FROM messages WHERE destination = :destination AND status IN ('sending', 'in_doubt')"
        " AND (due_at IS NULL OR due_at <= :now OR attempted_at > :now) ORDER BY id LIMIT 1",
        {"destination": destination, "now": to_ms(now)},
    )
    return _message(state, row, in_doubt=True) if row else None


def stale(state: State, destination: str) -> tuple[Message, int] | None:
    """The oldest message on Slack that says what is no longer so, as it reads now, and how often it has changed."""
    row = state.row(
        "SELECT * FROM messages WHERE destination = ? AND stale AND status = 'sent' AND slack_ts IS NOT NULL"
        " ORDER BY id LIMIT 1",
        [destination],
    )
    return (_message(state, row, in_doubt=False), row["stale"]) if row else None


def updated(state: State, message: Message, changes: int, scopes: list[str]) -> None:
    """Note that a message says what is so, unless that has changed again meanwhile; the service was reached."""
    with state.transaction():
        state.execute("UPDATE messages SET stale = 0 WHERE id = ? AND stale = ?", [message.id, changes])
        state.execute(
            "DELETE FROM blocks WHERE NOT parked AND scope IN (SELECT value FROM json_each(?))",
            [json.dumps(scopes)],
        )


def attempt_again(state: State, message: Message, now: datetime, *, plain: bool) -> None:
    """Count one more attempt, before the call."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET attempts = attempts + 1, attempted_at = ?, plain = ? WHERE id = ?",
            [to_ms(now), plain, message.id],
        )


def sent(state: State, message: Message, receipt: Receipt, scopes: list[str], subject: str = "") -> None:
    """Note the service's yes: the deliveries leave the outbox, and what blocked the destination is over."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = 'sent', slack_channel = :channel, slack_ts = :ts, to_left = NULL,"
            " due_at = NULL, stale = iif(:ts IS NULL, 0, stale), subject = iif(:ts IS NULL, :subject, NULL),"
            " error = :error WHERE id = :id",
            {
                "channel": receipt.slack_channel,
                "ts": receipt.slack_ts,
                "subject": subject,
                "error": f"{receipt.refused} of its addresses refused it for good" if receipt.refused else None,
                "id": message.id,
            },
        )
        _settle(state, message, "sent")
        _start_reminders(state, message)
        # A block that was set while this message was on its way still holds.
        state.execute(
            "DELETE FROM blocks WHERE scope IN (SELECT value FROM json_each(?))"
            " AND set_at <= (SELECT attempted_at FROM messages WHERE id = ?)",
            [json.dumps(scopes), message.id],
        )


def doubt(state: State, message: Message, reason: str) -> None:
    """Note that the service may have the message: its members never change again."""
    with state.transaction():
        state.execute("UPDATE messages SET status = 'in_doubt', error = ? WHERE id = ?", [reason, message.id])


def partly_taken(state: State, message: Message, to_left: Collection[str], due_at: datetime) -> None:
    """Note which addresses have not taken a message yet.

    Whatever else waits for some of the receiver's addresses waits along with it, so that one message probes them.
    """
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = 'in_doubt', to_left = ?, error = ? WHERE id = ?",
            [json.dumps(sorted(to_left)), f"{len(to_left)} of its addresses did not take it yet", message.id],
        )
        state.execute(
            "UPDATE messages SET due_at = ? WHERE destination = ? AND status = 'in_doubt' AND to_left IS NOT NULL",
            [to_ms(due_at), message.destination],
        )


def dissolve(state: State, message: Message, grouping: Grouping | None = None) -> None:
    """Undo a message that was certainly refused: its deliveries may be grouped anew, or as `grouping` says.

    What was on its way while its review was closed needs nobody any more.
    """
    with state.transaction():
        state.execute(
            f"UPDATE deliveries SET status = 'cancelled' WHERE message = ? AND {_CLOSED_SINCE}",
            [message.id],
        )
        _cancel_closings(state, message)
        state.execute(
            "UPDATE deliveries SET message = NULL, grouping = ifnull(?, grouping) WHERE message = ?",
            [grouping, message.id],
        )
        state.execute("DELETE FROM messages WHERE id = ?", [message.id])


def failed(state: State, message: Message, reason: str) -> None:
    """Give a message up: its deliveries stay on record as failed, for `alerter retry`."""
    with state.transaction():
        state.execute("UPDATE messages SET status = 'failed', error = ? WHERE id = ?", [reason, message.id])
        _settle(state, message, "failed")
        _cancel_closings(state, message)


def recover(state: State) -> int:
    """At start, with the lock held: what a dead process left as `sending` is in doubt. Returns how many."""
    with state.transaction():
        return state.execute(
            "UPDATE messages SET status = 'in_doubt', error = 'the process ended before the answer'"
            " WHERE status = 'sending'"
        )


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


def cancel_for_others(state: State, destinations: Collection[str]) -> list[str]:
    """Cancel what waits for destinations that the config does not have; returns their names."""
    names = json.dumps(list(destinations))
    gone = "destination NOT IN (SELECT value FROM json_each(?))"
    with state.transaction():
        found = state.rows(f"SELECT DISTINCT destination FROM deliveries WHERE status = 'pending' AND {gone}", [names])
        state.execute(f"UPDATE deliveries SET status = 'cancelled' WHERE status = 'pending' AND {gone}", [names])
        state.execute(
            "UPDATE messages SET status = 'failed', error = 'the config does not have its destination any more'"
            f" WHERE status IN ('sending', 'in_doubt') AND {gone}",
            [names],
        )
    return [row["destination"] for row in found]


def requeue(state: State) -> tuple[int, int]:
    """Queue failed deliveries again and have what is parked be tried at once; returns how many of each."""
    with state.transaction():
        state.execute(f"UPDATE deliveries SET status = 'cancelled' WHERE status = 'failed' AND {_CLOSED_SINCE}")
        # One that some addresses have taken stays what it is, and goes to the others only.
        partly = "message IN (SELECT id FROM messages WHERE status = 'failed' AND to_left IS NOT NULL)"
        deliveries = state.execute(
            f"UPDATE deliveries SET status = 'pending', message = iif({partly}, message, NULL) WHERE status = 'failed'"
        )
        state.execute(
            "UPDATE messages SET status = 'in_doubt', plain = 0, due_at = 0"
            " WHERE status = 'failed' AND to_left IS NOT NULL"
        )
        parked = blocks.try_soon(state)
    return deliveries, len(parked)


def pending(state: State, destinations: Collection[str], now: datetime) -> int:
    """How many deliveries to these destinations are still to be made, but for what is held until later."""
    return int(
        state.value(
            f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'pending'"
            " AND (due_at <= ? OR message IS NOT NULL) AND destination IN (SELECT value FROM json_each(?))",
            [to_ms(now), json.dumps(list(destinations))],
        )
    )


def failures(state: State) -> int:
    """How many deliveries have failed for good."""
    return int(state.value(f"SELECT count(*) FROM deliveries WHERE {UNSETTLED} AND status = 'failed'"))


def _settle(state: State, message: Message, status: str) -> None:
    state.execute("UPDATE deliveries SET status = ? WHERE message = ? AND status = 'pending'", [status, message.id])


def _cancel_closings(state: State, message: Message) -> None:
    """Where the first message about a review did not arrive, nobody hears that it needs nobody any more."""
    if message.thread is None:
        state.execute(
            "UPDATE deliveries SET status = 'cancelled'"
            " WHERE destination = ? AND status = 'pending' AND message IS NULL"
            " AND alert IN (SELECT id FROM alerts WHERE kind = 'closed' AND (site_id, review_id) IN"
            "  (SELECT site_id, review_id FROM alerts JOIN deliveries AS its ON its.alert = alerts.id"
            "   WHERE its.message = ?))",
            [message.destination, message.id],
        )


def _start_reminders(state: State, message: Message) -> None:
    """Count reminders from here on; the past that a backfill speaks of is never reminded of."""
    for entry in message.entries:
        alert = entry.alert
        asks = alert.kind in (AlertKind.NEW, AlertKind.LOWERED) or "reopened" in alert.detail
        if asks and "backfill" not in alert.detail and alert.site_id and alert.review_id:
            start_reminders(state, alert.site_id, alert.review_id, [message.destination], message.attempted_at)


def _message(state: State, row: dict[str, Any], *, in_doubt: bool) -> Message:
    return Message(
        id=row["id"],
        uid=row["message_id"],
        destination=row["destination"],
        form=Form(row["form"]),
        entries=_entries(state, row["id"], from_ms(row["attempted_at"])),
        attempted_at=from_ms(row["attempted_at"]),
        attempts=row["attempts"],
        plain=bool(row["plain"]),
        in_doubt=in_doubt,
        to_left=tuple(json.loads(row["to_left"] or "[]")),
        thread=_thread(state, row["parent"]),
        slack_channel=row["slack_channel"],
        slack_ts=row["slack_ts"],
    )


def _thread(state: State, message_id: int | None) -> Thread | None:
    if message_id is None:
        return None
    row = state.row("SELECT id, message_id, subject, slack_ts FROM messages WHERE id = ?", [message_id])
    return Thread(row["id"], row["message_id"], row["subject"] or "", row["slack_ts"]) if row else None


def _entries(state: State, message_id: int, now: datetime) -> tuple[Entry, ...]:
    rows = state.rows(
        "SELECT alerts.key, alerts.kind, alerts.site_id, alerts.review_id, alerts.detail,"
        " reviews.rating, reviews.revision, reviews.entity_id, reviews.contact_id, reviews.content,"
        " reviews.closing, products.name, products.url"
        " FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
        " LEFT JOIN reviews ON reviews.site_id = alerts.site_id AND reviews.review_id = alerts.review_id"
        " LEFT JOIN products ON products.site_id = alerts.site_id AND products.entity_id = reviews.entity_id"
        " WHERE deliveries.message = ? ORDER BY alerts.id",
        [message_id],
    )
    entries = tuple(_entry(row) for row in rows)
    if len(entries) > 1 or not entries or entries[0].review is None:
        return entries
    [alone] = rows
    return (replace(entries[0], context=context_of(state, alone["site_id"], alone["review_id"], now)),)


def _entry(row: dict[str, Any]) -> Entry:
    alert = Alert(row["key"], AlertKind(row["kind"]), row["site_id"], row["review_id"], json.loads(row["detail"]))
    review = load_review(row) if row["content"] is not None else None
    closing = Closing(row["closing"]) if row["closing"] else None
    return Entry(alert, review, Product(row["name"], row["url"]), closing)


# Of a delivery: that its alert asks for somebody, and its review needs nobody any more.
_CLOSED_SINCE = (
    "EXISTS (SELECT 1 FROM alerts JOIN reviews USING (site_id, review_id)"
    " WHERE alerts.id = deliveries.alert AND reviews.status = 'closed' AND alerts.kind <> 'closed')"
)
# The first message about the review of an alert to a destination; a name for a query around it.
_ROOT = (
    "SELECT min(messages.id) FROM alerts AS others JOIN deliveries AS theirs ON theirs.alert = others.id"
    " JOIN messages ON messages.id = theirs.message WHERE others.site_id = alerts.site_id"
    " AND others.review_id = alerts.review_id AND theirs.destination = :destination"
    " AND messages.status = 'sent' AND messages.parent IS NULL"
)
