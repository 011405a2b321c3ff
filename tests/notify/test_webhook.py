"""A receiver with a webhook gets each alert as one signed request, under one id for ever."""

import asyncio
import json
import re
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from shutil import which
from types import SimpleNamespace
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.demo.faults import NONSENSE, Fault, redirect
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.webhook import EmbeddedWebhook, Hook
from alerter.demo.wix import EmbeddedWix
from alerter.store import State, outbox, troubles
from tests.support.clock import SetClock
from tests.support.desk import (
    DIGEST,
    Desk,
    Start,
    blocked,
    deliveries,
    desk,
    many,
    queue,
    sending,
    start,
)
from tests.support.values import OWNER, SECRETS

__all__ = ["desk", "start"]

ONE, TWO = "webhook:helpdesk", "webhook:other"
RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]

[[receivers]]
name = "helpdesk"
webhook = "env:HOOK_URL"
webhook_secret = "env:HOOK_SECRET"

[[receivers]]
name = "other"
webhook = "env:OTHER_URL"
webhook_secret = "env:OTHER_SECRET"
"""


@pytest.fixture
async def hooks(clock: SetClock) -> AsyncIterator[EmbeddedWebhook]:
    async with EmbeddedWebhook(clock=clock) as hooks:
        hooks.add("T0pS3cretPath", query="token=Qu3ryS3cret")
        hooks.add("other", secret=b"o" * 24)
        yield hooks


@pytest.fixture
def hook(hooks: EmbeddedWebhook) -> Hook:
    return hooks.hooks["T0pS3cretPath"]


@pytest.fixture
def config(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    hooks: EmbeddedWebhook,
) -> Config:
    first, second = hooks.hooks.values()
    environ = SECRETS | {
        "HOOK_URL": first.url,
        "HOOK_SECRET": first.secret,
        "OTHER_URL": second.url,
        "OTHER_SECRET": second.secret,
    }
    path = write_config(wix, slack, mailbox, receivers=RECEIVERS)
    return load_config(path, environ, secrets=True)


def reviews(hook: Hook) -> list[str]:
    """The reviews that a hook was notified of, in the order of their events."""
    return [event.review["id"] for event in hook.events if event.review]


def ids(hooks: EmbeddedWebhook) -> list[str]:
    """The webhook-id of each request, in their order."""
    return [call.id for call in hooks.requests]


async def test_each_alert_of_a_flood_is_a_request_of_its_own_in_order(
    desk: Desk, state: State, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    queue(state, *many(30), receivers=(ONE,))
    queue(state, *many(5, "d"), receivers=(ONE,), grouping=DIGEST)
    await desk.work(ONE)

    assert reviews(hook) == [*many(30), *many(5, "d")]
    assert len(set(ids(hooks))) == len(hooks.requests) == 35
    assert {event.type for event in hook.events} == {"review.new"}
    assert hook.events[0].review["title"] == "<r000>"
    assert deliveries(state, ONE) == {"sent": 35}
    assert all(re.fullmatch(r"msg_[0-9a-f]{32}", each) for each in ids(hooks))


async def test_what_is_refused_for_now_is_signed_again_under_the_same_id(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    hooks.faults.add("Path", *[Fault(status=500)] * 8)
    queue(state, "a", receivers=(ONE,))
    began = int(clock.now().timestamp())
    await desk.work(ONE)

    assert reviews(hook) == ["a"]
    assert len(set(ids(hooks))) == 1
    times = [int(call.headers["webhook-timestamp"]) for call in hooks.requests]
    assert (times[0], len(times), times) == (began, 9, sorted(times))
    assert times[-1] > times[0]


async def test_a_lost_answer_is_retried_twice_under_one_id_and_others_go_on(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    hooks.faults.add("Path", Fault(drop="after"))
    queue(state, "a", receivers=(ONE,))
    await desk.step(ONE)
    queue(state, "b", receivers=(ONE,))
    began = clock.monotonic()
    hooks.faults.add("Path", Fault(), Fault(drop="before"))
    await desk.work(ONE)

    assert reviews(hook) == ["a", "b"]
    assert hook.repeats == {ids(hooks)[0]: 1}
    first, *later = [call.at - began for call in hooks.requests if call.id == ids(hooks)[0]]
    assert first == 0
    assert later == pytest.approx([5, 65], abs=2)
    assert deliveries(state, ONE) == {"sent": 2}


async def test_a_webhook_whose_answer_is_lost_each_time_has_failed(
    desk: Desk, state: State, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    hooks.faults.always("Path", Fault(drop="after"))
    queue(state, "a", receivers=(ONE,))
    await desk.work(ONE)

    assert (reviews(hook), len(hooks.requests)) == (["a"], 3)
    assert sending(state) == [("failed", 3)]
    assert [each.scope for each in troubles.get_open_troubles(state)] == [f"message:{ONE}"]


@pytest.mark.parametrize("as_date", [False, True])
async def test_a_throttled_address_is_left_alone_and_no_other_is(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook, as_date: bool
) -> None:
    until = format_datetime(clock.now() + timedelta(seconds=40), usegmt=True)
    wait = until if as_date else "40"
    hooks.faults.add("Path", Fault(status=429, headers={"Retry-After": wait}))
    queue(state, "a", "b", receivers=(ONE, TWO))
    began = clock.monotonic()
    await desk.step(ONE)
    await desk.work(TWO)
    assert reviews(hooks.hooks["other"]) == ["a", "b"]
    assert blocked(state, clock.now()) == {f"service:{ONE}": 40 - (clock.monotonic() - began)}
    await desk.work(ONE)

    assert reviews(hook) == ["a", "b"]
    calls = [call.at - began for call in hooks.requests if call.path.endswith("Path")]
    assert (calls[0], len(calls)) == (0, 3)
    assert calls[1] >= 40


async def test_an_address_that_is_gone_is_parked_and_tried_hourly(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook, mailbox: Mailbox
) -> None:
    hook.gone = True
    queue(state, "a", "b", receivers=(ONE, TWO))
    began = clock.monotonic()
    await desk.work(ONE)
    await desk.work(TWO)
    await desk.work("email:owner")
    assert reviews(hooks.hooks["other"]) == ["a", "b"]
    assert [mail.subject for mail in mailbox.mails] == [
        "⚠️ Receiver helpdesk (webhook) cannot be reached"
    ]
    assert "410" in mailbox.mails[0].text

    hook.gone = False
    clock.advance(hours=1, seconds=1)
    await desk.work(ONE)
    await desk.work("email:owner")
    calls = [call.at - began for call in hooks.requests if call.path.endswith("Path")]
    assert reviews(hook) == ["a", "b"]
    assert calls[1] >= 3600
    assert mailbox.mails[-1].subject.startswith("🟢")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_is_not_sent(
    desk: Desk, state: State, hooks: EmbeddedWebhook, hook: Hook, status: int
) -> None:
    elsewhere = hooks.hooks["other"].url
    hooks.faults.add("Path", redirect(elsewhere, status), redirect("http://[", status))
    queue(state, "a", receivers=(ONE,))
    await desk.step(ONE)
    assert deliveries(state, ONE) == {"pending": 1}
    await desk.work(ONE)

    assert [call.path for call in hooks.requests] == ["/hooks/T0pS3cretPath"] * 3
    assert (reviews(hook), deliveries(state, ONE)) == (["a"], {"sent": 1})


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refused_alert_fails_and_the_next_leaves(
    desk: Desk, state: State, hooks: EmbeddedWebhook, hook: Hook, status: int
) -> None:
    hooks.faults.add("Path", *[Fault(status=status)] * 2)
    queue(state, "a", "b", receivers=(ONE,))
    await desk.work(ONE)

    assert reviews(hook) == ["b"]
    assert deliveries(state, ONE) == {"failed": 1, "sent": 1}
    assert [each.scope for each in troubles.get_open_troubles(state)] == [f"message:{ONE}"]
    outbox.requeue(state)
    await desk.work(ONE)
    assert reviews(hook) == ["b", "a"]
    assert len(set(ids(hooks))) == 2


async def test_any_answer_of_200_counts_as_sent(
    desk: Desk, state: State, hooks: EmbeddedWebhook
) -> None:
    hooks.faults.add("Path", *(Fault(status=200, body=body) for body in NONSENSE.values()))
    queue(state, *many(len(NONSENSE)), receivers=(ONE,))
    await desk.work(ONE)

    assert len(hooks.requests) == len(NONSENSE)
    assert deliveries(state, ONE) == {"sent": len(NONSENSE)}


async def test_a_wrong_secret_parks_nothing_else_and_says_so(
    desk: Desk, state: State, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    hook.secret = hooks.hooks["other"].secret
    queue(state, "a", receivers=(ONE,))
    await desk.step(ONE)

    assert [call.problem for call in hooks.requests] == ["no signature is right"]
    (trouble,) = troubles.get_open_troubles(state)
    assert trouble.reason == 'the address refuses us: 401 {"error": "no signature is right"}'


async def test_an_id_outlives_the_process(
    start: Start, state: State, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    hooks.faults.add("Path", Fault(drop="after"))
    queue(state, "a", receivers=(ONE,))
    await (await start()).step(ONE)
    await (await start()).work(ONE)

    assert (reviews(hook), len(hooks.requests)) == (["a"], 2)
    assert len(set(ids(hooks))) == 1


# The examples in the documentation

DOCUMENT = Path(__file__).parents[2] / "docs" / "webhook-receivers.md"


def _example(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return str(found)


async def _one_call(desk: Desk, state: State, hooks: EmbeddedWebhook) -> Any:
    queue(state, "a", receivers=(ONE,), body="Größe 😀")
    await desk.step(ONE)
    return hooks.requests[-1]


@pytest.mark.sqlite
async def test_the_example_in_python_verifies_what_is_sent(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    call = await _one_call(desk, state, hooks)
    names: dict[str, Any] = {}
    exec(_example("python"), names)  # noqa: S102 - the example in our own document
    names["time"] = SimpleNamespace(time=lambda: clock.now().timestamp())
    verify = names["verify"]
    assert verify(call.headers, call.body, hook.secret)
    assert not verify(call.headers, call.body + b" ", hook.secret)
    assert not verify(call.headers, call.body, hooks.hooks["other"].secret)
    clock.advance(seconds=301)
    assert not verify(call.headers, call.body, hook.secret)


@pytest.mark.sqlite
@pytest.mark.skipif(which("node") is None, reason="Node is not installed here")
async def test_the_example_in_node_verifies_what_is_sent(
    desk: Desk, state: State, clock: SetClock, hooks: EmbeddedWebhook, hook: Hook
) -> None:
    call = await _one_call(desk, state, hooks)
    tries = [
        [call.headers, call.body.decode(), hook.secret],
        [call.headers, call.body.decode() + " ", hook.secret],
        [call.headers, call.body.decode(), hooks.hooks["other"].secret],
        [call.headers | {"webhook-timestamp": "1"}, call.body.decode(), hook.secret],
    ]
    script = f"""
        {_example("js")}
        Date.now = () => {int(clock.now().timestamp())} * 1000;
        console.log(JSON.stringify({json.dumps(tries)}.map((each) => verify(...each))));
    """
    ran = await asyncio.create_subprocess_exec(str(which("node")), "-e", script, stdout=PIPE)
    out, _ = await ran.communicate()
    assert json.loads(out) == [True, False, False, False]
