"""Several workers of a cluster in one process: what is due is done once, whoever ends or comes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from alerter.clock import ServerClock
from alerter.config import Config, load_config
from alerter.config.state import PostgresUrl
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.cluster import Cluster
from alerter.service.membership import Membership
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime
from alerter.service.upkeep import REGULAR_PREFIX
from alerter.store import State, known_sites, queue
from tests.support import outbox
from tests.support.queue import get_jobs, new_queue_worker
from tests.support.state import open_patiently
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.waiting import until

pytestmark = [pytest.mark.postgresql, pytest.mark.slow(4)]

MAIL_ONLY = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
OTHERS = MAIL_ONLY + '[[receivers]]\nname = "second"\nemail = ["second@example.com"]\n'


@dataclass
class Peer:
    """A worker in this process."""

    runtime: Runtime
    membership: Membership
    cluster: Cluster
    delivering: asyncio.Task[bool]

    async def stop(self) -> None:
        """What a SIGTERM does."""
        self.runtime.dispatcher.stop()
        await self.cluster.stop(self.delivering)
        self.membership.leave()


Start = Callable[..., object]


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Callable[..., Config]:
    def load(receivers: str = MAIL_ONLY) -> Config:
        path = write_config(wix, slack, mailbox, receivers=receivers, extra='[poll]\nevery = "1s"')
        return load_config(path, SECRETS, secrets=True)

    return load


@pytest.fixture
async def start(state: State, load: Callable[..., Config]) -> AsyncIterator[Start]:
    """Start a worker, with a config of its own or the usual one."""
    async with AsyncExitStack() as stack:

        async def start(config: Config | None = None, *, is_asked: bool = False) -> Peer:
            config = config or load()
            own = stack.enter_context(open_patiently(state.database, migrate=False))
            clock = ServerClock()
            membership = Membership(own, clock)
            if membership.join(config, is_asked=is_asked):
                reconcile(own, config, clock, alone=False)
            membership.report()
            opening = open_runtime(config, own, clock, worker=membership.name)
            runtime = await stack.enter_async_context(opening)
            assert isinstance(state.database, PostgresUrl)
            cluster = Cluster(runtime, membership, state.database)
            peer = Peer(runtime, membership, cluster, asyncio.create_task(cluster.deliver()))
            stack.push_async_callback(peer.stop)
            return peer

        yield start


def end_connections(state: State) -> None:
    """What a restart of the server does to all others."""
    assert isinstance(state.database, PostgresUrl)
    with psycopg.connect(state.database.url, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'alerter'"
            " AND pid <> pg_backend_pid()"
        )


def put(wix: EmbeddedWix, *names: str) -> None:
    for name in names:
        wix.add(SITE, {"id": name, "content": {"rating": 1, "title": f"Title {name}."}})


def arrived(mailbox: Mailbox) -> list[str]:
    return sorted(
        part[: part.index(".")] for mail in mailbox.mails for part in mail.text.split("Title ")[1:]
    )


async def was_read(state: State) -> None:
    """Wait for the end of the first read."""
    await until(lambda: known_sites.get_site_state(state, SITE).covered_rating > 0)


async def test_each_review_is_alerted_once_by_one_of_them(
    start: Start, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    for _ in range(3):
        await start()
    await was_read(state)
    put(wix, "a", "b")
    await until(lambda: len(arrived(mailbox)) >= 2)
    put(wix, "c")
    await until(lambda: len(arrived(mailbox)) >= 3)
    assert arrived(mailbox) == ["a", "b", "c"]


async def test_another_goes_on_where_one_is_stopped(
    start: Start, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    first, _ = await start(), await start()
    await was_read(state)
    put(wix, "a")
    await until(lambda: arrived(mailbox) == ["a"])
    await first.stop()
    assert len(state.rows("SELECT name FROM workers")) == 1
    put(wix, "b")
    await until(lambda: arrived(mailbox) == ["a", "b"])


async def test_a_worker_that_is_stopped_while_it_connects_leaves_no_task(start: Start) -> None:
    for turns in range(1, 25):
        peer = await start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await peer.stop()
        left = [each.get_name() for each in asyncio.all_tasks() if "pool" in each.get_name()]
        assert left == [], f"after {turns} turns"


async def test_what_a_stopped_worker_was_sending_is_recorded_once(
    start: Start, mailbox: Mailbox, state: State
) -> None:
    first, _ = await start(), await start()
    mailbox.hang = 0.5
    outbox.queue(state, 1)
    first.runtime.dispatcher.wake(["email:owner"])
    await until(lambda: state.value("SELECT 1 FROM messages WHERE status = 'sending'"))
    await first.stop()
    await until(lambda: outbox.status(state) == {1: "sent"})
    assert len(mailbox.mails) == 1


async def test_an_answer_is_recorded_once_the_server_is_back(
    start: Start, mailbox: Mailbox, state: State
) -> None:
    peer = await start()
    mailbox.hang = 1.0
    outbox.queue(state, 1)
    peer.runtime.dispatcher.wake(["email:owner"])
    await until(lambda: state.value("SELECT 1 FROM messages WHERE status = 'sending'"))
    end_connections(state)
    await until(lambda: _is_sent(state))
    assert len(mailbox.mails) == 1
    mailbox.hang = 0.0
    outbox.queue(state, 2)
    await until(lambda: outbox.status(state) == {1: "sent", 2: "sent"})


def _is_sent(state: State) -> bool:
    try:
        return outbox.status(state) == {1: "sent"}
    except Exception:  # noqa: BLE001 - its connection is lost too
        return False


async def test_regular_jobs_that_were_lost_come_back(start: Start, state: State) -> None:
    """Each lock is held by a job whose worker ended while the database was away."""
    await start()
    queue_of_config = state.value("SELECT max(queue_name) FROM procrastinate_jobs") or "regular:1"
    gone = new_queue_worker(state, seen_ago=60)
    state.execute("DELETE FROM procrastinate_jobs")
    for name in ("tick", "actions"):
        state.execute(
            "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, status,"
            " worker_id) VALUES (?, ?, ?, ?, 'doing', ?)",
            [queue_of_config, name, *2 * [f"{queue_of_config}:{name}"], gone],
        )
    lost = set(get_jobs(state))
    outbox.queue(state, 1)
    await until(lambda: outbox.status(state) == {1: "sent"})
    assert not lost & set(get_jobs(state))


async def test_rounds_go_on_when_the_clock_of_the_server_is_set_back(
    start: Start, state: State, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    one = await start()
    await was_read(state)
    state.execute("UPDATE sites SET next_round = next_round + 3600000")
    put(wix, "a")
    regular = f"{REGULAR_PREFIX}{one.membership.config}"
    queue.defer_periodic(state, regular, "housekeeping", 0)
    await until(lambda: arrived(mailbox) == ["a"])


async def test_a_destination_of_a_newer_config_waits_for_a_worker_with_it(
    start: Start, load: Callable[..., Config], state: State, mailbox: Mailbox
) -> None:
    older = await start()
    newer = await start(load(OTHERS))
    assert (older.membership.config, newer.membership.config) == (1, 2)
    outbox.queue(state, 1, 2, receivers=["email:second", "email:owner"])
    await until(lambda: outbox.status(state) == {1: "sent", 2: "sent"})
    await until(lambda: outbox.status(state, "email:second") == {1: "sent", 2: "sent"})


async def test_only_a_worker_with_the_newest_config_cleans_up(
    start: Start, load: Callable[..., Config]
) -> None:
    older = await start()
    assert older.membership.see_newest()
    newer = await start(load(OTHERS))
    assert not older.membership.see_newest()
    assert newer.membership.see_newest()


async def test_a_throttled_channel_does_not_end_the_jobs_of_others(
    start: Start, load: Callable[..., Config], slack: EmbeddedSlack, state: State
) -> None:
    both = MAIL_ONLY + '[[receivers]]\nname = "support"\nslack = "C0123456789"\n'
    for _ in range(2):
        await start(load(both))
    slack.faults.add("chat.postMessage", Fault(status=429, headers={"Retry-After": "2"}))
    outbox.queue(state, 1, receivers=["email:owner", "slack:support"])
    await until(lambda: outbox.status(state) == {1: "sent"})
    await until(lambda: outbox.status(state, "slack:support") == {1: "sent"})
    assert len(slack.posts) == 1
    assert queue.queue_depth(state).get("deliver", 0) <= 1
