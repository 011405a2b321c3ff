"""A database that cannot be written: people are notified directly, and nothing else waits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from alerter.clock import ticks
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import StateBusy, StateError, StatePutBack
from alerter.notify.state_failure import FailureRecord, StateFailure
from alerter.service.destinations import open_destinations
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State
from alerter.store.marker import Marker
from tests.support.clock import SetClock
from tests.support.state_faults import full, impatient, locked
from tests.support.values import CHANNEL, OWNER, SECRETS

BEGUN = "⚠️ The database cannot be written"
OVER = "🟢 The database can be written again"


@pytest.fixture
async def runtime(config: Config, state: State, clock: SetClock) -> AsyncIterator[Runtime]:
    async with open_runtime(config, state, clock) as runtime:
        yield runtime


def fill(state: State) -> None:
    with state.transaction():
        state.execute(
            "INSERT INTO products (site_id, entity_id, name, asked_at) VALUES ('s', 'e', ?, 0)",
            ["x" * 99999],
        )


async def notify(runtime: Runtime, state: State) -> None:
    with full(state, "products"):
        with pytest.raises(StateError) as caught:
            fill(state)
        await runtime.dispatcher.state_failure.notify(caught.value)


async def deliver(runtime: Runtime) -> None:
    for worker in runtime.dispatcher._workers.values():
        while await worker._careful_step() is None:
            pass
        await worker._destination.notifier.close()


async def test_a_second_full_disk_in_one_process_is_notified_too(
    runtime: Runtime, state: State, clock: SetClock, mailbox: Mailbox, config: Config
) -> None:
    for _ in range(2):
        await notify(runtime, state)
        await notify(runtime, state)
        clock.advance(days=30)
        assert await runtime.poller.round(config.sites[0])
        await runtime.housekeeping.round()
        await deliver(runtime)
    assert [mail.subject.partition(", after")[0] for mail in mailbox.mails] == [BEGUN, OVER] * 2


async def test_a_disk_that_fills_again_and_again_is_notified_once_an_hour(
    runtime: Runtime, state: State, clock: SetClock, mailbox: Mailbox, config: Config
) -> None:
    for _ in range(60):
        await notify(runtime, state)
        assert await runtime.poller.round(config.sites[0])
        clock.advance(minutes=1)
    assert [mail.subject for mail in mailbox.mails] == [BEGUN]


async def test_a_disk_with_room_for_some_writes_only_is_one_trouble(
    runtime: Runtime, state: State, clock: SetClock, mailbox: Mailbox, config: Config
) -> None:
    for _ in range(3):
        await notify(runtime, state)
        clock.advance(hours=1)
        assert await runtime.poller.round(config.sites[0])
    await runtime.housekeeping.round()
    await deliver(runtime)
    assert [mail.subject.partition(", after")[0] for mail in mailbox.mails] == [BEGUN, OVER]


async def test_a_full_disk_is_over_after_a_reload_too(
    config: Config, state: State, clock: SetClock, mailbox: Mailbox
) -> None:
    failures = FailureRecord()
    for _ in range(2):
        async with open_runtime(config, state, clock, failures) as runtime:
            await notify(runtime, state)
    clock.advance(hours=2)
    async with open_runtime(config, state, clock, failures) as runtime:
        assert await runtime.poller.round(config.sites[0])
        await runtime.housekeeping.round()
        await deliver(runtime)
    assert [mail.subject.partition(", after")[0] for mail in mailbox.mails] == [BEGUN, OVER]


@pytest.mark.parametrize("folder", ["beside", "runtime"])
async def test_a_full_disk_is_over_after_a_restart_too(
    config: Config, state: State, clock: SetClock, mailbox: Mailbox, tmp_path: Path, folder: str
) -> None:
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    path = tmp_path / ("state.db" if folder == "beside" else "no folder/state.db")
    for _ in range(2):
        async with open_runtime(
            config, state, clock, FailureRecord(Marker(path, environ))
        ) as runtime:
            await notify(runtime, state)
    clock.advance(hours=2)
    state.written = 0  # as in a new process
    async with open_runtime(config, state, clock, FailureRecord(Marker(path, environ))) as runtime:
        await runtime.housekeeping.round()
        assert await runtime.poller.round(config.sites[0])
        await runtime.housekeeping.round()
        await deliver(runtime)
    assert [mail.subject.partition(", after")[0] for mail in mailbox.mails] == [BEGUN, OVER]
    assert FailureRecord(Marker(path, environ)).notified is None


def test_a_note_that_had_no_room_for_a_word_names_none(tmp_path: Path) -> None:
    marker = Marker(tmp_path / "state.db", {})
    assert marker.place()
    assert FailureRecord(marker).notified is None
    assert not marker.place()


async def test_a_look_that_writes_nothing_does_not_end_it(
    runtime: Runtime, state: State, clock: SetClock, mailbox: Mailbox
) -> None:
    state.scrub()  # so that none is owed, which the next round would write
    await notify(runtime, state)
    for _ in range(3):
        clock.advance(hours=1)
        await runtime.housekeeping.round()
        await deliver(runtime)
    assert [mail.subject for mail in mailbox.mails] == [BEGUN]


async def test_others_are_notified_where_the_marked_receivers_are_unreachable(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    clock: SetClock,
    state: State,
) -> None:
    two = (
        f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
        f'[[receivers]]\nname = "admin"\nslack = "{CHANNEL}"\ntrouble = true\n'
    )
    config = load_config(write_config(wix, slack, mailbox, receivers=two), SECRETS, secrets=True)
    slack.channels[CHANNEL].archived = True
    async with open_destinations(config, clock) as destinations:
        await StateFailure(config, clock, destinations, state).notify(
            StateError("database or disk is full")
        )
        for destination in destinations:
            await destination.notifier.close()
    assert [mail.subject for mail in mailbox.mails] == [BEGUN]


async def test_who_may_have_been_notified_is_notified_of_the_end(
    config: Config, state: State, clock: SetClock, mailbox: Mailbox
) -> None:
    mailbox.drop.append("after")
    async with open_runtime(config, state, clock) as runtime:
        await notify(runtime, state)
        clock.advance(hours=2)
        assert await runtime.poller.round(config.sites[0])
        await runtime.housekeeping.round()
        await deliver(runtime)
    assert [mail.subject.partition(", after")[0] for mail in mailbox.mails] == [BEGUN, OVER]


async def test_a_notification_that_reached_no_one_is_sent_at_the_next_failure(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    slack.channels[CHANNEL].archived = True
    mailbox.always_reply = "554 no"
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        await state_failure.notify(StateError("database or disk is full"))
        mailbox.always_reply = None
        await state_failure.notify(StateError("database or disk is full"))
        assert not mailbox.mails
        clock.advance(minutes=5)
        await state_failure.notify(StateError("database or disk is full"))
        for destination in destinations:
            await destination.notifier.close()
    assert [mail.subject for mail in mailbox.mails] == [BEGUN]


async def test_a_notification_that_a_reload_cut_off_is_sent_at_a_later_failure(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox
) -> None:
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        notifying = asyncio.create_task(state_failure.notify(StateError("is full")))
        await asyncio.sleep(0)  # it has begun to connect
        notifying.cancel()
        await asyncio.gather(notifying, return_exceptions=True)
        assert not mailbox.mails
        clock.advance(minutes=5)
        await state_failure.notify(StateError("is full"))
    assert [mail.subject for mail in mailbox.mails] == [BEGUN]


async def test_people_who_know_that_it_is_away_are_notified_that_it_was_put_back(
    config: Config, clock: SetClock, state: State, mailbox: Mailbox
) -> None:
    async with open_destinations(config, clock) as destinations:
        state_failure = StateFailure(config, clock, destinations, state)
        await state_failure.notify(StateError("does not exist"))
        for _ in range(2):
            await state_failure.notify(StatePutBack("was put back"))
        for destination in destinations:
            await destination.notifier.close()
    first, second = mailbox.mails
    assert "does not exist" in str(first.message)
    assert "was put back" in str(second.message)


async def test_while_the_tables_are_locked_only_the_first_writer_waits(state: State) -> None:
    """So a daemon of many sites does not stand still: its watchdog is fed."""
    took = []
    with locked(state.database):
        for _ in range(20):
            began = ticks()
            with pytest.raises(StateBusy), state.transaction():
                state.owe_scrub()
            took.append(ticks() - began)
    assert sum(took[1:]) < took[0]
    with state.transaction():
        state.owe_scrub()
    with state.transaction():
        if isinstance(state.database, Path):
            assert state.value("PRAGMA busy_timeout") == 2000
        else:
            assert state.value("SELECT current_setting('lock_timeout')") == "900ms"


async def test_all_sites_of_a_locked_database_fail_and_are_read_again(
    runtime: Runtime, config: Config, state: State, clock: SetClock
) -> None:
    assert await runtime.poller.round(config.sites[0])
    with locked(impatient(state).database):
        assert not await runtime.poller.round(config.sites[0])
        await runtime.housekeeping.round()
        await runtime.housekeeping.prune()
    assert await runtime.poller.round(config.sites[0])
    assert state.value("SELECT count(*) FROM troubles") == 0
