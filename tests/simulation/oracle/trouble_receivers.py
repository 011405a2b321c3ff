"""Who received trouble, and since when it may have waited (promise 6)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tests.simulation.history import Receiver
from tests.simulation.oracle.values import HOUR, INFLIGHT, LATE, Received, Violation
from tests.simulation.oracle.world import World


def scope(about: str | None) -> str:
    return (about or "other:").split("/")[0]


def judge_to_none(world: World, one: Received) -> Iterator[Violation]:
    """Trouble goes to those that the config makes receive it, while one of them works.

    What it is the end of decides who receives a `recovered`.
    """
    if one.item.kind != "trouble":
        return
    configs = world.configs_between(one.time - INFLIGHT, one.time)
    receivers = [config.receiver(one.destination.receiver) for config in configs]
    if any(receiver is None or receiver.trouble for receiver in receivers):
        return
    if _follows_late_end(world, one):
        return
    for other in world.destinations:
        about = scope(one.item.about) == f"receiver:{other.receiver}"
        able = not about and all(
            (to := config.receiver(other.receiver)) and to.trouble and _is_concerned(to, one)
            for config in configs
        )
        if able and world.is_calm(other, queued_at(world, one) - HOUR, one.time):
            yield Violation(
                "trouble_to_none",
                "6",
                one.time,
                "it is to receive no trouble",
                tuple(one.destination),
            )
            return


def _follows_late_end(world: World, one: Received) -> bool:
    """Return whether it stands behind a `recovered` that would else be the last word."""
    return any(
        (other.destination, other.item.kind, other.item.about)
        == (one.destination, "recovered", one.item.about)
        and one.time - LATE <= other.time <= one.time
        for other in world.received
    )


def _is_concerned(receiver: Receiver, one: Received) -> bool:
    """Return whether a trouble is of a site whose alerts a receiver gets, or of no site."""
    kind, _, name = scope(one.item.about).partition(":")
    return kind != "site" or not receiver.sites or name in receiver.sites


def queued_at(world: World, one: Received) -> datetime:
    """Return when a message may have been queued at the earliest: it waited for its destination
    since.
    """
    start = _waiting_since(world, one, one.time)
    tried = _tried_before_retry(world, one, start)
    return _waiting_since(world, one, min(tried)) if tried else start


def _waiting_since(world: World, one: Received, start: datetime) -> datetime:
    while faults := [
        f for f in world.faults_of(one.destination, start - HOUR, one.time) if f.start < start
    ]:
        start = min(fault.start for fault in faults)
    return start


def _tried_before_retry(world: World, one: Received, start: datetime) -> list[datetime]:
    """Return when a message was tried that had failed for good, if it may have left with a
    `retry`.
    """
    runs = world.h.runs
    if not any(run.command == "retry" and start - LATE <= run.start <= one.time for run in runs):
        return []
    said = (one.item.kind, one.item.about)
    before = [
        other.time
        for other in world.received
        if (other.item.kind, other.item.about) == said
        and other.destination == one.destination
        and other.time < one.time
    ]
    receivers = world.receivers_named(one.destination.receiver)
    targets = {target for receiver in receivers for target in receiver.all_targets}
    return [
        attempt.time
        for attempt in world.attempts_between(max(before, default=world.h.start), one.time)
        if attempt.target in targets
        and any((item.kind, item.about) == said for item in attempt.items)
    ]
