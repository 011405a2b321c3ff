"""Until when a review may be snoozed."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from alerter.respond.snoozing import parse_until
from alerter.snoozes import snooze_choices

BERLIN = ZoneInfo("Europe/Berlin")
# A Wednesday, 15:30 in Berlin.
NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)


def test_the_choices_are_in_the_timezone_of_the_config() -> None:
    assert [each.isoformat() for each in snooze_choices(NOW, BERLIN).values()] == [
        "2026-11-25T17:00:00+00:00",
        "2026-11-26T08:00:00+00:00",
        "2026-11-30T08:00:00+00:00",
    ]


def test_this_evening_is_left_out_from_17_on() -> None:
    assert list(snooze_choices(NOW.replace(hour=16, minute=0), BERLIN)) == ["tomorrow", "monday"]
    assert "evening" in snooze_choices(NOW.replace(hour=15, minute=59), BERLIN)


def test_monday_is_left_out_on_a_sunday() -> None:
    sunday = NOW.replace(day=29)
    assert list(snooze_choices(sunday, BERLIN)) == ["evening", "tomorrow"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-11-25T16:30:00+00:00"),
        ("90m", "2026-11-25T16:00:00+00:00"),
        ("3d", "2026-11-28T14:30:00+00:00"),
        ("tomorrow", "2026-11-26T08:00:00+00:00"),
        ("2026-12-24", "2026-12-24T08:00:00+00:00"),
        ("2026-12-24T14:00", "2026-12-24T13:00:00+00:00"),
        ("2026-12-24T14:00+05:00", "2026-12-24T09:00:00+00:00"),
        ("2026-12-24T14:00Z", "2026-12-24T14:00:00+00:00"),
    ],
)
def test_a_moment_is_read_as_people_write_it(text: str, moment: str) -> None:
    assert parse_until(text, NOW, BERLIN).isoformat() == moment


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("soon", "is not a moment"),
        ("", "is not a moment"),
        ("0h", "is past"),
        ("2026-11-25", "is past"),
        ("2025-01-01T00:00Z", "is past"),
        ("2028-01-01", "more than a year"),
        ("999999d", "more than a year"),
        ("9999-12-31T23:59-23:59", "is not a moment"),
        ("2026-13-45", "is not a moment"),
    ],
)
def test_a_moment_that_cannot_be_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_until(text, NOW, BERLIN)
