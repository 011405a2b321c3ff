"""What happened in one simulated run, as plain values: what the oracle reads and all it reads.

Every time is an aware datetime of the true virtual clock. The wall clock that alerter sees may be
stepped; a step is a `Fault` of kind ``clock_step``. Everything is written down by the simulated
world (embedded Wix, Slack, SMTP, the driver), nothing is taken from alerter's own tables.
Tuples are ordered by time. What did not happen or is not known is None or an empty tuple.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Literal

Medium = Literal["email", "slack", "webhook", "ntfy", "discord", "teams"]
POSTED: tuple[Medium, ...] = ("webhook", "ntfy", "discord", "teams")
Verb = Literal["post", "update", "delete"]
AlertKind = Literal[
    "new", "lowered", "reminder", "closed", "cluster", "trouble", "recovered", "summary"
]
Reason = Literal["answered", "raised", "rejected", "gone", "threshold"]

# ---------------------------------------------------------------- config


@dataclass(frozen=True, slots=True)
class Site:
    site_id: str
    name: str
    threshold: int
    may_read_private: bool = (
        True  # the config asks for private reviews (Wix may still refuse, which is a fault)
    )


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A daily span in local time; over midnight when `end` is before `start`."""

    start: time
    end: time
    zone: str
    weekdays: tuple[
        int, ...
    ] = ()  # Monday is 0; empty: every day. The day is the one on which the span starts


@dataclass(frozen=True, slots=True)
class Receiver:
    name: str
    emails: tuple[str, ...] = ()
    channel: str | None = None
    posted: Medium | None = None  # the medium of `address`
    address: str | None = None
    sites: tuple[str, ...] = ()  # site ids; empty: every site of the config
    min_rating: int = 1
    max_rating: int = 5
    keywords: tuple[str, ...] = ()  # at least one must stand in title or body (letter case ignored)
    products: tuple[str, ...] = ()  # product ids; empty: all
    quiet: tuple[QuietHours, ...] = ()
    urgent_max_rating: int | None = None  # ratings up to this one ignore the quiet hours
    closings: bool = False  # it receives `closed` as messages of its own
    trouble: bool = False  # it receives `trouble` and `recovered`
    summary: bool = False
    escalation: bool = False  # receives only what escalates to it (named by `Config.escalate_to` and fit for nothing else)

    def targets(self, medium: Medium) -> frozenset[str]:
        """Return where a medium reaches it; empty where it does not."""
        if medium == "email":
            return frozenset(self.emails)
        found = self.channel if medium == "slack" else self.address
        own = medium in {"slack", self.posted} and found is not None
        return frozenset({found}) if own and found else frozenset()

    @property
    def media(self) -> tuple[Medium, ...]:
        return tuple(medium for medium in ("email", "slack", *POSTED) if self.targets(medium))

    @property
    def all_targets(self) -> set[str]:
        return {target for medium in self.media for target in self.targets(medium)}


@dataclass(frozen=True, slots=True)
class Config:
    sites: tuple[Site, ...]
    receivers: tuple[Receiver, ...]
    poll_every: timedelta = timedelta(minutes=5)
    rescan_every: timedelta = timedelta(hours=1)
    rescan_window: timedelta = timedelta(days=30)
    trouble_after: timedelta = timedelta(minutes=30)
    keep: timedelta = timedelta(days=365)
    burst: int = 5
    reminders_after: tuple[
        timedelta, ...
    ] = ()  # counted from when this destination received the alert
    escalate_to: str | None = None  # receiver that gets the last reminder too
    escalate_after: timedelta | None = None  # when escalation has a span of its own
    summary_at: tuple[
        str, ...
    ] = ()  # as written in the config; the oracle only asks whether there is one

    def site(self, site_id: str) -> Site | None:
        return next((site for site in self.sites if site.site_id == site_id), None)

    def receiver(self, name: str) -> Receiver | None:
        return next((receiver for receiver in self.receivers if receiver.name == name), None)


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """A config that was handed over: by a start or a reload."""

    time: datetime  # when the daemon was asked to read it (start or reload)
    config: Config
    in_force: (
        datetime | None
    )  # when the daemon said that it took it; None: it was refused as faulty, or nobody read it
    how: Literal["start", "reload"] = "reload"


@dataclass(frozen=True, slots=True)
class SummaryDue:
    """A summary is due for a receiver by the config in force (the generator knows its times)."""

    time: datetime
    receiver: str


# ---------------------------------------------------------------- Wix


@dataclass(frozen=True, slots=True)
class Review:
    """The state of one review at Wix. `words` is a marker that stands in its text and in no other
    text.
    """

    review_id: str
    site_id: str
    rating: int
    created: datetime  # createdDate
    version: int  # counts 0, 1, 2, … with every event of this review; the identity of this state
    revision: int = 1  # what Wix says (need not move with `version`)
    updated: datetime | None = None  # updatedDate
    review_date: datetime | None = None  # reviewDate; None: the same as created
    product: str | None = None
    words: tuple[str, ...] = ()  # every marker in title and body; changed words have new markers
    text: str = ""  # title and body
    author: str | None = "Author"  # None after anonymizing
    reply: str | None = None
    moderation: Literal["SUBMITTED", "IN_MODERATION", "APPROVED", "REJECTED", "UNKNOWN"] = (
        "APPROVED"
    )
    visible_from: datetime | None = None  # reads do not show it before; None: at once
    deleted: bool = False
    anonymized: bool = False

    @property
    def is_private(self) -> bool:
        return self.moderation != "APPROVED"


ReviewChange = Literal[
    "created", "imported", "edited", "rating_changed", "answered", "answer_removed", "rejected", "approved",
    "in_moderation", "deleted", "anonymized", "voted",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    time: datetime
    change: ReviewChange
    after: Review


@dataclass(frozen=True, slots=True)
class Read:
    """One answer of Wix to a query or a GET of reviews; one for each page."""

    time: datetime
    site_id: str
    by: str  # "daemon", or the `run_id` of a second process
    private: bool  # the call asked for private reviews, and Wix let it
    shown: tuple[
        tuple[str, int], ...
    ] = ()  # (review_id, version) in the answer as it was sent, stale ones too
    absent: tuple[str, ...] = ()  # ids that were asked for ($in, GET) and are not in the answer
    arrived: bool = True  # the answer went out whole, was no lie (nonsense, empty by fault) and its caller still lived
    wrong: bool = False  # the answer was a lie: `absent` holds ids that exist
    last_page: bool = True
    oldest_asked: datetime | None = (
        None  # the lower bound of createdDate that was asked for, if any
    )
    by_id: bool = False  # the call asked for reviews by their ids


@dataclass(frozen=True, slots=True)
class Webhook:
    """One delivery of an event to alerter; a duplicate is a delivery of its own."""

    time: datetime
    event_id: str
    site_id: str
    review_id: str
    event: Literal["created", "updated", "deleted", "moderation_status_changed", "review_published"]
    version: int | None  # the state it carries; None: it carries none (a deletion)
    taken: bool  # answered 2xx
    anonymize: bool = False  # triggeredByAnonymizeRequest
    event_time: datetime | None = None  # when it happened at Wix


# ---------------------------------------------------------------- faults

FaultKind = Literal[
    # wix (site_id=None: every site)
    "wix_down", "wix_throttled", "wix_nonsense", "wix_stale", "wix_empty", "wix_unauthorized", "wix_private_forbidden",
    "wix_token", "wix_no_author", "wix_slow",
    # slack (channel=None: every channel; method=None: every method)
    "slack_down", "slack_throttled", "slack_auth", "slack_channel_refused", "slack_message_refused",
    "slack_update_refused", "slack_dropped_before", "slack_dropped_after", "slack_nonsense", "slack_history_limited",
    # smtp (address=None: every address)
    "smtp_down", "smtp_busy", "smtp_auth", "smtp_address_hard", "smtp_address_soft", "smtp_message_refused",
    "smtp_dropped_before", "smtp_dropped_after", "smtp_nonsense",
    # an address of a webhook, ntfy, Discord or Teams (address=None: every one)
    "posted_down", "posted_redirected", "posted_throttled", "posted_gone", "posted_message_refused",
    "posted_dropped_before", "posted_dropped_after", "posted_nonsense",
    # the machine
    "disk_full", "state_locked", "clock_step", "config_faulty",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was wrong from `start` to `end` (half open). Scope: the fields that are set."""

    kind: FaultKind
    start: datetime
    end: datetime
    site_id: str | None = None
    channel: str | None = None
    address: str | None = None
    method: str | None = None  # chat.postMessage, chat.update, conversations.history, …
    review_id: str | None = None  # for message_refused: only messages that name this review
    retry_after: timedelta | None = (
        None  # as sent; what was throttled may stay so for as long after `end`
    )
    step: timedelta | None = (
        None  # clock_step: how much the wall clock differs from the true one in the span
    )
    code: str | None = None  # the service's word or number: invalid_auth, 535, 421, …
    intermittent: bool = False  # it hits some calls in the span only


# ---------------------------------------------------------------- processes


@dataclass(frozen=True, slots=True)
class DaemonSpan:
    """The daemon ran from `start` until `end`; ready is when it had routed what was pending."""

    start: datetime
    end: datetime | None  # None: it still runs when the history ends
    ended_by: Literal["running", "stopped", "killed", "crashed"] = "running"


Command = Literal[
    "backfill", "retry", "reply", "moderate", "claim", "snooze", "backup", "restore", "forget", "check", "test",
    "run_once",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """A second process (or a command) and what it was asked."""

    run_id: str
    command: Command
    start: datetime
    end: datetime | None  # None: killed, or still running
    exit_code: int | None = None
    sites: tuple[str, ...] = ()  # backfill, forget; empty: all
    since: datetime | None = None
    until: datetime | None = None
    deliver: Literal["digest", "each", "none"] = "digest"
    dry_run: bool = False
    review_id: str | None = None
    move: bool = False  # restore --move
    backup_taken: datetime | None = None  # restore: when the backup that it puts back was made
    receivers: tuple[str, ...] = ()  # test: whom it sent to


# ---------------------------------------------------------------- what people received


@dataclass(frozen=True, slots=True)
class Item:
    """One alert that a message is about; a digest has one for each. Read from the message, not from
    tables.

    `about` says what a trouble, a recovered, a cluster or a summary concerns: ``site:<site_id>``,
    ``receiver:<name>``, ``slack``, ``smtp``, ``wix``, ``database``, ``config``,
    ``erasure:<review_id>``,
    ``other:<anything>`` where the recorder cannot tell. A slash and a part tell apart different
    faults of one site,
    receiver or service: ``site:<site_id>/unpublished``.
    """

    kind: AlertKind
    review_id: str | None = None
    about: str | None = None
    before: int | None = None  # lowered: the rating before …
    after: int | None = None  # … and the one now; for every other kind the rating it shows
    reason: Reason | None = None  # closed
    number: int | None = None  # reminder: the first is 1, if the message says so
    says_older: bool = (
        False  # `new`: it says that the review is older, and was changed or approved since
    )
    # An entry of a digest, which has one for each review.
    in_digest: bool = field(default=False, compare=False)
    reviews: tuple[str, ...] = ()  # cluster: those that it names


@dataclass(frozen=True, slots=True)
class SlackCall:
    """One call of chat.postMessage, chat.update or chat.delete that Slack took (whether the answer
    came or not).
    """

    time: datetime
    verb: Literal["post", "update", "delete"]
    channel: str
    ts: str  # the message's; for a post the new one
    thread_ts: str | None = None  # as asked
    in_thread: bool = (
        False  # it really stands in the thread (a deleted parent puts it into the channel)
    )
    items: tuple[Item, ...] = ()
    text: str = ""  # all of what people can read, blocks included
    says_repeat: bool = False
    answered: bool = True  # alerter got the answer
    test: bool = False  # sent by `alerter test` or `check`
    site_ids: tuple[
        str, ...
    ] = ()  # sites that it names, by name or id, for messages without review ids


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail that the server took for at least one address (whether the answer came or not)."""

    time: datetime
    message_id: str
    taken_for: tuple[str, ...]
    items: tuple[Item, ...] = ()
    subject: str = ""
    text: str = ""
    says_repeat: bool = False
    answered: bool = True
    refused_for: tuple[tuple[str, int], ...] = ()  # (address, code)
    test: bool = False
    site_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """One request that an address took (whether the answer came or not)."""

    time: datetime
    medium: Medium
    address: str
    verb: Verb
    ts: str  # the id of what was posted on Discord, and the `webhook-id` of a webhook
    items: tuple[Item, ...] = ()
    text: str = ""
    says_repeat: bool = False
    answered: bool = True
    test: bool = False
    site_ids: tuple[str, ...] = ()

    @property
    def channel(self) -> str:
        """Where it stands."""
        return self.address


Message = SlackCall | Mail | Posted


@dataclass(frozen=True, slots=True)
class Attempt:
    """A call that Slack or the mail server did not take: refused, throttled, or lost before it was
    taken.
    """

    time: datetime
    service: Literal["slack", "smtp", "wix", "posted"]
    target: str  # channel, address or site id
    method: str | None = None
    outcome: str = ""  # the code or word of the answer; "dropped"
    message_id: str | None = None
    items: tuple[Item, ...] = ()
    retry_after: timedelta | None = None  # of a throttled one, as sent
    by: str = "daemon"  # or the `run_id` of a second process


# ---------------------------------------------------------------- what alerter says and keeps


@dataclass(frozen=True, slots=True)
class SiteStatus:
    site_id: str
    last_success: datetime | None
    trouble: bool
    open_reviews: int


@dataclass(frozen=True, slots=True)
class ReceiverStatus:
    name: str
    pending: int
    sent: int
    failed: int


@dataclass(frozen=True, slots=True)
class Status:
    """`alerter status --json`, parsed."""

    time: datetime
    exit_code: int
    sites: tuple[SiteStatus, ...] = ()
    receivers: tuple[ReceiverStatus, ...] = ()
    pending: int = 0
    sent: int = 0
    failed: int = 0
    troubles: tuple[str, ...] = ()  # each as `Item.about` has it
    parked: tuple[str, ...] = ()  # scopes, as `Item.about` has them


@dataclass(frozen=True, slots=True)
class Explain:
    """`alerter explain REVIEW_ID`: what it prints, and what the recorder reads in it."""

    time: datetime
    review_id: str
    exit_code: int
    text: str = ""
    state: Literal["open", "closed", "baseline", "resting", "unknown"] | None = (
        None  # None: not read
    )
    received: tuple[tuple[str, str], ...] | None = (
        None  # (receiver, kind) that it says were sent; None: not read
    )


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes of the database files, searched for the markers of every review that ever was."""

    time: datetime
    found: tuple[
        tuple[str, str, str], ...
    ] = ()  # (review_id, marker, "db" | "wal"); only those that were found


# ---------------------------------------------------------------- all of it


@dataclass(frozen=True, slots=True)
class History:
    start: datetime
    end: datetime
    configs: tuple[ConfigVersion, ...] = ()
    daemon: tuple[DaemonSpan, ...] = ()
    reviews: tuple[ReviewEvent, ...] = ()
    reads: tuple[Read, ...] = ()
    webhooks: tuple[Webhook, ...] = ()
    faults: tuple[Fault, ...] = ()
    runs: tuple[Run, ...] = ()
    slack: tuple[SlackCall, ...] = ()
    mails: tuple[Mail, ...] = ()
    posted: tuple[Posted, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    statuses: tuple[Status, ...] = ()
    explains: tuple[Explain, ...] = ()
    storage: tuple[Storage, ...] = ()
    summaries: tuple[SummaryDue, ...] | None = None  # None: not written down, so not judged
    seed: str = ""
    notes: tuple[str, ...] = field(default=(), compare=False)  # for people: what the generator did

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message that a service took."""
        return (*self.slack, *self.mails, *self.posted)

    def with_(self, **changes: object) -> History:
        """Return a copy with these fields replaced."""
        return replace(self, **changes)
