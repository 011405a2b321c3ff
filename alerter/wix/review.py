"""A review in Wix's JSON → `Review`.

Every field may be missing and unknown ones may appear; only an id and a rating have to be there.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from alerter.links import file_id, file_url, https_url, thumbnail
from alerter.models import Media, Reply, Review

# Wix's own limits: https://dev.wix.com/docs/rest/business-management/reviews/reviews/review-object
_LONGEST = 3000
_LONGEST_NAME = 100
_MOST_MEDIA = 10
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class UnreadableReview(ValueError):
    """A review without an id or a rating that can be understood; `review_id` is None where not even that was there."""

    def __init__(self, text: str, review_id: str | None = None) -> None:
        super().__init__(text)
        self.review_id = review_id


def parse_review(raw: object) -> Review:
    """Read one review. Raises UnreadableReview."""
    if not isinstance(raw, dict):
        raise UnreadableReview("is not an object")
    review_id = raw.get("id")
    if not isinstance(review_id, str) or not is_review_id(review_id):
        raise UnreadableReview("has no id")
    content, author, origin = _table(raw, "content"), _table(raw, "author"), _table(raw, "origin")
    return Review(
        id=review_id,
        rating=_rating(content.get("rating"), review_id),
        created=moment(raw.get("createdDate")),
        updated=moment(raw.get("updatedDate")),
        written=moment(raw.get("reviewDate")),
        title=" ".join(_text(content.get("title")).split()),
        body=_text(content.get("body")),
        author=_line(author.get("authorName")),
        contact_id=_name(author.get("contactId")),
        namespace=_line(raw.get("namespace")),
        entity_id=_name(raw.get("entityId")),
        reply=_reply(raw.get("reply")),
        moderation=_line(_table(raw, "moderation").get("moderationStatus")),
        revision=whole_number(raw.get("revision")),
        verified=raw["verified"] if isinstance(raw.get("verified"), bool) else None,
        origin=_line(origin.get("appId")) or _line(origin.get("type")),
        helpful=whole_number(raw.get("foundHelpful")),
        unhelpful=whole_number(raw.get("foundUnhelpful")),
        media=_media(content.get("media")),
    )


def is_review_id(text: str) -> bool:
    """Whether this may be the id of a review."""
    return re.fullmatch(r"[\w.:-]{1,100}", text, re.ASCII) is not None


def clean(text: str) -> str:
    """Text that can be stored and sent: no lone surrogates, no control characters but line breaks and tabs."""
    if text.isprintable():
        return text
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _table(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


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


def whole_number(value: object) -> int:
    """A number that Wix may send as a string, as it does `revision`."""
    try:
        return min(max(int(value), 0), 1 << 53) if isinstance(value, int | str) else 0
    except ValueError:
        return 0


def moment(value: object) -> datetime | None:
    """A date as Wix writes it; None where it is none."""
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
    return Reply(message, moment(value.get("updatedDate")) or moment(value.get("createdDate")))


def _media(value: object) -> tuple[Media, ...]:
    if not isinstance(value, list):
        return ()
    found = (_medium(item) for item in value[:_MOST_MEDIA] if isinstance(item, dict))
    return tuple(media for media in found if media)


def _medium(item: Mapping[str, Any]) -> Media | None:
    image, video = _table(item, "image"), _table(item, "video")
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
    """The id is the firm field at Wix: `url` may be missing, or no address.

    An id that does not end as a file does may be of an app's own, so an address comes before it.
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
