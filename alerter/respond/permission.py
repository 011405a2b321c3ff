"""Who may respond to a review from Slack. Pure."""

from collections.abc import Sequence

from alerter.config import Receiver
from alerter.render.answers import Notice
from alerter.respond.interactions import Presser


def get_denial(person: Presser, receivers: Sequence[Receiver], team_id: str) -> Notice | None:
    """Return why a person may not respond; None if one of these receivers allows it.

    `receivers`: those of the channel and the review's site. `team_id`: our own workspace.
    """
    if not receivers:
        return Notice.NO_RECEIVER
    denials = [_denial(person, receiver, team_id) for receiver in receivers]
    return None if None in denials else denials[0]


def _denial(person: Presser, receiver: Receiver, team_id: str) -> Notice | None:
    if receiver.responders is not None:
        return None if person.id in receiver.responders else Notice.NOT_NAMED
    return None if team_id and person.team_id == team_id else Notice.GUEST
