"""Reminders: when they are due, whom they reach, and what ends them."""

import re
from datetime import UTC, datetime

import pytest

from alerter.models import Status
from tests.support.lifecycle import REMINDERS, Begin, begin, life, slack, wix
from tests.support.values import SITE

__all__ = ["begin", "life", "slack", "wix"]


# Reminders


async def test_who_was_alerted_is_reminded_and_at_last_somebody_more(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await life.round(hours=23)
    assert len(life.mails()) == 1
    await life.round(hours=2)
    assert (life.alerts(), len(life.mails()), life.mails("manager")) == (
        ["new:r1", "reminder:r1:86400:1"],
        2,
        [],
    )
    assert "Still unanswered after 1 day 1 hour" in life.mails()[1]
    reminder = life.slack.posts[1]
    assert (reminder.thread_ts, reminder.reply_broadcast) == (life.slack.posts[0].ts, True)

    for _ in range(3):
        await life.round(hours=20)
    assert life.alerts()[2:] == ["reminder:r1:259200:2"]
    assert (len(life.mails()), len(life.mails("manager")), len(life.slack.posts)) == (3, 1, 3)
    await life.round(hours=24 * 10)
    assert len(life.alerts()) == 3


async def test_a_reminder_is_due_from_when_the_alert_was_sent(begin: Begin) -> None:
    by_mail = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]'
    life = await begin('[reminders]\nafter = ["24h"]', receivers=by_mail)
    await life.mailbox.stop()
    life.put()
    await life.round()
    await life.mailbox.start()
    await life.round(hours=30)
    assert len(life.mails()) == 1
    await life.round(hours=23)
    assert not any(key.startswith("reminder") for key in life.alerts())
    await life.round(hours=2)
    assert life.alerts()[-1] == "reminder:r1:86400:1"


TWO = """
[[receivers]]
name = "owner"
email = ["owner@example.com"]

[[receivers]]
name = "support"
slack = "C0123456789"

[[receivers]]
name = "manager"
email = ["manager@example.com"]
max_rating = 1
"""


async def test_after_a_late_alert_reminders_are_late_and_escalated_once(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS + '[poll]\ntrouble_after = "48h"\n', TWO)
    await life.mailbox.stop()
    life.put()
    await life.round()
    await life.mailbox.start()
    await life.round(hours=12)
    assert (len(life.mails()), len(life.slack.posts)) == (1, 1)

    for sent, hours in (((1, 2), 13), ((2, 2), 12), ((2, 3), 36), ((3, 3), 12), ((3, 3), 48)):
        await life.round(hours=hours)
        assert (len(life.mails()), len(life.slack.posts)) == sent
    assert len(life.mails("manager")) == 1


async def test_an_alert_that_waits_is_not_escalated_before_it_arrived(begin: Begin) -> None:
    quiet = 'email = ["manager@example.com"]\nquiet = {from = "22:00", to = "07:00"}'
    receivers = TWO.replace('email = ["manager@example.com"]\nmax_rating = 1', quiet)
    life = await begin('[reminders]\nafter = ["2h", "4h"]\nescalate_to = "manager"', receivers)
    life.clock.advance(hours=9)  # 23:01 in Berlin
    life.put()
    await life.round()
    await life.round(hours=5)
    assert (len(life.mails()), life.mails("manager")) == (2, [])
    came = []
    for _ in range(8):
        await life.round(hours=1)
        came.append(len(life.mails("manager")))
    assert came == [0, 1, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    ("before", "then"),
    [(["1h", "24h", "72h"], ["24h", "72h"]), (["24h", "72h"], ["72h"]), (["24h"], ["12h", "72h"])],
    ids=["the first left out", "one left out", "others"],
)
async def test_reminders_that_change_in_the_config_are_sent_by_their_spans(
    begin: Begin, before: list[str], then: list[str]
) -> None:
    life = await begin(f"[reminders]\nafter = {before}\nescalate_to = 'manager'", TWO)
    life.put()
    await life.round()
    await life.round(hours=25)
    sent = len(life.mails())
    await life.use(f"[reminders]\nafter = {then}\nescalate_to = 'manager'", TWO)
    for _ in range(20):
        await life.round(hours=12)
    assert (len(life.mails()) - sent, len(life.mails("manager"))) == (1, 1 + (before == ["24h"]))
    assert life.alerts()[-1].startswith("reminder:r1:259200:")


async def test_after_a_reopening_each_gets_what_it_missed_and_reminders_restart(
    begin: Begin,
) -> None:
    quiet = 'email = ["owner@example.com"]\nquiet = {from = "22:00", to = "07:00"}'
    life = await begin(REMINDERS, TWO.replace('email = ["owner@example.com"]', quiet))
    life.clock.advance(hours=9)  # 23:01 in Berlin
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    life.wix.unreply(SITE, "r1")
    await life.round(hours=2)
    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.OPEN)
    assert "actions" in [block["type"] for block in life.post().blocks]
    await life.round(hours=8)
    assert [re.split("[:·]", subject)[0].strip() for subject in life.mails()] == ["★★☆☆☆ the site"]

    await life.round(hours=15)
    assert (len(life.mails()), len(life.slack.posts)) == (1, 1)
    await life.round(hours=2)  # 25 hours after it was open again
    assert (len(life.mails()), len(life.slack.posts)) == (1, 2)
    await life.round(hours=8)
    assert (len(life.mails()), len(life.slack.posts)) == (2, 2)


async def test_email_and_slack_of_one_receiver_are_each_asked_again_in_their_way(
    begin: Begin,
) -> None:

    def of_reviews() -> list[str]:
        return [
            re.split("[:·]", subject)[0].strip()
            for subject in life.mails()
            if "the site" in subject
        ]

    team = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\nslack = "C0123456789"\n'
    life = await begin(REMINDERS.replace('escalate_to = "manager"', ""), team)
    life.slack.channels["C0123456789"].archived = True
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    assert (len(of_reviews()), life.slack.posts) == (1, [])

    life.slack.channels["C0123456789"].archived = False
    life.state.execute("DELETE FROM blocks")
    life.wix.unreply(SITE, "r1")
    await life.round(hours=1)
    assert of_reviews() == ["★★☆☆☆ the site", "⏰ Open again"]
    assert life.post().thread_ts is None  # the alert, which was never sent there
    await life.round(hours=25)
    assert (len(of_reviews()), len(life.slack.posts)) == (3, 2)


async def test_a_receiver_new_at_a_reopening_gets_the_alert_and_its_reminders(
    begin: Begin,
) -> None:
    support = TWO.replace(
        'email = ["owner@example.com"]', 'email = ["owner@example.com"]\nsites = ["Corner Bakery"]'
    )
    life = await begin(
        REMINDERS,
        TWO.replace(
            'email = ["owner@example.com"]', 'email = ["other@example.com"]\nmax_rating = 1'
        ),
    )
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    await life.use(REMINDERS, support)
    life.wix.unreply(SITE, "r1")
    await life.round(hours=1)
    assert len(life.mails()) == 1
    await life.round(hours=25)
    assert [re.split("[:·]", subject)[0].strip() for subject in life.mails()] == [
        "★★☆☆☆ the site",
        "⏰ Still unanswered after 1 day 3 hours",
    ]


async def test_what_is_lowered_after_its_last_reminder_is_reminded_of_again(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    for _ in range(4):
        await life.round(hours=24)
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=2)
    life.wix.change(SITE, "r1", content={"rating": 1, "title": "Worse"})
    await life.round(hours=2)
    assert life.alerts()[-1] == "lowered:r1:1"
    for _ in range(4):
        await life.round(hours=24)
    assert life.alerts()[5:] == ["reminder:r1:86400:3", "reminder:r1:259200:4"]
    assert life.mails("manager")[-1].startswith("⏰ Still unanswered")


async def test_a_review_that_was_answered_in_the_last_minute_is_not_reminded_of(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS + '[poll]\nrescan_every = "30d"')
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=25)

    assert life.alerts() == ["new:r1", "closed:r1:1"]


async def test_a_review_lowered_after_its_answer_is_followed_from_then_on(
    begin: Begin,
) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=1)
    await life.round(hours=24 * 20)
    life.wix.change(SITE, "r1", content={"rating": 1})
    await life.round(hours=1)
    assert life.alerts() == ["new:r1", "closed:r1:1", "lowered:r1:1"]

    await life.round(hours=25)
    assert life.alerts()[3:] == ["reminder:r1:86400:1"]
    await life.round(hours=48)
    assert life.alerts()[4:] == ["reminder:r1:259200:2"]
    life.wix.reply(SITE, "r1", "Sorry again!")
    await life.round(hours=24 * 10)
    assert life.alerts()[5:] == ["closed:r1:2"]


async def test_a_reminder_at_the_very_end_of_the_window_is_sent(begin: Begin) -> None:
    life = await begin('[reminders]\nafter = ["30d"]')
    life.put()
    await life.round()
    await life.round(hours=24 * 30, minutes=1)

    assert life.alerts() == ["new:r1", "reminder:r1:2592000:1"]


async def test_what_was_missed_while_nobody_ran_is_reminded_of_once(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    await life.round(hours=24 * 8)
    await life.round(minutes=1)

    assert life.alerts() == ["new:r1", "reminder:r1:259200:1"]


async def test_after_the_window_a_review_rests(begin: Begin) -> None:
    life = await begin(REMINDERS)
    life.put()
    await life.round()
    life.clock.advance(hours=24 * 31)
    life.put("low")
    await life.round()
    life.wix.reply(SITE, "r1", "Sorry!")
    await life.round(hours=2)

    assert (life.alerts(), life.status()) == (["new:r1", "new:low"], Status.OPEN)


async def test_an_hour_that_clocks_skip_or_repeat_moves_no_reminder(begin: Begin) -> None:
    life = await begin(REMINDERS)
    for day in (datetime(2027, 3, 27, 12, tzinfo=UTC), datetime(2027, 10, 30, 12, tzinfo=UTC)):
        life.clock.advance(seconds=(day - life.clock.now()).total_seconds())
        await life.round()
        before = len(life.alerts())
        life.put(f"{day:%B}")
        await life.round()
        await life.round(hours=23, minutes=55)
        assert len(life.alerts()) == before + 1
        await life.round(minutes=6)
        assert life.alerts()[before + 1 :] == [f"reminder:{day:%B}:86400:1"]
        life.wix.reply(SITE, f"{day:%B}", "Sorry!")
        await life.round(hours=1)


async def test_a_wider_window_records_what_it_adds_silently_and_watches_it_then(
    begin: Begin,
) -> None:
    life = await begin('[poll]\nrescan_window = "7d"')
    life.put("fell", 4)
    life.put("falls", 4)
    life.put("answered", 1)
    await life.round()
    life.wix.reply(SITE, "answered", "Sorry!")
    await life.round(hours=2)
    life.put("later", 1)
    await life.round(hours=24 * 10)
    life.wix.change(SITE, "fell", content={"rating": 1})
    life.wix.unreply(SITE, "answered")
    life.wix.change(SITE, "answered", content={"rating": 1, "title": "Unanswered"})
    await life.use('[poll]\nrescan_window = "30d"')
    await life.round(hours=2)
    assert life.alerts() == ["new:answered", "closed:answered:1", "new:later"]
    assert life.status("fell") is Status.BASELINE

    life.wix.change(SITE, "falls", content={"rating": 1})
    await life.round(hours=2)
    assert life.alerts()[3:] == ["new:falls"]


async def test_a_raised_threshold_opens_nothing_that_it_had_closed(begin: Begin) -> None:
    life = await begin("[alerts]\nthreshold = 2")
    life.put()
    await life.round()
    life.wix.change(SITE, "r1", content={"rating": 5})
    await life.round(hours=2)
    life.wix.change(SITE, "r1", content={"rating": 3})
    await life.use("[alerts]\nthreshold = 3")
    await life.round(hours=2)
    assert (life.alerts(), life.status()) == (["new:r1", "closed:r1:1"], Status.CLOSED)
