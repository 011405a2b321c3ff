"""The last resort: with a state file that cannot be used nothing can be queued, so people are told directly."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from math import inf
from uuid import uuid4

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import DeliveryError, RenderError, StateBusy, StateError
from alerter.models import Alert, AlertKind, Entry, Form, Message
from alerter.tell.outlet import Outlet

log = logging.getLogger(__name__)

# Another process that writes is no trouble before it has gone on for this long.
BUSY_FOR = timedelta(minutes=5)
_PATIENCE = 30.0
_GOES_ON = "make room on the disk, or end the process that holds the file; alerter goes on by itself"
_START_AGAIN = "mend what it says, or restore a backup, and start alerter again; it reads nothing before that"


class StateAlarm:
    """Rings once a process."""

    def __init__(self, config: Config, clock: Clock, outlets: Sequence[Outlet]) -> None:
        marked = {receiver.name for receiver in config.receivers if receiver.trouble}
        self._clock = clock
        self._outlets = [outlet for outlet in outlets if outlet.receiver in marked] or list(outlets)
        # Who is kept from writing tries again within two rounds.
        self._apart = 2 * max(config.poll.every, timedelta(minutes=1)).total_seconds()
        self._busy_since = self._busy_at = -inf
        self._rung = False

    async def ring(self, error: StateError) -> None:
        """Tell people of a state file that cannot be written, in one direct attempt."""
        if self._rung or (isinstance(error, StateBusy) and not self._busy_for_long()):
            return
        self._rung = True
        log.critical("the state file cannot be written, so nothing can be queued; people are told once: %s", error)
        await self._tell_all("the state file cannot be written", error, _GOES_ON)

    async def ring_at_start(self, error: StateError) -> bool:
        """Tell people that alerter does not start for want of its state file; False where nobody can be reached."""
        return await self._tell_all("alerter does not start", error, _START_AGAIN)

    async def _tell_all(self, what: str, error: StateError, remedy: str) -> bool:
        detail = {"what": what, "reason": str(error), "remedy": remedy, "since": self._clock.now().isoformat()}
        return any(await asyncio.gather(*(self._tell(outlet, detail) for outlet in self._outlets)))

    def _busy_for_long(self) -> bool:
        """Whether the file has been busy each time that somebody tried, for a while."""
        now = self._clock.monotonic()
        if now - self._busy_at > self._apart:
            self._busy_since = now
        self._busy_at = now
        return now - self._busy_since >= BUSY_FOR.total_seconds()

    async def _tell(self, outlet: Outlet, detail: Mapping[str, str]) -> bool:
        entry = Entry(Alert("trouble:state", AlertKind.TROUBLE, detail=detail))
        uid = f"{uuid4().hex}@{outlet.notifier.domain}"
        message = Message(0, uid, outlet.destination, Form.ALERT, (entry,), self._clock.now())
        try:
            # Whoever rings has other work, and a mail server may take minutes.
            async with self._clock.timeout(_PATIENCE):
                await outlet.notifier.send(message, outlet.render(message))
        except (DeliveryError, RenderError, TimeoutError) as error:
            log.error('receiver "%s": cannot be told either: %s', outlet.receiver, str(error) or "no answer")  # noqa: TRY400
            return False
        return True
