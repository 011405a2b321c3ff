"""Quiet hours. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from alerter.config import Quiet
from alerter.config.fields import DAYS

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


def quiet_until(quiet: Quiet, now: datetime, timezone: tzinfo) -> datetime | None:
    """Return the end of the quiet hours that a moment lies in; None outside them.

    Quiet hours that follow without a break count as one.
    """
    until = None
    today = now.astimezone(timezone).date()
    for ahead in range(-1, len(DAYS) + 1):
        day = today + ahead * _DAY
        if DAYS[day.weekday()] in quiet.days:
            begin, end = _hours(quiet, day, timezone)
            if begin <= (until or now) < end:
                until = end
    return until


def _hours(quiet: Quiet, day: date, timezone: tzinfo) -> tuple[datetime, datetime]:
    """Return the beginning and end of the quiet hours that begin on a day."""
    last = day if quiet.begin < quiet.end else day + _DAY
    return _moment(day, quiet.begin, timezone, fold=0), _moment(last, quiet.end, timezone, fold=1)


def _moment(day: date, minutes: int, timezone: tzinfo, *, fold: int) -> datetime:
    """Return the moment at which clocks show a time of day, the first (`fold` 0) or second one.

    A time that clocks skip becomes the next one that they show.
    """
    shown = datetime.combine(day, time()) + minutes * _MINUTE
    while True:
        moment = shown.replace(tzinfo=timezone, fold=fold).astimezone(UTC)
        if moment.astimezone(timezone).replace(tzinfo=None) == shown:
            return moment
        shown += _MINUTE
