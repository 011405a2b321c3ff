"""Digests, and how texts are cut to the limits of a service."""

import html
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest

from alerter.models import (
    Alert,
    AlertKind,
    Form,
    MessageItem,
    Product,
)
from alerter.render.formatting import NO_BREAK, cut, slack_text, slack_words
from alerter.render.renderer import Renderer
from tests.support.rendered import (
    BEFORE,
    CREATED,
    DASHBOARD,
    OTHER_SITE,
    STALE,
    Page,
    assert_within_slacks_limits,
    digest,
    entry,
    message,
    new,
    objects,
    units,
    words,
)

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
        assert fallback.endswith(("…", "Id of the product: p-17"))


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
    assert mail.text.count(DASHBOARD) == 1
    assert Page(mail.html).links == [DASHBOARD] * 3
    assert slack.blocks[-1]["elements"][0]["url"] == DASHBOARD
    assert Page(mail.html).text.count("Corner Bakery") == 2  # the preheader says it too
    assert json.dumps(slack.blocks).count("Corner Bakery") == 1


def test_the_end_of_trouble_cannot_be_taken_for_trouble(renderer: Renderer) -> None:
    detail = {
        "what": "the reviews of Café cannot be read",
        "reason": "",
        "remedy": "",
        "since": CREATED.isoformat(),
        "over": "Café's reviews can be read again",
        "until": (CREATED + timedelta(hours=2)).isoformat(),
    }
    of = message(MessageItem(Alert("r", AlertKind.RECOVERED, detail=detail)))
    mail, slack = renderer.mail(of), renderer.slack(of)

    over = "🟢 Café's reviews can be read again, after 2 hours"
    assert mail.subject == over
    for text in (mail.text, Page(mail.html).text, slack.blocks[0]["text"]["text"]):
        assert over in text.replace(NO_BREAK, " ")
        assert "cannot be read" not in text


def test_the_end_of_trouble_from_an_earlier_version_is_said_too(renderer: Renderer) -> None:
    detail = {"what": "it fails", "reason": "", "remedy": "", "since": CREATED.isoformat()}
    of = message(MessageItem(Alert("r", AlertKind.RECOVERED, detail=detail)))

    assert renderer.mail(of).subject == "🟢 This is over: it fails"


def test_a_remedy_shows_its_commands_as_code(renderer: Renderer) -> None:
    remedy = "Run `alerter check`, then `alerter retry`."
    detail = {"what": "it fails", "reason": "`x`", "remedy": remedy, "since": CREATED.isoformat()}
    of = message(MessageItem(Alert("r", AlertKind.TROUBLE, detail=detail)))
    coded = [
        each["text"]
        for each in objects(renderer.slack(of).blocks)
        if each.get("style") == {"code": True}
    ]

    assert coded == ["alerter check", "alerter retry"]
    assert re.findall(r"<code[^>]*>([^<]*)</code>", renderer.mail(of).html) == coded
    assert f"What to do: {remedy}\n" in renderer.mail(of).text


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
    other = f"https://manage.wix.com/dashboard/{OTHER_SITE}/reviews/pending"
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
        STALE,
        title=character * 3000,
        body=character * 3000,
        author=character * 100,
        entity_id=character * 100,
        moderation="SUBMITTED",
    )
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
    assert len(slack.blocks) <= 2 + -(-count // 10)


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (entry(kind=AlertKind.LOWERED, before=BEFORE, after=1), "Rating lowered from 2 to 1"),
        (entry(late=True), "Older"),
        (
            entry(replace(STALE, created=CREATED - timedelta(hours=25)), AlertKind.REMINDER),
            "Still unanswered after 1\u00a0day 1\u00a0hour",
        ),
        (entry(replace(STALE, created=None), AlertKind.REMINDER), "Still unanswered\n"),
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
            text.count("Still unanswered"),
            text.count("lowered"),
        ) == (2, 1, 0)


def test_a_digest_that_comes_to_one_review_says_so(renderer: Renderer) -> None:
    of = message(entry(), entry(kind=AlertKind.REMINDER), form=Form.DIGEST)
    assert renderer.mail(of).subject.startswith("1 low-rated review (")
