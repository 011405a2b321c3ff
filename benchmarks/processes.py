"""Run measured code and servers in processes of their own."""

import asyncio
import gc
import multiprocessing
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, Self

import psutil

from benchmarks.figures import middle, percentile

_spawn = multiprocessing.get_context("spawn")
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of some work: wall and CPU seconds, peak memory in MB, and its result."""

    wall: float
    cpu: float
    rss: float
    value: Any = None


class Meter:
    """Measure the part of the work inside `with meter:`."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __enter__(self) -> Self:
        if not self.wall:
            gc.collect()
        self._began = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall += time.perf_counter() - self._began[0]
        self.cpu += time.process_time() - self._began[1]


Work = Callable[..., Awaitable[Any]]


def alone(work: Work, *args: Any) -> Cost:
    """Run `work(meter, *args)` in a new process and return its cost."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_run, args=(theirs, work, args))
    process.start()
    theirs.close()
    try:
        cost: Cost = ours.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} failed") from None
    finally:
        process.join()
    return cost


def _run(conn: Connection, work: Work, args: tuple[Any, ...]) -> None:
    meter = Meter()
    value = asyncio.run(work(meter, *args))
    conn.send(Cost(meter.wall, meter.cpu, _highest_rss(), value))


def _highest_rss() -> float:
    """Return the peak memory of this process; that of getrusage includes its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("ascii"))
    return int(found[1]) * 1024 / _MB if found else 0.0


def alternating(runs: int, *works: Callable[[], Cost]) -> list[list[Cost]]:
    """Run each work `runs` times, in turn, so that other load affects all of them."""
    costs: list[list[Cost]] = [[] for _ in works]
    for _ in range(runs):
        for number, work in enumerate(works):
            costs[number].append(work())
    return costs


@dataclass(frozen=True, slots=True)
class Beside:
    """The costs of a work, and of its limit right after each."""

    ours: list[Cost]
    bare: list[Cost]

    @property
    def speed(self) -> float:
        """Its speed as a share of the limit's."""
        return middle(
            bare.wall / ours.wall for ours, bare in zip(self.ours, self.bare, strict=True)
        )

    @property
    def cpu(self) -> float:
        """Its CPU time as a multiple of the limit's: the lower quartile, as load adds."""
        return percentile(
            [ours.cpu / bare.cpu for ours, bare in zip(self.ours, self.bare, strict=True)], 0.25
        )

    def rates(self, number: int) -> tuple[float, float]:
        """Return how many operations a second both make."""
        ours, bare = (
            number / middle(cost.wall for cost in costs) for costs in (self.ours, self.bare)
        )
        return ours, bare

    def cpu_ms(self, number: int) -> tuple[float, float]:
        """Return the CPU milliseconds of one operation of both."""
        ours, bare = (
            1e3 * middle(cost.cpu for cost in costs) / number for costs in (self.ours, self.bare)
        )
        return ours, bare


def beside(runs: int, ours: Callable[[], Cost], bare: Callable[[], Cost]) -> Beside:
    """Measure a work and its limit in turn."""
    return Beside(*alternating(runs, ours, bare))


class Server(Protocol):
    """A server on loopback. `Serving.ask` calls its other methods."""

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""


class Serving:
    """A server in a process of its own."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self.port: int = conn.recv()

    @property
    def url(self) -> str:
        """Its HTTP address."""
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, *args: Any) -> Any:
        """Call a method of the server and return its result."""
        self._conn.send((method, args))
        return self._conn.recv()


@contextmanager
def serving(kind: type[Server], **options: Any) -> Iterator[Serving]:
    """Run a server in a process of its own."""
    ours, theirs = _spawn.Pipe()
    process = _spawn.Process(target=_serve, args=(theirs, kind, options))
    process.start()
    theirs.close()
    try:
        yield Serving(ours)
    finally:
        ours.close()
        process.join()


def _serve(conn: Connection, kind: type[Server], options: dict[str, Any]) -> None:
    asyncio.run(_serve_until_closed(conn, kind(**options)))


async def _serve_until_closed(conn: Connection, server: Server) -> None:
    loop, closed = asyncio.get_running_loop(), asyncio.Event()

    def answer() -> None:
        try:
            method, args = conn.recv()
        except EOFError:
            loop.remove_reader(conn.fileno())
            closed.set()
            return
        conn.send(getattr(server, method)(*args))

    listening = await loop.create_server(server.connection, "127.0.0.1", 0, backlog=1000)
    conn.send(listening.sockets[0].getsockname()[1])
    loop.add_reader(conn.fileno(), answer)
    await closed.wait()
    listening.close()


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used so far: CPU seconds, memory in MB, and wake-ups."""

    at: float
    cpu: float
    rss: float
    wakes: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the usage of a running process."""
        process = psutil.Process(pid)
        return cls(
            time.monotonic(),
            cpu_seconds(pid),
            process.memory_info().rss / _MB,
            process.num_ctx_switches().voluntary,
        )


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all threads; other counters only have hundredths."""
    return (
        sum(
            int(path.read_text("ascii").split()[0])
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat")
        )
        / 1e9
    )


def load() -> str:
    """Return the load of the machine, for readers of the figures."""
    return (
        f"{os.cpu_count()} cores, load {', '.join(f'{average:.2f}' for average in os.getloadavg())}"
    )
