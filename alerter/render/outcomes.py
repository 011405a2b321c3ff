"""What became of an action, in sentences for the person who acted. Pure."""

from collections.abc import Mapping

from alerter.actions import Action, ActionKind, Outcome
from alerter.render.formatting import clean_line, clean_name, cut
from alerter.render.language import Language
from alerter.translation import mark

_LONGEST_ANSWER = 200
_DONE = {
    ActionKind.REPLY: mark("Your reply is at Wix."),
    ActionKind.PUBLISH: mark("The review is published."),
    ActionKind.REJECT: mark("The review is rejected."),
    ActionKind.CLAIM: mark("You are on it. Nobody is reminded of this review for now."),
    ActionKind.RELEASE: mark("You are not on it any more. Reminders continue."),
    ActionKind.SNOOZE: mark("Nobody is reminded of this review until then."),
}
# Where another person was on it until now.
_INSTEAD = {
    ActionKind.CLAIM: mark("You are on it now, instead of %(name)s."),
    ActionKind.RELEASE: mark("%(name)s is not on it any more"),
}
_ALREADY = {
    ActionKind.REPLY: mark("Nothing was sent: the review has this reply already."),
    ActionKind.PUBLISH: mark("Nothing was changed: the review is published already."),
    ActionKind.REJECT: mark("Nothing was changed: the review is rejected already."),
}
_UNDER_WAY = {
    ActionKind.REPLY: mark("Your reply is being sent to Wix."),
    ActionKind.PUBLISH: mark("The review is being published."),
    ActionKind.REJECT: mark("The review is being rejected."),
}
_REFUSED: Mapping[Outcome, str] = {
    Outcome.OTHER_REPLY: mark("Nothing was sent: the review has another reply now."),
    Outcome.OTHER_TEXT: mark("Nothing was sent: the customer has changed the review."),
    Outcome.GONE: mark("Nothing was changed: the review is not at Wix any more, or is hidden."),
    Outcome.NOT_OPEN: mark("Nothing was changed: this review needs no answer any more."),
    Outcome.FORBIDDEN: mark(
        "Nothing was changed: Wix does not allow alerter to do this. Please do it in the dashboard."
    ),
    Outcome.UNREACHABLE: mark(
        "Nothing was sent: Wix could not be reached. Try again, or do it in the dashboard."
    ),
    Outcome.LOST: mark(
        "Wix did not say whether it has this, and it does not show it."
        " Please look in the dashboard before you try again."
    ),
    Outcome.RESTORED: mark(
        "It is not known whether this was sent, because alerter was restored from a backup."
        " Please look in the dashboard before you try again."
    ),
}
_INVALID_REPLIES = {
    "empty": mark("The reply is empty."),
    "not text": mark("The reply has characters that are no text."),
    "control characters": mark("The reply has characters that cannot be seen."),
}


def describe_action(action: Action, language: Language) -> str:
    """Return what became of an action, or that it is under way, as sentences."""
    kind, outcome = action.new.kind, action.outcome
    if outcome is None:
        return language.gettext(_UNDER_WAY.get(kind, _DONE[kind]))
    if outcome is Outcome.DONE and action.answer and kind in _INSTEAD:
        return language.gettext(_INSTEAD[kind]) % {"name": clean_name(action.answer)}
    if outcome is Outcome.ALREADY and kind in _ALREADY:
        return language.gettext(_ALREADY[kind])
    if outcome is Outcome.CHANGED_MEANWHILE:
        more = language.gettext("The review changed at the same moment: please look at it again.")
        return f"{language.gettext(_DONE[kind])} {more}"
    if outcome is Outcome.REFUSED:
        text = language.gettext("Nothing was changed. Wix answered: %(answer)s")
        return text % {"answer": cut(clean_line(action.answer), _LONGEST_ANSWER) or "–"}
    return language.gettext(_REFUSED.get(outcome, _DONE[kind]))


def describe_invalid_reply(fault: str, length: int, most: int, language: Language) -> str:
    """Return why Wix does not take a reply; `fault` and `length` are those of InvalidReply."""
    if fault == "too long":
        text = language.gettext("The reply has %(length)s characters, and Wix takes %(most)s.")
        return text % {"length": language.number(length), "most": language.number(most)}
    return language.gettext(_INVALID_REPLIES[fault])
