"""What a service says is made safe in one place: one line, cut, without addresses, secrets and
tricks.
"""

from base64 import b64encode, urlsafe_b64encode

import pytest

from alerter.text import LONGEST_REPLY, clean_reply, counted, is_excessive_json

SECRET = "smtp-pass-55d0"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("250 ok", "250 ok"),
        ("two\r\nlines\tand\x0bmore", "two lines and more"),
        ("\x1b[2J\x1b]0;x\x07red", "[2J ]0;x red"),
        ("no\udcff\ud800pe", "no pe"),
        ("a\u202eb\u2066c\u200bd\u2028e\u2029f", "a b c d e f"),
        ("550 <second@example.com>: unknown", "550 <[address]>: unknown"),
        ("", ""),
        (None, "None"),
    ],
    ids=["plain", "lines", "escapes", "surrogates", "bidi", "an address", "nothing", "not text"],
)
def test_a_reply_is_one_line_of_characters_that_show_as_themselves(
    said: object, shown: str
) -> None:
    assert clean_reply(said).encode() == shown.encode()


def test_a_reply_is_cut() -> None:
    assert clean_reply("x" * 5000) == "x" * LONGEST_REPLY
    assert clean_reply("x" * 5000, most=10) == "x" * 10


def test_a_secret_is_not_repeated_in_the_base64_of_addresses() -> None:
    secret = "ÿ?þ>ü~û|ÿ?"
    encoded = urlsafe_b64encode(secret.encode()).decode()
    assert "-" in encoded or "_" in encoded
    assert clean_reply(f"see {encoded}", secrets=[secret]).removesuffix("=") == "see [secret]"


@pytest.mark.parametrize("offset", range(3))
def test_a_secret_is_not_repeated_in_base64_wherever_it_begins(offset: int) -> None:
    for tail in ("", "a", "ab", "abc"):
        encoded = b64encode(("u" * offset + SECRET + tail).encode()).decode()
        cleaned = clean_reply(f"535 no: {encoded}", secrets=[SECRET])
        assert "[secret]" in cleaned
        assert not any(
            encoded[start : start + 12] in cleaned for start in range(2, len(encoded) - 12)
        )


def test_a_secret_is_not_repeated_as_it_is() -> None:
    assert clean_reply(f"no {SECRET}!", secrets=["", SECRET]) == "no [secret]!"


def test_short_secrets_do_not_swell_a_reply() -> None:
    said = "Authentication failed" * 100
    assert clean_reply(said, secrets=["k"]) == clean_reply(said)
    assert clean_reply("aaa", secrets=["a", "s", "e"]) == "[secret]" * 3


def test_a_secret_that_is_not_unicode_is_hidden_too() -> None:
    assert clean_reply("no \udc80!", secrets=["\udc80"]) == "no [secret]!"


@pytest.mark.parametrize("spaces", range(3970, 4001))
def test_a_secret_at_the_first_cut_leaves_no_beginning_behind(spaces: int) -> None:
    cleaned = clean_reply(f"no{' ' * spaces}{SECRET}{SECRET}", secrets=[SECRET])
    assert cleaned.startswith("no")
    assert SECRET[:2] not in cleaned


@pytest.mark.parametrize(
    ("body", "excessive"),
    [
        (b"[" + b"0," * 2_000_001, True),
        (b'["' + b"," * 2_000_000 + b'"]', False),
        (b'["' + b'\\",' * 2_000_000 + b'"]', False),
        (b'"' + b'\\",' * 2_000_000, False),
        (b'"' + b'\\"' * 2_000_000 + b"\\", False),
        (b'"\\\\",' * 2_000_000, True),
    ],
    ids=[
        "values",
        "commas in a text",
        "escaped",
        "no end",
        "an escape at the end",
        "after a backslash",
    ],
)
def test_values_of_json_are_counted_and_not_what_texts_hold(
    body: bytes, *, excessive: bool
) -> None:
    assert is_excessive_json(body) is excessive


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 deliveries wait"), (1, "1 delivery waits"), (2, "2 deliveries wait")],
)
def test_a_number_has_its_noun_and_its_verb(number: int, text: str) -> None:
    assert counted(number, "delivery waits", "deliveries wait") == text
    assert counted(number, "site") == f"{number} site{'' if number == 1 else 's'}"
