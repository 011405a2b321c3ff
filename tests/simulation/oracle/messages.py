"""Rules for single messages: whose they are, repeats, pace, digests, waiting (promises 2, 5, 8;
errors in delivery).
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.simulation.history import Attempt, Mail, Message, Run
from tests.simulation.oracle.addresses import judge_addresses
from tests.simulation.oracle.notified import Slot, Verdict
from tests.simulation.oracle.repeats import judge_repeats
from tests.simulation.oracle.values import (
    DAY,
    HOUR,
    INFLIGHT,
    MACHINE,
    MINUTE,
    SETTLE,
    Violation,
    addresses_of,
)
from tests.simulation.oracle.world import World

SECOND = timedelta(seconds=1)
MOST_BEFORE = 5  # messages that may be on their way already
TOLERANCE = timedelta(milliseconds=50)
METHODS = {"post": "chat.postMessage", "update": "chat.update", "delete": "chat.delete"}
STORE = "/stores"
PARKS = {
    "channel_not_found", "is_archived", "no_permission", "not_in_channel", "access_denied", "invalid_auth",
    "account_inactive", "token_revoked", "535",
}  # fmt: skip


GONE = {"410", "404", "403", "401"}


def judge_messages(world: World, verdicts: list[Verdict]) -> Iterator[Violation]:
    """Judge every message by itself and beside its neighbours."""
    for message in world.h.messages:
        yield from _foreign(world, message)
    yield from judge_repeats(world)
    yield from judge_addresses(world)
    yield from _pace(world)
    yield from _flood(world, verdicts)
    for slot in [slot for verdict in verdicts for own in verdict.slots.values() for slot in own]:
        yield from _behind_backfill(world, slot)
    yield from _throttled(world)
    yield from _probes(world)
    yield from _strays(world)
    yield from _summaries(world)


# ---------------------------------------------------------------- promise 8


def _foreign(world: World, message: Message) -> Iterator[Violation]:
    """A receiver gets alerts and trouble of its sites only."""
    if not isinstance(message, Mail) and message.verb != "post":
        channels = {
            target
            for c in world.configs_between(message.time - INFLIGHT, message.time)
            for r in c.receivers
            for target in r.all_targets
        }
        owner = world.thread_owners.get((message.channel, message.ts))
        # One that has another name is not gone: its addresses say who it is.
        kept = owner and any(
            c.receiver(name)
            for c in world.configs_between(message.time - HOUR, message.time)
            for name in world.names_of(owner.receiver)
        )
        if not kept and message.channel not in channels:
            what = "a message of a receiver that is gone was changed"
            yield Violation("foreign", "8", message.time, what, (message.channel, message.ts))
        return
    if message.test:
        return
    destination = world.destination_of(message)
    if destination is None:
        where = ", ".join(sorted(addresses_of(message)))
        yield Violation(
            "foreign", "8", message.time, "a message to an address that no receiver has", (where,)
        )
        return
    configs = world.configs_between(message.time - INFLIGHT, message.time)
    receivers = [
        receiver for config in configs if (receiver := config.receiver(destination.receiver))
    ]
    if not receivers or any(not receiver.sites for receiver in receivers):
        return
    own = {site for receiver in receivers for site in receiver.sites}
    named = set(message.site_ids)
    named |= {
        site
        for item in message.items
        for review_id in (item.review_id, *item.reviews)
        if review_id and (site := world.site_of(review_id))
    }
    named |= {
        about[5:] for item in message.items if (about := _scope(item.about)).startswith("site:")
    }
    for site_id in sorted(named - own):
        yield Violation(
            "foreign",
            "8",
            message.time,
            "a message about another customer's site",
            (site_id, *destination),
        )
    for review_id, events in world.events.items():
        words = {word for event in events for word in event.after.words}
        if world.site_of(review_id) not in own | named and any(
            word in message.text for word in words
        ):
            what = "a message with another customer's words"
            yield Violation("foreign", "8", message.time, what, (review_id, *destination))


def _scope(about: str | None) -> str:
    return (about or "").split("/")[0]


# ---------------------------------------------------------------- promise 5


def _pace(world: World) -> Iterator[Violation]:
    """Slack gets at most one message a second a channel."""
    last: dict[str, datetime] = {}
    starts = [span.start for span in world.h.daemon]
    for call in world.h.slack:
        if call.verb != "post" or call.test:
            continue
        before = last.get(call.channel)
        last[call.channel] = call.time
        if before is None or call.time - before >= SECOND - TOLERANCE:
            continue
        if not any(before <= start <= call.time for start in starts):
            yield Violation(
                "pace", "5", call.time, f"{call.time - before} after the last", (call.channel,)
            )


def _flood(world: World, verdicts: list[Verdict]) -> Iterator[Violation]:
    """More than `burst` deliveries due at once leave as digests; one message may probe."""
    runs = {run.run_id: run for run in world.h.runs}
    for destination in world.destinations:
        if destination.medium == "webhook":
            continue  # one alert a request, also in a flood
        slots = [
            slot
            for verdict in verdicts
            for slot in verdict.slots[destination]
            if _is_bulk(slot, runs)
        ]
        over: list[datetime] = []
        for slot in slots:
            one = slot.used
            if one is None or one.in_digest:
                continue
            waiting = sum(
                other.transition.time <= one.time - 10 * SECOND and other.used is not None
                and other.used.time >= one.time for other in slots
            )  # fmt: skip
            config = world.config_at(one.time)
            if config is not None and waiting > config.burst:
                over.append(one.time)
        over.sort()
        for before, when in itertools.pairwise(over):
            refused = world.faults(
                ("slack_message_refused", "smtp_message_refused", "posted_message_refused"),
                when - DAY,
                when,
            )
            if when - before < MINUTE and not list(refused):
                yield Violation(
                    "flood",
                    "5",
                    when,
                    "single messages while more than `burst` wait",
                    tuple(destination),
                )
                break


def _behind_backfill(world: World, slot: Slot) -> Iterator[Violation]:
    """Behind `--deliver each` nothing new waits."""
    one = slot.used
    if (
        one is None
        or slot.transition.backfill is not None
        or one.item.kind not in {"new", "lowered"}
    ):
        return
    runs = [run for run in world.h.runs if run.command == "backfill" and run.deliver == "each"]
    if not runs or not world.is_calm(one.destination, slot.transition.time, one.time):
        return
    old = {
        review_id
        for review_id, events in world.events.items()
        for run in runs
        if events[0].after.created < slot.transition.time - DAY and run.start <= one.time
    }
    before = {
        (other.message.time, other.item.review_id)
        for other in world.received
        if other.destination == one.destination
        and other.item.kind == "new"
        and other.item.review_id in old
        if slot.transition.time + 5 * SECOND < other.time < one.time - 5 * SECOND
        and len(other.message.items) == 1
    }
    if len(before) > MOST_BEFORE:
        what = f"waited for {len(before)} messages of a backfill"
        yield Violation(
            "behind_backfill", "5", one.time, what, (str(one.item.review_id), *one.destination)
        )


def _is_bulk(slot: Slot, runs: dict[str, Run]) -> bool:
    if slot.used is None or slot.used.item.kind not in {"new", "lowered"}:
        return False
    run = runs.get(slot.transition.backfill or "")
    return run is None or run.deliver != "each"


# ---------------------------------------------------------------- errors in delivery


def _calls(world: World) -> list[tuple[datetime, str, str]]:
    """Return every call as (time, service and method, target)."""
    found = [
        (call.time, f"slack {METHODS[call.verb]}", call.channel)
        for call in world.h.slack
        if not call.test
    ]
    found += [
        (a.time, f"{a.service} {a.method or ''}", a.target)
        for a in world.h.attempts
        if a.by == "daemon"
    ]
    found += [
        (one.time, f"posted {'' if one.verb == 'post' else one.verb}", one.address)
        for one in world.h.posted
    ]
    found += [(read.time, "wix ", read.site_id) for read in world.h.reads if read.by == "daemon"]
    return sorted(found)


def _throttled(world: World) -> Iterator[Violation]:
    """429 with Retry-After: nothing through that method of that service before then.

    Wix throttles a site: whatever it is asked. What its store asks for holds up the store only.
    """
    calls = _calls(world)
    times = [when for when, _, _ in calls]
    for attempt in world.h.attempts:
        if attempt.retry_after is None or attempt.by != "daemon":
            continue
        until = attempt.time + min(attempt.retry_after, DAY)
        if any(world.faults(("clock_step",), attempt.time, until)) or not _is_noted(world, attempt):
            continue
        name = f"{attempt.service} {attempt.method or ''}"
        first = bisect_right(times, attempt.time + 5 * SECOND)
        last = bisect_left(times, until - 2 * SECOND)
        for when, service, target in calls[first:last]:
            wix = (
                attempt.service == "wix"
                and target == attempt.target
                and service.startswith(f"wix {STORE}" if STORE in name else "wix")
            )
            whole = attempt.service in {"slack", "smtp"} or target == attempt.target
            same = wix or (attempt.service != "wix" and whole and service == name)
            if same:
                if world.is_forgotten(attempt.time, when):
                    break
                what = f"called {when - attempt.time} after a Retry-After of {attempt.retry_after}"
                yield Violation("throttle_ignored", "errors", when, what, (name, target))
                break


def _is_noted(world: World, attempt: Attempt) -> bool:
    """Return whether alerter lived to write down what a service asked for, and could."""
    soon = attempt.time + 5 * SECOND
    return world.alive_throughout(attempt.time, soon) and not any(
        world.faults(("disk_full", "state_locked"), attempt.time, soon)
    )


def _has_parked(world: World, check: Attempt) -> bool:
    """Return whether a message was refused lately: a check that is refused parks nothing, and what
    failed otherwise is checked every five minutes.
    """
    return any(
        attempt.target and attempt.outcome in PARKS and attempt.method == METHODS["post"]
        for attempt in world.attempts_between(check.time - DAY, check.time)
    )


def _probes(world: World) -> Iterator[Violation]:
    """What is parked is tried with one message once an hour, at start, at reload, by `check` and by
    `retry`.
    """
    last: dict[str, Attempt] = {}
    chances = [span.start for span in world.h.daemon] + [
        version.time for version in world.h.configs
    ]
    chances += [
        run.start for run in world.h.runs if run.command in {"check", "retry", "test", "restore"}
    ]
    for attempt in world.h.attempts:
        if (
            not _parks(attempt)
            or attempt.method in {"chat.update", "chat.delete", "update", "delete"}
            or attempt.by != "daemon"
        ):
            continue
        before = last.get(attempt.target)
        last[attempt.target] = attempt
        gap = attempt.time - before.time if before else HOUR
        if before is None or gap < 5 * SECOND or gap >= HOUR - 2 * MINUTE:
            continue  # what was on its way already is no try
        if any(before.time - INFLIGHT <= when <= attempt.time for when in chances):
            continue
        if _has_worked(world, attempt, before.time):
            continue
        if not attempt.target and not _has_parked(world, attempt):
            continue
        # What cannot be written down cannot park; and by a wrong clock an hour may be over.
        if not any(world.faults(MACHINE, before.time, attempt.time)):
            what = f"tried {attempt.time - before.time} after it was parked"
            yield Violation(
                "parked_tried", "6", attempt.time, what, (attempt.target, attempt.outcome)
            )


def _parks(attempt: Attempt) -> bool:
    if attempt.service == "posted":
        return attempt.outcome in GONE
    return attempt.outcome in PARKS


def _has_worked(world: World, attempt: Attempt, since: datetime) -> bool:
    """Return whether what refused an attempt has taken a message since it was parked."""
    if attempt.service == "posted":
        taken = [(one.time, one.address) for one in world.h.posted if one.verb == "post"]
        return any(since <= when < attempt.time and to == attempt.target for when, to in taken)
    taken = [(mail.time, "") for mail in world.h.mails] if attempt.service == "smtp" else [
        (call.time, call.channel) for call in world.h.slack if call.verb == "post"
    ]  # fmt: skip
    service = attempt.outcome in {"535", "invalid_auth", "account_inactive", "token_revoked"}
    return any(
        since <= when < attempt.time and (service or to == attempt.target) for when, to in taken
    )


def _strays(world: World) -> Iterator[Violation]:
    """What was meant for a thread whose parent is gone does not stay in the channel."""
    for call in world.h.slack:
        if call.verb != "post" or call.thread_ts is None or call.in_thread or not call.answered:
            continue
        quiet = all(item.kind == "closed" for item in call.items)
        latest = call.time + SETTLE
        gone = any(
            c.verb == "delete" and c.ts == call.ts and c.channel == call.channel
            for c in world.h.slack
        )
        destination = world.destination_of(call)
        if not quiet or gone or destination is None or latest > world.h.end:
            continue
        config = world.config_at(call.time)
        known = config is not None and config.receiver(destination.receiver) is not None
        # Also with `closings`, which adds nothing on Slack: docs/lifecycle.md
        if known and world.is_calm(destination, call.time, latest):
            yield Violation(
                "stray",
                "triage",
                call.time,
                "a quiet closing stands in the channel",
                tuple(destination),
            )


def _summaries(world: World) -> Iterator[Violation]:
    """Each summary is sent once, at its time."""
    if world.h.summaries is None:
        return
    for destination in world.destinations:
        due = [one.time for one in world.h.summaries if one.receiver == destination.receiver]
        came = [
            one.time for one in world.received
            if one.destination == destination and one.item.kind == "summary" and not one.copy
        ]  # fmt: skip
        for number, when in enumerate(due):
            until = min(due[number + 1] if number + 1 < len(due) else world.h.end, when + DAY)
            in_config = all(
                c.receiver(destination.receiver) for c in world.configs_between(when, until)
            )
            opening = next(world.openings(destination, when + MINUTE, until), None)
            if opening is None or not in_config or world.may_have_failed("", destination, when):
                continue
            if not any(when - MINUTE <= time <= opening + world.late + INFLIGHT for time in came):
                yield Violation("summary_missing", "1", when, "no summary", tuple(destination))
        for number, time in enumerate(came):
            stepped = any(world.faults(("clock_step",), time - DAY, time)) or world.has_restored(
                time
            )
            if not stepped and number + 1 > sum(when <= time + MINUTE for when in due):
                yield Violation(
                    "summary_not_due", "2", time, "one summary too many", tuple(destination)
                )
