"""A worker of a cluster that cannot use the job queue, or does not report itself."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from alerter.clock import ServerClock
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.errors import StateError
from alerter.service.cluster import Cluster
from alerter.service.membership import Membership
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.postgres import Emptied, new_database
from tests.support.waiting import until

pytestmark = pytest.mark.postgresql


@pytest.fixture
def without_queue(postgres: Emptied) -> PostgresUrl:
    """A database without the tables of the queue."""
    return new_database(postgres.url.url, f"{postgres.name}_bare")


@pytest.mark.slow
async def test_people_are_notified_of_a_queue_that_fails_for_long(
    config: Config, state: State, without_queue: PostgresUrl, mailbox: Mailbox
) -> None:
    poll = config.poll.model_copy(update={"trouble_after": timedelta(seconds=0.5)})
    config, clock = config.model_copy(update={"poll": poll}), ServerClock()
    async with open_runtime(config, state, clock, worker="w") as runtime:
        membership = Membership(state, clock)
        cluster = Cluster(runtime, membership, without_queue)
        cluster.patience = 0.1
        assert cluster.fault() is None
        delivering = asyncio.create_task(cluster.deliver())
        await until(lambda: len(mailbox.mails) == 1)
        assert "the job queue cannot be used" in str(mailbox.mails[0])
        membership.beat_at = clock.monotonic()
        assert "cannot use the job queue" in (cluster.fault() or "")
        await cluster.stop(delivering)


async def test_people_are_notified_of_a_server_that_is_away_for_long(
    config: Config, postgres: Emptied, without_queue: PostgresUrl, mailbox: Mailbox
) -> None:
    poll = config.poll.model_copy(update={"trouble_after": timedelta(seconds=0.2)})
    config, clock = config.model_copy(update={"poll": poll}), ServerClock()
    with State.open(without_queue, migrate=True) as state:
        async with open_runtime(config, state, clock, worker="w") as runtime:
            name = f"{postgres.name}_bare"
            with psycopg.connect(postgres.url.url, autocommit=True) as conn:
                conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                    [name],
                )
            member, reported = Membership(state, clock), asyncio.Event()

            async def notify(error: StateError) -> None:
                await runtime.dispatcher.state_failure.notify(error)
                reported.set()

            while not mailbox.mails:
                reported.clear()
                reporting = asyncio.create_task(
                    member.keep_reporting(config, runtime.accounts.changed, notify)
                )
                await reported.wait()
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)
    assert "The database cannot be written" in str(mailbox.mails[0].message["Subject"])


async def test_a_worker_that_does_not_report_itself_says_so(config: Config, state: State) -> None:
    clock = ServerClock()
    async with open_runtime(config, state, clock, worker="w") as runtime:
        membership = Membership(state, clock)
        assert isinstance(state.database, PostgresUrl)
        cluster = Cluster(runtime, membership, state.database)
        assert cluster.fault() is None
        membership.beat_at -= 2 * cluster.patience
        assert "has not reported itself for 100 s" in (cluster.fault() or "")
