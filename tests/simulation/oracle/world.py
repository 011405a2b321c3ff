"""A history, looked up: who was where, what was wrong when, and what each destination received."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from functools import cached_property

from tests.simulation.history import (
    POSTED,
    Attempt,
    Config,
    Fault,
    History,
    Item,
    Mail,
    Medium,
    Message,
    Posted,
    Receiver,
    Review,
    ReviewEvent,
    SlackCall,
)
from tests.simulation.oracle.restored import Span, unverified_spans
from tests.simulation.oracle.values import (
    ADDRESS,
    INFLIGHT,
    LATE,
    MACHINE,
    MINUTE,
    PARKING,
    POSTED_FAULTS,
    SENDING,
    SETTLE,
    SLACK_POST,
    SMTP,
    WIX,
    Destination,
    Received,
    Tri,
    fault_end,
    has_medium,
    is_lossy,
    opposite,
    quiet_span,
)


class World:
    """A history with its look-ups."""

    def __init__(self, history: History) -> None:
        self.h = history

    # ------------------------------------------------------------ config

    @cached_property
    def in_force(self) -> list[tuple[datetime, Config]]:
        taken = [
            (version.in_force, version.config)
            for version in self.h.configs
            if version.in_force is not None
        ]
        return sorted(taken, key=lambda pair: pair[0])

    @cached_property
    def _starts(self) -> list[datetime]:
        return [start for start, _ in self.in_force]

    def config_at(self, when: datetime) -> Config | None:
        index = bisect_right(self._starts, when)
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

    @cached_property
    def late(self) -> timedelta:
        """Return how long a message may take where nothing is in its way: it may leave with the
        next round only.
        """
        return LATE + max((config.poll_every for _, config in self.in_force), default=LATE)

    # ------------------------------------------------------------ the daemon

    def alive_throughout(self, start: datetime, end: datetime) -> bool:
        return any(
            span.start <= start and (span.end is None or span.end >= end) for span in self.h.daemon
        )

    def kills(self, start: datetime, end: datetime) -> list[datetime]:
        ended = (
            span.end
            for span in self.h.daemon
            if span.ended_by in {"killed", "crashed"} and span.end
        )
        return [when for when in ended if start <= when <= end]

    def kills_between(self, start: datetime, end: datetime) -> int:
        return len(self.kills(start, end))

    # ------------------------------------------------------------ faults

    def faults(self, kinds: Iterable[str], start: datetime, end: datetime) -> Iterator[Fault]:
        """Yield faults of these kinds that still had an effect in the span."""
        wanted = set(kinds)
        for fault in self.h.faults:
            if fault.kind in wanted and fault.start <= end and fault_end(fault) >= start:
                yield fault

    def concerns(
        self, fault: Fault, destination: Destination, review_id: str | None = None
    ) -> bool:
        """Return whether a fault keeps a new message of this review from this destination."""
        if fault.kind in MACHINE:
            return True
        if fault.review_id is not None and review_id is not None and fault.review_id != review_id:
            return False
        addresses = {
            target
            for receiver in self.receivers_named(destination.receiver)
            for target in receiver.targets(destination.medium)
        }
        if destination.medium in POSTED:
            return fault.kind in POSTED_FAULTS and fault.address in {None, *addresses}
        if destination.medium == "email":
            return fault.kind in SMTP and (fault.address is None or fault.address in addresses)
        posts = fault.method in {None, "chat.postMessage"}
        return fault.kind in SLACK_POST and posts and fault.channel in {None, *addresses}

    def faults_of(
        self, destination: Destination, start: datetime, end: datetime, review_id: str | None = None
    ) -> list[Fault]:
        """Return what keeps a new message of a review from a destination, at any time of the span."""
        found = [
            fault
            for fault in self.faults((*MACHINE, *SENDING), start, end)
            if self.concerns(fault, destination, review_id)
            and self._effect_end(fault, review_id) >= start
        ]
        refused = {fault.address for fault in found if fault.kind in ADDRESS}
        receivers = self.receivers_named(destination.receiver)
        if None not in refused and all(set(receiver.emails) - refused for receiver in receivers):
            return [
                fault for fault in found if fault.kind not in ADDRESS
            ]  # the others get the mail
        return found

    @cached_property
    def _attempts(self) -> tuple[list[Attempt], list[datetime]]:
        attempts = sorted(self.h.attempts, key=lambda attempt: attempt.time)
        return attempts, [attempt.time for attempt in attempts]

    def attempts_between(self, start: datetime, end: datetime) -> list[Attempt]:
        """Return the calls in a span, both ends included, oldest first."""
        attempts, times = self._attempts
        return attempts[bisect_left(times, start) : bisect_right(times, end)]

    def _effect_end(self, fault: Fault, review_id: str | None) -> datetime:
        """Return until when a fault keeps messages of a review: only those about the one in doubt
        wait for it.
        """
        if not is_lossy(fault) or fault.kind in PARKING or review_id is None:
            return fault_end(fault)
        span = (fault.start - INFLIGHT, fault.end + INFLIGHT)
        tried = self.attempts_between(*span)
        sent = [
            message
            for message in self.h.messages
            if span[0] <= message.time <= span[1] and not message.answered
        ]
        hit = any(not attempt.items and attempt.outcome == "dropped" for attempt in tried)
        hit = hit or any(
            item.review_id == review_id for one in (*tried, *sent) for item in one.items
        )
        return fault_end(fault) if hit else fault.end + 5 * MINUTE

    def openings(
        self, destination: Destination, due: datetime, end: datetime, review_id: str | None = None
    ) -> Iterator[datetime]:
        """Yield when nothing is in the way of a message that is due, for as long as it may take."""
        after = [
            self._effect_end(fault, review_id)
            for fault in self.faults_of(destination, due, end, review_id)
        ]
        starts = [
            due,
            *(when + MINUTE for when in after),
            *(span.start + MINUTE for span in self.h.daemon),
            *(end for _, end in self._unverified.get(self.site_of(review_id or "") or "", [])),
        ]
        for start in sorted(starts):
            if due <= start <= end - self.late and self.is_calm(
                destination, start, start + self.late, review_id
            ):
                yield start

    def released_at(
        self, destination: Destination, rating: int, start: datetime, end: datetime
    ) -> datetime:
        """Return when what is due at a time leaves, by the quiet hours of the configs that follow
        each other.
        """
        steps = list(self.faults(("clock_step",), start, end))
        times = {start, *self.config_times(start, end)}
        # By a wrong clock it may be held; when the clock is right again, it gets its new time.
        times |= {fault.end for fault in steps if start < fault.end <= end}
        segments = [(when, self.config_at(when)) for when in sorted(times)]
        due = start
        for number, (begun, config) in enumerate(segments):
            if config is None:
                continue
            due = self.released(config, destination, rating, max(start, begun))
            if number + 1 == len(segments):
                break
            wrong = any(fault.start <= due < fault.end for fault in steps)
            if due < segments[number + 1][0] and not wrong:
                break
        return due

    def is_calm(
        self, destination: Destination, start: datetime, end: datetime, review_id: str | None = None
    ) -> bool:
        """Return whether nothing keeps a message from leaving at once in the whole span."""
        site_id = self.site_of(review_id or "") or ""
        return (
            self.alive_throughout(start, end)
            and not self.faults_of(destination, start, end, review_id)
            and not any(a < end and start < b for a, b in self._unverified.get(site_id, []))
        )

    @cached_property
    def _unverified(self) -> dict[str, list[Span]]:
        """Return for each site when nothing of it is sent, as it was not read since a restore."""
        return unverified_spans(self)

    def is_site_calm(
        self, site_id: str, start: datetime, end: datetime, *, wrong_clock: bool = False
    ) -> bool:
        """Return whether a site could be read in the whole span; the clock may be wrong if so."""
        return self.alive_throughout(start, end) and not any(
            fault.site_id in {None, site_id} and not (wrong_clock and fault.kind == "clock_step")
            for fault in self.faults((*WIX, *MACHINE), start, end)
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
        return any(
            run.command in {"restore", "forget"} and run.start <= when for run in self.h.runs
        )

    def cancelled_at(self, start: datetime) -> datetime:
        """Return when the backup of a later restore was made: what waited then may have gone out,
        and is cancelled.
        """
        restores = (
            run
            for run in self.h.runs
            if run.command == "restore" and not run.move and run.start >= start
        )
        return min((run.backup_taken or run.start for run in restores), default=self.h.end)

    def is_silently_over(self, start: datetime, end: datetime) -> bool:
        """Return whether a restore ended a trouble: what a backup holds as open ends without a
        word.
        """
        return any(
            run.command == "restore" and not run.move and start < run.start <= end
            for run in self.h.runs
        )

    def undisturbed_until(self, start: datetime) -> datetime:
        """Return until when the daemon runs on with the same config and a clock and a disk that
        work.
        """
        running = [span.end or self.h.end for span in self.h.daemon if span.start <= start]
        ends = [end for end in running if end > start]
        ends += [when for when, _ in self.in_force if when > start]
        ends += [max(fault.start, start) for fault in self.faults(MACHINE, start, self.h.end)]
        ends += [
            run.start
            for run in self.h.runs
            if run.command in {"restore", "forget"} and run.start > start
        ]
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

    @cached_property
    def first_shown(self) -> dict[tuple[str, int], datetime]:
        """Return when each state of each review was shown to alerter first, as one to record.

        A webhook of a review that is not low-rated and not on record is none, nor is what a
        command looks at before it acts.
        """
        found: dict[tuple[str, int], datetime] = {}
        known: set[str] = set()
        for when, key, is_read in sorted(self._shown()):
            if is_read or key[0] in known or self._is_low(key, when):
                found.setdefault(key, when)
                known.add(key[0])
        return found

    def _shown(self) -> Iterator[tuple[datetime, tuple[str, int], bool]]:
        """Yield what alerter was shown when, and whether by a read of what is to be recorded."""
        reading = {"daemon"} | {
            run.run_id for run in self.h.runs if run.command in {"backfill", "run_once"}
        }
        unrecorded = {run.run_id for run in self.h.runs if run.dry_run or run.command == "check"}
        for read in self.h.reads:
            for key in read.shown if read.arrived and read.by not in unrecorded else ():
                yield read.time, key, read.by in reading
        for hook in self.h.webhooks:
            config = self.config_at(hook.time)
            site = config.site(self.site_of(hook.review_id) or "") if config else None
            if hook.taken and site is not None and hook.version is not None:
                yield hook.time, (hook.review_id, hook.version), False

    def _is_low(self, key: tuple[str, int], when: datetime) -> bool:
        state, config = self.version(*key), self.config_at(when)
        site = config.site(state.site_id) if config and state else None
        return state is not None and site is not None and state.rating <= site.threshold

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
        return self._receivers.get(name, [])

    @cached_property
    def _receivers(self) -> dict[str, list[Receiver]]:
        found: dict[str, list[Receiver]] = {}
        for _, config in self.in_force:
            for receiver in config.receivers:
                found.setdefault(receiver.name, []).append(receiver)
        return found

    def destination_at(
        self, when: datetime, medium: Medium, addresses: set[str]
    ) -> Destination | None:
        """Return whose addresses these are, by the configs in force lately; the newest first.

        Also by that of a start that is not complete: while the database is locked, it notifies
        people directly.
        """
        configs = [*self.configs_between(when - INFLIGHT, when), *self._starting(when)]
        for config in reversed(configs):
            for receiver in config.receivers:
                if addresses <= receiver.targets(medium):
                    return Destination(receiver.name, medium)
        return None

    def _starting(self, when: datetime) -> list[Config]:
        """Return the config of the start that was under way at a time, if any."""
        asked = [version for version in self.h.configs if version.time <= when]
        if not asked or asked[-1].how != "start":
            return []
        taken = asked[-1].in_force
        return [asked[-1].config] if taken is None or taken > when else []

    @cached_property
    def destinations(self) -> list[Destination]:
        found: dict[Destination, None] = {}
        for _, config in self.in_force:
            for receiver in config.receivers:
                for medium in receiver.media:
                    found[Destination(receiver.name, medium)] = None
        return list(found)

    # ------------------------------------------------------------ what they received

    @cached_property
    def received(self) -> list[Received]:
        """Every item of every new message, by time; messages to nobody of the config are left out."""
        found: list[Received] = []
        mails: set[tuple[str, Destination]] = set()
        posted: dict[tuple[Destination, tuple[Item, ...]], datetime] = {}
        webhooks: set[tuple[str, Destination]] = set()
        for message in sorted(self.h.messages, key=lambda message: message.time):
            destination = self.destination_of(message)
            if destination is None or message.test:
                continue
            if isinstance(message, Mail):
                key = (message.message_id, destination)
                copy = key in mails
                mails.add(key)
            elif isinstance(message, Posted) and message.medium == "webhook":
                key = (message.ts, destination)
                copy = key in webhooks
                webhooks.add(key)
            else:
                post = (destination, message.items)
                copy = message.says_repeat and post in posted
                posted.pop((destination, opposite(message.items)), None)
                posted[post] = message.time
            found += [
                Received(message.time, destination, item, message, copy) for item in message.items
            ]
        return found

    @cached_property
    def thread_owners(self) -> dict[tuple[str, str], Destination]:
        """Return whose message each Slack post is; what goes beneath it is theirs."""
        owners = {}
        calls: list[SlackCall | Posted] = [*self.h.slack, *self.h.posted]
        for call in calls:
            medium: Medium = call.medium if isinstance(call, Posted) else "slack"
            owner = (
                self.destination_at(call.time, medium, {call.channel})
                if call.verb == "post"
                else None
            )
            if owner:
                owners[call.channel, call.ts] = owner
        return owners

    def destination_of(self, message: Message) -> Destination | None:
        """Return whom a new message went to; None for updates, deletions and strangers."""
        if isinstance(message, Mail):
            named = {*message.taken_for, *(address for address, _ in message.refused_for)}
            return self.destination_at(message.time, "email", named)
        if message.verb != "post":
            return None
        if isinstance(message, Posted):
            return self.destination_at(message.time, message.medium, {message.address})
        found = self.destination_at(message.time, "slack", {message.channel})
        if found is None and message.thread_ts is not None:
            found = self.thread_owners.get((message.channel, message.thread_ts))
        return found

    @cached_property
    def by_review(self) -> dict[tuple[str, Destination], list[Received]]:
        found: dict[tuple[str, Destination], list[Received]] = {}
        for received in self.received:
            if received.item.review_id is not None:
                found.setdefault((received.item.review_id, received.destination), []).append(
                    received
                )
        return found

    def received_by(self, review_id: str, destination: Destination) -> list[Received]:
        """Return what a destination received of a review, by whatever name it had."""
        names = self._names.get(destination, {destination})
        found = [one for name in names for one in self.by_review.get((review_id, name), [])]
        return sorted(found, key=lambda one: one.time)

    def names_of(self, name: str) -> set[str]:
        """Return all names that a receiver had."""
        media: tuple[Medium, ...] = ("email", "slack", *POSTED)
        found = [self._names.get(Destination(name, medium), set()) for medium in media]
        return {name}.union(*({one.receiver for one in each} for each in found))

    @cached_property
    def _names(self) -> dict[Destination, set[Destination]]:
        """Return the names of each destination: a receiver that is renamed keeps its addresses."""
        of_addresses: dict[object, set[Destination]] = {}
        for _, config in self.in_force:
            for receiver in config.receivers:
                for medium in receiver.media:
                    own = of_addresses.setdefault(receiver.targets(medium), set())
                    own.add(Destination(receiver.name, medium))
        return {
            destination: set().union(
                *(same for same in of_addresses.values() if destination in same)
            )
            for destination in self.destinations
        }

    def may_be_unknown(self, review_id: str, destination: Destination, when: datetime) -> bool:
        """Return whether alerter may take all that a destination got of a review for failed: no
        answer came, and only on Slack it can look whether a message arrived.
        """
        came = [one for one in self.received_by(review_id, destination) if one.time <= when]
        return destination.medium != "slack" and not any(one.message.answered for one in came)

    def may_have_failed(self, review_id: str, destination: Destination, start: datetime) -> bool:
        """Return whether there was an attempt after which a message may rightly fail for good."""
        if self.kills_between(start, self.h.end) > 1:
            return True
        for fault in self.faults(SENDING, start, self.h.end):
            if not is_lossy(fault) or not self.concerns(fault, destination, review_id):
                continue
            targets = {fault.channel, fault.address}
            for receiver in self.receivers_named(destination.receiver):
                targets |= receiver.all_targets
            for attempt in self.attempts_between(max(start, fault.start), fault.end + INFLIGHT):
                about = not attempt.items or any(
                    (item.review_id or "") == review_id for item in attempt.items
                )
                if about and attempt.target in targets:
                    return True
        return any(
            not message.answered
            and message.time >= start
            and any((item.review_id or "") == review_id for item in message.items)
            for message in self.h.messages
        )

    # ------------------------------------------------------------ routing

    def fits(self, config: Config, destination: Destination, review: Review) -> bool:
        """Return whether a receiver gets alerts of a review in this state."""
        return config.site(review.site_id) is not None and self.suits(config, destination, review)

    def suits(self, config: Config, destination: Destination, review: Review) -> bool:
        """Return the same, whether the config has the site or not."""
        receiver = config.receiver(destination.receiver)
        text = review.text.lower()
        return (
            receiver is not None
            and self.covers(config, destination, review.site_id)
            and receiver.min_rating <= review.rating <= receiver.max_rating
            and not receiver.escalation
            and (not receiver.products or review.product in receiver.products)
            and (not receiver.keywords or any(word.lower() in text for word in receiver.keywords))
        )

    def covers(self, config: Config, destination: Destination, site_id: str) -> bool:
        """Return whether a destination is there, and may get messages about a site at all."""
        receiver = config.receiver(destination.receiver)
        if receiver is None or not has_medium(receiver, destination.medium):
            return False
        return not receiver.sites or site_id in receiver.sites

    def route(self, when: datetime, destination: Destination, review: Review) -> Tri:
        fits = [self.fits(config, destination, review) for config in self.configs_near(when)]
        if not any(fits):
            return "not"
        return "must" if all(fits) else "may"

    def released(
        self, config: Config, destination: Destination, rating: int, due: datetime
    ) -> datetime:
        """Return when a message that is due leaves, by the quiet hours of one config."""
        receiver = config.receiver(destination.receiver)
        if receiver is None or (
            receiver.urgent_max_rating is not None and rating <= receiver.urgent_max_rating
        ):
            return due
        for _ in range(len(receiver.quiet) + 1):
            span = quiet_span(receiver, due)
            if span is None:
                return due
            due = span[1]
        return due
