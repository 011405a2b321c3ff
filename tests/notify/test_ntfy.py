"""A receiver with a topic of ntfy gets short messages with a title, a priority and links."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC
from email.header import decode_header, make_header
from pathlib import Path

import pytest

from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.ntfy import EmbeddedNtfy, Published
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import CloseReason, Content, Medium, Message
from alerter.notify.http_address import HttpRequest
from alerter.notify.ntfy import LARGEST_TEXT, NtfyNotifier
from alerter.render.renderer import Renderer
from alerter.render.samples import sample
from alerter.store import State, troubles
from tests.support.clock import SetClock
from tests.support.desk import (
    DIGEST,
    Desk,
    blocked,
    deliveries,
    desk,
    many,
    queue,
    start,
    told,
)
from tests.support.values import OWNER, SECRETS, SITE

__all__ = ["desk", "start"]

PHONE = "ntfy:phone"
SHOWN = ("Click", "Actions")
RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]

[[receivers]]
name = "phone"
ntfy = "env:NTFY_URL"
"""
DASHBOARD = f"https://manage.wix.com/dashboard/{SITE}/reviews/pending"


@pytest.fixture
async def ntfy(clock: SetClock) -> AsyncIterator[EmbeddedNtfy]:
    async with EmbeddedNtfy(clock=clock, limited=True) as ntfy:
        ntfy.protected.add("t0pic")
        ntfy.tokens.add("tk_s3cret")
        yield ntfy


@pytest.fixture
def config(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    ntfy: EmbeddedNtfy,
) -> Config:
    path = write_config(wix, slack, mailbox, receivers=RECEIVERS)
    environ = SECRETS | {"NTFY_URL": ntfy.url("t0pic", token="tk_s3cret")}
    return load_config(path, environ, secrets=True)


def request_of(message: Message, content: Content) -> HttpRequest:
    return NtfyNotifier("phone", None).request_of(message, content)


def listed(ntfy: EmbeddedNtfy) -> list[list[str]]:
    """The reviews that each message names."""
    return [list(dict.fromkeys(told(each.message))) for each in ntfy.published]


async def test_an_alert_has_a_title_its_words_and_links(
    desk: Desk, state: State, ntfy: EmbeddedNtfy
) -> None:
    queue(state, "a", receivers=(PHONE,), body="Größe 😀")
    await desk.work(PHONE)

    (found,) = ntfy.published
    assert isinstance(found, Published)
    assert found.title.startswith("★☆☆☆☆ ")
    assert found.title.endswith("‘<a>’ (Corner Bakery)")
    assert "> Größe 😀" in found.message
    assert (found.priority, found.click, found.attachment) == (4, DASHBOARD, None)
    assert found.actions == (
        {"action": "view", "label": "Reply in the dashboard", "url": DASHBOARD},
    )
    assert not found.markdown
    assert all(value.isascii() for value in ntfy.requests[0].headers.values())


@pytest.mark.parametrize("letter", ["x", "ß", "😡", "خ"])
async def test_thirty_alerts_are_few_messages_that_name_each_review(
    desk: Desk, state: State, ntfy: EmbeddedNtfy, letter: str
) -> None:
    words = letter * 3000
    queue(state, *many(30), receivers=(PHONE,), body=words, author=letter * 100)
    await desk.work(PHONE)

    assert [name for each in listed(ntfy) for name in each] == many(30)
    assert len(ntfy.published) <= 12
    assert all(len(call.body) <= LARGEST_TEXT for call in ntfy.requests)
    assert all(each.title and not each.attachment for each in ntfy.published)
    assert deliveries(state, PHONE) == {"sent": 30}


async def test_ten_alerts_leave_one_by_one(desk: Desk, state: State, ntfy: EmbeddedNtfy) -> None:
    queue(state, *many(10), receivers=(PHONE,))
    await desk.work(PHONE)
    assert listed(ntfy) == [[each] for each in many(10)]


async def test_a_digest_of_a_backfill_is_one_message(
    desk: Desk, state: State, ntfy: EmbeddedNtfy
) -> None:
    queue(state, "a", "b", receivers=(PHONE,), grouping=DIGEST)
    await desk.work(PHONE)
    assert listed(ntfy) == [["a", "b"]]
    assert ntfy.published[0].title == "2 low-rated reviews (Corner Bakery)"


@pytest.mark.parametrize("letter", ["x", "ß", "😡"])
def test_a_long_text_is_cut_at_a_whole_character(clock: SetClock, letter: str) -> None:
    message = sample("new", SITE, clock.now())
    short = "a" * (LARGEST_TEXT - len(letter.encode())) + letter
    assert request_of(message, Content("title", short)).content.decode() == short
    cut = request_of(message, Content("title", f"a{letter * 5000}")).content
    assert LARGEST_TEXT - 4 <= len(cut) <= LARGEST_TEXT
    assert cut.decode() == f"a{letter * (len(cut.decode()) - 2)}…"


@pytest.mark.parametrize(
    "title",
    ["plain", "★☆☆☆☆ Größe", "=?utf-8?q?forged?=", "😡" * 150, ("a b " * 40).strip(), "x" * 300],
)
async def test_a_title_arrives_as_it_is(clock: SetClock, title: str) -> None:
    message = sample("new", SITE, clock.now())
    header = request_of(message, Content(title, "text")).headers["Title"]
    assert header.isascii()
    assert all(len(word) <= 75 for word in header.split(" ") if word.startswith("=?"))
    assert "\n" not in header
    shown = str(make_header(decode_header(header)))
    assert shown == (title if len(title) <= 200 else f"{title[:199]}…")


@pytest.mark.parametrize(
    ("kind", "rating", "priority"),
    [
        ("new", 1, "4"),
        ("new", 2, "3"),
        ("digest", 1, "4"),
        ("closed", 1, "2"),
        ("summary", 1, "2"),
        ("trouble", 1, "4"),
        ("recovered", 1, "3"),
    ],
)
def test_the_priority_follows_what_happened(
    clock: SetClock, kind: str, rating: int, priority: str
) -> None:
    message = sample(kind, SITE, clock.now())
    first = message.entries[0]
    if first.review:
        first = replace(first, review=replace(first.review, rating=rating))
    message = replace(message, entries=(first, *message.entries[1:]))
    assert request_of(message, Content("a", "b")).headers["X-Priority"] == priority
    closed = replace(message, entries=(replace(first, closing=CloseReason.ANSWERED),))
    assert request_of(closed, Content("a", "b")).headers["X-Priority"] == "2"


@pytest.mark.parametrize(
    ("number", "words"), [(3, "x"), (12, "x"), (40, "x"), (9, "漢"), (8, "😀")]
)
def test_a_cluster_names_its_reviews_in_one_message(
    clock: SetClock, number: int, words: str
) -> None:
    message = sample("cluster", SITE, clock.now())
    (item,) = message.entries
    first = item.reviews[0]
    assert first.review
    reviews = [
        replace(
            first,
            review=replace(
                first.review,
                title=f"<r{each:02}> {words * 500}",
                body=words * 500,
                author=words * 90,
            ),
        )
        for each in range(number)
    ]
    message = replace(message, entries=(replace(item, reviews=tuple(reviews)),))
    renderer = Renderer(None, UTC, {SITE: "Corner Bakery"})
    content = renderer.plain(message, Medium.NTFY)
    body = request_of(message, content).content.decode()
    named = list(dict.fromkeys(told(body)))
    assert named == [f"r{each:02}" for each in range(number)][: len(named)]
    assert len(named) == number or f"and {number - len(named)} more" in body
    assert len(named) >= min(number, 12)
    assert len(body.encode()) < 4095
    assert [label for label, _ in content.links] == ["Reply in the dashboard", "See the product"]


def test_links_that_are_too_long_for_a_header_are_left_out(clock: SetClock) -> None:
    message = sample("new", SITE, clock.now())

    def links(*urls: str) -> list[str]:
        content = Content("a", "b", links=tuple((f"Größe {url[-3:]}", url) for url in urls))
        return [name for name in request_of(message, content).headers if name in SHOWN]

    assert links("https://example.com/?a==?utf-8?q?b?=") == ["Click", "Actions"]
    assert links("https://example.com/" + "x" * 2000) == ["Actions"]
    assert links("https://example.com/", "https://example.com/" + "x" * 4000) == ["Click"]
    assert links() == []


async def test_a_wait_that_is_not_named_is_half_a_minute(
    desk: Desk, state: State, clock: SetClock, ntfy: EmbeddedNtfy
) -> None:
    ntfy.faults.add("t0pic", Fault(status=429, body='{"code":42901,"http":429}'))
    queue(state, "a", receivers=(PHONE,))
    await desk.step(PHONE)
    assert blocked(state, clock.now()) == {f"service:{PHONE}": 30}
    await desk.work(PHONE)
    assert listed(ntfy) == [["a"]]


async def test_a_lost_answer_is_followed_by_one_repeat_that_says_so(
    desk: Desk, state: State, ntfy: EmbeddedNtfy
) -> None:
    ntfy.faults.add("t0pic", Fault(drop="after"))
    queue(state, "a", receivers=(PHONE,))
    await desk.work(PHONE)

    first, second = ntfy.published
    assert not first.message.startswith("This may be a repeat")
    assert second.message.startswith("This may be a repeat: ntfy did not say")
    assert deliveries(state, PHONE) == {"sent": 1}


@pytest.mark.parametrize("author", [6, 10, 15, 20])
async def test_the_repeat_of_a_digest_is_whole(
    desk: Desk, state: State, ntfy: EmbeddedNtfy, author: int
) -> None:
    ntfy.faults.add("t0pic", Fault(drop="after"))
    queue(state, *many(30), receivers=(PHONE,), body="x" * 90, author="y" * author)
    await desk.step(PHONE)
    await desk.work(PHONE)

    first, *_, repeat = (each for each in ntfy.published if "r000" in each.message)
    assert repeat.message.startswith("This may be a repeat")
    assert repeat.message.endswith(first.message)


async def test_a_token_that_is_revoked_parks_the_topic_and_is_not_shown(
    desk: Desk, state: State, ntfy: EmbeddedNtfy, mailbox: Mailbox
) -> None:
    ntfy.tokens.clear()
    queue(state, "a", receivers=(PHONE,))
    await desk.work(PHONE)
    await desk.work("email:owner")

    (trouble,) = troubles.get_open_troubles(state)
    assert trouble.scope == f"destination:{PHONE}"
    assert "401" in trouble.reason
    (mail,) = mailbox.mails
    secrets = ("t0pic", "tk_s3cret", ntfy.requests[0].query.partition("=")[2])
    assert not any(secret in mail.raw.decode() + trouble.reason for secret in secrets)


async def test_what_does_not_fit_in_one_message_is_cut_and_sent(
    desk: Desk, state: State, ntfy: EmbeddedNtfy
) -> None:
    ntfy.attachments = False
    queue(state, "a", receivers=(PHONE,), body="😡" * 3000)
    await desk.work(PHONE)

    (found,) = ntfy.published
    assert found.message.endswith("…")
    assert LARGEST_TEXT - 4 <= len(ntfy.requests[0].body) <= LARGEST_TEXT
