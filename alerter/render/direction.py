"""Give lines and Slack's blocks of a right-to-left message their direction. Pure.

A client that shows plain text takes the direction of a line from its first letter, which may be
one of a product's name. A mark before it says what the direction of the line is.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_RIGHT_TO_LEFT_MARK = "\u200f"
_QUOTE = "> "
_ADDRESS = re.compile(r"\s*https?://\S*\s*")
# Longest header: https://docs.slack.dev/reference/block-kit/blocks/header-block
_HEADER = 150


def direct_lines(text: str) -> str:
    """Return the lines of a text with a mark before those that would run from left to right.

    Quotes and addresses keep a direction of their own.
    """
    return "\n".join(
        line if line.startswith(_QUOTE) or _ADDRESS.fullmatch(line) else _directed(line)
        for line in text.split("\n")
    )


def direct_blocks(blocks: Sequence[Any]) -> list[Any]:
    """Return Slack's blocks with a mark before our texts that would run from left to right."""
    return [_directed_part(block) for block in blocks]


def _directed_part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind in ("plain_text", "mrkdwn"):
        text = str(part.get("text", ""))
        return part if len(text) >= _HEADER else {**part, "text": _directed(text)}
    if kind == "rich_text_section":
        return {**part, "elements": _directed_section(part.get("elements"))}
    if kind in ("rich_text", "rich_text_list", "section", "header", "context"):
        return {
            key: [_directed_part(each) for each in value]
            if isinstance(value, list)
            else _directed_part(value)
            for key, value in part.items()
        }
    return part


def _directed_section(elements: Any) -> Any:
    lines = [
        {**each, "text": each["text"].replace("\n", f"\n{_RIGHT_TO_LEFT_MARK}")}
        if each.get("type") == "text"
        else each
        for each in elements
    ]
    text = "".join(str(each.get("text", "")) for each in elements)
    begins_right = _directed(text) == text
    return lines if begins_right else [{"type": "text", "text": _RIGHT_TO_LEFT_MARK}, *lines]


def _directed(line: str) -> str:
    first = next((char for char in line if unicodedata.bidirectional(char) in ("L", "R", "AL")), "")
    is_ltr = first and unicodedata.bidirectional(first) == "L"
    return f"{_RIGHT_TO_LEFT_MARK}{line}" if is_ltr else line
