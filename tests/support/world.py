"""The world that harnesses run the real daemon in: embedded services, a config for them, and what
arrived.
"""

import asyncio
import os
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerter.config.state import PostgresUrl
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack, Post
from alerter.demo.wix import EmbeddedWix
from tests.support.forked import Process, start_alerter

SITE = "11111111-1111-4111-8111-111111111111"
CHANNELS = ("C0000000001", "C0000000002")
PEOPLE = ("U0000000001", "U0000000002")
SECRETS = {
    "WIX_API_KEY": "k",
    "SLACK_BOT_TOKEN": "xoxb-t",
    "SLACK_APP_TOKEN": "xapp-1-A00000001-1-t",
    "SMTP_PASSWORD": "p",
}


@dataclass
class Outcome:
    """What a run did, and what came of it."""

    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    reviews: int = 0
    deliveries: int = 0
    lost: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    given_up: int = 0
    replies: int = 0
    wrong_replies: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.lost or self.repeated or self.pending or self.wrong_replies)


class World:
    """The embedded services, a config for them, and one daemon at a time."""

    def __init__(self, folder: Path) -> None:
        self.wix = EmbeddedWix(requests_per_minute=None)
        self.slack = EmbeddedSlack(pace=None)
        self.mailbox = Mailbox(username="alerts", password=SECRETS["SMTP_PASSWORD"])
        self.state: Path | PostgresUrl = folder / "state.db"
        self.log = folder / "daemon.log"
        self.config = folder / "config.toml"
        self.titles: list[str] = []
        self._mailed: list[tuple[str, set[str]]] = []
        self.secrets = SECRETS
        self.daemon: asyncio.subprocess.Process | Process | None = None

    @asynccontextmanager
    async def up(self) -> AsyncIterator["World"]:
        """Start the services and write the config."""
        async with self.wix, self.slack, self.mailbox:
            self.clear()
            self.config.write_text(self._toml())
            try:
                yield self
            finally:
                await self.kill()

    def clear(self) -> None:
        """Let nothing have happened yet."""
        self.calm()
        self.titles.clear()
        self._mailed.clear()
        self.wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        self.slack.add_token(SECRETS["SLACK_BOT_TOKEN"])
        self.slack.add_app_token(SECRETS["SLACK_APP_TOKEN"])
        for number, person in enumerate(PEOPLE):
            self.slack.add_user(person, f"person{number}")
        for channel in CHANNELS:
            self.slack.add_channel(channel, channel.lower())
        self.slack.posts.clear()
        self.mailbox.mails.clear()

    def calm(self) -> None:
        """Let all that is still to go wrong be well."""
        self.slack.faults.clear()
        self.wix.faults.clear()
        self.mailbox.data_replies.clear()
        self.mailbox.drop.clear()
        self.mailbox.hang = 0.0

    def _toml(self) -> str:
        slack = "".join(
            f'[[receivers]]\nname = "{name}"\nslack = "{name}"\n\n' for name in CHANNELS
        )
        return f"""
{self._state_line()}
[poll]
every = "1s"
[wix]
base_url = "{self.wix.base_url}"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[smtp]
host = "{self.mailbox.host}"
port = {self.mailbox.port}
security = "none"
username = "alerts"
password = "env:SMTP_PASSWORD"
from = "Review alerts <alerts@example.com>"
[slack]
token = "env:SLACK_BOT_TOKEN"
app_token = "env:SLACK_APP_TOKEN"
base_url = "{self.slack.base_url}"
[[receivers]]
name = "owner"
email = ["owner@example.com"]
{slack}"""

    def _state_line(self) -> str:
        assert isinstance(self.state, Path)
        return f'state = "{self.state.name}"'

    async def start(self, *command: str, before: Sequence[str] = ()) -> None:
        """Start `alerter run`, or another command, after the words of `before` on its
        command line.
        """
        with self.log.open("ab") as log:
            arguments = *(command or ("run",)), "--config", str(self.config)
            self.daemon = await start_alerter(
                *arguments, environ=os.environ | self.secrets, out=log, before=before
            )

    async def at_work(self, seconds: float) -> bool:
        """Wait until the daemon that was just started reads and is connected, however slow it is.

        Killed before, it would begin each mail and end none: a mail whose answer is lost three
        times has failed.
        """
        read, known = len(self.wix.queries()), self.slack.socket.opened
        return await self.until(
            lambda: len(self.wix.queries()) > read + 1 and self.slack.socket.opened > known,
            seconds,
        )

    async def kill(self) -> None:
        """SIGKILL."""
        if self.daemon and self.daemon.returncode is None:
            self.daemon.kill()
        if self.daemon:
            await self.daemon.wait()

    def add_review(self, rating: int = 1) -> str:
        """One more review that everybody is to hear of; its id."""
        self.titles.append(f"Review {len(self.titles):05}.")
        return str(
            self.wix.add(SITE, {"content": {"rating": rating, "title": self.titles[-1]}})["id"]
        )

    def add_past(self) -> None:
        """A review that nobody is to hear of; it would be counted as repeated."""
        self.wix.add(SITE, {"content": {"rating": 1, "title": "Review 99999."}})

    def lower(self, review_id: str, title: str) -> None:
        """Let a review's rating fall, of which everybody is to hear once more."""
        self.titles.append(title)
        self.wix.change(SITE, review_id, content={"rating": 1, "title": title})

    def times_posted(self, channel: str) -> Counter[str]:
        """How often each review stands in a channel, digests included.

        What closes a review of a digest, in the digest's thread, does not count.
        """
        return Counter(
            title
            for post in self.slack.posts
            if post.channel == channel and not (post.thread_ts and is_closing(post))
            for title in self.titles_of(post)
        )

    def titles_of(self, post: Post) -> set[str]:
        """The reviews that a message on Slack shows."""
        return find_titles("".join(_words(post.blocks or [])) or post.text)

    def mails_of(self) -> dict[str, set[str]]:
        """The Message-IDs under which each review came by mail."""
        new = self.mailbox.mails[len(self._mailed) :]
        self._mailed += [(mail.message_id, find_titles(mail.text)) for mail in new]
        ids: dict[str, set[str]] = {}
        for message_id, titles in self._mailed:
            for title in titles:
                ids.setdefault(title, set()).add(message_id)
        return ids

    def pending(self) -> list[str]:
        """What is left in the outbox, without what was given up."""
        return self._left("deliveries.status <> 'sent'")

    def _left(self, status: str) -> list[str]:
        rows = self._query(
            "SELECT kind, review_id, deliveries.destination, deliveries.status, error"
            " FROM deliveries JOIN alerts ON alerts.id = alert"
            f" LEFT JOIN messages ON messages.id = message WHERE {status}"
            f" AND {GIVEN_UP} IS NOT TRUE ORDER BY alert"
        )
        return [" ".join(map(str, row)) for row in rows]

    def given_up(self, destination: str = "email:owner") -> set[str]:
        """The reviews whose message has failed, as its answer was lost each time."""
        rows = self._query(
            "SELECT json_extract(content, '$.title') FROM messages"
            " JOIN deliveries ON deliveries.message = messages.id JOIN alerts ON alerts.id = alert"
            f" JOIN reviews USING (site_id, review_id) WHERE {GIVEN_UP}"
            f" AND messages.destination = '{destination}'"
        )
        return {str(title) for (title,) in rows}

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(f"file:{self.state}?mode=ro", uri=True, timeout=5) as db:
            rows = db.execute(sql).fetchall()
        db.close()
        return rows

    def count(self, outcome: Outcome) -> None:
        """Compare what arrived with what was to arrive."""
        outcome.reviews = len(self.titles)
        outcome.deliveries = len(self.titles) * (1 + len(CHANNELS))
        wanted = Counter(self.titles)
        arrived = {"by mail": Counter({title: len(ids) for title, ids in self.mails_of().items()})}
        arrived |= {f"in {channel}": self.times_posted(channel) for channel in CHANNELS}
        given_up = self.given_up()
        outcome.given_up = len(given_up)
        outcome.lost = [
            f"{title} {where}"
            for where, times in arrived.items()
            for title in (wanted - times)
            if where != "by mail" or title not in given_up
        ]
        outcome.repeated = [
            f"{title} {where}" for where, times in arrived.items() for title in (times - wanted)
        ]
        outcome.pending = self.pending()

    async def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait for something that the daemon does; False where it does not come to that."""
        deadline = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    def everything_arrived(self) -> bool:
        """Whether each review has reached everybody, but for what was given up."""
        return self.arrived_everywhere() >= set(self.titles)

    def arrived_everywhere(self) -> set[str]:
        """The reviews that have reached everybody, but for what was given up."""
        posted = [set(self.times_posted(channel)) for channel in CHANNELS]
        return (self.mails_of().keys() | self.given_up()).intersection(*posted)


# A mail whose answer is lost three times has failed, and people are notified: docs/delivery.md.
# What has no id by which a repeat is recognized has failed after two.
GIVEN_UP = (
    "(messages.status = 'failed' AND messages.slack_ts IS NULL AND messages.lost >="
    " CASE WHEN substr(messages.destination, 1, 5) IN ('ntfy:', 'disco', 'teams')"
    " THEN 2 ELSE 3 END)"
)


def is_closing(post: Post) -> bool:
    """Whether a message was posted to close reviews; an alert that is closed is edited.

    A digest in a thread closes reviews of the digest that it follows.
    """
    text = str(post.args.get("text", ""))
    return text.startswith("✅") or bool(post.thread_ts and "📋" in text)


def find_titles(text: str) -> set[str]:
    return {f"Review {part[:5]}." for part in text.split("Review ")[1:] if part[5:6] == "."}


def _words(blocks: list[Any]) -> list[str]:
    found = []
    for block in blocks:
        text = block.get("text")
        found.append(text if isinstance(text, str) else (text or {}).get("text", ""))
        found += _words(block.get("elements") or [])
    return found
