"""Each state that triage judged is kept without words, as long as its review is."""

from datetime import datetime, timedelta

from alerter.models import CloseReason, Grouping, Status
from alerter.store import State, known_sites, reviews
from alerter.store.erasure import erase_site
from alerter.store.judgements import (
    Judgement,
    SilentRead,
    Source,
    judgements_of,
    put_unread_span,
    unread_spans,
)
from alerter.store.prune import prune
from tests.support.clock import SetClock
from tests.support.intake import FLORIST, REPLY, T0, Door, config, fresh
from tests.support.reviews import review
from tests.support.values import SITE

__all__ = ["config", "fresh"]
DAY = timedelta(days=1)


def kept(state: State, site_id: str = SITE) -> list[Judgement]:
    return list(judgements_of(state, [site_id]))


async def pruned(door: Door, now: datetime) -> int:
    known_sites.mark_poll_success(door.state, SITE, now, sees_private=True)
    known_sites.mark_poll_success(door.state, FLORIST, now, sees_private=True)
    return await prune(door.state, now, 30 * DAY, window=DAY, destinations=[])


async def test_a_state_is_kept_only_where_the_record_changes(fresh: Door, clock: SetClock) -> None:
    await fresh.take(review("r1"), review("r2", 5))
    known_sites.record_coverage(fresh.state, SITE, 2)
    await fresh.take(review("r1"), review("r3", 2, revision=1))
    clock.advance(hours=1)
    await fresh.take(review("r1"), review("r3", 2, revision=1))
    await fresh.take(review("r3", 1, revision=2, title="Worse"))
    await fresh.take(review("r3", 1, revision=3, title="Worse", reply=REPLY))

    found = [
        (each.record.review.id, each.record.status, each.record.closing, each.record.review.rating)
        for each in kept(fresh.state)
    ]
    assert found == [
        ("r1", Status.BASELINE, None, 1),
        ("r3", Status.OPEN, None, 2),
        ("r3", Status.OPEN, None, 1),
        ("r3", Status.CLOSED, CloseReason.ANSWERED, 1),
    ]
    baseline, first, lowered, answered = kept(fresh.state)
    assert [each.covered for each in (baseline, first)] == [False, True]
    assert [each.edited for each in (first, lowered, answered)] == [True, True, False]
    assert [each.replied for each in (first, lowered, answered)] == [True, False, True]
    assert (first.judged_at, lowered.judged_at) == (T0, clock.now())
    assert {each.source for each in kept(fresh.state)} == {Source.RESCAN}


async def test_a_read_of_the_past_and_a_backfill_are_kept_as_such(fresh: Door) -> None:
    await fresh.intake.record_page(fresh.bakery, [review("r1")], silently=True)
    await fresh.tell(Grouping.DIGEST)

    silent, past = kept(fresh.state)
    assert (silent.silence, silent.record.status) == (SilentRead.PAST, Status.BASELINE)
    assert (past.source, past.record.status) == (Source.PAST, Status.OPEN)


async def test_no_words_of_a_customer_are_kept(fresh: Door) -> None:
    known_sites.record_coverage(fresh.state, SITE, 2)
    await fresh.take(review("r1", title="Stale", body="Hard as stone", author="Ada"))

    [row] = fresh.state.rows("SELECT * FROM judgements")
    assert not [each for each in ("Stale", "Hard", "Ada") if each in repr(row)]


async def test_what_was_judged_is_pruned_with_its_review(fresh: Door, clock: SetClock) -> None:
    await fresh.take(review("r1", revision=1))
    clock.advance(days=40)
    await fresh.take(review("r2"))
    put_unread_span(fresh.state, SITE, T0 - 3 * DAY, T0)
    put_unread_span(fresh.state, SITE, T0 - 2 * DAY, clock.now())

    assert await pruned(fresh, clock.now()) == 1
    assert [each.record.review.id for each in kept(fresh.state)] == ["r2"]
    assert unread_spans(fresh.state, [SITE]) == {SITE: [(T0 - 2 * DAY, clock.now())]}


async def test_a_pruned_review_is_on_record_again_with_what_it_was(
    fresh: Door, clock: SetClock
) -> None:
    await fresh.take(review("r1", 2, revision=1, reply=REPLY))
    clock.advance(days=40)
    await pruned(fresh, clock.now())
    await fresh.take(review("r1", 1, revision=2, reply=REPLY))

    before, now = kept(fresh.state)
    assert (before.source, before.record.review.rating, before.record.status) == (
        Source.RECORD,
        2,
        Status.BASELINE,
    )
    assert now.record.review.rating == 1


async def test_what_was_judged_is_erased_with_a_customer(fresh: Door, clock: SetClock) -> None:
    await fresh.take(review("r1"))
    await fresh.take(review("r2"), site=fresh.florist)
    erase_site(fresh.state, SITE, clock.now())

    assert kept(fresh.state) == []
    assert len(kept(fresh.state, FLORIST)) == 1
    assert reviews.get_reviews(fresh.state, SITE, ["r1"])


async def test_an_answer_to_an_old_text_stays_one_when_its_words_are_erased(
    fresh: Door, clock: SetClock
) -> None:
    known_sites.record_coverage(fresh.state, FLORIST, 4)
    for revision, rating, reply in ((1, 4, None), (2, 4, REPLY), (3, 3, REPLY), (4, 2, REPLY)):
        if revision == 4:
            clock.advance(days=40)
            await pruned(fresh, clock.now())
        page = [review("r1", rating, revision=revision, reply=reply)]
        await fresh.intake.record_page(fresh.florist, page)

    last = kept(fresh.state, FLORIST)[-1]
    assert (last.record.status, last.record.review.rating, last.replied) == (Status.OPEN, 2, False)
