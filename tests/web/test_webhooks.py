"""Webhooks: what is let in, what is recorded, what is answered, over real HTTP."""

import asyncio
import json
import re
import socket
import tracemalloc
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from alerter.clock import Clock
from alerter.config import App, Config
from alerter.counters import counts
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks, free_port
from alerter.errors import AlerterError
from alerter.store import State, known_sites
from alerter.web.server import open_web
from alerter.web.signature import BadSignature, Signatures, parse_token
from tests.support.state_faults import impatient, locked
from tests.support.values import SITE
from tests.support.waiting import HANG, until
from tests.support.webhooks import INSTANCE, STALE, Door

# Who is let in


FLOODS = {
    "tiny chunks": b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 50_000,
    "many headers": b"".join(b"X-%d: a\r\n" % number for number in range(25_000)),
    "trailers": b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: a\r\n" * 50_000,
    "many requests": b"Content-Length: 0\r\n\r\n" + b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000,
    "a long line": b"X: " + b"a" * 300_000,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_what_many_strangers_send_at_once_takes_little_memory(
    door: Door, flood: bytes
) -> None:
    loop, port = asyncio.get_running_loop(), int(door.url.rpartition(":")[2])
    sent = b"POST /webhooks/wix HTTP/1.1\r\nHost: x\r\n" + flood

    async def stranger() -> None:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", port))
            with suppress(ConnectionError):
                await loop.sock_sendall(sock, sent)
                while await loop.sock_recv(sock, 1000):
                    pass

    tracemalloc.start()
    try:
        await asyncio.gather(*(stranger() for _ in range(30)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000, f"{peak:,} bytes"
    assert await door.send("created", STALE) == 200


async def test_a_body_that_cannot_be_read_is_refused(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    async with door.http.post(
        f"{door.url}/webhooks/wix",
        data=b"abcde",
        headers={"Content-Encoding": "gzip"},
        compress=False,
    ) as response:
        assert response.status == 401
    port = int(door.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST /webhooks/wix HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head)
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(b"ZZ\r\nabc\r\n")
    assert b" 400 " in (await reader.read()).partition(b"\r\n")[0]
    writer.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_webhook_is_recorded_before_it_is_answered(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "alerter.watch")
    assert await door.send("created", STALE) == 200
    assert door.alerts() == [f"new:{SITE}:r1"]
    await until(lambda: set(door.woken) == {"email:owner", "slack:support"})
    assert counts["webhooks_taken"] == 1
    assert caplog.messages == [
        'site "Corner Bakery": alert raised: kind=new stars=1 review=r1',
    ]


def forged(signer: Webhooks, **changes: Any) -> str:
    """What somebody would send who has everything but Wix's key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    payload = {"data": "{}", "exp": datetime.now(UTC) + timedelta(minutes=5)} | changes
    return jwt.encode(payload, key, algorithm="RS256")


def unsigned(signer: Webhooks) -> str:
    return jwt.encode({"data": "{}", "exp": 32503680000}, None, algorithm="none")


def with_the_public_key_as_password(signer: Webhooks) -> str:
    head, body = (
        jwt.utils.base64url_encode(json.dumps(part).encode())
        for part in ({"alg": "HS256"}, {"exp": 1e10})
    )
    secret = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    signature = jwt.utils.base64url_encode(
        secret.sign(head + b"." + body, signer.public_key.encode())
    )
    return b".".join((head, body, signature)).decode()


def detached(signer: Webhooks) -> str:
    payload = {"data": "{}", "exp": 32503680000}
    return jwt.encode(payload, signer._key, "RS256", headers={"b64": False, "crit": ["b64"]})


def tampered(signer: Webhooks) -> str:
    head, _, signature = signer.sign("{}").split(".")
    body = jwt.utils.base64url_encode(
        json.dumps({"data": "{}", "exp": 32503680000}).encode()
    ).decode()
    return f"{head}.{body}.{signature}"


BAD = {
    "another key": forged,
    "no signature": unsigned,
    "the public key as a password": with_the_public_key_as_password,
    "tampered with": tampered,
    "expired": lambda signer: signer.sign("{}", exp=datetime.now(UTC) - timedelta(seconds=5)),
    "without an end": lambda signer: signer.sign("{}", exp=None),
    "nothing": lambda _: "",
    "no token": lambda _: "hello",
    "JSON": lambda _: '{"data": "{}"}',
    "another algorithm": lambda signer: signer.sign("{}").replace(
        "eyJhbGciOiJSUzI1NiI", "eyJhbGciOiJSUzUxMiI"
    ),
    "a payload that is not encoded": detached,
    "a header of 100 kB": lambda signer: (
        f"{jwt.utils.base64url_encode(b' ' * 90_000).decode()}{signer.sign('{}')}"
    ),
    "three dots": lambda _: "...",
    "an end that is no number": lambda signer: jwt.encode(
        {"data": "{}", "exp": float("inf")}, signer._key, "RS256"
    ),
    "not valid yet": lambda signer: signer.sign("{}", nbf=datetime.now(UTC) + timedelta(minutes=5)),
    "deep nonsense": lambda _: jwt.utils.base64url_encode(b"[" * 100_000).decode() + ".e30.e30",
    "no text": lambda _: b"\xff\xfe\x00.\x00.\x00",
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
async def test_what_wix_has_not_signed_is_refused(
    door: Door, make: Callable[[Webhooks], str | bytes]
) -> None:
    assert await door.post(make(door.signer)) == 401
    assert counts["webhooks_refused"] == 1


async def test_a_token_needs_no_issuer_or_audience_and_may_be_ahead(
    door: Door,
) -> None:
    data = door.signer.envelope(
        "wix.reviews.v1.review_created", door.signer.event("created", STALE), INSTANCE, None
    )
    ahead = datetime.now(UTC) + timedelta(seconds=90)
    assert await door.post(door.signer.sign(data, aud=None, iss=None, iat=ahead) + "\r\n") == 200
    assert door.alerts() == [f"new:{SITE}:r1"]


async def test_a_body_of_144_kb_is_read_and_a_larger_one_is_not(door: Door) -> None:
    assert await door.post(b"x" * 144 * 1024) == 401
    assert await door.post(b"x" * (144 * 1024 + 1)) == 413
    assert counts["webhooks_too_large"] == 1


@pytest.mark.parametrize(
    "letter", ['"', "\n", "\u05e9"], ids=["quotes", "line breaks", "Hebrew, escaped"]
)
async def test_the_longest_review_with_a_reply_and_ten_photos_fits(door: Door, letter: str) -> None:
    name = f"e6a89e_{'a' * 32}~mv2.png"
    image = {
        "id": name,
        "url": f"https://static.wixstatic.com/media/{name}",
        "altText": "x" * 100,
        "width": 4000,
    }
    content = {
        "rating": 1,
        "title": f"a{letter * 2998}b",
        "body": f"a{letter * 2998}b",
        "media": [{"image": image}] * 10,
    }
    assert (
        await door.send(
            "created", STALE | {"content": content, "reply": {"message": f"a{letter * 2998}b"}}
        )
        == 200
    )
    [row] = door.state.rows("SELECT rating FROM reviews")
    assert row["rating"] == 1


async def test_other_methods_and_paths_are_none_of_ours(door: Door) -> None:
    async with door.http.get(f"{door.url}/webhooks/wix") as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert await door.post("", "/healthz") == 405
    assert await door.post("", "/") == 404


# Whose it is


async def test_the_site_is_found_by_its_instance_else_by_its_id(door: Door) -> None:
    assert await door.send("created", STALE | {"id": "r1"}, instance=INSTANCE, site=SITE) == 200
    assert await door.send("created", STALE | {"id": "r2"}, instance="another", site=SITE) == 200
    assert await door.send("created", STALE | {"id": "r3"}, instance=None, site=SITE) == 200
    assert await door.send("created", STALE | {"id": "r4"}, instance=INSTANCE, site=None) == 200
    assert len(door.alerts()) == 4


async def test_an_event_that_names_another_site_than_its_instance_is_left_out(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    assert await door.send("created", STALE, instance=INSTANCE, site="another") == 200
    assert (door.alerts(), counts["webhooks_unknown_site"]) == ([], 1)
    assert "names another site than that of its instance" in caplog.text


async def test_who_names_the_instance_of_another_gets_none_of_its_events(
    door: Door, config: Config
) -> None:
    victim = config.sites[0].model_copy(
        update={"name": "Victim", "site_id": "victim", "instance_id": None}
    )
    object.__setattr__(config, "sites", (*config.sites, victim))
    known_sites.record_coverage(door.state, "victim", 2)
    assert await door.send("created", STALE, instance=INSTANCE, site="victim") == 200
    assert door.alerts() == ["new:victim:r1"]


@pytest.mark.parametrize("slug", ["created", "deleted"])
async def test_the_key_of_another_app_is_not_believed(
    door: Door, config: Config, caplog: pytest.LogCaptureFixture, slug: str
) -> None:
    assert await door.send("created", STALE | {"id": "r0"}) == 200
    object.__setattr__(config.sites[0], "app_id", "another-app")
    for site in (SITE, None):
        assert (
            await door.send(slug, STALE | {"id": "r0" if slug == "deleted" else "r1"}, site=site)
            == 200
        )
    assert (door.status("r0"), door.status("r1")) == ("open", None)
    assert counts["webhooks_unknown_site"] == 2
    assert "is not signed for the app_id of site" in caplog.text


async def test_a_site_without_an_app_takes_events_of_any_that_name_its_id(
    door: Door, config: Config
) -> None:
    object.__setattr__(config.sites[0], "app_id", None)
    assert await door.send("created", STALE | {"id": "r1"}, site=None) == 200
    assert door.alerts() == []
    assert await door.send("created", STALE | {"id": "r2"}, site=SITE.upper()) == 200
    assert len(door.alerts()) == 1
    object.__setattr__(config, "apps", config.apps[1:])
    assert await door.send("created", STALE | {"id": "r3"}, site=None) == 200
    assert len(door.alerts()) == 2


async def test_unknown_sites_and_events_are_acknowledged_and_counted(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    assert await door.send("created", STALE, instance="another", site="another") == 200
    assert await door.send("created", STALE, instance=None) == 200
    assert await door.send("voted_on", STALE) == 200
    assert (counts["webhooks_unknown_site"], counts["webhooks_unknown_event"]) == (2, 1)
    assert not door.alerts()
    assert caplog.text.count("(instance another)") == 1


@pytest.mark.parametrize(
    "data",
    [
        None,
        7,
        "no JSON",
        "[]",
        "{}",
        '{"eventType": "wix.reviews.v1.review_created"}',
        "[" * 100_000,
    ],
    ids=["none", "a number", "no JSON", "a list", "nothing", "no event", "deep nonsense"],
)
async def test_what_wix_signs_but_nobody_can_read_is_acknowledged(door: Door, data: object) -> None:
    assert await door.post(door.signer.sign(data)) == 200
    assert counts["webhooks_unreadable"] == 1


@pytest.mark.parametrize(
    "review_id",
    ["\ud800", "x" * 100_000, "a b", "\x1b[2J"],
    ids=["surrogate", "long", "two", "esc"],
)
async def test_a_deletion_of_what_no_review_is_called_is_refused(
    door: Door, caplog: pytest.LogCaptureFixture, review_id: str
) -> None:
    event = door.signer.event("deleted", {"id": "r1"}) | {"entityId": review_id}
    data = door.signer.envelope("wix.reviews.v1.review_deleted", event, INSTANCE, None)
    assert await door.post(door.signer.sign(data)) == 400
    assert counts["webhooks_unreadable"] == 1
    assert door.state.rows("SELECT 1 FROM reviews") == []
    assert review_id not in caplog.text


async def test_a_review_that_cannot_be_read_is_left_to_the_rounds(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert (
            await door.send(
                "created", {"id": "r1", "content": {"rating": "many", "body": "Private words"}}
            )
            == 200
        )
    assert counts["webhooks_unreadable"] == 3
    assert caplog.text.count("a webhook is ignored") == 1
    assert "Private words" not in caplog.text


# What could go wrong


async def test_a_slow_catalog_never_delays_the_answer(door: Door, wix: EmbeddedWix) -> None:
    wix.faults.always("/version", Fault(delay=10 * HANG))
    for number in range(5):
        assert (
            await door.send(
                "created", STALE | {"id": f"r{number}", "entityId": "p1", "namespace": "stores"}
            )
            == 200
        )
    assert not door.woken
    await until(lambda: door.clock.timeouts)
    door.clock.advance(seconds=2)
    await until(lambda: set(door.woken) == {"email:owner", "slack:support"})

    def asked() -> int:
        return sum(request.path.endswith("/version") for request in wix.requests)

    await until(lambda: asked() == 2)  # once for the first, once for all that came meanwhile
    door.clock.advance(seconds=2)
    await until(lambda: len(door.woken) == 2)
    assert asked() == 2


async def test_a_database_that_takes_nothing_is_answered_503_and_logged_once(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with locked(impatient(door.state).database):
        assert [await door.send("created", STALE) for _ in range(3)] == [503, 503, 503]
    assert await door.send("created", STALE) == 200
    assert (counts["webhooks_failed"], counts["webhooks_taken"]) == (3, 1)
    told = [record.message for record in caplog.records if record.name == "alerter.web.webhooks"]
    assert [re.sub(": .*", "", text) for text in told] == [
        "webhooks cannot be recorded, Wix sends them again",
        "webhooks are recorded again",
    ]


async def test_slow_clients_are_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerter.web.server._REQUEST_TIMEOUT", 0.05)
    port = int(door.url.rpartition(":")[2])
    for beginning in (
        b"",
        b"POST /webhooks/wix HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        b"POST /webhooks/wix HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning)
        async with asyncio.timeout(HANG):
            assert await _rest(reader) == b""
        writer.close()
    monkeypatch.undo()
    assert await door.send("created", STALE) == 200


async def test_a_connection_ends_with_its_answer(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
    async with asyncio.timeout(HANG):
        answer = await reader.read()
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Server: alerter\r\n" in answer
    assert b"Connection: close" in answer
    writer.close()


async def test_beside_idle_connections_there_is_always_room_for_another(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerter.web.server._MOST_CONNECTIONS", 3)
    port = int(door.url.rpartition(":")[2])
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(8)]
    async with door.http.get(f"{door.url}/healthz") as response:
        assert response.status == 200
    assert await door.send("created", STALE) == 200
    async with asyncio.timeout(HANG):
        assert [await _rest(reader) for reader, _ in idle[:5]] == [b""] * 5  # the oldest made room
    for _, writer in idle:
        writer.close()


async def test_what_comes_while_too_much_is_in_hand_is_to_come_again(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alerter.web.webhooks._MOST_AT_ONCE", 2)
    tokens = [forged(door.signer) for _ in range(2)] * 10
    answers = await asyncio.gather(*(door.post(token) for token in tokens))
    assert set(answers) == {401, 503}
    assert counts["webhooks_busy"] == answers.count(503) > 0
    assert await door.send("created", STALE) == 200


async def test_others_get_their_turn_while_a_token_is_tried_with_300_keys(signer: Webhooks) -> None:
    signatures = Signatures(
        [App.model_construct(app_id=f"{n}", public_key=signer.public_key) for n in range(300)]
    )
    turns: list[int] = []

    async def other() -> None:
        for number in range(10):
            turns.append(number)
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    with pytest.raises(BadSignature):
        await signatures.signer(parse_token(forged(signer, data="x" * 90_000).encode()))
    assert len(turns) == 9
    beside.cancel()


async def test_a_token_that_names_its_app_needs_one_key_only(
    signer: Webhooks, other_key: str
) -> None:
    apps = [
        App.model_construct(app_id=f"{n}", public_key=b64decode(other_key).decode())
        for n in range(300)
    ]
    signatures = Signatures(
        [*apps, App.model_construct(app_id="an-app", public_key=signer.public_key)]
    )
    turns: list[int] = []
    beside = asyncio.create_task(asyncio.sleep(0))
    beside.add_done_callback(lambda _: turns.append(1))
    assert await signatures.signer(parse_token(signer.sign("{}").encode())) == "an-app"
    assert not turns
    assert await signatures.signer(parse_token(signer.sign("{}", aud=None).encode())) == "an-app"
    assert turns


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_nonsense_is_answered_and_not_logged(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(door.url.rpartition(":")[2]))
    writer.write(b"\x16\x03\x01 what is this\r\n\r\n")
    async with asyncio.timeout(HANG):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"Server: alerter\r\n" in answer
    assert b"aiohttp" not in answer
    writer.close()
    assert not caplog.records


async def test_a_port_in_use_is_an_error_for_people(
    config: Config, door: Door, state: State
) -> None:
    port = int(door.url.rpartition(":")[2])
    with pytest.raises(
        AlerterError, match=rf"cannot listen on 127.0.0.1:{port}: Address already in use; .*\[web\]"
    ):
        async with open_web(("127.0.0.1", port), config, state, Clock(), door.intake, {}):
            pass


# The embedded Wix


async def test_the_embedded_wix_sends_everything_until_it_is_answered(
    door: Door, wix: EmbeddedWix, config: Config
) -> None:
    async with Webhooks(
        f"http://127.0.0.1:{free_port()}/webhooks/wix", app_id="an-app"
    ) as webhooks:
        webhooks._key = door.signer._key
        webhooks.watch(wix.sites[SITE], INSTANCE)
        review = wix.add(
            SITE,
            {
                "content": {"rating": 1, "title": "Stale"},
                "moderation": {"moderationStatus": "SUBMITTED"},
            },
        )
        await until(lambda: None in webhooks.sent[0].statuses)
        webhooks.url = f"{door.url}/webhooks/wix"
        wix.moderate(SITE, review["id"], "APPROVED")
        wix.reply(SITE, review["id"], "Sorry!")
        await until(lambda: all(each.taken for each in webhooks.sent))
        assert door.status(review["id"]) == "closed answered"
        wix.change(SITE, review["id"], content={"rating": 5})
        wix.delete(SITE, review["id"])
        await until(lambda: all(each.taken for each in webhooks.sent))
    kinds = [each.event_type.removeprefix("wix.reviews.v1.review_") for each in webhooks.sent]
    assert kinds == [
        "created",
        "moderation_status_changed",
        "moderation_status_changed",
        "review_published",
        "updated",
        "updated",
        "deleted",
    ]
    assert door.status(review["id"]) == "closed gone"
