"""The language of a receiver's messages."""

import pytest

from tests.support.config import LEAST, Faults, Load


def test_messages_are_in_english_unless_the_receiver_says_otherwise(load: Load) -> None:
    [receiver] = load(LEAST).receivers
    assert receiver.language == "en"


@pytest.mark.parametrize("code", ["en", "de", "fr", "es", "pt", "he"])
def test_a_receiver_has_a_language(load: Load, code: str) -> None:
    [receiver] = load(f'{LEAST}language = "{code}"\n').receivers
    assert receiver.language == code


@pytest.mark.parametrize(
    ("value", "near"),
    [
        ('"DE"', "de"),
        ('"de_AT"', "de"),
        ('"pt-BR"', "pt"),
        ('"German"', "de"),
        ('"Españl"', "es"),
        ('"iw"', "he"),
        ('"hebrw"', "he"),
    ],
)
def test_a_language_that_is_spelt_otherwise_is_suggested(
    faults: Faults, value: str, near: str
) -> None:
    [problem] = faults(f"{LEAST}language = {value}\n")
    assert problem == (
        "receivers.1.language: must be a language: en, de, fr, es, pt or he;"
        f' did you mean "{near}"? (in config.toml)'
    )


@pytest.mark.parametrize("value", ['"klingon"', "1", '""', '["de"]'])
def test_a_language_like_no_other_is_a_fault_without_a_suggestion(
    faults: Faults, value: str
) -> None:
    [problem] = faults(f"{LEAST}language = {value}\n")
    assert "must be a language: en, de, fr, es, pt or he (in" in problem
