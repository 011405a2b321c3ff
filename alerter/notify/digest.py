"""Which due deliveries are sent together in one message."""

from collections.abc import Sequence
from datetime import datetime

from alerter.errors import RenderError
from alerter.models import Content, Form, Grouping
from alerter.notify.destination import Destination
from alerter.store import State, outbox
from alerter.store.outbox import DueDelivery


def group(
    members: Sequence[DueDelivery], burst: int, digest: int, *, is_flood: bool = False
) -> tuple[Form, list[int]]:
    """Return the form of the next message and its alerts, from deliveries oldest first. Pure.

    `is_flood`: these are what digests had no room for, and leave as a digest however few they are.
    """
    first = members[0]
    # A message is a reply in one thread at most.
    alike = [member for member in members if member.thread == first.thread]
    others = [member.alert for member in alike if member.grouping is not Grouping.EACH]
    few = first.grouping is Grouping.BURST and len(others) <= burst and not is_flood
    if first.grouping is Grouping.EACH or few:
        return Form.ALERT, [first.alert]
    together = others[:digest]
    return (Form.DIGEST if len(together) > 1 else Form.ALERT), together


def largest_that_fits(
    state: State, destination: Destination, alerts: Sequence[int], now: datetime
) -> list[int]:
    """Return the first of the alerts, as many as fit into one digest of the destination.

    Slack refuses a message whose blocks hold too much text, so the length is that of the rendered
    digest.
    """
    fitting = list(alerts)
    while destination.budget and len(fitting) > 1:
        draft = outbox.draft(state, destination.name, Form.DIGEST, fitting, now)
        try:
            length = (destination.length or length_of)(destination.render(draft))
        except RenderError:
            break  # the error is handled when it is sent
        if length <= destination.budget:
            break
        share = destination.budget / length
        fitting = fitting[: min(max(int(len(fitting) * share), 1), len(fitting) - 1)]
    return fitting


def length_of(content: Content) -> int:
    """Return how many characters of text the blocks of a message hold, or bytes its text has."""
    if content.blocks:
        return sum(_length(block) for block in content.blocks)
    return len(content.text.encode())


def _length(part: object) -> int:
    if isinstance(part, dict):
        own = sum(len(part[key]) for key in ("text", "alt_text") if isinstance(part.get(key), str))
        return own + sum(_length(value) for value in part.values())
    return sum(_length(each) for each in part) if isinstance(part, list | tuple) else 0
