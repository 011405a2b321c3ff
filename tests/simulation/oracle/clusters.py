"""Clusters: one message for each, which names all its reviews (promises 1, 2 and 9)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta

from tests.simulation.history import Item, Mail, SlackCall
from tests.simulation.oracle.values import Destination, Violation
from tests.simulation.oracle.world import World

_SOON = timedelta(seconds=10)


def judge_clusters(world: World) -> Iterator[Violation]:
    """Judge every message about a cluster."""
    sent: dict[Destination, list[tuple[SlackCall | Mail, Item]]] = {}
    messages = world.h.messages
    for message in sorted(messages, key=lambda each: each.time):
        items = [item for item in message.items if item.kind == "cluster"]
        if not items or message.test:
            continue
        yield from _of_one_site(world, message, items[0])
        destination = world.destination_of(message)
        is_new = not isinstance(message, SlackCall) or message.verb == "post"
        if is_new and destination is not None:
            sent.setdefault(destination, []).append((message, items[0]))
    for destination, own in sent.items():
        yield from _twice(world, destination, own)
        for message, item in own:
            yield from _unnamed(world, destination, message, item)


def _of_one_site(world: World, message: SlackCall | Mail, item: Item) -> Iterator[Violation]:
    if len(message.items) > 1:
        yield Violation(
            "cluster_in_digest",
            "triage",
            message.time,
            "a cluster is not alone in its message",
            item.reviews,
        )
    if len({world.site_of(each) for each in item.reviews}) > 1:
        yield Violation(
            "cluster_mixed",
            "8",
            message.time,
            "a cluster names reviews of several sites",
            item.reviews,
        )


def _twice(
    world: World, destination: Destination, own: list[tuple[SlackCall | Mail, Item]]
) -> Iterator[Violation]:
    """A review is of one cluster, which has one message; a repeat says so or has the same id.

    What a restore makes alerter forget, later reviews may find again.
    """
    for (one, first), (other, second) in itertools.combinations(own, 2):
        if not set(first.reviews) & set(second.reviews) or other.says_repeat:
            continue
        if world.is_forgotten(one.time, other.time):
            continue
        if isinstance(one, Mail) and isinstance(other, Mail) and one.message_id == other.message_id:
            continue
        yield Violation(
            "cluster_twice",
            "2",
            other.time,
            f"a cluster was sent to {destination} before",
            second.reviews,
        )


def _unnamed(
    world: World, destination: Destination, message: SlackCall | Mail, item: Item
) -> Iterator[Violation]:
    """It names each review that was alerted before, between the first and the last that it names."""
    if any(run.command in {"backfill", "restore"} for run in world.h.runs):
        return  # what these record silently joins no cluster
    states = [state for each in item.reviews if (state := world.review_at(each, message.time))]
    if not states:
        return
    first = min(state.created for state in states)
    last = max(state.created for state in states)
    for (review_id, where), received in world.by_review.items():
        state = world.review_at(review_id, message.time - _SOON)
        if (
            where == destination
            and review_id not in item.reviews
            and state is not None
            and any(one.item.kind == "new" and one.time < message.time - _SOON for one in received)
            and (state.site_id, state.product) == (states[0].site_id, states[0].product)
            and first <= state.created <= last
            and state.rating <= min(each.rating for each in states)
            and state.moderation != "REJECTED"
            and not (state.deleted or state.anonymized)
        ):
            yield Violation(
                "cluster_unnamed",
                "1",
                message.time,
                f"a cluster does not name {review_id}",
                item.reviews,
            )
