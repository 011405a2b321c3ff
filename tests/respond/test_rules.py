"""Which replies Wix takes, and how a sent one is recognised."""

import pytest

from alerter.models import Reply
from alerter.respond.rules import InvalidReply, is_same_reply, parse_reply

LONG = "Sorry! " * 500


def test_a_reply_is_sent_in_one_form() -> None:
    assert parse_reply("  Cafe\u0301\r\nis\rclosed \n") == "Café\nis\nclosed"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("x" * 10_001, "too long"),
        ("a\0b", "control characters"),
        ("\x1b[2J", "control characters"),
        ("\ud800", "not text"),
    ],
)
def test_a_reply_that_wix_does_not_take_is_named(message: str, fault: str) -> None:
    with pytest.raises(InvalidReply) as raised:
        parse_reply(message)
    assert raised.value.fault == fault


def test_the_longest_reply_is_taken() -> None:
    assert len(parse_reply("é" * 10_000)) == 10_000


@pytest.mark.parametrize(
    ("found", "sent"),
    [
        ("We are sorry.", "We are sorry."),
        ("We are sorry.\r\nCall us.", "We are sorry.\nCall us."),
        (" We are sorry. ", "We are sorry."),
        ("Cafe\u0301", "Café"),
        (LONG[:1000], LONG),
        (LONG[:3000], LONG),
        ("😀" * 500, "😀" * 900),
    ],
    ids=["equal", "line ends", "spaces", "normalised", "cut", "cut later", "cut by UTF-16"],
)
def test_our_reply_is_recognised_though_wix_changed_its_form(found: str, sent: str) -> None:
    assert is_same_reply(Reply(found), sent)


@pytest.mark.parametrize(
    ("found", "sent"),
    [("We are sorry", "We are sorry."), ("", "We are sorry."), ("x" * 1000, LONG)],
)
def test_another_reply_is_not_ours(found: str, sent: str) -> None:
    assert not is_same_reply(Reply(found), sent)
    assert not is_same_reply(None, sent)
