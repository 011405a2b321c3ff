"""What Slack shows of a review follows what becomes of it (triage)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tests.simulation.history import Mail, SlackCall
from tests.simulation.oracle.kept import lacked_author
from tests.simulation.oracle.triage import Path, Transition
from tests.simulation.oracle.values import (
    DAY,
    HOUR,
    INFLIGHT,
    MINUTE,
    SLACK_ERASES,
    Destination,
    Violation,
)
from tests.simulation.oracle.world import World


def judge_followed(
    world: World,
    review_id: str,
    path: Path,
    posts_of: Mapping[Destination, Sequence[SlackCall | Mail]],
) -> Iterator[Violation]:
    """Judge whether its Slack message is updated: on a new text, on a closing, and asking again."""
    for destination, posts in posts_of.items():
        singles = [post for post in posts if isinstance(post, SlackCall) and len(post.items) == 1]
        if not singles:
            continue
        for number, transition in enumerate(path.transitions):
            if transition.change not in {"edited", "closed", "reopened"}:
                continue
            if transition.change == "edited" and _is_anonymized(world, review_id, transition):
                continue  # its words are not shown any more
            if number and has_rested(world, path.transitions[number - 1].time, transition.time):
                continue  # what was sent about it is forgotten
            before = [post for post in singles if post.time < transition.time - INFLIGHT]
            later = path.transitions[number + 1 : number + 2]
            until = later[0].time if later else world.h.end
            deadline = transition.time + HOUR
            if not before or deadline > until or not _can_update(
                world, destination, transition.time, deadline, review_id
            ):  # fmt: skip
                continue
            calls = [
                call
                for call in world.h.slack
                if transition.time - INFLIGHT / 10 <= call.time <= deadline
            ]
            if not any(_shows(world, call, before, transition, review_id) for call in calls):
                what = f"its message was not updated after it was {transition.change}"
                concerns = (review_id, *destination)
                yield Violation("not_updated", "triage", transition.time, what, concerns)


def _is_anonymized(world: World, review_id: str, transition: Transition) -> bool:
    """Return whether a review was anonymized, or counts as that, when alerter learned of it."""
    state = world.version(review_id, transition.state)
    first = world.events[review_id][0].after
    return (state is not None and state.anonymized) or lacked_author(world, first, transition.time)


def has_rested(world: World, since: datetime, until: datetime) -> bool:
    """Return whether a review was at rest for longer than `keep` in a span."""
    return any(until - since > config.keep for config in world.configs_between(since, until))


def _shows(
    world: World, call: SlackCall, before: list[SlackCall], transition: Transition, review_id: str
) -> bool:
    """Return whether a call shows on Slack what became of a review."""
    own = (call.channel, call.ts) in {(post.channel, post.ts) for post in before}
    if transition.change == "closed":
        return own or (
            call.verb == "post" and any(item.review_id == review_id for item in call.items)
        )
    state = world.version(review_id, transition.state)
    words = state.words if state and transition.change == "edited" else ()
    return own and call.verb == "update" and all(word in call.text for word in words)


def _can_update(
    world: World, destination: Destination, start: datetime, end: datetime, review_id: str
) -> bool:
    configs = world.configs_between(start - DAY, end)
    receivers = [config.receiver(destination.receiver) for config in configs]
    same = all(receiver is not None for receiver in receivers) and len(configs) == 1
    channels = {receiver.channel for receiver in receivers if receiver is not None}
    refused = any(
        fault.channel in {None, *channels} and fault.review_id in {None, review_id}
        for fault in world.faults(SLACK_ERASES, start - DAY, end)
        if fault.method is None or not fault.method.startswith("conversations.")
    )
    calm = world.is_calm(destination, start - MINUTE, end, review_id)
    return same and not refused and calm and not world.is_forgotten(start)
