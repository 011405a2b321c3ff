"""Deliver alerts of the outbox as fast as possible."""

import json

from alerter.clock import Clock
from alerter.models import Grouping
from alerter.notify.dispatch import Dispatcher
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_destinations
from alerter.wix.review import parse_review
from benchmarks.processes import Meter
from benchmarks.reviews import page_of
from benchmarks.world import World, runtime, worlds

_PAGE = 100


async def deliver(meter: Meter, world: World, number: int) -> None:
    """Record reviews, alert each by itself, and measure their delivery without a pace."""
    with worlds(world) as fresh:
        async with runtime(fresh) as (config, state, opened):
            site, ids = config.sites[0], []
            for first in range(0, number, _PAGE):
                page = [
                    parse_review(raw)
                    for raw in json.loads(page_of(first, min(first + _PAGE, number)))
                ]
                await opened.intake.record_page(site, page)
                ids += [review.id for review in page]
            await opened.intake.alert_past(site, ids, Grouping.EACH)
            async with open_destinations(config, Clock()) as destinations:
                dispatcher = Dispatcher(state, config, Clock(), destinations, pace=0)
                with meter:
                    await dispatcher.run((IdleReason.NOTHING_DUE,))
