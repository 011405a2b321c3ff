"""What several workers write in the same turn of the loop is committed together."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from alerter.config.state import PostgresUrl
from alerter.counters import counts
from alerter.errors import StateBusy, StateError
from alerter.models import Message
from alerter.notify.group_commit import GroupCommit
from alerter.notify.worker import IdleReason
from alerter.store import State
from tests.support.desk import Start, config, hooked, slack, start
from tests.support.desk import queue as queue_reviews
from tests.support.outbox import claim, queue, status
from tests.support.state_faults import impatient, locked

__all__ = ["config", "slack", "start"]

RECEIVERS = tuple(f"email:{number}" for number in range(4))


@pytest.fixture
def claims(state: State) -> list[Callable[[], Message]]:
    """A claim of the same alert for each of the receivers."""
    queue(state, 1, receivers=RECEIVERS)
    return [partial(claim, state, 1, receiver=name) for name in RECEIVERS]


def claimed(database: Path) -> int:
    """How many messages another process sees as being sent."""
    with closing(sqlite3.connect(database)) as other:
        return int(other.execute("SELECT count(*) FROM messages").fetchone()[0])


async def test_each_gets_what_its_own_change_returned(
    state: State, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(state)
    messages = await asyncio.gather(*map(commits.run, claims))
    assert [message.destination for message in messages] == list(RECEIVERS)
    rows = state.rows("SELECT destination, status FROM messages ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [(name, "sending") for name in RECEIVERS]


@pytest.mark.sqlite
async def test_changes_of_one_turn_are_one_transaction_and_go_on_after_it(
    state: State, database: Path, claims: list[Callable[[], Message]]
) -> None:
    commits, seen, before = GroupCommit(state), [], counts["transactions"]

    async def work(change: Callable[[], Message]) -> None:
        await commits.run(change)
        seen.append(claimed(database))

    await asyncio.gather(*map(work, claims))
    assert seen == [len(RECEIVERS)] * len(RECEIVERS)
    assert counts["transactions"] == before + 1


async def test_a_change_that_fails_undoes_no_other(
    state: State, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(state)

    def fail() -> Message:
        with state.transaction(f"destination:{RECEIVERS[1]}"):
            claims[1]()
            state.execute("INSERT INTO no_table VALUES (1)")
        raise AssertionError

    first, failed, *others = await asyncio.gather(
        *map(commits.run, [claims[0], fail, *claims[2:]]), return_exceptions=True
    )
    assert isinstance(failed, StateError)
    assert all(isinstance(each, Message) for each in (first, *others))
    sent = {row["destination"] for row in state.rows("SELECT destination FROM messages")}
    assert sent == {RECEIVERS[0], *RECEIVERS[2:]}
    assert status(state, RECEIVERS[1]) == {1: "pending"}


@pytest.mark.sqlite
async def test_an_error_that_undoes_the_transaction_fails_all_changes(
    state: State, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(state)
    full = f"WHEN new.destination = '{RECEIVERS[2]}' BEGIN SELECT raise(ROLLBACK, 'full'); END"
    state.execute(f"CREATE TRIGGER fills BEFORE INSERT ON messages {full}")
    results = await asyncio.gather(*map(commits.run, claims), return_exceptions=True)
    assert [type(each) for each in results] == [StateError] * len(RECEIVERS)
    assert not state.rows("SELECT * FROM messages")
    state.execute("DROP TRIGGER fills")
    assert all(await asyncio.gather(*map(commits.run, claims)))


async def test_no_task_waits_for_a_commit_that_was_cut_off(
    state: State, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(state)

    def end() -> Message:
        raise asyncio.CancelledError

    tasks = [asyncio.ensure_future(commits.run(change)) for change in (claims[0], end)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert not state.engine.in_transaction


async def test_all_changes_fail_where_the_database_is_locked(
    state: State, database: Path | PostgresUrl, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(impatient(state))
    with locked(database):
        results = await asyncio.gather(*map(commits.run, claims), return_exceptions=True)
    assert [type(each) for each in results] == [StateBusy] * len(RECEIVERS)
    assert not state.rows("SELECT * FROM messages")


@pytest.mark.sqlite
async def test_a_task_that_is_cancelled_changes_nothing(
    state: State, claims: list[Callable[[], Message]]
) -> None:
    commits = GroupCommit(state)
    tasks = [asyncio.ensure_future(commits.run(change)) for change in claims]
    asyncio.get_running_loop().call_soon(tasks[0].cancel)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    sent = {row["destination"] for row in state.rows("SELECT destination FROM messages")}
    assert sent == set(RECEIVERS[1:])


@pytest.mark.sqlite
async def test_no_call_begins_before_its_claim_is_on_the_disk(start: Start, database: Path) -> None:
    seen: list[int] = []

    async def before() -> None:
        seen.append(claimed(database))

    desk = await start(lambda each: hooked(each.name, before=before)(each))
    receivers = ("email:owner", "slack:support", "slack:team")
    queue_reviews(desk.state, "r1", receivers=receivers)
    await desk.dispatcher.run((IdleReason.NOTHING_DUE, IdleReason.PACE))
    assert seen == [len(receivers)] * len(receivers)
