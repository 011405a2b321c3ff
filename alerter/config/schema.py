"""The config as a whole: its tables, the rules between them, and how it is loaded."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from alerter.config.fields import (
    TOPICS,
    Folder,
    Lines,
    List,
    Listen,
    Names,
    Tables,
    Text,
    Timezone,
    TopicWord,
    Url,
    nearest,
)
from alerter.config.files import read_files
from alerter.config.receivers import (
    Receiver,
    ReminderSchedule,
    Slack,
    Smtp,
    Summary,
    duration_of,
    is_pattern,
)
from alerter.config.secrets import LinkSecret, SecretUrl
from alerter.config.sites import (
    RESCAN_WINDOW,
    SHORTEST_RECORD,
    Account,
    AlertLimits,
    App,
    Limits,
    Poll,
    Site,
    Wix,
)
from alerter.config.state import KEEP, PostgresUrl, StateTable, state_table
from alerter.config.table import Problem, Table, problems_of
from alerter.errors import ConfigError
from alerter.models import Medium, destination_of, medium_of
from alerter.scopes import Scope

_CASE_INSENSITIVE = ("site_id", "instance_id")  # at Wix


class Web(Table):
    """Where alerter listens for webhooks, and serves health, metrics and the review page.

    Needs the extra `web`. Mails link to the review page where it has a `public_url`.
    """

    listen: Listen
    public_url: Url | None = None
    link_secret: LinkSecret | None = None

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield one half of what links to the review page need."""
        for key, other in (("public_url", "link_secret"), ("link_secret", "public_url")):
            if key in raw and other not in raw:
                yield Problem(other, f"goes with {key}, which is there")


class CannedReply(Table):
    """A reply that a person may choose and change: a template, rendered with the review."""

    name: Text
    text: Lines


class Topic(Table):
    """A topic of the owner's own, or words for a built-in one, which is known by its name."""

    name: Text
    words: Names[TopicWord]

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield the name of a built-in topic that is spelt with capitals or spaces."""
        name = str(raw.get("name", ""))
        if name not in TOPICS and name.strip().casefold() in TOPICS:
            built_in = name.strip().casefold()
            yield Problem("name", f'there is a built-in topic "{built_in}": write it like that')


class HeartbeatTarget(Table):
    """The address that is called while all is well, so that another service notices silence."""

    url: SecretUrl


class Config(Table):
    """Everything that a config file says, checked."""

    state_file: Annotated[StateTable, BeforeValidator(state_table)] = Field(alias="state")
    timezone: Timezone = "UTC"  # type: ignore[assignment]  # validated into a ZoneInfo
    templates: Folder | None = None
    include: Text | None = None
    include_env: List[Text] | None = None
    poll: Poll = Poll()
    alerts: AlertLimits = AlertLimits()
    reminders: ReminderSchedule = ReminderSchedule()
    wix: Wix = Wix()
    sites: Tables[Site] = ()
    accounts: Tables[Account] = ()
    smtp: Smtp | None = None
    slack: Slack | None = None
    receivers: Tables[Receiver]
    web: Web | None = None
    apps: Tables[App] = ()
    heartbeat: HeartbeatTarget | None = None
    summaries: Tables[Summary] = ()
    replies: Tables[CannedReply] = ()
    topics: Tables[Topic] = ()

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield the faults between tables."""
        if not _tables(raw, "sites") and not _tables(raw, "accounts"):
            yield Problem("sites", "at least one [[sites]] or one of [[accounts]] is needed")
        if "receivers" in raw and not _tables(raw, "receivers"):
            yield Problem("receivers", "at least one [[receivers]] is needed")
        for name, key in (
            ("sites", "name"),
            ("sites", "site_id"),
            ("sites", "instance_id"),
            ("accounts", "name"),
            ("accounts", "account_id"),
            ("receivers", "name"),
            ("apps", "app_id"),
            ("summaries", "name"),
            ("replies", "name"),
            ("topics", "name"),
        ):
            yield from _repeated(raw, name, key)
        yield from _durations(raw)
        yield from _missing_services(raw)
        yield from _unknown_names(raw)

    @property
    def database(self) -> Path | PostgresUrl:
        """The database that holds the state."""
        return self.state_file.database

    @property
    def site_names(self) -> dict[str, str]:
        """The names of its sites, by their ids."""
        return {site.site_id: site.name for site in self.sites}

    def threshold(self, site: Site) -> int:
        """Return the highest rating (in stars) that is low-rated on a site."""
        return site.threshold or self.alerts.threshold

    def limits(self, site: Site) -> Limits:
        """Return up to which ratings reviews of a site are low-rated."""
        plain = self.threshold(site)
        return Limits(plain, max(plain, self.alerts.topics_up_to or 0))

    @property
    def languages(self) -> frozenset[str]:
        """The languages of its receivers, whose lists of words find topics."""
        return frozenset(receiver.language for receiver in self.receivers)

    def sites_of(self, receiver: Receiver) -> set[str]:
        """Return the names of the sites that a receiver is notified of."""
        named = receiver.named_sites
        if named is not None and not self.accounts:  # each is there, and receivers may be many
            return set(named)
        if named is not None:
            return {site.name for site in self.sites if site.name in named}
        return {site.name for site in self.sites if receiver.covers(site.name)}

    def destinations(self) -> dict[str, Receiver]:
        """Return every destination with its receiver."""
        return {
            destination: receiver
            for receiver in self.receivers
            for destination in receiver.destinations
        }

    def services(self) -> dict[str, str]:
        """Return the service of every destination."""
        return {
            destination: self.service(receiver, medium_of(destination))
            for destination, receiver in self.destinations().items()
        }

    def service(self, receiver: Receiver, medium: str) -> str:
        """Return the service that a destination is reached by: one for each Slack workspace."""
        if medium == Medium.EMAIL:
            return "smtp"
        if medium != Medium.SLACK:  # the service is the single address
            return destination_of(receiver.name, Medium(medium))
        return f"slack:{receiver.token.source}" if receiver.token else "slack"

    def scopes(self, receiver: Receiver, destination: str) -> list[str]:
        """Return the scopes that can park a destination: its own and that of its service."""
        return [
            Scope.DESTINATION.of(destination),
            Scope.SERVICE.of(self.service(receiver, medium_of(destination))),
        ]

    def workspace(self, receiver: Receiver) -> Slack | None:
        """Return the Slack workspace of a receiver; None where it is not reached on Slack."""
        if receiver.token is None:
            return self.slack if receiver.slack else None
        base_url = self.slack.base_url if self.slack else Slack.model_fields["base_url"].default
        return Slack.model_construct(token=receiver.token.secret, base_url=base_url)


def load_config(
    path: Path, environ: Mapping[str, str], *, secrets: bool, text: str | None = None
) -> Config:
    """Read and check a config file and those that it includes.

    `text` is what the file will hold, where it is not written yet.
    With `secrets=False`, for commands that call no service, no secret is read. Raises ConfigError
    with every fault at once; no fault holds the value of a secret.
    """
    files = read_files(path, text)
    context = {
        "folder": path.absolute().parent,
        "environ": environ,
        "secrets": secrets,
        # A file that cannot be read may hold what the others lack, so no rule is checked then.
        "incomplete": bool(files.unread),
    }
    config, faults = None, dict[str, str]()
    try:
        config = Config.model_validate(files.raw, context=context)
    except ValidationError as error:
        faults = problems_of(error)
    if not files.unread:
        faults |= files.foreign_sites()
    pattern = files.raw.get("include")
    if faults and isinstance(pattern, str) and not files.included and not files.faults:
        faults.setdefault("include", f'no file matches "{pattern}"')
    located = [*files.faults, *((*files.origin(key), text) for key, text in faults.items())]
    problems = [*files.unread, *(f"{key}: {text} (in {file})" for file, key, text in located)]
    if config is None or problems:
        raise ConfigError(problems)
    receivers = tuple(
        receiver
        if own is None
        else receiver.model_copy(update={"sites": tuple(filter(receiver.covers, own))})
        for receiver, own in zip(config.receivers, files.own_sites(), strict=True)
    )
    return config.model_copy(update={"receivers": receivers})


def _tables(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = raw.get(name)
    tables = found if isinstance(found, list) else []
    return [table if isinstance(table, dict) else {} for table in tables]


def _table(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = raw.get(name)
    return found if isinstance(found, dict) else {}


def _names(raw: Mapping[str, Any], tables: str, key: str = "name") -> list[str]:
    return [str(table.get(key)) for table in _tables(raw, tables)]


def _repeated(raw: Mapping[str, Any], name: str, key: str) -> Iterator[Problem]:
    values = [str(table[key]) if key in table else None for table in _tables(raw, name)]
    if key in _CASE_INSENSITIVE or name == "topics":
        values = [value and value.lower() for value in values]
    times = Counter(values)
    for number, value in enumerate(values, 1):
        if value is not None and times[value] > 1:
            yield Problem(
                f"{name}.{number}.{key}",
                f"stands at more than one of the [[{name}]]; each needs its own",
            )


def _missing_services(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for number, receiver in enumerate(_tables(raw, "receivers"), 1):
        if "email" in receiver and "smtp" not in raw:
            yield Problem(f"receivers.{number}.email", "needs the table [smtp]")
        if "slack" in receiver and "token" not in receiver and "slack" not in raw:
            yield Problem(f"receivers.{number}.slack", "needs the table [slack]")
    if _tables(raw, "apps") and "web" not in raw:
        yield Problem("apps", "webhooks come in where [web] listens: needs the table [web]")
    packages = ("jwt", "cryptography", "prometheus_client")
    if "web" in raw and not all(find_spec(package) for package in packages):
        yield Problem(
            "web",
            "needs packages that are not installed: pip install prometheus-client 'PyJWT[crypto]'",
        )


def _durations(raw: Mapping[str, Any]) -> Iterator[Problem]:
    window = duration_of(_table(raw, "poll").get("rescan_window")) or RESCAN_WINDOW
    keep = duration_of(_table(raw, "state").get("keep")) or KEEP
    if keep < window:
        yield Problem(
            "state.keep",
            "must not be less than poll.rescan_window: what was erased would be read again",
        )
    cluster = _table(_table(raw, "alerts"), "cluster")
    if (within := duration_of(cluster.get("within"))) and within + SHORTEST_RECORD > keep:
        yield Problem(
            "alerts.cluster.within",
            "must leave 30 days of [state] keep: a cluster is compared with the time before it",
        )
    after = _table(raw, "reminders").get("after")
    for number, text in enumerate(after if isinstance(after, list) else (), 1):
        if (span := duration_of(text)) and span > window:
            yield Problem(
                f"reminders.after.{number}",
                "must not exceed poll.rescan_window: after that a review rests",
            )


def _unknown_names(raw: Mapping[str, Any]) -> Iterator[Problem]:
    receivers = _names(raw, "receivers")
    if not _tables(raw, "accounts"):  # else any name may be that of one of their sites
        known = set(_names(raw, "sites"))
        yield from _unknown_in_lists(raw, "receivers", "sites", "site", known, is_pattern)
    accounts = _names(raw, "accounts")
    yield from _unknown_in_lists(raw, "receivers", "accounts", "account", accounts)
    yield from _unknown_in_lists(raw, "summaries", "receivers", "receiver", receivers)
    topics = [*TOPICS, *_names(raw, "topics")]
    yield from _unknown_in_lists(raw, "receivers", "topics", "topic", topics)
    name = _table(raw, "reminders").get("escalate_to")
    if isinstance(name, str) and name not in receivers:
        yield Problem("reminders.escalate_to", _unknown("receiver", name, receivers))
    apps = _names(raw, "apps", "app_id")
    for number, site in enumerate(_tables(raw, "sites"), 1):
        name = site.get("app_id")
        if apps and "api_key" in site and isinstance(name, str) and name not in apps:
            yield Problem(f"sites.{number}.app_id", _unknown("app", name, apps, " in [[apps]]"))


def _unknown_in_lists(
    raw: Mapping[str, Any],
    tables: str,
    key: str,
    noun: str,
    known: Collection[str],
    is_good: Callable[[str], bool] = lambda _: False,
) -> Iterator[Problem]:
    for number, table in enumerate(_tables(raw, tables), 1):
        names = table.get(key)
        for place, name in enumerate(names if isinstance(names, list) else (), 1):
            if isinstance(name, str) and name not in known and not is_good(name):
                yield Problem(f"{tables}.{number}.{key}.{place}", _unknown(noun, name, known))


def _unknown(noun: str, name: str, known: Collection[str], where: str = "") -> str:
    near = nearest(name, known)
    hint = f'; did you mean "{near}"?' if near else ""
    return f'there is no {noun} "{name}"{where}{hint}'
