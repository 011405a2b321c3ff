"""What a webhook gets in the life of a review, of alerter's trouble, and of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerter.cli import main
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.webhook import EmbeddedWebhook, Hook
from alerter.demo.wix import EmbeddedWix
from tests.support.clock import SetClock
from tests.support.life import AFTER, MINUTE, Begin, Life, begin, slack, wix
from tests.support.values import OWNER, SECRETS, SITE

__all__ = ["begin", "slack", "wix"]

RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]

[[receivers]]
name = "desk"
webhook = "file:hook.url"
webhook_secret = "file:hook.secret"
"""
CAKE = "00000000-0000-4000-8000-000000000001"
REMINDERS = """
[reminders]
after = ["24h"]

[[summaries]]
name = "Weekly"
at = "Mon 08:00"
receivers = ["desk"]
"""


@pytest.fixture
async def hooks(clock: SetClock) -> AsyncIterator[EmbeddedWebhook]:
    async with EmbeddedWebhook(clock=clock) as hooks:
        yield hooks


@pytest.fixture
def hook(hooks: EmbeddedWebhook, tmp_path: Path) -> Hook:
    hook = hooks.add("desk")
    (tmp_path / "hook.url").write_text(hook.url)
    (tmp_path / "hook.secret").write_text(hook.secret)
    return hook


@pytest.fixture
async def life(begin: Begin, hook: Hook) -> Life:
    return await begin(receivers=RECEIVERS, extra=REMINDERS)


def types(hook: Hook) -> list[str]:
    return [event.type for event in hook.events]


async def test_a_review_is_new_lowered_reminded_of_and_closed(
    life: Life, wix: EmbeddedWix, hook: Hook
) -> None:
    wix.add(SITE, {"id": "r1", "content": {"rating": 2, "title": "So so", "body": "1 < 2 & *3*"}})
    await life.minute()
    wix.change(SITE, "r1", content={"rating": 1, "title": "Bad"})
    await life.minutes(2)
    life.clock.advance(hours=24)
    await life.minutes(2)
    wix.reply(SITE, "r1", "Sorry")
    await life.minutes(61)

    assert types(hook) == ["review.new", "review.lowered", "review.reminder", "review.closed"]
    new, lowered, reminder, closed = (event.body["data"] for event in hook.events)
    assert (new["review"]["title"], new["review"]["body"]) == ("So so", "1 < 2 & *3*")
    assert new["site"] == {"id": SITE, "name": "Corner Bakery"}
    assert (lowered["before"]["rating"], lowered["review"]["rating"]) == (2, 1)
    assert reminder["reminder"]["after"] == 86400
    assert (closed["review"]["closed"], closed["review"]["reply"]["body"]) == ("answered", "Sorry")
    assert {event.body["data"]["review"]["id"] for event in hook.events} == {"r1"}


async def test_what_was_never_sent_is_not_closed(life: Life, wix: EmbeddedWix, hook: Hook) -> None:
    hook.gone = True
    life.put()
    await life.minute()
    wix.reply(SITE, "r1", "Sorry")
    await life.minutes(61)
    hook.gone = False
    await life.minutes(61)

    assert "review.closed" not in types(hook)
    assert "review.new" not in types(hook)


async def test_trouble_reaches_a_webhook_and_trouble_of_a_webhook_the_others(
    life: Life, wix: EmbeddedWix, hook: Hook, mailbox: Mailbox
) -> None:
    wix.faults.always("/query", Fault(status=503))
    await life.minutes(AFTER // MINUTE + 2)
    wix.faults.clear()
    await life.minutes(20)
    assert types(hook) == ["trouble", "recovered"]
    trouble, recovered = (event.body["data"]["trouble"] for event in hook.events)
    assert (trouble["kind"], trouble["until"]) == ("site", None)
    assert recovered["until"] > recovered["since"] == trouble["since"]

    mailbox.mails.clear()
    hook.gone = True
    life.put()
    await life.minutes(2)
    assert [mail.subject for mail in mailbox.mails if "desk" in mail.subject] == [
        "⚠️ Receiver desk (webhook) cannot be reached"
    ]
    assert life.needs_a_person()
    hook.gone = False
    await life.minutes(62)
    assert types(hook) == ["trouble", "recovered", "review.new"]
    assert not life.needs_a_person()


@pytest.mark.parametrize(
    ("fault", "began", "over"),
    [
        (
            Fault(status=429, headers={"Retry-After": "7200"}),
            "⚠️ Desk (webhook) does not take messages now",
            "🟢 desk (webhook) takes messages again",
        ),
        (
            Fault(status=503),
            "⚠️ Receiver desk (webhook) cannot be reached",
            "🟢 Receiver desk (webhook) can be reached again",
        ),
    ],
)
async def test_an_address_that_fails_for_long_is_one_trouble(
    life: Life,
    hooks: EmbeddedWebhook,
    hook: Hook,
    mailbox: Mailbox,
    fault: Fault,
    began: str,
    over: str,
) -> None:
    hooks.faults.always("/desk", fault)
    life.put(3)
    await life.minutes(AFTER // MINUTE + 3)
    troubles = [mail.subject for mail in mailbox.mails if "desk" in mail.subject.lower()]
    assert [subject.partition(",")[0] for subject in troubles] == [began]
    hooks.faults.clear()
    await life.minutes(125)

    assert [event.review["id"] for event in hook.events] == ["r1", "r2", "r3"]
    told = [mail.subject for mail in mailbox.mails if "desk" in mail.subject.lower()]
    assert [subject.partition(",")[0] for subject in told] == [began, over]
    assert life.open() == []


async def test_a_summary_reaches_a_webhook(life: Life, hook: Hook) -> None:
    life.put(2)
    await life.minute()
    life.clock.advance(days=6)
    await life.minutes(3)

    assert types(hook)[-1] == "summary"
    (site,) = hook.events[-1].body["data"]["summary"]["sites"]
    assert (site["name"], site["low_rated"], site["open"]) == ("Corner Bakery", 2, 2)


async def test_a_cluster_reaches_a_webhook_with_all_its_reviews(
    begin: Begin, wix: EmbeddedWix, hook: Hook, clock: SetClock
) -> None:
    old = (clock.now() - timedelta(days=200)).isoformat()
    wix.add(SITE, {"id": "old", "entityId": CAKE, "createdDate": old, "content": {"rating": 1}})
    extra = '[alerts]\ncluster = {count = 3, within = "7d"}'
    life = await begin(receivers=RECEIVERS, extra=extra)
    for number in range(3):
        content = {"rating": 1, "title": f"Bad {number}"}
        wix.add(SITE, {"id": f"r{number}", "entityId": CAKE, "content": content})
    await life.minutes(2)

    (cluster,) = [event.body["data"] for event in hook.events if event.type == "cluster"]
    assert [each["title"] for each in cluster["reviews"]] == ["Bad 0", "Bad 1", "Bad 2"]
    assert (cluster["site"]["name"], cluster["cluster"]["number"]) == ("Corner Bakery", 3)
    assert cluster["cluster"]["product"]["id"] == CAKE


async def test_check_tries_nothing_and_explain_has_the_id(
    life: Life, hook: Hook, tmp_path: Path
) -> None:
    async def output(*command: str) -> str:
        arguments = [*command, "--config", str(tmp_path / "config.toml")]
        return (await asyncio.to_thread(CliRunner().invoke, main, arguments, env=SECRETS)).output

    life.put()
    await life.minute()
    assert f"accepted as {hook.events[0].id}" in await output("explain", "r1")
    hook.gone = True
    life.put()
    await life.minute()
    checked = await output("check")
    assert "warn  receiver desk: its address is not tried here: `alerter test` sends" in checked
    assert "warn  destination:webhook:desk: is parked; its next message tries it" in checked
    assert life.open() == ["destination:webhook:desk"]
    hook.gone = False
    await life.minute()
    assert [event.review["id"] for event in hook.events] == ["r1", "r2"]
    assert life.open() == []
