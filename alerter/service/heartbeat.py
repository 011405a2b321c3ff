"""Heartbeat: call an address while all is well, for a monitor that notices missing calls."""

import asyncio
import logging

import httpx

from alerter import __version__
from alerter.clock import Clock
from alerter.config.fields import loopback_mounts
from alerter.wix.http import tls_context

log = logging.getLogger(__name__)

_EVERY = 60.0
_PATIENCE = 10.0


class Heartbeat:
    """Calls an address at most once a minute, one call at a time; without an address, never."""

    def __init__(self, url: str | None, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._beaten_at: float | None = None
        self._beating: asyncio.Task[None] | None = None
        self._failing: str | None = None

    def beat(self) -> None:
        """Start a call after a good round, without waiting for it."""
        now = self._clock.monotonic()
        busy = self._beating is not None and not self._beating.done()
        if (
            self._url is None
            or busy
            or (self._beaten_at is not None and now - self._beaten_at < _EVERY)
        ):
            return
        self._beaten_at = now
        self._beating = asyncio.create_task(self._call(self._url))

    async def settle(self) -> None:
        """Wait for the current call."""
        if self._beating:
            await asyncio.wait([self._beating])

    async def stop(self) -> None:
        """Cancel the current call."""
        if self._beating:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)

    async def _call(self, url: str) -> None:
        """Call, and log a failure once; the monitor at the other end notifies people."""
        try:
            # Only the status counts, so the body is not read.
            async with (
                asyncio.timeout(_PATIENCE),
                httpx.AsyncClient(
                    verify=tls_context(), mounts=loopback_mounts(url), follow_redirects=False
                ) as http,
                http.stream(
                    "GET", url, headers={"User-Agent": f"alerter/{__version__}"}
                ) as response,
            ):
                fault = None if response.is_success else f"it answers {response.status_code}"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            fault = f"it cannot be reached ({type(error).__name__})"
        if fault and fault != self._failing:
            log.warning("heartbeat failed: %s", fault)
        if self._failing and not fault:
            log.info("heartbeat works again")
        self._failing = fault
