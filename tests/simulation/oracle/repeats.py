"""Nothing is sent twice, but for what is in doubt (promise 2)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.simulation.history import Attempt, Item, Mail, Message, Posted, SlackCall
from tests.simulation.oracle.values import (
    DAY,
    HOUR,
    INFLIGHT,
    MINUTE,
    Destination,
    Violation,
    opposite,
)
from tests.simulation.oracle.world import World

LOOKS = timedelta(minutes=10)


def judge_repeats(world: World) -> Iterator[Violation]:
    """Judge what came again, and under which id."""
    yield from _slack_repeats(world)
    yield from _mail_copies(world)
    yield from _mail_tries(world)
    yield from _mail_ids(world)


def _had_doubt(world: World, message: Message, until: datetime) -> bool:
    """Return whether alerter may not know that a message was taken."""
    soon = message.time + INFLIGHT
    return (
        not message.answered
        or world.kills_between(message.time - INFLIGHT, soon) > 0
        or any(world.faults(("disk_full", "state_locked"), message.time - INFLIGHT, soon))
        or world.is_forgotten(message.time, until)
    )


def _slack_repeats(world: World) -> Iterator[Violation]:
    """What is in doubt is posted once more and says that it may be a repeat; what is not in doubt
    never.
    """
    posts: dict[tuple[Destination, tuple[object, ...]], list[SlackCall | Posted]] = {}
    chats = [call for call in world.h.posted if call.medium != "webhook"]
    calls: list[SlackCall | Posted] = [*world.h.slack, *chats]
    for call in calls:
        destination = world.destination_of(call) if call.items and not call.test else None
        if destination is None or call.items[0].kind == "cluster":
            continue
        concerns = (*destination, *(item.review_id or item.kind for item in call.items))
        key = (destination, _what(call.items))
        earlier = posts.setdefault(key, [])
        if (over := (destination, _what(opposite(call.items)))) != key:
            posts.pop(over, None)
        if call.says_repeat:
            yield from _repeat(world, destination, call, earlier, concerns)
        earlier.append(call)


def _what(items: tuple[Item, ...]) -> tuple[object, ...]:
    return tuple((item.kind, item.review_id, item.about, item.number) for item in items)


def _repeat(
    world: World,
    destination: Destination,
    call: SlackCall | Posted,
    earlier: list[SlackCall | Posted],
    concerns: tuple[str, ...],
) -> Iterator[Violation]:
    retried = any(
        run.command in {"retry", "restore"} and run.start <= call.time for run in world.h.runs
    )
    if not earlier:
        lost = world.faults_of(destination, call.time - DAY, call.time)
        if not lost and world.kills_between(call.time - DAY, call.time) == 0 and not retried:
            yield Violation(
                "repeat_unfounded",
                "2",
                call.time,
                "says that it may be a repeat, of nothing",
                concerns,
            )
        return
    first = earlier[-1]
    if first.says_repeat and not retried:
        yield Violation("repeated", "2", call.time, "posted more than once more", concerns)
    elif not _had_doubt(world, first, call.time):
        yield Violation(
            "repeated", "2", call.time, "repeats what alerter knew to be there", concerns
        )
    elif (
        isinstance(call, SlackCall)
        and call.time < first.time + LOOKS - MINUTE
        and not retried
        and not _is_blind(world, call.time)
    ):
        yield Violation(
            "repeat_early", "2", call.time, "repeated before ten minutes of looking", concerns
        )


def _is_blind(world: World, when: datetime) -> bool:
    """Return whether Slack does not let alerter look at all, or its clock is wrong."""
    refused = (fault.method is not None and fault.method.startswith("conversations.") for fault in world.h.faults
               if fault.start - INFLIGHT <= when <= fault.end + HOUR)  # fmt: skip
    return any(refused) or any(world.faults(("clock_step",), when - HOUR, when))


def _mail_copies(world: World) -> Iterator[Violation]:
    """A mail whose answer was lost goes out at most three times in all, 5 s and 60 s apart, under
    one Message-ID.
    """
    taken: dict[tuple[str, str], list[Mail]] = {}
    retries = [run.start for run in world.h.runs if run.command == "retry"]
    for mail in [*world.h.mails, *_webhooks(world)]:
        for address in mail.taken_for:
            earlier = taken.setdefault((mail.message_id, address), [])
            retried = (
                any(earlier[-1].time <= when <= mail.time for when in retries) if earlier else False
            )
            concerns = (address, mail.message_id)
            if earlier and not retried:
                if not _had_doubt(world, earlier[-1], mail.time):
                    yield Violation(
                        "repeated", "2", mail.time, "a mail that was taken went out again", concerns
                    )
                least = timedelta(seconds=4) if len(earlier) == 1 else timedelta(seconds=50)
                stepped = any(world.faults(("clock_step",), earlier[-1].time, mail.time))
                if mail.time - earlier[-1].time < least and not stepped:
                    yield Violation(
                        "mail_hurried",
                        "2",
                        mail.time,
                        "a mail in doubt went out again too soon",
                        concerns,
                    )
            earlier.append(mail)
            if len(earlier) == 1 + 3 * (
                1 + sum(earlier[0].time <= when <= mail.time for when in retries)
            ):
                yield Violation(
                    "mail_too_often", "2", mail.time, f"taken {len(earlier)} times", concerns
                )


def _webhooks(world: World) -> list[Mail]:
    """Return the webhooks as mails: each is retried in the same way, under one id."""
    return [
        Mail(one.time, one.ts, (one.address,), one.items, answered=one.answered)
        for one in world.h.posted
        if one.medium == "webhook"
    ]


def _mail_tries(world: World) -> Iterator[Violation]:
    """At most three in all (refusals are not counted), whether the server took them or not."""
    tries: dict[tuple[str, str], list[datetime]] = {}
    for attempt in world.h.attempts:
        if attempt.service != "wix" and _is_lost_id(attempt):
            tries.setdefault((attempt.message_id, attempt.target), []).append(attempt.time)
    for mail in [*world.h.mails, *_webhooks(world)]:
        for address in () if mail.answered else mail.taken_for:
            tries.setdefault((mail.message_id, address), []).append(mail.time)
    for (message_id, address), times in tries.items():
        retries = sum(run.command == "retry" and run.start >= min(times) for run in world.h.runs)
        if len(times) > 3 * (1 + retries):
            concerns = (address, message_id)
            yield Violation(
                "mail_too_often",
                "2",
                max(times),
                f"{len(times)} tries whose answer was lost",
                concerns,
            )


def _is_lost_id(attempt: Attempt) -> bool:
    """Return whether an attempt to send under an id of its own had no answer."""
    service = attempt.service == "smtp" or attempt.target.startswith("webhook")
    return service and bool(attempt.message_id) and attempt.outcome == "dropped"


def _mail_ids(world: World) -> Iterator[Violation]:
    """A mail whose answer was lost goes out again under its Message-ID, by `retry` too."""
    doubtful: dict[tuple[str, str, str | None], tuple[datetime, str]] = {}
    for attempt in world.h.attempts:
        if attempt.service == "smtp" and attempt.outcome == "dropped" and attempt.message_id:
            for item in attempt.items:
                doubtful.setdefault(
                    (attempt.target, item.kind, item.review_id), (attempt.time, attempt.message_id)
                )
    for mail in world.h.mails:
        for address in mail.taken_for:
            for item in mail.items:
                when, message_id = doubtful.get(
                    (address, item.kind, item.review_id), (mail.time, mail.message_id)
                )
                same = (
                    message_id == mail.message_id
                    or item.review_id is None
                    or item.kind == "reminder"
                )
                if when < mail.time and not same and not world.is_forgotten(when, mail.time):
                    what = f"in doubt as {message_id}, and sent again under another Message-ID"
                    yield Violation(
                        "other_message_id", "2", mail.time, what, (address, mail.message_id)
                    )
