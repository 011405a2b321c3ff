"""Draw a message for Teams: an Adaptive Card. Pure.

All text stands in TextRuns, which know no Markdown: https://adaptivecards.io/explorer/TextRun.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from alerter.models import Content, Form, Medium, Message
from alerter.render.formatting import NO_BREAK
from alerter.render.language import get_language
from alerter.render.parts import Part, PartKind, Piece, TextStyle, fit
from alerter.render.renderer import Renderer

Element = dict[str, Any]

CARD = "application/vnd.microsoft.card.adaptive"
# Bytes of a request; the limit is about 28 KB, and Teams adds to the card before it counts:
# https://learn.microsoft.com/en-us/connectors/teams/#known-issues-and-limitations-with-actions
MOST_BYTES = 24_000
_MOST_BUTTONS = 6
_STYLES: dict[TextStyle, Element] = {
    TextStyle.NONE: {},
    TextStyle.BOLD: {"weight": "Bolder"},
    TextStyle.ITALIC: {"italic": True},
    TextStyle.CODE: {"fontType": "Monospace"},
}
_SPACE: Element = {
    "type": "RichTextBlock",
    "spacing": "None",
    "inlines": [{"type": "TextRun", "text": NO_BREAK}],
}
_JOINER = "\N{WORD JOINER}"
# Some clients find addresses in any text.
_LINK = re.compile(r"(?<=:)(?=//)|(?<=\])(?=\()|(?<=@)(?=\w)|(?<=www\.)", re.IGNORECASE)


def render_teams(
    renderer: Renderer, message: Message, *, test: bool = False, language: str = "en"
) -> Content:
    """Return a message, with its card as its only block. Raise RenderError."""
    _, subject, parts = renderer.parts(message, Medium.TEAMS, test=test, language=language)
    is_rtl = get_language(language).direction == "rtl"

    def card(found: Sequence[Part]) -> Element:
        buttons = [] if message.plain else _buttons(found)
        return {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            # Only the last version knows the direction, and old clients know no later one than 1.2.
            "version": "1.5" if is_rtl else "1.2",
            **({"rtl": True} if is_rtl else {}),
            "lang": language,
            "body": _body(found, plain=message.plain),
            **({"actions": buttons} if buttons else {}),
        }

    if message.form is Form.ALERT:
        parts = fit(parts, lambda tried: len(request_body(card(tried))) <= MOST_BYTES)
    return Content(subject, subject, blocks=(card(parts),))


def size_of_card(content: Content) -> int:
    """Return how many bytes a message takes in a request; MOST_BYTES is the limit."""
    return len(request_body(content.blocks[0]))


def request_body(card: Mapping[str, Any]) -> bytes:
    """Return the request that posts a card."""
    attachment = {"contentType": CARD, "contentUrl": None, "content": card}
    body = {"type": "message", "attachments": [attachment]}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _body(parts: Sequence[Part], *, plain: bool) -> list[Element]:
    body: list[Element] = []
    for part in parts:
        if part.kind is PartKind.LINKS:
            continue
        lines = [_line(part.kind, line, plain=plain) for line in part.lines]
        if part.kind in (PartKind.QUOTE, PartKind.CODE):
            body.append({"type": "Container", "style": "emphasis", "items": lines})
        else:
            body += [*lines, _SPACE] if part.ends_entry else lines
    return body


def _line(kind: PartKind, line: Sequence[Piece], *, plain: bool) -> Element:
    looks: dict[PartKind, Element] = {
        PartKind.HEADING: {"size": "Large", "weight": "Bolder"},
        PartKind.SMALL: {"size": "Small", "isSubtle": True},
        PartKind.CODE: {"fontType": "Monospace"},
    }
    pieces = line or [Piece(NO_BREAK)]
    runs = [_run(kind, piece, plain=plain) | looks.get(kind, {}) for piece in pieces]
    return {"type": "RichTextBlock", "spacing": "Small", "inlines": runs}


def _run(kind: PartKind, piece: Piece, *, plain: bool) -> Element:
    text = piece.text
    if kind is PartKind.CODE:
        text = text.replace(" ", NO_BREAK)  # columns that HTML would close up
    run = {"type": "TextRun", "text": _unlinked(text), **_STYLES[piece.style]}
    if piece.url and not plain:
        run["selectAction"] = {"type": "Action.OpenUrl", "url": piece.url}
    return run


def _buttons(parts: Sequence[Part]) -> list[Element]:
    links = [piece for part in parts if part.kind is PartKind.LINKS for piece in part.pieces]
    return [
        {"type": "Action.OpenUrl", "title": piece.text, "url": piece.url}
        for piece in links[:_MOST_BUTTONS]
    ]


def _unlinked(text: str) -> str:
    return _LINK.sub(_JOINER, text)
