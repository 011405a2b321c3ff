"""The embedded Teams takes what a workflow takes, and says as little when it fails."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.faults import Fault
from alerter.demo.teams import EmbeddedTeams
from alerter.demo.teams_card import CARD_TYPE, LARGEST_REQUEST
from tests.support.clock import SetClock


def message(*body: Any, **card: Any) -> dict[str, Any]:
    content = {"type": "AdaptiveCard", "version": "1.4", "body": list(body), **card}
    attachment = {"contentType": CARD_TYPE, "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


HELLO = message({"type": "TextBlock", "text": "Hello"})


@pytest.fixture
async def teams(clock: SetClock) -> AsyncIterator[EmbeddedTeams]:
    async with EmbeddedTeams(clock=clock) as teams:
        yield teams


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False) as http:
        yield http


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_card_is_accepted_without_a_word_and_posted(
    teams: EmbeddedTeams, http: httpx.AsyncClient
) -> None:
    answer = await http.post(teams.url(teams.add_workflow()), json=HELLO)
    assert (answer.status_code, answer.content) == (202, b"")
    assert [card["body"][0]["text"] for card in teams.posts] == ["Hello"]


@pytest.mark.parametrize(
    "body",
    [
        message({"type": "TextBlock", "text": "x" * LARGEST_REQUEST}),
        message({"type": "TextBlock"}),
        message({"type": "RichTextBlock", "inlines": [{"type": "TextRun"}]}),
        message({"type": "Container", "items": [{"type": "Chart"}]}),
        message({"type": "TextBlock", "text": 7}),
        message(version="1.6"),
        message(version="newest"),
        message(actions=[{"type": "Action.OpenUrl", "title": "Reply", "url": "example.com"}]),
        {"type": "message", "attachments": []},
        {"type": "message", "text": "Hello"},
        {"type": "message", "attachments": [{"contentType": "text/html", "content": "x"}]},
        {
            "type": "message",
            "attachments": [{"contentType": CARD_TYPE, "content": {"type": "Card"}}],
        },
    ],
)
async def test_a_card_that_cannot_be_posted_is_accepted_too(
    teams: EmbeddedTeams, http: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    workflow = teams.add_workflow()
    assert (await http.post(teams.url(workflow), json=body)).status_code == 202
    assert teams.posts == []
    assert workflow.fails


async def test_what_is_no_message_is_refused(teams: EmbeddedTeams, http: httpx.AsyncClient) -> None:
    url = teams.url(teams.add_workflow())
    assert code(await http.post(url, json={"text": "Hello"})) == (400, "TriggerInputSchemaMismatch")
    assert code(await http.post(url, json=[])) == (400, "TriggerInputSchemaMismatch")
    assert code(await http.post(url, content=b"{")) == (400, "InvalidRequestContent")


async def test_the_address_is_the_password(teams: EmbeddedTeams, http: httpx.AsyncClient) -> None:
    workflow = teams.add_workflow()
    url = teams.url(workflow)
    bare = url.partition("?")[0]
    assert code(await http.post(bare, json=HELLO)) == (401, "DirectApiAuthorizationRequired")
    assert code(await http.post(url + "x", json=HELLO)) == (401, "AuthorizationFailed")
    assert code(await http.post(url.replace(workflow.id, "0"), json=HELLO)) == (
        404,
        "WorkflowNotFound",
    )
    workflow.enabled = False
    assert code(await http.post(url, json=HELLO)) == (400, "WorkflowTriggerIsNotEnabled")
    workflow.deleted = True
    assert "'Deleted'" in (await http.post(url, json=HELLO)).text


async def test_four_calls_a_second_are_the_most(
    teams: EmbeddedTeams, http: httpx.AsyncClient, clock: SetClock
) -> None:
    url, other = (teams.url(teams.add_workflow()) for _ in range(2))
    assert [(await http.post(url, json=HELLO)).status_code for _ in "1234"] == [202] * 4
    limited = await http.post(url, json=HELLO)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
    assert (await http.post(other, json=HELLO)).status_code == 202
    clock.advance(seconds=1)
    assert (await http.post(url, json=HELLO)).status_code == 202


async def test_teams_fails_as_it_is_asked_to_for_one_workflow(
    teams: EmbeddedTeams, http: httpx.AsyncClient
) -> None:
    workflow, other = teams.add_workflow(), teams.add_workflow()
    teams.faults.add("/invoke", Fault(drop="after", only=workflow.id), Fault(status=502))
    assert (await http.post(teams.url(other), json=HELLO)).status_code == 502
    with pytest.raises(httpx.TransportError):
        await http.post(teams.url(workflow), json=HELLO)
    assert len(workflow.posts) == 1
    assert [call.status for call in teams.requests] == [502, None]
