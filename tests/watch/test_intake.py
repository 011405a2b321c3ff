"""The one door: what is read becomes records and deliveries in one transaction, and only then is
anybody told.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alerter.config import Config
from alerter.errors import StateBusy, StateError
from alerter.models import (
    Alert,
    AlertKind,
    Event,
    Form,
    Receipt,
    Status,
)
from alerter.store import State, known_sites, messages, outbox, raised_alerts, reviews
from alerter.store.reminders import get_reminders_of
from alerter.watch.triage import Reason
from tests.support.clock import SetClock
from tests.support.intake import AT_LAST, FLORIST, REPLY, T0, Door, config, fresh
from tests.support.reviews import review
from tests.support.state import reading
from tests.support.state_faults import impatient, locked, refusing
from tests.support.values import SITE

__all__ = ["config", "fresh"]


@pytest.fixture
def door(fresh: Door) -> Door:
    """A door to sites whose past is on record."""
    known_sites.record_coverage(fresh.state, SITE, 2)
    known_sites.record_coverage(fresh.state, FLORIST, 4)
    return fresh


# --- who is told, of what


async def test_the_first_read_of_a_site_is_its_baseline_and_silent(fresh: Door) -> None:
    seen = await fresh.take(
        review("r1"), review("r2", 2), review("r3", 3), review("r4", reply=REPLY), checkpoint=T0
    )

    assert seen == {Reason.BASELINE: 3, Reason.IGNORED: 1}
    assert fresh.counts() == {"sites": 1, "reviews": 3, "alerts": 0, "deliveries": 0}
    assert [fresh.status(each) for each in ("r1", "r2", "r3", "r4")] == [
        Status.BASELINE, Status.BASELINE, None, Status.BASELINE,
    ]  # fmt: skip
    assert fresh.checkpoint() == T0
    assert (fresh.woken, fresh.catalog.learned) == ([], [])


async def test_a_new_review_is_queued_for_its_receivers_and_wakes_only_those(
    door: Door,
) -> None:
    assert await door.take(review("r1", 2)) == {Reason.NEW: 1}

    assert door.deliveries() == [("new r1", "baker"), ("new r1", "owner")]
    assert door.woken == [{"baker", "owner"}]
    assert door.status() is Status.OPEN


async def test_receivers_are_woken_once_for_a_page(door: Door) -> None:
    await door.take(review("r1", 2), review("r2", 1), review("r3", 2))

    assert door.deliveries() == [
        ("new r1", "baker"), ("new r1", "owner"),
        ("new r2", "baker"), ("new r2", "owner"), ("new r2", "worst"),
        ("new r3", "baker"), ("new r3", "owner"),
    ]  # fmt: skip
    assert door.woken == [{"baker", "owner", "worst"}]


async def test_each_site_has_its_own_threshold_and_receivers(door: Door) -> None:
    await door.take(review("r1", 4), site=door.florist)
    await door.take(review("r1", 4), site=door.bakery)

    assert door.deliveries() == [("new r1", "florist"), ("new r1", "owner")]
    assert door.woken == [{"florist", "owner"}]


async def test_the_same_review_id_on_two_sites_is_two_reviews(door: Door) -> None:
    await door.take(review("r1", 2), site=door.florist)
    await door.take(review("r1", 2), site=door.bakery)

    assert [row["key"] for row in door.state.rows("SELECT key FROM alerts ORDER BY id")] == [
        f"new:{FLORIST}:r1",
        f"new:{SITE}:r1",
    ]


async def test_an_empty_page_is_no_matter(door: Door) -> None:
    assert await door.take(checkpoint=None) == {}

    assert door.woken == []


async def test_what_is_not_low_rated_leaves_no_trace(door: Door) -> None:
    assert await door.take(review("r1", 3), review("r2", 5)) == {Reason.IGNORED: 2}

    assert door.counts()["reviews"] == 0


async def test_an_import_is_recorded_and_not_alerted(door: Door) -> None:
    seen = await door.take(review(created=T0, written=T0 - timedelta(days=400)))

    assert seen == {Reason.IMPORTED: 1}
    assert (door.status(), door.keys()) == (Status.BASELINE, [])


async def test_late_is_judged_by_the_checkpoint_before_the_page_and_not_after_it(
    door: Door,
) -> None:
    await door.take(review("r1", created=T0), checkpoint=T0)
    page = [
        review("r2", created=T0 - timedelta(days=1)),
        review("r3", created=T0 + timedelta(hours=1)),
    ]

    seen = await door.take(
        *page, review("r4", created=T0 + timedelta(minutes=1)), checkpoint=T0 + timedelta(hours=1)
    )

    assert seen == {Reason.LATE: 1, Reason.NEW: 2}
    assert door.state.value("SELECT detail FROM alerts WHERE review_id = 'r2'") == '{"late": true}'


# --- nothing twice


async def test_the_same_page_twice_changes_nothing(door: Door) -> None:
    page = [review("r1"), review("r2", 2)]
    await door.take(*page, checkpoint=T0)
    before = door.counts()

    assert await door.take(*page, checkpoint=T0) == {Reason.UNCHANGED: 2}

    assert door.counts() == before
    assert len(door.woken) == 1


async def test_a_stale_page_changes_nothing(door: Door) -> None:
    await door.take(review(revision=3, rating=1, body="new"))

    assert await door.take(review(revision=2, rating=2, body="old")) == {Reason.STALE: 1}

    known = reviews.get_reviews(door.state, SITE, ["r1"])["r1"]
    assert (known.review.body, known.review.revision) == ("new", 3)
    assert door.keys() == ["new:r1"]


@pytest.mark.parametrize("order", [1, -1], ids=["older one first", "newer one first"])
async def test_a_review_twice_in_a_page_counts_once_and_as_it_is_newest(
    door: Door, order: int
) -> None:
    twice = [review(revision=1, rating=2, body="old"), review(revision=2, rating=1, body="new")]

    assert await door.take(*twice[::order]) == {Reason.NEW: 1}

    assert door.keys() == ["new:r1"]
    assert reviews.get_reviews(door.state, SITE, ["r1"])["r1"].review.body == "new"


async def test_two_processes_that_read_the_same_alert_once(
    door: Door, config: Config, clock: SetClock
) -> None:
    with State.open(door.state.database, migrate=False) as second_state:
        other = Door(second_state, config, clock)
        await door.take(review())
        assert await other.take(review()) == {Reason.UNCHANGED: 1}

    assert door.keys() == ["new:r1"]
    assert other.woken == []


# --- one transaction


async def test_nothing_is_kept_of_a_page_when_another_process_locks_the_tables(door: Door) -> None:
    before = door.counts()
    with locked(impatient(door.state).database), pytest.raises(StateBusy):
        await door.take(review(), checkpoint=T0)

    assert door.counts() == before
    assert door.checkpoint() is None
    assert (door.woken, door.catalog.learned) == ([], [])
    assert await door.take(review(), checkpoint=T0) == {Reason.NEW: 1}


@pytest.mark.parametrize(
    ("table", "event"),
    [("reviews", "INSERT"), ("alerts", "INSERT"), ("deliveries", "INSERT"), ("sites", "UPDATE")],
    ids=["the review", "the alert", "the delivery", "the checkpoint"],
)
async def test_nothing_is_kept_of_a_page_when_any_part_of_it_cannot_be_written(
    door: Door, table: str, event: str
) -> None:
    before = door.counts()
    with refusing(door.state, table, event), pytest.raises(StateError, match="disk full"):
        await door.take(review("r1"), review("r2", 2), checkpoint=T0)

    assert door.counts() == before
    assert door.checkpoint() is None
    assert (door.woken, door.catalog.learned) == ([], [])
    assert await door.take(review("r1"), review("r2", 2), checkpoint=T0) == {Reason.NEW: 2}
    assert door.checkpoint() == T0


async def test_names_are_learned_after_the_commit_and_before_anybody_is_woken(door: Door) -> None:
    def look() -> tuple[int, bool, int]:
        with reading(door.state.database) as other:
            committed = other.value("SELECT count(*) FROM deliveries")
        checkpoint = door.checkpoint()
        return committed, checkpoint == T0, len(door.woken)

    door.catalog.look = look

    await door.take(review("r1", 2, entity_id="p1"), review("r2", 5, entity_id="p2"), checkpoint=T0)

    assert door.catalog.learned == [("Corner Bakery", ["r1"])]
    assert door.catalog.seen == [(2, True, 0)]
    assert len(door.woken) == 1


# --- the checkpoint


async def test_the_checkpoint_never_moves_backwards(door: Door) -> None:
    for moment in (T0, T0 - timedelta(days=1), T0 + timedelta(milliseconds=1), T0):
        await door.take(checkpoint=moment)

    assert door.checkpoint() == T0 + timedelta(milliseconds=1)


async def test_a_page_without_a_checkpoint_leaves_it_where_it_is(door: Door) -> None:
    await door.take(review("r1", created=T0))
    assert door.checkpoint() is None
    await door.take(checkpoint=T0)

    await door.take(review("r2", created=AT_LAST))

    assert door.checkpoint() == T0


async def test_the_checkpoint_of_one_site_is_not_anothers(door: Door) -> None:
    await door.take(checkpoint=T0, site=door.florist)

    assert door.checkpoint() is None


# --- what becomes of a review


async def test_every_fall_of_a_rating_is_an_alert_of_its_own(door: Door) -> None:
    await door.take(review("r1", 4, revision=1), site=door.florist)
    for revision, rating in ((2, 3), (3, 2), (4, 1)):
        await door.take(review("r1", rating, revision=revision), site=door.florist)

    assert [row["key"] for row in door.state.rows("SELECT key FROM alerts ORDER BY id")] == [
        f"new:{FLORIST}:r1",
        *(f"lowered:{FLORIST}:r1:{number}" for number in (1, 2, 3)),
    ]
    assert ("lowered r1", "worst") in door.deliveries()
    assert door.deliveries().count(("lowered r1", "worst")) == 1


async def test_a_baseline_review_whose_rating_falls_is_alerted_and_open(fresh: Door) -> None:
    await fresh.take(review("r1", 2, revision=1))
    known_sites.record_coverage(fresh.state, SITE, 2)

    await fresh.take(review("r1", 1, revision=2))

    assert fresh.keys() == ["lowered:r1:1"]
    assert fresh.status() is Status.OPEN


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"reply": REPLY}, Reason.ANSWERED),
        ({"rating": 5}, Reason.RAISED),
        ({"moderation": "REJECTED"}, Reason.REJECTED),
    ],
    ids=["answered", "raised", "rejected"],
)
async def test_what_has_not_left_yet_of_a_closed_review_is_cancelled(
    door: Door, changes: dict[str, Any], reason: Reason
) -> None:
    await door.take(review("r1", 2), review("r2", 2))
    door.send("email:owner")

    assert await door.take(replace(review("r1", 2, revision=1), **changes)) == {reason: 1}

    assert door.status() is Status.CLOSED
    assert door.deliveries("cancelled") == [("new r1", "baker")]
    assert door.deliveries("pending") == [("new r2", "baker")]
    assert door.deliveries("sent") == [("new r1", "owner"), ("new r2", "owner")]
    assert door.keys() == ["new:r1", "new:r2", "closed:r1:1"]


async def test_a_message_that_may_have_left_keeps_its_members(door: Door) -> None:
    await door.take(review("r1", 2))
    message = outbox.claim(door.state, "email:owner", Form.ALERT, [1], "uid", T0)

    await door.take(review("r1", 2, revision=1, reply=REPLY))

    messages.mark_sent(door.state, message, Receipt("ok"))
    assert door.deliveries("sent") == [("new r1", "owner")]
    assert door.deliveries("cancelled") == [("new r1", "baker")]


async def test_a_review_closed_while_its_message_is_refused_does_not_leave(
    door: Door,
) -> None:
    await door.take(review("r1", 2))
    message = outbox.claim(door.state, "email:owner", Form.ALERT, [1], "uid", T0)
    await door.take(review("r1", 2, revision=1, reply=REPLY))

    messages.dissolve(door.state, message)

    assert outbox.due_deliveries(door.state, "email:owner", AT_LAST, 10) == []


async def test_a_review_closed_by_a_raise_is_alerted_again_when_it_falls_again(door: Door) -> None:
    for revision, rating in ((1, 2), (2, 4), (3, 2)):
        await door.take(review("r1", rating, revision=revision))

    assert door.keys() == ["new:r1", "closed:r1:1", "lowered:r1:1"]
    assert door.deliveries() == [("lowered r1", "baker"), ("lowered r1", "owner")]


async def test_a_page_from_before_an_answer_opens_nothing_again(
    door: Door, clock: SetClock
) -> None:
    await door.take(review("r1", 2, revision=1))
    clock.advance(minutes=10)
    await door.take(review("r1", 2, revision=1, reply=REPLY))  # as `alerter reply` records it
    clock.advance(seconds=30)

    assert await door.take(review("r1", 2, revision=1)) == {Reason.STALE: 1}
    assert (door.status(), door.keys()) == (Status.CLOSED, ["new:r1", "closed:r1:1"])


async def test_a_page_requested_before_what_is_on_record_changes_nothing(
    door: Door, clock: SetClock
) -> None:
    await door.take(review("r1", 2, revision=1))
    clock.advance(minutes=10)
    asked_at = clock.now()
    clock.advance(minutes=50)
    await door.take(review("r1", 2, revision=1, body="Another body"))
    clock.advance(minutes=10)

    old = review("r1", 1, revision=1)
    assert dict(await door.intake.record_page(door.bakery, [old], asked_at=asked_at)) == {
        Reason.STALE: 1
    }
    await door.intake.record_gone(door.bakery, ["r1"], asked_at=asked_at)
    assert (door.status(), door.keys()) == (Status.OPEN, ["new:r1"])
    newer = review("r1", 1, revision=2)
    assert dict(await door.intake.record_page(door.bakery, [newer], asked_at=asked_at)) == {
        Reason.LOWERED: 1
    }


async def test_a_read_is_as_new_as_the_moment_when_it_was_asked_for(
    door: Door, clock: SetClock
) -> None:
    first = clock.now()
    clock.advance(seconds=20)
    second = clock.now()
    clock.advance(seconds=20)
    await door.intake.record_page(door.bakery, [review("r1", 2)], asked_at=first)
    assert dict(await door.intake.record_page(door.bakery, [review("r1", 1)], asked_at=second)) == {
        Reason.LOWERED: 1
    }


async def test_a_review_never_alerted_is_alerted_when_its_answer_is_removed(door: Door) -> None:
    await door.take(review("r1", 2, revision=1, reply=REPLY))
    assert door.keys() == []

    assert await door.take(review("r1", 2, revision=2)) == {Reason.REOPENED: 1}

    assert door.deliveries() == [("new r1", "baker"), ("new r1", "owner")]


async def test_when_its_answer_is_removed_a_sent_review_is_mailed_again(
    door: Door,
) -> None:
    await door.take(review("r1", 2, revision=1))
    door.send("email:owner")
    door.send("slack:baker")
    await door.take(review("r1", 2, revision=2, reply=REPLY))

    await door.take(review("r1", 2, revision=3))

    assert door.status() is Status.OPEN
    assert door.deliveries() == [("reminder r1", "owner")]


async def test_a_review_opens_again_for_each_destination_by_what_it_was_sent(door: Door) -> None:
    await door.take(review("r1", 1, revision=1))
    door.send("slack:baker")
    alerts = [each.alert for each in outbox.due_deliveries(door.state, "email:owner", AT_LAST, 100)]
    message = outbox.claim(door.state, "email:owner", Form.ALERT, alerts, "uid", T0)
    await door.take(review("r1", 1, revision=2, reply=REPLY))
    await door.take(review("r1", 1, revision=3))

    assert door.deliveries() == [("new r1", "owner"), ("new r1", "worst")]  # the mail is on its way
    since = {each.destination: each.since for each in get_reminders_of(door.state, SITE, "r1")}
    assert set(since) == {"slack:baker"}
    assert message
    messages.mark_sent(door.state, message, Receipt("ok"))
    assert {each.destination for each in get_reminders_of(door.state, SITE, "r1")} == {
        "slack:baker",
        "email:owner",
    }


async def test_a_review_that_is_anonymized_is_not_answered_by_an_old_reply(door: Door) -> None:
    await door.take(review("r1", 2, revision=1))
    await door.take(review("r1", 2, revision=2, reply=REPLY))
    await door.take(worse := review("r1", 1, revision=3, reply=REPLY, title="Worse", author="Ada"))

    erased = Event("r1", replace(worse, revision=4), at=AT_LAST, anonymized=True)
    door.intake.record_event(door.bakery, erased)

    assert (door.status(), door.keys()[-1]) == (Status.OPEN, "lowered:r1:1")


async def test_reminders_end_with_the_review(door: Door) -> None:
    await door.take(review("r1", 2, revision=1))
    door.send("email:owner")
    assert get_reminders_of(door.state, SITE, "r1")
    await door.take(review("r1", 2, revision=2, reply=REPLY))
    assert not get_reminders_of(door.state, SITE, "r1")


async def test_a_review_whose_alert_was_cancelled_is_alerted_when_it_reopens(
    door: Door,
) -> None:
    await door.take(review("r1", 2, revision=1))
    await door.take(review("r1", 2, revision=2, moderation="REJECTED"))
    assert door.deliveries() == []

    await door.take(review("r1", 2, revision=3, moderation="APPROVED"))

    assert door.deliveries() == [("new r1", "baker"), ("new r1", "owner")]


async def test_an_edit_is_recorded_and_nobody_is_woken(door: Door) -> None:
    await door.take(review("r1", 2, revision=1, body="old"))

    assert await door.take(review("r1", 2, revision=2, body="new")) == {Reason.EDITED: 1}

    assert reviews.get_reviews(door.state, SITE, ["r1"])["r1"].review.body == "new"
    assert len(door.woken) == 1


async def test_a_message_says_what_the_review_says_now(door: Door) -> None:
    await door.take(review("r1", 2, revision=1, body="old"))
    await door.take(review("r1", 2, revision=2, body="new"))

    message = outbox.claim(door.state, "email:owner", Form.ALERT, [1], "uid", T0)

    assert [each.review.body for each in message.entries if each.review] == ["new"]


def test_the_kinds_of_alert_that_a_review_raises_are_counted_apart(state: State) -> None:
    new_alerts = [
        raised_alerts.NewAlert(Alert(f"{kind}:{SITE}:r1:{number}", kind, SITE, "r1"), [])
        for kind, times in ((AlertKind.LOWERED, 2), (AlertKind.CLOSED, 1))
        for number in range(times)
    ]
    with state.transaction():
        assert raised_alerts.raise_alerts(state, new_alerts, T0) == 3
        assert raised_alerts.raise_alerts(state, new_alerts[:1], T0) == 0

    assert raised_alerts.count_alerts(state, SITE, "r1", AlertKind.LOWERED) == 2
    assert raised_alerts.count_alerts(state, SITE, "r1", AlertKind.CLOSED) == 1
    assert raised_alerts.count_alerts(state, SITE, "r2", AlertKind.CLOSED) == 0
