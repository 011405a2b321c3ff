"""The end of a worker of a cluster with rounds in hand."""

import asyncio

import pytest

from alerter.clock import ServerClock
from alerter.config import Config
from alerter.config.state import PostgresUrl
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.service.cluster import Cluster
from alerter.service.membership import Membership
from alerter.service.reconcile import reconcile
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.waiting import HANG, until

pytestmark = pytest.mark.postgresql
_QUERY = "/reviews/v1/reviews/query"


@pytest.mark.slow(10)
async def test_a_round_that_hangs_ends_with_its_worker(
    config: Config, state: State, wix: EmbeddedWix
) -> None:
    assert isinstance(state.database, PostgresUrl)
    wix.faults.add(_QUERY, Fault(delay=HANG))
    clock = ServerClock()
    async with open_runtime(config, state, clock, worker="w") as runtime:
        reconcile(state, config, clock, alone=False)
        cluster = Cluster(runtime, Membership(state, clock), state.database)
        before = asyncio.all_tasks()
        delivering = asyncio.create_task(cluster.deliver())
        await until(lambda: any(_QUERY in call.path for call in wix.requests))
        await cluster.stop(delivering)
        left = asyncio.all_tasks() - before
        assert not [task for task in left if "_round" in str(task.get_coro())]
