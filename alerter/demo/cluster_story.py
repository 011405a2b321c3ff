"""The story of a cluster's demo: reviews arrive while workers and their database fail."""

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Literal

from alerter.demo.cluster_database import Database
from alerter.demo.cluster_screen import Screen, aligned
from alerter.demo.cluster_services import EMAIL, SITE_IDS, TEAMS, Services
from alerter.demo.cluster_workers import ClusterWorker, WorkerState
from alerter.errors import AlerterError

# Seconds after which the story gives up, however slow the machine is.
_PATIENCE = 120.0
_POLL_EVERY = 0.05
_LOOK_EVERY = 0.2
_REVIEW_EVERY = 1.0
_RATINGS = (1, 2, 5, 2, 1, 4)
_BURST = 8  # at more than ten at once Slack gets one digest
# A worker that was frozen for so long has lost its lease, which ends after 15 seconds.
_FROZEN_FOR = 26.0
# What was marked as sent is on disk after so many seconds, and known after a crash of the server.
_ON_DISK = 1.0
_COLOURS = {
    "alive": "32",
    "up": "32",
    "frozen": "36",
    "killed": "31",
    "stopped": "33",
    "starting": "33",
    "restarting": "33",
}


class ClusterStory:
    """Three workers, the PostgreSQL that they share, and the events around them."""

    def __init__(self, services: Services, screen: Screen) -> None:
        self._services = services
        self._screen = screen
        self._config = services.folder / "config.toml"
        self._database = Database(services.folder / "pg")
        self._database_state = "starting"
        self._workers: list[ClusterWorker] = []
        self._taken_over: list[tuple[str, str, str]] = []
        self._board: list[str] = []
        self._steps = 0
        self._began = time.monotonic()
        self._flowing = asyncio.Event()
        self._watcher = asyncio.create_task(self._watch())
        self._feeder = asyncio.create_task(self._feed())

    async def play(self, scenes: Sequence[str]) -> None:
        """Play each scene, until all that is expected has arrived."""
        await self._open()
        for scene in scenes:
            await {
                "kill": self._kill,
                "freeze": self._freeze,
                "stop": self._stop,
                "restart": self._restart,
                "crash": self._crash,
            }[scene]()
        await self._close()

    async def _open(self) -> None:
        self._step(
            "PostgreSQL and three workers start. Six sites have old reviews: they are recorded,"
            " and nobody is notified."
        )
        await self._database.start()
        self._database_state = "up"
        (self._services.folder / "database_url").write_text(self._database.url.url)
        self._config.write_text(self._services.config())
        await asyncio.gather(*(self._start_worker() for _ in range(3)))
        await self._until(lambda: sum(each.watching for each in self._workers) == len(SITE_IDS))

        self._step("Customers leave reviews. The low ones are alerted: by email, and on Slack.")
        self._flowing.set()
        await self._until(lambda: self._services.alerted(EMAIL) >= len(TEAMS))
        await self._until(lambda: not self._services.outstanding())

    async def _kill(self) -> None:
        worker = await self._freeze_busy("north")
        before, now = self._posts("north"), time.monotonic()
        await worker.kill()
        self._step(f"{worker.name} is killed, with messages for #north in hand.")
        await asyncio.gather(
            self._taken_over_from("north", before, now, f"{worker.name} killed", worker),
            self._start_worker(),
        )

    async def _freeze(self) -> None:
        worker = await self._freeze_busy("south")
        before, now = self._posts("south"), time.monotonic()
        self._step(f"{worker.name} is frozen, with messages for #south in hand.")
        await self._taken_over_from("south", before, now, f"{worker.name} frozen", worker)
        await self._until(lambda: time.monotonic() - now > _FROZEN_FOR)
        worker.thaw()
        frozen = f"{time.monotonic() - now:.0f} s"
        self._step(f"{worker.name} goes on after {frozen}. It sends nothing that others have now.")
        await self._until(lambda: not self._services.outstanding("south"))

    async def _stop(self) -> None:
        worker = await self._busy("west")
        before, now = self._posts("west"), time.monotonic()
        self._step(f"{worker.name} is stopped (SIGTERM), with messages for #west in hand.")
        await worker.stop()
        await asyncio.gather(
            self._taken_over_from("west", before, now, f"{worker.name} stopped", worker),
            self._start_worker(),
        )

    async def _restart(self) -> None:
        await self._busy("north")
        self._step("PostgreSQL is restarted, with messages for #north on their way.")
        await self._restart_database("fast", "north")

    async def _crash(self) -> None:
        # A mail whose mark is lost in a crash would be repeated: it cannot be looked for.
        self._flowing.clear()
        await self._until(lambda: not self._services.outstanding())
        await self._busy("south")
        mails = self._services.mailbox.mails
        await self._until(
            lambda: (
                not self._services.outstanding(EMAIL) and time.monotonic() - mails[-1].at > _ON_DISK
            )
        )
        self._step("PostgreSQL crashes, with messages for #south on their way.")
        self._flowing.set()
        await self._restart_database("immediate", "south")

    async def _close(self) -> None:
        self._step("No more reviews. What is left arrives.")
        self._flowing.clear()
        await asyncio.sleep(_LOOK_EVERY)
        if not await self._happens(lambda: not self._services.outstanding()):
            return  # what is left is lost
        await self._until(lambda: not self._database.has_messages("sending", "in_doubt"))
        await asyncio.sleep(_ON_DISK)  # for what should not come

    async def _start_worker(self) -> None:
        worker = ClusterWorker(self._config, f"worker {len(self._workers) + 1}")
        self._workers.append(worker)
        await worker.start()
        # One that does not reach the database when it starts would end.
        await self._until(lambda: worker.state is WorkerState.ALIVE)

    async def _busy(self, team: str) -> ClusterWorker:
        """Return the worker that sends to a team, with messages for it in hand."""
        while True:
            await self._burst(team)
            worker = await self._next_sender(team)
            if worker and self._services.outstanding(team) > 1:
                return worker

    async def _burst(self, team: str) -> None:
        """Put in many reviews for a team, and wait until their alerts are raised.

        They are once all mails are sent. The messages to Slack go out one a second.
        """
        services = self._services
        mails = {(services.add(TEAMS[team][0], 1), EMAIL) for _ in range(_BURST)}
        await self._until(lambda: mails <= services.arrived.keys())

    async def _next_sender(self, team: str) -> ClusterWorker | None:
        """Wait for the next message to a team, and return its sender; None if all has arrived."""
        began = time.monotonic()
        await self._until(lambda: self._sender(team, began) or not self._services.outstanding(team))
        return self._sender(team, began)

    async def _freeze_busy(self, team: str) -> ClusterWorker:
        """Freeze the worker that sends to a team, between two calls.

        Within a call nobody could know whether a mail has arrived, and it would be repeated.
        """
        while True:
            worker = await self._busy(team)
            while self._services.outstanding(team) > 1:
                worker.freeze()
                if not await asyncio.to_thread(self._database.has_messages, "sending"):
                    return worker
                worker.thaw()
                await asyncio.sleep(_POLL_EVERY)

    async def _taken_over_from(
        self, team: str, before: int, began: float, what: str, worker: ClusterWorker | None = None
    ) -> None:
        """Wait until a team gets messages again, and note after how long and by whom."""
        await self._until(lambda: self._posts(team) > before)
        await self._until(lambda: self._sender(team, began, worker))
        if sender := self._sender(team, began, worker):
            posts = [post for post in self._services.slack.posts if post.channel_name == team]
            seconds = f"{posts[before].at - began:.1f} s"
            self._taken_over.append((what, f"#{team} goes on after {seconds}", sender.name))
            self._screen.say(f"    {sender.name} sends to #{team} after {seconds}", "message")

    async def _restart_database(self, mode: Literal["fast", "immediate"], team: str) -> None:
        before, now = self._posts(team), time.monotonic()
        self._database_state = "restarting"
        await self._database.restart(mode)
        self._database_state = "up"
        what = "PostgreSQL restarted" if mode == "fast" else "PostgreSQL crashed"
        await self._taken_over_from(team, before, now, what)

    def _posts(self, team: str) -> int:
        return sum(post.channel_name == team for post in self._services.slack.posts)

    def _sender(
        self, team: str, since: float, but: ClusterWorker | None = None
    ) -> ClusterWorker | None:
        """Return the worker that has last sent to a team since a moment."""
        found = [
            each
            for each in self._workers
            if each is not but and each.running and each.sent_at.get(team, 0) > since
        ]
        return max(found, key=lambda each: each.sent_at[team], default=None)

    def _step(self, text: str) -> None:
        self._steps += 1
        self._screen.say(f"\n{self._steps}. {text}", "step")

    async def _until(self, happened: Callable[[], object]) -> None:
        if not await self._happens(happened):
            logs = "\n".join(f"{each.name}: {each.last_lines()}" for each in self._workers)
            raise AlerterError(f"the story does not continue; the logs:\n{logs}")

    async def _happens(self, happened: Callable[[], object]) -> bool:
        """Wait until something has happened; return False where it does not."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while not happened():
                    for each in self._workers:
                        if each.ended and each.state in (WorkerState.STARTING, WorkerState.ALIVE):
                            raise AlerterError(f"{each.name} has ended:\n{each.last_lines()}")
                    for task in (self._watcher, self._feeder):
                        if task.done():
                            task.result()
                    await asyncio.sleep(_POLL_EVERY)
        except TimeoutError:
            return False
        return True

    async def _feed(self) -> None:
        """Have a customer leave a review every second, while reviews flow."""
        for site, rating in zip(cycle(SITE_IDS), cycle(_RATINGS)):
            await self._flowing.wait()
            self._services.add(site, rating)
            await asyncio.sleep(_REVIEW_EVERY)

    async def _watch(self) -> None:
        """Take in what arrives and what workers log, and show it."""
        while True:
            self._services.take_in()
            for worker in self._workers:
                worker.read_log()
            self._screen.show(["", *self._table()])
            await asyncio.sleep(_POLL_EVERY)

    def _table(self) -> list[str]:
        rows = [("worker", "", "for", "mails", "Slack", "last to")]
        rows += [
            (
                worker.name,
                worker.state,
                _phrase(worker.since),
                str(worker.sent["email"]),
                str(worker.sent["slack"]),
                _place(worker.receiver),
            )
            for worker in self._workers
        ]
        rows.append(("PostgreSQL", self._database_state, "", "", "", ""))
        return [*aligned(rows, _COLOURS), "", self._sums()]

    def _sums(self) -> str:
        services = self._services
        low, on_slack = len(services.expected) // 2, sum(map(services.alerted, TEAMS))
        return (
            f"{_phrase(self._began)}  {services.reviews} reviews, {low} of them low:"
            f" {services.alerted(EMAIL)} alerted by email, {on_slack} on Slack"
        )

    async def end(self) -> None:
        """End all processes, and keep what there is to show."""
        self._board = self._table()
        self._flowing.clear()
        await asyncio.gather(*(each.end() for each in self._workers))
        tasks = (self._watcher, self._feeder)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._database.stop()

    def show_result(self) -> bool:
        """Show who did what, and return whether nothing was lost and nothing repeated."""
        self._services.take_in()
        lost, repeated = self._services.lost(), self._services.repeated()
        parts = (self._board, aligned(self._taken_over), [*lost, *repeated])
        for line in [line for part in parts if part for line in ["", *part]]:
            self._screen.say(line, "note")
        alerted = f"{len(self._services.expected) // 2} reviews alerted"
        self._screen.say(f"\n{alerted}, {len(lost)} lost, {len(repeated)} repeated", "result")
        return not lost + repeated


def _phrase(since: float) -> str:
    """Return the time since a moment, as minutes and seconds."""
    minutes, seconds = divmod(int(time.monotonic() - since), 60)
    return f"{minutes}:{seconds:02}"


def _place(receiver: str) -> str:
    return f"#{receiver}" if receiver in TEAMS else EMAIL if receiver else ""
