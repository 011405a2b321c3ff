"""Reviews in the database: the JSON of their content."""

from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.models import Media, Reply, Review, Status, StoredReview
from alerter.store import State, report, reviews
from alerter.store.reviews import dump_review, load_review
from tests.support.values import SITE

FULL = Review(
    id="r1",
    rating=2,
    created=datetime(2026, 11, 24, 12, 0, 0, 123000, UTC),
    updated=datetime(2026, 11, 24, 13, 0, tzinfo=UTC),
    written=datetime(2026, 11, 20, tzinfo=UTC),
    title='Käse "alt" \u2028',
    body="a\nb\t\x7f\xa0🧀",
    author="Ada",
    contact_id="c1",
    namespace="stores",
    entity_id="p1",
    reply=Reply("Sorry", datetime(2026, 11, 24, 14, 0, tzinfo=UTC)),
    moderation="APPROVED",
    revision=3,
    verified=True,
    origin="CUSTOMER",
    helpful=4,
    unhelpful=1,
    media=(
        Media("image", "https://x/1.jpg"),
        Media("video", "https://x/2.mp4", "https://x/2.jpg"),
    ),
)
REVIEWS = {
    "full": FULL,
    "only defaults": Review(id="r1", rating=1),
    "an empty reply": Review(id="r1", rating=1, reply=Reply(""), verified=False),
}
# As the versions before pydantic wrote them.
EARLIER = {
    "full": '{"created": "2026-11-24T12:00:00.123000+00:00",'
    ' "updated": "2026-11-24T13:00:00+00:00",'
    ' "written": "2026-11-20T00:00:00+00:00", "title": "Käse \\"alt\\" \u2028",'
    ' "body": "a\\nb\\t\x7f\xa0🧀", "author": "Ada", "namespace": "stores",'
    ' "reply": {"message": "Sorry", "at": "2026-11-24T14:00:00+00:00"},'
    ' "moderation": "APPROVED", "verified": true, "origin": "CUSTOMER", "helpful": 4,'
    ' "unhelpful": 1,'
    ' "media": [{"kind": "image", "url": "https://x/1.jpg", "thumbnail": null},'
    ' {"kind": "video", "url": "https://x/2.mp4", "thumbnail": "https://x/2.jpg"}]}',
    "only defaults": "{}",
    "an empty reply": '{"reply": {"message": "", "at": null}, "verified": false}',
}


def row(review: Review, content: str) -> dict[str, Any]:
    return {
        "review_id": review.id,
        "rating": review.rating,
        "revision": review.revision,
        "entity_id": review.entity_id,
        "contact_id": review.contact_id,
        "content": content,
        "topics": None,
    }


@pytest.mark.parametrize("name", REVIEWS)
def test_content_of_earlier_versions_is_read_as_the_same_review(name: str) -> None:
    assert load_review(row(REVIEWS[name], EARLIER[name])) == REVIEWS[name]


@pytest.mark.parametrize("review", REVIEWS.values(), ids=REVIEWS.keys())
def test_a_review_is_read_as_it_was_written(review: Review) -> None:
    assert load_review(row(review, dump_review(review))) == review


def test_content_has_only_what_differs_from_the_default() -> None:
    assert dump_review(REVIEWS["only defaults"]) == "{}"
    assert dump_review(Review(id="r1", rating=1, revision=2, contact_id="c")) == "{}"
    assert dump_review(Review(id="r1", rating=1, title="Käse")) == '{"title":"Käse"}'


def test_a_stored_review_is_returned_as_it_was_put(state: State) -> None:
    now = datetime(2026, 11, 25, tzinfo=UTC)
    stored = StoredReview(FULL, Status.OPEN, alerted_at=now)
    with state.transaction():
        reviews.put_reviews(state, SITE, [stored], now)

    assert reviews.get_reviews(state, SITE, ["r1", "r2"]) == {"r1": stored}


def test_the_beginning_of_an_id_is_unique_where_no_other_id_has_it(state: State) -> None:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    for site, *ids in ((SITE, "abcd1", "abce1", "abce2", "xyz"), ("another", "abcd1")):
        stored = [StoredReview(Review(id=each, rating=1), Status.OPEN) for each in ids]
        with state.transaction():
            reviews.put_reviews(state, site, stored, now)
    found = report.unique_beginnings(state, {"abcd", "abce", "xyz", "none"}, 4)
    assert found == {"abcd", "xyz"}
