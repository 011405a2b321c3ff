"""The content of messages: each alert with its review, its product and its history."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alerter.actions import NO_RESPONSE, Response
from alerter.errors import StateError
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    MessageItem,
    Product,
    ReviewHistory,
    from_ms,
    to_ms,
)
from alerter.store.actions import get_responses
from alerter.store.orders import load_order
from alerter.store.reviews import load_review
from alerter.store.sql import json_numbers, moment_or_none
from alerter.store.state import State

_PRODUCT_HISTORY = timedelta(days=30)
_NO_HISTORY = ReviewHistory()


def get_items(state: State, alerts: Collection[int], now: datetime) -> tuple[MessageItem, ...]:
    """Return the items of a message with these alerts, oldest first.

    Only the review of a message with one alert has its history. A cluster has its reviews.
    """
    rows = state.rows(
        f"SELECT {_ITEM}, {_HAS_ACTIONS}, alerts.id, alerts.key, alerts.kind, alerts.site_id,"
        " alerts.review_id, alerts.detail, alerts.raised_at FROM alerts"
        " LEFT JOIN reviews ON reviews.site_id = alerts.site_id"
        "  AND reviews.review_id = alerts.review_id"
        " LEFT JOIN products ON products.site_id = alerts.site_id"
        "  AND products.entity_id = reviews.entity_id"
        " LEFT JOIN orders ON orders.site_id = alerts.site_id"
        "  AND orders.review_id = alerts.review_id"
        f" WHERE alerts.id IN {json_numbers()} ORDER BY alerts.id",
        [json.dumps(list(alerts))],
    )
    acted = [(row["site_id"], row["review_id"]) for row in rows if row["has_actions"]]
    responses = get_responses(state, acted, now) if acted else {}
    is_alone = len(rows) == 1 and rows[0]["content"] is not None
    items = tuple(
        _item(
            load_alert(row),
            row,
            get_history(state, row["site_id"], row["review_id"], now) if is_alone else _NO_HISTORY,
            responses.get((row["site_id"], row["review_id"]), NO_RESPONSE),
            from_ms(row["raised_at"]),
        )
        for row in rows
    )
    if any(item.alert.kind is AlertKind.CLUSTER for item in items):
        return tuple(
            _with_reviews(state, item, row["id"], now)
            for item, row in zip(items, rows, strict=True)
        )
    return items


def _with_reviews(state: State, item: MessageItem, alert: int, now: datetime) -> MessageItem:
    """Return the item of a cluster with its reviews, and with its product."""
    if item.alert.kind is not AlertKind.CLUSTER:
        return item
    rows = state.rows(
        f"SELECT {_ITEM}, site_id, review_id, anonymized, pruned_at"
        " FROM cluster_reviews JOIN reviews USING (site_id, review_id)"
        " LEFT JOIN products USING (site_id, entity_id) LEFT JOIN orders USING (site_id, review_id)"
        " WHERE alert = ? ORDER BY created_at, review_id",
        [alert],
    )
    pairs = [(row["site_id"], row["review_id"]) for row in rows]
    responses = get_responses(state, pairs, now)
    reviews = [
        _item(
            Alert(item.alert.key, AlertKind.NEW, *pair),
            row,
            response=responses.get(pair, NO_RESPONSE),
            raised_at=item.raised_at,
        )
        for pair, row in zip(pairs, rows, strict=True)
        if not row["anonymized"] and row["closing"] != CloseReason.GONE and row["pruned_at"] is None
    ]
    product = state.row(
        "SELECT name, url FROM products WHERE site_id = ? AND entity_id = ?",
        [item.alert.site_id, item.alert.detail.get("entity")],
    )
    return replace(
        item,
        reviews=tuple(reviews),
        erased=len(rows) - len(reviews),
        product=Product(product["name"], product["url"]) if product else Product(),
    )


def get_review_item(state: State, review_id: str) -> MessageItem | None:
    """Return the item that a `new` alert of a review of any site has; None if it is not stored.

    Raise StateError if its site was restored and Wix was not asked since: it may be deleted there.
    """
    row = state.row(
        "SELECT reviews.*, products.name, url, unverified, orders.content AS bought FROM reviews"
        " LEFT JOIN products ON products.site_id = reviews.site_id"
        "  AND products.entity_id = reviews.entity_id"
        " LEFT JOIN orders ON orders.site_id = reviews.site_id"
        "  AND orders.review_id = reviews.review_id"
        " LEFT JOIN sites ON sites.site_id = reviews.site_id WHERE reviews.review_id = ?",
        [review_id],
    )
    if row is None:
        return None
    if row["unverified"]:
        raise StateError(
            "that review comes from a restored backup: it is shown once Wix was asked for it"
        )
    key = f"new:{row['site_id']}:{review_id}"
    return _item(Alert(key, AlertKind.NEW, row["site_id"], review_id), row)


def get_history(state: State, site_id: str, review_id: str, now: datetime) -> ReviewHistory:
    """Return the other low-rated reviews of a review's product and author.

    Low-rated is what the site's coverage includes; reviews that are gone from Wix do not count.
    """
    row = state.row(
        HISTORY, {"site": site_id, "review": review_id, "since": to_ms(now - _PRODUCT_HISTORY)}
    )
    if row is None:
        return ReviewHistory()
    last = moment_or_none(row["created_at"])
    return ReviewHistory(row["product_low"], row["author_low"], last, row["rating"] or 0)


def load_alert(row: Mapping[str, Any]) -> Alert:
    """Return the alert of a row."""
    return Alert(
        row["key"],
        AlertKind(row["kind"]),
        row["site_id"],
        row["review_id"],
        json.loads(row["detail"]),
    )


def _item(
    alert: Alert,
    row: Mapping[str, Any],
    history: ReviewHistory = _NO_HISTORY,
    response: Response = NO_RESPONSE,
    raised_at: datetime | None = None,
) -> MessageItem:
    review = load_review(row) if row["content"] is not None else None
    closing = CloseReason(row["closing"]) if row["closing"] else None
    product, order = Product(row["name"], row["url"]), load_order(row["bought"])
    return MessageItem(alert, review, product, closing, history, response, raised_at, order)


_ITEM = (
    "rating, revision, reviews.entity_id, contact_id, reviews.content, topics, closing,"
    " products.name, url, orders.content AS bought"
)
_HAS_ACTIONS = (
    "EXISTS (SELECT 1 FROM actions WHERE actions.site_id = alerts.site_id"
    " AND actions.review_id = alerts.review_id) AS has_actions"
)
_LOW = "others.rating <= sites.covered_rating AND others.closing IS DISTINCT FROM 'gone'"
_OF_PRODUCT = (
    "FROM reviews AS others WHERE others.site_id = this.site_id"
    f" AND others.entity_id = this.entity_id AND others.created_at >= :since AND {_LOW}"
)
_OF_AUTHOR = (
    "FROM reviews AS others WHERE others.site_id = this.site_id"
    f" AND others.contact_id = this.contact_id AND others.created_at < this.created_at AND {_LOW}"
)
HISTORY = (
    f"SELECT (SELECT count(*) {_OF_PRODUCT}) AS product_low,"
    f" (SELECT count(*) {_OF_AUTHOR}) AS author_low, last.created_at, last.rating"
    " FROM reviews AS this JOIN sites ON sites.site_id = this.site_id"
    " LEFT JOIN reviews AS last ON last.site_id = this.site_id AND last.review_id ="
    f"  (SELECT others.review_id {_OF_AUTHOR} ORDER BY others.created_at DESC LIMIT 1)"
    " WHERE this.site_id = :site AND this.review_id = :review"
)
