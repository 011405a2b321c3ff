"""One process dispatches: it takes the lock of the database, and keeps it."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from alerter.errors import StateError
from alerter.store import Holder, Lock

log = logging.getLogger(__name__)

WAIT = 1.0
# `run --once` gives up then: cron starts it again, and a backfill has handed over by then.
_ONCE_TRIES = 20
# How often the daemon checks that its lock file is still there.
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
    process that keeps it, or None where it is ours or `stop` is set.
    `report_waiting` is called each second, with the reason.
    """
    tries = 0
    while True:
        holder = lock.acquire(kind)
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


async def keep_lock(lock: Lock, kind: Holder, stop: asyncio.Event) -> None:
    """Take the lock again where its file was deleted; set `stop` where another process took it."""
    while _is_held(lock, kind):  # noqa: ASYNC110 - no event says that a file was deleted
        await asyncio.sleep(_CHECK_EVERY)
    log.critical("another alerter took the lock after its file was deleted; this one ends")
    stop.set()


def _is_held(lock: Lock, kind: Holder) -> bool:
    try:
        return lock.hold(kind)
    except StateError as error:
        log.error("the lock file is gone and cannot be made again yet: %s", error)  # noqa: TRY400 - the text says it all
        return True


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Return whether an event is set now or within so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
