"""What goes wrong, and what people do to the daemon, as the plan has it."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.simulation import history as h
from tests.simulation.faults import Active
from tests.simulation.loop import kill
from tests.simulation.setup import changed

if TYPE_CHECKING:
    from tests.simulation.world import World


class Wrongs:
    """Lets faults begin and end, changes the config, and kills."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._stepped_at = world.true.now()

    def do_fault(
        self, fault: str, length: float, *, code: str = "", calls: int | None = None, share: float = 1.0,
        retry_after: float | None = None, **scope: Any,
    ) -> None:  # fmt: skip
        now = self._world.true.now()
        active = self._world.faults.begin(
            Active(
                fault, now, now + timedelta(seconds=length), scope, code, share, calls, retry_after
            )
        )
        self._machine_fault(fault)
        self._world.loop.call_later(length, self.end, active)

    def end(self, fault: Active) -> None:
        self._world.faults.end(fault, self._world.true.now())
        self._machine_fault(fault.kind)

    def _machine_fault(self, kind: str) -> None:
        there = any(fault.kind == kind for fault in self._world.faults.now)
        if kind == "disk_full":
            self._world.disk.full = there
        elif kind == "state_locked":
            self._world.disk.locked = there

    async def do_clock_step(self, seconds: float, length: float) -> None:
        if self._world.machine.ahead:
            return
        self._world.machine.ahead = timedelta(seconds=seconds)
        self._stepped_at = self._world.true.now()
        await asyncio.sleep(length)
        self.set_clock_right()

    def set_clock_right(self) -> None:
        """End a clock step, where there is one, and write it down."""
        if step := self._world.machine.ahead:
            self._world.machine.ahead = timedelta()
            fault = h.Fault("clock_step", self._stepped_at, self._world.true.now(), step=step)
            self._world.other_faults.append(fault)

    def do_config(self, ops: list[Any]) -> None:
        for op, *args in ops:
            self._world.spec = changed(self._world.spec, op, *args)
        self._world.write()
        self._world.reload()

    async def do_config_faulty(self, length: float) -> None:
        begun = self._world.true.now()
        self._world.spec = self._world.spec | {"fault": "[nonsense]\nkey = 1"}
        self._world.write()
        if self._world.daemon:
            self._world.reload()
        await asyncio.sleep(length)
        if self._world.spec.get("fault"):
            self._world.spec = self._world.spec | {"fault": None}
            self._world.write()
            self._world.reload()
        self._world.other_faults.append(h.Fault("config_faulty", begun, self._world.true.now()))

    async def do_kill(
        self, *, commits: int | None = None, after: Any = None, down: float = 5.0
    ) -> None:
        process = self._world.daemon
        if process is None or process.dead:
            return
        if commits is not None:
            process.kill_after = bool(after)
            process.kill_at = process.commits + commits
            return
        self._world.hold(down)
        self._world.deaths[process] = self._world.true.now()
        await kill(process)

    async def do_stop(self, *, down: float) -> None:
        if self._world.daemon:
            self._world.hold(down)
            self._world.daemon.signal(15)
