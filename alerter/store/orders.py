"""The orders behind reviews in the database, and what is known of each site's orders."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from alerter.orders import Order, Usual
from alerter.store import reviews
from alerter.store.sql import json_values, moment_or_none, ms_or_none
from alerter.store.state import State

_ORDER = TypeAdapter(Order)


@dataclass(frozen=True, slots=True)
class OrderAccess:
    """When a site may be asked for orders and review requests again, and its usual delay.

    `usual` is None where it has too few orders, or before `measured_at`.
    """

    orders_after: datetime | None = None
    requests_after: datetime | None = None
    measured_at: datetime | None = None
    usual: Usual | None = None


def load_order(content: str | None) -> Order | None:
    """Return the order of the column `content`; None without one."""
    return _ORDER.validate_json(content) if content else None


def get_orders(state: State, site_id: str, review_ids: Collection[str]) -> dict[str, Order]:
    """Return the stored orders behind these reviews, by review id."""
    rows = state.rows(
        f"SELECT review_id, content FROM orders WHERE site_id = ? AND review_id IN {json_values()}",
        [site_id, json.dumps(list(review_ids))],
    )
    return {row["review_id"]: _ORDER.validate_json(row["content"]) for row in rows}


def put_orders(state: State, site_id: str, found: Mapping[str, Order]) -> set[str]:
    """Record the orders behind reviews, within a transaction; return the reviews with a new one.

    A review whose text was erased meanwhile gets none.
    """
    known = reviews.get_reviews(state, site_id, found)
    kept = {name for name, each in known.items() if not (each.redacted or each.pruned)}
    state.execute_many(
        "INSERT INTO orders (site_id, review_id, content) VALUES (:site, :review, :content)"
        " ON CONFLICT (site_id, review_id) DO UPDATE SET content = excluded.content",
        [
            {"site": site_id, "review": name, "content": _dump(found[name])}
            for name in sorted(kept & found.keys())
        ],
    )
    return kept & found.keys()


def erase_all_orders(state: State) -> None:
    """Delete every order, as the config asks for none any more, within a transaction."""
    erased = state.execute("DELETE FROM orders")
    state.execute("DELETE FROM order_access")
    if erased:
        state.owe_scrub()


def get_order_access(state: State, site_id: str) -> OrderAccess:
    """Return what is known of the orders of a site."""
    row = state.row("SELECT * FROM order_access WHERE site_id = ?", [site_id])
    if row is None:
        return OrderAccess()
    measured_at, usual = moment_or_none(row["measured_at"]), None
    if measured_at and row["usual_ms"] is not None:
        usual = Usual(timedelta(milliseconds=row["usual_ms"]), row["usual_orders"], measured_at)
    return OrderAccess(
        moment_or_none(row["orders_after"]),
        moment_or_none(row["requests_after"]),
        measured_at,
        usual,
    )


def refused_until(state: State, site_id: str, now: datetime) -> datetime | None:
    """Return until when a site is not asked for orders, as it refused; None where it is asked."""
    after = get_order_access(state, site_id).orders_after
    return after if after and after > now else None


def lift_refusals(state: State, site_id: str) -> None:
    """Have a site asked for orders again, as it refuses them no more."""
    state.execute(
        "UPDATE order_access SET orders_after = NULL, requests_after = NULL WHERE site_id = ?",
        [site_id],
    )


def put_order_access(state: State, site_id: str, access: OrderAccess) -> None:
    """Record what is known of the orders of a site."""
    usual = access.usual
    values: dict[str, Any] = {
        "site": site_id,
        "orders_after": ms_or_none(access.orders_after),
        "requests_after": ms_or_none(access.requests_after),
        "measured_at": ms_or_none(access.measured_at),
        "usual_ms": usual.delay // timedelta(milliseconds=1) if usual else None,
        "usual_orders": usual.orders if usual else None,
    }
    state.execute(
        "INSERT INTO order_access"
        " (site_id, orders_after, requests_after, measured_at, usual_ms, usual_orders)"
        " VALUES (:site, :orders_after, :requests_after, :measured_at, :usual_ms, :usual_orders)"
        " ON CONFLICT (site_id) DO UPDATE SET orders_after = excluded.orders_after,"
        " requests_after = excluded.requests_after, measured_at = excluded.measured_at,"
        " usual_ms = excluded.usual_ms, usual_orders = excluded.usual_orders",
        values,
    )


def _dump(order: Order) -> str:
    return _ORDER.dump_json(order, exclude_defaults=True).decode()
