"""`status` and `explain` say what is so; nothing is pending for ever (promise 6, contract)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tests.simulation.history import Explain, Message, Status
from tests.simulation.oracle.triage import Triage
from tests.simulation.oracle.trouble_receivers import scope
from tests.simulation.oracle.troubles import Due, dues, matches
from tests.simulation.oracle.values import (
    DAY,
    HOUR,
    INFLIGHT,
    MINUTE,
    PARKING,
    SETTLE,
    Received,
    Violation,
    fault_end,
    quiet_span,
)
from tests.simulation.oracle.world import World


def judge_status(world: World, triage: Triage) -> Iterator[Violation]:
    """Judge each sample of `status` and `explain`."""
    said = [one for one in world.received if one.item.kind in {"trouble", "recovered"}]
    due = list(dues(world))
    for status in world.h.statuses:
        yield from _own(world, status)
        yield from _sent(world, status)
        yield from _faults(world, status, said)
        yield from _quiet_system(world, status, said)
        yield from _sites(world, triage, status)
        yield from _pending(world, status)
        for one in due:
            if status.exit_code == 0 and one.until <= status.time < one.ends - MINUTE:
                what = f"exits 0, and {one.what} since {one.since:%m-%d %H:%M}"
                yield Violation("status_blind", "6", status.time, what, one.abouts)
            yield from _shows(status, one)
    yield from _failed_silently(world)
    for explain in world.h.explains:
        yield from _explain(world, triage, explain)


def _shows(status: Status, due: Due) -> Iterator[Violation]:
    """`sites` and `parked` show what lasts."""
    if not due.until <= status.time < due.ends - MINUTE:
        return
    site = next((site for site in status.sites if site.site_id == due.site_id), None)
    if site is not None and not site.trouble:
        yield Violation(
            "status_site", "6", status.time, f"shows no trouble, and {due.what}", (site.site_id,)
        )
    if due.parks and not any(scope(one) in due.abouts for one in status.parked):
        yield Violation(
            "status_parked",
            "contract",
            status.time,
            f"shows nothing parked, and {due.what}",
            due.abouts,
        )


def _reloaded(world: World, when: datetime) -> bool:
    """Return whether the config that a command reads may differ from the one that was in force
    last: its file may have changed while no daemon ran.
    """
    start = when - INFLIGHT
    return bool(world.config_times(start, when + INFLIGHT)) or not world.alive_throughout(
        start, when
    )


def _own(world: World, status: Status) -> Iterator[Violation]:
    """Exit code 1 for open trouble, failed deliveries or a site that is not read; never for
    unanswered reviews.
    """
    if status.exit_code not in {0, 1}:
        yield Violation("status_exit", "contract", status.time, f"exits {status.exit_code}")
    if status.exit_code == 0 and (status.troubles or status.failed or status.parked):
        what = f"exits 0 with {len(status.troubles)} troubles, {status.failed} failed, {len(status.parked)} parked"
        yield Violation("status_exit", "contract", status.time, what)
    if sum(one.failed for one in status.receivers) > status.failed:
        yield Violation(
            "status_counts",
            "contract",
            status.time,
            "receivers have more failed deliveries than there are",
        )
    if sum(one.pending for one in status.receivers) > status.pending:
        yield Violation(
            "status_counts",
            "contract",
            status.time,
            "receivers have more pending deliveries than there are",
        )
    config = world.config_at(status.time)
    if config is not None and not _reloaded(world, status.time):
        missing = {site.site_id for site in config.sites} - {site.site_id for site in status.sites}
        missing |= {one.name for one in config.receivers} - {one.name for one in status.receivers}
        gone = [
            one.name
            for one in status.receivers
            if config.receiver(one.name) is None and one.pending + one.failed
        ]
        if gone and not world.config_times(status.time - HOUR, status.time):
            yield Violation(
                "status_counts", "contract", status.time, "counts what waits for none", tuple(gone)
            )
        if missing:
            yield Violation(
                "status_counts", "contract", status.time, "does not show", tuple(sorted(missing))
            )


def _sent(world: World, status: Status) -> Iterator[Violation]:
    """A delivery leaves the outbox only when its service has said yes."""
    if world.has_restored(status.time):
        return
    until = status.time + MINUTE
    for shown in status.receivers:
        # A receiver that is renamed keeps what came under its old name.
        receivers = [
            one for name in world.names_of(shown.name) for one in world.receivers_named(name)
        ]
        channels = {receiver.channel for receiver in receivers}
        addresses = {address for receiver in receivers for address in receiver.emails}
        posts = [call for call in world.h.slack if call.channel in channels and call.time <= until]
        came = sum(call.verb != "post" for call in posts)
        came += _most_in(world, [call for call in posts if call.verb == "post"])
        own = {one.address for one in receivers}
        posted = [one for one in world.h.posted if one.address in own and one.time <= until]
        came += sum(one.verb != "post" for one in posted)
        came += _most_in(world, [one for one in posted if one.verb == "post"])
        came += _most_in(
            world,
            [
                mail
                for mail in world.h.mails
                if mail.time <= until and addresses & set(mail.taken_for)
            ],
        )
        if shown.sent > came:
            what = f"{shown.sent} deliveries are called sent, and {came} were received"
            yield Violation("sent_of_nothing", "1", status.time, what, (shown.name,))


def _most_in(world: World, messages: Sequence[Message]) -> int:
    """Return how many deliveries the messages to a receiver may have carried.

    A digest has one entry for each review, the latest, however many alerts of it quiet hours or a
    fault held back: its `new`, one for each time that its rating fell, and shorter reminders.
    """
    most, seen = 0, set[str | None]()
    for message in messages:
        config = world.config_at(message.time)
        spans = len(config.reminders_after) if config else 0
        most += len(message.items)
        for item in message.items:
            if item.kind in {"lowered", "reminder"}:
                most += item.review_id not in seen
                most += sum(
                    event.change == "rating_changed" and event.time <= message.time
                    for event in world.events.get(item.review_id or "", [])
                )
            if item.kind == "reminder":
                most += max(spans - 1, 0)
            seen.add(item.review_id)
    return most


def _failed_silently(world: World) -> Iterator[Violation]:
    """What has failed for good is trouble."""
    first = next((status for status in world.h.statuses if status.failed), None)
    config = world.config_at(first.time) if first else None
    if first is None or config is None:
        return
    start, end = first.time - HOUR, first.time + HOUR
    able = [
        one
        for one in world.destinations
        if (receiver := config.receiver(one.receiver)) and receiver.trouble and not receiver.quiet
        if world.is_calm(one, start, end)
        and not any(r.name == one.receiver and r.failed for r in first.receivers)
    ]
    told = any(one.item.kind == "trouble" and one.time <= end for one in world.received)
    if able and not told and end <= world.h.end and not world.has_restored(end):
        yield Violation(
            "failed_silently", "2", end, f"{first.failed} deliveries failed, and nobody was told"
        )


def _faults(world: World, status: Status, said: list[Received]) -> Iterator[Violation]:
    """What people were told and is not over makes `status` exit 1 meanwhile; so does a site that is
    not read.
    """
    if status.exit_code == 1:
        return
    last = {one.item.about: one for one in said if one.time <= status.time - MINUTE}
    for about, one in last.items():
        lasts = one.item.kind == "trouble" and scope(about).startswith(
            ("site:", "slack", "smtp", "wix", "database")
        )
        ends = any(
            other.item.about == about and one.time < other.time <= status.time + HOUR
            for other in said
        )
        reloaded = bool(world.config_times(one.time, status.time)) or world.is_forgotten(one.time)
        over = not any(
            fault.start <= status.time <= fault.end and matches(world, fault, about)
            for fault in world.h.faults
        )
        if lasts and not ends and not reloaded and not over:
            yield Violation(
                "status_blind",
                "6",
                status.time,
                "exits 0, and people were told of trouble",
                (str(about),),
            )


def _quiet_system(world: World, status: Status, said: list[Received]) -> Iterator[Violation]:
    """Where nothing was wrong for hours, `status` exits 0 and nothing is parked."""
    start = status.time - SETTLE - HOUR
    recent = [
        fault
        for fault in world.h.faults
        if fault.start <= status.time and fault_end(fault) >= start - DAY
    ]
    if (
        recent
        or not world.alive_throughout(start, status.time)
        or world.config_times(start, status.time)
    ):
        return
    if any(version.in_force is None for version in world.h.configs):
        return
    last = {one.item.about: one.item.kind for one in said if one.time <= status.time}
    if status.exit_code == 1 and status.failed == 0 and "trouble" not in last.values():
        yield Violation(
            "status_alarm",
            "contract",
            status.time,
            "exits 1, and nothing is wrong",
            status.troubles,
        )
    causes = [
        fault for fault in world.h.faults if fault.kind in PARKING and fault.start <= status.time
    ]
    if status.parked and not causes:
        yield Violation(
            "status_alarm", "6", status.time, "parked, and nothing ever refused it", status.parked
        )


def _sites(world: World, triage: Triage, status: Status) -> Iterator[Violation]:
    """Each site's last success and open reviews are what is so."""
    config = world.config_at(status.time)
    if config is None or _reloaded(world, status.time):
        return
    stepped = any(world.faults(("clock_step",), status.time - DAY, status.time))
    for site in status.sites:
        last = site.last_success
        wait = 2 * config.poll_every + 10 * MINUTE
        if last is not None and last > status.time + MINUTE and not stepped:
            yield Violation(
                "status_site", "contract", status.time, "was read in the future", (site.site_id,)
            )
        known = config.site(site.site_id) is not None and not world.config_times(
            status.time - wait, status.time
        )
        calm = known and world.is_site_calm(site.site_id, status.time - wait, status.time)
        if calm and (last is None or last < status.time - wait):
            yield Violation(
                "status_site", "6", status.time, f"last read at {last}", (site.site_id,)
            )
        yield from _open_reviews(world, triage, status.time, site.site_id, site.open_reviews)


def _open_reviews(
    world: World, triage: Triage, when: datetime, site_id: str, shown: int
) -> Iterator[Violation]:
    low = high = 0
    if world.has_restored(when):
        return
    for review_id in world.events:
        if world.site_of(review_id) != site_id:
            continue
        states = triage.known_at(review_id, when) | triage.known_at(review_id, when - INFLIGHT)
        first = world.events[review_id][0].after
        configs = world.configs_between(first.created, when)
        rests = any(when > first.created + config.rescan_window - DAY for config in configs)
        high += "open" in states
        low += states == {"open"} and not rests
    if not low <= shown <= high:
        expected = f"{low}" if low == high else f"{low} to {high}"
        yield Violation(
            "status_open",
            "contract",
            when,
            f"shows {shown} open reviews instead of {expected}",
            (site_id,),
        )


def _pending(world: World, status: Status) -> Iterator[Violation]:
    """Nothing is pending for ever: after all faults and a settling time only quiet hours hold
    anything.
    """
    config = world.config_at(status.time)
    start = status.time - SETTLE - 10 * MINUTE
    if (
        config is None
        or not world.alive_throughout(start, status.time)
        or world.config_times(start, status.time)
    ):
        return
    if any(fault.start <= status.time and fault_end(fault) >= start for fault in world.h.faults):
        return
    if any(
        run.command == "backfill" and (run.end is None or run.end >= start) for run in world.h.runs
    ):
        return
    # The daemon sees within ten minutes what a command has queued.
    looked = status.time - 10 * MINUTE - INFLIGHT
    if any(
        run.command in {"reply", "moderate", "retry"}
        and run.start <= status.time
        and (run.end is None or run.end >= looked)
        for run in world.h.runs
    ):
        return
    for one in status.receivers:
        receiver = config.receiver(one.name)
        held = receiver is not None and quiet_span(receiver, status.time - INFLIGHT) is not None
        moving = any(abs(other.time - status.time) <= INFLIGHT for other in world.received)
        if one.pending and not held and not moving:
            what = f"{one.pending} deliveries are pending, and nothing is in their way"
            yield Violation("pending", "6", status.time, what, (one.name,))


def _explain(world: World, triage: Triage, explain: Explain) -> Iterator[Violation]:
    """`explain` says who received what."""
    concerns = (explain.review_id,)
    when = explain.time
    states = triage.known_at(explain.review_id, when) | triage.known_at(
        explain.review_id, when - INFLIGHT
    )
    config = world.config_at(when)
    watched = config is not None and config.site(world.site_of(explain.review_id) or "") is not None
    watched = watched and not _reloaded(world, when)
    known = watched and states <= {"open", "closed"} and not world.has_restored(when)
    if explain.exit_code not in {0, 1, 2} or (known and explain.exit_code != 0):
        yield Violation("explain", "contract", when, f"exits {explain.exit_code}", concerns)
    resting = {"open"} if explain.state == "resting" else {explain.state}
    if (
        explain.state not in {None, "unknown"}
        and not resting & states
        and not world.has_restored(when)
    ):
        what = f"says {explain.state}, and it is {' or '.join(sorted(states))}"
        yield Violation("explain", "contract", when, what, concerns)
    if explain.received is None or world.has_restored(when):
        return
    came = [one for one in world.received if one.item.review_id == explain.review_id]
    said = set(explain.received)
    for one in came:
        pair = (one.destination.receiver, one.item.kind)
        old = one.time < when - min(
            (c.keep for c in world.configs_between(one.time, when)), default=timedelta(0)
        )
        in_config = all(c.receiver(pair[0]) for c in world.configs_between(one.time, when))
        if (
            one.time < when - INFLIGHT
            and one.message.answered
            and not old
            and in_config
            and pair not in said
        ):
            yield Violation(
                "explain",
                "contract",
                when,
                f"does not say that {pair[0]} received {pair[1]}",
                concerns,
            )
    real = {
        (one.destination.receiver, str(one.item.kind)) for one in came if one.time <= when + MINUTE
    }
    for name, kind in sorted(said - real):
        yield Violation("explain", "contract", when, f"says that {name} received {kind}", concerns)
