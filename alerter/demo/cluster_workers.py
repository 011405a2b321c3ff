"""The workers of a cluster's demo, and what each of them has sent by its own log."""

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from alerter.demo.daemon import Daemon

_PATIENCE = 20.0  # seconds
_SENT = re.compile(r'receiver "(.+)": message sent: medium=(\w+)')


class WorkerState(StrEnum):
    """What was last done to a worker."""

    STARTING = "starting"
    ALIVE = "alive"
    FROZEN = "frozen"
    KILLED = "killed"
    STOPPED = "stopped"


class ClusterWorker(Daemon):
    """`alerter run` as one of several.

    `sent` counts its messages by medium, `sent_at` has the monotonic time when one to a receiver
    was last read in its log, `watching` the number of sites whose first round it made.
    """

    def __init__(self, config: Path, name: str) -> None:
        super().__init__(config, name)
        self.state = WorkerState.STARTING
        self.since = time.monotonic()
        self.sent: Counter[str] = Counter()
        self.sent_at: dict[str, float] = {}
        self.watching = 0
        self._read = 0

    def _enter(self, state: WorkerState) -> None:
        self.state, self.since = state, time.monotonic()

    @property
    def receiver(self) -> str:
        """The receiver that it last sent to."""
        return max(self.sent_at, key=lambda name: self.sent_at[name], default="")

    def freeze(self) -> None:
        """Stop the process where it is, as a machine that is suspended does."""
        self.send_signal(signal.SIGSTOP)
        self._enter(WorkerState.FROZEN)

    def thaw(self) -> None:
        """Let the process go on as if nothing had happened."""
        self.send_signal(signal.SIGCONT)
        self._enter(WorkerState.ALIVE)

    async def kill(self) -> None:
        """Kill the process, also a frozen one."""
        await super().kill()
        self._enter(WorkerState.KILLED)

    async def stop(self) -> None:
        """Stop the process as systemd does, and wait until it has ended."""
        await super().stop()
        self._enter(WorkerState.STOPPED)

    async def end(self) -> None:
        """End the process in order, or at once where it does not end."""
        if self.state is WorkerState.FROZEN:
            await super().kill()
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await super().stop()
        await super().kill()

    def read_log(self) -> None:
        """Take in what the log has had since the last call."""
        for line in self._new_lines():
            if self.state is WorkerState.STARTING and " running: " in line:
                self._enter(WorkerState.ALIVE)
            self.watching += ": watching; " in line
            if found := _SENT.search(line):
                self.sent[found[2]] += 1
                self.sent_at[found[1]] = time.monotonic()

    def _new_lines(self) -> Iterator[str]:
        if not self._log.exists():
            return
        with self._log.open("rb") as log:
            log.seek(self._read)
            for line in log:
                if not line.endswith(b"\n"):
                    return  # its end is still to come
                self._read += len(line)
                yield line.decode("utf-8", "replace")
