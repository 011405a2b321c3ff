"""The lock of a database, while a daemon runs."""

import asyncio
import socket
from functools import partial

import pytest

from alerter.clock import Clock
from alerter.config.state import PostgresUrl
from alerter.errors import StateBusy
from alerter.service.ownership import keep_lock, take_lock
from alerter.store import Holder, lock_of
from tests.support.waiting import until


async def test_a_lock_that_is_lost_with_its_server_is_not_called_a_file(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = PostgresUrl(f"postgresql://127.0.0.1:{port}/db?sslmode=disable")
    stop = asyncio.Event()
    with lock_of(url) as lock:
        keeping = asyncio.create_task(keep_lock(lock, Holder.WORKER, stop, Clock()))
        await until(lambda: caplog.messages)
        keeping.cancel()
    assert caplog.messages[0].startswith(
        f"the lock is lost and cannot be taken again yet: {url}: connection failed"
    )
    assert not stop.is_set()


async def test_a_start_waits_for_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    stop, reasons = asyncio.Event(), list[str]()

    def report_waiting(reason: str) -> None:
        reasons.append(reason)
        stop.set()

    with lock_of(PostgresUrl(f"postgresql://127.0.0.1:{port}/db?sslmode=disable")) as lock:
        taking = partial(take_lock, lock, Holder.WORKER, stop, report_waiting)
        assert await taking(once=False) is None
        with pytest.raises(StateBusy):
            await taking(once=True)
    assert reasons == ["the database cannot be used"]
    assert caplog.messages[0].startswith("waiting for the database: postgresql://127.0.0.1")
