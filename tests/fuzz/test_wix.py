"""Whatever Wix answers is an answer or a WixError: arbitrary heads and bodies through the real
client.

A few examples in the suite; `make torture` tries many.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerter.clock import http_date, seconds_from
from alerter.config import Site
from alerter.errors import WixError
from alerter.models import Review
from alerter.store import State
from alerter.watch.catalog import Catalog
from alerter.wix.client import ReviewFilter, ReviewIds, WixClient
from alerter.wix.event import UnreadableEvent, parse_envelope, parse_event
from alerter.wix.review import UnreadableReview, parse_review
from tests.support.answers import (
    APP_SECRET,
    BODIES,
    DATE_HEADERS,
    HEADERS,
    HEADS,
    JSON_BODIES,
    KEY,
    LONGEST,
    NOW,
    NUMBERS,
    REVIEW,
    STATUSES,
    TEXT,
    Raw,
    RawServer,
    table,
)
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.waiting import HANG

EVENT = table(
    eventType=st.sampled_from(["wix.reviews.v1.review_created", "wix.reviews.v1.review_deleted"]),
    instanceId=st.text(),
    data=table(
        entityId=st.text(),
        createdEvent=table(entity=REVIEW),
        deletedEvent=table(deletedEntity=REVIEW),
    ).flatmap(lambda data: st.sampled_from([data, json.dumps(data)])),
)
ANSWERS = st.builds(Raw, STATUSES, HEADERS, BODIES, HEADS)


def site_of(**fields: str) -> Site:
    context = {"secrets": True, "folder": Path(), "environ": {"KEY": KEY, "APP_SECRET": APP_SECRET}}
    return Site.model_validate({"name": "Corner Bakery", "site_id": SITE} | fields, context=context)


BY_KEY = site_of(api_key="env:KEY")
BY_APP = site_of(app_id="app-1", app_secret="env:APP_SECRET", instance_id="instance-1")


def assert_clean(review: Review) -> None:
    """It can be stored and sent, and is as short as Wix's own limits have it."""
    json.dumps(asdict(review), ensure_ascii=False, default=str).encode()
    assert 1 <= review.rating <= 5
    assert (
        max(len(review.title), len(review.body), len(review.reply.message) if review.reply else 0)
        <= LONGEST
    )


def assert_told(error: Exception) -> None:
    """It can be logged and shown: one short line without our secrets."""
    said = str(error)
    assert said.isprintable()
    assert len(said) < 500
    assert KEY not in said
    assert APP_SECRET not in said


async def read(client: WixClient, site: Site, wanted: ReviewFilter | ReviewIds) -> None:
    async for page in client.pages(site, wanted, private=True):
        assert page.newest is None or page.newest.tzinfo
        for review in page.reviews:
            assert_clean(review)


async def look_up(client: WixClient, state: State, clock: SetClock, site: Site) -> None:
    """A product that Wix says nothing usable of is no failure."""
    clock.advance(days=2)
    await Catalog(state, clock, client).fetch_products(
        site, [Review("r1", 1, namespace="stores", entity_id="p1")]
    )


async def one_review(client: WixClient, site: Site) -> None:
    assert_clean(await client.review(site, "r1"))


async def reply(client: WixClient, site: Site) -> None:
    assert_clean(await client.set_reply(site, "r1", "We are sorry."))


def calls(
    client: WixClient, state: State, clock: SetClock
) -> list[Callable[[Site], Awaitable[Any]]]:
    return [
        lambda site: read(client, site, ReviewFilter(2)),
        lambda site: read(client, site, ReviewIds(("r1",))),
        lambda site: client.probe(site, private=True),
        lambda site: one_review(client, site),
        lambda site: client.look(site, "r1"),
        lambda site: reply(client, site),
        lambda site: client.count(site, NOW - timedelta(days=1), NOW, private=True),
        lambda site: look_up(client, state, clock, site),
    ]


async def answered(call: Callable[[Site], Awaitable[Any]], site: Site) -> None:
    try:
        async with asyncio.timeout(HANG):
            await call(site)
    except WixError as error:
        assert_told(error)


@contextmanager
def wix_client(
    tmp_path: Path,
) -> Iterator[tuple[asyncio.Runner, RawServer, list[Callable[[Site], Awaitable[Any]]]]]:
    clock, server = SetClock(NOW), RawServer()
    with asyncio.Runner() as runner, State.open(tmp_path / "state.db", migrate=True) as state:
        listening = runner.run(server.start())

        async def connect() -> WixClient:
            return WixClient(server.url, clock)

        client = runner.run(connect())
        try:
            yield runner, server, calls(client, state, clock)
        finally:
            runner.run(client.close())
            listening.close()


@pytest.mark.slow
def test_any_json_is_understood_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(JSON_BODIES)
        def holds(body: bytes) -> None:
            server.answer = Raw(200, {}, body)
            for call in all_calls:
                runner.run(answered(call, BY_KEY))

        holds()


@pytest.mark.slow
def test_any_answer_is_understood_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS, st.sampled_from(all_calls))
        def holds(answer: Raw, call: Callable[[Site], Awaitable[Any]]) -> None:
            server.answer = answer
            runner.run(answered(call, BY_KEY))

        holds()


@pytest.mark.slow
def test_any_error_with_any_words_is_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS, st.sampled_from([400, 401, 403, 404, 428, 500]))
        def holds(answer: Raw, status: int) -> None:
            server.answer = replace(answer, status=status, head=None)
            runner.run(answered(all_calls[0], BY_KEY))

        holds()


@pytest.mark.slow
def test_any_answer_to_a_call_for_a_token_is_one_or_a_wix_error(tmp_path: Path) -> None:
    with wix_client(tmp_path) as (runner, server, all_calls):

        @given(ANSWERS)
        def holds(token: Raw) -> None:
            server.token, server.answer = (
                token,
                Raw(401, {}, b""),
            )  # so that the next call needs a new one
            runner.run(answered(all_calls[0], BY_APP))

        holds()


@given(REVIEW)
def test_any_json_is_a_review_or_unreadable(raw: Any) -> None:
    try:
        assert_clean(parse_review(raw))
    except UnreadableReview as error:
        assert_told(error)


@given(EVENT)
def test_any_json_is_an_event_or_unreadable(raw: Any) -> None:
    try:
        event = parse_event(parse_envelope(raw))
    except (UnreadableEvent, UnreadableReview) as error:
        assert_told(error)
    else:
        assert event is None or event.review is None or assert_clean(event.review) is None


@given(NUMBERS | DATE_HEADERS | TEXT | st.text())
def test_any_header_is_a_wait_of_a_day_at_most_or_none(text: str) -> None:
    assert 0 <= (seconds_from(text, NOW) or 0) <= 86400
    moment = http_date(text)
    assert moment is None or moment.tzinfo
