"""What a Wix webhook says, once its signature holds: JSON → `Event`.

Every field may be missing and unknown ones may appear, as with reviews.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alerter.models import Event
from alerter.wix.review import is_review_id, moment, parse_review, whole_number

# Where each kind of event holds its review: the part, the field in it, and the field in that, if there is one.
# https://dev.wix.com/docs/rest/business-management/reviews/reviews/introduction
_PLACES = {
    "wix.reviews.v1.review_created": ("createdEvent", "entity", None),
    "wix.reviews.v1.review_updated": ("updatedEvent", "currentEntity", None),
    "wix.reviews.v1.review_deleted": ("deletedEvent", "deletedEntity", None),
    "wix.reviews.v1.review_moderation_status_changed": ("actionEvent", "body", "review"),
    "wix.reviews.v1.review_review_published": ("actionEvent", "body", "review"),
}
_DELETED = "wix.reviews.v1.review_deleted"


class UnreadableEvent(ValueError):
    """What came with a good signature is no event that can be understood."""


class BadId(ValueError):
    """An event whose review has an id that no review has."""


@dataclass(frozen=True, slots=True)
class Notice:
    """The envelope: what kind of thing happened on which site; the event in it has not been looked at yet."""

    event_type: str
    instance_id: str | None
    site_id: str | None
    envelope: Mapping[str, Any]

    def is_of(self, site_id: str) -> bool:
        """Whether it names that site."""
        return self.site_id is not None and self.site_id.lower() == site_id.lower()


def read_notice(data: object) -> Notice:
    """Open the envelope, which is the token's claim `data`. Raises UnreadableEvent."""
    envelope = _table(data)
    event_type = envelope.get("eventType")
    if not isinstance(event_type, str):
        raise UnreadableEvent("the webhook does not say what kind of event it is")
    account = envelope.get("accountInfo")
    site_id = account.get("siteId") if isinstance(account, dict) else None
    return Notice(
        event_type,
        _text(envelope.get("instanceId")),
        _text(site_id or envelope.get("siteId")),
        envelope,
    )


def read_event(notice: Notice) -> Event | None:
    """Read the event in an envelope; None where it is of a kind that says nothing of a review.

    Raises UnreadableEvent, BadId, or UnreadableReview where the review in it is at fault.
    """
    if notice.event_type not in _PLACES:
        return None
    payload = _inner(notice.envelope, "data")
    part, field, inner = _PLACES[notice.event_type]
    raw = _inner(_inner(payload, part), field)
    if inner:
        raw = _inner(raw, inner)
    at, sequence = (
        moment(payload.get("eventTime")),
        whole_number(payload.get("entityEventSequence")),
    )
    if notice.event_type == _DELETED:
        review_id = _text(payload.get("entityId")) or _text(raw.get("id"))
        if not review_id:
            raise UnreadableEvent("the webhook does not say which review was deleted")
        if not is_review_id(review_id):
            raise BadId("the id of the deleted review is none")
        return Event(review_id, None, at, sequence)
    review = parse_review(raw)
    return Event(
        review.id,
        review,
        at,
        sequence,
        anonymized=payload.get("triggeredByAnonymizeRequest") is True,
    )


def _inner(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within another; older payloads hold it as text, under a name that says so."""
    return _table(table.get(name) or table.get(f"{name}AsJson") or {})


def _table(value: object) -> Mapping[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UnreadableEvent("the webhook's JSON cannot be read")
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
