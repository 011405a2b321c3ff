"""Which sites there are, in the state file: what they are called, and what becomes of those that were removed."""

import json
from collections.abc import Mapping

from alerter.store.state import State


def note(state: State, sites: Mapping[str, str]) -> dict[str, int]:
    """Keep the names of the config's sites (by id), and let go of all others, within a transaction.

    What is queued of those as `new` still goes, under the name that the site had; the rest is cancelled. Returns how
    much that is, by the name of the site.
    """
    state.execute_many(
        "INSERT INTO sites (site_id, name) VALUES (:id, :name) ON CONFLICT DO UPDATE SET name = excluded.name",
        [{"id": site_id, "name": name} for site_id, name in sites.items()],
    )
    removed = "site_id NOT IN (SELECT value FROM json_each(?))"
    ids = json.dumps(list(sites))
    state.execute(f"UPDATE sites SET failing_since = NULL WHERE {removed}", [ids])
    waiting = (
        "(status = 'failed' OR (status = 'pending' AND message IS NULL))"
        f" AND alert IN (SELECT id FROM alerts WHERE kind <> 'new' AND {removed})"
    )
    counted = state.rows(
        "SELECT ifnull(sites.name, alerts.site_id) AS name, count(*) AS number"
        " FROM deliveries JOIN alerts ON alerts.id = deliveries.alert LEFT JOIN sites USING (site_id)"
        f" WHERE {waiting} GROUP BY 1",
        [ids],
    )
    state.execute(f"UPDATE deliveries SET status = 'cancelled' WHERE {waiting}", [ids])
    return {row["name"]: row["number"] for row in counted}


def names(state: State) -> dict[str, str]:
    """What the sites are called, by id, removed ones too."""
    rows = state.rows("SELECT site_id, name FROM sites WHERE name IS NOT NULL")
    return {row["site_id"]: row["name"] for row in rows}
