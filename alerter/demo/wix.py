"""An embedded Wix: an HTTP server on loopback that refuses what Wix refuses."""

import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from math import ceil
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing
from alerter.demo.wix_access import Access, ServedAccount
from alerter.demo.wix_calls import (
    CALLS,
    CONSISTENT,
    FORBIDDEN,
    REVIEWS,
    Call,
    Refusal,
    shape_errors,
)
from alerter.demo.wix_control import add_control
from alerter.demo.wix_misreads import Meanwhile, Misread
from alerter.demo.wix_orders import ORDER_CALLS
from alerter.demo.wix_reviews import Json
from alerter.demo.wix_site import App, Site

__all__ = ["App", "EmbeddedWix", "Meanwhile", "Misread", "Request", "Site"]


@dataclass
class Request:
    """A received request. `status` is None until it is answered, `at` monotonic time in seconds."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    at: float
    site_id: str | None = None
    status: int | None = None


_KEPT = web.RequestKey("kept", Request)


class EmbeddedWix(LoopbackService):
    """The served sites, and every request that was received.

    `skew` is how many seconds the Date header is ahead of `clock`. `access` has keys, tokens and
    accounts.
    """

    def __init__(
        self, *, clock: Clock | None = None, requests_per_minute: int | None = 200
    ) -> None:
        self.clock = clock or Clock()
        self.requests_per_minute = requests_per_minute
        self.retry_after_header = True
        self.skew = 0.0
        self.requests: list[Request] = []
        self.faults = Faults()
        self.sites: dict[str, Site] = {}
        self.access = Access(self.clock, self.sites)
        self._server = Loopback(self._application)

    @property
    def base_url(self) -> str:
        """The address that replaces https://www.wixapis.com."""
        return self._server.url

    def add_site(
        self,
        site_id: str,
        *,
        api_key: str | None = None,
        app: App | None = None,
        private: bool = True,
        catalog: str = "V3_CATALOG",
        name: str = "A site",
    ) -> Site:
        """Add a site, for callers with its API key or its app's credentials."""
        site = Site(site_id, self.clock, api_key, app, private, catalog, name=name)
        self.sites[site_id] = site
        return site

    def add_account(self, account_id: str, api_key: str, site_ids: Iterable[str]) -> None:
        """Add an account, whose API key opens and lists these sites."""
        self.access.accounts[account_id] = ServedAccount(account_id, api_key, tuple(site_ids))

    def forbid(self, identity: str, *permissions: str) -> None:
        """Withdraw permissions from an API key or an app (by its id), until `permit`.

        They are READ_REVIEWS, READ_PRIVATE_REVIEWS, SET_REPLY, REMOVE_REPLY, MODERATE_REVIEWS,
        READ_CATALOG, READ_CONTACTS, READ_ORDERS, READ_REVIEW_REQUESTS, MANAGE_YOUR_APP and
        SITE_LIST.
        """
        self.access.forbidden.setdefault(identity, set()).update(permissions)

    def permit(self, identity: str) -> None:
        """Give an API key or an app all its permissions again."""
        self.access.forbidden.pop(identity, None)

    def throttle(self, seconds: float, site_id: str | None = None) -> None:
        """Answer requests for a site, or for all sites, with 429 for this many seconds."""
        for site in self.sites.values():
            if site_id in (None, site.site_id):
                site.throttle(seconds)

    def add(self, site_id: str, review: Mapping[str, Any], *, visible_after: float = 0) -> Json:
        """Create a review with Wix's defaults; queries find it after `visible_after` seconds."""
        return self.sites[site_id].add(review, visible_after)

    def change(self, site_id: str, review_id: str, **changes: Any) -> Json:
        """Merge changes into a review, and increase its revision."""
        return self.sites[site_id].change(review_id, changes)

    def reply(self, site_id: str, review_id: str, message: str) -> Json:
        """Set the owner's reply to a review."""
        return self.sites[site_id].reply(review_id, message)

    def unreply(self, site_id: str, review_id: str) -> Json:
        """Remove the reply."""
        return self.sites[site_id].unreply(review_id)

    def moderate(self, site_id: str, review_id: str, status: str) -> Json:
        """Set a review's moderation status; only APPROVED ones are published."""
        return self.sites[site_id].moderate(review_id, status)

    def delete(self, site_id: str, review_id: str) -> Json:
        """Delete a review and return it."""
        return self.sites[site_id].delete(review_id)

    def add_product(self, site_id: str, product_id: str, name: str, url: str) -> None:
        """Add a product to a site."""
        self.sites[site_id].products[product_id] = (name, url)

    def add_contact(
        self, site_id: str, contact_id: str, *, name: str, email: str, phone: str = ""
    ) -> None:
        """Add a contact to a site."""
        first, _, last = name.partition(" ")
        self.sites[site_id].contacts[contact_id] = {
            "id": contact_id,
            "primaryInfo": {"email": email, "phone": phone},
            "info": {"name": {"first": first, "last": last}},
        }

    def load(self, site_id: str, path: str | Path) -> int:
        """Add reviews, one JSON object a line; return how many. Raises ValueError."""
        return self.sites[site_id].load(Path(path))

    def queries(self, site_id: str | None = None) -> list[Request]:
        """Return the received review queries, of one site or of all."""
        path = f"{REVIEWS}/query"
        return [
            each for each in self.requests if each.path == path and site_id in (None, each.site_id)
        ]

    def revoke_tokens(self) -> None:
        """Make every issued access token invalid."""
        self.access.revoke_tokens()

    def _application(self) -> web.Application:
        app = application(self._record, failing(self.faults, _about), shape_errors)
        for method, path, permission, writes, call in (*CALLS, *ORDER_CALLS):
            app.router.add_route(method, path, self._authorized(call, permission, writes=writes))
        app.router.add_post("/oauth2/token", self.access.token)
        app.router.add_post("/oauth2/token-info", self.access.info)
        app.router.add_get("/apps/v1/instance", self.access.instance)
        app.router.add_post("/site-list/v2/sites/query", self.access.query_sites)
        add_control(app, self.sites)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            body = json.loads(await request.read())
        except (ValueError, RecursionError):
            body = None
        headers = dict(request.headers)
        kept = Request(
            request.method, request.path, dict(request.query), headers, body, self.clock.monotonic()
        )
        self.requests.append(kept)
        request[_KEPT] = kept
        with suppress(Refusal):
            kept.site_id = self.access.caller(request).site.site_id
        response = await handler(request)
        kept.status = response.status
        response.headers["x-wix-request-id"] = f"{UUID(int=len(self.requests))}"
        date = self.clock.now() + timedelta(seconds=self.skew)
        response.headers.setdefault("Date", format_datetime(date, usegmt=True))
        return response

    def _authorized(self, call: Call, permission: str, *, writes: bool) -> Handler:
        async def handler(request: web.Request) -> web.Response:
            caller = self.access.caller(request)
            site = caller.site
            if site.refuse is not None:
                code = "UNAUTHENTICATED" if site.refuse == 401 else "PERMISSION_DENIED"
                raise Refusal(site.refuse, code, "the caller has no access")
            if (wait := site.admit(self.requests_per_minute)) is not None:
                headers = {"Retry-After": f"{ceil(wait)}"} if self.retry_after_header else {}
                raise Refusal(429, "RESOURCE_EXHAUSTED", "too many requests", headers)
            self.access.require(caller, permission)
            request[FORBIDDEN] = frozenset(self.access.forbidden.get(caller.identity, ()))
            kind = request.path.rpartition("/")[2] if request.method != "GET" else "get"
            review_id = request.match_info.get("id")
            site.meanwhile.happen(f"before {kind}", review_id)
            answer = await call(site, request)
            consistent = {CONSISTENT: f"{len(self.requests)}"} if writes else {}
            site.written.update(dict.fromkeys(consistent.values(), self.clock.monotonic()))
            site.meanwhile.happen(f"after {kind}", review_id)
            return web.json_response(answer, headers=consistent)

        return handler


def _about(request: web.Request) -> Collection[str]:
    kept = request[_KEPT]
    asked = kept.body if isinstance(kept.body, dict) else {}
    named = (kept.site_id, asked.get("client_id"), asked.get("instance_id"))
    return [each for each in named if isinstance(each, str)]
