"""Modals on Slack: where people write a reply. Pure.

https://docs.slack.dev/reference/views/modal-views
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from alerter.actions import digest
from alerter.render.buttons import Pressed, view_menu_buttons
from alerter.render.direction import direct_blocks
from alerter.render.formatting import slack_text, slack_words, stars
from alerter.render.language import Language
from alerter.render.views import ReviewView
from alerter.translation import mark

REPLY_MODAL = "respond:reply"
# What Slack takes in a title or on a button of a modal, in an option, in one piece of text.
_LONGEST_TITLE = 24
_LONGEST_OPTION = 75
_LONGEST_TEXT = 2900
_MOST_OPTIONS = 100
OTHER_REPLY = mark(
    "This review has another reply now. You can keep it and close this window, or replace it."
)
OTHER_TEXT = mark(
    "The customer has changed this review since you read it. Please read it again before you send"
    " your reply."
)


@dataclass(frozen=True, slots=True)
class ReplyModal:
    """What a modal shows.

    `current` is the reply that the review has, `text` what the field begins with. `canned` are the
    names of canned replies. `notice`: why it is shown again; `replaces`: sending replaces the
    current reply. `field`: the id of the field's block. `metadata` comes back from Slack.
    """

    review: ReviewView
    metadata: str
    field: str
    current: str = ""
    text: str = ""
    canned: Sequence[str] = ()
    notice: str = ""
    replaces: bool = False
    has_buttons: bool = False


def view_reply_modal(modal: ReplyModal, language: Language) -> dict[str, Any]:
    """Return the view of a modal."""
    blocks = list(_blocks(modal, language))
    if language.direction == "rtl":
        blocks = direct_blocks(blocks)
    send = language.gettext("Replace the reply") if modal.replaces else language.gettext("Send")
    return {
        "type": "modal",
        "callback_id": REPLY_MODAL,
        "private_metadata": modal.metadata,
        "title": _plain(language.gettext("Reply"), _LONGEST_TITLE),
        "submit": _plain(send, _LONGEST_TITLE),
        "close": _plain(language.gettext("Cancel"), _LONGEST_TITLE),
        "blocks": blocks,
    }


def canned_key(name: str) -> str:
    """Return what stands for a canned reply in a menu."""
    return digest(name)


def _blocks(modal: ReplyModal, language: Language) -> Iterator[dict[str, Any]]:
    review = modal.review
    if modal.notice:
        yield _rich(_section(_words(modal.notice, "bold")))
    yield _rich(_section(*_about(review)))
    if review.title or review.body:
        yield _rich(_quote(review.title, review.body))
    else:
        silent = language.gettext("Stars only, without text.")
        yield _rich(_section(_words(silent, "italic")))
    author = f"{slack_words(review.author, 200)} · {language.short_date(review.written)}"
    for line in (author, review.moderation, review.response.text):
        if line:
            yield _rich(_section(_words(line)))
    if modal.current:
        yield _rich(_section(_words(language.gettext("The answer:"), "bold")))
        yield _rich(_quote("", modal.current))
    if modal.has_buttons and review.buttons:
        yield view_menu_buttons(review.buttons, language)
    if modal.canned:
        yield _canned(modal, language)
    yield _input(modal, language)


def _about(review: ReviewView) -> Iterator[dict[str, Any]]:
    yield _words(f"{stars(review.rating)} ")
    what = slack_words(review.what, 300)
    if review.what_url:
        yield {"type": "link", "url": review.what_url, "text": what, "style": {"bold": True}}
    else:
        yield _words(what, "bold")
    yield _words(slack_words(f" · {review.site.name}", 300))


def _canned(modal: ReplyModal, language: Language) -> dict[str, Any]:
    """Return the menu of canned replies; its id changes with the field's, else it keeps a choice.

    What is chosen already cannot be chosen again.
    """
    options = [
        {"text": _plain(name, _LONGEST_OPTION), "value": canned_key(name)}
        for name in modal.canned[:_MOST_OPTIONS]
    ]
    select = {
        "type": "static_select",
        "action_id": Pressed.CANNED,
        "placeholder": _plain(language.gettext("Choose a canned reply"), _LONGEST_OPTION),
        "options": options,
    }
    return {"type": "actions", "block_id": f"canned:{modal.field}", "elements": [select]}


def _input(modal: ReplyModal, language: Language) -> dict[str, Any]:
    """Return the field of the reply: without a `max_length`, which is 3,000 at most."""
    element: dict[str, Any] = {
        "type": "plain_text_input",
        "action_id": "text",
        "multiline": True,
    }
    if modal.text:
        element["initial_value"] = modal.text
    hint = language.gettext("Everybody who reads the review on your site can read this.")
    return {
        "type": "input",
        "block_id": modal.field,
        "label": _plain(language.gettext("Your reply"), _LONGEST_OPTION),
        "element": element,
        "hint": _plain(hint, 150),
    }


def _plain(text: str, most: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": slack_text(text, most)}


def _words(text: str, style: str = "") -> dict[str, Any]:
    words: dict[str, Any] = {"type": "text", "text": text}
    return {**words, "style": {style: True}} if style else words


def _rich(element: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [element]}


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _quote(title: str, body: str) -> dict[str, Any]:
    found = [_words(slack_words(title, 400), "bold")] if title else []
    if body:
        found.append(_words(("\n" if title else "") + slack_words(body, _LONGEST_TEXT)))
    return {"type": "rich_text_quote", "elements": found}
