"""Check addresses from outside before they become links, and make those of Wix's dashboard. Pure.

Browsers parse addresses more leniently than urllib: a backslash counts as a slash, and tabs and
line breaks are ignored. So only the plainest form is accepted, which all of them parse alike:
https, a host, no user, and the characters of RFC 3986.
"""

import re

_LONGEST = 3000
_HTTPS = re.compile(
    r"https://([a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(:[0-9]{1,5})?"
    r"(?:[/?#][a-z0-9._~:/?#\[\]@!$&()*+,;=%-]*)?",
    re.ASCII | re.IGNORECASE,
)
# The id of a file hosted by Wix: https://dev.wix.com/docs/rest/assets/media/media-manager/introduction
_FILE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~-]*(?:\.[A-Za-z0-9_~-]+)*", re.ASCII)
_LONGEST_FILE_ID = 200
_WIX_MEDIA = "https://static.wixstatic.com/media/"
_WIX_IMAGE = "wix:image://v1/"
# Wix resizes the images that it hosts; a photo straight from a phone is several megabytes.
_THUMBNAIL = "v1/fill/w_240,h_240,al_c,q_80/small.jpg"

# Its base, and the pages of products and contacts:
# https://dev.wix.com/docs/api-reference/business-solutions/bookings/skills/dashboard-navigation
# https://dev.wix.com/docs/api-reference/crm/members-contacts/contacts/skills/contacts-dashboard-navigation
# No page names the one of reviews; an unknown page leads to the nearest one that exists.
_DASHBOARD = "https://manage.wix.com/dashboard"
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


def reviews_dashboard_url(site_id: str) -> str:
    """Return the page of Wix's dashboard where a site's owner replies to reviews."""
    return f"{_DASHBOARD}/{site_id}/reviews/pending"


def product_dashboard_url(site_id: str, product_id: str | None) -> str:
    """Return the page of a product of Wix Stores in Wix's dashboard; empty without a valid id."""
    valid = product_id and _GUID.fullmatch(product_id)
    return f"{_DASHBOARD}/{site_id}/wix-stores/products/product/{product_id}" if valid else ""


def contact_dashboard_url(site_id: str, contact_id: str | None) -> str:
    """Return the page of a contact in Wix's dashboard; empty without a valid id."""
    valid = contact_id and _GUID.fullmatch(contact_id)
    return f"{_DASHBOARD}/{site_id}/contacts/view/{contact_id}" if valid else ""


def https_url(value: object) -> str | None:
    """Return the address if it is safe to link to, else None."""
    if not isinstance(value, str) or len(value) > _LONGEST or not value.startswith("https://"):
        return None
    return value if _HTTPS.fullmatch(value) else None


def foreign_host(url: str) -> str:
    """Return the host of an `https_url`; empty if it is Wix's media host."""
    match = _HTTPS.fullmatch(url)
    host = f"{match[1].lower()}{match[2] or ''}" if match else ""
    return "" if host.endswith(".wixstatic.com") else host


def file_url(file_id: object) -> str | None:
    """Return the address of a file hosted by Wix; None if the id is not valid."""
    valid = (
        isinstance(file_id, str)
        and len(file_id) <= _LONGEST_FILE_ID
        and _FILE_ID.fullmatch(file_id)
    )
    return f"{_WIX_MEDIA}{file_id}" if valid else None


def file_id(url: object) -> str | None:
    """Return the file id in an address of Wix's; None if there is none.

    Wix writes https://static.wixstatic.com/media/<id>, wix:image://v1/<id>/<name>#…, or the id.
    """
    if not isinstance(url, str):
        return None
    name = url.removeprefix(_WIX_MEDIA)
    if url.startswith(_WIX_IMAGE):
        name = url.removeprefix(_WIX_IMAGE).partition("/")[0].partition("#")[0]
    return name if "." in name else None


def thumbnail(url: object) -> str | None:
    """Return the address of a small version of an image; None if Wix does not host the image.

    Loading an image from another host would reveal to it who reads the message, and when.
    """
    hosted = isinstance(url, str) and file_url(url.removeprefix(_WIX_MEDIA)) == url
    return f"{url}/{_THUMBNAIL}" if hosted else None


def is_thumbnail(url: str) -> bool:
    """Whether `thumbnail` returns this address for some image."""
    return thumbnail(url.removesuffix(f"/{_THUMBNAIL}")) == url
