"""Messages in the database: in doubt, taken in part, sent, failed, or to be changed."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Form,
    Message,
    MessageItem,
    Product,
    Receipt,
    Thread,
    from_ms,
    to_ms,
)
from alerter.store.context import context_of
from alerter.store.reminders import start_reminders
from alerter.store.reviews import load_review
from alerter.store.state import State

# A delivery that asks for a person, of a review that needs nobody any more.
CLOSED_SINCE = (
    "EXISTS (SELECT 1 FROM alerts JOIN reviews USING (site_id, review_id)"
    " WHERE alerts.id = deliveries.alert AND reviews.status = 'closed' AND alerts.kind <> 'closed')"
)
# An alert, and a message, of a site that was restored and has not been asked since: what its
# reviews said may be deleted at Wix.
OF_UNVERIFIED = (
    "EXISTS (SELECT 1 FROM sites WHERE sites.site_id = alerts.site_id AND sites.unverified = 1)"
)
_MAY_SHOW = (
    "NOT EXISTS (SELECT 1 FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
    f" WHERE deliveries.message = messages.id AND {OF_UNVERIFIED})"
)
_UNDER_WAY = "status IN ('sending', 'in_doubt')"
_IS_DUE = "(due_at IS NULL OR due_at <= :now OR attempted_at > :now)"
_MOMENT = f"CASE WHEN {_IS_DUE} THEN :now ELSE due_at END"


def unsettled(state: State, destination: str, now: datetime) -> Message | None:
    """Return the oldest message to settle now: in doubt, or not yet taken by some addresses.

    A message waits until its `due_at`; the wait is over when the clock was set back meanwhile.
    """
    found = {"destination": destination, "now": to_ms(now)}
    for kind in (_UNDER_WAY, "to_left IS NOT NULL AND status = 'sent'"):
        row = state.row(
            f"SELECT * FROM messages WHERE destination = :destination AND {kind} AND {_IS_DUE}"
            f" AND {_MAY_SHOW} ORDER BY id LIMIT 1",
            found,
        )
        if row:
            return load_message(state, row)
    return None


def is_in_doubt(state: State, destination: str) -> bool:
    """Whether a message of a destination may have arrived without our knowing."""
    return bool(
        state.value(f"SELECT 1 FROM messages WHERE destination = ? AND {_UNDER_WAY}", [destination])
    )


def settled_next(state: State, destination: str, now: datetime) -> datetime | None:
    """Return when the next message is to be settled: now, where one is due."""
    return _moment(
        state.value(
            f"SELECT min({_MOMENT}) FROM messages WHERE destination = :destination AND ({_UNDER_WAY}"
            f" OR (to_left IS NOT NULL AND status = 'sent')) AND {_MAY_SHOW}",
            {"destination": destination, "now": to_ms(now)},
        )
    )


def outdated(state: State, destination: str, now: datetime) -> tuple[Message, int] | None:
    """Return the next message on Slack to change, as it reads now, and how often it has changed.

    Messages with words that must be erased come first.
    """
    row = state.row(
        "SELECT * FROM messages WHERE destination = :destination AND stale AND status = 'sent'"
        f" AND slack_ts IS NOT NULL AND {_IS_DUE} AND {_MAY_SHOW} ORDER BY erase DESC, id LIMIT 1",
        {"destination": destination, "now": to_ms(now)},
    )
    return (load_message(state, row), row["stale"]) if row else None


def changed_next(state: State, destination: str, now: datetime) -> datetime | None:
    """Return when the next message on Slack is to be changed: now, where one is due."""
    return _moment(
        state.value(
            f"SELECT min({_MOMENT}) FROM messages WHERE destination = :destination AND stale"
            f" AND status = 'sent' AND slack_ts IS NOT NULL AND {_MAY_SHOW}",
            {"destination": destination, "now": to_ms(now)},
        )
    )


def words_to_erase(state: State, destination: str) -> int:
    """Return how many messages on Slack still show words of reviews that were erased here."""
    return int(
        state.value(
            "SELECT count(*) FROM messages WHERE destination = ? AND stale AND erase AND failing_since IS NOT NULL",
            [destination],
        )
    )


def count_attempt(state: State, message: Message, now: datetime) -> None:
    """Record one more attempt, before the call."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET attempts = attempts + 1, attempted_at = ?, service_time = ?,"
            " plain = ?, builtin = ?, lost = ?, status = CASE WHEN to_left IS NULL"
            " THEN 'sending' ELSE status END WHERE id = ?",
            [
                to_ms(now),
                to_ms(message.service_time) if message.service_time else None,
                message.plain,
                message.builtin,
                message.lost,
                message.id,
            ],
        )


def postpone(state: State, message: Message, due_at: datetime) -> None:
    """Settle or change a message later; keep how far Slack was searched for it."""
    with state.transaction(relaxed=True):
        state.execute(
            "UPDATE messages SET due_at = ?, looked_since = ?, look = ?, failing_since = ? WHERE id = ?",
            [
                to_ms(due_at),
                to_ms(message.looked_since) if message.looked_since else None,
                message.look,
                to_ms(message.failing_since) if message.failing_since else None,
                message.id,
            ],
        )


def mark_sent(state: State, message: Message, receipt: Receipt, subject: str = "") -> None:
    """Record that the service took a message: its deliveries leave the outbox."""
    refused = f"{receipt.refused} of its addresses refused it for good" if receipt.refused else None
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = 'sent', slack_channel = :channel, slack_ts = :ts,"
            " to_left = NULL, due_at = NULL, lost = 0, looked_since = NULL, look = '',"
            " stale = CASE WHEN :ts IS NULL THEN 0 ELSE stale END,"
            " subject = CASE WHEN :ts IS NOT NULL THEN NULL WHEN :subject <> '' THEN :subject"
            " ELSE subject END, error = :error WHERE id = :id",
            {
                "channel": receipt.slack_channel,
                "ts": receipt.slack_ts,
                "subject": subject,
                "error": refused,
                "id": message.id,
            },
        )
        _mark_delivered(state, message)


def mark_partly_taken(
    state: State, message: Message, to_left: Collection[str], due_at: datetime, subject: str
) -> None:
    """Record that some addresses took a mail, and which are tried again.

    It counts as sent. All mails that wait for some of the receiver's addresses wait together, so
    that one of them finds out whether these work again.
    """
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = 'sent', to_left = ?, error = ?,"
            " subject = CASE WHEN ? <> '' THEN ? ELSE subject END WHERE id = ?",
            [
                json.dumps(sorted(to_left)),
                f"{len(to_left)} of its addresses did not take it yet",
                subject,
                subject,
                message.id,
            ],
        )
        state.execute(
            "UPDATE messages SET due_at = ? WHERE destination = ? AND status = 'sent' AND to_left IS NOT NULL",
            [to_ms(due_at), message.destination],
        )
        _mark_delivered(state, message)


def mark_in_doubt(
    state: State, message: Message, reason: str, due_at: datetime, *, lost: bool
) -> None:
    """Record that the service may have a message: its members never change again.

    `lost`: the answer of one more call was lost, so a look begins from the start.
    """
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = CASE WHEN to_left IS NULL THEN 'in_doubt' ELSE status END,"
            " error = ?, due_at = ? WHERE id = ?",
            [reason, to_ms(due_at), message.id],
        )
        if lost:
            state.execute(
                "UPDATE messages SET lost = lost + 1, looked_since = NULL, look = '' WHERE id = ?",
                [message.id],
            )


def mark_failed(state: State, message: Message, reason: str) -> None:
    """Give a message up: its deliveries are kept as failed, for `alerter retry`."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET status = 'failed', due_at = NULL, error = ? WHERE id = ?",
            [reason, message.id],
        )
        _set_deliveries(state, message, "failed")
        _cancel_closings(state, message)


def mark_updated(state: State, message: Message, changes: int) -> None:
    """Record that a message says what is so, unless that has changed again meanwhile."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET stale = 0, erase = 0, due_at = NULL, failing_since = NULL WHERE id = ? AND stale = ?",
            [message.id, changes],
        )


def mark_deleted(state: State, message: Message) -> None:
    """Record that a message is not on Slack any more, so that nothing changes it again."""
    with state.transaction():
        state.execute(
            "UPDATE messages SET stale = 0, erase = 0, due_at = NULL, failing_since = NULL,"
            " slack_ts = NULL WHERE id = ?",
            [message.id],
        )


def dissolve(state: State, message: Message) -> None:
    """Undo a message that was certainly refused: its deliveries may be grouped in another way.

    A delivery of a review that was closed meanwhile is cancelled.
    """
    with state.transaction():
        state.execute(
            f"UPDATE deliveries SET status = 'cancelled' WHERE message = ? AND {CLOSED_SINCE}",
            [message.id],
        )
        _cancel_closings(state, message)
        state.execute("UPDATE deliveries SET message = NULL WHERE message = ?", [message.id])
        state.execute("DELETE FROM messages WHERE id = ?", [message.id])


def recover(state: State) -> int:
    """At start, with the lock held: put in doubt what a dead process was sending; return how many."""
    with state.transaction():
        return state.execute(
            "UPDATE messages SET status = 'in_doubt', lost = lost + 1, due_at = NULL,"
            " looked_since = NULL, look = '', error = 'the process ended before the answer'"
            " WHERE status = 'sending'"
        )


def _mark_delivered(state: State, message: Message) -> None:
    _set_deliveries(state, message, "sent")
    if not message.to_left:  # else it was delivered before, to most of its addresses
        _start_reminders(state, message)


def _set_deliveries(state: State, message: Message, status: str) -> None:
    state.execute(
        "UPDATE deliveries SET status = ? WHERE message = ? AND status = 'pending'",
        [status, message.id],
    )


def _cancel_closings(state: State, message: Message) -> None:
    """Cancel the `closed` of reviews whose first message did not arrive."""
    if message.thread is None:
        state.execute(
            "UPDATE deliveries SET status = 'cancelled'"
            " WHERE destination = ? AND status = 'pending' AND message IS NULL AND alert IN"
            " (SELECT id FROM alerts WHERE kind = 'closed' AND (site_id, review_id) IN"
            "  (SELECT site_id, review_id FROM alerts JOIN deliveries AS its ON its.alert = alerts.id"
            "   WHERE its.message = ?))",
            [message.destination, message.id],
        )


def _start_reminders(state: State, message: Message) -> None:
    """Count reminders from here on; a review of the past, which a backfill alerted, has none."""
    for entry in message.entries:
        alert = entry.alert
        asks = alert.kind in (AlertKind.NEW, AlertKind.LOWERED) or "reopened" in alert.detail
        if asks and "backfill" not in alert.detail and alert.site_id and alert.review_id:
            start_reminders(
                state,
                alert.site_id,
                alert.review_id,
                [message.destination],
                message.attempted_at,
            )


def load_message(state: State, row: Mapping[str, Any]) -> Message:
    """Return a message from its row, with its alerts as their reviews are known now.

    One that is still `sending` has lost the answer of its last call, too.
    """
    attempted_at = from_ms(row["attempted_at"])
    alerts = state.rows("SELECT alert FROM deliveries WHERE message = ?", [row["id"]])
    return Message(
        id=row["id"],
        uid=row["message_id"],
        destination=row["destination"],
        form=Form(row["form"]),
        entries=entries_of(state, [each["alert"] for each in alerts], attempted_at),
        attempted_at=attempted_at,
        attempts=row["attempts"],
        plain=bool(row["plain"]),
        builtin=bool(row["builtin"]),
        lost=row["lost"] + (row["status"] == "sending"),
        looked_since=_moment(row["looked_since"]),
        look=row["look"],
        due_at=_moment(row["due_at"]),
        service_time=_moment(row["service_time"]),
        to_left=tuple(json.loads(row["to_left"] or "[]")),
        thread=thread_of(state, row["parent"]),
        slack_channel=row["slack_channel"],
        slack_ts=row["slack_ts"],
        erase=bool(row["erase"]),
        failing_since=_moment(row["failing_since"]),
    )


def thread_of(state: State, message_id: int | None) -> Thread | None:
    """Return the message that others are replies to."""
    if message_id is None:
        return None
    row = state.row(
        "SELECT id, message_id, subject, slack_ts FROM messages WHERE id = ?", [message_id]
    )
    if row is None:
        return None
    return Thread(row["id"], row["message_id"], row["subject"] or "", row["slack_ts"])


def entries_of(state: State, alerts: Collection[int], now: datetime) -> tuple[MessageItem, ...]:
    """Return what a message says of these alerts, oldest first.

    The history of a review is looked up only where it is the only one.
    """
    rows = state.rows(
        "SELECT alerts.key, alerts.kind, alerts.site_id, alerts.review_id, alerts.detail,"
        " reviews.rating, reviews.revision, reviews.entity_id, reviews.contact_id, reviews.content,"
        " reviews.closing, products.name, products.url FROM alerts"
        " LEFT JOIN reviews ON reviews.site_id = alerts.site_id"
        "  AND reviews.review_id = alerts.review_id"
        " LEFT JOIN products ON products.site_id = alerts.site_id"
        "  AND products.entity_id = reviews.entity_id"
        " WHERE alerts.id IN (SELECT value FROM json_each(?)) ORDER BY alerts.id",
        [json.dumps(list(alerts))],
    )
    entries = tuple(_entry(row) for row in rows)
    if len(entries) != 1 or entries[0].review is None:
        return entries
    [alone] = rows
    context = context_of(state, alone["site_id"], alone["review_id"], now)
    return (replace(entries[0], context=context),)


def _entry(row: Mapping[str, Any]) -> MessageItem:
    alert = Alert(
        row["key"],
        AlertKind(row["kind"]),
        row["site_id"],
        row["review_id"],
        json.loads(row["detail"]),
    )
    review = load_review(dict(row)) if row["content"] is not None else None
    closing = CloseReason(row["closing"]) if row["closing"] else None
    return MessageItem(alert, review, Product(row["name"], row["url"]), closing)


def _moment(ms: int | None) -> datetime | None:
    return from_ms(ms) if ms is not None else None
