"""What Slack refuses of a message layout, the embedded Slack refuses at the same place."""

from typing import Any

import pytest

from alerter.demo.slack_blocks import faults_of, length_of


def plain(text: str = "x") -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str = "x") -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def rich(*elements: Any, kind: str = "rich_text_section", **more: Any) -> dict[str, Any]:
    return {"type": "rich_text", "elements": [{"type": kind, "elements": list(elements), **more}]}


def button(**more: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": [{"type": "button", "text": plain(), **more}]}


def overflow(count: int = 2, **more: Any) -> dict[str, Any]:
    options = [{"text": plain("x" * 75), "value": "x" * 149 + str(n), **more} for n in range(count)]
    return {"type": "overflow", "action_id": "more", "options": options}


def acting(*elements: Any) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


GOOD_BLOCKS: dict[str, dict[str, Any]] = {
    "section": {"type": "section", "text": mrkdwn("x" * 3000), "block_id": "b" * 255},
    "fields": {"type": "section", "fields": [plain("x" * 2000)] * 10},
    "accessory": {
        "type": "section",
        "text": plain(),
        "accessory": {"type": "button", "text": plain()},
    },
    "header": {"type": "header", "text": {**plain("x" * 150), "emoji": True}},
    "divider": {"type": "divider"},
    "context": {
        "type": "context",
        "elements": [
            mrkdwn(),
            plain(),
            {"type": "image", "image_url": "https://x.example/i.png", "alt_text": "i"},
        ],
    },
    "actions": {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "text": plain("x" * 75),
                "url": "https://x.example",
                "action_id": f"a{number}",
            }
            for number in range(25)
        ],
    },
    "longest button": button(action_id="x" * 255, value="x" * 2000),
    "overflow": acting(overflow(5, url="https://x.example")),
    # https://github.com/slackapi/python-slack-sdk/issues/1218
    "overflow with one option": {"type": "section", "text": plain(), "accessory": overflow(1)},
    "select": acting(
        {
            "type": "static_select",
            "placeholder": plain("x" * 150),
            "options": [{"text": plain(), "value": f"{number}"} for number in range(100)],
        }
    ),
    "image": {
        "type": "image",
        "image_url": "https://x.example/i.png",
        "alt_text": "i",
        "title": plain(),
    },
    "rich text": rich(
        {"type": "text", "text": "*not bold* <!channel>", "style": {"bold": True}},
        {"type": "link", "url": "https://x.example", "text": "here"},
        {"type": "emoji", "name": "star"},
        {
            "type": "date",
            "timestamp": 1_763_900_000,
            "format": "{date_num}",
            "fallback": "2025-11-23",
        },
        {"type": "user", "user_id": "U1"},
        {"type": "usergroup", "usergroup_id": "S1"},
        {"type": "broadcast", "range": "here"},
    ),
    "quote": rich({"type": "text", "text": "x"}, kind="rich_text_quote", border=1),
    "preformatted": rich({"type": "text", "text": "x"}, kind="rich_text_preformatted"),
    "list": rich(
        {"type": "rich_text_section", "elements": [{"type": "text", "text": "x"}]},
        kind="rich_text_list",
        style="bullet",
        indent=1,
    ),
    "empty section": rich(),
}


BAD_BLOCKS: dict[str, tuple[Any, str]] = {
    "no object": ("x", "must provide an object [json-pointer:/blocks/0]"),
    "no type": ({"text": plain()}, "missing required field: type [json-pointer:/blocks/0]"),
    "unknown type": (
        {"type": "marquee"},
        "unsupported type: marquee [json-pointer:/blocks/0/type]",
    ),
    "empty section": (
        {"type": "section"},
        "must define either `text` or `fields` [json-pointer:/blocks/0]",
    ),
    "text as a string": (
        {"type": "section", "text": "x"},
        "must provide an object [json-pointer:/blocks/0/text]",
    ),
    "unknown text": (
        {"type": "section", "text": {"type": "markdown", "text": "x"}},
        "unsupported type: markdown [json-pointer:/blocks/0/text/type]",
    ),
    "empty text": (
        {"type": "section", "text": mrkdwn("")},
        "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
    ),
    "number as text": (
        {"type": "section", "text": {"type": "mrkdwn", "text": 1}},
        "must provide a string [json-pointer:/blocks/0/text/text]",
    ),
    "long text": (
        {"type": "section", "text": mrkdwn("x" * 3001)},
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]",
    ),
    "emoji in mrkdwn": (
        {"type": "section", "text": {**mrkdwn(), "emoji": True}},
        "invalid additional property: emoji [json-pointer:/blocks/0/text]",
    ),
    "unknown property": (
        {"type": "divider", "color": "red"},
        "invalid additional property: color [json-pointer:/blocks/0]",
    ),
    "many fields": (
        {"type": "section", "fields": [plain()] * 11},
        "no more than 10 items allowed [json-pointer:/blocks/0/fields]",
    ),
    "no fields": (
        {"type": "section", "fields": []},
        "no less than 1 items allowed [json-pointer:/blocks/0/fields]",
    ),
    "long field": (
        {"type": "section", "fields": [plain(), mrkdwn("x" * 2001)]},
        "must be less than 2001 characters [json-pointer:/blocks/0/fields/1/text]",
    ),
    "mrkdwn header": (
        {"type": "header", "text": mrkdwn()},
        "unsupported type: mrkdwn [json-pointer:/blocks/0/text/type]",
    ),
    "long header": (
        {"type": "header", "text": plain("x" * 151)},
        "must be less than 151 characters [json-pointer:/blocks/0/text/text]",
    ),
    "header without text": (
        {"type": "header"},
        "missing required field: text [json-pointer:/blocks/0]",
    ),
    "much context": (
        {"type": "context", "elements": [plain()] * 11},
        "no more than 10 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "button in context": (
        {"type": "context", "elements": [{"type": "button", "text": plain()}]},
        "unsupported type: button [json-pointer:/blocks/0/elements/0/type]",
    ),
    "many actions": (
        {"type": "actions", "elements": [{"type": "button", "text": plain()}] * 26},
        "no more than 25 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "actions as an object": (
        {"type": "actions", "elements": {}},
        "must provide an array [json-pointer:/blocks/0/elements]",
    ),
    "long button": (
        button(text=plain("x" * 76)),
        "must be less than 76 characters [json-pointer:/blocks/0/elements/0/text/text]",
    ),
    "long url": (
        button(url="https://x.example/" + "x" * 3000),
        "must be less than 3001 characters [json-pointer:/blocks/0/elements/0/url]",
    ),
    "no url": (
        button(url="x.example"),
        "must be a valid URL [json-pointer:/blocks/0/elements/0/url]",
    ),
    "long value": (
        button(value="x" * 2001),
        "must be less than 2001 characters [json-pointer:/blocks/0/elements/0/value]",
    ),
    "long action id": (
        button(action_id="x" * 256),
        "must be less than 256 characters [json-pointer:/blocks/0/elements/0/action_id]",
    ),
    "action id twice": (
        {
            "type": "actions",
            "elements": [{"type": "button", "text": plain(), "action_id": "a"}] * 2,
        },
        "action_id already exists: a [json-pointer:/blocks/0/elements/1/action_id]",
    ),
    "action id of two kinds": (
        acting(overflow(), {"type": "button", "text": plain(), "action_id": "more"}),
        "action_id already exists: more [json-pointer:/blocks/0/elements/1/action_id]",
    ),
    "six options": (
        acting(overflow(6)),
        "no more than 5 items allowed [json-pointer:/blocks/0/elements/0/options]",
    ),
    "no options": (
        acting(overflow(0)),
        "no less than 1 items allowed [json-pointer:/blocks/0/elements/0/options]",
    ),
    "option without value": (
        acting({"type": "overflow", "options": [{"text": plain()}]}),
        "missing required field: value [json-pointer:/blocks/0/elements/0/options/0]",
    ),
    "marked option": (
        acting(overflow(1, text=mrkdwn())),
        "unsupported type: mrkdwn [json-pointer:/blocks/0/elements/0/options/0/text/type]",
    ),
    "long option": (
        acting(overflow(1, text=plain("x" * 76))),
        "must be less than 76 characters [json-pointer:/blocks/0/elements/0/options/0/text/text]",
    ),
    "long option value": (
        acting(overflow(1, value="x" * 151)),
        "must be less than 151 characters [json-pointer:/blocks/0/elements/0/options/0/value]",
    ),
    "option of a select with an address": (
        acting({**overflow(1, url="https://x.example"), "type": "static_select"}),
        "invalid additional property: url [json-pointer:/blocks/0/elements/0/options/0]",
    ),
    "long placeholder": (
        acting({**overflow(1), "type": "static_select", "placeholder": plain("x" * 151)}),
        "must be less than 151 characters [json-pointer:/blocks/0/elements/0/placeholder/text]",
    ),
    "unknown style": (
        button(style="loud"),
        "must be one of primary, danger [json-pointer:/blocks/0/elements/0/style]",
    ),
    "image without alt": (
        {"type": "image", "image_url": "https://x.example/i.png"},
        "missing required field: alt_text [json-pointer:/blocks/0]",
    ),
    "image without url": (
        {"type": "image", "alt_text": "i"},
        "missing required field: image_url [json-pointer:/blocks/0]",
    ),
    "long block id": (
        {"type": "divider", "block_id": "x" * 256},
        "must be less than 256 characters [json-pointer:/blocks/0/block_id]",
    ),
    "rich text without elements": (
        {"type": "rich_text", "elements": []},
        "no less than 1 items allowed [json-pointer:/blocks/0/elements]",
    ),
    "text at the top of rich text": (
        {"type": "rich_text", "elements": [{"type": "text", "text": "x"}]},
        "unsupported type: text [json-pointer:/blocks/0/elements/0/type]",
    ),
    "empty rich text": (
        rich({"type": "text", "text": ""}),
        "must be more than 0 characters [json-pointer:/blocks/0/elements/0/elements/0/text]",
    ),
    "unknown rich element": (
        rich({"type": "image"}),
        "unsupported type: image [json-pointer:/blocks/0/elements/0/elements/0/type]",
    ),
    "unknown rich property": (
        rich({"type": "text", "text": "x", "color": "red"}),
        "invalid additional property: color [json-pointer:/blocks/0/elements/0/elements/0]",
    ),
    "unknown rich style": (
        rich({"type": "text", "text": "x", "style": {"blink": True}}),
        "invalid additional property: blink [json-pointer:/blocks/0/elements/0/elements/0/style]",
    ),
    "style that is no boolean": (
        rich({"type": "text", "text": "x", "style": {"bold": 1}}),
        "must be one of True, False [json-pointer:/blocks/0/elements/0/elements/0/style/bold]",
    ),
    "link without url": (
        rich({"type": "link", "text": "x"}),
        "missing required field: url [json-pointer:/blocks/0/elements/0/elements/0]",
    ),
    "date with a fraction": (
        rich({"type": "date", "timestamp": 1.5, "format": "{date}", "fallback": "x"}),
        "must provide an integer [json-pointer:/blocks/0/elements/0/elements/0/timestamp]",
    ),
    "date without fallback": (
        rich({"type": "date", "timestamp": 1, "format": "{date}"}),
        "missing required field: fallback [json-pointer:/blocks/0/elements/0/elements/0]",
    ),
    "unknown broadcast": (
        rich({"type": "broadcast", "range": "world"}),
        (
            "must be one of here, channel, everyone "
            "[json-pointer:/blocks/0/elements/0/elements/0/range]"
        ),
    ),
    "emoji in preformatted text": (
        rich({"type": "emoji", "name": "star"}, kind="rich_text_preformatted"),
        "unsupported type: emoji [json-pointer:/blocks/0/elements/0/elements/0/type]",
    ),
    "list without style": (
        rich({"type": "rich_text_section", "elements": []}, kind="rich_text_list"),
        "missing required field: style [json-pointer:/blocks/0/elements/0]",
    ),
    "text in a list": (
        rich({"type": "text", "text": "x"}, kind="rich_text_list", style="bullet"),
        "unsupported type: text [json-pointer:/blocks/0/elements/0/elements/0/type]",
    ),
}


@pytest.mark.parametrize("block", GOOD_BLOCKS.values(), ids=GOOD_BLOCKS)
def test_a_good_block_is_taken(block: dict[str, Any]) -> None:
    assert faults_of([block]) == []


@pytest.mark.parametrize(("block", "fault"), BAD_BLOCKS.values(), ids=BAD_BLOCKS)
def test_a_bad_block_is_refused_at_its_place(block: Any, fault: str) -> None:
    assert faults_of([block]) == [fault]


def test_blocks_are_at_most_fifty_and_their_ids_unique() -> None:
    assert faults_of([{"type": "divider"}] * 51) == [
        "no more than 50 items allowed [json-pointer:/blocks]"
    ]
    twice = [{"type": "divider", "block_id": "a"}] * 2
    assert faults_of(twice) == ["block_id already exists: a [json-pointer:/blocks/1/block_id]"]
    assert faults_of([{"type": "divider"}] * 50) == []


def test_the_text_of_blocks_is_measured_wherever_it_stands() -> None:
    blocks = [
        GOOD_BLOCKS["section"],
        rich({"type": "text", "text": "12345"}),
        {"type": "header", "text": plain("123")},
    ]
    assert length_of(blocks) == 3008
