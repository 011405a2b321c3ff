"""What is forgotten after years, and what never is."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, Site
from alerter.demo.mailbox import Mailbox
from alerter.demo.wix import EmbeddedWix
from alerter.models import Event, Form, Grouping, Receipt, Reply, Review
from alerter.service.daemon import serve
from alerter.service.runtime import open_runtime
from alerter.store import State, known_sites, messages, outbox, report, stale_messages
from alerter.store.judgements import Source
from alerter.store.prune import prune
from alerter.trouble.tracker import Troubles
from alerter.watch.intake import Intake
from alerter.watch.triage import Reason
from tests.support.clock import SetClock
from tests.support.reviews import closed_reviews, review
from tests.support.values import SITE

KEEP = timedelta(days=30)
WINDOW = timedelta(days=20)
DESTINATIONS = ["email:owner", "slack:support"]
SENT = ("alerts", "deliveries", "messages")


@pytest.fixture
async def intake(config: Config, state: State, clock: SetClock) -> AsyncIterator[Intake]:
    """The door of a site that was read once, and had no reviews."""
    known_sites.record_coverage(state, SITE, 2)
    async with open_runtime(config, state, clock) as runtime:
        yield runtime.intake


def answered(review_id: str = "r1", **fields: Any) -> Review:
    return review(review_id, reply=Reply("Sorry!"), **fields)


def tell(state: State) -> None:
    """Have every delivery arrive, and Slack show what is so now."""
    now = datetime(2100, 1, 1, tzinfo=UTC)
    state.execute(
        "UPDATE deliveries SET status = 'pending', message = NULL WHERE status = 'failed'"
    )
    for receiver, ts in (("email:owner", None), ("slack:support", "1790000000.000100")):
        alerts = [each.alert for each in outbox.due_deliveries(state, receiver, now, 100)]
        form = Form.DIGEST if len(alerts) > 1 else Form.ALERT
        if alerts and (
            message := outbox.claim(state, receiver, form, alerts, uuid.uuid4().hex, now)
        ):
            messages.mark_sent(state, message, Receipt("ok", None, ts), "Stale on arrival")
        while changed := stale_messages.get_outdated(state, receiver, now):
            stale_messages.mark_updated(state, *changed)


async def forget(state: State, now: datetime) -> int:
    """What the daemon does once a day, with a site that was read just now."""
    known_sites.mark_poll_success(state, SITE, now, sees_private=True)
    pruned = await prune(state, now, KEEP, window=WINDOW, destinations=DESTINATIONS)
    assert state.scrub()
    return pruned


@pytest.mark.slow
@pytest.mark.sqlite  # counts its pages
async def test_each_review_that_was_closed_leaves_at_most_250_bytes(state: State) -> None:
    """A year of a thousand reviews a day leaves no more of each than these months of a hundred."""
    # How often the disk is waited for, and what is written twice, changes no size.
    state.execute("PRAGMA synchronous = OFF")
    state.rows("PRAGMA journal_mode = MEMORY")
    day, step, number, steps = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=5), 500, 40
    pages = []
    for _ in range(steps):
        closed_reviews(state, day, number)
        await forget(state, day)
        pages.append(int(state.value("PRAGMA page_count")))
        day += step
    # What was freed is used again: once the first are pruned, the file grows by what stays of them.
    assert (pages[-1] - pages[12]) * page_size(state) <= 250 * number * (steps - 13)
    await forget(state, day + KEEP)
    assert state.value("SELECT sum(pruned_alerts) FROM reviews") == number * steps
    assert state.value("SELECT number FROM pruned_deliveries") == number * steps
    used = state.value("PRAGMA page_count") - state.value("PRAGMA freelist_count")
    assert used * page_size(state) <= 250 * number * steps


def page_size(state: State) -> int:
    return int(state.value("PRAGMA page_size"))


# What needs nobody any more


async def test_the_words_of_a_closed_review_are_erased_wherever_they_were(
    state: State, intake: Intake, site: Site, clock: SetClock, tmp_path: Path
) -> None:
    await intake.record_page(site, [review(body="Hard as stone", title="Stale")])
    tell(state)
    await intake.record_page(site, [answered(body="Hard as stone", title="Stale")])
    tell(state)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1
    assert not [name for name in SENT if state.value(f"SELECT count(*) FROM {name}")]
    assert state.row("SELECT content, contact_id, entity_id FROM reviews") == dict.fromkeys(
        ("content", "contact_id", "entity_id"), None
    ) | {"content": "{}"}
    assert not [file for file in tmp_path.glob("state.db*") if b"Hard as" in file.read_bytes()]


async def test_nothing_is_pruned_before_its_time(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review()])
    tell(state)
    clock.advance(days=31)
    await intake.record_page(site, [answered()])
    tell(state)
    clock.advance(days=29)
    assert await forget(state, clock.now()) == 0
    assert state.value("SELECT count(*) FROM reviews") == 1


async def test_an_open_review_is_at_rest_when_it_is_followed_no_longer(
    state: State, intake: Intake, site: Site, clock: SetClock, tmp_path: Path
) -> None:
    await intake.record_page(site, [review(body="Hard as stone")])
    tell(state)
    clock.advance(days=49)
    assert await forget(state, clock.now()) == 0
    assert [state.value(f"SELECT count(*) FROM {name}") for name in SENT] == [1, 2, 2]
    clock.advance(days=2)
    assert await forget(state, clock.now()) == 1
    assert state.row("SELECT status, content FROM reviews") == {"status": "open", "content": "{}"}
    assert not [file for file in tmp_path.glob("state.db*") if b"Hard as" in file.read_bytes()]


@pytest.mark.parametrize(("lowered", "rests"), [(10, 10), (45, 30)])
async def test_a_lowered_threshold_starts_no_rest_again(
    state: State, config: Config, site: Site, clock: SetClock, lowered: int, rests: int
) -> None:
    """What is open above it is followed until then at most, and 30 days after its alert."""
    known_sites.record_coverage(state, SITE, 2)
    async with open_runtime(config, state, clock) as runtime:
        await runtime.intake.record_page(site, [review(rating=2)])
    tell(state)
    clock.advance(days=lowered)
    alerts = config.alerts.model_copy(update={"threshold": 1})
    below = config.model_copy(update={"alerts": alerts})
    async with open_runtime(below, state, clock) as runtime:
        await runtime.intake.record_page(site, [review(rating=2)])
    assert state.value("SELECT status FROM reviews") == "closed"
    tell(state)
    clock.advance(days=rests + 29 - lowered)
    assert await forget(state, clock.now()) == 0
    clock.advance(days=2)
    assert await forget(state, clock.now()) == 1


async def test_the_open_reviews_of_a_site_that_left_rest_from_then_on(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review(body="Hard as stone")])
    tell(state)
    for days, pruned in ((1, 0), (29, 0), (2, 1)):
        clock.advance(days=days)
        known_sites.mark_poll_success(state, "another", clock.now(), sees_private=True)
        known_sites.record_sites(state, {"another": "Another"}, clock.now())
        assert (
            await prune(state, clock.now(), KEEP, window=2 * KEEP, destinations=DESTINATIONS)
            == pruned
        )


async def test_a_site_that_is_back_is_followed_on(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review(body="Hard as stone")])
    tell(state)
    known_sites.record_sites(state, {}, clock.now())
    clock.advance(days=31)
    known_sites.record_sites(state, {SITE: "Corner Bakery"}, clock.now())
    known_sites.mark_poll_success(state, SITE, clock.now(), sees_private=True)
    assert await prune(state, clock.now(), KEEP, window=2 * KEEP, destinations=DESTINATIONS) == 0


@pytest.mark.parametrize("status", ["pending", "failed"])
async def test_a_review_that_is_still_to_be_sent_to_somebody_stays(
    state: State, intake: Intake, site: Site, clock: SetClock, status: str
) -> None:
    await intake.record_page(site, [review()])
    tell(state)
    await intake.record_page(site, [answered()])
    tell(state)
    state.execute("UPDATE deliveries SET status = ?, message = NULL", [status])
    clock.advance(days=4000)
    assert await forget(state, clock.now()) == 0
    tell(state)
    assert await forget(state, clock.now()) == 1


async def test_a_review_whose_message_on_slack_is_still_to_change_stays(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review()])
    tell(state)
    await intake.record_page(site, [answered()])
    tell(state)
    state.execute("UPDATE messages SET stale = 1")
    clock.advance(days=4000)
    assert await forget(state, clock.now()) == 0


async def test_what_waits_for_a_receiver_that_is_gone_holds_nothing_back(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review()])
    tell(state)
    await intake.record_page(site, [answered()])
    state.execute("UPDATE deliveries SET status = 'failed' WHERE destination = 'email:owner'")
    assert state.value("SELECT sum(stale) FROM messages WHERE destination = 'slack:support'")
    clock.advance(days=31)
    known_sites.mark_poll_success(state, SITE, clock.now(), sees_private=True)
    assert await prune(state, clock.now(), KEEP, window=WINDOW, destinations=["email:new"]) == 1
    assert report.delivery_counts(state)["owner"] == {"cancelled": 1}


async def test_a_message_that_carries_nothing_keeps_no_other_from_being_erased(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review()])
    tell(state)
    state.execute(
        "INSERT INTO messages"
        " (destination, form, status, message_id, parent, attempts, attempted_at)"
        " SELECT destination, form, 'failed', 'left behind', id, 1, 0 FROM messages"
        " WHERE destination = 'email:owner'"
    )
    await intake.record_page(site, [answered()])
    tell(state)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1


async def test_a_failed_thread_message_that_was_sent_again_holds_nothing_back(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review(rating=2)])
    tell(state)
    await intake.record_page(site, [review(rating=1, revision=1)])
    [due] = outbox.due_deliveries(state, "email:owner", clock.now(), 9)
    message = outbox.claim(state, "email:owner", Form.ALERT, [due.alert], "uid", clock.now())
    assert message
    assert message.thread
    messages.mark_failed(state, message, "554 no")
    assert outbox.requeue(state) == (1, 0)
    tell(state)
    await intake.record_page(site, [answered(revision=2)])
    tell(state)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1
    assert not [name for name in SENT if state.value(f"SELECT count(*) FROM {name}")]


async def test_one_of_a_digest_goes_and_the_others_stay(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    await intake.record_page(site, [review("r1"), review("r2")])
    tell(state)
    await intake.record_page(site, [answered("r1")])
    tell(state)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1
    messages = [
        row["id"] for row in state.rows("SELECT id FROM messages WHERE parent IS NULL ORDER BY id")
    ]
    assert [
        row["message"] for row in state.rows("SELECT message FROM deliveries ORDER BY message")
    ] == messages
    assert len(messages) == 2


async def test_a_review_of_the_past_loses_its_words_and_stays_of_the_past(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    state.execute("UPDATE sites SET covered_rating = 0")
    await intake.record_page(site, [review(rating=2, body="Hard as stone", contact_id="c1")])
    known_sites.record_coverage(state, SITE, 2)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1
    assert await forget(state, clock.now()) == 0
    assert state.row("SELECT content, contact_id FROM reviews") == {
        "content": "{}",
        "contact_id": None,
    }
    await intake.record_page(site, [review(rating=2, body="Hard as stone")])
    assert await intake.alert_past(site, ["r1"], Grouping.DIGEST) == 1


async def test_what_was_said_of_trouble_is_erased_and_its_key_stays(
    state: State, config: Config, clock: SetClock
) -> None:
    Troubles(state, config, clock, lambda _: None).begin(f"site:{SITE}", "Wix refuses us")
    key = state.value("SELECT key FROM alerts")
    clock.advance(days=31)
    await forget(state, clock.now())
    assert "refuses" in state.value("SELECT detail FROM alerts")
    tell(state)
    await forget(state, clock.now())
    assert state.rows("SELECT key, detail FROM alerts") == [{"key": key, "detail": "{}"}]


# What is known of a pruned review


@pytest.fixture
async def pruned(state: State, intake: Intake, site: Site, clock: SetClock) -> None:
    """r1 was alerted, answered, and closed 31 days ago."""
    await intake.record_page(site, [review(revision=3)])
    tell(state)
    await intake.record_page(site, [answered(revision=4)])
    tell(state)
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (review(revision=3), Reason.STALE),
        (review(revision=4, reply=Reply("Sorry!")), Reason.UNCHANGED),
        (review(revision=9, reply=Reply("Sorry again!"), title="New words"), Reason.UNCHANGED),
        (review(revision=9, rating=5, reply=Reply("Sorry!")), Reason.RECORDED),
    ],
    ids=["as it was", "as it is", "edited", "raised"],
)
@pytest.mark.usefixtures("pruned")
async def test_a_pruned_review_that_comes_again_is_known_and_alerts_nobody(
    state: State, intake: Intake, site: Site, seen: Review, reason: Reason
) -> None:
    assert await intake.record_page(site, [seen]) == {reason: 1}
    assert state.value("SELECT count(*) FROM alerts") == 0
    assert await intake.alert_past(site, ["r1"], Grouping.DIGEST) == 0


@pytest.mark.parametrize("silently", [True, False], ids=["a raised threshold", "a poll"])
async def test_the_text_of_a_pruned_baseline_returns_for_a_backfill_only(
    state: State, intake: Intake, site: Site, clock: SetClock, *, silently: bool
) -> None:
    def text() -> str:
        found: str = state.value("SELECT content FROM reviews")
        return found

    read = review(revision=3, title="Words")
    await intake.record_page(site, [read], silently=True)
    state.execute("UPDATE reviews SET status = 'baseline'")
    clock.advance(days=31)
    assert await forget(state, clock.now()) == 1
    seen = await intake.record_page(site, [read], silently=silently)
    assert (seen, text()) == ({Reason.UNCHANGED: 1}, "{}")
    await intake.record_page(site, [read], source=Source.BACKFILL)
    assert "Words" in text()
    assert await intake.alert_past(site, ["r1"], Grouping.DIGEST) == 1


@pytest.mark.parametrize(
    "before", [[], [answered(revision=8, rating=1, title="Edited")]], ids=["at once", "later"]
)
@pytest.mark.usefixtures("pruned")
async def test_a_pruned_review_whose_answer_is_removed_is_reminded_not_new(
    state: State, intake: Intake, site: Site, clock: SetClock, before: list[Review]
) -> None:
    await intake.record_page(site, before)
    clock.advance(hours=1)
    assert await intake.record_page(site, [review(revision=9)]) == {Reason.REOPENED: 1}
    rows = state.rows(
        "SELECT kind, destination FROM deliveries JOIN alerts ON id = alert ORDER BY destination"
    )
    assert [tuple(row.values()) for row in rows] == [
        ("reminder", "email:owner"),
        ("reminder", "slack:support"),
    ]
    assert await intake.alert_past(site, ["r1"], Grouping.DIGEST) == 0


@pytest.mark.usefixtures("pruned")
async def test_a_pruned_review_that_is_lowered_is_alerted_under_its_own_key(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    keys = set()
    for rating, revision in ((2, 5), (1, 6)):
        state.execute("UPDATE reviews SET rating = ?", [rating + 1])
        await intake.record_page(site, [review(rating=rating, revision=revision)])
        [alert] = state.rows("SELECT key FROM alerts WHERE kind = 'lowered'")
        keys.add(alert["key"])
        tell(state)
        await intake.record_page(site, [answered(rating=rating, revision=revision)])
        tell(state)
        clock.advance(days=31)
        assert await forget(state, clock.now()) == 1
    assert keys == {f"lowered:{SITE}:r1:3", f"lowered:{SITE}:r1:5"}


@pytest.mark.usefixtures("pruned")
async def test_a_pruned_review_that_is_gone_at_wix_is_so_on_record(
    state: State, intake: Intake, site: Site
) -> None:
    await intake.record_gone(site, ["r1"])
    assert state.row("SELECT status, closing FROM reviews") == {
        "status": "closed",
        "closing": "gone",
    }
    assert state.value("SELECT count(*) FROM alerts") == 0


@pytest.mark.usefixtures("pruned")
async def test_webhooks_about_a_pruned_review_alert_nobody_in_any_order(
    state: State, intake: Intake, site: Site, clock: SetClock
) -> None:
    now = clock.now()
    intake.record_event(site, Event("r1", answered(revision=4), now - timedelta(days=31), 2))
    intake.record_event(site, Event("r1", review(revision=3), now - timedelta(days=31), 1))
    assert state.value("SELECT content FROM reviews") == "{}"
    intake.record_event(site, Event("r1", None, now, 4))
    intake.record_event(site, Event("r1", review(revision=5), now, 3))
    assert state.row("SELECT status, closing FROM reviews") == {
        "status": "closed",
        "closing": "gone",
    }
    assert state.value("SELECT count(*) FROM alerts") == 0


@pytest.mark.usefixtures("pruned")
async def test_status_counts_what_was_pruned(state: State) -> None:
    assert report.delivery_counts(state) == {"owner": {"sent": 1}, "support": {"sent": 1}}


async def test_a_clock_that_has_gone_wrong_makes_nothing_old(state: State, clock: SetClock) -> None:
    closed_reviews(state, clock.now(), 3)
    known_sites.mark_poll_success(state, SITE, clock.now(), sees_private=True)
    clock.step(days=3650)
    assert await prune(state, clock.now(), KEEP, window=WINDOW, destinations=DESTINATIONS) == 0
    assert await forget(state, clock.now()) == 3


async def test_others_get_their_turn_while_much_is_pruned(state: State, clock: SetClock) -> None:
    closed_reviews(state, clock.now(), 1000)
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(take_turns())
    await forget(state, clock.now() + 2 * KEEP)
    other.cancel()
    assert turns >= 20


async def test_a_run_once_prunes(config: Config, clock: SetClock) -> None:
    with State.open(config.database, migrate=True) as state:
        closed_reviews(state, clock.now() - timedelta(days=399), 2)
    assert await serve(config, clock, {}, once=True)
    with State.open(config.database, migrate=False) as state:
        assert state.value("SELECT count(*) FROM reviews WHERE content <> '{}'") == 2
    clock.advance(days=2)
    assert await serve(config, clock, {}, once=True)
    with State.open(config.database, migrate=False) as state:
        assert state.value("SELECT count(*) FROM reviews WHERE content <> '{}'") == 0


async def test_a_run_once_sends_before_it_prunes_which_may_take_long(
    config: Config,
    clock: SetClock,
    wix: EmbeddedWix,
    mailbox: Mailbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await serve(config, clock, {}, once=True)
    with State.open(config.database, migrate=False) as state:
        closed_reviews(state, clock.now() - timedelta(days=500), 2)
    wix.add(SITE, {"content": {"rating": 1}})
    told_by_then: list[int] = []
    caplog.set_level(logging.INFO)

    def look(record: logging.LogRecord) -> bool:
        if "reviews pruned" in record.msg:
            told_by_then.append(len(mailbox.mails))
        return True

    caplog.handler.addFilter(look)
    assert await serve(config, clock, {}, once=True)
    assert told_by_then == [1]


@pytest.mark.sqlite  # looks into its file
async def test_no_page_of_the_file_keeps_a_copy_of_erased_words(
    config: Config, state: State, clock: SetClock
) -> None:
    """Where SQLite moves rows between pages, it may leave copies in their unused part."""
    for _ in range(50):  # ids are random, and where a row lies depends on its id
        closed_reviews(state, clock.now(), 300)
        for longest in (300, 60, 500, 200):
            state.execute(
                "UPDATE reviews SET content = json_object('body', 'Zauberwort'"
                " || hex(zeroblob(abs(random()) % ?))) WHERE pruned_at IS NULL",
                [longest],
            )
        assert await forget(state, clock.now() + 2 * KEEP) == 300
        assert state.scrub()
        if is_left := b"Zauberwort" in config.database.read_bytes():
            break
    assert is_left
    async with open_runtime(config, state, clock) as runtime:
        await runtime.housekeeping.prune()
    assert b"Zauberwort" not in config.database.read_bytes()
