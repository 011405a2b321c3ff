"""Names and links of what was reviewed, kept in the state file; never in the way of an alert."""

import asyncio
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from alerter.clock import Clock
from alerter.config import Site
from alerter.errors import StateError, WixAuthError, WixError, WixPrecondition, WixResponseError
from alerter.links import https_url
from alerter.models import Product, Review
from alerter.store import State, products
from alerter.wix.client import WixClient
from alerter.wix.review import clean

log = logging.getLogger(__name__)

_KEPT = timedelta(days=1)
_PATIENCE = 2.0
_AT_ONCE = 8
_LONGEST_NAME = 200


class Catalog:
    """Asks a site's store what its products are called."""

    def __init__(self, state: State, clock: Clock, wix: WixClient) -> None:
        self._state = state
        self._clock = clock
        self._wix = wix
        self._versions: dict[str, tuple[str, datetime]] = {}

    async def learn(self, site: Site, reviews: Collection[Review]) -> None:
        """Get to know the products of these reviews, as far as that goes within two seconds."""
        ids = {
            review.entity_id
            for review in reviews
            if review.entity_id and review.namespace == "stores"
        }
        ids -= {".", ".."}
        try:
            unknown = ids - products.known(
                self._state, site.site_id, ids, self._clock.now() - _KEPT
            )
            if unknown:
                async with self._clock.timeout(_PATIENCE):
                    await self._ask(site, sorted(unknown))
        except (WixError, StateError, TimeoutError) as error:
            # The alert says the product's id instead.
            log.debug(
                'site "%s": a product keeps its id for a name: %s', site.name, error or "too slow"
            )

    async def _ask(self, site: Site, ids: Sequence[str]) -> None:
        elsewhere = await self._ask_all(site, ids)
        if elsewhere:
            # The store has moved since it was asked which catalog it has.
            self._versions.pop(site.site_id, None)
            elsewhere = await self._ask_all(site, elsewhere)
        for entity_id in elsewhere:
            self._keep(site, entity_id, Product())

    async def _ask_all(self, site: Site, ids: Sequence[str]) -> list[str]:
        """Ask for several products at once; returns those that the site has in another catalog."""
        version = await self._version(site)
        elsewhere: list[str] = []
        queue = iter(ids)
        asking = [self._ask_each(site, version, queue, elsewhere) for _ in ids[:_AT_ONCE]]
        # One that fails keeps no other from its name.
        for failure in await asyncio.gather(*asking, return_exceptions=True):
            if failure is not None:
                raise failure
        return elsewhere

    async def _ask_each(
        self, site: Site, version: str, queue: Iterator[str], elsewhere: list[str]
    ) -> None:
        for entity_id in queue:
            try:
                product = await self._product(site, version, quote(entity_id, safe=""))
            except WixPrecondition:
                elsewhere.append(entity_id)
                continue
            except (WixAuthError, WixResponseError):
                product = Product()  # not asked again before tomorrow
            self._keep(site, entity_id, product)

    def _keep(self, site: Site, entity_id: str, product: Product) -> None:
        products.put(self._state, site.site_id, entity_id, product, self._clock.now())

    async def _product(self, site: Site, version: str, entity_id: str) -> Product:
        if version == "V3_CATALOG":
            return _v3(await self._wix.get(site, f"/stores/v3/products/{entity_id}?fields=URL"))
        if version == "V1_CATALOG":
            return _v1(await self._wix.get(site, f"/stores-reader/v1/products/{entity_id}"))
        return Product()

    async def _version(self, site: Site) -> str:
        """Which catalog a site has; empty where it does not say. Asked once a day, whatever the answer was."""
        version, asked_at = self._versions.get(site.site_id, ("", None))
        if asked_at and self._clock.now() - asked_at <= _KEPT:
            return version
        try:
            answer = await self._wix.get(site, "/stores/v3/provision/version")
            version = str((answer or {}).get("catalogVersion"))
        except (WixAuthError, WixResponseError):
            version = ""
        self._versions[site.site_id] = (version, self._clock.now())
        return version


def _v3(answer: Mapping[str, Any] | None) -> Product:
    product = _table(answer, "product")
    return Product(_name(product.get("name")), https_url(_table(product, "url").get("url")))


def _v1(answer: Mapping[str, Any] | None) -> Product:
    product = _table(answer, "product")
    page = _table(product, "productPageUrl")
    base, path = page.get("base"), page.get("path")
    return Product(
        _name(product.get("name")), https_url(f"{base}{path}") if base and path else None
    )


def _table(raw: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    found = (raw or {}).get(name)
    return found if isinstance(found, dict) else {}


def _name(value: object) -> str | None:
    return (
        " ".join(clean(value).split())[:_LONGEST_NAME] or None if isinstance(value, str) else None
    )
