"""The connection for buttons: it is kept, replaced in time, and never tried in vain for good."""

from datetime import UTC, datetime

import pytest

from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack, Person, Post
from alerter.errors import ErrorKind
from alerter.slack.api import SlackApi, open_session
from alerter.slack.check import check_buttons
from tests.support.app_socket import APP_TOKEN, HeldClock, app_socket, slack_config
from tests.support.clock import SetClock
from tests.support.slack_app import BUTTONS
from tests.support.values import CHANNEL
from tests.support.waiting import until

ADA = "U0000000001"
OPEN = "apps.connections.open"


@pytest.fixture
def clock() -> SetClock:
    return HeldClock(datetime(2026, 11, 24, 12, 0, tzinfo=UTC))


@pytest.fixture
def ada(slack: EmbeddedSlack) -> Person:
    slack.add_app_token(APP_TOKEN)
    slack.add_user(ADA, "ada")
    return slack.person(ADA)


@pytest.fixture
async def post(slack: EmbeddedSlack, ada: Person, clock: SetClock) -> Post:
    async with open_session() as session:
        api = SlackApi(slack_config(slack), session, clock)
        await api.call(api.client.chat_postMessage, channel=CHANNEL, text="x", blocks=BUTTONS)
    return slack.posts[0]


def calls(slack: EmbeddedSlack, method: str) -> int:
    return sum(call.method == method for call in slack.requests)


async def test_what_people_press_comes_in(
    slack: EmbeddedSlack, clock: SetClock, ada: Person, post: Post
) -> None:
    async with app_socket(slack, clock) as connected:
        await connected.app.is_known.wait()
        assert (await ada.press(post, "claim")).acknowledged
        assert [each["user"]["name"] for each in connected.received] == ["ada"]
        assert connected.reported == [None]
        assert connected.app.has_buttons
        assert (connected.app.id, connected.app.team_id) == ("A00000001", "T00000001")


async def test_an_address_is_used_once_though_its_handshake_fails(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    slack.socket.fail_handshakes(2)
    clock.go.set()
    async with app_socket(slack, clock):
        await slack.socket.connected()
        assert calls(slack, OPEN) == 3
    assert clock.slept == [1.0, 2.0]


async def test_a_handshake_without_an_end_is_given_up(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    slack.faults.add("/link/", Fault(status=503, delay=3600))
    async with app_socket(slack, clock) as connected:
        await until(lambda: clock.timeouts)
        clock.advance(seconds=11)
        await until(lambda: connected.reported)
        assert "does not open (TimeoutError)" in str(connected.reported[0])
        clock.go.set()
        await slack.socket.connected()


async def test_a_connection_that_is_lost_is_replaced(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person, post: Post
) -> None:
    clock.go.set()
    async with app_socket(slack, clock, ping_every=0.2) as connected:
        await slack.socket.connected()
        slack.socket.drop()
        await until(lambda: slack.socket.opened == 2)
        await until(lambda: connected.reported[-1] is None)
        assert (await ada.press(post, "claim")).acknowledged


async def test_the_next_connection_is_open_before_one_ends(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    async with app_socket(slack, clock) as connected:
        await connected.app.is_known.wait()
        clock.advance(minutes=60)
        await slack.socket.disconnect("warning")
        await slack.socket.connected(2)
        await slack.socket.connected(1)
        assert slack.socket.opened == 2
        assert connected.reported == [None] * 2


async def test_a_silent_connection_is_replaced(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person, post: Post
) -> None:
    clock.go.set()
    async with app_socket(slack, clock, ping_every=0.2):
        await slack.socket.connected()
        slack.socket.silence("all")
        await until(lambda: slack.socket.opened == 2)


async def test_slack_is_called_each_minute_so_that_events_keep_coming(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    async with app_socket(slack, clock) as connected:
        await connected.app.is_known.wait()
        before = calls(slack, "auth.test")
        await until(lambda: clock.timeouts)
        clock.advance(seconds=61)
        await until(lambda: calls(slack, "auth.test") == before + 1)
        assert slack.socket.opened == 1


@pytest.mark.parametrize(
    ("scopes", "revoked", "reason"),
    [
        ((), False, "Slack refuses the app_token (missing_scope); renew it, or grant it"),
        (("connections:write",), True, "Slack refuses the app_token (token_revoked); renew it"),
    ],
    ids=["without its scope", "revoked"],
)
async def test_a_refused_token_is_reported_and_tried_again_later(
    slack: EmbeddedSlack,
    clock: HeldClock,
    ada: Person,
    scopes: tuple[str, ...],
    revoked: bool,
    reason: str,
) -> None:
    slack.add_app_token(APP_TOKEN, scopes=scopes)
    if revoked:
        slack.revoke(APP_TOKEN)
    async with app_socket(slack, clock) as connected:
        await connected.app.is_known.wait()
        await until(lambda: clock.slept)
        assert not connected.app.has_buttons
        (error,) = connected.reported
        assert error
        assert error.kind is ErrorKind.SERVICE
        assert str(error).startswith(reason)
        assert APP_TOKEN not in str(error)
        assert clock.slept == [300.0]
        slack.add_app_token(APP_TOKEN)
        clock.go.set()
        await until(lambda: connected.app.has_buttons)


async def test_more_than_ten_connections_are_waited_for(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    slack.socket.ghosts = 10
    async with app_socket(slack, clock) as connected:
        await until(lambda: connected.reported)
        assert str(connected.reported[0]) == "Slack has ten connections of this app already"
        slack.socket.ghosts = 0
        clock.go.set()
        await slack.socket.connected()


@pytest.mark.parametrize("url", ["ws://evil.example/link", "https://x.example", "x", "", 5])
async def test_an_address_that_is_not_encrypted_is_not_used(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person, url: object
) -> None:
    shown = f'"{url}"' if isinstance(url, str) else url
    slack.faults.add(OPEN, Fault(status=200, body=f'{{"ok": true, "url": {shown}}}'))
    async with app_socket(slack, clock) as connected:
        await until(lambda: connected.reported)
        assert str(connected.reported[0]) == "Slack's answer cannot be understood"


async def test_a_connection_on_this_machine_goes_through_no_proxy(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with app_socket(slack, clock):
        await slack.socket.connected()


async def test_a_defect_is_logged_and_the_person_shown_that_it_failed(
    slack: EmbeddedSlack,
    clock: HeldClock,
    ada: Person,
    post: Post,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with app_socket(slack, clock) as connected:
        await connected.app.is_known.wait()
        connected.defect = RuntimeError("a defect")
        pressed = ada.press(post, "claim")
        await until(lambda: connected.received)
        connected.defect = None
        assert (await ada.press(post, "claim")).acknowledged
        assert not pressed.acknowledged
    assert "a defect of alerter: an interaction was not handled" in caplog.text


async def test_check_opens_a_connection_and_closes_it(
    slack: EmbeddedSlack, clock: HeldClock, ada: Person
) -> None:
    found = await check_buttons(slack_config(slack), clock)
    assert (found.ok, found.warning, found.subject) == (True, False, "slack.app_token")
    assert "the app A00000001 is connected" in found.text
    assert "turn on Interactivity" in found.text
    await slack.socket.connected(0)
    assert slack.socket.opened == 1


@pytest.mark.parametrize(
    ("scopes", "reason"),
    [((), "grant it connections:write"), (None, "Slack refuses the app_token (invalid_auth)")],
    ids=["without its scope", "unknown"],
)
async def test_check_says_what_is_missing_for_buttons(
    slack: EmbeddedSlack, clock: HeldClock, scopes: tuple[str, ...] | None, reason: str
) -> None:
    if scopes is not None:
        slack.add_app_token(APP_TOKEN, scopes=scopes)
    found = await check_buttons(slack_config(slack), clock)
    assert not found.ok
    assert reason in found.text
