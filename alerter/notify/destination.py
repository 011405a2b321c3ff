"""A destination as the notifying half sees it: what renders for it, and what sends to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from alerter.models import Content, Finding, Look, Message, Receipt, medium_of, receiver_of


class Render(Protocol):
    """What turns a message into what it says."""

    def __call__(self, message: Message, *, test: bool = False) -> Content:
        """Render, or raise RenderError."""


class Notifier(Protocol):
    """What sends to one destination."""

    can_look: bool
    settle_after: timedelta
    domain: str

    async def send(self, message: Message, content: Content) -> Receipt:
        """Send, or raise DeliveryError."""

    async def update(self, message: Message, content: Content) -> None:
        """Have a message that was sent say something else, or raise DeliveryError."""

    async def delete(self, message: Message) -> None:
        """Delete a message that was sent, or raise DeliveryError."""

    async def look(self, message: Message) -> Look:
        """Search one page for a message in doubt, or raise DeliveryError."""

    def time_there(self, now: datetime) -> datetime | None:
        """Return the time by the clock of the service, if that is known."""

    async def check(self) -> list[Finding]:
        """See whether sending would work, without sending."""

    async def close(self) -> None:
        """End what is open."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as the dispatcher sees it.

    `service` names what it shares with others that are reached the same way; `lane` is what gets at
    most one message each `pace` seconds (None: no limit). `digest` is how many reviews a message
    may hold, `budget` how many characters (None: no limit). `faults` says what is wrong with the
    templates that were rendered so far; `refuse` records that the service refuses what they make.
    `held_until` says when the quiet hours end that a moment lies in (None: there are none).
    """

    name: str
    service: str
    notifier: Notifier
    render: Render
    digest: int
    rate_key: str | None = None
    budget: int | None = None
    refuse: Callable[[Message, str], bool] = lambda _message, _reason: False
    faults: Callable[[], Mapping[str, str | None]] = dict
    held_until: Callable[[datetime], datetime | None] | None = None

    @property
    def receiver(self) -> str:
        """The name of the receiver that it belongs to."""
        return receiver_of(self.name)

    @property
    def medium(self) -> str:
        """By what it is reached: `email` or `slack`."""
        return medium_of(self.name)

    @property
    def scopes(self) -> list[str]:
        """What can hold it back: its own scope and that of its service."""
        return [f"destination:{self.name}", f"service:{self.service}"]
