"""The command line beside the daemon: second processes, as the plan has them."""

import asyncio
import contextlib
import contextvars
import io
import os
import re
from collections.abc import Callable, Coroutine, Iterator
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import click

from alerter.cli import COMMANDS
from alerter.cli import main as cli
from alerter.commands import backfill as backfill_command
from alerter.errors import AlerterError, ConfigError
from alerter.models import Grouping
from tests.simulation import history as h
from tests.simulation.loop import Process, current
from tests.simulation.setup import SITE_IDS

if TYPE_CHECKING:
    from tests.simulation.world import World


class Commands:
    """Runs commands, each as a process of its own."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._backups: list[tuple[Path, datetime]] = []

    async def do_backfill(
        self, days: float, deliver: Any, *, site: str | None = None, kill: int | None = None
    ) -> None:
        since = (self._world.true.now() - timedelta(days=days)).replace(
            hour=0, minute=0, second=0, microsecond=0
        )
        try:
            config = self._world.load()
        except ConfigError:
            return
        sites = [each for each in config.sites if site in (None, each.name)]
        if not sites:
            return
        past = backfill_command.BackfillRequest(sites, since, None)
        ids = tuple(SITE_IDS[each.name] for each in sites)
        run = h.Run(
            f"backfill-{len(self._world.runs)}",
            "backfill",
            self._world.true.now(),
            None,
            sites=ids,
            since=since,
            deliver=deliver,
        )
        grouping = None if deliver == "none" else Grouping(deliver)
        if self._world.daemon is None:
            self._world.take_over()
        await self._run(
            run, lambda: backfill_command.run(config, self._world.machine, past, grouping), kill
        )

    async def _run(
        self, run: h.Run, make: Callable[[], Coroutine[Any, Any, Any]], kill_at: int | None = None
    ) -> None:
        number = len(self._world.runs)
        self._world.runs.append(run)
        process = Process(run.run_id)
        process.kill_at = kill_at
        process.died = lambda: self._world.loop.call_soon(
            lambda: self._world.spawn(self._world.bury(process))
        )
        task = self._world.run_in(process, make())
        await asyncio.wait([task])
        self._world.deaths[process] = self._world.true.now()
        if process.dead or task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, AlerterError):
            raise error
        code = 1 if error or task.result() is False else 0
        self._world.runs[number] = h.replace(run, end=self._world.true.now(), exit_code=code)

    def command(self, name: str, *args: str) -> tuple[int, str]:
        """Run a command line in a process of its own."""
        process = Process(name)
        context = contextvars.copy_context()
        context.run(current.set, process)
        code, said = context.run(self._invoke, *args)
        self._world.deaths[process] = self._world.true.now()
        return code, said

    @contextlib.contextmanager
    def _machine_clock(self) -> Iterator[None]:
        """Let each command go by the simulated machine's clock, and leave the log alone."""
        with contextlib.ExitStack() as stack:
            for name in COMMANDS:
                module = import_module(f"alerter.commands.{name}")
                for attribute, value in (
                    ("Clock", lambda: self._world.machine),
                    ("log_to_stderr", lambda *_, **__: None),
                ):
                    if hasattr(module, attribute):
                        stack.enter_context(mock.patch.object(module, attribute, value))
            yield

    def _invoke(self, *args: str) -> tuple[int, str]:
        out, code = io.StringIO(), 0
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(io.StringIO()),
            mock.patch(
                "alerter.commands.options.load_config",
                side_effect=lambda *_, **__: self._world.load(),
            ),
            self._machine_clock(),
            mock.patch.object(asyncio, "run", self._world.loop.run_nested),
            mock.patch.dict(os.environ, self._world.secrets),
        ):
            try:
                code = cli([*args, "--config", str(self._world.path)], standalone_mode=False) or 0
            except SystemExit as end:
                code = int(end.code or 0)
            except click.ClickException as error:
                code = error.exit_code
        return code, out.getvalue()

    def _noted(self, run: h.Run, *args: str) -> str:
        code, said = self.command(run.run_id, *args)
        self._world.runs.append(h.replace(run, end=self._world.true.now(), exit_code=code))
        return said

    def do_retry(self) -> None:
        self._noted(
            h.Run(f"retry-{len(self._world.runs)}", "retry", self._world.true.now(), None), "retry"
        )

    def do_reply(self, review: str, site: str) -> None:
        site_id = SITE_IDS[site]
        run = h.Run(
            f"reply-{len(self._world.runs)}",
            "reply",
            self._world.true.now(),
            None,
            review_id=review,
        )
        # The id may be the beginning of another: alerter answers the one review that it may mean.
        reviews = self._world.wix.sites[site_id].reviews
        ids = [key for _, key in reviews.keys(None, None, None) if key.startswith(review)]
        before = {key: reviews.get(key) for key in ids}
        self._noted(run, "reply", review, "--site", site, "--message", "We are so sorry.", "--yes")
        for key, row in before.items():
            after = reviews.get(key)
            if row is not None and after is not None and after.review != row.review:
                self._world.reviews.note(site_id, key, "answered")

    def do_claim(self, review: str, site: str, *, release: bool = False) -> None:
        until = None if release else self._world.true.now() + timedelta(hours=48)
        self._hold("claim", review, site, until, *(["--release"] if release else []))

    def do_snooze(self, review: str, site: str, hours: int) -> None:
        until = self._world.true.now() + timedelta(hours=hours)
        self._hold("snooze", review, site, until, f"{hours}h")

    def _hold(
        self, command: Any, review: str, site: str, until: datetime | None, *args: str
    ) -> None:
        """Claim or snooze a review. The id may be the beginning of another: alerter says which."""
        runs, now = self._world.runs, self._world.true.now()
        run = h.Run(f"{command}-{len(runs)}", command, now, None, review_id=review, until=until)
        said = self._noted(run, command, review, *args, "--site", site)
        if whole := re.match(r"review (\S+)\n", said):
            runs[-1] = h.replace(runs[-1], review_id=whole[1])

    def do_backup(self) -> None:
        target = self._world.folder / f"backup-{len(self._backups)}.db"
        run = h.Run(f"backup-{len(self._world.runs)}", "backup", self._world.true.now(), None)
        self._noted(run, "backup", str(target))
        if target.exists():
            self._backups.append((target, self._world.true.now()))

    async def do_restore(self, *, down: float) -> None:
        if not self._backups or self._world.daemon is None:
            return
        self._world.hold(down + 15)
        self._world.daemon.signal(15)
        while self._world.daemon is not None:
            await asyncio.sleep(1)
        source, taken = self._backups[-1]
        run = h.Run(
            f"restore-{len(self._world.runs)}",
            "restore",
            self._world.true.now(),
            None,
            backup_taken=taken,
        )
        self._noted(run, "restore", str(source))
