"""Ten thousand sites, each polled once a minute, by one process."""

import time
from itertools import pairwise

from benchmarks.figures import Figure, percentile
from benchmarks.processes import Usage, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, running, worlds

_PERIOD = 60.0


def measure(*, quick: bool) -> list[Figure]:
    """Measure how late polls are, and their cost, after the first poll of every site."""
    sites, seconds = (1000, 130.0) if quick else (10_000, 300.0)
    with serving(FastWix) as wix, serving(FastSlack) as slack:
        with worlds(World(wix.url, slack.url, sites=sites)) as world, running(world) as daemon:
            while wix.ask("sites") < sites:
                time.sleep(1)
            time.sleep(_PERIOD + 10)
            before = Usage.of(daemon.pid)
            time.sleep(seconds)
            after = Usage.of(daemon.pid)
        seen = wix.ask("seen")
    took = after.at - before.at
    within = [[at for at in times if before.at - _PERIOD <= at <= after.at] for times in seen]
    gaps = [later - earlier for times in within for earlier, later in pairwise(times)]
    # A site without a poll counts with the whole time.
    gaps += [took] * (sites - len(seen)) + [
        after.at - times[-1] for times in within if times[-1] < after.at - _PERIOD
    ]
    made = sum(before.at <= at for times in within for at in times)
    row = f"{sites:,} sites, every 60 s"
    return [
        Figure(
            row, "rounds/s", made / took, "≥", 0.98 * sites / _PERIOD, "/s", f"for {took:.0f} s"
        ),
        Figure(
            row,
            "between rounds, p99",
            percentile(gaps, 0.99),
            "≤",
            1.2 * _PERIOD,
            "s",
            f"at most {max(gaps):.1f} s",
        ),
        Figure(row, "of one core", 100 * (after.cpu - before.cpu) / took, "≤", 40, "%"),
        Figure(row, "RSS", after.rss, "≤", 200, "MB"),
    ]
