"""The page of `alerter demo --serve`: messages as they arrive, and buttons that make events."""

import asyncio
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any, Self, TypeGuard

from aiohttp import web
from aiohttp.typedefs import Handler

from alerter.demo.arrivals import Arrival, Arrivals
from alerter.demo.daemon import Daemon
from alerter.demo.faults import Fault, Loopback
from alerter.demo.mailbox import Mail
from alerter.demo.page import mail_html, post_html
from alerter.demo.slack import Post
from alerter.demo.slack_people import ImpossibleError
from alerter.demo.slack_views import elements_in
from alerter.demo.stage import ADA, PRODUCT_ID, SITE_ID, Stage
from alerter.render.buttons import Pressed
from alerter.render.page import html_page

_LOOK_EVERY = 0.1
_REVIEWS_SHOWN = 12
# The config polls every 5 seconds: a daemon that has not read for so long does not run.
_AWAY_AFTER = 15.0
_SAMPLES = {
    1: ("Stale on arrival", "The croissants were hard as stone, and the box was open."),
    2: ("Half of it missing", "I ordered six and got three."),
    3: ("It was all right", "Nothing special, but the coffee was hot."),
    4: ("Good bread", "I will come back for the rye."),
    5: ("Wonderful", "Best croissants in town!"),
}
_AUTHORS = ("Robin Example", "Kim Sample", "Noa Muster", "Luca Esempio")
_REPLY = "We are sorry. Please give us another chance!"
_ADA = {Pressed.CLAIM: ("claim", "is on it"), Pressed.REPLY: ("reply", "replies")}
_LOOKS_FOR_MODAL = 30  # it opens within three seconds, by Slack's own limit
_SLACK_DOWN = Fault(status=503)
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; "
    "img-src data:"
)
_STARS = "".join(
    f'<button data-post="reviews" data-body="{escape(json.dumps({"rating": rating}))}"'
    f' title="{rating} of 5">{"★" * rating}</button>'
    for rating in _SAMPLES
)
_PAGE = f"""<style>
body {{ max-width: 1500px; }}
main {{ grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); }}
header {{ position: sticky; top: 0; z-index: 1; background: Canvas; padding: 8px 0; }}
header p {{ margin: 8px 0; }}
button {{ font: inherit; padding: 4px 12px; margin: 0 4px 4px 0; cursor: pointer; }}
button:disabled {{ cursor: default; }}
button.down {{ background: #b3261e; color: #fff; }}
#note.good::before {{ content: "● "; color: #1a7f37; }}
iframe {{ height: 480px; }}
@keyframes arrive {{ from {{ background: #f2c94c66; }} }}
.arrived {{ animation: arrive 2s; }}
</style>
<header><h1>alerter demo</h1>
<p><span id="note">…</span> <button id="start" data-post="daemon" hidden>Start alerter</button></p>
<p><span id="add">A customer leaves {_STARS}</span>
<button id="slack" data-post="slack"></button></p></header>
<main>
<section><h2>Reviews at Wix</h2><div id="reviews"></div></section>
<section><h2>Slack</h2><div id="posts"></div></section>
<section><h2>Email</h2><div id="mails"></div></section>
</main><script src="live.js"></script>"""


class LivePage:
    """A server on loopback with the page and its events."""

    def __init__(self, stage: Stage, daemon: Daemon) -> None:
        self._stage, self._daemon = stage, daemon
        self._server = Loopback(self._application)
        self._slack_down = False
        self._added = 0

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"{self._server.url}/"

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._only_from_here])
        app.router.add_get("/", self._page)
        app.router.add_get("/live.js", self._script)
        app.router.add_get("/events", self._events)
        app.router.add_post("/reviews", self._add_review)
        app.router.add_post("/reviews/{id}/reply", self._reply)
        app.router.add_post("/posts/{ts}/{action}", self._respond)
        app.router.add_post("/slack", self._switch_slack)
        app.router.add_post("/daemon", self._start_daemon)
        return app

    @web.middleware
    async def _only_from_here(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuse other websites that a browser of this machine has open."""
        own = self._server.url
        if request.host != own.removeprefix("http://"):
            raise web.HTTPForbidden
        if request.method == "POST" and request.headers.get("Origin") != own:
            raise web.HTTPForbidden
        return await handler(request)

    async def _page(self, _: web.Request) -> web.Response:
        page = html_page("alerter demo", _PAGE, policy=_POLICY)
        return web.Response(text=page, content_type="text/html")

    async def _script(self, _: web.Request) -> web.Response:
        script = (files("alerter.demo") / "live.js").read_text("utf-8")
        return web.Response(text=script, content_type="text/javascript")

    async def _add_review(self, request: web.Request) -> web.Response:
        rating = (await _object(request)).get("rating")
        if not _is_rating(rating):
            raise web.HTTPBadRequest(text="a rating from 1 to 5 is expected")
        title, body = _SAMPLES[rating]
        self._added += 1
        self._stage.wix.add(
            SITE_ID,
            {
                "entityId": PRODUCT_ID,
                "content": {"rating": rating, "title": title, "body": body},
                "author": {"authorName": _AUTHORS[self._added % len(_AUTHORS)]},
            },
        )
        return web.Response(status=201)

    async def _reply(self, request: web.Request) -> web.Response:
        try:
            self._stage.wix.reply(SITE_ID, request.match_info["id"], _REPLY)
        except KeyError:
            raise web.HTTPNotFound from None
        return web.Response(status=204)

    async def _respond(self, request: web.Request) -> web.Response:
        """Let Ada press a button under a message; a reply is typed and sent for her."""
        ada, slack = self._stage.slack.person(ADA), self._stage.slack
        named = request.match_info
        post = next((each for each in slack.posts if each.ts == named["ts"]), None)
        action = {"claim": Pressed.CLAIM, "reply": Pressed.REPLY}.get(named["action"])
        if post is None or action is None:
            raise web.HTTPNotFound
        try:
            await ada.press(post, action)
            if action is Pressed.REPLY:
                for _ in range(_LOOKS_FOR_MODAL):
                    if ada.modals:
                        break
                    await asyncio.sleep(_LOOK_EVERY)
                await ada.submit({"text": _REPLY})
        except ImpossibleError:
            raise web.HTTPConflict(text="alerter does not take it now") from None
        return web.Response(status=204)

    async def _switch_slack(self, request: web.Request) -> web.Response:
        down = (await _object(request)).get("down")
        if not isinstance(down, bool):
            raise web.HTTPBadRequest(text="down is true or false")
        self._slack_down = down
        if self._slack_down:
            self._stage.slack.faults.always("", _SLACK_DOWN)
        else:
            self._stage.slack.faults.clear("")
        return web.Response(status=204)

    async def _start_daemon(self, _: web.Request) -> web.Response:
        if not self._daemon.running:
            await self._daemon.start()
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        arrivals = Arrivals(self._stage.mailbox.mails, self._stage.slack.posts)
        shown: dict[str, Mapping[str, Any]] = {}
        await _send(response, {"kind": "begin"})
        while request.transport is not None and not request.transport.is_closing():
            for arrival in arrivals.new():
                await _send(response, _message(arrival))
            for event in (self._reviews(), self._state()):
                if shown.get(event["kind"]) != event:
                    shown[event["kind"]] = event
                    await _send(response, event)
            await asyncio.sleep(_LOOK_EVERY)
        return response

    def _reviews(self) -> Mapping[str, Any]:
        reviews = self._stage.wix.sites[SITE_ID].reviews
        newest = list(reviews.keys(None, None, None)[-_REVIEWS_SHOWN:])[::-1]
        rows = [row.review for _, key in newest if (row := reviews.get(key))]
        return {"kind": "reviews", "html": "".join(map(_review_html, rows)) or "<p>None yet.</p>"}

    def _state(self) -> Mapping[str, Any]:
        now = self._stage.wix.clock.monotonic()
        read = next((each for each in reversed(self._stage.wix.requests) if each.site_id), None)
        running = read is not None and now - read.at < _AWAY_AFTER
        if running:
            note = "alerter is running: add a review."
        elif self._daemon.running:
            note = "alerter starts …"
        elif self._daemon.ended:
            note = f"alerter has ended: {self._daemon.last_lines()}"
        else:
            note = "alerter is not running. Start it here, or with the printed config."
        return {
            "kind": "state",
            "running": running,
            "mayStart": not running and not self._daemon.running,
            "slackDown": self._slack_down,
            "note": note,
        }


async def _object(request: web.Request) -> Mapping[str, Any]:
    """Return the body of a request. Raise HTTPBadRequest if it is no JSON object."""
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="a JSON object is expected")
    return body


def _is_rating(value: object) -> TypeGuard[int]:
    return type(value) is int and value in _SAMPLES  # True and 1.0 are equal to 1


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


async def _send(response: web.StreamResponse, event: Mapping[str, Any]) -> None:
    await response.write(f"data: {json.dumps(event)}\n\n".encode())


def _message(arrival: Arrival) -> Mapping[str, Any]:
    message = arrival.message
    event = {"kind": "message", "key": arrival.key}
    if isinstance(message, Mail):
        return event | {"column": "mails", "html": mail_html(message)}
    html = "" if message.deleted else post_html(message) + _ada_html(message)
    return event | {"column": "posts", "html": html, "parent": f"post-{message.thread_ts}"}


def _ada_html(post: Post) -> str:
    """Return what Ada can do under a message; empty where it has no buttons."""
    found = {element.get("action_id") for _, element in elements_in(post.shown_blocks)}
    buttons = " ".join(
        f'<button data-post="posts/{post.ts}/{name}">{text}</button>'
        for action_id, (name, text) in _ADA.items()
        if action_id in found
    )
    return f'<div class="about">Ada {buttons}</div>' if buttons else ""


def _review_html(review: Mapping[str, Any]) -> str:
    content, by = (_table(review.get(key)) for key in ("content", "author"))
    # A review that was added by hand may have any rating.
    rating = content["rating"] if _is_rating(content.get("rating")) else 0
    title = escape(str(content.get("title") or "(no title)"))
    author = escape(str(by.get("authorName") or ""))
    answered = review.get("reply")
    action = (
        "✓ answered"
        if answered
        else f'<button data-post="reviews/{escape(review["id"])}/reply">Answer it</button>'
    )
    return (
        f"<article><b>{'★' * rating}{'☆' * (5 - rating)}</b> {title}"
        f'<div class="about">{author} · {action}</div></article>'
    )
