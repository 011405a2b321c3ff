"""Reading a chosen past: with patience, without repeating, and told as it was asked for."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.commands import backfill
from alerter.commands.backfill import parse_request
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.errors import WixResponseError
from alerter.models import Grouping, receiver_of
from alerter.notify.worker import IdleReason
from alerter.service.daemon import serve
from alerter.service.runtime import open_runtime
from alerter.store import Holder, State, backup, lock_of
from tests.support.backfill import (
    MAIL_ONLY,
    QUERY,
    alertable,
    by_mail,
    mailed,
    named,
    past,
    poll,
    put,
    wix,
)
from tests.support.clock import SetClock
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE
from tests.support.waiting import HANG, until

__all__ = ["by_mail", "wix"]
OTHER = "22222222-2222-4222-8222-222222222222"


@contextmanager
def record(config: Config) -> Iterator[State]:
    """What is on record, after whoever wrote it."""
    with State.read(config.database) as state:
        yield state


def alerts(config: Config) -> list[str]:
    with record(config) as state:
        rows = state.rows("SELECT key FROM alerts ORDER BY id")
    return [row["key"].replace(f":{SITE}", "") for row in rows]


def deliveries(config: Config) -> Counter[tuple[str, str]]:
    with record(config) as state:
        rows = state.rows("SELECT destination, status FROM deliveries")
    return Counter((receiver_of(row["destination"]), row["status"]) for row in rows)


# Telling


async def test_a_digest_names_everything_to_everybody_in_one_message(
    config: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for index in range(5):
        put(wix, f"r{index}", minutes=index)
    put(wix, "answered", reply={"message": "Sorry"})
    put(wix, "rejected", moderation={"moderationStatus": "REJECTED"})
    put(wix, "fine", rating=5)
    assert await backfill.run(config, clock, past(config), Grouping.DIGEST)
    assert mailed(mailbox) == [[f"r{index}" for index in range(5)]]
    [post] = slack.posts
    assert post.channel == CHANNEL
    assert list(dict.fromkeys(named(json.dumps(post.blocks)))) == [
        f"r{index}" for index in range(5)
    ]
    assert deliveries(config) == {("owner", "sent"): 5, ("support", "sent"): 5}
    assert capsys.readouterr().out.splitlines() == [
        "Corner Bakery: 7 low-rated reviews read",
        "5 low-rated, unanswered reviews to alert",
        "everything is delivered",
    ]


async def test_each_sends_one_review_a_message_however_many_there_are(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(15):
        put(wix, f"r{index}", minutes=index)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.EACH)
    assert mailed(mailbox) == [[f"r{index}"] for index in range(15)]


async def test_none_records_and_says_nothing(
    config: Config, clock: SetClock, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    put(wix, "a")
    assert await backfill.run(config, clock, past(config), None)
    assert (mailbox.mails, slack.posts) == ([], [])
    assert alerts(config) == []
    with record(config) as state:
        assert state.rows("SELECT review_id, status FROM reviews") == [
            {"review_id": "a", "status": "baseline"}
        ]
        assert state.value("SELECT checkpoint FROM sites") is None


async def test_what_none_recorded_can_be_alerted_later(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "a")
    assert await backfill.run(by_mail, clock, past(by_mail), None)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [["a"]]


@pytest.mark.parametrize(
    "grouping", [Grouping.DIGEST, Grouping.EACH, None], ids=["digest", "each", "none"]
)
async def test_a_second_run_repeats_nothing(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, grouping: Grouping | None
) -> None:
    for index in range(3):
        put(wix, f"r{index}", minutes=index)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.EACH)
    clock.advance(days=300)
    assert await backfill.run(by_mail, clock, past(by_mail), grouping)
    assert len(mailbox.mails) == 3
    await poll(by_mail, clock)
    assert alerts(by_mail) == [f"new:r{index}" for index in range(3)]


async def test_the_baseline_is_alerted_and_what_was_alerted_is_not(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "baseline")
    await poll(by_mail, clock)
    put(wix, "alerted", minutes=1)
    await poll(by_mail, clock)
    with State.open(by_mail.database, migrate=True) as state:
        async with open_runtime(by_mail, state, clock) as runtime:
            await runtime.dispatcher.run((IdleReason.NOTHING_DUE,))
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [["alerted"], ["baseline"]]


async def test_imports_are_alerted_by_a_backfill(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    await poll(by_mail, clock)
    put(wix, "import", reviewDate="2020-01-01T00:00:00.000Z")
    await poll(by_mail, clock)
    assert alerts(by_mail) == []
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [["import"]]


async def test_a_backfill_reminds_of_nothing_it_alerted(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix
) -> None:
    put(wix, "a")
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    with record(by_mail) as state:
        assert state.value("SELECT count(*) FROM reminders") == 0


async def test_a_rating_that_falls_after_a_backfill_is_news_and_reminded_of(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "a", rating=2)
    await poll(by_mail, clock)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    wix.change(SITE, "a", content={"rating": 1, "title": "Worse"})
    clock.advance(hours=2)
    assert await serve(by_mail, clock, {}, once=True)
    assert alerts(by_mail) == ["new:a", "lowered:a:1"]
    with record(by_mail) as state:
        assert state.value("SELECT review_id FROM reminders") == "a"


@pytest.mark.parametrize("grouping", [Grouping.DIGEST, None], ids=["digest", "none"])
async def test_a_review_that_a_poll_should_have_found_is_new_and_not_the_past(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, grouping: Grouping | None
) -> None:
    put(wix, "baseline")
    await poll(by_mail, clock)
    put(wix, "overlooked", hours=-3)
    assert await backfill.run(by_mail, clock, past(by_mail), grouping)
    assert "new:overlooked" in alerts(by_mail)
    with record(by_mail) as state:
        detail = state.value("SELECT detail FROM alerts WHERE review_id = 'overlooked'")
    assert "backfill" not in json.loads(detail)
    assert await backfill.run(by_mail, clock, past(by_mail), grouping)
    assert alerts(by_mail).count("new:overlooked") == 1


@pytest.mark.parametrize("change", ["deleted", "raised"])
async def test_a_backfill_alerts_nothing_that_is_no_longer_so_at_wix(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox, change: str
) -> None:
    put(wix, "a")
    put(wix, "b", minutes=1)
    await poll(by_mail, clock)
    if change == "deleted":
        wix.delete(SITE, "a")
    else:
        wix.change(SITE, "a", content={"rating": 5})
    assert await alertable(by_mail, clock, past(by_mail)) == {"Corner Bakery": ["b"]}
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [["b"]]


async def test_a_review_answered_since_the_baseline_is_not_alerted(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "a")
    await poll(by_mail, clock)
    wix.reply(SITE, "a", "Sorry")
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailbox.mails == []


async def test_a_backfill_moves_no_checkpoint_and_keeps_the_first_round_silent(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix
) -> None:
    put(wix, "a")
    put(wix, "earlier", days=-9)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    with record(by_mail) as state:
        assert state.value("SELECT checkpoint FROM sites") is None
    await poll(by_mail, clock)
    assert alerts(by_mail) == ["new:a"]
    with record(by_mail) as state:
        assert state.value("SELECT status FROM reviews WHERE review_id = 'earlier'") == "baseline"


async def test_257_reviews_are_three_queries_and_one_mail(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(257):
        put(wix, f"r{index}", rating=1 + index % 2, hours=index)
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert len(wix.queries()) == 3
    assert mailed(mailbox) == [[f"r{index}" for index in range(257)]]
    assert deliveries(by_mail) == {("owner", "sent"): 257}


async def test_a_backfill_that_has_to_wait_for_wix_loses_and_repeats_nothing(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(150):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=429, headers={"Retry-After": "30"}))
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert clock.slept == [30]
    assert mailed(mailbox) == [[f"r{index}" for index in range(150)]]


async def test_a_backfill_that_has_to_wait_says_how_many_reviews_there_were(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(150):
        put(wix, f"r{index}")
    wix.faults.add(QUERY, Fault(), Fault(status=429, headers={"Retry-After": "30"}))
    assert await backfill.run(by_mail, clock, past(by_mail), None)
    assert "150 low-rated reviews read" in capsys.readouterr().out


async def test_a_failure_for_good_keeps_what_was_read_and_sends_no_part_of_it(
    by_mail: Config, clock: SetClock, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(150):
        put(wix, f"r{index}", minutes=index)
    wix.faults.add(QUERY, Fault(), Fault(status=400))
    with pytest.raises(WixResponseError):
        await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailbox.mails == []
    assert await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [[f"r{index}" for index in range(150)]]


async def test_an_interrupted_backfill_is_run_again_and_repeats_nothing(
    by_mail: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    for index in range(4):
        put(wix, f"r{index}", minutes=index)
    mailbox.hang = 0.2
    running = asyncio.create_task(backfill.run(by_mail, Clock(), past(by_mail), Grouping.EACH))
    await until(lambda: len(mailbox.mails) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    mailbox.hang = 0
    assert await backfill.run(by_mail, Clock(), past(by_mail), Grouping.EACH)
    told = {(mail.message_id, *named(mail.text)[:1]) for mail in mailbox.mails}
    assert sorted(name for _, name in told) == ["r0", "r1", "r2", "r3"]


# Which past


@pytest.mark.parametrize(
    ("since", "until", "found"),
    [
        ("2024-07-01", "2024-07-02", ["first", "last"]),
        ("2024-07-01", None, ["first", "last", "after"]),
        ("2024-06-30", "2024-07-01", ["before"]),
        ("2024-07-02", None, ["after"]),
    ],
    ids=["one day", "from a day on", "the day before", "the day after"],
)
async def test_days_begin_at_midnight_where_the_owner_lives(
    by_mail: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    since: str,
    until: str | None,
    found: list[str],
) -> None:
    put(wix, "before", hours=-14, seconds=-0.001)
    put(wix, "first", hours=-14)
    put(wix, "last", hours=10, seconds=-0.001)
    put(wix, "after", hours=10)
    chosen = parse_request(by_mail, since, until, (), clock.now())
    assert await alertable(by_mail, clock, chosen) == {"Corner Bakery": found}
    assert await backfill.run(by_mail, clock, chosen, Grouping.DIGEST)
    assert mailed(mailbox) == [found]


@pytest.mark.parametrize(
    ("day", "begins"),
    [
        ("2026-01-31", "2026-01-30T23:00:00+00:00"),
        ("2026-03-29", "2026-03-28T23:00:00+00:00"),
        ("2026-03-30", "2026-03-29T22:00:00+00:00"),
        ("2026-10-25", "2026-10-24T22:00:00+00:00"),
        ("2026-10-26", "2026-10-25T23:00:00+00:00"),
    ],
    ids=[
        "winter",
        "the clocks go forward",
        "the day after",
        "the clocks go back",
        "the day after that",
    ],
)
def test_midnight_moves_with_the_clocks(
    config: Config, clock: SetClock, day: str, begins: str
) -> None:
    request = parse_request(config, day, None, (), clock.now())
    assert request.since == datetime.fromisoformat(begins)


@pytest.mark.parametrize(
    ("now", "day", "begins"),
    [
        ("2026-11-24T12:00:00Z", "today", "2026-11-23T23:00:00Z"),
        ("2026-11-24T22:59:59Z", "0d", "2026-11-23T23:00:00Z"),
        ("2026-11-24T23:00:00Z", "today", "2026-11-24T23:00:00Z"),
        ("2026-11-24T12:00:00Z", "yesterday", "2026-11-22T23:00:00Z"),
        ("2026-11-24T12:00:00Z", "30d", "2026-10-24T22:00:00Z"),
        ("2026-11-24T12:00:00Z", "365d", "2025-11-23T23:00:00Z"),
    ],
    ids=["today", "late today", "after midnight", "yesterday", "summer time", "a year"],
)
def test_a_relative_day_counts_from_today_where_the_owner_lives(
    config: Config, now: str, day: str, begins: str
) -> None:
    request = parse_request(config, day, None, (), datetime.fromisoformat(now))
    assert request.since == datetime.fromisoformat(begins)


@pytest.fixture
def two_sites(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    extra = f'[[sites]]\nname = "Book shop"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'
    path = write_config(wix, slack, mailbox, receivers=MAIL_ONLY, extra=extra)
    return load_config(path, SECRETS, secrets=True)


@pytest.mark.parametrize(
    ("names", "read"),
    [
        ((), [SITE, OTHER]),
        (("Book shop",), [OTHER]),
        (("Book shop", "Corner Bakery", "Book shop"), [OTHER, SITE]),
    ],
    ids=["all", "one", "named twice"],
)
async def test_only_the_sites_that_were_asked_for_are_read_and_alerted(
    two_sites: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    names: tuple[str, ...],
    read: list[str],
) -> None:
    put(wix, SITE)
    put(wix, OTHER, site_id=OTHER, minutes=1)
    await poll(two_sites, clock)
    wix.requests.clear()
    assert await backfill.run(
        two_sites,
        clock,
        parse_request(two_sites, "2024-07-01", None, names, clock.now()),
        Grouping.DIGEST,
    )
    assert [request.site_id for request in wix.queries()] == read
    assert sorted(mailed(mailbox)[0]) == sorted(read)


# Beside others


async def test_beside_a_daemon_a_backfill_records_and_the_daemon_sends(
    by_mail: Config, wix: EmbeddedWix, mailbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    await poll(by_mail, Clock())
    put(wix, "a", reviewDate="2020-01-01T00:00:00.000Z")
    with lock_of(by_mail.database) as lock, State.open(by_mail.database, migrate=True) as state:
        assert lock.acquire(Holder.RUN) is None
        running = asyncio.create_task(
            backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST)
        )
        await until(lambda: deliveries(by_mail) == {("owner", "pending"): 1})
        assert mailbox.mails == []
        async with open_runtime(by_mail, state, Clock()) as daemon:
            await daemon.dispatcher.run((IdleReason.NOTHING_DUE,))
        assert await asyncio.wait_for(running, HANG)
    assert mailed(mailbox) == [["a"]]
    assert "everything is delivered" in capsys.readouterr().out


async def test_a_backfill_takes_over_the_sending_when_the_daemon_ends(
    by_mail: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    await poll(by_mail, Clock())
    put(wix, "a", reviewDate="2020-01-01T00:00:00.000Z")
    with lock_of(by_mail.database) as lock:
        assert lock.acquire(Holder.RUN) is None
        running = asyncio.create_task(
            backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST)
        )
        await until(lambda: deliveries(by_mail) == {("owner", "pending"): 1})
        assert mailbox.mails == []
    assert await asyncio.wait_for(running, HANG)
    assert mailed(mailbox) == [["a"]]


@pytest.mark.sqlite  # a restore replaces no database of PostgreSQL
async def test_a_backfill_sends_nothing_once_a_restore_replaced_its_file(
    by_mail: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await poll(by_mail, Clock())
    put(wix, "a", reviewDate="2020-01-01T00:00:00.000Z")
    copy = by_mail.database.with_name("copy.db")
    backup.back_up(by_mail.database, copy)
    with lock_of(by_mail.database) as lock:
        assert lock.acquire(Holder.RUN) is None
        running = asyncio.create_task(
            backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST)
        )
        await until(lambda: deliveries(by_mail) == {("owner", "pending"): 1})
        backup.restore(copy, by_mail.database, clock.now())
    assert not await asyncio.wait_for(running, 5)
    assert "was replaced meanwhile" in capsys.readouterr().out
    assert mailbox.mails == []
    assert await backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST)
    assert mailed(mailbox) == [["a"]]


async def test_a_backfill_that_sends_by_itself_holds_the_lock(
    by_mail: Config, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    put(wix, "a")
    mailbox.hang = 0.2
    running = asyncio.create_task(backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST))
    await until(lambda: bool(mailbox.mails))
    with lock_of(by_mail.database) as lock:
        assert lock.acquire(Holder.RUN) is Holder.BACKFILL
        assert await running
        assert lock.acquire(Holder.RUN) is None


async def test_a_receiver_that_is_parked_ends_it_and_is_named_as_the_reason(
    config: Config,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(wix, "a")
    mailbox.refuse[OWNER] = "550 5.1.1 No such user"
    assert not await backfill.run(config, Clock(), past(config), Grouping.DIGEST)
    assert "1 delivery waits for a receiver that is parked" in capsys.readouterr().out
    # The second is the trouble with the other receiver.
    assert deliveries(config) == {("owner", "pending"): 1, ("support", "sent"): 2}


async def test_a_receiver_that_is_parked_keeps_nobody_waiting_for_the_daemon(
    by_mail: Config, wix: EmbeddedWix, mailbox: Mailbox, capsys: pytest.CaptureFixture[str]
) -> None:
    put(wix, "a")
    mailbox.refuse[OWNER] = "550 5.1.1 No such user"
    assert not await backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST)
    put(wix, "b", minutes=1)
    with lock_of(by_mail.database) as lock:
        assert lock.acquire(Holder.RUN) is None
        assert not await asyncio.wait_for(
            backfill.run(by_mail, Clock(), past(by_mail), Grouping.DIGEST), HANG
        )
    assert "2 deliveries wait for a receiver that is parked" in capsys.readouterr().out
    assert mailbox.mails == []


async def test_what_a_backfill_could_not_deliver_it_says(
    by_mail: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(wix, "a")
    mailbox.always_reply = "554 5.7.1 This mail is not wanted"
    assert not await backfill.run(by_mail, clock, past(by_mail), Grouping.DIGEST)
    # The alert, and that it was refused.
    assert (
        "2 deliveries have failed: see `alerter status`, then `alerter retry`"
        in capsys.readouterr().out
    )
    assert deliveries(by_mail) == {("owner", "failed"): 2}
