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
from math import log10
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
WIDTH, HEIGHT, LEFT, RIGHT = 680, 340, 70, 160

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


def picture(rows: Sequence[tuple[int, float, float, float]]) -> str:
    """Return a chart, as SVG, of the clusters that random shops get by chance in ten years."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        ' font-family="sans-serif" font-size="13" fill="#44403c">'
    )
    background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, background, *_axes(), *_curves(rows), "</svg>"]) + "\n"


def _place(rate: float, number: float) -> tuple[float, float]:
    """Return where a figure stands; both scales are logarithmic, from 1 to 100 and 0.01 to 30."""
    x = LEFT + (WIDTH - LEFT - RIGHT) * log10(rate) / 2
    y = 30 + (HEIGHT - 80) * (log10(30) - log10(max(number, 0.01))) / (log10(30) + 2)
    return round(x, 1), round(y, 1)


def _axes() -> Iterator[str]:
    yield '<text x="10" y="18">clusters by chance in ten years of a shop</text>'
    for number in (0.01, 0.1, 1, 10):
        x, y = _place(1, number)
        colour, goal = ("#b91c1c", " (goal)") if number == 1 else ("#e7e5e4", "")
        yield f'<path d="M{x},{y} H{WIDTH - RIGHT}" stroke="{colour}"/>'
        yield f'<text x="10" y="{y}" dy="4">{number:g}{goal}</text>'
    for rate in (1, 3, 10, 30, 100):
        x, _ = _place(rate, 1)
        yield f'<text x="{x}" y="{HEIGHT - 30}" text-anchor="middle">{rate}</text>'
    below = "low-rated reviews of each product a year"
    yield f'<text x="{WIDTH // 2}" y="{HEIGHT - 10}" text-anchor="middle">{below}</text>'


def _curves(rows: Sequence[tuple[int, float, float, float]]) -> Iterator[str]:
    for products in SHOPS:
        what = f"{products} product{'s' if products > 1 else ''}, p alone"
        for column, colour, label in ((2, "#1d4ed8", ""), (3, "#a8a29e", what)):
            points = [_place(row[1], row[column]) for row in rows if row[0] == products]
            line = " ".join(f"{x},{y}" for x, y in points)
            yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
            yield f'<text x="{points[-1][0] + 6}" y="{points[-1][1]}" dy="4">{label}</text>'
    yield f'<text x="{WIDTH - RIGHT + 6}" y="{_place(1, 0.4)[1]}" fill="#1d4ed8">the rule</text>'


def main() -> None:
    """Print every figure, and draw the last ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shuffles", type=int, default=1000)
    parser.add_argument("--product-years", type=int, default=8000)
    parser.add_argument("--picture", type=Path)
    wanted = parser.parse_args()
    report_real(read(wanted.folder), wanted.shuffles)
    print("products, low-rated reviews of each a year, clusters in ten years: rule, p alone")
    rows = []
    for products, rate, raised, by_p in random_shops(wanted.product_years):
        print(f"{products:>4} {rate:>4} {raised:>7.2f} {by_p:>7.2f}", flush=True)
        rows.append((products, rate, raised, by_p))
    if wanted.picture:
        wanted.picture.write_text(picture(rows))


if __name__ == "__main__":
    main()
