"""A changed config for a running daemon: taken over as a whole, or not at all."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import ConfigError, StateError
from alerter.trouble.tracker import Troubles

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Reload:
    """The reload that was asked for last: it is wanted until its config is in force, or refused.

    `late_since` is when the state file first kept the config from being taken over, by the monotonic clock.
    """

    asked: asyncio.Event
    load: Callable[[], Config] | None
    late_since: float | None = None

    def put_off(self, error: StateError, config: Config, clock: Clock, troubles: Troubles) -> None:
        """Keep the reload wanted; when that lasts, it is trouble."""
        self.asked.set()
        now = clock.monotonic()
        if self.late_since is None:
            self.late_since = now
            log.warning(
                "the changed config is taken over later, the old one stays in force until then: %s",
                error,
            )
        if now - self.late_since >= config.poll.trouble_after.total_seconds():
            with suppress(StateError):  # then the state alarm notifies people
                troubles.begin("config", str(error))


def read_again(config: Config, load: Callable[[], Config], troubles: Troubles) -> Config | None:
    """The config as its files are now, or None where they have a fault, which is told in the log and as trouble."""
    try:
        changed = load()
    except ConfigError as error:
        _refuse(error.problems, troubles)
        return None
    kept = until_restart(config, changed)
    for name in kept:
        key = Config.model_fields[name].alias or name
        log.warning(
            "%s has changed in the config: that needs a restart, and stays as it was until then",
            key,
        )
    return changed.model_copy(update=kept)


def until_restart(old: Config, new: Config) -> dict[str, Any]:
    """What a new config has to leave as it was, by field: what nothing but a restart changes."""
    kept: dict[str, Any] = {}
    if new.state_path != old.state_path:
        kept["state_file"] = new.state_file.model_copy(update={"file": old.state_path})
    if new.web != old.web:
        kept["web"] = old.web
    if new.smtp and old.smtp and new.smtp.host != old.smtp.host:
        # The whole table: a new password is not for the old host.
        kept["smtp"] = old.smtp
    return kept


def _refuse(problems: Sequence[str], troubles: Troubles) -> None:
    for problem in problems:
        log.error("the changed config: %s", problem)
    log.error("the changed config is not taken over; the old one stays in force")
    try:
        troubles.begin("config", "; ".join(problems))
    except StateError as error:
        log.error("nobody can be told of it now: %s", error)  # noqa: TRY400 - the text says it all
