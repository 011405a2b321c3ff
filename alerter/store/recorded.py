"""The alerts, deliveries and holds on record, as `alerter replay` compares and repeats them."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerter.models import Alert, Form, from_ms, to_ms
from alerter.store.items import load_alert
from alerter.store.sql import json_values, moment_or_none, ms_or_none
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class RecordedDelivery:
    """A delivery of an alert: `at` is the moment from which it was due, `sent_at` when it left.

    `is_withdrawn`: a changed config cancelled it. `message` is the id of its message.
    """

    destination: str
    at: datetime
    status: str
    is_withdrawn: bool
    message: int | None
    sent_at: datetime | None
    form: Form

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody got it, nor will."""
        return self.status == "cancelled"


@dataclass(frozen=True, slots=True)
class RecordedAlert:
    """An alert of a review or of a cluster, with its deliveries by destination.

    `reviews`: the review, or those of the cluster.
    """

    alert: Alert
    raised_at: datetime
    deliveries: dict[str, RecordedDelivery] = field(default_factory=dict)
    reviews: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RecordedHold:
    """A claim or a snooze.

    `ended_at`: when it was ended, but not by its time or by the reminder that follows a snooze,
    which was raised at `reminded_at`.
    """

    site_id: str
    review_id: str
    kind: str
    at: datetime
    until: datetime
    ended_at: datetime | None
    reminded_at: datetime | None = None


def recorded_alerts(state: State, site_ids: Collection[str]) -> list[RecordedAlert]:
    """Return the alerts of the reviews of these sites, the oldest first; pruned ones are gone."""
    found: dict[int, RecordedAlert] = {}
    sites = [json.dumps(list(site_ids))]
    for row in state.rows(_ALERTS, sites):
        raised_at = from_ms(row["raised_at"])
        recorded = found.get(row["id"])
        if recorded is None:
            its = [row["review_id"]] if row["review_id"] else []
            recorded = RecordedAlert(load_alert(row), raised_at, reviews=its)
            found[row["id"]] = recorded
        if row["destination"] is not None:
            recorded.deliveries[row["destination"]] = RecordedDelivery(
                row["destination"],
                max(raised_at, from_ms(row["due_at"])),
                row["status"],
                row["withdrawn"] is not None,
                row["message"],
                moment_or_none(row["attempted_at"]) if row["status"] == "sent" else None,
                Form(row["form"] or Form.ALERT),
            )
    for row in state.rows(_MEMBERS, sites):
        if row["alert"] in found:
            found[row["alert"]].reviews.append(row["review_id"])
    return list(found.values())


def recorded_holds(state: State, site_ids: Collection[str]) -> list[RecordedHold]:
    """Return the claims and snoozes of the reviews of these sites, the oldest first."""
    rows = state.rows(
        "SELECT site_id, review_id, kind, coalesce(finished_at, at) AS begun, until,"
        " CASE WHEN ended_at <> until THEN ended_at END AS ended_at, (SELECT max(raised_at)"
        "  FROM alerts WHERE alerts.site_id = actions.site_id AND actions.kind = 'snooze'"
        "  AND alerts.review_id = actions.review_id AND alerts.kind = 'reminder'"
        "  AND raised_at = ended_at) AS reminded_at"
        " FROM actions WHERE status = 'done' AND until IS NOT NULL"
        f" AND kind IN ('claim', 'snooze') AND site_id IN {json_values()} ORDER BY id",
        [json.dumps(list(site_ids))],
    )
    return [
        RecordedHold(
            row["site_id"],
            row["review_id"],
            row["kind"],
            from_ms(row["begun"]),
            from_ms(row["until"]),
            None if row["reminded_at"] else moment_or_none(row["ended_at"]),
            moment_or_none(row["reminded_at"]),
        )
        for row in rows
    ]


def put_holds(state: State, holds: Iterable[RecordedHold]) -> None:
    """Write claims and snoozes, or when they ended, within a transaction."""
    state.execute_many(_PUT_HOLD, [_hold_row(each) for each in holds])


def alert_ids(state: State, keys: Collection[str]) -> list[int]:
    """Return the ids of the alerts with these keys, those that there are."""
    rows = state.rows(
        f"SELECT id FROM alerts WHERE key IN {json_values()}", [json.dumps(list(keys))]
    )
    return [row["id"] for row in rows]


def waiting_deliveries(
    state: State, site_id: str, review_id: str
) -> list[tuple[str, str, datetime]]:
    """Return the pending deliveries of a review: the alert's key, where it goes, when it is due.

    Without a `review_id`, those of clusters.
    """
    of_review = "review_id = :review" if review_id else "review_id IS NULL"
    rows = state.rows(
        "SELECT key, destination, due_at, raised_at FROM alerts"
        " JOIN deliveries ON deliveries.alert = alerts.id"
        f" WHERE site_id = :site AND {of_review} AND status = 'pending' AND message IS NULL",
        {"site": site_id, "review": review_id},
    )
    return [
        (row["key"], row["destination"], from_ms(max(row["due_at"], row["raised_at"])))
        for row in rows
    ]


def kept_since(state: State) -> datetime | None:
    """Return since when judged states are kept; None where none are."""
    return moment_or_none(state.value("SELECT min(added_at) FROM configs WHERE scope IS NOT NULL"))


def pruned_until(state: State, site_ids: Collection[str]) -> datetime | None:
    """Return the last moment that pruned reviews of these sites had a part in; None without any."""
    return moment_or_none(
        state.value(
            "SELECT max(CASE WHEN coalesce(alerted_at, 0) > as_of THEN alerted_at ELSE as_of END)"
            f" FROM reviews WHERE pruned_at IS NOT NULL AND site_id IN {json_values()}",
            [json.dumps(list(site_ids))],
        )
    )


def _hold_row(hold: RecordedHold) -> dict[str, Any]:
    return {
        "key": f"{hold.kind}:{hold.site_id}:{hold.review_id}:{to_ms(hold.at)}",
        "kind": hold.kind,
        "site": hold.site_id,
        "review": hold.review_id,
        "at": to_ms(hold.at),
        "until": to_ms(hold.until),
        "ended": ms_or_none(hold.ended_at),
    }


_ALERTS = (
    "SELECT alerts.id, key, kind, site_id, review_id, detail, raised_at, deliveries.destination,"
    " deliveries.status, withdrawn, deliveries.due_at, message, attempted_at, form FROM alerts"
    " LEFT JOIN deliveries ON deliveries.alert = alerts.id"
    " LEFT JOIN messages ON messages.id = deliveries.message"
    " WHERE (review_id IS NOT NULL OR kind = 'cluster')"
    f" AND site_id IN {json_values()} ORDER BY alerts.id, deliveries.destination"
)
_MEMBERS = (
    "SELECT alert, review_id FROM cluster_reviews JOIN reviews USING (site_id, review_id)"
    f" WHERE site_id IN {json_values()} ORDER BY alert, created_at, review_id"
)
_PUT_HOLD = """
INSERT INTO actions (key, kind, site_id, review_id, person, person_id, through, at, revision, seen,
  seen_reply, reply, replaces, until, ended_at, status, due_at)
VALUES (:key, :kind, :site, :review, '', '', 'command', :at, 0, '', '', '', FALSE, :until, :ended,
  'done', :at)
ON CONFLICT (key) DO UPDATE SET ended_at = excluded.ended_at
"""
