"""What is posted to Slack, what its answers mean, and how a message in doubt is found."""

import logging
import ssl
import traceback
import tracemalloc
from collections.abc import Callable, Iterable
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from pydantic import SecretStr

from alerter.config import Slack
from alerter.demo.faults import Fault, bomb, endless, redirect
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Form, Message
from alerter.notify.slack import SlackNotifier
from alerter.slack import api as slack_api
from tests.support.clock import SetClock
from tests.support.messages import look_through
from tests.support.slack import (
    DIRECT,
    PERSON,
    TOKEN,
    Make,
    make,
    message,
    methods,
    notifier,
    saying,
    session,
    slack,
)
from tests.support.state import no_channels
from tests.support.values import CHANNEL, SCOPES

__all__ = ["make", "message", "notifier", "session", "slack"]
BLOCKS = (
    {"type": "section", "text": {"type": "plain_text", "text": "Sehr trocken 🥐 *und* <zäh>"}},
)
CONTENT = Content("Stale", "★☆☆☆☆ Stale &lt;!channel&gt;", blocks=BLOCKS)


async def error_of(
    notifier: SlackNotifier, message: Message, content: Content = CONTENT
) -> DeliveryError:
    """What sending fails with; the token stands nowhere in it."""
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(message, content)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert "\n" not in str(caught.value)
    return caught.value


# What is posted


async def test_a_post_has_blocks_and_a_fallback_and_says_which_message_it_is(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    receipt = await notifier.send(message, CONTENT)
    (post,) = slack.posts
    assert (post.channel, post.text, post.blocks) == (CHANNEL, CONTENT.text, list(BLOCKS))
    assert post.metadata == {
        "event_type": "alerter_message",
        "event_payload": {"message": "9f2c@alerter"},
    }
    assert post.thread_ts is None
    assert (receipt.slack_channel, receipt.slack_ts) == (CHANNEL, post.ts)
    assert (receipt.to_left, receipt.refused) == ((), 0)
    assert post.ts in receipt.answer


async def test_slack_is_asked_to_interpret_nothing_in_the_text(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    await notifier.send(message, CONTENT)
    asked = slack.posts[0].args
    assert {name: asked[name] for name in ("mrkdwn", "parse", "unfurl_links", "unfurl_media")} == {
        "mrkdwn": False,
        "parse": "none",
        "unfurl_links": False,
        "unfurl_media": False,
    }
    assert not {"link_names", "username", "icon_url", "as_user"} & set(asked)


async def test_plain_text_is_posted_without_blocks(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    await notifier.send(message, Content("Stale", "just text"))
    (post,) = slack.posts
    assert (post.text, post.blocks) == ("just text", [])
    assert post.metadata is not None


async def test_a_person_is_notified_by_direct_message(
    slack: EmbeddedSlack, make: Make, message: Message
) -> None:
    receipt = await make(PERSON).send(message, CONTENT)
    assert [post.channel for post in slack.posts] == [DIRECT]
    assert receipt.slack_channel == DIRECT


async def test_a_person_of_an_enterprise_grid_is_looked_for_as_any_other(
    slack: EmbeddedSlack, make: Make
) -> None:
    person = "W0000000008"
    slack.add_user(person, "mina")
    slack.add_token(TOKEN, scopes=["chat:write", "im:read", "im:history"])
    first, *others = await make(person).check()
    assert first.ok
    assert [each.text for each in others] == [
        (
            "slack: without im:write a message to a person whose answer is lost may be posted"
            " twice; grant it to the app"
        )
    ]
    assert "conversations.open" in methods(slack)


async def test_a_closed_notifier_leaves_the_shared_session_open(
    make: Make, message: Message
) -> None:
    first, second = make(), make(PERSON)
    await first.close()
    await second.send(message, CONTENT)


@pytest.mark.parametrize(
    ("error", "kind", "in_doubt", "says"),
    [
        ("invalid_auth", ErrorKind.SERVICE, False, "token"),
        ("not_authed", ErrorKind.SERVICE, False, "token"),
        ("account_inactive", ErrorKind.SERVICE, False, "token"),
        ("token_revoked", ErrorKind.SERVICE, False, "token"),
        ("token_expired", ErrorKind.SERVICE, False, "token"),
        ("missing_scope", ErrorKind.SERVICE, False, "chat:write"),
        ("channel_not_found", ErrorKind.RECEIVER, False, "correct its id"),
        ("not_in_channel", ErrorKind.RECEIVER, False, "invite the app"),
        ("is_archived", ErrorKind.RECEIVER, False, "unarchive it"),
        ("restricted_action", ErrorKind.RECEIVER, False, "look at it in Slack"),
        ("never_heard_of", ErrorKind.RECEIVER, False, "never_heard_of"),
        ("invalid_blocks", ErrorKind.MESSAGE, False, "this message"),
        ("msg_too_long", ErrorKind.MESSAGE, False, "this message"),
        ("msg_blocks_too_long", ErrorKind.MESSAGE, False, "this message"),
        ("no_text", ErrorKind.MESSAGE, False, "this message"),
        ("ratelimited", ErrorKind.THROTTLED, False, "slow down"),
        ("internal_error", ErrorKind.TRANSIENT, True, "fault of its own"),
        ("fatal_error", ErrorKind.TRANSIENT, True, "fault of its own"),
        ("service_unavailable", ErrorKind.TRANSIENT, True, "fault of its own"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_a_refusal_in_an_answer_of_200_means(
    slack: EmbeddedSlack,
    notifier: SlackNotifier,
    message: Message,
    error: str,
    kind: ErrorKind,
    in_doubt: bool,
    says: str,
) -> None:
    slack.faults.add("chat.postMessage", saying(error))
    found = await error_of(notifier, message)
    assert (found.kind, found.in_doubt, found.retry_after) == (kind, in_doubt, None)
    assert says in str(found)
    assert methods(slack) == ["chat.postMessage"]


@pytest.mark.parametrize(
    ("fault", "kind", "in_doubt", "retry_after"),
    [
        pytest.param(
            saying("ratelimited", 429, **{"Retry-After": "7"}),
            ErrorKind.THROTTLED,
            False,
            7.0,
            id="429 for 7 s",
        ),
        pytest.param(
            saying("ratelimited", 429), ErrorKind.THROTTLED, False, None, id="429 for who knows"
        ),
        pytest.param(Fault(429, garble="html"), ErrorKind.THROTTLED, False, None, id="429 in HTML"),
        pytest.param(Fault(500, garble="html"), ErrorKind.TRANSIENT, True, None, id="500 in HTML"),
        pytest.param(Fault(502, garble="html"), ErrorKind.TRANSIENT, True, None, id="502 in HTML"),
        pytest.param(saying("fatal_error", 500), ErrorKind.TRANSIENT, True, None, id="500 in JSON"),
        pytest.param(
            Fault(503, {"Retry-After": "5"}, body="{}"), ErrorKind.THROTTLED, True, 5.0, id="503"
        ),
        pytest.param(Fault(garble="html"), ErrorKind.TRANSIENT, True, None, id="200 in HTML"),
        pytest.param(
            Fault(garble="truncate"), ErrorKind.TRANSIENT, True, None, id="half of the JSON"
        ),
        pytest.param(
            Fault(500, body="<html>"),
            ErrorKind.TRANSIENT,
            True,
            None,
            id="500 that says it were JSON",
        ),
        pytest.param(
            Fault(429, {"Retry-After": "4"}, body="slow"),
            ErrorKind.THROTTLED,
            False,
            4.0,
            id="429 no JSON",
        ),
        pytest.param(Fault(body="[]"), ErrorKind.TRANSIENT, True, None, id="an empty list"),
        pytest.param(Fault(body="[1]"), ErrorKind.TRANSIENT, True, None, id="a list"),
        pytest.param(Fault(body="null"), ErrorKind.TRANSIENT, True, None, id="null"),
        pytest.param(Fault(body='"ok"'), ErrorKind.TRANSIENT, True, None, id="a word"),
        pytest.param(Fault(body="{}"), ErrorKind.TRANSIENT, True, None, id="an empty object"),
        pytest.param(
            Fault(drop="before"), ErrorKind.TRANSIENT, True, None, id="hung up before the work"
        ),
        pytest.param(
            Fault(drop="after"), ErrorKind.TRANSIENT, True, None, id="hung up after the work"
        ),
    ],
)
async def test_what_an_answer_that_is_not_slacks_means(
    slack: EmbeddedSlack,
    notifier: SlackNotifier,
    message: Message,
    fault: Fault,
    kind: ErrorKind,
    in_doubt: bool,
    retry_after: float | None,
) -> None:
    slack.faults.add("chat.postMessage", fault)
    error = await error_of(notifier, message)
    assert (error.kind, error.in_doubt, error.retry_after) == (kind, in_doubt, retry_after)
    assert methods(slack) == ["chat.postMessage"]


async def test_a_wait_until_a_date_is_understood(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, clock: SetClock
) -> None:
    date = format_datetime(clock.now() + timedelta(seconds=90), usegmt=True)
    slack.faults.add("chat.postMessage", saying("ratelimited", 429, **{"Retry-After": date}))
    assert (await error_of(notifier, message)).retry_after == 90


async def test_a_slack_that_refuses_connections_has_certainly_not_got_the_post(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    await slack.stop()
    error = await error_of(notifier, message)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)
    await slack.start()
    await notifier.send(message, CONTENT)
    assert len(slack.posts) == 1


async def test_a_slack_that_does_not_answer_leaves_the_post_in_doubt(
    slack: EmbeddedSlack, make: Make, message: Message, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_api, "TIMEOUT", 0.1)
    slack.faults.add("chat.postMessage", Fault(delay=60))
    error = await error_of(make(), message)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)
    assert len(slack.posts) == 1


async def test_a_certificate_that_cannot_be_trusted_is_a_fault_of_the_service(
    slack: EmbeddedSlack, session: aiohttp.ClientSession, clock: SetClock, message: Message
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/api"
        config = Slack.model_construct(token=SecretStr(TOKEN), base_url=url)
        error = await error_of(
            SlackNotifier(config, "support", CHANNEL, session, clock, no_channels()),
            message,
        )
    finally:
        await runner.cleanup()
    assert (error.kind, error.in_doubt) == (ErrorKind.SERVICE, False)


async def test_a_post_is_sent_once_even_where_a_reused_connection_is_lost(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    await notifier.send(message, CONTENT)
    slack.faults.add("chat.postMessage", Fault(drop="after"))
    assert (await error_of(notifier, message)).in_doubt
    assert methods(slack) == ["chat.postMessage"] * 2
    assert len(slack.posts) == 2


async def test_a_look_that_is_cut_off_is_not_a_message_that_is_not_there(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    slack.faults.always("conversations.history", Fault(drop="before"))
    with pytest.raises(DeliveryError) as caught:
        await look_through(notifier, message)
    assert caught.value.kind is ErrorKind.TRANSIENT


# Finding a message in doubt


def chatter(slack: EmbeddedSlack, clock: SetClock, posts: int) -> None:
    for number in range(posts):
        clock.advance(seconds=1)
        slack.say(CHANNEL, f"message {number}")


@pytest.mark.parametrize(
    ("posts_since", "pages"),
    [(0, 1), (199, 1), (200, 2), (450, 2)],
    ids=["newest", "end of page 1", "page 2", "after the minutes around it"],
)
async def test_a_message_is_found_however_much_was_said_since(
    slack: EmbeddedSlack,
    notifier: SlackNotifier,
    message: Message,
    clock: SetClock,
    posts_since: int,
    pages: int,
) -> None:
    sent = await notifier.send(message, CONTENT)
    chatter(slack, clock, posts_since)
    found = await look_through(notifier, message)
    assert found is not None
    assert (found.slack_channel, found.slack_ts) == (sent.slack_channel, sent.slack_ts)
    assert methods(slack).count("conversations.history") == pages


async def test_another_message_is_not_taken_for_it(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    other = Message(2, "0000@alerter", "support", Form.ALERT, (), message.attempted_at)
    await notifier.send(other, CONTENT)
    slack.say(CHANNEL, CONTENT.text)
    assert await look_through(notifier, message) is None


async def test_a_look_goes_back_a_day_before_the_attempt_and_no_further(
    slack: EmbeddedSlack, notifier: SlackNotifier, clock: SetClock
) -> None:
    chatter(slack, clock, 450)
    clock.advance(days=2)
    chatter(slack, clock, 250)
    message = Message(3, "1234@alerter", "support", Form.ALERT, (), clock.now())
    assert await look_through(notifier, message) is None
    assert methods(slack).count("conversations.history") == 3


async def test_a_channel_with_nothing_in_it_holds_no_message(
    notifier: SlackNotifier, message: Message
) -> None:
    assert await look_through(notifier, message) is None


async def test_a_direct_message_is_found(
    slack: EmbeddedSlack, make: Make, message: Message
) -> None:
    notifier = make(PERSON)
    sent = await notifier.send(message, CONTENT)
    found = await look_through(notifier, message)
    assert found is not None
    assert (found.slack_channel, found.slack_ts) == (DIRECT, sent.slack_ts)
    assert slack.requests[-1].args["channel"] == DIRECT


@pytest.mark.parametrize(
    ("channel", "scopes"),
    [
        (CHANNEL, ("chat:write", "channels:read")),
        (PERSON, ("chat:write", "im:write")),
        (PERSON, ("chat:write", "im:history")),
    ],
    ids=["no channels:history", "no im:history", "no im:write"],
)
async def test_without_the_scope_nothing_is_found_and_the_log_names_it(
    slack: EmbeddedSlack,
    make: Make,
    message: Message,
    caplog: pytest.LogCaptureFixture,
    channel: str,
    scopes: Iterable[str],
) -> None:
    slack.add_token(TOKEN, scopes=scopes)
    notifier = make(channel)
    await notifier.send(message, CONTENT)
    assert await look_through(notifier, message) is None
    (line,) = [
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    ]
    assert 'receiver "support"' in line
    assert "may be posted twice" in line


async def test_the_log_names_the_scope_that_is_missing_for_a_direct_message(
    slack: EmbeddedSlack, make: Make, message: Message, caplog: pytest.LogCaptureFixture
) -> None:
    slack.add_token(TOKEN, scopes=("chat:write", "im:write"))
    await look_through(make(PERSON), message)
    assert "im:history" in caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (saying("ratelimited", 429, **{"Retry-After": "7"}), ErrorKind.THROTTLED),
        (Fault(500, garble="html"), ErrorKind.TRANSIENT),
        (Fault(body="{}"), ErrorKind.TRANSIENT),
        (saying("invalid_auth"), ErrorKind.SERVICE),
        (saying("channel_not_found"), ErrorKind.RECEIVER),
    ],
    ids=["429", "500", "nonsense", "invalid_auth", "channel_not_found"],
)
async def test_a_look_that_fails_is_not_a_message_that_is_not_there(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, fault: Fault, kind: ErrorKind
) -> None:
    slack.faults.add("conversations.history", fault)
    with pytest.raises(DeliveryError) as caught:
        await look_through(notifier, message)
    assert caught.value.kind is kind


async def test_a_public_channel_that_the_app_has_not_joined_cannot_be_searched(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    slack.add_token(TOKEN, scopes=(*SCOPES, "chat:write.public"))
    slack.channels[CHANNEL].member = False
    await notifier.send(message, CONTENT)
    assert await look_through(notifier, message) is None


# Secrets


async def test_the_token_is_never_logged(
    slack: EmbeddedSlack,
    notifier: SlackNotifier,
    message: Message,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    await notifier.send(message, CONTENT)
    await look_through(notifier, message)
    await notifier.check()
    faults: list[Any] = [
        saying("invalid_auth"),
        Fault(500, garble="html"),
        Fault(drop="before"),
        Fault(garble="html"),
    ]
    for fault in faults:
        slack.faults.add("chat.postMessage", fault)
        await error_of(notifier, message)
    await slack.stop()
    await error_of(notifier, message)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "fault",
    [lambda: bomb(100_000_000), endless],
    ids=["a compressed bomb", "an answer without end"],
)
async def test_an_answer_of_any_size_takes_little_memory(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, fault: Callable[[], Fault]
) -> None:
    slack.faults.add("chat.postMessage", fault())
    tracemalloc.start()
    try:
        error = await error_of(notifier, message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)
    assert peak < 80 << 20


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, status: int
) -> None:
    async with EmbeddedSlack() as other:
        slack.faults.add("chat.postMessage", redirect(other.base_url + "/chat.postMessage", status))
        error = await error_of(notifier, message)
        assert other.requests == []
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)
