"""Erase the text of reviews that have been at rest for long, and their alerts."""

import asyncio
import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from alerter.models import to_ms
from alerter.scopes import Scope
from alerter.store.actions import WITH_TEXT, erase_words_without_review
from alerter.store.sql import json_field, json_numbers, json_values
from alerter.store.state import State

# Reviews for each transaction, which takes some milliseconds.
AT_ONCE = 50
_MAX_CLOCK_LEAD = timedelta(days=30)
_MS = timedelta(milliseconds=1)


async def prune(
    state: State,
    now: datetime,
    keep: timedelta,
    *,
    window: timedelta,
    destinations: Collection[str],
) -> int:
    """Erase the text of reviews that have been at rest for longer than `keep`; return how many.

    A review is at rest from its last change; an open one from `window` after its alert, or from
    when its site left the config. Reviews with unsent deliveries to one of these `destinations`
    are kept; other destinations have left the config. A snoozed review rests from the end of its
    snooze. Other tasks run between the transactions.
    """
    before = _last_moment(state, now) - keep // _MS
    at_rest = {
        "before": before,
        "window": window // _MS,
        "destinations": json.dumps(sorted(destinations)),
    }
    cursor = {"as_of": -1, "site_id": "", "review_id": ""}
    pruned = 0
    while batch := _prune_batch(state, now, at_rest | cursor):
        pruned += sum(not row["waiting"] for row in batch)
        cursor = {name: batch[-1][name] for name in cursor}
        await asyncio.sleep(0)
    _prune_without_review(state, at_rest)
    with state.transaction():
        erase_words_without_review(state)
    return pruned


def _last_moment(state: State, now: datetime) -> int:
    """Return now, but at most 30 days after a site was last read: our clock may be wrong."""
    read_at = int(state.value("SELECT coalesce(max(last_success), 0) FROM sites"))
    return min(to_ms(now), read_at + _MAX_CLOCK_LEAD // _MS)


def _prune_batch(state: State, now: datetime, at_rest: dict[str, Any]) -> list[dict[str, Any]]:
    """Prune the next reviews except those that are `waiting`; return both, nothing at the end."""
    sites = {row["site_id"] for row in state.rows(_AT_REST, at_rest)}
    with state.transaction(*map(Scope.SITE.of, sites)):
        # Another process may have changed them since.
        batch = [row for row in state.rows(_AT_REST, at_rest) if row["site_id"] in sites]
        prune_reviews(state, [row for row in batch if not row["waiting"]], now)
    return batch


def prune_reviews(state: State, rows: Sequence[dict[str, Any]], now: datetime) -> None:
    """Erase the text of these reviews and delete their alerts, within a transaction.

    Their rows stay, so that the reviews are recognized and no key of an alert is used again.
    """
    if not rows:
        return
    these = json.dumps([[row["site_id"], row["review_id"]] for row in rows])
    ids = json.dumps([row["id"] for row in state.rows(f"SELECT id FROM alerts {THESE}", [these])])
    state.execute(
        "UPDATE reviews SET content = '{}', contact_id = NULL, entity_id = NULL, topics = NULL,"
        " pruned_at = ?,"
        " pruned_alerts = pruned_alerts + (SELECT count(*) FROM alerts"
        "  WHERE alerts.site_id = reviews.site_id AND alerts.review_id = reviews.review_id)"
        f" {THESE}",
        [to_ms(now), these],
    )
    for table in (
        "reminders",
        "actions",
        "judgements",
        "orders",
        "cluster_reviews",
        "cluster_candidates",
    ):
        state.execute(f"DELETE FROM {table} {THESE}", [these])
    _erase_subjects(state, ids)
    drop_alerts(state, ids)
    state.owe_scrub()


def drop_alerts(state: State, ids: str) -> None:
    """Delete alerts, their deliveries, and messages without other deliveries; in a transaction.

    `ids`: the ids of the alerts as a JSON array.
    """
    of_these = f"WHERE alert IN {json_numbers()}"
    carried = state.rows(
        f"SELECT DISTINCT message FROM deliveries {of_these} AND message IS NOT NULL", [ids]
    )
    state.execute(
        "INSERT INTO pruned_deliveries (destination, status, number) SELECT destination,"
        " CASE WHEN status = 'sent' THEN status ELSE 'cancelled' END AS settled, count(*)"
        f" FROM deliveries {of_these} GROUP BY destination, settled"
        " ON CONFLICT (destination, status)"
        " DO UPDATE SET number = pruned_deliveries.number + excluded.number",
        [ids],
    )
    for table in ("deliveries", "cluster_reviews"):
        state.execute(f"DELETE FROM {table} {of_these}", [ids])
    state.execute(f"DELETE FROM alerts WHERE id IN {json_numbers()}", [ids])
    drop_empty_messages(state, [row["message"] for row in carried])


def drop_empty_messages(state: State, ids: Collection[int]) -> None:
    """Delete those of these messages that have no deliveries any more, within a transaction."""
    empty = state.rows(
        f"SELECT id FROM messages WHERE id IN {json_numbers()}"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message = messages.id)",
        [json.dumps(list(ids))],
    )
    these = json.dumps([row["id"] for row in empty])
    state.execute(
        f"UPDATE messages SET parent = NULL WHERE parent IN {json_numbers()}",
        [these],
    )
    state.execute(f"DELETE FROM messages WHERE id IN {json_numbers()}", [these])


def _prune_without_review(state: State, at_rest: dict[str, Any]) -> None:
    """Erase the detail of old alerts without a review; products and actions without a review.

    These alerts are few, so their rows stay.
    """
    with state.transaction():
        erased = state.rows(
            "UPDATE alerts SET detail = '{}'"
            " WHERE review_id IS NULL AND detail <> '{}' AND raised_at < :before"
            " AND NOT EXISTS (SELECT 1 FROM cluster_reviews WHERE alert = alerts.id)"
            " AND NOT EXISTS (SELECT 1 FROM deliveries"
            "  WHERE alert = alerts.id AND status IN ('pending', 'failed')"
            f"  AND destination IN {json_values(':destinations')}) RETURNING id",
            at_rest,
        )
        _erase_subjects(state, json.dumps([row["id"] for row in erased]))
        products = state.execute(
            "DELETE FROM products WHERE asked_at < :before"
            " AND NOT EXISTS (SELECT 1 FROM reviews WHERE reviews.site_id = products.site_id"
            "  AND reviews.entity_id = products.entity_id)",
            at_rest,
        )
        actions = state.execute(
            f"DELETE FROM actions WHERE finished_at < :before AND NOT {WITH_TEXT}", at_rest
        )
        state.execute("DELETE FROM unread_spans WHERE until < :before", at_rest)
        if erased or products or actions:
            state.owe_scrub()


def _erase_subjects(state: State, alerts: str) -> None:
    """Erase the subjects and errors of the messages with these alerts."""
    state.execute(
        "UPDATE messages SET subject = NULL, error = NULL"
        f" WHERE id IN (SELECT message FROM deliveries WHERE alert IN {json_numbers()})",
        [alerts],
    )


# The rows of the reviews that a JSON array of pairs names, each of a site id and a review id.
THESE = (
    f"WHERE (site_id, review_id) IN (SELECT {json_field('value', '$[0]')},"
    f" {json_field('value', '$[1]')} FROM {json_values()} AS pairs)"
)
_AT_REST = f"""
WITH batch AS (SELECT as_of, site_id, review_id FROM reviews
  WHERE pruned_at IS NULL AND as_of < :before
  AND (as_of, site_id, review_id) > (:as_of, :site_id, :review_id)
  AND (status <> 'open' OR coalesce(alerted_at, 0) < :before - :window
    OR EXISTS (SELECT 1 FROM sites WHERE sites.site_id = reviews.site_id AND left_at < :before))
  AND NOT EXISTS (SELECT 1 FROM actions WHERE actions.site_id = reviews.site_id
    AND actions.review_id = reviews.review_id AND (actions.status IN ('pending', 'sending')
      OR (kind = 'snooze' AND actions.status = 'done' AND coalesce(ended_at, until) >= :before)))
  ORDER BY as_of, site_id, review_id LIMIT {AT_ONCE})
SELECT *, EXISTS (SELECT 1 FROM deliveries
  LEFT JOIN messages ON messages.id = deliveries.message
  WHERE deliveries.alert IN (SELECT id FROM alerts
    WHERE alerts.site_id = batch.site_id AND alerts.review_id = batch.review_id
    UNION ALL SELECT alert FROM cluster_reviews AS its
    WHERE its.site_id = batch.site_id AND its.review_id = batch.review_id)
  AND deliveries.destination IN {json_values(":destinations")}
  AND (deliveries.status IN ('pending', 'failed') OR messages.stale > 0)) AS waiting FROM batch
"""
