"""The one source of time."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan


class Clock:
    """Real time; tests hand in one of their own."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Bound what is done in it; what takes longer is cancelled, and TimeoutError raised."""
        return asyncio.timeout(seconds)


def ticks() -> int:
    """Nanoseconds for measuring how long something took; nothing is ever decided by them."""
    return time.perf_counter_ns()


_LONGEST_WAIT = 86400.0


def seconds_from(retry_after: str | None, now: datetime) -> float | None:
    """What a Retry-After header asks for, in seconds: it holds a number or an HTTP date, or nothing of use.

    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    try:
        seconds = float(retry_after or "")
    except ValueError:
        moment = http_date(retry_after)
        return min(max((moment - now).total_seconds(), 0.0), _LONGEST_WAIT) if moment else None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if not isnan(seconds) else None


def http_date(text: str | None) -> datetime | None:
    """The moment that an HTTP header such as Date names, where it names one."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
