"""What a process has from its start to its end, and its reports to systemd."""

import asyncio
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alerter.clock import Clock
from alerter.errors import StateError
from alerter.service.embedded import Scheduler
from alerter.service.reload import Reload
from alerter.service.runtime import Runtime
from alerter.service.systemd import notify, watchdog
from alerter.store import Holder, outbox
from alerter.text import counted

if TYPE_CHECKING:
    from alerter.service.cluster import Cluster

log = logging.getLogger(__name__)

# Seconds between two messages about the state to systemd, at most.
_REPORT_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Host:
    """What a process has from its start to its end, whatever the config becomes."""

    clock: Clock
    environ: Mapping[str, str]
    stop: asyncio.Event
    reload: Reload
    kind: Holder = Holder.RUN

    def report(self, *states: str) -> None:
        """Send states to systemd."""
        notify(self.environ, *states)

    def report_waiting(self, reason: str) -> None:
        """Report that the start waits for another process, and that this one is alive."""
        self.report("READY=1", f"STATUS=waiting: {reason}")
        if watchdog(self.environ, os.getpid()):
            self.report("WATCHDOG=1")


async def report_status(host: Host, runtime: Runtime, scheduler: "Scheduler | Cluster") -> None:
    """Report the status to systemd, and that the process is alive while rounds end or advance.

    Rounds that fail count: a restart would not help them.
    """
    if not host.environ.get("NOTIFY_SOCKET"):
        return
    limit = watchdog(host.environ, os.getpid())
    every = min(limit / 2, _REPORT_EVERY) if limit else _REPORT_EVERY
    stuck = False
    while True:
        states = [phrase_status(runtime)]
        if limit and scheduler.idle_for() <= scheduler.patience:
            states.append("WATCHDOG=1")
        elif limit and not stuck:
            stuck = True
            log.critical("the work stands still; systemd will restart alerter")
        host.report(*states)
        await asyncio.sleep(host.clock.until_next(every))


def phrase_status(runtime: Runtime) -> str:
    """Return the line about the process that systemd shows."""
    config, now = runtime.config, runtime.clock.now()
    try:
        number = outbox.pending_count(runtime.state, config.destinations(), now)
        waiting = f"{counted(number, 'delivery', 'deliveries')} waiting"
    except StateError:
        waiting = "the database cannot be read"
    return f"STATUS=watching {counted(len(config.sites), 'site')}, {waiting}"
