"""Who hears of what."""

import pytest

from alerter.config import Receiver
from alerter.models import Form
from alerter.watch.routing import Route, hears_of, route, route_closing, route_reminder
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
def test_receivers_hear_of_their_sites_and_ratings_only(site: str, rating: int, names: list[str]) -> None:
    assert route(review(rating=rating), site, ALL) == [Route(name) for name in names]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_max_rating_is_inclusive(most: int) -> None:
    picky = receiver("picky", max_rating=most)

    heard = {rating for rating in range(1, 6) if route(review(rating=rating), BAKERY, [picky])}

    assert heard == set(range(1, most + 1))


def test_a_reminder_goes_to_whoever_was_told_and_the_last_one_to_somebody_more() -> None:
    told = {"everything", "baker"}

    assert route_reminder(told, BAKERY, ALL, escalate_to=None) == [Route("everything"), Route("baker")]
    assert route_reminder(told, BAKERY, ALL, escalate_to="both") == [Route("everything"), Route("baker"), Route("both")]


def test_a_reminder_goes_to_nobody_who_hears_of_other_sites_only() -> None:
    assert route_reminder({"everything", "baker"}, FLORIST, ALL, escalate_to="baker") == [Route("everything")]


def test_a_closing_goes_by_mail_where_it_is_asked_for_and_beneath_a_digest_on_slack() -> None:
    keen = Receiver.model_validate({"name": "keen", "email": ["a@example.com"], "closings": True})
    mail = Receiver.model_validate({"name": "mail", "email": ["a@example.com"]})
    told = {"everything": Form.ALERT, "baker": Form.DIGEST, "keen": Form.ALERT, "mail": Form.DIGEST}

    assert route_closing(told, (*ALL, keen, mail)) == [Route("baker"), Route("keen")]


def test_nobody_hears_where_nobody_is() -> None:
    assert route(review(), BAKERY, []) == []


@pytest.mark.parametrize(
    ("who", "site", "hears"),
    [(EVERYTHING, "a site yet to come", True), (BAKER, BAKERY, True), (BAKER, FLORIST, False), (WORST, FLORIST, True)],
    ids=["no sites named", "its site", "another's site", "a rating but no sites named"],
)
def test_a_receiver_without_sites_hears_of_all(who: Receiver, site: str, hears: bool) -> None:
    assert hears_of(who, site) is hears
