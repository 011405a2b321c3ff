"""When to try again, or never."""

from datetime import timedelta
from random import Random
from statistics import mean

import pytest

from alerter.errors import ErrorKind
from alerter.notify.backoff import UNNAMED_WAIT, wait

MINUTE = 60.0


def dice(seed: int = 0) -> Random:
    return Random(seed)  # noqa: S311 - jitter


def waits(failing_for: float, *, times: int = 2000, seed: int = 7) -> list[float]:
    """Many waits of a receiver that has failed for so many seconds."""
    random = dice(seed)
    found = [
        wait(ErrorKind.TRANSIENT, timedelta(seconds=failing_for), None, random)
        for _ in range(times)
    ]
    return [each.total_seconds() for each in found if each is not None]


def test_the_first_wait_is_two_seconds_at_most_and_never_nothing() -> None:
    first = waits(0)

    assert len(first) == 2000
    assert 0 < min(first) < 0.2
    assert 1.9 < max(first) <= 2


@pytest.mark.parametrize("age", [3, 10, 42, 59.9, 60], ids=str)
def test_no_wait_is_longer_than_it_has_failed_for(age: float) -> None:
    assert 0.95 * age < max(waits(age)) <= age


@pytest.mark.parametrize("age", [61, 3600, 86400 * 365], ids=["a minute", "an hour", "a year"])
def test_no_wait_is_longer_than_a_minute(age: float) -> None:
    assert 0.95 * MINUTE < max(waits(age)) <= MINUTE


@pytest.mark.parametrize(
    ("age", "middle"), [(0, 1), (20, 10), (900, 30)], ids=["at first", "after a while", "for long"]
)
def test_waits_are_spread_over_the_whole_span(age: float, middle: float) -> None:
    found = sorted(waits(age))

    assert mean(found) == pytest.approx(middle, rel=0.05)
    quarters = [found[len(found) * part // 4] for part in (1, 2, 3)]
    assert quarters == pytest.approx([middle / 2, middle, middle * 1.5], rel=0.1)


def test_an_outage_of_ten_minutes_is_probed_tens_of_times_and_not_hundreds() -> None:
    random, passed, probes = dice(3), timedelta(), 0
    while passed < timedelta(minutes=10):
        passed += wait(ErrorKind.TRANSIENT, passed, None, random) or timedelta.max
        probes += 1

    assert 15 < probes < 60


def test_receivers_that_failed_together_do_not_come_back_together() -> None:
    together = waits(30, times=50)

    assert len({round(each, 3) for each in together}) > 45


@pytest.mark.parametrize("asked", [1.0, 30.0, 86400.0], ids=str)
def test_a_throttled_service_is_left_alone_for_just_as_long_as_it_asks(asked: float) -> None:
    assert wait(ErrorKind.THROTTLED, timedelta(hours=9), asked, dice()) == timedelta(seconds=asked)


@pytest.mark.parametrize("asked", [0.0, 0.01, 0.999], ids=str)
def test_a_service_that_throttles_without_a_wait_is_not_called_in_a_loop(asked: float) -> None:
    random, passed, calls = dice(3), timedelta(), 0
    while passed < timedelta(minutes=10):
        waited = wait(ErrorKind.THROTTLED, passed, asked, random) or timedelta.max
        assert waited >= timedelta(seconds=asked)
        passed += waited
        calls += 1

    assert 15 < calls < 60


def test_a_throttled_service_that_names_no_time_is_left_alone_for_a_while() -> None:
    assert (
        wait(ErrorKind.THROTTLED, timedelta(), None, dice())
        == UNNAMED_WAIT
        >= timedelta(seconds=10)
    )


@pytest.mark.parametrize("kind", [ErrorKind.RECEIVER, ErrorKind.SERVICE])
@pytest.mark.parametrize("retry_after", [None, 5.0], ids=["no time named", "a time named"])
def test_what_a_person_has_to_mend_is_not_tried_again(
    kind: ErrorKind, retry_after: float | None
) -> None:
    assert wait(kind, timedelta(seconds=5), retry_after, dice()) is None
