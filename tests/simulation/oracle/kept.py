"""What is read in time, and what is kept no longer than allowed (promises 4 and 9)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.simulation.history import Config, Posted, Review, ReviewEvent, SlackCall
from tests.simulation.oracle.triage import Triage
from tests.simulation.oracle.values import (
    DAY,
    ERASES,
    HOUR,
    INFLIGHT,
    MINUTE,
    SETTLE,
    Destination,
    Received,
    Violation,
    addresses_of,
    fault_end,
)
from tests.simulation.oracle.world import World

FORBIDDEN = "wix_private_forbidden"
NOW_AND_THEN = timedelta(days=14)  # "old ids are asked for now and then": the design names no span


def judge_kept(world: World, triage: Triage) -> Iterator[Violation]:
    """Judge reading, erasure and keeping."""
    for events in world.events.values():
        yield from _not_read(world, triage, events)
        yield from _erased(world, triage, events)
        yield from _said_after_erasure(world, events)
    yield from _kept_too_long(world)
    yield from _erased_falsely(world, triage)


def opportunity(config: Config) -> timedelta:
    """Return in what time a calm site's recent reviews are surely all read again."""
    return 2 * (config.rescan_every + config.poll_every) + 10 * MINUTE


# ---------------------------------------------------------------- promise 4


def _not_read(world: World, triage: Triage, events: list[ReviewEvent]) -> Iterator[Violation]:
    """Spans overlap, and a rescan reads the recent past again: what lasts is seen, however late it
    turned up.
    """
    followed = False  # the state before was low-rated and is on record: it may be open
    for number, event in enumerate(events):
        state = event.after
        start = max(event.time, state.visible_from or event.time)
        end = events[number + 1].time if number + 1 < len(events) else world.h.end
        configs = world.configs_between(start, end)
        if state.deleted or not configs:
            continue
        if followed and (
            # What is open above a lowered threshold is closed without a read.
            fell := triage.fell_below(state.site_id, events[number - 1].after.rating, start, end)
        ):
            end = fell
        sites = [config.site(state.site_id) for config in configs]
        low = all(site is not None and state.rating <= site.threshold for site in sites)
        private = state.is_private and not all(
            site is not None and site.may_read_private for site in sites
        )
        watched = all(site is not None for site in sites)
        if watched and (low or followed) and not private and not _is_imported(state):
            window = min(config.rescan_window for config in configs)
            wait = max(opportunity(config) for config in configs)
            opening = _calm_opening(
                world, state, start, min(end, state.created + window - DAY), wait
            )
            if opening is not None and not _was_shown(world, state, opening + wait):
                what = f"could be read from {opening:%m-%d %H:%M} on, and was not in {wait}"
                yield Violation(
                    "not_read",
                    "4",
                    opening + wait,
                    what,
                    (state.review_id, f"version {state.version}"),
                )
        followed = low and _is_on_record(world, triage, state, end)


def _is_imported(state: Review) -> bool:
    return state.review_date is not None and state.review_date < state.created


def _calm_opening(
    world: World, state: Review, start: datetime, end: datetime, wait: timedelta
) -> datetime | None:
    """Return the beginning of a span in which a review could be read without hindrance.

    A clock that is wrong hinders no read; when it is set, rounds may be late.
    """
    clock_set = [
        when
        for fault in world.h.faults
        if fault.kind == "clock_step"
        for when in (fault.start, fault.end)
    ]
    starts = (
        [start]
        + [when + INFLIGHT + MINUTE for when, _ in world.in_force]
        + [fault_end(fault) + HOUR + MINUTE for fault in world.h.faults]
        + [fault_end(fault) + DAY + HOUR for fault in world.h.faults if fault.kind == FORBIDDEN]
        + [when + 5 * MINUTE for when in clock_set]
    )
    for when in sorted(starts):
        if when < start or when + wait > end:
            continue
        calm = world.is_site_calm(
            state.site_id, when - MINUTE, when + wait, wrong_clock=True
        ) and not any(when - 5 * MINUTE < at <= when + wait for at in clock_set)
        # After repeated refusals Wix is asked for unpublished reviews once a day.
        forbidden = list(world.faults((FORBIDDEN,), when - DAY, when + wait))
        one_config = len(world.configs_between(when - INFLIGHT, when + wait)) == 1
        if calm and one_config and not (state.is_private and forbidden):
            return when
    return None


def _was_shown(world: World, state: Review, end: datetime) -> bool:
    first = world.first_shown.get((state.review_id, state.version))
    return first is not None and first <= end


def _is_on_record(world: World, triage: Triage, state: Review, end: datetime) -> bool:
    """Return whether a state was read and surely written down, or came by a webhook that was taken."""
    seen = triage.seen.sightings.get(state.review_id, [])
    read = any(one.sure and one.version == state.version and one.time <= end for one in seen)
    return read or any(
        hook.taken and (hook.review_id, hook.version) == (state.review_id, state.version)
        for hook in world.h.webhooks
        if hook.time <= end
    )


# ---------------------------------------------------------------- what Slack shows


def standing(world: World, when: datetime) -> dict[tuple[str, str], str]:
    """Return the text of every message that stands in a channel at a time."""
    found: dict[tuple[str, str], str] = {}
    calls: list[SlackCall | Posted] = [
        *world.h.slack,
        *(one for one in world.h.posted if one.medium == "discord"),  # which can be changed
    ]
    for call in calls:
        if call.time > when:
            continue
        if call.verb == "delete":
            found.pop((call.channel, call.ts), None)
        elif call.verb == "post" or (call.channel, call.ts) in found:
            found[call.channel, call.ts] = call.text
    return found


# ---------------------------------------------------------------- promise 9


def _erasure(world: World, events: list[ReviewEvent]) -> tuple[datetime, set[str]] | None:
    """Return when a review that alerter knew was deleted or anonymized, and the words that have to
    go.
    """
    for number, event in enumerate(events):
        if event.change in {"deleted", "anonymized"}:
            shown = [
                world.first_shown.get((one.after.review_id, one.after.version))
                for one in events[:number]
            ]
            words = {word for one in events if one.time <= event.time for word in one.after.words}
            later = {word for one in events if one.time > event.time for word in one.after.words}
            return (event.time, words - later) if any(shown) else None
    return None


def _erased(world: World, triage: Triage, events: list[ReviewEvent]) -> Iterator[Violation]:
    """A review deleted or anonymized at Wix loses its text: database, write-ahead log, Slack
    messages.
    """
    erasure = _erasure(world, events)
    if erasure is None:
        return
    erased, words = erasure
    first = events[0].after
    configs = world.configs_between(erased, world.h.end)
    if not configs or "unknown" in triage.known_at(first.review_id, erased):
        return
    if not all(config.site(first.site_id) for config in configs):
        return
    wait = max(opportunity(config) for config in configs) + 2 * HOUR
    window = min(config.rescan_window for config in configs)
    followed = (
        triage.known_at(first.review_id, erased) == {"open"}
        and erased + wait <= first.created + window
    )
    if not followed and not _was_announced(world, first.review_id):
        wait = max(wait, NOW_AND_THEN)
    restores = [
        run.end or run.start
        for run in world.h.runs
        if run.command == "restore" and run.start >= erased
    ]
    since = max([erased, *restores])
    for sample in world.h.storage:
        places = {
            place
            for review_id, word, place in sample.found
            if review_id == first.review_id and word in words
        }
        if (
            places
            and sample.time >= since + wait
            and _is_readable(world, first.site_id, since, since + wait)
        ):
            found = " and ".join(sorted(places))
            what = f"its words stand in {found}, {sample.time - erased} after it was erased"
            yield Violation("words_kept", "9", sample.time, what, (first.review_id,))
            break
    last = _last_stir(world, first.review_id, erased - INFLIGHT) or erased
    kept = min(config.keep for config in world.configs_between(last, since + wait))
    # Of what was at rest for so long before alerter knew, the messages are forgotten.
    if followed or last + kept > since + wait:
        yield from _erased_on_slack(world, first, since, wait, words)


def _was_announced(world: World, review_id: str) -> bool:
    """Return whether a webhook told alerter of the erasure."""
    own = [hook for hook in world.h.webhooks if hook.review_id == review_id and hook.taken]
    return any(hook.event == "deleted" or hook.anonymize for hook in own)


def _is_readable(world: World, site_id: str, start: datetime, end: datetime) -> bool:
    return world.is_site_calm(site_id, start - MINUTE, end) and not any(
        world.faults((FORBIDDEN,), start - DAY, end)
    )


def _erased_on_slack(
    world: World, first: Review, since: datetime, wait: timedelta, words: set[str]
) -> Iterator[Violation]:
    known = since + wait
    if not _is_readable(world, first.site_id, since, known) or not world.alive_throughout(
        since, known
    ):
        return
    refused = [fault.end for fault in world.faults(ERASES, since, known + SETTLE)]
    latest = max(refused, default=known)
    refused += [fault.end for fault in world.faults(ERASES, latest, latest + DAY)]
    deadline = max([known + SETTLE, *(end + DAY + SETTLE for end in refused)])
    again = [fault for fault in world.faults(ERASES, known, deadline) if fault.end not in refused]
    if (
        deadline <= world.h.end
        and not again
        and world.alive_throughout(deadline - DAY - SETTLE, deadline)
    ):
        for channel, ts in _stand(world, deadline, since, words):
            yield Violation(
                "words_stand", "9", deadline, f"its words stand in {channel}", (first.review_id, ts)
            )
    told = known + SETTLE + DAY
    if (
        told < min(latest, world.h.end)
        and _stand(world, told, since, words)
        and not _knows(world, since, told)
    ):
        what = "its words stand on Slack, and nobody was told"
        yield Violation("erasure_silent", "9", told, what, (first.review_id,))


def _stand(world: World, when: datetime, since: datetime, words: set[str]) -> list[tuple[str, str]]:
    """Return the messages of receivers of the config that show any of these words.

    A restored backup does not know the messages that were posted after it was made.
    """
    configs = world.configs_between(since - DAY, when)
    unknown = {
        (call.channel, call.ts)
        for call in (*world.h.slack, *world.h.posted)
        if call.verb == "post" and call.time <= when and world.is_forgotten(call.time, when)
    }
    found = []
    for place, text in standing(world, when).items():
        owner = world.thread_owners.get(place)
        kept = owner is not None and all(
            (receiver := config.receiver(owner.receiver))
            and (owner.medium == "slack" or place[0] in receiver.targets(owner.medium))
            for config in configs
        )
        if kept and place not in unknown and any(word in text for word in words):
            found.append(place)
    return found


def _knows(world: World, since: datetime, told: datetime) -> bool:
    """Return whether anybody was told of an erasure that is refused, or could not be told."""
    last: dict[tuple[Destination, str], Received] = {}
    for one in world.received:
        if one.item.kind == "trouble" and one.time <= told:
            last[one.destination, one.item.about or ""] = one
        elif one.item.kind == "recovered" and one.time < since - DAY:
            last.pop((one.destination, one.item.about or ""), None)
    about = [about for _, about in last]
    config = world.config_at(told)
    able = config is not None and any(
        receiver.trouble
        and receiver.emails
        and world.is_calm(Destination(receiver.name, "email"), since, told)
        for receiver in config.receivers
    )
    return not able or any(
        one.startswith(("erasure:", "receiver:", "slack", "other:")) for one in about
    )


def _said_after_erasure(world: World, events: list[ReviewEvent]) -> Iterator[Violation]:
    """Nobody receives the words of a review that is known to be erased."""
    erasure = _erasure(world, events)
    if erasure is None:
        return
    erased, words = erasure
    review_id = events[0].after.review_id
    known = [hook.time for hook in world.h.webhooks
             if hook.review_id == review_id and hook.taken and (hook.event == "deleted" or hook.anonymize)]  # fmt: skip
    config = world.config_at(erased)
    if config is None:
        return
    wait = opportunity(config) + 2 * HOUR
    read = (
        erased + wait
        if _is_readable(world, events[0].after.site_id, erased, erased + wait)
        else None
    )
    latest = read or (min(known) + wait if known else None)
    if latest is None:
        return
    messages = [(call.time, call.text) for call in world.h.slack if call.verb != "delete"]
    messages += [(mail.time, mail.text) for mail in world.h.mails]
    messages += [(one.time, one.text) for one in world.h.posted if one.verb != "delete"]
    for when, text in messages:
        if when > latest and any(word in text for word in words):
            yield Violation(
                "words_sent", "9", when, "words of an erased review were sent", (review_id,)
            )


def _kept_too_long(world: World) -> Iterator[Violation]:
    """What is at rest for `keep` loses its text too, open or not."""
    for sample in world.h.storage:
        configs = world.configs_between(sample.time - 2 * DAY, sample.time)
        if not configs or not world.alive_throughout(sample.time - 2 * DAY, sample.time):
            continue
        if list(
            world.faults(
                ("disk_full", "state_locked", "clock_step"), sample.time - 3 * DAY, sample.time
            )
        ):
            continue
        restored = any(
            run.command in {"restore", "backfill"} and run.start > sample.time - 3 * DAY for run in world.h.runs
        )  # fmt: skip
        longest = max(config.keep + config.rescan_window for config in configs) + 2 * DAY
        for review_id in sorted({review_id for review_id, _, _ in sample.found}):
            last = _last_stir(world, review_id, sample.time)
            if last is None or last >= sample.time - longest or restored:
                continue
            if not _has_failed(world, review_id, sample.time):
                what = f"its words are kept {sample.time - last} after its last change"
                yield Violation("kept_too_long", "9", sample.time, what, (review_id,))


def _has_failed(world: World, review_id: str, when: datetime) -> bool:
    """Return whether a message about a review may have failed: a service did not surely take it,
    and `status` shows a failed delivery of its receiver. It waits for a `retry` (promise 1).
    """
    shown = [status for status in world.h.statuses if status.time <= when]
    names = {one.name for one in shown[-1].receivers if one.failed} if shown else set()
    targets = {
        target
        for name in names
        for receiver in world.receivers_named(name)
        for target in receiver.all_targets
    }
    refused = [(one.items, {one.target}) for one in world.h.attempts if one.time <= when]
    unanswered = [
        (one.items, addresses_of(one))
        for one in world.h.messages
        if one.time <= when and not one.answered
    ]
    return any(
        not targets.isdisjoint(to)
        and any(review_id in (item.review_id, *item.reviews) for item in items)
        for items, to in (*refused, *unanswered)
    )


def _last_stir(world: World, review_id: str, when: datetime) -> datetime | None:
    """Return when anything happened to a review last, at Wix or towards people.

    Also when a version of it was read first: a raised threshold records reviews that are old.
    """
    events = [event for event in world.events.get(review_id, []) if event.time <= when]
    times = [event.time for event in events]
    for event in events:
        shown = world.first_shown.get((review_id, event.after.version))
        times += [shown] if shown and shown <= when else []
    times += [
        one.time for one in world.received if one.item.review_id == review_id and one.time <= when
    ]
    times += [
        hook.time for hook in world.h.webhooks if hook.review_id == review_id and hook.time <= when
    ]
    return max(times, default=None)


def _erased_falsely(world: World, triage: Triage) -> Iterator[Violation]:
    """What is open, watched and not deleted keeps its text."""
    for sample in world.h.storage:
        found = {review_id for review_id, _, _ in sample.found}
        for review_id, events in world.events.items():
            first = events[0].after
            configs = world.configs_between(first.created, sample.time)
            erased = any(event.change in {"deleted", "anonymized"} for event in events)
            if review_id in found or not first.words or erased or not configs:
                continue
            rests = any(
                sample.time > first.created + min(c.rescan_window, c.keep) - DAY for c in configs
            )
            watched = all(config.site(first.site_id) for config in configs)
            forgotten = world.has_restored(sample.time)
            if rests or not watched or forgotten or not any(event.after.words for event in events):
                continue
            states = triage.known_at(review_id, sample.time) | triage.known_at(
                review_id, sample.time - INFLIGHT
            )
            if states == {"open"} and not lacked_author(world, first, sample.time):
                what = "an open review lost its words, and nobody erased it"
                yield Violation("erased_falsely", "1", sample.time, what, (review_id,))


def lacked_author(world: World, first: Review, when: datetime) -> bool:
    """Return whether Wix left out the author in answers a rescan apart, as it does for the
    anonymized.
    """
    faults = [
        fault
        for fault in world.faults(("wix_no_author",), first.created, when)
        if fault.site_id in {None, first.site_id}
    ]
    times = [
        read.time
        for read in world.h.reads
        if any(fault.start <= read.time < fault.end for fault in faults)
        and any(review_id == first.review_id for review_id, _ in read.shown)
    ]
    configs = world.configs_between(first.created, when)
    apart = min((config.rescan_every for config in configs), default=timedelta(0))
    return bool(times) and times[-1] - times[0] >= apart - MINUTE
