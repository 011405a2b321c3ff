"""Reviews with their alerts and answers, as `alerter export` writes them."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from alerter.actions import is_same_text
from alerter.models import AlertKind, CloseReason, Review, Status, from_ms, to_ms
from alerter.store.reviews import load_review
from alerter.store.sql import json_field, json_values, moment_or_none
from alerter.store.state import State

_AT_ONCE = 500  # reviews that are in memory with their text
_NO_TEXTS: Mapping[str, Any] = {"title": "", "body": "", "author": ""}


@dataclass(frozen=True, slots=True)
class ExportedReview:
    """A stored review with what followed; erased text is empty.

    `alerted_at`: the first alert of it. `alerts` and `reminders` are numbers of alerts, without
    closings; `newest` is when the last alert of each kind was raised.
    `answered_by`: the name of who answered through alerter.
    """

    site_id: str
    review: Review
    product: str
    status: Status
    closing: CloseReason | None
    created_at: datetime
    alerted_at: datetime | None
    alerts: int
    reminders: int
    newest: Mapping[str, datetime]
    answered: bool
    answered_at: datetime | None
    answered_by: str

    @property
    def seconds_to_answer(self) -> int | None:
        """The time from the review to its answer; None where it is not known."""
        if self.answered_at is None:
            return None
        return max(int((self.answered_at - self.created_at).total_seconds()), 0)


def exported_reviews(
    state: State, site_ids: Collection[str], since: datetime | None
) -> Iterator[ExportedReview]:
    """Yield the stored reviews of these sites that were created at `since` or later, oldest first.

    Few of them are in memory at a time, and nothing is locked in between.
    """
    keys = state.rows(
        f"SELECT site_id, review_id FROM reviews WHERE site_id IN {json_values()}"
        " AND created_at >= ? ORDER BY created_at, site_id, review_id",
        [json.dumps(list(site_ids)), to_ms(since) if since else 0],
    )
    pairs = [(row["site_id"], row["review_id"]) for row in keys]
    for start in range(0, len(pairs), _AT_ONCE):
        yield from _exported(state, pairs[start : start + _AT_ONCE])


def _exported(state: State, pairs: Sequence[tuple[str, str]]) -> Iterator[ExportedReview]:
    wanted = [json.dumps([list(pair) for pair in pairs])]
    rows = {_pair(row): row for row in state.rows(_REVIEWS, wanted)}
    alerts: dict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in state.rows(_ALERTS, wanted):
        alerts[_pair(row)][row["kind"]] = row
    replies = {_pair(row): row for row in state.rows(_REPLIES, wanted)}
    for pair in pairs:
        if pair in rows:  # it may have been erased since
            yield _exported_review(rows[pair], alerts[pair], replies.get(pair))


def _pair(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["site_id"], row["review_id"]


def _exported_review(
    row: Mapping[str, Any], alerts: Mapping[str, Mapping[str, Any]], reply: Mapping[str, Any] | None
) -> ExportedReview:
    review = load_review(row)
    if row["unverified"]:
        review = replace(review, **_NO_TEXTS)
    calls = [each for kind, each in alerts.items() if kind != AlertKind.CLOSED]
    firsts = [each["first"] for each in calls] + [row["alerted_at"] or None]
    replied = review.reply.at if review.reply else None
    sent = moment_or_none(reply["finished_at"]) if reply else None
    answered = bool(row["answered"])
    return ExportedReview(
        site_id=row["site_id"],
        review=review,
        product=row["name"] or "",
        status=Status(row["status"]),
        closing=CloseReason(row["closing"]) if row["closing"] else None,
        created_at=from_ms(row["created_at"]),
        alerted_at=moment_or_none(min((each for each in firsts if each), default=None)),
        alerts=sum(each["number"] for each in calls),
        reminders=alerts.get(AlertKind.REMINDER, {}).get("number", 0),
        newest={kind: from_ms(each["last"]) for kind, each in alerts.items()},
        answered=answered,
        answered_at=(replied or sent) if answered else None,
        answered_by=reply["person"] if reply and answered and _is_there(reply, review) else "",
    )


def _is_there(sent: Mapping[str, Any], review: Review) -> bool:
    """Whether a review has the reply that was sent; where either was erased, it is assumed."""
    if not sent["reply"] or review.reply is None:
        return True
    return is_same_text(review.reply.message, sent["reply"])


def _of_pairs(table: str) -> str:
    return (
        f"({table}.site_id, {table}.review_id) IN (SELECT {json_field('value', '$[0]')},"
        f" {json_field('value', '$[1]')} FROM {json_values()} AS pairs)"
    )


_REVIEWS = (
    "SELECT reviews.*, products.name, unverified FROM reviews"
    " LEFT JOIN products ON products.site_id = reviews.site_id"
    "  AND products.entity_id = reviews.entity_id"
    f" LEFT JOIN sites ON sites.site_id = reviews.site_id WHERE {_of_pairs('reviews')}"
)
_ALERTS = (
    "SELECT site_id, review_id, kind, count(*) AS number, min(raised_at) AS first,"
    f" max(raised_at) AS last FROM alerts WHERE {_of_pairs('alerts')}"
    " AND kind IN ('new', 'lowered', 'reminder', 'closed') GROUP BY site_id, review_id, kind"
)
# A later row replaces an earlier one.
_REPLIES = (
    "SELECT site_id, review_id, person, reply, finished_at FROM actions"
    f" WHERE {_of_pairs('actions')}"
    " AND kind = 'reply' AND status = 'done' AND outcome IN ('done', 'changed_meanwhile')"
    " ORDER BY id"
)
