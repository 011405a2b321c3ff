"""The embedded ntfy reads what is published as ntfy does, and refuses the same."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.faults import Fault
from alerter.demo.ntfy import EmbeddedNtfy
from tests.support.clock import HandClock


@pytest.fixture
async def ntfy() -> AsyncIterator[EmbeddedNtfy]:
    async with EmbeddedNtfy(clock=HandClock(), limited=True) as ntfy:
        yield ntfy


async def post(url: str, body: str | bytes = "text", **headers: Any) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.post(url, content=body, headers=headers)


async def refused(url: str, body: str | bytes = "text", **headers: Any) -> int:
    answer = await post(url, body, **headers)
    assert answer.status_code == answer.json()["http"]
    return int(answer.json()["code"])


async def test_headers_and_body_become_a_message(ntfy: EmbeddedNtfy) -> None:
    action = {"action": "view", "label": "Open", "url": "https://example.com"}
    answer = await post(
        ntfy.url("owner"),
        " Größe \n",
        **{
            "X-Title": "=?utf-8?q?=E2=98=85_caf=C3=A9?= =?utf-8?b?w6k=?=",
            "X-Priority": "high",
            "Priority": "u=1, i",
            "Tags": "warning, skull",
            "Click": "https://example.com/review",
            "Actions": json.dumps([action]),
        },
    )

    (found,) = ntfy.in_topic("owner")
    assert answer.json()["id"] == found.id
    assert (found.title, found.message, found.priority) == ("★ caféé", "Größe", 4)
    assert (found.tags, found.click) == (("warning", "skull"), "https://example.com/review")
    assert found.actions == (action,)
    assert found.attachment is None
    assert not found.markdown


async def test_json_at_the_root_becomes_the_same(ntfy: EmbeddedNtfy) -> None:
    message = {"topic": "owner", "message": "text", "title": "café", "tags": ["a"], "priority": 5}
    assert (await post(ntfy.url(""), json.dumps(message))).status_code == 200
    assert (await post(ntfy.url("owner"), "")).status_code == 200

    first, second = ntfy.in_topic("owner")
    assert (first.title, first.message, first.priority, first.tags) == ("café", "text", 5, ("a",))
    assert second.message == "triggered"


async def test_a_body_of_4096_bytes_is_an_attachment_already(ntfy: EmbeddedNtfy) -> None:
    for body in ("x" * 4095, "x" * 4096, b"\xff"):
        assert (await post(ntfy.url("owner"), body)).status_code == 200
    assert [bool(each.attachment) for each in ntfy.published] == [False, True, True]
    ntfy.attachments = False
    assert await refused(ntfy.url("owner"), "x" * 4096) == 40014


async def test_a_protected_topic_takes_a_token_in_the_query_or_a_header(
    ntfy: EmbeddedNtfy,
) -> None:
    ntfy.protected.add("owner")
    ntfy.tokens.add("tk_1")
    assert await refused(ntfy.url("owner")) == 40301
    assert await refused(ntfy.url("owner", token="tk_2")) == 40101
    assert (await post(ntfy.url("owner", token="tk_1"))).status_code == 200
    answer = await post(ntfy.url("owner"), Authorization="Bearer tk_1")
    assert answer.status_code == 200
    assert (await post(ntfy.url("other"))).status_code == 200


async def test_what_ntfy_cannot_read_is_refused(ntfy: EmbeddedNtfy) -> None:
    topic = ntfy.url("owner")
    many = json.dumps([{"action": "view", "label": "Open", "url": "https://example.com"}] * 4)
    assert await refused(topic, **{"X-Priority": "6"}) == 40007
    assert await refused(topic, Actions=many) == 40018
    assert await refused(topic, Actions="[") == 40018
    assert await refused(topic, Actions='[{"action": "open"}]') == 40018
    assert await refused(topic, Actions='[{"action": "view", "label": "Open"}]') == 40018
    assert await refused(topic, Title="café".encode()) == 40000
    assert await refused(ntfy.url("docs")) == 40010
    assert await refused(ntfy.url("a/b")) == 40401
    assert await refused(ntfy.url(""), "text") == 40024
    assert await refused(ntfy.url(""), '{"topic": "a b"}') == 40009
    assert await refused(ntfy.url(""), " " * 8193) == 41303
    assert ntfy.published == []


async def test_it_takes_sixty_requests_at_once_and_names_no_wait(ntfy: EmbeddedNtfy) -> None:
    answers = [await post(ntfy.url("owner")) for _ in range(61)]
    assert [each.status_code for each in answers] == [200] * 60 + [429]
    assert "Retry-After" not in answers[-1].headers
    assert isinstance(ntfy.clock, HandClock)
    ntfy.clock.seconds += 5
    assert (await post(ntfy.url("owner"))).status_code == 200


async def test_its_answers_fail_as_planned_by_topic(ntfy: EmbeddedNtfy) -> None:
    ntfy.faults.add("/owner", Fault(status=507))
    assert (await post(ntfy.url("other"))).status_code == 200
    assert (await post(ntfy.url("owner"))).status_code == 507
    assert [(each.topic, each.status) for each in ntfy.requests] == [("other", 200), ("owner", 507)]
