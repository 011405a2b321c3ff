"""What users of such tools suffer from: docs/reliability.md has the list, and here are those
without another room.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alerter.cli import main
from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from tests.support.values import CHANNEL, SECRETS, SITE

TESTS = Path(__file__).parents[1]
Round = Callable[[], Any]


def stale(number: int, rating: int = 1) -> dict[str, Any]:
    return {"content": {"rating": rating, "title": f"Stale {number:04}.", "body": "hard as stone"}}


def told(text: str) -> set[str]:
    return set(re.findall(r"Stale \d{4}\.", text))


def test_every_symptom_has_tests_and_every_test_that_is_named_exists() -> None:
    text = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
    rows = [line.split("|")[1:-1] for line in text.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(number) for number, *_ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 30
    there = {
        name
        for file in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text("utf-8"))
    }
    named = {symptom.strip(): set(re.findall(r"`(test_\w+)`", held)) for _, symptom, held in rows}
    assert [symptom for symptom, names in named.items() if not names] == []
    assert set().union(*named.values()) - there == set()


async def test_a_mail_server_that_dies_before_the_mail_gets_it_once_it_is_back(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    wix.add(SITE, stale(1))
    await mailbox.pause()
    assert not await serve(config, Clock(), {}, once=True)
    assert len(slack.posts) == 1
    await mailbox.resume()
    until_delivered = [await serve(config, Clock(), {}, once=True) for _ in range(2)]
    while not until_delivered[-1]:
        until_delivered.append(await serve(config, Clock(), {}, once=True))
    assert [told(mail.text) for mail in mailbox.mails] == [{"Stale 0001."}]
    assert len(slack.posts) == 1


def test_a_test_that_was_refused_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    path = tmp_path / "config.toml"
    path.write_text(f"""
state = "state.db"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[slack]
token = "env:SLACK_BOT_TOKEN"
base_url = "http://127.0.0.1:9/api/"
[[receivers]]
name = "support"
slack = "{CHANNEL}"
""")
    result = CliRunner().invoke(main, ["test", "--config", str(path)])
    assert result.exit_code == 1
    assert "FAIL  receiver support: slack: Slack cannot be reached" in result.output


async def test_ten_restarts_repeat_nothing(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    wix.add(SITE, stale(1))
    for _ in range(10):
        assert await serve(config, Clock(), {}, once=True)
    assert len(slack.posts) == len(mailbox.mails) == 1


async def test_an_old_review_that_comes_up_again_is_not_new(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    """A page shrinks, a threshold falls and rises, a review is sorted elsewhere: what was told has
    an id.
    """
    path = write_config(wix, slack, mailbox)
    low = load_config(path, SECRETS, secrets=True)
    high = low.model_copy(update={"alerts": low.alerts.model_copy(update={"threshold": 3})})
    assert await serve(high, Clock(), {}, once=True)
    ids = [wix.add(SITE, stale(number, 1 + number % 3))["id"] for number in range(5)]
    assert await serve(high, Clock(), {}, once=True)
    assert len(slack.posts) == 5
    wix.delete(SITE, ids[4])
    for config in (low, high, low, high):
        assert await serve(config, Clock(), {}, once=True)
    wix.change(SITE, ids[0], updatedDate="2026-11-24T12:00:00.000Z", helpfulness=5)
    assert await serve(high, Clock(), {}, once=True)
    assert len([post for post in slack.posts if post.thread_ts is None]) == 5


@pytest.mark.slow
async def test_a_long_history_keeps_no_new_review_from_being_alerted(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    for number in range(3000):
        wix.add(SITE, stale(number))
    assert await serve(config, Clock(), {}, once=True)
    assert not slack.posts
    wix.add(SITE, stale(3000))
    assert await serve(config, Clock(), {}, once=True)
    assert [told(mail.text) for mail in mailbox.mails] == [{"Stale 3000."}]


async def test_a_change_of_everything_at_once_is_one_message(
    config: Config, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    ids = [wix.add(SITE, stale(number, 2))["id"] for number in range(30)]
    assert await serve(config, Clock(), {}, once=True)
    for number, review_id in enumerate(ids):
        wix.change(SITE, review_id, **stale(number, 1))
    assert await serve(config, Clock(), {}, once=True)
    assert [told(mail.text) for mail in mailbox.mails] == [
        {f"Stale {number:04}." for number in range(30)}
    ]
    assert len(slack.posts) == 1


async def test_the_lines_of_a_review_stay_lines_in_text_and_html(
    config: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    assert await serve(config, Clock(), {}, once=True)
    wix.add(SITE, {"content": {"rating": 1, "title": "Stale", "body": "First.\nSecond.\n\nThird."}})
    assert await serve(config, Clock(), {}, once=True)
    (mail,) = mailbox.mails
    assert "> First.\n> Second.\n>\n> Third." in mail.text.replace("> \n", ">\n")
    assert re.search(r"First\.\s*<br>\s*Second\.\s*<br>\s*<br>\s*Third\.", mail.html)
