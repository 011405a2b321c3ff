"""Plain values of the oracle: violations, destinations, and which fault keeps what from being done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from tests.simulation.history import Attempt, Fault, Item, Mail, Medium, Message, Receiver

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
INFLIGHT = 2 * MINUTE  # what was under way when something changed may still arrive
SETTLE = 2 * HOUR + 15 * MINUTE  # a parked probe comes hourly, a doubt lasts twice ten minutes
IN_DOUBT = 25 * MINUTE
LATE = 10 * MINUTE  # see `World.late`

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
    message: Message
    copy: bool  # the same mail (Message-ID) once more, or a Slack post that says it may be a repeat and is one

    @property
    def in_digest(self) -> bool:
        """Whether it came as an entry of a digest, which has one for each review."""
        return self.item.in_digest or len(self.message.items) > 1


WIX = (
    "wix_down",
    "wix_throttled",
    "wix_nonsense",
    "wix_stale",
    "wix_empty",
    "wix_unauthorized",
    "wix_token",
)
MACHINE = ("disk_full", "state_locked", "clock_step")
# What keeps a new message from leaving (not an update, not a look into the channel's history).
SLACK_POST = (
    "slack_down", "slack_throttled", "slack_auth", "slack_channel_refused", "slack_message_refused",
    "slack_dropped_before", "slack_dropped_after", "slack_nonsense",
)  # fmt: skip
SLACK_ERASES = ("slack_down", "slack_throttled", "slack_auth", "slack_channel_refused", "slack_update_refused",
                "slack_dropped_before", "slack_dropped_after", "slack_nonsense", "slack_message_refused")  # fmt: skip
SMTP = (
    "smtp_down", "smtp_busy", "smtp_auth", "smtp_address_hard", "smtp_address_soft", "smtp_message_refused",
    "smtp_dropped_before", "smtp_dropped_after", "smtp_nonsense",
)  # fmt: skip
# The service of DESIGN's table is the single address.
POSTED_FAULTS = (
    "posted_down", "posted_redirected", "posted_throttled", "posted_gone", "posted_message_refused",
    "posted_dropped_before", "posted_dropped_after", "posted_nonsense",
)  # fmt: skip
ERASES = (*SLACK_ERASES, *POSTED_FAULTS)
SENDING = (*SLACK_POST, *SMTP, *POSTED_FAULTS)
# After these a message may rightly have failed for good: it is then trouble, and `retry` sends it.
LOSSY = (
    "slack_message_refused", "slack_dropped_before", "slack_dropped_after", "slack_nonsense", "smtp_address_hard",
    "smtp_message_refused", "smtp_dropped_before", "smtp_dropped_after", "smtp_nonsense",
    "posted_message_refused", "posted_dropped_before", "posted_dropped_after", "posted_nonsense",
)  # fmt: skip
ADDRESS = ("smtp_address_hard", "smtp_address_soft")
# Codes of which the design does not say whether they are transient or park a receiver.
UNCLEAR = ("internal_error", "restricted_action", "554 5.3.2 no")
PARKING = ("slack_auth", "slack_channel_refused", "smtp_auth", "smtp_address_hard", "posted_gone")


def addresses_of(message: Message) -> set[str]:
    """Return where a message arrived: its channel, or the addresses that took it."""
    return set(message.taken_for) if isinstance(message, Mail) else {message.channel}


def opposite(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Return what says that a trouble is over, or that it begins: after it the same words are no
    repeat.
    """
    others = {"trouble": "recovered", "recovered": "trouble"}
    return tuple(replace(item, kind=others.get(item.kind, item.kind)) for item in items)


def is_lossy(fault: Fault) -> bool:
    """Return whether a message that met this fault may rightly have failed for good, or be in
    doubt.
    """
    lost = fault.kind in {"slack_down", "smtp_down", "posted_down"} and (
        fault.code or ""
    ).startswith(("drop", "hang", "554"))
    return lost or fault.kind in LOSSY


def leaves_doubt(attempt: Attempt) -> bool:
    """Return whether a message may have arrived all the same: its answer was lost, or Slack failed
    after it may have taken it.
    """
    failed = attempt.service == "slack" and attempt.outcome.startswith(("5", "internal_error"))
    return failed or attempt.outcome == "dropped"


def fault_end(fault: Fault) -> datetime:
    """Return when the last rightful effect of a fault on a waiting message is over."""
    after = timedelta(0) if fault.kind == "wix_stale" else fault.retry_after or timedelta(0)
    if fault.kind in PARKING or fault.kind == "clock_step" or fault.code in UNCLEAR:
        after = max(after, HOUR + 5 * MINUTE)
    elif is_lossy(fault):
        after = max(after, IN_DOUBT)
    else:
        after = max(after, 5 * MINUTE)
    return fault.end + after


def has_medium(receiver: Receiver, medium: Medium) -> bool:
    return bool(receiver.targets(medium))


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
