"""The embedded receivers of webhooks, ntfy, Discord and Teams, with the faults of the plan."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

from aiohttp import web

from alerter.demo.discord import EmbeddedDiscord
from alerter.demo.discord_checks import DiscordError
from alerter.demo.faults import Fault, _fail
from alerter.demo.ntfy import EmbeddedNtfy
from alerter.demo.teams import EmbeddedTeams, WorkflowError
from alerter.demo.webhook import EmbeddedWebhook
from tests.simulation import history as h
from tests.simulation.faults import Active, ActiveFaults
from tests.simulation.loop import Process
from tests.simulation.reading import read_items, repeats
from tests.simulation.services import _already, no_answer_of, process_of
from tests.simulation.setup import env_of

KINDS = (
    "posted_down", "posted_redirected", "posted_throttled", "posted_gone", "posted_message_refused",
    "posted_dropped_before", "posted_dropped_after", "posted_nonsense",
)  # fmt: skip
_VERBS: Mapping[str, h.Verb] = {"POST": "post", "PATCH": "update", "DELETE": "delete"}
_TYPES: Mapping[str, h.AlertKind] = {
    "review.new": "new",
    "review.lowered": "lowered",
    "review.reminder": "reminder",
    "review.closed": "closed",
}
# What tells apart the faults of one site or receiver, by the kind of a trouble.
_MARKS = {
    "private": "not published", "unrouted": "go to no receiver", "method:look": "can look whether",
    "method:update": "can change messages", "message": "refused for good", "addresses": "some addresses",
    "erasure": "words of a deleted", "service:address": "does not take messages now", "service:slack": "Slack",
    "service:smtp": "mail server", "start": "alerter does not start",
}  # fmt: skip


class Posts:
    """What all of these services took, `calls`, and what they did not, `attempts`."""

    def __init__(self, faults: ActiveFaults, clock: Any) -> None:
        self.calls: list[tuple[h.Posted, Process]] = []
        self.attempts: list[h.Attempt] = []
        self.webhook, self.ntfy = EmbeddedWebhook(clock=clock), EmbeddedNtfy(clock=clock)
        self.discord, self.teams = EmbeddedDiscord(clock=clock), EmbeddedTeams(clock=clock)
        self.services = (self.webhook, self.ntfy, self.discord, self.teams)
        self._wrong = faults
        self._clock = clock
        self._media: dict[Any, h.Medium] = dict(zip(self.services, h.POSTED, strict=True))
        self._names: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        for service in self.services:
            self._extend(service)

    def _extend(self, service: Any) -> None:
        build, medium = service._server._build, self._media[service]

        def application() -> web.Application:
            app: web.Application = build()

            @web.middleware
            async def go_wrong(request: web.Request, handler: Any) -> web.StreamResponse:
                return await self._go_wrong(medium, request, handler)

            app.middlewares.append(go_wrong)
            return app

        service._server._build = application

    def add(self, medium: str, address: str) -> None:
        """Add an address of a medium, unless it is there; its URL is a secret of the config."""
        if env_of(address) in self.secrets:
            return
        key, url = address, ""
        if medium == "webhook":
            hook = self.webhook.add(address, query="token=t")
            url = hook.url
            self.secrets[f"{env_of(address)}_KEY"] = hook.secret
        elif medium == "ntfy":
            url = self.ntfy.url(address)
        elif medium == "discord":
            webhook = self.discord.add_webhook(address)
            key, url = webhook.id, self.discord.url(webhook)
        else:
            workflow = self.teams.add_workflow()
            key, url = workflow.id, self.teams.url(workflow)
        self._names[key] = address
        self.secrets[env_of(address)] = url

    async def _go_wrong(
        self, medium: h.Medium, request: web.Request, handler: Any
    ) -> web.StreamResponse:
        address = next(self._names[part] for part in request.path.split("/") if part in self._names)
        verb = _VERBS.get(request.method)
        if verb is None:
            return cast("web.StreamResponse", await handler(request))
        text = _text(medium, await request.read())
        items = items_of_webhook(text) if medium == "webhook" else read_items(text)
        call = h.Posted(
            self._clock.now(), medium, address, verb, request.headers.get("webhook-id", ""), items,
            text, repeats(text),
        )  # fmt: skip
        active = self._fault(address, [item.review_id for item in items])
        process, fault = process_of(request), active and answer_of(active, self._clock.now())
        if active is None or fault is None or fault.works:
            return await self._work(call, process, request, handler, fault)
        wait = active.retry_after
        outcome = "dropped" if fault.drop else str(fault.status)
        self._refused(call, process, outcome, None if wait is None else timedelta(seconds=wait))
        return await _fail(fault, request, handler)

    async def _work(
        self, call: h.Posted, process: Process, request: web.Request, handler: Any, fault: Any
    ) -> web.StreamResponse:
        """Let the service do its work; with a fault its answer is lost."""
        fails = sum(len(each.fails) for each in self.teams.workflows.values())
        try:
            response: web.Response = await handler(request)
        except (DiscordError, WorkflowError) as error:
            wait = getattr(error, "headers", {}).get("Retry-After")
            wait = wait and timedelta(seconds=float(wait))
            self._refused(call, process, str(error.status), wait)
            raise
        failed = sum(len(each.fails) for each in self.teams.workflows.values()) > fails
        if response.status >= 300 or failed:
            self._refused(call, process, "card" if failed else str(response.status))
            return response
        ts = call.ts
        if call.medium == "discord":
            last = request.path.rpartition("/")[2]
            ts = json.loads(response.text or "{}").get("id", "") if call.verb == "post" else last
        self.calls.append((h.replace(call, ts=ts, answered=fault is None), process))
        return response if fault is None else await _fail(fault, request, _already(response))

    def _refused(
        self, call: h.Posted, process: Process, outcome: str, retry_after: timedelta | None = None
    ) -> None:
        method = None if call.verb == "post" else call.verb
        self.attempts.append(
            h.Attempt(call.time, "posted", call.address, method, outcome, call.ts or None, call.items,
                      retry_after, process.name)
        )  # fmt: skip

    def _fault(self, address: str, named: list[Any]) -> Active | None:
        for kind in KINDS:
            if fault := self._wrong.hit(kind, address=address, review_id=named):
                return fault
        return None


def answer_of(fault: Active, now: datetime) -> Fault:
    """Return what a fault of the plan answers to a request."""
    if silence := no_answer_of(fault):
        return silence
    if fault.kind.endswith("nonsense"):
        return Fault(garble="html")
    if fault.kind.endswith("redirected"):
        return Fault(status=int(fault.code), headers={"Location": "/elsewhere"}, body="")
    if fault.kind.endswith("throttled"):
        return _throttled(fault, now)
    return Fault(status=int(fault.code or 503), body="{}")


def _throttled(fault: Active, now: datetime) -> Fault:
    """Return a refusal that says when to come back: in seconds, as a date, or in its body."""
    wait = fault.retry_after or 0.0
    if fault.code == "429 body":
        return Fault(status=429, body=json.dumps({"retry_after": wait, "global": False}))
    text = f"{wait:.0f}"
    if fault.code == "429 date":
        text = format_datetime(now + timedelta(seconds=wait), usegmt=True)
    return Fault(status=429, headers={"Retry-After": text}, body="{}")


def _text(medium: h.Medium, body: bytes) -> str:
    """Return what people read in a request."""
    if medium in {"webhook", "ntfy"} or not body:
        return body.decode()
    text = "\n".join(_texts(json.loads(body))).replace("\N{WORD JOINER}", "")
    return re.sub(r"\\([^\w\s])", r"\1", text) if medium == "discord" else text


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in {"content", "description", "text", "title"} and isinstance(inner, str):
                yield inner
            else:
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def items_of_webhook(text: str) -> tuple[h.Item, ...]:
    """Return the alert that the body of a webhook is about."""
    body = json.loads(text)
    kind, data = body["type"], body["data"]
    if kind in {"trouble", "recovered"}:
        trouble = data["trouble"]
        about = f"{_MARKS.get(trouble['kind'], '')} {trouble['what']}".strip()
        return (h.Item(kind, about=about),)
    if kind == "summary":
        return (h.Item("summary", about="other:summary"),)
    if kind == "cluster":
        named = tuple(each["id"] for each in data["reviews"])
        return (h.Item("cluster", about=f"site:{data['site']['id']}/cluster", reviews=named),)
    if kind not in _TYPES:
        return ()
    review = data["review"]
    return (
        h.Item(
            _TYPES[kind],
            review["id"],
            before=data.get("before", {}).get("rating") if kind == "review.lowered" else None,
            after=review["rating"],
            reason=review.get("closed") if kind == "review.closed" else None,
        ),
    )
