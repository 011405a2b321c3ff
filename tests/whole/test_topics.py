"""A review with a topic, from Wix to a mail, to Slack, and to the summary of its week."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

IDLE = tuple(IdleReason)
TEAM = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]
language = "de"
topics = ["delivery"]

[[receivers]]
name = "team"
slack = "{CHANNEL}"

[[summaries]]
name = "Daily"
at = "09:00"
receivers = ["owner"]

[alerts]
topics_up_to = 3
"""


async def once(config: Config, state: State, clock: SetClock) -> None:
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        await runtime.summaries.round()
        for _ in range(4):  # Slack takes a message a second
            await runtime.dispatcher.run(IDLE)
            clock.advance(seconds=2)


async def test_a_topic_from_wix_to_its_messages_and_the_summary(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
) -> None:
    config = load_config(write_config(wix, slack, mailbox, receivers=TEAM), SECRETS, secrets=True)
    await once(config, state, clock)

    def put(name: str, rating: int, body: str) -> None:
        content: dict[str, Any] = {"rating": rating, "body": body}
        wix.add(SITE, {"id": name, "createdDate": stamp(clock.now()), "content": content})

    put("spaet", 3, "Die Lieferung kam viel zu spät.")
    put("late", 2, "Arrived late")
    put("schmutzig", 1, "Alles schmutzig")
    put("gut", 3, "Ganz gut")
    clock.advance(minutes=1)
    await once(config, state, clock)

    assert sorted("Themen: Lieferung" in mail.text for mail in mailbox.mails) == [True, True]
    posts = [json.dumps(post.blocks, ensure_ascii=False) for post in slack.posts]
    assert len(posts) == 3
    assert sum('"Delivery"' in each for each in posts) == 2
    assert sum('"Hygiene"' in each for each in posts) == 1

    clock.advance(hours=23)
    await once(config, state, clock)
    summary = mailbox.mails[-1].text
    assert "Nach Thema" in summary
    assert "Lieferung  2 (davor: 0)" in summary
