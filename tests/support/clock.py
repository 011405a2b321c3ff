"""The clock that tests set."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from alerter.clock import Clock


class SetClock(Clock):
    """A clock that stands still until a test moves it; sleeping moves it.

    `timeouts` are those that wait for it, in seconds of `monotonic`.
    """

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._ticks = 0.0
        self.slept: list[float] = []
        self.timeouts: dict[asyncio.Timeout, float] = {}

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._ticks

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds=seconds)
        await asyncio.sleep(0)

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        async with asyncio.timeout(None) as timeout:
            self.timeouts[timeout] = self._ticks + seconds
            self._end_timeouts()
            try:
                yield
            finally:
                self.timeouts.pop(timeout, None)

    def advance(self, **span: float) -> None:
        """Let time pass, on both clocks."""
        self._now += timedelta(**span)
        self._ticks += timedelta(**span).total_seconds()
        self._end_timeouts()

    def _end_timeouts(self) -> None:
        for timeout in [timeout for timeout, ends in self.timeouts.items() if ends <= self._ticks]:
            del self.timeouts[timeout]
            timeout.reschedule(asyncio.get_running_loop().time())

    def step(self, **span: float) -> None:
        """Set the wall clock, as an administrator or NTP would."""
        self._now += timedelta(**span)


class HandClock(Clock):
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 23, 12, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds
