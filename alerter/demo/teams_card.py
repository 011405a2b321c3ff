"""What is wrong with a card that a workflow is to post in Teams."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# https://learn.microsoft.com/en-us/connectors/teams/#known-issues-and-limitations-with-actions
LARGEST_REQUEST = 28 * 1024
CARD_TYPE = "application/vnd.microsoft.card.adaptive"
_NEWEST = (1, 5)  # https://adaptivecards.io/explorer/AdaptiveCard.html; Teams takes none above
_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s]*")
# What is required of each kind: https://adaptivecards.io/schemas/adaptive-card.json
_REQUIRED: dict[str, set[str]] = {
    "AdaptiveCard": {"version"},
    "TextBlock": {"text"},
    "RichTextBlock": {"inlines"},
    "TextRun": {"text"},
    "Container": {"items"},
    "ColumnSet": set(),
    "Column": set(),
    "FactSet": {"facts"},
    "Image": {"url"},
    "ActionSet": {"actions"},
    "Action.OpenUrl": {"url"},
}
_NESTED = ("body", "items", "inlines", "columns", "actions", "selectAction")


def card_faults(message: Mapping[str, Any]) -> list[str]:
    """Return why a workflow cannot post a message; empty if it can."""
    attachments = message.get("attachments")
    if not isinstance(attachments, list) or len(attachments) != 1:
        return ["there must be one attachment"]
    attachment = attachments[0]
    if not isinstance(attachment, dict) or attachment.get("contentType") != CARD_TYPE:
        return [f"the attachment must be {CARD_TYPE}"]
    card = attachment.get("content")
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        return ["the content must be an AdaptiveCard"]
    return list(_faults(card))


def _faults(part: Any) -> Iterator[str]:
    if isinstance(part, str):  # a run may be a text alone
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if kind not in _REQUIRED:
        yield f"unknown element {kind}"
        return
    for key in sorted(_REQUIRED[kind] - set(part)):
        yield f"{kind} needs {key}"
    if kind == "AdaptiveCard":
        yield from _version_faults(part)
    if "text" in part and not isinstance(part["text"], str):
        yield f"the text of a {kind} must be a string"
    if kind in ("Image", "Action.OpenUrl") and not _ADDRESS.fullmatch(str(part.get("url"))):
        yield f"the address of an {kind} must be absolute"
    for key in _NESTED:
        inner = part.get(key, [])
        for each in inner if isinstance(inner, list) else [inner]:
            yield from _faults(each)


def _version_faults(card: Mapping[str, Any]) -> Iterator[str]:
    found = re.fullmatch(r"(\d+)\.(\d+)", str(card.get("version")))
    if found is None or (int(found[1]), int(found[2])) > _NEWEST:
        yield f"version {card.get('version')} is not known"
