"""An embedded Discord: its webhooks, over HTTP on loopback, refusing what Discord refuses."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.clock import Clock
from alerter.demo.discord_checks import DiscordError, find_faults, pings
from alerter.demo.faults import Faults, Loopback, LoopbackService, application, failing

Json = dict[str, Any]

_PATH = "/api/webhooks/{id}/{token}"
# Requests of one webhook, and messages of all webhooks of a channel:
# https://github.com/discord/discord-api-docs/issues/367
_LIMITS = {"webhook": (5, 2.0), "channel": (30, 60.0)}


@dataclass
class DiscordWebhook:
    """A webhook of one channel; `forum`: the channel takes messages in threads only."""

    id: str
    token: str
    channel: str
    forum: bool = False
    deleted: bool = False
    messages: dict[str, Json] = field(default_factory=dict)


@dataclass
class DiscordCall:
    """A received call; `status` is None until it is answered, `at` monotonic time in seconds."""

    method: str
    path: str
    at: float
    query: Json = field(default_factory=dict)
    body: Any = None
    status: int | None = None
    error: Json | None = None


_CALL = web.RequestKey("discord_call", DiscordCall)


class EmbeddedDiscord(LoopbackService):
    """Webhooks, the messages that they posted, and every call that arrived.

    `limited`: the limits of a webhook and its channel hold. `posted`: each message as it was
    posted, whatever became of it. `pinged`: whom a message notified.
    """

    def __init__(self, *, clock: Clock | None = None, limited: bool = True) -> None:
        self.clock = clock or Clock()
        self.limited = limited
        self.webhooks: dict[str, DiscordWebhook] = {}
        self.requests: list[DiscordCall] = []
        self.posted: list[Json] = []
        self.pinged: list[str] = []
        self.faults = Faults()
        self._calls: dict[str, list[float]] = {}
        self._server = Loopback(self._application)

    def add_webhook(self, channel: str, *, forum: bool = False) -> DiscordWebhook:
        """Add a webhook to a channel, which may have others."""
        number = len(self.webhooks) + 1
        webhook = DiscordWebhook(
            f"22370470649554{number:04}", f"Secret-token_{number:055}", channel, forum
        )
        self.webhooks[webhook.id] = webhook
        return webhook

    def url(self, webhook: DiscordWebhook) -> str:
        """Return the address of a webhook, which is all that is needed to post."""
        return f"{self._server.url}/api/webhooks/{webhook.id}/{webhook.token}"

    @property
    def messages(self) -> list[Json]:
        """The messages that stand in all channels."""
        return [each for webhook in self.webhooks.values() for each in webhook.messages.values()]

    def _application(self) -> web.Application:
        app = application(self._record, failing(self.faults, _about))
        app.router.add_get(_PATH, self._describe)
        app.router.add_post(_PATH, self._post)
        app.router.add_patch(_PATH + "/messages/{message}", self._edit)
        app.router.add_delete(_PATH + "/messages/{message}", self._delete)
        return app

    @web.middleware
    async def _record(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        call = DiscordCall(
            request.method, request.path, self.clock.monotonic(), dict(request.query)
        )
        self.requests.append(call)
        request[_CALL] = call
        raw = await request.read()
        try:
            call.body = json.loads(raw) if raw else None
        except ValueError:
            call.body = raw
        try:
            response = await handler(request)
        except DiscordError as error:
            call.error = error.body
            response = web.json_response(error.body, status=error.status, headers=error.headers)
        call.status = response.status
        return response

    def _webhook(self, request: web.Request) -> DiscordWebhook:
        webhook = self.webhooks.get(request.match_info["id"])
        if webhook is None or webhook.deleted:
            raise DiscordError(404, 10015, "Unknown Webhook")
        if request.match_info["token"] != webhook.token:
            raise DiscordError(401, 50027, "Invalid Webhook Token")
        return webhook

    async def _describe(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        return web.json_response(
            {
                "id": webhook.id,
                "type": 1,
                "name": "Captain Hook",
                "channel_id": webhook.channel,
                "token": webhook.token,
                "url": f"https://discord.com/api/webhooks/{webhook.id}/{webhook.token}",
            }
        )

    async def _post(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        headers = self._count(webhook)
        body = _body(request)
        if webhook.forum and "thread_id" not in request.query and "thread_name" not in body:
            text = "Webhooks posted to forum channels must have a thread_name or thread_id"
            raise DiscordError(400, 220001, text)
        find_faults(body)
        message = self._stored(webhook, body, request.query.get("thread_id"))
        # Without `wait` Discord answers before it has saved the message, and may not save it.
        if request.query.get("wait", "").lower() not in ("true", "1"):
            return web.Response(status=204, headers=headers)
        return web.json_response(message, headers=headers)

    def _stored(self, webhook: DiscordWebhook, body: Json, thread: str | None) -> Json:
        number = sum(len(each.messages) for each in self.webhooks.values()) + 1
        message: Json = {
            "id": f"13000000000000{number:05}",
            "type": 0,
            "channel_id": thread or webhook.channel,
            "webhook_id": webhook.id,
            "timestamp": datetime.now(UTC).isoformat(),
            "content": str(body.get("content") or "").strip(),
            "embeds": [{**each, "type": "rich"} for each in body.get("embeds") or []],
        }
        webhook.messages[message["id"]] = message
        self.posted.append(dict(message))
        self.pinged += pings(body)
        return message

    async def _edit(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        headers = self._count(webhook)
        message, body = self._message(webhook, request), _body(request)
        changed: Json = {key: body[key] for key in ("content", "embeds") if key in body}
        find_faults({**message, **changed, "allowed_mentions": body.get("allowed_mentions")})
        message.update(changed, edited_timestamp=datetime.now(UTC).isoformat())
        return web.json_response(message, headers=headers)

    async def _delete(self, request: web.Request) -> web.Response:
        webhook = self._webhook(request)
        headers = self._count(webhook)
        del webhook.messages[self._message(webhook, request)["id"]]
        return web.Response(status=204, headers=headers)

    def _message(self, webhook: DiscordWebhook, request: web.Request) -> Json:
        message = webhook.messages.get(request.match_info["message"])
        thread = request.query.get("thread_id", webhook.channel)
        # A message in a thread is found with the id of its thread only.
        if message is None or message["channel_id"] != thread:
            raise DiscordError(404, 10008, "Unknown Message")
        return message

    def _count(self, webhook: DiscordWebhook) -> dict[str, str]:
        """Count a call, also a refused one; return the headers of the webhook's limit."""
        if not self.limited:
            return {}
        now = self.clock.monotonic()
        scopes = {"webhook": webhook.id, "channel": webhook.channel}
        remaining = {}
        for scope, (most, seconds) in _LIMITS.items():
            calls = self._calls.setdefault(f"{scope}:{scopes[scope]}", [])
            calls[:] = [at for at in calls if now - at < seconds]
            calls.append(now)
            remaining[scope] = most - len(calls)
            if remaining[scope] < 0:
                raise rate_limited(
                    calls[0] + seconds - now, scope="shared" if scope == "channel" else "user"
                )
        most, seconds = _LIMITS["webhook"]
        return {
            "X-RateLimit-Limit": str(most),
            "X-RateLimit-Remaining": str(remaining["webhook"]),
            "X-RateLimit-Reset-After": f"{seconds:.3f}",
            "X-RateLimit-Bucket": "7c7ba9f36fd5e0a5bd4c2ab6a1fc9ad0",
        }


def rate_limited(seconds: float, *, scope: str = "user") -> DiscordError:
    """Return the refusal of one call too many: the body has fractions of a second.

    https://docs.discord.com/developers/topics/rate-limits
    """
    headers = {"Retry-After": str(ceil(seconds)), "X-RateLimit-Scope": scope}
    if scope == "global":
        headers["X-RateLimit-Global"] = "true"
    error = DiscordError(429, 0, "You are being rate limited.", headers)
    error.body = {
        "message": "You are being rate limited.",
        "retry_after": round(seconds, 3),
        "global": scope == "global",
    }
    return error


def _body(request: web.Request) -> Json:
    if request.content_type != "application/json" or not isinstance(request[_CALL].body, dict):
        raise DiscordError(400, 50109, "The request body contains invalid JSON.")
    return dict(request[_CALL].body)


def _about(request: web.Request) -> set[str]:
    return {request.match_info.get("id", "")}
