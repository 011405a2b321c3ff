"""The embedded services of a cluster's demo: what is put in there, and what arrives."""

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp

# The sites of each team, which gets their alerts in a channel of its own.
TEAMS = {
    "north": ("Corner Bakery", "Tea House"),
    "south": ("Book Shop", "Bike Repair"),
    "west": ("Flower Stall", "Toy Store"),
}
SITE_IDS = {
    site: f"{number:08}-1111-4111-8111-111111111111"
    for number, site in enumerate((each for sites in TEAMS.values() for each in sites), 1)
}
_CHANNELS = {team: f"C000000000{number}" for number, team in enumerate(TEAMS, 1)}
_SECRETS = {
    "wix_api_key": "demo-api-key",
    "slack_token": "xoxb-demo-token",
    "smtp_password": "demo-password",
}
_TITLES = ("Stale on arrival", "Rude staff", "Never again", "Half of it missing", "Came broken")
_NUMBER = re.compile(r"\bno\. (\d+)\b")
_LOW = 2  # stars
EMAIL = "email"
Arrived = tuple[int, str]


@dataclass
class Services:
    """The running services, and what is expected of them.

    `expected` has the number of each review that is to be alerted, with the places where it is to
    arrive: a team's channel, and `EMAIL`. `arrived` counts the messages about a review at a place,
    `others` are messages about nothing that was put in.
    """

    wix: EmbeddedWix
    slack: EmbeddedSlack
    mailbox: Mailbox
    folder: Path
    reviews: int = 0
    expected: set[Arrived] = field(default_factory=set)
    arrived: Counter[Arrived] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _mails_seen: int = 0
    _posts_seen: int = 0

    def add(self, site: str, rating: int) -> int:
        """Have a customer leave a review, which is to be alerted if it has few stars.

        Return its number.
        """
        number = next(self._numbers)
        self.reviews += 1
        if rating <= _LOW:
            team = next(team for team, sites in TEAMS.items() if site in sites)
            self.expected |= {(number, EMAIL), (number, team)}
        self._put(site, rating, number, datetime.now(UTC))
        return number

    def add_history(self) -> None:
        """Give each site old reviews, about which nobody is to be notified."""
        for site in SITE_IDS:
            for rating in (1, 5, 2):
                created = datetime.now(UTC) - timedelta(days=rating)
                self._put(site, rating, next(self._numbers), created)

    def _put(self, site: str, rating: int, number: int, created: datetime) -> None:
        title = _TITLES[number % len(_TITLES)] if rating <= _LOW else "Lovely"
        self.wix.add(
            SITE_IDS[site],
            {
                "content": {"rating": rating, "title": f"{title}, no. {number}"},
                "author": {"authorName": "Robin"},
                "createdDate": stamp(created),
                "reviewDate": stamp(created),
            },
        )

    def take_in(self) -> None:
        """Count what has arrived since the last call."""
        mails, posts = self.mailbox.mails, self.slack.posts
        for mail in mails[self._mails_seen :]:
            self._count(EMAIL, mail.subject, mail.text)
        for post in posts[self._posts_seen :]:
            first = post.edits[0] if post.edits else post
            self._count(post.channel_name, first.text, json.dumps(first.blocks))
        self._mails_seen, self._posts_seen = len(mails), len(posts)

    def _count(self, place: str, first: str, content: str) -> None:
        numbers = {int(number) for number in _NUMBER.findall(f"{first} {content}")}
        self.arrived.update((number, place) for number in numbers)
        if not numbers:
            self.others.append(f"{place}: {first}")

    def alerted(self, place: str) -> int:
        """Return how many reviews have arrived at a place."""
        return sum(1 for _, where in self.arrived if where == place)

    def outstanding(self, place: str | None = None) -> int:
        """Return how many alerts have not arrived, at one place or at all."""
        left = self.expected - self.arrived.keys()
        return sum(place in (None, where) for _, where in left)

    def lost(self) -> list[str]:
        """Return what was put in and did not arrive, a line each."""
        left = sorted(self.expected - self.arrived.keys())
        return [f"no. {number} did not arrive at {place}" for number, place in left]

    def repeated(self) -> list[str]:
        """Return what arrived once too often, a line each: also what nobody was to get at all."""
        found = [
            f"no. {number} arrived {times} times at {place}, not {expected}"
            for (number, place), times in sorted(self.arrived.items())
            if times > (expected := int((number, place) in self.expected))
        ]
        return [*found, *self.others]

    def config(self) -> str:
        """Return a config for the services; the same for each worker."""
        return f"""[state]
url = "{self._secret("database_url")}"

[poll]
every = "1s"

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
base_url = "{self.slack.base_url}"

[[receivers]]
name = "owner"
email = ["owner@example.com"]
{self._receivers()}"""

    def _sites(self) -> str:
        return "".join(
            f'\n[[sites]]\nname = "{name}"\nsite_id = "{site_id}"\n'
            f'api_key = "{self._secret("wix_api_key")}"\n'
            for name, site_id in SITE_IDS.items()
        )

    def _receivers(self) -> str:
        return "".join(
            f'\n[[receivers]]\nname = "{team}"\nslack = "{_CHANNELS[team]}"\n'
            f"sites = {json.dumps(sites)}\n"
            for team, sites in TEAMS.items()
        )

    def _secret(self, name: str) -> str:
        return f"file:{self.folder / name}"


@asynccontextmanager
async def open_services(folder: Path) -> AsyncIterator[Services]:
    """Start the services."""
    for name, secret in _SECRETS.items():
        (folder / name).write_text(secret)
    async with (
        EmbeddedWix(requests_per_minute=None) as wix,
        EmbeddedSlack() as slack,
        Mailbox(username="alerts", password=_SECRETS["smtp_password"]) as mailbox,
    ):
        for name, site_id in SITE_IDS.items():
            wix.add_site(site_id, api_key=_SECRETS["wix_api_key"], name=name)
        slack.add_token(_SECRETS["slack_token"])
        for team, channel in _CHANNELS.items():
            slack.add_channel(channel, team)
        services = Services(wix, slack, mailbox, folder)
        services.add_history()
        yield services
