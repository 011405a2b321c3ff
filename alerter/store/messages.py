"""Messages in the database, from the attempt to send them until they are sent or have failed."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from alerter.models import (
    AlertKind,
    Form,
    Message,
    Receipt,
    Thread,
    from_ms,
    to_ms,
)
from alerter.scopes import Scope
from alerter.store.items import get_items
from alerter.store.reminders import start_reminders
from alerter.store.sql import moment_or_none, ms_or_none
from alerter.store.state import State

# A delivery of a review that was closed since, except its `closed`.
CLOSED_SINCE = (
    "EXISTS (SELECT 1 FROM alerts JOIN reviews USING (site_id, review_id)"
    " WHERE alerts.id = deliveries.alert AND reviews.status = 'closed' AND alerts.kind <> 'closed')"
)
# An alert of a restored site: its reviews may be deleted at Wix, which was not asked since.
OF_UNVERIFIED = (
    "EXISTS (SELECT 1 FROM sites WHERE sites.site_id = alerts.site_id AND sites.unverified)"
)
MAY_SHOW = (
    "NOT EXISTS (SELECT 1 FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
    f" WHERE deliveries.message = messages.id AND {OF_UNVERIFIED})"
)
_SENDING = "status = 'sending'"
UNDER_WAY = "status IN ('sending', 'in_doubt')"
PARTLY_ACCEPTED = "to_left IS NOT NULL AND status = 'sent'"
# The first call records the subject. It may hold words of a review that was erased meanwhile.
_SUBJECT = (
    "CASE WHEN erase THEN NULL WHEN status = 'sent' OR :subject = '' THEN subject ELSE :subject END"
)
IS_DUE = "(due_at IS NULL OR due_at <= :now OR attempted_at > :now)"
NEXT_MOMENT = f"CASE WHEN {IS_DUE} THEN :now ELSE due_at END"
_IN_DOUBT_NOW, _PARTLY_ACCEPTED_NOW = (
    f"SELECT id FROM messages WHERE destination = :destination AND {kind} AND {IS_DUE}"
    f" AND {MAY_SHOW} ORDER BY id LIMIT 1"
    for kind in (UNDER_WAY, PARTLY_ACCEPTED)
)


def get_unsettled(state: State, destination: str, now: datetime) -> Message | None:
    """Return the oldest message to settle now: in doubt, or not yet accepted by some addresses.

    A message waits until its `due_at`, but not if the clock was set back since the attempt.
    """
    row = state.row(
        f"SELECT * FROM messages WHERE id = coalesce(({_IN_DOUBT_NOW}), ({_PARTLY_ACCEPTED_NOW}))",
        {"destination": destination, "now": to_ms(now)},
    )
    return load_message(state, row) if row else None


def is_in_doubt(state: State, destination: str) -> bool:
    """Whether a message of a destination is being sent or in doubt."""
    return bool(
        state.value(f"SELECT 1 FROM messages WHERE destination = ? AND {UNDER_WAY}", [destination])
    )


def count_attempt(state: State, message: Message, now: datetime) -> None:
    """Record one more attempt, before the call."""
    with state.transaction(Scope.DESTINATION.of(message.destination)):
        state.execute(
            "UPDATE messages SET attempts = attempts + 1, attempted_at = ?, service_time = ?,"
            " plain = ?, builtin = ?, lost = ?, status = CASE WHEN to_left IS NULL"
            " THEN 'sending' ELSE status END WHERE id = ?",
            [
                to_ms(now),
                ms_or_none(message.service_time),
                message.plain,
                message.builtin,
                message.lost,
                message.id,
            ],
        )


def postpone(state: State, message: Message, due_at: datetime) -> None:
    """Record when to settle or change a message next, and how far Slack was searched for it."""
    with state.transaction(Scope.DESTINATION.of(message.destination), relaxed=True):
        state.execute(
            "UPDATE messages SET due_at = ?, looked_since = ?, look = ?, failing_since = ?"
            " WHERE id = ?",
            [
                to_ms(due_at),
                ms_or_none(message.looked_since),
                message.look,
                ms_or_none(message.failing_since),
                message.id,
            ],
        )


def mark_sent(state: State, message: Message, receipt: Receipt, subject: str = "") -> None:
    """Record that the service accepted a message and that its deliveries are sent."""
    refused = f"{receipt.refused} of its addresses refused it for good" if receipt.refused else None
    with state.transaction(*message.scopes):
        state.execute(
            "UPDATE messages SET status = 'sent', slack_channel = :channel, slack_ts = :ts,"
            " to_left = NULL, due_at = NULL, lost = 0, looked_since = NULL, look = '',"
            " stale = CASE WHEN CAST(:ts AS TEXT) IS NULL THEN 0 ELSE stale END,"
            f" subject = CASE WHEN CAST(:ts AS TEXT) IS NULL THEN {_SUBJECT} END,"
            " error = :error WHERE id = :id",
            {
                "channel": receipt.slack_channel,
                "ts": receipt.slack_ts,
                "subject": subject,
                "error": refused,
                "id": message.id,
            },
        )
        _mark_delivered(state, message)


def mark_partly_accepted(
    state: State, message: Message, to_left: Collection[str], due_at: datetime, subject: str
) -> None:
    """Record that some addresses accepted a mail, and which (`to_left`) are retried.

    It counts as sent. All such mails of the destination get the same `due_at`, so that one of
    them finds out whether the addresses work again.
    """
    with state.transaction(*message.scopes):
        state.execute(
            "UPDATE messages SET status = 'sent', to_left = :to_left, error = :error,"
            f" subject = {_SUBJECT} WHERE id = :id",
            {
                "to_left": json.dumps(sorted(to_left)),
                "error": f"{len(to_left)} of its addresses did not take it yet",
                "subject": subject,
                "id": message.id,
            },
        )
        state.execute(
            "UPDATE messages SET due_at = ?"
            " WHERE destination = ? AND status = 'sent' AND to_left IS NOT NULL",
            [to_ms(due_at), message.destination],
        )
        _mark_delivered(state, message)


def mark_in_doubt(
    state: State, message: Message, reason: str, due_at: datetime, *, lost: bool
) -> None:
    """Record that the service may have accepted a message; its deliveries never change again.

    `lost`: the answer of one more call was lost, so the search for it starts again.
    """
    with state.transaction(Scope.DESTINATION.of(message.destination)):
        state.execute(
            "UPDATE messages SET error = ?, due_at = ?,"
            " status = CASE WHEN to_left IS NULL THEN 'in_doubt' ELSE status END WHERE id = ?",
            [reason, to_ms(due_at), message.id],
        )
        if lost:
            state.execute(
                "UPDATE messages SET lost = lost + 1, looked_since = NULL, look = '' WHERE id = ?",
                [message.id],
            )


def mark_failed(state: State, message: Message, reason: str) -> None:
    """Record that a message has failed; its deliveries are kept for `alerter retry`."""
    with state.transaction(*message.scopes):
        state.execute(
            "UPDATE messages SET status = 'failed', due_at = NULL, error = ? WHERE id = ?",
            [reason, message.id],
        )
        _set_deliveries(state, message, "failed")
        _cancel_closings(state, message)


def has_closed_review(state: State, message: Message) -> bool:
    """Whether a review of a message was closed since, so that it is not to be sent any more."""
    return bool(
        state.value(
            f"SELECT 1 FROM deliveries WHERE message = ? AND {CLOSED_SINCE} LIMIT 1", [message.id]
        )
    )


def dissolve(state: State, message: Message) -> None:
    """Delete a message that has not arrived for certain; its deliveries can be sent otherwise.

    Cancel deliveries of reviews that were closed since.
    """
    with state.transaction(*message.scopes):
        state.execute(
            f"UPDATE deliveries SET status = 'cancelled' WHERE message = ? AND {CLOSED_SINCE}",
            [message.id],
        )
        _cancel_closings(state, message)
        state.execute("UPDATE deliveries SET message = NULL WHERE message = ?", [message.id])
        state.execute("DELETE FROM messages WHERE id = ?", [message.id])


def recover(state: State, destination: str | None = None) -> int:
    """Mark the messages that an ended process was sending as in doubt; return how many.

    Call it with the lock held: that of the database, or of the job that sends to this destination.
    """
    found = {"destination": destination}
    of_one = "" if destination is None else " AND destination = :destination"
    if destination and not state.value(f"SELECT 1 FROM messages WHERE {_SENDING}{of_one}", found):
        return 0
    with state.transaction():
        return state.execute(
            "UPDATE messages SET status = 'in_doubt', lost = lost + 1, due_at = NULL,"
            " looked_since = NULL, look = '', error = 'the process ended before the answer'"
            f" WHERE {_SENDING}{of_one}",
            found,
        )


def _mark_delivered(state: State, message: Message) -> None:
    _set_deliveries(state, message, "sent")
    if not message.to_left:  # otherwise its reminders have started before
        _start_reminders(state, message)


def _set_deliveries(state: State, message: Message, status: str) -> None:
    state.execute(
        "UPDATE deliveries SET status = ? WHERE message = ? AND status = 'pending'",
        [status, message.id],
    )


def _cancel_closings(state: State, message: Message) -> None:
    """Cancel the `closed` of reviews whose first message was not sent."""
    if message.thread is None:
        state.execute(
            "UPDATE deliveries SET status = 'cancelled'"
            " WHERE destination = ? AND status = 'pending' AND message IS NULL AND alert IN"
            " (SELECT id FROM alerts WHERE kind = 'closed' AND (site_id, review_id) IN"
            "  (SELECT site_id, review_id FROM alerts"
            "   JOIN deliveries AS its ON its.alert = alerts.id WHERE its.message = ?))",
            [message.destination, message.id],
        )


def _start_reminders(state: State, message: Message) -> None:
    """Start the reminders of its reviews; reviews that a backfill alerted have none."""
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
    """Return a message from its row, with its reviews as they are stored now.

    A message that is still `sending` has lost the answer of its last call too.
    """
    attempted_at = from_ms(row["attempted_at"])
    alerts = state.rows("SELECT alert FROM deliveries WHERE message = ?", [row["id"]])
    return Message(
        id=row["id"],
        uid=row["message_id"],
        destination=row["destination"],
        form=Form(row["form"]),
        entries=get_items(state, [each["alert"] for each in alerts], attempted_at),
        attempted_at=attempted_at,
        attempts=row["attempts"],
        plain=bool(row["plain"]),
        builtin=bool(row["builtin"]),
        lost=row["lost"] + (row["status"] == "sending"),
        looked_since=moment_or_none(row["looked_since"]),
        look=row["look"],
        due_at=moment_or_none(row["due_at"]),
        service_time=moment_or_none(row["service_time"]),
        to_left=tuple(json.loads(row["to_left"] or "[]")),
        thread=thread_of(state, row["parent"]),
        slack_channel=row["slack_channel"],
        slack_ts=row["slack_ts"],
        erase=bool(row["erase"]),
        failing_since=moment_or_none(row["failing_since"]),
    )


def thread_of(state: State, message_id: int | None) -> Thread | None:
    """Return the message that others reply to."""
    if message_id is None:
        return None
    row = state.row(
        "SELECT id, message_id, subject, slack_ts FROM messages WHERE id = ?", [message_id]
    )
    if row is None:
        return None
    return Thread(row["id"], row["message_id"], row["subject"] or "", row["slack_ts"])
