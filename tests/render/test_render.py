"""What messages say, to the letter, and that no review's text becomes anything but text."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerter.models import (
    Product,
)
from alerter.render.formatting import NO_BREAK
from alerter.render.renderer import Renderer
from tests.support.rendered import (
    CREATED,
    DASHBOARD,
    SITES,
    STALE,
    Page,
    assert_within_slacks_limits,
    digest,
    entry,
    lowered,
    new,
    objects,
    words,
)
from tests.support.reviews import review

FOOTER = (
    "You get this message because “owner” is a receiver in the config of alerter. "
    "To change what you get, ask the person who runs it."
)

# --- one alert


def test_a_mail_of_a_new_review_says_what_it_is(renderer: Renderer) -> None:
    content = renderer.mail(new())

    assert content.subject == "★☆☆☆☆ a product: ‘Stale’ (Corner Bakery)"
    assert content.text.replace(NO_BREAK, " ").split("\n") == [
        "★☆☆☆☆  1 of 5",
        "a product · Corner Bakery",
        "Ada · Tue 24 Nov, 13:00",
        "",
        "> Stale",
        "",
        "> The bread was stale.",
        "> And dear.",
        "",
        f"Reply in the dashboard: {DASHBOARD}",
        "",
        "Id of the product: p-17",
        "",
        "-- ",
        FOOTER,
    ]
    page = Page(content.html)
    for text in (
        "★☆☆☆☆",
        "1 of 5",
        "a product",
        "Corner Bakery",
        "Stale",
        "The bread was stale.\nAnd dear.",
        "Ada",
    ):
        assert text in page.text
    assert page.links == [DASHBOARD]
    assert content.blocks == ()


def test_a_slack_message_of_a_new_review_says_the_same(renderer: Renderer) -> None:
    content = renderer.slack(new())

    assert_within_slacks_limits(content)
    header, *rich, facts, actions = content.blocks
    assert header["text"] == {"type": "plain_text", "text": "★☆☆☆☆ a product · Corner Bakery"}
    assert words(rich) == "Stale\nThe bread was stale.\nAnd dear.Ada · "
    assert facts["elements"][0]["text"] == "Id of the product: p-17"
    assert [button["url"] for button in actions["elements"]] == [DASHBOARD]
    assert content.text.startswith("★☆☆☆☆ a product: ‘Stale’ (Corner Bakery)\n")
    assert "&gt; The bread was stale.\n&gt; And dear." in content.text
    assert DASHBOARD in content.text


def test_a_lowered_review_is_shown_with_before_and_after(renderer: Renderer) -> None:
    mail, slack = renderer.mail(lowered()), renderer.slack(lowered())

    lead = "🔻 Rating lowered from 2 to 1"
    assert mail.subject == f"{lead} · ★☆☆☆☆ a product: ‘Stale’ (Corner Bakery)"
    assert slack.blocks[0]["text"]["text"] == lead
    for text in (mail.text, Page(mail.html).text, slack.text):
        assert lead in text
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "The bread was stale." in text
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "Not bad" in text
        assert "But not good either" in text
    assert_within_slacks_limits(slack)


@pytest.mark.parametrize("before", [{"rating": 2, "title": "", "body": ""}], ids=["no words"])
def test_a_lowered_review_that_had_no_words_says_nothing_of_them(
    renderer: Renderer, before: Mapping[str, Any]
) -> None:
    mail = renderer.mail(lowered(before=before))

    assert "wrote before:" not in mail.text
    assert "wrote before:" not in mail.html


def test_a_lowered_review_that_kept_its_words_says_them_once(renderer: Renderer) -> None:
    of = lowered(before={"rating": 2, "title": STALE.title, "body": STALE.body})
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks)):
        assert "a product" in text
        assert text.count("The bread was stale.") == (
            2 if text == Page(mail.html).text else 1
        )  # the preheader says it
        assert "wrote before:" not in text


def test_what_a_lowered_review_said_before_stands_apart(renderer: Renderer) -> None:
    assert (
        "\n\nWhat the customer wrote before:\n\n> Not bad\n\n> But not good either\n\n"
        in renderer.mail(lowered()).text
    )


def test_the_way_to_answer_stands_before_what_slacks_fallback_cuts_off(renderer: Renderer) -> None:
    about = replace(STALE, body="x" * 3000)
    fallback = renderer.slack(
        lowered(about, before={"rating": 2, "title": "", "body": "y" * 3000})
    ).text

    assert DASHBOARD in fallback
    assert fallback.endswith("y…")


@pytest.mark.parametrize("kind", ["new", "lowered"])
def test_a_review_without_words_says_so(renderer: Renderer, kind: str) -> None:
    bare = review(rating=2, created=CREATED)
    of = {"new": new, "lowered": lowered}[kind](bare)
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert "★★☆☆☆ the site" in mail.subject
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "Stars only, without text." in text
        assert "a customer" in text
    assert_within_slacks_limits(slack)


def test_a_review_with_a_title_only_is_not_said_to_have_no_words(renderer: Renderer) -> None:
    of = new(replace(STALE, body=""))
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, words(slack.blocks), slack.text):
        assert "Stale" in text
        assert "Stars only" not in text


def test_a_review_that_is_not_on_record_any_more_can_be_rendered(renderer: Renderer) -> None:
    assert_within_slacks_limits(renderer.slack(new(None)))
    assert DASHBOARD in renderer.mail(new(None)).text


def test_a_plain_message_is_text_alone(renderer: Renderer) -> None:
    mail, slack = (
        renderer.mail(replace(new(), plain=True)),
        renderer.slack(replace(new(), plain=True)),
    )

    assert mail.html == ""
    assert slack.blocks == ()
    assert (mail.text, slack.text) == (renderer.mail(new()).text, renderer.slack(new()).text)
    assert "You get this message" not in slack.text


@pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
def test_stars_are_five_and_as_many_full_ones_as_the_rating(
    renderer: Renderer, rating: int
) -> None:
    stars = renderer.mail(new(replace(STALE, rating=rating))).subject[:5]

    assert (stars.count("★"), stars.count("☆")) == (rating, 5 - rating)


@pytest.mark.parametrize(
    ("zone", "moment", "date"),
    [
        ("Europe/Berlin", CREATED, "Tue 24 Nov, 13:00"),
        ("Europe/Berlin", datetime(2026, 7, 1, 12, 5, tzinfo=UTC), "Wed 1 Jul, 14:05"),
        (
            "Europe/Berlin",
            datetime(2026, 12, 31, 23, 30, tzinfo=UTC),
            "Fri 1 Jan, 00:30",
        ),
        (
            "America/New_York",
            datetime(2026, 11, 24, 2, tzinfo=UTC),
            "Mon 23 Nov, 21:00",
        ),
        ("Asia/Kathmandu", CREATED, "Tue 24 Nov, 17:45"),
        ("UTC", CREATED, "Tue 24 Nov, 12:00"),
    ],
    ids=["winter", "summer", "the next year there", "the day before there", "an odd offset", "UTC"],
)
def test_dates_are_in_the_owners_timezone(zone: str, moment: datetime, date: str) -> None:
    renderer = Renderer(None, ZoneInfo(zone), SITES)
    dated = new(replace(STALE, created=moment))
    mail, slack = renderer.mail(dated), renderer.slack(dated)

    date = re.sub(r" (?=[A-Z][a-z]+,)", NO_BREAK, date)
    assert date in mail.text
    assert date in Page(mail.html).text
    assert [each for each in objects(slack.blocks) if each.get("type") == "date"] == [
        {
            "type": "date",
            "timestamp": int(moment.timestamp()),
            "format": "{date_short_pretty}, {time}",
            "fallback": date,
        }
    ]


def test_a_review_without_a_date_says_so(renderer: Renderer) -> None:
    dateless = new(replace(STALE, created=None))

    assert "on an unknown date" in renderer.mail(dateless).text
    assert "on an unknown date" in words(renderer.slack(dateless).blocks)
    assert_within_slacks_limits(renderer.slack(dateless))


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(datetime(1, 1, 1, tzinfo=UTC)),
        pytest.param(datetime(1969, 12, 31, tzinfo=UTC)),
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 30, tzinfo=UTC),
    ],
    ids=lambda moment: str(moment.year),
)
def test_a_date_out_of_all_reason_keeps_no_message_from_leaving(
    zone: str, moment: datetime
) -> None:
    renderer = Renderer(None, ZoneInfo(zone), SITES)
    odd = new(replace(STALE, created=moment))

    assert "The bread was stale." in renderer.mail(odd).text
    assert_within_slacks_limits(renderer.slack(odd))


@pytest.mark.parametrize(
    ("moderation", "said"),
    [
        ("SUBMITTED", "Not published yet: waiting for moderation"),
        ("IN_MODERATION", "Not published yet: in moderation"),
        ("REJECTED", "Not published: rejected by moderation"),
        ("APPROVED", None),
        ("UNKNOWN", None),
        ("PONDERED", None),
        ("", None),
    ],
    ids=[
        "submitted",
        "in moderation",
        "rejected",
        "approved",
        "unknown",
        "nobody knows",
        "missing",
    ],
)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_moderation_is_shown_only_where_a_review_is_not_published(
    renderer: Renderer, form: str, moderation: str, said: str | None
) -> None:
    held = replace(STALE, moderation=moderation)
    of = {"new": new(held), "lowered": lowered(held), "digest": digest(entry(held), entry(held))}[
        form
    ]
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert ("published" in text) == (said is not None)
        assert said is None or said in text
        assert not moderation or moderation not in text


@pytest.mark.parametrize("late", [True, False], ids=["late", "in time"])
def test_a_late_review_says_that_it_is_older(renderer: Renderer, late: bool) -> None:
    of = new(**({"late": True} if late else {}))
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert ("is older, and was changed or approved since" in text) is late


@pytest.mark.parametrize(
    ("fields", "product", "what"),
    [
        ({"namespace": "stores", "entity_id": "p-17"}, Product("Rye bread"), "Rye bread"),
        ({"namespace": "stores", "entity_id": "p-17"}, Product(), "a product"),
        ({"namespace": "", "entity_id": "p-17"}, Product(), "a product"),
        ({"namespace": "bookings", "entity_id": "p-17"}, Product(), "an item"),
        ({"namespace": "stores", "entity_id": None}, Product(), "the site"),
    ],
    ids=[
        "its name",
        "a product without a name",
        "of no namespace",
        "of another namespace",
        "nothing",
    ],
)
def test_what_was_reviewed_is_named_and_an_id_comes_last(
    renderer: Renderer, fields: dict[str, Any], product: Product, what: str
) -> None:
    of = new(replace(STALE, **fields), product)
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert mail.subject.startswith(f"★☆☆☆☆ {what}: ")
    assert slack.blocks[0]["text"]["text"] == f"★☆☆☆☆ {what} · Corner Bakery"
    for text in (mail.text, Page(mail.html).text, slack.text):
        assert what in text
        assert ("Id of the product: p-17" in text) is what.startswith("a")


@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_a_test_is_marked_as_one_wherever_it_is_read(renderer: Renderer, form: str) -> None:
    of = {"new": new(), "lowered": lowered(), "digest": digest(entry(), entry())}[form]
    mail, slack = renderer.mail(of, test=True), renderer.slack(of, test=True)

    assert mail.subject.startswith("[Test] ")
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "This is a test" in text
    assert_within_slacks_limits(slack)
    for text in (
        renderer.mail(of).text,
        Page(renderer.mail(of).html).text,
        renderer.slack(of).text,
    ):
        assert "test" not in text.lower()
