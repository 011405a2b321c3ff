"""Read the blocks of a Slack message as plain parts, which other media draw in their way. Pure.

So a kind of message is laid out once. Only the built-in templates are read: they put text from
outside where nothing is markup, and the kind of each block says what it means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from alerter.render.formatting import cut

Blocks = Sequence[Mapping[str, Any]]

# Characters of each quoted text in a message that is too long, from the first try to the last.
_QUOTES = (1400, 700, 300, 100, 40)
_BETWEEN = " ·"  # stands between two texts
# `slack_text` escaped them: https://docs.slack.dev/messaging/formatting-message-text#escaping
_ESCAPES = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
_ARROW = "↗"


class PartKind(StrEnum):
    """What a part of a message is."""

    HEADING = "heading"
    TEXT = "text"
    QUOTE = "quote"
    CODE = "code"
    SMALL = "small"
    LINKS = "links"


class TextStyle(StrEnum):
    """How a piece of text looks."""

    NONE = ""
    BOLD = "bold"
    ITALIC = "italic"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Piece:
    """A text of one style; with a `url` it is a link, whose text is ours."""

    text: str
    style: TextStyle = TextStyle.NONE
    url: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message; its pieces follow each other, and may hold line feeds."""

    kind: PartKind
    pieces: tuple[Piece, ...]

    @property
    def lines(self) -> list[list[Piece]]:
        """Its pieces by line, without line feeds; only a quote has empty lines."""
        lines: list[list[Piece]] = [[]]
        for piece in self.pieces:
            for number, text in enumerate(piece.text.split("\n")):
                if number:
                    lines.append([])
                if text:
                    lines[-1].append(replace(piece, text=text))
        return [line for line in lines if line or self.kind is PartKind.QUOTE]

    @property
    def ends_entry(self) -> bool:
        """Whether an empty line follows it, as after each review of a digest."""
        return bool(self.pieces) and self.pieces[-1].text.endswith("\n\n")


def read_parts(blocks: Blocks) -> list[Part]:
    """Return the parts of a message from its Slack blocks; pictures are left out."""
    return [part for block in blocks for part in _parts(block) if any(part.lines)]


def _parts(block: Mapping[str, Any]) -> Iterator[Part]:
    kind = block.get("type")
    if kind == "header":
        yield Part(PartKind.HEADING, (Piece(_plain(block["text"])),))
    elif kind == "context":
        text = "\n".join(_plain(each) for each in block["elements"])
        yield Part(PartKind.SMALL, (Piece(text),))
    elif kind == "actions":
        buttons = [each for each in block["elements"] if each.get("url")]
        links = tuple(Piece(_plain(each["text"]), url=each["url"]) for each in buttons)
        yield Part(PartKind.LINKS, links)
    elif kind == "rich_text":
        for element in block["elements"]:
            if kind := _KINDS.get(element["type"]):
                yield Part(kind, tuple(_pieces(element["elements"])))


_KINDS = {
    "rich_text_section": PartKind.TEXT,
    "rich_text_quote": PartKind.QUOTE,
    "rich_text_preformatted": PartKind.CODE,
}


def _pieces(elements: Blocks) -> Iterator[Piece]:
    for element in elements:
        found = element.get("style") or {}
        style = next((each for each in TextStyle if found.get(each)), TextStyle.NONE)
        kind = element["type"]
        if kind == "link" and style is TextStyle.BOLD:
            # The name of a product is not ours: it stays text, and the arrow is the link.
            yield Piece(element["text"], style)
            yield Piece(" ")
            yield Piece(_ARROW, url=element["url"])
        elif kind == "link":
            yield Piece(element["text"], style, element["url"])
        elif kind == "date":
            yield Piece(element["fallback"])
        elif kind == "text":
            yield Piece(element["text"], style)


def _plain(text: Mapping[str, Any]) -> str:
    """Return the text of a plain_text object, whose escapes Slack would undo."""
    found = str(text["text"])
    for escape, char in _ESCAPES.items():
        found = found.replace(escape, char)
    return found


def fit(parts: Sequence[Part], fits: Callable[[Sequence[Part]], bool]) -> list[Part]:
    """Return the parts, shortened as little as is needed for the whole to fit.

    First quotes get shorter, then links within texts are left out, and at last whole parts.
    """
    found = list(parts)
    for most in _QUOTES:
        if fits(found):
            return found
        found = [_shortened(part, most) for part in parts]
    if not fits(found):
        found = [_unlinked(part) for part in found]
    kept: list[int] = []
    for number in sorted(
        range(len(found)), key=lambda each: found[each].kind is not PartKind.LINKS
    ):
        if fits([found[each] for each in sorted([*kept, number])]):
            kept.append(number)
    return [found[each] for each in sorted(kept)]


def _shortened(part: Part, most: int) -> Part:
    if part.kind is not PartKind.QUOTE:
        return part
    pieces = (replace(piece, text=cut(piece.text, most)) for piece in part.pieces)
    return replace(part, pieces=tuple(pieces))


def _unlinked(part: Part) -> Part:
    """Return a part without the links in its text, and what separates them."""
    if part.kind is not PartKind.TEXT:
        return part
    kept: list[Piece] = []
    for piece in part.pieces:
        if not piece.url:
            kept.append(piece)
        elif kept and not kept[-1].text.strip(_BETWEEN):
            kept.pop()
    return replace(part, pieces=tuple(kept))
