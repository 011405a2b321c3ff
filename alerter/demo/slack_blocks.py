"""Check blocks of messages as strictly as Slack documents them.

https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from alerter.demo.slack_checks import Check, array, choice, fault_at, record, string, typed, whole
from alerter.demo.slack_elements import (
    BLOCK_ID,
    BUTTON,
    FLAG,
    LINK,
    OVERFLOW,
    SELECT,
    marked,
    plain_text,
)

_MOST_BLOCKS = 50
_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)


def faults_of(blocks: object) -> list[str]:
    """Return every fault of a list of blocks with its place; empty if they are valid."""
    return [
        *array(typed(BLOCKS), most=_MOST_BLOCKS)(blocks, "/blocks"),
        *repeated(blocks, "block_id", "/blocks"),
    ]


def length_of(blocks: object) -> int:
    """Return how many characters of text a list of blocks shows."""
    if isinstance(blocks, Mapping):
        own = sum(
            len(blocks[key]) for key in ("text", "alt_text") if isinstance(blocks.get(key), str)
        )
        return own + sum(length_of(value) for value in blocks.values())
    if isinstance(blocks, Sequence) and not isinstance(blocks, str):
        return sum(length_of(each) for each in blocks)
    return 0


def repeated(parts: object, name: str, pointer: str) -> Iterator[str]:
    """Return the ids that several parts have, those of elements in them included."""
    seen: set[str] = set()
    for place, part in enumerate(parts if isinstance(parts, list) else []):
        if not isinstance(part, Mapping):
            continue
        its_id = part.get(name)
        if isinstance(its_id, str) and its_id in seen:
            yield fault_at(f"{name} already exists: {its_id}", f"{pointer}/{place}/{name}")
        if isinstance(its_id, str):
            seen.add(its_id)
        if part.get("type") == "actions":
            yield from repeated(part.get("elements"), "action_id", f"{pointer}/{place}/elements")


_PICTURE: Mapping[str, Check] = {
    "image_url": string(3000, pattern=_URL),
    "alt_text": string(2000),
}
_IMAGE = record(_PICTURE, {})
_ACTIVE: Mapping[str, Check] = {"button": BUTTON, "overflow": OVERFLOW, "static_select": SELECT}


def _styled(*names: str) -> Check:
    return record({}, dict.fromkeys(names, FLAG))


_STYLE = _styled("bold", "italic", "strike", "code", "underline")
_MENTION_STYLE = _styled(
    "bold", "italic", "strike", "highlight", "client_highlight", "unlink", "underline"
)
_WORDS: Mapping[str, Check] = {
    "text": record({"text": string()}, {"style": _STYLE}),
    "link": record(
        {"url": string(pattern=LINK)}, {"text": string(), "unsafe": FLAG, "style": _STYLE}
    ),
}
_INLINE = typed(
    {
        **_WORDS,
        "emoji": record({"name": string()}, {"unicode": string(), "style": _STYLE}),
        "date": record(
            {"timestamp": whole, "format": string(), "fallback": string()},
            {"url": string(pattern=LINK), "timezone": string(), "style": _MENTION_STYLE},
        ),
        "user": record({"user_id": string()}, {"style": _MENTION_STYLE}),
        "usergroup": record({"usergroup_id": string()}, {"style": _MENTION_STYLE}),
        "channel": record({"channel_id": string()}, {"style": _MENTION_STYLE}),
        "broadcast": record(
            {"range": choice("here", "channel", "everyone")}, {"style": _MENTION_STYLE}
        ),
    },
)
# Unlike most other lists, the elements of a section may be empty.
_SECTION = record({"elements": array(_INLINE, least=0)}, {})
_BORDER: Mapping[str, Check] = {"border": choice(0, 1)}
_RICH = typed(
    {
        "rich_text_section": _SECTION,
        "rich_text_quote": record({"elements": array(_INLINE, least=0)}, _BORDER),
        "rich_text_preformatted": record(
            {"elements": array(typed(_WORDS), least=0)}, {**_BORDER, "language": string()}
        ),
        "rich_text_list": record(
            {
                "elements": array(typed({"rich_text_section": _SECTION})),
                "style": choice("bullet", "ordered"),
            },
            {**_BORDER, "indent": whole, "offset": whole},
        ),
    },
)
BLOCKS: Mapping[str, Check] = {
    "section": record(
        {},
        {
            "text": typed(marked(3000)),
            "fields": array(typed(marked(2000)), most=10),
            "accessory": typed({**_ACTIVE, "image": _IMAGE}),
            "expand": FLAG,
            **BLOCK_ID,
        },
        one_of=("text", "fields"),
    ),
    "header": record({"text": typed(plain_text(150))}, BLOCK_ID),
    "divider": record({}, BLOCK_ID),
    "context": record(
        {"elements": array(typed({**marked(3000), "image": _IMAGE}), most=10)}, BLOCK_ID
    ),
    "actions": record({"elements": array(typed(_ACTIVE), most=25)}, BLOCK_ID),
    "image": record(_PICTURE, {"title": typed(plain_text(2000)), **BLOCK_ID}),
    "rich_text": record({"elements": array(_RICH)}, BLOCK_ID),
}
