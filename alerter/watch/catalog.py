"""Names and links of reviewed products, kept in the state file. They never hold up an alert."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from alerter.clock import Clock
from alerter.config import Site
from alerter.errors import (
    StateError,
    WixAuthError,
    WixError,
    WixPrecondition,
    WixResponseError,
    WixUnavailable,
)
from alerter.links import https_url
from alerter.models import Product, Review
from alerter.scopes import Scope
from alerter.store import State, blocks, products
from alerter.text import table_in
from alerter.wix.client import WixClient
from alerter.wix.review import clean

log = logging.getLogger(__name__)
T = TypeVar("T")

_VALID_FOR = timedelta(days=1)
_TIMEOUT = 2.0  # seconds, for all products of a page
_MOST_CALLS = 8  # at once
_LONGEST_NAME = 200


class Catalog:
    """Fetch the names and links of products from a site's store.

    Without `state` they are only added to `unstored`, by their ids; it is then of one site.
    """

    def __init__(self, state: State | None, clock: Clock, wix: WixClient) -> None:
        self.unstored: dict[str, Product] = {}
        self._state = state
        self._clock = clock
        self._wix = wix
        self._versions: dict[str, tuple[str, datetime]] = {}

    async def fetch_products(self, site: Site, reviews: Collection[Review]) -> None:
        """Fetch and store the products of these reviews, as many as answer within two seconds.

        Raises nothing: an alert without a name shows the product's id.
        """
        ids = {
            review.entity_id
            for review in reviews
            if review.entity_id and review.namespace == "stores"
        }
        ids -= {".", ".."}
        try:
            if self._state:
                since = self._clock.now() - _VALID_FOR
                unknown = ids - products.looked_up_products(self._state, site.site_id, ids, since)
            else:
                unknown = ids - self.unstored.keys()
            if unknown:
                async with self._clock.timeout(_TIMEOUT):
                    await self._fetch(site, sorted(unknown))
        except (WixError, StateError, TimeoutError) as error:
            log.debug('site "%s": products without a name: %s', site.name, error or "too slow")

    async def _fetch(self, site: Site, ids: Sequence[str]) -> None:
        refused = await self._fetch_all(site, ids)
        if refused:
            # The store was migrated to another catalog since its version was read.
            self._versions.pop(site.site_id, None)
            refused = await self._fetch_all(site, refused)
        for entity_id in refused:
            self._store(site, entity_id, Product())

    async def _fetch_all(self, site: Site, ids: Sequence[str]) -> list[str]:
        """Fetch products concurrently; return the ids that are in another catalog version."""
        version = await self._version(site)
        refused: list[str] = []
        queue = iter(ids)
        calls = [self._fetch_each(site, version, queue, refused) for _ in ids[:_MOST_CALLS]]
        # All of them end before the first failure is raised, so that each stores what it can.
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            if failure is not None:
                raise failure
        return refused

    async def _fetch_each(
        self, site: Site, version: str, queue: Iterator[str], refused: list[str]
    ) -> None:
        for entity_id in queue:
            try:
                product = await self._product(site, version, quote(entity_id, safe=""))
            except WixPrecondition:
                refused.append(entity_id)
                continue
            except (WixAuthError, WixResponseError):
                product = Product()  # not fetched again before tomorrow
            self._store(site, entity_id, product)

    def _store(self, site: Site, entity_id: str, product: Product) -> None:
        if self._state:
            products.put_product(self._state, site.site_id, entity_id, product, self._clock.now())
        else:
            self.unstored[entity_id] = product

    async def _product(self, site: Site, version: str, entity_id: str) -> Product:
        if version == "V3_CATALOG":
            path = f"/stores/v3/products/{entity_id}?fields=URL"
            return _v3(await self._ask(site, lambda: self._wix.get(site, path)))
        if version == "V1_CATALOG":
            path = f"/stores-reader/v1/products/{entity_id}"
            return _v1(await self._ask(site, lambda: self._wix.get(site, path)))
        return Product()

    async def _ask(self, site: Site, request: Callable[[], Awaitable[T]]) -> T:
        """Send a request, unless Wix asked us to wait: for this site, or for its products.

        A wait for products holds up no review.
        """
        if self._state is None:
            return await request()
        now, own = self._clock.now(), Scope.PRODUCTS.of(site.site_id)
        if block := blocks.get_block(self._state, [Scope.SITE.of(site.site_id), own], now):
            raise WixUnavailable(block.reason)
        try:
            return await request()
        except WixUnavailable as error:
            if error.retry_after:
                now = self._clock.now()
                until = now + timedelta(seconds=error.retry_after)
                blocks.set_block(self._state, own, now, until, error.text)
            raise

    async def _version(self, site: Site) -> str:
        """Return a site's catalog version, read once a day; empty where Wix does not say."""
        version, asked_at = self._versions.get(site.site_id, ("", None))
        if asked_at and self._clock.now() - asked_at <= _VALID_FOR:
            return version
        try:
            version = await self._ask(site, lambda: self._wix.catalog_version(site))
        except (WixAuthError, WixResponseError):
            version = ""
        self._versions[site.site_id] = (version, self._clock.now())
        return version


def _v3(answer: Mapping[str, Any] | None) -> Product:
    product = table_in(answer or {}, "product")
    return Product(_name(product.get("name")), https_url(table_in(product, "url").get("url")))


def _v1(answer: Mapping[str, Any] | None) -> Product:
    product = table_in(answer or {}, "product")
    page = table_in(product, "productPageUrl")
    base, path = page.get("base"), page.get("path")
    return Product(
        _name(product.get("name")), https_url(f"{base}{path}") if base and path else None
    )


def _name(value: object) -> str | None:
    return (
        " ".join(clean(value).split())[:_LONGEST_NAME] or None if isinstance(value, str) else None
    )
