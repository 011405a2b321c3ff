"""The values that templates get: the text below a field is its line in the documentation. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from alerter.links import (
    contact_dashboard_url,
    foreign_host,
    https_url,
    is_thumbnail,
    product_dashboard_url,
    reviews_dashboard_url,
)
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Media,
    Message,
    MessageItem,
    Product,
    Review,
    ReviewHistory,
)
from alerter.render.buttons import ButtonsView
from alerter.render.formatting import (
    clean_line,
    clean_lines,
    clean_name,
    cut,
    stars,
)
from alerter.render.language import Language
from alerter.render.order_view import OrderView, view_order
from alerter.render.phrases import (
    A_CUSTOMER,
    A_FORMER_SITE,
    AN_APP,
    LATE,
    REOPENED,
    describe_end,
    describe_moderation,
    describe_state,
    name_topic,
    name_unknown,
)
from alerter.render.response_view import ResponseView, describe_response_end, view_response
from alerter.timezones import local_time

EXCERPT = 150
_OLD = timedelta(days=300)
_BLANK = {"title": "", "body": ""}


@dataclass(frozen=True, slots=True)
class SiteView:
    """A site."""

    name: str
    """Its name in the config."""
    id: str
    """Its id at Wix."""
    reviews_url: str
    """The address where its reviews are answered."""


@dataclass(frozen=True, slots=True)
class MediaView:
    """A photo or video of a review."""

    number: int
    """Its place among them, from 1."""
    kind: str
    """`photo` or `video`."""
    url: str
    """The address that opens it."""
    thumbnail: str
    """The address of a small picture of it, hosted by Wix; may be empty."""
    host: str
    """The host of that address; empty if it is Wix."""


@dataclass(frozen=True, slots=True)
class MentionView:
    """The person or group that a Slack message mentions."""

    type: str
    """`user` or `usergroup`, as in Slack's rich text."""
    id: str
    """Its id on Slack."""


@dataclass(frozen=True, slots=True)
class ReviewView:
    """A review. Its texts are cleaned, and not escaped yet.

    In a text template, a line that begins with `title`, `body`, `excerpt`, `reply` or a text of
    `before` gets the prefix `> `.
    """

    id: str
    """Its id at Wix."""
    rating: int
    """Its stars, 1 to 5."""
    title: str
    """Its title; may be empty."""
    body: str
    """What the customer wrote; may be empty."""
    excerpt: str
    """The first 150 characters of `body`, on one line."""
    topics: tuple[str, ...]
    """What it complains about, such as "Delivery"; empty if no list of words finds anything."""
    author: str
    """The author, or "a customer"; in quotation marks if it could be read as more than a name."""
    what: str
    """The name of what was reviewed, or "a product"."""
    what_id: str
    """Its id, if its name is unknown; else empty."""
    what_url: str
    """The page of what was reviewed; may be empty."""
    what_dashboard_url: str
    """The page in Wix's dashboard where a product is edited; may be empty."""
    author_dashboard_url: str
    """The page of its author in Wix's dashboard; may be empty."""
    written: datetime | None
    """When it was written, in the owner's timezone; none if unknown."""
    old: bool
    """Whether that is so long ago that its date needs a year."""
    moderation: str
    """Why it is not published, as a sentence without an end; empty if it is."""
    state: str
    """What its alert is about, such as "Still unanswered after 1 day"; empty for a new one."""
    notes: str
    """Why a digest contains it: `state`, or that it is late; empty for a new one."""
    late: bool
    """Whether it is older and was changed or approved since."""
    before: Mapping[str, Any] | None
    """A lowered review before: `rating`, and `title` and `body` if they differ; else none."""
    age: timedelta | None
    """How long ago it was written; none if unknown."""
    reopened: str
    """Why a reminder says that it is open again, such as "its answer was removed"; else empty."""
    closing: str
    """Why it is closed: answered, raised, rejected or gone; else empty."""
    end: str
    """The same as a phrase, such as "Answered after 3 hours 12 minutes"."""
    reply: str
    """The owner's reply to an answered one; else empty."""
    response: ResponseView
    """What people do about it."""
    site: SiteView
    """Its site."""
    media: tuple[MediaView, ...]
    """Its photos and videos."""
    verified: bool | None
    """Whether its author has bought what is reviewed; none if unknown."""
    helpful: int
    """How many people found it helpful."""
    unhelpful: int
    """How many did not."""
    app: str
    """The id of the app that created it, or "an app"; empty if it was written on the site."""
    product_low: int
    """Low-rated reviews of the product in the last 30 days; 0 if unknown, and in a digest."""
    author_low: int
    """Earlier low-rated reviews by the same author; 0 in a digest."""
    author_written: datetime | None
    """When the last of those was written, in the owner's timezone; none if there is none."""
    author_rating: int
    """The rating of the last of those."""
    when: str
    """The same as `written | date`."""
    waiting: str
    """The same as `age | duration`."""
    author_last: str
    """The same as `author_written | date`; empty if there is none."""
    respond_url: str
    """The page where the reader of a mail responds to it; empty on Slack, without `[web]
    public_url`, and in a digest."""
    buttons: ButtonsView | None = None
    """What people can do with it from Slack; none where its messages have no buttons."""
    order: OrderView | None = None
    """The order behind it; none if it is unknown."""

    @property
    def timestamp(self) -> int:
        """`written` in seconds since 1970; 0 if unknown."""
        return max(int(self.written.timestamp()), 0) if self.written else 0

    @property
    def stars(self) -> str:
        """The same as `rating | stars`."""
        return stars(self.rating)

    @property
    def author_stars(self) -> str:
        """The same as `author_rating | stars`."""
        return stars(self.author_rating)


def view_review(
    item: MessageItem,
    now: datetime,
    timezone: tzinfo,
    sites: Mapping[str, str],
    language: Language,
) -> ReviewView:
    """Return the view of a review; `sites` maps the ids of sites to their names."""
    alert, history = item.alert, item.context
    review = item.review or Review(id=alert.review_id or "", rating=1)
    created = review.created or review.updated
    written = local_time(created, timezone) if created else None
    age = now - review.created if review.created else None
    site_id = alert.site_id or ""
    return ReviewView(
        id=review.id,
        rating=review.rating,
        title=clean_line(review.title),
        body=clean_lines(review.body),
        excerpt=cut(clean_line(review.body), EXCERPT),
        topics=tuple(name_topic(each, language) for each in review.topics),
        **view_reviewed(review.namespace, review.entity_id, item.product, site_id, language),
        **_author(review, history, site_id, timezone, language),
        written=written,
        when=language.date(written),
        waiting=language.duration(age),
        old=age is not None and age > _OLD,
        moderation=describe_moderation(review.moderation, language),
        **_happened(item, review, age, timezone, language),
        before=_before(review, alert.detail),
        age=age,
        site=view_site(site_id, sites, language),
        media=_view_media(review.media),
        verified=review.verified,
        helpful=review.helpful,
        unhelpful=review.unhelpful,
        app=_app(review.origin),
        product_low=history.product_low,
        respond_url="",
    )


def _happened(
    item: MessageItem,
    review: Review,
    age: timedelta | None,
    timezone: tzinfo,
    language: Language,
) -> dict[str, Any]:
    """Return the values about what happened to a review."""
    alert, closing = item.alert, closing_of(item)
    response = view_response(item.response, review, timezone, language, is_open=closing is None)
    end = describe_response_end(closing, response, language) or describe_end(
        closing, _answered_after(review, closing), language
    )
    state = end or describe_state(alert, review.rating, age, language)
    late = bool(alert.detail.get("late"))
    return {
        "state": state,
        "notes": state or (language.gettext(LATE) if late else ""),
        "late": late,
        "reopened": _reopened(alert, language),
        "closing": closing or "",
        "end": end,
        "reply": _reply(review, closing),
        "response": response,
        "order": view_order(item.order, timezone, language),
    }


def _author(
    review: Review,
    history: ReviewHistory,
    site_id: str,
    timezone: tzinfo,
    language: Language,
) -> dict[str, Any]:
    """Return the values about the author."""
    last = local_time(history.author_last, timezone) if history.author_last else None
    return {
        "author": clean_name(review.author) or language.gettext(A_CUSTOMER),
        "author_dashboard_url": contact_dashboard_url(site_id, review.contact_id),
        "author_low": history.author_low,
        "author_written": last,
        "author_last": language.date(last) if last else "",
        "author_rating": history.author_rating,
    }


def view_reviewed(
    namespace: str, what_id: str | None, product: Product, site_id: str, language: Language
) -> dict[str, Any]:
    """Return the values about what was reviewed, by its id."""
    name, entity_id = clean_line(product.name or ""), clean_line(what_id or "")
    product_id = what_id if namespace == "stores" else None
    return {
        "what": name or name_unknown(namespace, entity_id, language),
        "what_id": "" if name else entity_id,
        "what_url": https_url(product.url) or "",
        "what_dashboard_url": product_dashboard_url(site_id, product_id),
    }


def view_site(site_id: str, sites: Mapping[str, str], language: Language) -> SiteView:
    """Return the view of a site; `sites` maps the ids of sites to their names."""
    name = clean_line(sites.get(site_id, language.gettext(A_FORMER_SITE)))
    return SiteView(name, site_id, reviews_dashboard_url(site_id))


def shorten(view: ReviewView) -> ReviewView:
    """Return a view for the list of a digest on a phone, of which a message holds little."""
    return replace(
        view,
        title=cut(view.title, 60),
        excerpt=cut(view.excerpt, 60),
        what=cut(view.what, 40),
        author=cut(view.author, 30),
    )


def view_mention(message: Message, mention: str | None, max_rating: int) -> MentionView | None:
    """Return whom a Slack message mentions.

    None if no open review in it has at most `max_rating` stars, or if it updates an older message.
    """
    asking = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER)
    ratings = [
        item.review.rating
        for item in (*message.entries, *message.entries[0].reviews)
        if item.review and not item.closing and item.alert.kind in asking
    ]
    if mention is None or message.slack_ts or min(ratings, default=6) > max_rating:
        return None
    return MentionView("usergroup" if mention.startswith("S") else "user", mention)


def _view_media(found: Iterable[Media]) -> tuple[MediaView, ...]:
    """Return the media with a safe address; stored ones may be from a version that checked less."""
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
    """Return the origin of a review if it is an id of an app, "an app" if it is any other text."""
    if origin in ("", "ORGANIC", "UNKNOWN"):
        return ""
    return origin if origin != "APP" and re.fullmatch(r"[A-Za-z0-9-]+", origin) else AN_APP


def closing_of(item: MessageItem) -> CloseReason | None:
    """Return why a review is closed; its alert says so if it was opened again since."""
    if item.closing or item.alert.kind is not AlertKind.CLOSED:
        return item.closing
    return CloseReason(item.alert.detail["reason"])


def _reply(review: Review, closing: CloseReason | None) -> str:
    answered = closing is CloseReason.ANSWERED and review.reply
    return clean_lines(answered.message) if answered else ""


def _answered_after(review: Review, closing: CloseReason | None) -> timedelta | None:
    """Return how long after the review its answer was written; None without one, or if unknown."""
    if closing is not CloseReason.ANSWERED or not (review.reply and review.created):
        return None
    return review.reply.at - review.created if review.reply.at else None


def _reopened(alert: Alert, language: Language) -> str:
    """Return why a review is open again, if its reminder is about that; else an empty text."""
    if "reopened" not in alert.detail:
        return ""
    return language.gettext(REOPENED[CloseReason(alert.detail["reopened"])])


def _before(review: Review, detail: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return a lowered review before, with its texts only if they differ from the present ones."""
    if (before := detail.get("before")) is None:
        return None
    earlier: Mapping[str, Any] = {**_BLANK, **before}
    if (earlier["title"], earlier["body"]) == (review.title, review.body):
        return {**earlier, **_BLANK}
    return {
        **earlier,
        "title": clean_line(earlier["title"]),
        "body": clean_lines(earlier["body"]),
    }
