"""Messages whose reviews have changed since: Slack's copies are replaced, or lose their text."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from alerter.models import Form, Message, to_ms
from alerter.scopes import Scope
from alerter.store.messages import IS_DUE, MAY_SHOW, load_message
from alerter.store.sql import json_values, json_without
from alerter.store.state import State


def get_outdated(state: State, destination: str, now: datetime) -> tuple[Message, int] | None:
    """Return the next message on Slack to replace, and how often it has changed.

    It has its reviews as they are stored now. Messages with text to erase come first.
    """
    row = state.row(
        f"SELECT * FROM messages WHERE destination = :destination AND {OUTDATED}"
        f" AND {IS_DUE} AND {MAY_SHOW} ORDER BY erase DESC, id LIMIT 1",
        {"destination": destination, "now": to_ms(now)},
    )
    return (load_message(state, row), row["stale"]) if row else None


def unerased_count(state: State, destination: str) -> int:
    """Return how many messages still show erased text because Slack refused to change them."""
    return int(
        state.value(
            "SELECT count(*) FROM messages"
            " WHERE destination = ? AND stale > 0 AND erase AND failing_since IS NOT NULL",
            [destination],
        )
    )


def alerted_forms(state: State, site_id: str, review_id: str) -> dict[str, Form]:
    """Return the destinations of the first message about a review, with its form.

    It was sent, or is being sent.
    """
    rows = state.rows(
        "SELECT destination, form FROM messages WHERE id IN (SELECT min(messages.id) FROM alerts"
        "  JOIN deliveries ON deliveries.alert = alerts.id"
        "  JOIN messages ON messages.id = deliveries.message"
        "  WHERE alerts.site_id = ? AND alerts.review_id = ?"
        "  AND messages.parent IS NULL AND messages.status <> 'failed'"
        "  GROUP BY messages.destination)",
        [site_id, review_id],
    )
    return {row["destination"]: Form(row["form"]) for row in rows}


def mark_stale(state: State, site_id: str, ids: Collection[str]) -> set[str]:
    """Record that messages about these reviews are out of date; return their destinations.

    Messages of destinations that left the config are not changed.
    """
    if not ids:
        return set()
    rows = state.rows(
        "UPDATE messages SET stale = stale + 1,"
        " failing_since = CASE WHEN erase THEN failing_since END,"
        " due_at = CASE WHEN status = 'sent' AND to_left IS NULL THEN NULL ELSE due_at END"
        " WHERE (slack_ts IS NOT NULL OR status IN ('sending', 'in_doubt'))"
        f" AND id IN (SELECT message FROM deliveries WHERE alert IN ({_ALERTS_SHOWING}))"
        " AND NOT EXISTS (SELECT 1 FROM destinations"
        "  WHERE destinations.destination = messages.destination AND NOT present)"
        " RETURNING destination",
        {"site": site_id, "ids": json.dumps(list(ids))},
    )
    return {row["destination"] for row in rows}


def mark_updated(state: State, message: Message, changes: int) -> None:
    """Record that Slack has a message as it is now, unless it has changed again since."""
    with state.transaction(Scope.DESTINATION.of(message.destination)):
        state.execute(
            "UPDATE messages SET stale = 0, erase = FALSE, due_at = NULL, failing_since = NULL"
            " WHERE id = ? AND stale = ?",
            [message.id, changes],
        )


def mark_deleted(state: State, message: Message) -> None:
    """Record that a message was deleted on Slack, so that it is not changed again."""
    with state.transaction(Scope.DESTINATION.of(message.destination)):
        state.execute(
            "UPDATE messages SET stale = 0, erase = FALSE, due_at = NULL, failing_since = NULL,"
            " slack_ts = NULL WHERE id = ?",
            [message.id],
        )


def erase_earlier_text(state: State, site_id: str, ids: Sequence[str]) -> None:
    """Erase the earlier text of these reviews from alerts and messages, within a transaction.

    Also the orders behind them.
    """
    of_reviews = f"site_id = :site AND review_id IN {json_values(':ids')}"
    params = {"site": site_id, "ids": json.dumps(list(ids))}
    state.execute(f"DELETE FROM orders WHERE {of_reviews}", params)
    without_text = json_without("detail", "$.before.title", "$.before.body")
    state.execute(f"UPDATE alerts SET detail = {without_text} WHERE {of_reviews}", params)
    state.execute(
        "UPDATE messages SET subject = NULL,"
        " failing_since = CASE WHEN erase THEN failing_since END,"
        " erase = CASE WHEN slack_ts IS NULL AND status = 'sent' THEN FALSE ELSE TRUE END"
        f" WHERE id IN (SELECT message FROM deliveries WHERE alert IN ({_ALERTS_SHOWING}))",
        params,
    )
    state.owe_scrub()


# The alerts whose messages show one of these reviews, those of their clusters included.
_ALERTS_SHOWING = (
    f"SELECT id FROM alerts WHERE site_id = :site AND review_id IN {json_values(':ids')}"
    " UNION ALL SELECT alert FROM cluster_reviews"
    f" WHERE site_id = :site AND review_id IN {json_values(':ids')}"
)
OUTDATED = "stale > 0 AND status = 'sent' AND slack_ts IS NOT NULL"
