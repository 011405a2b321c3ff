"""Whatever a customer writes stays text, in every medium."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alerter.errors import RenderError
from alerter.models import (
    Message,
    Product,
    Reply,
    Review,
)
from alerter.render.renderer import Renderer
from tests.support.rendered import (
    DASHBOARD,
    HOSTILE,
    STALE,
    Page,
    assert_within_slacks_limits,
    digest,
    directed,
    entry,
    lowered,
    marked,
    new,
    objects,
    one_line,
    own,
    shape,
    unescaped,
    words,
)


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
    assert words(slack.blocks).count(one_line(text)) >= {"digest": 6, "new": 2, "lowered": 3}[form]
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
    about, product = replace(STALE, title=text), Product(text)
    of = new(about, product) if kind == "new" else lowered(about, product)

    for content in (renderer.mail(of), renderer.slack(of)):
        assert len(content.subject.splitlines()) == 1
        assert one_line(text)[:50] in content.subject


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


def test_names_written_from_right_to_left_are_isolated_within_a_line(
    renderer: Renderer,
) -> None:
    of = new(replace(STALE, author="עדה"), Product("לחם"))

    assert "\n\u2068לחם\u2069 · Corner Bakery\n\u2068עדה\u2069 · Tue" in renderer.mail(of).text
    slack = renderer.slack(of)
    assert slack.blocks[0]["text"]["text"] == "★☆☆☆☆ \u2068לחם\u2069 · Corner Bakery"
    assert "\u2068עדה\u2069 · " in words(slack.blocks)


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


def test_each_line_of_a_wrapped_line_of_a_customer_is_marked(
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
    assert "\n> Stale\n> The bread was stale. And dear.\nAda · Tue" in renderer.mail(of).text
