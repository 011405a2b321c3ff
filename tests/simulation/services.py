"""The embedded Wix, Slack and mailbox, with the faults of the plan, writing down what happens at
them.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from aiohttp import web
from aiosmtpd.smtp import AuthResult

from alerter.demo.faults import Fault, _fail
from alerter.demo.mailbox import Mailbox, _abort
from alerter.demo.slack import _CALL, EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_calls import REVIEWS, Refusal
from tests.simulation import history as h
from tests.simulation.faults import Active, ActiveFaults
from tests.simulation.loop import Process, Transport
from tests.simulation.reading import read_items, repeats, said_in_blocks

# Longer than any client waits.
_FOR_EVER = 700.0


def process_of(request: web.Request) -> Process:
    """The process that made a request."""
    return cast("Transport", request.transport).peer.process


class _Answers:
    """What was answered to processes that may die before the answer arrives."""

    def __init__(self) -> None:
        self.sent: list[tuple[Process, datetime, Any]] = []


class SimWix(EmbeddedWix):
    """Wix. `reads` is every answer about reviews, `versions` every state of every review."""

    def __init__(self, faults: ActiveFaults, **more: Any) -> None:
        super().__init__(requests_per_minute=None, **more)
        self.wrong = faults
        self.reads: list[tuple[h.Read, Process]] = []
        self.versions: dict[tuple[str, str], list[tuple[datetime, h.Review, str]]] = {}
        self.attempts: list[h.Attempt] = []

    def _refused(
        self, request: web.Request, site_id: str, outcome: str, retry_after: float | None = None
    ) -> None:
        wait = None if retry_after is None else timedelta(seconds=retry_after)
        self.attempts.append(
            h.Attempt(self.clock.now(), "wix", site_id, request.path, outcome, retry_after=wait,
                      by=process_of(request).name)
        )  # fmt: skip

    def _application(self) -> web.Application:
        app = super()._application()
        app.middlewares.append(self._go_wrong)
        return app

    @web.middleware
    async def _go_wrong(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/oauth2/token":
            if fault := self.wrong.hit("wix_token"):
                return await _fail(answer_of(fault), request, handler)
            return cast("web.StreamResponse", await handler(request))
        try:
            site_id = self.access.caller(request).site.site_id
        except Refusal:
            return cast("web.StreamResponse", await handler(request))
        body = await _json(request)
        private = isinstance(body, dict) and body.get("returnPrivateReviews") is True
        private = private or request.query.get("returnPrivateReviews") == "true"
        about_reviews = request.path == f"{REVIEWS}/query" or (
            request.method == "GET" and request.path.startswith(f"{REVIEWS}/")
        )
        if private and self.wrong.hit("wix_private_forbidden", site_id=site_id):
            self._refused(request, site_id, "403")
            raise Refusal(403, "PERMISSION_DENIED", "REVIEWS.READ_PRIVATE_REVIEWS is required")
        for kind in ("wix_down", "wix_throttled", "wix_unauthorized"):
            if fault := self.wrong.hit(kind, site_id=site_id):
                self._refused(request, site_id, fault.code, fault.retry_after)
                return await _fail(answer_of(fault), request, handler)
        if not about_reviews:
            return cast("web.StreamResponse", await handler(request))
        fault = self.wrong.hit("wix_nonsense", site_id=site_id)
        if fault:
            self._refused(request, site_id, "nonsense")
            self._note(request, site_id, body, private, None)
            return await _fail(answer_of(fault), request, handler)
        try:
            response = await handler(request)
        except Refusal as refusal:
            if request.method == "GET" and refusal.status == 404:
                self._note(request, site_id, body, private, {"reviews": []})  # it is not there
            raise
        answer = json.loads(response.text)
        answer, wrong = self._spoiled(site_id, request, body, answer)
        self._note(request, site_id, body, private, answer, wrong=wrong)
        if fault := self.wrong.hit("wix_slow", site_id=site_id):
            await asyncio.sleep(float(fault.code))  # what it says is as old as the request
        return web.json_response(self._without_authors(site_id, answer))

    def _spoiled(
        self, site_id: str, request: web.Request, body: Any, answer: Any
    ) -> tuple[Any, bool]:
        if "reviews" not in answer:
            return answer, False
        if _asked_ids(body) is not None and self.wrong.hit("wix_empty", site_id=site_id):
            return {"reviews": [], "metadata": {"count": 0, "cursors": {}}}, True
        if fault := self.wrong.hit("wix_stale", site_id=site_id):
            then = self.clock.now() - timedelta(seconds=fault.retry_after or 600)
            old = [self._as_of(site_id, review["id"], then) for review in answer["reviews"]]
            answer = answer | {"reviews": [review for review in old if review is not None]}
        return answer, False

    def _without_authors(self, site_id: str, answer: Any) -> Any:
        """What lacks its authors shows everything else as it is."""
        if "reviews" not in answer or not self.wrong.hit("wix_no_author", site_id=site_id):
            return answer
        return answer | {
            "reviews": [
                {k: v for k, v in review.items() if k != "author"} for review in answer["reviews"]
            ]
        }

    def _as_of(self, site_id: str, review_id: str, then: datetime) -> Any:
        known = [text for at, _, text in self.versions.get((site_id, review_id), []) if at <= then]
        return json.loads(known[-1]) if known else None

    def _note(
        self,
        request: web.Request,
        site_id: str,
        body: Any,
        private: bool,
        answer: Any,
        *,
        wrong: bool = False,
    ) -> None:
        process = process_of(request)
        asked = _asked_ids(body)
        if request.method == "GET":
            asked = [request.match_info["id"]]
        reviews = (
            []
            if answer is None
            else answer["reviews"]
            if "reviews" in answer
            else [answer["review"]]
        )
        shown = [(review["id"], self.version(site_id, review)) for review in reviews]
        ids = {review_id for review_id, _ in shown}
        read = h.Read(
            self.clock.now(),
            site_id,
            process.name,
            private,
            tuple(shown),
            tuple(review_id for review_id in asked or () if review_id not in ids)
            if answer is not None
            else (),
            arrived=answer is not None and not wrong,
            wrong=wrong,
            last_page=answer is None
            or not ((answer.get("metadata") or {}).get("cursors") or {}).get("next"),
            oldest_asked=_oldest(body),
            by_id=asked is not None,
        )
        self.reads.append((read, process))

    def version(self, site_id: str, review: Any) -> int:
        """Which of the states of a review it is that an answer shows."""
        text = json.dumps(review, sort_keys=True)
        known = self.versions[site_id, review["id"]]
        for _, state, written in reversed(known):
            if written == text:
                return state.version
        return known[-1][1].version


class SimSlack(EmbeddedSlack):
    """Slack. `calls` is what it took, `attempts` what it did not."""

    def __init__(self, faults: ActiveFaults, **more: Any) -> None:
        super().__init__(**more)
        self.wrong = faults
        self.calls: list[tuple[h.SlackCall, Process]] = []
        self.attempts: list[h.Attempt] = []
        self._history_at: dict[str, float] = {}

    def _application(self) -> web.Application:
        app = super()._application()
        app.middlewares.append(self._go_wrong)
        return app

    @web.middleware
    async def _go_wrong(self, request: web.Request, handler: Any) -> web.StreamResponse:
        call = request[_CALL]
        channel, method = str(call.args.get("channel", "")), call.method
        fault = self._fault(method, channel, call.args)
        posts, edits = len(self.posts), self._edits(call)
        process, lost = (
            process_of(request),
            fault is not None and (fault.delay > 60 or fault.drop is not None),
        )
        lost = lost or (fault is not None and (fault.garble is not None or fault.answers))
        now = self.clock.now()
        response: web.StreamResponse
        if fault is not None and fault.works and fault.delay:
            # What Slack does is done at once, though its answer takes long.
            response = await handler(request)
            self._took(call, process, posts, edits, now, answered=not lost)
            return await _fail(fault, request, _already(response))
        if fault is not None:
            try:
                return await _fail(fault, request, handler)
            finally:
                wait = fault.headers.get("Retry-After")
                retry_after = timedelta(seconds=float(wait)) if wait else None
                self._took(
                    call,
                    process,
                    posts,
                    edits,
                    now,
                    answered=False,
                    code=_code(fault),
                    retry_after=retry_after,
                )
        response = await handler(request)
        self._took(call, process, posts, edits, now, answered=True, code=call.error or "")
        return response

    def _fault(self, method: str, channel: str, args: Any) -> Fault | None:
        what = {"method": method, "channel": channel or None}
        if method.startswith(("conversations.history", "conversations.replies")):
            last = self._history_at.get(method, -1e9)
            if self.clock.monotonic() - last < 60 and self.wrong.hit(
                "slack_history_limited", **what
            ):
                return Fault(
                    status=429,
                    headers={"Retry-After": "60"},
                    body='{"ok": false, "error": "ratelimited"}',
                )
            self._history_at[method] = self.clock.monotonic()
        for kind in ("slack_down", "slack_throttled", "slack_auth", "slack_channel_refused"):
            if fault := self.wrong.hit(kind, **what):
                return answer_of(fault)
        if method == "chat.update" and (fault := self.wrong.hit("slack_update_refused", **what)):
            return answer_of(fault)
        if method in {"chat.postMessage", "chat.update"}:
            named = [item.review_id for item in read_items(str(args.get("text", "")))]
            if fault := self.wrong.hit("slack_message_refused", review_id=named, **what):
                return answer_of(fault)
        for kind in ("slack_dropped_before", "slack_dropped_after", "slack_nonsense"):
            if fault := self.wrong.hit(kind, **what):
                return answer_of(fault)
        return None

    def _edits(self, call: Any) -> int:
        channel = self.channels.get(str(call.args.get("channel", "")))
        post = channel.messages.get(str(call.args.get("ts", ""))) if channel else None
        return len(post.edits) if post else -1

    def _took(
        self, call: Any, process: Process, posts: int, edits: int, now: datetime, *, answered: bool, code: str = "",
        retry_after: timedelta | None = None,
    ) -> None:  # fmt: skip
        args = call.args
        text = f"{args.get('text', '')}\n{said_in_blocks(args.get('blocks'))}"
        if call.method == "chat.postMessage" and (
            new := [post for post in self.posts[posts:] if post.args is args]
        ):
            post = new[0]
            taken = h.SlackCall(
                now, "post", post.channel, post.ts, args.get("thread_ts"), bool(post.thread_ts), read_items(text),
                text, repeats(text), answered=answered,
            )  # fmt: skip
        elif call.method == "chat.update" and self._edits(call) > edits >= 0:
            taken = h.SlackCall(
                now, "update", args["channel"], args["ts"], items=read_items(text), text=text,
                says_repeat=repeats(text), answered=answered,
            )  # fmt: skip
        elif call.method == "chat.delete" and not call.error and answered:
            taken = h.SlackCall(now, "delete", args["channel"], args["ts"])
        else:
            if code or not answered:
                uid = str(
                    ((_loaded(args.get("metadata")) or {}).get("event_payload") or {}).get(
                        "message"
                    )
                    or ""
                )
                self.attempts.append(
                    h.Attempt(now, "slack", str(args.get("channel", "")), call.method, code or "dropped", uid or None,
                              read_items(text), retry_after, process.name)
                )  # fmt: skip
            return
        self.calls.append((taken, process))


class SimMailbox(Mailbox):
    """The mail server. `taken` is what it took, `attempts` what it did not."""

    def __init__(self, faults: ActiveFaults, **more: Any) -> None:
        super().__init__(**more)
        self.wrong = faults
        self.taken: list[tuple[h.Mail, Process]] = []
        self.attempts: list[h.Attempt] = []

    def _protocol(self) -> asyncio.BaseProtocol:
        fault = self.wrong.hit("smtp_down")
        self.greeting = (fault.code or None) if fault else None
        self.down = fault is not None
        if fault and fault.code == "drop":
            self.drop.appendleft("connect")
        if fault:
            self._attempt("", fault.code or "421")
        return super()._protocol()

    def _attempt(
        self, target: str, outcome: str, message_id: str | None = None, items: Any = ()
    ) -> None:
        self.attempts.append(
            h.Attempt(self.clock.now(), "smtp", target, None, outcome, message_id, items)
        )

    async def handle_RCPT(  # noqa: N802 - aiosmtpd
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        for kind in ("smtp_address_hard", "smtp_address_soft"):
            if fault := self.wrong.hit(kind, address=address):
                code = fault.code or (
                    "550 5.1.1 no such user" if kind.endswith("hard") else "450 4.2.1 later"
                )
                refused = getattr(envelope, "sim_refused", [])
                envelope.sim_refused = [*refused, (address, int(code[:3]))]
                self._attempt(address, code[:3])
                return code
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if fault := self.wrong.hit("smtp_busy"):
            self._attempt("", (fault.code or "451")[:3])
            return fault.code or "451 4.3.0 try again later"
        return await super().handle_MAIL(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd
        mail = self._mail(envelope)
        items, message_id = read_items(mail.text), mail.message_id.strip("<>")
        named = [item.review_id for item in items]
        recipients = envelope.rcpt_tos
        if fault := self.wrong.hit("smtp_message_refused", review_id=named):
            for address in recipients:
                self._attempt(address, "554", message_id, items)
            return fault.code or "554 5.7.1 no"
        if self.wrong.hit("smtp_dropped_before", address=recipients):
            for address in recipients:
                self._attempt(address, "dropped", message_id, items)
            _abort(server)
        lost = self.wrong.hit("smtp_dropped_after", address=recipients)
        nonsense = self.wrong.hit("smtp_nonsense", address=recipients)
        process = server.transport.peer.process
        self.taken.append(
            (
                h.Mail(
                    self.clock.now(), message_id, tuple(recipients), items, mail.subject, mail.text,
                    repeats(mail.subject + mail.text), answered=not (lost or nonsense),
                    refused_for=tuple(getattr(envelope, "sim_refused", ())),
                ),
                process,
            )
        )  # fmt: skip
        if nonsense:
            server.transport.write(b"\xff\xfe caf\xe9\r\n")
            await asyncio.sleep(1)
        if lost or nonsense:
            _abort(server)
        return await super().handle_DATA(server, session, envelope)

    def authenticate(self, *args: Any) -> AuthResult:
        if self.wrong.hit("smtp_auth"):
            self._attempt("", "535")
            return AuthResult(success=False, handled=False)
        return super().authenticate(*args)


def no_answer_of(fault: Active) -> Fault | None:
    """How a fault of the plan leaves a call without an answer; None where it answers."""
    if fault.code == "drop" or fault.kind.endswith("dropped_before"):
        return Fault(drop="before")
    if fault.kind.endswith("dropped_after"):
        return Fault(drop="after")
    if fault.code == "hang":
        return Fault(delay=_FOR_EVER, drop="before")
    return None


def answer_of(fault: Active) -> Fault:
    """What a fault of the plan answers to a call."""
    if silence := no_answer_of(fault):
        return silence
    if fault.kind.endswith("throttled"):
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:.0f}"}
        slack = fault.kind.startswith("slack")
        return Fault(
            status=429,
            headers=headers,
            body='{"ok": false, "error": "ratelimited"}' if slack else "{}",
        )
    if fault.kind.endswith("nonsense"):
        return Fault(garble="html") if fault.code != "json" else Fault(body="[]", done=True)
    if fault.code.isdigit():
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:.0f}"}
        return Fault(status=int(fault.code), headers=headers, body="{}")
    if fault.kind.startswith("slack"):
        return Fault(body=json.dumps({"ok": False, "error": fault.code}))
    return Fault(status=503)


def _already(response: web.StreamResponse) -> Callable[..., Any]:
    async def handler(_: web.Request) -> web.StreamResponse:
        return response

    return handler


def _code(fault: Fault) -> str:
    if (
        fault.body
        and (error := _loaded(fault.body))
        and isinstance(error, dict)
        and error.get("error")
    ):
        return str(error["error"])
    return str(fault.status or ("dropped" if fault.drop else "nonsense"))


def _loaded(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return None
    return value


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read() or b"null")
    except ValueError:
        return None


def _filter(body: Any) -> Any:
    query = body.get("query") if isinstance(body, dict) else None
    return (query.get("filter") if isinstance(query, dict) else None) or {}


def _asked_ids(body: Any) -> list[str] | None:
    ids = _filter(body).get("id")
    if isinstance(ids, dict):
        return list(ids.get("$in") or [ids.get("$eq")])
    return [ids] if isinstance(ids, str) else None


def _oldest(body: Any) -> datetime | None:
    created = _filter(body).get("createdDate") or {}
    since = created.get("$gte") or created.get("$gt")
    return datetime.fromisoformat(since) if since else None
