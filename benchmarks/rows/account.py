"""The 100,000 sites of one account: start, reload and memory of the daemon that polls them."""

import os
import subprocess
import time
from datetime import UTC, datetime

from alerter.scopes import Scope
from alerter.store import State
from alerter.store.account_sites import record_list
from benchmarks.cluster import ACCOUNT
from benchmarks.figures import Figure
from benchmarks.processes import Usage, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.wix import FastWix
from benchmarks.world import SECRETS, World, command, running, site_id, site_name, worlds


def measure(*, quick: bool) -> list[Figure]:
    """Measure a daemon whose last list is in the state file, while it polls."""
    sites, every = (10_000, "1m") if quick else (100_000, "10m")
    with serving(FastWix, listed=sites) as wix, serving(FastSlack) as slack:
        world = World(wix.url, slack.url, sites=0, every=every, more=ACCOUNT)
        with worlds(world) as fresh:
            _record(fresh, sites)
            with running(fresh) as daemon:
                time.sleep(60)
                at_rest = Usage.of(daemon.pid)
                reload = _time_to_reload(fresh)
                before = Usage.of(daemon.pid)
                time.sleep(60)
                after = Usage.of(daemon.pid)
        made = sum(before.at <= at <= after.at for times in wix.ask("seen") for at in times)
    row, took = f"an account of {sites:,} sites", after.at - before.at
    due = sites / (60.0 if quick else 600.0)
    return [
        Figure(row, "READY", daemon.ready_after, "≤", 15, "s"),
        Figure(row, "`reload`", reload, "≤", 20, "s"),
        Figure(row, "rounds/s", made / took, "≥", 0.98 * due, "/s", f"for {took:.0f} s"),
        Figure(row, "of one core", 100 * (after.cpu - before.cpu) / took, "≤", 60, "%", every),
        Figure(row, "RSS", at_rest.rss, "≤", 300, "MB", f"{after.rss:.0f} MB after a reload"),
    ]


def _record(world: World, number: int) -> None:
    names = {site_id(each): site_name(each) for each in range(number)}
    with (
        State.open(world.config().database, migrate=True) as state,
        state.transaction(Scope.ACCOUNT.of("agency")),
    ):
        record_list(state, "agency", names, datetime.now(UTC), complete=True)


def _time_to_reload(world: World) -> float:
    began = time.monotonic()
    words = command(world.folder / "config.toml", "reload")
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=os.environ | SECRETS)
    return time.monotonic() - began
