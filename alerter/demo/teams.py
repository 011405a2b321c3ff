"""An embedded Teams: workflows that a webhook starts, over HTTP on loopback.

The workflow answers 202 before it posts, and says nothing when it cannot:
https://support.microsoft.com/en-us/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing
from alerter.demo.teams_card import LARGEST_REQUEST, card_faults

_PATH = "/powerautomate/automations/direct/workflows/{id}/triggers/manual/paths/invoke"
# https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
_MOST_A_SECOND = 4


@dataclass
class Workflow:
    """A workflow that posts to one channel; `fails` are its runs that could not post."""

    id: str
    signature: str
    enabled: bool = True
    deleted: bool = False
    posts: list[Any] = field(default_factory=list)
    fails: list[str] = field(default_factory=list)


@dataclass
class TeamsCall:
    """A received call; `status` is None until it is answered, `at` monotonic time in seconds."""

    at: float
    size: int
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    status: int | None = None


_CALL = web.RequestKey("teams_call", TeamsCall)


class WorkflowError(Exception):
    """A refusal with its HTTP status and its code."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.body = {"error": {"code": code, "message": text}}


class EmbeddedTeams(LoopbackService):
    """Workflows, what they posted, and every call that arrived."""

    def __init__(self, *, clock: Clock | None = None, limited: bool = True) -> None:
        self.clock = clock or Clock()
        self.limited = limited
        self.workflows: dict[str, Workflow] = {}
        self.requests: list[TeamsCall] = []
        self.faults = Faults()
        self._calls: dict[str, list[float]] = {}
        self._server = Loopback(self._application)

    def add_workflow(self) -> Workflow:
        """Add a workflow that anybody who has its address may start."""
        number = len(self.workflows) + 1
        workflow = Workflow(f"{number:032x}", f"Secret-signature_{number:026}")
        self.workflows[workflow.id] = workflow
        return workflow

    def url(self, workflow: Workflow) -> str:
        """Return the address of a workflow; its query holds the signature."""
        query = {
            "api-version": "1",
            "sp": "/triggers/manual/run",
            "sv": "1.0",
            "sig": workflow.signature,
        }
        return f"{self._server.url}{_PATH.format(id=workflow.id)}?{urlencode(query)}"

    @property
    def posts(self) -> list[Any]:
        """The cards that stand in all channels."""
        return [each for workflow in self.workflows.values() for each in workflow.posts]

    def _application(self) -> web.Application:
        app = application(self._record, failing(self.faults, _about))
        app.router.add_post(_PATH, self._start)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        raw = await request.read()
        call = TeamsCall(self.clock.monotonic(), len(raw), dict(request.query))
        self.requests.append(call)
        request[_CALL] = call
        try:
            call.body = json.loads(raw)
        except ValueError:
            call.body = raw
        try:
            response = await handler(request)
        except WorkflowError as error:
            response = web.json_response(error.body, status=error.status)
            if error.status == 429:
                response.headers["Retry-After"] = "1"
        call.status = response.status
        return response

    async def _start(self, request: web.Request) -> web.Response:
        call = request[_CALL]
        workflow = self._workflow(request)
        self._count(workflow)
        if request.content_type != "application/json" or isinstance(call.body, bytes):
            text = "The request content is not valid and could not be deserialized"
            raise WorkflowError(400, "InvalidRequestContent", text)
        if not isinstance(call.body, dict) or call.body.get("type") != "message":
            text = "The input body for trigger 'manual' of type 'Request' did not match its schema"
            raise WorkflowError(400, "TriggerInputSchemaMismatch", text)
        # The workflow runs after this answer: what is wrong with the card is in its history only.
        faults = card_faults(call.body)
        if call.size > LARGEST_REQUEST:
            faults = ["RequestEntityTooLarge", *faults]
        if faults:
            workflow.fails += faults
        else:
            workflow.posts += [each["content"] for each in call.body["attachments"]]
        return web.Response(status=202)

    def _workflow(self, request: web.Request) -> Workflow:
        workflow = self.workflows.get(request.match_info["id"])
        if workflow is None:
            raise WorkflowError(404, "WorkflowNotFound", "The workflow could not be found.")
        if request.query.get("sig") is None:
            text = "The request must be authenticated only by Shared Access scheme."
            raise WorkflowError(401, "DirectApiAuthorizationRequired", text)
        if request.query["sig"] != workflow.signature:
            text = "The authentication credentials are not valid."
            raise WorkflowError(401, "AuthorizationFailed", text)
        if workflow.deleted or not workflow.enabled:
            state = "Deleted" if workflow.deleted else "Suspended"
            text = f"Could not execute workflow trigger 'manual' due to state '{state}'."
            raise WorkflowError(400, "WorkflowTriggerIsNotEnabled", text)
        return workflow

    def _count(self, workflow: Workflow) -> None:
        now = self.clock.monotonic()
        calls = self._calls.setdefault(workflow.id, [])
        calls[:] = [*(at for at in calls if now - at < 1), now]
        if self.limited and len(calls) > _MOST_A_SECOND:
            raise WorkflowError(429, "TooManyRequests", "Rate limit is exceeded.")


def _about(request: web.Request) -> set[str]:
    return {request.match_info.get("id", "")}
