"""When the rounds of sites are due, in a cluster."""

from datetime import datetime, timedelta

import pytest

from alerter.models import to_ms
from alerter.scopes import ALL_TROUBLE, Scope
from alerter.store import State, blocks, known_sites, reminders, rounds, troubles
from alerter.store.known_sites import SiteState
from alerter.store.reminders import ReminderSpans
from alerter.store.rounds import RoundStart
from alerter.store.troubles import Trouble
from tests.support.clock import SetClock

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPANS = ReminderSpans((DAY, 3 * DAY), 30 * DAY)


def test_the_next_round_of_each_shard_is_that_of_its_earliest_site(
    state: State, clock: SetClock
) -> None:
    now = clock.now()
    with state.transaction():
        known_sites.record_sites(state, {each: each for each in "abcd"}, now)
        rounds.plan_rounds(
            state,
            {"a": 7, "b": 7, "c": 63, "d": 0},
            {each: now + timedelta(seconds=turn) for turn, each in enumerate("abcd")},
            now,
        )
        known_sites.record_sites(state, {each: each for each in "abc"}, now)
    assert rounds.next_rounds(state) == {7: now, 63: now + timedelta(seconds=2)}
    assert rounds.due_shards(state, now) == {7}
    assert list(rounds.due_rounds(state, 7, now, 10, SPANS)) == ["a"]
    with state.transaction():
        known_sites.record_sites(state, {}, now)
    assert rounds.next_rounds(state) == {}


def watched(state: State, now: datetime, *site_ids: str) -> None:
    with state.transaction():
        known_sites.record_sites(state, {each: each for each in site_ids}, now)
        first = dict.fromkeys(site_ids, now)
        rounds.plan_rounds(state, dict.fromkeys(site_ids, 7), first, now)


def put_hold(state: State, site_id: str, kind: str, at: datetime, until: datetime) -> None:
    state.execute(
        "INSERT INTO actions (key, kind, site_id, review_id, person, person_id, through, at,"
        " revision, seen, seen_reply, reply, replaces, until, status, due_at)"
        " VALUES ('press', ?, ?, 'r1', '', '', 'slack', ?, 1, '', '', '', FALSE, ?, 'done', 0)",
        [kind, site_id, to_ms(at), to_ms(until)],
    )


def put_reminders(state: State, site_id: str, since: datetime, reminded: timedelta) -> None:
    state.execute(
        "INSERT INTO reminders (site_id, review_id, destination, since, reminded)"
        " VALUES (?, 'r1', 'email:owner', ?, ?)",
        [site_id, to_ms(since), reminded // timedelta(milliseconds=1)],
    )


def test_a_round_begins_with_what_is_known_of_its_own_site(state: State, clock: SetClock) -> None:
    now = clock.now()
    watched(state, now, "a", "b")
    known_sites.advance_checkpoint(state, "a", now - HOUR)
    known_sites.record_coverage(state, "b", 2)
    blocks.set_block(state, Scope.SITE.of("b"), now, now + HOUR, "wait")
    blocks.set_block(state, Scope.PRIVATE.of("a"), now, now + HOUR, "wait")
    found = rounds.due_rounds(state, 7, now, 10, SPANS)
    assert found == {
        "a": RoundStart(known_sites.get_site_state(state, "a"), has_block=False, has_due=False),
        "b": RoundStart(known_sites.get_site_state(state, "b"), has_block=True, has_due=False),
    }
    assert found["a"].known.checkpoint == now - HOUR
    assert found["b"].known.covered_rating == 2
    assert rounds.get_start(state, "a", now, SPANS) == found["a"]


def test_the_latest_rounds_are_made_first_and_none_twice(state: State, clock: SetClock) -> None:
    now = clock.now()
    watched(state, now, *"abcd")
    for late, site_id in enumerate("cabd"):
        at = to_ms(now - late * HOUR)
        state.execute("UPDATE sites SET next_round = ? WHERE site_id = ?", [at, site_id])
    assert list(rounds.due_rounds(state, 7, now, 10, SPANS)) == ["d", "b", "a", "c"]
    assert list(rounds.due_rounds(state, 7, now, 2, SPANS)) == ["d", "b"]
    assert list(rounds.due_rounds(state, 7, now, 2, SPANS, ["d", "c"])) == ["b", "a"]


def test_a_round_of_a_site_without_a_row_looks_for_everything(
    state: State, clock: SetClock
) -> None:
    start = rounds.get_start(state, "a", clock.now(), SPANS)
    assert start == RoundStart(SiteState(), has_block=True, has_due=True)


@pytest.mark.parametrize(
    ("since", "reminded", "has_due"),
    [
        (-DAY, timedelta(), True),
        (-DAY + HOUR, timedelta(), False),
        (-2 * DAY, DAY, False),
        (-3 * DAY, DAY, True),
        (-31 * DAY, timedelta(), False),
        (HOUR, timedelta(), True),
    ],
    ids=["due", "not yet", "reminded", "the second", "over", "begun by a wrong clock"],
)
def test_a_round_looks_for_reminders_where_one_is_due(
    state: State, clock: SetClock, since: timedelta, reminded: timedelta, has_due: bool
) -> None:
    now = clock.now()
    watched(state, now, "a", "b")
    put_reminders(state, "a", now + since, reminded)
    found = rounds.due_rounds(state, 7, now, 10, SPANS)
    assert {each: start.has_due for each, start in found.items()} == {"a": has_due, "b": False}
    # The look itself agrees, but for the clock, which it sets right.
    due = reminders.get_reminders(state, "a", now, SPANS.after, SPANS.window)
    assert bool(due) == (has_due and since < timedelta())


@pytest.mark.parametrize(
    ("kind", "at", "until", "has_due"),
    [
        ("claim", -HOUR, HOUR, False),
        ("claim", -2 * HOUR, -HOUR, True),
        ("snooze", -HOUR, HOUR, False),
        ("snooze", -HOUR, timedelta(), True),
        ("snooze", 2 * DAY, 3 * DAY, True),
    ],
    ids=["claimed", "claim over", "snoozed", "snooze over", "by a wrong clock"],
)
def test_a_round_looks_for_holds_where_one_is_over(
    state: State, clock: SetClock, kind: str, at: timedelta, until: timedelta, has_due: bool
) -> None:
    now = clock.now()
    watched(state, now, "a", "b")
    put_hold(state, "a", kind, now + at, now + until)
    put_reminders(state, "a", now - DAY, timedelta())  # due, unless it is held
    found = rounds.due_rounds(state, 7, now, 10, SPANS)
    assert {each: start.has_due for each, start in found.items()} == {"a": has_due, "b": False}


def test_without_reminders_only_holds_are_looked_for(state: State, clock: SetClock) -> None:
    now, none = clock.now(), ReminderSpans((), timedelta(days=30))
    watched(state, now, "a")
    put_reminders(state, "a", now - DAY, timedelta())
    assert not rounds.get_start(state, "a", now, none).has_due
    put_hold(state, "a", "snooze", now - HOUR, now)
    assert rounds.get_start(state, "a", now, none).has_due


def test_the_next_round_of_a_shard_is_its_earliest(state: State, clock: SetClock) -> None:
    now = clock.now()
    watched(state, now, "a", "b")
    rounds.schedule_rounds(state, ["a"], now, HOUR)
    assert rounds.next_round(state, 7) == now
    rounds.schedule_rounds(state, ["b"], now, 2 * HOUR)
    assert rounds.next_round(state, 7) == now + HOUR
    assert rounds.next_round(state, 8) is None


def test_two_workers_that_made_a_round_at_once_plan_the_next_one_once(
    state: State, clock: SetClock
) -> None:
    """One was frozen in its round, and another made that too."""
    now = clock.now()
    watched(state, now, "a")
    for _ in range(2):
        rounds.schedule_rounds(state, ["a"], now, HOUR)
    assert rounds.next_round(state, 7) == now + HOUR


def test_rounds_go_on_when_the_clock_is_set_back(state: State, clock: SetClock) -> None:
    now = clock.now()
    watched(state, now, *"abc")
    state.execute("UPDATE sites SET next_round = ? WHERE site_id = 'b'", [to_ms(now + HOUR)])
    state.execute("UPDATE sites SET left_at = 0 WHERE site_id = 'c'")
    before = now - 10 * HOUR - HOUR / 4
    rounds.bring_rounds_forward(state, before, HOUR)
    assert rounds.next_round(state, 7) == before + HOUR / 4
    assert set(rounds.due_rounds(state, 7, before + HOUR / 4, 10, SPANS)) == {"a", "b"}


def test_rounds_of_the_next_period_stay(state: State, clock: SetClock) -> None:
    now = clock.now()
    watched(state, now, "a")
    rounds.schedule_rounds(state, ["a"], now, HOUR)
    for set_back in (timedelta(), timedelta(seconds=1)):
        rounds.bring_rounds_forward(state, now - set_back, HOUR)
        assert rounds.next_round(state, 7) == now + HOUR


def test_sites_that_succeed_again_are_marked_together(state: State, clock: SetClock) -> None:
    """Those of which there is more to record are left to `mark_poll_success`."""
    now = clock.now()
    watched(state, now, *"abcdef")
    with state.transaction(Scope.SITE.of("b"), ALL_TROUBLE):
        known_sites.mark_poll_failure(state, "b", now)
        troubles.put_trouble(state, Trouble(Scope.SITE.of("c"), now, "gone"))
    blocks.set_block(state, Scope.SITE.of("d"), now, now, "wait")
    blocks.set_block(state, Scope.PRIVATE.of("a"), now, now, "wait")
    known_sites.try_mark_success(state, ["e"], now, sees_private=True)
    later = now + HOUR
    more = known_sites.try_mark_success(state, [*"abcdef", "new"], later, sees_private=False)
    assert more == {"b", "c", "d", "e", "new"}
    last = {each: known_sites.get_site_state(state, each).last_success for each in "abcdef"}
    assert last == {"a": later, "b": None, "c": None, "d": None, "e": now, "f": later}
    assert known_sites.try_mark_success(state, ["a", "e"], later, sees_private=True) == set()
