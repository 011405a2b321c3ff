"""Moments in the timezone of their readers.

The process that renders templates imports this, and nothing that waits as a clock does.
"""

from contextlib import suppress
from datetime import datetime, tzinfo


def local_time(moment: datetime, timezone: tzinfo) -> datetime:
    """Return a moment in a timezone; the first and the last day that exist may stay in UTC."""
    with suppress(OverflowError):
        return moment.astimezone(timezone)
    return moment
