"""The orders behind reviews. They never hold up an alert."""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from alerter.clock import Clock
from alerter.config import Site
from alerter.errors import (
    StateError,
    WixAuthError,
    WixError,
    WixResponseError,
    WixThrottled,
    WixUnavailable,
)
from alerter.models import Review
from alerter.orders import Order, OrderSource, Shipping, Usual
from alerter.scopes import Scope
from alerter.store import State, Wake, blocks, orders, stale_messages
from alerter.store.lease import without_lease
from alerter.watch.catalog import ProductNames
from alerter.watch.order_facts import choose_order, describe_order, usual_delay
from alerter.wix.client import WixClient
from alerter.wix.orders import (
    Fulfillment,
    WixOrder,
    fulfilled_orders,
    fulfillments_of,
    orders_by_contacts,
    orders_by_id,
    requested_orders,
)
from alerter.wix.waits import respect_waits

log = logging.getLogger(__name__)

_TIMEOUT = 2.0  # seconds that an alert waits for all orders of a page
_LONGEST = 60.0  # seconds that a look-up takes at most
_MOST_AT_ONCE = 10  # look-ups that go on after their alert has left
# Look-ups of a site, of up to six calls each: Wix allows 200 calls a minute; reviews come first.
_MOST_A_MINUTE = 15
_MOST_REVIEWS = 50  # of a page, the newest: more alerts at once leave as a digest, without orders
_VALID_FOR = timedelta(hours=1)
_DAY = timedelta(days=1)  # a refusal is remembered, and the usual delay is valid, for so long
# What is usual: younger orders may not be shipped yet, so that only fast ones would count.
_SETTLED, _OLDEST = timedelta(days=14), timedelta(days=365)


class Orders:
    """Finds the orders behind reviews, and keeps what is said about them in the database.

    It stands before the `catalog`, so that an alert waits for both at once.
    """

    def __init__(
        self, state: State, clock: Clock, wix: WixClient, wake: Wake, catalog: ProductNames
    ) -> None:
        self._catalog = catalog
        self._state = state
        self._clock = clock
        self._wake = wake
        self._reader = _OrderReader(state, clock, wix)
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun: defaultdict[str, deque[float]] = defaultdict(deque)

    async def close(self) -> None:
        """End the look-ups that go on."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def fetch_products(self, site: Site, reviews: Iterable[Review]) -> None:
        """Fetch and store the products of these reviews, and the orders behind them."""
        about = list(reviews)
        await asyncio.gather(
            self._catalog.fetch_products(site, about), self.fetch_orders(site, about)
        )

    async def fetch_orders(self, site: Site, reviews: Iterable[Review]) -> None:
        """Find and store the orders behind these reviews, and return after two seconds at most.

        What takes longer goes on, and updates messages on Slack. Raises nothing: an alert without
        an order says nothing about it.
        """
        lookup = self._look_up(site, list(reviews))
        task = asyncio.create_task(lookup, context=without_lease())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with self._clock.timeout(_TIMEOUT):
                await asyncio.wait({task})
        except TimeoutError:
            log.debug('site "%s": orders are late', site.name)
            if len(self._tasks) > _MOST_AT_ONCE:
                task.cancel()

    async def _look_up(self, site: Site, reviews: Sequence[Review]) -> None:
        try:
            wanted = self._wanted(site, reviews)
            if not wanted:
                return
            async with self._clock.timeout(_LONGEST):
                found = await self._reader.find(site, wanted)
            self._store(site, found)
        except (WixError, TimeoutError) as error:
            log.debug('site "%s": no orders: %s', site.name, error or "too slow")
        except StateError as error:
            log.debug('site "%s": orders are not stored: %s', site.name, error)
        except Exception as error:  # the alert leaves all the same
            log.exception('site "%s": a defect in orders: %s', site.name, type(error).__name__)

    def _wanted(self, site: Site, reviews: Sequence[Review]) -> list[Review]:
        """Return the reviews to look for; none while Wix asked us to wait, or refuses orders."""
        now = self._clock.now()
        if orders.refused_until(self._state, site.site_id, now):
            return []
        if blocks.is_blocked(self._state, Scope.SITE.of(site.site_id), now):
            return []
        known = orders.get_orders(self._state, site.site_id, [each.id for each in reviews])
        wanted = [
            each
            for each in reviews[-_MOST_REVIEWS:]
            if each.id not in known or known[each.id].asked_at + _VALID_FOR <= now
        ]
        return wanted if wanted and self._admit(site) else []

    def _admit(self, site: Site) -> bool:
        """Count a look-up of a site; return False for one too many within a minute."""
        begun, now = self._begun[site.site_id], self._clock.monotonic()
        while begun and begun[0] <= now - 60:
            begun.popleft()
        if len(begun) >= _MOST_A_MINUTE:
            return False
        begun.append(now)
        return True

    def _store(self, site: Site, found: dict[str, Order]) -> None:
        if not found:
            return
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            stored = orders.put_orders(self._state, site.site_id, found)
            # Of an alert that has left already, or of an earlier one about the same review.
            woken = stale_messages.mark_stale(self._state, site.site_id, stored)
        if woken:
            self._wake(woken)


class _OrderReader:
    """Reads orders at Wix, and remembers what a site refuses."""

    def __init__(self, state: State, clock: Clock, wix: WixClient) -> None:
        self._state = state
        self._clock = clock
        self._wix = wix

    async def find(self, site: Site, reviews: Sequence[Review]) -> dict[str, Order]:
        """Return the orders behind these reviews, by review id. Raises WixError, StateError."""
        try:
            chosen = await self._choose(site, reviews)
            shipments = await self._fulfillments(site, [each.id for each, _, _ in chosen.values()])
            now = self._clock.now()
            found = {
                each.id: describe_order(
                    chosen[each.id][0],
                    each,
                    shipments.get(chosen[each.id][0].id, ()),
                    chosen[each.id][1],
                    now,
                    chosen[each.id][2],
                )
                for each in reviews
                if each.id in chosen
            }
            if any(each.shipping in _COMPARED for each in found.values()):
                usual = await self._usual(site)
                found = {name: replace(each, usual=usual) for name, each in found.items()}
        except (WixAuthError, WixResponseError):
            self._remember(site, orders_after=self._clock.now() + _DAY)
            raise
        return found

    @asynccontextmanager
    async def _asking(self, site: Site) -> AsyncIterator[None]:
        """Respect and record until when Wix wants no calls about a site, or about its orders.

        Wix limits all calls about a site together; a shop that is down holds up orders only.
        """
        now = self._clock.now()
        if until := orders.refused_until(self._state, site.site_id, now):
            raise WixUnavailable("Wix asked us to wait", (until - now).total_seconds())
        try:
            async with respect_waits(self._state, self._clock, site.site_id, WixThrottled):
                yield
        except WixUnavailable as error:
            if error.retry_after:
                wait = timedelta(seconds=error.retry_after)
                self._remember(site, orders_after=self._clock.now() + wait)
            raise

    async def _choose(
        self, site: Site, reviews: Sequence[Review]
    ) -> dict[str, tuple[WixOrder, OrderSource, int]]:
        """Return the order behind each review, how it was found, and among how many."""
        requested = await self._requested(site, {each.id for each in reviews})
        ids = set(requested.values())
        by_id = await self._by_id(site, ids) if ids else {}
        found = {
            review_id: (by_id[order_id], OrderSource.REQUEST, 1)
            for review_id, order_id in requested.items()
            if order_id in by_id
        }
        others = [each for each in reviews if each.id not in found and _is_searchable(each)]
        if not others:
            return found
        contacts = {each.contact_id for each in others if each.contact_id}
        products = {each.entity_id for each in others if each.entity_id}
        async with self._asking(site):
            candidates = await orders_by_contacts(self._wix, site, contacts, products)
        for review in others:
            order, among = choose_order(review, candidates, self._clock.now())
            if order:
                found[review.id] = (order, OrderSource.CONTACT, among)
        return found

    async def _by_id(self, site: Site, ids: Collection[str]) -> dict[str, WixOrder]:
        async with self._asking(site):
            return {each.id: each for each in await orders_by_id(self._wix, site, ids)}

    async def _requested(self, site: Site, review_ids: Collection[str]) -> dict[str, str]:
        """Return the orders that Wix's own requests name; none where it does not show requests."""
        access = orders.get_order_access(self._state, site.site_id)
        if access.requests_after and access.requests_after > self._clock.now():
            return {}
        try:
            async with self._asking(site):
                return await requested_orders(self._wix, site, review_ids)
        except WixError as error:
            if isinstance(error, WixUnavailable) and error.retry_after:
                raise
            log.debug('site "%s": no review requests: %s', site.name, error)
            if not isinstance(error, WixUnavailable):
                self._remember(site, requests_after=self._clock.now() + _DAY)
            return {}

    async def _fulfillments(
        self, site: Site, order_ids: Sequence[str]
    ) -> dict[str, list[Fulfillment]]:
        """Return fulfillments by order; without them, the order itself says whether it is shipped.

        More than 100 orders have none.
        """
        ids = sorted(set(order_ids))[:100]
        if not ids:
            return {}
        try:
            async with self._asking(site):
                return await fulfillments_of(self._wix, site, ids)
        except WixError as error:
            log.debug('site "%s": no fulfillments: %s', site.name, error)
            return {}

    async def _usual(self, site: Site) -> Usual | None:
        """Return how long the shop usually takes, measured once a day."""
        access, now = orders.get_order_access(self._state, site.site_id), self._clock.now()
        if access.measured_at and access.measured_at + _DAY > now:
            return access.usual
        try:
            async with self._asking(site):
                past = await fulfilled_orders(self._wix, site, now - _OLDEST, now - _SETTLED)
            shipments = await self._fulfillments(site, [each.id for each in past])
        except WixError as error:
            log.debug('site "%s": nothing is known to be usual: %s', site.name, error)
            return None
        usual = usual_delay(past, shipments, now)
        self._remember(site, measured_at=now, usual=usual)
        return usual

    def _remember(self, site: Site, **changes: Any) -> None:
        with self._state.transaction(Scope.SITE.of(site.site_id)):
            access = orders.get_order_access(self._state, site.site_id)
            orders.put_order_access(self._state, site.site_id, replace(access, **changes))


_COMPARED = (Shipping.SHIPPED, Shipping.NOT_SHIPPED)


def _is_searchable(review: Review) -> bool:
    return bool(review.namespace == "stores" and review.contact_id and review.entity_id)
