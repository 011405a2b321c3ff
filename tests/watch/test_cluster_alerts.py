"""Clusters of low-rated reviews: when their alert is raised, for whom, and what it names."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, load_config
from alerter.models import AlertKind, Event, Form, Message, Receipt, Review, to_ms
from alerter.store import State, known_sites, messages, outbox, stale_messages
from alerter.store.backup import _count_as_sent
from alerter.store.erasure import erase_site
from alerter.store.items import get_items
from alerter.store.judgements import Source
from alerter.store.prune import prune
from alerter.watch.rerouting import reroute
from tests.support.clock import SetClock
from tests.support.intake import REPLY, T0, Door
from tests.support.reviews import review
from tests.support.values import SITE

DAY = timedelta(days=1)
CLUSTER = '[alerts]\ncluster = {count = 3, within = "7d"}\n'
OWNER = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\n'
BAKER = '[[receivers]]\nname = "baker"\nslack = "C0123456789"\n'


def config_of(folder: Path, receivers: str = OWNER + BAKER, alerts: str = CLUSTER) -> Config:
    path = folder / "config.toml"
    path.write_text(f"""
timezone = "Europe/Berlin"
state = "state.db"
{alerts}
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:KEY"

[[sites]]
name = "Florist"
site_id = "22222222-2222-4222-8222-222222222222"
api_key = "env:KEY"

[smtp]
host = "127.0.0.1"
port = 25
security = "none"
from = "alerts@example.com"

[slack]
token = "env:TOKEN"

{receivers}
""")
    return load_config(path, {}, secrets=False)


def ago(review_id: str, days: float, rating: int = 1, **fields: Any) -> Review:
    product = fields.pop("entity_id", "cake")
    return review(review_id, rating, created=T0 - days * DAY, entity_id=product, **fields)


OLD = ago("old", 180)


class Shop(Door):
    """A site whose past is on record: one low-rated review, half a year ago."""

    async def watch(self, *past: Review) -> None:
        await self.take(*(past or (OLD,)), checkpoint=T0 - 170 * DAY)
        known_sites.record_coverage(self.state, SITE, 2)

    def clusters(self) -> list[int]:
        rows = self.state.rows("SELECT id FROM alerts WHERE kind = 'cluster' ORDER BY id")
        return [row["id"] for row in rows]

    def named(self) -> list[list[str]]:
        """The reviews that the message of each cluster names."""
        return [
            [each.alert.review_id or "" for each in item.reviews]
            for item in get_items(self.state, self.clusters(), T0)
        ]

    def queued(self, status: str = "pending") -> list[str]:
        """For whom the alerts of clusters are."""
        rows = self.state.rows(
            "SELECT destination FROM deliveries JOIN alerts ON id = alert"
            " WHERE kind = 'cluster' AND status = ? ORDER BY destination",
            [status],
        )
        return [row["destination"] for row in rows]

    def post(self, destination: str = "slack:baker") -> Message:
        """Have Slack take the message of the cluster."""
        [alert] = self.clusters()
        message = outbox.claim(self.state, destination, Form.ALERT, [alert], "uid-cluster", T0)
        assert message is not None
        ts = "1790000000.000100" if destination.startswith("slack") else None
        messages.mark_sent(self.state, message, Receipt("ok", "C0123456789", ts))
        return message


def open_shop(state: State, config: Config, clock: SetClock) -> Shop:
    return Shop(state, config, clock)


@pytest.fixture
async def shop(state: State, tmp_path: Path, clock: SetClock) -> Shop:
    shop = open_shop(state, config_of(tmp_path), clock)
    await shop.watch()
    return shop


THREE = tuple(ago(f"r{n}", 3 - n, title=f"Complaint {n}") for n in range(1, 4))


async def test_a_poll_with_three_of_one_product_raises_one_cluster(shop: Shop) -> None:
    await shop.take(*THREE)

    assert shop.keys() == ["new:r1", "new:r2", "new:r3", "cluster:r1"]
    assert shop.named() == [["r1", "r2", "r3"]]
    assert shop.queued() == ["email:owner", "slack:baker"]
    assert shop.woken[-1] == {"owner", "baker"}
    [alert] = shop.clusters()
    [item] = get_items(shop.state, [alert], T0)
    assert item.alert.kind is AlertKind.CLUSTER
    assert (item.alert.detail["number"], item.alert.detail["past"]) == (3, 1)
    assert item.alert.detail["p"] < 0.001
    text = shop.state.value("SELECT detail FROM alerts WHERE kind = 'cluster'")
    assert "Complaint" not in text


async def test_without_the_key_nothing_is_raised(
    state: State, tmp_path: Path, clock: SetClock
) -> None:
    shop = open_shop(state, config_of(tmp_path, alerts=""), clock)
    await shop.watch()
    await shop.take(*THREE)

    assert shop.keys() == ["new:r1", "new:r2", "new:r3"]
    assert state.value("SELECT count(*) FROM cluster_candidates") == 0


async def test_several_products_each_have_their_own_cluster(shop: Shop) -> None:
    others = [ago(f"s{n}", 3 - n, entity_id=None) for n in range(1, 4)]
    await shop.take(OLD, ago("older", 170, entity_id=None))
    await shop.take(*THREE[:2], *others[:2])
    assert shop.clusters() == []

    await shop.take(THREE[2], others[2], ago("pie", 0, entity_id="pie"))

    assert sorted(shop.named()) == [["r1", "r2", "r3"], ["s1", "s2", "s3"]]


async def test_webhooks_raise_and_extend_a_cluster(shop: Shop) -> None:
    for number in range(1, 5):
        event = Event(f"r{number}", ago(f"r{number}", 4 - number), at=T0 + number * DAY)
        await shop.intake.announce(shop.bakery, shop.intake.record_event(shop.bakery, event))

    assert shop.keys() == ["new:r1", "new:r2", "new:r3", "cluster:r1", "new:r4"]
    assert shop.named() == [["r1", "r2", "r3", "r4"]]


async def test_a_later_review_updates_the_message_on_slack_only(shop: Shop) -> None:
    await shop.take(*THREE)
    shop.post()
    assert stale_messages.get_outdated(shop.state, "slack:baker", T0) is None

    await shop.take(ago("r4", 0))

    assert shop.keys()[-1] == "new:r4"
    assert len(shop.clusters()) == 1
    message, _ = stale_messages.get_outdated(shop.state, "slack:baker", T0) or (None, 0)
    assert message is not None
    assert [each.alert.review_id for each in message.entries[0].reviews] == ["r1", "r2", "r3", "r4"]
    assert shop.queued("sent") == ["slack:baker"]


async def test_the_pages_of_one_poll_are_one_cluster(shop: Shop) -> None:
    """The first page alone would be one: its message would leave before it names all."""
    await shop.intake.record_page(shop.bakery, THREE, more=True)
    assert shop.clusters() == []

    await shop.intake.record_page(shop.bakery, [ago("r4", 0), ago("r5", 0)])

    assert shop.named() == [["r1", "r2", "r3", "r4", "r5"]]
    assert shop.state.value("SELECT count(*) FROM cluster_candidates") == 0


async def test_a_read_that_ended_early_is_decided_by_the_next(shop: Shop) -> None:
    await shop.intake.record_page(shop.bakery, THREE, more=True)

    await shop.take(OLD)

    assert shop.named() == [["r1", "r2", "r3"]]


async def test_a_cluster_is_over_once_its_span_has_passed(shop: Shop, clock: SetClock) -> None:
    await shop.take(*THREE)
    clock.advance(days=20)
    await shop.take(*(ago(f"s{n}", -20 - n) for n in range(2)))
    assert len(shop.clusters()) == 1
    await shop.take(*(ago(f"t{n}", -22 - n / 10) for n in range(4)))

    assert shop.named() == [["r1", "r2", "r3"], ["s0", "s1", "t0", "t1", "t2", "t3"]]


async def test_the_past_raises_no_cluster(shop: Shop) -> None:
    """Neither the baseline, nor a backfill, nor a silent read."""
    await shop.intake.record_page(shop.bakery, THREE, silently=True)
    await shop.intake.record_page(shop.bakery, [], checkpoint=T0)
    await shop.tell()
    await shop.take(*(ago(f"i{n}", 0, written=T0 - 40 * DAY) for n in range(4)))
    assert shop.clusters() == []


async def test_what_a_backfill_finds_raises_no_cluster(shop: Shop) -> None:
    await shop.intake.record_page(shop.bakery, THREE, source=Source.BACKFILL)
    await shop.tell()
    await shop.take(OLD)

    assert shop.clusters() == []


async def test_answered_reviews_count_and_rejected_ones_do_not(shop: Shop) -> None:
    await shop.take(*THREE[:2], ago("spam", 0, moderation="REJECTED"))
    assert shop.clusters() == []

    await shop.take(ago("r3", 0, reply=REPLY))

    assert shop.named() == [["r1", "r2", "r3"]]


async def test_a_review_that_is_gone_or_anonymized_leaves_the_message(shop: Shop) -> None:
    await shop.take(*THREE)
    shop.post()
    await shop.intake.record_gone(shop.bakery, ["r1"], asked_at=T0)
    assert shop.named() == [["r1", "r2", "r3"]]  # Wix may be behind
    event = Event("r1", None, at=T0 + DAY, sequence=9)
    await shop.intake.announce(shop.bakery, shop.intake.record_event(shop.bakery, event))
    event = Event("r2", THREE[1], at=T0 + DAY, sequence=9, anonymized=True)
    await shop.intake.announce(shop.bakery, shop.intake.record_event(shop.bakery, event))

    assert shop.named() == [["r3"]]
    [item] = get_items(shop.state, shop.clusters(), T0)
    assert item.erased == 2
    message, _ = stale_messages.get_outdated(shop.state, "slack:baker", T0) or (None, 0)
    assert message is not None
    assert message.erase


async def test_an_unsent_cluster_of_deleted_reviews_is_not_sent(shop: Shop) -> None:
    await shop.take(*THREE)
    for number in range(1, 4):
        assert shop.queued() == ["email:owner", "slack:baker"]
        event = Event(f"r{number}", None, at=T0 + DAY, sequence=9)
        await shop.intake.announce(shop.bakery, shop.intake.record_event(shop.bakery, event))

    assert shop.queued() == []


async def test_an_answer_updates_the_message_of_the_cluster(shop: Shop) -> None:
    await shop.take(*THREE)
    shop.post()
    await shop.take(ago("r2", 1, title="Complaint 2", reply=REPLY, revision=2))

    message, _ = stale_messages.get_outdated(shop.state, "slack:baker", T0) or (None, 0)
    assert message is not None
    assert [each.closing for each in message.entries[0].reviews] == [None, "answered", None]
    assert shop.queued("pending") == ["email:owner"]  # a cluster is never closed


async def test_a_receiver_gets_a_cluster_if_it_gets_one_of_its_reviews(
    state: State, tmp_path: Path, clock: SetClock
) -> None:
    def only(name: str, rule: str) -> str:
        return f'[[receivers]]\nname = "{name}"\nemail = ["{name}@example.com"]\n{rule}\n'

    rules = {
        "worst": "max_rating = 1",
        "pies": 'products = ["pie"]',
        "hair": 'keywords = ["hair"]',
        "mould": 'keywords = ["mould"]',
        "florist": 'sites = ["Florist"]',
    }
    receivers = "".join(only(name, rule) for name, rule in rules.items())
    shop = open_shop(state, config_of(tmp_path, receivers), clock)
    await shop.watch()
    await shop.take(*(ago(f"r{n}", 3 - n, 2, body="Hair in it.") for n in range(3)))
    assert shop.queued() == ["email:hair"]

    await shop.take(ago("r4", 0, 1))  # which the receiver of the worst gets

    assert shop.queued() == ["email:hair", "email:worst"]


async def test_quiet_hours_hold_a_cluster_until_an_urgent_review_joins(
    state: State, tmp_path: Path, clock: SetClock
) -> None:
    quiet = 'quiet = {from = "08:00", to = "20:00"}\nurgent_max_rating = 1\n'
    shop = open_shop(state, config_of(tmp_path, OWNER + quiet), clock)
    await shop.watch()
    await shop.take(*(ago(f"r{n}", 3 - n, 2) for n in range(3)))
    held = "SELECT due_at FROM deliveries JOIN alerts ON id = alert WHERE kind = 'cluster'"
    assert state.value(held) == to_ms(T0.replace(hour=19))

    await shop.take(ago("r4", 0, 1))

    assert state.value(held) == 0


async def test_a_cluster_leaves_in_a_message_of_its_own(shop: Shop) -> None:
    await shop.take(*THREE)
    due = outbox.due_deliveries(shop.state, "slack:baker", T0, 10)
    assert [(each.kind, each.grouping) for each in due][-1] == ("cluster", "each")


async def test_a_new_receiver_takes_a_waiting_cluster_over(
    shop: Shop, state: State, tmp_path: Path
) -> None:
    await shop.take(*THREE)
    with state.transaction():
        reroute(state, config_of(tmp_path), T0)
    cake = BAKER.replace("baker", "cook").replace("C01", "C02") + 'products = ["cake"]\n'
    pie = OWNER.replace("owner", "pie") + 'products = ["pie"]\n'
    with state.transaction():
        reroute(state, config_of(tmp_path, cake + pie), T0)

    assert shop.queued() == ["slack:cook"]


async def test_a_restored_cluster_is_not_raised_again(shop: Shop, clock: SetClock) -> None:
    """A backup of before: the cluster that was raised since is not on record."""
    await shop.take(*THREE[:2])
    clock.advance(hours=1)
    _count_as_sent(shop.state, clock.now())
    await shop.take(THREE[2])
    assert shop.clusters() == []
    known_sites.mark_poll_success(shop.state, SITE, clock.now(), sees_private=True)

    await shop.take(ago("r4", -1 / 12))

    assert shop.keys()[-1] == "new:r4"
    assert shop.clusters() == []


async def test_forgetting_a_site_forgets_its_clusters(shop: Shop) -> None:
    await shop.take(*THREE)
    shop.post()
    erase_site(shop.state, SITE, T0)

    for table in ("alerts", "deliveries", "messages", "cluster_reviews"):
        assert shop.state.value(f"SELECT count(*) FROM {table}") == 0


async def test_a_cluster_is_pruned_after_its_reviews(shop: Shop, clock: SetClock) -> None:
    await shop.take(*THREE)
    for destination in ("slack:baker", "email:owner"):
        [alert] = shop.clusters()
        message = outbox.claim(shop.state, destination, Form.ALERT, [alert], destination, T0)
        assert message is not None
        messages.mark_sent(shop.state, message, Receipt("ok"))
    await shop.take(*(ago(f"r{n}", 3 - n, reply=REPLY, revision=2) for n in range(1, 4)))
    shop.state.execute("UPDATE deliveries SET status = 'cancelled' WHERE status = 'pending'")
    known_sites.mark_poll_success(shop.state, SITE, T0 + 500 * DAY, sees_private=True)
    for _ in range(2):
        await prune(
            shop.state, T0 + 500 * DAY, 400 * DAY, window=30 * DAY, destinations=["email:owner"]
        )

    assert shop.state.value("SELECT count(*) FROM cluster_reviews") == 0
    assert shop.state.value("SELECT detail FROM alerts WHERE kind = 'cluster'") == "{}"
    assert shop.named() == [[]]
