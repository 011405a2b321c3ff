"""What commands say of topics: `explain`, `check`, and a dry run of `backfill`."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.commands import explain
from alerter.commands.backfill import BackfillRequest, dry_run
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.service.runtime import open_runtime
from alerter.store import State, report
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

TWO = f"""
[[receivers]]
name = "kitchen"
email = ["{OWNER}"]
topics = ["hygiene"]

[[receivers]]
name = "all"
slack = "{CHANNEL}"
"""
BY_TOPIC = "[alerts]\ntopics_up_to = 3\n"
OWN = '[[topics]]\nname = "mess"\nwords = ["glitter"]\n'

Load = Callable[[str], Config]


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    def load(extra: str) -> Config:
        path = write_config(wix, slack, mailbox, receivers=TWO, extra=extra)
        return load_config(path, SECRETS, secrets=True)

    return load


def put(wix: EmbeddedWix, clock: SetClock, name: str, rating: int, body: str) -> None:
    content: dict[str, Any] = {"rating": rating, "body": body}
    created = stamp(clock.now())
    wix.add(SITE, {"id": name, "createdDate": created, "content": content, "entityId": None})


async def poll(config: Config, clock: SetClock) -> None:
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, clock) as runtime:
            assert await runtime.poller.round(config.sites[0])


def explained(config: Config, clock: SetClock, review_id: str) -> list[str]:
    with State.read(config.database) as state:
        found = explain.get_explanations(config, state, config.sites, review_id, clock.now())
    return explain.phrase_explanations(config, found, clock.now()).splitlines()


async def test_explain_names_the_topics_with_the_words_that_were_found(
    load: Load, wix: EmbeddedWix, clock: SetClock
) -> None:
    config = load(BY_TOPIC + OWN)
    await poll(config, clock)
    put(wix, clock, "r1", 3, "It came late, and glitter on a filthy table. \x1b[31mRed")
    put(wix, clock, "r2", 1, "Meh.")
    clock.advance(minutes=1)
    await poll(config, clock)
    lines = explained(config, clock, "r1")
    assert "topics: delivery (came late), hygiene (filthy), mess (glitter)" in lines
    assert not [line for line in lines if "kitchen" in line and "because of" in line]
    lines = explained(config, clock, "r2")
    assert not [line for line in lines if line.startswith("topics")]
    assert "by this config, kitchen does not get it because of its topics" in lines


async def test_explain_names_topics_that_only_earlier_words_had(
    load: Load, wix: EmbeddedWix, clock: SetClock
) -> None:
    config = load(BY_TOPIC)
    await poll(config, clock)
    put(wix, clock, "r1", 3, "It came late")
    clock.advance(minutes=1)
    await poll(config, clock)
    wix.change(SITE, "r1", content={"rating": 3, "body": "Fine"})
    clock.advance(hours=2)
    await poll(config, clock)
    said = "topics that were found earlier, in other words or by other lists: delivery"
    assert said in explained(config, clock, "r1")


async def test_explain_says_that_a_review_off_the_record_may_have_no_topic(
    load: Load, clock: SetClock
) -> None:
    config = load(BY_TOPIC)
    await poll(config, clock)
    with State.read(config.database) as state:
        reports = report.site_reports(state)
    lines = explain.phrase_not_on_record(config, reports, config.sites, "r9").splitlines()
    assert lines[1] == (
        "- it is rated higher than ★★☆☆☆, the threshold of Corner Bakery,"
        " and has no topic or more than ★★★☆☆"
    )


async def test_a_dry_run_lists_what_has_a_topic(
    load: Load, wix: EmbeddedWix, clock: SetClock
) -> None:
    put(wix, clock, "late", 3, "It came late")
    put(wix, clock, "fine", 3, "Fine")
    put(wix, clock, "two", 2, "Fine")
    for extra, listed in ((BY_TOPIC, ["late", "two"]), ("", ["two"])):
        config = load(extra)
        with State.open(config.database, migrate=True):
            pass
        request = BackfillRequest(config.sites, clock.now() - timedelta(days=1), None)
        [found] = (await dry_run(config, clock, request)).values()
        assert sorted(each.review.id for each in found) == listed
