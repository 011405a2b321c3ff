"""The texts of trouble: what does not work, and what to do about it. Pure."""

from collections.abc import Mapping

from alerter.config import Config
from alerter.models import Medium, phrase_destination
from alerter.scopes import Scope, split_method, split_scope

_RETRIED = "correct the cause; alerter tries again each hour, and at once after `alerter retry`"
_TEXTS = {
    Scope.CONFIG: (
        "the changed config is not in force",
        "correct it (`alerter check`), then reload the service again",
    ),
    Scope.SITE: (
        "the reviews of {} cannot be read",
        "run `alerter check`; if Wix refuses us, look at the site's key or app and its permissions",
    ),
    Scope.PRIVATE: (
        "reviews of {} that are not published cannot be read any more",
        "grant its key or app Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS) again",
    ),
    Scope.UNROUTED: (
        "alerts of {} go to no receiver",
        "look at the open reviews in `alerter status`, and correct `[[receivers]]` in the config",
    ),
    Scope.JOB: (
        "alerter cannot do a part of its work: {}",
        "look at its log, and report the error in it",
    ),
    Scope.STATE: ("the state file cannot be written", "nothing"),
    Scope.START: ("alerter does not start", "nothing"),
    Scope.MESSAGE: (
        "alerts to {} were refused for good",
        "see `alerter status`, then `alerter retry`",
    ),
    Scope.ERASURE: (
        "words of a deleted review still stand in messages to {}",
        "let the app into the channel again, or delete the messages there by hand",
    ),
    Scope.ADDRESSES: (
        "some addresses of {} refuse our mail",
        "correct the addresses in the config",
    ),
    Scope.TEMPLATE: (
        "the template {} does not work, and the built-in one is used instead",
        "run `alerter check`, which names the error, and correct the file",
    ),
    Scope.DESTINATION: ("receiver {} cannot be reached", _RETRIED),
    Scope.SERVICE: ("{} refuses us", _RETRIED),
    Scope.METHOD: (
        "{} limits how often alerter can {}",
        "nothing; alerter goes on when the limit allows it",
    ),
}
_METHODS = {"look": "look whether a message arrived", "update": "change messages"}


def describe(scope: str, sites: Mapping[str, str], config: Config) -> tuple[str, str]:
    """Return what does not work, and what to do about it; `sites`: names by site id."""
    kind, name = split_scope(scope)
    shown = [name]
    if kind in (Scope.SITE, Scope.PRIVATE, Scope.UNROUTED):
        shown = [sites.get(name, name)]
    elif kind in (Scope.DESTINATION, Scope.MESSAGE, Scope.ERASURE):
        shown = [phrase_destination(name)]
    elif kind == Scope.SERVICE:
        shown = [_service(name, config)]
    elif kind == Scope.METHOD:
        service, method = split_method(name)
        shown = [_service(service, config), _METHODS[method]]
    what, remedy = _TEXTS[Scope(kind)]
    return what.format(*shown), remedy


def _service(name: str, config: Config) -> str:
    if name in ("slack", "smtp"):
        return "Slack" if name == "slack" else "the mail server"
    receivers = [
        receiver.name
        for receiver in config.receivers
        if config.service(receiver, Medium.SLACK) == name
    ]
    return f"the Slack workspace of {', '.join(receivers) or name}"
