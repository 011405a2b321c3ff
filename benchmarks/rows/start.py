"""The start of a command and of the daemon."""

import os
import subprocess
import sys
import time

from benchmarks.figures import Figure, middle
from benchmarks.processes import Cost, alternating, serving
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, running, worlds

_BARE = "import click\n@click.group()\ndef main(): 'Do nothing.'\nmain(['--help'])"


def measure(*, quick: bool) -> list[Figure]:
    """Measure `--help`, and the time from the start of `run` to READY."""
    runs, sites = (5, 1000) if quick else (21, 10_000)
    ours, click, python = alternating(
        runs,
        lambda: _finished([sys.executable, "-m", "alerter", "--help"]),
        lambda: _finished([sys.executable, "-c", _BARE]),
        lambda: _finished([sys.executable, "-c", "pass"]),
    )
    ratio = middle(mine.cpu / theirs.cpu for mine, theirs in zip(ours, click, strict=True))
    mine, theirs, least = (
        1e3 * middle(cost.wall for cost in costs) for costs in (ours, click, python)
    )
    with serving(FastWix) as wix:
        few, many = (_ready(World(wix.url, sites=each), 3) for each in (1, sites))
    return [
        Figure(
            "start", "`--help`, CPU of bare click", ratio, "≤", 1.5, "×",
            f"{mine:.0f} ms, click {theirs:.0f} ms, python {least:.0f} ms",
        ),
        Figure("start", "READY with 1 site", few, "≤", 1, "s"),
        Figure("start", f"READY with {sites:,} sites", many, "≤", 5, "s"),
    ]  # fmt: skip


def _finished(words: list[str]) -> Cost:
    """Run a command and return its cost."""
    began = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} failed")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3)


def _ready(world: World, runs: int) -> float:
    def once() -> float:
        with worlds(world) as fresh, running(fresh) as daemon:
            return daemon.ready_after

    return middle(once() for _ in range(runs))
