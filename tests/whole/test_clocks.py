"""Clocks that are set, and machines that boot into the wrong year: nothing stops, and nothing runs
ahead.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, ReminderSchedule, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Alert, AlertKind, Content, Form, Message, MessageItem, Thread
from alerter.notify.worker import Idle, IdleReason
from alerter.service.destinations import open_destinations
from alerter.service.embedded import Scheduler, end_tasks
from alerter.service.runtime import open_runtime
from alerter.store import State, blocks, known_sites
from tests.support.clock import SetClock
from tests.support.messages import look_through
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE
from tests.support.waiting import until

STALE = {"content": {"rating": 1, "title": "Stale"}}


@pytest.mark.parametrize("year", [1970, 2036])
async def test_after_a_boot_into_another_year_alerts_leave(
    config: Config, state: State, wix: EmbeddedWix, slack: EmbeddedSlack, year: int
) -> None:
    """No checkpoint runs ahead."""
    clock = SetClock(datetime(year, 1, 2, tzinfo=UTC))
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await runtime.poller.round(config.sites[0])
        await runtime.dispatcher._workers["slack:support"].step()
        checkpoint = known_sites.get_site_state(state, SITE).checkpoint
    assert len(slack.posts) == 1
    assert checkpoint is not None
    assert checkpoint <= datetime.now(UTC)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_an_alert_leaves_at_once_after_the_clock_was_set(
    config: Config,
    state: State,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    hours: int,
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await runtime.poller.round(config.sites[0])
        clock.step(hours=hours)
        await runtime.dispatcher._workers["slack:support"].step()
    assert len(slack.posts) == 1


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365 * 10])
async def test_a_post_in_doubt_is_looked_for_after_5_s_by_whatever_clock(
    config: Config,
    state: State,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    hours: int,
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        worker = runtime.dispatcher._workers["slack:support"]
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await runtime.poller.round(config.sites[0])
        slack.faults.add("chat.postMessage", Fault(drop="after"))
        await worker.step()
        clock.step(hours=hours)
        clock.advance(seconds=4)
        assert (await worker.step() or Idle(IdleReason.PARKED)).reason in (
            IdleReason.SETTLING,
            IdleReason.BACKING_OFF,
        )
        assert [call.method for call in slack.requests] == ["chat.postMessage"]
        clock.advance(seconds=2)
        assert await worker.step() is None
    assert [call.method for call in slack.requests] == ["chat.postMessage", "conversations.history"]
    assert len(slack.posts) == 1


@pytest.mark.parametrize("year", [1970, 2036])
@pytest.mark.parametrize("place", ["in the channel", "in a thread"])
async def test_a_post_in_doubt_is_found_though_the_machine_was_in_another_year(
    config: Config, clock: SetClock, slack: EmbeddedSlack, year: int, place: str
) -> None:
    """However much was said since."""
    async with open_destinations(config, clock) as destinations:
        (notifier,) = [
            destination.notifier
            for destination in destinations
            if destination.receiver == "support"
        ]
        root = slack.say(CHANNEL, "The first message")
        thread = Thread(1, "root@alerter", slack_ts=root) if place == "in a thread" else None
        entry = MessageItem(Alert("reminder:1", AlertKind.REMINDER, SITE, "r1"))
        message = Message(
            2,
            "u@alerter",
            "support",
            Form.ALERT,
            (entry,),
            datetime(year, 1, 2, tzinfo=UTC),
            thread=thread,
        )
        posted = await notifier.send(message, Content("A review", "Stale"))
        for number in range(250):
            slack.say(CHANNEL, f"Lunch {number}?", thread_ts=thread and root)
        found = await look_through(notifier, message)
    assert found
    assert found.slack_ts == posted.slack_ts


async def test_a_clock_set_back_delays_no_address_that_refused_a_mail(
    write_config: Callable[..., Path],
    state: State,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> None:
    both = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}", "second@example.com"]\n'
    config = load_config(write_config(wix, slack, mailbox, receivers=both), SECRETS, secrets=True)
    async with open_runtime(config, state, clock) as runtime:
        worker = runtime.dispatcher._workers["email:owner"]
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await runtime.poller.round(config.sites[0])
        mailbox.refuse["second@example.com"] = "450 4.2.1 Later"
        await worker.step()
        mailbox.refuse.clear()
        clock.step(hours=-1)
        pause = await worker.step()
        clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
        assert clock.monotonic() <= 64
        if pause:
            await worker.step()
        await worker._destination.notifier.close()
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,), ("second@example.com",)]


@pytest.mark.parametrize("year", [1970, 2036])
async def test_a_reminder_comes_though_people_were_alerted_in_another_year(
    config: Config, state: State, wix: EmbeddedWix, year: int
) -> None:
    clock = SetClock(datetime(year, 1, 2, tzinfo=UTC))
    assert await hours_to_a_reminder(config, state, clock, wix, datetime.now(UTC)) <= 25


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_reminder_waits_no_longer_than_it_should_after_the_clock_was_set(
    config: Config, state: State, wix: EmbeddedWix, hours: int
) -> None:
    clock = SetClock(datetime.now(UTC))
    assert (
        await hours_to_a_reminder(config, state, clock, wix, clock.now() + timedelta(hours=hours))
        <= 25
    )


async def hours_to_a_reminder(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix, set_to: datetime
) -> int:
    """How long a reminder due after a day takes where the clock is set just after people were told,
    rounded up.
    """
    reminding = config.model_copy(
        update={"reminders": ReminderSchedule.model_construct(after=(timedelta(hours=24),))}
    )
    async with open_runtime(reminding, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        review_id = wix.add(SITE, STALE)["id"]
        assert await runtime.poller.round(config.sites[0])
        await runtime.dispatcher._workers["slack:support"].step()
        clock.step(seconds=(set_to - clock.now()).total_seconds())
        for hours in range(100):
            if review_id in runtime.intake.find_due_reminders(config.sites[0]):
                return hours
            clock.advance(hours=1)
    return 100


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("asked", ["429", "503"])
async def test_a_wait_that_failures_earned_is_no_longer_after_the_clock_was_set(
    config: Config,
    state: State,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    hours: int,
    asked: str,
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        worker = runtime.dispatcher._workers["slack:support"]
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, STALE)
        assert await runtime.poller.round(config.sites[0])
        slack.faults.add(
            "chat.postMessage", Fault(status=int(asked), headers={"Retry-After": "40"})
        )
        await worker.step()
        clock.step(hours=hours)
        begun = clock.monotonic()
        while not slack.posts:
            pause = await worker.step()
            clock.advance(seconds=pause.seconds + 0.001 if pause and pause.seconds else 0)
    assert clock.monotonic() - begun <= 60


def test_a_wait_ends_when_the_clock_is_set_back_behind_its_beginning(
    state: State, clock: SetClock
) -> None:
    blocks.set_block(state, "service:slack", clock.now(), clock.now().replace(minute=30), "429")
    assert blocks.is_blocked(state, "service:slack", clock.now())
    clock.step(hours=-1)
    assert not blocks.is_blocked(state, "service:slack", clock.now())


@pytest.mark.slow
@pytest.mark.parametrize("hours_back", [0, 1])
async def test_rounds_go_on_when_the_clock_is_set(
    config: Config, state: State, wix: EmbeddedWix, hours_back: int
) -> None:
    """The last jobs ran while the clock was far ahead, so that the next ones are far away.

    It is set right before it is looked at, or back an hour too far.
    """
    clock = _Drifting()
    every = config.poll.every.resolution * 500_000
    quick = config.model_copy(update={"poll": config.poll.model_copy(update={"every": every})})
    async with open_runtime(quick, state, clock) as runtime:
        rounds = Scheduler(runtime)
        rounds.start()
        await until(lambda: len(wix.queries()) >= 2)
        for job in rounds._scheduler.get_jobs():
            job.modify(next_run_time=datetime(2099, 1, 1, tzinfo=UTC))
        clock.hours_back = hours_back
        seen = len(wix.queries())
        await until(lambda: len(wix.queries()) > seen + 1)
        waits = {
            job.id: job.next_run_time - datetime.now(UTC) for job in rounds._scheduler.get_jobs()
        }
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))
    assert all(wait <= timedelta(minutes=1) for name, wait in waits.items() if name != "prune")
    assert waits["prune"] <= timedelta(days=1)


@pytest.mark.slow
async def test_rounds_go_on_when_the_clock_was_wrong_for_a_moment(
    config: Config, state: State, wix: EmbeddedWix
) -> None:
    """A scheduler that woke while the clock was a day behind would wait for that day.

    By the next check of the clock, it is right again.
    """
    every = config.poll.every.resolution * 500_000
    quick = config.model_copy(update={"poll": config.poll.model_copy(update={"every": every})})
    clock = _Drifting()
    async with open_runtime(quick, state, clock) as runtime:
        rounds = Scheduler(runtime)
        rounds.start()
        await until(lambda: len(wix.queries()) >= 2)
        rounds._scheduler._start_timer(86_400)
        seen = len(wix.queries())
        await until(lambda: len(wix.queries()) > seen + 1)
        await rounds.stop(asyncio.create_task(asyncio.sleep(0, result=True)))


class _Skipping(asyncio.SelectorEventLoop):
    """A loop in which time passes at once where nothing else happens."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0.0
        self._look = self._selector.select
        self._selector.select = self._skip

    def _skip(self, timeout: float | None = None) -> list[Any]:
        found = self._look(0)
        self.skipped += 0 if found else timeout or 0
        return found

    def time(self) -> float:
        return super().time() + self.skipped


def test_what_is_under_way_at_the_end_gets_eight_of_the_ten_seconds() -> None:
    loop = _Skipping()

    async def end() -> tuple[bool, bool]:
        slow, hanging = (
            asyncio.create_task(asyncio.sleep(7.9, True)),
            asyncio.create_task(asyncio.sleep(1000)),
        )
        await end_tasks({slow, hanging})
        return slow.result(), hanging.cancelled()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(end()) == (True, True)
    assert loop.skipped < 8.1


class _Drifting(SetClock):
    """Real time, until it is set back."""

    hours_back = 0

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))

    def now(self) -> datetime:
        return datetime.fromtimestamp(datetime.now(UTC).timestamp() - 3600 * self.hours_back, UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
