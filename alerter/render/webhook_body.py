"""The body of a webhook: what happened, for programs. Pure.

In the form of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
Texts are as they are stored: a program that shows them has to treat them as text.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from hashlib import sha256
from statistics import median
from typing import Any

from alerter.links import (
    contact_dashboard_url,
    https_url,
    product_dashboard_url,
    reviews_dashboard_url,
)
from alerter.models import Alert, AlertKind, Message, MessageItem, Product, Review
from alerter.orders import Order
from alerter.render.language import Language
from alerter.render.trouble_view import view_trouble
from alerter.render.views import closing_of

_Json = dict[str, Any]

TYPES = {
    AlertKind.NEW: "review.new",
    AlertKind.LOWERED: "review.lowered",
    AlertKind.REMINDER: "review.reminder",
    AlertKind.CLOSED: "review.closed",
    AlertKind.CLUSTER: "cluster",
    AlertKind.TROUBLE: "trouble",
    AlertKind.RECOVERED: "recovered",
    AlertKind.SUMMARY: "summary",
}


def webhook_body(
    message: Message,
    timezone: tzinfo,
    sites: Mapping[str, str],
    language: Language,
    *,
    test: bool = False,
) -> _Json:
    """Return the body of a message of one alert; `sites` maps the ids of sites to their names.

    `language` is that of the texts of trouble. A test has the data of what it is a sample of.
    """
    item = message.entries[0]
    kind = item.alert.kind
    if kind in (AlertKind.TROUBLE, AlertKind.RECOVERED):
        data = {"trouble": _trouble(item.alert, timezone, language)}
    elif kind is AlertKind.SUMMARY:
        data = {"summary": _summary(item.alert.detail, message.receiver, sites)}
    elif kind is AlertKind.CLUSTER:
        data = _cluster_data(item, sites)
    else:
        data = _review_data(item, sites)
    return {
        "type": "test" if test else TYPES[kind],
        "timestamp": _iso(item.raised_at or message.attempted_at),
        "data": data,
    }


def webhook_id(key: str) -> str:
    """Return the id of the alert with a key: the same in each request that is about it."""
    return f"msg_{sha256(key.encode()).hexdigest()[:32]}"


def dump_body(body: Mapping[str, Any]) -> str:
    """Return a body as it is sent and signed."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _review_data(item: MessageItem, sites: Mapping[str, str]) -> _Json:
    """Return the data of an alert about one review, as it is stored now."""
    alert = item.alert
    site_id = alert.site_id or ""
    data = {"site": _site(site_id, sites), "review": _review(item)}
    if before := alert.detail.get("before"):
        data["before"] = {
            name: before[name] for name in ("rating", "title", "body") if name in before
        }
    if alert.kind is AlertKind.REMINDER:
        data["reminder"] = _reminder(alert.detail)
    if item.order:
        data["order"] = _order(item.order)
    return data | {"links": _links(item, site_id)}


def _cluster_data(item: MessageItem, sites: Mapping[str, str]) -> _Json:
    """Return the data of a cluster: all its reviews, as they are stored now, oldest first."""
    detail, site_id = item.alert.detail, item.alert.site_id or ""
    entity_id = detail.get("entity")
    return {
        "site": _site(site_id, sites),
        "cluster": {
            "product": _product(entity_id, item.product) if entity_id else None,
            # Those that were deleted, or lost their text, count as well.
            "number": len(item.reviews) + item.erased,
            "within": int(detail["within"]) if "within" in detail else None,
        },
        "reviews": [_review(each) for each in item.reviews],
        "links": _links(item, site_id),
    }


def _site(site_id: str, sites: Mapping[str, str]) -> _Json:
    return {"id": site_id, "name": sites.get(site_id)}


def _review(item: MessageItem) -> _Json:
    """Return a review; of one that is not on record, only its id."""
    review = item.review
    if review is None:
        return {"id": item.alert.review_id, "rating": None}
    return {
        "id": review.id,
        "rating": review.rating,
        "title": review.title,
        "body": review.body,
        "topics": list(review.topics),
        "author": review.author or None,
        "created": _iso(review.created),
        "updated": _iso(review.updated),
        "product": _product(review.entity_id, item.product) if review.entity_id else None,
        "verified": review.verified,
        "moderation": review.moderation or None,
        "reply": _reply(review),
        "media": [
            {"kind": media.kind, "url": media.url} for media in review.media if https_url(media.url)
        ],
        "closed": closing_of(item),
    }


def _product(entity_id: str, product: Product) -> _Json:
    """Return what was reviewed; a review of the site as a whole has none."""
    return {"id": entity_id, "name": product.name, "url": https_url(product.url)}


def _reply(review: Review) -> _Json | None:
    if review.reply is None:
        return None
    return {"body": review.reply.message, "created": _iso(review.reply.at)}


def _order(order: Order) -> _Json:
    """Return the order behind a review; durations are in seconds."""
    took, usual = order.took, order.usual
    return {
        "number": order.number or None,
        "created": _iso(order.ordered),
        "total": {"amount": order.amount, "currency": order.currency} if order.amount else None,
        "item": order.item or None,
        "quantity": order.quantity,
        "others": order.others,
        "canceled": order.canceled,
        "payment": order.payment,
        "paid": _iso(order.paid),
        "shipping": order.shipping,
        "shipped": _iso(order.shipped),
        "took": int(took.total_seconds()) if took is not None else None,
        "usual": int(usual.delay.total_seconds()) if usual else None,
        "late": order.is_late,
        "as_of": _iso(order.asked_at),
    }


def _reminder(detail: Mapping[str, Any]) -> _Json:
    """Return why people are reminded: after so many seconds, after a snooze, or open again."""
    return {
        "after": int(detail["after"]) if "after" in detail else None,
        "snoozed": bool(detail.get("snoozed")),
        "reopened": detail.get("reopened"),
    }


def _links(item: MessageItem, site_id: str) -> _Json:
    """Return addresses for people; those that there are none of are left out."""
    review = item.review
    found = {
        "dashboard": reviews_dashboard_url(site_id) if site_id else "",
        "product": https_url(item.product.url),
    }
    if review:
        product_id = review.entity_id if review.namespace == "stores" else None
        found["product_dashboard"] = product_dashboard_url(site_id, product_id)
        found["author_dashboard"] = contact_dashboard_url(site_id, review.contact_id)
    return {name: url for name, url in found.items() if url}


def _trouble(alert: Alert, timezone: tzinfo, language: Language) -> _Json:
    """Return trouble, or its end; `kind` is empty in what an earlier version recorded."""
    detail, view = alert.detail, view_trouble(alert.detail, timezone, language)
    is_over = alert.kind is AlertKind.RECOVERED
    return {
        "kind": detail.get("text", ""),
        "what": (is_over and view.over) or view.headline,
        "reason": view.reason,
        "remedy": view.remedy,
        "since": _iso(datetime.fromisoformat(detail["since"])),
        "until": _iso(datetime.fromisoformat(detail["until"])) if is_over else None,
    }


def _summary(detail: Mapping[str, Any], receiver: str, sites: Mapping[str, str]) -> _Json:
    """Return the figures of a receiver's sites."""
    its = detail["receivers"].get(receiver, ())
    return {
        "name": detail["name"],
        "since": _iso(datetime.fromisoformat(detail["since"])),
        "until": _iso(datetime.fromisoformat(detail["until"])),
        "sites": [
            _site(site_id, sites) | _figures(detail["sites"][site_id])
            for site_id in its
            if site_id in detail["sites"]
        ],
    }


def _figures(found: Mapping[str, Any]) -> _Json:
    """Return the figures of a site; `total` is None where Wix did not say."""
    return {
        "low_rated": sum(found["stars"].values()),
        "by_rating": dict(found["stars"]),
        "by_topic": dict(found.get("topics", {})),
        "total": found["total"],
        "answered": found["answered"],
        "seconds_to_answer": round(median(found["waits"])) if found["waits"] else None,
        "open": found["open_number"],
        "complete": not found["unread"],
    }


def _iso(moment: datetime | None) -> str | None:
    """Return a moment in ISO 8601, in UTC and to the millisecond; None if it is unknown."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
