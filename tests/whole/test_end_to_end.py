"""Poll → outbox → both notifiers, in one process, against the embedded services."""

import asyncio
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import freezegun
import pytest

from alerter.clock import Clock
from alerter.commands import backfill
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Grouping
from alerter.service.daemon import serve
from alerter.store import State
from tests.support.messages import words_of
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG

HOSTILE = {
    "mentions": "<!channel> <@U123> @here",
    "a link": "<https://evil.example|Click>",
    "a bare link": "see https://evil.example now",
    "markup": "*bold* _italic_ `code` ~gone~ > quote",
    "entities": "a & b &amp; c &lt;",
    "a script": "<script>alert(1)</script>",
    "a template": "{{ 7*7 }} {% raw %} {# gone? #}",
    "NULs": "a\x00b\x07c",
    "a lone surrogate": "a\ud800b",
    "many emoji": "😀" * 3000,
    "right to left": "שלום \u202eevil\u202c עולם",
    "nothing": "",
    "quotes": "\"double\" 'single' \\ back",
    "line breaks": "one\r\ntwo\n\nthree",
    "the longest": "x" * 3000,
    "escapes at the limit": "&" * 3000,
}


class _Text(HTMLParser):
    """What a person reads of HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def bad(title: str, body: str = "", rating: int = 1) -> dict[str, Any]:
    return {
        "content": {"rating": rating, "title": title, "body": body},
        "author": {"authorName": "Robin"},
    }


async def once(config: Config) -> bool:
    return await serve(config, Clock(), {}, once=True)


async def test_a_new_low_rated_review_arrives_once_on_every_receiver(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    wix.add(SITE, bad("An old one"))
    assert await once(config)
    wix.add_product(SITE, "p1", "Croissant box", "https://bakery.example/croissants")
    wix.add(SITE, bad("Stale on arrival", "Hard as stone.") | {"entityId": "p1"})
    wix.add(SITE, bad("Lovely", rating=5))
    assert await once(config)
    assert await once(config)

    assert [mail.subject for mail in mailbox.mails] == [
        "★☆☆☆☆ Croissant box: ‘Stale on arrival’ (Corner Bakery)"
    ]
    assert [post.text.splitlines()[0] for post in slack.posts] == [mailbox.mails[0].subject]
    assert "Hard as stone." in mailbox.mails[0].text
    assert f"https://manage.wix.com/dashboard/{SITE}/reviews/pending" in mailbox.mails[0].text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_text_arrives_as_text_once_on_both_receivers(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox, text: str
) -> None:
    assert await once(config)
    wix.add(SITE, bad(f"{text}\r\nBcc: victim@example.com", text))
    assert await once(config)

    (mail,), (post,) = mailbox.mails, slack.posts
    cleaned = (
        text.replace("\x00", "").replace("\x07", "").replace("\ud800", "�").replace("\r\n", "\n")
    )
    cleaned = cleaned.replace("\u202e", "").replace("\u202c", "")
    page = _Text()
    page.feed(mail.html)
    assert cleaned.strip() in page.text
    assert "".join(cleaned.split()) in "".join(mail.text.replace("\n> ", "\n").split())
    assert all(f"\n> {line}"[:30] in mail.text for line in cleaned.strip().split("\n") if line)
    assert "script" not in page.tags
    assert mail.message["Bcc"] is None
    assert mail.recipients == ("owner@example.com",)
    assert cleaned.strip()[:900] in words_of(post.blocks)
    for sign in ("<!", "<@", "<http", "<script"):
        assert sign not in post.text
    assert not any(call.error for call in slack.requests)


async def test_the_date_is_in_the_configured_timezone_when_clocks_change(
    config: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    assert await once(config)
    with freezegun.freeze_time("2026-03-29 01:30:00", real_asyncio=True, tick=True):
        wix.add(SITE, bad("At night"))
        assert await once(config)
    # 01:30 UTC is 03:30 in Berlin: the hour from two to three did not exist.
    assert "Sun 29\u00a0Mar, 03:30" in mailbox.mails[0].text
    assert mailbox.mails[0].message["Date"].startswith("Sun, 29 Mar 2026 01:30")


async def test_a_crash_between_fetch_and_record_loses_nothing(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await once(config)
    wix.add(SITE, bad("Stale"))
    wix.faults.add("/query", Fault(garble="truncate"))
    assert not await once(config)
    assert not slack.posts
    assert await once(config)
    assert len(slack.posts) == len(mailbox.mails) == 1


async def test_one_receiver_down_never_holds_up_the_other(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await once(config)
    await mailbox.pause()
    wix.add(SITE, bad("Stale"))
    assert not await once(config)
    assert len(slack.posts) == 1
    await mailbox.resume()
    async with asyncio.timeout(HANG):
        while not await once(config):  # the mail is due again within two seconds
            await asyncio.sleep(0.1)
    assert (len(slack.posts), len(mailbox.mails)) == (1, 1)


async def test_a_backfill_alerts_the_baseline_in_digests_and_only_once(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    for number in range(120):
        wix.add(
            SITE,
            bad(f"Review {number:03}")
            | {"createdDate": f"2026-01-{1 + number % 28:02}T12:00:00.000Z"},
        )
    answered = wix.add(SITE, bad("Answered") | {"createdDate": "2026-01-05T12:00:00.000Z"})
    wix.reply(SITE, answered["id"], "Sorry!")
    assert await once(config)

    past = backfill.BackfillRequest(config.sites, Clock().now().replace(year=2020), None)
    assert await backfill.run(config, Clock(), past, Grouping.DIGEST)
    assert [mail.subject for mail in mailbox.mails] == ["120 low-rated reviews (Corner Bakery)"]
    assert len(slack.posts) <= 4
    told = "".join(words_of(post.blocks) for post in slack.posts)
    for number in range(120):
        assert told.count(f"Review {number:03}") == 1
        assert mailbox.mails[0].text.count(f"Review {number:03}") == 1
    assert "Answered" not in told

    posts = len(slack.posts)
    assert await backfill.run(config, Clock(), past, Grouping.DIGEST)
    assert await once(config)
    assert (len(slack.posts), len(mailbox.mails)) == (posts, 1)


async def test_what_waited_for_a_removed_receiver_goes_to_the_new_one(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load_config(write_config(wix, slack, mailbox), SECRETS, secrets=True)
    assert await once(config)
    slack.channels["C0123456789"].archived = True
    wix.add(SITE, bad("Stale"))
    await once(config)

    path = write_config(
        wix, slack, mailbox, receivers='[[receivers]]\nname = "boss"\nemail = ["boss@example.com"]'
    )
    renamed = load_config(path, SECRETS, secrets=True)
    caplog.set_level("INFO", "alerter.service")
    assert await once(renamed)
    assert (
        "support (Slack) may not get them any more by this config: deliveries cancelled=1"
        in caplog.text
    )
    with State.open(config.database, migrate=False) as state:
        left = state.rows("SELECT destination, status FROM deliveries ORDER BY destination")
    assert {"destination": "slack:support", "status": "cancelled"} in left
    assert {"destination": "email:owner", "status": "sent"} in left
    assert not any(row["status"] == "pending" for row in left)
