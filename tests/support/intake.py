"""The intake of reviews, and the rows that it wrote."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerter.config import Config, Site, load_config
from alerter.models import (
    Form,
    Grouping,
    Receipt,
    Reply,
    Review,
    Status,
    receiver_of,
)
from alerter.store import State, known_sites, messages, outbox, reviews
from alerter.watch.intake import Intake
from alerter.watch.triage import Reason
from tests.support.clock import SetClock
from tests.support.values import SITE

FLORIST = "22222222-2222-4222-8222-222222222222"
T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
REPLY = Reply("Sorry!", T0)
LONG_AGO, AT_LAST = T0 - timedelta(days=9000), T0 + timedelta(days=9000)
TABLES = ("sites", "reviews", "alerts", "deliveries")


@dataclass
class Asked:
    """Stands where the catalog does: notes what it is asked for, and looks at the state file while
    it is.
    """

    look: Callable[[], Any] = lambda: None
    learned: list[tuple[str, list[str]]] = field(default_factory=list)
    seen: list[Any] = field(default_factory=list)

    async def fetch_products(self, site: Site, about: Collection[Review]) -> None:
        self.learned.append((site.name, sorted(each.id for each in about)))
        self.seen.append(self.look())


class Door:
    """An intake with everything around it, and what came of it."""

    def __init__(self, state: State, config: Config, clock: SetClock) -> None:
        self.state = state
        self.catalog = Asked()
        self.woken: list[set[str]] = []
        self.bakery, self.florist = config.sites
        self.intake = Intake(state, config, clock, self.catalog, self.wake)

    def wake(self, destinations: Iterable[str]) -> None:
        self.woken.append({receiver_of(each) for each in destinations})

    async def take(
        self, *page: Review, site: Site | None = None, checkpoint: datetime | None = None
    ) -> dict[Reason, int]:
        return dict(await self.intake.record_page(site or self.bakery, page, checkpoint=checkpoint))

    async def tell(self, grouping: Grouping = Grouping.DIGEST) -> int:
        """Tell of all that is on record of the bakery, as if it had just been read."""
        return await self.intake.alert_past(self.bakery, self.ids(), grouping)

    def ids(self, site_id: str = SITE) -> list[str]:
        rows = self.state.rows(
            "SELECT review_id FROM reviews WHERE site_id = ? ORDER BY created_at, review_id",
            [site_id],
        )
        return [row["review_id"] for row in rows]

    def keys(self) -> list[str]:
        """The alerts, oldest first, without the site."""
        return [
            row["key"].replace(f":{SITE}:", ":")
            for row in self.state.rows("SELECT key FROM alerts ORDER BY id")
        ]

    def deliveries(self, status: str = "pending") -> list[tuple[str, str]]:
        """The deliveries of that status: what kind of alert of which review, and to whom."""
        rows = self.state.rows(
            "SELECT kind || ' ' || review_id AS what, destination FROM deliveries JOIN "
            "alerts ON id = alert"
            " WHERE status = ? ORDER BY id, substr(destination, 7)",
            [status],
        )
        return [(row["what"], receiver_of(row["destination"])) for row in rows]

    def status(self, review_id: str = "r1") -> Status | None:
        known = reviews.get_reviews(self.state, SITE, [review_id]).get(review_id)
        return known.status if known else None

    def counts(self) -> dict[str, int]:
        return {table: self.state.value(f"SELECT count(*) FROM {table}") for table in TABLES}

    def checkpoint(self) -> datetime | None:
        return known_sites.get_site_state(self.state, SITE).checkpoint

    def send(self, receiver: str) -> None:
        """Have a receiver get all that is due."""
        alerts = [each.alert for each in outbox.due_deliveries(self.state, receiver, AT_LAST, 100)]
        message = outbox.claim(
            self.state, receiver, Form.DIGEST, alerts, f"uid-{receiver}-{alerts}", T0
        )
        messages.mark_sent(self.state, message, Receipt("ok"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two sites, and receivers who hear of different parts of them."""
    path = tmp_path_factory.mktemp("config") / "config.toml"
    path.write_text(f"""
state = "state.db"

[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:KEY"

[[sites]]
name = "Florist"
site_id = "{FLORIST}"
api_key = "env:KEY"
threshold = 4

[smtp]
host = "127.0.0.1"
port = 25
security = "none"
from = "alerts@example.com"

[slack]
token = "env:TOKEN"

[[receivers]]
name = "owner"
email = ["owner@example.com"]

[[receivers]]
name = "baker"
slack = "C0123456789"
sites = ["Corner Bakery"]

[[receivers]]
name = "florist"
slack = "C9876543210"
sites = ["Florist"]

[[receivers]]
name = "worst"
slack = "C1111111111"
max_rating = 1
""")
    return load_config(path, {}, secrets=False)


@pytest.fixture
def fresh(state: State, config: Config, clock: SetClock) -> Door:
    """A door to sites that nobody has read yet."""
    return Door(state, config, clock)
