"""The tables of a config that say who is notified, of what, when, and through which service."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from glob import escape
from itertools import pairwise
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr
from pydantic_core import PydanticCustomError

from alerter.config.fields import (
    DAYS,
    END_OF_DAY,
    Address,
    Day,
    Duration,
    LanguageCode,
    List,
    Names,
    Port,
    Rating,
    Sender,
    SlackAddress,
    SlackMention,
    SlackUser,
    Text,
    TimeOfDay,
    Url,
    WeeklyTime,
    is_loopback,
    parse_duration,
    parse_time_of_day,
)
from alerter.config.secrets import AppToken, HeaderSecret, HookSecret, Secret, SecretUrl, SlackToken
from alerter.config.table import Problem, Table
from alerter.models import POSTED, Medium, destination_of


class Smtp(Table):
    """The mail server that mail is sent through."""

    host: Text
    port: Port
    security: Literal["starttls", "tls", "none"]
    username: Text | None = None
    password: Secret | None = None
    sender: Sender = Field(alias="from")

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield half a login, and a login that would be sent unencrypted."""
        if ("username" in raw) != ("password" in raw):
            missing = "password" if "username" in raw else "username"
            yield Problem(missing, "username and password go together")
        host = raw.get("host")
        unencrypted = raw.get("security") == "none" and "password" in raw
        if unencrypted and isinstance(host, str) and not is_loopback(host):
            yield Problem(
                "security",
                "must be starttls or tls: a password goes unencrypted to this machine only",
            )


class Slack(Table):
    """The Slack workspace; with an `app_token`, its messages have buttons (Socket Mode)."""

    token: HeaderSecret
    app_token: AppToken | None = None
    base_url: Url = "https://slack.com/api"


class Quiet(Table):
    """Hours in which a receiver gets nothing, by the clock of the config's timezone.

    `begin` and `end` are minutes since midnight; hours that end before they begin end on the next
    day. `days` are the days on which they begin.
    """

    begin: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    days: Names[Day] = DAYS

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield hours that are empty, or that never end."""
        begin, end = (_time_of_day(raw.get(key)) for key in ("from", "to"))
        days = raw.get("days", DAYS)
        if begin is not None and begin == end:
            yield Problem(
                "to", 'must not be the same as `from`; a whole day is from "00:00" to "24:00"'
            )
        elif begin == END_OF_DAY:
            yield Problem(
                "from",
                'must be earlier than the end of the day; the beginning of the next is "00:00"',
            )
        elif (begin, end) == (0, END_OF_DAY) and (
            not isinstance(days, list | tuple) or all(day in days for day in DAYS)
        ):
            yield Problem("days", "must leave a day on which the receiver gets something")


class Receiver(Table):
    """A named person or team: how it is reached, of what it is notified, and when."""

    name: Text
    email: Names[Address] | None = None
    slack: SlackAddress | None = None
    token: SlackToken | None = None
    webhook: SecretUrl | None = None
    webhook_secret: HookSecret | None = None
    ntfy: SecretUrl | None = None
    discord: SecretUrl | None = None
    teams: SecretUrl | None = None
    sites: Names[Text] | None = None
    accounts: Names[Text] | None = None
    trouble: bool = False
    closings: bool = False
    language: LanguageCode = "en"
    max_rating: Rating | None = None
    min_rating: Rating | None = None
    products: Names[Text] | None = None
    keywords: Names[Text] | None = None
    topics: Names[Text] | None = None
    quiet: Quiet | None = None
    urgent_max_rating: Rating | None = None
    mention: SlackMention | None = None
    mention_max_rating: Rating = 5
    responders: Names[SlackUser] | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield keys that are missing or have no effect without another, and empty ranges."""
        yield from _media_rules(raw)
        if "token" in raw and "slack" not in raw:
            yield Problem("token", "goes with slack: it is the token of another Slack workspace")
        least, most = raw.get("min_rating"), raw.get("max_rating")
        if isinstance(least, int) and isinstance(most, int) and least > most:
            yield Problem("min_rating", "must not be more than max_rating: no review would be both")
        if "mention" in raw and "slack" not in raw:
            yield Problem("mention", "is for receivers on Slack")
        if "responders" in raw and "slack" not in raw:
            yield Problem("responders", "is for receivers on Slack")
        if "mention_max_rating" in raw and "mention" not in raw:
            yield Problem("mention_max_rating", "goes with mention, which is missing")

    # The names of the sites of its accounts: see `with_account_sites`.
    _of_accounts: frozenset[str] = PrivateAttr(frozenset())

    def with_sites_of_accounts(self, names: frozenset[str]) -> Self:
        """Return the receiver with the names of the sites of its accounts."""
        receiver = self.model_copy()
        receiver._of_accounts = names  # noqa: SLF001 - its own
        return receiver

    def covers_account(self, account: str) -> bool:
        """Return whether it is notified of every site of an account, those to come too."""
        return account in (self.accounts or ()) or self.covers_all

    @property
    def covers_all(self) -> bool:
        """Whether it is notified of every site."""
        return (self.sites is None and self.accounts is None) or "*" in (self.sites or ())

    @property
    def named_sites(self) -> frozenset[str] | None:
        """The names of its sites, with those of its accounts; None where it has a pattern."""
        if self.covers_all or any(map(is_pattern, self.sites or ())):
            return None
        return self._of_accounts.union(self.sites or ())

    def covers(self, site: str) -> bool:
        """Return whether it is notified of a site, which is given by its name."""
        if self.covers_all:
            return True
        return site in self._of_accounts or any(matches(each, site) for each in self.sites or ())

    @cached_property
    def media(self) -> tuple[Medium, ...]:
        """The media that it is reached by."""
        return tuple(medium for medium in Medium if getattr(self, medium) is not None)

    def addresses(self, medium: str) -> tuple[str, ...]:
        """Return its addresses in a medium; empty where it is not reached by that."""
        if medium == Medium.EMAIL:
            return tuple(self.email or ())
        if medium == Medium.SLACK:
            return () if self.slack is None else (str(self.slack),)
        posted: SecretStr | None = getattr(self, medium)
        return () if posted is None else (posted.get_secret_value(),)

    @cached_property
    def destinations(self) -> tuple[str, ...]:
        """Its destinations, such as `slack:support`."""
        return tuple(destination_of(self.name, medium) for medium in self.media)


def _media_rules(raw: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a receiver that is reached by nothing, or by media that do not go together."""
    posted = [medium for medium in POSTED if medium in raw]
    if "email" not in raw and "slack" not in raw and not posted:
        yield Problem(
            "email",
            "set email, slack or both, or else one of webhook, ntfy, discord and teams:"
            " a receiver needs an address",
        )
    others = [*(medium for medium in ("email", "slack") if medium in raw), *posted]
    if posted and len(others) > 1:
        yield Problem(
            posted[0],
            "stands alone: only email and slack go together; make a receiver of its own for it",
        )
    if ("webhook" in raw) != ("webhook_secret" in raw):
        missing, there = ("webhook", "webhook_secret")[:: 1 if "webhook_secret" in raw else -1]
        yield Problem(missing, f"goes with {there}, which is there")


class ReminderSchedule(Table):
    """How long after its alert people are reminded of a review that is still open.

    `escalate_to` is a receiver that gets the last reminder too. A claim holds the reminders of a
    review for `claimed_for`.
    """

    after: List[Duration] = ()
    escalate_to: Text | None = None
    claimed_for: Duration = timedelta(hours=48)

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield durations that do not rise."""
        after = raw.get("after")
        spans = [duration_of(text) for text in after] if isinstance(after, list) else []
        valid = [span for span in spans if span]
        if valid == spans and any(later <= earlier for earlier, later in pairwise(valid)):
            yield Problem("after", "must rise from one to the next")


class Summary(Table):
    """A report on the past day or week: when it is sent, and to whom."""

    name: Text
    at: WeeklyTime
    receivers: Names[Text]


def is_pattern(name: str) -> bool:
    """Return whether the name of a site in a receiver stands for all that match it."""
    return "*" in name


def matches(wanted: str, site: str) -> bool:
    """Return whether the name or pattern in a receiver is that of a site; `*` is any text."""
    return wanted == site or (
        is_pattern(wanted) and fnmatchcase(site, escape(wanted).replace("[*]", "*"))
    )


def duration_of(value: object) -> timedelta | None:
    """Return the duration that a key holds as it is written; None if it is none."""
    try:
        return parse_duration(value)
    except PydanticCustomError:
        return None


def _time_of_day(value: object) -> int | None:
    try:
        return parse_time_of_day(value)
    except PydanticCustomError:
        return None
