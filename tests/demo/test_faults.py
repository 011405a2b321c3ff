"""A request to an embedded service fails as it was told to, and no other request does."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from alerter.demo.faults import NONSENSE, Fault, bomb, drip, endless, redirect
from alerter.demo.wix import EmbeddedWix
from tests.support.demo_wix import http, ids
from tests.support.waiting import HANG, until

__all__ = ["http"]

QUERY = "/reviews/v1/reviews/query"
COUNT = "/reviews/v1/reviews/count"
SITE = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix() as wix:
        wix.add_site(SITE, api_key="key")
        wix.add(SITE, {"id": "a"})
        yield wix


async def test_faults_replace_answers_in_order_and_are_used_up(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.add(
        "/query", Fault(status=503, body="oops"), Fault(status=429, headers={"Retry-After": "7"})
    )
    first, second, third = [await http.post(QUERY, json={}) for _ in range(3)]
    assert (first.status_code, first.text) == (503, "oops")
    assert (second.status_code, second.headers["Retry-After"]) == (429, "7")
    assert third.status_code == 200
    assert first.headers["x-wix-request-id"]
    assert [each.status for each in wix.queries(SITE)] == [503, 429, 200]


async def test_a_fault_can_last_until_it_is_cleared(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.always("/query", Fault(status=500))
    wix.faults.add("/count", Fault(status=502))
    assert [(await http.post(QUERY, json={})).status_code for _ in range(3)] == [500] * 3
    wix.faults.clear("/query")
    assert (await http.post(QUERY, json={})).status_code == 200
    wix.faults.clear()
    assert (await http.post(COUNT, json={})).status_code == 200


@pytest.mark.parametrize(("drop", "answered"), [("before", False), ("after", True)])
async def test_a_dropped_connection_is_seen_by_the_client(
    wix: EmbeddedWix, http: httpx.AsyncClient, drop: Any, answered: bool
) -> None:
    wix.faults.add("/reply", Fault(drop=drop))
    with pytest.raises(httpx.TransportError):
        await http.patch("/reviews/v1/reviews/a/reply", json={"message": "Sorry"})
    assert wix.requests[-1].status is None
    review = (await http.get("/reviews/v1/reviews/a")).json()["review"]
    assert ("reply" in review) is answered


async def test_a_fault_may_delay_garble_or_answer_for_work_that_was_done(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.add("/query", Fault(delay=0.05), Fault(garble="truncate"), Fault(garble="html"))
    started = time.perf_counter()
    assert ids(await http.post(QUERY, json={})) == ["a"]
    assert time.perf_counter() - started >= 0.05
    with pytest.raises(ValueError, match=r"line 1 column"):
        (await http.post(QUERY, json={})).json()
    assert (await http.post(QUERY, json={})).headers["Content-Type"].startswith("text/html")
    wix.faults.add("/reply", Fault(status=500, done=True))
    assert (
        await http.patch("/reviews/v1/reviews/a/reply", json={"message": "Sorry"})
    ).status_code == 500
    assert (await http.get("/reviews/v1/reviews/a")).json()["review"]["reply"]["message"] == "Sorry"


async def test_it_stops_at_once_and_starts_again_on_the_same_port(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.add("/query", Fault(delay=10 * HANG))
    hanging = asyncio.create_task(http.post(QUERY, json={}))
    await until(lambda: wix.requests)
    url = wix.base_url
    await asyncio.wait_for(wix.stop(), HANG)
    with pytest.raises(httpx.TransportError):
        await hanging
    with pytest.raises(httpx.ConnectError):
        await http.post(QUERY, json={})
    await wix.start()
    assert wix.base_url == url
    assert ids(await http.post(QUERY, json={})) == ["a"]


async def test_a_redirect_names_another_address(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    for status in (301, 302, 307, 308):
        wix.faults.add("/reply", redirect("http://elsewhere.example/x", status))
        answer = await http.patch("/reviews/v1/reviews/a/reply", json={"message": "Sorry"})
        assert (answer.status_code, answer.headers["Location"]) == (
            status,
            "http://elsewhere.example/x",
        )
    assert "reply" not in wix.sites[SITE].reviews.get("a").review


async def test_a_bomb_is_small_on_the_wire_and_large_when_decoded(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.add("/query", bomb(5_000_000))
    answer = await http.post(QUERY, json={})
    assert int(answer.headers["Content-Length"]) < 50_000
    assert len(answer.content) == 5_000_000
    assert answer.json() == {"ok": True}


@pytest.mark.parametrize("fault", [endless(), drip(0.001)], ids=["endless", "drip"])
async def test_an_answer_goes_on_until_the_client_hangs_up(
    wix: EmbeddedWix, http: httpx.AsyncClient, fault: Fault
) -> None:
    wix.faults.add("/query", fault)
    async with http.stream("POST", QUERY, json={}) as answer:
        assert answer.status_code == 200
        received = 0
        async for chunk in answer.aiter_raw():
            received += len(chunk)
            if received > 20 * len(fault.repeat):
                break
    assert ids(await http.post(QUERY, json={})) == ["a"]


@pytest.mark.parametrize("name", NONSENSE)
async def test_an_answer_may_be_nonsense(
    wix: EmbeddedWix, http: httpx.AsyncClient, name: str
) -> None:
    wix.faults.add("/query", Fault(body=NONSENSE[name]))
    answer = await http.post(QUERY, json={})
    assert (answer.status_code, answer.content) == (200, NONSENSE[name])


async def test_a_fault_can_be_for_one_site_only(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    other = {"Authorization": "other", "wix-site-id": "other"}
    wix.add_site("other", api_key="other")
    wix.faults.add("/query", Fault(status=503, only="other"), Fault(status=500))
    wix.faults.always("/count", Fault(status=502, only="other"))
    assert (await http.post(QUERY, json={})).status_code == 500
    assert (await http.post(QUERY, json={})).status_code == 200
    assert (await http.post(QUERY, json={}, headers=other)).status_code == 503
    assert (await http.post(COUNT, json={})).status_code == 200
    assert (await http.post(COUNT, json={}, headers=other)).status_code == 502


async def test_headers_alone_go_with_the_answer_of_the_service(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.faults.add("/query", Fault(headers={"Set-Cookie": "d=1"}))
    answer = await http.post(QUERY, json={})
    assert answer.headers["Set-Cookie"] == "d=1"
    assert ids(answer) == ["a"]
