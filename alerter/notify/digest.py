"""Which due deliveries leave together in one message."""

from collections.abc import Sequence
from datetime import datetime

from alerter.errors import RenderError
from alerter.models import Content, Form, Grouping
from alerter.notify.destination import Destination
from alerter.store import State, outbox
from alerter.store.outbox import DueDelivery


def group(members: Sequence[DueDelivery], burst: int, digest: int) -> tuple[Form, list[int]]:
    """Decide which of the due deliveries (oldest first) leave together, and in what form. Pure."""
    first = members[0]
    # What Slack shows in a thread stays with what belongs to that thread.
    alike = [member for member in members if member.thread == first.thread]
    others = [member.alert for member in alike if member.grouping is not Grouping.EACH]
    few = first.grouping is Grouping.BURST and len(others) <= burst
    if first.grouping is Grouping.EACH or few:
        return Form.ALERT, [first.alert]
    together = others[:digest]
    return (Form.DIGEST if len(together) > 1 else Form.ALERT), together


def largest_that_fits(
    state: State, destination: Destination, alerts: Sequence[int], now: datetime
) -> list[int]:
    """Return as many of the alerts of a digest as fit into one message of the destination.

    Slack refuses a message whose blocks hold too much text, so the digest is rendered first.
    """
    fitting = list(alerts)
    while destination.budget and len(fitting) > 1:
        draft = outbox.draft(state, destination.name, Form.DIGEST, fitting, now)
        try:
            length = length_of(destination.render(draft))
        except RenderError:
            break  # what is wrong shows when it is sent
        if length <= destination.budget:
            break
        share = destination.budget / length
        fitting = fitting[: min(max(int(len(fitting) * share), 1), len(fitting) - 1)]
    return fitting


def length_of(content: Content) -> int:
    """Return how many characters of text the blocks of a message hold."""
    return sum(_length(block) for block in content.blocks)


def _length(part: object) -> int:
    if isinstance(part, dict):
        own = sum(len(part[key]) for key in ("text", "alt_text") if isinstance(part.get(key), str))
        return own + sum(_length(value) for value in part.values())
    return sum(_length(each) for each in part) if isinstance(part, list | tuple) else 0
