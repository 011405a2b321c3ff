"""One value of a config: what is allowed there, and the words for what is not."""

import difflib
import ipaddress
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from email.utils import getaddresses, parseaddr
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import idna
from pydantic import BeforeValidator, Field, ValidationInfo
from pydantic_core import PydanticCustomError

BEYOND_THIS_MACHINE = "others on the network can reach it, in plain HTTP; better 127.0.0.1 and a reverse proxy for /webhooks/wix alone"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# What is longer is not compared with known names, which takes the square of its length.
LONGEST_NAME = 100
MIDNIGHT = 24 * 60  # at the end of a day, in minutes
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=36500)


@dataclass(frozen=True, slots=True)
class At:
    """A time of day, on one day of the week (0: Monday) or, with None, each day."""

    time: time
    weekday: int | None = None

    def __str__(self) -> str:
        day = "" if self.weekday is None else f"{DAYS[self.weekday].title()} "
        return f"{day}{self.time:%H:%M}"


def fault(text: str) -> PydanticCustomError:
    """What a value is told to be wrong with."""
    return PydanticCustomError("fault", "{text}", {"text": text})


def duration(value: object) -> timedelta:
    """A span of time such as "5m". Raises PydanticCustomError."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", value) if isinstance(value, str) else None
    span = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < span <= _LONGEST:
        raise fault('must be a duration such as "90s", "5m", "2h" or "30d", and more than nothing')
    return span


def time_of_day(value: object) -> int:
    """A time such as "22:00", in minutes since midnight; "24:00" is the end of a day. Raises PydanticCustomError."""
    match = re.fullmatch(r"(\d\d):(\d\d)", value, re.ASCII) if isinstance(value, str) else None
    minutes = 60 * int(match[1]) + int(match[2]) if match and int(match[2]) < 60 else MIDNIGHT + 1
    if minutes > MIDNIGHT:
        raise fault('must be a time of day such as "22:00", from "00:00" to "24:00"')
    return minutes


def _day(value: object) -> str:
    if value not in DAYS:
        raise fault(f"must be a day: {', '.join(DAYS[:-1])} or {DAYS[-1]}")
    return str(value)


def _at(value: object) -> At:
    """When something happens again and again, such as "Mon 09:00", or "09:00" each day."""
    match = (
        re.fullmatch(r"(?:([A-Z][a-z]{2}) )?([01]\d|2[0-3]):([0-5]\d)", value)
        if isinstance(value, str)
        else None
    )
    days = [day.title() for day in DAYS]
    if not match or (match[1] and match[1] not in days):
        raise fault(
            f'must be a day and a time such as "Mon 09:00", or "09:00" for each day (days: {", ".join(days)})'
        )
    return At(time(int(match[2]), int(match[3])), days.index(match[1]) if match[1] else None)


def _rating(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
        raise fault("must be a number of stars: 1, 2, 3, 4 or 5")
    return value


def whole(lowest: int, highest: int) -> BeforeValidator:
    """Checks for a whole number within bounds, both included."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
            raise fault(f"must be a whole number from {lowest} to {highest}")
        return value

    return BeforeValidator(check)


def is_loopback(host: str) -> bool:
    """Whether traffic to this host stays on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def unproxied(url: str) -> dict[str, None]:
    """What httpx takes as `mounts` so that a proxy of the environment carries no traffic to this machine."""
    host = urlsplit(url).hostname or ""
    return {f"all://{f'[{host}]' if ':' in host else host}": None} if is_loopback(host) else {}


def address_of(value: object) -> str:
    """Check an http address. Raises PydanticCustomError."""
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


def _listen(value: object) -> tuple[str, int]:
    """A host and a port; the host as in a URL, so IPv6 stands in brackets."""
    match = re.fullmatch(
        r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})",
        value if isinstance(value, str) else "",
    )
    if not match or not 1 <= int(match[3]) <= 65535:
        raise fault('must be a host and a port such as "127.0.0.1:8080"')
    return match[1] or match[2], int(match[3])


# What the DER of every RSA public key says about itself: https://www.rfc-editor.org/rfc/rfc3279#section-2.3.1
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")


def _public_key(value: object) -> str:
    """An RSA public key as PEM, given as that or, as some of Wix's pages show it, as base64 of that."""
    text = value if isinstance(value, str) else ""
    try:
        pem = (
            text.strip()
            if "-----BEGIN" in text
            else b64decode("".join(text.split()), validate=True).decode("ascii")
        )
        match = re.fullmatch(
            r"\s*-----BEGIN PUBLIC KEY-----(.+)-----END PUBLIC KEY-----\s*", pem, re.DOTALL
        )
        der = b64decode("".join(match[1].split()), validate=True) if match else b""
    except ValueError:
        der = b""
    # A sequence that is as long as it says, and an RSA key: 0x82 is "two bytes of length follow".
    if (
        der[:2] != b"\x30\x82"
        or int.from_bytes(der[2:4]) != len(der) - 4
        or der[4 : 4 + len(_RSA)] != _RSA
    ):
        raise fault(
            "must be the app's public key from its dashboard: whole, as PEM (BEGIN PUBLIC KEY) or base64 of it"
        )
    return pem


def _mailbox(value: object) -> str:
    """Check one mail address, with or without a name before it; a domain is returned in ASCII."""
    found = getaddresses([value]) if isinstance(value, str) and value.isprintable() else []
    address = found[0][1] if len(found) == 1 else ""
    local, _, domain = address.rpartition("@")
    if local and not local.isascii():
        raise fault(
            "must have ASCII characters only before the @: not every mail server takes others"
        )
    encoded = _ascii_domain(domain)
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", f"{local}@{encoded}"):
        raise fault('must be a mail address such as "owner@example.com"')
    return encoded.join(str(value).rsplit(domain, 1))


def _ascii_domain(domain: str) -> str:
    """Return a domain as mail servers take it (RFC 5891); empty where it is none."""
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        return ""


def _address(value: object) -> str:
    mailbox = _mailbox(value)
    if mailbox != parseaddr(mailbox)[1]:
        raise fault('must be a bare mail address such as "owner@example.com"')
    return mailbox


def _slack_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[CGDUW][A-Z0-9]{2,}", value):
        raise fault(
            "must be an id like C0123456789 (a channel: C… or G…, a direct message: D…, a person: U… or W…)"
        )
    return value


def _slack_mention(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[UWS][A-Z0-9]{2,}", value):
        raise fault("must be an id like U0123456789 (a person: U… or W…, a user group: S…)")
    return value


def _timezone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value) if isinstance(value, str) else ZoneInfo("")
    except (ValueError, OSError, ZoneInfoNotFoundError):
        near = difflib.get_close_matches(str(value)[:LONGEST_NAME], available_timezones(), 1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise fault('must be a timezone such as "Europe/Berlin"' + hint) from None


def _word(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise fault("must be a text, and not an empty one")
    return value


def table_of(key: str) -> Callable[[object], object]:
    """Takes a bare text for a table that holds it under that key."""

    def check(value: object) -> object:
        return value if isinstance(value, dict) else {key: _word(value)}

    return check


def _site_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", value):
        raise fault(
            "must be the site's id, as in the address of its dashboard: /dashboard/<site id>/…"
        )
    return value


def _beside(value: object, info: ValidationInfo) -> Path:
    """A path in the config is relative to the config file."""
    return Path((info.context or {}).get("folder", Path())) / _word(value)


def _folder(value: object, info: ValidationInfo) -> Path:
    path = _beside(value, info)
    try:
        if path.is_dir():
            return path
    except OSError as error:
        raise fault(f"must be a folder; {error.strerror}") from None
    raise fault(f"must be a folder; there is none at {path}")


AtTime = Annotated[At, BeforeValidator(_at)]
Address = Annotated[str, BeforeValidator(_address)]
Beside = Annotated[Path, BeforeValidator(_beside)]
Day = Annotated[str, BeforeValidator(_day)]
Duration = Annotated[timedelta, BeforeValidator(duration)]
Listen = Annotated[tuple[str, int], BeforeValidator(_listen)]
PublicKey = Annotated[str, BeforeValidator(_public_key)]
Rating = Annotated[int, BeforeValidator(_rating)]
Folder = Annotated[Path, BeforeValidator(_folder)]
Sender = Annotated[str, BeforeValidator(_mailbox)]
SiteId = Annotated[str, BeforeValidator(_site_id)]
SlackId = Annotated[str, BeforeValidator(_slack_id)]
TimeOfDay = Annotated[int, BeforeValidator(time_of_day)]
SlackMention = Annotated[str, BeforeValidator(_slack_mention)]
Timezone = Annotated[ZoneInfo, BeforeValidator(_timezone), Field(validate_default=True)]
Url = Annotated[str, BeforeValidator(address_of)]
Word = Annotated[str, BeforeValidator(_word)]
