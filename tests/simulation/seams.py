"""The few places at which the simulation enters the process: time, chance and SQLite, all below
alerter.

Third parties read the machine's clock by themselves; here they read the virtual one. SQLite's
connections
know whose they are, so that one dies with its process, and that a disk can be full.
"""

import asyncio
import contextlib
import os
import random
import sqlite3
import ssl
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiohttp.connector
import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval
import httpcore._async.http11
import httpx
import jinja2
import jwt.api_jwt

import alerter.service.daemon  # noqa: F401 - all that a daemon is made of is there before it is entered
from alerter.clock import Clock
from alerter.notify import worker
from alerter.render.template_process import TemplateProcess, answer_request
from alerter.render.templates import builtin_environment
from alerter.service import embedded, ownership, reload
from alerter.store.file_lock import FileLock
from tests.simulation.loop import Killed, Process, current
from tests.simulation.reading import marked

_sqlite_connect = sqlite3.connect
_SELDOM = 600  # seconds, for what alerter does each minute
_TLS = ssl.create_default_context()  # reading the authorities takes 30 ms, at every reload


class TrueClock(Clock):
    """The time that it really is in the simulated world."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._begun = self._loop.time()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=round(self._loop.time() - self._begun, 6))

    def monotonic(self) -> float:
        return self._loop.time()


class MachineClock(TrueClock):
    """The clock of the machine that alerter runs on: its wall clock can be set."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Disk:
    """The disk that the state file is on."""

    def __init__(self) -> None:
        self.full = False
        self.locked = False


class _Connection(sqlite3.Connection):
    """A connection that belongs to a process, on a disk that may be full."""

    process: Process
    disk: Disk
    _before = 0
    _sets = False

    @property
    def in_transaction(self) -> bool:
        self.process.check()
        return super().in_transaction

    def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
        self.process.check()
        word = sql.split(None, 1)[0].upper()
        if word == "BEGIN":
            if self.disk.locked:
                raise sqlite3.OperationalError("database is locked")
            self._before, self._sets = self.total_changes, False
            return super().execute(sql, *args)
        if word == "COMMIT":
            return self._committing(sql)
        if self.in_transaction:
            self._sets = self._sets or (word == "PRAGMA" and "=" in sql)
            return super().execute(sql, *args)
        if word in {"SELECT", "PRAGMA", "WITH", "ROLLBACK"}:
            return super().execute(sql, *args)
        if self.disk.locked:
            raise sqlite3.OperationalError("database is locked")
        self._before_commit()
        found = super().execute(sql, *args)
        self._after_commit()
        return found

    def commit(self) -> None:
        self.process.check()
        if self.in_transaction:
            self._committing("COMMIT")

    def _committing(self, sql: str) -> sqlite3.Cursor:
        """End a transaction; one that changed nothing needs no room on the disk."""
        writes = self._sets or self.total_changes > self._before
        if writes:
            self._before_commit()
        found = super().execute(sql)
        if writes:
            self._after_commit()
        return found

    def _before_commit(self) -> None:
        if self.disk.full:
            raise sqlite3.OperationalError("database or disk is full")
        self.process.commits += 1
        if self.process.commits == self.process.kill_at and not self.process.kill_after:
            self._killed()

    def _after_commit(self) -> None:
        if self.process.commits == self.process.kill_at and self.process.kill_after:
            self._killed()

    def _killed(self) -> None:
        self.process.dead = True
        self.process.died()
        raise Killed

    def die(self) -> None:
        """Be closed as the kernel closes what a dead process had open: what was not committed is
        lost.
        """
        super().close()

    def close(self) -> None:
        self.process.databases.discard(self)
        super().close()


def _compile_once() -> Any:
    """Compile each template once a process: after each restart it would be most of the work."""
    compiled: dict[Any, Any] = {}
    slow = jinja2.Environment.compile

    def compile_once(
        self: Any, source: Any, name: Any = None, filename: Any = None, *more: Any, **words: Any
    ) -> Any:
        key = (type(self), source, name)
        if key not in compiled:
            source = marked(str(name), source) if name else source
            compiled[key] = slow(self, source, name, filename, *more, **words)
        return compiled[key]

    return compile_once


_COMPILE = _compile_once()


class _Chance:
    """Gives out generators of random numbers that follow from one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def generator(self, seed: object = None) -> random.Random:
        return random.Random(self._random.getrandbits(64) if seed is None else seed)

    def bytes(self, number: int) -> bytes:
        return self._random.randbytes(number)


@contextlib.contextmanager
def entered(clock: MachineClock, disk: Disk, seed: int) -> Iterator[None]:
    """Let everything that this process does happen in the simulated world."""
    chance = _Chance(seed)
    environments: defaultdict[Path, dict[str, jinja2.Environment]] = defaultdict(dict)

    def render_here(self: TemplateProcess, request: bytes) -> bytes:
        answer = answer_request(request, self._folder, environments[self._folder])
        assert answer is not None
        return answer

    class Now(datetime, metaclass=_AnyDatetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            moment = clock.now()
            return moment.astimezone(tz) if tz else moment.replace(tzinfo=None)

    def connect(database: Any, *args: Any, **more: Any) -> Any:
        process = current.get()
        process.check()
        more["timeout"] = 0
        if database == ":memory:":  # on no disk, and commits nothing that outlives the process
            return _sqlite_connect(database, *args, **more)
        conn = _sqlite_connect(database, *args, factory=_Connection, **more)
        conn.process, conn.disk = process, disk
        process.databases.add(conn)
        return conn

    seams: list[tuple[Any, str, Any]] = [
        (apscheduler.schedulers.base, "datetime", Now),
        (apscheduler.executors.base, "datetime", Now),
        (apscheduler.triggers.interval, "datetime", Now),
        (jwt.api_jwt, "datetime", Now),
        (aiohttp.connector, "monotonic", asyncio.get_running_loop().time),
        # An idle connection is not given up: opening one for each poll would take most of the time.
        (httpcore._async.http11, "time", SimpleNamespace(monotonic=lambda: 0.0)),
        # The selector, which would see that a pipe can be read, is never asked.
        (FileLock, "open_wake", lambda _: None),
        (httpx, "create_ssl_context", lambda: _TLS),
        (jinja2.Environment, "compile", _COMPILE),
        # A process has seconds that pass, of which a busy machine needs more.
        (TemplateProcess, "_answer", render_here),
        (sqlite3, "connect", connect),
        (os, "urandom", chance.bytes),
    ]
    # What looks again and again, though there is nothing to do, would take most of the time.
    seams += [
        (worker, "_WAKE_EVERY", float(_SELDOM)),
        (ownership, "_CHECK_EVERY", float(_SELDOM)),
        (reload, "_LOOK_OFTEN", float(_SELDOM)),
        (embedded, "_HOUSEKEEPING_EVERY", _SELDOM),
        (embedded, "_ACTIONS_EVERY", _SELDOM),
        (embedded, "_CHECK_CLOCK_EVERY", float(_SELDOM)),
    ]
    # Alerter's own chance, wherever it is.
    for module_name, module in sorted(sys.modules.items()):
        if module_name.startswith("alerter."):
            if hasattr(module, "Random"):
                seams.append((module, "Random", chance.generator))
            if isinstance(getattr(module, "_random", None), random.Random):
                seams.append((module, "_random", chance.generator()))
    # Its templates are marked in here and nowhere else.
    builtin_environment.cache_clear()
    with contextlib.ExitStack() as stack:
        stack.callback(builtin_environment.cache_clear)
        for module, name, value in seams:
            stack.enter_context(mock.patch.object(module, name, value))
        yield


class _AnyDatetime(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, datetime)
