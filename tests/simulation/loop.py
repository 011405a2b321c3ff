"""An event loop whose time is virtual and whose network is memory.

Time passes only while nothing is ready to run: then it jumps to the next timer. Connections between
clients and servers of this loop are pairs of in-memory transports, so that a call is in flight
exactly
while callbacks wait, and the real httpx, aiohttp, aiosmtplib and aiosmtpd run unchanged.

Tasks belong to a `Process` (by a context variable, which tasks inherit). A process can be killed:
from
then on whatever its code tries to do raises `Killed`.
"""

import asyncio
import heapq
import os
import socket
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from typing import Any

HOST = "127.0.0.1"
_FIRST_PORT = 20000
# More than this never has a reason to happen within one moment.
_MOST_AT_ONCE = 300_000


class Killed(BaseException):
    """The process of this code is no more."""


class Stuck(Exception):
    """Nothing is ready, and no timer will ever make it so."""


class Process:
    """What stands for an operating-system process: its tasks, its connections and its signals."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.dead = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.transports: set[Transport] = set()
        self.signals: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.databases: set[Any] = set()
        self.died: Callable[[], Any] = lambda: None
        # It is killed around that commit, counted from its start.
        self.commits = 0
        self.kill_at: int | None = None
        self.kill_after = False

    def check(self) -> None:
        """Raise Killed where the process is dead."""
        if self.dead:
            raise Killed

    def signal(self, number: int) -> None:
        """Call the handler of a signal, if there is one."""
        if handler := self.signals.get(number):
            asyncio.get_running_loop().call_soon(handler[0], *handler[1])


WORLD = Process("world")
current: ContextVar[Process] = ContextVar("process", default=WORLD)


class _Socket:
    """What libraries want of a socket that is none."""

    family = socket.AF_UNIX
    type = socket.SOCK_STREAM
    proto = 0

    def __init__(self, name: tuple[str, int], fd: int) -> None:
        self._name, self._fd = name, fd

    def setsockopt(self, *_: object) -> None:
        pass

    def getsockname(self) -> tuple[str, int]:
        return self._name

    def getpeername(self) -> tuple[str, int]:
        return self._name

    def fileno(self) -> int:
        return self._fd

    def gone(self) -> None:
        self._fd = -1


class Transport(asyncio.Transport):
    """One end of a connection in memory."""

    def __init__(
        self, loop: "VirtualLoop", protocol: Any, process: Process, peername: tuple[str, int]
    ) -> None:
        sock = _Socket(peername, loop.silent_fd)
        super().__init__({"socket": sock, "peername": peername, "sockname": (HOST, 0)})
        self._sock = sock
        self._loop = loop
        self._protocol = protocol
        self.process = process
        self.peer: Transport
        self._closing = False
        self._lost = False
        self._paused = False
        self._waiting: list[bytes | None] = []
        self.context = copy_context()
        process.transports.add(self)

    def is_closing(self) -> bool:
        return self._closing

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_reading(self) -> bool:
        return not self._paused and not self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            while self._waiting and not self._paused and not self._lost:
                self._give(self._waiting.pop(0))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (0, 65536)

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        if self._closing or self.process.dead:
            return
        if data:
            self._loop.deliver(self.peer, bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not self._closing:
            self._loop.deliver(self.peer, None)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.deliver(self.peer, None)
            self._loop.call_soon(self.lose, None)

    def abort(self) -> None:
        self._closing = True
        if not self._lost:
            self._loop.call_soon(self.lose, None)
            self._loop.call_soon(self.peer.reset, context=self.peer.context)

    def reset(self) -> None:
        """Lose the connection, as by a reset of the other side."""
        if not self._lost:
            self._closing = True
            self.lose(ConnectionResetError("Connection reset by peer"))

    def lose(self, error: Exception | None) -> None:
        """Say that the connection is over, once."""
        if not self._lost:
            self._lost = True
            self._sock.gone()
            self.process.transports.discard(self)
            self._protocol.connection_lost(error)

    def take(self, data: bytes | None) -> None:
        """Take what the other side sent (None: its end)."""
        if self._lost or self.process.dead:
            return
        if data is None:
            self._sock.gone()
        if self._paused:
            self._waiting.append(data)
        else:
            self._give(data)

    def _give(self, data: bytes | None) -> None:
        if data is not None:
            if not self._closing:
                self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()


class Server:
    """What `create_server` returns."""

    def __init__(self, loop: "VirtualLoop", factory: Callable[[], Any], port: int) -> None:
        self.loop, self.factory, self.port = loop, factory, port
        self.process = current.get()
        self.sockets = [_Socket((HOST, port), loop.silent_fd)]

    def close(self) -> None:
        if self.loop.servers.get(self.port) is self:
            del self.loop.servers[self.port]

    async def wait_closed(self) -> None:
        pass

    def close_clients(self) -> None:
        pass

    def is_serving(self) -> bool:
        return self.loop.servers.get(self.port) is self

    def get_loop(self) -> "VirtualLoop":
        return self.loop

    async def start_serving(self) -> None:
        pass


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `latency` says how many seconds bytes take to the other side of a connection."""

    def __init__(self, latency: Callable[[], float] = lambda: 0.0) -> None:
        self._virtual = 1000.0
        super().__init__()
        self._latency = latency
        self.servers: dict[int, Server] = {}
        self._ports = _FIRST_PORT
        self._joined: dict[int, int] = {}
        self._silent = os.pipe()
        self.silent_fd = self._silent[0]
        self._arrives: dict[Transport, float] = {}
        self.jumps = 0
        self._at_once = 0

    def close(self) -> None:
        if not self.is_closed():
            for fd in self._silent:
                os.close(fd)
        super().close()

    def time(self) -> float:
        return self._virtual

    def _run_once(self) -> None:
        """Run what is ready; where nothing is, let time pass until the next timer.

        As asyncio's own, but that nothing is selected, and that it may be run within itself.
        """
        scheduled, ready = self._scheduled, self._ready
        self._forget_cancelled()
        if not ready and not self._stopping:
            if not scheduled:
                raise Stuck
            self.jumps += 1
            self._at_once = 0
            self._virtual = max(self._virtual, scheduled[0]._when)
        while scheduled and scheduled[0]._when <= self._virtual:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self._at_once += len(ready)
        if self._at_once > _MOST_AT_ONCE:
            raise Stuck("time stands still: something is tried again and again without a wait")
        for _ in range(len(ready)):
            if not ready:
                break
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _forget_cancelled(self) -> None:
        scheduled = self._scheduled
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if len(scheduled) > 100 and self._timer_cancelled_count > len(scheduled) // 2:
            for handle in scheduled:
                handle._scheduled = not handle._cancelled
            scheduled[:] = [handle for handle in scheduled if not handle._cancelled]
            heapq.heapify(scheduled)
            self._timer_cancelled_count = 0

    def run_nested(self, main: Any) -> Any:
        """What `asyncio.run` is to a command that runs within the simulation; everything else goes
        on meanwhile.
        """
        outer = asyncio.current_task(self)
        if outer:
            asyncio.tasks._leave_task(self, outer)
        try:
            task = self.create_task(main)
            while not task.done():
                self._run_once()
            return task.result()
        finally:
            if outer:
                asyncio.tasks._enter_task(self, outer)

    def deliver(self, to: Transport, data: bytes | None) -> None:
        """Have bytes arrive, in order, after the latency of the network."""
        if wait := self._latency():
            at = max(self._virtual + wait, self._arrives.get(to, 0.0) + 1e-5)
            self._arrives[to] = at
            self.call_at(at, to.take, data, context=to.context)
        else:
            self.call_soon(to.take, data, context=to.context)

    def create_task(self, coro: Any, *, name: Any = None, context: Any = None) -> Any:
        task = super().create_task(coro, name=name, context=context)
        process = current.get() if context is None else context.get(current, WORLD)
        if process is not WORLD:
            process.tasks.add(task)
            task.add_done_callback(process.tasks.discard)
        return task

    def add_signal_handler(self, sig: int, callback: Any, *args: Any) -> None:
        current.get().signals[sig] = (callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        return current.get().signals.pop(sig, None) is not None

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        if not port:
            self._ports += 1
            port = self._ports
        if port in self.servers:
            raise OSError(98, "Address already in use")
        self.servers[port] = Server(self, protocol_factory, port)
        return self.servers[port]

    async def sock_connect(self, sock: Any, address: Any) -> None:
        current.get().check()
        if address[1] not in self.servers:
            raise ConnectionRefusedError(111, f"Connect call failed {address}")
        self._joined[sock.fileno()] = address[1]

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        process = current.get()
        process.check()
        if (sock := more.get("sock")) is not None:
            port = self._joined.pop(sock.fileno())
            sock.close()
        server = self.servers.get(port)
        if server is None:
            raise ConnectionRefusedError(111, f"Connect call failed ({host!r}, {port})")
        protocol = protocol_factory()
        ours = Transport(self, protocol, process, (HOST, port))
        token = current.set(server.process)
        try:
            theirs = Transport(self, server.factory(), server.process, (HOST, 65000))
            ours.peer, theirs.peer = theirs, ours
            theirs.get_protocol().connection_made(theirs)
        finally:
            current.reset(token)
        protocol.connection_made(ours)
        return ours, protocol

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port))]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:
        raise AssertionError(f"no threads in a simulation: {func}")


async def kill(process: Process) -> None:
    """End a process at this very moment: nothing that it still tries has any effect."""
    process.dead = True
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    for server in [server for server in loop.servers.values() if server.process is process]:
        server.close()
    for transport in list(process.transports):
        transport.peer.reset()
    for database in list(process.databases):
        database.die()
    while process.tasks:
        for task in list(process.tasks):
            task.cancel()
        await asyncio.sleep(0)
    for handle in (*loop._scheduled, *loop._ready):
        # What only waits for its time, such as a scheduler, is no task.
        if not handle._cancelled and handle._context.get(current) is process:
            handle.cancel()
