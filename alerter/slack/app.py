"""The Slack app whose messages have buttons: which it is, and whether it is connected."""

import asyncio
import re
from collections.abc import Callable

from alerter.models import Message

_APP_TOKEN = re.compile(r"xapp-[0-9]+-(A[A-Z0-9]{2,40})-.*", re.DOTALL)


class SlackApp:
    """The app of an `app_token`.

    `id` is empty where it is not known, `team_id` (our workspace)
    before it is connected. `on_foreign` is called with each message that another app
    has posted with buttons: presses of these would not arrive.
    """

    def __init__(self, app_token: str) -> None:
        found = _APP_TOKEN.fullmatch(app_token)
        self.id = found[1] if found else ""
        self.team_id = ""
        self.on_foreign: Callable[[Message], None] = lambda _: None
        self.is_known = asyncio.Event()
        self._is_connected = False
        self._is_foreign = False

    @property
    def has_buttons(self) -> bool:
        """Whether messages have buttons: the app is connected, and posts them."""
        return self._is_connected and not self._is_foreign

    @property
    def is_foreign(self) -> bool:
        """Whether our messages are posted by another app than this one."""
        return self._is_foreign

    def mark_connected(self, app_id: str, team_id: str) -> None:
        """Record that the app is connected, with its id if Slack says so."""
        self.id = app_id or self.id
        self.team_id = team_id
        self._is_connected = True
        self.is_known.set()

    def mark_refused(self) -> None:
        """Record that Slack refuses the connection: presses do not arrive any more."""
        self._is_connected = False
        self.is_known.set()

    def record_post(self, message: Message, app_id: str | None) -> None:
        """Record which app has posted a message."""
        if not (self.id and app_id):
            return
        had_buttons, self._is_foreign = self.has_buttons, app_id != self.id
        if had_buttons and self._is_foreign:
            self.on_foreign(message)
