"""Time, and how HTTP names it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from alerter.clock import Clock, http_date, seconds_from
from tests.support.clock import SetClock
from tests.support.waiting import HANG

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = 86400.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("86400", DAY),
        ("99999999", DAY),
        ("inf", DAY),
        ("9" * 5000, DAY),
        ("nan", None),
        (None, None),
        ("", None),
        ("soon", None),
        ("1 minute", None),
        ("12:30", None),
        ("Tue, 24 Nov 2026 12:01:30 GMT", 90.0),
        ("Tue, 24 Nov 2026 13:01:30 +0100", 90.0),
        ("Tuesday, 24-Nov-26 12:01:30 GMT", 90.0),
        ("Tue Nov 24 12:01:30 2026", 90.0),
        ("Tue, 24 Nov 2026 12:01:30 -0000", 90.0),
        ("Tue, 24 Nov 2026 11:59:00 GMT", 0.0),
        ("Wed, 24 Nov 2027 12:00:00 GMT", DAY),
        ("Tue, 31 Feb 2026 12:00:00 GMT", None),
        ("Mon, 01 Jan 2024 00:00:00 +999999", None),
        pytest.param("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
    ],
    ids=[
        "seconds",
        "nothing",
        "blanks around",
        "a fraction",
        "negative",
        "a day",
        "longer than a day",
        "for ever",
        "thousands of digits",
        "not a number",
        "missing",
        "empty",
        "a word",
        "a number and a word",
        "a time of day",
        "a date",
        "a date with an offset",
        "a date as RFC 850 has it",
        "a date as asctime has it",
        "a date of no known zone",
        "a date in the past",
        "a date next year",
        "a day that is none",
        "an offset that is none",
        "a year out of range",
    ],
)
def test_retry_after_is_understood_in_both_its_forms_or_left_aside(
    header: str | None, seconds: float | None
) -> None:
    assert seconds_from(header, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Tue, 24 Nov 2026 12:00:00 GMT", NOW),
        ("Tue, 24 Nov 2026 14:00:00 +0200", NOW),
        ("Tue, 24 Nov 2026 12:00:00", NOW),
        ("Tue, 24 Nov 2026 12:00:00 -0000", NOW),
        ("2026-11-24T12:00:00Z", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        pytest.param("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
    ],
    ids=[
        "GMT",
        "an offset",
        "no zone",
        "unknown zone",
        "ISO",
        "a word",
        "empty",
        "missing",
        "offset out of range",
    ],
)
def test_an_http_date_is_a_moment_with_a_zone_or_nothing(
    text: str | None, moment: datetime | None
) -> None:
    found = http_date(text)

    assert found == moment
    assert found is None or found.tzinfo is not None


async def test_the_real_clock_is_utc_and_never_runs_backwards() -> None:
    clock = Clock()

    begun, wall_begun = time.monotonic(), datetime.now(UTC)
    ticks, wall = clock.monotonic(), clock.now()
    await clock.sleep(0)
    later = clock.monotonic()

    assert begun <= ticks <= later <= time.monotonic()
    assert wall.utcoffset() == timedelta(0)
    assert wall_begun <= wall <= datetime.now(UTC)


async def test_a_timeout_of_the_real_clock_ends_only_what_takes_longer() -> None:
    clock = Clock()

    async with clock.timeout(HANG):
        await clock.sleep(0)
    with pytest.raises(TimeoutError):
        async with clock.timeout(0):
            await asyncio.sleep(HANG)


async def test_sleeping_on_the_real_clock_lets_others_go_on() -> None:
    done: list[str] = []

    async def other() -> None:
        done.append("other")

    async with asyncio.TaskGroup() as group:
        group.create_task(other())
        await Clock().sleep(0)
        done.append("sleeper")

    assert done == ["other", "sleeper"]


@pytest.mark.parametrize(
    ("second", "left"), [(0.0, 5.0), (2.5, 2.5), (4.75, 0.25), (55.0, 5.0)], ids=str
)
def test_what_is_done_again_and_again_is_due_together(second: float, left: float) -> None:
    clock = SetClock(NOW + timedelta(seconds=second))
    assert clock.until_next(5.0) == pytest.approx(left)
