"""Answers from Slack, or from whatever stands in its place, that are made to hang, fill or mislead
the client.
"""

import json
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from alerter.config import Slack
from alerter.demo.faults import NONSENSE, Fault
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix_webhooks import free_port
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Form, Message
from alerter.notify.slack import SlackNotifier, open_session
from tests.support.clock import SetClock
from tests.support.memory import memory_bounded
from tests.support.state import no_channels
from tests.support.values import CHANNEL, SECRETS

TOKEN = SECRETS["SLACK_BOT_TOKEN"]
CONTENT = Content("Stale", "★☆☆☆☆ Stale")
EVIL = "\x1b[2J\r\nok  forged"
MB = 1 << 20


@pytest.fixture
async def notifier(slack: EmbeddedSlack, clock: SetClock) -> AsyncIterator[SlackNotifier]:
    config = Slack.model_construct(token=SecretStr(TOKEN), base_url=slack.base_url.rstrip("/"))
    async with open_session() as session:
        yield SlackNotifier(config, "support", CHANNEL, session, clock, no_channels())


@pytest.fixture
def message(clock: SetClock) -> Message:
    return Message(1, "9f2c@alerter", "support", Form.ALERT, (), clock.now())


@pytest.mark.parametrize("charset", ["punycode", "hex", "utf-16", "utf-7"])
async def test_an_answer_is_utf_8_whatever_it_says(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, charset: str
) -> None:
    kind = f"application/json; charset={charset}"
    slack.faults.add("chat.postMessage", Fault(headers={"Content-Type": kind}))
    assert (await notifier.send(message, CONTENT)).slack_ts == slack.posts[0].ts


async def test_an_answer_in_a_slow_codec_ends(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    """Python decodes punycode in quadratic time: this one takes hours."""
    headers = {"Content-Type": "text/plain; charset=punycode"}
    slack.faults.add("chat.postMessage", Fault(body=b"z" * (8 * MB), headers=headers))
    with pytest.raises(DeliveryError):
        await notifier.send(message, CONTENT)


@pytest.mark.parametrize("nonsense", ["deep list", "deep object"])
async def test_json_that_is_nested_too_deeply_cannot_be_understood(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, nonsense: str
) -> None:
    slack.faults.add("chat.postMessage", Fault(body=NONSENSE[nonsense]))
    with pytest.raises(DeliveryError, match="cannot be understood") as caught:
        await notifier.send(message, CONTENT)
    assert (caught.value.kind, caught.value.in_doubt) == (ErrorKind.TRANSIENT, True)


async def test_json_of_very_many_values_is_not_parsed(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    body = b'{"ok": true, "x": [' + b"{}," * (5 * MB) + b"{}]}"
    slack.faults.add("chat.postMessage", Fault(body=body))
    with memory_bounded(150 * MB), pytest.raises(DeliveryError):
        await notifier.send(message, CONTENT)


async def test_a_page_of_posts_full_of_commas_is_read(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message
) -> None:
    posts = [{"ts": "1763985600.000100", "text": ',"\\' * 4000} for _ in range(200)]
    slack.faults.add(
        "conversations.history", Fault(body=json.dumps({"ok": True, "messages": posts}))
    )
    assert (await notifier.look(message)).receipt is None


@pytest.mark.parametrize("value", [EVIL, "\ud800", TOKEN, 7, ["x"], {"a": 1}])
async def test_what_slack_says_of_a_post_is_kept_only_where_it_is_an_id(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, value: object
) -> None:
    body = json.dumps({"ok": True, "ts": value, "channel": value, "message": value})
    slack.faults.add("chat.postMessage", Fault(body=body))
    receipt = await notifier.send(message, CONTENT)
    assert (receipt.answer, receipt.slack_ts, receipt.slack_channel) == ("ok", None, None)


@pytest.mark.parametrize("value", [EVIL, 7, ["x"], {"a": ["b"]}, [[1]]])
async def test_a_page_of_history_that_is_none_is_no_fault_of_alerter(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, value: object
) -> None:
    for page in ({"messages": value}, {"messages": [{"metadata": value, "ts": value}, value]}):
        slack.faults.add("conversations.history", Fault(body=json.dumps({"ok": True, **page})))
        assert (await notifier.look(message)).receipt is None


@pytest.mark.parametrize("value", ["\ud800", EVIL, 7, "x" * 5000])
async def test_a_cursor_that_cannot_be_kept_is_not_used(
    slack: EmbeddedSlack, notifier: SlackNotifier, message: Message, value: object
) -> None:
    page = {"ok": True, "messages": [], "response_metadata": {"next_cursor": value}}
    slack.faults.add("conversations.history", Fault(body=json.dumps(page)))
    with pytest.raises(DeliveryError, match="cannot be understood"):
        await notifier.look(message)


@pytest.mark.parametrize("value", [EVIL, 7, ["x"]])
async def test_a_channel_that_is_no_object_is_no_fault_of_alerter(
    slack: EmbeddedSlack, notifier: SlackNotifier, value: object
) -> None:
    slack.faults.add("conversations.info", Fault(body=json.dumps({"ok": True, "channel": value})))
    assert all(finding.text.isprintable() for finding in await notifier.check())


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy"])
async def test_no_proxy_carries_what_stays_on_this_machine(
    slack: EmbeddedSlack,
    clock: SetClock,
    message: Message,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    config = Slack.model_construct(token=SecretStr(TOKEN), base_url=slack.base_url.rstrip("/"))
    async with open_session() as session:
        await SlackNotifier(config, "support", CHANNEL, session, clock, no_channels()).send(
            message, CONTENT
        )
    assert len(slack.posts) == 1


async def test_a_token_in_the_names_that_slack_gives_is_not_shown(
    slack: EmbeddedSlack, notifier: SlackNotifier
) -> None:
    slack.channels[CHANNEL].name = slack.tokens[TOKEN].team = f"x{TOKEN}x"
    (finding,) = await notifier.check()
    assert finding.text == "slack: x[secret]x in x[secret]x"
