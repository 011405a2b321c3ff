"""Erases what has been at rest for long: the words of reviews, and all that was sent of them."""

import asyncio
import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from alerter.models import to_ms
from alerter.store.state import State

# What one transaction looks at: some milliseconds.
AT_ONCE = 50
_BELIEVED = timedelta(days=30)
_MS = timedelta(milliseconds=1)


async def prune(
    state: State,
    now: datetime,
    keep: timedelta,
    *,
    window: timedelta,
    destinations: Collection[str],
) -> int:
    """Erase the words of what has been at rest for longer than `keep`; returns of how many reviews.

    A review rests from its last change on; an open one from `window` after its alert on, or from when its site left the
    config. What waits for one of these `destinations` is kept; others are not in the config, and get nothing any more.
    Between its short transactions other tasks get their turn.
    """
    before = _last_moment(state, now) - keep // _MS
    at_rest = {
        "before": before,
        "window": window // _MS,
        "destinations": json.dumps(sorted(destinations)),
    }
    looked_at = {"as_of": -1, "site_id": "", "review_id": ""}
    pruned = 0
    while some := _prune_some(state, now, at_rest | looked_at):
        pruned += sum(not row["waiting"] for row in some)
        looked_at = {name: some[-1][name] for name in looked_at}
        await asyncio.sleep(0)
    _prune_the_rest(state, at_rest)
    return pruned


def _last_moment(state: State, now: datetime) -> int:
    """Now; but of a clock that is far from when a site was read last, only so much is believed: it may be wrong."""
    read_at = int(state.value("SELECT coalesce(max(last_success), 0) FROM sites"))
    return min(to_ms(now), read_at + _BELIEVED // _MS)


def _prune_some(state: State, now: datetime, at_rest: dict[str, Any]) -> list[dict[str, Any]]:
    """Prune the next few, all but those that somebody waits for; returns both, none at the end."""
    with state.transaction():
        some = state.rows(_AT_REST, at_rest)
        prune_reviews(state, [row for row in some if not row["waiting"]], now)
    return some


def prune_reviews(state: State, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """Erase the words of these reviews and all that was sent of them; within a transaction.

    Their rows stay, so that they are known again, and that none of their alerts' keys is given out a second time.
    """
    if not rows:
        return
    these = json.dumps([[row["site_id"], row["review_id"]] for row in rows])
    ids = json.dumps([row["id"] for row in state.rows(f"SELECT id FROM alerts {THESE}", [these])])
    state.execute(
        "UPDATE reviews SET content = '{}', contact_id = NULL, entity_id = NULL, pruned_at = ?,"
        " pruned_alerts = pruned_alerts + (SELECT count(*) FROM alerts"
        f"  WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id) {THESE}",
        [to_ms(now), these],
    )
    state.execute(f"DELETE FROM reminders {THESE}", [these])
    _erase_subjects(state, ids)
    drop_alerts(state, ids)
    state.owe_scrub()


def drop_alerts(state: State, ids: str) -> None:
    """Delete alerts, their deliveries, and the messages that carried nothing else; within a transaction."""
    of_these = "WHERE alert IN (SELECT value FROM json_each(?))"
    carried = state.rows(
        f"SELECT DISTINCT message FROM deliveries {of_these} AND message IS NOT NULL", [ids]
    )
    state.execute(
        "INSERT INTO pruned_deliveries (destination, status, number)"
        " SELECT destination, CASE WHEN status = 'sent' THEN status ELSE 'cancelled' END AS settled, count(*)"
        f" FROM deliveries {of_these} GROUP BY destination, settled"
        " ON CONFLICT (destination, status) DO UPDATE SET number = number + excluded.number",
        [ids],
    )
    state.execute(f"DELETE FROM deliveries {of_these}", [ids])
    state.execute("DELETE FROM alerts WHERE id IN (SELECT value FROM json_each(?))", [ids])
    drop_empty_messages(state, [row["message"] for row in carried])


def drop_empty_messages(state: State, ids: Collection[int]) -> None:
    """Delete those of these messages that carry nothing any more; within a transaction."""
    empty = state.rows(
        "SELECT id FROM messages WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)",
        [json.dumps(list(ids))],
    )
    these = json.dumps([row["id"] for row in empty])
    state.execute(
        "UPDATE messages SET parent = NULL WHERE parent IN (SELECT value FROM json_each(?))",
        [these],
    )
    state.execute("DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))", [these])


def _prune_the_rest(state: State, at_rest: dict[str, Any]) -> None:
    """Erase what was said of anything but reviews, and products that no review names any more.

    There is little of it: the alerts and their keys stay where they are.
    """
    with state.transaction():
        erased = state.rows(
            "UPDATE alerts SET detail = '{}' WHERE review_id IS NULL AND detail <> '{}' AND raised_at < :before"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status IN ('pending', 'failed')"
            "  AND destination IN (SELECT value FROM json_each(:destinations))) RETURNING id",
            at_rest,
        )
        _erase_subjects(state, json.dumps([row["id"] for row in erased]))
        products = state.execute(
            "DELETE FROM products WHERE asked_at < :before AND NOT EXISTS (SELECT 1 FROM reviews"
            "  WHERE reviews.site_id = products.site_id AND reviews.entity_id = products.entity_id)",
            at_rest,
        )
        if erased or products:
            state.owe_scrub()


def _erase_subjects(state: State, alerts: str) -> None:
    """Erase what the messages that carry these alerts were called, and what the services said of them."""
    state.execute(
        "UPDATE messages SET subject = NULL, error = NULL WHERE id IN (SELECT message FROM deliveries"
        " WHERE alert IN (SELECT value FROM json_each(?)))",
        [alerts],
    )


# The rows of reviews that are named by pairs of site and review.
THESE = "WHERE (site_id, review_id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
_AT_REST = f"""
WITH some AS (SELECT as_of, site_id, review_id FROM reviews
  WHERE pruned_at IS NULL AND as_of < :before AND (as_of, site_id, review_id) > (:as_of, :site_id, :review_id)
  AND (status <> 'open' OR coalesce(alerted_at, 0) < :before - :window
    OR EXISTS (SELECT 1 FROM sites WHERE sites.site_id = reviews.site_id AND left_at < :before))
  ORDER BY as_of, site_id, review_id LIMIT {AT_ONCE})
SELECT *, EXISTS (SELECT 1 FROM alerts JOIN deliveries ON deliveries.alert = alerts.id
  LEFT JOIN messages ON messages.id = deliveries.message
  WHERE alerts.site_id = some.site_id AND alerts.review_id = some.review_id
  AND deliveries.destination IN (SELECT value FROM json_each(:destinations))
  AND (deliveries.status IN ('pending', 'failed') OR messages.stale)) AS waiting FROM some
"""
