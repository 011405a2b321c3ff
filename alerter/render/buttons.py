"""What people press under an alert on Slack: two buttons and a menu. Pure.

https://docs.slack.dev/reference/block-kit/block-elements
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from enum import StrEnum
from typing import Any, NamedTuple

from alerter.links import reviews_dashboard_url
from alerter.models import Review
from alerter.render.formatting import clean_line, cut, slack_text, stars
from alerter.render.language import Language
from alerter.snoozes import SnoozeChoice, snooze_choices
from alerter.translation import mark

# Slack takes 75 characters in the text and the value of an option.
_LONGEST_OPTION = 75
_MOST_OPTIONS = 5
_BLOCK = re.compile(r"respond:([^/\s]{1,36}/[^/\s]{1,36}):([0-9a-f]{16})")
_KEY = re.compile(r"([^/\s]{1,36})/([^/\s]{1,36})")


class Pressed(StrEnum):
    """The ids of what is pressed or chosen."""

    REPLY = "respond:reply"
    CLAIM = "respond:claim"
    MENU = "respond:menu"
    CHOOSE = "respond:choose"  # a review of a digest
    CANNED = "respond:canned"  # a canned reply
    AGAIN = "respond:again"  # a reply that was refused


class MenuChoice(StrEnum):
    """The options of a review's menu, beside those of `SnoozeChoice`."""

    PUBLISH = "publish"
    REJECT = "reject"
    DASHBOARD = "dashboard"


_SNOOZES = {
    SnoozeChoice.EVENING: mark("Snooze until this evening"),
    SnoozeChoice.TOMORROW: mark("Snooze until tomorrow 9:00"),
    SnoozeChoice.MONDAY: mark("Snooze until Monday 9:00"),
}


@dataclass(frozen=True, slots=True)
class OptionView:
    """An option of a menu on Slack."""

    text: str
    """What people read."""
    value: str
    """What Slack sends back."""
    url: str
    """The address that it opens; may be empty."""


@dataclass(frozen=True, slots=True)
class ButtonsView:
    """What people can do with a review from Slack."""

    block_id: str
    """The id of the block with its buttons, which names the review."""
    key: str
    """What names the review in a menu of several."""
    name: str
    """What people read in a menu of several."""
    menu: tuple[OptionView, ...]
    """The options of its menu."""


class NamedReview(NamedTuple):
    """A review as Slack sends it back; `seen` is the digest of the text that was shown."""

    site_id: str
    review_id: str
    seen: str = ""


def view_buttons(
    site_id: str, review: Review, what: str, now: datetime, timezone: tzinfo, language: Language
) -> ButtonsView | None:
    """Return what people can do with an open review; None where its ids do not fit."""
    key = f"{site_id}/{review.id}"
    block_id = f"respond:{key}:{review.text_digest}"
    if not _BLOCK.fullmatch(block_id):
        return None
    name = f"{stars(review.rating)} {what} · {clean_line(review.author or review.title)}"
    return ButtonsView(
        block_id,
        key,
        slack_text(cut(name.rstrip(" ·"), _LONGEST_OPTION), _LONGEST_OPTION),
        tuple(_menu(site_id, review, now, timezone, language)),
    )


def view_menu_buttons(buttons: ButtonsView, language: Language) -> dict[str, Any]:
    """Return the block of a modal in which a review is claimed, snoozed or moderated."""
    claim = {
        "type": "button",
        "text": {"type": "plain_text", "text": language.gettext("I’m on it")},
        "action_id": Pressed.CLAIM,
    }
    options = [
        {"text": {"type": "plain_text", "text": option.text}, "value": option.value}
        | ({"url": option.url} if option.url else {})
        for option in buttons.menu
    ]
    menu = {"type": "overflow", "action_id": Pressed.MENU, "options": options}
    return {"type": "actions", "block_id": buttons.block_id, "elements": [claim, menu]}


def _menu(
    site_id: str, review: Review, now: datetime, timezone: tzinfo, language: Language
) -> Iterator[OptionView]:
    """Yield the options; a pending review leaves one snooze out, as Slack takes five in all."""
    others = [(MenuChoice.DASHBOARD, language.gettext("Open in the dashboard"))]
    if review.is_pending:
        others = [
            (MenuChoice.PUBLISH, language.gettext("Publish")),
            (MenuChoice.REJECT, language.gettext("Reject")),
            *others,
        ]
    for choice in list(snooze_choices(now, timezone))[: _MOST_OPTIONS - len(others)]:
        yield OptionView(language.gettext(_SNOOZES[choice]), choice, "")
    for other, text in others:
        url = reviews_dashboard_url(site_id) if other is MenuChoice.DASHBOARD else ""
        yield OptionView(text, other, url)


def review_of_block(block_id: str) -> NamedReview | None:
    """Return the review that the id of a block names."""
    found = _BLOCK.fullmatch(block_id)
    named = review_of_key(found[1]) if found else None
    return named._replace(seen=found[2]) if named and found else None


def review_of_key(key: str) -> NamedReview | None:
    """Return the review that the value of an option names."""
    found = _KEY.fullmatch(key)
    return NamedReview(found[1], found[2]) if found else None
