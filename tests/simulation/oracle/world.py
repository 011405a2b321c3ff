"""A history, looked up: who was where, what was wrong when, and what each destination received."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from tests.simulation.history import (
    Config,
    Fault,
    History,
    Item,
    Mail,
    Medium,
    Receiver,
    Review,
    ReviewEvent,
    SlackCall,
)

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
INFLIGHT = 2 * MINUTE  # what was under way when something changed may still arrive
SETTLE = 2 * HOUR + 15 * MINUTE  # a parked probe comes hourly, a doubt lasts twice ten minutes
IN_DOUBT = 25 * MINUTE

Tri = Literal["must", "may", "not"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A sentence of DESIGN.md that did not hold."""

    rule: str
    promise: str  # "1" to "9"; "triage", "errors", "contract" where the sentence is not among the promises
    time: datetime
    message: str
    concerns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.time:%m-%d %H:%M:%S} [{self.promise}] {self.rule}: {self.message} ({', '.join(self.concerns)})"


class Destination(NamedTuple):
    receiver: str
    medium: Medium


@dataclass(frozen=True, slots=True)
class Received:
    """One item that reached one destination for the first time, or once more."""

    time: datetime
    destination: Destination
    item: Item
    message: SlackCall | Mail
    copy: bool  # the same mail (Message-ID) once more, or a Slack post that says it may be a repeat and is one


WIX = ("wix_down", "wix_throttled", "wix_nonsense", "wix_stale", "wix_empty", "wix_unauthorized", "wix_token")
MACHINE = ("disk_full", "state_locked", "clock_step")
# What keeps a new message from leaving (not an update, not a look into the channel's history).
SLACK_POST = (
    "slack_down", "slack_throttled", "slack_auth", "slack_channel_refused", "slack_message_refused",
    "slack_dropped_before", "slack_dropped_after", "slack_nonsense",
)  # fmt: skip
SMTP = (
    "smtp_down", "smtp_busy", "smtp_auth", "smtp_address_hard", "smtp_address_soft", "smtp_message_refused",
    "smtp_dropped_before", "smtp_dropped_after", "smtp_nonsense",
)  # fmt: skip
# After these a message may rightly have failed for good: it is then trouble, and `retry` sends it.
LOSSY = (
    "slack_message_refused", "slack_dropped_before", "slack_dropped_after", "slack_nonsense", "smtp_address_hard",
    "smtp_message_refused", "smtp_dropped_before", "smtp_dropped_after", "smtp_nonsense",
)  # fmt: skip
PARKING = ("slack_auth", "slack_channel_refused", "smtp_auth", "smtp_address_hard")


def fault_end(fault: Fault) -> datetime:
    """Return when the last rightful effect of a fault on a waiting message is over."""
    after = fault.retry_after or timedelta(0)
    if fault.kind in PARKING or fault.kind == "clock_step":
        after = max(after, HOUR + 5 * MINUTE)
    elif fault.kind in LOSSY:
        after = max(after, IN_DOUBT)
    else:
        after = max(after, 5 * MINUTE)
    return fault.end + after


class World:
    """A history with its look-ups."""

    def __init__(self, history: History) -> None:
        self.h = history

    # ------------------------------------------------------------ config

    @cached_property
    def in_force(self) -> list[tuple[datetime, Config]]:
        taken = [(version.in_force, version.config) for version in self.h.configs if version.in_force is not None]
        return sorted(taken, key=lambda pair: pair[0])

    def config_at(self, when: datetime) -> Config | None:
        index = bisect_right([start for start, _ in self.in_force], when)
        return self.in_force[index - 1][1] if index else None

    def configs_between(self, start: datetime, end: datetime) -> list[Config]:
        """Return the configs in force at any time of the span, oldest first."""
        first = self.config_at(start)
        later = [config for when, config in self.in_force if start < when <= end]
        return ([first] if first else []) + later

    def configs_near(self, when: datetime) -> list[Config]:
        """Return what may be in force at a time, by what is under way."""
        return self.configs_between(when - INFLIGHT, when + INFLIGHT)

    def config_times(self, start: datetime, end: datetime) -> list[datetime]:
        return [when for when, _ in self.in_force if start < when <= end]

    # ------------------------------------------------------------ the daemon

    def alive_throughout(self, start: datetime, end: datetime) -> bool:
        return any(span.start <= start and (span.end is None or span.end >= end) for span in self.h.daemon)

    def kills_between(self, start: datetime, end: datetime) -> int:
        ended = [span.end for span in self.h.daemon if span.ended_by in {"killed", "crashed"} and span.end]
        return sum(start <= when <= end for when in ended)

    # ------------------------------------------------------------ faults

    def faults(self, kinds: Iterable[str], start: datetime, end: datetime) -> Iterator[Fault]:
        """Yield faults of these kinds that still had an effect in the span."""
        wanted = set(kinds)
        for fault in self.h.faults:
            if fault.kind in wanted and fault.start <= end and fault_end(fault) >= start:
                yield fault

    def concerns(self, fault: Fault, destination: Destination, review_id: str | None = None) -> bool:
        """Return whether a fault keeps a new message of this review from this destination."""
        if fault.kind in MACHINE:
            return True
        if fault.review_id is not None and review_id is not None and fault.review_id != review_id:
            return False
        addresses = {address for receiver in self.receivers_named(destination.receiver) for address in receiver.emails}
        channels = {receiver.channel for receiver in self.receivers_named(destination.receiver)}
        if destination.medium == "email":
            return fault.kind in SMTP and (fault.address is None or fault.address in addresses)
        posts = fault.method in {None, "chat.postMessage"}
        return fault.kind in SLACK_POST and posts and (fault.channel is None or fault.channel in channels)

    def faults_of(
        self, destination: Destination, start: datetime, end: datetime, review_id: str | None = None
    ) -> list[Fault]:
        found = self.faults((*MACHINE, *SLACK_POST, *SMTP), start, end)
        return [fault for fault in found if self.concerns(fault, destination, review_id)]

    def is_calm(self, destination: Destination, start: datetime, end: datetime, review_id: str | None = None) -> bool:
        """Return whether nothing keeps a message from leaving at once in the whole span."""
        return self.alive_throughout(start, end) and not self.faults_of(destination, start, end, review_id)

    def is_site_calm(self, site_id: str, start: datetime, end: datetime) -> bool:
        """Return whether a site could be read in the whole span."""
        return self.alive_throughout(start, end) and not any(
            fault.site_id in {None, site_id} for fault in self.faults((*WIX, *MACHINE), start, end)
        )

    def is_forgotten(self, when: datetime, until: datetime | None = None) -> bool:
        """Return whether a restore or `forget` may have undone what happened at a time."""
        for run in self.h.runs:
            if run.start < when or (until is not None and run.start > until):
                continue
            if run.command == "forget" or (
                run.command == "restore" and (run.backup_taken or run.start) - SETTLE <= when
            ):
                return True
        return False

    def has_restored(self, when: datetime) -> bool:
        """Return whether a restore or `forget` was begun before a time."""
        return any(run.command in {"restore", "forget"} and run.start <= when for run in self.h.runs)

    def undisturbed_until(self, start: datetime) -> datetime:
        """Return until when the daemon runs on with the same config and a clock and a disk that work."""
        running = [span.end or self.h.end for span in self.h.daemon if span.start <= start]
        ends = [end for end in running if end > start]
        ends += [when for when, _ in self.in_force if when > start]
        ends += [max(fault.start, start) for fault in self.faults(MACHINE, start, self.h.end)]
        ends += [run.start for run in self.h.runs if run.command in {"restore", "forget"} and run.start > start]
        return min(ends) if any(end > start for end in running) else start

    # ------------------------------------------------------------ reviews

    @cached_property
    def events(self) -> dict[str, list[ReviewEvent]]:
        found: dict[str, list[ReviewEvent]] = {}
        for event in self.h.reviews:
            found.setdefault(event.after.review_id, []).append(event)
        return found

    @cached_property
    def versions(self) -> dict[tuple[str, int], ReviewEvent]:
        return {(event.after.review_id, event.after.version): event for event in self.h.reviews}

    def version(self, review_id: str, number: int) -> Review | None:
        event = self.versions.get((review_id, number))
        return event.after if event else None

    def review_at(self, review_id: str, when: datetime) -> Review | None:
        state = None
        for event in self.events.get(review_id, []):
            if event.time > when:
                break
            state = event.after
        return state

    def site_of(self, review_id: str) -> str | None:
        events = self.events.get(review_id)
        return events[0].after.site_id if events else None

    # ------------------------------------------------------------ receivers

    def receivers_named(self, name: str) -> list[Receiver]:
        return [receiver for _, config in self.in_force if (receiver := config.receiver(name))]

    def destination_at(self, when: datetime, medium: Medium, addresses: set[str]) -> Destination | None:
        """Return whose addresses these are, by the configs in force lately; the newest first."""
        for config in reversed(self.configs_between(when - INFLIGHT, when)):
            for receiver in config.receivers:
                own = set(receiver.emails) if medium == "email" else {receiver.channel}
                if addresses <= own:
                    return Destination(receiver.name, medium)
        return None

    @cached_property
    def destinations(self) -> list[Destination]:
        found: dict[Destination, None] = {}
        for _, config in self.in_force:
            for receiver in config.receivers:
                if receiver.emails:
                    found[Destination(receiver.name, "email")] = None
                if receiver.channel:
                    found[Destination(receiver.name, "slack")] = None
        return list(found)

    # ------------------------------------------------------------ what they received

    @cached_property
    def received(self) -> list[Received]:
        """Every item of every new message, by time; messages to nobody of the config are left out."""
        found: list[Received] = []
        mails: set[tuple[str, Destination]] = set()
        posted: dict[tuple[Destination, tuple[Item, ...]], datetime] = {}
        messages: list[SlackCall | Mail] = [*self.h.slack, *self.h.mails]
        for message in sorted(messages, key=lambda message: message.time):
            destination = self.destination_of(message)
            if destination is None or message.test:
                continue
            if isinstance(message, Mail):
                key = (message.message_id, destination)
                copy = key in mails
                mails.add(key)
            else:
                post = (destination, message.items)
                copy = message.says_repeat and post in posted
                posted[post] = message.time
            found += [Received(message.time, destination, item, message, copy) for item in message.items]
        return found

    @cached_property
    def thread_owners(self) -> dict[tuple[str, str], Destination]:
        """Return whose message each Slack post is; what goes beneath it is theirs."""
        owners = {}
        for call in self.h.slack:
            owner = self.destination_at(call.time, "slack", {call.channel}) if call.verb == "post" else None
            if owner:
                owners[call.channel, call.ts] = owner
        return owners

    def destination_of(self, message: SlackCall | Mail) -> Destination | None:
        """Return whom a new message went to; None for updates, deletions and strangers."""
        if isinstance(message, Mail):
            named = {*message.taken_for, *(address for address, _ in message.refused_for)}
            return self.destination_at(message.time, "email", named)
        if message.verb != "post":
            return None
        found = self.destination_at(message.time, "slack", {message.channel})
        if found is None and message.thread_ts is not None:
            found = self.thread_owners.get((message.channel, message.thread_ts))
        return found

    @cached_property
    def by_review(self) -> dict[tuple[str, Destination], list[Received]]:
        found: dict[tuple[str, Destination], list[Received]] = {}
        for received in self.received:
            if received.item.review_id is not None:
                found.setdefault((received.item.review_id, received.destination), []).append(received)
        return found

    def may_have_failed(self, review_id: str, destination: Destination, start: datetime) -> bool:
        """Return whether there was an attempt after which a message may rightly fail for good."""
        if self.kills_between(start, self.h.end) > 1:
            return True
        for fault in self.faults(LOSSY, start, self.h.end):
            if not self.concerns(fault, destination, review_id):
                continue
            targets = {fault.channel, fault.address}
            for receiver in self.receivers_named(destination.receiver):
                targets |= {receiver.channel, *receiver.emails}
            for attempt in self.h.attempts:
                inside = max(start, fault.start) <= attempt.time <= fault.end + INFLIGHT
                about = not attempt.items or any(item.review_id == review_id for item in attempt.items)
                if inside and about and attempt.target in targets:
                    return True
        messages: list[SlackCall | Mail] = [*self.h.slack, *self.h.mails]
        return any(
            not message.answered
            and message.time >= start
            and any(item.review_id == review_id for item in message.items)
            for message in messages
        )

    # ------------------------------------------------------------ routing

    def fits(self, config: Config, destination: Destination, review: Review) -> bool:
        """Return whether a receiver gets alerts of a review in this state."""
        receiver = config.receiver(destination.receiver)
        if receiver is None or config.site(review.site_id) is None or not has_medium(receiver, destination.medium):
            return False
        text = review.text.lower()
        return (
            (not receiver.sites or review.site_id in receiver.sites)
            and receiver.min_rating <= review.rating <= receiver.max_rating
            and not receiver.escalation
            and (not receiver.products or review.product in receiver.products)
            and (not receiver.keywords or any(word.lower() in text for word in receiver.keywords))
        )

    def route(self, when: datetime, destination: Destination, review: Review) -> Tri:
        fits = [self.fits(config, destination, review) for config in self.configs_near(when)]
        if not any(fits):
            return "not"
        return "must" if all(fits) else "may"

    def released(self, config: Config, destination: Destination, rating: int, due: datetime) -> datetime:
        """Return when a message that is due leaves, by the quiet hours of one config."""
        receiver = config.receiver(destination.receiver)
        if receiver is None or (receiver.urgent_max_rating is not None and rating <= receiver.urgent_max_rating):
            return due
        for _ in range(len(receiver.quiet) + 1):
            span = quiet_span(receiver, due)
            if span is None:
                return due
            due = span[1]
        return due


def has_medium(receiver: Receiver, medium: Medium) -> bool:
    return bool(receiver.emails) if medium == "email" else receiver.channel is not None


def quiet_span(receiver: Receiver, when: datetime) -> tuple[datetime, datetime] | None:
    """Return the quiet span that a time lies in."""
    for hours in receiver.quiet:
        zone = ZoneInfo(hours.zone)
        today = when.astimezone(zone).date()
        for day in (today - DAY, today):
            if hours.weekdays and day.weekday() not in hours.weekdays:
                continue
            start = datetime.combine(day, hours.start, zone)
            last = day if hours.end > hours.start else day + DAY
            end = datetime.combine(last, hours.end, zone)
            if start <= when < end:
                return start.astimezone(when.tzinfo), end.astimezone(when.tzinfo)
    return None
