"""60,000 sites, each polled once a minute by 1, 2 and 4 workers, beside the embedded process."""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

from alerter.config.state import PostgresUrl
from alerter.store import State
from alerter.store.rounds import next_rounds
from alerter.store.workers import server_time
from benchmarks.cluster import ACCOUNT, record_account
from benchmarks.figures import Figure
from benchmarks.postgres import Postgres, postgres, transactions
from benchmarks.processes import Serving, cpu_seconds, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, running, started, worlds

_PERIOD = 60
_SETTLE = 10.0
# A worker gives up a shard after its turn of 30 seconds: then it is shared with those that joined.
_SHARED = 36.0
_WORKERS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class _Rounds:
    """Rounds a second; CPU milliseconds a round; transactions a round; the latest round."""

    rate: float
    cpu: float
    database_cpu: float = 0.0
    transactions: float = 0.0
    late: float = 0.0


def measure(*, quick: bool) -> list[Figure]:
    """Measure rounds per second, and CPU per round."""
    sites, seconds = (6_000, 10) if quick else (60_000, 15)
    with (
        serving(FastWix, listed=sites) as wix,
        serving(FastSlack) as slack,
        postgres() as server,
        server.database("rounds") as url,
    ):
        world = World(wix.url, slack.url, sites=0, every=f"{_PERIOD}s", more=ACCOUNT)
        embedded = _embedded(wix, world, sites, seconds)
        clusters = _clusters(wix, replace(world, database=url), server, sites, seconds)
    figures = []
    for number, found in zip(_WORKERS, clusters, strict=True):
        row = f"{sites:,} sites, {number} worker{'s' if number > 1 else ''}"
        figures += [
            Figure(
                row, "rounds/s", found.rate, "≥", 0.98 * sites / _PERIOD, "/s",
                f"at most {found.late:.1f} s late; embedded {embedded.rate:,.0f}/s",
            ),
            Figure(
                row, "CPU a round, of embedded", found.cpu / embedded.cpu, "≤", 1.5, "×",
                f"{found.cpu:.2f} ms, embedded {embedded.cpu:.2f} ms; PostgreSQL"
                f" {found.database_cpu:.2f} ms, {found.transactions:.1f} transactions",
            ),
        ]  # fmt: skip
    return figures


def _embedded(wix: Serving, world: World, sites: int, seconds: int) -> _Rounds:
    with worlds(world) as fresh:
        record_account(fresh, sites)
        with running(fresh) as daemon:
            time.sleep(_SETTLE)
            before = time.monotonic(), wix.ask("queries"), cpu_seconds(daemon.pid)
            time.sleep(seconds)
            took = time.monotonic() - before[0]
            rounds = wix.ask("queries") - before[1]
            return _Rounds(rounds / took, 1e3 * (cpu_seconds(daemon.pid) - before[2]) / rounds)


def _clusters(
    wix: Serving, world: World, server: Postgres, sites: int, seconds: int
) -> list[_Rounds]:
    """Measure with more and more workers."""
    found, pids = [], list[int]()
    with worlds(world) as fresh, ExitStack() as stack:
        record_account(fresh, sites)
        fresh.write()
        for number in _WORKERS:
            while len(pids) < number:
                pids.append(stack.enter_context(started(fresh, f"worker-{len(pids)}")).pid)
            time.sleep(_SETTLE if number == 1 else _SHARED)
            found.append(cluster_rounds(wix, world.database, server, pids, seconds))
    return found


def cluster_rounds(
    wix: Serving, url: str, server: Postgres, pids: Sequence[int], seconds: int
) -> _Rounds:
    """Measure the rounds of workers."""

    def used() -> tuple[float, int, float, float, int]:
        cpu = sum(cpu_seconds(pid) for pid in pids)
        return time.monotonic(), wix.ask("queries"), cpu, server.cpu(), transactions(url)

    before, late = used(), timedelta()
    with State.read(PostgresUrl(url)) as state:
        for _ in range(seconds):
            time.sleep(1)
            late = max(late, server_time(state) - min(next_rounds(state).values()))
    took, rounds, cpu, database_cpu, ended = (
        after - first for after, first in zip(used(), before, strict=True)
    )
    return _Rounds(
        rounds / took,
        1e3 * cpu / rounds,
        1e3 * database_cpu / rounds,
        ended / rounds,
        late.total_seconds(),
    )
