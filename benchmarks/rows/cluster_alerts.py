"""Alerts to many receivers without a pace, sent by 1, 2 and 4 workers, beside the embedded process.

By email, which has no pace: some receivers with many alerts each. And to Slack: one alert for each
of many channels, so that each alert takes a job of its own.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from benchmarks.cluster import workers
from benchmarks.figures import Figure
from benchmarks.outbox import deliver, raise_alerts
from benchmarks.postgres import Postgres, postgres, query, transactions
from benchmarks.processes import Meter, Serving, alone, cpu_seconds, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.smtp import FastSmtp
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, runtime, worlds

_WORKERS = (1, 2, 4)
_PATIENCE = 60.0
_SETTLE = 4.0
# A start plans again what is held until later.
_HOLD = "UPDATE deliveries SET status = 'cancelled'"
_RELEASE = "UPDATE deliveries SET status = 'pending'"


@dataclass(frozen=True, slots=True)
class _Sent:
    """Alerts a second; CPU milliseconds and transactions an alert."""

    rate: float
    cpu: float
    database_cpu: float
    transactions: float


def measure(*, quick: bool) -> list[Figure]:
    """Measure alerts per second, and CPU per alert."""
    mailboxes, each, channels = (16, 20, 100) if quick else (64, 50, 500)
    with (
        serving(FastWix) as wix,
        serving(FastSmtp) as smtp,
        serving(FastSlack) as slack,
        postgres() as server,
    ):
        mail = World(wix.url, None, smtp.port, sites=mailboxes, mailboxes=mailboxes, every="1h")
        posts = World(wix.url, slack.url, sites=channels, channels=channels, every="1h")
        return [
            *_figures("email", mail, mailboxes * each, smtp, server),
            *_figures("Slack, one a channel", posts, channels, slack, server),
        ]


def _figures(
    medium: str, world: World, number: int, service: Serving, server: Postgres
) -> list[Figure]:
    embedded = alone(deliver, world, number)
    service.ask("times")
    found = {workers: _send(world, number, workers, service, server) for workers in _WORKERS}
    row = f"{number:,} alerts by {medium}"
    details = {
        each: f"{sent.rate:,.0f}/s; PostgreSQL {sent.database_cpu:.2f} ms,"
        f" {sent.transactions:.1f} transactions"
        for each, sent in found.items()
    }
    figures = [
        Figure(
            row, f"CPU an alert, {each} worker{'s' if each > 1 else ''}, of embedded",
            sent.cpu * number / 1e3 / embedded.cpu, "≤", 1.5, "×",
            f"{sent.cpu:.2f} ms, embedded {1e3 * embedded.cpu / number:.2f} ms; {details[each]}",
        )
        for each, sent in found.items()
    ]  # fmt: skip
    cores = os.cpu_count() or 1
    allowed = "" if cores > 4 else f"; {cores} cores do not allow more"
    rates = ", ".join(f"{sent.rate:,.0f}/s" for sent in found.values())
    detail = f"{rates}; embedded {number / embedded.wall:,.0f}/s{allowed}"
    share = found[4].rate / found[2].rate
    return [*figures, Figure(row, "4 workers, of 2", share, "≥", 1.6, "×", detail)]


def _send(world: World, number: int, count: int, service: Serving, server: Postgres) -> _Sent:
    with (
        server.database(f"alerts_{count}") as url,
        worlds(replace(world, database=url)) as fresh,
    ):
        alone(_fill, fresh, number)
        with workers(fresh, count) as pids:
            time.sleep(_SETTLE)

            def used() -> tuple[float, float, int]:
                return sum(cpu_seconds(pid) for pid in pids), server.cpu(), transactions(url)

            before = used()
            query(url, _RELEASE)
            _wait(lambda: _pending(url) == 0)
            cpu, database_cpu, ended = (
                after - first for after, first in zip(used(), before, strict=True)
            )
            times = _times(service)[-number:]
    rate = (number - 1) / (times[-1] - times[0])
    return _Sent(rate, 1e3 * cpu / number, 1e3 * database_cpu / number, ended / number)


async def _fill(meter: Meter, world: World, number: int) -> None:
    """Record alerts, but have none of them sent yet."""
    async with runtime(world) as (_, state, opened):
        with meter:
            await raise_alerts(opened, number)
        state.execute(_HOLD)


def _pending(url: str) -> int:
    [(number,)] = query(url, "SELECT count(*) FROM deliveries WHERE status = 'pending'")
    return int(number)


def _times(service: Serving) -> Sequence[float]:
    times = service.ask("times")
    return sorted(times.values() if isinstance(times, dict) else times)


def _wait(is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not is_over():
        if time.monotonic() > deadline:
            raise RuntimeError("the alerts are not sent in time")
        time.sleep(0.2)
