"""Canned replies are rendered with a review, whose words are data."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import pytest

from alerter.clock import Clock
from alerter.commands.check import check_replies
from alerter.config import CannedReply, load_config
from alerter.errors import RenderError
from alerter.models import Product
from alerter.render.canned import CannedReplies
from alerter.render.formatting import clean_line
from alerter.respond.rules import parse_reply
from tests.support.config import FULL
from tests.support.rendered import HOSTILE, STALE, entry

ITEM = entry(replace(STALE, author="Ada", rating=2), product=Product("Rye bread"))
SORRY = "Hello {{ author }},\n{{ product }} at {{ site }}: {{ rating }} stars"
BROKEN = {
    "a syntax error": (
        "{{ author",
        'template of the reply "Sorry", line 1: unexpected end of template',
    ),
    "an unknown name": ("Hello\n{{ autor }}", "line 2: 'autor' is undefined"),
    "nothing": ("{{ '' }}", "Wix does not take what it makes: empty"),
    "too much": ("{{ 'x' * 10001 }}", "Wix does not take what it makes: too long"),
    "control characters": ("{{ 'a\\x07' }}", "control characters"),
    "half a character": ("{{ 'a\\ud83d' }}", "makes half a character"),
    "a way out of the sandbox": ("{{ author.__class__.__mro__ }}", "line 1"),
    "more than its limits": ("{{ 'x' * 10 ** 9 }}", "takes more than 200 MB of memory"),
    "a file": ("{% include 'new.txt' %}", "line 1"),
}


def canned(*texts: str) -> CannedReplies:
    replies = [
        CannedReply(name="Sorry" if number == 0 else f"Sorry {number}", text=text)
        for number, text in enumerate(texts)
    ]
    return CannedReplies(replies, parse_reply)


def test_each_reply_is_rendered_with_the_review_in_the_order_of_the_config() -> None:
    assert canned(SORRY, "Thank you!\r\n").texts(ITEM, "Corner Bakery") == [
        ("Sorry", "Hello Ada,\nRye bread at Corner Bakery: 2 stars"),
        ("Sorry 1", "Thank you!"),
    ]


def test_a_reply_has_the_spaces_and_signs_of_its_language() -> None:
    text = "Bonjour\u00a0! 👩\u200d🍳 می\u200cخواهم"
    assert canned(text).texts(ITEM, "Corner Bakery") == [("Sorry", text)]


@pytest.fixture(scope="module")
def dear() -> CannedReplies:
    """One process for all names."""
    return canned("Dear {{ author }}\n{{ product }}")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_a_customer_wrote_is_neither_markup_nor_template(
    dear: CannedReplies, text: str
) -> None:
    item = entry(replace(STALE, author=text), product=Product(text))
    [(_, made)] = dear.texts(item, "Corner Bakery")
    line = clean_line(text)
    assert made == normalize("NFC", f"Dear {line}\n{line}")


def test_characters_that_wix_does_not_take_are_left_out_of_names() -> None:
    item = entry(replace(STALE, author="A\x00d\x1ba \ud83d"))
    assert canned("Hello {{ author }}!").texts(item, "Corner Bakery") == [("Sorry", "Hello Ada!")]


@pytest.mark.parametrize(("text", "fault"), BROKEN.values(), ids=BROKEN)
def test_a_reply_with_a_fault_is_left_out_and_its_name_logged(
    text: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    replies = canned(text, "Thank you")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert replies.texts(ITEM, "Corner Bakery") == [("Sorry 1", "Thank you")]
    assert caplog.messages == ["canned reply left out: name=Sorry; run `alerter check`"]
    with pytest.raises(RenderError) as refused:
        replies.text("Sorry", ITEM, "Corner Bakery")
    assert fault in str(refused.value)


def test_a_fault_for_the_log_holds_nothing_of_the_review() -> None:
    with pytest.raises(RenderError) as refused:
        canned("{{ author.upper().index('9') }}").text("Sorry", ITEM, "Corner Bakery")
    assert refused.value.fault == 'of the reply "Sorry", line 1: ValueError'


def test_check_renders_each_reply_with_awkward_reviews(tmp_path: Path) -> None:
    def check(**replies: str) -> list[tuple[bool, str]]:
        tables = "".join(
            f"[[replies]]\nname = {json.dumps(name)}\ntext = {json.dumps(text)}\n"
            for name, text in replies.items()
        )
        file = tmp_path / "config.toml"
        file.write_text(FULL + tables)
        config = load_config(file, {}, secrets=False)
        return [(each.ok, each.text) for each in check_replies(config, Clock())]

    assert check() == []
    assert check(Sorry=SORRY) == [(True, "1 canned reply can be sent")]
    # A fault that a usual review does not show.
    [(ok, text)] = check(Sorry=SORRY, Bad="Dear {{ author[0] }}")
    assert not ok
    assert text.startswith('template of the reply "Bad", line 1: ')
    assert text.endswith("(found with: stars only)")
