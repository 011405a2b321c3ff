"""Names and links of reviewed products. They never hold up an alert."""

import asyncio
import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol
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

_VALID_FOR = timedelta(days=1)
_TIMEOUT = 2.0  # seconds, for all products of a page
_MOST_CALLS = 8  # at once
_LONGEST_NAME = 200


def product_ids(reviews: Iterable[Review]) -> set[str]:
    """Return the ids of the products of a store that these reviews are about."""
    ids = {review.entity_id for review in reviews if review.namespace == "stores"}
    return {each for each in ids if each and each not in (".", "..")}


class ProductNames(Protocol):
    """What intake asks for the names of products that it has just recorded."""

    async def fetch_products(self, site: Site, reviews: Iterable[Review]) -> None:
        """Fetch and store the products of these reviews that are not stored. Raises nothing."""


class Catalog:
    """Keeps the products of reviews in the database, each for a day."""

    def __init__(self, state: State, clock: Clock, wix: WixClient) -> None:
        self._state = state
        self._clock = clock
        self._reader = CatalogReader(clock, wix)

    async def fetch_products(self, site: Site, reviews: Iterable[Review]) -> None:
        """Fetch and store the products of these reviews that are not stored.

        Raises nothing: an alert without a name shows the product's id.
        """
        ids, since = product_ids(reviews), self._clock.now() - _VALID_FOR
        try:
            unknown = ids - products.looked_up_products(self._state, site.site_id, ids, since)
            if unknown and not self._is_held_back(site):
                found, error = await self._reader.fetch(site, unknown)
                products.put_products(self._state, site.site_id, found, self._clock.now())
                self._hold_back(site, error)
        except StateError as error:
            log.debug('site "%s": products are not stored: %s', site.name, error)

    def _is_held_back(self, site: Site) -> bool:
        """Return whether Wix asked us to wait: with this site, or with its products."""
        scopes = [Scope.SITE.of(site.site_id), Scope.PRODUCTS.of(site.site_id)]
        return blocks.get_block(self._state, scopes, self._clock.now()) is not None

    def _hold_back(self, site: Site, error: WixError | None) -> None:
        """Wait with the products of a site as long as Wix asks; that holds up no review."""
        if isinstance(error, WixUnavailable) and error.retry_after:
            now, scope = self._clock.now(), Scope.PRODUCTS.of(site.site_id)
            until = now + timedelta(seconds=error.retry_after)
            blocks.set_block(self._state, scope, now, until, error.text)


class CatalogReader:
    """Reads products from the stores of sites."""

    def __init__(self, clock: Clock, wix: WixClient) -> None:
        self._clock = clock
        self._wix = wix
        self._versions: dict[str, tuple[str, datetime]] = {}
        # By site id, whatever else goes wrong with the products of the same fetch.
        self._throttled: dict[str, WixError] = {}

    async def fetch(
        self, site: Site, ids: Collection[str]
    ) -> tuple[dict[str, Product], WixError | None]:
        """Return the products that Wix sends within two seconds, and why it sends no more.

        A product that the store does not have has no name. Raises nothing.
        """
        found: dict[str, Product] = {}
        try:
            async with self._clock.timeout(_TIMEOUT):
                refused = await self._fetch_all(site, sorted(ids), found)
                if refused:
                    # The store was migrated to another catalog since its version was read.
                    self._versions.pop(site.site_id, None)
                    refused = await self._fetch_all(site, refused, found)
                found |= dict.fromkeys(refused, Product())
        except (WixError, TimeoutError) as error:
            log.debug('site "%s": products without a name: %s', site.name, error or "too slow")
            reason = error if isinstance(error, WixError) else None
            return found, self._throttled.pop(site.site_id, reason)
        return found, None

    async def _fetch_all(
        self, site: Site, ids: Sequence[str], found: dict[str, Product]
    ) -> list[str]:
        """Fetch products concurrently; return the ids that are in another catalog version."""
        if not ids:
            return []
        version = await self._version(site)
        refused: list[str] = []
        queue = iter(ids)
        calls = [self._fetch_each(site, version, queue, found, refused) for _ in ids[:_MOST_CALLS]]
        # All of them end before the first failure is raised, so that each finds what it can.
        for failure in await asyncio.gather(*calls, return_exceptions=True):
            if failure is not None:
                raise failure
        return refused

    async def _fetch_each(
        self,
        site: Site,
        version: str,
        queue: Iterator[str],
        found: dict[str, Product],
        refused: list[str],
    ) -> None:
        for entity_id in queue:
            try:
                found[entity_id] = await self._product(site, version, quote(entity_id, safe=""))
            except WixPrecondition:
                refused.append(entity_id)
            except (WixAuthError, WixResponseError):
                found[entity_id] = Product()  # not fetched again before tomorrow
            except WixUnavailable as error:
                if error.retry_after:
                    self._throttled[site.site_id] = error
                    deque(queue, maxlen=0)  # the other calls end too
                raise

    async def _product(self, site: Site, version: str, entity_id: str) -> Product:
        if version == "V3_CATALOG":
            return _v3(await self._wix.get(site, f"/stores/v3/products/{entity_id}?fields=URL"))
        if version == "V1_CATALOG":
            return _v1(await self._wix.get(site, f"/stores-reader/v1/products/{entity_id}"))
        return Product()

    async def _version(self, site: Site) -> str:
        """Return a site's catalog version, read once a day; empty where Wix does not say."""
        version, asked_at = self._versions.get(site.site_id, ("", None))
        if asked_at and self._clock.now() - asked_at <= _VALID_FOR:
            return version
        try:
            version = await self._wix.catalog_version(site)
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
