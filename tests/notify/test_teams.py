"""What starts a workflow of Teams, and what its answers mean."""

import json
import traceback
from collections.abc import AsyncIterator

import pytest

from alerter.demo.faults import Fault, redirect
from alerter.demo.teams import EmbeddedTeams, Workflow
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Form, Message
from alerter.notify.http_address import HttpAddress
from alerter.notify.teams import TeamsNotifier
from tests.support.chats import teams, workflow
from tests.support.clock import SetClock

__all__ = ["teams", "workflow"]

CARD = {
    "type": "AdaptiveCard",
    "version": "1.2",
    "body": [{"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": "Stale"}]}],
}
CONTENT = Content("Stale", "Stale", blocks=(CARD,))


@pytest.fixture
def message(clock: SetClock) -> Message:
    return Message(1, "9f2c@alerter", "teams:office", Form.ALERT, (), clock.now())


@pytest.fixture
async def notifier(
    teams: EmbeddedTeams, workflow: Workflow, clock: SetClock
) -> AsyncIterator[TeamsNotifier]:
    notifier = TeamsNotifier("office", HttpAddress(teams.url(workflow), clock))
    yield notifier
    await notifier.close()


async def error_of(notifier: TeamsNotifier, message: Message, workflow: Workflow) -> DeliveryError:
    """What sending fails with; the address stands nowhere in it."""
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(message, CONTENT)
    said = "".join(traceback.format_exception(caught.value))
    assert workflow.signature not in said
    assert workflow.id not in said
    assert str(caught.value).isprintable()
    return caught.value


async def test_a_card_starts_the_workflow(
    teams: EmbeddedTeams, workflow: Workflow, notifier: TeamsNotifier, message: Message
) -> None:
    receipt = await notifier.send(message, CONTENT)
    assert receipt.answer == "202"
    assert workflow.posts == [CARD]
    (call,) = teams.requests
    assert call.query["sig"] == workflow.signature
    assert call.body == {
        "type": "message",
        "attachments": [
            {
                "contentType": "application/vnd.microsoft.card.adaptive",
                "contentUrl": None,
                "content": CARD,
            }
        ],
    }


@pytest.mark.parametrize("state", ["off", "deleted", "gone"])
async def test_a_workflow_that_does_not_run_is_a_matter_of_the_receiver(
    teams: EmbeddedTeams,
    workflow: Workflow,
    notifier: TeamsNotifier,
    message: Message,
    state: str,
) -> None:
    workflow.enabled, workflow.deleted = state != "off", state == "deleted"
    if state == "gone":
        teams.workflows.clear()
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.in_doubt) == (ErrorKind.RECEIVER, False)
    assert ("404" if state == "gone" else "WorkflowTriggerIsNotEnabled") in str(error)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "TriggerInputSchemaMismatch", ErrorKind.RECEIVER),
        (400, "InvalidRequestContent", ErrorKind.MESSAGE),
        (413, "RequestEntityTooLarge", ErrorKind.MESSAGE),
        (401, "DirectApiAuthorizationRequired", ErrorKind.RECEIVER),
        (403, "AuthorizationFailed", ErrorKind.RECEIVER),
        (404, "WorkflowNotFound", ErrorKind.RECEIVER),
        (410, "Gone", ErrorKind.RECEIVER),
        (502, "BadGateway", ErrorKind.TRANSIENT),
    ],
)
async def test_a_refusal_is_of_its_kind_and_names_its_code(
    teams: EmbeddedTeams,
    workflow: Workflow,
    notifier: TeamsNotifier,
    message: Message,
    status: int,
    code: str,
    kind: ErrorKind,
) -> None:
    body = json.dumps({"error": {"code": code, "message": f"Not {workflow.signature}"}})
    teams.faults.add("/invoke", Fault(status=status, body=body))
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.in_doubt) == (kind, False)
    assert code in str(error)


@pytest.mark.parametrize("body", ["", "[]", '{"error": 7}', '{"error": {}}', "<html>", "[" * 9999])
async def test_a_bad_request_without_a_code_is_about_the_message(
    teams: EmbeddedTeams, workflow: Workflow, notifier: TeamsNotifier, message: Message, body: str
) -> None:
    teams.faults.add("/invoke", Fault(status=400, body=body))
    assert (await error_of(notifier, message, workflow)).kind is ErrorKind.MESSAGE


async def test_a_throttled_workflow_says_how_long(
    workflow: Workflow, notifier: TeamsNotifier, message: Message
) -> None:
    for _ in range(4):
        await notifier.send(message, CONTENT)
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.retry_after) == (ErrorKind.THROTTLED, 1.0)


async def test_a_redirect_is_not_followed(
    teams: EmbeddedTeams, workflow: Workflow, notifier: TeamsNotifier, message: Message
) -> None:
    teams.faults.add("/invoke", redirect(teams.url(workflow), 308))
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.in_doubt, workflow.posts) == (ErrorKind.TRANSIENT, False, [])


@pytest.mark.parametrize("fault", [Fault(drop="after"), Fault(body="<html>Sign in</html>")])
async def test_a_lost_answer_leaves_the_message_in_doubt(
    teams: EmbeddedTeams,
    workflow: Workflow,
    notifier: TeamsNotifier,
    message: Message,
    fault: Fault,
) -> None:
    teams.faults.add("/invoke", fault)
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, True)


@pytest.mark.parametrize("body", ["", "1", '{"anything": "that the workflow responds"}'])
async def test_a_workflow_may_respond_in_its_own_words(
    teams: EmbeddedTeams, notifier: TeamsNotifier, message: Message, body: str
) -> None:
    teams.faults.add("/invoke", Fault(status=200, body=body, done=True))
    assert (await notifier.send(message, CONTENT)).answer == "200"


@pytest.mark.parametrize(("said", "kind"), [("429", "throttled"), ("400", "transient")])
async def test_a_connector_that_failed_says_so_in_a_good_answer(
    teams: EmbeddedTeams,
    workflow: Workflow,
    notifier: TeamsNotifier,
    message: Message,
    said: str,
    kind: str,
) -> None:
    text = f"Webhook message delivery failed with error: Teams returned HTTP error {said} with …"
    teams.faults.add("/invoke", Fault(status=200, body=text))
    error = await error_of(notifier, message, workflow)
    assert (error.kind, error.in_doubt) == (kind, False)


async def test_a_check_says_that_only_a_message_shows_it(
    teams: EmbeddedTeams, workflow: Workflow, notifier: TeamsNotifier
) -> None:
    (finding,) = await notifier.check()
    assert (finding.ok, finding.warning) == (True, True)
    assert workflow.signature not in str(finding)
    assert teams.requests == []
