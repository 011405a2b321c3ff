"""What a backfill hands to the intake."""

from datetime import timedelta

import pytest

from alerter.errors import StateError
from alerter.models import (
    Grouping,
    Status,
    to_ms,
)
from alerter.store import known_sites, outbox
from tests.support.clock import SetClock
from tests.support.intake import REPLY, T0, Door, config, fresh
from tests.support.reviews import review
from tests.support.state_faults import refusing
from tests.support.values import SITE

__all__ = ["config", "fresh"]


# --- the past


async def test_a_backfill_alerts_about_all_that_is_unanswered_and_not_alerted(
    fresh: Door,
) -> None:
    await fresh.take(
        review("baseline", 2),
        review("import", 1, created=T0, written=T0 - timedelta(days=400)),
        review("answered", 1, reply=REPLY),
        review("rejected", 1, moderation="REJECTED"),
        review("held", 1, moderation="IN_MODERATION"),
    )
    known_sites.record_coverage(fresh.state, SITE, 2)
    await fresh.take(
        review("alerted", 1), review("late import", 2, created=T0, written=T0 - timedelta(days=400))
    )

    assert await fresh.tell() == 4

    told = {
        row["review_id"]
        for row in fresh.state.rows("SELECT review_id FROM alerts WHERE kind = 'new'")
    }
    assert told == {"baseline", "import", "held", "late import", "alerted"}
    assert fresh.keys().count("new:alerted") == 1
    assert fresh.deliveries().count(("new baseline", "owner")) == 1
    assert ("new baseline", "worst") not in fresh.deliveries()
    assert ("new held", "worst") in fresh.deliveries()
    assert fresh.status("baseline") is Status.OPEN


async def test_a_backfill_marks_its_alerts_and_groups_them_as_asked(fresh: Door) -> None:
    await fresh.take(review("r1", 2))

    await fresh.tell(grouping=Grouping.EACH)

    assert fresh.state.rows("SELECT DISTINCT grouping FROM deliveries") == [{"grouping": "each"}]
    assert fresh.state.value("SELECT detail FROM alerts") == '{"backfill": true}'


async def test_a_backfill_leaves_out_what_was_deleted_since_it_was_read(
    fresh: Door, clock: SetClock
) -> None:
    await fresh.take(review("r1"), review("r2"))
    clock.advance(minutes=10)
    await fresh.intake.record_gone(fresh.bakery, ["r1"])

    assert await fresh.intake.alert_past(fresh.bakery, ["r1", "r2"], Grouping.DIGEST) == 1
    assert fresh.keys() == ["new:r2"]
    assert fresh.status("r1") is Status.BASELINE


async def test_a_second_backfill_repeats_nothing(fresh: Door) -> None:
    await fresh.take(review("r1", 2), review("r2", 1))
    assert await fresh.tell() == 2
    before = fresh.counts()

    assert await fresh.tell() == 0

    assert fresh.counts() == before
    assert len(fresh.woken) == 1


async def test_a_review_that_a_backfill_alerted_is_not_alerted_again_by_a_poll(fresh: Door) -> None:
    await fresh.take(review("r1", 2))
    await fresh.tell()
    known_sites.record_coverage(fresh.state, SITE, 2)

    await fresh.take(review("r1", 2), review("r1", 2, helpful=3))

    assert fresh.keys() == ["new:r1"]


async def test_a_backfilled_review_is_closed_by_an_answer_and_cancelled(fresh: Door) -> None:
    await fresh.take(review("r1", 2))
    await fresh.tell()

    await fresh.take(review("r1", 2, revision=1, reply=REPLY))

    assert fresh.status() is Status.CLOSED
    assert fresh.deliveries() == []


async def test_a_review_without_a_date_is_dated_by_when_it_was_seen(
    fresh: Door, clock: SetClock
) -> None:
    await fresh.take(review())
    clock.advance(days=3)
    await fresh.take(review(helpful=1))

    assert fresh.state.value("SELECT created_at FROM reviews") == to_ms(T0)


async def test_a_backfill_keeps_to_the_threshold_of_today(fresh: Door) -> None:
    await fresh.take(review("r1", 4), review("r2", 3), site=fresh.florist)
    stricter = fresh.florist.model_copy(update={"threshold": 3})

    assert (
        await fresh.intake.alert_past(stricter, fresh.ids(stricter.site_id), Grouping.DIGEST) == 1
    )

    assert fresh.deliveries() == [("new r2", "florist"), ("new r2", "owner")]


async def test_a_backfill_keeps_to_its_site(fresh: Door) -> None:
    await fresh.take(review("r1", 2), site=fresh.florist)

    assert await fresh.tell() == 0


async def test_a_backfill_alerts_thousands_oldest_first(fresh: Door) -> None:
    total = 2100
    page = [
        review(f"r{number}", 1 + number % 2, created=T0 - timedelta(minutes=number))
        for number in range(total)
    ]
    await fresh.take(*page)

    assert await fresh.tell() == total

    assert fresh.keys() == [f"new:r{number}" for number in reversed(range(total))]
    assert outbox.pending_count(fresh.state, ["email:owner"], T0) == total
    assert outbox.pending_count(fresh.state, ["slack:worst"], T0) == total // 2
    assert sum(len(ids) for _, ids in fresh.catalog.learned) == total
    assert await fresh.tell() == 0


async def test_a_backfill_that_cannot_write_sends_nothing_and_can_run_again(fresh: Door) -> None:
    await fresh.take(review("r1", 2))
    with refusing(fresh.state, "deliveries"), pytest.raises(StateError, match="disk full"):
        await fresh.tell()

    assert (fresh.keys(), fresh.status(), fresh.woken) == ([], Status.BASELINE, [])
    assert await fresh.tell() == 1


async def test_a_backfill_fetches_names_between_the_commit_and_the_wake(
    fresh: Door,
) -> None:
    await fresh.take(review("r1", 2))
    fresh.catalog.look = lambda: (fresh.counts()["deliveries"], fresh.status(), len(fresh.woken))

    await fresh.tell()

    assert fresh.catalog.learned == [("Corner Bakery", ["r1"])]
    assert fresh.catalog.seen == [(2, Status.OPEN, 0)]
    assert fresh.woken == [{"baker", "owner"}]
