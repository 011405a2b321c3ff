"""Which destinations and shards `tick` defers: those with something due, and no others."""

from datetime import datetime, timedelta

import pytest

from alerter.models import Receipt
from alerter.scopes import Scope, method_scope
from alerter.store import State, blocks, known_sites, messages, rounds
from alerter.store.due import due_destinations
from alerter.store.queue import queued_destinations
from tests.support import outbox
from tests.support.outbox import MINUTE, T0
from tests.support.queue import leased
from tests.support.values import SITE

pytestmark = pytest.mark.postgresql

MAIL, SLACK, OTHER = "email:owner", "slack:team", "slack:other"
SERVICES = {MAIL: "smtp", SLACK: "slack", OTHER: "slack"}
LATER = T0 + MINUTE


def due(state: State, now: datetime = T0) -> set[str]:
    return due_destinations(state, SERVICES, now)


def park(state: State, scope: str) -> None:
    with state.transaction():
        blocks.set_block(state, scope, T0, None, "refused")


def test_nothing_is_due_in_an_empty_database(state: State) -> None:
    assert due(state) == set()


def test_a_delivery_is_due_from_its_moment_on(state: State) -> None:
    outbox.queue(state, 1, receivers=[MAIL])
    outbox.queue(state, 2, receivers=[SLACK], due_at=LATER)
    assert due(state) == {MAIL}
    assert due(state, LATER) == {MAIL, SLACK}


def test_a_destination_of_a_newer_config_is_left_alone(state: State) -> None:
    outbox.queue(state, 1, receivers=["email:new"])
    park(state, Scope.DESTINATION.of("email:new"))
    assert due(state) == set()
    assert due(state, T0 + timedelta(hours=2)) == set()


def test_what_was_being_sent_is_due(state: State) -> None:
    outbox.queue(state, 1, receivers=[MAIL])
    outbox.claim(state, 1, receiver=MAIL)
    assert due(state) == {MAIL}


def test_a_message_in_doubt_is_due_from_its_moment_on(state: State) -> None:
    outbox.queue(state, 1, receivers=[SLACK])
    message = outbox.claim(state, 1, receiver=SLACK)
    messages.mark_in_doubt(state, message, "lost", LATER, lost=True)
    assert due(state) == set()
    assert due(state, LATER) == {SLACK}


def test_a_message_in_doubt_waits_while_looks_are_throttled(state: State) -> None:
    outbox.queue(state, 1, receivers=[SLACK])
    message = outbox.claim(state, 1, receiver=SLACK)
    messages.mark_in_doubt(state, message, "lost", T0, lost=True)
    blocks.set_block(state, method_scope("slack", "look"), T0, LATER, "throttled")
    assert due(state) == set()
    assert due(state, LATER) == {SLACK}


def test_addresses_that_did_not_accept_a_mail_yet_are_due(state: State) -> None:
    outbox.queue(state, 1, receivers=[MAIL])
    message = outbox.claim(state, 1, receiver=MAIL)
    messages.mark_partly_accepted(state, message, ["b@example.com"], LATER, "Subject")
    assert due(state) == set()
    assert due(state, LATER) == {MAIL}


def test_a_message_that_is_out_of_date_is_due(state: State) -> None:
    outbox.queue(state, 1, receivers=[SLACK])
    message = outbox.claim(state, 1, receiver=SLACK)
    receipt = Receipt("ok", slack_channel="C1", slack_ts="1.2")
    messages.mark_sent(state, message, receipt)
    assert due(state) == set()
    state.execute("UPDATE messages SET stale = 1")
    assert due(state) == {SLACK}
    blocks.set_block(state, method_scope("slack", "update"), T0, LATER, "throttled")
    assert due(state) == set()


@pytest.mark.parametrize("scope", [Scope.DESTINATION.of(MAIL), Scope.SERVICE.of("smtp")])
def test_a_blocked_destination_is_not_due_until_its_try(state: State, scope: str) -> None:
    outbox.queue(state, 1, receivers=[MAIL])
    blocks.set_block(state, scope, T0, LATER, "fails")
    assert due(state) == set()
    assert due(state, LATER) == {MAIL}


@pytest.mark.parametrize(
    ("scope", "tries"),
    [
        (Scope.DESTINATION.of(SLACK), {SLACK}),
        (Scope.ADDRESSES.of("owner"), {MAIL}),
        (Scope.SERVICE.of("slack"), {OTHER}),
    ],
    ids=["a destination", "addresses", "one for a service"],
)
def test_what_is_parked_is_tried_at_its_hour(state: State, scope: str, tries: set[str]) -> None:
    park(state, scope)
    assert due(state) == set()
    assert due(state, T0 + timedelta(hours=1)) == tries


def test_another_destination_tries_a_service_where_the_first_is_held(state: State) -> None:
    park(state, Scope.SERVICE.of("slack"))
    hour = T0 + timedelta(hours=1)
    blocks.set_block(state, Scope.DESTINATION.of(OTHER), hour, hour + MINUTE, "fails")
    assert due(state, hour) == {SLACK}


def test_a_destination_with_a_job_is_not_deferred_again(state: State) -> None:
    outbox.queue(state, 1, receivers=[MAIL, SLACK])
    with leased(state, MAIL):
        assert queued_destinations(state, due(state)) == {MAIL}
    assert queued_destinations(state, due(state)) == set()


def test_a_shard_is_due_with_its_first_site(state: State) -> None:
    with state.transaction():
        known_sites.record_sites(state, {SITE: "Bakery", "gone": "Gone"}, T0)
    rounds.plan_rounds(state, {SITE: 7, "gone": 9}, {SITE: LATER, "gone": T0}, LATER)
    assert rounds.due_shards(state, T0) == {9}
    assert rounds.due_shards(state, LATER) == {7, 9}
    with state.transaction():
        known_sites.record_sites(state, {SITE: "Bakery"}, T0)
    assert rounds.due_shards(state, LATER) == {7}
    rounds.schedule_rounds(state, [SITE], LATER, 5 * MINUTE)
    assert rounds.due_shards(state, LATER) == set()
    assert rounds.due_shards(state, LATER + 5 * MINUTE) == {7}
