"""The values about what people do about a review, for templates. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo

from alerter.actions import ActionKind, Response, is_same_text
from alerter.models import CloseReason, Review
from alerter.render.formatting import clean_person, isolate
from alerter.render.language import Language
from alerter.render.phrases import (
    CLAIMED,
    PUBLISHED_BY,
    REJECTED_BY,
    REPLIED,
    REPLIED_AFTER,
    REPLYING,
    SNOOZED,
)
from alerter.timezones import local_time

_MODERATION = {"APPROVED": ActionKind.PUBLISH, "REJECTED": ActionKind.REJECT}


@dataclass(frozen=True, slots=True)
class ResponseView:
    """What people do about a review. Each name is empty if there is none."""

    text: str
    """The same in one line, such as "Ada is on it"; empty for nothing, and for a closed review."""
    claimed_by: str
    """Who is on it; its reminders wait meanwhile."""
    snoozed_by: str
    """Who snoozed its reminders."""
    snoozed_until: datetime | None
    """Until when, in the owner's timezone; none if it is not snoozed."""
    replying: str
    """Whose reply is being sent."""
    replied_by: str
    """Who sent its reply from an alert, the review page or the command line."""
    replied_after: timedelta | None
    """How long after the review that was; none if unknown."""
    moderated_by: str
    """Who published or rejected it."""


def view_response(
    response: Response, review: Review, timezone: tzinfo, language: Language, *, is_open: bool
) -> ResponseView:
    """Return the view of a response; a reply or decision that Wix has not any more is left out."""
    reply = review.reply
    if reply and not is_same_text(reply.message, response.reply):
        reply = None
    moderated = response.moderation is _MODERATION.get(review.moderation, "")
    snoozed_until = response.snoozed_until
    view = ResponseView(
        text="",
        claimed_by=clean_person(response.claimed_by),
        snoozed_by=clean_person(response.snoozed_by),
        snoozed_until=local_time(snoozed_until, timezone) if snoozed_until else None,
        replying=clean_person(response.replying),
        replied_by=clean_person(response.replied_by) if reply else "",
        replied_after=reply.at - review.created if reply and reply.at and review.created else None,
        moderated_by=clean_person(response.moderated_by) if moderated else "",
    )
    text = _sentence(view, language) if is_open else ""
    return replace(view, text=text) if text else view


def describe_response_end(
    closing: CloseReason | None, view: ResponseView, language: Language
) -> str:
    """Return who closed a review; empty where that is not known."""
    if closing is CloseReason.ANSWERED and view.replied_by:
        if view.replied_after is None:
            return _phrase(REPLIED, view.replied_by, language)
        duration = language.duration(view.replied_after)
        return _phrase(REPLIED_AFTER, view.replied_by, language, duration=duration)
    if closing is CloseReason.REJECTED and view.moderated_by:
        return _phrase(REJECTED_BY, view.moderated_by, language)
    return ""


def _sentence(view: ResponseView, language: Language) -> str:
    """Return what people do about an open review, in one line."""
    found = []
    if view.replying:
        found.append(_phrase(REPLYING, view.replying, language))
    if view.claimed_by:
        found.append(_phrase(CLAIMED, view.claimed_by, language))
    if view.snoozed_until:
        date = language.short_date(view.snoozed_until)
        found.append(_phrase(SNOOZED, view.snoozed_by, language, date=date))
    if view.moderated_by:
        found.append(_phrase(PUBLISHED_BY, view.moderated_by, language))
    return " · ".join(found)


def _phrase(sentence: str, name: str, language: Language, **values: str) -> str:
    return language.gettext(sentence) % {"name": isolate(name, language.direction), **values}
