"""The JSON of a Wix webhook whose signature was checked → `Event`.

Any field may be missing, and unknown ones may appear.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alerter.models import Event
from alerter.text import table_in
from alerter.wix.review import is_review_id, parse_moment, parse_number, parse_review

# The path to the review in each kind of event; the last step is None where there are only two.
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
    """A webhook with a good signature that holds no event that we can read."""


class BadReviewId(ValueError):
    """The id of an event's review is not valid."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The kind of an event and its site; the event inside `content` is not parsed yet."""

    event_type: str
    instance_id: str | None
    site_id: str | None
    content: Mapping[str, Any]

    def names_site(self, site_id: str) -> bool:
        """Return whether it names that site."""
        return self.site_id is not None and self.site_id.lower() == site_id.lower()


def parse_envelope(data: object) -> Envelope:
    """Parse a token's claim `data`. Raises UnreadableEvent."""
    content = _table(data)
    event_type = content.get("eventType")
    if not isinstance(event_type, str):
        raise UnreadableEvent("the webhook does not say what kind of event it is")
    site_id = table_in(content, "accountInfo").get("siteId")
    return Envelope(
        event_type,
        _text(content.get("instanceId")),
        _text(site_id or content.get("siteId")),
        content,
    )


def parse_event(envelope: Envelope) -> Event | None:
    """Parse the event in an envelope; None for an event that is not about a review.

    Raises UnreadableEvent, BadReviewId, or UnreadableReview.
    """
    if envelope.event_type not in _PLACES:
        return None
    payload = _inner(envelope.content, "data")
    part, field, inner = _PLACES[envelope.event_type]
    raw = _inner(_inner(payload, part), field)
    if inner:
        raw = _inner(raw, inner)
    at, sequence = (
        parse_moment(payload.get("eventTime")),
        parse_number(payload.get("entityEventSequence")),
    )
    if envelope.event_type == _DELETED:
        review_id = _text(payload.get("entityId")) or _text(raw.get("id"))
        if not review_id:
            raise UnreadableEvent("the webhook does not say which review was deleted")
        if not is_review_id(review_id):
            raise BadReviewId("the deleted review has no valid id")
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
    """Return an object within another; older payloads hold it as JSON text under `…AsJson`."""
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
