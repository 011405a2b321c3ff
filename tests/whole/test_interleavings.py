"""Whatever happens in whatever order: one row for each alert and receiver, sent once, and nothing
left in the end.

Hypothesis makes up the order; the daemon's parts run on a real state file against the embedded
services, and die around
any commit. A small model of what people ought to hear stands beside them. `make torture` tries many
more orders.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerter.commands.backfill import BackfillRequest
from alerter.config import Config, load_config
from alerter.demo.faults import Fault, redirect
from alerter.models import Grouping
from alerter.notify.worker import IdleReason
from alerter.render.webhook_body import webhook_id
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, known_sites, messages, outbox
from tests.support.clock import SetClock
from tests.support.posted_world import PostedWorld
from tests.support.world import CHANNELS, SITE

HOOK = "webhook:desk"
ADDRESSES = (HOOK, "ntfy:phone", "discord:guild", "teams:office")
DESTINATIONS = ("email:owner", *(f"slack:{channel}" for channel in CHANNELS), *ADDRESSES)
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_ROUNDS_TO_SETTLE = 30


class Died(BaseException):
    """The process is no more."""


class Mortal(State):
    """A state file whose process dies when so many transactions have come to their end: before the
    commit, or after.
    """

    transactions_left: int | None = None
    dies_after_the_commit = False

    @contextmanager
    def transaction(self, *scopes: str, relaxed: bool = False) -> Iterator[None]:
        outermost = not self.engine.in_transaction
        with super().transaction(*scopes, relaxed=relaxed):
            yield
            dies = outermost and self._counts_down()
            if dies and not self.dies_after_the_commit:
                raise Died
        if dies:
            raise Died

    def _counts_down(self) -> bool:
        if self.transactions_left is not None:
            self.transactions_left -= 1
        return self.transactions_left == 0


@dataclass
class Model:
    """What people ought to hear, as far as it is certain. Reviews are named by their ids."""

    lowest: dict[str, int] = field(default_factory=dict)
    past: set[str] = field(default_factory=set)
    recorded: set[str] = field(default_factory=set)
    must_hear: set[str] = field(default_factory=set)
    may_hear: set[str] = field(default_factory=set)
    must_hear_again: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)


SLACK_FAULTS = {
    "drops before": Fault(drop="before"),
    "drops after": Fault(drop="after"),
    "500, but done": Fault(status=500, done=True),
    "429": Fault(status=429, headers={"Retry-After": "5"}),
    "invalid_blocks": Fault(body='{"ok": false, "error": "invalid_blocks"}'),
    "is_archived": Fault(body='{"ok": false, "error": "is_archived"}'),
    "invalid_auth": Fault(body='{"ok": false, "error": "invalid_auth"}'),
}
ADDRESS_FAULTS = {
    "drops before": Fault(drop="before"),
    "drops after": Fault(drop="after"),
    "500": Fault(status=500),
    "429": Fault(status=429, headers={"Retry-After": "5"}),
    "redirects": redirect("https://example.invalid/"),
    "refuses the message": Fault(status=400),
    "is gone": Fault(status=410),
}
MAIL_FAULTS = ("before", "after", "connect", "451 4.3.0 later", "554 5.7.1 no")

# What may happen, how often beside the others, and with which particulars.
ACTIONS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "add": (6, (st.integers(1, 2),)),
    "round": (6, ()),
    "edit": (1, (st.integers(0, 99),)),
    "answer": (1, (st.integers(0, 99),)),
    "lower": (2, (st.integers(0, 99),)),
    "backfill": (1, (st.sampled_from(Grouping),)),
    "dispatch": (6, (st.integers(1, 4),)),
    "dies": (3, (st.integers(1, 6), st.booleans())),
    "retry": (1, ()),
    "restart": (1, ()),
    "slack": (3, (st.sampled_from(sorted(SLACK_FAULTS)),)),
    "mail": (3, (st.sampled_from(MAIL_FAULTS),)),
    "post": (3, (st.sampled_from(ADDRESSES), st.sampled_from(sorted(ADDRESS_FAULTS)))),
    "wait": (3, (st.sampled_from([1, 6, 61, 3600]),)),
    "set_clock": (1, (st.sampled_from([-3600, 3600]),)),
}
ORDERS = st.lists(
    st.sampled_from([name for name, (weight, _) in ACTIONS.items() for _ in range(weight)]).flatmap(
        lambda name: st.tuples(st.just(name), *ACTIONS[name][1])
    ),
    min_size=15,
    max_size=60,
)


class Play:
    """One order of things, from a state file that is not there yet."""

    def __init__(self, world: PostedWorld, config: Config, state: Path) -> None:
        self.world = world
        self.config = config.model_copy(
            update={"state_file": config.state_file.model_copy(update={"file": state})}
        )
        self.clock = world.hooks.clock = SetClock(NOW)
        self.model = Model()
        self.state: Mortal
        self.runtime: Runtime
        self._end: Callable[[], Awaitable[Any]]

    async def run(self, actions: list[tuple[Any, ...]]) -> None:
        await self.start()
        try:
            for name, *arguments in actions:
                try:
                    await getattr(self, name)(*arguments)
                except Died:
                    await self.restart()
            await self.settle()
            self.check()
        finally:
            await self.stop()

    async def start(self) -> None:
        self.state = Mortal.open(self.config.database, migrate=True)
        messages.recover(self.state)
        runtime = open_runtime(self.config, self.state, self.clock)
        self.runtime, self._end = (
            await runtime.__aenter__(),
            lambda: runtime.__aexit__(None, None, None),
        )

    async def stop(self) -> None:
        for worker in self.runtime.dispatcher._workers.values():
            await worker._destination.notifier.close()
        await self._end()
        self.state.close()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def add(self, rating: int) -> None:
        review_id = self.world.add_review(rating)
        self.model.lowest[review_id] = rating
        if self.covered():
            self.model.must_hear.add(review_id)
        else:
            self.model.past.add(review_id)

    async def edit(self, number: int) -> None:
        if review_id := self.named(number):
            self.world.wix.change(SITE, review_id, content={"body": f"Said once more, {number}"})

    async def answer(self, number: int) -> None:
        """Whether people hear of it depends on what comes first; that it is answered they need not
        hear.
        """
        if review_id := self.named(number):
            self.world.wix.reply(SITE, review_id, "We are sorry.")
            self.model.must_hear.discard(review_id)
            self.model.must_hear_again.discard(review_id)
            self.model.may_hear.add(review_id)
            self.model.answered.add(review_id)

    async def lower(self, number: int) -> None:
        review_id = self.named(number)
        if review_id and self.model.lowest[review_id] == 2:
            self.model.lowest[review_id] = 1
            self.world.wix.change(SITE, review_id, content={"rating": 1})
            self.model.may_hear.add(review_id)
            if review_id in self.model.recorded - self.model.answered:
                self.model.must_hear_again.add(review_id)

    async def round(self) -> None:
        there = set(self.model.lowest)
        try:
            if await self.runtime.poller.round(self.config.sites[0]):
                self.model.recorded |= there
        finally:
            # A first read that was cut off is read again, and what came meanwhile is of the past
            # then.
            if not self.covered():
                self.model.past |= there

    async def backfill(self, grouping: Grouping) -> None:
        """As the command does it beside the daemon, but for waiting."""
        site, past = self.config.sites[0], BackfillRequest(self.config.sites, LONG_AGO, None)
        there = set(self.model.lowest)
        self.model.may_hear |= there
        ids: dict[str, None] = {}
        async for page in self.runtime.reader.pages(site, past.low_rated(2)):
            await self.runtime.intake.record_page(site, page.reviews)
            ids |= dict.fromkeys(review.id for review in page.reviews)
        await self.runtime.intake.alert_past(site, list(ids), grouping)
        self.model.recorded |= there
        self.model.must_hear |= there - self.model.answered

    async def dispatch(self, steps: int) -> None:
        for destination in DESTINATIONS * steps:
            await self.runtime.dispatcher._workers[destination].step()

    async def dies(self, transactions: int, after_the_commit: bool) -> None:
        self.state.transactions_left = transactions
        self.state.dies_after_the_commit = after_the_commit

    async def retry(self) -> None:
        with State.open(self.config.database, migrate=False) as other:
            outbox.requeue(other)

    async def slack(self, fault: str) -> None:
        self.world.slack.faults.add("chat.postMessage", SLACK_FAULTS[fault])

    async def mail(self, fault: str) -> None:
        if fault[0].isdigit():
            self.world.mailbox.data_replies.append(fault)
        else:
            self.world.mailbox.drop.append(fault)

    async def post(self, destination: str, fault: str) -> None:
        self.world.services[destination].faults.add("", ADDRESS_FAULTS[fault])

    async def wait(self, seconds: int) -> None:
        self.clock.advance(seconds=seconds)

    async def set_clock(self, seconds: int) -> None:
        self.clock.step(seconds=seconds)

    def named(self, number: int) -> str | None:
        there = list(self.model.lowest)
        return there[number % len(there)] if there else None

    def covered(self) -> bool:
        return bool(known_sites.get_site_state(self.state, SITE).covered_rating)

    async def settle(self) -> None:
        """All is well again, and nobody dies any more."""
        self.world.calm()
        self.state.transactions_left = None
        for _ in range(_ROUNDS_TO_SETTLE):
            await self.retry()
            await self.round()
            for destination in DESTINATIONS:
                await self.work(destination)
            if not self.state.rows(
                "SELECT * FROM deliveries WHERE status IN ('pending', 'failed')"
            ):
                return
        raise AssertionError("pending does not fall to zero")

    async def work(self, destination: str) -> None:
        worker = self.runtime.dispatcher._workers[destination]
        while (
            (pause := await worker.step()) is None
            or pause.reason is not IdleReason.NOTHING_DUE
            or pause.seconds is not None
        ):
            if pause and pause.seconds is None:
                return
            self.clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)

    def check(self) -> None:
        rows = self.state.rows(
            "SELECT key, kind, review_id, destination, deliveries.status FROM alerts"
            " JOIN deliveries ON alert = alerts.id WHERE kind IN ('new', 'lowered')"
        )
        assert {row["status"] for row in rows} <= {"sent", "cancelled"}
        assert {
            row["review_id"] for row in rows if row["status"] == "cancelled"
        } <= self.model.answered
        assert Counter((row["key"], row["destination"]) for row in rows) == Counter(
            {(key, each): 1 for key in {row["key"] for row in rows} for each in DESTINATIONS}
        )
        heard = {row["review_id"] for row in rows}
        assert self.model.must_hear <= heard
        assert heard <= self.model.must_hear | self.model.may_hear
        lowered = [row["key"] for row in rows if row["kind"] == "lowered"]
        assert {key.split(":")[2] for key in lowered} >= self.model.must_hear_again
        assert len(lowered) <= len(DESTINATIONS) * sum(
            rating == 1 for rating in self.model.lowest.values()
        )
        self.check_services()

    def check_services(self) -> None:
        """Each message that was sent has arrived: on Slack once, by mail at least once and under
        one Message-ID.
        """
        for channel in CHANNELS:
            posts = [post for post in self.world.slack.posts if post.channel == channel]
            assert sorted(
                (post.metadata or {})["event_payload"]["message"] for post in posts
            ) == self.messages(f"slack:{channel}")
        mails = {mail.message_id.strip("<>") for mail in self.world.mailbox.mails}
        # One that was lost each time may have arrived; it is not retried once there is an answer.
        failed = set(self.messages("email:owner", "failed"))
        assert sorted(mails - failed) == self.messages("email:owner")
        self.check_addresses()

    def check_addresses(self) -> None:
        """At a webhook each alert has arrived under one id; elsewhere each review is named."""
        arrived = {event.id for event in self.world.hooks.hooks["desk"].events}
        raised = {webhook_id(row["key"]) for row in self.state.rows("SELECT key FROM alerts")}
        sent = {webhook_id(key) for key in self.sent_alerts(HOOK)}
        assert sent <= arrived <= raised
        for destination in ADDRESSES[1:]:
            reviews = {key.split(":")[2] for key in self.sent_alerts(destination)}
            assert len(self.world.times_received(destination)) >= len(reviews)

    def sent_alerts(self, destination: str) -> set[str]:
        rows = self.state.rows(
            "SELECT key FROM alerts JOIN deliveries ON alert = alerts.id"
            " WHERE kind IN ('new', 'lowered') AND destination = ? AND status = 'sent'",
            [destination],
        )
        return {row["key"] for row in rows}

    def messages(self, destination: str, status: str = "sent") -> list[str]:
        rows = self.state.rows(
            "SELECT message_id FROM messages WHERE status = ? AND destination = ?"
            " ORDER BY message_id",
            [status, destination],
        )
        return [row["message_id"] for row in rows]


@pytest.mark.slow
def test_in_any_order_each_alert_is_sent_to_each_receiver_once(
    tmp_path: Path,
) -> None:
    world = PostedWorld(tmp_path)
    with asyncio.Runner() as runner:
        services = world.up()
        runner.run(services.__aenter__())
        config = load_config(world.config, world.secrets, secrets=True)
        orders = iter(range(1_000_000))

        @given(ORDERS)
        def holds(actions: list[tuple[Any, ...]]) -> None:
            world.clear()
            runner.run(Play(world, config, tmp_path / f"{next(orders)}.db").run(actions))

        try:
            holds()
        finally:
            runner.run(services.__aexit__(None, None, None))
