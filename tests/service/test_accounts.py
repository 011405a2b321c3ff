"""Sites that come and go with the accounts of the config, through real HTTP and a state file."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.scopes import Scope
from alerter.service.daemon import serve
from alerter.service.reconcile import reconcile
from alerter.service.reload import Reload
from alerter.service.runtime import open_runtime
from alerter.store import Holder, State, account_sites, blocks, known_sites, lock_of, troubles
from alerter.store.reload_request import get_reload_answers, request_reload
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock
from tests.support.state import open_state
from tests.support.values import SECRETS, SITE
from tests.support.waiting import until

LIST = "/site-list/v2/sites/query"
TEA, ROOM = (f"{digit * 8}-2222-4222-8222-222222222222" for digit in "23")
AGENCY_KEY, CHAIN_KEY = "agency-key-3c1d", "chain-key-9f2a"
KEYS = SECRETS | {"AGENCY": AGENCY_KEY, "CHAIN": CHAIN_KEY}
SCOPE = "account:agency-1"
ACCOUNTS = """
[[accounts]]
name = "Agency"
api_key = "env:AGENCY"
account_id = "agency-1"

[[accounts]]
name = "Chain"
api_key = "env:CHAIN"
account_id = "chain-1"
"""
OWNER = '[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\n'


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        wix.add_site(TEA, name="Tea House")
        wix.add_site(ROOM, name="Tea Room")
        wix.add_account("agency-1", AGENCY_KEY, [TEA])
        wix.add_account("chain-1", CHAIN_KEY, [])
        yield wix


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    path = write_config(wix, slack, mailbox, extra=ACCOUNTS, receivers=OWNER)
    return load_config(path, KEYS, secrets=True)


@pytest.fixture
def once(config: Config, clock: SetClock) -> Callable[..., asyncio.Future[bool]]:
    async def once(**later: float) -> bool:
        clock.advance(**later)
        return await serve(config, clock, {}, once=True)

    return once


def write(wix: EmbeddedWix, site_id: str, name: str) -> None:
    wix.add(site_id, {"id": name, "content": {"rating": 1, "title": f"Title of {name}"}})


def alerted(mailbox: Mailbox) -> list[str]:
    return [mail.subject for mail in mailbox.mails if "★" in mail.subject]


def watched(config: Config) -> dict[str, str | None]:
    """The names of the sites that have not left."""
    with open_state(config.database) as state:
        known = known_sites.get_known_sites(state)
    return {site.site_id: site.name for site in known if site.left_at is None}


async def test_a_site_of_an_account_gets_its_baseline_and_then_alerts(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    write(wix, TEA, "past")
    assert await once()
    write(wix, TEA, "r1")
    assert await once(minutes=1)
    [subject] = alerted(mailbox)
    assert "Tea House" in subject
    assert wix.queries(TEA)[0].headers["Authorization"] == AGENCY_KEY
    assert sum(request.path == LIST for request in wix.requests) == 2  # of each account


async def test_a_site_that_is_added_later_is_found_within_the_hour(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox, config: Config
) -> None:
    assert await once()
    wix.add_account("agency-1", AGENCY_KEY, [TEA, ROOM])
    write(wix, ROOM, "past")
    assert await once(minutes=59)
    assert ROOM not in watched(config)
    assert await once(minutes=1)
    assert watched(config)[ROOM] == "Tea Room"
    write(wix, ROOM, "r1")
    assert await once(minutes=1)
    [subject] = alerted(mailbox)
    assert "Tea Room" in subject


async def test_a_site_leaves_once_two_lists_an_hour_apart_are_without_it(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, config: Config
) -> None:
    wix.sites[TEA].api_key = AGENCY_KEY
    assert await once()
    wix.add_account("agency-1", AGENCY_KEY, [])
    assert await once(hours=1)
    assert TEA in watched(config)
    assert await once(minutes=59)
    assert TEA in watched(config)
    assert await once(minutes=1)
    assert watched(config) == {SITE: "Corner Bakery"}
    seen = len(wix.queries(TEA))
    assert await once(minutes=1)
    assert len(wix.queries(TEA)) == seen


async def test_one_list_without_a_site_does_not_remove_it(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, config: Config
) -> None:
    assert await once()
    for _ in range(3):
        wix.faults.add(LIST, Fault(status=200, body='{"sites": [], "metadata": {}}'))
        assert await once(hours=1)
        assert await once(hours=1)
        assert TEA in watched(config)


async def test_a_list_that_may_be_cut_removes_no_site(state: State, clock: SetClock) -> None:
    with state.transaction():
        account_sites.record_list(state, "a", {TEA: "Tea"}, clock.now(), complete=True)
        for _ in range(3):
            clock.advance(hours=1)
            account_sites.record_list(state, "a", {ROOM: "Room"}, clock.now(), complete=False)
    assert account_sites.get_account_sites(state) == {"a": {TEA: "Tea", ROOM: "Room"}}


async def test_a_renamed_site_is_called_by_its_new_name(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    assert await once()
    wix.sites[TEA].name = "Tea Palace"
    assert await once(hours=1)
    write(wix, TEA, "r1")
    assert await once(minutes=1)
    [subject] = alerted(mailbox)
    assert "Tea Palace" in subject


async def test_a_site_that_moves_to_another_account_is_read_with_its_key(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox, config: Config
) -> None:
    write(wix, TEA, "past")
    assert await once()
    wix.add_account("agency-1", AGENCY_KEY, [])
    wix.add_account("chain-1", CHAIN_KEY, [TEA])
    for later in (timedelta(hours=1), timedelta(minutes=1), timedelta(hours=1)):
        assert await once(seconds=later.total_seconds())
        assert wix.queries(TEA)[-1].headers["Authorization"] == CHAIN_KEY
        assert TEA in watched(config)
    write(wix, TEA, "r1")
    assert await once(minutes=1)
    assert len(alerted(mailbox)) == 1


async def test_an_account_that_is_refused_keeps_its_sites_and_is_trouble_at_once(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox, config: Config
) -> None:
    assert await once()
    wix.forbid(AGENCY_KEY, "SITE_LIST")
    write(wix, TEA, "r1")
    assert not await once(hours=1)
    assert len(alerted(mailbox)) == 1
    [trouble] = [mail for mail in mailbox.mails if "★" not in mail.subject]
    assert "The sites of the account Agency cannot be listed" in trouble.subject
    wix.permit(AGENCY_KEY)
    assert await once(minutes=1)
    assert "The sites of the account Agency can be listed again" in mailbox.mails[-1].subject
    assert TEA in watched(config)


async def test_a_start_while_wix_is_down_knows_the_sites_and_loses_none(
    once: Callable[..., asyncio.Future[bool]], wix: EmbeddedWix, mailbox: Mailbox, config: Config
) -> None:
    assert await once()
    await wix.stop()
    assert not await once(hours=3)
    assert TEA in watched(config)
    await wix.start()
    write(wix, TEA, "r1")
    assert await once(minutes=1)
    assert len(alerted(mailbox)) == 1


async def test_an_account_that_leaves_the_config_takes_its_sites_along(
    once: Callable[..., asyncio.Future[bool]], config: Config, clock: SetClock
) -> None:
    assert await once()
    without = config.model_copy(update={"accounts": config.accounts[1:]})
    assert await serve(without, clock, {}, once=True)
    assert watched(config) == {SITE: "Corner Bakery"}


async def test_a_list_that_fails_for_a_while_is_trouble(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    reconcile(state, config, clock)
    wix.faults.always(LIST, Fault(status=503))
    async with open_runtime(config, state, clock) as runtime:
        for minute in range(16):
            assert not await runtime.accounts.round(at_start=True)
            scopes = {each.scope for each in troubles.get_open_troubles(state)}
            assert (SCOPE in scopes) is (minute == 15)
            clock.advance(minutes=1)
        wix.faults.clear()
        assert await runtime.accounts.round(at_start=True)
    assert troubles.get_open_troubles(state) == []


async def test_a_throttled_list_waits_as_wix_asked(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    reconcile(state, config, clock)
    throttled = Fault(status=429, headers={"Retry-After": "1800"})
    wix.faults.add(LIST, throttled, throttled)
    async with open_runtime(config, state, clock) as runtime:
        for _ in range(30):
            assert not await runtime.accounts.round(at_start=True)
            clock.advance(minutes=1)
        assert sum(request.path == LIST for request in wix.requests) == 2
        assert SCOPE in {each.scope for each in troubles.get_open_troubles(state)}
        assert await runtime.accounts.round(at_start=True)
        assert blocks.get_blocks(state) == []


async def test_a_start_asks_again_and_a_reload_for_a_list_does_not(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    async def asked(**later: float) -> int:
        clock.advance(**later)
        before = len(wix.requests)
        async with open_runtime(config, state, clock) as runtime:
            assert await runtime.accounts.round(at_start=True)
            clock.advance(minutes=2)
            assert await runtime.accounts.round(at_start=True)
        return len(wix.requests) - before

    assert [await asked(), await asked(minutes=1), await asked()] == [2, 2, 2]
    async with open_runtime(config, state, clock) as runtime:
        clock.advance(hours=2)
        assert await runtime.accounts.round(at_start=True)
        before = len(wix.requests)
        async with open_runtime(config, state, clock) as after:
            assert await after.accounts.round(at_start=True)
        assert len(wix.requests) == before


@pytest.mark.slow
async def test_a_running_daemon_takes_what_a_list_brings_and_keeps_it_at_reload(
    config: Config, wix: EmbeddedWix
) -> None:
    wix.clock = Clock()
    load = partial(config.model_copy)
    daemon = asyncio.create_task(serve(config, Clock(), {}, once=False, load=load))
    await until(lambda: wix.queries(TEA) or daemon.done())
    seen = len(wix.queries(TEA))
    signal.raise_signal(signal.SIGHUP)
    await until(lambda: len(wix.queries(TEA)) > seen or daemon.done())
    signal.raise_signal(signal.SIGTERM)
    assert await daemon
    assert watched(config) == {SITE: "Corner Bakery", TEA: "Tea House"}
    assert sum(request.path == LIST for request in wix.requests) == 2


def test_other_sites_do_not_end_the_trouble_of_a_refused_config(
    config: Config, state: State, clock: SetClock
) -> None:
    reconcile(state, config, clock)
    Troubles(state, config, clock, wake=lambda _: None).begin(Scope.CONFIG, "sites: is missing")
    reconcile(state, config, clock, is_read=False)
    assert [each.scope for each in troubles.get_open_troubles(state)] == ["config"]
    reconcile(state, config, clock)
    assert troubles.get_open_troubles(state) == []


def test_other_sites_answer_no_reload_that_was_asked_for_meanwhile(
    config: Config, tmp_path: Path
) -> None:
    path = tmp_path / "state.db"
    with lock_of(path) as lock:
        lock.acquire(Holder.RUN)
        reload = Reload(asyncio.Event(), lambda: config, lock)
        reload.request = request_reload(lock) or ""
        reload.take()
        assert get_reload_answers(lock, reload.request) == {}
        reload.is_read = True
        reload.take()
        assert get_reload_answers(lock, reload.request)[""].taken
