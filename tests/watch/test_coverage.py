"""What of a site's past is on record, and what must be read silently for another config."""

from datetime import UTC, datetime, timedelta

import pytest

from alerter.config import Limits
from alerter.store.known_sites import Coverage, SiteState
from alerter.watch.coverage import is_covered, unread_past, wanted_coverage
from alerter.watch.topics import Topics
from alerter.wix.client import ReviewFilter
from tests.support.reviews import review

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SINCE, UNTIL = NOW - timedelta(days=30), NOW - timedelta(minutes=5)
TOPICS, OTHER = Topics({"en"}, {}), Topics({"en"}, {"mess": ["glitter"]})
PLAIN, BY_TOPIC = Coverage(2, 2), Coverage(3, 2, TOPICS.mark)


def test_the_lists_matter_only_above_the_threshold() -> None:
    assert wanted_coverage(Limits(2, 2), TOPICS) == PLAIN
    assert wanted_coverage(Limits(2, 3), TOPICS) == BY_TOPIC
    assert TOPICS.mark != OTHER.mark


@pytest.mark.parametrize(
    ("known", "wanted", "unread"),
    [
        (Coverage(), PLAIN, ReviewFilter(2)),
        (Coverage(), BY_TOPIC, ReviewFilter(3)),
        (PLAIN, PLAIN, None),
        (PLAIN, Coverage(4, 4), ReviewFilter(4, above=2)),
        (PLAIN, Coverage(1, 1), None),
        (PLAIN, BY_TOPIC, ReviewFilter(3, above=2)),
        (PLAIN, Coverage(2, 1, TOPICS.mark), None),
        (BY_TOPIC, BY_TOPIC, None),
        (BY_TOPIC, PLAIN, None),
        (BY_TOPIC, Coverage(3, 3), ReviewFilter(3, above=2)),
        (BY_TOPIC, Coverage(4, 2, TOPICS.mark), ReviewFilter(4, above=3)),
        (BY_TOPIC, Coverage(4, 3, TOPICS.mark), ReviewFilter(4, above=2)),
        (BY_TOPIC, Coverage(3, 1, TOPICS.mark), None),
        (BY_TOPIC, Coverage(4, 2, OTHER.mark), ReviewFilter(4, above=2)),
        (BY_TOPIC, Coverage(3, 2, OTHER.mark), ReviewFilter(3, 2, SINCE, UNTIL)),
    ],
)
def test_what_another_config_adds_is_read_silently(
    known: Coverage, wanted: Coverage, unread: ReviewFilter | None
) -> None:
    assert unread_past(SiteState(checkpoint=NOW, coverage=known), wanted, SINCE) == unread


def test_other_lists_read_no_span_that_is_empty_or_unknown() -> None:
    wanted = Coverage(3, 2, OTHER.mark)
    never = SiteState(coverage=BY_TOPIC)
    assert unread_past(never, wanted, SINCE) == ReviewFilter(3, above=2)
    old = SiteState(checkpoint=SINCE - timedelta(days=1), coverage=BY_TOPIC)
    assert unread_past(old, wanted, SINCE) is None


@pytest.mark.parametrize(
    ("rating", "age", "limits", "topics", "covered"),
    [
        (2, 9, Limits(2, 3), TOPICS, True),
        (2, 9, Limits(2, 3), OTHER, True),
        (3, 9, Limits(2, 3), TOPICS, True),
        (3, 9, Limits(2, 3), OTHER, False),
        (3, 0, Limits(2, 3), OTHER, True),
        (3, None, Limits(2, 3), OTHER, False),
        (3, 9, Limits(3, 3), TOPICS, False),
        (3, 0, Limits(3, 3), TOPICS, True),
        (4, 0, Limits(2, 4), TOPICS, False),
    ],
)
def test_what_the_reads_so_far_would_have_recorded_is_covered(
    rating: int, age: int | None, limits: Limits, topics: Topics, covered: bool
) -> None:
    created = None if age is None else NOW - timedelta(days=age)
    site = SiteState(checkpoint=NOW, coverage=BY_TOPIC)
    assert is_covered(review("r1", rating, created=created), site, limits, topics) is covered
