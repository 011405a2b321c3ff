"""TOML and environment → a frozen, checked `Config`, or every fault at once."""

import difflib
import ipaddress
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email.utils import parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from alerter.errors import ConfigError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=36500)


def _fault(text: str) -> PydanticCustomError:
    return PydanticCustomError("fault", "{text}", {"text": text})


def _duration(value: object) -> timedelta:
    match = re.fullmatch(r"(\d{1,9})([smhd])", value) if isinstance(value, str) else None
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < span <= _LONGEST:
        raise _fault('must be a duration such as "90s", "5m", "2h" or "30d", and more than nothing')
    return span


def _rating(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
        raise _fault("must be a number of stars: 1, 2, 3, 4 or 5")
    return value


def _whole(lowest: int, highest: int) -> BeforeValidator:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise _fault(f"must be a whole number from {lowest} to {highest}")
        return value

    return BeforeValidator(check)


def _secret(value: object, info: ValidationInfo) -> SecretStr:
    """Fetch a secret from where the config says it is; its value never stands in the config, nor in a fault."""
    source, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if source not in ("env", "file", "credential") or not name:
        raise _fault(
            'must say where the secret is: "env:NAME", "file:PATH" or "credential:NAME"; '
            "the secret itself does not belong in this file"
        )
    place: dict[str, Any] = info.context or {}
    if not place.get("secrets", False):
        return SecretStr("")
    found = _read_secret(source, name, place["folder"], place["environ"])
    if not found or not found.isprintable():
        raise _fault(f"the secret in {source}:{name} is empty or has a character that no secret has")
    return SecretStr(found)


def _read_secret(source: str, name: str, folder: Path, environ: Mapping[str, str]) -> str:
    if source == "env":
        if not environ.get(name):
            raise _fault(f"the environment variable {name} is not set")
        return environ[name].strip()
    if source == "credential" and not environ.get("CREDENTIALS_DIRECTORY"):
        raise _fault(f"there is no credential {name}: systemd's LoadCredential has not set CREDENTIALS_DIRECTORY")
    path = Path(environ["CREDENTIALS_DIRECTORY"]) / name if source == "credential" else folder / name
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise _fault(f"the secret in {source}:{name} cannot be read: {reason}") from None


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(value: object) -> str:
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        host = parts.hostname if parts and (parts.port is None or parts.port) else None
    except ValueError:
        parts = host = None
    if parts is None or not host or parts.scheme not in ("http", "https") or parts.username or parts.query:
        raise _fault('must be an address such as "https://www.wixapis.com"')
    if parts.scheme == "http" and not is_loopback(host):
        raise _fault("must be https:// (plain http:// goes to this machine only)")
    return parts.geturl().rstrip("/")


def _mailbox(value: object) -> str:
    address = parseaddr(value)[1] if isinstance(value, str) else ""
    if not isinstance(value, str) or not value.isprintable() or not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", address):
        raise _fault('must be a mail address such as "owner@example.com"')
    return value


def _address(value: object) -> str:
    if _mailbox(value) != parseaddr(str(value))[1]:
        raise _fault('must be a bare mail address such as "owner@example.com"')
    return str(value)


def _slack_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[CGDU][A-Z0-9]{2,}", value):
        raise _fault("must be an id like C0123456789 (a channel: C… or G…, a direct message: D…, a person: U…)")
    return value


def _timezone(value: object) -> ZoneInfo:
    known = available_timezones()
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), known, 1)
        raise _fault('must be a timezone such as "Europe/Berlin"' + (f'; did you mean "{near[0]}"?' if near else ""))
    return ZoneInfo(value)


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _fault("must be a text, and not an empty one")
    return value


def _site_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise _fault("must be the site's id, as in the address of its dashboard: /dashboard/<site id>/…")
    return value


def _beside(value: object, info: ValidationInfo) -> Path:
    """A path in the config is relative to the config file."""
    return Path((info.context or {}).get("folder", Path())) / _word(value)


def _folder(value: object, info: ValidationInfo) -> Path:
    path = _beside(value, info)
    if not path.is_dir():
        raise _fault(f"must be a folder; there is none at {path}")
    return path


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Rating = Annotated[int, BeforeValidator(_rating)]
Secret = Annotated[SecretStr, BeforeValidator(_secret)]
Url = Annotated[str, BeforeValidator(_url)]
Word = Annotated[str, BeforeValidator(_word)]


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
    burst: Annotated[int, _whole(1, 1000)] = 10


class Wix(_Table):
    """Where the Wix API is."""

    base_url: Url = "https://www.wixapis.com"


class Site(_Table):
    """One Wix site and the way into it: an API key, or an app's client credentials."""

    name: Word
    site_id: Annotated[str, BeforeValidator(_site_id)]
    api_key: Secret | None = None
    app_id: Word | None = None
    app_secret: Secret | None = None
    instance_id: Word | None = None
    threshold: Rating | None = None


class Smtp(_Table):
    """The mail server that takes our mail."""

    host: Word
    port: Annotated[int, _whole(1, 65535)]
    security: Literal["starttls", "tls", "none"]
    username: Word | None = None
    password: Secret | None = None
    sender: Annotated[str, BeforeValidator(_mailbox)] = Field(alias="from")


class Slack(_Table):
    """The Slack workspace."""

    token: Secret
    base_url: Url = "https://slack.com/api"


class Receiver(_Table):
    """A named destination: people by email, or a Slack channel."""

    name: Word
    email: Annotated[
        tuple[Annotated[str, BeforeValidator(_address)], ...] | None, Field(default=None, min_length=1, strict=False)
    ]
    slack: Annotated[str, BeforeValidator(_slack_id)] | None = None
    sites: Annotated[tuple[Word, ...] | None, Field(default=None, strict=False)]
    max_rating: Rating | None = None


class Config(_Table):
    """Everything that a config file says, checked."""

    state: Annotated[Path, BeforeValidator(_beside)]
    timezone: Annotated[ZoneInfo, BeforeValidator(_timezone), Field(validate_default=True)] = "UTC"  # type: ignore[assignment]
    templates: Annotated[Path, BeforeValidator(_folder)] | None = None
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
        for detail in error.errors(include_input=False, include_url=False, include_context=False):
            faults.setdefault(_key(detail["loc"]), _phrase(detail))
    for key, problem in _between_keys(raw):
        faults.setdefault(key, problem)
    if config is None or faults:
        raise ConfigError([f"{key}: {problem} (in {path.name})" for key, problem in faults.items()])
    return config


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such config file; config.example.toml shows what one holds"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is not UTF-8 text"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is not TOML: {error}"]) from None


def _key(loc: tuple[int | str, ...]) -> str:
    """The key as a person would look for it: `receivers.2.slack` is a key of the second [[receivers]]."""
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in loc)


def _phrase(detail: ErrorDetails) -> str:
    if detail["type"] == "missing":
        return "is missing"
    if detail["type"] == "extra_forbidden":
        return _unknown(detail["loc"])
    text = re.sub(r"^(Input|Tuple|Value) should (be|have)( an instance of)?", r"must \2", detail["msg"])
    return text.replace("valid dictionary or instance of", "table: the keys of")


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
        yield from _way_out(f"receivers.{number}", receiver, raw, {site.get("name") for site in sites})
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
    key: str, receiver: Mapping[str, Any], raw: Mapping[str, Any], sites: set[Any]
) -> Iterator[tuple[str, str]]:
    if ("email" in receiver) == ("slack" in receiver):
        yield f"{key}.email", "a receiver has either email or slack, and one of them is needed"
    for way, table in (("email", "smtp"), ("slack", "slack")):
        if way in receiver and table not in raw:
            yield f"{key}.{way}", f"needs the table [{table}]"
    wanted = receiver.get("sites")
    if isinstance(wanted, list) and not wanted:
        yield f"{key}.sites", "must name at least one site (leave it out for all)"
    for name in wanted if isinstance(wanted, list) else ():
        if isinstance(name, str) and name not in sites:
            near = difflib.get_close_matches(name, [str(site) for site in sites], 1)
            yield f"{key}.sites", f'there is no site "{name}"' + (f'; did you mean "{near[0]}"?' if near else "")
