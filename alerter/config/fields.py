"""Types of single values in a config. Each fault says what is allowed, and never shows a secret."""

import difflib
import ipaddress
import re
from base64 import b64decode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import time, timedelta
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from unicodedata import category
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import idna
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

LISTENS_BEYOND_LOOPBACK = (
    "others on the network can reach it, in plain HTTP; better 127.0.0.1 and a reverse proxy for"
    " /webhooks/wix alone"
)
END_OF_DAY = 24 * 60  # minutes since midnight
# Longer text is not compared with known names: the comparison takes quadratic time.
_LONGEST_COMPARED = 100
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST_DURATION = timedelta(days=36500)
_SHORTEST_KEY = 2048  # bits: https://www.rfc-editor.org/rfc/rfc7518#section-3.3

_Item = TypeVar("_Item")
_Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[_Day, ...] = get_args(_Day)

# Languages of messages, each with the ways in which people may spell it.
LANGUAGES = {
    "en": ("english",),
    "de": ("german", "deutsch"),
    "fr": ("french", "français"),
    "es": ("spanish", "español", "castellano"),
    "pt": ("portuguese", "português", "brazilian"),
    "he": ("hebrew", "עברית", "iw"),
}

# The built-in topics of complaints, by their names in every language's config.
TOPICS = (
    "delivery",
    "description",
    "hygiene",
    "packaging",
    "price",
    "quality",
    "returns",
    "service",
    "size",
    "taste",
    "usability",
)


@dataclass(frozen=True, slots=True)
class TimeOfWeek:
    """A time of day, on one day of the week (0: Monday) or, with None, on each day."""

    time: time
    weekday: int | None = None

    def __str__(self) -> str:
        day = "" if self.weekday is None else f"{DAYS[self.weekday].title()} "
        return f"{day}{self.time:%H:%M}"


def fault(text: str) -> PydanticCustomError:
    """Return the error to raise for a value; `text` follows the key: "must be …"."""
    return PydanticCustomError("fault", "{text}", {"text": text})


def nearest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that is most like a misspelt one; None if none is like it.

    Capitals make no difference.
    """
    by_folded = {each.casefold(): each for each in known}
    folded = name[:_LONGEST_COMPARED].casefold()
    return next((by_folded[each] for each in difflib.get_close_matches(folded, by_folded, 1)), None)


def parse_duration(value: object) -> timedelta:
    """Parse a duration such as "5m". Raises PydanticCustomError."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", value) if isinstance(value, str) else None
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < span <= _LONGEST_DURATION:
        raise fault('must be a duration such as "90s", "5m", "2h" or "30d", and more than nothing')
    return span


def parse_time_of_day(value: object) -> int:
    """Parse a time from "00:00" to "24:00" into minutes since midnight.

    Raises PydanticCustomError.
    """
    match = re.fullmatch(r"(\d\d):(\d\d)", value, re.ASCII) if isinstance(value, str) else None
    if (
        match
        and int(match[2]) < 60
        and (minutes := 60 * int(match[1]) + int(match[2])) <= END_OF_DAY
    ):
        return minutes
    raise fault('must be a time of day such as "22:00", from "00:00" to "24:00"')


def _parse_time_of_week(value: object) -> TimeOfWeek:
    pattern = r"(?:([A-Z][a-z]{2}) )?([01]\d|2[0-3]):([0-5]\d)"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    days = [day.title() for day in DAYS]
    if not match or (match[1] and match[1] not in days):
        raise fault(
            'must be a day and a time such as "Mon 09:00", or "09:00" for each day'
            f" (days: {', '.join(days)})"
        )
    return TimeOfWeek(
        time(int(match[2]), int(match[3])), days.index(match[1]) if match[1] else None
    )


def is_loopback(host: str) -> bool:
    """Return whether traffic to this host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def loopback_mounts(url: str) -> dict[str, None]:
    """Return httpx's `mounts` that keep traffic to this machine off the environment's proxies."""
    host = urlsplit(url).hostname or ""
    return {f"all://{f'[{host}]' if ':' in host else host}": None} if is_loopback(host) else {}


def parse_url(value: object) -> str:
    """Check a base URL and return it without its last slash. Raises PydanticCustomError."""
    text = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        good = parts.hostname and parts.port != 0 and re.fullmatch(r"https?://[!-~]+", text)
    except ValueError:
        good = None
    if not good or re.search(r"[@?#\"'<>]", text):
        raise fault('must be an address such as "https://www.wixapis.com"')
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise fault("must be https:// (plain http:// goes to this machine only)")
    return text.rstrip("/")


def _parse_listen(value: object) -> tuple[str, int]:
    """Parse a host and a port; an IPv6 host stands in brackets, as in a URL."""
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", text)
    if not match or not 1 <= int(match[3]) <= 65535:
        raise fault('must be a host and a port such as "127.0.0.1:8080"')
    return match[1] or match[2], int(match[3])


def _check_public_key(value: object) -> str:
    """Check an RSA public key in PEM, or in base64 of PEM as some of Wix's pages show it."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
        from cryptography.hazmat.primitives.serialization import (
            load_pem_public_key,
        )
    except ImportError:
        return str(value)  # [[apps]] need [web], which reports that the extra is missing
    text = value if isinstance(value, str) else ""
    try:
        if "-----BEGIN" not in text:
            text = b64decode("".join(text.split()), validate=True).decode("ascii")
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, RSAPublicKey) or key.key_size < _SHORTEST_KEY:
        raise fault(
            "must be the app's public key from its dashboard: whole, as PEM (BEGIN PUBLIC KEY)"
            " or base64 of it"
        )
    return text


def _parse_mailbox(value: object) -> str:
    """Check one mail address, with or without a name, and return it with an ASCII domain."""
    found = getaddresses([value]) if isinstance(value, str) and value.isprintable() else []
    address = found[0][1] if len(found) == 1 else ""
    local, _, domain = address.rpartition("@")
    if local and not local.isascii():
        raise fault(
            "must have ASCII characters only before the @: not every mail server takes others"
        )
    encoded = domain
    if not domain.isascii():
        try:  # https://www.rfc-editor.org/rfc/rfc5891
            encoded = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            encoded = ""
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", f"{local}@{encoded}"):
        raise fault('must be a mail address such as "owner@example.com"')
    return encoded.join(str(value).rsplit(domain, 1))


def _parse_address(value: object) -> str:
    mailbox = _parse_mailbox(value)
    if mailbox != parseaddr(mailbox)[1]:
        raise fault('must be a bare mail address such as "owner@example.com"')
    return mailbox


def _parse_timezone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        near = _nearest_timezone(str(value))
        hint = f'; did you mean "{near}"?' if near else ""
        raise fault('must be a timezone such as "Europe/Berlin"' + hint) from None


def _parse_language(value: object) -> str:
    """Check the code of a language; the fault suggests one for a name, a locale or a slip."""
    if isinstance(value, str) and value in LANGUAGES:
        return value
    spelt = re.split("[-_.]", str(value).strip().lower())[0]
    codes = {code: code for code in LANGUAGES}
    codes |= {name: code for code, names in LANGUAGES.items() for name in names}
    near = nearest(spelt, codes)
    *others, last = LANGUAGES
    hint = f'; did you mean "{codes[near]}"?' if near else ""
    raise fault(f"must be a language: {', '.join(others)} or {last}{hint}")


def _nearest_timezone(name: str) -> str | None:
    """Return the timezone that is meant: by its whole name, or by its city alone."""
    zones = sorted(available_timezones())
    cities = {each.rpartition("/")[2]: each for each in zones}
    city = nearest(name.replace(" ", "_"), cities)
    return nearest(name, zones) or (cities[city] if city else None)


def check_text(value: object) -> str:
    """Check that a value is printable text with more than spaces. Raises PydanticCustomError."""
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise fault("must be a text, and not an empty one")
    return value


def _check_topic_word(value: object) -> str:
    """Check an entry of a list of words: more than `-`, `*` and `...`, which say how it is read."""
    entry = value if isinstance(value, str) and value.isprintable() else ""
    if not re.sub(r"^-|\*|\.\.\.", "", entry).strip():
        raise fault('must be a word or a phrase, such as "mould" or "not fresh"')
    return entry.strip()


def _check_lines(value: object) -> str:
    """Check that a value is text, of one or several lines."""
    if isinstance(value, str):
        text = value.replace("\r\n", "\n")
        controls = [each for each in text if category(each) == "Cc" and each not in "\n\t"]
        if text.strip() and not controls:
            return text
    raise fault("must be a text, not empty and without control characters")


def _parse_path(value: object, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", Path())) / check_text(value)


def _check_folder(path: Path) -> Path:
    try:
        if path.is_dir():
            return path
    except OSError as error:
        raise fault(f"must be a folder; {error.strerror}") from None
    raise fault(f"must be a folder; there is none at {path}")


def _parse_list(value: object) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise fault('must be a list, such as ["…"]')
    return tuple(value)


def _parse_names(value: object) -> tuple[object, ...]:
    if not (items := _parse_list(value)):
        raise fault("must name at least one")
    return items


def _parse_tables(value: object, info: ValidationInfo) -> tuple[object, ...]:
    if not isinstance(value, list | tuple):
        raise fault(f"must be tables, each headed [[{info.field_name}]]")
    return tuple(value)


def _allowed(text: str) -> WrapValidator:
    """Report every fault of a value with one text, which says what is allowed."""

    def check(value: object, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise fault(text) from None

    return WrapValidator(check)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
TimeOfDay = Annotated[int, BeforeValidator(parse_time_of_day)]
WeeklyTime = Annotated[TimeOfWeek, BeforeValidator(_parse_time_of_week)]
Day = Annotated[_Day, _allowed(f"must be a day: {', '.join(DAYS[:-1])} or {DAYS[-1]}")]
LanguageCode = Annotated[str, BeforeValidator(_parse_language)]
Timezone = Annotated[ZoneInfo, BeforeValidator(_parse_timezone), Field(validate_default=True)]

Text = Annotated[str, BeforeValidator(check_text)]
TopicWord = Annotated[str, BeforeValidator(_check_topic_word)]
Lines = Annotated[str, BeforeValidator(_check_lines)]
# Relative paths start at the config file's folder.
RelativePath = Annotated[Path, BeforeValidator(_parse_path)]
Folder = Annotated[RelativePath, AfterValidator(_check_folder)]
List = Annotated[tuple[_Item, ...], BeforeValidator(_parse_list)]
Names = Annotated[tuple[_Item, ...], BeforeValidator(_parse_names)]
Tables = Annotated[tuple[_Item, ...], BeforeValidator(_parse_tables)]

Rating = Annotated[int, Field(ge=1, le=5), _allowed("must be a number of stars: 1, 2, 3, 4 or 5")]
Burst = Annotated[int, Field(ge=1, le=1000), _allowed("must be a whole number from 1 to 1000")]
ClusterCount = Annotated[
    int, Field(ge=2, le=1000), _allowed("must be a whole number from 2 to 1000")
]
ClusterSpan = Annotated[
    timedelta,
    Field(le=timedelta(days=90)),
    _allowed('must be a duration of at most "90d"'),
    BeforeValidator(parse_duration),
]
Port = Annotated[int, Field(ge=1, le=65535), _allowed("must be a whole number from 1 to 65535")]

Url = Annotated[str, BeforeValidator(parse_url)]
Listen = Annotated[tuple[str, int], BeforeValidator(_parse_listen)]
PublicKey = Annotated[str, BeforeValidator(_check_public_key)]
Address = Annotated[str, BeforeValidator(_parse_address)]
Sender = Annotated[str, BeforeValidator(_parse_mailbox)]
AccountId = Annotated[
    str,
    Field(pattern=r"^[A-Za-z0-9_-]{1,64}$"),
    _allowed("must be the account's id, as Wix's API Keys Manager shows it"),
]
SiteId = Annotated[
    str,
    Field(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"),
    _allowed(
        "must be the site's id, a GUID such as 11111111-1111-4111-8111-111111111111, as in the"
        " address of its dashboard: /dashboard/<site id>/…"
    ),
]
# A channel's name is resolved when the daemon runs: alerter/slack/channels.py.
SlackAddress = Annotated[
    str,
    Field(pattern=r"^([CGDUW][A-Z0-9]{2,}|#[^\s#]{1,80})$"),
    _allowed(
        "must be an id like C0123456789 (a channel: C… or G…, a direct message: D…,"
        ' a person: U… or W…), or the name of a channel like "#reviews"'
    ),
]
SlackMention = Annotated[
    str,
    Field(pattern=r"^[UWS][A-Z0-9]{2,}$"),
    _allowed("must be an id like U0123456789 (a person: U… or W…, a user group: S…)"),
]
SlackUser = Annotated[
    str,
    Field(pattern=r"^[UW][A-Z0-9]{2,}$"),
    _allowed("must be the id of a person, like U0123456789 (U… or W…)"),
]
