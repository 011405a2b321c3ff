"""A reload that the state file keeps from being made: it stays wanted, and is trouble when that
lasts.
"""

import asyncio
from datetime import timedelta

from alerter.config import Config
from alerter.errors import StateBusy
from alerter.service.reload import Reload
from alerter.store import State, troubles
from alerter.trouble.tracker import Troubles
from tests.support.clock import SetClock


def test_a_reload_that_is_put_off_is_made_later_and_trouble_if_it_lasts(
    config: Config, state: State, clock: SetClock
) -> None:
    reload = Reload(asyncio.Event(), None)
    about = Troubles(state, config, clock, wake=lambda _: None)
    locked = StateBusy("state.db: is locked by another process")
    for span in (timedelta(), config.poll.trouble_after - timedelta(seconds=1)):
        clock.advance(seconds=span.total_seconds())
        reload.asked.clear()
        reload.put_off(locked, config, clock, about)
        assert reload.asked.is_set()
        assert troubles.get_open_troubles(state) == []
    clock.advance(seconds=1)
    reload.put_off(locked, config, clock, about)
    assert [(each.scope, each.reason) for each in troubles.get_open_troubles(state)] == [
        ("config", str(locked))
    ]
