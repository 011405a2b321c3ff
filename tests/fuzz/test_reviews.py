"""Reviews that nobody thought of, as every kind of message: whatever they say stays words, and a
customer's.

The suite tries a few; `make torture` tries many.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies

from alerter.demo.slack_blocks import faults_of
from alerter.demo.wix_media import HOSTILE_IDS, HOSTILE_URLS, MEDIA
from alerter.links import foreign_host, https_url
from alerter.models import AlertKind, CloseReason, Message, MessageItem, Product, Reply, Review
from alerter.render.renderer import Renderer
from alerter.wix.review import clean, parse_review
from tests.support.rendered import (
    CREATED,
    DASHBOARD,
    HOSTILE,
    SITES,
    Page,
    digest,
    entry,
    message,
    objects,
    shape,
    unescaped,
)
from tests.support.values import SITE

OWN: Mapping[str, str] = {
    "new.subject.txt": "{{ review.title }} by {{ review.author }}, {{ site.name }}",
    "new.txt": (
        "{{ review.title }}\n{{ review.body }}\nReply: {{ site.reviews_url }}\n"
        "{{ review.body | wordwrap(30) }}"
    ),
    "new.html": (
        "<p>{{ review.title }}</p><p>{{ review.body }}</p>"
        "<a href='{{ site.reviews_url }}'>Reply</a>"
    ),
    "new.slack.json": """[
{"type": "header", "text": {"type": "plain_text",
"text": {{ (review.author ~ ":") | cut(90) | tojson }}}},
{"type": "section", "text": {"type": "mrkdwn",
"text": {{ ("x" ~ review.body) | slack_text(900) | tojson }}}}]""",
    "_about.txt": "by {{ review.author }}\n\nfor {{ review.what }}\n",
    "digest.txt": (
        "{% for review in reviews %}{{ review.excerpt | upper }}\n"
        "{{ review.title | cut(30) }}\n{% endfor %}"
    ),
}
TAGS = {"!", "html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "p",
"a", "b", "br", "span",
        "bdi", "img", "comment"}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "name", "content", "class", "style", "dir", "role", "width", "height",
    "cellpadding", "border",
    "cellspacing", "align", "valign", "bgcolor", "href", "src", "alt", "aria-label",
}  # fmt: skip

pieces = strategies.sampled_from([
    *HOSTILE.values(), *HOSTILE_URLS, *HOSTILE_IDS,
    *"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200f\u200e\u061c\ufdd0\u2028\u2029\u0085",
    *"\x0b\x1c\x00\t\xa0\u3000\u200b",
    "\n", "\r\n", "\n\n", "> ", "Reply in the dashboard: ", DASHBOARD, "https://wix.com.evil.example/login",
    "&lt;!here&gt;", "<@W012>", "‘", "’", "\x1b[2J", "=?utf-8?q?x?=", "שלום", "长" * 40, "x" * 200,
    " " * 90,
])  # fmt: skip
texts = strategies.lists(pieces | strategies.text(max_size=40), max_size=8).map("".join)
media = strategies.sampled_from([
    *MEDIA.values(),
    *({"image": {"url": url}} for url in HOSTILE_URLS),
    *({"image": {"id": each}} for each in HOSTILE_IDS),
])  # fmt: skip


@strategies.composite
def wix_reviews(draw: strategies.DrawFn) -> dict[str, Any]:
    """A review as Wix might return it."""
    return {
        "id": "r1",
        "namespace": draw(strategies.sampled_from(["stores", "bookings", ""])),
        "entityId": draw(texts | strategies.none()),
        "createdDate": "2026-11-24T12:00:00Z",
        "content": {"rating": draw(strategies.integers(1, 5)), "title": draw(texts),
        "body": draw(texts),
                    "media": draw(strategies.lists(media, max_size=3))},
        "author": {"authorName": draw(texts)},
        "reply": draw(strategies.none() | strategies.builds(lambda text: {"message": text}, texts)),
        "origin": {"appId": draw(texts)},
        "moderation": {"moderationStatus": draw(texts)},
    }  # fmt: skip


def new(review: Review, product: Product, before: str) -> Message:
    return message(entry(review, product=product))


def lowered(review: Review, product: Product, before: str) -> Message:
    detail = {"before": {"rating": 5, "title": before, "body": before}, "after": review.rating}
    return message(entry(review, AlertKind.LOWERED, product, **detail))


def reminder(review: Review, product: Product, before: str) -> Message:
    return message(entry(review, AlertKind.REMINDER, product))


def closed(review: Review, product: Product, before: str) -> Message:
    return message(entry(review, AlertKind.CLOSED, product, reason=CloseReason.ANSWERED))


def many(review: Review, product: Product, before: str) -> Message:
    of: list[MessageItem] = [
        entry(review, product=product),
        entry(replace(review, rating=1), AlertKind.REMINDER, product),
    ]
    return digest(*of)


KINDS: list[Callable[[Review, Product, str], Message]] = [new, lowered, reminder, closed, many]


@pytest.fixture(scope="module", params=["built-in", "an owner's"])
def renderer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    folder: Path | None = None
    if request.param != "built-in":
        folder = tmp_path_factory.mktemp("templates")
        for name, source in OWN.items():
            (folder / name).write_text(source, "utf-8")
    return Renderer(folder, UTC, SITES, fall_back=False)


def harmless(text: str) -> str:
    """Words in the place of these; none where nothing can be seen of these."""
    return "x" if re.sub("[\u202a-\u202e\u2066-\u2069\ufdd0]", "", text).strip() else ""


def tamed(review: Review) -> Review:
    return replace(
        review,
        title=harmless(review.title),
        body=harmless(review.body),
        author=harmless(review.author),
        reply=review.reply and Reply(harmless(review.reply.message)),
        entity_id=review.entity_id and (harmless(review.entity_id) or None),
    )


def ours(text: str) -> list[str]:
    """The lines that stand for our own, without what they name."""
    return [
        re.split(r"[★‘]|^by | for | on ", line)[0]
        for line in text.split("\n")
        if not line.startswith("> ")
    ]


def tags(page: Page) -> list[str]:
    """What a page is made of; a customer's lines may be broken."""
    return [tag for tag, _ in page.tags if tag != "br"]


def assert_text(text: str) -> None:
    """It can be sent and shown: no controls, nothing that directs what follows it."""
    text.encode()
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066\u2067\u2028\u2029\ufdd0]", text
    )
    for line in text.split("\n"):
        depth = 0
        for sign in re.findall("[\u2068\u2069]", line):
            depth += 1 if sign == "\u2068" else -1
            assert depth >= 0
        assert depth == 0


@pytest.mark.parametrize("kind", KINDS)
@given(
    raw=wix_reviews(),
    name=texts,
    page=strategies.none() | strategies.sampled_from(HOSTILE_URLS),
    before=texts,
)
def test_whatever_a_review_says_stays_a_customers_words(
    renderer: Renderer,
    kind: Callable[..., Message],
    raw: Mapping[str, Any],
    name: str,
    page: str | None,
    before: str,
) -> None:
    review, before = parse_review(raw), clean(before)
    if before in (
        review.title,
        review.body,
    ):  # it would be left out, and that of the tamed review would not
        before += "."
    of = kind(review, Product(clean(name) or None, page), before)
    plain = kind(
        tamed(review), Product(harmless(clean(name)) or None, page), harmless(before) and "y"
    )
    mail, tame = renderer.mail(of), renderer.mail(plain)
    slack, tame_slack = renderer.slack(of), renderer.slack(plain)

    for subject in (mail.subject, slack.subject):
        assert "\n" not in subject
        assert_text(subject)
    assert_text(mail.text)
    assert len(ours(mail.text)) == len(ours(tame.text))
    page_of = Page(mail.html)
    opened = [tag for tag, _ in page_of.tags if not tag.startswith("/")]
    assert [tag for tag in opened if tag != "br"] == [
        tag for tag, _ in Page(tame.html).tags if tag[0] != "/" and tag != "br"
    ]
    assert {tag.removeprefix("/") for tag, _ in page_of.tags} <= TAGS
    assert {key for _, attributes in page_of.tags for key, _ in attributes} <= ATTRIBUTES
    assert shape(slack.blocks) == shape(tame_slack.blocks)
    assert faults_of(json.loads(json.dumps(slack.blocks))) == []
    links = [*page_of.links, *(each["url"] for each in objects(slack.blocks) if "url" in each)]
    for link in links:
        assert link == https_url(link)
        assert link.startswith(
            ("https://static.wixstatic.com/media/", "https://video.wixstatic.com/video/")
        ) or (link == DASHBOARD or foreign_host(link))
    assert not re.search("[<>]", slack.text)
    assert_text(slack.text)
    if len(slack.text) < 3800 > len(tame_slack.text):
        # The first line is the subject, which an owner's template may begin with a customer's "> ".
        below, tame_below = (
            unescaped(each.text).partition("\n")[2] for each in (slack, tame_slack)
        )
        assert len(ours(below)) == len(ours(tame_below))
    assert not [
        each
        for each in objects(slack.blocks)
        if each.get("type") in ("user", "usergroup", "broadcast")
    ]


def test_the_date_of_all_of_these_is_known() -> None:
    assert (
        parse_review(
            {"id": "r", "createdDate": "2026-11-24T12:00:00Z", "content": {"rating": 1}}
        ).created
        == CREATED
    )
    assert SITE in DASHBOARD
