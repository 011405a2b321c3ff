"""Whatever is posted as a webhook: it is answered, what nobody signed changes nothing, and no fault
is alerter's own.

Hypothesis spoils tokens, envelopes and events. `make torture` tries many more.
"""

import asyncio
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import jwt
from hypothesis import given
from hypothesis import strategies as st

from alerter.clock import Clock
from alerter.config import load_config
from alerter.demo.wix_webhooks import Webhooks
from alerter.store import State, known_sites, reviews
from alerter.watch.catalog import Catalog
from alerter.watch.intake import Intake
from alerter.web.server import open_web
from alerter.wix.client import WixClient
from tests.support.clock import SetClock

SITE = "11111111-1111-4111-8111-111111111111"
INSTANCE = "55555555-5555-4555-8555-555555555555"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
NEVER = datetime(9000, 1, 1, tzinfo=UTC)
SLUGS = (
    "created",
    "updated",
    "deleted",
    "moderation_status_changed",
    "review_published",
    "voted_on",
)
REVIEW = {
    "id": "r1",
    "revision": "3",
    "createdDate": "2026-11-24T12:00:00.000Z",
    "updatedDate": "2026-11-24T12:00:00.000Z",
    "content": {
        "rating": 1,
        "title": "Stale",
        "body": "Hard.",
        "media": [{"image": {"url": "https://a.example/b"}}],
    },
    "author": {"authorName": "Robin", "contactId": "c1"},
    "reply": {"message": "Sorry!"},
    "moderation": {"moderationStatus": "APPROVED"},
    "entityId": "p1",
    "namespace": "stores",
    "foundHelpful": 1,
}

words = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["\ud800", "\x1b[2J", "9" * 5000, "NaN", "r1"]
)
leaves = (
    st.none() | st.booleans() | st.integers() | st.integers(10**18, 10**400) | st.floats() | words
)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Posted:
    """A body, and whether the app's key signed what it says."""

    body: bytes
    signed: bool


@cache
def app(name: str) -> Webhooks:
    """Wix's side of an app; making its key takes a moment."""
    return Webhooks("", app_id=name, clock=SetClock(NOW))


def spoil(data: st.DataObject, value: Any, depth: int = 0) -> Any:
    """The same value with one thing in it, or itself, replaced or left out."""
    if isinstance(value, Mapping) and value and depth < 5 and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(value)))
        if not data.draw(st.integers(0, 5)):
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: spoil(data, value[key], depth + 1)}
    return data.draw(values)


def envelope(data: st.DataObject) -> Any:
    """The claim `data`: a good one, or one that is spoiled at any depth."""
    signer, slug = app("an-app"), data.draw(st.sampled_from(SLUGS))
    event: Any = signer.event(slug, REVIEW | {"id": data.draw(st.sampled_from(["r1", "r2", "r3"]))})
    event["entityEventSequence"] = str(data.draw(st.integers(1, 9)))  # the signer goes on counting
    if data.draw(st.booleans()):
        event = spoil(data, event)
    made = json.loads(
        signer.envelope(
            f"wix.reviews.v1.review_{slug}",
            event,
            data.draw(st.sampled_from([INSTANCE, "other", None])),
            data.draw(st.sampled_from([SITE, "other", None])),
        )
    )
    return spoil(data, made) if not data.draw(st.integers(0, 2)) else json.dumps(made)


def signed(name: str, data: object) -> bytes:
    """Return a token that never expires: the same whenever it is made, so that an example can be
    repeated.
    """
    return app(name).sign(data, iat=NOW, exp=NEVER).encode()


def posted(data: st.DataObject) -> Posted:
    """A body: signed by our app, signed by another that is not ours, or a token with some bytes
    changed.

    What is drawn depends on what was drawn before, and never on the key that signs.
    """
    kind = data.draw(
        st.sampled_from(["signed", "signed", "signed", "stranger", "cut", "bytes", "head"])
    )
    if kind == "bytes":
        return Posted(data.draw(st.binary(max_size=200)), signed=False)
    claim, thousandths = envelope(data), data.draw(st.integers(0, 1000))
    other = data.draw(st.binary(min_size=1, max_size=4))
    token = signed("stranger" if kind == "stranger" else "an-app", claim)
    if kind == "cut":
        at = thousandths * (token.rindex(b".") - 4) // 1000  # in what is signed
        changed = token[:at] + other + token[at + 4 :]
        return Posted(changed, signed=changed == token)
    if kind == "head":
        head = json.dumps(
            data.draw(
                st.dictionaries(st.sampled_from(["alg", "b64", "crit", "kid", "typ"]), values)
            )
        )
        return Posted(
            jwt.utils.base64url_encode(head.encode()) + token[token.index(b".") :], signed=False
        )
    return Posted(token, signed=kind == "signed")


CONFIG = f"""
state = "state.db"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:KEY"
app_id = "an-app"
instance_id = "{INSTANCE}"
[slack]
token = "env:KEY"
base_url = "http://127.0.0.1:9/"
[wix]
base_url = "http://127.0.0.1:9/"
[[receivers]]
name = "support"
slack = "C0123456789"
[web]
listen = "127.0.0.1:8080"
"""


async def answers(folder: Path, bodies: list[Posted]) -> list[int]:
    """Post one after the other, and return the answers; what is not signed must leave the state as
    it was.
    """
    key = f"[[apps]]\napp_id = 'an-app'\npublic_key = '''{app('an-app').public_key}'''\n"
    (folder / "config.toml").write_text(CONFIG + key)
    config, clock = load_config(folder / "config.toml", {"KEY": "key"}, secrets=True), Clock()
    found = []
    with State.open(config.database, migrate=True) as state:
        known_sites.record_coverage(state, SITE, 2)
        client = WixClient(config.wix.base_url, clock)
        intake = Intake(state, config, clock, Catalog(state, clock, client), lambda _: None)
        async with (
            open_web(("127.0.0.1", 0), config, state, clock, intake, {}) as web,
            aiohttp.ClientSession() as http,
        ):
            url = f"http://127.0.0.1:{web.port}"
            for each in bodies:
                before = content(state)
                found.append(await post(http, f"{url}/webhooks/wix", each.body))
                assert each.signed or (found[-1] in (401, 413) and content(state) == before), each
            async with http.get(f"{url}/healthz") as response:
                assert response.status == 200
        await client.close()
        for row in state.rows("SELECT review_id FROM reviews"):
            assert reviews.get_reviews(state, SITE, [row["review_id"]])
    return found


async def post(http: aiohttp.ClientSession, url: str, body: bytes) -> int:
    """Return the answer to a body; once more where a busy machine took longer than a connection
    may.
    """
    for tries in range(3):
        try:
            async with http.post(url, data=body) as response:
                return response.status
        except aiohttp.ServerDisconnectedError:
            if tries == 2:
                raise
    raise AssertionError


def content(state: State) -> list[tuple[Any, ...]]:
    """All that is on record of reviews, and of what people are notified of."""
    return [
        tuple(row)
        for table in ("reviews", "alerts", "deliveries")
        for row in state.rows(f"SELECT * FROM {table}")
    ]


@given(st.data())
def test_whatever_is_posted_is_answered(data: st.DataObject) -> None:
    bodies = [posted(data) for _ in range(data.draw(st.integers(1, 8)))]
    caught: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = caught.append
    logging.getLogger("alerter").addHandler(handler)
    try:
        with tempfile.TemporaryDirectory(prefix="alerter-fuzz-") as folder:
            found = asyncio.run(answers(Path(folder), bodies))
    finally:
        logging.getLogger("alerter").removeHandler(handler)
    assert set(found) <= {200, 400, 401, 413}
    assert not [record for record in caught if record.levelno >= logging.ERROR], [
        each.exc_info for each in caught
    ]
    assert all(record.getMessage().isprintable() for record in caught)


def test_the_good_ones_among_them_are_taken() -> None:
    event = app("an-app").event("created", REVIEW)
    data = app("an-app").envelope("wix.reviews.v1.review_created", event, INSTANCE, SITE)
    with tempfile.TemporaryDirectory(prefix="alerter-fuzz-") as folder:
        good = Posted(signed("an-app", data), signed=True)
        assert asyncio.run(answers(Path(folder), [good])) == [200]
