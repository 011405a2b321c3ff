"""Processes of a cluster, for tests."""

import asyncio
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from alerter.config.state import PostgresUrl
from alerter.store import State
from alerter.store.cluster import ClusterReport, get_cluster
from tests.support.forked import Process, start_alerter
from tests.support.values import SECRETS
from tests.support.waiting import HANG, until

NEVER = datetime.fromtimestamp(0, UTC)


class Workers:
    """Real `alerter run` processes on one database; their logs are files in a folder."""

    def __init__(self, database: PostgresUrl, folder: Path) -> None:
        self.processes: list[Process | asyncio.subprocess.Process] = []
        self._database = database
        self._folder = folder

    async def start(self, *configs: Path) -> None:
        """Start a worker with each of these configs, and wait until all are in the cluster."""
        for path in configs:
            with self._log(len(self.processes)).open("ab") as log:
                self.processes.append(
                    await start_alerter(
                        "run", "--config", str(path), environ=os.environ | SECRETS, out=log
                    )
                )
        await until(lambda: len(self.report().workers) == len(self.processes))

    async def stop(self) -> Sequence[int | None]:
        """End all of them as systemd does; return their exit codes."""
        for process in self.processes:
            process.terminate()
        async with asyncio.timeout(HANG):
            codes = [await process.wait() for process in self.processes]
        self.processes.clear()
        return codes

    def kill(self) -> None:
        for process in self.processes:
            process.kill()

    def report(self) -> ClusterReport:
        with State.read(self._database) as state:
            found = get_cluster(state)
        return found or ClusterReport(NEVER, [], None, {}, None)

    def log(self, number: int) -> str:
        return self._log(number).read_text()

    def logs(self) -> str:
        return "".join(log.read_text() for log in sorted(self._folder.glob("worker-*.log")))

    def _log(self, number: int) -> Path:
        return self._folder / f"worker-{number}.log"
