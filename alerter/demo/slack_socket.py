"""Socket Mode of the embedded Slack: the WebSockets on which an app receives interactions.

https://docs.slack.dev/apis/events-api/using-socket-mode
"""

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from uuid import uuid4

from aiohttp import WSMessage, WSMsgType, web

from alerter.clock import Clock
from alerter.demo.slack_workspace import AppToken, Json

# What a connection does that has gone silent: its events are lost, or its pings as well.
Silence = Literal["events", "all"]
_HOST = "applink-1"
_LASTS = 18_060
_TICKET_LASTS = 30.0
# What Slack answers to an address that cannot be used:
# https://github.com/slackapi/node-slack-sdk/issues/1472
_REFUSED = 408
# A larger frame closes the connection: https://github.com/revelrylabs/slax/pull/614
_LARGEST_FRAME = 20_480


@dataclass(eq=False)
class Connection:
    """An open connection of an app; `silence` is what it has stopped doing."""

    app_id: str
    opened_at: float
    websocket: web.WebSocketResponse
    request: web.Request
    silence: Silence | None = None

    def abort(self) -> None:
        """Close the connection without a word."""
        if self.request.transport is not None:
            self.request.transport.abort()


@dataclass(eq=False)
class SentEnvelope:
    """A message to an app. `answer` is the payload of its acknowledgement."""

    id: str
    sent_at: float
    connection: Connection | None
    acked_at: float | None = None
    answer: Any = None


@dataclass(eq=False)
class Interaction:
    """Something that a person did. Await it for the outcome, which is the same object.

    `failed` is why the person was shown that it failed, None if it was acknowledged in time.
    """

    app_id: str
    payload: Json
    accepts_payload: bool
    react: Callable[[Any], str | None]
    envelopes: list[SentEnvelope] = field(default_factory=list)
    failed: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self.ended.wait().__await__()
        return self

    @property
    def acknowledged(self) -> bool:
        """Whether it was acknowledged in time."""
        return self.ended.is_set() and self.failed is None

    @property
    def answer(self) -> Any:
        """The payload of the first acknowledgement."""
        return next((each.answer for each in self.envelopes if each.acked_at is not None), None)

    def end(self, failed: str | None) -> None:
        """Show the outcome to the person; what comes later changes nothing."""
        if not self.ended.is_set():
            self.failed = failed
            self.ended.set()


class SocketMode:
    """The connections of the apps, and what was sent through them.

    `copies` is in how many envelopes an event comes, and `repeats` in how many new ones where it
    was not acknowledged within `patience` seconds. `ghosts` are connections that Slack takes for
    open though no process has them; they count, and events that go to them are lost. `silent_next`
    is the silence of connections opened from now on. `interactive` says whether the app has
    interactivity on. `strays` are messages that acknowledge nothing.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.copies = 1
        self.repeats = 1
        self.patience = 3.0
        self.ghosts = 0
        self.most_connections = 10
        self.ping_every = 5.0
        self.silent_next: Silence | None = None
        self.interactive = True
        self.connections: list[Connection] = []
        self.opened = 0
        self.interactions: list[Interaction] = []
        self.strays: list[str] = []
        self._sent_in: dict[str, Interaction] = {}
        self._tickets: dict[str, tuple[str, float]] = {}
        self._failing: deque[int] = deque()
        self._sent = 0
        self._free = asyncio.Event()
        self._free.set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def fail_handshakes(self, times: int = 1, status: int = 503) -> None:
        """Refuse the next handshakes; their addresses are used up."""
        self._failing.extend([status] * times)

    def silence(self, silence: Silence | None = "events") -> None:
        """Make every open connection silent, or None for no more."""
        for connection in self.connections:
            connection.silence = silence

    def drop(self) -> None:
        """Close every connection without a word."""
        for connection in self.connections:
            connection.abort()

    def hold(self) -> None:
        """Keep events back until `release`."""
        self._free.clear()

    def release(self) -> None:
        """Send the events that were kept back."""
        self._free.set()

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask every connection to go. It is closed at once, unless this is a `warning`."""
        for connection in list(self.connections):
            await _disconnect(connection, reason)
            if reason != "warning":
                await connection.websocket.close()

    async def connected(self, count: int = 1) -> None:
        """Wait until this many connections are open."""
        while len(self.connections) != count:
            await self._changed.wait()

    async def again(self, interaction: Interaction, *, same_id: bool = False) -> None:
        """Send an event once more, in a new envelope or in one with the id of the last."""
        await self._send(interaction, interaction.envelopes[-1].id if same_id else None)

    def open(self, token: AppToken, base: str) -> Json:
        """Return the address of one connection, which can be used once and soon."""
        ticket = str(uuid4())
        self._tickets[ticket] = token.app_id, self.clock.monotonic() + _TICKET_LASTS
        return {"url": f"ws{base.removeprefix('http')}/link/?ticket={ticket}&app_id={uuid4().hex}"}

    def deliver(
        self,
        app_id: str,
        payload: Json,
        *,
        accepts_payload: bool = False,
        react: Callable[[Any], str | None] = lambda _: None,
    ) -> Interaction:
        """Send what a person did to one of the connections of an app.

        `react` is called with the payload of the acknowledgement, and returns what is wrong with
        it.
        """
        interaction = Interaction(app_id, payload, accepts_payload, react)
        self.interactions.append(interaction)
        if not self.interactive or not self._candidates(app_id):
            interaction.end("the app is not connected" if self.interactive else "not interactive")
            return interaction
        self._start(self._carry(interaction))
        self._start(self._give_up(interaction))
        return interaction

    async def link(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection until it closes."""
        app_id, expires = self._tickets.pop(request.query.get("ticket", ""), ("", 0.0))
        failing = self._failing.popleft() if self._failing else None
        if failing or self.clock.monotonic() >= expires:
            return web.Response(status=failing or _REFUSED)
        websocket = web.WebSocketResponse(autoping=False, max_msg_size=_LARGEST_FRAME)
        await websocket.prepare(request)
        connection = Connection(
            app_id, self.clock.monotonic(), websocket, request, self.silent_next
        )
        if self._count(app_id) >= self.most_connections:
            await _disconnect(connection, "too_many_websockets")
            connection.abort()
            return websocket
        with self._kept(connection):
            await websocket.send_json(_hello(app_id, self._count(app_id)))
            async for message in websocket:
                await self._receive(connection, message)
        return websocket

    async def stop(self) -> None:
        """Close every connection and forget what is under way."""
        self.drop()
        for task in list(self._tasks):
            task.cancel()
        for interaction in self.interactions:
            interaction.end("Slack is down")
        self._tickets.clear()

    @contextmanager
    def _kept(self, connection: Connection) -> Iterator[None]:
        self.connections.append(connection)
        self.opened += 1
        pings = self._start(self._ping(connection))
        self._notify()
        try:
            yield
        finally:
            pings.cancel()
            self.connections.remove(connection)
            self._notify()

    async def _ping(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(self.ping_every)
            if connection.silence != "all":
                with suppress(ConnectionError):
                    await connection.websocket.ping(f"Ping from {_HOST}".encode())

    async def _receive(self, connection: Connection, message: WSMessage) -> None:
        if connection.silence == "all":
            return
        if message.type == WSMsgType.PING:
            await connection.websocket.pong(message.data)
        elif message.type == WSMsgType.TEXT:
            self._acknowledge(message.data)

    def _acknowledge(self, text: str) -> None:
        try:
            answer = json.loads(text)
            interaction = self._sent_in[answer["envelope_id"]]
        except (ValueError, KeyError, TypeError):
            self.strays.append(text)
            return
        waiting = [
            each
            for each in interaction.envelopes
            if each.id == answer["envelope_id"] and each.acked_at is None
        ]
        if not waiting:
            self.strays.append(text)
            return
        waiting[0].acked_at, waiting[0].answer = self.clock.monotonic(), answer.get("payload")
        if not interaction.ended.is_set():
            accepted = waiting[0].answer if interaction.accepts_payload else None
            interaction.end(interaction.react(accepted))

    async def _carry(self, interaction: Interaction) -> None:
        await self._free.wait()
        for _ in range(self.copies):
            await self._send(interaction)

    async def _give_up(self, interaction: Interaction) -> None:
        try:
            async with self.clock.timeout(self.patience):
                await interaction.ended.wait()
        except TimeoutError:
            interaction.end(f"no acknowledgement within {self.patience:g} seconds")
            await self._free.wait()
            for _ in range(self.repeats):
                await self._send(interaction)

    async def _send(self, interaction: Interaction, envelope_id: str | None = None) -> None:
        candidates = self._candidates(interaction.app_id)
        if not candidates:
            return
        connection = candidates[self._sent % len(candidates)]
        self._sent += 1
        envelope = SentEnvelope(envelope_id or str(uuid4()), self.clock.monotonic(), connection)
        interaction.envelopes.append(envelope)
        self._sent_in[envelope.id] = interaction
        if connection is not None and connection.silence is None:
            with suppress(ConnectionError):
                await connection.websocket.send_json(
                    {
                        "envelope_id": envelope.id,
                        "payload": interaction.payload,
                        "type": "interactive",
                        "accepts_response_payload": interaction.accepts_payload,
                    }
                )

    def _candidates(self, app_id: str) -> list[Connection | None]:
        living = [each for each in self.connections if each.app_id == app_id]
        return [*living, *[None] * self.ghosts]

    def _count(self, app_id: str) -> int:
        return len(self._candidates(app_id))

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _hello(app_id: str, connections: int) -> Json:
    return {
        "type": "hello",
        "num_connections": connections,
        "debug_info": {
            "host": _HOST,
            "build_number": 1,
            "approximate_connection_time": _LASTS,
        },
        "connection_info": {"app_id": app_id},
    }


async def _disconnect(connection: Connection, reason: str) -> None:
    with suppress(ConnectionError):
        await connection.websocket.send_json(
            {"type": "disconnect", "reason": reason, "debug_info": {"host": _HOST}}
        )
