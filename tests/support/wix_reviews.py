"""A review as Wix sends it, and whether it can be stored."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.models import Review, Status, StoredReview
from alerter.store import State, reviews
from tests.support.values import SITE

CREATED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NOON = "2026-11-24T12:00:00.000Z"
LONGEST = 3000
MISSING = object()


def raw(**fields: Any) -> dict[str, Any]:
    """A review as Wix sends it; a field given as MISSING is left out."""
    whole = {
        "id": "5f3c0a52-8f3b-4b6f-9b8e-2f3b2a1c0d9e",
        "namespace": "stores",
        "entityId": "product-1",
        "createdDate": NOON,
        "updatedDate": "2026-11-24T13:00:00.000Z",
        "reviewDate": "2026-11-23T12:00:00.000Z",
        "content": {"title": "Stale", "body": "The bread was stale.", "rating": 1, "media": []},
        "author": {"contactId": "contact-1", "authorName": "Ada"},
        "reply": {"message": "Sorry!", "createdDate": NOON},
        "foundHelpful": 3,
        "foundUnhelpful": 1,
        "helpfulness": 2,
        "moderation": {"moderationStatus": "APPROVED", "manuallyChanged": False},
        "revision": "4",
        "verified": True,
        "origin": {"type": "ORGANIC"},
        "relevanceScore": 0.5,
        "publishCount": 1,
    } | fields
    return {name: value for name, value in whole.items() if value is not MISSING}


def content(**fields: Any) -> dict[str, Any]:
    return raw(content={"title": "Stale", "body": "The bread was stale.", "rating": 1} | fields)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """One state file for all: making it takes longer than everything else here."""
    with State.open(tmp_path_factory.mktemp("state") / "state.db", migrate=True) as state:
        yield state


def assert_storable(review: Review, state: State) -> None:
    """It can be sent as UTF-8, and comes back from the state file as it went in."""
    sent = json.dumps(asdict(review), ensure_ascii=False, default=str).encode("utf-8")
    assert b"\\u0000" not in sent
    with state.transaction():
        reviews.put_reviews(state, SITE, [StoredReview(review, Status.OPEN, CREATED)], CREATED)
    assert reviews.get_reviews(state, SITE, [review.id]) == {
        review.id: StoredReview(review, Status.OPEN, CREATED)
    }
