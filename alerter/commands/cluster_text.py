"""What people read about the workers of a cluster, and about what they disagree on."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import tzinfo

from alerter.commands.terminal import plain, words_for
from alerter.store.cluster import ClusterReport
from alerter.store.workers import WorkerProcess
from alerter.text import counted
from alerter.timezones import local_time

_LONGEST_NAME = 30
_MOST_NAMED = 3
WORKERS_HEAD = ("worker", "version", "config", "runs for", "last seen")


def worker_rows(cluster: ClusterReport) -> list[list[str]]:
    """Return a row of a table for each worker that is alive."""
    return [
        [
            _name(worker),
            worker.version,
            str(worker.config),
            words_for(cluster.at - worker.started_at),
            f"{max((cluster.at - worker.seen_at).total_seconds(), 0):.0f} s ago",
        ]
        for worker in cluster.workers
    ]


def phrase_disagreements(cluster: ClusterReport, timezone: tzinfo) -> Iterator[str]:
    """Yield what the workers of a cluster do not agree on, and what to do."""
    if cluster.newest and (outdated := cluster.outdated):
        their = ", ".join(str(number) for number in sorted({each.config for each in outdated}))
        yield (
            f"workers disagree about the config: {_names(outdated)} with number {their}, while"
            f" {phrase_newest(cluster, timezone)}; give all the same file, then `alerter reload`"
        )
    if len(cluster.versions) > 1:
        by_version = defaultdict(list)
        for worker in cluster.workers:
            by_version[worker.version].append(worker)
        found = "; ".join(f"{each}: {_names(by_version[each])}" for each in cluster.versions)
        yield f"workers of different versions run ({found}); upgrade all to the same"


def phrase_newest(cluster: ClusterReport, timezone: tzinfo) -> str:
    """Return which config is in force, and since when."""
    if cluster.newest is None:
        return "no config is in force"
    since = local_time(cluster.newest.added_at, timezone)
    return f"number {cluster.newest.number} is in force since {since:%Y-%m-%d %H:%M}"


def phrase_waiting(cluster: ClusterReport) -> str:
    """Return how many jobs wait for a worker."""
    return counted(sum(cluster.waiting.values()), "job waits", "jobs wait")


def _name(worker: WorkerProcess) -> str:
    return plain(worker.place, _LONGEST_NAME)


def _names(workers: Sequence[WorkerProcess]) -> str:
    names = [_name(worker) for worker in workers]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
