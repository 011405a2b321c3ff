"""What lasts is trouble: notified once, over with its cause, at most one pair an hour."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlite_utils import Database

from alerter.commands import check, status
from alerter.config import Config, Site
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.destinations import open_destinations
from alerter.service.housekeeping import Housekeeping
from alerter.service.runtime import open_wix
from alerter.store import State, outbox, troubles
from alerter.store.blocks import Block
from alerter.store.migrations import migrations
from alerter.store.troubles import Trouble
from alerter.summary import Summaries
from alerter.trouble.recipients import recipients_for
from alerter.trouble.rules import begun, is_to_be_notified, lasting
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.life import (
    AFTER,
    HOUR,
    MINUTE,
    POST,
    QUERY,
    Begin,
    Life,
    begin,
    life,
    mailed,
    posted,
    slack,
    wix,
)
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

__all__ = ["begin", "life", "slack", "wix"]


# What lasts


async def test_a_mail_server_that_is_down_is_notified_on_slack_until_it_is_back(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.down = True
    life.put()
    await life.minutes(15)
    assert not life.open()
    assert not life.needs_a_person()
    await life.minutes(2)
    assert life.open() == ["destination:email:owner"]
    assert life.needs_a_person()
    await life.minutes(120)
    assert len(posted(slack)) == 1
    mailbox.down = False
    await life.minutes(2)
    assert not life.open()
    assert not life.needs_a_person()
    assert len(posted(slack)) == 2


async def test_an_end_waits_while_the_trouble_is_in_doubt(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.down = True
    life.put()
    await life.minutes(2)
    slack.faults.add(POST, Fault(drop="before"))
    slack.throttle("conversations.history", 1200)
    await life.minutes(16)
    assert life.open() == ["destination:email:owner"]
    mailbox.down = False
    await life.minutes(40)
    assert not life.open()
    _, trouble, recovered = [str(post.args["text"]) for post in slack.posts]
    assert "cannot be reached" in trouble
    assert "can be reached again" in recovered


async def test_a_service_that_throttles_for_a_day_is_notified_by_mail(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    slack.faults.add(
        POST,
        Fault(429, body='{"ok": false, "error": "ratelimited"}', headers={"Retry-After": "86400"}),
    )
    life.put()
    await life.minutes(17)
    assert life.open() == ["service:slack"]
    assert len(mailed(mailbox)) == 1
    assert life.needs_a_person()
    await life.minutes(60)
    assert len(mailed(mailbox)) == 1


async def test_a_repeat_that_failed_while_looks_are_throttled_parks_nothing(
    life: Life, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    slack.faults.add(POST, Fault(drop="after"), Fault(drop="after"))
    slack.throttle("conversations.history", 86400)
    life.put()
    seen: set[str] = set()
    for _ in range(40):
        await life.minute()
        seen |= set(life.open())
    assert seen == {"method:slack:look", "message:slack:support"}
    life.put()
    await life.minutes(2)
    assert "Title 2" in str(slack.posts[-1].blocks)
    assert life.needs_a_person()


async def test_a_site_that_wix_has_us_leave_alone_is_trouble_like_one_that_fails(
    life: Life, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    wix.faults.add(QUERY, Fault(status=503, body="{}", headers={"Retry-After": "7200"}))
    await life.minutes(15)
    assert not life.open()
    await life.minutes(2)
    assert life.open() == [f"site:{SITE}"]
    await life.minutes(120)
    assert not life.open()
    assert len(mailed(mailbox)) == 2


async def test_an_address_that_is_refused_for_now_is_trouble_once_that_lasts(
    begin: Begin, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    both = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}", "full@example.com"]\n'
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    life = await begin(receivers=both + team)
    mailbox.refuse["full@example.com"] = "452 4.2.2 mailbox full"
    life.put()
    await life.minutes(15)
    assert not life.open()
    await life.minutes(3)
    assert life.open() == ["addresses:owner"]
    mailbox.refuse.clear()
    await life.minutes(3)
    assert not life.open()
    assert len(posted(slack)) == 2


async def _wait_without_workers(life: Life) -> None:
    """Let an alert wait for 17 minutes in which nothing is sent."""
    life.put()
    await life.runtime.poller.round(life.config.sites[0])
    for _ in range(17):
        life.clock.advance(minutes=1)
        await life.runtime.housekeeping.round()


async def test_messages_that_wait_without_a_reason_are_trouble(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    """A fault of alerter itself in a worker, say."""
    await _wait_without_workers(life)
    assert life.open() == ["destination:email:owner", "destination:slack:support"]
    await life.minutes(2)
    assert not life.open()


async def test_alerts_that_wait_for_wix_after_a_restore_are_trouble_of_its_site(
    life: Life, wix: EmbeddedWix, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    life.put()
    await life.runtime.poller.round(life.config.sites[0])
    life.state.execute("UPDATE sites SET unverified = TRUE")
    wix.sites[SITE].refuse = 503
    seen: set[str] = set()
    for _ in range(120):
        await life.minute()
        seen |= set(life.open())
    assert seen == {f"site:{SITE}"}
    wix.sites[SITE].refuse = None
    await life.minutes(2)
    assert not life.open()
    assert len(mailed(mailbox)) == len(posted(slack)) == 2
    assert "Title 1" in str([post.blocks for post in slack.posts])


async def test_a_backlog_that_moves_is_no_trouble(life: Life) -> None:
    life.put(40)
    await life.runtime.poller.round(life.config.sites[0])
    for _ in range(40):
        life.clock.advance(minutes=1)
        await life.runtime.housekeeping.round()
        await life.runtime.dispatcher._workers["email:owner"]._careful_step()
        await life.runtime.dispatcher._workers["slack:support"]._careful_step()
    assert not life.open()


async def test_a_receiver_is_in_trouble_until_its_service_accepts_us_again(
    life: Life, mailbox: Mailbox
) -> None:
    await _wait_without_workers(life)
    assert "destination:email:owner" in life.open()
    mailbox.password = "another"
    await life.minutes(30)
    assert life.open() == ["destination:email:owner", "service:smtp"]
    mailbox.password = SECRETS["SMTP_PASSWORD"]
    await life.minutes(62)
    assert not life.open()


async def test_a_failure_whose_message_is_gone_is_looked_at_until_it_works(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.down = True
    life.put()
    await life.minutes(20)
    assert life.open() == ["destination:email:owner"]
    life.wix.reply(SITE, "r1", "Sorry!")
    life.clock.advance(hours=1)
    await life.minutes(20)
    assert life.open() == ["destination:email:owner"]
    mailbox.down = False
    await life.minutes(6)
    assert not life.open()


# Who is notified


async def test_a_fault_of_a_service_is_one_trouble_however_many_receivers_it_has(
    begin: Begin, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    many = "".join(
        f'[[receivers]]\nname = "r{n}"\nemail = ["r{n}@example.com"]\n' for n in range(3)
    )
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    life = await begin(receivers=many + team)
    mailbox.down = True
    life.put()
    await life.minutes(40)
    assert life.open() == ["service:smtp"]
    mailbox.down = False
    await life.minutes(3)
    assert not life.open()
    assert len(posted(slack)) == 2


async def test_others_are_notified_where_those_who_were_cannot_be_reached(
    begin: Begin, wix: EmbeddedWix, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    marked = f'[[receivers]]\nname = "admin"\nemail = ["{OWNER}"]\ntrouble = true\n'
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    life = await begin(receivers=marked + team)
    mailbox.down = True
    wix.sites[SITE].refuse = 401
    await life.minutes(5)
    assert not posted(slack)
    await life.minutes(15)
    assert sum("cannot be read" in text for text in posted(slack)) == 1
    assert sum("cannot be reached" in text for text in posted(slack)) == 1


async def test_an_end_that_comes_late_is_followed_by_the_trouble_that_lasts(
    life: Life, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    site = wix.sites[SITE]
    site.refuse = 401
    await life.minute()
    slack.channels[CHANNEL].archived = True
    site.refuse = None
    await life.minutes(90)
    site.refuse = 401
    await life.minutes(10)
    slack.channels[CHANNEL].archived = False
    await life.minutes(61)
    begun, over, again = posted(slack)
    assert "cannot be read" in begun
    assert "can be read again" in over
    assert again == begun
    site.refuse = None
    await life.minute()
    assert "can be read again" in posted(slack)[-1]


def test_who_cannot_be_reached_is_passed_over(config: Config) -> None:
    def names(*unreachable: str) -> list[str]:
        return recipients_for(f"site:{SITE}", config, unreachable)

    assert names() == ["email:owner", "slack:support"]
    assert names("email:owner") == ["slack:support"]
    assert names("email:owner", "slack:support") == ["email:owner", "slack:support"]


# One pair an hour


async def test_a_site_that_refuses_every_other_round_is_one_pair_an_hour(
    life: Life, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for _ in range(60):
        wix.faults.add(QUERY, Fault(status=401, body='{"message": "no"}'))
        await life.minutes(2)
    assert len(mailed(mailbox)) <= 4
    await life.minutes(120)
    assert not life.open()
    assert mailed(mailbox)[-1].startswith("🟢")
    assert sum(subject.startswith("🟢") for subject in mailed(mailbox)) == len(mailed(mailbox)) / 2


async def test_a_fault_that_comes_back_is_notified_once_it_lasts(
    life: Life, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    site = wix.sites[SITE]
    site.refuse = 401
    await life.minute()
    site.refuse = None
    await life.minute()
    assert len(mailed(mailbox)) == 2
    site.refuse = 401
    await life.minutes(14)
    assert len(mailed(mailbox)) == 2
    assert life.open() == [f"site:{SITE}"]
    assert life.needs_a_person()
    await life.minutes(3)
    assert len(mailed(mailbox)) == 3
    site.refuse = None
    await life.minutes(30)
    assert len(mailed(mailbox)) == 3
    [shown] = status.get_status(life.config, life.state, life.clock.now()).troubles
    assert shown.over_at is not None
    await life.minutes(15)
    assert len(mailed(mailbox)) == 4
    assert not life.open()


async def test_trouble_with_a_refused_mail_names_no_alert_of_another_customer(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.always_reply = "554 5.7.1 content rejected"
    life.put()
    await life.minutes(5)
    [post] = [post for post in slack.posts if "refused for good" in post.text]
    assert "content rejected" in f"{post.text} {post.blocks}"
    assert SITE not in f"{post.text} {post.blocks}"


async def test_sixty_refused_mails_are_one_trouble_which_a_retry_ends(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    mailbox.always_reply = "554 5.7.1 content rejected"
    life.put(60)
    await life.minutes(5)
    assert life.open() == ["message:email:owner"]
    assert sum("refused for good" in text for text in posted(slack)) == 1
    assert life.needs_a_person()
    mailbox.always_reply = None
    assert outbox.requeue(life.state)[0] == 60
    assert life.open() == ["message:email:owner"]
    await life.minutes(3)
    assert not life.open()
    assert sum(text.startswith("🟢 No refused alert") for text in posted(slack)) == 1


# What ends with its cause


async def test_an_update_that_a_token_is_refused_parks_nothing_and_is_made_later(
    life: Life, slack: EmbeddedSlack
) -> None:
    life.put()
    await life.minutes(2)
    token = slack.tokens[SECRETS["SLACK_BOT_TOKEN"]]
    token.revoked = True
    life.wix.reply(SITE, "r1", "Sorry!")
    life.clock.advance(hours=1)
    await life.minutes(2)
    assert not life.open()
    assert slack.posts[0].edits == []
    token.revoked = False
    await life.minutes(10)
    assert len(slack.posts[0].edits) == 1


@pytest.mark.parametrize("by", ["restart", "check", "an hour"])
async def test_trouble_with_an_address_ends_when_it_is_corrected(
    begin: Begin, mailbox: Mailbox, slack: EmbeddedSlack, by: str
) -> None:
    both = f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}", "typo@example.com"]\n'
    team = f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n'
    life = await begin(receivers=both + team)
    mailbox.refuse["typo@example.com"] = "550 5.1.1 no such user"
    life.put()
    await life.minutes(2)
    assert life.open() == ["addresses:owner"]
    assert status.get_status(life.config, life.state, life.clock.now()).parked == []
    mailbox.refuse.clear()
    if by == "restart":
        life = await begin(receivers=both.replace("typo", "right") + team)
        await life.minute()
    elif by == "check":
        async with (
            open_wix(life.config, life.clock) as wix,
            open_destinations(life.config, life.clock) as destinations,
        ):
            await check.check_services(life.config, life.clock, wix, destinations)
    else:
        await life.minutes(61)
    assert not life.open()


# Unforeseen faults


class _Broken(Summaries):
    """Summaries with a fault of their own, until it is mended."""

    def __init__(self) -> None:
        self.divisor = 0

    async def round(self) -> None:
        self.divisor = 1 // self.divisor


async def test_a_job_that_fails_is_trouble_and_keeps_no_other_from_being_done(
    life: Life, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    summaries, dispatcher = _Broken(), life.runtime.dispatcher
    jobs = Housekeeping(
        life.state,
        life.config,
        life.clock,
        summaries,
        dispatcher.troubles,
        dispatcher.state_failure,
    )
    mailbox.down = True
    life.put()
    life.runtime = replace(life.runtime, housekeeping=jobs)
    await life.minutes(18)
    assert life.open() == ["job:summaries", "destination:email:owner"]
    assert len([record for record in caplog.records if record.exc_info]) == 1
    summaries.divisor = 1
    await life.minute()
    assert life.open() == ["destination:email:owner"]


async def test_a_check_names_the_site_of_an_unforeseen_fault(
    config: Config, clock: SetClock
) -> None:
    class Odd(WixClient):
        async def probe(self, site: Site, *, private: bool) -> None:
            raise OverflowError

    async with open_destinations(config, clock) as destinations:
        findings = await check.check_services(
            config, clock, Odd("http://127.0.0.1:1", clock), destinations
        )
    bad = [finding for finding in findings if not finding.ok]
    assert [finding.subject for finding in bad] == ["site Corner Bakery"]
    assert "OverflowError" in bad[0].text


# The rules


T0 = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_of_several_failing_receivers_the_service_is_at_fault() -> None:
    blocks = [
        Block("destination:email:a", T0, T0, parked=False, reason="refused"),
        Block("destination:email:b", T0 + 14 * MINUTE, T0, parked=False, reason="refused"),
        Block("destination:email:c", T0, T0, parked=True, reason="unknown"),
    ]
    services = dict.fromkeys(
        ("destination:email:a", "destination:email:b", "destination:email:c"), "smtp"
    )

    assert lasting(blocks, services, [], T0 + 14 * MINUTE, AFTER).keys() == {"destination:email:c"}
    assert lasting(blocks, services, [], T0 + AFTER, AFTER).keys() == {
        "destination:email:c",
        "service:smtp",
    }
    assert lasting(blocks[:1], services, [], T0 + AFTER, AFTER).keys() == {"destination:email:a"}
    assert lasting(blocks[:1], services, ["service:smtp"], T0 + AFTER, AFTER).keys() == {
        "service:smtp"
    }
    assert lasting(blocks[:2], services, ["destination:email:a"], T0 + HOUR, AFTER).keys() == {
        "destination:email:a",
        "service:smtp",
    }


def test_a_wait_of_a_site_counts_only_while_it_holds() -> None:
    blocks = [Block("site:1", T0, T0 + HOUR, parked=False, reason="503")]

    assert lasting(blocks, {}, [], T0 + AFTER, AFTER) == {"site:1": ("503", T0)}
    assert lasting(blocks, {}, [], T0 + HOUR, AFTER) == {}


def test_trouble_of_an_older_state_file_has_been_notified(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(Database(path)) as db:
        migrations.apply(db, stop_before="what_was_notified_of_trouble")
        db.execute("INSERT INTO troubles (scope, since, reason) VALUES ('site:1', 1000, '401')")
        db.conn.commit()
    with State.open(path, migrate=True) as state:
        [trouble] = troubles.get_open_troubles(state)
    assert trouble.notified_at == trouble.since


def test_a_clock_that_was_set_back_makes_no_trouble_wait() -> None:
    known = Trouble("site:1", T0, "503", over_at=T0, recovered_at=T0)
    earlier = T0 - 24 * HOUR

    assert is_to_be_notified(begun(known, "site:1", "503", earlier), None, earlier, AFTER)
    assert not is_to_be_notified(
        begun(known, "site:1", "503", T0 + MINUTE), None, T0 + MINUTE, AFTER
    )
