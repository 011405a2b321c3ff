"""When trouble begins, when people are notified of it, and when it is over. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerter.scopes import Scope, split_method, split_scope
from alerter.store.blocks import Block
from alerter.store.troubles import Trouble

# By scope in trouble: the reason and since when.
Faults = dict[str, tuple[str, datetime]]

# A fault that comes and goes is notified at most once in this time, with its end.
APART = timedelta(hours=1)


def begun(known: Trouble | None, scope: str, reason: str, now: datetime) -> Trouble:
    """Return the record of a fault that exists now, from the record before."""
    if known is None:
        return Trouble(scope, now, reason)
    if known.over_at is None:
        return replace(known, reason=reason)
    if known.notified_at:  # it is back before people were notified of its end
        return replace(known, reason=reason, over_at=None)
    return replace(known, since=now, reason=reason, over_at=None)


def is_to_be_notified(
    trouble: Trouble, began: datetime | None, now: datetime, trouble_after: timedelta
) -> bool:
    """Return whether people are notified of its beginning now.

    That is at once, except for a fault that is back within an hour of its `recovered`: it has to
    last for `trouble_after`. `began`: when the fault began, if before it was recorded.
    """
    if trouble.notified_at or trouble.over_at:
        return False
    lasted = now - min(began or now, trouble.since)
    return lasted >= trouble_after or not _within_the_hour(trouble.recovered_at, trouble.since)


def is_recovery_due(trouble: Trouble, now: datetime) -> bool:
    """Return whether people are notified of its end now: once an hour at most."""
    return bool(trouble.over_at and trouble.notified_at) and not _within_the_hour(
        trouble.recovered_at, now
    )


def is_forgotten(trouble: Trouble, now: datetime) -> bool:
    """Return whether its record is not needed any more."""
    return not trouble.is_open and not _within_the_hour(trouble.recovered_at, now)


def _within_the_hour(recovered_at: datetime | None, moment: datetime) -> bool:
    """Return whether the last recovery was within the hour before; a future one does not count."""
    return recovered_at is not None and timedelta() <= moment - recovered_at < APART


def lasting(
    blocks: Sequence[Block],
    services: Mapping[str, str],
    known: Collection[str],
    now: datetime,
    trouble_after: timedelta,
) -> Faults:
    """Return which blocked scopes are in trouble: a parked one at once, others once they last.

    `services`: the service of each destination's scope. `known`: the scopes in trouble already.
    If several destinations of one service fail, the service is in trouble, and not each of them.
    """
    failing = Counter(
        services[block.scope] for block in blocks if not block.parked and block.scope in services
    )
    shared = {
        service
        for service, number in failing.items()
        if number > 1 or Scope.SERVICE.of(service) in known
    }
    found: Faults = {}
    for block in sorted(blocks, key=lambda block: block.since):
        kind, name = split_scope(block.scope)
        if kind == Scope.PRODUCTS:
            continue  # an alert without the name of its product is complete
        if kind == Scope.METHOD and split_method(name)[1] == "send":
            continue  # its service is parked, and in trouble by that
        if not block.parked and (
            now - block.since < trouble_after
            or (kind in (Scope.SITE, Scope.ACCOUNT, Scope.METHOD) and block.until <= now)
        ):
            continue
        service = services.get(block.scope)
        scope = block.scope
        if service in shared and not block.parked and scope not in known:
            scope = Scope.SERVICE.of(service)
        found.setdefault(scope, (block.reason, block.since))
    return found
