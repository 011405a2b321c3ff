"""When trouble begins, when people are notified of it, and when it is over. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerter.store.blocks import Block
from alerter.store.troubles import Trouble

# Which scopes are in trouble: why, and since when.
Faults = dict[str, tuple[str, datetime]]

# What comes and goes is notified at most once in this time, with its end.
APART = timedelta(hours=1)


def begun(known: Trouble | None, scope: str, reason: str, now: datetime) -> Trouble:
    """The record of a fault that is there now, by what was on record of it."""
    if known is None:
        return Trouble(scope, now, reason)
    if known.over_at is None:
        return replace(known, reason=reason)
    if known.notified_at:  # it is back before people were notified of its end: it goes on
        return replace(known, reason=reason, over_at=None)
    return replace(known, since=now, reason=reason, over_at=None)


def is_to_be_notified(
    trouble: Trouble, began: datetime | None, now: datetime, trouble_after: timedelta
) -> bool:
    """Whether its beginning is notified now: at once, but a fault that comes back within the hour has to last.

    `began` is when the fault began, if that was before it was put on record.
    """
    if trouble.notified_at or trouble.over_at:
        return False
    lasted = now - min(began or now, trouble.since)
    return lasted >= trouble_after or not _within_the_hour(trouble.recovered_at, trouble.since)


def is_recovery_due(trouble: Trouble, now: datetime) -> bool:
    """Whether its end is notified now: not within an hour of the last one."""
    return bool(trouble.over_at and trouble.notified_at) and not _within_the_hour(
        trouble.recovered_at, now
    )


def is_forgotten(trouble: Trouble, now: datetime) -> bool:
    """Whether nothing follows from what was on record of it."""
    return not trouble.is_open and not _within_the_hour(trouble.recovered_at, now)


def _within_the_hour(recovered_at: datetime | None, moment: datetime) -> bool:
    """A clock that was set back makes nobody wait."""
    return recovered_at is not None and timedelta() <= moment - recovered_at < APART


def lasting(
    blocks: Sequence[Block],
    services: Mapping[str, str],
    known: Collection[str],
    now: datetime,
    trouble_after: timedelta,
) -> Faults:
    """Which scopes are in trouble by what must not be called at present.

    `services` names the service of each destination's scope, `known` the scopes in trouble already. What is parked is
    trouble at once, anything else once it has lasted. Where several destinations of one service fail, that is one
    fault: the service's.
    """
    failing = Counter(
        services[block.scope] for block in blocks if not block.parked and block.scope in services
    )
    shared = {
        service
        for service, number in failing.items()
        if number > 1 or f"service:{service}" in known
    }
    found: Faults = {}
    for block in sorted(blocks, key=lambda block: block.since):
        kind = block.scope.partition(":")[0]
        if not block.parked and (
            now - block.since < trouble_after or (kind in ("site", "method") and block.until <= now)
        ):
            continue
        service = services.get(block.scope)
        is_shared = not block.parked and service in shared and block.scope not in known
        found.setdefault(
            f"service:{service}" if is_shared else block.scope, (block.reason, block.since)
        )
    return found
