"""The embedded services together, and a config that points at them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from alerter.demo.mailbox import Mailbox
from alerter.demo.page import render_page
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import App, EmbeddedWix
from alerter.errors import AlerterError

SITE_ID = "11111111-1111-4111-8111-111111111111"
SITE = "Corner Bakery"
PRODUCT_ID = "22222222-2222-4222-8222-222222222222"
APP_SITE_ID = "33333333-3333-4333-8333-333333333333"
APP_SITE = "Tea House"
ACCOUNT_ID = "55555555-5555-4555-8555-555555555555"
APP = App("demo-app", "demo-app-secret", "demo-instance")
_CHANNEL = "C0123456789"
ADA = "U0123456789"
# Prints a line; what it is decides how it looks on a terminal.
Say = Callable[[str, Literal["step", "message", "note", "result"]], None]
_SECRETS = {
    "wix_api_key": "demo-api-key",
    "wix_app_secret": APP.app_secret,
    "slack_token": "xoxb-demo-token",
    "slack_app_token": "xapp-1-A00000001-1-demo",
    "link_secret": "a-demo-secret-of-at-least-32-characters",
    "smtp_password": "demo-password",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """The running services, and the folder with the secrets to reach them."""

    wix: EmbeddedWix
    slack: EmbeddedSlack
    mailbox: Mailbox
    folder: Path

    def config(self, *, every: str, reminders: str = "") -> str:
        """Return a config for the services. Its secrets are files, so any shell can use it."""
        return f"""state = "demo-state.db"

[poll]
every = "{every}"
rescan_every = "{every}"

[reminders]
after = [{reminders}]

[wix]
base_url = "{self.wix.base_url}"
{self._sites()}
[smtp]
host = "{self.mailbox.host}"
port = {self.mailbox.port}
security = "none"
username = "alerts"
password = "{self._secret("smtp_password")}"
from = "Review alerts <alerts@example.com>"

[slack]
token = "{self._secret("slack_token")}"
app_token = "{self._secret("slack_app_token")}"
base_url = "{self.slack.base_url}"

[[receivers]]
name = "owner"
email = ["owner@example.com"]

[[receivers]]
name = "team"
slack = "{_CHANNEL}"

[[replies]]
name = "Sorry"
text = "Hello {{{{ author }}}}, we are sorry about {{{{ product }}}}. Please write to us!"
"""

    def init_flags(self) -> list[str]:
        """Return the flags with which `alerter init` makes a config for the services."""
        return [
            f"--wix-api-key {self._secret('wix_api_key')} --wix-account-id {ACCOUNT_ID}",
            f"--wix-base-url {self.wix.base_url} --site '{SITE}'",
            f"--slack-token {self._secret('slack_token')} --slack-channel reviews",
            f"--slack-base-url {self.slack.base_url} --email owner@example.com",
            f"--smtp-host {self.mailbox.host} --smtp-port {self.mailbox.port}",
            f"--smtp-username alerts --smtp-password {self._secret('smtp_password')}",
        ]

    def _sites(self) -> str:
        return f"""
[[sites]]
name = "{SITE}"
site_id = "{SITE_ID}"
api_key = "{self._secret("wix_api_key")}"

[[sites]]
name = "{APP_SITE}"
site_id = "{APP_SITE_ID}"
app_id = "{APP.app_id}"
app_secret = "{self._secret("wix_app_secret")}"
instance_id = "{APP.instance_id}"
"""

    def link_keys(self, port: int) -> str:
        """Return the keys of [web] with which mails link to the review page."""
        return f'''public_url = "http://127.0.0.1:{port}"
link_secret = "{self._secret("link_secret")}"'''

    def _secret(self, name: str) -> str:
        return f"file:{self.folder / name}"

    def write_page(self, path: Path) -> None:
        """Write all received messages to an HTML page."""
        path.write_text(
            render_page(self.mailbox.mails, self.slack.posts, title="What alerter sent"), "utf-8"
        )


@asynccontextmanager
async def open_stage(folder: Path, reviews: Path | None) -> AsyncIterator[Stage]:
    """Start the services, with the reviews of a file. Raises AlerterError for a bad file."""
    for name, secret in _SECRETS.items():
        (folder / name).write_text(secret)
    async with (
        EmbeddedWix() as wix,
        EmbeddedSlack() as slack,
        Mailbox(username="alerts", password=_SECRETS["smtp_password"]) as mailbox,
    ):
        wix.add_site(SITE_ID, api_key=_SECRETS["wix_api_key"], name=SITE)
        wix.add_site(APP_SITE_ID, app=APP, name=APP_SITE)
        wix.add_account(ACCOUNT_ID, _SECRETS["wix_api_key"], [SITE_ID, APP_SITE_ID])
        wix.add_product(
            SITE_ID, PRODUCT_ID, "Croissant box", "https://corner-bakery.example/croissant-box"
        )
        slack.add_token(_SECRETS["slack_token"])
        slack.add_app_token(_SECRETS["slack_app_token"])
        slack.add_user(ADA, "Ada")
        slack.add_channel(_CHANNEL, "reviews")
        if reviews:
            try:
                wix.load(SITE_ID, reviews)
            except (OSError, ValueError) as error:
                raise AlerterError(
                    f"{reviews}: {getattr(error, 'strerror', None) or error}"
                ) from None
        yield Stage(wix, slack, mailbox, folder)


async def play_until(stop: asyncio.Event, story: Coroutine[Any, Any, None]) -> bool:
    """Play a story; return False, and cancel it, where `stop` is set before its end."""
    playing = asyncio.create_task(story)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([playing, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            await playing
        return not stop.is_set()
    finally:
        for task in (playing, stopping):
            task.cancel()
            with suppress(asyncio.CancelledError, AlerterError):
                await task
