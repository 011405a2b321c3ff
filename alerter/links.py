"""Addresses from outside that may become links. Pure.

A browser reads an address more freely than urllib does: a backslash is a slash to it, and tabs and line breaks do not
count. So an address has to be written in the plainest way (https, a host, no user, the characters of RFC 3986), which
everybody reads alike; any other is no link.
"""

import re

_LONGEST = 3000
_HTTPS = re.compile(
    r"https://([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(:[0-9]{1,5})?(?:[/?#][a-z0-9._~:/?#\[\]@!$&()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)
# What Wix calls a file that it keeps: https://dev.wix.com/docs/rest/assets/media/media-manager/introduction
_FILE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~-]*(?:\.[A-Za-z0-9_~-]+)*", re.ASCII)
_LONGEST_FILE_ID = 200
_KEPT = "https://static.wixstatic.com/media/"
_WIX_IMAGE = "wix:image://v1/"
# Wix shrinks the pictures that it keeps: a photo as it came from a phone is several megabytes.
_SMALL = "v1/fill/w_240,h_240,al_c,q_80/small.jpg"


def https_url(value: object) -> str | None:
    """Return an address that is safe to link to, else None."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.startswith("https://"):
        return None
    return value if _HTTPS.fullmatch(value) else None


def foreign_host(url: str) -> str:
    """Return the host of an `https_url`; empty where it is Wix's own for media."""
    match = _HTTPS.fullmatch(url)
    host = f"{match[1].lower()}{match[2] or ''}" if match else ""
    return "" if host.endswith(".wixstatic.com") else host


def file_url(file_id: object) -> str | None:
    """Return the address of a file that Wix keeps, by its id."""
    known = (
        isinstance(file_id, str)
        and len(file_id) <= _LONGEST_FILE_ID
        and _FILE_ID.fullmatch(file_id)
    )
    return f"{_KEPT}{file_id}" if known else None


def file_id(url: object) -> str | None:
    """Return the id of the file that an address of Wix's means.

    Wix writes it as https://static.wixstatic.com/media/<id>, as wix:image://v1/<id>/<name>#…, or as the id alone.
    """
    if not isinstance(url, str):
        return None
    name = url.removeprefix(_KEPT)
    if url.startswith(_WIX_IMAGE):
        name = url.removeprefix(_WIX_IMAGE).partition("/")[0].partition("#")[0]
    return name if "." in name else None


def thumbnail(url: object) -> str | None:
    """Return a small picture of an image that Wix keeps.

    One from anywhere else would tell its host who looks at it, and when.
    """
    kept = isinstance(url, str) and file_url(url.removeprefix(_KEPT)) == url
    return f"{url}/{_SMALL}" if kept else None


def is_thumbnail(url: str) -> bool:
    """Whether an address is one that `thumbnail` makes."""
    return thumbnail(url.removesuffix(f"/{_SMALL}")) == url
