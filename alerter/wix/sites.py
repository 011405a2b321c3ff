"""The sites of a Wix account.

https://dev.wix.com/docs/rest/account-level/sites/sites/query-sites
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from alerter.clock import Clock, seconds_from
from alerter.errors import WixResponseError
from alerter.text import clean_reply, table_in
from alerter.wix.http import HttpAnswer, parse_answer, send

# Wix's documentation says that it lists no more, and not which ones.
MOST_LISTED = 1000
_PAGE = 50  # the most that Wix allows
_PATIENCE = 60.0  # seconds
_SITE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ListedSite:
    """A site of an account, with the name that its owner sees."""

    site_id: str
    name: str


async def list_sites(
    connection: httpx.AsyncClient, clock: Clock, base_url: str, api_key: str, account_id: str
) -> list[ListedSite]:
    """Read all sites of an account, page by page, in Wix's order. Raises WixError."""
    headers = {"Authorization": api_key, "wix-account-id": account_id}
    paging: dict[str, Any] = {"limit": _PAGE}
    sites: dict[str, ListedSite] = {}
    cursors: set[str] = set()
    while True:
        # The cursor carries the query: nothing may stand beside it but the limit.
        body = {"query": {"cursorPaging": paging}}
        response = await _send_patiently(connection, clock, base_url, body, headers)
        answer = parse_answer(response, clock.now(), (api_key,))
        sites |= {site.site_id: site for site in _listed(answer, response.request)}
        cursor = table_in(table_in(answer, "metadata"), "cursors").get("next")
        if not isinstance(cursor, str) or not cursor:
            return list(sites.values())
        if cursor in cursors:
            raise WixResponseError("Wix's cursor does not move on", response.request)
        cursors.add(cursor)
        paging = {"limit": _PAGE, "cursor": cursor}


async def _send_patiently(
    connection: httpx.AsyncClient,
    clock: Clock,
    base_url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
) -> HttpAnswer:
    """Request a page; where Wix names a time, wait, but no longer than a minute in all."""
    url = f"{base_url}/site-list/v2/sites/query"
    waited = 0.0
    while True:
        response = await send(connection, clock, "POST", url, body, headers)
        wait = seconds_from(response.headers.get("Retry-After"), clock.now())
        if response.status != 429 or wait is None or waited + wait > _PATIENCE:
            return response
        waited += wait
        await clock.sleep(wait)


def _listed(answer: Mapping[str, Any], request: str) -> list[ListedSite]:
    """Return the sites of a page; one without a usable id is left out."""
    found = answer.get("sites", [] if isinstance(answer.get("metadata"), dict) else None)
    if not isinstance(found, list):
        raise WixResponseError("Wix's answer holds no list of sites", request)
    return [
        ListedSite(each["id"], _name(each))
        for each in found
        if isinstance(each, dict)
        and isinstance(each.get("id"), str)
        and _SITE_ID.fullmatch(each["id"])
    ]


def _name(site: Mapping[str, Any]) -> str:
    """Return the display name of a site, else its name, else its id."""
    names = (site.get(key) for key in ("displayName", "name"))
    cleaned = (clean_reply(name) for name in names if isinstance(name, str))
    return next((name for name in cleaned if name), str(site["id"]))
