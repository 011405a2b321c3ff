"""What summaries look like, by mail and on Slack."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from alerter.demo.slack_blocks import faults_of
from alerter.models import Product
from alerter.render.formatting import NO_BREAK
from alerter.render.renderer import Renderer
from alerter.store.summaries import LowRated
from alerter.summary import figures
from tests.support.rendered import (
    BERLIN,
    HOSTILE,
    OTHER_SITE,
    SITES,
    Page,
    assert_within_slacks_limits,
    one_line,
    shape,
    words,
)
from tests.support.summaries import DUE, low, numbers, summary_message
from tests.support.values import SITE


def lows(name: str, number: int) -> Iterator[LowRated]:
    for place in range(number):
        yield LowRated(1, DUE, str(place), Product(name, "https://shop.example/p"), False, None)


def many(name: str) -> dict[str, Any]:
    return figures([*lows(name, 30)], [*lows(name, 3)] * 3, [*lows(name, 30)], 90)


@pytest.mark.parametrize(
    "name", [*HOSTILE.values(), "x" * 200, "😀" * 200], ids=[*HOSTILE, "the longest", "all emoji"]
)
def test_a_products_name_stays_text_and_within_limits(name: str) -> None:
    renderer = Renderer(None, BERLIN, {SITE: "Corner Bakery"})
    harmless, message = summary_message(many("bread")), summary_message(many(name))
    slack = renderer.slack(message)
    assert faults_of(list(slack.blocks)) == []
    assert one_line(name)[:20] in words(slack.blocks)
    page = Page(renderer.mail(message).html)
    assert one_line(name)[:20] in " ".join(page.text.split())
    assert page.tags == Page(renderer.mail(harmless).html).tags
    assert "and 10 more" in page.text


def test_all_bars_of_a_mail_have_one_scale() -> None:
    """Of four reviews two have one star, and three are of one product."""
    found = figures([low(1, "a"), low(1, "a"), low(2, "a"), low(2, "b")], [], [], 3)
    page = Page(Renderer(None, BERLIN, {SITE: "Corner Bakery"}).mail(summary_message(found)).html)
    widths = [dict(attrs).get("width") for tag, attrs in page.tags if tag == "table"]
    assert [width for width in widths if width in ("66%", "33%")] == ["66%", "66%", "33%"]
    assert not [tag for tag, _ in page.tags if tag in ("img", "svg")]


def test_nobody_is_shown_a_site_that_is_not_theirs() -> None:
    renderer = Renderer(None, BERLIN, {SITE: "Corner Bakery"})
    found = figures([low(1, "a")], [], [low(1, "a")], 3)
    assert "Product a" not in renderer.mail(summary_message(found, receiver="another")).text


def test_a_summary_from_an_earlier_version_has_no_period_before() -> None:
    found = figures([low(1, "a")], [], [], 3)
    text = Renderer(None, BERLIN, {SITE: "Corner Bakery"}).mail(summary_message(found)).text

    assert numbers(text) == ["1"]


def test_what_is_bad_often_is_named_unless_the_period_names_it() -> None:
    """As in a daily summary, whose seven days hold more than its day."""
    renderer = Renderer(None, BERLIN, {SITE: "Corner Bakery"})
    week = [low(1, "a")] * 3
    same, more = figures(week, week, [], None), figures(week[:1], week, [], None)

    assert "within seven days" not in renderer.mail(summary_message(same)).text
    assert "Three or more within seven days\nProduct a  ━━━━━━━━━━━━ 3" in (
        renderer.mail(summary_message(more)).text
    )


def with_people(name: str) -> dict[str, Any]:
    opened = [replace(each, claimed_by=name) for each in lows("bread", 20)]
    answers = {f"{name} {number}": [60.0] * number for number in range(1, 15)}
    return figures([low(1, "a")], [], opened, 3) | {"answers": answers}


def test_a_summary_says_who_is_on_a_review_and_who_answered_how_soon() -> None:
    opened = [replace(low(1, "a"), claimed_by="Ada"), low(2, "b")]
    answers = {"Ada": [720.0, 60.0, 7200.0], "Bo": [3600.0]}
    found = figures([low(1, "a")], [], opened, 3) | {"answers": answers}
    renderer = Renderer(None, BERLIN, {SITE: "Corner Bakery"})
    message = summary_message(found)
    mail, slack = renderer.mail(message), renderer.slack(message)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        plain = text.replace(NO_BREAK, " ")
        assert "Product a, for 2 days, claimed by Ada" in plain.replace("a for", "a, for")
        assert "Product b, for 2 days, claimed" not in plain.replace("b for", "b, for")
        assert "Ada: 3 reviews, half of them within 12 minutes" in plain
        assert "Bo: 1 review, after 1 hour" in plain


def test_answers_of_a_person_on_several_sites_are_added_up() -> None:
    found = figures([], [], [], 3) | {"unread": False}
    message = summary_message(found | {"answers": {"Ada": [60.0]}})
    [entry] = message.entries
    sites = {
        SITE: found | {"answers": {"Ada": [60.0]}},
        OTHER_SITE: found | {"answers": {"Ada": [180.0]}},
    }
    detail = {**entry.alert.detail, "sites": sites, "receivers": {"owner": list(sites)}}
    both = replace(message, entries=(replace(entry, alert=replace(entry.alert, detail=detail)),))
    text = Renderer(None, BERLIN, SITES).mail(both).text.replace(NO_BREAK, " ")

    assert "Ada: 2 reviews, half of them within 2 minutes" in text


def test_without_answers_and_claims_a_summary_says_nothing_of_people() -> None:
    found = figures([low(1, "a")], [], [low(1, "a")], 3)
    text = Renderer(None, BERLIN, {SITE: "Corner Bakery"}).mail(summary_message(found)).text

    assert "Who answered" not in text
    assert "claimed" not in text


@pytest.mark.parametrize("language", ["en", "de", "fr", "he"])
@pytest.mark.parametrize("name", [*HOSTILE.values(), "x" * 200], ids=[*HOSTILE, "the longest"])
def test_a_persons_name_stays_text_and_within_limits(name: str, language: str) -> None:
    renderer = Renderer(None, BERLIN, {SITE: "Corner Bakery"})
    harmless, message = summary_message(with_people("Ada")), summary_message(with_people(name))
    slack = renderer.slack(message, language=language)
    assert_within_slacks_limits(slack)
    assert shape(slack.blocks) == shape(renderer.slack(harmless, language=language).blocks)
    page = Page(renderer.mail(message, language=language).html)
    assert page.tags == Page(renderer.mail(harmless, language=language).html).tags
