"""Phrases of our own that stand among a message's values. Pure.

Other sentences of messages stand in the templates.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from alerter.models import Alert, AlertKind, CloseReason
from alerter.render.formatting import clean_line, cut
from alerter.render.language import Language
from alerter.translation import mark

A_CUSTOMER = mark("a customer")
A_FORMER_SITE = mark("a site of the past")
AN_APP = "an app"
LATE = mark("Older, and changed or approved since")
_MODERATION = {
    "SUBMITTED": mark("Not published yet: waiting for moderation"),
    "IN_MODERATION": mark("Not published yet: in moderation"),
    "REJECTED": mark("Not published: rejected by moderation"),
}
_ENDS = {
    CloseReason.ANSWERED: mark("Answered"),
    CloseReason.RAISED: mark("Rated higher by the customer"),
    CloseReason.REJECTED: mark("Rejected by moderation"),
    CloseReason.GONE: mark("Deleted at Wix"),
}
CLAIMED = mark("%(name)s is on it")
SNOOZED = mark("Snoozed until %(date)s by %(name)s")
REPLYING = mark("%(name)s is replying …")
REPLIED = mark("%(name)s replied")
REPLIED_AFTER = mark("%(name)s replied after %(duration)s")
PUBLISHED_BY = mark("Published by %(name)s")
REJECTED_BY = mark("Rejected by %(name)s")
_LONGEST_TOPIC = 40
# The built-in topics, by their names in the config.
_TOPICS = {
    "delivery": mark("Delivery"),
    "description": mark("Not as described"),
    "hygiene": mark("Hygiene"),
    "packaging": mark("Packaging"),
    "price": mark("Price"),
    "quality": mark("Quality"),
    "returns": mark("Return or refund"),
    "service": mark("Service"),
    "size": mark("Size"),
    "taste": mark("Taste or smell"),
    "usability": mark("Ease of use"),
}
# Why a review is open again, by the reason for which it was closed.
REOPENED = {
    CloseReason.ANSWERED: mark("its answer was removed"),
    CloseReason.REJECTED: mark("it was approved again"),
    CloseReason.GONE: mark("it is back at Wix"),
}
_OPEN_AGAIN = {
    CloseReason.ANSWERED: mark("Open again: its answer was removed"),
    CloseReason.REJECTED: mark("Open again: it was approved again"),
    CloseReason.GONE: mark("Open again: it is back at Wix"),
}


def name_topic(topic: str, language: Language) -> str:
    """Return the name of a topic for readers: one of an owner's own is as it is in the config."""
    if topic in _TOPICS:
        return language.gettext(_TOPICS[topic])
    return cut(clean_line(topic), _LONGEST_TOPIC)


def describe_moderation(moderation: str, language: Language) -> str:
    """Return why a review is not published; empty if it is, or if the status is unknown."""
    return language.gettext(_MODERATION[moderation]) if moderation in _MODERATION else ""


def describe_end(
    closing: CloseReason | None, answered_after: timedelta | None, language: Language
) -> str:
    """Return why a review is closed; empty if it is not."""
    if answered_after is not None:
        text = language.gettext("Answered after %(duration)s")
        return text % {"duration": language.duration(answered_after)}
    return language.gettext(_ENDS[closing]) if closing else ""


def describe_state(alert: Alert, rating: int, age: timedelta | None, language: Language) -> str:
    """Return what the alert of an open review is about; empty if the review is new."""
    detail: Mapping[str, Any] = alert.detail
    if "reopened" in detail:
        return language.gettext(_OPEN_AGAIN[CloseReason(detail["reopened"])])
    if alert.kind is AlertKind.REMINDER:
        if age is None:
            return language.gettext("Still unanswered")
        text = language.gettext("Still unanswered after %(duration)s")
        return text % {"duration": language.duration(age)}
    if before := detail.get("before"):
        text = language.gettext("Rating lowered from %(before)s to %(after)s")
        return text % {"before": before["rating"], "after": detail.get("after", rating)}
    return ""


def name_unknown(namespace: str, entity_id: str | None, language: Language) -> str:
    """Return how something reviewed is called whose name is unknown."""
    if not entity_id:
        return language.gettext("the site")
    if namespace in ("stores", ""):
        return language.gettext("a product")
    return language.gettext("an item")
