"""Until when a review may be snoozed: choices to press, and what people write. Pure."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from alerter.timezones import local_time

_EVENING = time(18)
_MORNING = time(9)
# After this hour, "this evening" is too soon to be an answer.
_LAST_FOR_EVENING = time(17)
LONGEST_SNOOZE = timedelta(days=365)


class SnoozeChoice(StrEnum):
    """A moment that people may choose."""

    EVENING = "evening"
    TOMORROW = "tomorrow"
    MONDAY = "monday"


def snooze_choices(now: datetime, timezone: tzinfo) -> dict[SnoozeChoice, datetime]:
    """Return the moments (UTC) to choose from: today 18:00, tomorrow 9:00, next Monday 9:00."""
    here = local_time(now, timezone)
    today = here.date()
    tomorrow = today + timedelta(days=1)
    monday = today + timedelta(days=7 - today.weekday())
    found = {}
    if here.time() < _LAST_FOR_EVENING:
        found[SnoozeChoice.EVENING] = _moment(today, _EVENING, timezone)
    found[SnoozeChoice.TOMORROW] = _moment(tomorrow, _MORNING, timezone)
    if monday != tomorrow:
        found[SnoozeChoice.MONDAY] = _moment(monday, _MORNING, timezone)
    return found


def parse_until(text: str, now: datetime, timezone: tzinfo) -> datetime:
    """Return the moment (UTC) that a person writes. Raise ValueError with what is wrong.

    A date (9:00 then), a date and time with its zone (or in the config's), `2h`, `3d`, `tomorrow`.
    """
    until = _parse(text.strip(), now, timezone)
    if until is None:
        raise ValueError(
            f'"{text}" is not a moment such as 2026-01-31, 2026-01-31T14:00+01:00, 2h or tomorrow'
        )
    if until <= now:
        raise ValueError(f'"{text}" is past')
    if until > now + LONGEST_SNOOZE:
        raise ValueError(f'"{text}" is more than a year away')
    return until


def _parse(text: str, now: datetime, timezone: tzinfo) -> datetime | None:
    if text == "tomorrow":
        return snooze_choices(now, timezone)[SnoozeChoice.TOMORROW]
    if match := re.fullmatch(r"([0-9]{1,6})([mhd])", text):
        unit = {"m": "minutes", "h": "hours", "d": "days"}[match[2]]
        return now + timedelta(**{unit: int(match[1])})
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return _moment(date.fromisoformat(text), _MORNING, timezone)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _moment(day: date, at: time, timezone: tzinfo) -> datetime:
    return datetime.combine(day, at, timezone).astimezone(UTC)
