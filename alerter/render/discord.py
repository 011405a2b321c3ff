"""Draw a message for Discord: a line of content, and an embed. Pure.

Discord reads Markdown in both. What is not ours is escaped, so that it is shown as it stands:
https://support.discord.com/hc/en-us/articles/210298617-Markdown-Text-101
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from alerter.models import Content, Form, Medium, Message
from alerter.render.formatting import utf16_length
from alerter.render.parts import Part, PartKind, Piece, TextStyle, fit
from alerter.render.renderer import Renderer

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits
MOST_CONTENT = 2000
MOST_DESCRIPTION = 4096
_NO_PREVIEWS = 4  # of the pages that links lead to
_LONGEST_ADDRESS = 500  # of a link; a longer one would leave no room for words
_COLORS = {"closed": 0x2E8B57, "recovered": 0x2E8B57, "trouble": 0xE0A030, "summary": 0x4A7FC1}
_RED = 0xC94F4F
_MARKS = {TextStyle.BOLD: "**", TextStyle.ITALIC: "*", TextStyle.NONE: ""}

_JOINER = "\N{WORD JOINER}"
_MARKUP = re.compile(r"[\\*_~|`\[\]<]|:(?=[\w+-]+:)")
# A heading, quote or list: only invisible characters may stand before it.
_AT_THE_START = re.compile(
    r"^([\s\u200b-\u200f\u2060-\u2069\ufeff]*)(?:([#>+-])|(\d+)([.)])(?=\s))", re.MULTILINE
)
_LINK = re.compile(r"(?<=:)(?=//)|(?<=@)(?=\w)|(?<=www\.)", re.IGNORECASE)
_IN_ADDRESS = {ord(char): f"%{ord(char):02X}" for char in "()[]"}
_BACKTICK = {ord("`"): "ˋ"}


def escape(text: str) -> str:
    """Return text that Discord shows as it stands, with no mention, link or markup."""
    escaped = _MARKUP.sub(r"\\\g<0>", _LINK.sub(_JOINER, text))
    return _AT_THE_START.sub(_escape_start, escaped)


def _escape_start(found: re.Match[str]) -> str:
    before, sign, number, dot = found.groups(default="")
    return f"{before}\\{sign}" if sign else f"{before}{number}\\{dot}"


def render_discord(
    renderer: Renderer, message: Message, *, test: bool = False, language: str = "en"
) -> Content:
    """Return a message, with its content and embeds as its only block. Raise RenderError."""
    kind, subject, parts = renderer.parts(message, Medium.DISCORD, test=test, language=language)
    # A digest that is too long is sent in pieces, but one that stands there cannot be.
    shorten = message.form is Form.ALERT or message.slack_ts is not None
    drawn = _drawn(kind, parts, shorten=shorten, plain=message.plain)
    return Content(subject, subject, blocks=(drawn,))


def length_of_embeds(content: Content) -> int:
    """Return the length of the longest text of a message; MOST_DESCRIPTION is the limit."""
    embeds = [embed for block in content.blocks for embed in block["embeds"]]
    return max((utf16_length(embed["description"]) for embed in embeds), default=0)


def _drawn(kind: str, parts: Sequence[Part], *, shorten: bool, plain: bool) -> dict[str, Any]:
    """Return the content and the embed of a message of a kind.

    `shorten`: quotes, then parts, are left out until it fits. `plain`: content alone, in which
    less fits.
    """
    most = MOST_CONTENT if plain else MOST_DESCRIPTION
    heading = [] if plain else [part for part in parts if part.kind is PartKind.HEADING][:1]
    others = [part for part in parts if part not in heading]
    if shorten:
        others = fit(others, lambda found: utf16_length(_text(found)) <= most)
    if plain:
        return {"content": _text(others), "embeds": [], "flags": _NO_PREVIEWS}
    embed = {"description": _text(others), "color": _COLORS.get(kind, _RED)}
    return {"content": _text(heading), "embeds": [embed]}


def _text(parts: Sequence[Part]) -> str:
    return "\n".join(line for part in parts for line in _lines(part)).strip()


def _lines(part: Part) -> Iterator[str]:
    if part.kind is PartKind.LINKS:
        yield " · ".join(map(_piece, part.pieces))
    elif part.kind is PartKind.CODE:
        yield "```"
        yield "".join(piece.text for piece in part.pieces).translate(_BACKTICK)
        yield "```"
    else:
        prefix = {PartKind.QUOTE: "> ", PartKind.SMALL: "-# "}.get(part.kind, "")
        for line in part.lines:
            yield prefix + "".join(map(_piece, line))
        if part.ends_entry:
            yield ""


def _piece(piece: Piece) -> str:
    if piece.url and len(piece.url) <= _LONGEST_ADDRESS:
        return f"[{escape(piece.text)}]({piece.url.translate(_IN_ADDRESS)})"
    if piece.style is TextStyle.CODE:
        return f"`{piece.text.translate(_BACKTICK)}`"
    return _marked(piece.text, _MARKS[piece.style])


def _marked(text: str, mark: str) -> str:
    """Return text between marks, which must touch no blanks."""
    inner = text.strip()
    if not mark or not inner:
        return escape(text)
    before, after = text.split(inner, 1) if inner else ("", "")
    return f"{before}{mark}{escape(inner)}{mark}{after}"
