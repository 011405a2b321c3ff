"""Phrases of our own that stand among a message's values. Pure.

Other sentences of messages stand in the templates.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerter.models import Alert, AlertKind, CloseReason
from alerter.render.formatting import long_duration

A_CUSTOMER = "a customer"
A_FORMER_SITE = "a site of the past"
AN_APP = "an app"
_LATE = "Older, and changed or approved since"
MODERATION = {
    "SUBMITTED": "Not published yet: waiting for moderation",
    "IN_MODERATION": "Not published yet: in moderation",
    "REJECTED": "Not published: rejected by moderation",
}
_ENDS = {
    CloseReason.ANSWERED: "Answered",
    CloseReason.RAISED: "Rated higher by the customer",
    CloseReason.REJECTED: "Rejected by moderation",
    CloseReason.GONE: "Deleted at Wix",
}
# Why a review is open again, by the reason for which it was closed.
REOPENED = {
    CloseReason.ANSWERED: "its answer was removed",
    CloseReason.REJECTED: "it was approved again",
    CloseReason.GONE: "it is back at Wix",
}
_OPEN_AGAIN = {
    CloseReason.ANSWERED: "Open again: its answer was removed",
    CloseReason.REJECTED: "Open again: it was approved again",
    CloseReason.GONE: "Open again: it is back at Wix",
}


def describe_end(closing: CloseReason | None, answered_after: timedelta | None) -> str:
    """Return why a review is closed; empty if it is not."""
    if answered_after is not None:
        return _say("Answered after %(duration)s", duration=long_duration(answered_after))
    return _say(_ENDS[closing]) if closing else ""


def describe_state(alert: Alert, rating: int, age: timedelta | None) -> str:
    """Return what the alert of an open review is about; empty if the review is new."""
    detail: Mapping[str, Any] = alert.detail
    if "reopened" in detail:
        return _say(_OPEN_AGAIN[CloseReason(detail["reopened"])])
    if alert.kind is AlertKind.REMINDER:
        if age is None:
            return _say("Still unanswered")
        return _say("Still unanswered after %(duration)s", duration=long_duration(age))
    if before := detail.get("before"):
        return _say(
            "Rating lowered from %(before)s to %(after)s",
            before=before["rating"],
            after=detail.get("after", rating),
        )
    return ""


def describe_lateness(*, late: bool) -> str:
    """Return that a review is older than its alert; empty if it is not late."""
    return _say(_LATE) if late else ""


def name_unknown(namespace: str, entity_id: str | None) -> str:
    """Return how something reviewed is called whose name is unknown."""
    if not entity_id:
        return _say("the site")
    return _say("a product") if namespace in ("stores", "") else _say("an item")


def _say(phrase: str, **values: object) -> str:
    """Return a phrase with its values: each one comes through here, to be translated."""
    return phrase % values
