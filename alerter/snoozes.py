"""Until when a review may be snoozed by pressing a button. Pure."""

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from alerter.timezones import local_time

MORNING = time(9)
_EVENING = time(18)
# After this hour, "this evening" is too soon to be an answer.
_LAST_FOR_EVENING = time(17)


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
        found[SnoozeChoice.EVENING] = local_moment(today, _EVENING, timezone)
    found[SnoozeChoice.TOMORROW] = local_moment(tomorrow, MORNING, timezone)
    if monday != tomorrow:
        found[SnoozeChoice.MONDAY] = local_moment(monday, MORNING, timezone)
    return found


def local_moment(day: date, at: time, timezone: tzinfo) -> datetime:
    """Return the moment (UTC) of a time of day."""
    return datetime.combine(day, at, timezone).astimezone(UTC)
