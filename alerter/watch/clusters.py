"""Decide whether low-rated reviews of one product are a cluster: docs/clusters.md. Pure."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import chain, takewhile

from alerter.config import SHORTEST_RECORD, ClusterSize
from alerter.store.clusters import DatedReview
from alerter.watch.triage import is_import

YEAR = timedelta(days=365)
_UNLIKELY = 0.001
# A shop gets fewer clusters by chance in a year. The estimate errs on the high side: with this
# limit it gets less than one in ten years.
_MOST_BY_CHANCE = 0.18
# Added to the number of the record, so that a record without reviews has a rate too (Jeffreys).
_PRIOR = 0.5


class ClusterFinding(StrEnum):
    """Why reviews are a cluster or none, as `explain` shows it."""

    CLUSTER = "more than its record makes likely"
    FEW = "fewer than [alerts] cluster asks for"
    YOUNG = "its record is shorter than a month, or than the span"
    LIKELY = "not unlikely by its record"
    BY_CHANCE = "a shop with so many products gets such a number by chance too often"


@dataclass(frozen=True, slots=True)
class PastRecord:
    """What a cluster is compared with.

    `start`: when the earliest review on record was created, or how far back the state goes.
    `is_first`: that review is low-rated, so the record begins with one that counts. `products`: how
    many products of the site got at least `count` low-rated reviews in the last year, and this one.
    `past`: when its low-rated reviews before those that are judged were created, oldest first.
    """

    start: datetime
    is_first: bool
    products: int
    past: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of the span that ends with a review.

    `number`: its low-rated reviews. `past`: those of the record, from `since` to the beginning of
    the span. `expected`: how many such a span has by this record. `p`: how likely `number` or more
    are. `by_chance`: how often a year the shop would have such a span by chance.
    """

    finding: ClusterFinding
    number: int
    past: int = 0
    since: datetime | None = None
    expected: float = 0.0
    p: float = 1.0
    by_chance: float = 0.0


@dataclass(slots=True)
class FoundCluster:
    """Reviews to add to a cluster: to that of an alert, or to a new one with its figures."""

    reviews: list[str]
    alert: int | None = None
    figures: Figures | None = None


def judge(rated: Sequence[DatedReview], size: ClusterSize, record: PastRecord) -> Figures:
    """Judge the span that ends with the last of these low-rated reviews, which are in order."""
    times = [*record.past, *(each.created for each in rated)]
    end = times[-1]
    begin = end - size.within
    before = bisect_right(times, begin)
    number = len(times) - before
    if number < size.count:
        return Figures(ClusterFinding.FEW, number)
    since = max(record.start, begin - YEAR)
    length = begin - since
    if end - record.start < SHORTEST_RECORD or length <= timedelta():
        return Figures(ClusterFinding.YOUNG, number, since=record.start)
    past = before - bisect_left(times, since)
    # A record that begins with a review has one more than its length makes likely.
    shape = max(past - (record.is_first and since == record.start), 0) + _PRIOR
    share = size.within / length
    p = poisson_tail(number, shape * share)
    # In a year so many spans end with a review: any of them may hold as many others by chance.
    spans = record.products * shape * (YEAR / length)
    by_chance = spans * predictive_tail(number - 1, shape, share)
    finding = ClusterFinding.CLUSTER
    if p >= _UNLIKELY:
        finding = ClusterFinding.LIKELY
    elif by_chance >= _MOST_BY_CHANCE:
        finding = ClusterFinding.BY_CHANCE
    return Figures(finding, number, past, since, shape * share, p, by_chance)


def poisson_tail(number: int, expected: float) -> float:
    """Return how likely `number` or more events are where so many are expected."""
    if number <= 0:
        return 1.0
    term = math.exp(number * math.log(expected) - expected - math.lgamma(number + 1))
    total, count = 0.0, number
    while term > total * 1e-12 and term > 0:
        total += term
        count += 1
        term *= expected / count
    return min(total, 1.0)


def predictive_tail(number: int, shape: float, share: float) -> float:
    """Return how likely `number` or more events are in a span, by a record that may be short.

    `shape`: the events of the record, `share`: the span as a part of it. The rate is not known but
    estimated, so the events are of a negative binomial distribution.
    """
    chance = share / (1 + share)
    term = (1 - chance) ** shape
    below = 0.0
    for count in range(number):
        below += term
        term *= (shape + count) / (count + 1) * chance
    return max(1.0 - below, 0.0)


def find_clusters(
    rated: Sequence[DatedReview], new: Collection[str], size: ClusterSize, record: PastRecord
) -> list[FoundCluster]:
    """Return the clusters that new reviews of a product begin or join.

    `rated`: the low-rated reviews of the product, oldest first, from the span before the first of
    the new ones on. What was
    recorded without an alert, such as the baseline, begins no cluster; where it was enough for
    one, reviews in the same span begin none either.
    """
    counted = counted_of(rated)
    first = next((n for n, each in enumerate(counted) if each.review.id in new), None)
    if first is None:
        return []
    found: list[FoundCluster] = []
    joined: dict[int, FoundCluster] = {}
    running: FoundCluster | None = None
    last = counted[first].created
    for number in range(first, len(counted)):
        each = counted[number]
        if alert := _cluster_near(counted, number, size):
            running = joined.setdefault(alert, FoundCluster([], alert))
        elif each.created - last >= size.within:
            running = None
        last = each.created
        if running is not None:
            if each.review.id in new:
                running.reviews.append(each.review.id)
        elif begun := _begin(counted, number, new, size, record):
            running = begun
            found.append(begun)
    return [*(each for each in joined.values() if each.reviews), *found]


def figures_of(
    rated: Sequence[DatedReview], review_id: str, size: ClusterSize, record: PastRecord
) -> Figures | None:
    """Return the figures of the fullest span with a review; None where the rule omits it."""
    counted = counted_of(rated)
    own = next((n for n, each in enumerate(counted) if each.review.id == review_id), None)
    if own is None:
        return None
    times = [each.created for each in counted]
    ends = range(own, bisect_left(times, times[own] + size.within))
    found = [judge(counted[: number + 1], size, record) for number in ends]
    return max(found, key=lambda each: (each.finding is ClusterFinding.CLUSTER, each.number))


def counted_of(rated: Sequence[DatedReview]) -> list[DatedReview]:
    """Return the reviews that count: not the imports."""
    return [each for each in rated if not is_import(each.review)]


def _cluster_near(counted: Sequence[DatedReview], number: int, size: ClusterSize) -> int | None:
    """Return the cluster of a review, or of another that is less than the span away."""
    own = counted[number].created
    before = takewhile(lambda each: own - each.created < size.within, reversed(counted[:number]))
    after = takewhile(lambda each: each.created - own < size.within, counted[number:])
    return max((each.cluster for each in chain(before, after) if each.cluster), default=None)


def _begin(
    counted: Sequence[DatedReview],
    number: int,
    new: Collection[str],
    size: ClusterSize,
    record: PastRecord,
) -> FoundCluster | None:
    """Return the cluster that begins with the review of a number; None where none does.

    None does where what was recorded without an alert, before or after it, was enough for one.
    """
    until = counted[: number + 1]
    begin, end = until[-1].created - size.within, until[-1].created + size.within
    span = list(takewhile(lambda each: each.created > begin, reversed(until)))
    if len(span) < size.count or not any(each.review.id in new for each in span):
        return None
    figures = judge(until, size, record)
    if figures.finding is not ClusterFinding.CLUSTER:
        return None
    known = [each for each in counted if each.review.id not in new]
    for place, each in enumerate(known, 1):
        if begin < each.created < end and not each.alerted:
            before = judge(known[:place], size, record)
            if before.finding is ClusterFinding.CLUSTER:
                return None
    return FoundCluster([each.review.id for each in reversed(span)], figures=figures)
