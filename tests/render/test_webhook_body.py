"""The body of a webhook says what happened, in one form for each type."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.models import AlertKind, CloseReason, Media, Product, Reply
from alerter.render.language import get_language
from alerter.render.samples import KINDS, awkward, sample
from alerter.render.webhook_body import TYPES, dump_body, webhook_body

SITE = "11111111-1111-4111-8111-111111111111"
NOW = datetime(2026, 11, 26, 18, 0, 0, 123456, UTC)
PRODUCT = "00000000-0000-4000-8000-000000000001"


def body_of(kind: str, **changes: Any) -> dict[str, Any]:
    """The body of a sample, whose only item is changed."""
    message = sample(kind, SITE, NOW, destination="webhook:test")
    message = replace(message, entries=(replace(message.entries[0], **changes),))
    return _body(message)


def _body(message: Any, **given: Any) -> dict[str, Any]:
    body = webhook_body(message, UTC, {SITE: "Corner Bakery"}, get_language("en"), **given)
    return dict(json.loads(dump_body(body)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digest"])
def test_each_kind_has_its_type_and_the_moment_of_its_alert(kind: str) -> None:
    body = body_of(kind, raised_at=NOW - timedelta(hours=2))
    assert body["type"] == TYPES[AlertKind(kind)]
    assert body["timestamp"] == "2026-11-26T16:00:00.123Z"
    assert list(body) == ["type", "timestamp", "data"]


def test_a_new_review_is_whole_with_its_site_and_links() -> None:
    body = body_of("new")
    assert body["data"]["site"] == {"id": SITE, "name": "Corner Bakery"}
    assert body["data"]["review"] == {
        "id": "00000000-0000-4000-8000-000000000000",
        "rating": 1,
        "title": "Stale on arrival",
        "body": (
            "The croissants were hard as stone & the box was open.\nSecond time <this> month!"
        ),
        "topics": ["packaging", "taste"],
        "author": "Robin Example",
        "created": "2026-11-26T17:55:00.123Z",
        "updated": None,
        "product": {
            "id": PRODUCT,
            "name": "Croissant box",
            "url": "https://corner-bakery.example/croissant-box",
        },
        "verified": True,
        "moderation": "APPROVED",
        "reply": None,
        "media": [],
        "closed": None,
    }
    assert body["data"]["links"] == {
        "dashboard": f"https://manage.wix.com/dashboard/{SITE}/reviews/pending",
        "product": "https://corner-bakery.example/croissant-box",
        "product_dashboard": (
            f"https://manage.wix.com/dashboard/{SITE}/wix-stores/products/product/{PRODUCT}"
        ),
    }


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "digest"])
def test_words_of_customers_are_unchanged(kind: str) -> None:
    for name, message in awkward(kind, SITE, NOW):
        body = _body(message)
        review = message.entries[0].review
        if "review" in body["data"] and review:
            found = body["data"]["review"]
            assert (found["title"], found["body"]) == (review.title, review.body), name
            assert found["author"] == (review.author or None), name


def test_a_lowered_review_has_what_it_was_before() -> None:
    assert body_of("lowered")["data"]["before"] == {
        "rating": 3,
        "title": "Fine",
        "body": "Nothing special.",
    }


def test_a_closed_review_says_why_and_has_the_answer() -> None:
    body = body_of("closed")
    assert body["data"]["review"]["closed"] == "answered"
    assert body["data"]["review"]["reply"] == {
        "body": "We are sorry, and have sent you a fresh box.",
        "created": "2026-11-26T17:55:00.123Z",
    }
    assert body_of("new", closing=CloseReason.RAISED)["data"]["review"]["closed"] == "raised"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ({"after": 86400.0}, {"after": 86400, "snoozed": False, "reopened": None}),
        ({"snoozed": True}, {"after": None, "snoozed": True, "reopened": None}),
        ({"reopened": "answered"}, {"after": None, "snoozed": False, "reopened": "answered"}),
    ],
)
def test_a_reminder_says_why(detail: dict[str, Any], expected: dict[str, Any]) -> None:
    alert = sample("reminder", SITE, NOW).entries[0].alert
    body = body_of("reminder", alert=replace(alert, detail=detail))
    assert body["data"]["reminder"] == expected


def test_a_review_with_little_on_record_has_the_same_form() -> None:
    item = sample("new", SITE, NOW).entries[0]
    assert item.review
    bare = replace(item.review, author="", created=None, entity_id=None, moderation="")
    media = (Media("photo", "https://example.com/a.jpg"), Media("photo", "javascript:alert(1)"))
    reply = Reply("Sorry")
    review = replace(bare, media=media, reply=reply)
    found = body_of("new", review=review, product=Product("x", "javascript:alert(1)"))["data"]
    assert found["review"].keys() == body_of("new")["data"]["review"].keys()
    assert [found["review"][name] for name in ("author", "created", "product", "moderation")] == [
        None
    ] * 4
    assert found["review"]["media"] == [{"kind": "photo", "url": "https://example.com/a.jpg"}]
    assert found["review"]["reply"] == {"body": "Sorry", "created": None}
    assert list(found["links"]) == ["dashboard"]
    assert body_of("new", review=None)["data"]["review"] == {
        "id": "00000000-0000-4000-8000-000000000000",
        "rating": None,
    }


def test_a_cluster_names_all_its_reviews_and_what_they_are_about() -> None:
    message = sample("cluster", SITE, NOW)
    data = _body(message)["data"]
    assert data["site"] == {"id": SITE, "name": "Corner Bakery"}
    assert data["cluster"] == {
        "product": {
            "id": PRODUCT,
            "name": "Croissant box",
            "url": "https://corner-bakery.example/croissant-box",
        },
        "number": 3,
        "within": 604800,
    }
    items = message.entries[0].reviews
    assert [each["title"] for each in data["reviews"]] == [
        item.review.title for item in items if item.review
    ]
    assert all(each["id"] and each["rating"] for each in data["reviews"])
    assert list(data["links"]) == ["dashboard", "product"]


def test_a_cluster_counts_what_was_erased() -> None:
    item = sample("cluster", SITE, NOW).entries[0]
    alert = replace(item.alert, detail={})
    data = body_of("cluster", alert=alert, reviews=item.reviews[:1], erased=2)["data"]
    assert data["cluster"] == {"product": None, "number": 3, "within": None}
    assert len(data["reviews"]) == 1


def test_trouble_says_what_does_not_work_and_since_when() -> None:
    assert body_of("trouble")["data"]["trouble"] == {
        "kind": "site",
        "what": "The reviews of Corner Bakery cannot be read",
        "reason": "Wix refuses us: 403 “permission denied”",
        "remedy": (
            "Run `alerter check`. If Wix refuses to answer, look at the site's key or app and its"
            " permissions."
        ),
        "since": "2026-11-26T16:00:00.123Z",
        "until": None,
    }
    recovered = body_of("recovered")["data"]["trouble"]
    assert recovered["what"] == "Corner Bakery's reviews can be read again"
    assert recovered["until"] == "2026-11-26T18:00:00.123Z"


def test_a_summary_has_the_figures_of_each_site() -> None:
    (site,) = body_of("summary")["data"]["summary"]["sites"]
    assert site == {
        "id": SITE,
        "name": "Corner Bakery",
        "low_rated": 8,
        "by_rating": {"1": 4, "2": 4},
        "by_topic": {"delivery": 2, "packaging": 2, "price": 1, "taste": 5},
        "total": 64,
        "answered": 4,
        "seconds_to_answer": 19800,
        "open": 4,
        "complete": True,
    }


def test_a_test_is_of_its_own_type_with_the_data_of_a_review() -> None:
    message = sample("new", SITE, NOW)
    body = _body(message, test=True)
    assert body["type"] == "test"
    assert body["data"] == _body(message)["data"]


def test_the_body_is_short_json_in_utf_8() -> None:
    assert dump_body({"a": ["ß", 1]}) == '{"a":["ß",1]}'


def test_the_order_behind_a_review_is_there_where_it_is_known() -> None:
    assert "order" not in body_of("new")["data"]
    message = sample("new", SITE, NOW, destination="webhook:test", with_order=True)
    assert _body(message)["data"]["order"] == {
        "number": "10012",
        "created": "2026-11-14T18:00:00.123Z",
        "total": {"amount": "45.9", "currency": "EUR"},
        "item": "Croissant box",
        "quantity": 2,
        "others": 1,
        "canceled": False,
        "payment": "paid",
        "paid": "2026-11-14T18:00:00.123Z",
        "shipping": "shipped",
        "shipped": "2026-11-23T18:00:00.123Z",
        "took": 777600,
        "usual": 172800,
        "late": True,
        "as_of": "2026-11-26T18:00:00.123Z",
    }
