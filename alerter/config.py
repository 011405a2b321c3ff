"""TOML and environment → a frozen, checked `Config`, or every fault at once."""

import difflib
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from alerter.config_fields import (
    Address,
    Beside,
    Duration,
    Folder,
    HeaderSecret,
    Rating,
    Secret,
    Sender,
    SiteId,
    SlackId,
    Timezone,
    Url,
    Word,
    whole,
)
from alerter.errors import ConfigError


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Poll(_Table):
    """How often sites are read, and how far back a rescan goes."""

    every: Duration = timedelta(seconds=60)
    rescan_every: Duration = timedelta(hours=1)
    rescan_window: Duration = timedelta(days=30)
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


class Receiver(_Table):
    """A named destination: people by email, or a Slack channel."""

    name: Word
    email: Annotated[tuple[Address, ...] | None, Field(default=None, min_length=1, strict=False)]
    slack: SlackId | None = None
    sites: Annotated[tuple[Word, ...] | None, Field(default=None, min_length=1, strict=False)]
    trouble: bool = False
    max_rating: Rating | None = None


class Config(_Table):
    """Everything that a config file says, checked."""

    state: Beside
    timezone: Timezone = "UTC"  # type: ignore[assignment]
    templates: Folder | None = None
    poll: Poll = Poll()
    alerts: Alerts = Alerts()
    wix: Wix = Wix()
    sites: Annotated[tuple[Site, ...], Field(strict=False)]
    smtp: Smtp | None = None
    slack: Slack | None = None
    receivers: Annotated[tuple[Receiver, ...], Field(strict=False)]

    def threshold(self, site: Site) -> int:
        """Ratings up to this one (stars, inclusive) are low-rated on that site."""
        return site.threshold or self.alerts.threshold

    def sites_of(self, receiver: Receiver) -> set[str]:
        """The names of the sites that a receiver hears of."""
        return set(receiver.sites or (site.name for site in self.sites))

    def service(self, receiver: Receiver) -> str:
        """The name of the service that a receiver is reached by."""
        return "smtp" if receiver.email else "slack"


def load_config(path: Path, environ: Mapping[str, str], *, secrets: bool) -> Config:
    """Read and check a config file.

    `secrets=False` leaves the secrets where they are, for commands that speak to no service. Raises ConfigError with
    every fault at once; no fault ever holds a secret's value.
    """
    raw = _read(path)
    context = {"folder": path.absolute().parent, "environ": environ, "secrets": secrets}
    faults: dict[str, str] = {}
    config = None
    try:
        config = Config.model_validate(raw, context=context)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False, include_context=False)
        for detail in sorted(details, key=lambda detail: detail["type"] == "too_short"):
            key = _place(detail["loc"])
            # A list whose only entry is at fault is told to be empty as well.
            if not any(other.startswith(f"{key}.") for other in faults):
                faults.setdefault(key, _phrase(detail))
    for key, problem in _between_keys(raw):
        faults.setdefault(key, problem)
    if config is None or faults:
        raise ConfigError([f"{key}: {problem} (in {path.name})" for key, problem in faults.items()])
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such config file; config.example.toml shows what one holds"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None


def _place(loc: tuple[int | str, ...]) -> str:
    """The key as a person would look for it: `receivers.2.slack` is a key of the second [[receivers]]."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


def _phrase(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"])
    if detail["type"] == "too_short":
        return "must name at least one"
    if detail["type"] == "tuple_type" and detail["loc"] in (("sites",), ("receivers",)):
        return f"must be tables, each headed [[{detail['loc'][0]}]]"
    if detail["type"] == "tuple_type":
        return 'must be a list, such as ["…"]'
    if detail["type"] == "model_type":
        return "must be a table of keys"
    return detail["msg"].replace("Input should be", "must be")


def _unknown(loc: tuple[int | str, ...]) -> str:
    known = [field.alias or name for name, field in _model_at(loc[:-1]).model_fields.items()]
    near = difflib.get_close_matches(str(loc[-1]), known, 1)
    return f"is not a known key; did you mean {near[0]}?" if near else f"is not a known key; known: {', '.join(known)}"


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    model: type[BaseModel] = Config
    for part in loc:
        if isinstance(part, str):
            model = next(_models_in(model.model_fields[part].annotation))
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _tables(raw: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = raw.get(name)
    return [table if isinstance(table, dict) else {} for table in found] if isinstance(found, list) else []


def _between_keys(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Faults that no key has alone. Looks at what was written, so that they are told together with the others."""
    sites, receivers = _tables(raw, "sites"), _tables(raw, "receivers")
    for name, tables in (("sites", sites), ("receivers", receivers)):
        if not tables and name in raw:
            yield name, f"at least one [[{name}]] is needed"
    yield from _repeated("sites", "name", sites)
    yield from _repeated("sites", "site_id", sites)
    yield from _repeated("receivers", "name", receivers)
    for number, site in enumerate(sites, 1):
        yield from _way_in(f"sites.{number}", site)
    for number, receiver in enumerate(receivers, 1):
        yield from _way_out(f"receivers.{number}", receiver, raw, [str(site.get("name")) for site in sites])
    smtp = raw.get("smtp")
    if isinstance(smtp, dict) and ("username" in smtp) != ("password" in smtp):
        yield "smtp.password" if "username" in smtp else "smtp.username", "username and password go together"


def _repeated(name: str, key: str, tables: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    times = Counter(str(table[key]) for table in tables if key in table)
    for number, table in enumerate(tables, 1):
        if times[str(table.get(key))] > 1:
            yield f"{name}.{number}.{key}", f"stands at more than one of the [[{name}]]; each needs its own"


def _way_in(key: str, site: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    app = ("app_id", "app_secret", "instance_id")
    if "api_key" in site:
        for name in ("app_id", "app_secret"):
            if name in site:
                yield f"{key}.{name}", "goes without api_key: use one way in or the other"
    elif not any(name in site for name in app):
        yield f"{key}.api_key", "is missing (or, for an app: app_id, app_secret and instance_id)"
    else:
        for name in app:
            if name not in site:
                yield f"{key}.{name}", "is missing: app_id, app_secret and instance_id go together"


def _way_out(
    key: str, receiver: Mapping[str, Any], raw: Mapping[str, Any], sites: Sequence[str]
) -> Iterator[tuple[str, str]]:
    if ("email" in receiver) == ("slack" in receiver):
        yield f"{key}.email", "a receiver has either email or slack, and one of them is needed"
    for way, table in (("email", "smtp"), ("slack", "slack")):
        if way in receiver and table not in raw:
            yield f"{key}.{way}", f"needs the table [{table}]"
    wanted = receiver.get("sites")
    for number, name in enumerate(wanted if isinstance(wanted, list) else (), 1):
        if isinstance(name, str) and name not in sites:
            near = difflib.get_close_matches(name, sites, 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            yield f"{key}.sites.{number}", f'there is no site "{name}"{hint}'
