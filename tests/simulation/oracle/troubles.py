"""No silence and no noise about faults (promises 5 and 6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulation.history import Attempt, Config, Fault, Medium
from tests.simulation.oracle.trouble_receivers import judge_to_none, queued_at, scope
from tests.simulation.oracle.values import (
    DAY,
    HOUR,
    INFLIGHT,
    LATE,
    MINUTE,
    PARKING,
    SENDING,
    SETTLE,
    Destination,
    Received,
    Violation,
    addresses_of,
    fault_end,
    has_medium,
    is_lossy,
    leaves_doubt,
)
from tests.simulation.oracle.world import World

UNREAD = ("wix_down", "wix_throttled", "wix_nonsense", "wix_unauthorized", "wix_token")
DELIVERY_MARGIN = 20 * MINUTE
SCOPES = ("site:", "receiver:", "slack", "smtp", "wix", "database", "config")


@dataclass(frozen=True, slots=True)
class Due:
    """A fault that somebody has to be told of, at the latest by `until`."""

    abouts: tuple[str, ...]
    since: datetime
    until: datetime
    ends: datetime  # until then it surely lasts
    what: str
    site_id: str | None = None
    parks: bool = False


def judge_troubles(world: World) -> Iterator[Violation]:
    """Judge what was said of faults, and what was not."""
    for due in dues(world):
        yield from _silent(world, due)
    series = _series(world)
    for one in world.received:
        yield from judge_to_none(world, one)
    for (destination, about), said in series.items():
        yield from _pairs(world, destination, about, said)
        yield from _unrecovered(world, destination, about, said)
    for one in world.received:
        if one.item.kind == "trouble" and not one.copy:
            yield from _phantom(world, one)
        if one.item.kind == "recovered" and not one.copy:
            yield from _premature(world, one)


def margin(config: Config) -> timedelta:
    """Return how much later than `trouble_after` the message may come."""
    return 2 * config.poll_every + 10 * MINUTE


# ---------------------------------------------------------------- what is due


def dues(world: World) -> Iterator[Due]:
    """Yield every fault that lasted longer than `trouble_after` and kept something from being done."""
    for fault in world.h.faults:
        config = world.config_at(fault.start)
        if config is None or fault.intermittent:
            continue
        if fault.kind in UNREAD:
            yield from _unread(world, fault, config)
        elif fault.kind in {"disk_full", "state_locked"}:
            wait = config.trouble_after + margin(config)
            if fault.end - fault.start > wait and world.alive_throughout(
                fault.start, fault.end + HOUR
            ):
                told = fault.end + HOUR
                yield Due(
                    ("database",),
                    fault.start,
                    told,
                    told,
                    f"{fault.kind} since {fault.start:%m-%d %H:%M}",
                )
    yield from _refused_configs(world)
    yield from _unreached(world)


def _unread(world: World, fault: Fault, config: Config) -> Iterator[Due]:
    """Yield a due for each site that could not be read."""
    until = fault.start + max(config.trouble_after, 2 * config.poll_every) + margin(config)
    told = [
        a.time for a in world.h.attempts if a.service == "wix" and fault.start <= a.time < fault.end
    ]
    waits = (
        max(told, default=fault.start) + fault.retry_after
        if told and fault.retry_after
        else fault.end
    )
    ends = min(max(fault.end, waits), world.undisturbed_until(fault.start))
    if ends <= until or not world.alive_throughout(fault.start - MINUTE, until):
        return
    if fault.method is not None or fault.review_id is not None:
        return
    wait = until - fault.start
    for site in config.sites:
        if fault.site_id in {None, site.site_id}:
            read = _last_read(world, site.site_id, fault.start, ends)
            if read is not None and read + wait >= ends:
                continue  # it was read all the same (a token that still holds, a site that needs none)
            until = (read or fault.start) + wait
            abouts = (f"site:{site.site_id}", "wix")
            what = f"{site.name} is not read ({fault.kind})"
            yield Due(abouts, fault.start, until, ends, what, site.site_id)


def _last_read(world: World, site_id: str, start: datetime, end: datetime) -> datetime | None:
    times = [read.time for read in world.h.reads if read.site_id == site_id and read.by == "daemon"
             and read.arrived and not read.wrong and start <= read.time < end]  # fmt: skip
    return max(times, default=None)


def _refused_configs(world: World) -> Iterator[Due]:
    """Yield a due for each config that was refused at a reload and not replaced in time."""
    for number, version in enumerate(world.h.configs):
        before = world.config_at(version.time)
        if version.in_force is not None or version.how != "reload" or before is None:
            continue
        until = version.time + before.trouble_after + margin(before)
        replaced = any(later.time <= until for later in world.h.configs[number + 1 :])
        if not replaced and world.alive_throughout(version.time - MINUTE, until):
            yield Due(("config",), version.time, until, until, "a reload was refused")


def _unreached(world: World) -> Iterator[Due]:
    """Yield a due for each destination that something waited for longer than allowed."""
    for fault in world.h.faults:
        config = world.config_at(fault.start)
        if config is None or fault.intermittent or fault.kind not in SENDING or fault.review_id:
            continue
        if fault.method not in {None, "chat.postMessage"}:
            continue
        first = next((a for a in world.h.attempts if _is_stopped(fault, a)), None)
        # Its receiver may have got another name since the fault began.
        config = world.config_at(first.time) if first else None
        if first is None or config is None:
            continue
        until = first.time + DELIVERY_MARGIN
        until += timedelta(0) if fault.kind in PARKING else config.trouble_after
        end = (
            fault.end
            if fault.retry_after is None
            else max(fault.end, first.time + fault.retry_after)
        )
        ends = min(end, world.undisturbed_until(first.time), _freed_at(world, first))
        if ends <= until:
            continue
        names = [r.name for r in config.receivers if first.target in r.all_targets]
        abouts = (*(f"receiver:{name}" for name in names), first.service)
        what, parks = f"{first.target} is not reached ({fault.kind})", fault.kind in PARKING
        yield Due(abouts, first.time, until, ends, what, parks=parks)


def _is_stopped(fault: Fault, attempt: Attempt) -> bool:
    if (
        not fault.start <= attempt.time < fault.end
        or attempt.service == "wix"
        or attempt.by != "daemon"
    ):
        return False
    if not fault.kind.startswith(attempt.service) or attempt.method not in {
        None,
        "chat.postMessage",
        "",
    }:
        return False
    if fault.kind in PARKING and fault.code and not fault.code.startswith(attempt.outcome):
        return False  # another fault was in the way
    return (
        fault.channel in {None, attempt.target}
        and fault.address in {None, attempt.target}
        and bool(attempt.items)
    )


def _freed_at(world: World, first: Attempt) -> datetime:
    """Return when what waits since a first attempt may have been sent or cancelled."""
    reviews = {item.review_id for item in first.items if item.review_id}
    if not reviews:
        return first.time
    closing = {"answered", "deleted", "rejected", "rating_changed"}
    times = [
        event.time
        for event in world.h.reviews
        if event.after.review_id in reviews
        and event.time >= first.time - DAY
        and event.change in closing
    ]
    times += [
        call.time
        for call in world.h.slack
        if call.time > first.time and call.channel == first.target and call.verb == "post"
    ]
    times += [
        one.time for one in world.h.posted if one.time > first.time and first.target == one.address
    ]
    times += [
        mail.time
        for mail in world.h.mails
        if mail.time > first.time and first.target in mail.taken_for
    ]
    return min(times, default=world.h.end)


# ---------------------------------------------------------------- silence


def _silent(world: World, due: Due) -> Iterator[Violation]:
    """Whatever lasts longer than `trouble_after` is told through a receiver that works."""
    if due.until > world.h.end:
        return
    able = [d for d in world.destinations if _can_be_told(world, d, due)]
    if not able or _is_outstanding(world, due):
        return
    told = ", ".join(sorted({destination.receiver for destination in able}))
    yield Violation(
        "silent", "6", due.until, f"{due.what}; nobody was told, {told} could be", due.abouts
    )


def _can_be_told(world: World, destination: Destination, due: Due) -> bool:
    """Return whether a destination receives trouble of this, and was reached without hindrance."""
    for config in world.configs_between(due.since - INFLIGHT, due.until):
        receiver = config.receiver(destination.receiver)
        if receiver is None or not receiver.trouble or not has_medium(receiver, destination.medium):
            return False
        if due.site_id is not None and receiver.sites and due.site_id not in receiver.sites:
            return False
        if receiver.quiet:
            return (
                False  # whether trouble waits for the end of quiet hours, the design does not say
            )
        if f"receiver:{receiver.name}" in due.abouts and len(due.abouts) == 2:
            return False  # it is the one that is not reached
    database = "database" in due.abouts
    start = due.until - HOUR + 5 * MINUTE if database else due.since
    found = world.faults_of(destination, start, due.until)
    return not [
        fault for fault in found if not (database and fault.kind in {"disk_full", "state_locked"})
    ]


def _is_outstanding(world: World, due: Due) -> bool:
    """Return whether trouble about this was received and is not over."""
    last: dict[tuple[Destination, str], Received] = {}
    for one in world.received:
        if one.time > due.until or one.item.kind not in {"trouble", "recovered"}:
            continue
        if scope(one.item.about) in due.abouts and not (one.item.about or "").endswith(
            "/unpublished"
        ):
            last[one.destination, one.item.about or ""] = one
    return any(one.item.kind == "trouble" or one.time >= due.since for one in last.values())


# ---------------------------------------------------------------- noise


def _series(world: World) -> dict[tuple[Destination, str], list[Received]]:
    found: dict[tuple[Destination, str], list[Received]] = {}
    for one in world.received:
        if one.item.kind in {"trouble", "recovered"} and not one.copy:
            found.setdefault((one.destination, one.item.about or "other:"), []).append(one)
    return found


def _pairs(
    world: World, destination: Destination, about: str, said: list[Received]
) -> Iterator[Violation]:
    """One fault is one trouble; one that comes and goes is at most one pair an hour."""
    concerns = (*destination, about)
    if about.startswith(("other:", "erasure:")):
        return
    open_since: datetime | None = None
    recovered: datetime | None = None
    queued: datetime | None = (
        None  # the hour counts from then, however long its destination was not reached
    )
    may_end = False  # a restore ended it in the database, which need not be all that knows of it
    for one in said:
        is_forgotten = world.is_forgotten(open_since or recovered or one.time, one.time)
        if open_since is not None and (
            is_forgotten
            or world.is_silently_over(open_since, one.time)
            or _has_left(world, destination, open_since, one.time)
        ):
            open_since, may_end = None, True
        if is_forgotten:
            recovered = queued = None
        stepped = any(world.faults(("clock_step",), (recovered or one.time) - MINUTE, one.time))
        if one.item.kind == "trouble":
            over = open_since is not None and _may_have_come(world, one, "recovered", open_since)
            if (
                open_since is not None
                and not over
                and not _may_be_another(world, about, open_since, one.time)
            ):
                yield Violation(
                    "trouble_repeated",
                    "5",
                    one.time,
                    f"told again, told at {open_since:%H:%M}",
                    concerns,
                )
            open_since, may_end = one.time, False
            continue
        begun = open_since is not None or may_end or _was_told_by_another_name(world, one)
        begun = begun or _may_have_come(world, one, "trouble", recovered or world.h.start)
        if not begun:
            yield Violation(
                "recovered_of_nothing", "5", one.time, "recovered, of what was not told", concerns
            )
        elif queued is not None and one.time - queued < HOUR - MINUTE and not stepped:
            what = f"two pairs within an hour, the last recovered at {recovered:%H:%M}"
            yield Violation("trouble_flood", "5", one.time, what, concerns)
        open_since, may_end = None, False
        recovered, queued = one.time, queued_at(world, one)


def _has_left(world: World, destination: Destination, start: datetime, end: datetime) -> bool:
    """Return whether a receiver was out of the config for a while: what ended then, ended without
    a message to it.
    """
    configs = world.configs_between(start, end)
    return any(config.receiver(destination.receiver) is None for config in configs)


def _was_told_by_another_name(world: World, one: Received) -> bool:
    """Return whether the same addresses got the trouble while their receiver had another name."""
    own = addresses_of(one.message)
    return any(
        (other.item.kind, other.item.about) == ("trouble", one.item.about)
        and other.time < one.time
        and other.destination != one.destination
        and not own.isdisjoint(addresses_of(other.message))
        for other in world.received
    )


def _may_have_come(world: World, one: Received, kind: str, since: datetime) -> bool:
    """Return whether a message about the same fault may have arrived, by what alerter knows."""
    receivers = world.receivers_named(one.destination.receiver)
    targets = {target for receiver in receivers for target in receiver.all_targets}
    return any(
        (item.kind, item.about) == (kind, one.item.about)
        for attempt in world.h.attempts
        if leaves_doubt(attempt) and attempt.target in targets and since <= attempt.time <= one.time
        for item in attempt.items
    )


def _may_be_another(world: World, about: str, before: datetime, when: datetime) -> bool:
    """Return whether a second trouble of a receiver may be about another message that failed for
    good.
    """
    if not about.startswith("receiver:"):
        return False
    faults = world.faults(SENDING, before - SETTLE, when)
    lossy = [fault for fault in faults if is_lossy(fault) or fault.kind == "smtp_address_soft"]
    return any(fault.intermittent or fault.kind not in PARKING for fault in lossy)


# ---------------------------------------------------------------- over when it is over


def matches(world: World, fault: Fault, about: str) -> bool:
    """Return whether a fault can be what a trouble is about."""
    about = scope(about)
    if fault.kind.startswith("wix_"):
        sites = {site.site_id for _, config in world.in_force for site in config.sites}
        own = fault.site_id is None or about in {f"site:{fault.site_id}", "wix"}
        return own and (about == "wix" or about.removeprefix("site:") in sites)
    if fault.kind in {"disk_full", "state_locked"}:
        return True  # a database that cannot be written keeps everything from being done
    if fault.kind == "clock_step":
        return True
    if about.startswith("receiver:"):
        name = about.removeprefix("receiver:")
        media = [Destination(name, medium) for medium in _media(world, name)]
        if fault.kind.startswith("slack_") and fault.channel is None:
            return any(receiver.channel for receiver in world.receivers_named(name))
        return any(world.concerns(fault, destination) for destination in media)
    return fault.kind.startswith(about + "_")


def _unrecovered(
    world: World, destination: Destination, about: str, said: list[Received]
) -> Iterator[Violation]:
    """A trouble ends when its cause ends."""
    last, end = said[-1], world.h.end
    if (
        last.item.kind != "trouble"
        or not scope(about).startswith(SCOPES)
        or scope(about) == "config"
    ):
        return
    causes = [fault for fault in world.h.faults if matches(world, fault, about)]
    over = max((fault_end(fault) for fault in causes), default=last.time)
    over = max(over, last.time) + HOUR + SETTLE
    lossy = [fault for fault in causes if is_lossy(fault) or fault.kind == "smtp_address_soft"]
    samples = [status for status in world.h.statuses if status.time >= end - SETTLE]
    if over > end or (
        scope(about).startswith("receiver:") and lossy and (not samples or samples[-1].failed)
    ):
        return  # what failed for good is trouble until somebody sees to it
    receivers = [
        config.receiver(destination.receiver) for config in world.configs_between(last.time, end)
    ]
    if not all(one is not None and one.trouble and not one.quiet for one in receivers):
        return
    if max(
        world.config_times(last.time, end), default=last.time
    ) > end - SETTLE or world.is_forgotten(last.time):
        return
    if world.is_silently_over(last.time, end):
        return
    if world.is_calm(destination, end - SETTLE, end) and not world.may_have_failed(
        "", destination, last.time
    ):
        yield Violation(
            "unrecovered",
            "6",
            last.time,
            "its cause ended, and nobody was told",
            (*destination, about),
        )


def _phantom(world: World, one: Received) -> Iterator[Violation]:
    """Trouble has a cause."""
    about = scope(one.item.about)
    if not about.startswith(SCOPES):
        return
    started = any(span.start <= one.time <= span.start + DAY for span in world.h.daemon[1:])
    changed = bool(world.config_times(one.time - DAY, one.time))
    refused = any(
        version.in_force is None and version.time <= one.time for version in world.h.configs
    )
    if (about == "config" and refused) or (about.startswith("receiver:") and changed):
        return
    causes = [
        fault for fault in world.h.faults
        if fault.start <= one.time <= fault_end(fault) + SETTLE + DAY and matches(world, fault, about)
    ]  # fmt: skip
    if not causes and not started and not world.h.runs:
        yield Violation(
            "phantom", "6", one.time, "trouble without a cause", (*one.destination, about)
        )


def _premature(world: World, one: Received) -> Iterator[Violation]:
    """`recovered` is not said while the cause lasts."""
    about = scope(one.item.about)
    reloaded = bool(world.config_times(one.time - HOUR, one.time))
    for fault in world.h.faults:
        blanket = (
            fault.kind
            in {
                *UNREAD,
                "slack_down",
                "slack_auth",
                "smtp_down",
                "smtp_auth",
                "posted_down",
                "posted_gone",
            }
            and fault.method is None
        )
        if not blanket or fault.intermittent or reloaded or not matches(world, fault, about):
            continue
        if about == "wix" and fault.site_id is not None:
            continue
        read = _last_read(world, about.removeprefix("site:"), fault.start, one.time + INFLIGHT)
        if fault.kind in UNREAD and read is not None:
            continue  # it was read all the same
        both = (
            about.startswith("receiver:")
            and len(_media(world, about.removeprefix("receiver:"))) > 1
        )
        lasts = fault.start + INFLIGHT < one.time < fault.end - INFLIGHT
        if lasts and not both and not _is_of_before(world, one, fault):
            what = f"recovered, while {fault.kind} lasts"
            yield Violation("premature", "6", one.time, what, (*one.destination, about))


def _is_of_before(world: World, one: Received, fault: Fault) -> bool:
    """Return whether it may be the end of what was before a fault, held up on its way.

    Where others were notified of this fault by then, its receiver is notified directly after it.
    """
    if queued_at(world, one) > fault.start:
        return False
    same = [
        other
        for other in world.received
        if (other.item.kind, other.item.about) == ("trouble", one.item.about)
    ]
    return not any(fault.start <= other.time <= one.time for other in same) or any(
        other.destination == one.destination and one.time <= other.time <= one.time + LATE
        for other in same
    )


def _media(world: World, name: str) -> set[Medium]:
    return {
        destination.medium for destination in world.destinations if destination.receiver == name
    }
