"""The one source of time."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isnan

_LONGEST_WAIT = 86400.0
_LONGEST_ANSWER = 1.0


class Clock:
    """The real time; tests pass a clock of their own."""

    def now(self) -> datetime:
        """Return the wall clock time in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()

    def until_next(self, seconds: float) -> float:
        """Return the seconds until the next whole multiple of so many seconds.

        What is done again and again at such moments wakes the process together.
        """
        return seconds - self.now().timestamp() % seconds

    async def sleep(self, seconds: float) -> None:
        """Wait for some seconds."""
        await asyncio.sleep(seconds)

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Return a context manager that cancels its body after some seconds.

        It then raises TimeoutError.
        """
        return asyncio.timeout(seconds)


class ServerClock(Clock):
    """The time of the database's server, carried on by this machine's monotonic clock.

    What is set on this machine's wall clock does not matter.
    """

    def __init__(self) -> None:
        self._offset = super().now() - timedelta(seconds=self.monotonic())
        self._is_known = False

    def synchronize(self, read: Callable[[], datetime]) -> None:
        """Take the time from the server; `read` asks for it, and may raise.

        An answer that took long says little, as where this process was frozen meanwhile.
        """
        before = self.monotonic()
        time = read()
        if self._is_known and self.monotonic() - before > _LONGEST_ANSWER:
            return
        self._is_known = True
        self._offset = time - timedelta(seconds=(before + self.monotonic()) / 2)

    def now(self) -> datetime:
        """Return the time of the server in UTC."""
        return self._offset + timedelta(seconds=self.monotonic())


def ticks() -> int:
    """Return nanoseconds for measuring durations; no decision depends on them."""
    return time.perf_counter_ns()


def seconds_from(retry_after: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, a day at most; None if it cannot be read.

    It holds a number of seconds or an HTTP date:
    https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    try:
        seconds = float(retry_after or "")
    except ValueError:
        moment = http_date(retry_after)
        return min(max((moment - now).total_seconds(), 0.0), _LONGEST_WAIT) if moment else None
    return min(max(seconds, 0.0), _LONGEST_WAIT) if not isnan(seconds) else None


def http_date(text: str | None) -> datetime | None:
    """Return the moment in an HTTP header such as Date; None if it cannot be read."""
    try:
        moment = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
