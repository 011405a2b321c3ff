"""The order behind a review, from Wix to the messages, and to its erasure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.commands import explain
from alerter.commands.check import check_services
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix_reviews import stamp
from alerter.demo.wix_shop import line_item
from alerter.models import Finding
from alerter.notify.worker import IdleReason
from alerter.service.reconcile import reconcile
from alerter.service.runtime import Runtime, open_runtime, open_wix
from alerter.store import State, blocks, erasure, orders
from alerter.store.prune import prune
from tests.support.clock import SetClock
from tests.support.demo_wix import QUERY
from tests.support.held_wix import HeldWix
from tests.support.messages import words_of
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

IDLE = (
    IdleReason.NOTHING_DUE,
    IdleReason.PARKED,
    IdleReason.PACE,
    IdleReason.BACKING_OFF,
    IdleReason.SETTLING,
)
KEY = SECRETS["WIX_API_KEY"]
REQUESTS = "/reviews/v2/review-requests/query"
DAY = timedelta(days=1)
BOUGHT = "Order 10001 · 12 November 2026 · €12.50 · 2 × Rye bread"
PAID = "Paid on Thu 12 Nov, 13:00"
SHIPPED = "Shipped on Sat 21 Nov, 13:00, after 9 days"


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[HeldWix]:
    async with HeldWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=KEY)
        yield wix


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: HeldWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    path = write_config(wix, slack, mailbox, extra="[alerts]\norders = true\n")
    return load_config(path, SECRETS, secrets=True)


@pytest.fixture
async def runtime(config: Config, state: State, clock: SetClock) -> AsyncIterator[Runtime]:
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(config.sites[0])
        yield runtime


def sell(wix: HeldWix, clock: SetClock, *, review_id: str = "r1") -> None:
    """An order of 12 days ago, shipped after nine, and a review of it."""
    ordered = clock.now() - timedelta(days=12)
    usual = {"lineItems": [line_item("rye", "Rye bread", 2)], "buyerInfo": {"contactId": "ada"}}
    wix.sites[SITE].shop.add_order(usual, ordered, ordered + timedelta(days=9))
    wix.add(
        SITE,
        {
            "id": review_id,
            "createdDate": stamp(clock.now()),
            "content": {"rating": 1, "title": "Stale"},
            "entityId": "rye",
            "author": {"contactId": "ada", "authorName": "Ada"},
        },
    )


async def round_of(runtime: Runtime) -> None:
    await runtime.poller.round(runtime.config.sites[0])
    await runtime.dispatcher.run(IDLE)


def plain(text: str) -> str:
    return text.replace("\u00a0", " ")


async def test_an_alert_says_what_was_bought_and_when_it_came(
    runtime: Runtime, wix: HeldWix, clock: SetClock, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    sell(wix, clock)
    await round_of(runtime)
    [mail], [post] = mailbox.mails, slack.posts
    for text in (plain(mail.text), plain(mail.html), plain(words_of(post.blocks))):
        for line in (BOUGHT, PAID, SHIPPED):
            assert line in text
    assert "buyer@example.com" not in mail.text


async def test_without_the_permission_an_alert_says_nothing_of_it(
    runtime: Runtime, wix: HeldWix, clock: SetClock, mailbox: Mailbox, state: State
) -> None:
    wix.forbid(KEY, "READ_ORDERS", "READ_REVIEW_REQUESTS")
    sell(wix, clock)
    await round_of(runtime)
    [mail] = mailbox.mails
    assert "rder" not in mail.text
    assert state.value("SELECT count(*) FROM troubles") == 0


async def test_without_the_key_nothing_is_asked(
    write_config: Callable[..., Path],
    wix: HeldWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
) -> None:
    config = load_config(write_config(wix, slack, mailbox), SECRETS, secrets=True)
    async with open_runtime(config, state, clock) as runtime:
        await round_of(runtime)
        sell(wix, clock)
        await round_of(runtime)
    async with open_wix(config, clock) as client:
        await check_services(config, clock, client, [])
    assert len(mailbox.mails) == 1
    assert not [each for each in wix.requests if "ecom" in each.path or "requests" in each.path]


async def test_a_late_order_updates_slack_and_no_mail(
    runtime: Runtime, wix: HeldWix, clock: SetClock, mailbox: Mailbox, slack: EmbeddedSlack
) -> None:
    sell(wix, clock)
    wix.answers.clear()
    reading = asyncio.create_task(runtime.poller.round(runtime.config.sites[0]))
    await until(lambda: any("review-requests" in each.path for each in wix.requests))
    clock.advance(seconds=2)
    await asyncio.wait_for(reading, HANG)
    await runtime.dispatcher.run(IDLE)
    [mail], [post] = mailbox.mails, slack.posts
    assert "Order" not in words_of(post.blocks)

    wix.answers.set()
    await until(lambda: runtime.state.value("SELECT count(*) FROM messages WHERE stale > 0"))
    clock.advance(seconds=2)
    await runtime.dispatcher.run(IDLE)
    assert BOUGHT in plain(words_of(slack.posts[0].blocks))
    assert (mailbox.mails, len(slack.posts)) == ([mail], 1)


async def test_each_sentence_is_explained_by_its_source(
    runtime: Runtime, config: Config, wix: HeldWix, clock: SetClock
) -> None:
    sell(wix, clock)
    await round_of(runtime)
    lines = explained(runtime, config, clock).splitlines()
    start = lines.index("the order behind it, as Wix said at 2026-11-24 13:00:00 CET")
    assert lines[start + 1 : start + 7] == [
        (
            "- order 10001: the only order of this product by this customer before the review"
            " (POST /ecom/v1/orders/search, by buyerInfo.contactId and catalogItemId)"
        ),
        (
            "- bought: 2 × Rye bread, 12.5 EUR (lineItems and priceSummary,"
            " POST /ecom/v1/orders/search)"
        ),
        "- ordered on 2026-11-12 13:00:00 CET (purchasedDate, else createdDate)",
        "- paid on 2026-11-12 13:00:00 CET (paymentStatus, status, and activity ORDER_PAID)",
        (
            "- shipped on 2026-11-21 13:00:00 CET (createdDate,"
            " POST /ecom/v1/fulfillments/list-by-ids)"
        ),
        "- that is 9 days after the payment",
    ]


async def test_a_refusal_is_explained_and_ends_with_a_check(
    runtime: Runtime, config: Config, wix: HeldWix, clock: SetClock
) -> None:
    wix.forbid(KEY, "READ_ORDERS")
    sell(wix, clock)
    await round_of(runtime)
    refused = "no order behind it is known: Wix refused, and is asked again at 2026-11-25 13:00:00"
    assert refused in explained(runtime, config, clock)

    wix.permit(KEY)
    async with open_wix(config, clock) as client:
        await check_services(config, clock, client, [])
    assert "order" not in explained(runtime, config, clock)
    clock.advance(minutes=2)
    sell(wix, clock, review_id="r2")
    await round_of(runtime)
    assert orders.get_orders(runtime.state, SITE, ["r2"])["r2"].among == 2


def explained(runtime: Runtime, config: Config, clock: SetClock) -> str:
    found = explain.get_explanations(config, runtime.state, config.sites, "r1", clock.now())
    return explain.phrase_explanations(config, found, clock.now())


async def erased_at_wix(runtime: Runtime, wix: HeldWix, clock: SetClock) -> None:
    wix.delete(SITE, "r1")
    clock.advance(hours=2)
    await round_of(runtime)


async def pruned(runtime: Runtime, wix: HeldWix, clock: SetClock) -> None:
    wix.reply(SITE, "r1", "Sorry!")
    clock.advance(hours=2)
    await round_of(runtime)
    now, day = clock.now() + timedelta(days=20), timedelta(days=1)
    assert await prune(runtime.state, now, day, window=day, destinations=[])


async def switched_off(runtime: Runtime, _: HeldWix, clock: SetClock) -> None:
    alerts = runtime.config.alerts
    for is_on in (True, False):
        assert runtime.state.value("SELECT count(*) FROM orders") == 1
        changed = alerts.model_copy(update={"orders": is_on})
        reconcile(runtime.state, runtime.config.model_copy(update={"alerts": changed}), clock)


async def forgotten(runtime: Runtime, _: HeldWix, clock: SetClock) -> None:
    assert erasure.erase_site(runtime.state, SITE, clock.now())
    assert runtime.state.value("SELECT count(*) FROM order_access") == 0


@pytest.mark.parametrize("erase", [erased_at_wix, pruned, switched_off, forgotten])
async def test_an_order_is_erased_with_its_review(
    runtime: Runtime, wix: HeldWix, clock: SetClock, erase: Callable[..., Any]
) -> None:
    sell(wix, clock)
    await round_of(runtime)
    assert runtime.state.value("SELECT count(*) FROM orders") == 1
    await erase(runtime, wix, clock)
    assert runtime.state.value("SELECT count(*) FROM orders") == 0
    assert runtime.state.value("SELECT owed FROM scrubs") is not None


@pytest.mark.parametrize(
    ("permissions", "fault", "warning", "text"),
    [
        ([], None, False, "its orders can be read"),
        (["READ_ORDERS"], None, True, "grant it Read Orders (SCOPE.DC-STORES.READ-ORDERS)"),
        (
            ["READ_REVIEW_REQUESTS"],
            None,
            True,
            "grant it Read Review Requests (SCOPE.DC_REVIEWS.READ-REVIEW_REQUESTS)",
        ),
        ([], "no shop", True, "it has no orders, as it has no eCommerce"),
    ],
    ids=["all", "no orders", "no requests", "no shop"],
)
async def test_check_says_what_alerts_lack_for_orders(
    config: Config,
    clock: SetClock,
    wix: HeldWix,
    permissions: list[str],
    fault: str | None,
    text: str,
    *,
    warning: bool,
) -> None:
    wix.forbid(KEY, *permissions)
    wix.sites[SITE].shop.is_there = fault is None
    async with open_wix(config, clock) as client:
        findings: list[Finding] = await check_services(config, clock, client, [])
    [*_, last] = findings
    assert (last.ok, last.warning, last.subject) == (True, warning, "site Corner Bakery")
    assert text in last.text


async def test_a_wait_asked_for_with_orders_is_one_of_the_whole_site(
    runtime: Runtime, config: Config, wix: HeldWix, state: State, clock: SetClock
) -> None:
    """Wix limits the calls about a site, whatever they ask for."""
    site = config.sites[0]
    for number in range(101):
        sell(wix, clock, review_id=f"r{number}")
    wix.requests.clear()
    wix.faults.add(REQUESTS, Fault(status=429, headers={"Retry-After": "600"}))
    assert not await runtime.poller.round(site)
    # The second page waits, and so do the next round, the summary and people.
    clock.advance(seconds=590)
    async with open_runtime(config, state, clock) as another:
        assert not await another.poller.round(site)
        assert await another.poller.count(site, clock.now() - DAY, clock.now()) is None
    assert [each.path for each in wix.requests if "stores" not in each.path] == [QUERY, REQUESTS]
    clock.advance(seconds=20)
    assert await runtime.poller.round(site)
    assert state.value("SELECT count(*) FROM alerts WHERE kind = 'new'") == 101
    assert blocks.get_blocks(state) == []


async def test_a_wait_that_begins_at_the_end_of_a_round_lasts(
    runtime: Runtime, config: Config, wix: HeldWix, state: State, clock: SetClock
) -> None:
    site = config.sites[0]
    sell(wix, clock)
    wix.faults.add(REQUESTS, Fault(status=429, headers={"Retry-After": "600"}))
    assert await runtime.poller.round(site)
    wix.requests.clear()
    clock.advance(seconds=590)
    assert not await runtime.poller.round(site)
    assert wix.requests == []
    clock.advance(seconds=20)
    assert await runtime.poller.round(site)
    assert blocks.get_blocks(state) == []
