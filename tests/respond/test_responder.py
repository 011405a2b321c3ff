"""Actions against the embedded Wix: each arrives once, or is refused to the person."""

import asyncio
from datetime import timedelta

import pytest

from alerter.actions import Action, ActionKind, ActionStatus, Outcome, Through
from alerter.demo.faults import Fault
from alerter.demo.wix_misreads import Meanwhile
from alerter.models import Status
from alerter.respond.responder import DAEMON, LEASE, WAITS_FOR_WIX, PendingActions
from alerter.store import actions, blocks
from tests.support.responding import ADA, BO, Desk, desk, wix
from tests.support.values import SECRETS, SITE

__all__ = ["desk", "wix"]

BEFORE, AFTER = Fault(drop="before"), Fault(drop="after")
REPLY, MODERATE = "/reply", "/moderate"


def settled(action: Action) -> tuple[ActionStatus, Outcome | None]:
    return action.status, action.outcome


DONE = (ActionStatus.DONE, Outcome.DONE)


async def test_a_reply_arrives_and_closes_the_review(desk: Desk) -> None:
    assert settled(await desk.act()) == DONE
    assert desk.reply() == "We are sorry."
    assert desk.calls() == 1
    assert desk.status() is Status.CLOSED
    response = actions.get_responses(desk.state, [(SITE, "r1")], desk.clock.now())[SITE, "r1"]
    assert (response.replied_by, response.replying) == ("Ada", "")


async def test_a_reply_is_being_sent_until_its_fate_is_known(desk: Desk) -> None:
    desk.responder().request(desk.new())
    response = actions.get_responses(desk.state, [(SITE, "r1")], desk.clock.now())[SITE, "r1"]
    assert response.replying == "Ada"


async def test_the_same_press_that_arrives_twice_is_one_action(desk: Desk) -> None:
    responder, new = desk.responder(), desk.new()
    first = await responder.carry_out(responder.request(new))
    second = await responder.carry_out(responder.request(new))
    assert first == second
    assert desk.calls() == 1


@pytest.mark.parametrize("kind", [ActionKind.REPLY, ActionKind.PUBLISH, ActionKind.REJECT])
async def test_a_call_whose_answer_is_lost_is_read_back(desk: Desk, kind: ActionKind) -> None:
    desk.wix.moderate(SITE, "r1", "IN_MODERATION")
    desk.wix.faults.add(REPLY if kind is ActionKind.REPLY else MODERATE, AFTER)
    assert settled(await desk.act(kind)) == DONE
    assert desk.calls() == 1
    assert 2.0 in desk.clock.slept


async def test_a_call_that_never_arrived_is_sent_once_more(desk: Desk) -> None:
    desk.wix.faults.add(REPLY, BEFORE)
    assert settled(await desk.act()) == DONE
    assert desk.reply() == "We are sorry."
    assert desk.calls() == 2
    assert desk.clock.slept[:3] == [2.0, 5.0, 15.0]


async def test_a_call_that_is_lost_twice_has_failed(desk: Desk) -> None:
    desk.wix.faults.add(REPLY, BEFORE, BEFORE)
    assert settled(await desk.act()) == (ActionStatus.FAILED, Outcome.LOST)
    assert desk.calls() == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=302, headers={"Location": "https://elsewhere.example"}),
        Fault(garble="truncate"),
        Fault(status=200, body="{}"),
    ],
    ids=["500", "redirect", "truncated", "no review"],
)
async def test_an_answer_that_says_little_is_no_reason_to_send_twice(
    desk: Desk, fault: Fault
) -> None:
    desk.wix.faults.add(REPLY, fault)
    assert settled(await desk.act()) == DONE
    assert desk.reply() == "We are sorry."


async def test_a_reply_of_another_person_is_never_overwritten(desk: Desk) -> None:
    desk.wix.reply(SITE, "r1", "From the dashboard")
    assert settled(await desk.act()) == (ActionStatus.FAILED, Outcome.OTHER_REPLY)
    assert desk.reply() == "From the dashboard"
    assert desk.calls() == 0


async def test_a_reply_is_replaced_by_who_has_seen_it(desk: Desk) -> None:
    desk.wix.reply(SITE, "r1", "From the dashboard")
    seen = (await desk.client.review(desk.config.sites[0], "r1")).reply_digest
    assert settled(await desk.act(seen_reply=seen, replace=True)) == DONE
    assert desk.reply() == "We are sorry."


async def test_a_reply_that_changed_since_it_was_seen_is_not_replaced(desk: Desk) -> None:
    desk.wix.reply(SITE, "r1", "From the dashboard")
    seen = (await desk.client.review(desk.config.sites[0], "r1")).reply_digest
    desk.wix.reply(SITE, "r1", "A better one")
    found = await desk.act(seen_reply=seen, replace=True)
    assert found.outcome is Outcome.OTHER_REPLY
    assert desk.reply() == "A better one"


async def test_a_reply_that_comes_while_the_answer_is_lost_stays(desk: Desk) -> None:
    desk.wix.faults.add(REPLY, BEFORE)
    looks = iter(range(9))

    def reply_after_second_look() -> None:
        if next(looks) == 1:
            desk.wix.reply(SITE, "r1", "From the dashboard")

    desk.between = reply_after_second_look
    assert (await desk.act()).outcome is Outcome.OTHER_REPLY
    assert desk.reply() == "From the dashboard"
    assert desk.calls() == 1


async def test_the_same_reply_of_another_person_counts_as_there(desk: Desk) -> None:
    desk.wix.reply(SITE, "r1", "We are sorry.")
    assert settled(await desk.act()) == (ActionStatus.DONE, Outcome.ALREADY)
    assert desk.calls() == 0


@pytest.mark.parametrize("kind", [ActionKind.REPLY, ActionKind.PUBLISH])
async def test_a_text_that_has_changed_since_is_not_answered(desk: Desk, kind: ActionKind) -> None:
    new = desk.new(kind)
    desk.wix.moderate(SITE, "r1", "IN_MODERATION")
    desk.wix.change(SITE, "r1", content={"body": "It was another shop. Sorry!"})
    responder = desk.responder()
    found = await responder.carry_out(responder.request(new))
    assert settled(found) == (ActionStatus.FAILED, Outcome.OTHER_TEXT)
    assert desk.calls() == 0
    assert desk.stored().body == "It was another shop. Sorry!"


async def test_a_vote_in_between_is_no_reason_to_refuse(desk: Desk) -> None:
    new = desk.new()
    desk.wix.change(SITE, "r1", foundHelpful=7)
    responder = desk.responder()
    assert settled(await responder.carry_out(responder.request(new))) == DONE


async def test_a_change_during_the_call_is_reported(desk: Desk) -> None:
    desk.between = lambda: desk.calls() or desk.wix.change(SITE, "r1", foundHelpful=3)
    found = await desk.act()
    assert settled(found) == (ActionStatus.DONE, Outcome.CHANGED_MEANWHILE)


async def test_a_change_during_a_call_with_a_lost_answer_is_reported(desk: Desk) -> None:
    desk.wix.faults.add(REPLY, AFTER)
    desk.between = lambda: desk.calls() or desk.wix.reply(SITE, "r1", "From the dashboard")
    assert (await desk.act()).outcome is Outcome.CHANGED_MEANWHILE


async def test_a_review_that_is_gone_cannot_be_answered(desk: Desk) -> None:
    new = desk.new()
    desk.wix.delete(SITE, "r1")
    responder = desk.responder()
    assert (await responder.carry_out(responder.request(new))).outcome is Outcome.GONE


@pytest.mark.parametrize("cause", ["deleted", "forbidden"])
async def test_what_may_have_arrived_is_never_called_unsent(desk: Desk, cause: str) -> None:
    """The review or the permission goes while it is not known whether the call has arrived."""
    desk.wix.faults.add(REPLY, AFTER)

    def lose_sight() -> None:
        if cause == "deleted":
            desk.wix.delete(SITE, "r1")
        else:
            desk.wix.forbid(SECRETS["WIX_API_KEY"], "READ_REVIEWS")

    desk.wix.sites[SITE].meanwhile.add("after reply", Meanwhile(lose_sight))
    assert settled(await desk.act()) == (ActionStatus.FAILED, Outcome.LOST)


async def test_a_missing_permission_is_named(desk: Desk) -> None:
    desk.wix.forbid(SECRETS["WIX_API_KEY"], "SET_REPLY")
    found = await desk.act()
    assert settled(found) == (ActionStatus.FAILED, Outcome.FORBIDDEN)
    assert "403" in found.answer
    assert desk.reply() is None


async def test_a_reply_that_wix_does_not_take_is_refused(desk: Desk) -> None:
    found = await desk.act(reply="x" * 10_001)
    assert settled(found) == (ActionStatus.FAILED, Outcome.REFUSED)
    assert desk.calls() == 1


async def test_an_action_waits_while_wix_is_down_and_is_sent_then(desk: Desk) -> None:
    responder, daemon = desk.responder(), desk.responder(owner=DAEMON)
    pending = PendingActions(desk.state, desk.clock, daemon)
    desk.wix.faults.always("/r1", Fault(status=503))
    action = await responder.carry_out(responder.request(desk.new()))
    assert action.status is ActionStatus.PENDING
    for _ in range(30):
        desk.clock.advance(seconds=20)
        await pending.round()
        await asyncio.gather(*pending.under_way)
    desk.wix.faults.clear()
    desk.clock.advance(minutes=2)
    await pending.round()
    await asyncio.gather(*pending.under_way)
    assert desk.reply() == "We are sorry."
    found = actions.get_action(desk.state, action.id)
    assert found
    assert settled(found) == DONE


async def test_an_action_gives_up_after_an_hour_without_wix(desk: Desk) -> None:
    pending = PendingActions(desk.state, desk.clock, desk.responder())
    desk.wix.faults.always("/r1", Fault(status=503))
    action = desk.responder().request(desk.new())
    for _ in range(65):
        await pending.round()
        await asyncio.gather(*pending.under_way)
        desk.clock.advance(minutes=1)
    found = actions.get_action(desk.state, action.id)
    assert found
    assert settled(found) == (ActionStatus.FAILED, Outcome.UNREACHABLE)
    assert desk.calls() == 0


async def test_wix_is_not_asked_before_the_time_that_it_named(desk: Desk) -> None:
    desk.wix.faults.always("/r1", Fault(status=429, headers={"Retry-After": "600"}))
    action = await desk.act()
    assert action.due_at == desk.clock.now() + timedelta(seconds=600)
    assert blocks.is_blocked(desk.state, f"site:{SITE}", desk.clock.now())


async def test_a_call_that_wix_throttles_was_not_made(desk: Desk) -> None:
    desk.wix.faults.add(REPLY, Fault(status=429, headers={"Retry-After": "60"}))
    action = await desk.act()
    assert (action.status, action.calls) == (ActionStatus.PENDING, 0)
    desk.clock.advance(seconds=61)
    assert settled(await desk.responder().carry_out(action)) == DONE
    assert desk.calls() == 2


async def test_a_site_that_wix_throttles_gets_no_calls_of_people_either(desk: Desk) -> None:
    now = desk.clock.now()
    blocks.set_block(desk.state, f"site:{SITE}", now, now + timedelta(minutes=5), "slow down")
    before = len(desk.wix.requests)
    action = await desk.act()
    assert (action.status, action.due_at) == (ActionStatus.PENDING, now + timedelta(minutes=5))
    assert len(desk.wix.requests) == before


async def test_without_patience_an_action_fails_at_once(desk: Desk) -> None:
    desk.wix.faults.always("/r1", Fault(status=503))
    responder = desk.responder(patience=timedelta())
    found = await responder.carry_out(responder.request(desk.new()))
    assert settled(found) == (ActionStatus.FAILED, Outcome.UNREACHABLE)


@pytest.mark.parametrize("arrived", [True, False])
async def test_what_a_dead_process_was_sending_is_read_back_first(
    desk: Desk, arrived: bool
) -> None:
    action = desk.dead()
    if arrived:
        desk.wix.reply(SITE, "r1", "We are sorry.")
    desk.clock.advance(seconds=61)
    found = await desk.responder().carry_out(action)
    assert settled(found) == DONE
    assert desk.reply() == "We are sorry."
    assert desk.calls() == (0 if arrived else 1)
    assert desk.clock.slept[0] == 2.0


async def test_no_other_process_acts_while_a_lease_lasts(desk: Desk) -> None:
    action = desk.dead()
    desk.clock.advance(seconds=59)
    found = await desk.responder().carry_out(action)
    assert found.status is ActionStatus.SENDING
    assert desk.wix.requests[-1].method == "GET"
    assert desk.calls() == 0
    assert actions.due_actions(desk.state, desk.clock.now(), LEASE, WAITS_FOR_WIX, 9) == []


async def test_a_lease_from_a_clock_that_was_ahead_is_over(desk: Desk) -> None:
    desk.clock.step(days=400)
    action = desk.dead()
    desk.clock.step(days=-400)
    assert settled(await desk.responder().carry_out(action)) == DONE


async def test_an_action_from_a_clock_that_was_ahead_is_due(desk: Desk) -> None:
    pending = PendingActions(desk.state, desk.clock, desk.responder())
    desk.clock.step(days=400)
    action = desk.responder().request(desk.new())
    desk.clock.step(days=-400)
    await pending.round()
    await asyncio.gather(*pending.under_way)
    found = actions.get_action(desk.state, action.id)
    assert found
    assert settled(found) == DONE


async def test_the_next_daemon_takes_over_at_once(desk: Desk) -> None:
    action = desk.dead()
    actions.end_leases(desk.state, DAEMON)
    assert settled(await desk.responder(owner=DAEMON).carry_out(action)) == DONE


async def test_a_process_that_was_frozen_sends_nothing_any_more(desk: Desk) -> None:
    other = desk.responder()
    taken: list[Action] = []

    def freeze() -> None:
        """Let another process take the action over between the look and the call."""
        desk.between = lambda: None
        desk.clock.advance(seconds=61)
        now = desk.clock.now()
        with desk.state.transaction(f"site:{SITE}"):
            found = actions.take_action(desk.state, action.id, "other:1", now, LEASE)
        assert found
        taken.append(found)

    action = other.request(desk.new())
    desk.between = freeze
    found = await other.carry_out(action)
    assert taken
    assert found.status is ActionStatus.SENDING
    assert desk.calls() == 0


async def test_of_two_people_at_once_one_is_refused(desk: Desk) -> None:
    responder = desk.responder()
    first = responder.request(desk.new())
    second = responder.request(desk.new(person=BO, reply="Please call us."))
    await asyncio.gather(responder.carry_out(first), responder.carry_out(second))
    await responder.carry_out(second)
    found = [actions.get_action(desk.state, each.id) for each in (first, second)]
    assert [each.outcome for each in found if each] == [Outcome.DONE, Outcome.OTHER_REPLY]
    assert desk.reply() == "We are sorry."
    assert desk.calls() == 1


async def test_moderation_is_done_once_and_recorded(desk: Desk) -> None:
    desk.wix.moderate(SITE, "r1", "IN_MODERATION")
    assert settled(await desk.act(ActionKind.REJECT)) == DONE
    assert desk.status() is Status.CLOSED
    assert (await desk.act(ActionKind.REJECT)).outcome is Outcome.ALREADY
    assert desk.calls() == 1
    assert settled(await desk.act(ActionKind.PUBLISH)) == DONE
    assert desk.status() is Status.OPEN


async def test_a_second_claim_replaces_the_first_and_names_it(desk: Desk) -> None:
    until = desk.clock.now() + timedelta(hours=48)
    first = await desk.act(ActionKind.CLAIM, until=until)
    second = await desk.act(ActionKind.CLAIM, person=BO, until=until)
    assert (settled(first), first.answer) == (DONE, "")
    assert (settled(second), second.answer) == (DONE, "Ada")
    response = actions.get_responses(desk.state, [(SITE, "r1")], desk.clock.now())[SITE, "r1"]
    assert (response.claimed_by, response.claimed_until) == ("Bo", until)
    await desk.act(ActionKind.RELEASE)
    response = actions.get_responses(desk.state, [(SITE, "r1")], desk.clock.now())[SITE, "r1"]
    assert response.claimed_by == ""
    assert desk.calls() == 0


async def test_an_answer_ends_a_claim_and_a_snooze(desk: Desk) -> None:
    until = desk.clock.now() + timedelta(hours=48)
    await desk.act(ActionKind.CLAIM, until=until)
    await desk.act(ActionKind.SNOOZE, until=until)
    await desk.act()
    response = actions.get_responses(desk.state, [(SITE, "r1")], desk.clock.now())[SITE, "r1"]
    assert (response.claimed_by, response.snoozed_by) == ("", "")


@pytest.mark.parametrize("kind", [ActionKind.CLAIM, ActionKind.SNOOZE])
async def test_a_review_that_needs_no_answer_is_not_claimed(desk: Desk, kind: ActionKind) -> None:
    await desk.act()
    found = await desk.act(kind, until=desk.clock.now() + timedelta(hours=1))
    assert (settled(found), found.answer) == (
        (ActionStatus.FAILED, Outcome.NOT_OPEN),
        "answered",
    )


async def test_a_review_that_is_not_on_record_is_not_claimed(desk: Desk) -> None:
    until = desk.clock.now() + timedelta(hours=1)
    found = await desk.act(ActionKind.CLAIM, review_id="other", until=until)
    assert settled(found) == (ActionStatus.FAILED, Outcome.GONE)


async def test_the_place_of_a_person_is_kept_until_they_have_the_result(desk: Desk) -> None:
    await desk.act(through=Through.SLACK, place={"channel": "C1", "user": ADA.slack_id})
    (found,) = actions.unreported_actions(desk.state, 9)
    assert found.new.place == {"channel": "C1", "user": "U0ADA"}
    actions.mark_reported(desk.state, found.id)
    assert actions.unreported_actions(desk.state, 9) == []
