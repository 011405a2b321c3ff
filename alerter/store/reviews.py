"""Sites, reviews and alerts in the state file: what the watching half reads and writes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Grouping,
    Media,
    Reply,
    Review,
    Status,
    StoredReview,
    from_ms,
    to_ms,
)
from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class SiteState:
    """How far a site has been read. `covered_rating` is 0 until its first read has come to an end.

    `restored`: a backup was put in place, and the site has not been read since; `restored_at` is when, unless an older
    version did it. `unverified`: nor has every review been asked for whose words it holds.
    """

    checkpoint: datetime | None = None
    covered_rating: int = 0
    covered_since: datetime | None = None
    last_success: datetime | None = None
    restored: bool = False
    restored_at: datetime | None = None
    unverified: bool = False

    def may_be_known(self, created: datetime | None) -> bool:
        """Whether people may know of a review that was written then, because a backup was restored since."""
        return self.restored and not (created and self.restored_at and created > self.restored_at)


@dataclass(frozen=True, slots=True)
class NewAlert:
    """An alert, and the destinations that it goes to, from when on (None: at once)."""

    alert: Alert
    routes: Sequence[tuple[str, datetime | None]]
    grouping: Grouping = Grouping.BURST


def site_state(state: State, site_id: str) -> SiteState:
    """How far a site has been read; a site that nobody has read yet has the defaults."""
    row = state.row("SELECT * FROM sites WHERE site_id = ?", [site_id])
    if row is None:
        return SiteState()
    return SiteState(
        checkpoint=_moment(row["checkpoint"]),
        covered_rating=row["covered_rating"],
        covered_since=_moment(row["covered_since"]),
        last_success=_moment(row["last_success"]),
        restored=bool(row["restored"]),
        restored_at=from_ms(row["restored"]) if row["restored"] > 1 else None,
        unverified=bool(row["unverified"]),
    )


def advance(state: State, site_id: str, checkpoint: datetime | None) -> None:
    """Move a site's checkpoint, never backwards."""
    if checkpoint is None:
        return
    state.execute(
        "INSERT INTO sites (site_id, checkpoint) VALUES (:site, :checkpoint) ON CONFLICT DO UPDATE"
        " SET checkpoint = max(ifnull(checkpoint, 0), excluded.checkpoint)",
        {"site": site_id, "checkpoint": to_ms(checkpoint)},
    )


def cover(state: State, site_id: str, rating: int) -> None:
    """Note that all reviews of a site up to that rating are on record, from the beginning on."""
    with state.transaction():
        state.execute(
            "INSERT INTO sites (site_id, covered_rating, covered_since) VALUES (?, ?, 0) ON CONFLICT DO UPDATE"
            " SET covered_rating = excluded.covered_rating, covered_since = 0",
            [site_id, rating],
        )


def succeeded(state: State, site_id: str, now: datetime, *, sees_private: bool) -> datetime | None:
    """Note a round that read everything it meant to, within a transaction.

    Returns since when a site that showed all its reviews has shown published ones only.
    """
    state.execute(
        "INSERT INTO sites (site_id, last_success, sees_private) VALUES (:site, :now, :private) ON CONFLICT (site_id)"
        " DO UPDATE SET last_success = excluded.last_success, sees_private = excluded.sees_private,"
        " failing_since = NULL, restored = CASE WHEN unverified = 1 THEN restored ELSE 0 END,"
        " private_lost_at = CASE WHEN excluded.sees_private THEN NULL"
        " WHEN sees_private THEN excluded.last_success ELSE min(private_lost_at, excluded.last_success) END",
        {"site": site_id, "now": to_ms(now), "private": sees_private},
    )
    return _moment(state.value("SELECT private_lost_at FROM sites WHERE site_id = ?", [site_id]))


def try_mark_success(state: State, site_id: str, now: datetime, *, sees_private: bool) -> bool:
    """Note a good round that no failures came before; False where they did, or where more is to be noted than that.

    Without waiting for the disk: what a power failure makes of it is an earlier `last_success`, until the next round.
    """
    return bool(
        state.note(
            "UPDATE sites SET last_success = :now, sees_private = :private WHERE site_id = :site"
            " AND failing_since IS NULL AND NOT restored AND private_lost_at IS NULL"
            " AND (sees_private IS NULL OR sees_private <= :private)"
            " AND NOT EXISTS (SELECT 1 FROM troubles WHERE scope = 'site:' || :site AND over_at IS NULL)",
            {"site": site_id, "now": to_ms(now), "private": sees_private},
        )
    )


def failing_since(state: State, site_id: str) -> datetime | None:
    """When the first of the present run of failed rounds of a site was."""
    return _moment(state.value("SELECT failing_since FROM sites WHERE site_id = ?", [site_id]))


def note_failure(state: State, site_id: str, now: datetime) -> datetime:
    """Note a round that failed, within a transaction; returns when the first of the present run of them was."""
    state.execute(
        "INSERT INTO sites (site_id, failing_since) VALUES (:site, :now) ON CONFLICT (site_id)"
        " DO UPDATE SET failing_since = min(ifnull(failing_since, excluded.failing_since), excluded.failing_since)",
        {"site": site_id, "now": to_ms(now)},
    )
    return failing_since(state, site_id) or now


def known_reviews(state: State, site_id: str, ids: Iterable[str]) -> dict[str, StoredReview]:
    """What is on record of these reviews, by id; of those that were pruned, what is left."""
    rows = state.rows(
        "SELECT * FROM reviews WHERE site_id = ? AND review_id IN (SELECT value FROM json_each(?))",
        [site_id, json.dumps(list(ids))],
    )
    return {row["review_id"]: _known(row) for row in rows}


def put_reviews(
    state: State, site_id: str, records: Sequence[StoredReview], seen_at: datetime
) -> None:
    """Write reviews as they are known now; one without a createdDate is dated by when it was seen."""
    state.execute_many(_PUT, [_row(site_id, known, seen_at) for known in records])


def note_event(
    state: State, site_id: str, review_id: str, at: datetime | None, sequence: int
) -> None:
    """Note which webhook the record of a review comes from, if there is one, within a transaction."""
    state.execute(
        "UPDATE reviews SET as_of = ifnull(?, as_of), event_sequence = ? WHERE site_id = ? AND review_id = ?",
        [to_ms(at) if at else None, sequence, site_id, review_id],
    )


def unalerted(state: State, site_id: str, ids: Sequence[str], threshold: int) -> list[Review]:
    """Which of these reviews a backfill tells of, oldest first: low-rated, unanswered, never alerted."""
    rows = state.rows(
        "SELECT * FROM reviews WHERE site_id = ? AND review_id IN (SELECT value FROM json_each(?))"
        " AND rating <= ? AND NOT answered AND NOT rejected AND alerted_at IS NULL AND coalesce(closing, '') <> 'gone'"
        " ORDER BY created_at, review_id",
        [site_id, json.dumps(list(ids)), threshold],
    )
    return [load_review(row) for row in rows]


def follow(state: State, site_id: str, ids: Sequence[str], alerted_at: datetime) -> None:
    """Note that these reviews have been alerted of and are open."""
    state.execute_many(
        "UPDATE reviews SET status = 'open', alerted_at = :now WHERE site_id = :site AND review_id = :review",
        [{"site": site_id, "review": review_id, "now": to_ms(alerted_at)} for review_id in ids],
    )


def raise_alerts(state: State, new_alerts: Sequence[NewAlert], now: datetime) -> int:
    """Write alerts with their deliveries and return how many are new; a key that is there already raises nothing."""
    first, raised_at = int(state.value("SELECT ifnull(max(id), 0) + 1 FROM alerts")), to_ms(now)
    alerts = [
        {
            "id": first + number,
            "key": each.alert.key,
            "kind": each.alert.kind,
            "site": each.alert.site_id,
            "review": each.alert.review_id,
            "now": raised_at,
            "detail": _JSON.encode(each.alert.detail) if each.alert.detail else "{}",
        }
        for number, each in enumerate(new_alerts)
    ]
    deliveries = [
        {
            "alert": first + number,
            "destination": destination,
            "grouping": each.grouping,
            "priority": int(each.grouping is Grouping.EACH and "backfill" in each.alert.detail),
            "due": to_ms(due_at) if due_at else 0,
            "site": each.alert.site_id,
            "review": each.alert.review_id,
        }
        for number, each in enumerate(new_alerts)
        for destination, due_at in each.routes
    ]
    state.execute_many(_RAISE, alerts)
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at, priority)"
        " SELECT id, :destination, 'pending', :grouping, :due, :priority FROM alerts WHERE id = :alert",
        deliveries,
    )
    # What is held of a review leaves with what is said of it before that, so that nobody hears of it back to front.
    new = {
        first + number for number, each in enumerate(new_alerts) if each.alert.kind is AlertKind.NEW
    }
    state.execute_many(_LEAVE_TOGETHER, [each for each in deliveries if each["alert"] not in new])
    return int(state.value("SELECT count(*) FROM alerts WHERE id >= ?", [first]))


def count_alerts(state: State, site_id: str, review_id: str, kind: AlertKind) -> int:
    """How many alerts of a kind a review has raised, those of any kind that were pruned included: it numbers a key."""
    return int(
        state.value(
            "SELECT count(*) + coalesce((SELECT pruned_alerts FROM reviews"
            "  WHERE site_id = :site AND review_id = :review), 0)"
            " FROM alerts WHERE site_id = :site AND review_id = :review AND kind = :kind",
            {"site": site_id, "review": review_id, "kind": kind},
        )
    )


def cancel_unsent(state: State, site_id: str, review_id: str) -> bool:
    """Cancel what has not left yet of a review that needs nobody any more; returns whether anything was sent.

    Alerts that were pruned count as sent.
    """
    state.execute(
        "UPDATE deliveries SET status = 'cancelled'"
        " WHERE (status = 'failed' OR (status = 'pending' AND message IS NULL))"
        " AND alert IN (SELECT id FROM alerts WHERE site_id = ? AND review_id = ? AND kind <> 'closed')",
        [site_id, review_id],
    )
    row = state.row(
        "SELECT count(*) AS number, sum(CASE WHEN status <> 'cancelled' THEN 1 END) AS sent FROM deliveries"
        " WHERE alert IN (SELECT id FROM alerts WHERE site_id = ? AND review_id = ? AND kind <> 'closed')",
        [site_id, review_id],
    )
    pruned = state.value(
        "SELECT pruned_alerts FROM reviews WHERE site_id = ? AND review_id = ?",
        [site_id, review_id],
    )
    return bool(pruned or (row and (row["sent"] or not row["number"])))


def cancel_closing(state: State, site_id: str, review_id: str) -> None:
    """Take back what would have said that a review needs nobody any more."""
    state.execute(
        "UPDATE deliveries SET status = 'cancelled' WHERE +status IN ('pending', 'failed') AND message IS NULL"
        " AND alert IN (SELECT id FROM alerts WHERE site_id = ? AND review_id = ? AND kind = 'closed')",
        [site_id, review_id],
    )


def first_alert(state: State, site_id: str, review_id: str) -> int | None:
    """Return the first alert of a review; None where there was none, or it was pruned."""
    alert: int | None = state.value(
        "SELECT min(id) FROM alerts WHERE site_id = ? AND review_id = ? AND kind IN ('new', 'lowered')",
        [site_id, review_id],
    )
    return alert


def alerted_destinations(state: State, site_id: str, review_id: str) -> dict[str, bool]:
    """Return the destinations that were sent an alert of a review (True), or to which it is on its way just now."""
    rows = state.rows(
        "SELECT destination, max(CASE WHEN deliveries.status = 'sent' THEN 1 ELSE 0 END) AS sent FROM alerts"
        " JOIN deliveries ON deliveries.alert = alerts.id AND deliveries.status IN ('sent', 'pending')"
        " WHERE site_id = ? AND review_id = ? AND kind IN ('new', 'lowered') GROUP BY destination",
        [site_id, review_id],
    )
    return {row["destination"]: bool(row["sent"]) for row in rows}


def queue_alert(state: State, alert: int, routes: Iterable[tuple[str, datetime | None]]) -> None:
    """Queue an alert that is on record for destinations that were never sent it."""
    state.execute_many(
        "INSERT INTO deliveries (alert, destination, status, grouping, due_at)"
        " VALUES (:alert, :destination, 'pending', 'burst', :due)"
        " ON CONFLICT (alert, destination) DO UPDATE SET status = 'pending', message = NULL, due_at = excluded.due_at",
        [
            {"alert": alert, "destination": destination, "due": to_ms(due_at) if due_at else 0}
            for destination, due_at in routes
        ],
    )


def low_rated(state: State, site_id: str, threshold: int) -> tuple[int, int]:
    """How many low-rated reviews of a site are on record, and of how many a backfill would tell."""
    row = state.row(
        "SELECT count(*) AS low, ifnull(sum(NOT answered AND NOT rejected AND alerted_at IS NULL), 0) AS untold"
        " FROM reviews WHERE site_id = ? AND rating <= ? AND coalesce(closing, '') <> 'gone'",
        [site_id, threshold],
    )
    return (row["low"], row["untold"]) if row else (0, 0)


_RAISE = """
INSERT INTO alerts (id, key, kind, site_id, review_id, raised_at, detail)
VALUES (:id, :key, :kind, :site, :review, :now, :detail) ON CONFLICT (key) DO NOTHING
"""
_LEAVE_TOGETHER = """
UPDATE deliveries SET due_at = :due WHERE destination = :destination AND status = 'pending' AND message IS NULL
  AND due_at > :due AND alert IN (SELECT id FROM alerts WHERE site_id = :site AND review_id = :review)
"""
_PUT = """
INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered, rejected, alerted_at,
  closing, anonymized, entity_id, contact_id, as_of, content)
VALUES (:site, :review, :revision, :rating, :status, :created, :answered, :rejected, :alerted,
  :closing, :anonymized, :entity, :contact, :seen, :content)
ON CONFLICT DO UPDATE SET revision = excluded.revision, rating = excluded.rating, status = excluded.status,
  answered = excluded.answered, rejected = excluded.rejected, alerted_at = excluded.alerted_at,
  closing = excluded.closing, anonymized = excluded.anonymized, entity_id = excluded.entity_id,
  contact_id = excluded.contact_id, as_of = excluded.as_of, event_sequence = 0, content = excluded.content,
  pruned_at = NULL
"""


def _row(site_id: str, known: StoredReview, seen_at: datetime) -> dict[str, Any]:
    review = known.review
    return {
        "site": site_id,
        "review": review.id,
        "revision": review.revision,
        "rating": review.rating,
        "status": known.status,
        "created": to_ms(review.created or seen_at),
        "answered": review.answered,
        "rejected": review.rejected,
        "alerted": to_ms(known.alerted_at) if known.alerted_at else None,
        "closing": known.closing,
        "anonymized": known.anonymized,
        "entity": review.entity_id,
        "contact": review.contact_id,
        "seen": to_ms(seen_at),
        "content": dump_review(review),
    }


def _known(row: dict[str, Any]) -> StoredReview:
    review, status, is_pruned = (
        load_review(row),
        Status(row["status"]),
        row["pruned_at"] is not None,
    )
    if is_pruned:  # its columns say what its content does not say any more
        reply = Reply("") if row["answered"] else None
        review = replace(review, reply=reply, moderation="REJECTED" if row["rejected"] else "")
    return StoredReview(
        review,
        status,
        _moment(row["alerted_at"]),
        _closing(row["closing"]),
        anonymized=bool(row["anonymized"]),
        pruned=is_pruned
        and status is not Status.BASELINE,  # a backfill reads the words of one of the past again
        as_of=_moment(row["as_of"]),
        event_sequence=row["event_sequence"],
        authorless_since=_moment(row["authorless_since"]),
    )


_COLUMNS = ("id", "rating", "revision", "entity_id", "contact_id")
_DEFAULTS = {field.name: field.default for field in fields(Review) if field.name not in _COLUMNS}
_VALUES = attrgetter(*_DEFAULTS)
_MOMENTS = {"created", "updated", "written"}


def dump_review(review: Review) -> str:
    """What a review says, as the JSON of its `content` column: only what differs from the default."""
    values = zip(_DEFAULTS.items(), _VALUES(review), strict=True)
    told = {name: value for (name, default), value in values if value != default}
    for name in (
        _MOMENTS & told.keys()
    ):  # JSON's way to what it does not know takes longer than all the rest
        told[name] = told[name].isoformat()
    return _JSON.encode(told)


def load_review(row: dict[str, Any]) -> Review:
    """The review in a row of the table."""
    told = json.loads(row["content"])
    review = Review(
        id=row["review_id"],
        rating=row["rating"],
        revision=row["revision"],
        entity_id=row["entity_id"],
        contact_id=row["contact_id"],
    )
    for name in _MOMENTS & told.keys():
        told[name] = datetime.fromisoformat(told[name])
    if reply := told.get("reply"):
        told["reply"] = Reply(
            reply["message"], datetime.fromisoformat(reply["at"]) if reply["at"] else None
        )
    told["media"] = tuple(Media(**media) for media in told.get("media", ()))
    return replace(review, **told)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def _closing(reason: str | None) -> CloseReason | None:
    return CloseReason(reason) if reason else None


_JSON = json.JSONEncoder(default=_plain, ensure_ascii=False)


def _moment(ms: int | None) -> datetime | None:
    return from_ms(ms) if ms is not None else None
