"""Who hears of what."""

import pytest

from alerter.config import Receiver
from alerter.models import AlertKind
from alerter.watch.routing import Route, hears_of, route
from tests.conftest import review

BAKERY, FLORIST = "Corner Bakery", "Florist"


def receiver(name: str, **fields: object) -> Receiver:
    return Receiver.model_validate({"name": name, "slack": "C0123456789", **fields})


EVERYTHING = receiver("everything")
BAKER = receiver("baker", sites=[BAKERY])
BOTH = receiver("both", sites=[BAKERY, FLORIST])
WORST = receiver("worst", max_rating=1)
BAKERS_WORST = receiver("baker's worst", sites=[BAKERY], max_rating=1)
ALL = (EVERYTHING, BAKER, BOTH, WORST, BAKERS_WORST)


@pytest.mark.parametrize("kind", [AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER])
@pytest.mark.parametrize(
    ("site", "rating", "names"),
    [
        (BAKERY, 1, ["everything", "baker", "both", "worst", "baker's worst"]),
        (BAKERY, 2, ["everything", "baker", "both"]),
        (FLORIST, 1, ["everything", "both", "worst"]),
        (FLORIST, 2, ["everything", "both"]),
        ("corner bakery", 1, ["everything", "worst"]),
    ],
    ids=["a bakery's worst", "a bakery's second worst", "a florist's worst", "a florist's second worst", "other case"],
)
def test_receivers_hear_of_their_sites_and_ratings_only(
    kind: AlertKind, site: str, rating: int, names: list[str]
) -> None:
    assert route(kind, review(rating=rating), site, ALL) == [Route(name) for name in names]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_max_rating_is_inclusive(most: int) -> None:
    picky = receiver("picky", max_rating=most)

    heard = {rating for rating in range(1, 6) if route(AlertKind.NEW, review(rating=rating), BAKERY, [picky])}

    assert heard == set(range(1, most + 1))


def test_the_end_of_a_review_goes_nowhere() -> None:
    assert route(AlertKind.CLOSED, review(), BAKERY, ALL) == []


def test_nobody_hears_where_nobody_is() -> None:
    assert route(AlertKind.NEW, review(), BAKERY, []) == []


@pytest.mark.parametrize(
    ("who", "site", "hears"),
    [(EVERYTHING, "a site yet to come", True), (BAKER, BAKERY, True), (BAKER, FLORIST, False), (WORST, FLORIST, True)],
    ids=["no sites named", "its site", "another's site", "a rating but no sites named"],
)
def test_a_receiver_without_sites_hears_of_all(who: Receiver, site: str, hears: bool) -> None:
    assert hears_of(who, site) is hears
