"""A review in Wix's JSON → `Review`.

Any field may be missing, and unknown ones may appear; only an id and a rating are required.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from alerter.links import file_id, file_url, https_url, thumbnail
from alerter.models import Media, Reply, Review
from alerter.text import table_in

# Wix's own limits: https://dev.wix.com/docs/rest/business-management/reviews/reviews/review-object
_LONGEST = 3000
_LONGEST_NAME = 100
_MOST_MEDIA = 10
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class UnreadableReview(ValueError):
    """A review without a valid id or rating; `review_id` is None where the id is not valid."""

    def __init__(self, text: str, review_id: str | None = None) -> None:
        super().__init__(text)
        self.review_id = review_id


def parse_review(raw: object) -> Review:
    """Parse one review. Raises UnreadableReview."""
    if not isinstance(raw, dict):
        raise UnreadableReview("is not an object")
    review_id = raw.get("id")
    if not isinstance(review_id, str) or not is_review_id(review_id):
        raise UnreadableReview("has no id")
    content, author, origin = (
        table_in(raw, "content"),
        table_in(raw, "author"),
        table_in(raw, "origin"),
    )
    return Review(
        id=review_id,
        rating=_rating(content.get("rating"), review_id),
        created=parse_moment(raw.get("createdDate")),
        updated=parse_moment(raw.get("updatedDate")),
        written=parse_moment(raw.get("reviewDate")),
        title=" ".join(_text(content.get("title")).split()),
        body=_text(content.get("body")),
        author=_line(author.get("authorName")),
        contact_id=_name(author.get("contactId")),
        namespace=_line(raw.get("namespace")),
        entity_id=_name(raw.get("entityId")),
        reply=_reply(raw.get("reply")),
        moderation=_line(table_in(raw, "moderation").get("moderationStatus")),
        revision=parse_number(raw.get("revision")),
        verified=raw["verified"] if isinstance(raw.get("verified"), bool) else None,
        origin=_line(origin.get("appId")) or _line(origin.get("type")),
        helpful=parse_number(raw.get("foundHelpful")),
        unhelpful=parse_number(raw.get("foundUnhelpful")),
        media=_media(content.get("media")),
    )


def is_review_id(text: str) -> bool:
    """Return whether this may be the id of a review."""
    return re.fullmatch(r"[\w.:-]{1,100}", text, re.ASCII) is not None


def clean(text: str) -> str:
    """Return text without lone surrogates and control characters; line breaks and tabs stay."""
    if text.isprintable():
        return text
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _text(value: object) -> str:
    return clean(value[: 2 * _LONGEST])[:_LONGEST].strip() if isinstance(value, str) else ""


def _line(value: object) -> str:
    return " ".join(_text(value).split())[:_LONGEST_NAME] if value else ""


def _name(value: object) -> str | None:
    return _line(value) or None


def _rating(value: object, review_id: str) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 5:
        raise UnreadableReview("has no rating from 1 to 5", review_id)
    return number


def parse_number(value: object) -> int:
    """Parse a number that Wix may send as a string, as it does `revision`; 0 if it is none."""
    try:
        return min(max(int(value), 0), 1 << 53) if isinstance(value, int | str) else 0
    except ValueError:
        return 0


def parse_moment(value: object) -> datetime | None:
    """Parse a date into UTC; None if it is none."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _reply(value: object) -> Reply | None:
    if not isinstance(value, dict) or not (message := _text(value.get("message"))):
        return None
    return Reply(
        message, parse_moment(value.get("updatedDate")) or parse_moment(value.get("createdDate"))
    )


def _media(value: object) -> tuple[Media, ...]:
    if not isinstance(value, list):
        return ()
    found = (_medium(item) for item in value[:_MOST_MEDIA] if isinstance(item, dict))
    return tuple(media for media in found if media)


def _medium(item: Mapping[str, Any]) -> Media | None:
    image, video = table_in(item, "image"), table_in(item, "video")
    if url := _image_url(image):
        return Media("photo", url, thumbnail(url))
    posters = video.get("posters")
    poster = (
        posters[0] if isinstance(posters, list) and posters and isinstance(posters[0], dict) else {}
    )
    poster_url = _image_url(poster)
    url = _video_url(video) or poster_url
    return Media("video", url, thumbnail(poster_url)) if url else None


def _image_url(image: Mapping[str, Any]) -> str | None:
    """Return the address of an image, by its id where possible: `url` is optional at Wix.

    An id without a file's suffix may be an app's own, so `url` comes before it.
    """
    image_id, url = image.get("id"), image.get("url")
    by_id = file_url(image_id)
    if by_id and "." in str(image_id):
        return by_id
    return https_url(url) or file_url(file_id(url)) or by_id


def _video_url(video: Mapping[str, Any]) -> str | None:
    resolutions = video.get("resolutions")
    each = (
        (item.get("url") for item in resolutions if isinstance(item, dict))
        if isinstance(resolutions, list)
        else ()
    )
    return next((url for url in map(https_url, (video.get("url"), *each)) if url), None)
