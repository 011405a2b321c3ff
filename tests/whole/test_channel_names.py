"""A receiver by email and on Slack, whose channel stands in the config by its name, end to end."""

from alerter.commands.check import check_services
from alerter.config import Config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.models import Finding
from alerter.service.destinations import open_recorded_destinations
from alerter.service.runtime import open_wix
from tests.support.clock import SetClock
from tests.support.life import AFTER, MINUTE, Begin, begin, mailed, slack, wix
from tests.support.values import CHANNEL, OWNER, SECRETS

__all__ = ["begin", "slack", "wix"]

LIST = "conversations.list"
TEAM = f"""
[[receivers]]
name = "team"
email = ["{OWNER}"]
slack = "#reviews"
"""


def rooms(slack: EmbeddedSlack) -> list[str]:
    return [post.channel for post in slack.posts]


def lists(slack: EmbeddedSlack) -> int:
    return sum(call.method == LIST for call in slack.requests)


async def findings(config: Config, clock: SetClock) -> list[Finding]:
    async with (
        open_wix(config, clock) as wix_client,
        open_recorded_destinations(config, clock) as destinations,
    ):
        found = await check_services(config, clock, wix_client, destinations)
    return [finding for finding in found if finding.text.startswith("slack:")]


async def test_a_name_is_looked_up_at_the_start_and_gets_alerts_beside_the_mail(
    begin: Begin, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    life = await begin(TEAM)
    assert lists(slack) == 1
    life.put(2)
    await life.minutes(2)
    assert rooms(slack) == [CHANNEL, CHANNEL]
    assert [mail.recipients for mail in mailbox.mails] == [(OWNER,), (OWNER,)]
    assert (lists(slack), life.open()) == (1, [])


async def test_a_renamed_channel_gets_its_alerts_before_and_after_a_restart(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    life = await begin(TEAM)
    slack.channels[CHANNEL].name = "feedback"
    life.put()
    await life.minute()
    assert rooms(slack) == [CHANNEL]

    life = await begin(TEAM)
    life.number = 1
    life.put()
    await life.minute()
    assert (rooms(slack), life.open()) == ([CHANNEL, CHANNEL], [])


async def test_a_channel_that_takes_the_name_is_used_from_the_next_start_on(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    await begin(TEAM)
    slack.channels[CHANNEL].name = "reviews-old"
    slack.add_channel("C0000000009", "reviews")
    life = await begin(TEAM)
    life.put()
    await life.minute()
    assert rooms(slack) == ["C0000000009"]


async def test_a_start_while_slack_is_down_loses_nothing(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    slack.faults.always("", Fault(status=503))
    life = await begin(TEAM)
    life.put()
    await life.minutes(AFTER // MINUTE)
    assert life.open() == ["destination:slack:team"]
    slack.faults.clear()
    await life.minutes(2)
    assert (rooms(slack), life.open()) == ([CHANNEL], [])


async def test_the_id_from_before_is_used_while_the_list_is_down(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    await begin(TEAM)
    slack.faults.always(LIST, Fault(status=503))
    life = await begin(TEAM)
    life.put()
    await life.minute()
    assert (rooms(slack), life.open()) == ([CHANNEL], [])


async def test_a_name_that_does_not_exist_is_trouble_at_the_start(
    begin: Begin, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    slack.channels[CHANNEL].name = "feedback"
    life = await begin(TEAM)
    await life.minute()
    assert life.open() == ["destination:slack:team"]
    assert mailed(mailbox) == ["⚠️ Receiver team (Slack) cannot be reached"]
    assert "there is no channel #reviews that the app can see" in mailbox.mails[0].text

    life.put()
    await life.minutes(2)
    assert rooms(slack) == []
    slack.channels[CHANNEL].name = "reviews"
    await life.minutes(60)
    assert rooms(slack)[:1] == [CHANNEL]
    assert life.open() == []


async def test_a_channel_that_was_deleted_is_looked_up_again(
    begin: Begin, slack: EmbeddedSlack
) -> None:
    life = await begin(TEAM)
    del slack.channels[CHANNEL]
    life.put()
    await life.minute()
    assert life.open() == ["destination:slack:team"]
    slack.add_channel("C0000000009", "reviews")
    await life.minutes(60)
    assert "C0000000009" in rooms(slack)


async def test_check_names_the_id_of_a_channel(
    begin: Begin, slack: EmbeddedSlack, clock: SetClock
) -> None:
    config = (await begin(TEAM)).config
    assert await findings(config, clock) == [
        Finding(ok=True, subject="receiver team", text=f"slack: #reviews ({CHANNEL}) in Embedded")
    ]


async def test_check_warns_of_a_channel_that_was_renamed(
    begin: Begin, slack: EmbeddedSlack, clock: SetClock
) -> None:
    life = await begin(TEAM)
    slack.channels[CHANNEL].name = "feedback"
    [finding] = await findings(life.config, clock)
    assert (finding.ok, finding.warning) == (True, True)
    assert f"#reviews is now #feedback ({CHANNEL}), and still used" in finding.text
    life.state.execute("DELETE FROM channels")
    [finding] = await findings(life.config, clock)
    assert not finding.ok
    assert "there is no channel #reviews that the app can see" in finding.text


async def test_check_says_which_scope_a_name_needs(
    begin: Begin, slack: EmbeddedSlack, clock: SetClock
) -> None:
    life = await begin(TEAM)
    life.state.execute("DELETE FROM channels")
    slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=["chat:write", "channels:history"])
    [finding] = await findings(life.config, clock)
    assert not finding.ok
    assert "grant channels:read to the app" in finding.text
