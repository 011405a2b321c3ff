"""The history of a review: other low-rated reviews of its product and of its author."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.actions import ActionKind, NewAction, Outcome, Person, Through
from alerter.models import Alert, AlertKind, CloseReason, Form, ReviewHistory, Status, StoredReview
from alerter.store import (
    State,
    actions,
    items,
    known_sites,
    messages,
    outbox,
    raised_alerts,
    reviews,
)
from alerter.store.items import get_history
from alerter.store.raised_alerts import NewAlert
from tests.support.reviews import review
from tests.support.values import SITE

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OTHER_SITE = "22222222-2222-4222-8222-222222222222"


@pytest.fixture(autouse=True)
def covered(state: State) -> None:
    """Both sites are watched for two stars and fewer."""
    known_sites.record_coverage(state, SITE, 2)
    known_sites.record_coverage(state, OTHER_SITE, 2)


def put(
    state: State,
    review_id: str,
    rating: int = 1,
    days: float = 0,
    *,
    site: str = SITE,
    closing: CloseReason | None = None,
    **fields: Any,
) -> None:
    about = review(
        review_id,
        rating,
        created=NOW - timedelta(days=days),
        **{"entity_id": "rye", "contact_id": "ada"} | fields,
    )
    with state.transaction():
        reviews.put_reviews(
            state, site, [StoredReview(about, Status.BASELINE, closing=closing)], NOW
        )


def test_a_product_stands_by_its_low_rated_reviews_of_the_last_30_days(state: State) -> None:
    put(state, "this")
    put(state, "as low", 2, days=29.9)
    put(state, "higher", 3, days=1)
    put(state, "too old", 1, days=30.1)
    put(state, "another product's", 1, days=1, entity_id="wheat")
    put(state, "another site's", 1, days=1, site=OTHER_SITE)
    put(state, "gone", 1, days=1, closing=CloseReason.GONE)
    put(state, "answered", 1, days=1, closing=CloseReason.ANSWERED)

    assert get_history(state, SITE, "this", NOW).product_low == 3


def test_an_author_has_earlier_low_rated_reviews_of_any_age(state: State) -> None:
    put(state, "this")
    put(state, "first", 1, days=900, entity_id="wheat")
    put(state, "last", 2, days=40)
    put(state, "a good one", 5, days=2)
    put(state, "later", 1, days=-1)
    put(state, "another's", 1, days=1, contact_id="bob")
    put(state, "at another site", 1, days=1, site=OTHER_SITE)
    put(state, "gone", 1, days=1, closing=CloseReason.GONE)

    found = get_history(state, SITE, "this", NOW)

    assert (found.author_low, found.author_last, found.author_rating) == (
        2,
        NOW - timedelta(days=40),
        2,
    )


def test_reviews_of_nothing_by_nobody_have_nothing_in_common(state: State) -> None:
    put(state, "this", entity_id=None, contact_id=None)
    put(state, "other", days=1, entity_id=None, contact_id=None)

    assert get_history(state, SITE, "this", NOW) == ReviewHistory()


def test_a_site_that_was_never_read_to_its_end_says_nothing(state: State) -> None:
    put(state, "this")
    put(state, "other", days=1)
    known_sites.record_coverage(state, SITE, 0)

    assert get_history(state, SITE, "this", NOW) == ReviewHistory()


def test_the_threshold_says_what_is_low_rated(state: State) -> None:
    put(state, "this")
    put(state, "three stars", 3, days=1)
    known_sites.record_coverage(state, SITE, 3)

    assert get_history(state, SITE, "this", NOW) == ReviewHistory(2, 1, NOW - timedelta(days=1), 3)


@pytest.mark.sqlite  # reads its query plans
def test_looking_around_reads_no_more_than_what_it_counts(state: State) -> None:
    rows = state.rows(
        f"EXPLAIN QUERY PLAN {items.HISTORY}", {"site": SITE, "review": "this", "since": 0}
    )
    steps = [row["detail"] for row in rows if "others" in row["detail"]]

    by_product = "reviews_by_product (site_id=? AND entity_id=? AND created_at>?)"
    by_author = "reviews_by_author (site_id=? AND contact_id=? AND created_at<?)"
    assert sorted(steps) == [
        *[f"SEARCH others USING COVERING INDEX {by_author}"] * 2,
        f"SEARCH others USING COVERING INDEX {by_product}",
    ]
    assert not any("TEMP B-TREE" in row["detail"] for row in rows)


@pytest.mark.parametrize(("count", "known"), [(1, True), (2, False)], ids=["alone", "in a digest"])
def test_an_alert_of_its_own_has_its_context_and_one_in_a_digest_has_not(
    state: State, count: int, known: bool
) -> None:
    ids = [f"r{number}" for number in range(count)]
    for review_id in ids:
        put(state, review_id)
    new_alerts = [
        NewAlert(Alert(f"new:{SITE}:{each}", AlertKind.NEW, SITE, each), [("owner", None)])
        for each in ids
    ]
    with state.transaction():
        raised_alerts.raise_alerts(state, new_alerts, NOW)
    form = Form.ALERT if count == 1 else Form.DIGEST
    message = outbox.claim(
        state,
        "owner",
        form,
        [due.alert for due in outbox.due_deliveries(state, "owner", NOW, 9)],
        "uid",
        NOW,
    )

    assert message
    assert len(message.entries) == count
    assert all((entry.context.product_low == count) is known for entry in message.entries)
    # As it is read again after a restart, or for an update.
    again = messages.get_unsettled(state, "owner", NOW)
    assert again
    assert again.entries == message.entries


@pytest.mark.parametrize("count", [1, 2], ids=["alone", "in a digest"])
def test_an_item_has_what_people_do_about_its_review(state: State, count: int) -> None:
    ids = [f"r{number}" for number in range(count)]
    for review_id in ids:
        put(state, review_id)
    alerts = [Alert(f"new:{SITE}:{each}", AlertKind.NEW, SITE, each) for each in ids]
    until = NOW + timedelta(hours=1)
    claim = NewAction(
        "a press", ActionKind.CLAIM, SITE, "r0", Person("Ada"), Through.COMMAND, until=until
    )
    with state.transaction():
        raised_alerts.raise_alerts(state, [NewAlert(each, []) for each in alerts], NOW)
        action, _ = actions.put_action(state, claim, NOW)
        actions.settle_action(state, action, Outcome.DONE, "", NOW, good=True)

    found = items.get_items(state, range(1, count + 1), NOW)

    assert [item.response.claimed_by for item in found] == ["Ada", *[""] * (count - 1)]
