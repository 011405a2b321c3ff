"""The embedded webhook accepts what is signed as Standard Webhooks says, and nothing else."""

import hmac
import json
import time
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.faults import Fault
from alerter.demo.webhook import EmbeddedWebhook, Hook

BODY = {"type": "review.new", "timestamp": "2026-11-26T18:00:00Z", "data": {"review": {"id": "a"}}}


@pytest.fixture
async def hooks() -> AsyncIterator[EmbeddedWebhook]:
    async with EmbeddedWebhook() as hooks:
        yield hooks


@pytest.fixture
def hook(hooks: EmbeddedWebhook) -> Hook:
    return hooks.add("owner", query="token=t")


def signed(
    hook: Hook, body: bytes, *, webhook_id: str = "msg_1", timestamp: str = ""
) -> dict[str, str]:
    """The headers of a request, as the specification has them."""
    timestamp = timestamp or str(int(time.time()))
    key = b64decode(hook.secret.removeprefix("whsec_"))
    content = b"%s.%s.%s" % (webhook_id.encode(), timestamp.encode(), body)
    signature = b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "Content-Type": "application/json",
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1a,ignored v1,{signature}",
    }


async def post(url: str, body: Any = BODY, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient() as client:
        return await client.post(url, content=content, headers=headers)


async def post_signed(hook: Hook, body: Any = BODY, **changes: str) -> int:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (await post(hook.url, content, **(signed(hook, content) | changes))).status_code


async def test_a_signed_webhook_is_kept_once_for_each_id(
    hooks: EmbeddedWebhook, hook: Hook
) -> None:
    assert [await post_signed(hook) for _ in range(3)] == [204] * 3

    assert [(event.id, event.type, event.review) for event in hook.events] == [
        ("msg_1", "review.new", {"id": "a"})
    ]
    assert hook.repeats == {"msg_1": 2}
    assert [(call.status, call.query) for call in hooks.requests] == [(204, "token=t")] * 3


async def test_the_example_of_the_specification_has_this_signature() -> None:
    """From the tests of the reference libraries: one content, one secret, one signature."""
    hook = Hook("", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(
        hook, b'{"test": 2432232314}', webhook_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp="1614265330",
    )  # fmt: skip
    assert headers["webhook-signature"].endswith("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": "a.b"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1614265330"},
        {"webhook-timestamp": "now"},
        {"webhook-signature": "v1,AAAA"},
        {"webhook-signature": "v1,?"},
        {"webhook-signature": "AAAA"},
        {"webhook-signature": ""},
    ],
)
async def test_a_wrong_header_is_refused(hook: Hook, changes: dict[str, str]) -> None:
    assert await post_signed(hook, **changes) == 401
    assert hook.events == []


@pytest.mark.parametrize("age", [-330, 301])
async def test_a_time_five_minutes_off_is_refused(hook: Hook, age: int) -> None:
    content = json.dumps(BODY).encode()
    headers = signed(hook, content, timestamp=str(int(time.time()) - age))
    assert (await post(hook.url, content, **headers)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"not json", b"[]", b'{"type": "a"}', b"\xff",
        {**BODY, "type": "with spaces"}, {**BODY, "timestamp": "2026-11-26T18:00:00"},
        {**BODY, "timestamp": 7}, b'{"type": "a", "timestamp": NaN, "data": {}}',
    ],
)  # fmt: skip
async def test_a_body_in_another_form_is_refused(hook: Hook, body: Any) -> None:
    assert await post_signed(hook, body) == 422


async def test_a_wrong_address_method_type_or_size_is_refused(
    hooks: EmbeddedWebhook, hook: Hook
) -> None:
    assert (await post(hook.url.replace("owner", "other"))).status_code == 404
    assert (await post(hook.url.partition("?")[0])).status_code == 401
    assert await post_signed(hook, **{"Content-Type": "text/plain"}) == 415
    assert await post_signed(hook, b" " * 1024 * 1024 + b"{}") == 413
    async with httpx.AsyncClient() as client:
        assert (await client.get(hook.url)).status_code == 405
    hook.gone = True
    assert await post_signed(hook) == 410
    assert hook.events == []
    assert hooks.requests[-1].problem == "this webhook was deleted"


async def test_its_answers_fail_as_planned(hooks: EmbeddedWebhook, hook: Hook) -> None:
    hooks.faults.add("/owner", Fault(status=429, headers={"Retry-After": "7"}), Fault(drop="after"))
    assert await post_signed(hook) == 429
    assert hook.events == []
    with pytest.raises(httpx.TransportError):
        await post_signed(hook)
    assert len(hook.events) == 1
