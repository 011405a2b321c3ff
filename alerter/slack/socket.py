"""The connection on which Slack sends what people press and submit: Socket Mode.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

from alerter.clock import Clock
from alerter.config import Slack
from alerter.config.fields import is_loopback, loopback_mounts
from alerter.errors import DeliveryError, ErrorKind
from alerter.slack.api import Refused, SlackApi, id_in, unreadable
from alerter.slack.app import SlackApp
from alerter.text import table_in

log = logging.getLogger(__name__)
# The client logs addresses that open a connection, and words of customers.
_SILENT = logging.getLogger(f"{__name__}.client")
_SILENT.setLevel(logging.CRITICAL + 1)

PING_EVERY = 5.0  # seconds
# Seconds until Slack has to say hello. A handshake that fails is never tried again: its address
# can be used once.
_CONNECT_WITHIN = 10.0
# Without a call now and then a connection may go silent:
# https://github.com/slackapi/bolt-python/issues/1529
_CHECK_EVERY = 60.0
_LOOK_EVERY = 1.0
_CHECK_WITHIN = 10.0
_CLOSE_WITHIN = 0.5
# What was recorded is acknowledged before the end; `run` promises to end within ten seconds.
_END_WITHIN = 1.0
# Seconds between two tries. A refusal is mended by a person.
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_WAIT_AFTER_REFUSAL = 300.0
# A connection that lasts for less is one more failure.
_LASTS = 10.0

Acknowledge = Callable[[Mapping[str, Any] | None], Awaitable[None]]
# Called with the payload of an interaction. Slack shows the person an error unless it is
# acknowledged within three seconds.
Handle = Callable[[Mapping[str, Any], Acknowledge], Awaitable[None]]
# Called with why there is no connection, and since when; with None once there is one.
Report = Callable[[DeliveryError | None, datetime | None], None]


class _Client(SocketModeClient):
    """Slack's client for one connection. It is replaced and never connects again.

    `over` is set when the connection is to be replaced, `hello` has what Slack said first.
    """

    def __init__(self, api: SlackApi, app_token: str, url: str, ping_every: float) -> None:
        super().__init__(
            app_token,
            logger=_SILENT,
            web_client=api.client,
            ping_interval=ping_every,
            on_message_listeners=[self._note],
        )
        if loopback_mounts(url.replace("ws", "http", 1)):
            self.proxy = None  # else the environment's, also for this machine
        self.wss_uri = url
        self.hello: Mapping[str, Any] = {}
        self.reason = ""
        self.began = asyncio.Event()
        self.over = asyncio.Event()

    async def connect(self) -> None:
        """Open the connection; raise the client's errors. Its own loop would never end."""
        self.current_session = await self.aiohttp_client_session.ws_connect(
            self.wss_uri or "", autoping=False, heartbeat=self.ping_interval, proxy=self.proxy
        )
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())
        self.message_receiver = asyncio.ensure_future(self.receive_messages())

    async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 - the client's signature
        """Ask for another connection in the place of this one."""
        self.over.set()
        self.began.set()

    async def _note(self, message: aiohttp.WSMessage) -> None:
        data = json.loads(message.data) if '"envelope_id"' not in message.data else {}
        if data.get("type") == "hello":
            self.hello = data
            self.began.set()
        elif data.get("type") == "disconnect":
            self.reason = str(data.get("reason", ""))

    async def close(self) -> None:
        """Close the connection; a silent one does not hold us up."""
        self.closed = True
        try:
            if self.current_session is not None:
                with suppress(aiohttp.ClientError, TimeoutError, OSError):
                    async with asyncio.timeout(_CLOSE_WITHIN):
                        await self.current_session.close()
        finally:
            tasks = (self.message_processor, self.current_session_monitor, self.message_receiver)
            for task in tasks:
                if task is not None:
                    task.cancel()
            await self.aiohttp_client_session.close()


class SlackSocket:
    """Keeps a connection to Slack, and passes on what comes in.

    Where a connection is to end, the next one is open before it is closed. An app may have ten; an
    interaction comes in on any one of them, and sometimes twice.
    """

    def __init__(
        self,
        slack: Slack,
        session: aiohttp.ClientSession,
        clock: Clock,
        app: SlackApp,
        handle: Handle,
        report: Report,
        *,
        ping_every: float = PING_EVERY,
    ) -> None:
        self._token = slack.app_token.get_secret_value() if slack.app_token else ""
        of_app = slack.model_copy(update={"token": slack.app_token})
        self._base_url = slack.base_url
        self._api = SlackApi(slack, session, clock)
        self._app_api = SlackApi(of_app, session, clock)
        self._clock = clock
        self._app = app
        self._handle = handle
        self._report = report
        self._ping_every = ping_every
        self._client: _Client | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._team_id = ""

    async def run(self) -> None:
        """Keep a connection open until this is cancelled."""
        failures, since = 0, None
        try:
            while True:
                began = self._clock.monotonic()
                try:
                    self._replace(await self.open())
                    self._record_connected()
                    await self._watch()
                    if self._clock.monotonic() - began >= _LASTS:
                        failures, since = 0, None
                        continue
                    error = DeliveryError("Slack ends the connection", ErrorKind.TRANSIENT)
                except DeliveryError as failure:
                    error = failure
                failures, since = failures + 1, since or self._clock.now()
                self._record_failure(error, since)
                await self._clock.sleep(_wait(error, failures))
        finally:
            await self.close()

    async def open(self) -> _Client:
        """Open a connection, and return it once Slack has said hello. Raise DeliveryError."""
        try:
            who = await self._api.call(self._api.client.auth_test)
        except DeliveryError as error:  # a refused token is the trouble of its receivers
            raise DeliveryError(str(error), ErrorKind.TRANSIENT) from error
        self._team_id = id_in(who, "team_id") or ""
        try:
            answer = await self._app_api.call(
                self._app_api.client.apps_connections_open, app_token=self._token
            )
        except Refused as error:
            raise _of_app_token(error) from error
        client = _Client(self._app_api, self._token, self._address(answer), self._ping_every)
        client.socket_mode_request_listeners.append(self._receive)
        is_open = False
        try:
            async with self._clock.timeout(_CONNECT_WITHIN):
                await client.connect()
                await client.began.wait()
            if client.over.is_set():
                raise _unusable(client.reason)
            is_open = True
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            text = f"Slack's connection for buttons does not open ({type(error).__name__})"
            raise DeliveryError(text, ErrorKind.TRANSIENT) from error
        finally:
            if not is_open:
                await client.close()
        return client

    async def probe(self) -> str:
        """Open a connection, close it, and return the id of its app. Raise DeliveryError."""
        client = await self.open()
        await client.close()
        return id_in(table_in(client.hello, "connection_info"), "app_id") or self._app.id

    async def close(self) -> None:
        """End what is under way, and close the connection."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_END_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _address(self, answer: Any) -> str:
        """Return the address of a connection: encrypted, or on this machine."""
        url = answer.get("url")
        parts = urlsplit(url if isinstance(url, str) else "")
        is_local = is_loopback(parts.hostname or "") and bool(loopback_mounts(self._base_url))
        if parts.scheme != "wss" and not (parts.scheme == "ws" and is_local):
            raise unreadable()
        return str(url)

    def _replace(self, client: _Client) -> None:
        before, self._client = self._client, client
        if before is not None:
            self._start(before.close())

    async def _watch(self) -> None:
        """Wait until the connection is to be replaced."""
        client, checked_at = self._client, self._clock.monotonic()
        while client is not None and not client.over.is_set():
            with suppress(TimeoutError):
                async with self._clock.timeout(_LOOK_EVERY):
                    await client.over.wait()
                return
            if not await client.is_connected():
                return
            if self._clock.monotonic() - checked_at < _CHECK_EVERY:
                continue
            checked_at = self._clock.monotonic()
            with suppress(DeliveryError, TimeoutError):
                async with self._clock.timeout(_CHECK_WITHIN):
                    await self._api.call(self._api.client.auth_test)

    async def _receive(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Begin to handle what came in; the client keeps no reference to its own tasks."""
        self._start(self._handle_request(client, request))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle_request(
        self, client: AsyncBaseSocketModeClient, request: SocketModeRequest
    ) -> None:
        async def acknowledge(payload: Mapping[str, Any] | None) -> None:
            answer = SocketModeResponse(
                request.envelope_id, dict(payload) if payload is not None else None
            )
            for each in (client, self._client):
                if each is not None:
                    with suppress(aiohttp.ClientError, OSError):
                        await each.send_socket_mode_response(answer)
                        return
            log.warning("an interaction could not be acknowledged: the connection has ended")

        if request.type != "interactive":
            await acknowledge(None)
            return
        try:
            await self._handle(request.payload, acknowledge)
        except Exception:  # the person is shown that it failed
            log.exception("a defect of alerter: an interaction was not handled")

    def _record_connected(self) -> None:
        hello = self._client.hello if self._client is not None else {}
        app_id = id_in(table_in(hello, "connection_info"), "app_id") or ""
        if not self._app.has_buttons:
            log.info("connected to Slack for buttons: app=%s", app_id or self._app.id)
        self._app.mark_connected(app_id, self._team_id)
        self._report(None, None)

    def _record_failure(self, error: DeliveryError, since: datetime) -> None:
        if error.kind is ErrorKind.SERVICE:
            self._app.mark_refused()
        log.warning("no connection to Slack for buttons: %s", error)
        self._report(error, since)


def _of_app_token(error: Refused) -> DeliveryError:
    """Return the error of a call with the app's own token."""
    if error.kind in (ErrorKind.TRANSIENT, ErrorKind.THROTTLED):
        return error
    text = f"Slack refuses the app_token ({error.code}); renew it, or grant it connections:write"
    return DeliveryError(text, ErrorKind.SERVICE)


def _unusable(reason: str) -> DeliveryError:
    """Return the error of a connection that Slack ends before it says hello."""
    if reason == "link_disabled":
        return DeliveryError("Socket Mode is off; turn it on for the app", ErrorKind.SERVICE)
    if reason == "too_many_websockets":
        text = "Slack has ten connections of this app already"
        return DeliveryError(text, ErrorKind.TRANSIENT)
    return DeliveryError("Slack ends the connection", ErrorKind.TRANSIENT)


def _wait(error: DeliveryError, failures: int) -> float:
    """Return the seconds until the next try."""
    if error.kind is ErrorKind.SERVICE:
        return _WAIT_AFTER_REFUSAL
    wait = min(_FIRST_WAIT * 2.0 ** min(failures - 1, 10), _LONGEST_WAIT)
    return max(wait, error.retry_after or 0.0)
