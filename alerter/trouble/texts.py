"""The texts of trouble: what does not work, and what to do about it. Pure."""

from collections.abc import Mapping

from alerter.config import Config
from alerter.models import Medium, phrase_destination

_RETRIED = "correct the cause; alerter tries again each hour, and at once after `alerter retry`"
_TEXTS = {
    "config": (
        "the changed config is not in force",
        "correct it (`alerter check`), then reload the service again",
    ),
    "site": (
        "the reviews of {} cannot be read",
        "run `alerter check`; if Wix refuses us, look at the site's key or app and its permissions",
    ),
    "private": (
        "reviews of {} that are not published cannot be read any more",
        "grant its key or app Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS) again",
    ),
    "unrouted": (
        "alerts of {} go to no receiver",
        "look at the open reviews in `alerter status`, and correct `[[receivers]]` in the config",
    ),
    "job": (
        "alerter cannot do a part of its work: {}",
        "look at its log, and report the error in it",
    ),
    "state": ("the state file cannot be written", "nothing"),
    "start": ("alerter does not start", "nothing"),
    "message": (
        "alerts to {} were refused for good",
        "see `alerter status`, then `alerter retry`",
    ),
    "erasure": (
        "words of a deleted review still stand in messages to {}",
        "let the app into the channel again, or delete the messages there by hand",
    ),
    "addresses": ("some addresses of {} refuse our mail", "correct the addresses in the config"),
    "template": (
        "the template {} does not work, and the built-in one is used instead",
        "run `alerter check`, which names the error, and correct the file",
    ),
    "destination": ("receiver {} cannot be reached", _RETRIED),
    "service": ("{} refuses us", _RETRIED),
    "method:look": (
        "{} limits how often alerter can look whether a message arrived",
        "nothing; alerter goes on when the limit allows it",
    ),
    "method:update": (
        "{} limits how often alerter can change messages",
        "nothing; alerter goes on when the limit allows it",
    ),
}


def describe(scope: str, sites: Mapping[str, str], config: Config) -> tuple[str, str]:
    """Return what does not work, and what to do about it; `sites`: names by site id."""
    kind, _, name = scope.partition(":")
    if kind == "method":
        name, _, method = name.rpartition(":")
        kind = f"method:{method}"
    shown = name
    if kind in ("site", "private", "unrouted"):
        shown = sites.get(name, name)
    elif kind in ("destination", "message", "erasure"):
        shown = phrase_destination(name)
    elif kind == "service" or kind.startswith("method:"):
        shown = _service(name, config)
    what, remedy = _TEXTS[kind]
    return what.format(shown), remedy


def _service(name: str, config: Config) -> str:
    if name in ("slack", "smtp"):
        return "Slack" if name == "slack" else "the mail server"
    receivers = [
        receiver.name
        for receiver in config.receivers
        if config.service(receiver, Medium.SLACK) == name
    ]
    return f"the Slack workspace of {', '.join(receivers) or name}"
