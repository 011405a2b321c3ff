"""The names of reviewed products in the database."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime

from alerter.models import Product, to_ms
from alerter.store.sql import json_values
from alerter.store.state import State


def looked_up_products(
    state: State, site_id: str, entity_ids: Collection[str], since: datetime
) -> set[str]:
    """Return those of these products that were looked up since a moment, with any result."""
    rows = state.rows(
        "SELECT entity_id FROM products WHERE site_id = ? AND asked_at >= ?"
        f" AND entity_id IN {json_values()}",
        [site_id, to_ms(since), json.dumps(sorted(entity_ids))],
    )
    return {row["entity_id"] for row in rows}


def named_products(state: State, site_id: str) -> dict[str, Product]:
    """Return the stored products of a site whose name is known, by their ids."""
    rows = state.rows(
        "SELECT entity_id, name, url FROM products WHERE site_id = ? AND name IS NOT NULL",
        [site_id],
    )
    return {row["entity_id"]: Product(row["name"], row["url"]) for row in rows}


def put_products(
    state: State, site_id: str, found: Mapping[str, Product], asked_at: datetime
) -> None:
    """Record products by their ids; one without a name or URL keeps the stored one."""
    if not found:
        return
    with state.transaction():
        state.execute_many(
            "INSERT INTO products (site_id, entity_id, name, url, asked_at)"
            " VALUES (:site, :entity, :name, :url, :asked_at)"
            " ON CONFLICT (site_id, entity_id) DO UPDATE"
            " SET name = coalesce(excluded.name, products.name),"
            " url = coalesce(excluded.url, products.url), asked_at = excluded.asked_at",
            [
                {
                    "site": site_id,
                    "entity": entity_id,
                    "name": product.name,
                    "url": product.url,
                    "asked_at": to_ms(asked_at),
                }
                for entity_id, product in found.items()
            ],
        )
