"""As many rounds as a million sites need every five minutes: the rate that this machine reaches.

It is that of 200,000 sites every minute. What a round costs says how many machines it takes.
"""

import time
from dataclasses import replace

from benchmarks.cluster import ACCOUNT, record_account
from benchmarks.figures import Figure
from benchmarks.postgres import megabytes, postgres
from benchmarks.processes import Usage, serving
from benchmarks.rows.cluster_rounds import cluster_rounds
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, started, worlds

_PERIOD = 60
_START_WITHIN = 200.0
# A worker gives up a shard after its turn of 30 seconds, so that both have their share.
_SETTLE = 36.0
_WORKERS = 2


def measure(*, quick: bool) -> list[Figure]:
    """Measure workers that cannot keep up, and what would."""
    sites, seconds = (20_000, 10) if quick else (200_000, 25)
    with (
        serving(FastWix, listed=sites) as wix,
        serving(FastSlack) as slack,
        postgres() as server,
        server.database("million") as url,
        worlds(World(wix.url, slack.url, sites=0, every="1m", more=ACCOUNT)) as folder,
    ):
        world = replace(folder, database=url)
        record_account(world, sites)
        world.write()
        with (
            started(world, "worker-0", _START_WITHIN) as first,
            started(world, "worker-1", _START_WITHIN) as second,
        ):
            time.sleep(_SETTLE)
            found = cluster_rounds(wix, url, server, [first.pid, second.pid], seconds)
            memory = max(Usage.of(daemon.pid).rss for daemon in (first, second))
            size = megabytes(url)
    row, wanted = f"{sites:,} sites, every 1 m", sites / _PERIOD
    cores, database_cores = wanted * found.cpu / 1e3, wanted * found.database_cpu / 1e3
    needs = (
        f"all of them take {cores:.1f} cores of workers, {database_cores:.1f} of PostgreSQL"
        f" and {wanted * found.transactions:,.0f} transactions/s"
    )
    database = f"PostgreSQL {found.database_cpu:.2f} ms"
    return [
        Figure(
            row, f"rounds/s, {_WORKERS} workers", found.rate, "≥", 0.98 * wanted, "/s",
            f"for {seconds} s; {needs}",
        ),
        Figure(row, "CPU a round", found.cpu, "≤", 1, "ms", database),
        Figure(
            row, "READY, the first worker", first.ready_after, "≤", 60, "s",
            f"the next {second.ready_after:.0f} s",
        ),
        Figure(row, "RSS of a worker", memory, "≤", 500, "MB"),
        Figure(row, "database", size, "≤", 400, "MB"),
    ]  # fmt: skip
