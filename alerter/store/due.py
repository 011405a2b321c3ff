"""Which destinations have something to do now, for a cluster: its jobs are deferred from this."""

from collections.abc import Mapping
from datetime import datetime

from alerter.models import Medium, destination_of, to_ms
from alerter.scopes import Scope, method_scope, split_scope
from alerter.store import blocks
from alerter.store.messages import IS_DUE
from alerter.store.state import State


def due_destinations(state: State, services: Mapping[str, str], now: datetime) -> set[str]:
    """Return the destinations with a delivery, a message or an attempt that is due.

    `services`: the service of each destination of the config; others are left out, and so are
    those that are blocked.
    """
    standing = blocks.get_blocks(state)
    held = {block.scope for block in standing if block.until > now}
    over = [block.scope for block in standing if block.until <= now]
    found = _due(state, _NEW, now)
    for method, sql in (("look", _UNSETTLED), ("update", _STALE)):
        found |= {
            destination
            for destination in _due(state, sql, now)
            if method_scope(services.get(destination, ""), method) not in held
        }
    free = {
        destination: service
        for destination, service in services.items()
        if held.isdisjoint({Scope.DESTINATION.of(destination), Scope.SERVICE.of(service)})
    }
    return (found | _attempts(over, free)) & free.keys()


def _due(state: State, sql: str, now: datetime) -> set[str]:
    return {row["destination"] for row in state.rows(sql, {"now": to_ms(now)})}


def _attempts(over: list[str], services: Mapping[str, str]) -> set[str]:
    """Return the destinations that try what is blocked until now, one of each service."""
    found = set()
    for scope in over:
        kind, name = split_scope(scope)
        if kind == Scope.DESTINATION:
            found.add(name)
        elif kind == Scope.ADDRESSES:
            found.add(destination_of(name, Medium.EMAIL))
        elif kind == Scope.SERVICE:
            found |= set(sorted(each for each, its in services.items() if its == name)[:1])
    return found


_WAITS = "status = 'pending' AND message IS NULL"
# Each destination is looked up in the index, by both priorities: what waits for one that is down,
# or for the morning, is not read.
_NEW = (
    f"WITH RECURSIVE waiting (destination) AS (SELECT min(destination) FROM deliveries"
    f" WHERE {_WAITS} UNION ALL SELECT (SELECT min(destination) FROM deliveries WHERE {_WAITS}"
    "  AND deliveries.destination > waiting.destination)"
    " FROM waiting WHERE waiting.destination IS NOT NULL)"
    " SELECT destination FROM waiting WHERE EXISTS (SELECT 1 FROM deliveries"
    f" WHERE {_WAITS} AND deliveries.destination = waiting.destination"
    "  AND priority IN (0, 1) AND due_at <= :now)"
)
_UNSETTLED = (
    "SELECT DISTINCT destination FROM messages WHERE (status IN ('sending', 'in_doubt')"
    f" OR (to_left IS NOT NULL AND status = 'sent')) AND {IS_DUE}"
)
_STALE = (
    "SELECT DISTINCT destination FROM messages WHERE stale > 0 AND status = 'sent'"
    f" AND slack_ts IS NOT NULL AND {IS_DUE}"
)
