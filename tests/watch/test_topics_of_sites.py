"""Reviews above the threshold that have a topic: read, alerted, followed and closed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Event, Grouping
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State, prune, reviews
from alerter.watch.rerouting import reroute
from alerter.watch.topics import topics_of
from tests.support.clock import SetClock
from tests.support.life import wix
from tests.support.poll import NOON, deliveries, keys, put, said, statuses
from tests.support.reviews import review
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

__all__ = ["wix"]
LATE, FINE = "It arrived late.", "It was fine, I think."
UP_TO_3 = "[alerts]\ntopics_up_to = 3"


class Shop:
    """One site that is watched by a config which changes."""

    def __init__(
        self,
        write: Callable[..., Any],
        services: tuple[EmbeddedWix, EmbeddedSlack, Mailbox],
        state: State,
        clock: SetClock,
    ) -> None:
        self._write = write
        self._services = services
        self.wix = services[0]
        self.state = state
        self.clock = clock

    def load(self, extra: str, receivers: str | None = None) -> Config:
        path = self._write(*self._services, extra=extra, receivers=receivers)
        return load_config(path, SECRETS, secrets=True)

    @asynccontextmanager
    async def open(
        self, extra: str = UP_TO_3, receivers: str | None = None
    ) -> AsyncIterator[Runtime]:
        config = self.load(extra, receivers)
        async with open_runtime(config, self.state, self.clock) as runtime:
            self.site = config.sites[0]
            self._runtime = runtime
            yield runtime

    async def round(self) -> None:
        assert await self._runtime.poller.round(self.site)

    async def rescan(self) -> None:
        self.clock.advance(hours=2)
        await self.round()

    def put(self, name: str, rating: int, body: str = LATE, **more: Any) -> None:
        put(self.wix, name, content={"rating": rating, "body": body}, **more)

    def edit(self, name: str, rating: int, body: str) -> None:
        self.wix.change(SITE, name, content={"rating": rating, "body": body})

    def topics(self) -> dict[str, Any]:
        rows = self.state.rows("SELECT review_id, topics FROM reviews ORDER BY review_id")
        return {row["review_id"]: json.loads(row["topics"] or "null") for row in rows}


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOON + timedelta(minutes=5))


@pytest.fixture
def shop(
    write_config: Callable[..., Any],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
) -> Shop:
    return Shop(write_config, (wix, slack, mailbox), state, clock)


async def test_a_review_above_the_threshold_is_alerted_with_a_topic_only(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("late", 3)
        shop.put("fine", 3, FINE)
        shop.put("four", 4)
        shop.put("two", 2, FINE)
        await shop.round()
    assert keys(shop.state) == ["new:late", "new:two"]
    assert shop.topics() == {"late": ["delivery"], "two": None}


async def test_without_topics_up_to_only_the_threshold_counts(shop: Shop) -> None:
    async with shop.open(""):
        await shop.round()
        shop.put("late", 3)
        shop.put("two", 2)
        await shop.round()
        queries = [json.dumps(each.body) for each in shop.wix.queries()]
        assert not [each for each in queries if '"$lte": 3' in each]
    assert keys(shop.state) == ["new:two"]
    assert shop.topics() == {"two": ["delivery"]}


async def test_topics_up_to_that_is_raised_is_silent_of_the_past(shop: Shop) -> None:
    shop.put("old-two", 2, days=-9)
    shop.put("old-three", 3, days=-9)
    shop.put("old-fine", 3, FINE, days=-9)
    async with shop.open(""):
        await shop.round()
    shop.put("three-between", 3, minutes=1)
    shop.put("two-between", 2, minutes=1)
    async with shop.open():
        await shop.round()
        await shop.rescan()
        shop.put("new-three", 3, minutes=2)
        await shop.round()
    assert keys(shop.state) == ["new:two-between", "new:new-three"]
    assert statuses(shop.state) == {"baseline": 3, "open": 2}


async def test_other_words_are_silent_of_the_past_and_watch_from_then_on(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("glitter", 3, "Glitter everywhere", hours=-1)
        shop.put("newest", 2, FINE)
        await shop.round()
    assert keys(shop.state) == ["new:newest"]
    shop.put("since-the-checkpoint", 3, "Glitter again", minutes=1)
    own = '\n[[topics]]\nname = "mess"\nwords = ["glitter"]'
    async with shop.open(UP_TO_3 + own):
        await shop.round()
        await shop.rescan()
    assert keys(shop.state) == ["new:newest", "new:since-the-checkpoint"]
    assert shop.topics()["glitter"] == ["mess"]
    assert statuses(shop.state) == {"baseline": 1, "open": 2}


async def test_other_words_change_the_topics_on_record_and_no_message(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("two", 2, "Glitter, and it came late")
        await shop.round()
    own = '\n[[topics]]\nname = "mess"\nwords = ["glitter"]'
    async with shop.open(UP_TO_3 + own):
        await shop.rescan()
    assert shop.topics() == {"two": ["delivery", "mess"]}
    assert keys(shop.state) == ["new:two"]
    assert shop.state.value("SELECT count(*) FROM messages WHERE stale > 0") == 0


async def test_a_threshold_raised_to_topics_up_to_is_silent_of_the_past(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("fine", 3, FINE)
        await shop.round()
    assert keys(shop.state) == []
    async with shop.open(UP_TO_3 + "\nthreshold = 3"):
        await shop.round()
        await shop.rescan()
        shop.put("new-fine", 3, FINE, minutes=2)
        await shop.round()
    assert keys(shop.state) == ["new:new-fine"]
    assert statuses(shop.state) == {"baseline": 1, "open": 1}


async def test_topics_up_to_that_is_removed_closes_what_it_alerted_silently(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("late", 3)
        shop.put("two", 2)
        await shop.round()
    async with shop.open(""):
        await shop.round()
    assert keys(shop.state) == ["new:late", "new:two"]
    assert statuses(shop.state) == {"closed": 1, "open": 1}
    assert shop.state.value("SELECT closing FROM reviews WHERE review_id = 'late'") is None
    async with shop.open():
        await shop.round()
        await shop.rescan()
    assert keys(shop.state) == ["new:late", "new:two"]


async def test_a_topic_that_comes_with_an_edit_is_a_new_alert(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("three", 3, FINE, hours=-3)
        shop.put("another", 2, FINE)
        await shop.round()
        shop.edit("three", 3, LATE)
        await shop.rescan()
        await shop.rescan()
    assert keys(shop.state) == ["new:another", "new:three"]
    detail = shop.state.value("SELECT detail FROM alerts WHERE review_id = 'three'")
    assert json.loads(detail) == {"late": True}


async def test_once_alerted_a_review_is_open_whatever_its_words_become(shop: Shop) -> None:
    async with shop.open() as runtime:
        await shop.round()
        shop.put("three", 3)
        await shop.round()
        shop.edit("three", 3, FINE)
        await shop.rescan()
        await shop.rescan()
        assert statuses(shop.state) == {"open": 1}
        assert shop.topics() == {"three": ["delivery"]}
        [known] = reviews.get_reviews(shop.state, SITE, ["three"]).values()
        assert known.review.body == FINE
        shop.edit("three", 3, "Stale bread")
        await shop.rescan()
        assert shop.topics() == {"three": ["taste"]}
        shop.edit("three", 2, FINE)
        await shop.rescan()
        assert shop.topics() == {"three": None}
        shop.wix.reply(SITE, "three", "Sorry!")
        await shop.rescan()
        assert runtime
    assert keys(shop.state) == ["new:three", "lowered:three:1", "closed:three:1"]
    assert statuses(shop.state) == {"closed": 1}


async def test_a_raised_review_stays_open_with_a_topic_and_closes_without(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("late", 2)
        shop.put("fine", 2, FINE)
        await shop.round()
        shop.edit("late", 3, LATE)
        shop.edit("fine", 3, FINE)
        await shop.rescan()
        assert keys(shop.state)[2:] == ["closed:fine:1"]
        shop.edit("late", 4, LATE)
        await shop.rescan()
    assert keys(shop.state)[2:] == ["closed:fine:1", "closed:late:1"]


async def test_a_fall_from_a_topic_to_the_threshold_is_lowered(shop: Shop) -> None:
    shop.put("baseline", 3, days=-1)
    async with shop.open():
        await shop.round()
        shop.put("late", 3)
        await shop.round()
        shop.edit("late", 1, LATE)
        shop.edit("baseline", 1, LATE)
        await shop.rescan()
    assert sorted(keys(shop.state)) == ["lowered:baseline:1", "lowered:late:1", "new:late"]


async def test_an_answered_review_with_a_topic_is_on_record_and_silent(shop: Shop) -> None:
    async with shop.open():
        await shop.round()
        shop.put("late", 3)
        shop.wix.reply(SITE, "late", "Sorry!")
        await shop.round()
    assert keys(shop.state) == []
    assert statuses(shop.state) == {"closed": 1}


async def test_a_backfill_alerts_what_has_a_topic(shop: Shop) -> None:
    for name, rating, body in (("late", 3, LATE), ("fine", 3, FINE), ("two", 2, FINE)):
        shop.put(name, rating, body, days=-3)
    async with shop.open() as runtime:
        await shop.round()
        number = await runtime.intake.alert_past(shop.site, ["late", "fine", "two"], Grouping.EACH)
    assert number == 2
    assert sorted(keys(shop.state)) == ["new:late", "new:two"]


TWO = f"""
[[receivers]]
name = "kitchen"
email = ["{OWNER}"]
topics = ["hygiene", "mess"]

[[receivers]]
name = "all"
slack = "{CHANNEL}"

[[topics]]
name = "mess"
words = ["glitter"]
"""


async def test_a_receiver_gets_the_reviews_with_one_of_its_topics(shop: Shop) -> None:
    async with shop.open(receivers=TWO):
        await shop.round()
        for name, body in (("dirty", "A hair in it"), ("late", LATE), ("mess", "GLITTER!")):
            shop.put(name, 1, body)
        await shop.round()
    got = {name: [] for name in ("dirty", "late", "mess")}  # type: dict[str, list[str]]
    for name, destination, _ in deliveries(shop.state):
        got[name].append(destination)
    assert got == {
        "dirty": ["email:kitchen", "slack:all"],
        "late": ["slack:all"],
        "mess": ["email:kitchen", "slack:all"],
    }


async def test_an_event_above_the_threshold_is_judged_by_its_topic(shop: Shop) -> None:
    async with shop.open("") as runtime:
        await shop.round()
    async with shop.open() as runtime:
        early = review("early", 3, body=LATE, created=shop.clock.now())
        runtime.intake.record_event(shop.site, Event("early", early, shop.clock.now(), 1))
        assert keys(shop.state) == []  # the ratings between were not read so far
        await shop.round()
        for name, body in (("late", LATE), ("fine", FINE)):
            event = Event(name, review(name, 3, body=body, created=shop.clock.now()))
            await runtime.intake.announce(shop.site, runtime.intake.record_event(shop.site, event))
    assert keys(shop.state) == ["new:late"]


async def test_topics_stay_when_words_are_erased_and_go_with_the_record(shop: Shop) -> None:
    async with shop.open() as runtime:
        await shop.round()
        shop.put("late", 3)
        await shop.round()
        [known] = reviews.get_reviews(shop.state, SITE, ["late"]).values()
        event = Event("late", known.review, shop.clock.now(), 9, anonymized=True)
        runtime.intake.record_event(shop.site, event)
        assert shop.topics() == {"late": ["delivery"]}
        assert statuses(shop.state) == {"open": 1}
        row = shop.state.row("SELECT * FROM reviews")
        assert row
        assert LATE not in row["content"]
        with shop.state.transaction():
            prune.prune_reviews(shop.state, [dict(row) | {"id": 1}], shop.clock.now())
    assert shop.topics() == {"late": None}


async def test_the_log_counts_what_has_a_topic_as_low_rated(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alerter")
    shop.put("late", 3, days=-3)
    shop.put("fine", 3, FINE, days=-3)
    async with shop.open():
        await shop.round()
    [line] = [each for each in said(caplog) if "watching" in each]
    assert "low-rated=1 unanswered=1" in line


def test_the_topics_of_a_config_are_built_once(
    write_config: Callable[..., Any], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    configs = [
        load_config(write_config(wix, slack, mailbox, extra=extra), SECRETS, secrets=True)
        for extra in ("", UP_TO_3)
    ]
    assert topics_of(configs[0]) is topics_of(configs[1])


async def test_what_waits_is_routed_again_by_other_topics(shop: Shop) -> None:
    kitchen = f'[[receivers]]\nname = "kitchen"\nemail = ["{OWNER}"]\ntopics = ["{{}}"]\n'
    mess = '[[topics]]\nname = "mess"\nwords = ["{}"]\n'
    first = kitchen.format("mess") + mess.format("glitter")

    def waiting(receivers: str) -> list[tuple[str, str]]:
        config = shop.load("", receivers)
        with shop.state.transaction():
            reroute(shop.state, config, shop.clock.now())
        found = deliveries(shop.state)
        return [(review_id, status) for review_id, _, status in found]

    async with shop.open("", first):
        waiting(first)
        await shop.round()
        shop.put("glitter", 1, "Glitter, and it came late")
        await shop.round()
    assert waiting(first) == [("glitter", "pending")]
    assert waiting(kitchen.format("delivery") + mess.format("glitter")) == [("glitter", "pending")]
    assert waiting(kitchen.format("mess") + mess.format("sequin")) == [("glitter", "cancelled")]
