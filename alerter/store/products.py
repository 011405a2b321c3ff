"""Names of what was reviewed, in the state file."""

import json
from collections.abc import Collection
from datetime import datetime

from alerter.models import Product, to_ms
from alerter.store.state import State


def known(
    state: State, site_id: str, entity_ids: Collection[str], asked_since: datetime
) -> set[str]:
    """Which of these products have been asked for since then, whatever the answer was."""
    rows = state.rows(
        "SELECT entity_id FROM products WHERE site_id = ? AND asked_at >= ?"
        " AND entity_id IN (SELECT value FROM json_each(?))",
        [site_id, to_ms(asked_since), json.dumps(sorted(entity_ids))],
    )
    return {row["entity_id"] for row in rows}


def put(state: State, site_id: str, entity_id: str, product: Product, asked_at: datetime) -> None:
    """Keep what a product is called; a name that is known is not lost to an answer without one."""
    with state.transaction():
        state.execute(
            "INSERT INTO products (site_id, entity_id, name, url, asked_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT"
            " DO UPDATE SET name = ifnull(excluded.name, name), url = ifnull(excluded.url, url),"
            " asked_at = excluded.asked_at",
            [site_id, entity_id, product.name, product.url, to_ms(asked_at)],
        )
