"""Configs for the measured code, and `alerter` as a process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.service.runtime import Runtime, open_runtime
from alerter.store import State

SECRETS = {"WIX_API_KEY": "wix-key", "SLACK_BOT_TOKEN": "xoxb-token"}
OWNER = "owner@example.com"
CHANNEL = "C0123456789"
NOWHERE = "http://127.0.0.1:9"
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class World:
    """The addresses of the services, and the number of sites and receivers.

    `database`: the address of a PostgreSQL database that holds the state.
    """

    wix: str
    slack: str | None = NOWHERE
    smtp: int | None = None
    sites: int = 1
    channels: int = 1
    mailboxes: int = 1
    every: str = "60s"
    more: str = ""
    database: str = ""
    folder: Path = Path()

    def write(self) -> Path:
        """Write the config file."""
        path = self.folder / "config.toml"
        path.write_text(
            "".join([self._tables(), *self._sites(), *self._receivers(), self.more]), "utf-8"
        )
        return path

    def config(self) -> Config:
        """Write the config file and return it loaded."""
        return load_config(self.write(), self.secrets, secrets=True)

    @property
    def secrets(self) -> dict[str, str]:
        """The environment of its processes."""
        return SECRETS | {"DATABASE_URL": self.database}

    def _tables(self) -> str:
        slack = (
            f'[slack]\ntoken = "env:SLACK_BOT_TOKEN"\nbase_url = "{self.slack}"\n'
            if self.slack
            else ""
        )
        smtp = (
            f'[smtp]\nhost = "127.0.0.1"\nport = {self.smtp}\nsecurity = "none"\n'
            'from = "alerts@example.com"\n'
            if self.smtp
            else ""
        )
        poll = f'[poll]\nevery = "{self.every}"\n'
        state = '[state]\nurl = "env:DATABASE_URL"\n' if self.database else 'state = "state.db"\n'
        return f'{state}{poll}[wix]\nbase_url = "{self.wix}"\n{slack}{smtp}'

    def _sites(self) -> Iterator[str]:
        for number in range(self.sites):
            names = f'name = "{site_name(number)}"\nsite_id = "{site_id(number)}"'
            yield f'[[sites]]\n{names}\napi_key = "env:WIX_API_KEY"\n'

    def _receivers(self) -> Iterator[str]:
        if self.smtp and self.mailboxes == 1:
            yield f'[[receivers]]\nname = "owner"\nemail = ["{OWNER}"]\n'
        elif self.smtp:
            for number in range(self.mailboxes):
                place = f'email = ["owner{number}@example.com"]\nsites = ["{site_name(number)}"]'
                yield f'[[receivers]]\nname = "owner {number}"\n{place}\n'
        if self.slack and self.channels == 1:
            yield f'[[receivers]]\nname = "support"\nslack = "{CHANNEL}"\n'
        elif self.slack:
            for number in range(self.channels):
                place = f'slack = "C{number:010}"\nsites = ["{site_name(number)}"]'
                yield f'[[receivers]]\nname = "channel {number}"\n{place}\n'


def site_name(number: int) -> str:
    """Return the name of a site."""
    return f"Corner Bakery {number}"


def site_id(number: int) -> str:
    """Return the id of a site."""
    return f"11111111-1111-4111-8111-{number:012}"


@asynccontextmanager
async def runtime(
    world: World, worker: str | None = None
) -> AsyncIterator[tuple[Config, State, Runtime]]:
    """Open the parts of `alerter run`; `worker`: its name in a cluster."""
    config = world.config()
    with State.open(config.database, migrate=True) as state:
        async with open_runtime(config, state, Clock(), worker=worker) as opened:
            yield config, state, opened


@contextmanager
def worlds(world: World) -> Iterator[World]:
    """Yield the same world with a temporary folder."""
    with TemporaryDirectory(prefix="bench-") as folder:
        yield replace(world, folder=Path(folder))


def command(path: Path, *words: str) -> list[str]:
    """Return the command line of `alerter` with a config."""
    return [sys.executable, "-m", "alerter", *words, "--config", str(path)]


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running `alerter run`, and the seconds until it was ready."""

    pid: int
    ready_after: float


@contextmanager
def running(world: World) -> Iterator[Daemon]:
    """Run `alerter run`, and yield when it is ready."""
    world.write()
    with started(world) as daemon:
        yield daemon


@contextmanager
def started(world: World, name: str = "daemon", within: float = _PATIENCE) -> Iterator[Daemon]:
    """Run `alerter run` with a config that is written, and yield when it is ready."""
    path, address = world.folder / "config.toml", world.folder / f"{name}.notify"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        (world.folder / f"{name}.log").open("wb") as log,
    ):
        sock.bind(str(address))
        sock.settimeout(within)
        began = time.monotonic()
        process = subprocess.Popen(
            command(path, "run"),
            env=os.environ | world.secrets | {"NOTIFY_SOCKET": str(address)},
            stdout=log,
            stderr=log,
        )
        try:
            while b"READY=1" not in sock.recv(4096):
                pass
            ready_after = time.monotonic() - began
            sock.close()  # else its queue, which nobody reads, fills up
            address.unlink()
            yield Daemon(process.pid, ready_after)
        finally:
            process.terminate()
            process.wait()
