"""Summaries to render, and what they say."""

from datetime import UTC, datetime, timedelta
from typing import Any

from alerter.models import Alert, AlertKind, Form, Message, MessageItem, Product
from alerter.store.summaries import LowRated
from tests.support.values import SITE

# Monday, 23 November 2026, 09:00 in Berlin.
DUE = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def low(rating: int, product: str, hours: float | None = None) -> LowRated:
    created = DUE - timedelta(days=2)
    at = created + timedelta(hours=hours) if hours is not None else None
    return LowRated(rating, created, product, Product(f"Product {product}"), hours is not None, at)


def numbers(text: str) -> list[str]:
    """The numbers of low-rated reviews in a summary: of its period, and of the one before."""
    [line] = [line for line in text.splitlines() if line.startswith("Number")]
    return line.split()[1:]


def summary_message(found: dict[str, Any], receiver: str = "owner") -> Message:
    detail = {
        "name": "Weekly",
        "since": (DUE - timedelta(days=7)).isoformat(),
        "until": DUE.isoformat(),
        "receivers": {"owner": [SITE]},
        "sites": {SITE: found | {"unread": False}},
    }
    entry = MessageItem(Alert("summary:Weekly:2026-11-23T09:00", AlertKind.SUMMARY, detail=detail))
    return Message(1, "uid@alerter", f"email:{receiver}", Form.ALERT, (entry,), DUE)
