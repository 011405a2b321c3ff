"""Summaries: when they are due, what they say, and to whom."""

import itertools
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerter.config import Config, load_config
from alerter.config.fields import TimeOfWeek
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mail, Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Product
from alerter.render.formatting import NO_BREAK
from alerter.render.language import get_language
from alerter.render.renderer import Renderer
from alerter.service.daemon import serve
from alerter.service.runtime import open_runtime
from alerter.store import State
from alerter.store.summaries import LowRated
from alerter.summary import figures, last_period
from tests.support.clock import SetClock
from tests.support.rendered import DASHBOARD, words
from tests.support.summaries import DUE, low, numbers, summary_message
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

BERLIN = ZoneInfo("Europe/Berlin")
SUPPORT = "support@example.com"
OTHER = "22222222-2222-4222-8222-222222222222"
MONDAY = TimeOfWeek(time(9), weekday=0)
DAILY = TimeOfWeek(time(9))
NIGHTLY = TimeOfWeek(time(2, 30))
WEEKLY = '[[summaries]]\nname = "Weekly"\nat = "Mon 09:00"\nreceivers = ["owner", "support"]\n'
CAFE = f'[[sites]]\nname = "Patisserie"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'

Load = Callable[..., Config]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# When one is due


@pytest.mark.parametrize(
    ("at", "now", "name", "since", "until"),
    [
        (MONDAY, "2026-11-23T08:00", "2026-W48", "2026-11-16T08:00", "2026-11-23T08:00"),
        (MONDAY, "2026-11-23T07:59:59", "2026-W47", "2026-11-09T08:00", "2026-11-16T08:00"),
        (MONDAY, "2026-11-30T07:59", "2026-W48", "2026-11-16T08:00", "2026-11-23T08:00"),
        (DAILY, "2026-11-25T12:00", "2026-11-25", "2026-11-24T08:00", "2026-11-25T08:00"),
        (DAILY, "2026-11-25T07:00", "2026-11-24", "2026-11-23T08:00", "2026-11-24T08:00"),
        (
            TimeOfWeek(time(0, 30)),
            "2026-11-24T23:30",
            "2026-11-25",
            "2026-11-23T23:30",
            "2026-11-24T23:30",
        ),
        (
            TimeOfWeek(time(9), weekday=4),
            "2027-01-01T09:00",
            "2026-W53",
            "2026-12-25T08:00",
            "2027-01-01T08:00",
        ),
        (MONDAY, "2026-03-30T12:00", "2026-W14", "2026-03-23T08:00", "2026-03-30T07:00"),
        (MONDAY, "2026-10-26T12:00", "2026-W44", "2026-10-19T07:00", "2026-10-26T08:00"),
        (NIGHTLY, "2026-03-29T01:29", "2026-03-28", "2026-03-27T01:30", "2026-03-28T01:30"),
        (NIGHTLY, "2026-03-29T01:30", "2026-03-29", "2026-03-28T01:30", "2026-03-29T01:30"),
        (NIGHTLY, "2026-10-25T00:30", "2026-10-25", "2026-10-24T00:30", "2026-10-25T00:30"),
        (NIGHTLY, "2026-10-25T01:30", "2026-10-25", "2026-10-24T00:30", "2026-10-25T00:30"),
        (NIGHTLY, "2026-10-26T01:30", "2026-10-26", "2026-10-25T00:30", "2026-10-26T01:30"),
    ],
    ids=[
        "on the minute",
        "just before",
        "all week",
        "daily",
        "before its time",
        "a day that has begun there already",
        "a year of 53 weeks",
        "the week in which clocks go forward",
        "the week in which they go back",
        "before a time that does not exist",
        "a time that does not exist",
        "a time that exists twice",
        "the second time is no other",
        "the day after",
    ],
)
def test_a_period_goes_from_one_wall_clock_time_to_the_next(
    at: TimeOfWeek, now: str, name: str, since: str, until: str
) -> None:
    found = last_period(at, utc(now), BERLIN)
    assert (found.name, found.since, found.until) == (name, utc(since), utc(until))


def test_every_period_of_a_year_comes_once_and_without_gaps() -> None:
    start = utc("2026-01-05T12:00")
    hours = (
        last_period(NIGHTLY, start + timedelta(hours=hour), BERLIN) for hour in range(366 * 24)
    )
    periods = list(dict.fromkeys(hours))
    assert len(periods) == len({period.name for period in periods}) == 367
    assert all(one.until == other.since for one, other in itertools.pairwise(periods))


# What is counted

ROWS = ("Number", "Share of all", "Average rating")


def test_figures_count_stars_products_answers_and_what_is_open() -> None:
    lows = [low(1, "a"), low(2, "b", 5), low(1, "a", 2), low(1, "a", 30), low(2, "c", -1)]
    found = figures(lows, lows[:4], [low(1, "a")] * 25, 40)
    assert found["stars"] == {"1": 3, "2": 2}
    assert [(each["what"], each["number"]) for each in found["products"]] == [
        ("Product a", 3),
        ("Product b", 1),
        ("Product c", 1),
    ]
    assert [each["what"] for each in found["often"]] == ["Product a"]
    assert (found["answered"], found["waits"], found["total"]) == (4, [0, 7200, 18000, 108000], 40)
    assert (len(found["open"]), found["open_number"]) == (20, 25)


def test_what_has_no_name_is_called_by_its_id() -> None:
    """What has no product is called by the name of its site."""
    nameless = [
        LowRated(1, DUE, "p-9", Product(), False, None),
        LowRated(1, DUE, None, Product(), False, None),
    ]
    found = figures(nameless, [], [], None)
    text = Renderer(None, BERLIN, {SITE: "Corner Bakery"}).mail(summary_message(found)).text

    assert "a product · p-9  ━" in text
    assert "the site         ━" in text


@pytest.mark.parametrize(
    ("until", "days", "shown"),
    [
        ("2026-11-23T08:00", 7, "16–22 November"),
        ("2026-12-03T08:00", 7, "26 November – 2 December"),
        ("2027-01-03T08:00", 7, "27 December – 2 January"),
        ("2026-11-23T08:00", 1, "22 November"),
        ("2026-03-30T07:00", 7, "23–29 March"),
    ],
    ids=["a week", "over a month's end", "over a year's end", "a day", "summer time"],
)
def test_a_period_is_named_by_its_days(until: str, days: int, shown: str) -> None:
    ended = utc(until).astimezone(BERLIN)
    period = get_language("en").period
    assert period(ended - timedelta(days=days), ended).replace(NO_BREAK, " ") == shown


# From Wix to people


@pytest.fixture
def load(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Load:
    """A config of two sites; the owner hears of both of them, support of the bakery alone, both by
    email.
    """
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    people = (
        f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
        f'[[receivers]]\nname = "support"\nemail = ["{SUPPORT}"]\nsites = ["Corner Bakery"]\n'
    )

    def load(extra: str = WEEKLY, receivers: str = people) -> Config:
        path = write_config(wix, slack, mailbox, receivers=receivers, extra=CAFE + extra)
        return load_config(path, SECRETS, secrets=True)

    return load


@pytest.fixture
def clock() -> SetClock:
    """The Saturday before a summary is due."""
    return SetClock(datetime(2026, 11, 21, 12, 0, tzinfo=UTC))


def bad(days_ago: float, rating: int = 1, entity: str = "p1", **more: Any) -> dict[str, Any]:
    created = (DUE - timedelta(days=days_ago)).isoformat().replace("+00:00", "Z")
    return {
        "content": {"rating": rating, "title": "Stale on arrival", "body": "Hard as stone."},
        "entityId": entity,
        "createdDate": created,
        "reviewDate": created,
    } | more


async def once(config: Config, clock: SetClock) -> bool:
    return await serve(config, clock, {}, once=True)


def summaries_in(mailbox: Mailbox, address: str = OWNER) -> list[Mail]:
    return [
        mail
        for mail in mailbox.mails
        if mail.subject.startswith("📊 Weekly") and address in mail.recipients
    ]


def subjects(mails: list[Mail]) -> list[str]:
    return [mail.subject for mail in mails]


async def test_a_summary_shows_each_receiver_its_own_sites(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    wix.add_product(SITE, "p1", "Croissant box", "https://bakery.example/croissants")
    assert await once(config, clock)
    for days, rating in ((2.0, 1), (1.5, 2), (1.2, 1)):
        wix.add(SITE, bad(days, rating))
    for _ in range(6):
        wix.add(SITE, bad(3, 5))
    answered = wix.add(OTHER, bad(1, 2, "c7"))
    wix.add(SITE, bad(8))  # of the week before
    clock.step(hours=24)
    assert await once(config, clock)
    reply = {"message": "Sorry!", "createdDate": (DUE - timedelta(hours=21)).isoformat()}
    wix.change(OTHER, answered["id"], reply=reply)
    clock.step(hours=24)
    assert await once(config, clock)
    assert await once(config, clock)

    assert subjects(summaries_in(mailbox)) == [
        "📊 Weekly: 4 low-rated reviews · 4 reviews are still open (Corner Bakery, Patisserie)"
    ]
    (mail,) = summaries_in(mailbox)
    text = mail.text.replace(NO_BREAK, " ")
    assert "Corner Bakery, Patisserie · 16–22 November\n" in text
    assert [line.split() for line in text.splitlines() if line.startswith(ROWS)] == [
        ["Number", "4", "1"],
        ["Share", "of", "all", "40%", "100%"],
        ["Average", "rating", "1.5", "1.0"],
    ]
    assert "1 of 4 reviews are answered, half of them within 3 hours." in text
    assert "Croissant box · Corner Bakery  ━━━━━━━━━━━━ 3" in text
    assert "a product · c7 · Patisserie" in text
    assert "Three or more within seven days" not in text
    assert "\n★★☆☆☆  Croissant box, for 1 day 12 hours\n" in text
    assert f"\nReply in the dashboard: {DASHBOARD}\n" in text
    assert text.index("4 reviews are still open") < text.index("Low-rated reviews")
    (told,) = summaries_in(mailbox, SUPPORT)
    assert (
        told.subject == "📊 Weekly: 3 low-rated reviews · 4 reviews are still open (Corner Bakery)"
    )
    assert "33%" in told.text
    assert told.text.count(DASHBOARD) == 1
    for part in (told.text, told.html):
        assert "Patisserie" not in part
        assert "c7" not in part


async def test_a_summary_is_posted_on_slack_too(
    load: Load, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    config = load(
        WEEKLY.replace('"owner", "support"', '"team"'),
        f'[[receivers]]\nname = "team"\nslack = "{CHANNEL}"\n',
    )
    for days in (1.5, 2, 2.5):
        wix.add(SITE, bad(days))
    assert await once(config, clock)
    clock.step(days=2)
    assert await once(config, clock)
    (post,) = slack.posts
    assert post.text.startswith("📊 Weekly: 3 low-rated reviews · No review is open (")
    assert "a product · p1 · Corner Bakery  ━━━━━━━━━━━━ 3" in words(post.blocks)
    assert "No review is open" in words(post.blocks)


async def test_a_summary_holds_nothing_that_a_customer_wrote(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    assert await once(config, clock)
    wix.add(SITE, bad(1, author={"authorName": "Robin"}))
    clock.step(days=2)
    assert await once(config, clock)
    assert summaries_in(mailbox)
    with State.open(config.database, migrate=False) as state:
        detail = state.value(
            "SELECT detail FROM alerts WHERE key = 'summary:Weekly:2026-11-23T09:00'"
        )
    for words_of_the_customer in ("Stale", "stone", "Robin"):
        assert words_of_the_customer not in detail
        assert words_of_the_customer not in summaries_in(mailbox)[-1].text


async def test_the_first_start_summarizes_no_week_before_it(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    wix.add(SITE, bad(2))
    assert await once(load(), clock)
    clock.step(hours=12)
    assert await once(load(), clock)
    assert not mailbox.mails


async def test_a_time_that_is_changed_summarizes_nothing_before_the_change(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    assert await once(load(), clock)
    clock.step(hours=24)
    daily = load(WEEKLY.replace("Mon 09:00", "09:00"))
    assert await once(daily, clock)
    assert not mailbox.mails
    clock.step(hours=24)
    assert await once(daily, clock)
    assert len(summaries_in(mailbox)) == 1


async def test_a_summary_that_moved_within_its_week_is_sent_at_its_new_time(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    assert await once(load(), clock)
    clock.step(days=2)  # Monday
    assert await once(load(), clock)
    friday = load(WEEKLY.replace("Mon 09:00", "Fri 09:00"))
    assert await once(friday, clock)
    assert len(summaries_in(mailbox)) == 1
    clock.step(days=4)
    assert await once(friday, clock)
    assert len(summaries_in(mailbox)) == 2
    assert "· 20–26\u00a0November\n" in summaries_in(mailbox)[1].text


async def test_a_daily_summary_that_moved_within_its_day_is_sent_at_its_new_time(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    morning = load(WEEKLY.replace("Mon 09:00", "09:00"))
    assert await once(morning, clock)
    clock.step(hours=24)
    assert await once(morning, clock)
    evening = load(WEEKLY.replace("Mon 09:00", "18:00"))
    assert await once(evening, clock)
    assert len(summaries_in(mailbox)) == 1
    clock.step(hours=6)
    assert await once(evening, clock)
    assert len(summaries_in(mailbox)) == 2


async def test_a_summary_whose_timezone_moved_is_not_sent_a_second_time(
    load: Load, clock: SetClock, mailbox: Mailbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alerter.summary")
    config = load()
    assert await once(config, clock)
    clock.step(days=2)  # Monday, 13:00 in Berlin
    assert await once(config, clock)
    assert await once(config.model_copy(update={"timezone": ZoneInfo("UTC")}), clock)
    assert len(summaries_in(mailbox)) == 1
    assert caplog.text.count("queued for 2 receivers") == 1


async def test_what_was_missed_while_down_is_sent_once_and_only_the_newest(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    config = load()
    assert await once(config, clock)
    clock.step(days=24)
    for _ in range(3):
        assert await once(config, clock)
    assert subjects(summaries_in(mailbox)) == [
        "📊 Weekly: No low-rated reviews · No review is open (Corner Bakery, Patisserie)"
    ]
    assert "· 7–13\u00a0December\n" in summaries_in(mailbox)[-1].text
    assert len(summaries_in(mailbox, SUPPORT)) == 1


async def test_a_clock_that_was_in_the_future_for_a_while_silences_no_summary(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    config = load()
    clock.step(days=3650)
    assert await once(config, clock)
    clock.step(days=-3650)
    assert await once(config, clock)
    clock.step(days=2)
    assert await once(config, clock)
    assert len(summaries_in(mailbox)) == 1


async def test_a_summary_waits_for_every_site_but_one_in_trouble(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    assert await once(config, clock)
    clock.step(days=2)
    wix.faults.add("/query", Fault(status=503), Fault(status=503))
    assert not await once(config, clock)
    assert not summaries_in(mailbox)
    wix.sites[OTHER].refuse = 403
    assert not await once(config, clock)
    assert len(summaries_in(mailbox)) == 1
    text = summaries_in(mailbox)[0].text
    assert "These figures are not complete: Patisserie could not be read." in text


@pytest.mark.parametrize("way", ["too many", "refused", "down", "no number"])
async def test_a_share_that_wix_does_not_say_is_left_out(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, way: str
) -> None:
    config = load()
    assert await once(config, clock)
    wix.add(SITE, bad(1))
    wix.add(SITE, bad(1, 5))
    clock.step(days=2)
    if way == "too many":
        wix.sites[SITE].count_limit = 1
    else:
        status = {"refused": 403, "down": 503, "no number": 200}[way]
        wix.faults.always("/count", Fault(status=status))
    assert await once(config, clock)
    text = summaries_in(mailbox)[0].text
    assert numbers(text) == ["1", "0"]
    assert "Share of all" not in text


async def test_where_only_published_reviews_may_be_read_only_those_are_counted(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    wix.sites[SITE].private = False
    config = load()
    assert await once(config, clock)
    wix.add(SITE, bad(1))
    wix.add(SITE, bad(1, 5))
    wix.add(SITE, bad(1, 5, moderation={"moderationStatus": "SUBMITTED"}))
    clock.step(days=2)
    assert await once(config, clock)
    assert "Share of all" in summaries_in(mailbox)[0].text
    assert " 50%" in summaries_in(mailbox)[0].text


async def test_what_is_rejected_or_gone_does_not_count(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    assert await once(config, clock)
    rejected, gone = wix.add(SITE, bad(1)), wix.add(SITE, bad(1))
    wix.add(SITE, bad(1))
    clock.step(hours=24)
    assert await once(config, clock)
    wix.moderate(SITE, rejected["id"], "REJECTED")
    wix.delete(SITE, gone["id"])
    clock.step(hours=24)
    assert await once(config, clock)
    assert subjects(summaries_in(mailbox)) == [
        "📊 Weekly: 1 low-rated review · 1 review is still open (Corner Bakery, Patisserie)"
    ]
    assert " 100%" in summaries_in(mailbox)[0].text


async def test_a_summary_leaves_by_itself_beside_a_digest(
    load: Load, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    config = load()
    assert await once(config, clock)
    for _ in range(15):
        wix.add(SITE, bad(1))
    clock.step(days=2)
    assert await once(config, clock)
    assert subjects([mail for mail in mailbox.mails if OWNER in mail.recipients]) == [
        "15 low-rated reviews (Corner Bakery)",
        "📊 Weekly: 15 low-rated reviews · 15 reviews are still open (Corner Bakery, Patisserie)",
    ]


async def test_a_summary_that_is_refused_for_good_is_trouble(
    load: Load, clock: SetClock, mailbox: Mailbox
) -> None:
    config = load(WEEKLY.replace(', "support"', ""))
    assert await once(config, clock)
    mailbox.data_replies.extend(["554 5.7.1 not wanted"] * 2)
    clock.step(days=2)
    await once(config, clock)
    await once(config, clock)
    assert (
        sum(
            "refused for good" in mail.subject and "554 5.7.1" in mail.text
            for mail in mailbox.mails
        )
        == 1
    )


async def test_a_summary_that_cannot_be_written_now_is_raised_by_a_later_round(
    load: Load, clock: SetClock
) -> None:
    config = load()
    assert await once(config, clock)
    clock.step(days=2)
    with State.open(config.database, migrate=False) as state:
        async with open_runtime(config, state, clock) as runtime:
            for site in config.sites:
                assert await runtime.poller.round(site)
            with closing(sqlite3.connect(config.database, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await runtime.summaries.round()
            assert not count_of_summaries(state)
            for _ in range(2):
                await runtime.summaries.round()
            assert count_of_summaries(state) == 1


def count_of_summaries(state: State) -> int:
    return int(state.value("SELECT count(*) FROM alerts WHERE kind = 'summary'"))


async def test_a_round_of_the_house_leaves_the_state_alone_while_nothing_is_due(
    load: Load, clock: SetClock, state: State
) -> None:
    config = load()
    async with open_runtime(config, state, clock) as runtime:
        await runtime.summaries.round()
        before = state.value("PRAGMA data_version"), state.rows("SELECT * FROM summaries")
        await runtime.summaries.round()
    assert (state.value("PRAGMA data_version"), state.rows("SELECT * FROM summaries")) == before
