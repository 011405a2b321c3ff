"""How a backfill waits for Wix, and how it only looks."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from alerter.commands import backfill
from alerter.config import Config, Site
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.errors import WixAuthError, WixError, WixResponseError, WixUnavailable
from alerter.models import Grouping
from alerter.scopes import Scope
from alerter.service.runtime import open_runtime
from alerter.store import State, blocks
from alerter.watch.reader import Reader
from alerter.wix.client import ReviewFilter
from tests.support.backfill import (
    JULY,
    NOON,
    QUERY,
    alertable,
    by_mail,
    mailed,
    past,
    poll,
    put,
    read,
    reader,
    wix,
)
from tests.support.clock import SetClock
from tests.support.state import kept_bytes
from tests.support.values import SITE

__all__ = ["by_mail", "reader", "wix"]


@pytest.mark.parametrize(
    ("fault", "slept"),
    [
        (Fault(status=429, headers={"Retry-After": "17"}), 17),
        (Fault(status=429), 60),
        (Fault(status=500), 60),
        (Fault(status=503, headers={"Retry-After": "300"}), 300),
        (Fault(drop="before"), 60),
        (Fault(drop="after"), 60),
    ],
    ids=["429 with a time", "429", "500", "503 with a time", "dropped", "answer lost"],
)
async def test_wix_that_cannot_answer_is_waited_for(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix, fault: Fault, slept: float
) -> None:
    put(wix, "a")
    wix.faults.add(QUERY, fault, fault)
    assert await read(reader, clock, site, ReviewFilter(2)) == ["a"]
    assert clock.slept == [slept, slept]
    assert len(wix.queries()) == 3


async def test_wix_is_left_alone_for_as_long_as_it_asks(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    put(wix, "a")
    wix.faults.add(QUERY, Fault(status=429, headers={"Retry-After": "3600"}))
    assert await read(reader, clock, site, ReviewFilter(2)) == ["a"]
    assert clock.slept == [3600]


async def test_a_long_wait_is_logged_with_its_reason(
    reader: Reader,
    clock: SetClock,
    site: Site,
    wix: EmbeddedWix,
    caplog: pytest.LogCaptureFixture,
) -> None:
    put(wix, "a")
    waits = [Fault(status=429, headers={"Retry-After": str(each)}) for each in (1, 600)]
    wix.faults.add(QUERY, *waits)
    assert await read(reader, clock, site, ReviewFilter(2)) == ["a"]
    [line] = caplog.messages
    assert line.startswith('site "Corner Bakery": backfill waits for 600 s: ')
    assert "429" in line


async def test_a_backfill_and_the_daemon_share_what_wix_asks_for(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix
) -> None:
    put(wix, "a")
    site = by_mail.sites[0]
    scope = Scope.SITE.of(site.site_id)
    wix.faults.add(QUERY, Fault(status=429, headers={"Retry-After": "600"}))
    with State.open(by_mail.database, migrate=True) as state:
        async with open_runtime(by_mail, state, clock) as runtime:
            assert not await runtime.poller.round(site)
        clock.advance(seconds=200)
        wix.faults.add(QUERY, Fault(status=429, headers={"Retry-After": "900"}))
        assert await backfill.run(by_mail, clock, past(by_mail), None)
        assert clock.slept == [400, 900]
        assert len(wix.queries()) == 3
        block = blocks.get_blocks(state)[0]
        assert (block.scope, block.until) == (scope, clock.now())


async def test_what_follows_a_failure_is_read_from_the_newest_review_on(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    for index in range(257):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=503), Fault(), Fault(drop="after"))
    span = ReviewFilter(2, since=JULY, until=NOON + timedelta(days=5))
    found = await read(reader, clock, site, span)
    assert list(dict.fromkeys(found)) == [f"r{index}" for index in range(257)]
    assert {name: times for name, times in Counter(found).items() if times > 1} == {
        "r99": 2,
        "r198": 2,
    }
    asked = [request.body["query"].get("filter") for request in wix.queries()]
    until_then = stamp(NOON + timedelta(days=5))
    assert [each["$and"] for each in asked if each] == [
        [
            {"content.rating": {"$lte": 2}},
            {"createdDate": {"$gte": stamp(since)}},
            {"createdDate": {"$lt": until_then}},
        ]
        for since in (JULY, NOON + timedelta(minutes=99), NOON + timedelta(minutes=198))
    ]


async def test_reviews_of_one_moment_on_both_sides_of_a_failure_are_all_read(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    for index in range(150):
        put(wix, f"r{index}")
    wix.faults.add(QUERY, Fault(), Fault(status=503))
    assert set(await read(reader, clock, site, ReviewFilter(2))) == {
        f"r{index}" for index in range(150)
    }


async def test_ten_minutes_of_failing_are_enough(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    wix.faults.always(QUERY, Fault(status=500))
    with pytest.raises(WixUnavailable):
        await read(reader, clock, site, ReviewFilter(2))
    assert 600 <= clock.monotonic() <= 660
    assert set(clock.slept) == {60}


async def test_every_page_starts_the_ten_minutes_again(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    for index in range(300):
        put(wix, f"r{index}", minutes=index)
    nine_minutes = [Fault(status=500)] * 9
    wix.faults.add(QUERY, *nine_minutes, Fault(), *nine_minutes, Fault(), *nine_minutes)
    assert set(await read(reader, clock, site, ReviewFilter(2))) == {
        f"r{index}" for index in range(300)
    }
    assert clock.monotonic() == 27 * 60


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401), WixAuthError),
        (Fault(status=400), WixResponseError),
        (Fault(garble="truncate"), WixResponseError),
        (Fault(body='{"reviews": null}'), WixResponseError),
    ],
    ids=["401", "400", "truncated", "null reviews"],
)
async def test_what_waiting_does_not_mend_is_not_waited_for(
    reader: Reader,
    clock: SetClock,
    site: Site,
    wix: EmbeddedWix,
    fault: Fault,
    kind: type[WixError],
) -> None:
    wix.faults.add(QUERY, fault)
    with pytest.raises(kind):
        await read(reader, clock, site, ReviewFilter(2))
    assert clock.slept == []


async def test_without_the_private_permission_the_published_past_is_read(
    reader: Reader, clock: SetClock, site: Site, wix: EmbeddedWix
) -> None:
    wix.sites[SITE].private = False
    put(wix, "published")
    put(wix, "pending", moderation={"moderationStatus": "IN_MODERATION"})
    wix.faults.add(QUERY, Fault(), Fault(status=503))
    assert await read(reader, clock, site, ReviewFilter(2)) == ["published"]


# Only looking


async def test_a_dry_run_counts_and_leaves_no_trace(
    config: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    tmp_path: Path,
) -> None:
    put(wix, "one")
    put(wix, "two", rating=2, minutes=1)
    put(wix, "fine", rating=3)
    put(wix, "answered", reply={"message": "Sorry"})
    put(wix, "rejected", moderation={"moderationStatus": "REJECTED"})
    put(wix, "import", minutes=2, reviewDate="2020-01-01T00:00:00.000Z")
    put(wix, "older", days=-1)
    before = set(tmp_path.iterdir())
    assert await alertable(config, clock, past(config)) == {
        "Corner Bakery": ["one", "two", "import"]
    }
    assert set(tmp_path.iterdir()) == before
    with State.read(config.database) as state:
        assert state.value("SELECT count(*) FROM reviews") == 0
    assert {request.method for request in wix.requests if request.path != QUERY} == {"GET"}
    assert (mailbox.mails, slack.posts) == ([], [])


async def test_a_dry_run_knows_what_was_alerted_and_changes_nothing_on_record(
    config: Config, clock: SetClock, wix: EmbeddedWix, tmp_path: Path
) -> None:
    put(wix, "baseline")
    await poll(config, clock)
    put(wix, "alerted", minutes=1)
    await poll(config, clock)
    put(wix, "unseen", minutes=2)
    before = kept_bytes(config.database)
    assert await alertable(config, clock, past(config)) == {"Corner Bakery": ["baseline", "unseen"]}
    assert kept_bytes(config.database) == before
    assert not (tmp_path / "state.db.lock").exists()


async def test_a_dry_run_that_had_to_wait_counts_nothing_twice(
    config: Config, clock: SetClock, wix: EmbeddedWix
) -> None:
    for index in range(150):
        put(wix, f"r{index}")
    wix.faults.add(QUERY, Fault(), Fault(status=503, headers={"Retry-After": "1"}))
    found = await alertable(config, clock, past(config))
    assert sorted(found["Corner Bakery"]) == sorted(f"r{index}" for index in range(150))


async def test_a_dry_run_names_as_many_as_the_run_then_alerts(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(9):
        put(wix, f"r{index}", rating=1 + index % 3, minutes=index)
    found = await alertable(by_mail, clock, past(by_mail))
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == list(found.values())
