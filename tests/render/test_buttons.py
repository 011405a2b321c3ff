"""The buttons under an alert on Slack: two and a menu, within Slack's limits."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from alerter.demo.slack_blocks import faults_of
from alerter.models import AlertKind, CloseReason, Message, Product, Review
from alerter.render.buttons import review_of_block, review_of_key
from alerter.render.renderer import Renderer
from tests.support.rendered import (
    HOSTILE,
    STALE,
    digest,
    entry,
    lowered,
    message,
    new,
    objects,
)
from tests.support.values import SITE

MORNING = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
EVENING = datetime(2026, 11, 24, 17, 30, tzinfo=UTC)
SUNDAY = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
PENDING = replace(STALE, moderation="IN_MODERATION")
PRODUCT = Product("Bread", "https://bakery.example/bread")


def blocks(renderer: Renderer, of: Message, now: datetime = MORNING, **how: Any) -> list[Any]:
    found = list(renderer.slack(replace(of, attempted_at=now), buttons=True, **how).blocks)
    assert faults_of(found) == []
    return found


def elements(found: list[Any]) -> list[Any]:
    return [each for block in found if block["type"] == "actions" for each in block["elements"]]


def menu(renderer: Renderer, about: Review, now: datetime = MORNING) -> list[str]:
    (found,) = [
        each for each in elements(blocks(renderer, new(about), now)) if each["type"] == "overflow"
    ]
    return [option["value"] for option in found["options"]]


@pytest.mark.parametrize(
    "of", [new(STALE, PRODUCT), lowered(STALE, PRODUCT)], ids=["new", "lowered"]
)
def test_an_alert_has_two_buttons_and_a_menu(renderer: Renderer, of: Message) -> None:
    assert [(each["type"], each["action_id"]) for each in elements(blocks(renderer, of))] == [
        ("button", "respond:reply"),
        ("button", "respond:claim"),
        ("overflow", "respond:menu"),
    ]


def test_without_buttons_an_alert_links_to_the_dashboard(renderer: Renderer) -> None:
    found = list(renderer.slack(new(STALE, PRODUCT)).blocks)
    assert [each["action_id"] for each in elements(found)] == ["reply", "page"]


def test_the_page_of_the_product_keeps_its_link(renderer: Renderer) -> None:
    links = [
        each.get("url") for each in objects(blocks(renderer, new(STALE, PRODUCT))) if "url" in each
    ]
    assert PRODUCT.url in links


def test_a_sample_has_no_buttons(renderer: Renderer) -> None:
    found = list(renderer.slack(new(), buttons=True, test=True).blocks)
    assert "respond:reply" not in [each["action_id"] for each in elements(found)]


def test_a_closed_review_has_no_buttons(renderer: Renderer) -> None:
    of = message(replace(entry(), closing=CloseReason.ANSWERED))
    assert elements(blocks(renderer, of)) == []


def test_the_block_names_the_review_and_the_text_that_is_shown(renderer: Renderer) -> None:
    (block,) = [each for each in blocks(renderer, new()) if each["type"] == "actions"]
    assert review_of_block(block["block_id"]) == (SITE, "r1", STALE.text_digest)


@pytest.mark.parametrize(
    "block_id",
    ["", "x", "respond:", "respond:a:0123456789abcdef", "respond:a/b:",
     "respond:a/b/c:0123456789abcdef",
     f"respond:{SITE}/{'r' * 37}:0123456789abcdef", "respond:a/b:0123456789ABCDEF"],
)  # fmt: skip
def test_a_block_of_another_form_names_no_review(block_id: str) -> None:
    assert review_of_block(block_id) is None


@pytest.mark.parametrize("key", ["", "a", "a/", "/b", "a/b/c", "a b/c"])
def test_an_option_of_another_form_names_no_review(key: str) -> None:
    assert review_of_key(key) is None


@pytest.mark.parametrize(
    ("about", "now", "options"),
    [
        (STALE, MORNING, ["evening", "tomorrow", "monday", "dashboard"]),
        (STALE, EVENING, ["tomorrow", "monday", "dashboard"]),
        (STALE, SUNDAY, ["evening", "tomorrow", "dashboard"]),
        (PENDING, MORNING, ["evening", "tomorrow", "publish", "reject", "dashboard"]),
        (PENDING, EVENING, ["tomorrow", "monday", "publish", "reject", "dashboard"]),
        (PENDING, SUNDAY, ["evening", "tomorrow", "publish", "reject", "dashboard"]),
    ],
    ids=["morning", "evening", "Sunday", "pending", "pending in the evening", "pending on Sunday"],
)
def test_the_menu_offers_what_can_be_done_now(
    renderer: Renderer, about: Review, now: datetime, options: list[str]
) -> None:
    assert menu(renderer, about, now) == options


@pytest.mark.parametrize("language", ["de", "fr", "es", "pt", "he"])
def test_buttons_fit_in_every_language(renderer: Renderer, language: str) -> None:
    english = elements(blocks(renderer, new(PENDING)))
    other = elements(blocks(renderer, new(PENDING), language=language))
    assert other[1]["text"]["text"] != english[1]["text"]["text"]


def test_a_digest_has_one_menu_of_its_open_reviews(renderer: Renderer) -> None:
    closed = replace(entry(), closing=CloseReason.ANSWERED)
    of = digest(entry(product=PRODUCT), closed, entry(replace(STALE, author="Bo")))
    (found,) = [each for each in elements(blocks(renderer, of)) if each["type"] == "static_select"]
    assert found["action_id"] == "respond:choose"
    assert [option["text"]["text"] for option in found["options"]] == [
        "★☆☆☆☆ Bread · Ada",
        "★☆☆☆☆ a product · Bo",
    ]
    assert review_of_key(found["options"][0]["value"]) == (SITE, STALE.id, "")


def test_a_digest_of_many_sites_has_the_menu_too(renderer: Renderer) -> None:
    of = digest(entry(), entry(site="22222222-2222-4222-8222-222222222222"))
    assert [each["type"] for each in elements(blocks(renderer, of))] == ["static_select"]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_menu_of_a_digest_takes_any_name(renderer: Renderer, text: str) -> None:
    hostile = replace(STALE, author=text * 3, title=text * 3)
    found = elements(blocks(renderer, digest(entry(hostile, product=Product(text * 3)), entry())))
    assert len(found[0]["options"]) == 2


def test_a_review_whose_id_is_too_long_has_no_buttons(renderer: Renderer) -> None:
    found = elements(blocks(renderer, new(replace(STALE, id="r" * 37))))
    assert [each["action_id"] for each in found] == ["reply"]


def test_a_reminder_has_buttons(renderer: Renderer) -> None:
    of = message(entry(kind=AlertKind.REMINDER))
    assert elements(blocks(renderer, of))[0]["action_id"] == "respond:reply"
