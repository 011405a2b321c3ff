"""How often the rule of clusters errs: `python -m benchmarks.clusters FOLDER`.

FOLDER holds `reviews.jsonl`, reviews as Wix returns them. The rule judges them as they are, with
their dates changed at random, and shops whose low-rated reviews are all independent: what it raises
there is by chance.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random

from alerter.config import ClusterSize
from alerter.models import Review
from alerter.store.clusters import DatedReview
from alerter.watch.clusters import FoundCluster, PastRecord, find_clusters
from alerter.wix.review import parse_review

SIZE = ClusterSize.model_validate({"count": 3, "within": "7d"})
YEAR = timedelta(days=365)
LOW = 2
START = datetime(2020, 1, 1, tzinfo=UTC)
RATES = (1, 2, 3, 4, 6, 10, 15, 20, 50, 100)
SHOPS = (1, 5, 20)
TEN_YEARS = 10

Dates = Mapping[str | None, Sequence[datetime]]


def clusters(shop: Dates, *, corrected: bool = True) -> dict[str | None, list[FoundCluster]]:
    """Return the clusters of each product; without the correction only `p` decides."""
    newest = max((dates[-1] for dates in shop.values() if dates), default=START)
    several = [
        dates
        for dates in shop.values()
        if sum(date >= newest - YEAR for date in dates) >= SIZE.count
    ]
    products = max(len(several), 1) if corrected else 0
    found = {}
    for product, dates in shop.items():
        rated = [DatedReview(Review(str(n), 1, created=date), date) for n, date in enumerate(dates)]
        if rated:
            record = PastRecord(rated[0].created, is_first=True, products=products)
            found[product] = find_clusters(rated, {each.review.id for each in rated}, SIZE, record)
    return found


def number_of(shop: Dates, *, corrected: bool = True) -> int:
    """Return how many clusters a shop has."""
    return sum(len(each) for each in clusters(shop, corrected=corrected).values())


def read(folder: Path) -> list[Review]:
    """Return the reviews of a folder."""
    with (folder / "reviews.jsonl").open() as file:
        return [parse_review(json.loads(line)) for line in file]


def by_product(reviews: Sequence[Review], dates: Sequence[datetime]) -> Dates:
    """Return the dates of reviews by product, oldest first."""
    found: defaultdict[str | None, list[datetime]] = defaultdict(list)
    for review, date in zip(reviews, dates, strict=True):
        found[review.entity_id].append(date)
    return {product: sorted(each) for product, each in found.items()}


def shuffled(reviews: Sequence[Review], how: str, random: Random) -> Dates:
    """Return low-rated reviews with other dates, or others of the shop in their place."""
    low = [each for each in reviews if each.rating <= LOW]
    dates = [each.created or START for each in low]
    if how == "which are low-rated":
        low = random.sample(reviews, len(low))
        dates = [each.created or START for each in low]
    elif how == "the same dates":
        random.shuffle(dates)
    else:
        created = [each.created or START for each in reviews]
        first, length = min(created), max(created) - min(created)
        dates = [first + length * random.random() for _ in low]
    return by_product(low, dates)


def random_shop(products: int, rate: float, years: int, random: Random) -> Dates:
    """Return a shop whose products get so many low-rated reviews a year, independently."""
    shop: dict[str | None, list[datetime]] = {}
    for number in range(products):
        waits = (random.expovariate(rate) for _ in range(int(rate * years * 2) + 50))
        shop[str(number)] = [START + YEAR * each for each in accumulate(waits) if each < years]
    return shop


def report_real(reviews: Sequence[Review], shuffles: int) -> None:
    """Print what the rule raises in real reviews, and after shuffles of them."""
    low = [each for each in reviews if each.rating <= LOW]
    created = [each.created or START for each in reviews]
    years = (max(created) - min(created)) / YEAR
    months = Counter(f"{each.created or START:%Y-%m}" for each in low)
    print(f"{len(reviews)} reviews, {len(low)} low-rated, in {years * 365:.0f} days")
    print("low-rated by month:", ", ".join(f"{name} {n}" for name, n in sorted(months.items())))
    real = by_product(low, [each.created or START for each in low])
    print(f"products: {len(real)}; clusters: {number_of(real)}")
    for found in (each for its in clusters(real).values() for each in its):
        if figures := found.figures:
            print(
                f"  {len(found.reviews)} reviews; at its beginning {figures.number} in 7 days,"
                f" {figures.expected:.2f} expected, p = {figures.p:.1g},"
                f" by chance {figures.by_chance:.2g} a year"
            )
    for how in ("random dates", "the same dates", "which are low-rated"):
        random = Random(1)  # noqa: S311 - the same figures each time
        raised = sum(number_of(shuffled(reviews, how, random)) for _ in range(shuffles))
        each, decade = raised / shuffles, TEN_YEARS * raised / shuffles / years
        print(f"{how}: {each:.3f} a shuffle, {decade:.2f} in ten years of a shop")


def random_shops(product_years: int) -> Iterator[tuple[int, float, float, float]]:
    """Yield products, reviews of each a year, and clusters in ten years with the rule and by p."""
    random, length = Random(2), 4  # noqa: S311 - the same figures each time
    for products in SHOPS:
        for rate in RATES:
            number = max(product_years // length // products, 1)
            raised = by_p = 0
            for _ in range(number):
                shop = random_shop(products, rate, length, random)
                raised += number_of(shop)
                by_p += number_of(shop, corrected=False)
            decades = number * length / TEN_YEARS
            yield products, rate, raised / decades, by_p / decades


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shuffles", type=int, default=1000)
    parser.add_argument("--product-years", type=int, default=8000)
    wanted = parser.parse_args()
    report_real(read(wanted.folder), wanted.shuffles)
    print("products, low-rated reviews of each a year, clusters in ten years: rule, p alone")
    for products, rate, raised, by_p in random_shops(wanted.product_years):
        print(f"{products:>4} {rate:>4} {raised:>7.2f} {by_p:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
