"""What alerts look like to templates; what stands below a field is its line in the documentation. Pure."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from alerter.links import foreign_host, https_url, is_thumbnail
from alerter.models import Alert, AlertKind, CloseReason, Media, Message, MessageItem, Review
from alerter.render.words import SLACK_TEXT, cut, lines, name, one_line, stars, units

_EXCERPT = 150
_MARKUP_OF_AN_ENTRY = 70  # what a digest says of a review beyond the words measured by `_length`
_DASHBOARD = "https://www.wix.com/dashboard"
_MODERATION = {
    "APPROVED": "",
    "SUBMITTED": "not published yet: waiting for moderation",
    "IN_MODERATION": "not published yet: in moderation",
    "REJECTED": "not published: rejected by moderation",
}
_ENDS = {
    CloseReason.ANSWERED: "Answered",
    CloseReason.RAISED: "Raised by the customer since",
    CloseReason.REJECTED: "Rejected by moderation",
    CloseReason.GONE: "Deleted at Wix",
}
# Why a review that was closed for that is open again.
REOPENED = {
    CloseReason.ANSWERED: "its answer was removed",
    CloseReason.REJECTED: "it was approved again",
    CloseReason.GONE: "it is back at Wix",
}
_BLANK = {"title": "", "body": ""}


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site, as templates see it."""

    name: str
    """What the config calls the site."""
    id: str
    """Its id at Wix."""
    reviews_url: str
    """The address where its reviews are answered."""


@dataclass(frozen=True, slots=True)
class MediaView:
    """A photo or video of a review, as templates see it."""

    number: int
    """Its place among them, from 1."""
    kind: str
    """`photo` or `video`."""
    url: str
    """The address that opens it."""
    thumbnail: str
    """The address of a small picture of it, kept by Wix; may be empty."""
    host: str
    """Where it is kept, where that is not Wix; else empty."""


@dataclass(frozen=True, slots=True)
class MentionView:
    """Whom a Slack message calls by name, as templates see it."""

    type: str
    """`user` or `usergroup`, as Slack's rich text has it."""
    id: str
    """Their id on Slack."""


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A review, as templates see it: every text as it came, cleaned, with nothing escaped yet.

    In a text a line that is nothing but `title`, `body`, `excerpt`, `reply` or what they were before begins with `> `.
    """

    id: str
    """Its id at Wix."""
    rating: int
    """Its stars, 1 to 5."""
    stars: str
    """The same as five signs, such as ★★☆☆☆."""
    title: str
    """Its title; may be empty."""
    body: str
    """What the customer wrote; may be empty."""
    excerpt: str
    """The first 150 characters of that, on one line."""
    author: str
    """Who wrote it, or "a customer"; in quotation marks where it could be read as more than a name."""
    what: str
    """What was reviewed: its name, or "product" and its id."""
    what_url: str
    """The page of that; may be empty."""
    when: str
    """When it was written, in the owner's timezone."""
    timestamp: int
    """The same in seconds since 1970, 0 where nobody knows."""
    moderation: str
    """Why it is not published, in words; empty where it is."""
    notes: str
    """What a digest says of why the review is in it; empty for a new one."""
    late: bool
    """Whether it is older, and was changed or approved since."""
    before: Mapping[str, Any] | None
    """What a lowered review was before: its `rating`, and its `title` and `body` where they were others; else none."""
    waiting: str
    """How long ago it was written, such as 3 h 12 min."""
    reopened: str
    """Why it is open again, such as "its answer was removed", where a reminder says that; else empty."""
    closing: str
    """Why it needs nobody any more: answered, raised, rejected or gone; else empty."""
    end: str
    """The same in words, such as "Answered after 3 h 12 min"."""
    reply: str
    """The owner's answer to an answered one; else empty."""
    site: SiteView
    """The site that it is on."""
    media: tuple[MediaView, ...]
    """Its photos and videos."""
    verified: bool | None
    """Whether its author has bought what is reviewed; none where nobody knows."""
    helpful: int
    """How many people found it helpful."""
    unhelpful: int
    """How many did not."""
    app: str
    """The id of the app that made it, or "an app"; empty where a customer wrote it on the site."""
    product_low: int
    """Low-rated reviews of the same product in the last 30 days; 0 where nobody knows, and in a digest."""
    author_low: int
    """Earlier low-rated reviews by the same author; 0 in a digest."""
    author_last: str
    """When the last of those was written, in the owner's timezone; empty where there is none."""
    author_stars: str
    """Its stars, as five signs."""


@dataclass(frozen=True, slots=True)
class TroubleView:
    """What alerter cannot do, as templates see it."""

    what: str
    """What does not work."""
    headline: str
    """The same with a capital, as a sentence begins."""
    reason: str
    """What was seen of it."""
    remedy: str
    """What to do about it."""
    since: str
    """When it began, in the owner's timezone."""


def view_review(
    entry: MessageItem, now: datetime, timezone: tzinfo, sites: Mapping[str, str]
) -> ReviewView:
    """A review of a message that is made now; `sites` has the names of sites by their ids."""
    alert, review = entry.alert, entry.review or Review(id=entry.alert.review_id or "", rating=1)
    when = review.created or review.updated
    url = dashboard(alert.site_id or "")
    waiting = span(now - review.created) if review.created else ""
    closing = entry.closing or (
        CloseReason(alert.detail["reason"]) if alert.kind is AlertKind.CLOSED else None
    )
    return ReviewView(
        id=review.id,
        rating=review.rating,
        stars=stars(review.rating),
        title=one_line(review.title),
        body=lines(review.body),
        excerpt=cut(one_line(review.body), _EXCERPT),
        author=name(review.author) or "a customer",
        what=one_line(entry.product.name or "") or _what(review),
        what_url=https_url(entry.product.url) or "",
        when=_date(when, timezone) if when else "on an unknown date",
        timestamp=max(int(when.timestamp()), 0) if when else 0,
        moderation=_MODERATION.get(review.moderation, ""),
        notes=_end(review, closing) or _notes(alert, waiting),
        late=bool(alert.detail.get("late")),
        before=_before(review, alert.detail),
        waiting=waiting,
        reopened=_reopened(alert),
        closing=closing or "",
        end=_end(review, closing),
        reply=lines(review.reply.message)
        if review.reply and closing is CloseReason.ANSWERED
        else "",
        site=SiteView(
            one_line(sites.get(alert.site_id or "", "a site of the past")), alert.site_id or "", url
        ),
        media=_view_media(review.media),
        verified=review.verified,
        helpful=review.helpful,
        unhelpful=review.unhelpful,
        app=_app(review.origin),
        product_low=entry.context.product_low,
        author_low=entry.context.author_low,
        author_last=_date(entry.context.author_last, timezone) if entry.context.author_last else "",
        author_stars=stars(entry.context.author_rating),
    )


def dashboard(site_id: str) -> str:
    """Where a site's owner answers reviews by hand."""
    return f"{_DASHBOARD}/{site_id}/reviews/pending"


def view_mention(message: Message, mention: str | None, max_rating: int) -> MentionView | None:
    """Whom a message calls: nobody for what needs nobody, nor when it is only changed."""
    asking = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER)
    ratings = [
        entry.review.rating
        for entry in message.entries
        if entry.review and not entry.closing and entry.alert.kind in asking
    ]
    if mention is None or message.slack_ts or min(ratings, default=6) > max_rating:
        return None
    return MentionView("usergroup" if mention.startswith("S") else "user", mention)


def view_trouble(detail: Mapping[str, Any], timezone: tzinfo) -> TroubleView:
    """Trouble, from the detail of its alert."""
    since = _date(datetime.fromisoformat(detail["since"]), timezone)
    what = one_line(detail["what"])
    return TroubleView(
        what, what[:1].upper() + what[1:], lines(detail["reason"]), lines(detail["remedy"]), since
    )


def pack(views: Iterable[ReviewView]) -> list[list[ReviewView]]:
    """Split the reviews of a digest so that each group fits into one Slack block."""
    groups: list[list[ReviewView]] = []
    room = 0
    for view in views:
        length = _length(view)
        if not groups or length > room:
            groups.append([])
            room = SLACK_TEXT
        groups[-1].append(view)
        room -= length
    return groups


def _length(view: ReviewView) -> int:
    words = (
        cut(view.title, _EXCERPT),
        view.excerpt,
        view.author,
        view.what,
        view.when,
        view.site.name,
    )
    return (
        sum(units(text) for text in words)
        + len(view.moderation)
        + len(view.notes)
        + _MARKUP_OF_AN_ENTRY
    )


def span(length: timedelta) -> str:
    """A length of time as people say it, in its two largest units."""
    minutes = max(int(length.total_seconds() // 60), 0)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else "less than a minute"


def _view_media(found: Iterable[Media]) -> tuple[MediaView, ...]:
    """What can be opened; what an earlier version recorded is looked at as strictly as what is read now."""
    good = [media for media in found if https_url(media.url)]
    return tuple(
        MediaView(
            number=number,
            kind=media.kind,
            url=media.url,
            thumbnail=media.thumbnail if media.thumbnail and is_thumbnail(media.thumbnail) else "",
            host=foreign_host(media.url),
        )
        for number, media in enumerate(good, 1)
    )


def _app(origin: str) -> str:
    """What Wix says of an app is shown where it can be nothing but an id."""
    if origin in ("", "ORGANIC", "UNKNOWN"):
        return ""
    return origin if origin != "APP" and re.fullmatch(r"[A-Za-z0-9-]+", origin) else "an app"


def _end(review: Review, closing: CloseReason | None) -> str:
    """Why a review needs nobody any more; how long an answer took is by its own time."""
    if closing is CloseReason.ANSWERED and review.reply and review.reply.at and review.created:
        return f"Answered after {span(review.reply.at - review.created)}"
    return _ENDS[closing] if closing else ""


def _notes(alert: Alert, waiting: str) -> str:
    """What a digest says of why a review is in it, beyond its being new."""
    if reopened := _reopened(alert):
        return f"open again: {reopened}"
    if alert.kind is AlertKind.REMINDER:
        return f"still unanswered after {waiting}" if waiting else "still unanswered"
    if before := alert.detail.get("before"):
        return f"lowered from {before['rating']} stars to {alert.detail.get('after', 'fewer')}"
    return "older, and changed or approved since" if alert.detail.get("late") else ""


def _reopened(alert: Alert) -> str:
    """Why a review is open again, where its reminder is for that."""
    return REOPENED[CloseReason(alert.detail["reopened"])] if "reopened" in alert.detail else ""


def _before(review: Review, detail: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a lowered review was before: its words only where they are not those of now."""
    if (before := detail.get("before")) is None:
        return None
    said: Mapping[str, Any] = {**_BLANK, **before}
    if (said["title"], said["body"]) == (review.title, review.body):
        return {**said, **_BLANK}
    return {**said, "title": one_line(said["title"]), "body": lines(said["body"])}


def _what(review: Review) -> str:
    entity_id = one_line(review.entity_id or "")
    if not entity_id:
        return "the site"
    return f"product {entity_id}" if review.namespace in ("stores", "") else entity_id


def _date(moment: datetime, timezone: tzinfo) -> str:
    with suppress(OverflowError):  # the first or the last day that there is
        moment = moment.astimezone(timezone)
    return f"{moment:%A}, {moment.day} {moment:%B %Y, %H:%M}"
