"""Credentials for sites: API keys, an app's tokens, and whether these are for the site we mean."""

import asyncio
import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from alerter.clock import Clock
from alerter.config import Site
from alerter.errors import WixAuthError, WixNotFound, WixPrecondition, WixResponseError
from alerter.wix.http import error_text, parse_answer, send

log = logging.getLogger(__name__)

_RENEW_EARLY = timedelta(minutes=5)
_DEFAULT_LIFETIME = 600.0  # seconds, where Wix names none
# Wix's tokens live for four hours; a larger number is an error and may not even fit into a float.
_LONGEST_LIFETIME = 86400


@dataclass(frozen=True, slots=True)
class _AccessToken:
    value: str
    renew_at: float  # by the monotonic clock


class Credentials:
    """Make the headers that open a site, and keep the tokens of apps until they expire.

    https://dev.wix.com/docs/rest/app-management/oauth-2/create-access-token
    """

    def __init__(self, base_url: str, clock: Clock) -> None:
        self._base_url = base_url
        self._clock = clock
        self._tokens: dict[str, _AccessToken] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._unverified: set[str] = set()

    async def headers(self, connection: httpx.AsyncClient, site: Site) -> dict[str, str]:
        """Return the headers for a call, with a new token where one is needed. Raises WixError."""
        if site.api_key is not None:
            return {"Authorization": site.api_key.get_secret_value(), "wix-site-id": site.site_id}
        async with self._locks[site.site_id]:
            token = self._tokens.get(site.site_id)
            if token is None or self._clock.monotonic() >= token.renew_at:
                token = self._tokens[site.site_id] = await self._request_token(connection, site)
        return {"Authorization": token.value}

    def drop_token(self, site: Site) -> None:
        """Forget the token of a site's app, which Wix may have revoked."""
        self._tokens.pop(site.site_id, None)

    def is_unverified(self, site: Site) -> bool:
        """Return whether Wix was asked which site the credentials are for and did not say."""
        return site.site_id in self._unverified

    async def _request_token(self, connection: httpx.AsyncClient, site: Site) -> _AccessToken:
        secret = site.app_secret.get_secret_value() if site.app_secret else ""
        body = {
            "grant_type": "client_credentials",
            "client_id": site.app_id,
            "client_secret": secret,
            "instance_id": site.instance_id,
        }
        url = f"{self._base_url}/oauth2/token"
        response = await send(connection, self._clock, "POST", url, body, {})
        if 400 <= response.status < 500 and response.status != 429:
            raise WixAuthError(
                f"Wix gives the app no token: {error_text(response, (secret,))};"
                " check app_id, app_secret and instance_id",
                401,
                response.request,
            )
        answer = parse_answer(response, self._clock.now(), (secret,))
        value, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,10000}", value):
            raise WixResponseError("Wix's answer holds no access token")
        if not isinstance(lifetime, int | float) or not 0 < lifetime <= _LONGEST_LIFETIME:
            lifetime = _DEFAULT_LIFETIME
        seconds = float(lifetime)
        self._verify_site(site, await self._token_info(connection, site, value))
        use_for = max(seconds - _RENEW_EARLY.total_seconds(), seconds / 2)
        return _AccessToken(value, self._clock.monotonic() + use_for)

    async def _token_info(
        self, connection: httpx.AsyncClient, site: Site, token: str
    ) -> dict[str, Any]:
        """Return what Wix says that a token is for; empty where it refuses to say."""
        url = f"{self._base_url}/oauth2/token-info"
        response = await send(connection, self._clock, "POST", url, {"token": token}, {})
        try:
            return parse_answer(response, self._clock.now(), (token, *secrets_of(site)))
        except (WixAuthError, WixNotFound, WixPrecondition, WixResponseError):
            return {}

    def _verify_site(self, site: Site, info: dict[str, Any]) -> None:
        """Raise WixAuthError if a token opens another site than the config names.

        Where Wix does not say, the site is read all the same, and one warning is logged.
        """
        opened = info.get("siteId")
        if not isinstance(opened, str) or not opened:
            if site.site_id not in self._unverified:
                self._unverified.add(site.site_id)
                log.warning(
                    'site "%s": Wix does not say which site its app opens;'
                    " see that instance_id is of this site",
                    site.name,
                )
            return
        self._unverified.discard(site.site_id)
        if opened.lower() != site.site_id.lower():
            is_id = re.fullmatch(r"[A-Za-z0-9_-]{1,64}", opened)
            raise WixAuthError(
                f"its instance_id is of {f'site {opened}' if is_id else 'another site'},"
                " not of the site that site_id names; it is not read",
                401,
            )


def secrets_of(site: Site) -> tuple[str, ...]:
    """Return the secrets of a site, which Wix's answers may repeat."""
    return tuple(secret.get_secret_value() for secret in (site.api_key, site.app_secret) if secret)
