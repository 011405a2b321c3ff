"""The crash harness: the real daemon, killed at random moments while everything around it fails.

`python -m tests.torture` runs it long; a test runs it short. A seed replays what was random, but
for the moments at
which the machine itself is slow.
"""

import argparse
import asyncio
import logging
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from alerter.demo.faults import Fault, redirect
from alerter.demo.slack import Post
from alerter.demo.slack_people import ImpossibleError
from alerter.store import State, actions
from tests.support.ledger import Ledger
from tests.support.posted_world import PostedWorld
from tests.support.world import PEOPLE, SITE, Outcome, World

# Seconds after which what has not come to pass never will; no measure of speed.
_SETTLING = 300.0
_LOSE_MAIL = ("mail drops before", "mail drops after", "mail hangs")
_REPLY_FAULTS = (
    Fault(drop="before"),
    Fault(drop="after"),
    Fault(status=500),
    Fault(status=500, done=True),
    Fault(garble="truncate"),
)


_POST_FAULTS = {
    "refuses (500)": Fault(status=500),
    "throttles (429)": Fault(status=429, headers={"Retry-After": "1"}),
    "redirects": redirect("https://example.invalid/", 307),
    "hangs": Fault(delay=3.0),
    "drops before": Fault(drop="before"),
    "drops after": Fault(drop="after"),
    "answers garbage": Fault(garble="html"),
}


class Faults:
    """Everything that may go wrong around the daemon, chosen at random."""

    def __init__(self, world: World, random: Random, counted: Counter[str]) -> None:
        self._world = world
        self._random = random
        self._counted = counted
        self._kinds: dict[str, Callable[[], Any]] = {
            "slack refuses (500)": lambda: self._slack(Fault(status=500)),
            "slack takes it and says 500": lambda: self._slack(Fault(status=500, done=True)),
            "slack throttles (429)": lambda: self._slack(
                Fault(status=429, headers={"Retry-After": "1"})
            ),
            "slack hangs": lambda: self._slack(Fault(delay=20)),
            "slack drops before": lambda: self._slack(Fault(drop="before")),
            "slack drops after": lambda: self._slack(Fault(drop="after")),
            "slack answers garbage": lambda: self._slack(Fault(garble="html")),
            "slack's history fails": lambda: world.slack.faults.add(
                "conversations.history", Fault(status=503)
            ),
            "mail refused for now (451)": lambda: world.mailbox.data_replies.append(
                "451 4.3.0 try again later"
            ),
            "mail drops before": lambda: world.mailbox.drop.append("before"),
            "mail drops after": lambda: world.mailbox.drop.append("after"),
            "mail refuses connections": lambda: world.mailbox.drop.append("connect"),
            "mail hangs": lambda: setattr(world.mailbox, "hang", 3.0),
            "wix throttles (429)": lambda: self._wix(
                Fault(status=429, headers={"Retry-After": "1"})
            ),
            "wix refuses (500)": lambda: self._wix(Fault(status=500)),
            "wix answers garbage": lambda: self._wix(Fault(garble="truncate")),
            "wix drops": lambda: self._wix(Fault(drop="before")),
        }
        if isinstance(world, PostedWorld):
            self._kinds |= self._of_addresses(world)
        if isinstance(world.state, Path):
            self._kinds |= {
                "the disk is full": self._fill_disk,
                "the state file is locked": self._lock_state,
            }

    async def strike(self, spare_mail: bool = False) -> None:
        """Let one or two things go wrong; `spare_mail`: no more mails are lost for now."""
        kinds = [each for each in sorted(self._kinds) if not (spare_mail and each in _LOSE_MAIL)]
        for name in self._random.sample(kinds, self._random.randint(1, 2)):
            self._counted[name] += 1
            done = self._kinds[name]()
            if done is not None:
                await done

    def _of_addresses(self, world: PostedWorld) -> dict[str, Callable[[], Any]]:
        """Return the faults of addresses that are posted to."""
        return {
            f"{name} {what}": partial(service.faults.add, "", fault)
            for name, service in world.services.items()
            for what, fault in _POST_FAULTS.items()
        }

    def _slack(self, fault: Fault) -> None:
        self._world.slack.faults.add("chat.postMessage", fault)

    def _wix(self, fault: Fault) -> None:
        self._world.wix.faults.add("/query", fault)

    async def _fill_disk(self) -> None:
        """Let no file of the daemon's grow for a moment: its writes fail as on a full disk."""
        if self._world.daemon is None or self._world.daemon.returncode is not None:
            return
        pid = self._world.daemon.pid
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        self._world.add_review()
        await asyncio.sleep(self._random.uniform(0.2, 1.5))
        # One that was just starting cannot open its state file, and has ended: it is started again
        # as after a kill.
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)

    async def _lock_state(self) -> None:
        """Hold the write lock for longer than the daemon waits for it."""
        path = self._world.state
        if not isinstance(path, Path) or not path.exists():
            return
        db = sqlite3.connect(path, timeout=5, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            self._world.add_review()
            await asyncio.sleep(2.5)
        except sqlite3.Error:
            return
        finally:
            db.close()


class Repliers:
    """Two people who reply from Slack to reviews that have arrived everywhere.

    Answers of Wix are lost meanwhile, and others reply in the dashboard and change reviews.
    """

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._chosen: set[str] = set()
        self._left: set[str] = set()
        self.ledger = Ledger(world.wix.sites[SITE])

    def leave(self, review_id: str) -> None:
        """Never let a person reply to a review."""
        self._left.add(review_id)

    async def reply(self) -> None:
        """Let people reply to a few reviews; what Slack cannot do now is not done."""
        world, random = self._world, self._random
        for post in [post for post in world.slack.posts if self._may_be_answered(post)][:3]:
            review_id = _review_of(post)
            # Each review is posted to both channels, and a message changes in the meantime.
            if not review_id or review_id in self._chosen:
                continue
            self._chosen.add(review_id)
            for fault in random.choices(_REPLY_FAULTS, k=random.choice((0, 1, 1, 2))):
                world.wix.faults.add(random.choice(("/reply", f"/{review_id}")), fault)
            people = random.sample(PEOPLE, random.choice((1, 1, 2)))
            await asyncio.gather(*(self._reply_as(person, post, review_id) for person in people))
            match random.randrange(5):
                case 0:
                    self.ledger.reply_by_other(review_id)
                case 1:
                    world.wix.change(SITE, review_id, content={"body": "Not so bad after all."})

    def _may_be_answered(self, post: Post) -> bool:
        """Whether a message is about one review that has reached everybody."""
        review_id, title = _review_of(post), post.text
        if not review_id or review_id in self._chosen | self._left:
            return False
        named = {each for each in self._world.titles if each in title}
        return (
            bool(named)
            and named <= self._world.arrived_everywhere() & self._world.mails_of().keys()
        )

    async def _reply_as(self, person_id: str, post: Post, review_id: str) -> None:
        person = self._world.slack.person(person_id)
        row = self._world.wix.sites[SITE].reviews.get(review_id)
        words = f"{person_id} is sorry about {review_id}."
        self.ledger.seen[words] = row.review["content"].get("body", "") if row else ""
        try:
            await person.press(post, "respond:reply")
            for _ in range(30):
                if person.modals:
                    break
                await asyncio.sleep(0.1)
            await person.submit({"text": words})
        except ImpossibleError:
            return
        finally:
            for modal in person.modals:
                modal.open = False

    def judge(self) -> tuple[int, list[str]]:
        """Return how many replies were recorded, and what must not have happened to them."""
        with State.read(self._world.state) as state:
            found = [
                action
                for review_id in sorted(self._chosen)
                for action in actions.get_actions(state, SITE, review_id)
            ]
        return len(found), self.ledger.judge(found)

    def settled(self) -> bool:
        """Whether every reply is settled, and every person has its result."""
        with State.read(self._world.state) as state:
            return not state.value(
                "SELECT count(*) FROM actions WHERE finished_at IS NULL OR place IS NOT NULL"
            )


def _review_of(post: Post) -> str:
    """Return the id of the review that the buttons of a message are about; empty for none."""
    blocks = [] if post.deleted else post.shown_blocks
    named = [str(block.get("block_id", "")) for block in blocks if block["type"] == "actions"]
    found = next((each for each in named if each.startswith("respond:")), "")
    return found.split(":")[1].split("/")[1] if found else ""


async def torture(
    folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Kill the daemon that often, then let it settle, and count."""
    random, outcome = Random(seed), Outcome()
    world = PostedWorld(folder)
    async with world.up():
        faults, repliers = Faults(world, random, outcome.faults), Repliers(world, random)
        await world.start()
        await world.at_work(_SETTLING)
        for number in range(kills):
            for _ in range(random.choice([0, 1, 1, 2, 3, 15])):
                world.add_review()
            await faults.strike()
            replying = asyncio.create_task(repliers.reply())
            await asyncio.sleep(random.uniform(0.0, 2.0))
            await world.kill()
            world.mailbox.hang = 0.0
            outcome.kills += 1
            await world.start()
            await world.at_work(_SETTLING)
            await asyncio.sleep(random.uniform(0.3, 1.5))
            await replying
            say(f"{number + 1}/{kills} kills, {len(world.titles)} reviews")
        world.calm()
        await world.until(lambda: world.everything_arrived() and not world.pending(), _SETTLING)
        await world.until(repliers.settled, _SETTLING)
        world.count(outcome)
        outcome.replies, outcome.wrong_replies = repliers.judge()
    return outcome


def report(outcome: Outcome, seed: int) -> str:
    """The figures, for people."""
    lines = [
        (
            f"seed {seed}: {outcome.kills} kills, {outcome.reviews} reviews, {outcome.deliveries} "
            "deliveries"
        )
    ]
    lines += [f"  {number:5}  {name}" for name, number in sorted(outcome.faults.items())]
    lines += [f"  LOST {what}" for what in outcome.lost] + [
        f"  REPEATED {what}" for what in outcome.repeated
    ]
    if outcome.given_up:
        lines.append(f"{outcome.given_up} reviews in messages that were given up, as documented")
    lines += [f"  PENDING {what}" for what in outcome.pending]
    lines += [f"  WRONG {what}" for what in outcome.wrong_replies]
    lines.append(f"{outcome.replies} replies from Slack, {len(outcome.wrong_replies)} wrong")
    lines.append(
        f"{len(outcome.lost)} lost, {len(outcome.repeated)} repeated, {len(outcome.pending)} left "
        "pending"
    )
    return "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description="Kill the daemon at random moments, and count what arrives."
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cluster", action="store_true", help="three workers on PostgreSQL")
    asked = parser.parse_args()

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{text}", end="", file=sys.stderr, flush=True)

    logging.getLogger("aiohttp.server").setLevel(
        logging.CRITICAL
    )  # it holds every dropped connection to be an error
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="alerter-torture-") as folder:
        if asked.cluster:
            from tests import torture_cluster

            begun = torture_cluster.torture(Path(folder) / "cluster", asked.kills, asked.seed, say)
            cluster = asyncio.run(begun)
            print(torture_cluster.report(cluster, asked.seed))
            sys.exit(0 if cluster.good else 1)
        outcome = asyncio.run(torture(Path(folder), asked.kills, asked.seed, say))
    print(report(outcome, asked.seed))
    sys.exit(0 if outcome.good else 1)


if __name__ == "__main__":
    main()
