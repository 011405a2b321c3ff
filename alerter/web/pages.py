"""The pages where the readers of mails respond: one for each review, one for all open reviews.

A GET changes nothing, for scanners of mail and previews of links open every address. What changes
something is the POST of a form that the page itself has shown.
"""

import logging
import re
from base64 import b64encode
from collections import deque
from collections.abc import Mapping
from functools import cache
from hashlib import sha256

from aiohttp import web

from alerter.actions import Action
from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.render.review_page import EntryView, Feedback, PageFault, page_style
from alerter.respond.responder import PendingActions, Responder
from alerter.store import State, actions
from alerter.web.entries import Entries, Named, Visit
from alerter.web.forms import KEY, BadBody, Submission, read_submission
from alerter.web.signed_links import BadForm, BadLink, LinkSigner, get_signer
from alerter.web.submissions import Submissions, feedback_of

log = logging.getLogger(__name__)

_ON_A_PAGE = 25
# Requests of one link within a minute: a person looks a few times, and a page that waits for Wix
# looks each three seconds.
_MOST_A_MINUTE = 60
_LOOK_AGAIN = "3"
_THUMBNAILS = "https://static.wixstatic.com"
_NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex, nofollow">
<title>Not found</title>
</head>
<body>
<main>
<h1>Not found</h1>
<p>This link is not valid, or not valid any more. A newer message has a newer link.</p>
</main>
</body>
</html>
"""
_BODY_FAULTS = {413: PageFault.TOO_LARGE}


class ReviewPages:
    """Serves the pages of all receivers."""

    def __init__(
        self,
        config: Config,
        state: State,
        clock: Clock,
        signer: LinkSigner,
        responder: Responder,
        pending: PendingActions,
    ) -> None:
        self._state = state
        self._clock = clock
        self._signer = signer
        self._entries = Entries(config, state, clock, signer)
        self._submissions = Submissions(config, state, clock, responder, pending)
        self._looks = _Looks(clock)

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the paths that `LinkSigner` puts into links."""
        router.add_get("/review/{link}", self._review)
        router.add_post("/review/{link}", self._review)
        router.add_get("/reviews/{link}", self._reviews)
        router.add_post("/reviews/{link}", self._reviews)

    async def _review(self, request: web.Request) -> web.Response:
        return await self._serve(request, of_review=True)

    async def _reviews(self, request: web.Request) -> web.Response:
        return await self._serve(request, of_review=False)

    async def _serve(self, request: web.Request, *, of_review: bool) -> web.Response:
        """Answer a request for a page, or a form of it."""
        visit = self._visit(request.match_info["link"], of_review=of_review)
        if visit is None:
            return _page(_NOT_FOUND, 404)
        sent: Submission | None = None
        try:
            if not self._is_allowed(visit, _of(visit)):
                return _page(_NOT_FOUND, 404)
            if request.method == "POST":
                sent = await read_submission(request)
            if not self._looks.take(visit.link.key):
                return _fault(visit, PageFault.TOO_MANY, 429, sent.text if sent else "")
            if sent is None:
                return self._show(visit, request.query)
            return await self._submit(visit, request, sent)
        except BadBody as error:
            fault = _BODY_FAULTS.get(error.status, PageFault.UNREADABLE)
            return _fault(visit, fault, error.status)
        except StateError as error:
            log.warning("a page cannot be shown now: %s", error)
            return _fault(visit, PageFault.BUSY, 503, sent.text if sent else "")

    def _visit(self, token: str, *, of_review: bool) -> Visit | None:
        """Return the visit of a link; None where it is not valid for a receiver of today."""
        try:
            link = self._signer.read_link(token, self._clock.now(), of_review=of_review)
        except BadLink:
            return None
        return self._entries.visit(link)

    def _is_allowed(self, visit: Visit, named: Named | None) -> bool:
        return named is None or self._entries.record(visit, named) is not None

    def _show(self, visit: Visit, query: Mapping[str, str]) -> web.Response:
        """Show a page, with the result of the action that its query names."""
        action = self._acted(visit, query.get("action", ""))
        if action is None:
            return self._render(visit, query.get("page", ""))
        named = (action.new.site_id, action.new.review_id)
        feedback = feedback_of(action, visit.renderer.language)
        response = self._render(visit, query.get("page", ""), named, feedback)
        if feedback.under_way:
            response.headers["Refresh"] = _LOOK_AGAIN
        return response

    def _acted(self, visit: Visit, key: str) -> Action | None:
        """Return the action of a form of this receiver; None where there is none."""
        action = actions.get_action_by_key(self._state, KEY.format(key)) if key else None
        if action is None or action.new.person.name != visit.receiver.name:
            return None
        return action

    async def _submit(self, visit: Visit, request: web.Request, sent: Submission) -> web.Response:
        """Do what a form says, and show what became of it."""
        try:
            token = self._signer.read_form(sent.form, visit.link, self._clock.now())
        except BadForm:
            token = None
        named = (token.site_id, token.review_id) if token else _of(visit)
        if named is None:
            return _fault(visit, PageFault.FOREIGN_FORM, 403, sent.text)
        record = self._entries.record(visit, named)
        if record is None:
            return _page(_NOT_FOUND, 404)
        if sent.canned:
            canned = self._entries.canned_reply(named, record, sent.canned)
            answer = self._submissions.edit(visit, sent, canned)
        else:
            answer = await self._submissions.act(visit, request.headers, sent, token)
        if answer.key:
            return _redirect(f"?action={answer.key}")
        if answer.feedback and not self._is_allowed(visit, named):  # it has changed meanwhile
            found = visit.renderer.fault_page(answer.feedback.problem, answer.feedback.text)
            return _page(found, answer.status)
        return self._render(visit, "", named, answer.feedback, answer.status)

    def _render(
        self,
        visit: Visit,
        page: str,
        named: Named | None = None,
        feedback: Feedback | None = None,
        status: int = 200,
    ) -> web.Response:
        """Return the page of a visit; `feedback` is about one review on it."""
        if (own := _of(visit)) is not None:
            entry = self._entry(visit, own, feedback if named == own else None)
            return (
                _page(visit.renderer.review_page(entry, self._entries.list_url(visit)), status)
                if entry
                else _page(_NOT_FOUND, 404)
            )
        its = self._entries.open_reviews(visit)
        pages = max(-(-len(its) // _ON_A_PAGE), 1)
        number = min(max(int(page), 1), pages) if re.fullmatch("[0-9]{1,9}", page) else 1
        shown = its[(number - 1) * _ON_A_PAGE : number * _ON_A_PAGE]
        if named is not None:  # what was acted on comes first, also once it is closed
            shown = [named, *(each for each in shown if each != named)]
        found = [self._entry(visit, each, feedback if each == named else None) for each in shown]
        entries = [entry for entry in found if entry]
        name = visit.receiver.name
        return _page(visit.renderer.list_page(entries, len(its), name, number, pages), status)

    def _entry(self, visit: Visit, named: Named, feedback: Feedback | None) -> EntryView | None:
        record = self._entries.record(visit, named)
        return self._entries.entry(visit, named, record, feedback or Feedback()) if record else None


def open_pages(
    config: Config, state: State, clock: Clock, responder: Responder, pending: PendingActions
) -> ReviewPages | None:
    """Return the pages; None where the config has no `public_url`."""
    signer = get_signer(config)
    return ReviewPages(config, state, clock, signer, responder, pending) if signer else None


class _Looks:
    """Counts the requests of each link."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._recent: dict[str, deque[float]] = {}

    def take(self, link: str) -> bool:
        """Count a request of a link; return False for one too many within a minute."""
        now = self._clock.monotonic()
        for each in [key for key, times in self._recent.items() if times[-1] <= now - 60]:
            del self._recent[each]
        times = self._recent.setdefault(link, deque(maxlen=_MOST_A_MINUTE))
        if len(times) == _MOST_A_MINUTE and times[0] > now - 60:
            return False
        times.append(now)
        return True


def _of(visit: Visit) -> Named | None:
    """Return the review of a link; None for that of all open reviews."""
    link = visit.link
    return (link.site_id, link.review_id) if link.review_id else None


def _fault(visit: Visit, fault: PageFault, status: int, kept: str = "") -> web.Response:
    text = visit.renderer.fault(fault)
    response = _page(visit.renderer.fault_page(text, kept), status)
    if status in (429, 503):
        response.headers["Retry-After"] = "60"
    return response


def _redirect(location: str) -> web.Response:
    return web.Response(status=303, headers={**_headers(), "Location": location})


def _page(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/html", headers=_headers())


@cache
def _headers() -> dict[str, str]:
    """Return the headers of every page: nothing of others is loaded, and nothing is kept."""
    style = b64encode(sha256(page_style().encode()).digest()).decode()
    policy = {
        "default-src": "'none'",
        "img-src": _THUMBNAILS,
        "style-src": f"'sha256-{style}'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-Robots-Tag": "noindex, nofollow",
    }
