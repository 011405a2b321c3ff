"""Forgets what needs nobody any more: the words of reviews that were closed long ago, and all that was sent of them."""

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

from alerter.models import to_ms
from alerter.store.state import State

# What one transaction looks at: some milliseconds.
_AT_ONCE = 50
_BELIEVED = timedelta(days=30)


async def prune(state: State, now: datetime, keep: timedelta) -> int:
    """Erase the words of what has been at rest for longer than `keep`; returns of how many reviews.

    Never of an open review, nor of one that somebody is still to hear of. Between its short transactions others get
    their turn.
    """
    before = _last_moment(state, now) - keep // timedelta(milliseconds=1)
    looked_at: list[Any] = [-1, "", ""]
    pruned = 0
    while some := _prune_some(state, before, looked_at):
        pruned += sum(not row["waiting"] for row in some)
        looked_at = [some[-1][name] for name in ("as_of", "site_id", "review_id")]
        await asyncio.sleep(0)
    told = _forget_trouble(state, before)
    if pruned or told:
        state.scrub()
    return pruned


def _last_moment(state: State, now: datetime) -> int:
    """Now; but of a clock that is far from when a site was read last, only so much is believed: it may be wrong."""
    read_at = int(state.value("SELECT ifnull(max(last_success), 0) FROM sites"))
    return min(to_ms(now), read_at + _BELIEVED // timedelta(milliseconds=1))


def _prune_some(state: State, before: int, looked_at: list[Any]) -> list[dict[str, Any]]:
    """Prune the next few, all but those that somebody waits for; returns both, none at the end."""
    with state.transaction():
        some = _at_rest(state, before, looked_at)
        _prune(state, [row for row in some if not row["waiting"]])
    return some


def _at_rest(state: State, before: int, looked_at: list[Any]) -> list[dict[str, Any]]:
    """The next reviews that are not open and have not changed since a moment, the longest first."""
    return state.rows(
        "WITH some AS (SELECT as_of, site_id, review_id, status FROM reviews"
        "  WHERE status <> 'open' AND (status = 'closed' OR content <> '{}')"
        "  AND as_of < ? AND (as_of, site_id, review_id) > (?, ?, ?)"
        "  ORDER BY as_of, site_id, review_id LIMIT ?)"
        " SELECT *, EXISTS (SELECT 1 FROM alerts JOIN deliveries ON deliveries.alert = alerts.id"
        "  LEFT JOIN messages ON messages.id = deliveries.message"
        "  WHERE alerts.site_id = some.site_id AND alerts.review_id = some.review_id"
        "  AND (deliveries.status IN ('pending', 'failed') OR messages.stale)) AS waiting FROM some",
        [before, *looked_at, _AT_ONCE],
    )


def _prune(state: State, rows: list[dict[str, Any]]) -> None:
    """Erase the words of these; of those that are closed, keep only what it takes to know them again."""
    closed, baseline = (
        json.dumps([[row["site_id"], row["review_id"]] for row in rows if row["status"] == status])
        for status in ("closed", "baseline")
    )
    state.execute(f"UPDATE reviews SET content = '{{}}', contact_id = NULL {THESE}", [baseline])
    ids = state.rows(f"SELECT id FROM alerts {THESE}", [closed])
    state.execute(_KEEP, [closed])
    state.execute(f"DELETE FROM reviews {THESE}", [closed])
    drop_alerts(state, json.dumps([row["id"] for row in ids]))


def drop_alerts(state: State, ids: str) -> None:
    """Delete alerts, their deliveries, and the messages that carried nothing else; within a transaction."""
    of_these = "WHERE alert IN (SELECT value FROM json_each(?))"
    messages = state.rows(f"SELECT DISTINCT message FROM deliveries {of_these} AND message IS NOT NULL", [ids])
    state.execute(
        "INSERT INTO pruned_deliveries (destination, status, number)"
        f" SELECT destination, status, count(*) FROM deliveries {of_these} GROUP BY destination, status"
        " ON CONFLICT DO UPDATE SET number = number + excluded.number",
        [ids],
    )
    state.execute(f"DELETE FROM deliveries {of_these}", [ids])
    state.execute("DELETE FROM alerts WHERE id IN (SELECT value FROM json_each(?))", [ids])
    state.execute(
        "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)",
        [json.dumps([row["message"] for row in messages])],
    )


def _forget_trouble(state: State, before: int) -> int:
    """Erase what was said of anything but reviews; there is little of it, and its keys stay where they are."""
    with state.transaction():
        return state.execute(
            "UPDATE alerts SET detail = '{}' WHERE review_id IS NULL AND detail <> '{}' AND raised_at < ?"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE alert = alerts.id AND status IN ('pending', 'failed'))",
            [before],
        )


# The rows of reviews that are named by pairs of site and review.
THESE = (
    "WHERE (site_id, review_id) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))"
)
_KEEP = f"""
INSERT INTO pruned_reviews (site_id, review_id, revision, rating, answered, rejected, alerted_at, closing, raised)
SELECT site_id, review_id, revision, rating, answered, rejected, alerted_at, closing,
  (SELECT count(*) FROM alerts WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id)
FROM reviews {THESE}
ON CONFLICT DO UPDATE SET revision = excluded.revision, rating = excluded.rating, answered = excluded.answered,
  rejected = excluded.rejected, alerted_at = excluded.alerted_at,
  closing = excluded.closing, raised = raised + excluded.raised
"""
