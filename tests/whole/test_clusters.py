"""A cluster from Wix to mail and Slack, while it grows and shrinks."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.values import SECRETS, SITE

IDLE = (IdleReason.NOTHING_DUE, IdleReason.PACE, IdleReason.SETTLING)
CLUSTER = '[alerts]\ncluster = {count = 3, within = "7d"}\nburst = 2\n'


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    return load_config(write_config(wix, slack, mailbox, extra=CLUSTER), SECRETS, secrets=True)


def put(wix: EmbeddedWix, clock: SetClock, review_id: str, **more: Any) -> None:
    content = {"rating": 1, "title": f"Title of {review_id}", "body": "Hair in it."}
    review = {"id": review_id, "createdDate": stamp(clock.now()), "content": content}
    wix.add(SITE, review | {"entityId": "cake", "namespace": "stores"} | more)


async def once(config: Config, clock: SetClock) -> None:
    """A round of the site, then all that is due."""
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            for site in config.sites:
                await runtime.poller.round(site)
            for _ in range(20):
                clock.advance(seconds=2)
                await runtime.dispatcher.run(IDLE)


def clusters(slack: EmbeddedSlack) -> list[str]:
    """What the messages about clusters say on Slack now."""
    texts = [json.dumps(post.blocks, ensure_ascii=False) for post in slack.posts]
    return [text for text in texts if "in a short time" in text]


async def test_a_cluster_is_one_message_that_changes_with_its_reviews(
    config: Config, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    clock.step(days=-180)
    put(wix, clock, "old")
    await once(config, clock)
    clock.step(days=180)
    for number in range(1, 5):
        put(wix, clock, f"r{number}")
    await once(config, clock)

    [text] = clusters(slack)
    assert all(f"Title of r{number}" in text for number in range(1, 5))
    mails = [mail for mail in mailbox.mails if "in a short time" in mail.subject]
    assert len(mails) == 1
    assert all(f"Title of r{number}" in mails[0].text for number in range(1, 5))
    digests = [mail for mail in mailbox.mails if "4 low-rated reviews (" in mail.subject]
    assert len(digests) == 1  # of their own alerts, as burst is 2

    put(wix, clock, "r5")
    clock.advance(minutes=5)
    await once(config, clock)
    [text] = clusters(slack)
    assert "5 low-rated reviews" in text
    assert "Title of r5" in text
    assert len([mail for mail in mailbox.mails if "in a short time" in mail.subject]) == 1

    wix.delete(SITE, "r1")
    clock.advance(hours=3)
    await once(config, clock)
    [text] = clusters(slack)
    assert "Title of r1" not in text
    assert "1 of them is not there any more." in text
