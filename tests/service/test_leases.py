"""Two workers of a cluster and one message: what the lease of a job keeps apart."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Content, Message, Receipt
from alerter.notify.destination import Destination, Notifier, Render
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import IdleReason
from alerter.service.cluster import _ENDS
from alerter.service.destinations import open_destinations
from alerter.service.reconcile import reconcile
from alerter.service.runtime import _shared
from alerter.store import State, queue
from alerter.store.lease import Lease, LeaseLost, get_lease
from tests.support import outbox
from tests.support.clock import SetClock
from tests.support.queue import get_jobs, leased, lose_lease
from tests.support.state import open_patiently
from tests.support.values import CHANNEL, SECRETS

pytestmark = pytest.mark.postgresql

MAIL, SLACK = "email:owner", "slack:support"
Hook = Callable[[Lease], None]
_EVERY_END = (*_ENDS, IdleReason.SETTLING, IdleReason.PACE)


class Peer:
    """What a worker of the cluster sends with, on a connection of its own."""

    def __init__(
        self, state: State, config: Config, clock: SetClock, destinations: list[Destination]
    ) -> None:
        self.state = state
        self.clock = clock
        self.destinations = {each.name: each for each in destinations}
        self._config = config
        self._dispatcher = self._new_dispatcher(destinations)

    async def deliver(
        self, name: str, before: Hook | None = None, after: Hook | None = None
    ) -> IdleReason | None:
        """Carry out a job for a destination. `before` and `after` come around the first call."""
        dispatcher = self._dispatcher
        if before or after:
            destination = self.destinations[name]
            if before:
                destination = replace(destination, render=_first(before, destination.render))
            if after:
                destination = replace(destination, notifier=_Then(destination.notifier, after))
            dispatcher = self._new_dispatcher([destination])
        with leased(self.state, name):
            while True:
                self.state.execute("DELETE FROM rate_limits")  # a second of the server's time
                left = await dispatcher.deliver(name, _EVERY_END, 30.0)
                if left is not IdleReason.PACE:
                    return left

    def _new_dispatcher(self, destinations: list[Destination]) -> Dispatcher:
        shared = _shared(self.state, self.clock, destinations)
        return Dispatcher(self.state, self._config, self.clock, destinations, **shared)


def _first(hook: Hook, render: Render) -> Render:
    """A rendering after which the process is frozen, between the claim and the call."""

    def rendered(message: Message, *, test: bool = False) -> Content:
        content = render(message, test=test)
        if (lease := get_lease()) and message.attempts:
            hook(lease)
        return content

    return rendered


class _Then:
    """A notifier whose process is frozen once the service has answered."""

    def __init__(self, notifier: Notifier, hook: Hook) -> None:
        self._notifier = notifier
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._notifier, name)

    async def send(self, message: Message, content: Content) -> Receipt:
        receipt = await self._notifier.send(message, content)
        lease = get_lease()
        assert lease
        self._hook(lease)
        return receipt


@pytest.fixture
def loaded(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    return load_config(write_config(wix, slack, mailbox), SECRETS, secrets=True)


@pytest.fixture
async def peers(state: State, loaded: Config, clock: SetClock) -> AsyncIterator[tuple[Peer, Peer]]:
    reconcile(state, loaded, clock, alone=False)
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            own = stack.enter_context(closing(open_patiently(state.database, migrate=False)))
            destinations = await stack.enter_async_context(open_destinations(loaded, clock, own))
            found.append(Peer(own, loaded, clock, destinations))
        yield found[0], found[1]


@pytest.fixture
def lose(state: State) -> Hook:
    def lose(lease: Lease) -> None:
        lose_lease(state, lease)

    return lose


def messages_of(state: State) -> list[tuple[str, str]]:
    rows = state.rows("SELECT destination, status FROM messages ORDER BY id")
    return [(row["destination"], row["status"]) for row in rows]


@pytest.mark.parametrize("name", [MAIL, SLACK])
async def test_a_worker_frozen_between_claim_and_call_sends_nothing(
    name: str,
    peers: tuple[Peer, Peer],
    state: State,
    lose: Hook,
    mailbox: Mailbox,
    slack: EmbeddedSlack,
    clock: SetClock,
) -> None:
    first, second = peers
    outbox.queue(state, 1, receivers=[name])
    with pytest.raises(LeaseLost):
        await first.deliver(name, before=lose)
    assert messages_of(state) == [(name, "sending")]
    assert (mailbox.mails, slack.posts) == ([], [])
    await second.deliver(name)
    clock.advance(minutes=1)
    await second.deliver(name)
    assert messages_of(state) == [(name, "sent")]
    assert len(mailbox.mails) + len(slack.posts) == 1


async def test_an_answer_after_the_lease_is_lost_is_found_on_slack(
    peers: tuple[Peer, Peer], state: State, lose: Hook, slack: EmbeddedSlack, clock: SetClock
) -> None:
    first, second = peers
    outbox.queue(state, 1, receivers=[SLACK])
    with pytest.raises(LeaseLost):
        await first.deliver(SLACK, after=lose)
    assert messages_of(state) == [(SLACK, "sending")]
    await second.deliver(SLACK)
    clock.advance(minutes=1)
    await second.deliver(SLACK)
    assert messages_of(state) == [(SLACK, "sent")]
    assert len(slack.posts) == 1
    assert slack.posts[0].ts == state.value("SELECT slack_ts FROM messages")


async def test_a_late_mark_does_not_undo_what_the_other_worker_recorded(
    peers: tuple[Peer, Peer], state: State, lose: Hook, mailbox: Mailbox, clock: SetClock
) -> None:
    first, second = peers
    outbox.queue(state, 1, receivers=[MAIL])
    mailbox.data_replies.append("451 4.3.0 later")
    with pytest.raises(LeaseLost):
        await first.deliver(MAIL, before=lose)
    await second.deliver(MAIL)
    clock.advance(minutes=2)
    await second.deliver(MAIL)
    clock.advance(minutes=2)
    await second.deliver(MAIL)
    assert messages_of(state) == [(MAIL, "sent")]
    assert len({mail.message_id for mail in mailbox.mails}) == 1


async def test_a_job_settles_only_what_its_own_destination_was_sending(
    peers: tuple[Peer, Peer], state: State
) -> None:
    first, _ = peers
    outbox.queue(state, 1, receivers=[MAIL, SLACK])
    outbox.claim(state, 1, receiver=SLACK)
    await first.deliver(MAIL)
    assert messages_of(state) == [(SLACK, "sending"), (MAIL, "sent")]


async def test_a_start_leaves_what_living_workers_send_alone(
    peers: tuple[Peer, Peer], state: State, loaded: Config, clock: SetClock
) -> None:
    outbox.queue(state, 1, receivers=[SLACK])
    outbox.claim(state, 1, receiver=SLACK)
    reconcile(state, loaded, clock, alone=False)
    assert messages_of(state) == [(SLACK, "sending")]


async def test_retry_after_is_honoured_by_the_other_workers(
    peers: tuple[Peer, Peer], state: State, slack: EmbeddedSlack, clock: SetClock
) -> None:
    first, second = peers
    outbox.queue(state, 1, 2, receivers=[SLACK])
    slack.faults.add("chat.postMessage", Fault(status=429, headers={"Retry-After": "60"}))
    assert await first.deliver(SLACK) is IdleReason.BACKING_OFF
    calls = len(slack.requests)
    assert await second.deliver(SLACK) is IdleReason.BACKING_OFF
    assert len(slack.requests) == calls
    clock.advance(seconds=61)
    await second.deliver(SLACK)
    assert len(slack.posts) == 2


async def test_the_pace_of_a_channel_is_shared_by_all_workers(
    peers: tuple[Peer, Peer], state: State
) -> None:
    first, second = peers
    limits = [_shared(each.state, each.clock, [])["limits"] for each in (first, second)]
    key = f"slack:{CHANNEL}"
    assert limits[1].claim_slot(key) == 0
    assert 0 < limits[0].claim_slot(key) <= 1
    assert limits[1].claim_slot("slack:C0000000009") == 0
    state.execute("UPDATE rate_limits SET next_at = next_at - 1000")
    limits[0].take_slot(key)
    assert 0 < limits[1].claim_slot(key) <= 1


async def test_a_server_whose_clock_was_set_back_holds_up_no_channel(
    peers: tuple[Peer, Peer], state: State
) -> None:
    limits, key = _shared(peers[0].state, peers[0].clock, [])["limits"], f"slack:{CHANNEL}"
    limits.take_slot(key)
    state.execute("UPDATE rate_limits SET next_at = next_at + 3600000")
    assert limits.claim_slot(key) == 0
    assert 0 < limits.claim_slot(key) <= 1


async def test_no_job_sends_to_a_destination_that_another_one_sends_to(state: State) -> None:
    with leased(state, SLACK) as first:
        assert not queue.is_sent_to_by_another(state, SLACK, first.job)
        with leased(state, MAIL) as other:
            assert not queue.is_sent_to_by_another(state, MAIL, other.job)
            assert queue.is_sent_to_by_another(state, SLACK, other.job)
    assert get_jobs(state) == {}
