"""The last resort: with a state file that cannot be written nothing can be queued, so people are told directly."""

import logging
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import DeliveryError, RenderError, StateBusy, StateError
from alerter.models import Alert, AlertKind, Entry, Form, Message
from alerter.tell.outlet import Outlet

log = logging.getLogger(__name__)

# Another process that writes is no trouble before it has gone on for this long.
_BUSY_FOR = timedelta(minutes=5)


class StateAlarm:
    """Rings once a process."""

    def __init__(self, config: Config, clock: Clock, outlets: Sequence[Outlet]) -> None:
        marked = {receiver.name for receiver in config.receivers if receiver.trouble}
        self._clock = clock
        self._outlets = [outlet for outlet in outlets if outlet.receiver in marked] or list(outlets)
        self._busy_since: float | None = None
        self._rung = False

    async def ring(self, error: StateError) -> None:
        """Tell people of a state file that cannot be written, in one direct attempt."""
        if self._rung or (isinstance(error, StateBusy) and not self._busy_for_long()):
            return
        self._rung = True
        log.critical("the state file cannot be written, so nothing can be queued; people are told once: %s", error)
        for outlet in self._outlets:
            await self._tell(outlet, str(error))

    def _busy_for_long(self) -> bool:
        now = self._clock.monotonic()
        if self._busy_since is None or now - self._busy_since > 2 * _BUSY_FOR.total_seconds():
            self._busy_since = now
        return now - self._busy_since >= _BUSY_FOR.total_seconds()

    async def _tell(self, outlet: Outlet, reason: str) -> None:
        now = self._clock.now()
        detail = {
            "what": "the state file cannot be written",
            "reason": reason,
            "remedy": "make room on the disk, or end the process that holds the file; alerter goes on by itself",
            "since": now.isoformat(),
        }
        entry = Entry(Alert("trouble:state", AlertKind.TROUBLE, detail=detail))
        message = Message(0, f"{uuid4().hex}@{outlet.notifier.domain}", outlet.receiver, Form.ALERT, (entry,), now)
        try:
            await outlet.notifier.send(message, outlet.render(message))
        except (DeliveryError, RenderError) as error:
            log.error('receiver "%s": cannot be told either: %s', outlet.receiver, error)  # noqa: TRY400 - it says all
