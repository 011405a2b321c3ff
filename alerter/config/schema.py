"""TOML and environment → a frozen, checked `Config`, or every fault at once."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from alerter.config.faults import phrase, place
from alerter.config.fields import (
    DAYS,
    Address,
    AtTime,
    Beside,
    Day,
    Duration,
    Folder,
    Listen,
    PublicKey,
    Rating,
    Sender,
    SiteId,
    SlackId,
    SlackMention,
    TimeOfDay,
    Timezone,
    Url,
    Word,
    table_of,
    whole,
)
from alerter.config.files import Files, read_files
from alerter.config.rules import KEEP, RESCAN_WINDOW, between_keys
from alerter.config.secrets import HeaderSecret, Secret, SecretUrl, TokenOfItsOwn
from alerter.errors import ConfigError
from alerter.models import Medium, destination_of, medium_of


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Poll(_Table):
    """How often sites are read, and how far back a rescan goes."""

    every: Duration = timedelta(seconds=60)
    rescan_every: Duration = timedelta(hours=1)
    rescan_window: Duration = RESCAN_WINDOW
    trouble_after: Duration = timedelta(minutes=15)


class Alerts(_Table):
    """Which reviews are low-rated, and how many deliveries make a digest."""

    threshold: Rating = 2
    burst: Annotated[int, whole(1, 1000)] = 10


class Wix(_Table):
    """Where the Wix API is."""

    base_url: Url = "https://www.wixapis.com"


class Site(_Table):
    """One Wix site and the way into it: an API key, or an app's client credentials."""

    name: Word
    site_id: SiteId
    api_key: HeaderSecret | None = None
    app_id: Word | None = None
    app_secret: Secret | None = None
    instance_id: Word | None = None
    threshold: Rating | None = None


class Smtp(_Table):
    """The mail server that takes our mail."""

    host: Word
    port: Annotated[int, whole(1, 65535)]
    security: Literal["starttls", "tls", "none"]
    username: Word | None = None
    password: Secret | None = None
    sender: Sender = Field(alias="from")


class Slack(_Table):
    """The Slack workspace."""

    token: HeaderSecret
    base_url: Url = "https://slack.com/api"


class Quiet(_Table):
    """Hours in which a receiver hears nothing, by the clock of the timezone; `days` are those on which they begin.

    Both ends are minutes since midnight; hours that end before they begin end on the next day.
    """

    begin: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    days: Annotated[tuple[Day, ...], Field(default=DAYS, min_length=1, strict=False)]


class Receiver(_Table):
    """A named person or team, reached by email, on Slack or both; and what it is notified of, and when."""

    name: Word
    email: Annotated[tuple[Address, ...] | None, Field(default=None, min_length=1, strict=False)]
    slack: SlackId | None = None
    token: TokenOfItsOwn | None = None
    sites: Annotated[tuple[Word, ...] | None, Field(default=None, min_length=1, strict=False)]
    trouble: bool = False
    closings: bool = False
    max_rating: Rating | None = None
    min_rating: Rating | None = None
    products: Annotated[tuple[Word, ...] | None, Field(default=None, min_length=1, strict=False)]
    keywords: Annotated[tuple[Word, ...] | None, Field(default=None, min_length=1, strict=False)]
    quiet: Quiet | None = None
    urgent_max_rating: Rating | None = None
    mention: SlackMention | None = None
    mention_max_rating: Rating = 5

    @property
    def media(self) -> list[Medium]:
        """By what it is reached."""
        return [
            medium
            for medium, way in ((Medium.EMAIL, self.email), (Medium.SLACK, self.slack))
            if way is not None
        ]

    @property
    def destinations(self) -> list[str]:
        """Its destinations, such as `slack:support`."""
        return [destination_of(self.name, medium) for medium in self.media]


class Reminders(_Table):
    """How long after its alert a review that is still open is spoken of again, and who hears of the last one too."""

    after: Annotated[tuple[Duration, ...], Field(default=(), strict=False)]
    escalate_to: Word | None = None


class Web(_Table):
    """Where alerter itself listens: webhooks in, health and metrics out."""

    listen: Listen


class App(_Table):
    """A Wix app whose webhooks are taken, and the public key that Wix's signatures are checked with."""

    app_id: Word
    public_key: PublicKey


class Heartbeat(_Table):
    """What is called while all is well, so that somebody else notices when the calls end."""

    url: SecretUrl


class Summary(_Table):
    """What a day or a week was like: when it is told, and to whom."""

    name: Word
    at: AtTime
    receivers: Annotated[tuple[Word, ...], Field(min_length=1, strict=False)]


class StateFile(_Table):
    """Where the state file is, and for how long it keeps the words of what needs nobody any more."""

    file: Annotated[Beside, Field(validate_default=True)] = "state.db"  # type: ignore[assignment]
    keep: Duration = KEEP


class Config(_Table):
    """Everything that a config file says, checked."""

    state_file: Annotated[StateFile, BeforeValidator(table_of("file"))] = Field(alias="state")
    timezone: Timezone = "UTC"  # type: ignore[assignment]
    templates: Folder | None = None
    include: Word | None = None
    include_env: Annotated[tuple[Word, ...] | None, Field(default=None, strict=False)]
    poll: Poll = Poll()
    alerts: Alerts = Alerts()
    reminders: Reminders = Reminders(after=())
    wix: Wix = Wix()
    sites: Annotated[tuple[Site, ...], Field(strict=False)]
    smtp: Smtp | None = None
    slack: Slack | None = None
    receivers: Annotated[tuple[Receiver, ...], Field(strict=False)]
    web: Web | None = None
    apps: Annotated[tuple[App, ...], Field(default=(), strict=False)]
    heartbeat: Heartbeat | None = None
    summaries: Annotated[tuple[Summary, ...], Field(default=(), strict=False)]

    @property
    def state_path(self) -> Path:
        """The path of the state file."""
        return self.state_file.file

    def threshold(self, site: Site) -> int:
        """Ratings up to this one (stars, inclusive) are low-rated on that site."""
        return site.threshold or self.alerts.threshold

    def sites_of(self, receiver: Receiver) -> set[str]:
        """The names of the sites that a receiver hears of."""
        return set(receiver.sites or (site.name for site in self.sites))

    def destinations(self) -> dict[str, Receiver]:
        """Every destination, with the receiver that it belongs to."""
        return {
            destination: receiver
            for receiver in self.receivers
            for destination in receiver.destinations
        }

    def service(self, receiver: Receiver, medium: str) -> str:
        """The service that a destination is reached by: each Slack workspace is one of its own."""
        if medium == Medium.EMAIL:
            return "smtp"
        return f"slack:{receiver.token.source}" if receiver.token else "slack"

    def scopes(self, receiver: Receiver, destination: str) -> list[str]:
        """What can hold back a receiver's destination: its own scope and that of its service."""
        return [
            f"destination:{destination}",
            f"service:{self.service(receiver, medium_of(destination))}",
        ]

    def workspace(self, receiver: Receiver) -> Slack | None:
        """The Slack workspace of a receiver; None where it is not reached on Slack."""
        if receiver.token is None:
            return self.slack if receiver.slack else None
        base_url = self.slack.base_url if self.slack else Slack.model_fields["base_url"].default
        return Slack.model_construct(token=receiver.token.secret, base_url=base_url)


def load_config(path: Path, environ: Mapping[str, str], *, secrets: bool) -> Config:
    """Read and check a config file.

    `secrets=False` leaves the secrets where they are, for commands that speak to no service. Raises ConfigError with
    every fault at once; no fault ever holds a secret's value.
    """
    files = read_files(path)
    context = {"folder": path.absolute().parent, "environ": environ, "secrets": secrets}
    faults: dict[str, str] = {}
    config = None
    try:
        config = Config.model_validate(files.raw, context=context)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        for detail in sorted(details, key=lambda detail: detail["type"] == "too_short"):
            key = place(detail["loc"])
            # A list whose only entry is at fault is told to be empty as well.
            if not any(other.startswith(f"{key}.") for other in faults):
                faults.setdefault(key, phrase(detail, Config))
    # What a file that cannot be read holds may well be what the others miss.
    for key, problem in () if files.unread else (*files.between_files(), *between_keys(files.raw)):
        faults.setdefault(key, problem)
    told = [*files.faults, *((*files.origin(key), problem) for key, problem in faults.items())]
    problems = [*files.unread, *(f"{key}: {problem} (in {file})" for file, key, problem in told)]
    if config is None or problems:
        raise ConfigError(problems)
    return _each_its_own(config, files)


def _each_its_own(config: Config, files: Files) -> Config:
    """A receiver of an included file hears of the sites of that file only."""
    receivers = tuple(
        receiver.model_copy(update={"sites": tuple(beside)})
        if beside and receiver.sites is None
        else receiver
        for receiver, beside in zip(config.receivers, files.sites_beside(), strict=True)
    )
    return config.model_copy(update={"receivers": receivers})
