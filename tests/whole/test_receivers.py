"""Receivers who choose what they hear of and when, end to end against the embedded services."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerter.commands import backfill, check
from alerter.commands.backfill import BackfillRequest
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.models import Grouping, to_ms
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import Holder, State, blocks, lock_of
from alerter.wix.client import ReviewFilter
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.values import CHANNEL, OWNER, SCOPES, SECRETS, SITE
from tests.support.waiting import HANG

__all__ = ["wix"]

OTHER_TOKEN = "xoxb-other-77aa"
OTHER_CHANNEL = "C0000000009"
NIGHT = 'quiet = {from = "22:00", to = "07:00"}'
LATE = datetime(2026, 11, 24, 21, 30, tzinfo=UTC)  # 22:30 in Berlin

_RESTS = (IdleReason.NOTHING_DUE, IdleReason.PARKED, IdleReason.PACE)

Load = Callable[..., Config]


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    """A config with an owner by mail and a team on Slack, with further keys for each."""
    slack.add_token(OTHER_TOKEN, scopes=SCOPES, bot_id="B00000002")
    slack.add_channel(OTHER_CHANNEL, "elsewhere")

    def load(owner: str = "", team: str = "", *, more: str = "", secrets: bool = True) -> Config:
        both = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]
{owner}
[[receivers]]
name = "team"
slack = "{CHANNEL}"
{team}
{more}"""
        path = write_config(wix, slack, mailbox, receivers=both)
        return load_config(path, SECRETS | {"OTHER_TOKEN": OTHER_TOKEN}, secrets=secrets)

    return load


def put(wix: EmbeddedWix, clock: SetClock, review_id: str, rating: int = 2, **more: Any) -> None:
    content = {"rating": rating, "title": f"Title of {review_id}"} | more
    wix.add(SITE, {"id": review_id, "createdDate": stamp(clock.now()), "content": content})


async def once(config: Config, clock: SetClock) -> None:
    """A round, and whatever is due then."""
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            assert await runtime.poller.round(config.sites[0])
            while not (await runtime.dispatcher.run(_RESTS) or blocks.get_parked(state)):
                clock.advance(seconds=1)


def until(clock: SetClock, moment: datetime) -> None:
    clock.advance(seconds=(moment - clock.now()).total_seconds())


def subjects(mailbox: Mailbox) -> list[str]:
    return [mail.subject for mail in mailbox.mails]


# Quiet hours


async def test_what_comes_at_night_leaves_in_the_morning_and_rounds_never_pause(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT)
    await once(config, clock)
    until(clock, LATE)
    put(wix, clock, "r1")
    await once(config, clock)
    assert (len(mailbox.mails), len(slack.posts)) == (0, 1)

    until(clock, datetime(2026, 11, 25, 5, 59, 59, tzinfo=UTC))
    await once(config, clock)
    assert mailbox.mails == []
    clock.advance(seconds=1)
    await once(config, clock)
    assert len(mailbox.mails) == 1
    assert "Title of r1" in mailbox.mails[0].text


async def test_a_night_in_which_the_clocks_change_ends_by_the_clock(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT)
    await once(config, clock)
    until(clock, datetime(2027, 3, 27, 21, 30, tzinfo=UTC))
    put(wix, clock, "r1")
    await once(config, clock)

    until(clock, datetime(2027, 3, 28, 4, 59, tzinfo=UTC))
    await once(config, clock)
    assert mailbox.mails == []
    clock.advance(minutes=1)
    await once(config, clock)
    assert len(mailbox.mails) == 1


async def test_many_that_were_held_leave_as_a_digest(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT)
    await once(config, clock)
    until(clock, LATE)
    for number in range(12):
        put(wix, clock, f"r{number}")
        await once(config, clock)
    assert mailbox.mails == []

    until(clock, datetime(2026, 11, 25, 6, tzinfo=UTC))
    await once(config, clock)
    assert subjects(mailbox) == ["12 low-rated reviews (Corner Bakery)"]


async def test_what_was_answered_before_the_quiet_hours_end_is_not_sent(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT)
    await once(config, clock)
    until(clock, LATE)
    put(wix, clock, "r1")
    await once(config, clock)
    wix.reply(SITE, "r1", "Sorry!")
    await once(config, clock)

    until(clock, datetime(2026, 11, 25, 6, tzinfo=UTC))
    await once(config, clock)
    assert mailbox.mails == []


async def test_what_is_open_again_at_night_waits_for_the_morning_too(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT, team="min_rating = 5")
    await once(config, clock)
    until(clock, LATE)
    put(wix, clock, "r1")
    await once(config, clock)
    wix.reply(SITE, "r1", "Sorry!")
    await once(config, clock)
    until(clock, datetime(2026, 11, 25, 21, 30, tzinfo=UTC))
    wix.change(SITE, "r1", createdDate=stamp(clock.now()))  # so that a poll reads it again
    wix.unreply(SITE, "r1")
    await once(config, clock)
    assert mailbox.mails == []

    until(clock, datetime(2026, 11, 26, 6, tzinfo=UTC))
    await once(config, clock)
    assert len(mailbox.mails) == 1


async def test_an_urgent_alert_takes_along_what_was_held_of_its_review(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(owner=f"{NIGHT}\nurgent_max_rating = 1")
    await once(config, clock)
    until(clock, LATE)
    put(wix, clock, "r1")
    put(wix, clock, "r2")
    await once(config, clock)
    assert mailbox.mails == []

    put(wix, clock, "r3", rating=1)
    wix.change(SITE, "r1", content={"rating": 1})
    await once(config, clock)
    assert len(mailbox.mails) == 3
    told = [
        next(name for name in ("r1", "r2", "r3") if f"Title of {name}" in mail.text)
        for mail in mailbox.mails
    ]
    assert sorted(told) == ["r1", "r1", "r3"]
    first, second = (mail for mail, name in zip(mailbox.mails, told, strict=True) if name == "r1")
    assert second.message["In-Reply-To"] == first.message_id


async def test_reminders_and_closings_keep_the_quiet_hours_too(
    load: Load, clock: SetClock, wix: EmbeddedWix
) -> None:
    config = load(
        owner=f"{NIGHT}\nclosings = true\nurgent_max_rating = 1", more='[reminders]\nafter = ["1h"]'
    )
    await once(config, clock)
    put(wix, clock, "r1")
    put(wix, clock, "r2", rating=1)
    await once(config, clock)
    until(clock, LATE)
    with State.open(config.database, migrate=False) as state:
        async with open_runtime(config, state, clock) as runtime:
            due = runtime.intake.find_due_reminders(config.sites[0])
            await runtime.intake.remind(config.sites[0], due)
            wix.reply(SITE, "r2", "Sorry!")
            await runtime.poller.read(config.sites[0], ReviewFilter(2))
        held = state.rows(
            "SELECT kind, review_id, due_at FROM deliveries JOIN alerts ON id = alert"
            " WHERE destination = 'email:owner' AND status = 'pending' ORDER BY id"
        )
    seven = to_ms(datetime(2026, 11, 25, 6, tzinfo=UTC))
    assert [tuple(row.values()) for row in held] == [
        ("reminder", "r1", seven),
        ("closed", "r2", seven),
    ]


async def test_trouble_is_sent_at_night(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    config = load(owner=NIGHT)
    await once(config, clock)
    until(clock, LATE)
    slack.revoke(SECRETS["SLACK_BOT_TOKEN"])
    put(wix, clock, "r1")
    await once(config, clock)
    await once(config, clock)
    assert ["Slack refuses us" in mail.text for mail in mailbox.mails] == [True]


@pytest.mark.parametrize("grouping", [Grouping.EACH, Grouping.DIGEST])
async def test_a_backfill_sends_at_night_and_waits_for_nothing_else(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, grouping: Grouping
) -> None:
    config = load(owner=NIGHT)
    put(wix, clock, "old")
    await once(config, clock)
    until(clock, LATE)
    put(wix, clock, "held")
    await once(config, clock)

    past = BackfillRequest(config.sites, datetime(2026, 11, 1, tzinfo=UTC), None)
    with lock_of(config.database) as lock, State.open(config.database, migrate=True) as state:
        assert lock.acquire(Holder.RUN) is None
        running = asyncio.create_task(backfill.run(config, clock, past, grouping))
        async with open_runtime(config, state, clock) as daemon, asyncio.timeout(HANG):
            while not running.done():
                await daemon.dispatcher.run((IdleReason.NOTHING_DUE, IdleReason.PACE))
                clock.advance(seconds=1)
                await asyncio.sleep(0.02)
        assert await running
    assert len(mailbox.mails) == 1
    assert "Title of old" in mailbox.mails[0].text
    assert "Title of held" not in mailbox.mails[0].text


# Who hears


async def test_each_receiver_gets_what_it_chose(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    config = load(owner='keywords = ["refund"]', team="min_rating = 2")
    await once(config, clock)
    put(wix, clock, "r1", body="I want a REFUND!", rating=1)
    put(wix, clock, "r2", body="refunded already", rating=2)
    put(wix, clock, "r3", body="Just bad", rating=1)
    await once(config, clock)

    assert ["Title of r1" in mail.text for mail in mailbox.mails] == [True]
    assert ["Title of r2" in str(post.blocks) for post in slack.posts] == [True]
    with State.open(config.database, migrate=False) as state:
        assert state.value("SELECT status FROM reviews WHERE review_id = 'r3'") == "open"


def test_check_warns_of_ratings_that_no_receiver_gets(load: Load) -> None:
    uncovered, limited = check.check_routing(
        load(owner='keywords = ["refund"]\nmax_rating = 1', team="min_rating = 3")
    )

    assert (uncovered.ok, uncovered.warning, uncovered.subject) == (
        True,
        True,
        "site Corner Bakery",
    )
    assert uncovered.text.startswith("no receiver gets its reviews with 2 stars; ")
    assert limited.text.startswith(
        "its reviews with 1 star are routed by product, keyword or topic only; "
    )
    assert check.check_routing(load()) == []


# Another Slack workspace


async def test_a_token_that_is_revoked_parks_its_own_workspace_only(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    elsewhere = (
        f'[[receivers]]\nname = "elsewhere"\nslack = "{OTHER_CHANNEL}"\ntoken = "env:OTHER_TOKEN"\n'
    )
    config = load(more=elsewhere)
    await once(config, clock)
    slack.revoke(OTHER_TOKEN)
    put(wix, clock, "r1")
    await once(config, clock)
    await once(config, clock)

    with State.open(config.database, migrate=False) as state:
        assert [block.scope for block in blocks.get_parked(state)] == [
            "service:slack:env:OTHER_TOKEN"
        ]
    assert {post.channel for post in slack.posts} == {CHANNEL}
    assert "The Slack workspace of elsewhere refuses us" in mailbox.mails[-1].text

    slack.tokens[OTHER_TOKEN].revoked = False
    found = await check.send_samples(config, clock, ["elsewhere"])
    assert [finding.ok for finding in found] == [True, True]
    await once(config, clock)
    [sample, alert] = [post for post in slack.posts if post.channel == OTHER_CHANNEL]
    assert "Title of r1" in str(alert.blocks)
    assert alert.bot_id == sample.bot_id == "B00000002"


async def test_a_token_that_is_revoked_leaves_the_other_workspace_alone(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    elsewhere = (
        f'[[receivers]]\nname = "elsewhere"\nslack = "{OTHER_CHANNEL}"\ntoken = "env:OTHER_TOKEN"\n'
    )
    config = load(more=elsewhere)
    await once(config, clock)
    slack.revoke(SECRETS["SLACK_BOT_TOKEN"])
    put(wix, clock, "r1")
    await once(config, clock)

    with State.open(config.database, migrate=False) as state:
        assert [block.scope for block in blocks.get_parked(state)] == ["service:slack"]
    assert "Title of r1" in str(
        [post.blocks for post in slack.posts if post.channel == OTHER_CHANNEL]
    )
