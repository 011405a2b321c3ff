"""What people did about a review, in sentences for who runs alerter."""

from collections.abc import Callable
from datetime import datetime

from alerter.actions import Action, ActionKind, ActionStatus, Outcome, Through
from alerter.commands.terminal import plain

LONGEST_NAME = 40
_LONGEST_ANSWER = 200
_DONE = {
    ActionKind.REPLY: "replied",
    ActionKind.PUBLISH: "published it",
    ActionKind.REJECT: "rejected it",
    ActionKind.CLAIM: "claimed it",
    ActionKind.RELEASE: "released it",
    ActionKind.SNOOZE: "snoozed it",
}
_WANTED = {
    ActionKind.REPLY: "reply",
    ActionKind.PUBLISH: "publish it",
    ActionKind.REJECT: "reject it",
    ActionKind.CLAIM: "claim it",
    ActionKind.RELEASE: "release it",
    ActionKind.SNOOZE: "snooze it",
}
_THROUGH = {
    Through.SLACK: "on Slack",
    Through.PAGE: "on the review page",
    Through.COMMAND: "from the command line",
}
_OUTCOMES = {
    Outcome.DONE: "",
    Outcome.ALREADY: "nothing was sent, as Wix had it so already",
    Outcome.CHANGED_MEANWHILE: "something else changed at Wix at the same moment",
    Outcome.OTHER_REPLY: "refused, as it has another reply by now",
    Outcome.OTHER_TEXT: "refused, as its text has changed since",
    Outcome.GONE: "refused, as Wix does not have it any more, or hides it",
    Outcome.NOT_OPEN: "refused, as it needs no answer",
    Outcome.FORBIDDEN: "refused: the key or app lacks the permission",
    Outcome.REFUSED: "Wix refused it",
    Outcome.UNREACHABLE: "given up, as Wix could not be reached; nothing was sent",
    Outcome.LOST: "in doubt: it was sent twice, and Wix does not show it",
    Outcome.RESTORED: "not sent again after a restore, and may have been sent before",
}


def phrase_action(action: Action, at: Callable[[datetime], str]) -> str:
    """Return who did what through what, and what became of it; `at` phrases a moment."""
    new = action.new
    name = plain(new.person.name, LONGEST_NAME) or "somebody"
    if action.status is ActionStatus.DONE:
        did = _DONE[new.kind]
    else:
        wants = "wanted" if action.is_settled else "wants"
        did = f"{wants} to {_WANTED[new.kind]}"
    parts = [f"{name} {did} {_THROUGH[new.through]}", _phrase_fate(action, at)]
    return "; ".join(part for part in parts if part)


def _phrase_fate(action: Action, at: Callable[[datetime], str]) -> str:
    """Return what became of an action; empty for what its verb says already."""
    if action.outcome is None:
        if action.status is ActionStatus.SENDING:
            return "it is being sent to Wix"
        return "it waits to be sent to Wix"
    if action.new.until and action.status is ActionStatus.DONE:
        return _phrase_hold(action, action.new.until, at)
    text = _OUTCOMES[action.outcome]
    if action.new.kind.is_call and action.outcome is Outcome.DONE and action.finished_at:
        return f"it was at Wix at {at(action.finished_at)}"
    if action.answer and action.outcome in (Outcome.REFUSED, Outcome.FORBIDDEN):
        return f"{text}: {plain(action.answer, _LONGEST_ANSWER)}"
    return text


def _phrase_hold(action: Action, until: datetime, at: Callable[[datetime], str]) -> str:
    replaced = plain(action.answer, _LONGEST_ANSWER)
    text = f"until {at(until)}" + (f", in place of {replaced}" if replaced else "")
    ended = action.ended_at
    return f"{text}; ended at {at(ended)}" if ended and ended < until else text
