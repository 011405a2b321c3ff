"""Socket Mode of the embedded Slack, as Slack's own client and a plain WebSocket see it."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

from alerter.demo.slack import EmbeddedSlack, Person
from tests.support.clock import SetClock
from tests.support.demo_slack import ROOM, TOKEN, error_of, http
from tests.support.slack_app import APP_TOKEN, BUTTONS, SlackApp, ada, app, connected_app
from tests.support.waiting import until

__all__ = ["ada", "app", "http"]
OFTEN = 0.05  # seconds between two pings of a client that has to notice something


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(TOKEN)
        slack.add_channel(ROOM, "reviews")
        slack.add_app_token(APP_TOKEN)
        yield slack


@pytest.fixture
def client(slack: EmbeddedSlack, http: aiohttp.ClientSession) -> AsyncWebClient:
    return AsyncWebClient(base_url=slack.base_url, session=http, retry_handlers=[])


async def address(client: AsyncWebClient) -> str:
    return str((await client.apps_connections_open(app_token=APP_TOKEN))["url"])


async def status_of(http: aiohttp.ClientSession, url: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await http.ws_connect(url)
    return caught.value.status


async def test_a_connection_begins_with_hello(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession
) -> None:
    websockets = [await http.ws_connect(await address(client)) for _ in range(2)]
    for count, websocket in enumerate(websockets, start=1):
        hello = await websocket.receive_json()
        assert (hello["type"], hello["num_connections"]) == ("hello", count)
        assert hello["connection_info"] == {"app_id": "A00000001"}
        assert hello["debug_info"]["approximate_connection_time"] > 0
    assert [each.app_id for each in slack.socket.connections] == ["A00000001"] * 2
    await websockets[1].close()
    await slack.socket.connected(1)


async def test_an_address_is_for_one_connection_and_not_for_long(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession, clock: SetClock
) -> None:
    url = await address(client)
    async with http.ws_connect(url):
        assert await status_of(http, url) == 408
    late = await address(client)
    clock.advance(seconds=30)
    assert await status_of(http, late) == 408
    assert await status_of(http, late.replace("ticket=", "ticket=x")) == 408


async def test_only_an_app_level_token_with_its_scope_opens_a_connection(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession
) -> None:
    slack.add_app_token("xapp-1-A00000001-2-poor", ["authorizations:read"])
    slack.add_app_token("xapp-1-A00000001-3-old")
    slack.revoke("xapp-1-A00000001-3-old")
    for token, error in [
        (TOKEN, "not_allowed_token_type"),
        ("xapp-1-A00000001-2-poor", "missing_scope"),
        ("xapp-1-A00000001-3-old", "token_revoked"),
        ("xapp-1-A00000001-4-unknown", "invalid_auth"),
        ("", "not_authed"),
    ]:
        assert await error_of(client.apps_connections_open(app_token=token)) == error
    url = f"{slack.base_url}apps.connections.open"
    async with http.post(url, data={"token": APP_TOKEN}) as answer:
        assert (await answer.json())["error"] == "invalid_auth"
    slack.refuse["apps.connections.open", "*"] = "internal_error"
    assert await error_of(client.apps_connections_open(app_token=APP_TOKEN)) == "internal_error"
    slack.throttle("apps.connections.open", 60)
    assert await error_of(client.apps_connections_open(app_token=APP_TOKEN)) == "ratelimited"


async def test_an_app_level_token_says_which_app_it_is_of(client: AsyncWebClient) -> None:
    answer = await client.auth_test(token=APP_TOKEN)
    assert (answer["app_id"], answer["app_name"]) == ("A00000001", "alerter")
    assert answer.headers["x-oauth-scopes"] == "connections:write"
    call = client.chat_postMessage(token=APP_TOKEN, channel=ROOM, text="x")
    assert await error_of(call) == "not_allowed_token_type"


async def test_what_is_not_acknowledged_in_3_seconds_fails_and_comes_again(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, clock: SetClock
) -> None:
    app.mute = True
    pressed = ada.press(await app.post(slack), "claim")
    first = await app.received.get()
    clock.advance(seconds=2.9)
    await asyncio.sleep(0)
    assert pressed.failed is None
    clock.advance(seconds=0.1)
    await pressed
    assert pressed.failed == "no acknowledgement within 3 seconds"
    again = await app.received.get()
    assert again.payload == first.payload
    assert again.envelope_id != first.envelope_id
    app.mute = False
    await app.handle(app.client, again)
    await until(lambda: pressed.envelopes[1].acked_at == 3.0)
    assert (pressed.acknowledged, pressed.envelopes[0].acked_at) == (False, None)


async def test_an_event_may_come_twice_and_once_more_later(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    slack.socket.copies = 2
    pressed = await ada.press(await app.post(slack), "claim")
    requests = [await app.received.get() for _ in range(2)]
    await slack.socket.again(pressed)
    requests.append(await app.received.get())
    assert len({request.envelope_id for request in requests}) == 3
    assert requests[0].payload == requests[1].payload == requests[2].payload
    await slack.socket.again(pressed, same_id=True)
    assert (await app.received.get()).envelope_id == requests[2].envelope_id
    await until(lambda: all(each.acked_at is not None for each in pressed.envelopes))
    assert len(pressed.envelopes) == 4


async def test_an_event_may_be_late(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, clock: SetClock
) -> None:
    slack.socket.hold()
    pressed = ada.press(await app.post(slack), "claim")
    await until(lambda: clock.timeouts)
    clock.advance(seconds=3)
    assert (await pressed).failed
    assert app.received.empty()
    slack.socket.release()
    first, again = [await app.received.get() for _ in range(2)]
    assert first.payload == again.payload


async def test_an_event_goes_to_one_of_the_connections(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    async with connected_app(slack, TOKEN) as second:
        post = await app.post(slack)
        for _ in range(4):
            await ada.press(post, "claim")
        assert (app.received.qsize(), second.received.qsize()) == (2, 2)


async def test_an_event_goes_to_the_app_of_the_message_only(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    slack.add_token("xoxb-other", bot_id="B00000002")
    slack.add_app_token("xapp-1-A00000002-1-secret")
    mine = await app.post(slack)
    async with connected_app(slack, "xoxb-other", "xapp-1-A00000002-1-secret") as other:
        theirs = await other.post(slack)
        await ada.press(mine, "claim")
        await ada.press(theirs, "claim")
        assert (await app.received.get()).payload["message"]["ts"] == mine.ts
        assert (await other.received.get()).payload["message"]["ts"] == theirs.ts
    assert app.received.empty()


async def test_without_a_connection_or_interactivity_a_press_fails(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    post = await app.post(slack)
    slack.socket.interactive = False
    assert (await ada.press(post, "claim")).failed == "not interactive"
    slack.socket.interactive = True
    await app.client.close()
    await slack.socket.connected(0)
    assert (await ada.press(post, "claim")).failed == "the app is not connected"
    assert app.received.empty()


async def test_a_client_whose_handshake_failed_tries_the_same_address_for_ever(
    slack: EmbeddedSlack, client: AsyncWebClient
) -> None:
    slack.socket.fail_handshakes()
    socket = SocketModeClient(APP_TOKEN, web_client=client, ping_interval=OFTEN)
    connecting = asyncio.create_task(socket.connect())
    await until(lambda: [call.method for call in slack.requests].count("link") >= 3)
    assert [call.method for call in slack.requests].count("apps.connections.open") == 1
    assert slack.socket.connections == []
    assert {call.status for call in slack.requests if call.method == "link"} <= {503, 408, None}
    connecting.cancel()
    await socket.close()
    async with connected_app(slack, TOKEN):
        assert len(slack.socket.connections) == 1


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "link_disabled"])
async def test_a_client_that_is_asked_to_go_connects_again(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, reason: str
) -> None:
    post = await app.post(slack)
    (before,) = slack.socket.connections
    await slack.socket.disconnect(reason)
    await until(lambda: slack.socket.opened >= 2 and before not in slack.socket.connections)
    # The client may leave its new connection for a third one, with what was sent meanwhile.
    await until(lambda: ada.press(post, "claim") and not app.received.empty())


async def test_a_warned_connection_still_takes_events(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession, ada: Person
) -> None:
    websocket = await http.ws_connect(await address(client))
    await websocket.receive_json()
    await slack.socket.disconnect("warning")
    goodbye = await websocket.receive_json()
    assert goodbye == {
        "type": "disconnect",
        "reason": "warning",
        "debug_info": {"host": "applink-1"},
    }
    client.token = TOKEN
    await client.chat_postMessage(channel=ROOM, text="x", blocks=[{"type": "divider"}])
    slack.posts[0].blocks = BUTTONS
    pressed = ada.press(slack.posts[0], "claim")
    envelope = await websocket.receive_json()
    await websocket.send_json({"envelope_id": envelope["envelope_id"]})
    assert (await pressed).acknowledged


async def test_a_dropped_connection_is_replaced(slack: EmbeddedSlack) -> None:
    async with connected_app(slack, TOKEN, ping_interval=OFTEN):
        slack.socket.drop()
        await until(lambda: slack.socket.opened >= 2 and len(slack.socket.connections) == 1)


async def test_a_silent_connection_looks_alive_and_loses_events(
    slack: EmbeddedSlack, ada: Person, clock: SetClock
) -> None:
    slack.socket.silent_next = "events"
    async with connected_app(slack, TOKEN) as app:
        post = await app.post(slack)
        await until(lambda: app.client.last_ping_pong_time)
        pressed = ada.press(post, "claim")
        await until(lambda: pressed.envelopes)
        clock.advance(seconds=3)
        assert (await pressed).failed
        assert app.received.empty()
        slack.socket.silence(None)
        assert (await ada.press(post, "claim")).acknowledged


async def test_a_client_leaves_a_connection_without_pongs(slack: EmbeddedSlack) -> None:
    async with connected_app(slack, TOKEN, ping_interval=OFTEN):
        slack.socket.silence("all")
        await until(lambda: slack.socket.opened >= 2)


async def test_slack_sends_pings(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession
) -> None:
    slack.socket.ping_every = 0.01
    websocket = await http.ws_connect(await address(client), autoping=False)
    await websocket.receive_json()
    message = await websocket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.PING, b"Ping from applink-1")
    await websocket.ping(b"mine")
    while (message := await websocket.receive()).type != aiohttp.WSMsgType.PONG:
        pass
    assert message.data == b"mine"
    await websocket.close()


async def test_too_many_connections_are_refused(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession
) -> None:
    slack.socket.ghosts = 8
    websockets = [await http.ws_connect(await address(client)) for _ in range(2)]
    for count, websocket in enumerate(websockets, start=9):
        assert (await websocket.receive_json())["num_connections"] == count
    refused = await http.ws_connect(await address(client))
    assert (await refused.receive_json())["reason"] == "too_many_websockets"
    assert (await refused.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    assert len(slack.socket.connections) == 2
    for websocket in (*websockets, refused):
        await websocket.close()


async def test_events_for_connections_that_nobody_has_are_lost(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, clock: SetClock
) -> None:
    slack.socket.ghosts = 1
    slack.socket.repeats = 0
    post = await app.post(slack)
    assert (await ada.press(post, "claim")).acknowledged
    lost = ada.press(post, "claim")
    await until(lambda: lost.envelopes)
    clock.advance(seconds=3)
    assert (await lost).failed
    assert app.received.qsize() == 1


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", "{}", '{"envelope_id": "unknown"}', '{"envelope_id": {}}']
)
async def test_what_acknowledges_nothing_is_kept(
    slack: EmbeddedSlack, app: SlackApp, text: str
) -> None:
    await app.client.send_message(text)
    await until(lambda: slack.socket.strays)
    assert slack.socket.strays == [text]


async def test_a_second_acknowledgement_changes_nothing(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    pressed = await ada.press(await app.post(slack), "claim")
    await app.client.send_socket_mode_response({"envelope_id": pressed.envelopes[0].id})
    await until(lambda: slack.socket.strays)
    assert pressed.acknowledged


async def test_what_waits_for_an_app_fails_when_slack_stops(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    app.mute = True
    pressed = ada.press(await app.post(slack), "claim")
    await app.received.get()
    await slack.stop()
    assert (await pressed).failed == "Slack is down"


async def test_stopping_ends_connections_and_addresses(
    slack: EmbeddedSlack, client: AsyncWebClient, http: aiohttp.ClientSession
) -> None:
    websocket = await http.ws_connect(await address(client))
    await websocket.receive_json()
    unused = await address(client)
    await slack.stop()
    assert (await websocket.receive()).type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    with pytest.raises((aiohttp.ClientError, SlackApiError)):
        await address(client)
    await slack.start()
    assert await status_of(http, unused) == 408
    async with http.ws_connect(await address(client)) as websocket:
        assert (await websocket.receive_json())["num_connections"] == 1
