"""What became of an action, in sentences."""

from datetime import UTC, datetime

import pytest

from alerter.actions import (
    Action,
    ActionKind,
    ActionStatus,
    NewAction,
    Outcome,
    Person,
    Through,
)
from alerter.render.language import get_language
from alerter.render.outcomes import describe_action, describe_invalid_reply
from tests.support.values import SITE

ENGLISH = get_language("en")


def action(kind: ActionKind, outcome: Outcome | None, answer: str = "") -> Action:
    new = NewAction("page:1", kind, SITE, "r1", Person("owner"), Through.PAGE)
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return Action(1, new, at, ActionStatus.SENDING, outcome=outcome, answer=answer)


@pytest.mark.parametrize("kind", ActionKind)
def test_each_outcome_of_each_action_is_a_sentence_of_its_own(kind: ActionKind) -> None:
    told = [describe_action(action(kind, outcome), ENGLISH) for outcome in Outcome]
    assert all(each.endswith((".", "–")) for each in told)
    assert len(set(told)) >= len(told) - 1  # `already` is `done` where there is nothing to send


def test_an_action_under_way_does_not_read_like_one_that_is_done() -> None:
    for kind in (ActionKind.REPLY, ActionKind.PUBLISH, ActionKind.REJECT):
        under_way = describe_action(action(kind, None), ENGLISH)
        assert under_way != describe_action(action(kind, Outcome.DONE), ENGLISH)


def test_what_wix_answered_to_a_refused_call_is_quoted_in_part() -> None:
    told = describe_action(action(ActionKind.REPLY, Outcome.REFUSED, "no\nway " * 100), ENGLISH)
    assert told.startswith("Nothing was changed. Wix answered: no way no way")
    assert len(told) < 300
    assert "\n" not in told


def test_a_reply_that_is_too_long_is_counted_in_the_language_of_its_author() -> None:
    told = describe_invalid_reply("too long", 10_001, 10_000, get_language("de"))
    assert told == "Die Antwort hat 10.001 Zeichen, und Wix nimmt 10.000."
    for fault in ("empty", "not text", "control characters"):
        assert describe_invalid_reply(fault, 0, 10_000, ENGLISH).startswith("The reply ")
