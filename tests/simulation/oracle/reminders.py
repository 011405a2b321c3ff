"""Reminders: at the right spans after the alert, none after the answer, none of the past (promise
3, triage).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.simulation.history import Mail, Message, Review
from tests.simulation.oracle.holds import holds_of, judge_held, next_hold, snoozes_of
from tests.simulation.oracle.restored import skips_reminders
from tests.simulation.oracle.triage import Path
from tests.simulation.oracle.values import (
    INFLIGHT,
    MINUTE,
    WIX,
    Destination,
    Received,
    Violation,
    fault_end,
    leaves_doubt,
)
from tests.simulation.oracle.world import World

WITHIN = ("clock_step",)
SECONDS = timedelta(seconds=5)  # a webhook is answered after what came of it was sent


class Period(NamedTuple):
    """A review is open for one destination: from a transition until it is closed."""

    start: datetime
    end: datetime | None
    reopened: bool
    backfill: bool
    last_state: int


def judge_reminders(
    world: World, review_id: str, path: Path, destination: Destination
) -> Iterator[Violation]:
    """Judge the reminders that one destination received of a review."""
    came = world.by_review.get((review_id, destination), [])
    reminders = [one for one in came if one.item.kind == "reminder" and not one.copy]
    periods = _periods(path)
    for number, period in enumerate(periods):
        bases = _bases(world, review_id, destination, period)
        # What comes soon after an answer that was taken back asks again.
        later = periods[number + 1 :]
        own = [one for one in reminders if _is_within(period, one.time)]
        own = [one for one in own if not any(_is_within(each, one.time) for each in later)]
        reminders = [one for one in reminders if one not in own]
        yield from _each(world, review_id, destination, period, own)
        yield from judge_held(world, review_id, destination, period.start, own)
        own += [one for one in came if _may_stand_for_one(period, one)]
        yield from _due(world, review_id, destination, period, bases, own)
        yield from _after_snoozes(world, review_id, destination, period, bases, own)
        yield from _escalated(world, review_id, destination, period, own)
    for one in reminders:
        if not any(world.is_forgotten(period.start, one.time) for period in periods):
            concerns = (review_id, *destination)
            yield Violation(
                "reminder_after_closing",
                "triage",
                one.time,
                "reminder of a review that is not open",
                concerns,
            )


def may_end_reminder(
    world: World, review_id: str, path: Path, destination: Destination, one: Received
) -> bool:
    """Return whether this may be a reminder in doubt, sent again after its review was closed: it
    shows that by then.
    """
    for period in _periods(path):
        end = period.end
        if one.item.kind != "closed" or end is None or one.time < end - SECONDS:
            continue
        soon = one.time <= end + INFLIGHT or bool(world.faults_of(destination, end, one.time))
        if soon and _is_in_doubt(world, review_id, destination, period, one):
            return True
    return False


def _is_in_doubt(
    world: World, review_id: str, destination: Destination, period: Period, one: Received
) -> bool:
    """Return whether a message repeats a reminder whose answer was lost, or which was under way
    when the daemon was killed. Mails and webhooks keep their id, others say once that they repeat
    one (promise 2).
    """
    by_id = destination.medium in {"email", "webhook"}
    if not by_id and not one.message.says_repeat:
        return False
    received = [each for each in world.received_by(review_id, destination) if each.time < one.time]
    came = [
        each for each in received if each.item.kind == "reminder" and _is_within(period, each.time)
    ]
    lost = [(each.time, _id_of(each.message)) for each in came if not each.message.answered]
    lost += _dropped(world, review_id, destination, period.start, one.time)
    for when, its in lost:
        again = any(each.message.says_repeat and each.time > when for each in received)
        if its == _id_of(one.message) if by_id else not again:
            return True
    first = min(_bases(world, review_id, destination, period), default=None)
    spans = _spans(world, destination, period.start, one.time)
    return first is not None and any(
        sum(first + span <= when + MINUTE for span in spans)
        > sum(each.time < when for each in came)
        for when in world.kills(period.start, one.time)
    )


def _dropped(
    world: World, review_id: str, destination: Destination, start: datetime, end: datetime
) -> list[tuple[datetime, str]]:
    """Return the attempts at a reminder that left it in doubt: when, and under which id."""
    targets: set[str] = set()
    for receiver in world.receivers_named(destination.receiver):
        targets |= receiver.targets(destination.medium)
    return [
        (attempt.time, attempt.message_id or "")
        for attempt in world.attempts_between(start, end)
        if attempt.target in targets
        and leaves_doubt(attempt)
        and any((item.kind, item.review_id) == ("reminder", review_id) for item in attempt.items)
    ]


def _id_of(message: Message) -> str:
    return message.message_id if isinstance(message, Mail) else message.ts


def _periods(path: Path) -> list[Period]:
    found: list[Period] = []
    is_open = False
    for transition in path.transitions:
        if transition.change == "closed":
            if is_open:
                found[-1] = found[-1]._replace(end=transition.time)
            is_open = False
        elif is_open and not (found[-1].backfill and transition.change == "lowered"):
            found[-1] = found[-1]._replace(last_state=transition.state)
        else:
            if is_open:  # a rating that falls after a backfill is news, and reminded of as such
                found[-1] = found[-1]._replace(end=transition.time)
            backfill = transition.backfill is not None
            found.append(
                Period(
                    transition.time,
                    None,
                    transition.change == "reopened",
                    backfill,
                    transition.state,
                )
            )
            is_open = True
    return found


def _is_within(period: Period, when: datetime) -> bool:
    return period.start - SECONDS <= when and (period.end is None or when <= period.end + INFLIGHT)


def _may_stand_for_one(period: Period, one: Received) -> bool:
    """Return whether news of a review may stand for a reminder that waited with it: a digest has
    one entry for each review.
    """
    return one.item.kind == "lowered" and one.in_digest and _is_within(period, one.time)


def _bases(
    world: World, review_id: str, destination: Destination, period: Period
) -> list[datetime]:
    """Return when the spans may have begun to count: a notification received, or the reopening,
    which quiet hours may hold everywhere but on Slack, where the first message asks again.
    """
    came = world.received_by(review_id, destination)
    first = [
        one.time
        for one in came
        if one.item.kind in {"new", "lowered"} and _is_within(period, one.time)
    ]
    if not period.reopened:
        return first
    asked = [
        one.time
        for one in came
        if one.item.kind == "reminder" and not one.copy and _is_within(period, one.time)
    ]
    return [period.start, *first, *(asked[:1] if destination.medium != "slack" else [])]


def _escalates_to(world: World, destination: Destination, start: datetime, end: datetime) -> bool:
    return any(
        config.escalate_to == destination.receiver for config in world.configs_between(start, end)
    )


def _spans(
    world: World, destination: Destination, start: datetime, end: datetime
) -> set[timedelta]:
    found: set[timedelta] = set()
    for config in world.configs_between(start - INFLIGHT, end):
        found |= set(config.reminders_after)
        if config.escalate_to == destination.receiver and config.escalate_after is not None:
            found.add(config.escalate_after)
    return found


def _each(
    world: World, review_id: str, destination: Destination, period: Period, own: list[Received]
) -> Iterator[Violation]:
    """Judge each reminder that came: not of a backfill, not early, not too many."""
    concerns = (review_id, *destination)
    bases = _bases(world, review_id, destination, period)
    holds = holds_of(world, review_id)
    snoozes = [each for each in holds if each.is_snooze]
    held = bool(snoozes)
    asked = int(_asks_at_once(world, review_id, destination, period, own))
    # A reminder that waits in quiet hours when somebody claims the review comes after the claim.
    extra = asked + (len(holds) if snoozes else 0)
    for number, one in enumerate(own):
        if world.is_forgotten(period.start, one.time):
            return
        if period.backfill and not any(each.end <= one.time for each in snoozes):
            yield Violation(
                "backfill_reminded", "3", one.time, "a backfill never reminds of the past", concerns
            )
            continue
        if period.backfill:
            continue
        spans = _spans(world, destination, period.start, one.time)
        escalated = _escalates_to(world, destination, period.start, one.time)
        first = _first_anywhere(world, review_id, period) if escalated else min(bases, default=None)
        stepped = bool(list(world.faults(WITHIN, period.start, one.time))) or held
        if first is None or (first > one.time and not period.reopened):
            yield Violation(
                "reminder_early", "triage", one.time, "reminder of what it never received", concerns
            )
        elif not stepped and not (asked and number == 0):
            due = sorted(first + span for span in spans)
            past = [when for when in due if when <= one.time + MINUTE]
            if len(past) < len(due) and number + 1 - asked > len(past):
                what = f"reminder {number + 1}, when {len(past)} of {len(due)} spans had passed"
                yield Violation("reminder_early", "triage", one.time, what, concerns)
        if number + 1 > len(spans) + extra:
            yield Violation(
                "reminder_too_many",
                "triage",
                one.time,
                f"{number + 1} for {len(spans)} spans",
                concerns,
            )


def _asks_at_once(
    world: World, review_id: str, destination: Destination, period: Period, own: list[Received]
) -> bool:
    """Return whether one reminder is for the reopening itself: on Slack at once if at all, one
    elsewhere, which quiet hours may hold.
    """
    if not period.reopened or destination.medium != "slack" or not own:
        return period.reopened
    calm = world.is_calm(destination, period.start, period.start + world.late, review_id)
    return not calm or own[0].time <= period.start + world.late


def _first_anywhere(world: World, review_id: str, period: Period) -> datetime | None:
    times = [time for one in world.destinations for time in _bases(world, review_id, one, period)]
    return min(times, default=None)


def _due(
    world: World,
    review_id: str,
    destination: Destination,
    period: Period,
    bases: list[datetime],
    own: list[Received],
) -> Iterator[Violation]:
    """Judge the reminders that did not come."""
    end = min(period.end or world.h.end, world.h.end)
    configs = world.configs_between(period.start, end)
    first_state = world.version(review_id, period.last_state)
    if not configs or first_state is None or period.backfill or world.is_forgotten(period.start):
        return
    if list(world.faults(WITHIN, period.start, end)):
        return
    if holds_of(world, review_id) or all(world.is_forgotten(base) for base in bases):
        return  # a restore may not know that the alert was sent, by `retry` for instance
    window = min(config.rescan_window for config in configs)
    changed = max(world.config_times(period.start, end), default=period.start)
    for span in configs[-1].reminders_after:
        if max(bases) + span <= changed + INFLIGHT and len(configs) > 1:
            continue  # it was due by another config, or by none
        due = world.released_at(destination, first_state.rating, max(bases) + span, end)
        due = _with_a_round(world, destination, first_state, due, end)
        opening = _first_opening(world, destination, first_state, due + MINUTE, end)
        if opening is None or opening + world.late > first_state.created + window:
            continue
        if not _fits_until(world, review_id, destination, period, opening + world.late):
            continue
        earliest, latest = min(bases) + span, opening + world.late + INFLIGHT
        if skips_reminders(world, earliest, latest):
            continue
        came = [one for one in own if earliest - MINUTE <= one.time <= latest]
        unsent = world.may_be_unknown(review_id, destination, due)
        if not came and not unsent and not world.may_have_failed(review_id, destination, due):
            what = f"no reminder {span} after the alert"
            yield Violation("reminder_missing", "triage", due, what, (review_id, *destination))


def _after_snoozes(
    world: World,
    review_id: str,
    destination: Destination,
    period: Period,
    bases: list[datetime],
    own: list[Received],
) -> Iterator[Violation]:
    """Judge the reminder that follows a snooze and did not come."""
    end = min(period.end or world.h.end, world.h.end)
    state = world.version(review_id, period.last_state)
    configs = world.configs_between(period.start, end)
    if state is None or not bases or not configs or list(world.faults(WITHIN, period.start, end)):
        return
    if world.is_forgotten(period.start) or all(world.is_forgotten(base) for base in bases):
        return
    rests = state.created + min(config.rescan_window for config in configs)
    for snooze in snoozes_of(world, review_id, period.start, end):
        due, tried = snooze.end, None
        while min(bases) <= due <= min(rests, end):
            latest = _latest_after_snooze(world, review_id, destination, period, due)
            if latest is None or any(due - MINUTE <= one.time <= latest for one in own):
                break
            if world.is_forgotten(snooze.start, latest) or skips_reminders(world, due, latest):
                break
            held = next_hold(world, review_id, snooze, due, latest)
            if held is None:
                unsent = world.may_be_unknown(review_id, destination, due)
                if not unsent and not world.may_have_failed(review_id, destination, tried or due):
                    concerns = (review_id, *destination)
                    yield Violation(
                        "snooze_forgotten", "triage", due, "no reminder after", concerns
                    )
                break
            if held.is_snooze:
                break  # the reminder that follows it is the one
            if held.start > due:
                tried = tried or due  # before it was held
            due = held.end


def _latest_after_snooze(
    world: World, review_id: str, destination: Destination, period: Period, due: datetime
) -> datetime | None:
    """Return when a reminder that is due after a snooze has come at the latest; None: it need not."""
    end = min(period.end or world.h.end, world.h.end)
    state = world.version(review_id, period.last_state)
    assert state is not None
    released = world.released_at(destination, state.rating, due, end)
    # It leaves with a round.
    later = due + max(config.poll_every for config in world.configs_between(period.start, end))
    held = world.released_at(destination, state.rating, later, end)
    start = held if held > later else released
    opening = _first_opening(world, destination, state, start + MINUTE, end)
    if opening is None or not _fits_until(
        world, review_id, destination, period, opening + world.late
    ):
        return None
    return opening + world.late + INFLIGHT


def _with_a_round(
    world: World, destination: Destination, state: Review, due: datetime, end: datetime
) -> datetime:
    """Return when a reminder may leave that is due from a time on: with the next round, which may
    be in quiet hours.
    """
    round_after = due + max(config.poll_every for config in world.configs_between(due, end))
    held = world.released_at(destination, state.rating, round_after, end)
    return held if held > round_after else due


def _first_opening(
    world: World, destination: Destination, state: Review, due: datetime, end: datetime
) -> datetime | None:
    """Return when nothing is in the way of a reminder first; quiet hours may begin while something
    is.
    """
    opening = next(_openings(world, destination, state, due, end - MINUTE), None)
    while opening is not None and opening > due:
        due = world.released_at(destination, state.rating, opening, end)
        due = _with_a_round(world, destination, state, due, end)
        opening = next(_openings(world, destination, state, due, end - MINUTE), None)
    return opening


def _openings(
    world: World, destination: Destination, state: Review, due: datetime, end: datetime
) -> Iterator[datetime]:
    """Yield when nothing is in the way of a reminder: it is of what a read has just seen to be
    unanswered.
    """
    own = [fault for fault in world.faults(WIX, due, end) if fault.site_id in {None, state.site_id}]
    for start in sorted([due, *(fault_end(fault) + MINUTE for fault in own)]):
        for opening in world.openings(destination, max(start, due), end, state.review_id):
            if world.is_site_calm(state.site_id, opening, opening + world.late):
                yield opening


def _fits_until(
    world: World, review_id: str, destination: Destination, period: Period, when: datetime
) -> bool:
    """Return whether a review stayed there, low-rated, published and fit for a destination, in all
    its states, by all configs.
    """
    states = [world.review_at(review_id, period.start)]
    states += [
        event.after for event in world.events[review_id] if period.start < event.time <= when
    ]
    return all(
        state is not None
        # It is known as rejected or gone only once a read may see that.
        and not state.is_private
        and not state.deleted
        and world.fits(config, destination, state)
        and (site := config.site(state.site_id)) is not None
        and state.rating <= site.threshold
        for config in world.configs_between(period.start, when)
        for state in states
    )


def _escalated(
    world: World, review_id: str, destination: Destination, period: Period, own: list[Received]
) -> Iterator[Violation]:
    """Judge an escalation that did not come."""
    end = min(period.end or world.h.end, world.h.end)
    configs = world.configs_between(period.start, end)
    state = world.version(review_id, period.last_state)
    bases = [time for one in world.destinations for time in _bases(world, review_id, one, period)]
    if (
        len(configs) != 1
        or state is None
        or not bases
        or period.backfill
        or world.is_forgotten(period.start)
    ):
        return
    config = configs[0]
    receiver = config.receiver(destination.receiver)
    held = bool(holds_of(world, review_id))
    if config.escalate_to != destination.receiver or receiver is None or held:
        return
    if (receiver.sites and state.site_id not in receiver.sites) or list(
        world.faults(WITHIN, period.start, end)
    ):
        return
    span = config.escalate_after or max(config.reminders_after, default=None)
    site = config.site(state.site_id)
    if span is None or site is None or state.rating > site.threshold:
        return
    due = world.released(config, destination, state.rating, max(bases) + span)
    due = _with_a_round(world, destination, state, due, end)
    latest = due + world.late + INFLIGHT
    came = [
        one
        for one in own
        if one.time >= min(bases) + span - MINUTE
        and (one.item.kind == "reminder" or one.time <= latest)
    ]
    inside = latest <= end and latest <= state.created + config.rescan_window
    inside = inside and world.is_site_calm(state.site_id, due - MINUTE, latest)
    then = world.review_at(review_id, latest)
    inside = inside and then is not None and not then.deleted  # it is of what was just read
    if inside and not came and world.is_calm(destination, due - MINUTE, latest, review_id):
        yield Violation(
            "escalation_missing",
            "triage",
            due,
            f"not escalated {span} after",
            (review_id, *destination),
        )
