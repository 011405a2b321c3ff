"""The destinations that the configs so far had, in the state file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alerter.store.state import State


@dataclass(frozen=True, slots=True)
class KnownDestination:
    """A destination as a config had it last: where it leads, and what may be sent there.

    `addresses` are hashes, as removed receivers stay on record. `present`: the last config has it.
    """

    addresses: frozenset[str]
    rules: str
    present: bool = True


def known(state: State) -> dict[str, KnownDestination]:
    """Every destination that a config had so far."""
    return {
        row["destination"]: KnownDestination(
            frozenset(json.loads(row["addresses"])), row["rules"], bool(row["present"])
        )
        for row in state.rows("SELECT * FROM destinations")
    }


def record(state: State, destinations: Mapping[str, KnownDestination]) -> None:
    """Note which destinations the config has now, within a transaction."""
    state.execute("UPDATE destinations SET present = 0 WHERE present = 1")
    state.execute_many(
        "INSERT INTO destinations (destination, addresses, rules, present)"
        " VALUES (:destination, :addresses, :rules, 1) ON CONFLICT (destination) DO UPDATE"
        " SET addresses = excluded.addresses, rules = excluded.rules, present = 1",
        [
            {
                "destination": destination,
                "addresses": json.dumps(sorted(each.addresses)),
                "rules": each.rules,
            }
            for destination, each in destinations.items()
        ],
    )


def rename(state: State, pairs: Iterable[tuple[str, str]]) -> None:
    """Give everything that was sent or waits for a destination its new name, within a transaction.

    What had failed is tried again. A delivery stays under the old name where the new one has the same alert already.
    """
    for old, new in pairs:
        names = {"old": old, "new": new}
        state.execute(
            "UPDATE deliveries SET destination = :new WHERE destination = :old AND NOT EXISTS"
            " (SELECT 1 FROM deliveries AS others WHERE others.alert = deliveries.alert AND others.destination = :new)",
            names,
        )
        state.execute(
            "UPDATE reminders SET destination = :new WHERE destination = :old AND NOT EXISTS"
            " (SELECT 1 FROM reminders AS others WHERE others.site_id = reminders.site_id"
            "  AND others.review_id = reminders.review_id AND others.destination = :new)",
            names,
        )
        state.execute("UPDATE messages SET destination = :new WHERE destination = :old", names)
        state.execute("DELETE FROM destinations WHERE destination = :old", names)
        # What may have arrived stays what it is, for `alerter retry`.
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
