"""A review's life after its first alert, in the state file: followed, told of, reminded of, closed, erased."""

import json
from collections.abc import Collection, Sequence
from datetime import datetime

from alerter.models import Form, Review, from_ms, to_ms
from alerter.store.reviews import load_review
from alerter.store.state import State


def rescanned_at(state: State, site_id: str) -> datetime | None:
    """When the recent past of a site was read again last."""
    ms = state.value("SELECT rescanned_at FROM sites WHERE site_id = ?", [site_id])
    return from_ms(ms) if ms is not None else None


def rescanned_since(state: State, site_id: str) -> datetime | None:
    """From which creation date on a site was rescanned last; None where that is not on record."""
    ms = state.value("SELECT rescanned_since FROM sites WHERE site_id = ?", [site_id])
    return from_ms(ms) if ms is not None else None


def rescanned(state: State, site_id: str, now: datetime, since: datetime | None) -> None:
    """Note that what was created since a moment has been read again, to its end (None: as far back as before)."""
    state.execute(
        "UPDATE sites SET rescanned_at = ?, rescanned_since = coalesce(?, rescanned_since) WHERE site_id = ?",
        [to_ms(now), to_ms(since) if since else None, site_id],
    )


def followed(state: State, site_id: str, since: datetime, threshold: int) -> list[str]:
    """The reviews whose fate is looked after: open ones alerted since a moment, low-rated ones created since then."""
    rows = state.rows(
        "SELECT review_id FROM reviews WHERE site_id = :site AND status = 'open' AND alerted_at >= :since"
        " UNION SELECT review_id FROM reviews WHERE site_id = :site AND created_at >= :since AND rating <= :threshold"
        "  AND closing IS NOT 'gone' AND pruned_at IS NULL",
        {"site": site_id, "since": to_ms(since), "threshold": threshold},
    )
    return [row["review_id"] for row in rows]


def open_above(state: State, site_id: str, threshold: int) -> list[Review]:
    """The open reviews of a site that are rated higher than its threshold."""
    rows = state.rows(
        "SELECT * FROM reviews WHERE site_id = ? AND status = 'open' AND rating > ?",
        [site_id, threshold],
    )
    return [load_review(row) for row in rows]


def old_reviews(state: State, site_id: str, since: datetime, number: int) -> list[str]:
    """The next reviews whose words are on record and whose fate is not looked after, from the cursor on."""
    rows = state.rows(
        f"SELECT review_id {_WITH_WORDS} AND created_at < :since"
        " AND NOT (status = 'open' AND coalesce(alerted_at, 0) >= :since) ORDER BY review_id LIMIT :number",
        {"site": site_id, "since": to_ms(since), "number": number},
    )
    return [row["review_id"] for row in rows]


def old_number(state: State, site_id: str, since: datetime) -> int:
    """About how many of these there are."""
    return int(
        state.value(
            "SELECT count(*) FROM reviews WHERE site_id = ? AND created_at < ? AND pruned_at IS NULL",
            [site_id, to_ms(since)],
        )
    )


def revisited_at(state: State, site_id: str) -> datetime | None:
    """When old reviews of a site were asked for last."""
    ms = state.value("SELECT revisited_at FROM sites WHERE site_id = ?", [site_id])
    return from_ms(ms) if ms is not None else None


def mark_revisited(state: State, site_id: str, last: str | None, now: datetime) -> None:
    """Note up to which review (None: the end) those of a site have been asked for: the cursor."""
    state.execute(
        "UPDATE sites SET revisited_at = ?, revisited_to = ? WHERE site_id = ?",
        [to_ms(now), last, site_id],
    )


def unverified_reviews(state: State, site_id: str, number: int) -> list[str]:
    """The next reviews whose words a restored backup holds, from the cursor on."""
    rows = state.rows(
        f"SELECT review_id {_WITH_WORDS} ORDER BY review_id LIMIT :number",
        {"site": site_id, "number": number},
    )
    return [row["review_id"] for row in rows]


def mark_verified(state: State, site_id: str) -> None:
    """Note that what a restored backup holds of a site has been asked for: it may be sent and shown."""
    state.execute(
        "UPDATE sites SET unverified = 0, revisited_to = NULL WHERE site_id = ?", [site_id]
    )


_WITH_WORDS = (
    "FROM reviews WHERE site_id = :site AND pruned_at IS NULL AND anonymized = 0 AND coalesce(closing, '') <> 'gone'"
    " AND review_id > coalesce((SELECT revisited_to FROM sites WHERE site_id = :site), '')"
)


def told(state: State, site_id: str, review_id: str) -> dict[str, Form]:
    """The destinations that got the first message about a review, or are getting it now, and in what form."""
    rows = state.rows(
        "SELECT messages.destination, messages.form, min(messages.id)"
        " FROM alerts JOIN deliveries ON deliveries.alert = alerts.id JOIN messages ON messages.id = deliveries.message"
        " WHERE alerts.site_id = ? AND alerts.review_id = ? AND messages.parent IS NULL AND messages.status <> 'failed'"
        " GROUP BY messages.destination",
        [site_id, review_id],
    )
    return {row["destination"]: Form(row["form"]) for row in rows}


def mark_stale(state: State, site_id: str, ids: Collection[str]) -> set[str]:
    """Note that what messages say of these reviews has changed since; returns the destinations of these messages.

    Messages of destinations that the config does not have any more stay as they are: nothing updates them.
    """
    if not ids:
        return set()
    rows = state.rows(
        "UPDATE messages SET stale = stale + 1, failing_since = CASE WHEN erase THEN failing_since END,"
        " due_at = CASE WHEN status = 'sent' AND to_left IS NULL THEN NULL ELSE due_at END"
        " WHERE (slack_ts IS NOT NULL OR status IN ('sending', 'in_doubt'))"
        " AND id IN (SELECT deliveries.message FROM deliveries JOIN alerts ON alerts.id = deliveries.alert"
        "  WHERE alerts.site_id = ? AND alerts.review_id IN (SELECT value FROM json_each(?)))"
        " AND NOT EXISTS (SELECT 1 FROM destinations WHERE destinations.destination = messages.destination"
        "  AND present = 0)"
        " RETURNING destination",
        [site_id, json.dumps(list(ids))],
    )
    return {row["destination"] for row in rows}


def note_authors(
    state: State, site_id: str, missing: Collection[str], there: Collection[str], as_of: datetime
) -> None:
    """Note which reviews came without their author as of a moment, and which came with it again."""
    for ids, since in (
        (missing, "min(coalesce(authorless_since, :as_of), :as_of)"),
        (there, "NULL"),
    ):
        if ids:
            state.execute(
                f"UPDATE reviews SET authorless_since = {since}"
                " WHERE site_id = :site AND review_id IN (SELECT value FROM json_each(:ids))",
                {"site": site_id, "ids": json.dumps(list(ids)), "as_of": to_ms(as_of)},
            )


def erase(state: State, site_id: str, ids: Sequence[str]) -> None:
    """Forget what these reviews said before, wherever it is kept beside their present content."""
    of_these = "site_id = ? AND review_id IN (SELECT value FROM json_each(?))"
    params = [site_id, json.dumps(list(ids))]
    state.execute(
        f"UPDATE alerts SET detail = json_remove(detail, '$.before.title', '$.before.body') WHERE {of_these}",
        params,
    )
    state.execute(
        "UPDATE messages SET subject = NULL, failing_since = CASE WHEN erase THEN failing_since END,"
        " erase = CASE WHEN slack_ts IS NULL AND status = 'sent' THEN 0 ELSE 1 END"
        " WHERE id IN (SELECT message FROM deliveries"
        f" WHERE alert IN (SELECT id FROM alerts WHERE {of_these}))",
        params,
    )
    state.owe_scrub()
