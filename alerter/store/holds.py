"""Claims and snoozes, which hold the reminders of a review."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerter.actions import ActionKind
from alerter.models import from_ms, to_ms
from alerter.store.sql import json_field
from alerter.store.state import State

# A hold that was recorded so far in the future was recorded while our clock was wrong.
_MAX_CLOCK_LEAD = timedelta(days=1)
# Whether a row of `reminders` is held. A snooze holds until its own reminder is raised.
HELD = (
    "EXISTS (SELECT 1 FROM actions WHERE actions.site_id = reminders.site_id"
    " AND actions.review_id = reminders.review_id AND status = 'done' AND ended_at IS NULL"
    " AND until IS NOT NULL AND (kind = 'snooze' OR until > :now))"
)
# Whether a row of `actions` is a hold whose time is over, or one that a wrong clock recorded.
IS_OVER = (
    "until IS NOT NULL AND ended_at IS NULL AND status = 'done'"
    " AND (until <= :now OR at > :latest_hold)"
)


@dataclass(frozen=True, slots=True)
class Hold:
    """A claim or a snooze that was not ended, though its time may be over."""

    review_id: str
    is_claim: bool
    at: datetime
    until: datetime


def moments(now: datetime) -> dict[str, int]:
    """Return the parameters of `IS_OVER`."""
    return {"now": to_ms(now), "latest_hold": to_ms(now + _MAX_CLOCK_LEAD)}


def correct_holds(state: State, site_id: str, now: datetime) -> list[Hold]:
    """Return the holds of a site; those that a wrong clock recorded begin now."""
    found = _holds(state, site_id)
    if not any(each.at - now > _MAX_CLOCK_LEAD for each in found):
        return found
    state.execute(
        "UPDATE actions SET until = until - at + :now, at = :now WHERE site_id = :site"
        " AND until IS NOT NULL AND ended_at IS NULL AND status = 'done' AND at > :latest",
        {"site": site_id, "now": to_ms(now), "latest": to_ms(now + _MAX_CLOCK_LEAD)},
    )
    return _holds(state, site_id)


def _holds(state: State, site_id: str) -> list[Hold]:
    rows = state.rows(
        "SELECT review_id, kind, at, until FROM actions WHERE site_id = ? AND until IS NOT NULL"
        " AND ended_at IS NULL AND status = 'done' ORDER BY id",
        [site_id],
    )
    return [_hold(row) for row in rows]


def end_claims(state: State, site_id: str, now: datetime) -> list[str]:
    """End the claims of a site whose time is over; return their reviews. In a transaction."""
    rows = state.rows(
        "UPDATE actions SET ended_at = until WHERE site_id = :site AND kind = 'claim'"
        " AND until <= :now AND ended_at IS NULL AND status = 'done' RETURNING review_id",
        {"site": site_id, "now": to_ms(now)},
    )
    return sorted({row["review_id"] for row in rows})


def end_snooze(state: State, site_id: str, review_id: str, now: datetime) -> bool:
    """End the snooze of a review if its time is over and no claim holds the review.

    Return False where another process has ended it since. Within a transaction.
    """
    return bool(
        state.execute(
            "UPDATE actions SET ended_at = :now WHERE site_id = :site AND review_id = :review"
            " AND kind = 'snooze' AND until <= :now AND ended_at IS NULL AND status = 'done'"
            " AND NOT EXISTS (SELECT 1 FROM actions AS claims WHERE claims.site_id = :site"
            "  AND claims.review_id = :review AND claims.kind = 'claim' AND claims.until > :now"
            "  AND claims.ended_at IS NULL AND claims.status = 'done')",
            {"site": site_id, "review": review_id, "now": to_ms(now)},
        )
    )


def hold_back_reminders(state: State, site_id: str, review_id: str) -> None:
    """Cancel the unsent reminders of a review that is claimed or snoozed; in a transaction.

    They are due again once it is held no longer.
    """
    rows = state.rows(
        # Written so that SQLite looks the deliveries up by their alert, not by their status.
        "UPDATE deliveries SET status = 'cancelled'"
        " WHERE status NOT IN ('sent', 'cancelled', 'failed') AND message IS NULL"
        " AND alert IN (SELECT id FROM alerts WHERE site_id = :site AND review_id = :review"
        f"  AND kind = 'reminder' AND {json_field('detail', '$.reopened')} IS NULL)"
        " RETURNING destination,"
        f" (SELECT {json_field('detail', '$.after')} FROM alerts WHERE id = alert) AS span",
        {"site": site_id, "review": review_id},
    )
    of_review = "site_id = :site AND review_id = :review"
    found = {"site": site_id, "review": review_id}
    for row in rows:
        span = row["span"]
        if span is None:  # the reminder after a snooze
            state.execute(
                "UPDATE actions SET ended_at = NULL WHERE id = (SELECT max(id) FROM actions"
                f" WHERE {of_review} AND kind = 'snooze' AND status = 'done')",
                found,
            )
        else:
            state.execute(
                f"UPDATE reminders SET reminded = :span - 1 WHERE {of_review}"
                " AND destination = :destination AND reminded = :span",
                {**found, "destination": row["destination"], "span": round(float(span) * 1000)},
            )


def _hold(row: dict[str, Any]) -> Hold:
    return Hold(
        row["review_id"], row["kind"] == ActionKind.CLAIM, from_ms(row["at"]), from_ms(row["until"])
    )
