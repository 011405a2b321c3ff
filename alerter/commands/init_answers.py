"""The answers that a config is made of, and its text. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from alerter.commands.access import GivenSecret
from alerter.wix.sites import ListedSite

RECEIVER = "owner"
_ACCOUNT = "Wix"
_COMMENTS_AT = 40
_HEAD = """\
# Written by `alerter init`; `alerter init --example` prints every key, with what it means.
# After a change, `alerter check` tries it.
"""


@dataclass(frozen=True, slots=True)
class WixAnswers:
    """An account, its key, and the sites of it that are watched.

    `account_id` is None where Wix does not list the sites of the account. With `all_sites` those
    that are added later are watched too, and `sites` are those that are there now.
    """

    api_key: GivenSecret
    account_id: str | None
    sites: tuple[ListedSite, ...]
    base_url: str | None = None
    all_sites: bool = False


@dataclass(frozen=True, slots=True)
class MailAnswers:
    """The server that mails are sent through, and the addresses that get them."""

    host: str
    port: int
    security: str
    sender: str
    addresses: tuple[str, ...]
    username: str | None = None
    password: GivenSecret | None = None


@dataclass(frozen=True, slots=True)
class SlackAnswers:
    """The token of a Slack app, and the id and the name of the channel that gets alerts."""

    token: GivenSecret
    channel: str
    name: str = ""
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that `alerter init` finds out. Base URLs are there for proxies only."""

    wix: WixAnswers
    mail: MailAnswers | None = None
    slack: SlackAnswers | None = None
    state: str = "state.db"
    timezone: str | None = None

    def secrets(self) -> dict[str, GivenSecret]:
        """Return the secrets by what they are called."""
        found = {
            "wix-api-key": self.wix.api_key,
            "smtp-password": self.mail.password if self.mail else None,
            "slack-token": self.slack.token if self.slack else None,
        }
        return {name: secret for name, secret in found.items() if secret}


def config_text(answers: Answers, references: Mapping[str, str]) -> str:
    """Return the config; `references` says for each of the secrets where it is."""
    zone = _line("timezone", answers.timezone, "of the dates in messages")
    parts = [
        _HEAD,
        _line("state", answers.state, "the state file: what was read and sent")
        + (zone if answers.timezone else ""),
        "[alerts]\n" + _line("threshold", 2, "reviews with up to this many stars are alerted"),
        _wix(answers.wix),
        _watched(answers.wix, references["wix-api-key"]),
        _smtp(answers.mail, references) if answers.mail else "",
        _slack(answers.slack, references) if answers.slack else "",
        _receiver(answers),
    ]
    return "\n".join(part for part in parts if part)


def _named(sites: tuple[ListedSite, ...]) -> list[tuple[str, ListedSite]]:
    """Return each site with a name that no other has: two of one name get a part of their ids."""
    names = [site.name for site in sites]
    return [
        (site.name if names.count(site.name) == 1 else f"{site.name} ({site.site_id[:8]})", site)
        for site in sites
    ]


def _wix(wix: WixAnswers) -> str:
    account_id = None if wix.all_sites else wix.account_id
    lines = [
        _line("account_id", account_id, "for `alerter sites`") if account_id else "",
        _line("base_url", wix.base_url) if wix.base_url else "",
    ]
    return "[wix]\n" + "".join(lines) if any(lines) else ""


def _watched(wix: WixAnswers, api_key: str) -> str:
    """Return the account with all its sites, or each of the chosen ones."""
    if wix.all_sites:
        return (
            "[[accounts]]\n"
            + _line("name", _ACCOUNT, "every site of it, also those added later")
            + _line("api_key", api_key)
            + _line("account_id", wix.account_id)
        )
    return "\n".join(
        "[[sites]]\n"
        + _line("name", name, "as messages show it")
        + _line("site_id", site.site_id)
        + _line("api_key", api_key)
        for name, site in _named(wix.sites)
    )


def _smtp(mail: MailAnswers, references: Mapping[str, str]) -> str:
    login = (
        _line("username", mail.username) + _line("password", references["smtp-password"])
        if mail.username
        else ""
    )
    return (
        "[smtp]\n"
        + _line("host", mail.host)
        + _line("port", mail.port)
        + _line("security", mail.security)
        + login
        + _line("from", mail.sender)
    )


def _slack(slack: SlackAnswers, references: Mapping[str, str]) -> str:
    url = _line("base_url", slack.base_url) if slack.base_url else ""
    return "[slack]\n" + _line("token", references["slack-token"]) + url


def _receiver(answers: Answers) -> str:
    lines = [
        _line("name", RECEIVER),
        _line("email", list(answers.mail.addresses)) if answers.mail else "",
        _line("slack", answers.slack.channel, answers.slack.name) if answers.slack else "",
    ]
    return "[[receivers]]\n" + "".join(lines)


def _line(key: str, value: str | int | list[str] | None, comment: str = "") -> str:
    line = f"{key} = {_toml(value)}"
    return f"{line.ljust(_COMMENTS_AT - 1)} # {comment}\n" if comment else f"{line}\n"


def _toml(value: str | int | list[str] | None) -> str:
    """Return a value in TOML, which escapes as JSON does, and DEL too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
