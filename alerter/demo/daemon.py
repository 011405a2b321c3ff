"""The daemon of a demo, as a process of its own."""

import asyncio
import signal
import sys
from pathlib import Path

_LINES_SHOWN = 5


class Daemon:
    """`alerter run` with a config; its log is kept beside the config, under its name."""

    def __init__(self, config: Path, name: str = "daemon") -> None:
        self.name = name
        self._config = config
        self._log = config.with_name(f"{name}.log")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alerter", "run", "--config", str(self._config)),
                stderr=log,
                stdout=log,
            )

    @property
    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.returncode is None

    @property
    def ended(self) -> bool:
        """Whether the process was started and has ended."""
        return self._process is not None and self._process.returncode is not None

    def last_lines(self) -> str:
        """Return the end of the log."""
        lines = self._log.read_text("utf-8", "replace").splitlines() if self._log.exists() else []
        return "\n".join(lines[-_LINES_SHOWN:])

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self._process and self.running:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill the process, as a power cut would."""
        if self._process and self.running:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """Stop the process as systemd does, and wait until it has ended."""
        if self._process and self.running:
            self._process.terminate()
            await self._process.wait()
