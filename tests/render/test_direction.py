"""The direction of lines and Slack's texts in messages that run from right to left."""

import sys
import unicodedata

import pytest

from alerter.render.direction import direct_blocks, direct_lines
from alerter.render.formatting import isolate

MARK = "\u200f"
ISOLATED = "\u2068{}\u2069"


@pytest.mark.parametrize(
    ("text", "direction", "is_isolated"),
    [
        ("Corner Bakery", "ltr", False),
        ("מאפייה", "ltr", True),
        ("Corner Bakery", "rtl", True),
        ("מאפייה", "rtl", False),
        ("מאפייה Bakery", "rtl", True),
        ("2026!", "rtl", False),
    ],
)
def test_a_name_of_the_other_direction_is_isolated(
    text: str, direction: str, is_isolated: bool
) -> None:
    assert isolate(text, direction) == (ISOLATED.format(text) if is_isolated else text)


def test_a_name_with_any_letter_of_a_right_to_left_script_is_isolated() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    letters = [each for each in every if unicodedata.bidirectional(each) in ("R", "AL", "AN")]
    assert len(letters) > 1000
    assert all(isolate(f"ä{each}") == ISOLATED.format(f"ä{each}") for each in letters)


@pytest.mark.parametrize(
    ("line", "is_marked"),
    [
        ("ביקורת חדשה", False),
        ("Corner Bakery: ביקורת חדשה", True),
        ("\u2068Corner Bakery\u2069: ביקורת חדשה", True),
        ("★☆☆☆☆ Croissant box", True),
        ("> What the customer wrote", False),
        ("https://manage.wix.com/dashboard", False),
        ("12:30", False),
        ("", False),
    ],
)
def test_a_line_that_begins_with_latin_letters_is_marked(line: str, is_marked: bool) -> None:
    assert direct_lines(line) == (MARK + line if is_marked else line)
    assert direct_lines(f"{line}\nאחרי") == (MARK if is_marked else "") + f"{line}\nאחרי"


def section(*texts: str, kind: str = "rich_text_section") -> dict[str, object]:
    return {"type": kind, "elements": [{"type": "text", "text": text} for text in texts]}


def test_our_texts_on_slack_are_marked_and_a_customers_are_not() -> None:
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "Croissant box · מאפייה"}},
        {"type": "rich_text", "elements": [section("★ ", "Croissant"), section("השב")]},
        {"type": "rich_text", "elements": [section("Stale", kind="rich_text_quote")]},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "Wix: אושר"}]},
        {"type": "divider"},
    ]

    header, sections, quote, fields, divider = direct_blocks(blocks)

    assert header["text"]["text"] == f"{MARK}Croissant box · מאפייה"
    assert sections["elements"] == [section(MARK, "★ ", "Croissant"), section("השב")]
    assert fields["fields"][0]["text"] == f"{MARK}Wix: אושר"
    assert (quote, divider) == (blocks[2], blocks[4])


def test_a_header_of_the_greatest_length_stays_within_slacks_limit() -> None:
    block = {"type": "header", "text": {"type": "plain_text", "text": "x" * 150}}
    assert direct_blocks([block]) == [block]
