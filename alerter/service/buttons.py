"""The buttons under alerts on Slack: their connection, what follows from a press, its trouble."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import DeliveryError, ErrorKind, StateError
from alerter.models import Message
from alerter.scopes import ALL_TROUBLE, Scope
from alerter.service.runtime import Runtime
from alerter.slack.app import SlackApp
from alerter.store import stale_messages

log = logging.getLogger(__name__)

# Seconds for which the first messages wait to know whether they have buttons.
_KNOWN_WITHIN = 3.0
_REPORT_EVERY = 5.0
_SCOPE = Scope.SOCKET.of("slack")
_FOREIGN = "the app_token is of another app than the messages; use both tokens of one app"


def slack_app(config: Config) -> SlackApp | None:
    """Return the app whose messages have buttons; None without an `app_token`."""
    if config.slack is None or config.slack.app_token is None:
        return None
    return SlackApp(config.slack.app_token.get_secret_value())


async def wait_until_known(app: SlackApp | None, clock: Clock) -> None:
    """Wait for a moment until it is known whether messages have buttons."""
    if app is None:
        return
    try:
        async with clock.timeout(_KNOWN_WITHIN):
            await app.is_known.wait()
    except TimeoutError:
        log.info("messages have no buttons until there is a connection to Slack for them")


@asynccontextmanager
async def open_buttons(runtime: Runtime, app: SlackApp | None) -> AsyncIterator[None]:
    """Keep a connection, and do what people press, until the end of the context."""
    slack = runtime.config.slack
    if app is None or slack is None:
        yield
        return
    from alerter.respond.reports import SlackReports
    from alerter.respond.slack_responses import SlackResponses
    from alerter.slack.api import SlackApi, open_session
    from alerter.slack.socket import SlackSocket

    state, config, clock = runtime.state, runtime.config, runtime.clock
    trouble = _ButtonTrouble(runtime, app)
    app.on_foreign = trouble.remove_buttons
    async with open_session() as session:
        api = SlackApi(slack, session, clock)
        reports = SlackReports(state, api)
        responses = SlackResponses(
            state, config, clock, app, api, runtime.responder, runtime.actions, reports
        )
        socket = SlackSocket(slack, session, clock, app, responses.handle, trouble.report)
        tasks = [
            asyncio.create_task(socket.run()),
            asyncio.create_task(_repeat(reports.round, clock)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(work: Callable[[], Awaitable[None]], clock: Clock) -> None:
    while True:
        await work()
        await clock.sleep(_REPORT_EVERY)


class _ButtonTrouble:
    """Reports trouble with the connection, which parks nothing and holds up no alert."""

    def __init__(self, runtime: Runtime, app: SlackApp) -> None:
        self._state = runtime.state
        self._clock = runtime.clock
        self._app = app
        self._trouble_after = runtime.config.poll.trouble_after
        self._troubles = runtime.dispatcher.troubles
        self._wake = runtime.dispatcher.wake

    def report(self, error: DeliveryError | None, since: datetime | None) -> None:
        """Begin trouble at once for what is refused, later for what may pass; or end it."""
        now = self._clock.now()
        lasting = now - (since or now) >= self._trouble_after
        try:
            if error is None and not self._app.is_foreign:
                self._troubles.end([_SCOPE])
            elif error is not None and (error.kind is ErrorKind.SERVICE or lasting):
                self._troubles.begin(_SCOPE, str(error), since)
        except StateError as failure:
            log.warning("trouble with buttons is not recorded yet: %s", failure)

    def remove_buttons(self, message: Message) -> None:
        """Have a message of another app updated, which then has no buttons; begin the trouble."""
        try:
            with self._state.transaction(ALL_TROUBLE, *message.scopes):
                for entry in (*message.entries, *message.entries[0].reviews):
                    site_id, review_id = entry.alert.site_id, entry.alert.review_id
                    if site_id and review_id:
                        self._wake(stale_messages.mark_stale(self._state, site_id, [review_id]))
                self._troubles.begin(_SCOPE, _FOREIGN)
        except StateError as failure:
            log.warning("buttons that do nothing stay in a message: %s", failure)
