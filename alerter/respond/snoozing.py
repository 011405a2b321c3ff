"""Until when a review may be snoozed: what people write. Pure."""

import re
from datetime import UTC, date, datetime, timedelta, tzinfo

from alerter.snoozes import MORNING, SnoozeChoice, local_moment, snooze_choices

LONGEST_SNOOZE = timedelta(days=365)


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
            return local_moment(date.fromisoformat(text), MORNING, timezone)
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
