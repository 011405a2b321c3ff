"""A config that changes while deliveries wait: who still gets them, who gets them instead, and
when.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Grouping
from alerter.notify.worker import IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import open_runtime
from alerter.store import State, outbox
from alerter.store.prune import prune
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.rerouting import (
    NIGHT,
    OTHER,
    ROOM,
    Load,
    clock,
    load,
    mail,
    mails,
    night,
    once,
    rows,
    slack_to,
)
from tests.support.state import open_state
from tests.support.values import SECRETS, SITE

__all__ = ["clock", "load", "night", "wix"]


def due_at(config: Config) -> datetime:
    """When the only delivery that waits may leave."""
    with open_state(config.database) as state:
        ms = state.value("SELECT due_at FROM deliveries WHERE status = 'pending'")
    return datetime.fromtimestamp(ms / 1000, UTC)


# A receiver that may get less than before


@pytest.mark.parametrize(
    "key",
    [
        'sites = ["Café"]',
        "max_rating = 1",
        "min_rating = 3",
        'products = ["white"]',
        'keywords = ["stale"]',
    ],
)
async def test_what_a_receiver_may_not_get_any_more_is_cancelled(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any], key: str
) -> None:
    await night(mail("owner", NIGHT), mail("ops"))
    narrowed = load(mail("owner", NIGHT, key), mail("ops"))
    assert await once(narrowed, clock, hours=12)
    assert rows(narrowed) == [
        ("new:r1", "email:ops", "sent"),
        ("new:r1", "email:owner", "cancelled"),
    ]
    assert mails(mailbox, "owner") == []


async def test_a_restart_with_the_same_config_keeps_alerts_of_an_edited_review(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    receivers = mail("owner", NIGHT, 'keywords = ["refund"]')
    await night(receivers)
    wix.change(SITE, "r1", content={"rating": 2, "title": "Hard"})
    for hours in (1, 11):
        assert await once(load(receivers), clock, hours=hours)
    assert len(mails(mailbox, "owner")) == 1


async def test_a_renamed_site_is_no_reason_to_cancel(
    load: Load,
    clock: SetClock,
    mailbox: Mailbox,
    night: Callable[..., Any],
    tmp_path: Path,
) -> None:
    await night(mail("owner", NIGHT, 'sites = ["Corner Bakery"]'))
    load(mail("owner", NIGHT, 'sites = ["Corner Bakery"]'))
    path = tmp_path / "config.toml"
    path.write_text(path.read_text().replace("Corner Bakery", "The Bakery"))
    assert await once(load_config(path, SECRETS, secrets=True), clock, hours=12)
    assert len(mails(mailbox, "owner")) == 1


async def test_what_failed_for_a_narrowed_receiver_is_not_sent_by_a_retry(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    mailbox.data_replies.extend(["554 5.7.1 no", "554 5.7.1 no"])
    await night(mail("owner"))
    narrowed = load(mail("owner", 'sites = ["Café"]'))
    assert await once(narrowed, clock, minutes=1)
    with State.open(narrowed.database, migrate=False) as state:
        assert outbox.requeue(state)[0] == 0
    assert await once(narrowed, clock, minutes=1)
    assert not [each for each in mails(mailbox, "owner") if "Hard" in each.subject]


async def test_a_digest_in_doubt_goes_on_with_what_a_narrowed_receiver_may_get(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    extra = "[alerts]\nburst = 1\n"
    config = load(mail("owner"), extra=extra)
    assert await once(config, clock)
    for site in (SITE, OTHER):
        wix.add(site, {"content": {"rating": 1, "title": "Hard" if site == SITE else "Cold"}})
    mailbox.drop.append("before")
    assert not await once(config, clock, minutes=1)
    assert await once(load(mail("owner", 'sites = ["Café"]'), extra=extra), clock, minutes=10)
    (sent,) = mailbox.mails
    assert "Cold" in sent.text
    assert "Hard" not in sent.text


async def test_a_message_in_doubt_that_holds_nothing_else_is_dropped(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    config = load(mail("owner"))
    assert await once(config, clock)
    wix.add(SITE, {"content": {"rating": 1, "title": "Hard"}})
    mailbox.drop.append("before")
    assert not await once(config, clock, minutes=1)
    narrowed = load(mail("owner", 'sites = ["Café"]'))
    assert await once(narrowed, clock, minutes=10)
    assert state.rows("SELECT * FROM messages") == []
    assert not [each for each in mailbox.mails if "Hard" in each.text]


@pytest.mark.parametrize("change", ["narrowed", "removed"])
async def test_no_further_address_gets_a_mail_that_its_receiver_lost(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, state: State, change: str
) -> None:
    two = mail("owner").replace('com"]', 'com", "second@example.com"]')
    assert await once(load(two, mail("ops")), clock)
    mailbox.refuse["second@example.com"] = "450 4.2.1 Later"
    wix.add(SITE, {"content": {"rating": 1, "title": "Hard"}})
    await once(load(two, mail("ops")), clock, minutes=1)
    assert len(mails(mailbox, "owner")) == 1
    mailbox.refuse.clear()
    narrowed = two + 'sites = ["Café"]\n' if change == "narrowed" else ""
    for _ in range(2):
        await once(load(narrowed, mail("ops")), clock, hours=2)
    assert not [each for each in mails(mailbox, "second") if "Hard" in each.text]
    assert not state.rows("SELECT * FROM messages WHERE to_left IS NOT NULL")


async def test_trouble_of_a_site_that_a_receiver_lost_is_not_sent_to_it(
    load: Load, state: State, clock: SetClock
) -> None:
    before = load(mail("owner"), mail("ops"))
    reconcile(state, before, clock)
    troubles = Troubles(state, before, clock, wake=lambda _: None)
    troubles.begin(f"site:{SITE}", "refused")
    troubles.begin(f"site:{OTHER}", "refused")
    reconcile(state, load(mail("owner", 'sites = ["Café"]'), mail("ops")), clock)
    found = state.rows(
        "SELECT key, status FROM deliveries JOIN alerts ON id = alert WHERE destination = "
        "'email:owner'"
    )
    assert {row["key"].split(":")[2]: row["status"] for row in found} == {
        SITE: "cancelled",
        OTHER: "pending",
    }


# Quiet hours


async def test_what_is_held_leaves_at_once_where_quiet_hours_are_removed(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT))
    assert mails(mailbox, "owner") == []
    assert await once(load(mail("owner")), clock, minutes=1)
    assert len(mails(mailbox, "owner")) == 1


@pytest.mark.parametrize(("end", "hour"), [("05:00", 4), ("09:30", 8)])
async def test_what_is_held_leaves_when_the_changed_quiet_hours_end(
    load: Load, clock: SetClock, night: Callable[..., Any], end: str, hour: int
) -> None:
    await night(mail("owner", NIGHT))
    changed = load(mail("owner", NIGHT.replace("07:00", end)))
    assert await once(changed, clock, minutes=1)
    assert due_at(changed).hour == hour


async def test_what_is_urgent_in_the_changed_config_leaves_at_once(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT))
    assert await once(load(mail("owner", NIGHT, "urgent_max_rating = 2")), clock, minutes=1)
    assert len(mails(mailbox, "owner")) == 1


async def test_what_waits_for_a_dead_mail_server_is_not_held_by_new_quiet_hours(
    load: Load, clock: SetClock, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    mailbox.down = True
    await night(mail("owner"))
    changed = load(mail("owner", NIGHT))
    assert not await once(changed, clock, minutes=5)
    assert due_at(changed) <= clock.now()


async def test_deliveries_held_by_a_clock_days_ahead_leave_once_it_is_right(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    config = load(mail("owner", NIGHT))
    clock.step(days=3, hours=2)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, {"content": {"rating": 1, "title": "Hard"}})
        assert await runtime.poller.round(config.sites[0])
        assert await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
        assert mailbox.mails == []
        clock.step(days=-3, hours=-2)
        for _ in range(2):
            assert await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
    assert len(mailbox.mails) == 1


async def test_deliveries_held_by_a_clock_days_ahead_wait_for_this_nights_end(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    config = load(mail("owner", NIGHT))
    clock.step(days=3, hours=2)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        wix.add(SITE, {"content": {"rating": 1, "title": "Hard"}})
        assert await runtime.poller.round(config.sites[0])
        clock.step(days=-3)
        assert await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
        assert mailbox.mails == []
        clock.advance(hours=9)
        assert await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
    assert len(mailbox.mails) == 1


# A receiver that is gone


async def test_what_waits_failed_or_is_to_change_for_a_removed_receiver_is_over(
    load: Load,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    night: Callable[..., Any],
) -> None:
    mailbox.data_replies.extend(["554 5.7.1 no", "554 5.7.1 no"])
    await night(mail("owner"), slack_to("team"), mail("sleeper", NIGHT), mail("ops", NIGHT))
    less = load(mail("ops"))
    assert await once(less, clock, minutes=1)
    assert [each for each in rows(less) if each[0] == "new:r1"] == [
        ("new:r1", "email:ops", "sent"),
        ("new:r1", "email:owner", "cancelled"),
        ("new:r1", "email:sleeper", "cancelled"),
        ("new:r1", "slack:team", "sent"),
    ]
    wix.reply(SITE, "r1", "Sorry!")
    assert await once(less, clock, minutes=1)
    with State.open(less.database, migrate=False) as state:
        assert outbox.failed_count(state) == 0
        assert outbox.requeue(state) == (0, 0)
        assert not state.rows("SELECT * FROM messages WHERE stale > 0")
        clock.advance(days=2)
        assert await once(less, clock)
        window, keep = less.poll.rescan_window, timedelta(days=1)
        assert (
            await prune(state, clock.now(), keep, window=window, destinations=less.destinations())
            == 1
        )


async def raise_late(
    older: Config, newer: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    """Raise an alert by the older config while the newer is in force, as another worker may."""
    async with open_runtime(older, state, clock) as runtime:
        assert await runtime.poller.round(older.sites[0])
        reconcile(state, older, clock)
        reconcile(state, newer, clock, alone=False)
        clock.advance(minutes=30)
        wix.add(SITE, {"id": "r1", "content": {"rating": 2, "title": "Hard"}})
        assert await runtime.poller.round(older.sites[0])


async def test_what_an_older_config_raises_late_goes_to_its_successor(
    load: Load, clock: SetClock, wix: EmbeddedWix, state: State
) -> None:
    older, newer = load(mail("owner", NIGHT)), load(mail("shop"))
    await raise_late(older, newer, state, clock, wix)
    reconcile(state, newer, clock, alone=False)
    assert rows(newer) == [
        ("new:r1", "email:owner", "cancelled"),
        ("new:r1", "email:shop", "pending"),
    ]


async def test_what_was_raised_late_is_kept_when_a_receiver_gets_its_name_back(
    load: Load, clock: SetClock, wix: EmbeddedWix, state: State
) -> None:
    older, newer = load(mail("owner", NIGHT)), load(mail("boss", NIGHT, to="owner"))
    await raise_late(older, newer, state, clock, wix)
    for config, name in ((newer, "boss"), (older, "owner"), (newer, "boss")):
        reconcile(state, config, clock, alone=False)
        waiting = [row for row in rows(config) if row[2] == "pending"]
        assert waiting == [("new:r1", f"email:{name}", "pending")]


async def test_a_renamed_receiver_gets_what_waited_and_goes_on_with_its_messages(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, night: Callable[..., Any]
) -> None:
    await night(slack_to("team"))
    renamed = load(slack_to("support"), extra='[reminders]\nafter = ["4h"]\n')
    assert await once(renamed, clock, hours=5)
    assert rows(renamed) == [
        ("new:r1", "slack:support", "sent"),
        ("reminder:r1:14400:1", "slack:support", "sent"),
    ]
    wix.reply(SITE, "r1", "Sorry!")
    assert await once(renamed, clock, minutes=1)
    first, reminder = slack.posts
    assert first.text.startswith("✅ Answered")
    assert reminder.thread_ts == first.ts


async def test_a_renamed_receiver_gets_once_what_was_held_and_what_had_failed(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    mailbox.data_replies.extend(["554 5.7.1 no", "554 5.7.1 no"])
    await night(mail("owner"), slack_to("team", NIGHT))
    renamed = load(mail("boss", to="owner"), slack_to("support", NIGHT))
    assert await once(renamed, clock, minutes=1)
    assert await once(renamed, clock, hours=12)
    assert len([each for each in mails(mailbox, "owner") if "Hard" in each.subject]) == 1
    assert [each for each in rows(renamed) if each[0] == "new:r1"] == [
        ("new:r1", "email:boss", "sent"),
        ("new:r1", "slack:support", "sent"),
    ]
    assert await once(load(mail("owner"), slack_to("team", NIGHT)), clock, minutes=1)
    assert len([each for each in mails(mailbox, "owner") if "Hard" in each.subject]) == 1


async def test_a_receiver_that_comes_back_renamed_keeps_its_messages(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, night: Callable[..., Any]
) -> None:
    await night(slack_to("team"))
    assert await once(load(mail("ops")), clock, minutes=1)
    wix.reply(SITE, "r1", "Sorry!")
    assert await once(load(slack_to("support")), clock, minutes=1)
    assert slack.posts[0].text.startswith("✅ Answered")


async def test_what_waited_for_a_removed_receiver_goes_to_new_ones_that_fit(
    load: Load, clock: SetClock, slack: EmbeddedSlack, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT), mail("ops", "max_rating = 1"))
    changed = load(
        mail("ops"),
        mail("boss"),
        mail("choosy", "max_rating = 1"),
        mail("barista", 'sites = ["Café"]'),
        slack_to("team", NIGHT),
    )
    assert await once(changed, clock, minutes=1)
    assert rows(changed) == [
        ("new:r1", "email:boss", "sent"),
        ("new:r1", "email:owner", "cancelled"),
        ("new:r1", "slack:team", "pending"),
    ]
    assert await once(changed, clock, hours=12)
    assert len(slack.posts) == len(mails(mailbox, "boss")) == 1


async def test_no_address_gets_an_alert_a_second_time_under_a_new_name(
    load: Load, clock: SetClock, slack: EmbeddedSlack, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(slack_to("team"), mail("owner", NIGHT), mail("ops"))
    changed = load(
        slack_to("support"), mail("new ops", to="ops"), mail("boss"), mail("boss again", to="boss")
    )
    assert await once(changed, clock, hours=12)
    assert (len(slack.posts), len(mails(mailbox, "ops")), len(mails(mailbox, "boss"))) == (1, 1, 1)


async def test_a_receiver_that_moves_from_email_to_slack_gets_there_what_waited(
    load: Load, clock: SetClock, slack: EmbeddedSlack, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT))
    assert await once(load(slack_to("owner")), clock, minutes=1)
    assert len(slack.posts) == 1


async def test_a_receiver_whose_channel_moved_gets_what_waited_in_the_new_one(
    load: Load, clock: SetClock, slack: EmbeddedSlack, night: Callable[..., Any]
) -> None:
    await night(slack_to("team", NIGHT))
    assert await once(load(slack_to("team", channel=ROOM)), clock, minutes=1)
    assert [post.channel for post in slack.posts] == [ROOM]


async def test_a_backfill_for_a_removed_receiver_is_one_digest_to_the_new_one(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, state: State
) -> None:
    config = load(mail("owner"))
    for number in range(3):
        wix.add(SITE, {"id": f"r{number}", "content": {"rating": 1, "title": "Hard"}})
    assert await once(config, clock)
    async with open_runtime(config, state, clock) as runtime:
        assert (
            await runtime.intake.alert_past(config.sites[0], ["r0", "r1", "r2"], Grouping.DIGEST)
            == 3
        )
    assert await once(load(mail("boss", NIGHT)), clock, hours=1)
    assert len(mails(mailbox, "boss")) == 1
    assert mails(mailbox, "owner") == []


# Trouble


async def test_trouble_that_waited_for_a_removed_receiver_goes_to_the_others(
    load: Load, state: State, clock: SetClock
) -> None:
    before = load(mail("ops", "trouble = true"), mail("owner"))
    reconcile(state, before, clock)
    Troubles(state, before, clock, wake=lambda _: None).begin(f"site:{SITE}", "refused")
    after = load(mail("owner"))
    reconcile(state, after, clock)
    Troubles(state, after, clock, wake=lambda _: None).refresh()
    found = state.rows("SELECT destination, status FROM deliveries ORDER BY destination")
    assert [(row["destination"], row["status"]) for row in found] == [
        ("email:ops", "cancelled"),
        ("email:owner", "pending"),
    ]


# Reopened reviews


async def test_a_reopened_review_is_not_sent_to_a_receiver_that_lost_it(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, night: Callable[..., Any]
) -> None:
    await night(mail("owner", NIGHT), mail("gone", NIGHT), mail("ops", NIGHT))
    changed = load(mail("owner", 'sites = ["Café"]'), mail("ops", NIGHT))
    for change in ("REJECTED", "APPROVED"):
        wix.moderate(SITE, "r1", change)
        assert await once(changed, clock, hours=1)
    assert await once(changed, clock, hours=12)
    assert rows(changed) == [
        ("new:r1", "email:gone", "cancelled"),
        ("new:r1", "email:ops", "sent"),
        ("new:r1", "email:owner", "cancelled"),
    ]


# Summaries

SUMMARY = '[[summaries]]\nname = "Daily"\nat = "22:30"\nreceivers = [{}]\n'


async def test_a_summary_that_waits_shows_a_narrowed_receiver_its_own_sites_only(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    daily = SUMMARY.format('"owner"')
    config = load(mail("owner"), extra=daily)
    assert await once(config, clock)
    mailbox.down = True
    assert not await once(config, clock, hours=1)
    mailbox.down = False
    assert await once(load(mail("owner", 'sites = ["Café"]'), extra=daily), clock, minutes=10)
    (sent,) = mails(mailbox, "owner")
    assert sent.subject == "📊 Daily: No low-rated reviews · No review is open (Café)"


async def test_a_summary_that_waits_goes_to_the_new_name_and_not_to_who_left_it(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load(
        mail("owner"), mail("ops"), mail("left"), extra=SUMMARY.format('"owner", "ops", "left"')
    )
    assert await once(config, clock)
    mailbox.down = True
    assert not await once(config, clock, hours=1)
    mailbox.down = False
    changed = load(
        mail("boss", to="owner"), mail("new"), mail("left"), extra=SUMMARY.format('"boss", "new"')
    )
    assert await once(changed, clock, minutes=10)
    for name in ("owner", "new"):
        assert [each.subject for each in mails(mailbox, name)] == [
            "📊 Daily: No low-rated reviews · No review is open (Corner Bakery, Café)"
        ]
    assert mails(mailbox, "left") == []
