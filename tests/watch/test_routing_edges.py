"""Which key of a receiver keeps a review from it, and rare edges of keywords and quiet hours."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from alerter.config import Quiet, Receiver
from alerter.watch.keywords import keywords_in
from alerter.watch.quiet import quiet_until
from alerter.watch.routing import excluded_by
from tests.support.reviews import review


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, None),
        ({"sites": ["Florist"]}, "sites"),
        ({"min_rating": 3}, "min_rating"),
        ({"max_rating": 1}, "max_rating"),
        ({"min_rating": 1, "max_rating": 1}, "max_rating"),
        ({"min_rating": 3, "max_rating": 4}, "min_rating"),
        ({"products": ["p2"]}, "products"),
        ({"products": ["p1"]}, None),
        ({"keywords": ["refund"]}, "keywords"),
        ({"keywords": ["stale"]}, None),
        ({"topics": ["hygiene"]}, "topics"),
        ({"topics": ["hygiene", "taste"]}, None),
        ({"sites": ["Florist"], "keywords": ["refund"]}, "sites"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_review_is_excluded_by_the_first_key_that_does_not_fit(
    fields: dict[str, object], key: str | None
) -> None:
    receiver = Receiver.model_validate({"name": "owner", "slack": "C0123456789", **fields})
    read = review(rating=2, title="Bread", body="Stale", entity_id="p1", topics=("taste",))

    assert excluded_by(receiver, read, "Corner Bakery") == key


@pytest.mark.parametrize(
    "text", ["the fund, no refund", "refund, fund, refund"], ids=["first", "in the middle"]
)
def test_a_keyword_is_found_beside_words_that_hold_it(text: str) -> None:
    assert list(keywords_in(["fund"], text)) == ["fund"]


def test_hours_that_began_yesterday_count_by_the_receivers_own_date() -> None:
    """In the evening in Los Angeles it is tomorrow in UTC."""
    quiet = Quiet.model_validate({"from": "23:00", "to": "22:00"})
    zone = ZoneInfo("America/Los_Angeles")
    evening = datetime(2026, 11, 24, 20, 0, tzinfo=zone)

    end = quiet_until(quiet, evening, zone)

    assert end == datetime(2026, 11, 24, 22, 0, tzinfo=zone)
    assert end.tzinfo is UTC
