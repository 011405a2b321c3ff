"""Sample messages of every kind: a usual one, and difficult ones that may break a template."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from alerter.actions import ActionKind, Response
from alerter.config.fields import TOPICS
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Form,
    Media,
    Message,
    MessageItem,
    Product,
    Reply,
    Review,
    ReviewHistory,
    receiver_of,
)
from alerter.orders import Order, OrderSource, Payment, Shipping, Usual
from alerter.render.cluster_samples import awkward_clusters, cluster_item, with_own_ids
from alerter.store.summaries import LowRated
from alerter.summary import count_ratings, figures

OF_REVIEWS = ("new", "lowered", "reminder", "closed", "digest")
KINDS = (*OF_REVIEWS, "cluster", "summary", "trouble", "recovered")

_BOX = Product("Croissant box", "https://corner-bakery.example/croissant-box")
_REPLY = "We are sorry, and have sent you a fresh box."
_CONTEXT = ReviewHistory(product_low=3)
_HOSTILE = (
    "<!channel> <@U123> <script>alert(1)</script> </td></table> {{ 7*7 }} {% raw %} *bold* "
    "\"quotes' & \\ &amp; https://evil.example"
)


def sample(
    kind: str,
    site_id: str,
    now: datetime,
    *,
    destination: str = "email:test",
    domain: str = "alerter",
    of: MessageItem | None = None,
    with_order: bool = False,
) -> Message:
    """Return a usual message of a kind, about a made-up review or about a stored one (`of`).

    `with_order`: the made-up review has an order.
    """
    if kind == "summary":
        entries = [_summary(receiver_of(destination), now, {site_id: _figures(now)})]
    elif kind == "cluster":
        reviews = [_stale(now), *_more_reviews(now)]
        items = [_item(AlertKind.NEW, site_id, each) for each in reviews]
        entries = [cluster_item(site_id, items, _BOX)]
    elif kind in ("trouble", "recovered"):
        entries = [MessageItem(Alert("test", AlertKind(kind), detail=_trouble(now)))]
    elif of is not None:
        entries = [_item_of_kind(of, kind, site_id)]
    elif kind == "digest":
        entries = [
            _item(AlertKind.NEW, site_id, review) for review in (_stale(now), *_more_reviews(now))
        ]
    else:
        about = {"closed": _answered, "reminder": _waiting}.get(kind, _stale)
        order = _order(now) if with_order else None
        entries = [replace(_item(AlertKind(kind), site_id, about(now)), order=order)]
    form = Form.DIGEST if kind == "digest" else Form.ALERT
    return Message(
        0, f"{uuid4().hex}@{domain}", destination, form, with_own_ids(entries), attempted_at=now
    )


def awkward(kind: str, site_id: str, now: datetime) -> Iterator[tuple[str, Message]]:
    """Yield messages that a template may not expect, each with what is difficult about it."""
    usual = sample(kind, site_id, now)
    if kind == "digest":
        entries = [
            _item(AlertKind.NEW, site_id, review, product)
            for _, review, product in _awkward_reviews(now)
        ]
        lowered = replace(
            _item(AlertKind.LOWERED, site_id, _stale(now)), closing=CloseReason.RAISED
        )
        busy = [
            replace(_item(AlertKind.NEW, site_id, _stale(now)), response=response)
            for _, response in _responses(now)
        ]
        entries = [*entries, lowered, *busy]
        yield "every awkward review", replace(usual, entries=with_own_ids(entries))
    elif kind == "summary":
        for name, sites in _awkward_figures(site_id, now):
            yield name, replace(usual, entries=(_summary("test", now, sites),))
    elif kind == "cluster":
        for name, entry in _awkward_clusters(site_id, now):
            yield name, replace(usual, entries=(entry,))
    elif kind in ("trouble", "recovered"):
        detail = _trouble(now) | {"name": _HOSTILE, "reason": _HOSTILE}
        yield (
            "hostile text",
            replace(usual, entries=(MessageItem(Alert("test", AlertKind(kind), detail=detail)),)),
        )
    else:
        for name, entry in _awkward_items(AlertKind(kind), site_id, now):
            yield name, replace(usual, entries=(entry,))


def _awkward_items(
    kind: AlertKind, site_id: str, now: datetime
) -> Iterator[tuple[str, MessageItem]]:
    for name, review, product in _awkward_reviews(now):
        yield name, _item(kind, site_id, review, product)
    stale, answered = _item(kind, site_id, _stale(now)), _item(kind, site_id, _answered(now))
    # An erased review has no earlier texts.
    erased = {"before": {"rating": 3}} if kind is AlertKind.LOWERED else {}
    yield (
        "late, and erased",
        replace(
            stale, alert=replace(stale.alert, detail={**stale.alert.detail, **erased, "late": True})
        ),
    )
    gone = Review(id="00000000-0000-4000-8000-000000000000", rating=1)
    for closing in CloseReason:
        yield (
            f"{closing} since",
            replace(
                answered,
                closing=closing,
                review=gone if closing is CloseReason.GONE else answered.review,
            ),
        )
    for name, response in _responses(now):
        yield name, replace(stale, response=response)
    for name, order in _orders(now):
        yield name, replace(stale, order=order)
    replied = Response(replied_by=_HOSTILE, reply=_REPLY)
    yield (
        "answered from an alert",
        replace(answered, closing=CloseReason.ANSWERED, response=replied),
    )
    hostile = replace(_stale(now), reply=Reply(_HOSTILE * 20))
    yield "a hostile answer", replace(_item(kind, site_id, hostile), closing=CloseReason.ANSWERED)
    yield "not on record", replace(stale, review=None, product=Product())


def _responses(now: datetime) -> Iterator[tuple[str, Response]]:
    """Yield what people do about an open review."""
    tomorrow = now + timedelta(days=1)
    yield "claimed", Response(claimed_by="Ada", claimed_until=tomorrow)
    yield "snoozed", Response(snoozed_by="Ada", snoozed_until=tomorrow)
    yield "replying", Response(replying="Ada")
    yield (
        "hostile names",
        Response(
            claimed_by=_HOSTILE,
            snoozed_by=_HOSTILE,
            snoozed_until=tomorrow,
            replying=_HOSTILE * 20,
            moderated_by=_HOSTILE,
            moderation=ActionKind.PUBLISH,
        ),
    )


def _order(now: datetime) -> Order:
    return Order(
        number="10012",
        source=OrderSource.CONTACT,
        asked_at=now,
        item=_BOX.name or "",
        quantity=2,
        others=1,
        amount="45.9",
        currency="EUR",
        ordered=now - timedelta(days=12),
        payment=Payment.PAID,
        paid=now - timedelta(days=12),
        shipping=Shipping.SHIPPED,
        shipped=now - timedelta(days=3),
        usual=Usual(timedelta(days=2), 100, now),
    )


def _orders(now: datetime) -> Iterator[tuple[str, Order]]:
    """Yield orders that a template may not expect."""
    usual = _order(now)
    yield "an order", usual
    yield "an order of which nothing is known", Order("", OrderSource.REQUEST, now)
    yield (
        "an order that is not shipped",
        replace(usual, shipping=Shipping.NOT_SHIPPED, shipped=None, payment=Payment.NOT_PAID),
    )
    hostile = replace(usual, number=_HOSTILE[:40], item=_HOSTILE[:200], among=1000, canceled=True)
    yield "an order with hostile text", hostile
    long = replace(usual, number="9" * 40, item="w" * 200, quantity=1 << 53, others=300)
    yield "the longest order", replace(long, amount="9" * 15, currency="XXX")


def _item(kind: AlertKind, site_id: str, review: Review, product: Product = _BOX) -> MessageItem:
    return MessageItem(
        Alert("test", kind, site_id, review.id, _detail(kind)), review, product, context=_CONTEXT
    )


def _item_of_kind(of: MessageItem, kind: str, site_id: str) -> MessageItem:
    """Return a stored review as the item of a message of another kind."""
    alert_kind = AlertKind.NEW if kind == "digest" else AlertKind(kind)
    alert = Alert("test", alert_kind, site_id, of.alert.review_id, _detail(alert_kind))
    return replace(of, alert=alert, closing=of.closing if kind == "closed" else None)


def _awkward_clusters(site_id: str, now: datetime) -> Iterator[tuple[str, MessageItem]]:
    items = [
        _item(AlertKind.NEW, site_id, review, product)
        for _, review, product in _awkward_reviews(now)
    ]
    items += [
        replace(_item(AlertKind.NEW, site_id, _answered(now)), closing=closing)
        for closing in CloseReason
    ]
    return awkward_clusters(site_id, items, _HOSTILE)


def _detail(kind: AlertKind) -> dict[str, Any]:
    if kind is AlertKind.LOWERED:
        return {"before": {"rating": 3, "title": "Fine", "body": "Nothing special."}, "after": 1}
    return {"reason": CloseReason.ANSWERED} if kind is AlertKind.CLOSED else {}


def _stale(now: datetime) -> Review:
    return Review(
        id="00000000-0000-4000-8000-000000000000",
        rating=1,
        created=now - timedelta(minutes=5),
        title="Stale on arrival",
        body="The croissants were hard as stone & the box was open.\nSecond time <this> month!",
        author="Robin Example",
        namespace="stores",
        entity_id="00000000-0000-4000-8000-000000000001",
        moderation="APPROVED",
        verified=True,
        topics=("packaging", "taste"),
    )


def _answered(now: datetime) -> Review:
    reply = Reply(_REPLY, now - timedelta(minutes=5))
    return replace(_stale(now), created=now - timedelta(hours=3, minutes=17), reply=reply)


def _waiting(now: datetime) -> Review:
    return replace(_stale(now), created=now - timedelta(days=1))


def _more_reviews(now: datetime) -> list[Review]:
    """Return the reviews of a digest after the first."""
    stale = _stale(now)
    return [
        replace(
            stale,
            rating=2,
            title="Not what I ordered",
            body="Rye instead of wheat.",
            author="Kim Example",
            topics=("description",),
        ),
        replace(stale, title="", body="", author="", topics=(), created=now - timedelta(hours=7)),
    ]


def _awkward_reviews(now: datetime) -> Iterator[tuple[str, Review, Product]]:
    stale, nothing = replace(_stale(now), topics=()), Product()
    yield "stars only", replace(stale, title="", body="", author=""), _BOX
    yield "every topic", replace(stale, topics=(*TOPICS, "an own topic " * 20, _HOSTILE)), _BOX
    yield "no date", replace(stale, created=None), _BOX
    yield "no product", replace(stale, entity_id=None), nothing
    yield "a product without a name", stale, nothing
    yield "nothing but stars and an id", Review(id=stale.id, rating=1), nothing
    long = replace(stale, title="x" * 3000, body="long words " * 272, author="y" * 100)
    yield "the longest texts", long, Product("z" * 200, _BOX.url)
    hostile = replace(stale, title=_HOSTILE, body=f"{_HOSTILE}\n{_HOSTILE}", author=_HOSTILE[:100])
    yield "hostile text", hostile, Product(_HOSTILE)
    yield (
        "emoji",
        replace(stale, title="👩‍👩‍👧‍👦😡" * 100, body="😡" * 3000, author="🧑‍🍳"),
        Product("🥐"),
    )
    yield (
        "right to left",
        replace(stale, title="خدمة سيئة", body="الخبز قديم\u202egnp.exe", author="علي"),
        Product("خبز"),
    )
    yield "line breaks", replace(stale, body="one\n\n\ntwo\tthree\u2028four"), _BOX
    media = tuple(
        Media(kind, _BOX.url or "", _BOX.url if kind == "photo" else None)
        for kind in ("photo", "video")
    )
    yield "pictures", replace(stale, media=media, verified=False, helpful=3), _BOX
    yield "not published", replace(stale, moderation="IN_MODERATION"), _BOX
    yield (
        "a status that nobody knows",
        replace(stale, moderation="SOMETHING_NEW", origin="SOMETHING_NEW"),
        _BOX,
    )


def _trouble(now: datetime) -> dict[str, str]:
    return {
        "text": "site",
        "name": "Corner Bakery",
        "reason": "Wix refuses us: 403 “permission denied”",
        "since": (now - timedelta(hours=2)).isoformat(),
        "until": now.isoformat(),
    }


def _summary(receiver: str, now: datetime, sites: Mapping[str, Mapping[str, Any]]) -> MessageItem:
    until = now.replace(minute=0, second=0, microsecond=0)
    detail = {
        "name": "Weekly",
        "since": (until - timedelta(days=7)).isoformat(),
        "until": until.isoformat(),
        "receivers": {receiver: list(sites)},
        "sites": sites,
    }
    return MessageItem(Alert("test", AlertKind.SUMMARY, detail=detail))


# Of one review after another in a summary.
_TOPICS = (("taste",), ("delivery", "packaging"), ("taste", "price"), ())


def _low_rated(now: datetime, product: Product, *ratings: int, answered: int = 0) -> list[LowRated]:
    return [
        LowRated(
            rating=rating,
            created=now - timedelta(days=number + 1, hours=number),
            entity_id=product.name,
            product=product,
            answered=number < answered,
            answered_at=now - timedelta(days=number + 1, hours=-4 * number - 3)
            if number < answered
            else None,
            topics=_TOPICS[number % len(_TOPICS)],
        )
        for number, rating in enumerate(ratings)
    ]


def _figures(now: datetime) -> dict[str, Any]:
    rolls, cake = (
        Product("Rye rolls"),
        Product("Birthday cake", "https://corner-bakery.example/birthday-cake"),
    )
    low = [
        *_low_rated(now, _BOX, 1, 1, 2, 1, 2, answered=3),
        *_low_rated(now, rolls, 2, 1, answered=1),
        *_low_rated(now, cake, 2),
    ]
    before = count_ratings(_low_rated(now, _BOX, 1, 2, 1, 2, 2), 55)
    still_open = [each for each in low if not each.answered]
    still_open = [replace(still_open[0], claimed_by="Ada"), *still_open[1:]]
    answers = {"Ada": [720.0, 7200.0, 11_000.0], "Bo": [9000.0]}
    found = figures(low, low, still_open, 64)
    return found | {"before": before, "answers": answers, "unread": False}


def _awkward_figures(
    site_id: str, now: datetime
) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    nothing = figures([], [], [], None) | {"unread": True}
    yield "nothing happened", {site_id: nothing}
    hostile = _low_rated(now, Product(_HOSTILE), 1, 2, 1, answered=1)
    many = [
        each
        for number in range(40)
        for each in _low_rated(now, Product(f"{number} {'z' * 200}"), 1)
    ]
    still_open = [replace(each, claimed_by=_HOSTILE) for each in (*hostile, *many)]
    answers = {f"{number} {_HOSTILE}": [60.0] * number for number in range(1, 30)}
    found = figures([*hostile, *many], hostile, still_open, 50)
    found["topics"] |= {_HOSTILE: 7, "an own topic " * 20: 3} | dict.fromkeys(TOPICS, 1)
    found |= {"answers": answers, "unread": False}
    yield "hostile text and many products", {site_id: found}
    yield "several sites", {site_id: found, f"{site_id[:-1]}x": found, f"{site_id[:-1]}y": nothing}
