"""The crash harness with three workers on PostgreSQL: kills, freezes, restarts of the database,
reloads with another config, and everything that services do to a single daemon.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from tests import torture as single
from tests.support.cluster_world import WORKERS, ClusterOutcome, ClusterWorld
from tests.support.postgres import Server
from tests.torture import Faults, Repliers

_SETTLING = 300.0
# Longer than a lease: others take over meanwhile.
_FREEZE = (26.0, 34.0)
# Reviews between two blows, and how many more there are whose rating falls.
_REVIEWS = (0, 0, 1, 1, 1, 1, 2, 8)
_LOWERED = 0.4
# How often nothing happens until all has arrived, for so many seconds at most.
_REST, _RESTING = 0.2, 30.0
# What is done to the cluster, and how often beside the others.
_BLOWS = {"SIGKILL": 10, "SIGTERM": 4, "SIGSTOP": 2, "database": 2, "reload": 2, "nothing": 2}


class Blows:
    """What is done to workers and database, chosen at random. `kills`: how many so far."""

    def __init__(self, world: ClusterWorld, random: Random, outcome: ClusterOutcome) -> None:
        self._world = world
        self._random = random
        self._counted = outcome.faults
        self._going: set[asyncio.Task[None]] = set()
        self.kills = 0

    async def strike(self, name: str | None = None) -> None:
        """Do one thing to the cluster."""
        name = name or self._random.choices(list(_BLOWS), list(_BLOWS.values()))[0]
        number = self._random.randrange(WORKERS)
        match name:
            case "SIGKILL":
                self._counted["worker: SIGKILL"] += 1
                self.kills += 1
                await self._world.kill_worker(number)
                await self._world.start_worker(number)
            case "SIGTERM" if number not in self._world.frozen:
                self._counted["worker: SIGTERM"] += 1
                await self._world.end_worker(number)
                await self._world.start_worker(number)
            case "SIGSTOP" if not self._world.frozen:
                self._counted["worker: SIGSTOP for longer than a lease"] += 1
                self._world.freeze(number)
                self._begin(self._thaw_later(number, self._random.uniform(*_FREEZE)))
            case "database":
                mode = self._random.choice(("fast", "immediate"))
                self._counted[f"database: {mode} restart"] += 1
                await self._world.restart_server(mode, self._random.uniform(0.0, 3.0))
                await self._restart_ended()
            case "reload":
                await self._reload()

    async def _thaw_later(self, number: int, seconds: float) -> None:
        process = self._world.workers[number]
        await asyncio.sleep(seconds)
        if self._world.workers[number] is process:
            self._world.thaw(number)

    async def _reload(self) -> None:
        """Bring another config into force: on one worker after the other, or on all at once."""
        world = self._world
        world.rename()
        if self._random.random() < 0.3 and not world.frozen:
            self._counted["reload: `alerter reload`"] += 1
            for number in range(WORKERS):
                world.write_config(number)
            await world.command("reload")
            return
        self._counted["reload: one worker after the other"] += 1
        for number in self._random.sample(range(WORKERS), WORKERS):
            world.write_config(number)
            world.workers[number].send_signal(signal.SIGHUP)
            await asyncio.sleep(self._random.uniform(0.0, 1.5))

    async def _restart_ended(self) -> None:
        """Start workers again that could not start while the database was away, as systemd does."""
        for number, process in list(self._world.workers.items()):
            if process.returncode is not None:
                await self._world.start_worker(number)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._going.add(task)
        task.add_done_callback(self._going.discard)

    async def settle(self) -> None:
        """Let what was frozen go on, and start what has ended."""
        for task in list(self._going):
            task.cancel()
        for number in list(self._world.frozen):
            self._world.thaw(number)
        await self._restart_ended()


class Lowered:
    """Reviews whose rating falls once it has reached everybody, and that are answered then."""

    def __init__(self, world: ClusterWorld, repliers: Repliers) -> None:
        self._world = world
        self._repliers = repliers
        self._steps: dict[str, tuple[str, int]] = {}

    def add(self) -> None:
        """One more review."""
        review_id = self._world.add_review(rating=2)
        self._repliers.leave(review_id)
        self._steps[review_id] = (self._world.titles[-1], 0)

    def advance(self) -> None:
        """Take the next step with those that have reached everybody."""
        for review_id, (title, step) in list(self._steps.items()):
            if not self._world.has_arrived(title):
                continue
            if step == 0:
                self._world.lower_rating(review_id, title)
                self._steps[review_id] = (title, 1)
            else:
                del self._steps[review_id]
                self._world.closed.add(title)
                self._repliers.ledger.reply_by_other(review_id)


async def torture(
    folder: Path,
    kills: int,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
    *,
    blows: Sequence[str] = (),
    its: Server | None = None,
) -> ClusterOutcome:
    """Kill workers that often, then let the cluster settle, and count.

    `blows`: what is done first; the others are chosen at random. `its`: a server that is there.
    """
    random, outcome = Random(seed), ClusterOutcome()  # noqa: S311 - replayed by its seed
    folder.mkdir(exist_ok=True)
    world, planned = ClusterWorld(folder, its), list(blows)
    async with world.up():
        faults, repliers = Faults(world, random, outcome.faults), Repliers(world, random)
        striking, lowered = Blows(world, random, outcome), Lowered(world, repliers)
        for number in range(WORKERS):
            await world.start_worker(number)
        await world.until(lambda: world.working() == WORKERS, _SETTLING)
        queries = len(world.wix.queries())
        await world.until(lambda: len(world.wix.queries()) > queries + 2, _SETTLING)
        while striking.kills < kills or planned:
            for _ in range(random.choice(_REVIEWS)):
                world.add_review()
            if random.random() < _LOWERED:
                lowered.add()
            lowered.advance()
            await faults.strike(world.is_doubtful())
            replying = asyncio.create_task(repliers.reply())
            await asyncio.sleep(random.uniform(0.0, 2.0))
            await striking.strike(planned.pop(0) if planned else None)
            world.mailbox.hang = 0.0
            await replying
            say(f"{striking.kills}/{kills} kills, {len(world.titles)} reviews")
            await _catch_up(world)
            if random.random() < _REST:
                await world.until(world.is_calm, _RESTING)
        await striking.settle()
        world.calm()
        outcome.kills = striking.kills
        begun = time.monotonic()
        await world.until(world.is_calm, _SETTLING)
        await world.until(lambda: _is_settled(repliers), _SETTLING)
        say(f"settled after {time.monotonic() - begun:.0f} s")
        world.count(outcome)
        outcome.replies, outcome.wrong_replies = repliers.judge()
        outcome.faults["review: lowered, then answered"] = len(world.closed)
        for number in range(WORKERS):
            await world.end_worker(number)
    return outcome


async def _catch_up(world: ClusterWorld) -> None:
    """Let the channels catch up from time to time: each takes one message a second."""
    await world.until(
        lambda: len(world.titles) - sum(world.times_posted("C0000000001").values()) < 60,
        _SETTLING,
    )


def _is_settled(repliers: Repliers) -> bool:
    with suppress(psycopg.Error):
        return repliers.settled()
    return False


def report(outcome: ClusterOutcome, seed: int) -> str:
    """The figures, for people."""
    lines = [
        *(f"  TOO FAST {what}" for what in outcome.too_fast),
        *(f"  OUT OF ORDER {what}" for what in outcome.out_of_order),
        *(f"  ENDED BADLY {what}" for what in outcome.ended_badly),
        *(f"  repeated by a call that was in flight at a freeze: {x}" for x in outcome.in_flight),
        *(f"  by a call that was in flight at a freeze: {x}" for x in outcome.fast_in_flight),
        f"{len(outcome.too_fast)} messages too fast, {len(outcome.out_of_order)} out of order",
        f"a job stayed with a worker that was gone for {outcome.taken_over_after:.1f} s at most",
        *(f"  {line}" for line in outcome.stories),
        single.report(outcome, seed),
    ]
    return "\n".join(lines)
