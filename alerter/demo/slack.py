"""An embedded Slack: an HTTP server on loopback that refuses what Slack refuses."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from email.utils import format_datetime

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import Clock
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing
from alerter.demo.slack_arguments import read_arguments
from alerter.demo.slack_methods import Workspace
from alerter.demo.slack_people import ImpossibleError, Person
from alerter.demo.slack_socket import Interaction, SocketMode
from alerter.demo.slack_views import Modal, Views
from alerter.demo.slack_workspace import (
    AppToken,
    Channel,
    Ephemeral,
    Json,
    Post,
    SlackError,
    Token,
    User,
)

__all__ = [
    "Call",
    "Channel",
    "EmbeddedSlack",
    "Ephemeral",
    "ImpossibleError",
    "Interaction",
    "Modal",
    "Person",
    "Post",
    "Token",
    "User",
]


@dataclass
class Call:
    """A received call. `status` is None until it is answered, `at` monotonic time in seconds."""

    method: str
    at: float
    args: Json = field(default_factory=dict)
    status: int | None = None
    error: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str = ""

    @property
    def cookie(self) -> str | None:
        """The Cookie header."""
        return self.headers.get("Cookie")


_CALL = web.RequestKey("call", Call)
_OPEN = "apps.connections.open"


class EmbeddedSlack(Workspace, LoopbackService):
    """A workspace that is served over HTTP, and every call that it received.

    `socket` has the connections of Socket Mode, `views` the modals. `person` acts for a user.
    """

    def __init__(self, *, clock: Clock | None = None, pace: float | None = 1.0) -> None:
        super().__init__(clock or Clock(), pace)
        self.requests: list[Call] = []
        self.faults = Faults()
        self.socket = SocketMode(self.clock)
        self.views = Views(self)
        self.methods = {**self.methods, **self.views.methods}
        self._server = Loopback(self._application)

    async def stop(self) -> None:
        """Stop listening; messages are kept."""
        await self.socket.stop()
        await self._server.stop()

    def person(self, user_id: str) -> Person:
        """Return a person of the workspace, to act for."""
        return Person(self.users[user_id], self, self.views, self.socket, self._server.url)

    @property
    def base_url(self) -> str:
        """The address that replaces https://slack.com/api/."""
        return f"{self._server.url}/api/"

    def _application(self) -> web.Application:
        app = application(self._record, failing(self.faults, _about))
        app.router.add_route("*", "/api/{method}", self._answer)
        app.router.add_get("/link/", self.socket.link)
        app.on_response_prepare.append(self._sign)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        method = request.path.removeprefix("/api/").strip("/")
        call = Call(method, self.clock.monotonic(), headers=dict(request.headers))
        self.requests.append(call)
        request[_CALL] = call
        try:
            call.args = await read_arguments(request)
        except SlackError as error:
            call.error = error.error
        call.token = _credential(request, call.args)
        response = await handler(request)
        call.status = response.status
        response.headers.setdefault("Date", format_datetime(self.now(), usegmt=True))
        return response

    async def _sign(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-slack-req-id"] = f"{len(self.requests):032x}"
        call = request[_CALL]
        if token := self.tokens.get(call.token) or self.app_tokens.get(call.token):
            response.headers["x-oauth-scopes"] = ",".join(token.scopes)
            if isinstance(token, Token) and token.cookie is not None:
                response.headers.add("Set-Cookie", token.cookie)

    async def _answer(self, request: web.Request) -> web.Response:
        call = request[_CALL]
        try:
            return web.json_response({"ok": True, **self._result(call)})
        except SlackError as error:
            call.error = error.error
            limited = error.retry_after is not None
            return web.json_response(
                {"ok": False, "error": error.error, **error.more},
                status=429 if limited else 200,
                headers={"Retry-After": f"{error.retry_after}"} if limited else None,
            )

    def _result(self, call: Call) -> Json:
        if call.method not in {*self.methods, _OPEN}:
            raise SlackError("unknown_method", req_method=call.method)
        if call.error:
            raise SlackError(call.error)
        if not call.token:
            raise SlackError("not_authed")
        token = self.tokens.get(call.token) or self.app_tokens.get(call.token)
        if token is None:
            raise SlackError("invalid_auth")
        if token.revoked:
            raise SlackError("token_revoked")
        if isinstance(token, AppToken):
            return self._app_result(token, call)
        if token.inactive:
            raise SlackError("account_inactive")
        if call.method == _OPEN:
            raise SlackError("not_allowed_token_type")
        return self.call(token, call.method, call.args)

    def _app_result(self, token: AppToken, call: Call) -> Json:
        self.require_unthrottled(call.method)
        if error := self.refuse.get((call.method, "*")):
            raise SlackError(error)
        if call.method == "auth.test":
            return {"app_name": token.app_name, "app_id": token.app_id}
        if call.method != _OPEN:
            raise SlackError("not_allowed_token_type")
        if "Authorization" not in call.headers:
            # https://docs.slack.dev/reference/methods/apps.connections.open
            raise SlackError("invalid_auth")
        if "connections:write" not in token.scopes:
            raise SlackError(
                "missing_scope", needed="connections:write", provided=",".join(token.scopes)
            )
        return self.socket.open(token, self._server.url)


def _about(request: web.Request) -> Collection[str]:
    call = request[_CALL]
    return {call.token, str(call.args.get("channel"))}


def _credential(request: web.Request, args: Json) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind == "Bearer":
        return token
    return "" if request.content_type == "application/json" else str(args.get("token", ""))
