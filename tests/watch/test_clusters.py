"""When low-rated reviews of one product are a cluster, and what it is compared with."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random

import pytest

from alerter.config import ClusterSize
from alerter.models import Review
from alerter.store.clusters import DatedReview
from alerter.watch.clusters import (
    ClusterFinding,
    FoundCluster,
    PastRecord,
    figures_of,
    find_clusters,
    judge,
    poisson_tail,
    predictive_tail,
)

DAY = timedelta(days=1)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SIZE = ClusterSize.model_validate({"count": 3, "within": "7d"})
HALF_YEAR_AGO = NOW - 180 * DAY
THREE_NOW = (2, 1, 0)


def record(
    start: datetime = HALF_YEAR_AGO, *, is_first: bool = True, products: int = 1
) -> PastRecord:
    return PastRecord(start, is_first, products)


def times(*days_ago: float) -> list[DatedReview]:
    return [rated(f"r{number}", each) for number, each in enumerate(days_ago)]


def rated(
    review_id: str,
    days_ago: float,
    *,
    alerted: bool = True,
    cluster: int | None = None,
    written_before: timedelta = timedelta(),
) -> DatedReview:
    created = NOW - days_ago * DAY
    review = Review(review_id, 1, created=created, written=created - written_before)
    return DatedReview(review, created, alerted, cluster)


def found(*reviews: DatedReview, new: str, its: PastRecord | None = None) -> list[FoundCluster]:
    return find_clusters(reviews, set(new.split()), SIZE, its or record())


# --- the figures


def test_the_tail_of_poisson_is_what_tables_say() -> None:
    assert poisson_tail(0, 0.5) == 1
    assert poisson_tail(1, 0.5) == pytest.approx(0.393469, abs=1e-6)
    assert poisson_tail(3, 0.5) == pytest.approx(0.014388, abs=1e-6)
    assert poisson_tail(20, 10) == pytest.approx(0.003454, abs=1e-6)
    assert poisson_tail(300, 100) < 1e-40


def test_a_short_record_makes_many_reviews_likelier_than_poisson() -> None:
    assert predictive_tail(2, 0.5, 0.1) > poisson_tail(2, 0.05)
    assert predictive_tail(2, 5000, 0.001) == pytest.approx(poisson_tail(2, 5), rel=0.01)
    assert predictive_tail(0, 3, 0.1) == 1


def test_three_in_a_week_are_a_cluster_where_one_in_half_a_year_was_usual() -> None:
    figures = judge(times(180, *THREE_NOW), SIZE, record())

    assert (figures.finding, figures.number, figures.past) == (ClusterFinding.CLUSTER, 3, 1)
    assert figures.expected == pytest.approx(0.5 * 7 / 173)
    assert figures.p < 0.001
    assert figures.since == HALF_YEAR_AGO


@pytest.mark.parametrize(
    ("before", "finding"),
    [
        ((180, 150, 120), ClusterFinding.CLUSTER),
        (tuple(range(180, 8, -10)), ClusterFinding.LIKELY),
        ((29,), ClusterFinding.YOUNG),
        ((), ClusterFinding.YOUNG),
    ],
)
def test_what_the_record_was_decides(before: tuple[float, ...], finding: ClusterFinding) -> None:
    start = NOW - max(before, default=2) * DAY

    assert judge(times(*before, *THREE_NOW), SIZE, record(start)).finding is finding


def test_two_in_a_week_are_fewer_than_the_config_asks_for() -> None:
    assert judge(times(180, 1, 0), SIZE, record()).finding is ClusterFinding.FEW


def test_the_span_itself_is_not_part_of_its_record() -> None:
    """A span ends with a review, and what is exactly as old as the span lies before it."""
    assert judge(times(180, 7, 1, 0), SIZE, record()).number == 2
    assert judge(times(180, 6.9, 1, 0), SIZE, record()).number == 3


def test_a_record_of_none_still_has_a_rate() -> None:
    """Half a review is counted: nothing at all would make any number a cluster."""
    old = record(NOW - 400 * DAY, is_first=True)
    figures = judge(times(400, *THREE_NOW), SIZE, old)

    assert figures.past == 0
    assert figures.since == NOW - 7 * DAY - timedelta(days=365)
    assert figures.expected == pytest.approx(0.5 * 7 / 365)


def test_a_record_goes_back_a_year_at_most() -> None:
    years = [float(each) for each in range(3000, 400, -5)]
    figures = judge(times(*years, *THREE_NOW), SIZE, record(NOW - 3000 * DAY))

    assert (figures.past, figures.finding) == (0, ClusterFinding.CLUSTER)


def test_the_first_review_of_a_record_says_nothing_about_its_rate() -> None:
    assert judge(times(60, *THREE_NOW), SIZE, record(NOW - 60 * DAY)).expected < 0.1
    kept = record(NOW - 60 * DAY, is_first=False)  # it begins as nothing older is kept
    assert judge(times(59, *THREE_NOW), SIZE, kept).expected == pytest.approx(1.5 * 7 / 53)


def test_three_reviews_in_a_week_are_a_cluster_after_a_month_of_record() -> None:
    figures = judge(times(30, *THREE_NOW), SIZE, record(NOW - 30 * DAY))
    assert (figures.number, figures.finding) == (3, ClusterFinding.CLUSTER)


def test_a_shop_of_many_products_has_some_clusters_by_chance() -> None:
    many = [float(each) for each in range(178, 20, -50)]
    one = judge(times(180, *many, *THREE_NOW), SIZE, record())
    hundred = judge(times(180, *many, *THREE_NOW), SIZE, record(products=100))

    assert (one.p, one.expected) == (hundred.p, hundred.expected)
    assert hundred.by_chance == pytest.approx(100 * one.by_chance)
    assert hundred.p < 0.001
    assert hundred.finding is ClusterFinding.BY_CHANCE


@pytest.mark.parametrize("a_year", [3.0, 10.0, 50.0])
def test_chance_raises_less_than_one_cluster_in_ten_years(a_year: float) -> None:
    """Reviews that come at random, looked at with each of them: docs/clusters.md."""
    random, years, number = Random(1), 300, 0  # noqa: S311 - the same each time
    for _ in range(years // 3):
        waits = [random.expovariate(a_year) for _ in range(int(6 * a_year) + 30)]
        dates = [each for each in accumulate(waits) if each < 3]
        reviews = [rated(f"r{n}", 1095 - 365 * each) for n, each in enumerate(dates)]
        if reviews:
            its = PastRecord(reviews[0].created, is_first=True, products=1)
            new = {each.review.id for each in reviews}
            number += len(find_clusters(reviews, new, SIZE, its))
    assert number <= years / 10 + 3 * (years / 10) ** 0.5


# --- what begins and joins a cluster


def test_reviews_of_one_poll_are_one_cluster_that_names_them_all() -> None:
    reviews = [rated("old", 180), *(rated(f"r{n}", 5 - n, alerted=False) for n in range(5))]

    [cluster] = found(*reviews, new="r0 r1 r2 r3 r4")

    assert cluster.reviews == ["r0", "r1", "r2", "r3", "r4"]
    assert cluster.alert is None
    assert cluster.figures is not None
    assert cluster.figures.number == 3  # with the third of them it was unlikely


def test_reviews_alerted_before_are_named_with_the_one_that_is_new() -> None:
    [cluster] = found(rated("old", 180), rated("a", 3), rated("b", 2), rated("c", 0), new="c")

    assert cluster.reviews == ["a", "b", "c"]


def test_a_cluster_goes_on_until_its_span_has_passed_without_a_review() -> None:
    its = [rated("old", 180), *(rated(each, 20 - n, cluster=7) for n, each in enumerate("abc"))]

    [joined] = found(*its, rated("d", 11.5), new="d")
    assert (joined.alert, joined.reviews, joined.figures) == (7, ["d"], None)

    assert found(*its, rated("d", 10), new="d") == []  # over, and one review is no cluster
    [next_one] = found(*its, rated("d", 9), rated("e", 8.5), rated("f", 8), new="d e f")
    assert next_one.reviews == ["d", "e", "f"]


def test_a_late_review_joins_the_cluster_that_it_precedes() -> None:
    its = [rated(each, 3 - n, cluster=7) for n, each in enumerate("abc")]

    [joined] = found(rated("old", 180), rated("late", 5), *its, new="late")

    assert (joined.alert, joined.reviews) == (7, ["late"])


def test_the_past_never_begins_a_cluster() -> None:
    """A baseline that was a cluster is silent, and so is what follows it within the span."""
    baseline = [rated(each, 4 - n, alerted=False) for n, each in enumerate("abc")]

    assert found(rated("old", 180), *baseline, new="") == []
    assert found(rated("old", 180), *baseline, rated("d", 0), new="d") == []


def test_a_late_review_before_enough_of_the_past_begins_no_cluster() -> None:
    past = [rated(each, 3 - n, alerted=False) for n, each in enumerate("abc")]
    old, late = rated("old", 180), rated("late", 4)

    assert found(old, late, *past, new="late") == []
    assert len(found(old, late, *past[:2], new="late")) == 1


def test_a_review_of_the_past_counts_in_a_cluster_that_a_new_one_begins() -> None:
    baseline = [rated(each, 4 - n, alerted=False) for n, each in enumerate("ab")]

    [cluster] = found(rated("old", 180), *baseline, rated("c", 0), new="c")

    assert cluster.reviews == ["a", "b", "c"]


def test_imports_do_not_count() -> None:
    imports = [
        rated(each, 4 - n, alerted=False, written_before=31 * DAY) for n, each in enumerate("abc")
    ]

    assert found(rated("old", 180), *imports, rated("d", 0), new="d") == []


def test_two_clusters_of_one_long_read_are_two() -> None:
    reviews = [rated("old", 180), *(rated(each, 60 - n) for n, each in enumerate("abc"))]
    reviews += [rated(each, 6 - n) for n, each in enumerate("def")]
    its = record(NOW - 400 * DAY)

    first, second = found(rated("older", 400), *reviews, new="a b c d e f", its=its)

    assert (first.reviews, second.reviews) == (["a", "b", "c"], ["d", "e", "f"])


def test_the_figures_of_a_review_are_those_of_its_fullest_span() -> None:
    reviews = [rated("old", 180), *(rated(each, 6 - 2 * n) for n, each in enumerate("abcd"))]

    figures = figures_of(reviews, "b", SIZE, record())

    assert figures is not None
    assert (figures.number, figures.finding) == (4, ClusterFinding.CLUSTER)
    assert figures_of(reviews, "unknown", SIZE, record()) is None
