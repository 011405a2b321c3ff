"""Who hears of what."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from alerter.config import Receiver
from alerter.models import Form
from alerter.watch.routing import (
    Route,
    apply_quiet_hours,
    covers,
    route,
    route_alerted,
    route_closing,
    uncovered_ratings,
)
from tests.support.reviews import review

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
    ids=[
        "a bakery's worst",
        "a bakery's second worst",
        "a florist's worst",
        "a florist's second worst",
        "other case",
    ],
)
def test_receivers_get_alerts_of_their_sites_and_ratings_only(
    site: str, rating: int, names: list[str]
) -> None:
    assert route(review(rating=rating), site, ALL) == [Route(f"slack:{name}") for name in names]


@pytest.mark.parametrize("most", [1, 2, 3, 4, 5])
def test_max_rating_is_inclusive(most: int) -> None:
    picky = receiver("picky", max_rating=most)

    heard = {rating for rating in range(1, 6) if route(review(rating=rating), BAKERY, [picky])}

    assert heard == set(range(1, most + 1))


@pytest.mark.parametrize("least", [1, 2, 3, 4, 5])
def test_min_rating_is_inclusive(least: int) -> None:
    picky = receiver("picky", min_rating=least)

    heard = {rating for rating in range(1, 6) if route(review(rating=rating), BAKERY, [picky])}

    assert heard == set(range(least, 6))


def test_receivers_get_alerts_of_their_products_only() -> None:
    baguettes = receiver("baguettes", products=["B1", "b2 "])

    heard = [
        each
        for each in ("b1", "B2", "b3", None)
        if route(review(entity_id=each), BAKERY, [baguettes])
    ]

    assert heard == ["b1", "B2"]


def test_receivers_get_alerts_of_any_of_their_keywords_in_title_or_body() -> None:
    ops = receiver("ops", keywords=["refund", "food poisoning"])

    assert route(review(title="A Refund, please"), BAKERY, [ops]) == [Route("slack:ops")]
    assert route(review(title="Bad", body="We got\nfood poisoning."), BAKERY, [ops]) == [
        Route("slack:ops")
    ]
    assert route(review(title="Bad food", body="poisoning"), BAKERY, [ops]) == []
    assert route(review(), BAKERY, [ops]) == []


def test_a_receiver_gets_what_fits_everything_it_asks_for() -> None:
    choosy = receiver(
        "choosy",
        sites=[BAKERY],
        min_rating=2,
        max_rating=3,
        products=["b1"],
        keywords=["stale", "hard"],
    )
    fits = {"rating": 2, "entity_id": "b1", "title": "Stale"}

    assert route(review(**fits), BAKERY, [choosy]) == [Route("slack:choosy")]
    assert route(review(**fits), FLORIST, [choosy]) == []
    for change in ({"rating": 1}, {"rating": 4}, {"entity_id": "b2"}, {"title": "Soft"}):
        assert route(review(**fits | change), BAKERY, [choosy]) == []


NIGHT = {"from": "22:00", "to": "07:00"}
BERLIN = ZoneInfo("Europe/Berlin")
SEVEN = datetime(2026, 11, 25, 6, tzinfo=UTC)


def test_what_falls_into_quiet_hours_is_held_until_they_end() -> None:
    sleeper = receiver("sleeper", quiet=NIGHT)
    routes = [Route("slack:sleeper"), Route("slack:everything")]

    night = apply_quiet_hours(
        routes, 1, [sleeper, EVERYTHING], datetime(2026, 11, 24, 23, tzinfo=UTC), BERLIN
    )
    day = apply_quiet_hours(
        routes, 1, [sleeper, EVERYTHING], datetime(2026, 11, 24, 12, tzinfo=UTC), BERLIN
    )

    assert night == [Route("slack:sleeper", SEVEN), Route("slack:everything")]
    assert day == routes


@pytest.mark.parametrize(("rating", "due_at"), [(1, None), (2, None), (3, SEVEN), (None, SEVEN)])
def test_what_is_urgent_heeds_no_quiet_hours(rating: int | None, due_at: datetime | None) -> None:
    sleeper = receiver("sleeper", quiet=NIGHT, urgent_max_rating=2)

    held = apply_quiet_hours(
        [Route("slack:sleeper")], rating, [sleeper], datetime(2026, 11, 24, 23, tzinfo=UTC), BERLIN
    )

    assert held == [Route("slack:sleeper", due_at)]


@pytest.mark.parametrize(
    ("threshold", "receivers", "found"),
    [
        (2, [EVERYTHING], ([], [])),
        (2, [WORST], ([2], [])),
        (3, [WORST, receiver("third", min_rating=3)], ([2], [])),
        (2, [receiver("florist", sites=[FLORIST])], ([1, 2], [])),
        (
            2,
            [receiver("ops", keywords=["refund"]), receiver("one", products=["p"], max_rating=1)],
            ([], [1, 2]),
        ),
        (2, [receiver("ops", keywords=["refund"]), WORST], ([], [2])),
        (3, [receiver("ops", topics=["taste"]), WORST], ([], [2, 3])),
        (2, [receiver("ops", keywords=["refund"], max_rating=1)], ([2], [1])),
        (
            2,
            [receiver("one", sites=[BAKERY], max_rating=1), receiver("two", min_rating=2)],
            ([], []),
        ),
    ],
    ids=[
        "everything is heard of",
        "a limit",
        "a hole",
        "another's site",
        "by product or keyword only",
        "some ratings by keyword only",
        "some ratings by topic only",
        "both",
        "between them",
    ],
)
def test_ratings_that_no_receiver_gets_are_found(
    threshold: int, receivers: list[Receiver], found: tuple[list[int], list[int]]
) -> None:
    assert uncovered_ratings(BAKERY, threshold, receivers) == found


def test_follow_ups_go_where_the_config_still_has_the_receiver() -> None:
    alerted = {"slack:everything", "slack:baker", "email:of the past"}

    assert route_alerted(alerted, BAKERY, ALL) == [Route("slack:everything"), Route("slack:baker")]
    assert route_alerted(alerted, FLORIST, ALL) == [Route("slack:everything")]


def test_a_closing_is_mailed_on_request_and_goes_beneath_a_digest() -> None:
    keen = Receiver.model_validate({"name": "keen", "email": ["a@example.com"], "closings": True})
    mail = Receiver.model_validate({"name": "mail", "email": ["a@example.com"]})
    told = {
        "slack:everything": Form.ALERT,
        "slack:baker": Form.DIGEST,
        "email:keen": Form.ALERT,
        "email:mail": Form.DIGEST,
    }

    assert route_closing(told, BAKERY, (*ALL, keen, mail)) == [
        Route("slack:baker"),
        Route("email:keen"),
    ]


def test_a_closing_always_goes_to_a_webhook() -> None:
    keys: dict[str, dict[str, object]] = {
        "hook": {"webhook": "env:URL", "webhook_secret": "env:SECRET"},
        "phone": {"ntfy": "env:URL"},
        "keen": {"ntfy": "env:URL", "closings": True},
    }
    receivers = [
        Receiver.model_validate({"name": name, **its}, context={"secrets": False})
        for name, its in keys.items()
    ]
    told = dict.fromkeys(("webhook:hook", "ntfy:phone", "ntfy:keen"), Form.ALERT)

    assert route_closing(told, BAKERY, receivers) == [
        Route("webhook:hook"),
        Route("ntfy:keen"),
    ]


def test_a_closing_goes_to_no_receiver_of_other_sites_only() -> None:
    told = {"slack:everything": Form.DIGEST, "slack:baker": Form.DIGEST}

    assert route_closing(told, FLORIST, ALL) == [Route("slack:everything")]


def test_without_a_receiver_nobody_is_notified() -> None:
    assert route(review(), BAKERY, []) == []


@pytest.mark.parametrize(
    ("who", "site", "hears"),
    [
        (EVERYTHING, "a site yet to come", True),
        (BAKER, BAKERY, True),
        (BAKER, FLORIST, False),
        (WORST, FLORIST, True),
    ],
    ids=["no sites named", "its site", "another's site", "a rating but no sites named"],
)
def test_a_receiver_without_sites_gets_alerts_of_all(who: Receiver, site: str, hears: bool) -> None:
    assert covers(who, site) is hears
