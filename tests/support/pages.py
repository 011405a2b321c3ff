"""The review page of a receiver, as a browser without JavaScript reaches it."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerter.config import Config, Receiver, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.respond.responder import DAEMON, PendingActions, Responder
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.web.pages import open_pages
from alerter.web.server import open_web
from alerter.web.signed_links import LinkSigner, get_signer
from tests.support.responding import Desk
from tests.support.values import OWNER, SECRETS, SITE

PUBLIC_URL = "https://reviews.example.com"
LINK_SECRET = "link-secret-4b1d-0123456789-abcdefghij"
PAGE_SECRETS = SECRETS | {"LINK_SECRET": LINK_SECRET}
WEB = f"""
[reminders]
after = ["24h", "72h"]
[web]
listen = "127.0.0.1:8080"
public_url = "{PUBLIC_URL}"
link_secret = "env:LINK_SECRET"
"""


class Form:
    """A form of a page: its hidden fields, its text, and its buttons by what they say."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.buttons: dict[str, dict[str, str]] = {}

    def pressed(self, button: str, **typed: str) -> dict[str, str]:
        """The fields that a browser sends when a button is pressed."""
        return self.fields | self.buttons[button] | typed


class _Parser(HTMLParser):
    def __init__(self, source: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._button: dict[str, str] | None = None
        self._name = ""
        self._text: str | None = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form())
        elif tag == "input":
            self.forms[-1].fields[found["name"]] = found["value"]
        elif tag == "button":
            self._button, self._name = found, ""
        elif tag == "textarea" and "name" in found:
            self._text = ""

    def handle_data(self, data: str) -> None:
        if self._button is not None:
            self._name += data
        elif self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "button" and self._button is not None:
            sent = {self._button["name"]: self._button["value"]} if "name" in self._button else {}
            self.forms[-1].buttons[" ".join(self._name.split())] = sent
            self._button = None
        elif tag == "textarea" and self._text is not None:
            self.forms[-1].fields["text"] = self._text.removeprefix("\n")
            self._text = None


@dataclass
class Shown:
    """An answer of the server."""

    status: int
    headers: dict[str, str]
    source: str
    forms: list[Form] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.forms = _Parser(self.source).forms

    @property
    def text(self) -> str:
        """What people read, without the style."""
        body = re.sub(r"<style>.*?</style>", "", self.source, flags=re.DOTALL)
        body = re.sub(r"<textarea.*?</textarea>", "", body, flags=re.DOTALL)
        return " ".join(re.sub(r"<[^>]*>", " ", body).split())

    @property
    def kept(self) -> str:
        """What the person has written, as the page shows it again."""
        found = next(form.fields["text"] for form in self.forms if "text" in form.fields)
        return found.replace("\r\n", "\n")  # as browsers show it

    def form(self, button: str) -> Form:
        """The first form with a button."""
        return next(form for form in self.forms if button in form.buttons)

    def press(self, button: str, **typed: str) -> dict[str, str]:
        """The fields that the press of a button sends."""
        return self.form(button).pressed(button, **typed)


# What browsers send with the form of a page that has `no-referrer`.
BROWSER = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}


@dataclass
class Pages:
    """The server, and a desk with the review `r1` that the receiver `owner` was alerted of."""

    desk: Desk
    config: Config
    url: str
    http: aiohttp.ClientSession
    pending: PendingActions
    responder: Responder

    @property
    def signer(self) -> LinkSigner:
        """What signs links with the secret of the config."""
        signer = get_signer(self.config)
        assert signer
        return signer

    def receiver(self, name: str = "owner", **changes: Any) -> Receiver:
        """A receiver of the config, or as it was before a change of the config."""
        found = next(each for each in self.config.receivers if each.name == name)
        return found.model_copy(update=changes)

    def link(self, review_id: str = "r1", site: str = SITE, **of: Any) -> str:
        """The path of a receiver's link to a review."""
        ends_at = self.signer.ends_at(self.desk.clock.now())
        receiver = self.receiver(**of)
        return self.signer.review_url(receiver, site, review_id, ends_at).removeprefix(PUBLIC_URL)

    def list_link(self, **of: Any) -> str:
        """The path of a receiver's link to its open reviews."""
        ends_at = self.signer.ends_at(self.desk.clock.now())
        return self.signer.open_reviews_url(self.receiver(**of), ends_at).removeprefix(PUBLIC_URL)

    async def get(self, path: str, method: str = "GET") -> Shown:
        """Ask for a page."""
        async with self.http.request(method, self.url + path) as response:
            return await _shown(response)

    async def post(self, path: str, fields: Any, headers: dict[str, str] | None = None) -> Shown:
        """Send a form, as a browser does unless other `headers` are given."""
        sent = BROWSER if headers is None else headers
        async with self.http.post(
            self.url + path, data=fields, headers=sent, allow_redirects=False
        ) as response:
            return await _shown(response)

    async def press(self, path: str, button: str, **typed: str) -> Shown:
        """Open a page, press a button on it, and follow where it leads."""
        page = await self.get(path)
        return await self.follow(path, await self.post(path, page.press(button, **typed)))

    async def follow(self, path: str, shown: Shown) -> Shown:
        """Go where an answer leads, if it leads anywhere."""
        if shown.status != 303:
            return shown
        return await self.get(path.partition("?")[0] + shown.headers["Location"])


async def _shown(response: aiohttp.ClientResponse) -> Shown:
    return Shown(response.status, dict(response.headers), await response.text())


PAGE_RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}", "second@example.com"]

[[receivers]]
name = "Ada"
email = ["ada@example.com"]

[[receivers]]
name = "elsewhere"
email = ["elsewhere@example.com"]
sites = ["Corner Café"]

[[receivers]]
name = "strict"
email = ["strict@example.com"]
products = ["55555555-5555-4555-8555-555555555555"]

[[receivers]]
name = "worst"
email = ["worst@example.com"]
max_rating = 1

[[receivers]]
name = "de"
email = ["de@example.com"]
language = "de"

[[receivers]]
name = "he"
email = ["he@example.com"]
language = "he"

[[sites]]
name = "Corner Café"
site_id = "22222222-2222-4222-8222-222222222222"
api_key = "env:WIX_API_KEY"

[[replies]]
name = "Sorry"
text = "Dear {{{{ author }}}}, we are sorry."
"""


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    path = write_config(wix, slack, mailbox, extra=WEB, receivers=PAGE_RECEIVERS)
    return load_config(path, PAGE_SECRETS, secrets=True)


@pytest.fixture
async def pages(desk: Desk) -> AsyncIterator[Pages]:
    """The server of the pages on a free port."""
    responder = desk.responder(owner=DAEMON)
    pending = PendingActions(desk.state, desk.clock, responder)
    intake = Intake(
        desk.state,
        desk.config,
        desk.clock,
        Catalog(desk.state, desk.clock, desk.client),
        desk.woken.update,
    )
    served = open_pages(desk.config, desk.state, desk.clock, responder, pending)
    assert served
    async with (
        open_web(
            ("127.0.0.1", 0), desk.config, desk.state, desk.clock, intake, {}, served
        ) as server,
        aiohttp.ClientSession() as http,
    ):
        yield Pages(desk, desk.config, f"http://127.0.0.1:{server.port}", http, pending, responder)
