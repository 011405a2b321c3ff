"""Who is to receive what of each review, and who did (promises 1 to 4, triage, quiet hours).

For every path that triage allows, each destination has *slots*: notifications that it must, may or
must not receive. What it received is put into the slots; what is left over on either side is a
violation. The path with the fewest decides, so that all destinations are judged by one story.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulation.history import AlertKind, Review, SlackCall
from tests.simulation.oracle.followed import has_rested, judge_followed
from tests.simulation.oracle.reminders import judge_reminders, may_end_reminder
from tests.simulation.oracle.routed import routed, sent_by
from tests.simulation.oracle.triage import Path, Transition, Triage
from tests.simulation.oracle.values import (
    DAY,
    INFLIGHT,
    SETTLE,
    Destination,
    Received,
    Tri,
    Violation,
    has_medium,
    is_lossy,
    quiet_span,
)
from tests.simulation.oracle.world import World

SECONDS = timedelta(seconds=5)
TRIAGED = ("new", "lowered", "closed", "reminder")


@dataclass(slots=True)
class Slot:
    kinds: frozenset[AlertKind]
    transition: Transition
    until: datetime | None  # when what was not sent yet is cancelled
    tri: Tri
    used: Received | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The path that explains best what people received of a review, and what it does not explain."""

    review_id: str
    path: Path
    slots: dict[Destination, list[Slot]]
    violations: list[Violation]


def verdicts(world: World, triage: Triage) -> list[Verdict]:
    """Judge every review by its best path."""
    found = []
    for review_id, paths in triage.paths.items():
        judged = [_judge_path(world, review_id, path) for path in paths]
        found.append(min(judged, key=lambda verdict: len(verdict.violations)))
    return found


def _judge_path(world: World, review_id: str, path: Path) -> Verdict:
    slots = {
        destination: slots_of(world, review_id, path, destination)
        for destination in world.destinations
    }
    return Verdict(review_id, path, slots, list(_violations(world, review_id, path, slots)))


def _violations(
    world: World, review_id: str, path: Path, slots: dict[Destination, list[Slot]]
) -> Iterator[Violation]:
    for destination, own in slots.items():
        received = world.by_review.get((review_id, destination), [])
        yield from _match(world, review_id, path, destination, own, received)
        yield from _missing(world, review_id, destination, own)
        yield from _order(world, review_id, destination, own)
        yield from judge_reminders(world, review_id, path, destination)
    yield from _heirs(world, review_id, slots)
    posts = {
        destination: [
            slot.used.message
            for slot in own
            if slot.used and slot.used.item.kind in {"new", "lowered"}
        ]
        for destination, own in slots.items()
    }
    yield from judge_followed(world, review_id, path, posts)


# ---------------------------------------------------------------- what is due


def slots_of(world: World, review_id: str, path: Path, destination: Destination) -> list[Slot]:
    """Return what one destination is to receive of a review."""
    found = (
        _slot(world, review_id, destination, path, index) for index in range(len(path.transitions))
    )
    return [slot for slot in found if slot is not None]


def _slot(
    world: World, review_id: str, destination: Destination, path: Path, index: int
) -> Slot | None:
    transition, later = path.transitions[index], path.transitions[index + 1 :]
    state = world.version(review_id, transition.state)
    if state is None or transition.change == "edited":
        return None
    if transition.change == "closed":
        closes = _closing(world, review_id, destination, transition)
        return Slot(frozenset({"closed"}), transition, None, closes)
    until = next((each.time for each in later if each.change == "closed"), None)
    if transition.change == "reopened":
        rested = index > 0 and has_rested(world, path.transitions[index - 1].time, transition.time)
        return _asking_again(world, destination, transition, until, state, rested=rested)
    tri = routed(world, destination, transition, until, state)
    kinds: set[AlertKind] = {"lowered"} if transition.change == "lowered" else {"new"}
    if transition.or_lowered:
        kinds.add("lowered")
    return Slot(frozenset(kinds), transition, until, tri)


def _asking_again(
    world: World,
    destination: Destination,
    transition: Transition,
    until: datetime | None,
    state: Review,
    *,
    rested: bool,
) -> Slot:
    """Return what is due of a review that is open again.

    Where the `new` was sent, its Slack message asks again, by mail one reminder; where it was not:
    `new`. Of a review that rested for `keep` it is forgotten who was sent what.
    """
    sent = was_sent(world, state.review_id, destination, transition.time)
    if sent == "must" and not _had_alert(world, state.review_id, destination, transition.time):
        sent = "may"  # nothing but an escalation
    kinds: frozenset[AlertKind] = frozenset({"reminder"})
    tri = routed(
        world, destination, transition, until, state, was_sent=sent == "must" and not rested
    )
    if sent == "not":
        kinds = frozenset({"new"})
    elif sent == "may":
        kinds, tri = frozenset({"new", "reminder"}), "may" if tri == "must" else tri
    elif destination.medium != "email":
        tri = "may"
    return Slot(kinds, transition, until, tri)


def _had_alert(world: World, review_id: str, destination: Destination, when: datetime) -> bool:
    """Return whether a destination received a `new` or `lowered`, or an entry that stands for one."""
    return any(
        one.item.kind in {"new", "lowered"} or one.in_digest
        for one in world.received_by(review_id, destination)
        if one.time < when
    )


def was_sent(world: World, review_id: str, destination: Destination, when: datetime) -> Tri:
    """Return whether a destination had received an alert of a review by a time."""
    times = [
        one.time for one in world.received_by(review_id, destination) if one.item.kind in TRIAGED
    ]
    if any(time < when - INFLIGHT for time in times):
        return "may" if world.may_be_unknown(review_id, destination, when) else "must"
    return "may" if any(time <= when + INFLIGHT for time in times) else "not"


def _closing(world: World, review_id: str, destination: Destination, transition: Transition) -> Tri:
    """`closed` with the reason; not to a receiver that was sent nothing; silent where only the
    threshold changed.
    """
    sent = was_sent(world, review_id, destination, transition.time)
    if sent == "not" or transition.reasons == {"threshold"}:
        return "not"
    site = world.site_of(review_id)
    wanted: set[bool | None] = set()
    for config in world.configs_between(transition.time - INFLIGHT, world.h.end):
        receiver = config.receiver(destination.receiver)
        # One that moved to another medium has a destination that was sent nothing.
        fits = (
            receiver is not None
            and has_medium(receiver, destination.medium)
            and (not receiver.sites or site in receiver.sites)
        )
        # Programs need the end of what they were notified of: docs/webhook-receivers.md. On Slack
        # `closings` adds none, as the message itself says that its review is closed: docs/lifecycle.md
        asked = receiver is not None and receiver.closings and destination.medium != "slack"
        takes = asked or (receiver is not None and destination.medium == "webhook")
        wanted.add(takes if fits else None)
    if wanted == {True} and sent == "must" and "threshold" not in transition.reasons:
        return "must"
    if True in wanted or destination.medium == "slack":
        return "may"  # on Slack a closing may always stand in the thread
    return "not"


# ---------------------------------------------------------------- what came


def _match(
    world: World,
    review_id: str,
    path: Path,
    destination: Destination,
    slots: list[Slot],
    received: list[Received],
) -> Iterator[Violation]:
    for one in received:
        kind = one.item.kind
        if one.copy or kind not in {"new", "lowered", "closed", "reminder"}:
            continue
        open_slots = [slot for slot in slots if _takes(world, slot, one)]
        fitting = [
            slot
            for slot in open_slots
            if slot.used is None and _has_details(world, review_id, slot, one)
        ]
        if kind == "closed" and not any(slot.tri == "must" for slot in fitting):
            doubted = [slot for slot in slots if _may_show_end(world, review_id, slot, one)]
            fitting = doubted or fitting
        if fitting:
            fitting[0].used = one
            yield from _how(world, review_id, destination, fitting[0], one)
        elif (
            kind != "reminder"
            and not may_end_reminder(world, review_id, path, destination, one)
            and not _is_excused(world, review_id, destination, slots, one)
        ):
            yield _unexpected(world, review_id, path, destination, slots, one)


def _takes(world: World, slot: Slot, one: Received) -> bool:
    if (
        one.item.kind not in slot.kinds
        or slot.tri == "not"
        or one.time < slot.transition.time - SECONDS
    ):
        return False
    if slot.until is None or one.time <= slot.until + INFLIGHT:
        return True
    # In doubt when it was closed: it may be repeated still.
    return (
        bool(world.faults_of(one.destination, slot.transition.time, slot.until))
        and one.message.says_repeat
    )


def _may_show_end(world: World, review_id: str, slot: Slot, one: Received) -> bool:
    """Return whether this may be an alert in doubt, sent again after its review was closed."""
    start, until, destination = slot.transition.time, slot.until, one.destination
    if slot.used is not None or slot.tri == "not" or until is None or one.time < until - SECONDS:
        return False
    if destination.medium == "slack" and not one.message.says_repeat:
        return False  # Slack was searched for it: it has not arrived, and is cancelled
    faults = world.faults_of(destination, start, one.time, review_id)
    lost = any(map(is_lossy, faults)) or world.kills_between(start, one.time) > 0
    soon = one.time <= until + INFLIGHT or bool(world.faults_of(destination, until, one.time))
    return lost and soon and not _is_certain(world, review_id, destination, slot)


def _has_details(world: World, review_id: str, slot: Slot, one: Received) -> bool:
    item, transition = one.item, slot.transition
    if item.kind == "closed":
        return item.reason is None or item.reason in transition.reasons
    # A message shows the rating that the review has when it leaves.
    ratings = {
        event.after.rating
        for event in world.events[review_id]
        if event.after.version >= transition.state and event.time <= one.time
    }
    fell = item.kind == "lowered" and "new" not in slot.kinds
    rightly = not fell or item.before in {None, transition.before}
    return rightly and (item.after is None or item.after in ratings)


def _is_excused(
    world: World, review_id: str, destination: Destination, slots: list[Slot], one: Received
) -> bool:
    """Return whether a restore or `forget` may have made alerter forget that it was sent, or it is
    judged elsewhere.
    """
    config = world.config_at(one.time)
    receiver = config.receiver(destination.receiver) if config else None
    if receiver is not None and receiver.sites and world.site_of(review_id) not in receiver.sites:
        return True  # `foreign` says so
    starts = [slot.transition.time for slot in slots] or [one.time]
    return any(world.is_forgotten(start, one.time) for start in starts)


def _unexpected(
    world: World,
    review_id: str,
    path: Path,
    destination: Destination,
    slots: list[Slot],
    one: Received,
) -> Violation:
    kind = one.item.kind
    concerns = (review_id, *destination, kind)
    same = [slot for slot in slots if kind in slot.kinds]
    if any(slot.used is None and _takes(world, slot, one) for slot in same):
        return Violation(
            "wrong_details",
            "triage",
            one.time,
            f"{kind} does not say what happened: {one.item}",
            concerns,
        )
    if any(slot.used is not None for slot in same):
        return Violation(
            "repeated",
            "2",
            one.time,
            f"{kind} once more, without saying that it may be a repeat",
            concerns,
        )
    if kind == "new" and not path.transitions and path.known.status == "baseline":
        return Violation("past", "3", one.time, "the past was alerted", concerns)
    if kind == "closed":
        return Violation(
            "closed_to_none",
            "triage",
            one.time,
            "closed, to one that is to receive no closing",
            concerns,
        )
    if any(slot.until is not None and one.time > slot.until for slot in same):
        return Violation(
            "after_closing",
            "triage",
            one.time,
            f"{kind} left after the review was closed",
            concerns,
        )
    return Violation("not_due", "triage", one.time, f"{kind} was not due", concerns)


def _how(
    world: World, review_id: str, destination: Destination, slot: Slot, one: Received
) -> Iterator[Violation]:
    """Judge when and how a rightful notification came."""
    concerns = (review_id, *destination, one.item.kind)
    transition = slot.transition
    due = _due(world, review_id, destination, slot, one.time)
    opening = next(world.openings(destination, due, one.time, review_id), None)
    is_late = opening is not None and one.time > opening + world.late + INFLIGHT
    if (
        slot.tri == "must"
        and opening is not None
        and is_late
        and not _was_retried(world, slot, one)
        and not world.is_forgotten(transition.time, one.time)
    ):
        what = f"due at {due:%m-%d %H:%M}, and nothing was in its way from {opening:%m-%d %H:%M} on"
        yield Violation("late", "6", one.time, what, concerns)
    if one.item.kind != "closed" and not _may_be_sent(world, review_id, slot, one):
        yield Violation(
            "not_due",
            "triage",
            one.time,
            f"{one.item.kind} does not fit its receiver any more",
            concerns,
        )
    # The data of a webhook has no sentences.
    words = destination.medium != "webhook"
    if one.item.kind == "new" and len(one.message.items) == 1 and words:
        if transition.older is True and not one.item.says_older:
            yield Violation(
                "older_unsaid",
                "triage",
                one.time,
                "does not say that the review is older",
                concerns,
            )
        if transition.older is False and one.item.says_older:
            yield Violation(
                "older_unsaid", "triage", one.time, "says older of a review that is not", concerns
            )
    if _is_in_quiet(world, review_id, slot, one):
        yield Violation("quiet", "triage", one.time, "came in the quiet hours", concerns)


def _is_in_quiet(world: World, review_id: str, slot: Slot, one: Received) -> bool:
    if isinstance(one.message, SlackCall) and one.message.in_thread:
        return False  # beneath an old message nobody is woken
    if slot.transition.backfill is not None:
        return False  # a person asked for it now
    start = slot.transition.time
    if list(world.faults(("clock_step",), start - DAY, one.time)):
        return False
    ratings = [event.after.rating for event in world.events[review_id]]
    for config in world.configs_between(start - INFLIGHT, one.time):
        receiver = config.receiver(one.destination.receiver)
        if receiver is None:
            return False
        span = quiet_span(receiver, one.time)
        urgent = (
            receiver.urgent_max_rating is not None and min(ratings) <= receiver.urgent_max_rating
        )
        if (
            span is None
            or urgent
            or not (span[0] + INFLIGHT <= start and one.time < span[1] - INFLIGHT)
        ):
            return False
    return True


def _may_be_sent(world: World, review_id: str, slot: Slot, one: Received) -> bool:
    """Return whether a receiver may still get this, by the configs in force when it came."""
    states = [
        event.after
        for event in world.events[review_id]
        if event.after.version >= slot.transition.state
    ]
    configs = world.configs_between(one.time - INFLIGHT, one.time)
    escalates = any(config.escalate_to == one.destination.receiver for config in configs)
    if one.item.kind == "reminder":  # of what it was sent, whatever it is filtered by now
        site_id = states[0].site_id
        fits_site = (world.covers(config, one.destination, site_id) for config in configs)
        return escalates or any(fits_site)
    # Nothing is lost: what waits when its site leaves the config still goes to its receivers.
    fits = world.suits if one.item.kind == "new" else world.fits
    return escalates or any(
        fits(config, one.destination, state) for config in configs for state in states
    )


def _due(
    world: World, review_id: str, destination: Destination, slot: Slot, until: datetime
) -> datetime:
    state = world.version(review_id, slot.transition.state)
    rating = state.rating if state else 1
    return world.released_at(destination, rating, slot.transition.time, until)


def _was_retried(world: World, slot: Slot, one: Received) -> bool:
    """Return whether a notification had failed for good, so that `retry` sent it."""
    start, destination = slot.transition.time, one.destination
    retried = any(run.command == "retry" and start <= run.start <= one.time for run in world.h.runs)
    failed = world.may_have_failed(one.item.review_id or "", destination, start)
    return retried and failed and _said_to_have_failed(world, destination, start)


# ---------------------------------------------------------------- what did not come


def _missing(
    world: World, review_id: str, destination: Destination, slots: list[Slot]
) -> Iterator[Violation]:
    for slot in slots:
        if (
            slot.used is not None
            or slot.tri != "must"
            or not _is_certain(world, review_id, destination, slot)
        ):
            continue
        received = world.by_review.get((review_id, destination), [])
        if entry := next((one for one in received if _stands_for(slot, one)), None):
            slot.used = entry
            yield from _how(world, review_id, destination, slot, entry)
            continue
        kinds = "/".join(sorted(slot.kinds))
        when = slot.transition.time
        yield Violation("lost", "1", when, f"{kinds} never came", (review_id, *destination, kinds))


def _stands_for(slot: Slot, one: Received) -> bool:
    """Return whether a digest, which has one entry for each review, shows what came later of it."""
    return (
        slot.transition.change != "closed"
        and one.item.kind in {"lowered", "reminder"}
        and one.in_digest
        and slot.transition.time <= one.time
        and (slot.until is None or one.time <= slot.until + INFLIGHT)
    )


def _is_certain(world: World, review_id: str, destination: Destination, slot: Slot) -> bool:
    """Return whether a notification must have come, by all that was in its way."""
    start = slot.transition.time
    end = min(slot.until or world.h.end, world.cancelled_at(start))
    due = _due(world, review_id, destination, slot, end)
    if world.is_forgotten(start):
        return False
    opening = next(world.openings(destination, due, end, review_id), None)
    if opening is None or not world.may_have_failed(review_id, destination, start):
        return opening is not None
    return opening + SETTLE <= end and not _said_to_have_failed(world, destination, start)


def _said_to_have_failed(world: World, destination: Destination, start: datetime) -> bool:
    """Return whether people or `status` learned that something did not reach a receiver for good."""
    name = destination.receiver
    told = any(
        one.item.kind == "trouble"
        and one.time >= start
        and not (one.item.about or "").startswith("site:")
        for one in world.received
    )
    shown = any(
        receiver.failed
        for status in world.h.statuses
        if status.time >= start
        for receiver in status.receivers
        if receiver.name == name
    )
    return told or shown


def _order(
    world: World, review_id: str, destination: Destination, slots: list[Slot]
) -> Iterator[Violation]:
    """What one review goes through is received in the order in which it happened."""
    used = [slot for slot in slots if slot.used is not None]
    for earlier, later in itertools.pairwise(used):
        assert earlier.used is not None
        assert later.used is not None
        retried = any(run.command in {"retry", "restore"} for run in world.h.runs)
        if later.used.time < earlier.used.time and not retried:
            what = f"{later.used.item.kind} came before {earlier.used.item.kind}"
            yield Violation(
                "out_of_order", "triage", later.used.time, what, (review_id, *destination)
            )


def _heirs(
    world: World, review_id: str, slots: dict[Destination, list[Slot]]
) -> Iterator[Violation]:
    """What is cancelled because its receiver is gone goes to receivers that are new in this config
    and fit.
    """
    for destination, own in slots.items():
        for slot in own:
            start = slot.transition.time
            if slot.used or slot.until or slot.transition.change == "closed":
                continue
            state = world.version(review_id, slot.transition.state)
            if state is None or world.route(start, destination, state) != "must":
                continue
            last = min(sent_by(world, destination, start, None, state), world.h.end - SETTLE)
            for when in world.config_times(start + INFLIGHT, last):
                before, config = world.config_at(when - INFLIGHT), world.config_at(when)
                gone = config is not None and config.receiver(destination.receiver) is None
                if before is None or not gone:
                    continue
                if before.receiver(destination.receiver) is None:
                    break
                for heir in slots:
                    if (review_id, heir) in world.by_review:
                        continue
                    if (
                        _must_inherit(world, heir, state, when)
                        and not world.may_have_failed(review_id, destination, start)
                        and not world.is_forgotten(start)
                    ):
                        what = f"what {destination.receiver} did not receive before it was removed"
                        yield Violation("rerouted_lost", "1", when, what, (review_id, *heir))
                break


def _must_inherit(world: World, heir: Destination, state: Review, when: datetime) -> bool:
    """Return whether a receiver is new by the config of a time, and reached with such reviews."""
    before, end = world.config_at(when - INFLIGHT), world.h.end
    return (
        before is not None
        and before.receiver(heir.receiver) is None
        and all(world.fits(each, heir, state) for each in world.configs_between(when, end))
        and world.is_calm(heir, end - SETTLE, end, state.review_id)
    )
