"""Replies of people under everything that can go wrong, in virtual time: each arrives once.

`python -m tests.responses` answers a thousand reviews while the daemon and the commands are killed
around their commits and in their calls, answers are lost, two people answer at once, and owners and
customers change the reviews at Wix meanwhile. A seed repeats a run.
"""

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from alerter.actions import ActionKind, NewAction, Person, Through
from alerter.config import Config, Site, load_config
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.models import Review
from alerter.respond.responder import DAEMON, WAITS_FOR_WIX, PendingActions, Responder
from alerter.store import State, actions, reviews
from alerter.watch.intake import Intake
from alerter.wix.client import WixClient
from tests.simulation.loop import Process, VirtualLoop, current, kill
from tests.simulation.plan import START
from tests.simulation.seams import Disk, MachineClock, entered
from tests.simulation.world import ignore_the_dead
from tests.support.intake import Asked
from tests.support.ledger import Ledger
from tests.support.values import SITE

_TOGETHER = 20  # reviews that are being answered at once
_FAULTS = (
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(status=500),
    Fault(status=500, done=True),
    Fault(status=429, headers={"Retry-After": "3"}),
    Fault(garble="truncate"),
    Fault(delay=30.0),
)


@dataclass
class Result:
    """What happened, and what must not have."""

    replies: int = 0
    kills: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Shop:
    """A site whose reviews are answered, changed and answered by others at the same time."""

    def __init__(self, folder: Path, random: Random, result: Result) -> None:
        self._random = random
        self.result = result
        self.clock = MachineClock(START)
        self.wix = EmbeddedWix(clock=self.clock, requests_per_minute=None)
        self.wix.add_site(SITE, api_key="key")
        self.folder = folder
        self.config: Config
        self.ledger = Ledger(self.wix.sites[SITE])

    def write_config(self) -> None:
        path = self.folder / "config.toml"
        path.write_text(
            f'state = "state.db"\n[wix]\nbase_url = "{self.wix.base_url}"\n'
            f'[[sites]]\nname = "Bakery"\nsite_id = "{SITE}"\napi_key = "env:KEY"\n'
            '[slack]\ntoken = "env:KEY"\n[[receivers]]\nname = "a"\nslack = "C0123456789"\n'
        )
        self.config = load_config(path, {"KEY": "key"}, secrets=True)

    def open(self) -> State:
        """The state file, opened by the current process."""
        return State.open(self.config.database, migrate=True)

    def responder(self, state: State, wix: WixClient, owner: str) -> Responder:
        intake = Intake(state, self.config, self.clock, Asked(), lambda _: None)

        async def record(site: Site, review: Review) -> None:
            await intake.record_page(site, [review])

        patience = WAITS_FOR_WIX if owner == DAEMON else timedelta(minutes=1)
        return Responder(
            state, self.config, self.clock, wix, record, lambda _: None,
            patience=patience, owner=owner,
        )  # fmt: skip

    async def daemon(self) -> None:
        """What a daemon does about actions, from its start on."""
        with self.open() as state:
            wix = WixClient(self.config.wix.base_url, self.clock)
            actions.end_leases(state, DAEMON)
            pending = PendingActions(state, self.clock, self.responder(state, wix, DAEMON))
            while True:
                await pending.round()
                await asyncio.sleep(5)

    async def command(self, new: NewAction) -> None:
        """What a command does with an action."""
        with self.open() as state:
            wix = WixClient(self.config.wix.base_url, self.clock)
            responder = self.responder(state, wix, "command")
            await responder.carry_out(responder.request(new))

    async def answer(self, number: int) -> None:
        """Let one or two people answer a review, and let it change meanwhile."""
        review_id, random = f"r{number}", self._random
        with self.open() as state:
            seen = reviews.get_reviews(state, SITE, [review_id])[review_id].review
        people = [f"Person {number}"] if random.random() < 0.6 else [f"P{number}", f"Q{number}"]
        work: list[Any] = [self._act(seen, name, number) for name in people]
        if random.random() < 0.2:
            work.append(self._later(lambda: self.ledger.reply_by_other(review_id)))
        if random.random() < 0.2:
            work.append(self._later(lambda: self._edit(review_id, number)))
        if random.random() < 0.1:
            work.append(self._later(lambda: self.wix.change(SITE, review_id, foundHelpful=1)))
        for name in random.choices(("/reply", f"/{review_id}"), k=random.choice((0, 0, 1, 2))):
            self.wix.faults.add(name, random.choice(_FAULTS))
        await asyncio.gather(*work)

    async def _act(self, seen: Review, name: str, number: int) -> None:
        self.result.replies += 1
        message = f"{name} is sorry. " + "So sorry. " * self._random.choice((0, 0, 200))
        self.ledger.seen[message.strip()] = seen.body
        new = NewAction(
            f"{name}-{number}", ActionKind.REPLY, SITE, seen.id, Person(name), Through.COMMAND,
            seen.revision, seen.text_digest, reply=message.strip(),
        )  # fmt: skip
        await asyncio.sleep(self._random.uniform(0, 2))
        while not await self._run_command(new):
            await asyncio.sleep(self._random.uniform(0, 5))

    async def _run_command(self, new: NewAction) -> bool:
        """Run a command, which may be killed; return whether its action is on record."""
        process = Process("command")
        if self._random.random() < 0.3:
            process.kill_at = self._random.randint(1, 8)
            process.kill_after = self._random.random() < 0.5
        token = current.set(process)
        try:
            task = asyncio.create_task(self.command(new))
        finally:
            current.reset(token)
        if self._random.random() < 0.3:
            await asyncio.wait({task}, timeout=self._random.uniform(0, 3))
        else:
            await asyncio.wait({task})
        if process.dead or not task.done():
            self.result.kills += 1
        await kill(process)
        with self.open() as state:
            known = state.value("SELECT count(*) FROM actions WHERE key = ?", [new.key])
        return bool(known)

    async def _later(self, what: Any) -> None:
        await asyncio.sleep(self._random.uniform(0, 10))
        what()

    def _edit(self, review_id: str, number: int) -> None:
        content = {"body": f"An edited text {number}."}
        self.wix.change(SITE, review_id, content=content)

    async def daemons(self) -> None:
        """Run one daemon after the other, each until it is killed."""
        while True:
            process = Process("daemon")
            token = current.set(process)
            try:
                task = asyncio.create_task(self.daemon())
            finally:
                current.reset(token)
            await asyncio.wait({task}, timeout=self._random.uniform(1, 60))
            await kill(process)
            self.result.kills += 1
            await asyncio.sleep(self._random.uniform(0, 20))

    def judge(self) -> None:
        """Compare what Wix recorded with what people were shown."""
        with self.open() as state:
            found = [
                action
                for (review_id,) in [
                    (row["review_id"],)
                    for row in state.rows("SELECT DISTINCT review_id FROM actions ORDER BY 1")
                ]
                for action in actions.get_actions(state, SITE, review_id)
            ]
        if len(found) != self.result.replies:
            self.result.wrong.append(f"{len(found)} actions of {self.result.replies} on record")
        self.result.wrong += self.ledger.judge(found)
        self.result.outcomes = self.ledger.outcomes


async def respond(folder: Path, replies: int, seed: int) -> Result:
    """Answer that many reviews, let everything settle, and judge."""
    random, result = Random(seed), Result()
    shop = Shop(folder, random, result)
    with entered(shop.clock, Disk(), seed):
        async with shop.wix:
            shop.write_config()
            await _record(shop, replies)
            daemons = asyncio.create_task(shop.daemons())
            slots = asyncio.Semaphore(_TOGETHER)

            async def one(number: int) -> None:
                async with slots:
                    await shop.answer(number)

            number = 0
            while result.replies < replies:
                batch = [one(number + offset) for offset in range(_TOGETHER)]
                number += _TOGETHER
                await asyncio.gather(*batch)
            daemons.cancel()
            await asyncio.gather(daemons, return_exceptions=True)
            shop.wix.faults.clear()
            last = asyncio.create_task(shop.daemon())
            await asyncio.sleep(3 * 3600)
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)
            shop.judge()
    return result


async def _record(shop: Shop, number: int) -> None:
    """Put reviews at Wix, and on record as open."""
    with shop.open() as state:
        intake = Intake(state, shop.config, shop.clock, Asked(), lambda _: None)
        site = shop.config.sites[0]
        await intake.record_page(site, [], checkpoint=shop.clock.now())
        state.execute("UPDATE sites SET covered_rating = 2, covered_since = 0")
        await asyncio.sleep(60)
        wix = WixClient(shop.config.wix.base_url, shop.clock)
        for each in range(number + _TOGETHER):
            content = {"rating": 1, "title": "Stale", "body": f"A text {each}."}
            shop.wix.add(SITE, {"id": f"r{each}", "content": content})
            await intake.record_page(site, [await wix.review(site, f"r{each}")])


def run(replies: int, seed: int) -> Result:
    """Let it happen in virtual time."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    chance = Random(seed + 1)
    loop = VirtualLoop(lambda: chance.uniform(0.001, 0.3))
    loop.set_exception_handler(ignore_the_dead)
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(respond(folder, replies, seed))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)


def report(result: Result, seed: int) -> str:
    """The figures, for people."""
    outcomes = ", ".join(f"{name} {number}" for name, number in result.outcomes.most_common())
    lines = [f"seed {seed}: {result.replies} replies, {result.kills} kills: {outcomes}"]
    return "\n".join([*lines, *(f"  WRONG {text}" for text in result.wrong)])


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.responses", description=__doc__)
    parser.add_argument("--replies", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20261126)
    args = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what is dropped and killed is the purpose
    result = run(args.replies, args.seed)
    sys.stdout.write(report(result, args.seed) + "\n")
    sys.exit(bool(result.wrong))


if __name__ == "__main__":
    main()
