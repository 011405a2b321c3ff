"""How long the work of a worker stays undone that is killed: one of three, at different moments.

Wix answers slowly, so that each worker always has the rounds of some shards in hand. For each of
these shards the time counts until one of its sites is read again. Clusters with a database of their
own are measured side by side, as the time is spent waiting.
"""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from alerter.service.rounds import shard_of
from benchmarks.cluster import ACCOUNT, record_account
from benchmarks.figures import Figure, percentile
from benchmarks.postgres import Postgres, postgres, query
from benchmarks.processes import Serving, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, started, worlds

_WORKERS = 3
_CLUSTERS = 4  # with more, their connections are more than the server takes
_SITES = 2_000
_ANSWER_AFTER = 2.0
_SETTLE = 10.0
_WATCHED = 45.0
_HELD = (
    "SELECT worker_id, CAST(args->>'shard' AS integer) FROM procrastinate_jobs"
    " WHERE task_name = 'rounds' AND status = 'doing'"
)


def measure(*, quick: bool) -> list[Figure]:
    """Kill a worker of each cluster, and measure when its shards are read again."""
    number = 3 if quick else _CLUSTERS
    with postgres() as server, ThreadPoolExecutor(number) as threads:
        found = list(threads.map(lambda cluster: _cluster(server, cluster), range(number)))
    waits = [wait for each in found for wait in each]
    row = f"one of {_WORKERS} workers killed"
    detail = f"{len(waits)} shards in hand of {number} killed; at most {max(waits):.1f} s"
    return [
        Figure(row, "work taken over, p50", percentile(waits, 0.5), "≤", 30, "s", detail),
        Figure(row, "work taken over, p99", percentile(waits, 0.99), "≤", 35, "s"),
    ]


def _cluster(server: Postgres, number: int) -> list[float]:
    """Return the seconds for each shard that a killed worker had in hand."""
    with (
        serving(FastWix, listed=_SITES, answer_after=_ANSWER_AFTER) as wix,
        serving(FastSlack) as slack,
        server.database(f"takeover_{number}") as url,
        worlds(World(wix.url, slack.url, sites=0, more=ACCOUNT, database=url)) as world,
        ExitStack() as stack,
    ):
        record_account(world, _SITES)
        world.write()
        pids: dict[int, int] = {}
        for turn in range(_WORKERS):
            known = _workers(url)
            daemon = stack.enter_context(started(world, f"worker-{turn}"))
            while not (new := _workers(url) - known):
                time.sleep(0.1)
            pids[new.pop()] = daemon.pid
        # Not at the same moment between two heartbeats and looks.
        time.sleep(_SETTLE + 0.9 * number)
        return _kill(wix, url, pids)


def _workers(url: str) -> set[int]:
    return {worker for (worker,) in query(url, "SELECT id FROM procrastinate_workers")}


def _kill(wix: Serving, url: str, pids: Mapping[int, int]) -> list[float]:
    """Kill the worker that has the most in hand; return how long each of its shards waits."""
    held: defaultdict[int, set[int]] = defaultdict(set)
    while not held:
        for worker, shard in query(url, _HELD):
            if worker in pids:
                held[worker].add(shard)
    worker = max(held, key=lambda each: len(held[each]))
    os.kill(pids[worker], signal.SIGKILL)
    killed_at = time.monotonic()
    waiting = held[worker]
    again: Mapping[int, float] = {}
    while not waiting <= again.keys() and time.monotonic() < killed_at + _WATCHED:
        time.sleep(0.5)
        again = _first_reads(wix, killed_at)
    return [again.get(shard, float("inf")) - killed_at for shard in waiting]


def _first_reads(wix: Serving, since: float) -> dict[int, float]:
    """Return when a site of each shard was first read after a moment."""
    found: dict[int, float] = {}
    for site, at in wix.ask("read_after", since).items():
        shard = shard_of(site)
        found[shard] = min(at, found.get(shard, at))
    return found
