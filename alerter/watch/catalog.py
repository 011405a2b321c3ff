"""Names and links of what was reviewed, kept in the state file; never in the way of an alert."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from alerter.clock import Clock
from alerter.config import Site
from alerter.errors import StateError, WixAuthError, WixError, WixResponseError
from alerter.models import Product, Review
from alerter.store import State, products
from alerter.watch.wix import WixClient
from alerter.watch.wix_review import clean, https_url

log = logging.getLogger(__name__)

_KEPT = timedelta(days=1)
_PATIENCE = 2.0
_LONGEST_NAME = 200


class Catalog:
    """Asks a site's store what its products are called."""

    def __init__(self, state: State, clock: Clock, wix: WixClient) -> None:
        self._state = state
        self._clock = clock
        self._wix = wix
        self._versions: dict[str, str] = {}

    async def learn(self, site: Site, reviews: Collection[Review]) -> None:
        """Get to know the products of these reviews, as far as that goes within two seconds."""
        ids = {review.entity_id for review in reviews if review.entity_id and review.namespace == "stores"} - {
            ".",
            "..",
        }
        try:
            unknown = ids - products.known(self._state, site.site_id, ids, self._clock.now() - _KEPT)
            if unknown:
                async with asyncio.timeout(_PATIENCE):
                    await self._ask(site, sorted(unknown))
        except (WixError, StateError, TimeoutError) as error:
            # The alert says the product's id instead.
            log.debug('site "%s": a product keeps its id for a name: %s', site.name, error or "too slow")

    async def _ask(self, site: Site, ids: Sequence[str]) -> None:
        version = self._versions.get(site.site_id) or await self._version(site)
        for entity_id in ids:
            try:
                product = await self._product(site, version, quote(entity_id, safe=""))
            except (WixAuthError, WixResponseError):
                # Not asked again before tomorrow; by then the store may have moved to the other catalog.
                product = Product()
                self._versions.pop(site.site_id, None)
            products.put(self._state, site.site_id, entity_id, product, self._clock.now())

    async def _product(self, site: Site, version: str, entity_id: str) -> Product:
        if version == "V3_CATALOG":
            return _v3(await self._wix.get(site, f"/stores/v3/products/{entity_id}?fields=URL"))
        if version == "V1_CATALOG":
            return _v1(await self._wix.get(site, f"/stores-reader/v1/products/{entity_id}"))
        return Product()

    async def _version(self, site: Site) -> str:
        try:
            answer = await self._wix.get(site, "/stores/v3/provision/version")
        except (WixAuthError, WixResponseError):
            return ""
        version = str((answer or {}).get("catalogVersion"))
        if version in ("V1_CATALOG", "V3_CATALOG"):
            self._versions[site.site_id] = version
        return version


def _v3(answer: Mapping[str, Any] | None) -> Product:
    product = _table(answer, "product")
    return Product(_name(product.get("name")), https_url(_table(product, "url").get("url")))


def _v1(answer: Mapping[str, Any] | None) -> Product:
    product = _table(answer, "product")
    page = _table(product, "productPageUrl")
    base, path = page.get("base"), page.get("path")
    return Product(_name(product.get("name")), https_url(f"{base}{path}") if base and path else None)


def _table(raw: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    found = (raw or {}).get(name)
    return found if isinstance(found, dict) else {}


def _name(value: object) -> str | None:
    return " ".join(clean(value).split())[:_LONGEST_NAME] or None if isinstance(value, str) else None
