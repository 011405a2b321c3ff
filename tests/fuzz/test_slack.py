"""Whatever Slack answers is an answer or a DeliveryError: arbitrary heads and bodies through the
real client.

A few examples in the suite; `make torture` tries many.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from alerter.config import Slack
from alerter.errors import DeliveryError
from alerter.models import Alert, AlertKind, Content, Form, Message, MessageItem, Review, Thread
from alerter.notify.slack import SlackNotifier, open_session
from tests.support.answers import (
    ANY,
    BODIES,
    DEPTHS,
    DIGITS,
    HEADERS,
    HEADS,
    NOW,
    STATUSES,
    TEXT,
    Raw,
    RawServer,
    table,
    wire_json,
)
from tests.support.clock import SetClock
from tests.support.state import no_channels
from tests.support.values import CHANNEL, SECRETS, SITE
from tests.support.waiting import HANG

TOKEN = SECRETS["SLACK_BOT_TOKEN"]
UID = "9f2c@alerter"
CONTENT = Content("Stale", "★☆☆☆☆ Stale", blocks=({"type": "divider"},))
CHARSETS = ["utf-8", "utf-16", "latin-1", "punycode", "idna", "hex", "rot13", "unicode_escape", "x"]
TYPES = st.sampled_from(
    [
        "application/json",
        "text/plain",
        "application/gzip",
        "text/html",
        "",
        *map("text/plain;charset={}".format, CHARSETS),
    ]
    + [f"application/json; charset={each}" for each in CHARSETS]
)

ODD = st.sampled_from(
    [
        "",
        "\ud800",
        "\x1b[2J\r\nok",
        "x" * 5000,
        TOKEN,
        f"xoxb {TOKEN} x",
        "1700000000.000100",
        "nan",
    ]
)
TS = st.just("1700000000.000100") | ODD
POST = table(
    ts=TS,
    metadata=table(
        event_type=st.just("alerter_message"), event_payload=table(message=st.just(UID))
    ),
)
ANSWER = table(
    ok=st.booleans(),
    error=st.sampled_from(
        ["invalid_auth", "ratelimited", "thread_not_found", "is_archived", "not_in_channel"]
    )
    | ODD,
    needed=st.just("chat:write") | ODD,
    ts=TS,
    channel=st.just(CHANNEL)
    | ODD
    | table(id=ODD, name=ODD, is_archived=st.booleans(), is_member=st.booleans()),
    message=table(thread_ts=TS),
    team=st.text() | ODD,
    messages=st.lists(POST, max_size=3),
    response_metadata=table(next_cursor=st.just("bmV4dA==") | ODD),
)
JSON_BODIES = st.builds(
    wire_json, st.fixed_dictionaries({"ok": st.just(True)}) | ANSWER | ANY, DEPTHS, DIGITS
)
SLACK_HEADERS = st.builds(
    lambda usual, kind, scopes: usual | {"Content-Type": kind, "X-OAuth-Scopes": scopes},
    HEADERS,
    TYPES,
    st.just("chat:write, channels:read") | TEXT,
)
ANSWERS = st.builds(Raw, STATUSES, SLACK_HEADERS, JSON_BODIES | BODIES, HEADS)


def message(kind: AlertKind) -> Message:
    alert = Alert("key", kind, SITE, "r1", {})
    thread = (
        Thread(1, "8a1b@alerter", slack_ts="1600000000.000100")
        if kind is AlertKind.CLOSED
        else None
    )
    posted = {"slack_channel": CHANNEL, "slack_ts": "1600000000.000100"}
    return Message(
        1,
        UID,
        "support",
        Form.ALERT,
        (MessageItem(alert, Review("r1", 1)),),
        NOW,
        thread=thread,
        **posted,
    )


async def settle(notifier: SlackNotifier, message: Message) -> None:
    """Look page by page, as long as there are pages."""
    for _ in range(4):
        found = await notifier.look(message)
        found.position.encode()  # it can be stored
        if found.receipt:
            assert_kept(found.receipt.answer, found.receipt.slack_channel, found.receipt.slack_ts)
        if not found.position:
            return
        message = replace(message, look=found.position)


async def send(notifier: SlackNotifier, message: Message) -> None:
    receipt = await notifier.send(message, CONTENT)
    assert_kept(receipt.answer, receipt.slack_channel, receipt.slack_ts)


async def check(notifier: SlackNotifier, _: Message) -> None:
    for finding in await notifier.check():
        assert_kept(f"{finding.subject} {finding.text}")


Call = Callable[[SlackNotifier, Message], Awaitable[Any]]
CALLS: list[Call] = [
    send,
    settle,
    check,
    lambda notifier, message: notifier.update(message, CONTENT),
    lambda notifier, message: notifier.delete(message),
]


def assert_kept(*texts: str | None) -> None:
    """It can be stored and shown: a short line without our secrets."""
    for text in texts:
        if text is not None:
            assert text.isprintable(), repr(text)
            assert len(text) < 1000
            assert TOKEN not in text


async def answered(call: Call, notifier: SlackNotifier, message: Message) -> None:
    try:
        async with asyncio.timeout(HANG):
            await call(notifier, message)
    except DeliveryError as error:
        assert_kept(str(error))


@contextmanager
def slack_at(channel: str) -> Iterator[tuple[asyncio.Runner, RawServer, SlackNotifier]]:
    server = RawServer()
    with asyncio.Runner() as runner:
        listening = runner.run(server.start())
        opened = open_session()
        session = runner.run(opened.__aenter__())
        config = Slack.model_construct(token=SecretStr(TOKEN), base_url=server.url)
        try:
            yield (
                runner,
                server,
                SlackNotifier(config, "support", channel, session, SetClock(NOW), no_channels()),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
            listening.close()


@pytest.mark.slow
@pytest.mark.parametrize("channel", [CHANNEL, "U0000000007"])
def test_any_answer_of_slack_is_understood_or_a_delivery_error(channel: str) -> None:
    with slack_at(channel) as (runner, server, notifier):

        @given(ANSWERS, st.sampled_from(CALLS), st.sampled_from([AlertKind.NEW, AlertKind.CLOSED]))
        def holds(answer: Raw, call: Call, kind: AlertKind) -> None:
            server.answer = answer
            runner.run(answered(call, notifier, message(kind)))

        holds()
