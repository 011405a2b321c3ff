"""Access to the embedded Wix: API keys, apps, tokens, accounts, and the calls about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from aiohttp import web

from alerter.clock import Clock
from alerter.demo.wix_calls import Refusal, Violation, read_body
from alerter.demo.wix_filter import read_object
from alerter.demo.wix_reviews import Json
from alerter.demo.wix_site import App, Site

_SITES_A_PAGE = 50


@dataclass(frozen=True)
class ServedAccount:
    """A Wix account, and the API key for all its sites."""

    account_id: str
    api_key: str
    site_ids: tuple[str, ...]


@dataclass(frozen=True)
class Caller:
    """An authenticated caller; `identity` is the API key or the app's id."""

    site: Site
    identity: str
    app: App | None


@dataclass(frozen=True)
class _Token:
    site: Site
    app: App
    issued: float
    expires: float


class Access:
    """Keys, tokens and accounts, and the permissions that they lack.

    `token_lifetime` is in seconds; `expires_in` replaces it in the answer. `token_info` says
    whether token-info answers in full, without `siteId`, or not at all.
    """

    def __init__(self, clock: Clock, sites: Mapping[str, Site]) -> None:
        self.token_lifetime = 14_400
        self.expires_in: Any = None
        self.token_info = "full"
        self.accounts: dict[str, ServedAccount] = {}
        self.forbidden: dict[str, set[str]] = {}
        self._clock = clock
        self._sites = sites
        self._tokens: dict[str, _Token] = {}
        self._issued = 0

    def revoke_tokens(self) -> None:
        """Make every issued access token invalid."""
        self._tokens.clear()

    def caller(self, request: web.Request) -> Caller:
        """Return the caller of a request. Raises Refusal."""
        credential = _credential(request)
        if token := self._token(credential):
            return Caller(token.site, token.app.app_id, token.app)
        of_accounts = {
            site_id
            for account in self.accounts.values()
            if account.api_key == credential
            for site_id in account.site_ids
        }
        served = [
            site
            for site in self._sites.values()
            if site.api_key == credential or site.site_id in of_accounts
        ]
        if not served:
            raise Refusal(401, "UNAUTHENTICATED", "the authorization is not valid")
        wanted = request.headers.get("wix-site-id")
        site = next((site for site in served if site.site_id == wanted), None)
        if site is None:
            raise Refusal(
                403,
                "PERMISSION_DENIED",
                f"no access to site {wanted or '(wix-site-id is missing)'}",
            )
        return Caller(site, credential, None)

    def require(self, caller: Caller, permission: str) -> None:
        """Raise Refusal if a caller lacks a permission."""
        if permission in self.forbidden.get(caller.identity, ()):
            raise Refusal(403, "PERMISSION_DENIED", f"permission {permission} is required")

    async def token(self, request: web.Request) -> web.Response:
        """Answer POST /oauth2/token: issue an access token for one installation of an app."""
        asked = await read_body(request)
        if asked.get("grant_type") != "client_credentials":
            return _oauth_error(
                400, "unsupported_grant_type", "grant_type has to be client_credentials"
            )
        if missing := [
            key for key in ("client_id", "client_secret", "instance_id") if not asked.get(key)
        ]:
            return _oauth_error(400, "invalid_request", f"{missing[0]} is missing")
        apps = [(site, site.app) for site in self._sites.values() if site.app is not None]
        known = {(app.app_id, app.app_secret) for _, app in apps}
        if (asked["client_id"], asked["client_secret"]) not in known:
            return _oauth_error(401, "invalid_client", "the app id or its secret is wrong")
        wanted = App(asked["client_id"], asked["client_secret"], asked["instance_id"])
        site = next((site for site, app in apps if app == wanted), None)
        if site is None:
            return _oauth_error(400, "invalid_grant", "the app has no such instance")
        self._issued += 1
        token, now = f"OauthNG.JWS.{UUID(int=self._issued)}", self._clock.monotonic()
        self._tokens[token] = _Token(site, wanted, now, now + self.token_lifetime)
        expires_in = self.token_lifetime if self.expires_in is None else self.expires_in
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "expires_in": expires_in}
        )

    async def info(self, request: web.Request) -> web.Response:
        """Answer POST /oauth2/token-info: the site and app of a token."""
        asked = await read_body(request)
        if not isinstance(asked.get("token"), str):
            raise Violation("token", "token is required", "REQUIRED_FIELD")
        token = self._token(asked["token"])
        if self.token_info == "refused":
            raise Refusal(403, "PERMISSION_DENIED", "token-info is not for this caller")
        if token is None:
            return web.json_response({"active": False})
        issued = self._clock.now() - timedelta(seconds=self._clock.monotonic() - token.issued)
        answer = {
            "active": True,
            "subjectType": "APP",
            "subjectId": token.app.app_id,
            "exp": int(issued.timestamp() + token.expires - token.issued),
            "iat": int(issued.timestamp()),
            "clientId": token.app.app_id,
            "siteId": token.site.site_id,
            "instanceId": token.app.instance_id,
        }
        if self.token_info == "no site":
            del answer["siteId"]
        return web.json_response(answer)

    async def instance(self, request: web.Request) -> web.Response:
        """Answer GET /apps/v1/instance: which installation of the app calls."""
        caller = self.caller(request)
        self.require(caller, "MANAGE_YOUR_APP")
        if caller.app is None:
            raise Refusal(403, "PERMISSION_DENIED", "only an app has an instance")
        instance = {
            "instanceId": caller.app.instance_id,
            "appName": "alerter",
            "appVersion": "1.0.0",
            "isFree": True,
        }
        site = {
            "siteDisplayName": caller.site.name,
            "locale": "en",
            "url": f"https://{caller.site.site_id}.example",
            "ownerEmail": "owner@example.com",
        }
        return web.json_response({"instance": instance, "site": site})

    async def query_sites(self, request: web.Request) -> web.Response:
        """Answer POST /site-list/v2/sites/query: the sites of an account."""
        account = self._account(request)
        body = await read_body(request)
        _only(body, {"query"}, "")
        query = read_object("query", body.get("query"))
        _only(query, {"cursorPaging", "filter", "sort"}, "query.")
        paging = read_object("query.cursorPaging", query.get("cursorPaging"))
        _only(paging, {"limit", "cursor"}, "query.cursorPaging.")
        if "cursor" in paging and len(query) > 1:
            raise Violation("query.cursorPaging.cursor", "the cursor carries its filter and sort")
        limit, start = (
            paging.get("limit", _SITES_A_PAGE),
            _start(paging.get("cursor"), len(account.site_ids)),
        )
        if not isinstance(limit, int) or not 1 <= limit <= _SITES_A_PAGE:
            raise Violation(
                "query.cursorPaging.limit", f"must be between 1 and {_SITES_A_PAGE}", "MAX"
            )
        page = [self._sites[site_id] for site_id in account.site_ids[start : start + limit]]
        following = start + limit if start + limit < len(account.site_ids) else None
        cursors = {"next": f"sites-{following}"} if following else {}
        metadata = {"count": len(page), "cursors": cursors, "hasNext": following is not None}
        return web.json_response({"sites": _listed(page), "metadata": metadata})

    def _account(self, request: web.Request) -> ServedAccount:
        credential, account_id = _credential(request), request.headers.get("wix-account-id")
        if "wix-site-id" in request.headers:
            raise Refusal(
                400, "INVALID_ARGUMENT", "wix-account-id and wix-site-id cannot be combined"
            )
        if not any(account.api_key == credential for account in self.accounts.values()):
            raise Refusal(401, "UNAUTHENTICATED", "the authorization is not valid")
        account = self.accounts.get(account_id or "")
        if (
            account is None
            or account.api_key != credential
            or "SITE_LIST" in self.forbidden.get(credential, ())
        ):
            raise Refusal(
                403,
                "PERMISSION_DENIED",
                f"no access to account {account_id or '(header is missing)'}",
            )
        return account

    def _token(self, credential: str) -> _Token | None:
        token = self._tokens.get(credential)
        return token if token and self._clock.monotonic() < token.expires else None


def _credential(request: web.Request) -> str:
    credential = request.headers.get("Authorization")
    if not credential:
        raise Refusal(401, "UNAUTHENTICATED", "the request has no authorization header")
    return credential


def _oauth_error(status: int, error: str, description: str) -> web.Response:
    """Return an error of https://www.rfc-editor.org/rfc/rfc6749#section-5.2."""
    return web.json_response({"error": error, "error_description": description}, status=status)


def _only(fields: Mapping[str, Any], known: set[str], path: str) -> None:
    if unknown := fields.keys() - known:
        raise Violation(f"{path}{min(unknown)}", f"unknown field {min(unknown)}")


def _start(cursor: object, most: int) -> int:
    if cursor is None:
        return 0
    number = str(cursor).removeprefix("sites-")
    if not number.isascii() or not number.isdigit() or int(number[:9]) > most:
        raise Violation("query.cursorPaging.cursor", "the cursor is not valid")
    return int(number)


def _listed(sites: Sequence[Site]) -> list[Json]:
    return [
        {"id": site.site_id, "name": site.name.lower().replace(" ", "-"), "displayName": site.name}
        for site in sites
    ]
