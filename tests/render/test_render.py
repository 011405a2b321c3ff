"""What messages say, to the letter, and that no review's text becomes anything but text."""

import html
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from alerter.errors import RenderError
from alerter.models import (
    Alert,
    AlertKind,
    Form,
    Message,
    MessageItem,
    Product,
    Reply,
    Review,
)
from alerter.render.formatting import cut, slack_text, slack_words
from alerter.render.renderer import Renderer
from alerter.render.templates import builtin_templates
from tests.support.rendered import (
    BEFORE,
    CREATED,
    DASHBOARD,
    HOSTILE,
    OTHER_SITE,
    SITES,
    STALE,
    Page,
    assert_within_slacks_limits,
    digest,
    directed,
    entry,
    lowered,
    marked,
    message,
    new,
    objects,
    one_line,
    own,
    shape,
    unescaped,
    units,
    words,
)
from tests.support.reviews import review

# --- one alert


def test_a_mail_of_a_new_review_says_what_it_is(renderer: Renderer) -> None:
    content = renderer.mail(new())

    assert content.subject == "★☆☆☆☆ product p-17: ‘Stale’ (Corner Bakery)"
    assert content.text.split("\n") == [
        "★☆☆☆☆  1 of 5 for product p-17 on Corner Bakery",
        "by Ada, Tuesday, 24 November 2026, 13:00",
        "",
        "> Stale",
        "",
        "> The bread was stale.",
        "> And dear.",
        "",
        f"Reply in the dashboard: {DASHBOARD}",
    ]
    page = Page(content.html)
    for text in (
        "★☆☆☆☆",
        "product p-17",
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
    header, *rich, actions = content.blocks
    assert header["text"] == {"type": "plain_text", "text": "★☆☆☆☆ product p-17 · Corner Bakery"}
    assert words(rich) == "Stale\nThe bread was stale.\nAnd dear.Ada on product p-17, "
    assert [button["url"] for button in actions["elements"]] == [DASHBOARD]
    assert content.text.startswith("★☆☆☆☆ product p-17: ‘Stale’ (Corner Bakery)\n")
    assert "&gt; The bread was stale.\n&gt; And dear." in content.text
    assert DASHBOARD in content.text


def test_a_lowered_review_is_told_with_before_and_after(renderer: Renderer) -> None:
    mail, slack = renderer.mail(lowered()), renderer.slack(lowered())

    assert mail.subject == "★☆☆☆☆ product p-17: lowered from 2 to 1 (Corner Bakery)"
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "lowered from 2 stars to 1" in text
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

    assert "before:" not in mail.text
    assert "before:" not in mail.html


def test_a_lowered_review_that_kept_its_words_says_them_once(renderer: Renderer) -> None:
    of = lowered(before={"rating": 2, "title": STALE.title, "body": STALE.body})
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks)):
        assert "lowered from 2 stars to 1" in text
        assert text.count("The bread was stale.") == (
            2 if text == Page(mail.html).text else 1
        )  # the preheader says it
        assert "before:" not in text


def test_what_a_lowered_review_said_before_stands_apart(renderer: Renderer) -> None:
    assert renderer.mail(lowered()).text.endswith(
        "\n\nWhat it said before:\n\n> Not bad\n\n> But not good either"
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

    assert mail.subject.startswith("★★☆☆☆ the site")
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert "stars only" in text
        assert "a customer" in text
    assert_within_slacks_limits(slack)


def test_a_review_that_is_not_on_record_any_more_can_be_told(renderer: Renderer) -> None:
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


@pytest.mark.parametrize("rating", [1, 2, 3, 4, 5])
def test_stars_are_five_and_as_many_full_ones_as_the_rating(
    renderer: Renderer, rating: int
) -> None:
    stars = renderer.mail(new(replace(STALE, rating=rating))).subject[:5]

    assert (stars.count("★"), stars.count("☆")) == (rating, 5 - rating)


@pytest.mark.parametrize(
    ("zone", "moment", "date"),
    [
        ("Europe/Berlin", CREATED, "Tuesday, 24 November 2026, 13:00"),
        ("Europe/Berlin", datetime(2026, 7, 1, 12, 5, tzinfo=UTC), "Wednesday, 1 July 2026, 14:05"),
        (
            "Europe/Berlin",
            datetime(2026, 12, 31, 23, 30, tzinfo=UTC),
            "Friday, 1 January 2027, 00:30",
        ),
        (
            "America/New_York",
            datetime(2026, 11, 24, 2, tzinfo=UTC),
            "Monday, 23 November 2026, 21:00",
        ),
        ("Asia/Kathmandu", CREATED, "Tuesday, 24 November 2026, 17:45"),
        ("UTC", CREATED, "Tuesday, 24 November 2026, 12:00"),
    ],
    ids=["winter", "summer", "the next year there", "the day before there", "an odd offset", "UTC"],
)
def test_dates_are_in_the_owners_timezone(zone: str, moment: datetime, date: str) -> None:
    renderer = Renderer(None, ZoneInfo(zone), SITES)
    dated = new(replace(STALE, created=moment))
    mail, slack = renderer.mail(dated), renderer.slack(dated)

    assert date in mail.text
    assert date in Page(mail.html).text
    assert [each for each in objects(slack.blocks) if each.get("type") == "date"] == [
        {
            "type": "date",
            "timestamp": int(moment.timestamp()),
            "format": "{date_long} at {time}",
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
        ("SUBMITTED", "not published yet: waiting for moderation"),
        ("IN_MODERATION", "not published yet: in moderation"),
        ("REJECTED", "not published: rejected by moderation"),
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
def test_moderation_is_told_in_words_only_where_a_review_is_not_published(
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
        ({"namespace": "stores", "entity_id": "p-17"}, Product(), "product p-17"),
        ({"namespace": "", "entity_id": "p-17"}, Product(), "product p-17"),
        ({"namespace": "bookings", "entity_id": "b-3"}, Product(), "b-3"),
        ({"namespace": "stores", "entity_id": None}, Product(), "the site"),
    ],
    ids=[
        "its name",
        "its id for want of a name",
        "of no namespace",
        "of another namespace",
        "nothing",
    ],
)
def test_what_was_reviewed_is_named_as_well_as_it_is_known(
    renderer: Renderer, fields: dict[str, Any], product: Product, what: str
) -> None:
    of = new(replace(STALE, **fields), product)
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert mail.subject.startswith(f"★☆☆☆☆ {what}: ")
    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert what in text
        assert product.name is None or "p-17" not in text


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


def everywhere(text: str) -> tuple[Review, Product, Mapping[str, Any]]:
    """A review that holds a text wherever a customer, or a product's name, may put it."""
    line = one_line(text)
    about = replace(STALE, title=line, body=text, author=line[:100], reply=Reply(text))
    return about, Product(line[:200]), {"rating": 2, "title": line, "body": text}


def hostile(form: str, text: str) -> Message:
    about, product, before = everywhere(text)
    if form == "digest":
        return digest(entry(about, product=product), entry(STALE), entry(about, product=product))
    return new(about, product) if form == "new" else lowered(about, product, before)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_in_a_mail_text_stays_text(renderer: Renderer, form: str, text: str) -> None:
    harmless, mail = renderer.mail(hostile(form, "harmless")), renderer.mail(hostile(form, text))
    page = Page(mail.html)

    assert [tag for tag in page.tags if tag != ("br", ())] == Page(harmless.html).tags
    for shown_text in (page.text, mail.text):
        assert shown_text.count(one_line(text)) >= (6 if form == "digest" else 3)
    assert form == "digest" or directed(text) in page.text
    assert form == "digest" or f"\n\n{marked(text)}\n\n" in f"{mail.text}\n\n"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_on_slack_text_stands_where_nothing_is_markup(
    renderer: Renderer, form: str, text: str
) -> None:
    harmless, slack = renderer.slack(hostile(form, "harmless")), renderer.slack(hostile(form, text))

    assert shape(slack.blocks) == shape(harmless.blocks)
    marked_up = [each["text"] for each in objects(slack.blocks) if each.get("type") == "mrkdwn"]
    assert marked_up == [
        each["text"] for each in objects(harmless.blocks) if each.get("type") == "mrkdwn"
    ]
    assert words(slack.blocks).count(one_line(text)) >= (6 if form == "digest" else 3)
    assert form == "digest" or directed(text) in words(slack.blocks)
    assert_within_slacks_limits(slack)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_slacks_fallback_text_is_escaped(renderer: Renderer, form: str, text: str) -> None:
    fallback = renderer.slack(hostile(form, text)).text

    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", fallback)
    assert (one_line(text) if form == "digest" else marked(text)) in unescaped(fallback)


@pytest.mark.parametrize(
    "text", [*HOSTILE.values(), "Bad\nBcc: victim@example.com", "a\r\n\r\nb", "x\x0by"]
)
@pytest.mark.parametrize("kind", ["new", "lowered"])
def test_a_subject_is_one_line_whatever_reaches_it(
    renderer: Renderer, kind: str, text: str
) -> None:
    about = replace(STALE, title=text, entity_id=text)
    of = new(about) if kind == "new" else lowered(about)

    for content in (renderer.mail(of), renderer.slack(of)):
        assert len(content.subject.splitlines()) == 1
        assert f"product {one_line(text)}"[:50] in content.subject


def test_a_subject_is_cut_where_title_and_product_are_endless(renderer: Renderer) -> None:
    subject = renderer.mail(hostile("new", "word " * 600)).subject

    assert len(subject) < 200
    assert subject.endswith("…’ (Corner Bakery)")


@pytest.mark.parametrize(
    "text",
    [
        "😡" * 3000,
        "&" * 3000,
        "<!channel>" * 300,
        "خ" * 3000,
        "x\n" * 1500,
        "\\" * 3000,
        '"' * 3000,
    ],
    ids=["emoji", "ampersands", "broadcasts", "right to left", "lines", "backslashes", "quotes"],
)
@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_the_longest_texts_fit_into_slacks_limits(renderer: Renderer, form: str, text: str) -> None:
    assert_within_slacks_limits(renderer.slack(hostile(form, text)))


def test_a_mail_holds_the_longest_text_in_full(renderer: Renderer) -> None:
    longest = "😡" * 3000
    mail = renderer.mail(new(replace(STALE, body=longest)))

    assert longest in mail.text.replace("\n> ", "")
    assert longest in Page(mail.html).text


def test_slack_shows_a_long_text_as_far_as_it_fits(renderer: Renderer) -> None:
    shown_words = words(renderer.slack(new(replace(STALE, title="", body="😡" * 3000))).blocks)

    assert shown_words.count("😡") > 1400
    assert "😡…" in shown_words


@pytest.mark.parametrize(
    ("title", "subject"),
    [
        ("Stale & dear: 7/10", "★☆☆☆☆ Rye: ‘Stale & dear: 7/10’ (Corner Bakery)"),
        ("Sehr trocken 🥐", "★☆☆☆☆ Rye: ‘Sehr trocken 🥐’ (Corner Bakery)"),
        ("خدمة سيئة 7", "★☆☆☆☆ Rye: ‘\u2068خدمة سيئة 7\u2069’ (Corner Bakery)"),
        ("Bad \u202e)elpmaxe.live(", "★☆☆☆☆ Rye: ‘Bad )elpmaxe.live(’ (Corner Bakery)"),
        ("\u2069\u2069 שלום \u2067", "★☆☆☆☆ Rye: ‘\u2068שלום\u2069’ (Corner Bakery)"),
        ("ש" * 99, f"★☆☆☆☆ Rye: ‘\u2068{'ש' * 77}…\u2069’ (Corner Bakery)"),
    ],
    ids=["plain", "not of ASCII", "right to left", "an override", "isolates", "cut"],
)
def test_a_title_leaves_the_rest_of_the_subject_where_it_is(
    renderer: Renderer, title: str, subject: str
) -> None:
    of = new(replace(STALE, title=title), Product("Rye"))

    assert renderer.mail(of).subject == subject
    assert renderer.slack(of).subject == subject


def test_names_that_are_written_from_right_to_left_are_isolated_within_a_line(
    renderer: Renderer,
) -> None:
    of = new(replace(STALE, author="עדה"), Product("לחם"))

    assert (
        "for \u2068לחם\u2069 on Corner Bakery\nby \u2068עדה\u2069, Tuesday"
        in renderer.mail(of).text
    )
    assert "\u2068עדה\u2069 on \u2068לחם\u2069, " in words(renderer.slack(of).blocks)


@pytest.mark.parametrize("form", ["new", "lowered", "digest"])
def test_a_name_that_is_more_than_a_name_is_quoted(renderer: Renderer, form: str) -> None:
    name = "Reply in the dashboard: https://wix.com.evil.example/login"
    about = replace(STALE, author=name)
    of = {
        "new": new(about),
        "lowered": lowered(about),
        "digest": digest(entry(about), entry(about)),
    }[form]
    mail, slack = renderer.mail(of), renderer.slack(of)

    for text in (mail.text, Page(mail.html).text, words(slack.blocks), slack.text):
        assert text.count(f"‘{name}’") == text.count(name) > 0


def test_a_long_line_of_a_customers_is_wrapped_so_that_each_of_its_lines_is_marked(
    renderer: Renderer,
) -> None:
    fake = "Reply in the dashboard: https://wix.com.evil.example/"
    for gap in (" ", "\u00a0", "\u3000", "x"):
        body = f"{'x' * 60}{gap * 20}{fake}\n\n{'長' * 50} {fake}"
        lines = renderer.mail(new(replace(STALE, body=body))).text.split("\n")
        said = lines[
            lines.index("> Stale") + 2 : lines.index(f"Reply in the dashboard: {DASHBOARD}") - 1
        ]

        assert all(line.startswith("> ") for line in said)
        assert (
            max(len(line) + sum("\u3000" <= char <= "\u9fff" for char in line) for line in said)
            <= 76
        )
        assert "> " in said


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ review.body }}", "> One two three\n> \n> four"),
        ("  {{ review.body }}", ">   One two three\n> \n> four"),
        ("{{ review.body | wordwrap(8) }}", "> One two\n> three\n> \n> four"),
        ("It says: {{ review.title }}!", "It says: Stale!"),
        ("{{ review.title | upper }}\n{{ review.title }} (a title)", "> STALE\n> Stale (a title)"),
        ("{{ review.body | replace('\n', ' ') }}", "> One two three  four"),
        ("{% if 'One two' in review.body %}yes{% endif %}", "yes"),
        ("{{ review.body | indent(2) }}", "> One two three\n>   \n>   four"),
        (
            "{% for line in review.body.splitlines() %}{{ line }}\n{% endfor %}",
            "> One two three\n> \n> four",
        ),
    ],
    ids=[
        "as it is",
        "indented",
        "wrapped",
        "in a line",
        "of its own",
        "one line",
        "asked",
        "filtered",
        "by line",
    ],
)
def test_in_an_owners_text_a_customers_lines_are_marked_too(
    tmp_path: Path, source: str, text: str
) -> None:
    own_renderer = own(tmp_path, {"new.txt": source}, fall_back=False)

    assert own_renderer.mail(new(replace(STALE, body="One two three\n\nfour"))).text == text


MRKDWN = '[{"type": "section", "text": {"type": "mrkdwn", "text": {{ %s | tojson }}}}]'


@pytest.mark.parametrize("words", ["<!channel>", "see <https://evil.example|here>", "x <@U123> y"])
def test_an_owners_blocks_make_no_mention_of_a_customers_words(tmp_path: Path, words: str) -> None:
    of = new(replace(STALE, body=words))
    for source in ("review.body", '("<!here> *New:* " ~ review.excerpt)'):
        with pytest.raises(
            RenderError, match=r"new\.slack\.json: makes a mention or a link .*slack_text"
        ):
            own(tmp_path, {"new.slack.json": MRKDWN % source}, fall_back=False).slack(of)
    for source in ("(review.body | slack_text)", '("<!here> " ~ review.rating)'):
        [block] = (
            own(tmp_path, {"new.slack.json": MRKDWN % source}, fall_back=False).slack(of).blocks
        )
        assert block["type"] == "section"


def test_in_a_digest_a_customers_words_stand_in_quotes(renderer: Renderer) -> None:
    of = digest(entry(), entry())
    quotes = [
        each for each in objects(renderer.slack(of).blocks) if each.get("type") == "rich_text_quote"
    ]

    assert [words([quote]) for quote in quotes] == ["Stale\nThe bread was stale. And dear."] * 2
    assert "\n> Stale\n> The bread was stale. And dear.\nby Ada, " in renderer.mail(of).text


# --- cutting


@pytest.mark.parametrize(
    "text", ["&<>&" * 20, "a&b<c>d" * 10, "😡&" * 20, "&amp;" * 20, "plain " * 20], ids=repr
)
def test_escaped_text_is_cut_behind_whole_characters_at_any_length(text: str) -> None:
    for most in range(1, units(html.escape(text, quote=False)) + 5):
        found = slack_text(text, most)

        assert units(found) <= most
        kept = found.removesuffix("…")
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", kept)
        assert text.startswith(
            html.unescape(kept) if "&amp;amp;" not in kept else kept.replace("&amp;", "&")
        )
        assert found.endswith("…") == (len(kept) < len(html.escape(text, quote=False)))


def test_the_fallback_is_cut_behind_whole_entities_at_any_length(renderer: Renderer) -> None:
    for length in range(690, 1000, 7):
        fallback = renderer.slack(
            new(replace(STALE, body="&<>&"[: length % 4] + "&<>&" * (length // 4)))
        ).text

        assert units(fallback) <= 4000
        assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", fallback)
        assert fallback.endswith(("…", DASHBOARD))


@pytest.mark.parametrize(
    "text", ["😡" * 50, "a😡" * 30, "😡" * 20 + "a" * 40, "word " * 20], ids=repr
)
def test_rich_text_is_cut_by_the_length_that_slack_counts(text: str) -> None:
    for most in range(2, units(text) + 2):
        found = slack_words(text, most)

        assert units(found) <= most
        assert text.startswith(found.removesuffix("…"))
        assert (found == text) == (units(text) <= most)


@pytest.mark.parametrize(
    ("text", "most", "found"),
    [
        ("", 5, ""),
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("two words", 5, "two…"),
        ("👩‍👩‍👧", 3, "👩…"),
        ("😡😡😡", 2, "😡…"),
    ],
    ids=["empty", "fits", "too long", "behind a space", "behind a joiner", "emoji"],
)
def test_what_is_left_out_leaves_an_ellipsis(text: str, most: int, found: str) -> None:
    assert cut(text, most) == found


# --- digests


def test_a_digest_of_one_site_names_it_once(renderer: Renderer) -> None:
    of = digest(entry(), entry())
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert mail.text.count("Corner Bakery") == 1
    assert Page(mail.html).text.count("Corner Bakery") == 2  # the preheader says it too
    assert json.dumps(slack.blocks).count("Corner Bakery") == 1


def test_the_end_of_trouble_cannot_be_taken_for_trouble(renderer: Renderer) -> None:
    detail = {
        "what": "the reviews of Café cannot be read",
        "reason": "",
        "remedy": "",
        "since": CREATED.isoformat(),
    }
    of = message(MessageItem(Alert("r", AlertKind.RECOVERED, detail=detail)))
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert mail.subject == "alerter: it is over; it was: the reviews of Café cannot be read"
    for text in (mail.text, Page(mail.html).text, words(slack.blocks)):
        assert re.search(r"[Ii]t was: the reviews of Café cannot be read", text)
    assert slack.blocks[0]["text"]["text"] == "It is over"


def test_a_digest_names_every_review(renderer: Renderer) -> None:
    several = [
        replace(
            STALE,
            id=f"r{number}",
            rating=1 + number % 2,
            title=f"Title {number}",
            body=f"{number}: " + "word " * 99,
        )
        for number in range(7)
    ]
    of = digest(*(entry(each) for each in several[:-1]), entry(several[-1], site=OTHER_SITE))
    mail, slack = renderer.mail(of), renderer.slack(of)
    page = Page(mail.html)

    assert mail.subject == "7 low-rated reviews (Corner Bakery, Florist & Sons)"
    for each in several:
        for text in (mail.text, page.text, words(slack.blocks)):
            assert each.title in text
            assert each.body[:149].rstrip() in text.replace("\n> ", " ")
            assert each.body[:151] not in text.replace("\n> ", " ")
    other = f"https://www.wix.com/dashboard/{OTHER_SITE}/reviews/pending"
    links = [DASHBOARD] * 6 + [other]
    assert page.links == links
    assert re.findall(r"Reply: (\S+)", mail.text) == links
    assert [each["url"] for each in objects(slack.blocks) if each.get("type") == "link"] == links
    for text in (mail.text, page.text, words(slack.blocks)):
        assert (text.count("★☆☆☆☆"), text.count("★★☆☆☆")) == (4, 3)
        assert "Florist & Sons" in text
    assert_within_slacks_limits(slack)
    assert slack.text.startswith("7 low-rated reviews (Corner Bakery, Florist &amp; Sons)\n")


@pytest.mark.parametrize("character", ["😡", "&"])
def test_ninety_of_the_longest_reviews_fit_into_one_slack_message(
    renderer: Renderer, character: str
) -> None:
    longest = replace(
        STALE, title=character * 3000, body=character * 3000, author=character * 100, entity_id=character * 100,
        moderation="SUBMITTED",
    )  # fmt: skip
    slack = renderer.slack(
        digest(*[entry(longest, product=Product(character * 200))] * 90), test=True
    )

    assert_within_slacks_limits(slack)
    assert sum(each.get("type") == "link" for each in objects(slack.blocks)) == 90


@pytest.mark.parametrize("count", [2, 11, 90])
def test_a_digest_of_short_reviews_holds_them_all_in_few_blocks(
    renderer: Renderer, count: int
) -> None:
    several = [
        entry(replace(STALE, id=f"r{number}", title=f"Title {number}!")) for number in range(count)
    ]
    slack = renderer.slack(digest(*several))

    assert_within_slacks_limits(slack)
    assert re.findall(r"Title (\d+)!", words(slack.blocks)) == [
        str(number) for number in range(count)
    ]
    assert len(slack.blocks) <= 1 + -(-count // 10)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (entry(kind=AlertKind.LOWERED, before=BEFORE, after=1), "lowered from 2"),
        (entry(late=True), "older"),
        (
            entry(replace(STALE, created=CREATED - timedelta(hours=25)), AlertKind.REMINDER),
            "unanswered after 1 d 1 h",
        ),
        (entry(replace(STALE, created=None), AlertKind.REMINDER), "still unanswered\n"),
    ],
    ids=["lowered", "late", "a reminder", "a reminder of nobody knows when"],
)
def test_a_digest_says_what_an_alert_of_its_own_would_have_said(
    renderer: Renderer, of: MessageItem, said: str
) -> None:
    assert said in renderer.mail(digest(entry(), of)).text


def test_a_digest_names_a_review_once_by_the_last_that_is_to_be_said_of_it(
    renderer: Renderer,
) -> None:
    twice = (
        entry(),
        entry(kind=AlertKind.LOWERED, before=BEFORE, after=1),
        entry(kind=AlertKind.REMINDER),
    )
    of = message(*twice, entry(STALE, site=OTHER_SITE), form=Form.DIGEST)
    mail, slack = renderer.mail(of), renderer.slack(of)

    assert mail.subject.startswith("2 low-rated reviews")
    for text in (mail.text, Page(mail.html).text, words(slack.blocks)):
        assert (
            text.count("The bread was stale."),
            text.count("still unanswered"),
            text.count("lowered"),
        ) == (2, 1, 0)


def test_a_digest_that_comes_to_one_review_says_so(renderer: Renderer) -> None:
    of = message(entry(), entry(kind=AlertKind.REMINDER), form=Form.DIGEST)
    assert renderer.mail(of).subject.startswith("1 low-rated review (")


def test_an_owners_template_replaces_one_file_and_the_others_stay(
    tmp_path: Path, renderer: Renderer
) -> None:
    own_renderer = own(
        tmp_path, {"new.subject.txt": "Look at {{ review.title }}\n on {{ site.name }}\n"}
    )

    found, builtin = own_renderer.mail(new()), renderer.mail(new())

    assert found.subject == "Look at Stale on Corner Bakery"
    assert (found.text, found.html) == (builtin.text, builtin.html)
    assert own_renderer.mail(lowered()) == renderer.mail(lowered())
    assert own_renderer.slack(new()).blocks == renderer.slack(new()).blocks


def test_a_template_of_one_kind_wins_over_the_one_of_all_reviews(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path, {"review.txt": "{{ kind }}: {{ review.what }}", "lowered.txt": "Mine: lowered"}
    )

    assert own_renderer.mail(new()).text == "new: product p-17"
    assert own_renderer.mail(lowered()).text == "Mine: lowered"
    (tmp_path / "lowered.txt").unlink()
    assert own_renderer.mail(lowered()).text == "lowered: product p-17"


@pytest.mark.parametrize("ending", [".txt", ".html", ".subject.txt"])
def test_an_owners_template_may_build_on_that_of_a_kind(
    tmp_path: Path, renderer: Renderer, ending: str
) -> None:
    """Templates that include `new.txt` were written when each kind had a built-in template."""
    own_renderer = own(
        tmp_path, {f"reminder{ending}": f'{{% extends "new{ending}" %}}'}, fall_back=False
    )
    field = {".txt": "text", ".html": "html", ".subject.txt": "subject"}[ending]
    reminder = own_renderer.mail(message(entry(kind=AlertKind.REMINDER)))

    assert getattr(reminder, field) == getattr(renderer.mail(new()), field)


def test_a_removed_template_of_one_kind_is_not_broken_any_more(tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("{{ nothing }}")
    forgiving = own(tmp_path, {"review.txt": "fine"})
    forgiving.mail(new())
    assert forgiving.faults()["new.txt"]

    (tmp_path / "new.txt").unlink()

    assert forgiving.mail(new()).text == "fine"
    assert (forgiving.faults()["new.txt"], forgiving.faults()["review.txt"]) == (None, None)


def test_filters_format_values_as_the_older_variables_do(tmp_path: Path) -> None:
    pairs = {
        "review.rating | stars": "review.stars",
        "review.written | date": "review.when",
        "review.age | duration": "review.waiting",
        "review.author_rating | stars": "review.author_stars",
    }
    source = "\n".join(
        f"{{{{ {new_name} }}}}|{{{{ {old_name} }}}}" for new_name, old_name in pairs.items()
    )
    own_renderer = own(tmp_path, {"new.txt": source}, fall_back=False)

    lines = own_renderer.mail(new()).text.splitlines()

    assert lines[0] == "★☆☆☆☆|★☆☆☆☆"
    assert [each.partition("|")[0] for each in lines] == [each.partition("|")[2] for each in lines]
    assert len(lines) == len(pairs)


def test_an_owners_part_is_used_in_the_built_in_templates(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path,
        {
            "_review.txt": "Only {{ review.body }}",
            "_layout.html": "{% block content %}{% endblock %}",
        },
    )

    mail = own_renderer.mail(new())

    assert mail.text == "Only The bread was stale.\n> And dear."
    assert "<!DOCTYPE" not in mail.html
    assert "Stale" in mail.html


def test_an_owners_html_is_escaped_and_its_text_is_not(tmp_path: Path) -> None:
    own_renderer = own(
        tmp_path, {"new.html": "<i>{{ review.body }}</i>", "new.txt": "{{ review.body }}"}
    )

    mail = own_renderer.mail(new(replace(STALE, body="<b> & co")))

    assert mail.html == "<i>&lt;b&gt; &amp; co</i>"
    assert mail.text == "> <b> & co"


def test_an_owners_template_uses_the_filters_that_the_built_in_ones_use(tmp_path: Path) -> None:
    own_renderer = own(tmp_path, {"new.slack.json": '[{"type": "header", "text": {"type": "plain_text", "text": '
                                  "{{ review.title | cut(3) | tojson }}}}]"})  # fmt: skip

    assert own_renderer.slack(new()).blocks[0]["text"]["text"] == "St…"


BROKEN = {
    "a syntax error": ("new.txt", "Hello\n{% if %}", 2),
    "a tag left open": ("new.html", "<p>\n<b>\n{% if review.title %}", 3),
    "an undefined name": ("new.txt", "Hello\n\n{{ reviwe.title }}", 3),
    "an undefined field": ("new.html", "<p>{{ review.titel }}</p>", 1),
    "an undefined field in a subject": ("new.subject.txt", "\n{{ site.nom }}", 2),
    "an unknown filter": ("new.txt", "{{ review.title | shout }}", 1),
    "a division by nothing": ("new.txt", "\n{{ 1 / 0 }}", 2),
    "an escape by attributes": ("new.txt", "{{ review.__class__.__mro__ }}", 1),
    "an escape by a format": ("new.txt", "\n{{ '{0.__class__.__init__}'.format(review) }}", 2),
    "an escape by globals": ("new.txt", "{{ cycler.__init__.__globals__ }}", 1),
    "an endless loop": ("new.txt", "{% for i in range(10 ** 12) %}{% endfor %}", 1),
    "an include of what is not there": ("new.txt", "\n{% include 'nowhere.txt' %}", 2),
    "JSON with a comma too many": ("new.slack.json", '[\n{"type": "divider"},\n]', 3),
    "JSON with a comma too many in an object": (
        "new.slack.json",
        '[{\n"type": "divider",\n\n}]',
        4,
    ),
    "JSON cut short": ("new.slack.json", '[{"type":', 1),
    "no JSON at all": ("new.slack.json", "Hello", 1),
}


@pytest.mark.parametrize(("name", "source", "line"), BROKEN.values(), ids=BROKEN)
def test_a_broken_template_is_told_with_file_and_line(
    tmp_path: Path, name: str, source: str, line: int
) -> None:
    strict = own(tmp_path, {name: source}, fall_back=False)

    with pytest.raises(RenderError, match=rf"{re.escape(name)}.*line {line}\b"):
        (strict.slack if name.endswith(".json") else strict.mail)(new())


@pytest.mark.parametrize("source", ["{}", "null", '"blocks"', "7"], ids=repr)
def test_slack_blocks_that_are_no_list_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(RenderError, match=r"new\.slack\.json.*list of blocks"):
        own(tmp_path, {"new.slack.json": source}, fall_back=False).slack(new())


@pytest.mark.parametrize(
    "source", ["\n{% if %}", "\n{{ reviwe.title }}"], ids=["a syntax error", "an undefined name"]
)
def test_a_broken_part_is_told_with_its_own_file_and_line(tmp_path: Path, source: str) -> None:
    with pytest.raises(RenderError, match=r"_review\.txt.*line 2\b"):
        own(tmp_path, {"_review.txt": source}, fall_back=False).mail(new())


@pytest.mark.parametrize(
    "source",
    [b"Gr\xfc\xdfe", b"{{ [].index(1) }}"],
    ids=["another encoding than UTF-8", "a ValueError of its own"],
)
def test_a_text_that_cannot_be_made_is_not_blamed_on_json(tmp_path: Path, source: bytes) -> None:
    with pytest.raises(RenderError, match=r"new\.txt") as caught:
        own(tmp_path, {"new.txt": source}, fall_back=False).mail(new())

    assert "JSON" not in str(caught.value)


@pytest.mark.parametrize(("name", "source", "line"), BROKEN.values(), ids=BROKEN)
def test_a_broken_template_falls_back_to_the_built_in_one_with_one_line_in_the_log(
    tmp_path: Path,
    renderer: Renderer,
    caplog: pytest.LogCaptureFixture,
    name: str,
    source: str,
    line: int,
) -> None:
    forgiving = own(tmp_path, {name: source})

    ways = (
        (forgiving.slack, renderer.slack)
        if name.endswith(".json")
        else (forgiving.mail, renderer.mail)
    )
    found, builtin = ([way(new()), way(new())] for way in ways)

    assert found == builtin
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert name in caplog.text
    assert "built-in" in caplog.text


def test_a_template_that_breaks_at_another_column_each_time_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forgiving = own(tmp_path, {"new.slack.json": "[{{ review.title | tojson }} 7]"})

    for title in ("Stale", "Very stale", "Stale, and dear"):
        forgiving.slack(new(replace(STALE, title=title)))

    assert len(caplog.records) == 1


def test_a_template_counts_as_broken_until_somebody_changes_one(tmp_path: Path) -> None:
    forgiving = own(tmp_path, {"new.txt": "{{ 1 // review.body | length }}"})
    empty = new(replace(STALE, body=""))

    for each in (new(), empty, new()):
        forgiving.mail(each)
    assert forgiving.faults() == {
        "new.subject.txt": None,
        "review.subject.txt": None,
        "new.txt": "new.txt, line 1: ZeroDivisionError",
        "new.html": None,
        "review.html": None,
    }

    (tmp_path / "new.txt").unlink()
    tmp_path.rmdir()
    assert "new.txt" not in forgiving.faults()
    forgiving.mail(empty)
    assert forgiving.faults()["new.txt"] is None


def test_the_log_holds_nothing_of_a_review(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sources = {
        "new.slack.json": "[{{ review.body }}]",
        "new.txt": "{{ review.body.nothing }}",
        "new.html": "{{ [].index(review.body) }}",
    }
    forgiving = own(tmp_path, sources)

    forgiving.mail(new())
    forgiving.slack(new())

    assert len(caplog.records) == 3
    assert "bread" not in caplog.text


def test_the_built_in_templates_are_there() -> None:
    for kind in ("review", "digest", "summary", "trouble", "recovered"):
        for ending in ("subject.txt", "txt", "html", "slack.json"):
            assert (builtin_templates() / f"{kind}.{ending}").is_file()
