"""What an alert says around a review: facts, photos and videos, the product's page, and whom it
calls by name.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerter.clock import Clock
from alerter.config import load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.slack_blocks import faults_of, length_of
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_media import HOSTILE_URLS
from alerter.links import (
    contact_dashboard_url,
    foreign_host,
    https_url,
    product_dashboard_url,
)
from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Content,
    Media,
    Message,
    MessageItem,
    Product,
    Review,
    ReviewHistory,
)
from alerter.notify.worker import IdleReason
from alerter.render.formatting import NO_BREAK
from alerter.render.renderer import Renderer
from alerter.service.runtime import open_runtime
from alerter.store import State, raised_alerts, reviews
from alerter.store.raised_alerts import NewAlert
from tests.support.rendered import (
    ALL,
    CREATED,
    DASHBOARD,
    ELSEWHERE,
    NOTHING,
    PAGE,
    PHOTO,
    STALE,
    VIDEO,
    Page,
    digest,
    entry,
    facts,
    lowered,
    message,
    new,
    objects,
    words,
)
from tests.support.values import CHANNEL, SECRETS, SITE


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(None, ZoneInfo("Europe/Berlin"), {SITE: "Corner Bakery"})


def around(context: ReviewHistory = NOTHING, **fields: Any) -> Message:
    """An alert of a review that has these fields."""
    about = replace(STALE, **{"entity_id": None, **fields})
    return message(replace(entry(about), context=context))


@pytest.mark.parametrize(
    ("context", "fields", "said"),
    [
        (ReviewHistory(1), {}, "1 low-rated review of this product in the last 30 days"),
        (ReviewHistory(3), {}, "3 low-rated reviews of this product in the last 30 days"),
        (
            replace(ALL, product_low=0, author_low=1),
            {},
            "1 earlier low-rated review by this customer, on 15 October 2026: ★★☆☆☆",
        ),
        (
            replace(ALL, product_low=0),
            {},
            "2 earlier low-rated reviews by this customer, the last one on 15 October 2026: ★★☆☆☆",
        ),
        (NOTHING, {"verified": True}, "✓ Verified purchase"),
        (NOTHING, {"helpful": 3, "unhelpful": 1}, "3 of 4 people found this review helpful"),
        (NOTHING, {"unhelpful": 1}, "0 of 1 person found this review helpful"),
        (NOTHING, {"origin": "14bca956-e09f"}, "Came in through the app 14bca956-e09f"),
        (NOTHING, {"origin": "APP"}, "Came in through an app"),
        (NOTHING, {"origin": "<!channel> *x*"}, "Came in through an app"),
        (NOTHING, {"moderation": "SUBMITTED"}, "Not published yet: waiting for moderation"),
        (NOTHING, {"entity_id": "p-17"}, "Id of the product: p-17"),
    ],
    ids=[
        "a product's only one", "a product's several", "an author's one", "an author's several",
        "verified", "votes", "a vote against", "an app", "some app", "an app of a hostile name",
        "moderation", "an id for want of a name",
    ],
)  # fmt: skip
def test_what_is_known_around_a_review_is_said_everywhere(
    renderer: Renderer, context: ReviewHistory, fields: dict[str, Any], said: str
) -> None:
    of = around(context, **fields)
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert [line.replace(NO_BREAK, " ") for line in facts(slack.blocks)] == [said]
    for text in (f"{mail.text}\n", Page(mail.html).text, f"{slack.text}\n"):
        assert f"\n{said}\n" in text.replace(NO_BREAK, " ")


@pytest.mark.parametrize(
    "fields",
    [{"origin": ""}, {"origin": "ORGANIC"}, {"origin": "UNKNOWN"}, {"verified": False}],
    ids=["no origin", "the site", "unknown", "not verified"],
)
def test_what_is_not_known_or_not_so_is_not_mentioned(
    renderer: Renderer, fields: dict[str, Any]
) -> None:
    of = around(**fields)

    assert facts(renderer.slack(of).blocks) == []
    for text in (renderer.mail(of).text, renderer.mail(of).html):
        assert not re.search(r"erified|in the last|earlier|helpful|Came in|Id of", text)


PRODUCT_ID, CONTACT_ID = (
    f"{'1' * 8}-1111-4111-8111-{'1' * 12}",
    f"{'2' * 8}-2222-4222-8222-{'2' * 12}",
)


@pytest.mark.parametrize("kind", [AlertKind.NEW, AlertKind.REMINDER])
def test_the_product_and_the_customer_are_linked_in_the_dashboard(
    renderer: Renderer, kind: AlertKind
) -> None:
    about = replace(STALE, entity_id=PRODUCT_ID, contact_id=CONTACT_ID)
    of = message(entry(about, kind, Product("Rye bread")))
    mail, slack = renderer.mail(of), renderer.slack(of)
    links = [
        f"https://manage.wix.com/dashboard/{SITE}/wix-stores/products/product/{PRODUCT_ID}",
        f"https://manage.wix.com/dashboard/{SITE}/contacts/view/{CONTACT_ID}",
    ]

    assert Page(mail.html).links == [DASHBOARD, *links]
    assert [each["url"] for each in objects(slack.blocks) if each.get("type") == "link"] == links
    for text in (mail.text, slack.text):
        assert f"Product in the dashboard: {links[0]}" in text
        assert f"Customer in the dashboard: {links[1]}" in text


@pytest.mark.parametrize("wrong", ["p-17", "../..", f"{PRODUCT_ID}/x", "", None], ids=str)
def test_only_a_guid_becomes_an_address_in_the_dashboard(wrong: str | None) -> None:
    assert product_dashboard_url(SITE, wrong) == ""
    assert contact_dashboard_url(SITE, wrong) == ""


def test_what_belongs_to_another_app_than_the_shop_has_no_product_page(renderer: Renderer) -> None:
    about = replace(STALE, namespace="bookings", entity_id=PRODUCT_ID)
    assert "wix-stores" not in renderer.mail(message(entry(about))).html


def test_photos_and_videos_are_shown_small_and_linked(renderer: Renderer) -> None:
    of = around(media=(PHOTO, ELSEWHERE, VIDEO))
    mail, slack = renderer.mail(of), renderer.slack(of)
    page = Page(mail.html)

    assert (
        f"\n\nPhoto 1: {PHOTO.url}\nPhoto 2: {ELSEWHERE.url}\nVideo 3: {VIDEO.url}\n\n-- \n"
        in mail.text
    )
    pictures = [dict(attrs) for tag, attrs in page.tags if tag == "img"]
    assert [(each["src"], each["alt"]) for each in pictures] == [
        (PHOTO.thumbnail, "Photo 1"),
        (VIDEO.thumbnail, "Video 3"),
    ]
    assert page.links == [DASHBOARD, PHOTO.url, VIDEO.url, PHOTO.url, ELSEWHERE.url, VIDEO.url]
    assert "(photos.example)" in page.text
    assert "Photo 1 · Photo 2 (photos.example) · Video 3" in words(slack.blocks)
    small = [block["accessory"] for block in slack.blocks if "accessory" in block]
    assert [(each["image_url"], each["alt_text"]) for each in small] == [
        (PHOTO.thumbnail, "Photo 1"), (VIDEO.thumbnail, "Video 3"),
    ]  # fmt: skip
    assert VIDEO.url in slack.text


def test_slack_shows_four_pictures_links_to_all_and_needs_none_to_post(
    renderer: Renderer,
) -> None:
    slack = renderer.slack(around(media=(PHOTO,) * 10))

    assert sum("accessory" in block for block in slack.blocks) == 4
    assert sum(each.get("url") == PHOTO.url for each in objects(slack.blocks)) == 10
    # Slack refuses a whole message for an image block that it cannot fetch; an accessory stays
    # empty.
    assert not [block for block in slack.blocks if block["type"] == "image"]


def test_every_fact_of_the_longest_review_fits_into_one_slack_message(
    renderer: Renderer,
) -> None:
    long_url = "https://photos.example/" + "x" * 2970
    about = replace(
        STALE, title="😡" * 3000, body="&" * 3000, author="😡" * 100, moderation="SUBMITTED",
        verified=True, contact_id=CONTACT_ID,
        helpful=1 << 53, unhelpful=1 << 53, origin="a" * 100,
        media=(*[replace(PHOTO, url=f"{PHOTO.url}?{'x' * 2900}")] * 5, *[Media("photo",
        long_url)] * 5),
    )  # fmt: skip
    before = {"rating": 2, "title": "😡" * 3000, "body": "<" * 3000}
    product = Product("😡" * 200, "https://bakery.example/" + "x" * 2900)
    of = message(replace(lowered(about, product, before).entries[0], context=ALL))
    slack = renderer.slack(of, test=True, mention="S0123456789")

    assert faults_of(json.loads(json.dumps(slack.blocks))) == []
    assert len(slack.blocks) <= 20
    assert length_of(slack.blocks) < 13_000


def test_the_product_is_named_and_linked(renderer: Renderer) -> None:
    of = new(product=Product("Rye bread", PAGE))
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert f"\nSee the product: {PAGE}" in mail.text
    assert Page(mail.html).links == [PAGE, DASHBOARD, PAGE]
    [actions] = [block for block in slack.blocks if block["type"] == "actions"]
    assert [(each["url"], each.get("style")) for each in actions["elements"]] == [
        (DASHBOARD, "primary"),
        (PAGE, None),
    ]
    reminder = renderer.slack(message(entry(kind=AlertKind.REMINDER, product=Product("Rye", PAGE))))
    [link] = [each for each in objects(reminder.blocks) if each.get("type") == "link"]
    assert (link["url"], link["text"]) == (PAGE, "Rye")


# --- whom Slack calls


def called(content: Content) -> list[Any]:
    return [
        each
        for each in objects(content.blocks)
        if each.get("type") in ("user", "usergroup", "broadcast")
    ]


PERSON = {"type": "user", "user_id": "U0123456789"}
CLOSED = replace(entry(kind=AlertKind.CLOSED, reason="answered"), closing=CloseReason.ANSWERED)
TROUBLE = {"what": "It", "reason": "is", "remedy": "down", "since": CREATED.isoformat()}


@pytest.mark.parametrize(
    ("whom", "element"),
    [
        ("U0123456789", PERSON),
        ("W0123456789", {"type": "user", "user_id": "W0123456789"}),
        ("S0123456789", {"type": "usergroup", "usergroup_id": "S0123456789"}),
    ],
    ids=["a person", "a person of an organisation", "a group"],
)
def test_a_mention_is_an_element_of_its_own(
    renderer: Renderer, whom: str, element: dict[str, str]
) -> None:
    content = renderer.slack(new(), mention=whom)

    assert called(content) == [element]
    assert whom not in content.text
    assert faults_of(json.loads(json.dumps(content.blocks))) == []


@pytest.mark.parametrize(
    ("of", "once"),
    [
        (new(), True),
        (lowered(), True),
        (message(entry(kind=AlertKind.REMINDER)), True),
        (digest(entry(), entry(), entry()), True),
        (message(CLOSED), False),
        (digest(CLOSED, CLOSED), False),
        (replace(new(), slack_ts="1.0"), False),
        (replace(new(), plain=True), False),
        (message(MessageItem(Alert("t", AlertKind.TROUBLE, detail=TROUBLE))), False),
        (message(MessageItem(Alert("t", AlertKind.RECOVERED, detail=TROUBLE))), False),
        (message(replace(entry(), closing=CloseReason.ANSWERED)), False),
    ],
    ids=[
        "new", "lowered", "a reminder", "a digest", "closed", "a digest of what is closed",
        "an update", "plain text",
        "trouble", "recovered", "closed meanwhile",
    ],
)  # fmt: skip
def test_somebody_is_called_once_for_what_asks_for_somebody(
    renderer: Renderer, of: Message, once: bool
) -> None:
    assert called(renderer.slack(of, mention="U0123456789")) == [PERSON] * once
    assert called(renderer.slack(of)) == []


@pytest.mark.parametrize(
    ("ratings", "most", "once"),
    [([1], 1, True), ([2], 1, False), ([2], 2, True), ([2, 2, 1], 1, True), ([2, 2, 2], 1, False)],
    ids=["low enough", "not as low", "just as low", "one of a digest", "none of a digest"],
)
def test_mention_max_rating_says_how_low_it_has_to_be(
    renderer: Renderer, ratings: list[int], most: int, once: bool
) -> None:
    entries = [entry(replace(STALE, rating=rating)) for rating in ratings]
    of = message(*entries) if len(entries) == 1 else digest(*entries)

    assert (
        called(renderer.slack(of, mention="U0123456789", mention_max_rating=most))
        == [PERSON] * once
    )


@pytest.mark.parametrize(
    "text", ["<@U0123456789>", "<!subteam^S0123456789>", "<!channel>", "@channel @here"]
)
def test_a_review_calls_nobody(renderer: Renderer, text: str) -> None:
    about = replace(STALE, title=text, body=text, author=text, origin=text)
    content = renderer.slack(new(about, Product(text)))

    assert called(content) == []
    assert "<" not in content.text


async def test_a_mention_in_the_config_reaches_slack(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
) -> None:
    clock = Clock()
    path = write_config(
        wix, slack, mailbox,
        receivers=(
            f'[[receivers]]\nname = "s"\nslack = "{CHANNEL}"\n'
            'mention = "U0123456789"\nmention_max_rating = 1'
        ),
    )  # fmt: skip
    about: list[Review] = [replace(STALE, id="one", rating=1), replace(STALE, id="two", rating=2)]
    new_alerts = [
        NewAlert(Alert(f"new:{each.id}", AlertKind.NEW, SITE, each.id), [("slack:s", None)])
        for each in about
    ]
    with state.transaction():
        reviews.put_reviews(
            state,
            SITE,
            [reviews.StoredReview(each, reviews.Status.OPEN) for each in about],
            clock.now(),
        )
        raised_alerts.raise_alerts(state, new_alerts, clock.now())
    config = load_config(path, SECRETS, secrets=True)
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.dispatcher.run([IdleReason.NOTHING_DUE])

    assert [json.dumps(post.blocks).count('"user_id": "U0123456789"') for post in slack.posts] == [
        1,
        0,
    ]


@pytest.mark.parametrize("url", HOSTILE_URLS, ids=repr)
def test_media_on_record_from_an_earlier_version_are_looked_at_again(
    renderer: Renderer, url: str
) -> None:
    of = around(media=(Media("photo", url, url), PHOTO))
    mail, slack = renderer.mail(of), renderer.slack(of)
    page = Page(mail.html)

    assert [dict(attrs)["src"] for tag, attrs in page.tags if tag == "img"] == [PHOTO.thumbnail]
    assert [block["accessory"]["image_url"] for block in slack.blocks if "accessory" in block] == [
        PHOTO.thumbnail
    ]
    for link in {*page.links, *(each["url"] for each in objects(slack.blocks) if "url" in each)}:
        assert link in (DASHBOARD, PHOTO.url) or (link == https_url(link) and foreign_host(link))


@pytest.mark.parametrize("url", [url for url in HOSTILE_URLS if https_url(url) is None], ids=repr)
def test_a_products_page_that_is_no_plain_address_is_no_link(renderer: Renderer, url: str) -> None:
    of = message(entry(product=Product("Rye bread", url)))

    assert Page(renderer.mail(of).html).links == [DASHBOARD]
    assert {each["url"] for each in objects(renderer.slack(of).blocks) if "url" in each} == {
        DASHBOARD
    }
