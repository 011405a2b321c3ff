"""A destination: how its messages are rendered and sent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from alerter.models import Content, Finding, Look, Message, Receipt, medium_of, receiver_of


class Render(Protocol):
    """Renders the content of a message."""

    def __call__(self, message: Message, *, test: bool = False) -> Content:
        """Return the content; raise RenderError. `test` marks it as a test."""


class Notifier(Protocol):
    """Sends to one destination.

    `can_look`: the service can be searched for a message in doubt, `settle_after` a call at the
    earliest. `keeps_uid`: a repeat carries the uid, so that it is recognized as one.
    `can_check`: `check` finds out whether a message would be accepted. `domain` is the right part
    of the uid of its messages.
    """

    can_look: bool
    keeps_uid: bool
    can_check: bool
    settle_after: timedelta
    domain: str

    async def prepare(self) -> None:
        """Find out what sending needs, when work begins; raise DeliveryError."""

    async def send(self, message: Message, content: Content) -> Receipt:
        """Send a message; raise DeliveryError."""

    async def update(self, message: Message, content: Content) -> None:
        """Replace the content of a message that was sent; raise DeliveryError."""

    async def delete(self, message: Message) -> None:
        """Delete a message that was sent; raise DeliveryError."""

    async def look(self, message: Message) -> Look:
        """Search one page for a message in doubt; raise DeliveryError."""

    def service_time(self, now: datetime) -> datetime | None:
        """Return the time by the clock of the service; None if that is unknown."""

    async def check(self) -> list[Finding]:
        """Check whether a message would be accepted, without sending one."""

    async def close(self) -> None:
        """Close the connection, if there is one."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination, with its notifier and its limits.

    `service`: the scope shared with destinations of the same account, such as `smtp`.
    `digest`: the most reviews of one message; `budget`: its most `length` (None: no limit, and
    characters of its blocks).
    `rate_key`: all destinations with this key share one rate limit (None: no limit).
    `refuse` records that the service refused what the owner's templates made, and returns whether
    there is a built-in one. `faults`: the error of each template that was rendered (None: none).
    `held_until`: the end of the quiet hours at a moment; None outside them, or without any.
    """

    name: str
    service: str
    notifier: Notifier
    render: Render
    digest: int
    rate_key: str | None = None
    budget: int | None = None
    length: Callable[[Content], int] | None = None
    refuse: Callable[[Message, str], bool] = lambda _message, _reason: False
    faults: Callable[[], Mapping[str, str | None]] = dict
    held_until: Callable[[datetime], datetime | None] | None = None

    @property
    def receiver(self) -> str:
        """The name of its receiver."""
        return receiver_of(self.name)

    @property
    def medium(self) -> str:
        """Its medium, such as `email`."""
        return medium_of(self.name)
