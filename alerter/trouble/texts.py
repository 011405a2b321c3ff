"""The texts of trouble: what does not work, and what to do about it. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from alerter.config import Config
from alerter.models import Medium, phrase_destination
from alerter.scopes import Scope, split_method, split_scope


class TroubleText(NamedTuple):
    """What does not work, what to do about it, and what is said once it works again."""

    what: str
    remedy: str
    over: str


_RETRIED = "Correct the cause. alerter tries again each hour, and at once after `alerter retry`."
_TEXTS = {
    Scope.CONFIG: TroubleText(
        "the changed config is not in force",
        "Correct it (`alerter check` shows what is wrong), then reload the service again.",
        "The changed config is in force",
    ),
    Scope.SITE: TroubleText(
        "the reviews of {} cannot be read",
        "Run `alerter check`. If Wix refuses to answer, look at the site's key or app and its "
        "permissions.",
        "{}'s reviews can be read again",
    ),
    Scope.PRIVATE: TroubleText(
        "reviews of {} that are not published cannot be read any more",
        "Grant its key or app Manage Reviews (`REVIEWS.READ_PRIVATE_REVIEWS`) again.",
        "{}'s unpublished reviews can be read again",
    ),
    Scope.UNROUTED: TroubleText(
        "alerts of {} go to no receiver",
        "See the open reviews in `alerter status`, and correct `[[receivers]]` in the config.",
        "Alerts of {} have a receiver again",
    ),
    Scope.JOB: TroubleText(
        "alerter cannot do a part of its work: {}",
        "Look at its log, and report the error in it.",
        "alerter can do this part of its work again: {}",
    ),
    Scope.STATE: TroubleText(
        "the state file cannot be written",
        "Nothing.",
        "The state file can be written again",
    ),
    Scope.START: TroubleText("alerter does not start", "Nothing.", "alerter has started"),
    Scope.MESSAGE: TroubleText(
        "alerts to {} were refused for good",
        "See `alerter status`, then run `alerter retry`.",
        "No refused alert to {} is left",
    ),
    Scope.ERASURE: TroubleText(
        "words of a deleted review still stand in messages to {}",
        "Invite the app to the channel again, or delete the messages there by hand.",
        "No words of a deleted review stand in messages to {} any more",
    ),
    Scope.ADDRESSES: TroubleText(
        "some addresses of {} refuse our mail",
        "Correct the addresses in the config.",
        "The addresses of {} take our mail again",
    ),
    Scope.TEMPLATE: TroubleText(
        "the template {} does not work, and the built-in one is used instead",
        "Run `alerter check`, which names the error, and correct the file.",
        "The template {} works again",
    ),
    Scope.DESTINATION: TroubleText(
        "receiver {} cannot be reached", _RETRIED, "Receiver {} can be reached again"
    ),
    Scope.SERVICE: TroubleText("{} refuses us", _RETRIED, "{} accepts us again"),
}
_METHODS = {
    "look": TroubleText(
        "{} limits how often alerter can look whether a message arrived",
        "Nothing. alerter continues when the limit allows it.",
        "{} lets alerter look for messages again",
    ),
    "update": TroubleText(
        "{} limits how often alerter can change messages",
        "Nothing. alerter continues when the limit allows it.",
        "{} lets alerter change messages again",
    ),
}


def describe(scope: str, sites: Mapping[str, str], config: Config) -> TroubleText:
    """Return the texts of a scope's trouble; `sites`: names by site id."""
    kind, shown = split_scope(scope)
    if kind == Scope.METHOD:
        service, method = split_method(shown)
        text, shown = _METHODS[method], _service(service, config)
    else:
        text = _TEXTS[Scope(kind)]
    if kind in (Scope.SITE, Scope.PRIVATE, Scope.UNROUTED):
        shown = sites.get(shown, shown)
    elif kind in (Scope.DESTINATION, Scope.MESSAGE, Scope.ERASURE):
        shown = phrase_destination(shown)
    elif kind == Scope.SERVICE:
        shown = _service(shown, config)
    return TroubleText(text.what.format(shown), text.remedy, _sentence(text.over.format(shown)))


def _sentence(text: str) -> str:
    """Return a text with a capital, as our phrases for services have none."""
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _service(name: str, config: Config) -> str:
    if name in ("slack", "smtp"):
        return "Slack" if name == "slack" else "the mail server"
    receivers = [
        receiver.name
        for receiver in config.receivers
        if config.service(receiver, Medium.SLACK) == name
    ]
    return f"the Slack workspace of {', '.join(receivers) or name}"
