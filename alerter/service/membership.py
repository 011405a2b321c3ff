"""A worker's place in the cluster: its name, the number of its config, and the server's time."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from hashlib import sha256
from uuid import uuid4

from alerter import __version__
from alerter.clock import ServerClock
from alerter.config import Config, with_account_sites
from alerter.config.state import PostgresUrl
from alerter.errors import StateError
from alerter.store import State, account_sites, known_sites
from alerter.store.configs import newest_config, register_config
from alerter.store.marker import Marker
from alerter.store.progress import Progress
from alerter.store.workers import (
    WorkerProcess,
    delete_worker,
    get_workers,
    newest_config_of_workers,
    put_worker,
    server_time,
)
from alerter.watch.judging import scope_of_config

log = logging.getLogger(__name__)

REPORT_EVERY = 5.0  # seconds
# The only worker with the newest config may restart; until then an older one changes nothing.
_RESTARTED_WITHIN = 60.0  # seconds
# How a config shows a secret that was read.
_READ = '"**********"'
# A reload that reaches every worker is in force on all of them within seconds.
_FOLLOWS_WITHIN = 15.0  # seconds
_OUTDATED = (
    "another worker has a newer config: this one changes nothing for receivers and sites that it"
    " does not know; put the newer config on this machine and reload"
)
# What belongs to one machine, or is no more than a secret.
_OWN = {"state_file", "web", "templates", "heartbeat", "include", "include_env"}


class Membership:
    """This process among the workers of a cluster.

    `config`: the number of its config. `is_newest`: whether no other has a newer one; only then it
    routes again, cancels, prunes and ends trouble. `living`: how many workers are alive.
    `beat_at`: when it last tried to report itself (monotonic).
    """

    def __init__(self, state: State, clock: ServerClock, progress: Progress | None = None) -> None:
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        self.config = 0
        self.is_newest = True
        # Whether `join` is to be called again: this worker's config is the newest, or is to be.
        self._is_next = False
        # Since when no worker with a newer config is alive (monotonic).
        self._no_newer_since: float | None = None
        # Since when another worker has a newer config (monotonic), and whether the log says so.
        self._outdated_since: float | None = None
        self._is_outdated_logged = False
        self._digest = ""
        self.living = 1
        self.beat_at = clock.monotonic()
        self._state = state
        self._clock = clock
        self._progress = progress
        self._lists: datetime | None = None
        self._started_at = clock.now()

    def join(self, config: Config, *, is_asked: bool) -> bool:
        """Register a config that comes into force here.

        Return whether this worker has to bring the database in line with it. `is_asked`: a person
        asked for it with a reload, which reaches every worker: where the config is the same as
        before, it undoes no change that another worker has. Raise StateError.
        """
        self._clock.synchronize(lambda: server_time(self._state))
        now = self._clock.now()
        before = newest_config(self._state)
        digest = config_digest(config)
        is_asked = is_asked and digest != self._digest
        self.config = register_config(
            self._state, digest, scope_of_config(config), now, is_asked=is_asked
        )
        self._digest = digest
        newest = before.number if before else 0
        self.is_newest = self.config >= newest
        self._is_next = False
        self._no_newer_since = None
        self._lists = account_sites.last_listed_at(self._state)
        others = [
            worker
            for worker in get_workers(self._state, now)
            if worker.config == self.config and worker.name != self.name
        ]
        if not self.is_newest:
            log.warning(_OUTDATED)
            self._is_outdated_logged = True
            return False
        return (
            self.config > newest
            or not others
            or known_sites.recorded_sites(self._state) != config.site_names
        )

    def report(self) -> None:
        """Report that this worker is alive, and see who else is. Raise StateError."""
        self.beat_at = self._clock.monotonic()
        if self._progress:
            self._progress.advance(self._state)
        self._clock.synchronize(lambda: server_time(self._state))
        now = self._clock.now()
        put_worker(
            self._state,
            WorkerProcess(
                name=self.name,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=__version__,
                config=self.config,
                started_at=self._started_at,
                seen_at=now,
            ),
        )
        self.living = max(len(get_workers(self._state, now)), 1)
        newest = newest_config(self._state)
        self.is_newest = newest is None or self.config >= newest.number
        self._log_if_outdated()
        if newest and not self.is_newest and newest.digest == self._digest:
            self._is_next = True
        elif self.is_newest or newest_config_of_workers(self._state, now) > self.config:
            self._no_newer_since = None
        elif self._no_newer_since is None:
            self._no_newer_since = self.beat_at
        elif self.beat_at - self._no_newer_since >= _RESTARTED_WITHIN:
            log.warning("no worker with a newer config is left; this one's is in force again")
            self._is_next = True

    def _log_if_outdated(self) -> None:
        """Log once that another worker has a newer config, unless this one follows soon."""
        if self.is_newest:
            self._outdated_since, self._is_outdated_logged = None, False
        elif self._outdated_since is None:
            self._outdated_since = self.beat_at
        elif (
            not self._is_outdated_logged and self.beat_at - self._outdated_since >= _FOLLOWS_WITHIN
        ):
            log.warning(_OUTDATED)
            self._is_outdated_logged = True

    def see_newest(self) -> bool:
        """Read whether no other worker has brought a newer config since the last report.

        Raise StateError.
        """
        newest = newest_config(self._state)
        self.is_newest = newest is None or self.config >= newest.number
        return self.is_newest

    def has_to_join_again(self, config: Config) -> bool:
        """Whether this config has become the newest, or others have listed other sites for it.

        Raise StateError.
        """
        if self._is_next:
            return True
        listed = account_sites.last_listed_at(self._state)
        if listed == self._lists:
            return False
        self._lists = listed
        return with_account_sites(config, account_sites.get_account_sites(self._state)) != config

    async def keep_reporting(
        self,
        config: Config,
        changed: asyncio.Event,
        notify: Callable[[StateError], Awaitable[None]],
    ) -> None:
        """Report every few seconds, until cancelled; set `changed` once `join` is to be called.

        `notify` is called with each error: where the database is away, no job can notify people.
        """
        while True:
            try:
                self.report()
                if self.has_to_join_again(config):
                    changed.set()
            except StateError as error:
                log.debug("not reported as alive: %s", error)
                await notify(error)
            await asyncio.sleep(REPORT_EVERY)

    def others(self) -> list[str]:
        """Return the names of the other workers that are alive. Raise StateError."""
        alive = get_workers(self._state, server_time(self._state))
        return [worker.name for worker in alive if worker.name != self.name]

    def leave(self) -> None:
        """Have the others know that this worker has ended, and the next start what it saw."""
        if self._progress:
            self._progress.keep()
        try:
            delete_worker(self._state, self.name)
        except StateError as error:
            log.debug("still reported as alive: %s", error)


def guard_state(state: State, config: Config, environ: Mapping[str, str]) -> Progress | None:
    """Have no database used that was put back, and count from now on. Raise StateError.

    None for a state file.
    """
    if not isinstance(config.database, PostgresUrl):
        return None
    progress = refuse_put_back(state, config, environ)
    progress.advance(state)
    return progress


def refuse_put_back(state: State, config: Config, environ: Mapping[str, str]) -> Progress:
    """Have no database used that was put back to an earlier state. Raise StateError."""
    progress = Progress(Marker(config.state_file.file, environ, "seen"))
    state.engine.guard(progress)
    return progress


def config_digest(config: Config) -> str:
    """Return a digest of what all workers have to agree on; listed sites of accounts change it not.

    Secrets are left out, and so is whether they were read.
    """
    accounts = {account.name for account in config.accounts}
    found = config.model_dump(mode="json", exclude=_OWN)
    found["sites"] = [
        site.model_dump(mode="json") for site in config.sites if site.account not in accounts
    ]
    text = json.dumps(found, sort_keys=True).replace(_READ, '""')
    return sha256(text.encode()).hexdigest()
