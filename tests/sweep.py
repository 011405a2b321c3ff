"""The sweep: the same small scenario once for every commit, send and answer, with the daemon killed
exactly there.

strace ends the daemon with SIGKILL at its n-th call of one kind; what comes after it is killed at
its first commit,
then at its second, until one comes through. The product knows nothing of it. `python -m
tests.sweep` goes through every
point; a test takes a few.
"""

import argparse
import asyncio
import logging
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from alerter.actions import ActionKind, NewAction, Person, Through
from alerter.clock import Clock
from alerter.config import load_config
from alerter.service.daemon import serve
from alerter.store import State, actions, reviews
from tests.support.ledger import Ledger
from tests.support.world import SECRETS, SITE, Outcome, World

# What each of them stands for: a commit that is written, and not on the disk yet; a request or a
# word to the mail
# server that has not left; an answer that has come, and was not read.
CALLS = {"fdatasync": "commits", "sendto": "sends", "recvfrom": "answers"}
COMMIT = "fdatasync"
_ENDS_WITHIN = 300.0
_SIDE_BY_SIDE = 4
_NEVER = 65_000


@dataclass
class Sweep:
    """At how many points of what the daemon was killed, how often in all, and where that
    did harm.
    """

    points: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    deliveries: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, name: str, number: int, outcome: Outcome) -> None:
        """Count what came of one point."""
        self.points[name] += bool(outcome.kills)
        self.kills += outcome.kills
        self.deliveries += outcome.deliveries
        if not outcome.good:
            harm = (
                f"lost {outcome.lost}, repeated {outcome.repeated}, pending {outcome.pending},"
                f" replies {outcome.wrong_replies}"
            )
            self.faults.append(f"  {name}, killed at {number}: {harm}")


async def first_start(world: World) -> None:
    """Nothing is there yet but a review of the past, which nobody is to hear of."""
    world.add_past()


async def everyday(world: World) -> None:
    """The rating of a review that was told of falls further, and another one comes: two posts a
    channel, two mails.
    """
    world.add_past()
    await _round(world)
    told = world.add_review(rating=2)
    await _round(world)
    world.lower(told, world.titles[0])
    world.add_review()


async def told_of_the_past(world: World) -> None:
    """Three reviews are on record, of which nobody has heard."""
    for _ in range(3):
        world.add_review()
    await _round(world)


async def a_reply_that_waits(world: World) -> None:
    """A review has been alerted, and a reply to it is recorded, not sent."""
    world.add_past()
    await _round(world)
    review_id = world.add_review()
    await _round(world)
    with State.open(world.state, migrate=False) as state:
        seen = reviews.get_reviews(state, SITE, [review_id])[review_id].review
        new = NewAction(
            "reply-1",
            ActionKind.REPLY,
            SITE,
            review_id,
            Person("Ada"),
            Through.PAGE,
            seen=seen.text_digest,
            reply="We are sorry.",
        )
        with state.transaction(f"site:{SITE}"):
            actions.put_action(state, new, Clock().now())


@dataclass(frozen=True)
class Scenario:
    """What there is, and the command that is killed."""

    prepare: Callable[[World], Awaitable[None]]
    command: tuple[str, ...] = ("run", "--once")


SCENARIOS = {
    "the first start": Scenario(first_start),
    "an everyday round": Scenario(everyday),
    "a reply": Scenario(a_reply_that_waits),
    "a backfill": Scenario(told_of_the_past, ("backfill", "--since", "2020-01-01")),
}


async def _round(world: World) -> None:
    """A round that nobody kills, in this process."""
    if not await serve(load_config(world.config, SECRETS, secrets=True), Clock(), {}, once=True):
        raise RuntimeError("a round that nobody killed went wrong")


def why_not() -> str | None:
    """What keeps strace from doing here what the sweep needs of it; None where it can."""
    if shutil.which("strace") is None:
        return (
            "the sweep of kill points needs strace; install it (on Debian: apt-get install strace)"
        )
    tried = subprocess.run([*_knife("exit_group", 1), "true"], capture_output=True, check=False)
    if tried.returncode != -signal.SIGKILL:
        return (
            "the sweep of kill points needs strace, which may not trace here: "
            f"{tried.stderr.decode().strip()}"
        )
    return None


def _knife(call: str, number: int) -> list[str]:
    return [
        "strace",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]


async def _killed_at(world: World, command: Sequence[str], call: str, number: int) -> bool:
    """Run a command under the knife; False where it came to its end without meeting it."""
    await world.start(*command, before=_knife(call, number))
    assert world.daemon
    async with asyncio.timeout(_ENDS_WITHIN):
        code = await world.daemon.wait()
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"it ended with {code}: {world.log.read_text()}")
    return code == -signal.SIGKILL


async def kill_at(
    folder: Path, scenario: Scenario, call: str, number: int, most: int = _NEVER
) -> Outcome:
    """Kill at one point, then at the first, the second… commit of what comes after it, until one
    comes through.

    Or until it was killed `most` times.
    """
    folder.mkdir()
    world, outcome = World(folder), Outcome()
    async with world.up():
        ledger = Ledger(world.wix.sites[SITE])
        await scenario.prepare(world)
        killed = await _killed_at(world, scenario.command, call, number)
        while killed:
            outcome.kills += 1
            again = outcome.kills if outcome.kills < most else _NEVER
            killed = await _killed_at(world, scenario.command, COMMIT, again)
        await _round(world)
        world.add_review()
        await _round(world)
        world.count(outcome)
        with State.read(world.state) as state:
            found = [each for each in [actions.get_action_by_key(state, "reply-1")] if each]
        outcome.replies, outcome.wrong_replies = len(found), ledger.judge(found)
    return outcome


async def sweep(
    folder: Path,
    numbers: Sequence[int] = range(1, 1000),
    say: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Go through the points with these numbers, of each kind of call in each scenario, until there
    are no more.
    """
    swept = Sweep()
    for name, scenario in SCENARIOS.items():
        for call, what in CALLS.items():
            for some in (
                numbers[start : start + _SIDE_BY_SIDE]
                for start in range(0, len(numbers), _SIDE_BY_SIDE)
            ):
                folders = [folder / f"{name} {call} {number}" for number in some]
                pairs = zip(folders, some, strict=True)
                outcomes = await asyncio.gather(
                    *(kill_at(place, scenario, call, number) for place, number in pairs)
                )
                for number, outcome in zip(some, outcomes, strict=True):
                    swept.add(f"{name}: {what}", number, outcome)
                say(f"{name}: {what} up to {some[-1]}")
                if not all(outcome.kills for outcome in outcomes):
                    break
    return swept


def report(swept: Sweep) -> str:
    """The figures, for people."""
    lines = [
        f"{sum(swept.points.values())} points, {swept.kills} kills, {swept.deliveries} deliveries"
    ]
    lines += [f"  {number:5}  {name}" for name, number in swept.points.items()]
    lines += swept.faults
    return "\n".join(
        [*lines, f"{len(swept.faults)} points at which something was lost, repeated or left"]
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Kill the daemon at every commit, send and answer, and count."
    )
    parser.add_argument("--check", action="store_true", help="only say whether it can be done here")
    asked = parser.parse_args()
    if fault := why_not():
        sys.exit(fault)
    if asked.check:
        return

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL
    )  # it holds every dropped connection to be an error
    with tempfile.TemporaryDirectory(prefix="alerter-sweep-") as folder:
        swept = asyncio.run(sweep(Path(folder), say=say))
    print(report(swept))
    sys.exit(1 if swept.faults else 0)


if __name__ == "__main__":
    main()
