"""Until when a receiver hears nothing, in weeks in which the clocks change too."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from alerter.config import Quiet
from alerter.watch.quiet import quiet_until

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


def quiet(begin: str, end: str, *days: str) -> Quiet:
    return Quiet.model_validate({"from": begin, "to": end} | ({"days": days} if days else {}))


def at(text: str, zone: str = BERLIN, *, second: bool = False) -> datetime:
    """A moment by the clock of a zone; `second`: the second time that it shows it."""
    return (
        datetime.fromisoformat(text)
        .replace(tzinfo=ZoneInfo(zone), fold=int(second))
        .astimezone(UTC)
    )


def until(hours: Quiet, now: datetime, zone: str = BERLIN) -> datetime | None:
    return quiet_until(hours, now, ZoneInfo(zone))


NIGHT = quiet("22:00", "07:00")
NOON = quiet("12:00", "14:00")


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        (NIGHT, "2026-11-24T21:59:59", None),
        (NIGHT, "2026-11-24T22:00", "2026-11-25T07:00"),
        (NIGHT, "2026-11-25T00:00", "2026-11-25T07:00"),
        (NIGHT, "2026-11-25T06:59:59", "2026-11-25T07:00"),
        (NIGHT, "2026-11-25T07:00", None),
        (NIGHT, "2026-12-31T23:30", "2027-01-01T07:00"),
        (NOON, "2026-11-24T11:59", None),
        (NOON, "2026-11-24T12:00", "2026-11-24T14:00"),
        (NOON, "2026-11-24T14:00", None),
        (quiet("00:00", "06:00"), "2026-11-24T00:00", "2026-11-24T06:00"),
        (quiet("22:00", "00:00"), "2026-11-24T23:59", "2026-11-25T00:00"),
        (quiet("22:00", "24:00"), "2026-11-24T23:59", "2026-11-25T00:00"),
    ],
)
def test_quiet_hours_begin_and_end_by_the_clock(hours: Quiet, now: str, end: str | None) -> None:
    assert until(hours, at(now)) == (at(end) if end else None)


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-23T06:00", None),  # Monday: what began on Sunday is not of these days
        ("2026-11-23T23:00", "2026-11-24T07:00"),
        ("2026-11-27T23:00", "2026-11-28T07:00"),  # Friday's last into Saturday
        ("2026-11-28T06:00", "2026-11-28T07:00"),
        ("2026-11-28T23:00", None),
        ("2026-11-29T23:00", None),
    ],
)
def test_days_are_those_on_which_the_hours_begin(now: str, end: str | None) -> None:
    workdays = quiet("22:00", "07:00", "mon", "tue", "wed", "thu", "fri")
    assert until(workdays, at(now)) == (at(end) if end else None)


def test_hours_that_follow_each_other_end_once() -> None:
    weekend = quiet("00:00", "24:00", "sat", "sun")
    assert until(weekend, at("2026-11-27T23:59")) is None
    assert until(weekend, at("2026-11-28T00:00")) == at("2026-11-30T00:00")
    assert until(weekend, at("2026-11-29T12:00")) == at("2026-11-30T00:00")


def test_all_days_but_one_end_on_that_day() -> None:
    most = quiet("00:00", "24:00", "mon", "tue", "wed", "thu", "fri", "sat")
    assert until(most, at("2026-11-23T00:00")) == at("2026-11-29T00:00")


@pytest.mark.parametrize(
    ("zone", "now", "end", "hours"),
    [
        (BERLIN, "2026-03-28T22:00", "2026-03-29T07:00", 8),
        (BERLIN, "2026-10-24T22:00", "2026-10-25T07:00", 10),
        (LORD_HOWE, "2026-10-03T22:00", "2026-10-04T07:00", 8.5),
        (LORD_HOWE, "2026-04-04T22:00", "2026-04-05T07:00", 9.5),
        ("Asia/Kolkata", "2026-03-28T22:00", "2026-03-29T07:00", 9),
    ],
    ids=[
        "Berlin in March",
        "Berlin in October",
        "Lord Howe in October",
        "Lord Howe in April",
        "no change",
    ],
)
def test_a_night_in_which_the_clocks_change_ends_by_the_clock(
    zone: str, now: str, end: str, hours: float
) -> None:
    night_end = until(NIGHT, at(now, zone), zone)
    assert night_end == at(end, zone)
    assert night_end - at(now, zone) == timedelta(hours=hours)


def test_hours_that_end_at_a_skipped_time_end_after_it() -> None:
    assert until(quiet("22:00", "02:30"), at("2026-03-29T01:59")) == at("2026-03-29T03:00")
    assert until(quiet("22:00", "02:15"), at("2026-10-04T01:59", LORD_HOWE), LORD_HOWE) == at(
        "2026-10-04T02:30", LORD_HOWE
    )


def test_hours_that_begin_at_a_skipped_time_begin_after_it() -> None:
    late = quiet("02:30", "07:00")
    assert until(late, at("2026-03-29T01:59:59")) is None
    assert until(late, at("2026-03-29T03:00")) == at("2026-03-29T07:00")


def test_hours_that_are_skipped_altogether_are_none() -> None:
    lost = quiet("02:15", "02:45")
    moments = [at("2026-03-29T00:00") + timedelta(minutes=minute) for minute in range(240)]
    assert [moment for moment in moments if until(lost, moment)] == []


def test_a_time_that_comes_twice_begins_the_hours_first_and_ends_them_last() -> None:
    last = at("2026-10-25T02:30", second=True)
    for begin, end, now in (
        ("22:00", "02:30", "2026-10-25T02:45"),
        ("02:15", "02:30", "2026-10-25T02:20"),
    ):
        assert until(quiet(begin, end), at(now)) == last
    assert until(quiet("02:15", "02:30"), last) is None


@pytest.mark.parametrize(
    "zone", [BERLIN, LORD_HOWE, "America/Havana", "America/St_Johns", "Pacific/Apia", "UTC"]
)
@pytest.mark.parametrize(
    "hours", [NIGHT, NOON, quiet("23:59", "00:01"), quiet("00:30", "00:15", "sat", "sun")]
)
def test_the_end_is_always_later_and_never_quiet(zone: str, hours: Quiet) -> None:
    """For moments of every hour and day of the months in which clocks change anywhere."""
    for month in (3, 4, 9, 10, 11):
        # 25 quarters of an hour: each day has other hours, each hour other quarters.
        for quarter in range(0, 30 * 96, 25):
            now = datetime(2026, month, 1, tzinfo=UTC) + quarter * timedelta(minutes=15)
            if end := until(hours, now, zone):
                assert now < end <= now + timedelta(days=2, hours=1)
                assert until(hours, end, zone) is None


@pytest.mark.parametrize(
    "now", [datetime(1970, 1, 1, 1, tzinfo=UTC), datetime(2036, 2, 7, 1, tzinfo=UTC)]
)
def test_a_clock_that_is_wrong_does_no_harm(now: datetime) -> None:
    assert until(NIGHT, now) == now.replace(hour=6)
