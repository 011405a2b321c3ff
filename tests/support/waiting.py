"""Waiting for what happens, without a limit that measures speed."""

import asyncio
from collections.abc import Callable

# Seconds after which a test is taken to hang. It is no measure of speed: every other limit in a
# test is an event or a
# set clock, so that a busy machine makes a test slow and never red.
HANG = 300.0


async def until(happened: Callable[[], object]) -> None:
    """Wait for what only another task, another process or the state file can tell; not for ever."""
    async with asyncio.timeout(HANG):
        while not happened():
            await asyncio.sleep(0.05)
