"""Which sites there are, in the state file: what they are called, and what becomes of those that were removed."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alerter.models import from_ms, to_ms
from alerter.store.state import State


def note(state: State, sites: Mapping[str, str], now: datetime) -> Counter[str]:
    """Keep the names of the config's sites (by id), and let go of all others, within a transaction.

    What is queued of those as `new` still goes, under the name that the site had; the rest is cancelled. Returns how
    much that is, by the name of the site.
    """
    state.execute_many(
        "INSERT INTO sites (site_id, name) VALUES (:id, :name)"
        " ON CONFLICT (site_id) DO UPDATE SET name = excluded.name, left_at = NULL",
        [{"id": site_id, "name": name} for site_id, name in sites.items()],
    )
    removed = "site_id NOT IN (SELECT value FROM json_each(?))"
    ids = json.dumps(list(sites))
    state.execute(
        f"UPDATE sites SET failing_since = NULL, left_at = coalesce(left_at, ?) WHERE {removed}",
        [to_ms(now), ids],
    )
    cancelled = state.rows(
        "UPDATE deliveries SET status = 'cancelled' WHERE status IN ('pending', 'failed')"
        " AND (status = 'failed' OR message IS NULL)"
        f" AND EXISTS (SELECT 1 FROM alerts WHERE id = alert AND kind <> 'new' AND {removed})"
        " RETURNING (SELECT ifnull(name, site_id) FROM alerts LEFT JOIN sites USING (site_id) WHERE id = alert)"
        " AS site",
        [ids],
    )
    return Counter(row["site"] for row in cancelled)


@dataclass(frozen=True, slots=True)
class KnownSite:
    """A site on record, what it was called last, and since when the config does not have it (None: it has)."""

    site_id: str
    name: str | None
    left_at: datetime | None


def sites(state: State) -> list[KnownSite]:
    """All sites on record, removed ones too."""
    return [
        KnownSite(
            row["site_id"],
            row["name"],
            from_ms(row["left_at"]) if row["left_at"] is not None else None,
        )
        for row in state.rows("SELECT site_id, name, left_at FROM sites ORDER BY site_id")
    ]


def names(state: State) -> dict[str, str]:
    """What the sites are called, by id, removed ones too."""
    rows = state.rows("SELECT site_id, name FROM sites WHERE name IS NOT NULL")
    return {row["site_id"]: row["name"] for row in rows}
