"""Signals as asyncio events."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM or Ctrl-C sets."""
    with event_for(signal.SIGTERM, signal.SIGINT) as stop:
        yield stop


@contextmanager
def event_for(*numbers: signal.Signals) -> Iterator[asyncio.Event]:
    """Yield an event that each of these signals sets."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in numbers:
        loop.add_signal_handler(number, event.set)
    try:
        yield event
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
