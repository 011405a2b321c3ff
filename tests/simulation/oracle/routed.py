"""Which destinations get an alert, by the configs that follow each other while it waits."""

from __future__ import annotations

from datetime import datetime, timedelta

from tests.simulation.history import Config, Review
from tests.simulation.oracle.triage import Transition
from tests.simulation.oracle.values import Destination, Tri
from tests.simulation.oracle.world import World


def routed(
    world: World,
    destination: Destination,
    transition: Transition,
    until: datetime | None,
    state: Review,
    *,
    was_sent: bool = False,
) -> Tri:
    """Return whether a destination gets an alert, by the configs that follow each other.

    `was_sent`: it had the `new` of a review that is open again, whatever it is filtered by now.
    """

    def fits_by(config: Config) -> bool:
        covers = config.site(state.site_id) and world.covers(config, destination, state.site_id)
        return bool(covers) if was_sent else world.fits(config, destination, state)

    near = {fits_by(config) for config in world.configs_near(transition.time)}
    tri: Tri = "not" if True not in near else "may" if False in near else "must"
    for when in world.config_times(
        transition.time, _waits_until(world, destination, transition.time, until, state)
    ):
        before, config = world.config_at(when - timedelta(microseconds=1)), world.config_at(when)
        if config is None or before is None:
            continue
        fits = fits_by(config)
        if tri == "must" and not fits:
            tri = "may"
        if tri == "not" and fits and before.receiver(destination.receiver) is None:
            gone = any(config.receiver(receiver.name) is None for receiver in before.receivers)
            tri = "may" if gone else tri
        # An alert that no receiver could get is for all that fit by the config that corrects it.
        if (
            tri == "not"
            and fits
            and not any(world.fits(before, one, state) for one in world.destinations)
        ):
            tri = "may"
    return tri


def _waits_until(
    world: World, destination: Destination, start: datetime, until: datetime | None, state: Review
) -> datetime:
    """Return how long an alert may wait: one that comes later takes over what others wait for."""
    config = world.config_at(start)
    there = [one for one in world.destinations if config and config.receiver(one.receiver)]
    sources = [destination] if destination in there or not there else there
    return max(sent_by(world, one, start, until, state) for one in sources)


def sent_by(
    world: World, destination: Destination, start: datetime, until: datetime | None, state: Review
) -> datetime:
    """Return when an alert has left at the latest: what the config says later does not touch it."""
    end = until or world.h.end
    due = world.released_at(destination, state.rating, start, end)
    opening = next(world.openings(destination, due, end, state.review_id), None)
    return end if opening is None else min(end, opening + world.late)
