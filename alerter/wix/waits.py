"""Until when Wix wants no calls about a site: kept in the database, for all who share it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from alerter.clock import Clock
from alerter.errors import WixError, WixThrottled, WixUnavailable
from alerter.scopes import Scope
from alerter.store import State, blocks


def refuse_during_wait(state: State, site_id: str, now: datetime) -> None:
    """Raise WixThrottled while Wix wants no calls about a site."""
    if block := blocks.get_block(state, [Scope.SITE.of(site_id)], now):
        raise WixThrottled(block.reason, (block.until - now).total_seconds())


def record_wait(state: State, site_id: str, now: datetime, error: WixError) -> None:
    """Record until when Wix wants no calls about a site, if this error says so."""
    if isinstance(error, WixUnavailable) and error.retry_after:
        scope, until = Scope.SITE.of(site_id), now + timedelta(seconds=error.retry_after)
        with state.transaction(scope):
            blocks.set_block(state, scope, now, until, error.text)


@asynccontextmanager
async def respect_waits(
    state: State, clock: Clock, site_id: str, kind: type[WixUnavailable] = WixUnavailable
) -> AsyncIterator[None]:
    """Make no calls about a site while Wix wants none, and record that it wants none.

    Only errors of this `kind` are recorded. Raise WixThrottled before the first call.
    """
    refuse_during_wait(state, site_id, clock.now())
    try:
        yield
    except kind as error:
        record_wait(state, site_id, clock.now(), error)
        raise
