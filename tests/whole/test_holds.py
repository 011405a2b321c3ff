"""Claims and snoozes: they hold the reminders of a review for everybody, and what follows."""

from datetime import timedelta
from itertools import count

import pytest

from alerter.actions import Action, ActionKind, NewAction, Person, Through
from alerter.models import Status
from alerter.service.runtime import open_runtime
from tests.support.lifecycle import REMINDERS, Begin, Life, begin, life, slack, wix
from tests.support.state import open_state
from tests.support.values import SITE

__all__ = ["begin", "life", "slack", "wix"]

_KEYS = count()
DAY = "reminder:r1:86400:"
LAST = "reminder:r1:259200:"
AFTER_SNOOZE = "reminder:r1:0:"


def act(life: Life, kind: ActionKind, *, name: str = "Ada", **span: float) -> Action:
    """A person claims, releases or snoozes the review; `span`: for how long."""
    assert life.runtime
    until = life.clock.now() + timedelta(**span) if span else None
    new = NewAction(
        f"key-{next(_KEYS)}", kind, SITE, "r1", Person(name), Through.COMMAND, until=until
    )
    return life.runtime.responder.request(new)


def claim(life: Life, hours: float = 48, name: str = "Ada") -> Action:
    return act(life, ActionKind.CLAIM, name=name, hours=hours)


def snooze(life: Life, **span: float) -> Action:
    return act(life, ActionKind.SNOOZE, **span)


def reminders(life: Life) -> list[str]:
    return [key for key in life.alerts() if key.startswith("reminder")]


def sent(life: Life) -> tuple[int, int, int]:
    """How many messages the owner, the manager and Slack have got."""
    return len(life.mails()), len(life.mails("manager")), len(life.slack.posts)


async def start(begin: Begin, extra: str = REMINDERS, *receivers: str) -> Life:
    """A daemon whose receivers were just sent the alert of a review."""
    life = await begin(extra, *receivers)
    life.put()
    await life.round()
    return life


# Claims


async def test_a_claim_holds_the_reminders_of_everybody_and_escalation(begin: Begin) -> None:
    life = await start(begin)
    claim(life, hours=100)
    for _ in range(8):
        await life.round(hours=12)
    assert (reminders(life), sent(life)) == ([], (1, 0, 1))

    await life.round(hours=12)  # what fell due meanwhile is one reminder, the last
    assert (reminders(life), sent(life)) == ([f"{LAST}1"], (2, 1, 2))
    await life.round(hours=100)
    assert len(reminders(life)) == 1


async def test_reminders_after_a_claim_keep_their_times(begin: Begin) -> None:
    life = await start(begin)
    claim(life, hours=30)
    await life.round(hours=29)
    assert reminders(life) == []
    await life.round(hours=2)
    assert reminders(life) == [f"{DAY}1"]
    await life.round(hours=40)
    assert len(reminders(life)) == 1
    await life.round(hours=2)
    assert reminders(life) == [f"{DAY}1", f"{LAST}2"]


async def test_a_release_ends_a_claim_at_once(begin: Begin) -> None:
    life = await start(begin)
    claim(life)
    await life.round(hours=25)
    act(life, ActionKind.RELEASE)
    await life.round(minutes=1)
    assert (reminders(life), sent(life)) == ([f"{DAY}1"], (2, 0, 2))


async def test_the_message_on_slack_shows_a_claim_until_it_is_over(begin: Begin) -> None:
    life = await start(begin, "")
    claim(life, hours=1)
    await life.round(minutes=1)
    assert "Ada is on it" in str(life.post().blocks)
    claim(life, hours=1, name="Bo")
    await life.round(minutes=1)
    assert "Bo is on it" in str(life.post().blocks)
    assert "Ada" not in str(life.post().blocks)
    await life.round(hours=2)
    assert "is on it" not in str(life.post().blocks)


@pytest.mark.parametrize("is_snoozed", [False, True], ids=["claimed", "snoozed"])
async def test_an_answer_ends_what_holds_a_review(begin: Begin, *, is_snoozed: bool) -> None:
    life = await start(begin)
    snooze(life, hours=25) if is_snoozed else claim(life, hours=25)
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    assert life.status() is Status.CLOSED
    life.wix.unreply(SITE, "r1")
    await life.round(hours=1)
    assert life.status() is Status.OPEN
    begun = len(reminders(life))
    await life.round(hours=23, minutes=30)  # past the old hold, a day after the reopening is not
    assert len(reminders(life)) == begun
    await life.round(hours=1)
    assert reminders(life)[begun:] == [f"{DAY}{begun + 1}"]


async def test_a_claim_in_quiet_hours_holds_the_reminder_that_waits(begin: Begin) -> None:
    quiet = 'email = ["owner@example.com"]\nquiet = {from = "22:00", to = "07:00"}'
    receivers = f'[[receivers]]\nname = "owner"\n{quiet}\n'
    life = await begin('[reminders]\nafter = ["24h", "72h"]', receivers)
    life.clock.advance(hours=6, minutes=30)  # 21:31 in Berlin
    life.put()
    await life.round()
    await life.round(hours=24, minutes=45)  # in the next quiet hours
    assert (len(reminders(life)), len(life.mails())) == (1, 1)
    claim(life, hours=20)
    await life.round(hours=12)
    assert len(life.mails()) == 1
    await life.round(hours=9)
    assert (len(reminders(life)), len(life.mails())) == (2, 2)


# Snoozes


@pytest.mark.parametrize("after", [REMINDERS, "", "[reminders]\nafter = []"], ids=str)
async def test_a_snooze_ends_with_one_reminder_to_each_that_was_alerted(
    begin: Begin, after: str
) -> None:
    life = await start(begin, after)
    snooze(life, hours=30)
    await life.round(hours=29)
    assert (reminders(life), sent(life)) == ([], (1, 0, 1))
    await life.round(hours=2)
    assert (reminders(life), sent(life)) == ([f"{AFTER_SNOOZE}1"], (2, 0, 2))
    assert "Still unanswered after 1 day 7 hours" in life.mails()[1]
    await life.round(hours=20)
    assert len(reminders(life)) == 1
    await life.round(hours=30)
    assert reminders(life)[1:] == ([f"{LAST}2"] if after == REMINDERS else [])


async def test_the_reminder_after_a_snooze_stands_for_the_last_one_too(begin: Begin) -> None:
    life = await start(begin)
    snooze(life, hours=100)
    for _ in range(9):
        await life.round(hours=12)
    assert (reminders(life), sent(life)) == ([f"{AFTER_SNOOZE}1"], (2, 1, 2))
    await life.round(hours=48)
    assert sent(life) == (2, 1, 2)


async def test_a_claim_at_the_end_of_a_snooze_holds_its_reminder(begin: Begin) -> None:
    life = await start(begin, "")
    snooze(life, hours=10)
    claim(life, hours=20)
    await life.round(hours=15)
    assert reminders(life) == []
    await life.round(hours=6)
    assert (reminders(life), sent(life)) == ([f"{AFTER_SNOOZE}1"], (2, 0, 2))


async def test_a_later_snooze_replaces_the_first(begin: Begin) -> None:
    life = await start(begin, "")
    snooze(life, hours=10)
    await life.round(hours=5)
    snooze(life, hours=20)
    await life.round(hours=10)
    assert reminders(life) == []
    await life.round(hours=11)
    await life.round(hours=11)
    assert reminders(life) == [f"{AFTER_SNOOZE}1"]


async def test_a_snooze_is_shown_on_slack_until_its_reminder(begin: Begin) -> None:
    life = await start(begin, "")
    snooze(life, hours=10)
    await life.round(minutes=1)
    assert "Snoozed until" in str(life.slack.posts[0].blocks)
    await life.round(hours=10)
    assert not any("Snoozed" in str(post.blocks) for post in life.slack.posts)


async def test_a_snoozed_review_that_is_gone_gets_no_reminder(begin: Begin) -> None:
    life = await start(begin)
    snooze(life, hours=30)
    life.wix.delete(SITE, "r1")
    await life.round(hours=31)
    await life.round(hours=31)
    assert (reminders(life), len(life.mails("manager"))) == ([], 0)


async def test_a_snoozed_review_that_was_answered_since_gets_no_reminder(begin: Begin) -> None:
    life = await start(begin, '[poll]\nrescan_every = "24h"')
    snooze(life, hours=2)
    life.wix.reply(SITE, "r1", "Sorry!")  # found when it is read for the reminder
    await life.round(hours=3)
    assert (reminders(life), life.status()) == ([], Status.CLOSED)


async def test_after_a_long_outage_a_snooze_ends_with_one_reminder(begin: Begin) -> None:
    life = await start(begin)
    snooze(life, hours=30)
    await life.round(days=20)
    await life.round(hours=1)
    assert (len(reminders(life)), sent(life)) == (1, (2, 1, 2))


async def test_a_clock_that_is_set_back_repeats_no_reminder_and_ends_no_hold(
    begin: Begin,
) -> None:
    life = await start(begin, "")
    snooze(life, hours=10)
    await life.round(hours=9)
    life.clock.step(hours=-8)
    await life.round(hours=8)
    assert reminders(life) == []
    await life.round(hours=2)
    assert len(reminders(life)) == 1
    life.clock.step(hours=-8)
    await life.round(hours=9)
    assert len(reminders(life)) == 1


async def test_a_hold_that_a_wrong_clock_recorded_begins_again(begin: Begin) -> None:
    life = await start(begin, "")
    life.clock.step(days=300)
    snooze(life, hours=10)
    life.clock.step(days=-300)
    await life.round(hours=1)
    assert reminders(life) == []
    await life.round(hours=11)
    assert len(reminders(life)) == 1


async def test_a_snooze_in_quiet_hours_replaces_the_reminder_that_waits(begin: Begin) -> None:
    quiet = 'email = ["owner@example.com"]\nquiet = {from = "22:00", to = "07:00"}'
    life = await begin("", f'[[receivers]]\nname = "owner"\n{quiet}\n')
    life.put()
    await life.round()
    snooze(life, hours=11)
    await life.round(hours=12)  # in the night
    assert (len(reminders(life)), len(life.mails())) == (1, 1)
    snooze(life, hours=10)
    await life.round(hours=9)
    assert len(life.mails()) == 1
    await life.round(hours=2)
    await life.round(hours=12)
    assert len(life.mails()) == 2


# Two processes


async def test_two_processes_that_find_a_snooze_over_remind_once(begin: Begin) -> None:
    life = await start(begin, "")
    snooze(life, hours=2)
    life.clock.advance(hours=3)
    [site] = life.config.sites
    with open_state(life.config.database) as state:
        async with open_runtime(life.config, state, life.clock) as other:
            assert life.runtime
            both = life.runtime.intake, other.intake
            found = [intake.find_due_reminders(site) for intake in both]
            assert [list(each) for each in found] == [["r1"], ["r1"]]
            for intake, due in zip(both, found, strict=True):
                await intake.remind(site, due)
    assert reminders(life) == [f"{AFTER_SNOOZE}1"]


async def test_a_claim_between_a_look_and_its_reminder_holds_it(begin: Begin) -> None:
    life = await start(begin)
    for hold, expected in ((claim, []), (lambda _: None, [f"{DAY}1"])):
        life.clock.advance(hours=25)
        [site] = life.config.sites
        assert life.runtime
        act(life, ActionKind.RELEASE)
        due = life.runtime.intake.find_due_reminders(site)
        assert list(due) == ["r1"]
        hold(life)
        await life.runtime.intake.remind(site, due)
        assert reminders(life) == expected
