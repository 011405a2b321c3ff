"""One process dispatches: it takes the lock of the database, and keeps it."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from alerter.clock import Clock
from alerter.errors import StateBusy, StateError
from alerter.notify.state_failure import BUSY_FOR
from alerter.store import Holder, Lock

log = logging.getLogger(__name__)

WAIT = 1.0
# `run --once` gives up then: cron starts it again, and a backfill has handed over by then.
_ONCE_TRIES = 20
# How often the daemon checks that it has its lock: a file may be deleted, a connection lost.
_CHECK_EVERY = 5.0


async def take_lock(
    lock: Lock,
    kind: Holder,
    stop: asyncio.Event,
    report_waiting: Callable[[str], None],
    *,
    once: bool,
) -> Holder | None:
    """Take the lock; a backfill that holds it is asked to hand it over, which takes seconds.

    A worker waits for any other that holds it alone, such as `run --once`. Return the kind of
    process that keeps it, or None where it is ours or `stop` is set. Raise StateError; StateBusy
    where the database is away for long, or `once`.
    `report_waiting` is called each second, with the reason.
    """
    tries = 0
    while True:
        try:
            holder = lock.acquire(kind)
        except StateBusy as error:
            if once or tries >= BUSY_FOR.total_seconds():
                raise
            if not tries:
                log.warning("waiting for the database: %s", error)
            report_waiting("the database cannot be used")
            if await is_set_within(stop, WAIT):
                return None
            tries += 1
            continue
        is_waited_for = holder is Holder.BACKFILL or (holder and kind is Holder.WORKER)
        if not is_waited_for or (once and tries == _ONCE_TRIES):
            return holder
        other = "a backfill" if holder is Holder.BACKFILL else "another process"
        if not tries:
            log.info("waiting for %s to hand over; rounds begin then", other)
        report_waiting(f"{other} hands over")
        lock.ask()
        if await is_set_within(stop, WAIT):
            return None
        tries += 1


async def keep_lock(lock: Lock, kind: Holder, stop: asyncio.Event, clock: Clock) -> None:
    """Take the lock again where it was lost; set `stop` where another process took it."""
    logged = ""
    while True:
        try:
            if not lock.hold(kind):
                break
            logged = ""
        except StateError as error:
            if str(error) != logged:
                log.error("the lock is lost and cannot be taken again yet: %s", error)  # noqa: TRY400 - the text says it all
            logged = str(error)
        await asyncio.sleep(clock.until_next(_CHECK_EVERY))
    log.critical("the lock was lost, and another alerter has taken it; this one ends")
    stop.set()


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return whether an event is set now or within so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
