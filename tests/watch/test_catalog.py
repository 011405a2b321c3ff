"""Names of what was reviewed: asked for after the commit, kept, and never in the way of an
alert.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.config import Config, Site
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.models import Review
from alerter.service.runtime import open_runtime
from alerter.store import State, blocks
from alerter.watch.catalog import Catalog
from alerter.wix.client import WixClient
from tests.support.clock import SetClock
from tests.support.reviews import review
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

VERSION = "/stores/v3/provision/version"
V3 = "/stores/v3/products/"
V1 = "/stores-reader/v1/products/"
URL = "https://bakery.example/product-page/rye"


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock, requests_per_minute=None) as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        wix.add_product(SITE, "rye", "Rye bread", URL)
        yield wix


@pytest.fixture
def site() -> Site:
    context = {"secrets": True, "folder": Path(), "environ": SECRETS}
    fields = {"name": "Corner Bakery", "site_id": SITE, "api_key": "env:WIX_API_KEY"}
    return Site.model_validate(fields, context=context)


@pytest.fixture
async def client(wix: EmbeddedWix, clock: SetClock) -> AsyncIterator[WixClient]:
    client = WixClient(wix.base_url, clock)
    yield client
    await client.close()


@pytest.fixture
def catalog(state: State, clock: SetClock, client: WixClient) -> Catalog:
    return Catalog(state, clock, client)


def of(entity_id: str | None = "rye", **fields: Any) -> Review:
    return review(**{"namespace": "stores", "entity_id": entity_id} | fields)


def names(state: State) -> dict[str, tuple[str | None, str | None]]:
    rows = state.rows("SELECT entity_id, name, url FROM products WHERE site_id = ?", [SITE])
    return {row["entity_id"]: (row["name"], row["url"]) for row in rows}


def paths(wix: EmbeddedWix) -> list[str]:
    return [request.path for request in wix.requests]


@pytest.mark.parametrize(
    ("version", "place"), [("V3_CATALOG", V3), ("V1_CATALOG", V1)], ids=["V3", "V1"]
)
async def test_a_product_is_asked_for_in_the_catalog_that_the_site_has(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, version: str, place: str
) -> None:
    wix.sites[SITE].catalog = version
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}
    assert [(request.method, request.path, request.status) for request in wix.requests] == [
        ("GET", VERSION, 200),
        ("GET", place + "rye", 200),
    ]


async def test_a_site_without_a_store_is_asked_for_no_product(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.sites[SITE].catalog = "STORES_NOT_INSTALLED"
    await catalog.fetch_products(site, [of(), of("wheat")])
    assert names(state) == {"rye": (None, None), "wheat": (None, None)}
    assert paths(wix) == [VERSION]


@pytest.mark.parametrize(
    "fault",
    [None, Fault(status=404), Fault(body="{}")],
    ids=["not installed", "no such call", "no version"],
)
async def test_a_store_that_is_installed_later_is_found_a_day_later(
    catalog: Catalog,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    fault: Fault | None,
) -> None:
    wix.sites[SITE].catalog = "STORES_NOT_INSTALLED"
    if fault:
        wix.faults.add(VERSION, fault)
    await catalog.fetch_products(site, [of()])
    wix.sites[SITE].catalog = "V3_CATALOG"
    clock.advance(days=1, seconds=1)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}


async def test_a_site_that_moved_to_another_catalog_is_followed_at_once(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.sites[SITE].catalog = "V1_CATALOG"
    await catalog.fetch_products(site, [of("wheat")])
    wix.sites[SITE].catalog = "V3_CATALOG"
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"wheat": (None, None), "rye": ("Rye bread", URL)}
    assert [request.status for request in wix.requests[2:]] == [428, 200, 200]


async def test_a_site_whose_catalogs_both_refuse_is_asked_twice_and_left_alone(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.faults.always(V3 + "rye", Fault(status=428))
    await catalog.fetch_products(site, [of()])
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": (None, None)}
    assert paths(wix) == [VERSION, V3 + "rye"] * 2


@pytest.mark.parametrize("answer", [None, Fault(status=403)], ids=["no store", "a refusal"])
async def test_a_site_is_asked_for_its_catalog_once_a_day_whatever_it_answers(
    catalog: Catalog, site: Site, wix: EmbeddedWix, answer: Fault | None
) -> None:
    wix.sites[SITE].catalog = "STORES_NOT_INSTALLED"
    if answer:
        wix.faults.always(VERSION, answer)
    for entity_id in ("rye", "wheat", "spelt"):
        await catalog.fetch_products(site, [of(entity_id)])
    assert paths(wix) == [VERSION]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        (V3 + "rye", None),
        (V3 + "rye", Fault(status=403)),
        (V3 + "rye", Fault(status=401)),
        (V3 + "rye", Fault(status=428)),
        (V3 + "rye", Fault(body="null")),
        (V3 + "rye", Fault(body="{}")),
        (V3 + "rye", Fault(body='{"product": null}')),
        (V3 + "rye", Fault(body='{"product": {"name": null, "url": null}}')),
        (V3 + "rye", Fault(body='{"product": {"name": 7, "url": {"url": 7}}}')),
        (V3 + "rye", Fault(garble="html")),
        (VERSION, Fault(status=403)),
        (VERSION, Fault(body="[]")),
    ],
    ids=[
        "404",
        "403",
        "401",
        "428",
        "null",
        "no product",
        "null product",
        "null name",
        "a number for a name",
        "HTML",
        "403 for the version",
        "a list for the version",
    ],
)
async def test_a_product_without_a_name_is_asked_for_once_a_day(
    catalog: Catalog,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    path: str,
    fault: Fault | None,
) -> None:
    if fault:
        wix.faults.always(path, fault)
    else:
        wix.sites[SITE].products.clear()
    await catalog.fetch_products(site, [of()])
    asked = len(wix.requests)
    clock.advance(hours=23)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": (None, None)}
    assert len(wix.requests) == asked
    wix.faults.clear()
    wix.add_product(SITE, "rye", "Rye bread", URL)
    clock.advance(hours=1, seconds=1)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}


async def test_a_name_is_fetched_once_a_day_and_kept_where_the_answer_has_none(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    await catalog.fetch_products(site, [of(), of()])
    await catalog.fetch_products(site, [of()])
    assert paths(wix) == [VERSION, V3 + "rye"]
    clock.advance(days=1, seconds=1)
    wix.sites[SITE].products.clear()
    await catalog.fetch_products(site, [of()])
    assert paths(wix)[2:] == [VERSION, V3 + "rye"]
    assert names(state) == {"rye": ("Rye bread", URL)}
    clock.advance(days=1, seconds=1)
    wix.add_product(SITE, "rye", "Rye loaf", URL)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye loaf", URL)}


@pytest.mark.parametrize(
    "fault",
    [Fault(status=503), Fault(status=429), Fault(drop="before")],
    ids=["503", "429", "dropped"],
)
async def test_wix_that_cannot_answer_now_is_asked_again_with_the_next_alert(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, fault: Fault
) -> None:
    wix.faults.add(V3 + "rye", fault)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {}
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("path", [VERSION, V3 + "rye"])
async def test_products_are_left_alone_for_as_long_as_wix_asks(
    catalog: Catalog,
    site: Site,
    wix: EmbeddedWix,
    state: State,
    clock: SetClock,
    client: WixClient,
    path: str,
    status: int,
) -> None:
    wix.faults.add(path, Fault(status=status, headers={"Retry-After": "3600"}))
    await catalog.fetch_products(site, [of()])
    before = len(wix.requests)
    clock.advance(seconds=3599)
    restarted = Catalog(state, clock, client)
    for each in (catalog, restarted):
        await each.fetch_products(site, [of()])
    assert len(wix.requests) == before
    clock.advance(seconds=2)
    await restarted.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}


@pytest.mark.parametrize(
    "other", [Fault(status=500), Fault(delay=10 * HANG)], ids=["fails", "hangs"]
)
async def test_a_wait_counts_though_another_product_fails_too(
    catalog: Catalog, site: Site, wix: EmbeddedWix, clock: SetClock, other: Fault
) -> None:
    wix.faults.always(V3 + "a", other)
    wix.faults.add(V3 + "b", Fault(status=429, headers={"Retry-After": "3600"}))
    throttled = counts["wix_calls_429"]
    fetching = asyncio.create_task(catalog.fetch_products(site, [of("a"), of("b")]))
    await until(lambda: V3 + "a" in paths(wix) and counts["wix_calls_429"] > throttled)
    clock.advance(seconds=2)
    await asyncio.wait_for(fetching, HANG)
    before = len(wix.requests)
    await catalog.fetch_products(site, [of("c")])
    assert len(wix.requests) == before


async def test_a_site_that_wix_throttles_is_asked_for_no_product(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, clock: SetClock
) -> None:
    now = clock.now()
    blocks.set_block(state, f"site:{SITE}", now, now + timedelta(minutes=1), "throttled")
    await catalog.fetch_products(site, [of()])
    assert wix.requests == []
    clock.advance(minutes=1)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", URL)}


@pytest.mark.parametrize(
    "other",
    [of(namespace="bookings"), of(namespace=""), of(None), of("")],
    ids=["of another namespace", "of none", "of nothing", "of an empty id"],
)
async def test_only_products_of_a_store_are_asked_for(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, other: Review
) -> None:
    await catalog.fetch_products(site, [other])
    assert names(state) == {}
    assert wix.requests == []


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("  Rye\r\nbread\t\n", "Rye bread"),
        ("Rye\x00\x1b[31m bread\x85\x7f", "Rye[31m bread"),
        (
            "<script>alert(1)</script> *bold* <!channel> {{ 7*7 }}",
            "<script>alert(1)</script> *bold* <!channel> {{ 7*7 }}",
        ),
        ("Rye \ud83c", "Rye \ufffd"),
        ("🍞" * 300, "🍞" * 200),
        (" \n ", None),
        ("", None),
    ],
    ids=["line breaks", "controls", "markup is data", "half an emoji", "endless", "blank", "empty"],
)
async def test_a_hostile_name_becomes_one_line_of_harmless_text(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, name: str, kept: str | None
) -> None:
    wix.add_product(SITE, "rye", name, URL)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": (kept, URL)}


@pytest.mark.parametrize(
    "url",
    [
        "http://bakery.example/rye",
        "javascript:alert(1)",
        "https://bakery.example/a b",
        "https://bakery.example/|evil>",
        "https://bakery.example/<b>",
        "https://bakery.example/\nX",
        "https://bäckerei.example/rye",
        "",
    ],
    ids=[
        "http",
        "a script",
        "a space",
        "a way out of a link",
        "a tag",
        "a line break",
        "letters that look like others",
        "empty",
    ],
)
async def test_an_address_that_is_not_safe_to_link_to_is_left_out(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, url: str
) -> None:
    wix.add_product(SITE, "rye", "Rye bread", url)
    await catalog.fetch_products(site, [of()])
    assert names(state) == {"rye": ("Rye bread", None)}


@pytest.mark.parametrize("version", ["V3_CATALOG", "V1_CATALOG"])
@pytest.mark.parametrize(
    "entity_id", ["a/b", "../../reviews/v1", "a?fields=X", "a#b", "a%2Fb", "ä b", "a&b=c"], ids=str
)
async def test_an_id_stays_one_part_of_the_path(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, version: str, entity_id: str
) -> None:
    wix.sites[SITE].catalog = version
    wix.add_product(SITE, entity_id, "Odd bread", URL)
    await catalog.fetch_products(site, [of(entity_id)])
    assert names(state) == {entity_id: ("Odd bread", URL)}
    assert wix.requests[-1].query == ({"fields": "URL"} if version == "V3_CATALOG" else {})


@pytest.mark.parametrize("entity_id", [".", ".."])
async def test_an_id_of_dots_leads_to_no_other_call(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State, entity_id: str
) -> None:
    await catalog.fetch_products(site, [of(entity_id)])
    assert all(path.startswith(V3) and path != V3 for path in paths(wix)[1:])


async def test_one_product_without_an_answer_keeps_no_other_from_its_name(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.faults.always(V3 + "a", Fault(status=403))
    await catalog.fetch_products(site, [of("a"), of("rye"), of("gone")])
    assert names(state) == {"a": (None, None), "gone": (None, None), "rye": ("Rye bread", URL)}


async def test_products_are_asked_for_at_the_same_time(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    several = [f"p{number}" for number in range(8)]
    for entity_id in several:
        wix.add_product(SITE, entity_id, f"Bread {entity_id}", URL)
        wix.faults.always(V3 + entity_id, Fault(delay=0.3))
    await catalog.fetch_products(site, [of(entity_id) for entity_id in several])
    assert {name for name, _ in names(state).values()} == {
        f"Bread {entity_id}" for entity_id in several
    }


async def test_a_product_that_wix_cannot_name_now_keeps_no_other_from_its_name(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    wix.faults.always(V3 + "a", Fault(status=503))
    await catalog.fetch_products(site, [of("a"), of("rye")])
    assert names(state) == {"rye": ("Rye bread", URL)}


async def test_why_a_name_is_missing_can_be_read_in_the_log(
    catalog: Catalog, site: Site, wix: EmbeddedWix, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="alerter")
    wix.faults.add(VERSION, Fault(status=503))
    await catalog.fetch_products(site, [of()])
    [record] = [record for record in caplog.records if record.name == "alerter.watch.catalog"]
    assert record.levelno == logging.DEBUG
    assert "503" in record.getMessage()


async def test_two_sites_have_each_their_own_catalog(
    catalog: Catalog, site: Site, wix: EmbeddedWix, state: State
) -> None:
    other = site.model_copy(update={"site_id": "22222222-2222-4222-8222-222222222222"})
    wix.add_site(other.site_id, api_key=SECRETS["WIX_API_KEY"], catalog="V1_CATALOG")
    wix.add_product(other.site_id, "rye", "Another's rye", URL)
    await catalog.fetch_products(site, [of()])
    await catalog.fetch_products(other, [of()])
    rows = state.rows("SELECT site_id, name FROM products ORDER BY site_id")
    assert [(row["site_id"], row["name"]) for row in rows] == [
        (SITE, "Rye bread"),
        (other.site_id, "Another's rye"),
    ]


@pytest.mark.slow
async def test_slow_wix_is_given_up_within_two_seconds_and_the_alert_goes_on(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    [site] = config.sites
    async with open_runtime(config, state, clock) as runtime:
        assert await runtime.poller.round(site)
        created = datetime(2024, 7, 1, tzinfo=UTC).isoformat()
        wix.add(
            SITE, {"id": "new", "entityId": "rye", "createdDate": created, "content": {"rating": 1}}
        )
        wix.faults.always(V3 + "rye", Fault(delay=10 * HANG))
        reading = asyncio.create_task(runtime.poller.round(site))
        # The alert is safe before anybody waits for a name.
        await until(lambda: clock.timeouts)
        assert state.value("SELECT count(*) FROM deliveries") == 2
        clock.advance(seconds=1.9)
        await until(lambda: any(V3 in request.path for request in wix.requests))
        assert not reading.done()
        clock.advance(seconds=0.1)
        assert await asyncio.wait_for(reading, HANG)
    assert names(state) == {}
    assert state.value("SELECT count(*) FROM deliveries") == 2
