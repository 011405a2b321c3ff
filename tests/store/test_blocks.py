"""Scopes that must not be called: for a while, or parked until a person acts."""

from datetime import UTC, datetime, timedelta

import pytest

from alerter.store import State, blocks, troubles
from alerter.store.blocks import Block
from alerter.store.troubles import Trouble

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
SCOPES = ["destination:email:owner", "service:smtp"]


def test_a_scope_that_nobody_blocked_is_free(state: State) -> None:
    assert blocks.get_block(state, SCOPES, T0) is None
    assert blocks.blocked_since(state, "destination:email:owner") is None


def test_a_wait_holds_until_its_moment_and_no_longer(state: State) -> None:
    blocks.set_block(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")

    assert blocks.get_block(state, SCOPES, T0) == Block(
        "destination:email:owner", T0, T0 + MINUTE, parked=False, reason="timeout"
    )
    assert blocks.is_blocked(
        state, "destination:email:owner", T0 + MINUTE - timedelta(milliseconds=1)
    )
    assert not blocks.is_blocked(state, "destination:email:owner", T0 + MINUTE)
    assert not blocks.is_blocked(state, "receiver:other", T0)


@pytest.mark.parametrize("until", [T0 - SECOND, T0 + HOUR, None], ids=["over", "a wait", "parked"])
def test_a_block_is_there_until_it_is_lifted(state: State, until: datetime | None) -> None:
    assert not blocks.have_blocks(state, SCOPES)
    blocks.set_block(state, "service:other", T0, until, "500")
    assert not blocks.have_blocks(state, SCOPES)
    blocks.set_block(state, SCOPES[1], T0, until, "500")
    assert blocks.have_blocks(state, SCOPES)
    with state.transaction():
        blocks.lift_blocks(state, SCOPES)
    assert not blocks.have_blocks(state, SCOPES)


def test_a_run_of_failures_keeps_its_beginning(state: State) -> None:
    for number in range(3):
        now = T0 + number * HOUR
        blocks.set_block(state, "destination:email:owner", now, now + MINUTE, f"failure {number}")

    assert blocks.blocked_since(state, "destination:email:owner") == T0
    assert blocks.get_block(state, SCOPES, T0 + 2 * HOUR) == Block(
        "destination:email:owner", T0, T0 + 2 * HOUR + MINUTE, parked=False, reason="failure 2"
    )


def test_a_wait_that_is_over_still_says_when_the_failures_began(state: State) -> None:
    blocks.set_block(state, "destination:email:owner", T0, T0 + SECOND, "timeout")

    assert not blocks.is_blocked(state, "destination:email:owner", T0 + HOUR)
    assert blocks.blocked_since(state, "destination:email:owner") == T0


def test_a_parked_scope_is_tried_after_an_hour(state: State) -> None:
    blocks.set_block(state, "destination:email:owner", T0, T0 + SECOND, "timeout")
    blocks.set_block(state, "destination:email:owner", T0 + SECOND, None, "channel_not_found")
    blocks.set_block(state, "service:smtp", T0, T0 + HOUR, "421")

    until = T0 + SECOND + HOUR
    assert blocks.get_parked(state) == [
        Block("destination:email:owner", T0, until, parked=True, reason="channel_not_found")
    ]
    assert blocks.is_blocked(state, "destination:email:owner", until - SECOND)
    assert not blocks.is_blocked(state, "destination:email:owner", until)


def test_the_try_of_what_is_parked_is_taken_once_an_hour(state: State) -> None:
    blocks.set_block(state, "service:slack", T0, None, "invalid_auth")
    with state.transaction():
        assert blocks.retry_parked(state) == ["service:slack"]
    assert not blocks.is_blocked(state, "service:slack", T0 + SECOND)

    [tried] = blocks.claim_attempt(
        state, ["destination:slack:support", "service:slack"], T0 + SECOND
    )

    assert tried == "service:slack"
    assert blocks.is_blocked(state, "service:slack", T0 + SECOND)
    assert not blocks.is_blocked(state, "service:slack", T0 + SECOND + HOUR)
    assert [block.scope for block in blocks.get_parked(state)] == ["service:slack"]


def test_a_failed_try_for_another_reason_leaves_the_next_one_to_its_hour(state: State) -> None:
    blocks.set_block(state, "service:slack", T0, None, "invalid_auth")
    blocks.claim_attempt(state, ["service:slack"], T0 + HOUR)
    blocks.set_block(state, "service:slack", T0 + HOUR, T0 + HOUR + SECOND, "timeout")

    assert blocks.is_blocked(state, "service:slack", T0 + HOUR + MINUTE)
    assert blocks.get_parked(state)[0].reason == "invalid_auth"


def test_bad_addresses_are_tried_like_what_is_parked_and_park_nothing(state: State) -> None:
    blocks.set_block(state, "addresses:owner", T0, None, "550")
    with state.transaction():
        assert blocks.retry_parked(state) == []

    assert blocks.get_parked(state) == []
    assert blocks.claim_attempt(state, ["addresses:owner"], T0) == ["addresses:owner"]


@pytest.mark.parametrize("order", [1, -1], ids=["the receiver's first", "the service's first"])
@pytest.mark.parametrize(
    ("receiver", "service", "longest"),
    [
        (T0 + HOUR, T0 + MINUTE, "destination:email:owner"),
        (T0 + MINUTE, T0 + HOUR, "service:smtp"),
        (None, T0 + HOUR * 2, "destination:email:owner"),
        (T0 + HOUR * 2, None, "service:smtp"),
        (T0 - SECOND, T0 + MINUTE, "service:smtp"),
    ],
    ids=[
        "the receiver's",
        "the service's",
        "the receiver is parked",
        "the service is parked",
        "one is over",
    ],
)
def test_of_several_blocks_the_one_that_holds_longest_counts(
    state: State, receiver: datetime | None, service: datetime | None, longest: str, order: int
) -> None:
    for scope, until in [("destination:email:owner", receiver), ("service:smtp", service)][::order]:
        blocks.set_block(state, scope, T0 - MINUTE, until, "reason")

    found = blocks.get_block(state, SCOPES[::order], T0)

    assert found is not None
    assert found.scope == longest


@pytest.mark.parametrize(
    "back", [timedelta(milliseconds=1), timedelta(days=400)], ids=["a little", "a year"]
)
def test_a_clock_that_is_set_back_ends_every_wait(state: State, back: timedelta) -> None:
    blocks.set_block(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")
    blocks.set_block(state, "service:smtp", T0, None, "535")

    assert not blocks.is_blocked(state, "destination:email:owner", T0 - back)
    assert not blocks.is_blocked(state, "service:smtp", T0 - back)
    blocks.claim_attempt(state, ["service:smtp"], T0 - back)
    assert blocks.is_blocked(state, "service:smtp", T0 - back)


def test_a_failure_after_the_clock_was_set_back_is_waited_for_again(state: State) -> None:
    blocks.set_block(state, "destination:email:owner", T0, T0 + MINUTE, "timeout")
    blocks.set_block(state, "destination:email:owner", T0 - HOUR, T0 - HOUR + MINUTE, "timeout")

    assert blocks.is_blocked(state, "destination:email:owner", T0 - HOUR + SECOND)
    assert not blocks.is_blocked(state, "destination:email:owner", T0)
    assert blocks.blocked_since(state, "destination:email:owner") == T0 - HOUR


def test_a_shorter_wait_does_not_cut_a_longer_one_short(state: State) -> None:
    blocks.set_block(state, "service:slack", T0, T0 + HOUR, "429 to one receiver")
    blocks.set_block(
        state, "service:slack", T0 + SECOND, T0 + MINUTE, "429 to another, under way at that time"
    )

    assert blocks.is_blocked(state, "service:slack", T0 + 2 * MINUTE)


def test_a_wait_does_not_end_a_parking(state: State) -> None:
    blocks.set_block(state, "service:slack", T0, None, "invalid_auth to one receiver")
    blocks.set_block(
        state, "service:slack", T0 + SECOND, T0 + MINUTE, "429 to another, under way at that time"
    )

    assert blocks.is_blocked(state, "service:slack", T0 + HOUR - SECOND)


def test_lifting_frees_these_scopes_and_no_others(state: State) -> None:
    for scope in (*SCOPES, "site:1"):
        blocks.set_block(state, scope, T0, None, "reason")

    with state.transaction():
        assert blocks.lift_blocks(state, ["destination:email:owner", "site:1", "site:2"]) == [
            "destination:email:owner",
            "site:1",
        ]

    assert [block.scope for block in blocks.get_parked(state)] == ["service:smtp"]


@pytest.mark.parametrize("until", [T0 + HOUR, None], ids=["a wait", "a parking"])
def test_a_good_call_lifts_only_what_was_set_before_it_began(
    state: State, until: datetime | None
) -> None:
    blocks.set_block(state, "destination:email:owner", T0, until, "500")
    blocks.set_block(state, "service:smtp", T0 + SECOND, until, "slow down")
    blocks.set_block(state, "destination:other", T0, until, "500")

    with state.transaction():
        blocks.lift_blocks_before(state, SCOPES, T0)

    assert [block.scope for block in blocks.get_blocks(state)] == [
        "destination:other",
        "service:smtp",
    ]


def test_a_try_that_another_process_has_claimed_since_is_seen(state: State) -> None:
    blocks.set_block(state, "service:smtp", T0 - 2 * HOUR, None, "535")
    assert blocks.get_block_or_try(state, SCOPES, T0) == (None, True)
    assert blocks.claim_attempt(state, SCOPES, T0) == ["service:smtp"]
    assert blocks.claim_attempt(state, SCOPES, T0) == []
    block, is_try_due = blocks.get_block_or_try(state, SCOPES, T0)
    assert block
    assert not is_try_due


def test_a_fault_is_a_block_or_a_trouble_that_is_not_over(state: State) -> None:
    with state.transaction():
        for scope, over_at in (("template:a", None), ("template:b", T0)):
            troubles.put_trouble(state, Trouble(scope, T0 - HOUR, "reason", over_at=over_at))
        blocks.set_block(state, SCOPES[0], T0 - HOUR, T0 - MINUTE, "a wait that is over")

    assert not troubles.have_faults(state, [SCOPES[1], "template:b"])
    assert troubles.have_faults(state, SCOPES)
    assert troubles.have_faults(state, [SCOPES[1], "template:a"])
    assert not troubles.have_faults(state, [])
