"""A destination as the notifying half sees it: what renders for it, and what sends to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from alerter.models import Content, Finding, Message, Receipt, medium_of, receiver_of


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

    async def find(self, message: Message) -> Receipt | None:
        """Look for a message in doubt, or raise DeliveryError."""

    async def check(self) -> list[Finding]:
        """See whether sending would work, without sending."""

    async def close(self) -> None:
        """End what is open."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """A destination as the dispatcher sees it.

    `service` names what it shares with others that are reached the same way; `lane` is what may hear one message each
    `pace` seconds (None: no limit); `digest` is how many reviews one message may hold; `faults` tells what is wrong
    with the templates that were rendered so far.
    """

    destination: str
    service: str
    notifier: Notifier
    render: Render
    digest: int
    lane: str | None = None
    faults: Callable[[], Mapping[str, str | None]] = dict

    @property
    def receiver(self) -> str:
        """The name of the receiver that it belongs to."""
        return receiver_of(self.destination)

    @property
    def medium(self) -> str:
        """By what it is reached: `email` or `slack`."""
        return medium_of(self.destination)

    @property
    def scopes(self) -> list[str]:
        """What can hold it back: its own scope and that of its service."""
        return [f"destination:{self.destination}", f"service:{self.service}"]
