"""Plain values that the rooms hand to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


def to_ms(moment: datetime) -> int:
    """A moment as the state file holds it: whole milliseconds since 1970, UTC."""
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """A moment read back from the state file."""
    return datetime.fromtimestamp(ms / 1000, UTC)


class Medium(StrEnum):
    """By what a destination is reached."""

    EMAIL = "email"
    SLACK = "slack"


def destination_of(receiver: str, medium: Medium) -> str:
    """Return the name of a receiver's email or Slack as a destination: `slack:support`."""
    return f"{medium}:{receiver}"


def receiver_of(destination: str) -> str:
    """Return the name of the receiver that a destination belongs to."""
    return destination.partition(":")[2]


def medium_of(destination: str) -> str:
    """Return by what a destination is reached: `email` or `slack`."""
    return destination.partition(":")[0]


def phrase_destination(destination: str) -> str:
    """Return a destination as a person reads it: `support (Slack)`."""
    medium, _, receiver = destination.partition(":")
    return f"{receiver} ({_MEDIA.get(medium, medium)})" if medium else receiver


_MEDIA: dict[str, str] = {Medium.EMAIL: "email", Medium.SLACK: "Slack"}


class AlertKind(StrEnum):
    """Why people should hear something."""

    NEW = "new"
    LOWERED = "lowered"
    REMINDER = "reminder"
    CLOSED = "closed"
    TROUBLE = "trouble"
    RECOVERED = "recovered"
    SUMMARY = "summary"


class Status(StrEnum):
    """Where a review on record stands."""

    BASELINE = "baseline"
    OPEN = "open"
    CLOSED = "closed"


class CloseReason(StrEnum):
    """Why a review needs nobody any more."""

    ANSWERED = "answered"
    RAISED = "raised"
    REJECTED = "rejected"
    GONE = "gone"


class Grouping(StrEnum):
    """How a delivery may leave: with others once there are more than `burst`, always in a digest, or by itself."""

    BURST = "burst"
    DIGEST = "digest"
    EACH = "each"


class Form(StrEnum):
    """What kind of message carries deliveries."""

    ALERT = "alert"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Reply:
    """The owner's answer to a review."""

    message: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A photo or video; `url` opens it, `thumbnail` is a small picture of it where Wix itself has one."""

    kind: str
    url: str
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A review as Wix returned it, with text that is safe to store and to send on."""

    id: str
    rating: int
    created: datetime | None = None
    updated: datetime | None = None
    written: datetime | None = None
    title: str = ""
    body: str = ""
    author: str = ""
    contact_id: str | None = None
    namespace: str = ""
    entity_id: str | None = None
    reply: Reply | None = None
    moderation: str = ""
    revision: int = 0
    verified: bool | None = None
    origin: str = ""
    helpful: int = 0
    unhelpful: int = 0
    media: tuple[Media, ...] = ()

    @property
    def answered(self) -> bool:
        """Whether the owner has replied."""
        return self.reply is not None

    @property
    def rejected(self) -> bool:
        """Whether moderation turned it down; a status that nobody knows counts as not rejected."""
        return self.moderation == "REJECTED"


@dataclass(frozen=True, slots=True)
class StoredReview:
    """A review on record: as it was read last, where it stands, and when people were alerted of it.

    `closing` says why it is closed, or that it is gone from Wix, whatever it was. Of one that is `anonymized` no words
    are kept, whatever Wix still has; one that was `pruned` was at rest for so long that they were erased. `as_of` is
    the moment for which this holds, `event_sequence` the number of the webhook that it comes from (0: it was read).
    `authorless_since` is when Wix's answers began to lack its author.
    """

    review: Review
    status: Status
    alerted_at: datetime | None = None
    closing: CloseReason | None = None
    anonymized: bool = False
    pruned: bool = False
    as_of: datetime | None = field(default=None, compare=False)
    event_sequence: int = field(default=0, compare=False)
    authorless_since: datetime | None = field(default=None, compare=False)

    @property
    def redacted(self) -> bool:
        """Whether nothing is kept of what anybody wrote."""
        return self.anonymized or self.closing is CloseReason.GONE


@dataclass(frozen=True, slots=True)
class Event:
    """What a webhook says of one review: how it is now (None: deleted), when that was, and its place in their order.

    `anonymized`: its author asked Wix to be forgotten.
    """

    review_id: str
    review: Review | None
    at: datetime | None = None
    sequence: int = 0
    anonymized: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """The decision that people should hear something; `key` is unique for ever."""

    key: str
    kind: AlertKind
    site_id: str | None = None
    review_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Product:
    """What a reviewed product is called, and where its page is, as far as its store says so."""

    name: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewHistory:
    """What is on record around a review.

    `product_low`: low-rated reviews of its product in the last 30 days. `author_low`: earlier low-rated ones by its
    author; `author_last` is when the last of them was written, `author_rating` how many stars it gave.
    """

    product_low: int = 0
    author_low: int = 0
    author_last: datetime | None = None
    author_rating: int = 0


@dataclass(frozen=True, slots=True)
class MessageItem:
    """One alert within a message, with the review as it is known now, why it is closed, and what it is about.

    The context is known where it is the only one of its message.
    """

    alert: Alert
    review: Review | None = None
    product: Product = Product()
    closing: CloseReason | None = None
    context: ReviewHistory = ReviewHistory()


@dataclass(frozen=True, slots=True)
class Thread:
    """The first message about a review to a destination: what is said later of the review belongs beneath it."""

    id: int
    uid: str
    subject: str = ""
    slack_ts: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says: by email the subject, text and HTML; on Slack the blocks, and the text as their fallback."""

    subject: str
    text: str
    html: str = ""
    blocks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What goes out in one call.

    `uid` names it for ever: it is its Message-ID, and stands in Slack's metadata. `to_left` holds
    the addresses that have not taken it yet, where others have. `thread` is the message that it is
    a reply to, if any; `slack_ts` is where it stands once Slack has it.
    `lost` counts the calls whose answer was lost: as long as it is not 0 the message is in doubt,
    and `looked_since` and `look` say since when, and up to where, Slack was searched for it.
    `due_at` is when it was to be settled next.
    `service_time` is the last attempt by the clock of the service, where that was known.
    `builtin` and `plain` say that the owner's templates, or all blocks and HTML, were refused;
    `repeat` that it may have arrived before. An `erase` message shows words of a review that was
    deleted or anonymized; `failing_since` is when it was first refused to change it.
    """

    id: int
    uid: str
    destination: str
    form: Form
    entries: tuple[MessageItem, ...]
    attempted_at: datetime
    attempts: int = 1
    plain: bool = False
    builtin: bool = False
    repeat: bool = False
    lost: int = 0
    looked_since: datetime | None = None
    look: str = ""
    due_at: datetime | None = None
    service_time: datetime | None = None
    to_left: tuple[str, ...] = ()
    thread: Thread | None = None
    slack_channel: str | None = None
    slack_ts: str | None = None
    erase: bool = False
    failing_since: datetime | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the service may have it without our knowing."""
        return self.lost > 0

    @property
    def receiver(self) -> str:
        """The name of the receiver that it goes to."""
        return receiver_of(self.destination)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A service's yes: what it said, and where the message can be found on Slack.

    `to_left` holds the addresses that may take it later, `refused` counts those that never will.
    """

    answer: str
    slack_channel: str | None = None
    slack_ts: str | None = None
    to_left: tuple[str, ...] = ()
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look for a message in doubt has found.

    `receipt`: where the message stands. Else `position` says where to go on; empty: all of it was
    searched, so the message has not arrived. `blind`: the service does not let us look.
    """

    receipt: Receipt | None = None
    position: str = ""
    blind: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `alerter check`."""

    ok: bool
    subject: str
    text: str
    warning: bool = False
