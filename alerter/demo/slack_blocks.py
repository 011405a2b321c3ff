"""Check blocks of messages as strictly as Slack documents them.

https://docs.slack.dev/reference/block-kit/blocks
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Check = Callable[[Any, str], Iterator[str]]

_MOST_BLOCKS = 50
_URL = re.compile(r"https?://[^\s/]+\S*", re.IGNORECASE)
_LINK = re.compile(r"[a-z][a-z0-9+.-]*:\S+", re.IGNORECASE)


def faults_of(blocks: object) -> list[str]:
    """Return every fault of a list of blocks with its place; empty if they are valid."""
    return [
        *_list(_BLOCK, most=_MOST_BLOCKS)(blocks, "/blocks"),
        *_repeated(blocks, "block_id", "/blocks"),
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


def _repeated(parts: object, name: str, pointer: str) -> Iterator[str]:
    seen: set[str] = set()
    for place, part in enumerate(parts if isinstance(parts, list) else []):
        if not isinstance(part, Mapping):
            continue
        its_id = part.get(name)
        if isinstance(its_id, str) and its_id in seen:
            yield _at(f"{name} already exists: {its_id}", f"{pointer}/{place}/{name}")
        if isinstance(its_id, str):
            seen.add(its_id)
        if part.get("type") == "actions":
            yield from _repeated(part.get("elements"), "action_id", f"{pointer}/{place}/elements")


def _at(fault: str, pointer: str) -> str:
    return f"{fault} [json-pointer:{pointer}]"


def _string(
    most: int | None = None, least: int = 1, pattern: re.Pattern[str] | None = None
) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, str):
            yield _at("must provide a string", pointer)
        elif len(value) < least:
            yield _at(f"must be more than {least - 1} characters", pointer)
        elif most is not None and len(value) > most:
            yield _at(f"must be less than {most + 1} characters", pointer)
        elif pattern is not None and not pattern.fullmatch(value):
            yield _at("must be a valid URL", pointer)

    return check


def _choice(*allowed: Any) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if not any(
            value is each or (type(value) is type(each) and value == each) for each in allowed
        ):
            yield _at(f"must be one of {', '.join(map(str, allowed))}", pointer)

    return check


def _whole(value: Any, pointer: str) -> Iterator[str]:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        yield _at("must provide an integer", pointer)


def _list(check: Check, most: int | None = None, least: int = 1) -> Check:
    def check_list(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield _at("must provide an array", pointer)
            return
        if len(value) < least:
            yield _at(f"no less than {least} items allowed", pointer)
        if most is not None and len(value) > most:
            yield _at(f"no more than {most} items allowed", pointer)
        for place, each in enumerate(value):
            yield from check(each, f"{pointer}/{place}")

    return check_list


def _object(
    required: Mapping[str, Check], optional: Mapping[str, Check], one_of: Sequence[str] = ()
) -> Check:
    checks = {**required, **optional}

    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield _at("must provide an object", pointer)
            return
        for name in required:
            if name not in value:
                yield _at(f"missing required field: {name}", pointer)
        if one_of and not any(name in value for name in one_of):
            yield _at(f"must define either {' or '.join(f'`{name}`' for name in one_of)}", pointer)
        for name, part in value.items():
            if name == "type":
                continue
            if name not in checks:
                yield _at(f"invalid additional property: {name}", pointer)
            else:
                yield from checks[name](part, f"{pointer}/{name}")

    return check


def _typed(types: Mapping[str, Check]) -> Check:
    def check(value: Any, pointer: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield _at("must provide an object", pointer)
        elif "type" not in value:
            yield _at("missing required field: type", pointer)
        elif not isinstance(value["type"], str) or value["type"] not in types:
            yield _at(f"unsupported type: {value['type']}", f"{pointer}/type")
        else:
            yield from types[value["type"]](value, pointer)

    return check


_FLAG = _choice(True, False)


def _plain(most: int) -> dict[str, Check]:
    return {"plain_text": _object({"text": _string(most)}, {"emoji": _FLAG})}


def _text(most: int) -> dict[str, Check]:
    return {**_plain(most), "mrkdwn": _object({"text": _string(most)}, {"verbatim": _FLAG})}


_ID: Mapping[str, Check] = {"block_id": _string(255)}
_PICTURE: Mapping[str, Check] = {
    "image_url": _string(3000, pattern=_URL),
    "alt_text": _string(2000),
}
_IMAGE = _object(_PICTURE, {})
_CONFIRM = _object(
    {
        "title": _typed(_plain(100)),
        "text": _typed(_plain(300)),
        "confirm": _typed(_plain(30)),
        "deny": _typed(_plain(30)),
    },
    {"style": _choice("primary", "danger")},
)
_BUTTON = _object(
    {"text": _typed(_plain(75))},
    {
        "action_id": _string(255),
        "url": _string(3000, pattern=_LINK),
        "value": _string(2000),
        "style": _choice("primary", "danger"),
        "confirm": _CONFIRM,
        "accessibility_label": _string(75),
    },
)


def _styled(*names: str) -> Check:
    return _object({}, dict.fromkeys(names, _FLAG))


_STYLE = _styled("bold", "italic", "strike", "code", "underline")
_MENTION_STYLE = _styled(
    "bold", "italic", "strike", "highlight", "client_highlight", "unlink", "underline"
)
_WORDS: Mapping[str, Check] = {
    "text": _object({"text": _string()}, {"style": _STYLE}),
    "link": _object(
        {"url": _string(pattern=_LINK)}, {"text": _string(), "unsafe": _FLAG, "style": _STYLE}
    ),
}
_INLINE = _typed(
    {
        **_WORDS,
        "emoji": _object({"name": _string()}, {"unicode": _string(), "style": _STYLE}),
        "date": _object(
            {"timestamp": _whole, "format": _string(), "fallback": _string()},
            {"url": _string(pattern=_LINK), "timezone": _string(), "style": _MENTION_STYLE},
        ),
        "user": _object({"user_id": _string()}, {"style": _MENTION_STYLE}),
        "usergroup": _object({"usergroup_id": _string()}, {"style": _MENTION_STYLE}),
        "channel": _object({"channel_id": _string()}, {"style": _MENTION_STYLE}),
        "broadcast": _object(
            {"range": _choice("here", "channel", "everyone")}, {"style": _MENTION_STYLE}
        ),
    },
)
# Unlike most other lists, the elements of a section may be empty.
_SECTION = _object({"elements": _list(_INLINE, least=0)}, {})
_BORDER: Mapping[str, Check] = {"border": _choice(0, 1)}
_RICH = _typed(
    {
        "rich_text_section": _SECTION,
        "rich_text_quote": _object({"elements": _list(_INLINE, least=0)}, _BORDER),
        "rich_text_preformatted": _object(
            {"elements": _list(_typed(_WORDS), least=0)}, {**_BORDER, "language": _string()}
        ),
        "rich_text_list": _object(
            {
                "elements": _list(_typed({"rich_text_section": _SECTION})),
                "style": _choice("bullet", "ordered"),
            },
            {**_BORDER, "indent": _whole, "offset": _whole},
        ),
    },
)
_BLOCK = _typed(
    {
        "section": _object(
            {},
            {
                "text": _typed(_text(3000)),
                "fields": _list(_typed(_text(2000)), most=10),
                "accessory": _typed({"button": _BUTTON, "image": _IMAGE}),
                "expand": _FLAG,
                **_ID,
            },
            one_of=("text", "fields"),
        ),
        "header": _object({"text": _typed(_plain(150))}, _ID),
        "divider": _object({}, _ID),
        "context": _object(
            {"elements": _list(_typed({**_text(3000), "image": _IMAGE}), most=10)}, _ID
        ),
        "actions": _object({"elements": _list(_typed({"button": _BUTTON}), most=25)}, _ID),
        "image": _object(_PICTURE, {"title": _typed(_plain(2000)), **_ID}),
        "rich_text": _object({"elements": _list(_RICH)}, _ID),
    },
)
