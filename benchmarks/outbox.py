"""Fill the outbox, and deliver its alerts as fast as possible."""

import json
from collections.abc import Iterable

from alerter.clock import Clock
from alerter.models import Form, Grouping
from alerter.notify.destination import Destination
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import IdleReason
from alerter.service.destinations import open_destinations
from alerter.service.runtime import Runtime
from alerter.store import State, outbox
from alerter.wix.review import parse_review
from benchmarks.processes import Meter
from benchmarks.reviews import page_of
from benchmarks.world import World, runtime, worlds

_PAGE = 100


class _NoLimits:
    """Allows every call at once."""

    def claim_slot(self, rate_key: str | None) -> float:  # noqa: ARG002 - of the protocol
        """Return 0: now."""
        return 0.0

    def take_slot(self, rate_key: str | None) -> None:
        """Do nothing."""


async def deliver(meter: Meter, world: World, number: int) -> None:
    """Record reviews, alert each by itself, and measure their delivery without a pace."""
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, state, opened):
            await raise_alerts(opened, number)
            async with open_destinations(config, Clock()) as destinations:
                dispatcher = Dispatcher(state, config, Clock(), destinations, limits=_NoLimits())
                _warm_up(state, destinations)
                with meter:
                    await dispatcher.run((IdleReason.NOTHING_DUE,))


def _warm_up(state: State, destinations: Iterable[Destination]) -> None:
    """Render an alert for one destination of each medium: a process compiles templates once."""
    first = state.value("SELECT min(id) FROM alerts")
    for destination in {each.medium: each for each in destinations}.values():
        destination.render(
            outbox.draft(state, destination.name, Form.ALERT, [first], Clock().now())
        )


async def raise_alerts(opened: Runtime, number: int) -> None:
    """Record reviews, as many for each site, and alert each by itself."""
    each = number // len(opened.config.sites)
    for turn, site in enumerate(opened.config.sites):
        ids, end = [], (turn + 1) * each
        for first in range(turn * each, end, _PAGE):
            page = [
                parse_review(raw) for raw in json.loads(page_of(first, min(first + _PAGE, end)))
            ]
            await opened.intake.record_page(site, page)
            ids += [review.id for review in page]
        await opened.intake.alert_past(site, ids, Grouping.EACH)
