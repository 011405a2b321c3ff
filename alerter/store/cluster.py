"""What a cluster looks like from outside: its workers, its configs, and the work that waits."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from alerter.config.state import PostgresUrl
from alerter.store.configs import ConfigRecord, newest_config
from alerter.store.queue import QUEUE_KINDS, queue_depth
from alerter.store.rounds import next_rounds
from alerter.store.sqlite import Sqlite
from alerter.store.state import State
from alerter.store.workers import WorkerProcess, get_workers, server_time


@dataclass(frozen=True, slots=True)
class ClusterReport:
    """A cluster as it stands at a moment `at`, by the clock of the server.

    `workers`: those that are alive. `newest`: the config that came into force last. `waiting`: the
    number of jobs that no worker has begun, by the kind of their queue. `next_round`: when the
    round of the site that waits longest is due, or was.
    """

    at: datetime
    workers: list[WorkerProcess]
    newest: ConfigRecord | None
    waiting: dict[str, int]
    next_round: datetime | None

    @property
    def outdated(self) -> list[WorkerProcess]:
        """Return the workers that have an older config than the newest."""
        newest = self.newest.number if self.newest else 0
        return [worker for worker in self.workers if worker.config < newest]

    @property
    def versions(self) -> list[str]:
        """Return the versions of alerter that run."""
        return sorted({worker.version for worker in self.workers})


def get_cluster(state: State) -> ClusterReport | None:
    """Return the cluster of a database; None for a state file, and without a state."""
    if not isinstance(state.database, PostgresUrl) or isinstance(state.engine, Sqlite):
        return None
    now = server_time(state)
    waiting = Counter(dict.fromkeys(QUEUE_KINDS, 0))
    for queue, number in queue_depth(state).items():
        waiting[queue.partition(":")[0]] += number
    return ClusterReport(
        at=now,
        workers=get_workers(state, now),
        newest=newest_config(state),
        waiting=dict(waiting),
        next_round=min(next_rounds(state).values(), default=None),
    )
