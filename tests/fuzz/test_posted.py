"""Whatever customers write, a webhook has their words as they are, and ntfy takes the message."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from email.header import decode_header, make_header

import httpx
from hypothesis import given
from hypothesis import strategies as st

from alerter.clock import Clock
from alerter.demo.posted_calls import PostedCall
from alerter.demo.webhook import EmbeddedWebhook
from alerter.models import Content, Medium, Message
from alerter.notify.http_address import HttpAddress, HttpRequest
from alerter.notify.ntfy import LARGEST_TEXT, NtfyNotifier
from alerter.notify.webhook import WebhookNotifier
from alerter.render.renderer import Renderer
from alerter.render.samples import sample
from alerter.wix.review import parse_review

SITE = "11111111-1111-4111-8111-111111111111"
NOW = datetime(2026, 11, 26, 18, tzinfo=UTC)
WORDS = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="\ud800\u202e\x00\x1b\r\n\t=?utf-8<>&*_[]()@#`|\u200b😡é", max_size=300),
    st.text(min_size=1000, max_size=3000),
)


def message_about(title: str, body: str, author: str) -> Message:
    raw = {
        "id": "r1",
        "content": {"rating": 1, "title": title, "body": body},
        "author": {"authorName": author},
    }
    message = sample("new", SITE, NOW)
    return replace(message, entries=(replace(message.entries[0], review=parse_review(raw)),))


def renderer() -> Renderer:
    return Renderer(None, UTC, {SITE: "Corner Bakery"})


@given(WORDS, WORDS, WORDS)
def test_a_webhook_has_the_words_as_they_are_and_a_valid_signature(
    title: str, body: str, author: str
) -> None:
    message = message_about(title, body, author)
    review = message.entries[0].review
    hooks = EmbeddedWebhook(clock=Clock())
    hook = hooks.add("desk")
    address = HttpAddress("https://example.com/", Clock())
    notifier = WebhookNotifier("desk", address, hook.secret, hooks.clock)
    request = notifier.request_of(message, renderer().webhook(message))
    event = hooks._verified(hook, PostedCall("", "", dict(request.headers), request.content, 0.0))
    assert review
    assert event.review["title"] == review.title
    assert event.review["body"] == review.body
    assert event.review["author"] == (review.author or None)
    assert json.loads(request.content.decode()) == event.body


@given(WORDS, WORDS, WORDS)
def test_what_ntfy_gets_is_short_and_its_headers_are_ascii(
    title: str, body: str, author: str
) -> None:
    message = message_about(title, body, author)
    content = renderer().plain(message, Medium.NTFY)
    request = _ntfy_request(message, content)
    assert len(request.content) <= LARGEST_TEXT
    request.content.decode()
    for value in request.headers.values():
        assert value.isascii()
        assert value.isprintable()
    httpx.Request("POST", "https://example.com", headers=dict(request.headers))
    shown = str(make_header(decode_header(request.headers["Title"])))
    assert shown == content.subject or shown.endswith("…")


def _ntfy_request(message: Message, content: Content) -> HttpRequest:
    return NtfyNotifier("phone", HttpAddress("https://example.com/", Clock())).request_of(
        message, content
    )
