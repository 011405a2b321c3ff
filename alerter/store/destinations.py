"""The destinations of the present config and of earlier ones, in the database."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """A destination as it was last in a config: its addresses, and what may be sent to it.

    `addresses`: hashes, because removed receivers stay stored. `present`: the config has it.
    """

    addresses: frozenset[str]
    rules: str
    present: bool = True


def known_destinations(state: State) -> dict[str, KnownDestination]:
    """Return every destination that any config had."""
    return {
        row["destination"]: KnownDestination(
            frozenset(json.loads(row["addresses"])), row["rules"], bool(row["present"])
        )
        for row in state.rows("SELECT * FROM destinations")
    }


def record_destinations(state: State, destinations: Mapping[str, KnownDestination]) -> None:
    """Record the destinations of the present config, within a transaction."""
    state.execute("UPDATE destinations SET present = FALSE WHERE present")
    state.execute_many(
        "INSERT INTO destinations (destination, addresses, rules, present)"
        " VALUES (:destination, :addresses, :rules, TRUE) ON CONFLICT (destination) DO UPDATE"
        " SET addresses = excluded.addresses, rules = excluded.rules, present = TRUE",
        [
            {
                "destination": destination,
                "addresses": json.dumps(sorted(each.addresses)),
                "rules": each.rules,
            }
            for destination, each in destinations.items()
        ],
    )


def rename_destinations(state: State, pairs: Iterable[tuple[str, str]]) -> None:
    """Give the deliveries, messages and reminders of destinations a new name, in a transaction.

    Failed deliveries are queued again. A delivery of an alert that the new name has too keeps the
    old name, unless that of the new name was cancelled.
    """
    for old, new in pairs:
        names = {"old": old, "new": new}
        _rename_deliveries(state, names)
        state.execute(
            "UPDATE reminders SET destination = :new WHERE destination = :old AND NOT EXISTS"
            " (SELECT 1 FROM reminders AS others WHERE others.site_id = reminders.site_id"
            "  AND others.review_id = reminders.review_id AND others.destination = :new)",
            names,
        )
        state.execute("UPDATE messages SET destination = :new WHERE destination = :old", names)
        state.execute("DELETE FROM destinations WHERE destination = :old", names)
        # A failed message that may have arrived stays failed, for `alerter retry`.
        failed = (
            "(SELECT id FROM messages WHERE destination = :new AND status = 'failed' AND lost = 0)"
        )
        state.execute(
            "UPDATE deliveries SET status = 'pending', message = NULL"
            f" WHERE destination = :new AND status = 'failed' AND message IN {failed}",
            names,
        )
        state.execute(
            f"DELETE FROM messages WHERE id IN {failed}"
            " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.message = messages.id)",
            names,
        )


def _rename_deliveries(state: State, names: Mapping[str, str]) -> None:
    state.execute(
        "DELETE FROM deliveries WHERE destination = :new AND status = 'cancelled' AND EXISTS"
        " (SELECT 1 FROM deliveries AS others WHERE others.alert = deliveries.alert"
        "  AND others.destination = :old AND others.status <> 'cancelled')",
        names,
    )
    state.execute(
        "UPDATE deliveries SET destination = :new WHERE destination = :old AND NOT EXISTS"
        " (SELECT 1 FROM deliveries AS others"
        "  WHERE others.alert = deliveries.alert AND others.destination = :new)",
        names,
    )
