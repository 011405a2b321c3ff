"""Messages on Slack that only the person who acted sees. Pure."""

from enum import StrEnum
from typing import Any

from alerter.models import Content
from alerter.render.buttons import Pressed
from alerter.render.direction import direct_blocks
from alerter.render.formatting import slack_text
from alerter.render.language import Language
from alerter.translation import mark

# What Slack takes in one piece of text, and in the fallback.
_LONGEST_PIECE = 2900
_LONGEST_FALLBACK = 3900


class Notice(StrEnum):
    """Why nothing was done."""

    NO_RECEIVER = "no receiver"  # no receiver of the config has this channel and this site
    NOT_NAMED = "not named"  # its `responders` do not name the person
    GUEST = "guest"  # the person belongs to another workspace
    BUSY = "busy"  # it could not be recorded
    GONE = "gone"  # the review is not on record, or its text was erased
    NOT_SHOWN = "not shown"  # a modal did not open
    PAST = "past"  # a snooze into the past
    NOT_FILLED = "not filled"  # a canned reply has a fault
    SENT_BEFORE = "sent before"  # the modal was submitted before, with another text


_NOTICES = {
    Notice.NO_RECEIVER: mark("Nothing was done: alerter does not send this review here any more."),
    Notice.NOT_NAMED: mark(
        "Nothing was done: only some people may respond from this channel. Please ask the person"
        " who runs alerter."
    ),
    Notice.GUEST: mark(
        "Nothing was done: only members of this workspace may respond. Please ask one of them."
    ),
    Notice.BUSY: mark(
        "Nothing was done: alerter cannot record it now. Please try again in a minute."
    ),
    Notice.GONE: mark("Nothing was changed: the review is not at Wix any more, or is hidden."),
    Notice.NOT_SHOWN: mark("The window did not open in time. Please press the button again."),
    Notice.PAST: mark("Nothing was done: that moment is past. Please choose another."),
    Notice.NOT_FILLED: mark("This canned reply cannot be used. Please write a reply of your own."),
    Notice.SENT_BEFORE: mark("Your reply is being sent already. You can close this window."),
}


def describe_notice(notice: Notice, language: Language) -> str:
    """Return why nothing was done, as a sentence."""
    return language.gettext(_NOTICES[notice])


def view_answer(
    text: str, language: Language, *, reply: str = "", url: str = "", again: str = ""
) -> Content:
    """Return what a person is shown.

    `reply`: the words that they wrote, to copy. `url`: where the review is answered by hand.
    `again`: what the button sends back that shows the review as it is now, with these words.
    """
    blocks: list[dict[str, Any]] = [
        _rich({"type": "rich_text_section", "elements": [_words(text)]})
    ]
    pieces = [reply[at : at + _LONGEST_PIECE] for at in range(0, len(reply), _LONGEST_PIECE)]
    blocks += [_rich({"type": "rich_text_quote", "elements": [_words(each)]}) for each in pieces]
    buttons: list[dict[str, Any]] = []
    if again:
        shown = _plain(language.gettext("Look at it, and send it again"))
        buttons.append({**_button(Pressed.AGAIN), "text": shown, "value": again})
    if url:
        shown = _plain(language.gettext("Open in the dashboard"))
        buttons.append({**_button("dashboard"), "text": shown, "url": url})
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    if language.direction == "rtl":
        blocks = direct_blocks(blocks)
    fallback = slack_text(f"{text}\n{reply}".strip(), _LONGEST_FALLBACK)
    return Content("", fallback, blocks=tuple(blocks))


def _button(action_id: str) -> dict[str, Any]:
    return {"type": "button", "action_id": action_id}


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def _words(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _rich(element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [element]}
