"""When the rounds of sites are due, in a cluster."""

from datetime import timedelta

from alerter.store import State, known_sites
from tests.support.clock import SetClock


def test_the_next_round_of_each_shard_is_that_of_its_earliest_site(
    state: State, clock: SetClock
) -> None:
    now = clock.now()
    with state.transaction():
        known_sites.record_sites(state, {each: each for each in "abcd"}, now)
        known_sites.plan_rounds(
            state,
            {"a": 7, "b": 7, "c": 63, "d": 0},
            {each: now + timedelta(seconds=turn) for turn, each in enumerate("abcd")},
            now,
        )
        known_sites.record_sites(state, {each: each for each in "abc"}, now)
    assert known_sites.next_rounds(state) == {7: now, 63: now + timedelta(seconds=2)}
    assert known_sites.due_shards(state, now) == {7}
    assert known_sites.due_sites(state, 7, now, 10) == ["a"]
    with state.transaction():
        known_sites.record_sites(state, {}, now)
    assert known_sites.next_rounds(state) == {}
