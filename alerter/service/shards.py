"""Make the rounds of the shards of a cluster, several sites together."""

import asyncio
import logging
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta

from alerter.errors import StateError
from alerter.service.embedded import end_tasks
from alerter.service.membership import Membership
from alerter.service.rounds import SHARDS
from alerter.service.runtime import Runtime
from alerter.store import rounds

log = logging.getLogger(__name__)

# A job ends after so many seconds, for workers that have less to do; the shorter turn is that of a
# worker with more shards than its share.
_TURN, _SHORT_TURN = 30.0, 5.0
# Rounds that a job has in hand, about as many as Wix is asked for at once.
_AT_ONCE = 50
# A job looks for due rounds so often: what falls due meanwhile is read and recorded together.
_LOOK_EVERY = 1.0
# A job ends where nothing falls due for so long.
_SOON = timedelta(seconds=5)
# After its turn a job waits so long for its rounds to end.
_SLOW = 10.0


class Shards:
    """Makes the rounds of shards, each in a job of its own.

    `under_way`: the rounds of all of them.
    """

    def __init__(self, runtime: Runtime, membership: Membership, stopping: asyncio.Event) -> None:
        self.under_way: set[asyncio.Task[bool]] = set()
        self._runtime = runtime
        self._membership = membership
        self._stopping = stopping
        self._clock = runtime.clock
        self._sites = {site.site_id: site for site in runtime.config.sites}
        self._shards: set[int] = set()

    async def make_rounds(self, shard: int) -> None:
        """Make the rounds of a shard as they are due, for a turn; a job costs more than a round.

        A round that takes long holds up no other: the turn goes on then.
        """
        under_way: dict[str, asyncio.Task[bool]] = {}
        self._shards.add(shard)
        began_at = self._clock.monotonic()
        over_at: float | None = None  # when the turn was found to be over; it may get longer again
        try:
            while not self._stopping.is_set():
                looked_at = self._clock.monotonic()
                is_over = looked_at - began_at >= self._turn()
                over_at = (over_at or looked_at) if is_over else None
                goes_on = over_at is None or (under_way and looked_at - over_at >= _SLOW)
                more = goes_on and self._begin_due(shard, under_way)
                if under_way:
                    await asyncio.wait(under_way.values(), timeout=_LOOK_EVERY)
                    await self._end_rounds(under_way)
                elif is_over or not await self._wait_for_next(shard):
                    return
                if not more:
                    await self._wait(looked_at + _LOOK_EVERY - self._clock.monotonic())
        finally:
            self._shards.discard(shard)
            if under_way:
                try:
                    await end_tasks(set(under_way.values()))
                finally:  # at the stop of the process it is cancelled while it waits
                    await self._end_rounds(under_way)

    def _turn(self) -> float:
        """Return for how many seconds to keep a shard: not for long, if there are too many here.

        It is asked at each look: as soon as another worker has joined, the surplus is given up.
        """
        is_share = len(self._shards) <= -(-SHARDS // self._membership.living)
        return _TURN if is_share else _SHORT_TURN

    def _begin_due(self, shard: int, under_way: dict[str, asyncio.Task[bool]]) -> bool:
        """Begin the due rounds of a shard; return whether more of them may be due."""
        most = _AT_ONCE - len(under_way)
        if most <= 0:
            return False
        try:
            found = self._runtime.poller.due_rounds(shard, most, under_way)
        except StateError:
            return False
        begun = {
            site_id: asyncio.create_task(self._runtime.poller.read_site(site, start))
            for site_id, start in found.items()
            if (site := self._sites.get(site_id))  # others are of a newer config
        }
        under_way |= begun
        for task in begun.values():
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)
        return len(begun) == most

    async def _end_rounds(self, under_way: dict[str, asyncio.Task[bool]]) -> None:
        """Record the rounds that have ended, and plan the next ones of their sites.

        A round that was cancelled is due still, and is made by the next job.
        """
        ended = {
            site_id: task.result()
            for site_id, task in under_way.items()
            if task.done() and not task.cancelled()
        }
        for site_id in ended:
            del under_way[site_id]
        read = [self._sites[site_id] for site_id, is_read in ended.items() if is_read]
        if read and await self._runtime.poller.outcomes.record_success(read):
            self._runtime.heartbeat.beat()
        self._schedule(ended)

    def _schedule(self, site_ids: Collection[str]) -> None:
        """Plan the next rounds of sites whose round ended; where that fails, they are due still."""
        if site_ids:
            now, every = self._clock.now(), self._runtime.config.poll.every
            try:
                rounds.schedule_rounds(self._runtime.state, site_ids, now, every)
            except StateError as error:
                log.debug("rounds are made again: %s", error)

    async def _wait_for_next(self, shard: int) -> bool:
        """Wait until the next round of a shard is due; return False if that is later than soon."""
        try:
            due_at = rounds.next_round(self._runtime.state, shard)
        except StateError:
            return False
        left = due_at - self._clock.now() if due_at else _SOON
        if left >= _SOON:
            return False
        await self._wait(left.total_seconds())
        return True

    async def _wait(self, seconds: float) -> None:
        """Wait for so long, or until this worker is to stop."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)
