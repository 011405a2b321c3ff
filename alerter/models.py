"""Plain values that the packages pass to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from alerter.actions import NO_RESPONSE, Response, digest, normalize_reply
from alerter.orders import Order
from alerter.scopes import Scope


def to_ms(moment: datetime) -> int:
    """Return a moment as whole milliseconds since 1970 (UTC), as the database stores it."""
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Return the moment (UTC) that a stored number of milliseconds stands for."""
    return datetime.fromtimestamp(ms / 1000, UTC)


class Medium(StrEnum):
    """The medium of a destination."""

    EMAIL = "email"
    SLACK = "slack"
    WEBHOOK = "webhook"
    NTFY = "ntfy"
    DISCORD = "discord"
    TEAMS = "teams"

    @property
    def shown(self) -> str:
        """Its name as people read it; those that are no proper names are English."""
        return {"slack": "Slack", "discord": "Discord", "teams": "Teams"}.get(self, str(self))


# The media that post to one address of a receiver, which is a secret.
POSTED = (Medium.WEBHOOK, Medium.NTFY, Medium.DISCORD, Medium.TEAMS)


def destination_of(receiver: str, medium: Medium) -> str:
    """Return the destination of a receiver in one medium, such as `slack:support`."""
    return f"{medium}:{receiver}"


def receiver_of(destination: str) -> str:
    """Return the name of the receiver that owns a destination."""
    return destination.partition(":")[2]


def medium_of(destination: str) -> str:
    """Return the medium of a destination, such as `email`; any text where it is none."""
    return destination.partition(":")[0]


def phrase_destination(destination: str) -> str:
    """Return a destination as people read it, such as `support (Slack)`."""
    medium, _, receiver = destination.partition(":")
    shown = Medium(medium).shown if medium in list(Medium) else medium
    return f"{receiver} ({shown})" if medium else receiver


class AlertKind(StrEnum):
    """What an alert notifies people of."""

    NEW = "new"
    LOWERED = "lowered"
    REMINDER = "reminder"
    CLOSED = "closed"
    CLUSTER = "cluster"
    TROUBLE = "trouble"
    RECOVERED = "recovered"
    SUMMARY = "summary"


class Status(StrEnum):
    """The state of a stored review."""

    BASELINE = "baseline"
    OPEN = "open"
    CLOSED = "closed"


class CloseReason(StrEnum):
    """Why a review needs no answer any more."""

    ANSWERED = "answered"
    RAISED = "raised"
    REJECTED = "rejected"
    GONE = "gone"


class Grouping(StrEnum):
    """How a delivery may be sent.

    `burst`: in a digest when more than `burst` are due at once. `digest`: always in a digest.
    `each`: always in a message of its own.
    """

    BURST = "burst"
    DIGEST = "digest"
    EACH = "each"


class Form(StrEnum):
    """The form of a message: one alert, or a digest of many."""

    ALERT = "alert"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Reply:
    """The owner's reply to a review."""

    message: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """A photo or video at `url`; `thumbnail` is the address of a small picture hosted by Wix."""

    kind: str
    url: str
    thumbnail: str | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """A review as Wix returned it, with text that is safe to store and to send."""

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
    topics: tuple[str, ...] = field(default=(), compare=False)  # found by us, not Wix's

    @property
    def answered(self) -> bool:
        """Whether the owner has replied."""
        return self.reply is not None

    @property
    def text_digest(self) -> str:
        """A digest of what a person reads: its rating, title and text."""
        return digest(str(self.rating), self.title, self.body)

    @property
    def reply_digest(self) -> str:
        """A digest of its reply; empty without one."""
        return digest(normalize_reply(self.reply.message)) if self.reply else ""

    @property
    def is_pending(self) -> bool:
        """Whether it waits for moderation."""
        return self.moderation in ("SUBMITTED", "IN_MODERATION")

    @property
    def rejected(self) -> bool:
        """Whether moderation rejected it; an unknown status counts as not rejected."""
        return self.moderation == "REJECTED"


@dataclass(frozen=True, slots=True)
class StoredReview:
    """A stored review: its last known content, its state, and when it was first alerted.

    `closing`: why it is closed, or `gone` in any state once Wix has deleted it.
    `anonymized`: its text is never stored again, even if Wix still returns it.
    `pruned`: its text was erased after `keep`.
    `as_of`: the moment at which this content was valid.
    `event_sequence`: the number of the webhook that it comes from; 0 if it was read from the API.
    `authorless_since`: when Wix began to return it without its author.
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
        """Whether its text was removed at Wix, so that none may be kept."""
        return self.anonymized or self.closing is CloseReason.GONE


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook about one review.

    `review` is its content now, None if it was deleted. `at` and `sequence` order the webhooks of
    one review. `anonymized`: the author asked Wix to erase their data.
    """

    review_id: str
    review: Review | None
    at: datetime | None = None
    sequence: int = 0
    anonymized: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """The decision to notify people; `key` is unique for ever, so nothing is alerted twice."""

    key: str
    kind: AlertKind
    site_id: str | None = None
    review_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Product:
    """The name and the page of a reviewed product; None where the catalog does not have them."""

    name: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ReviewHistory:
    """Stored facts about a review's product and author.

    `product_low`: low-rated reviews of its product in the last 30 days.
    `author_low`: earlier low-rated reviews by its author. `author_last` and `author_rating` are
    the date and the rating of the last of them.
    """

    product_low: int = 0
    author_low: int = 0
    author_last: datetime | None = None
    author_rating: int = 0


@dataclass(frozen=True, slots=True)
class MessageItem:
    """One alert of a message, with its review as it is stored now and the reviewed product.

    `closing` is set if the review was closed since the alert. `context` is empty in a digest.
    `response`: what people do about it at present. `raised_at`: None for a sample. `order`: the one
    behind the review, if known. `reviews`: those of a cluster, oldest first, without `erased` ones.
    """

    alert: Alert
    review: Review | None = None
    product: Product = Product()
    closing: CloseReason | None = None
    context: ReviewHistory = ReviewHistory()
    response: Response = NO_RESPONSE
    raised_at: datetime | None = None
    order: Order | None = None
    reviews: tuple["MessageItem", ...] = ()
    erased: int = 0


@dataclass(frozen=True, slots=True)
class Thread:
    """The first message about a review to a destination; later ones are sent as replies to it."""

    id: int
    uid: str
    subject: str = ""
    slack_ts: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """The rendered content of a message.

    Email uses subject, text and HTML; Slack the blocks, with the text as their fallback. `links`:
    label and address of each page to open, the most useful first, for media that have buttons.
    """

    subject: str
    text: str
    html: str = ""
    blocks: tuple[Mapping[str, Any], ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent in one call.

    `uid` names it for ever: it is the Message-ID of a mail and part of Slack's metadata.
    `thread` is the message that it replies to; `slack_ts` is its timestamp once Slack has it.
    `to_left`: addresses that have not accepted it yet, where others have.
    `lost` counts the calls whose answer was lost; above 0 the message is in doubt.
    `looked_since` and `look` are the start and the cursor of the search for it on Slack.
    `due_at`: when it was due to be sent or searched for next.
    `service_time`: the time of the last attempt by the service's clock, if known.
    `builtin`: the owner's templates were refused. `plain`: blocks and HTML were refused too.
    `repeat`: it may have been delivered before.
    `erase`: it shows text of a review that was deleted or anonymized; `failing_since` is when
    the service first refused to change it.
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
        """Whether the service may have accepted it although no answer arrived."""
        return self.lost > 0

    @property
    def receiver(self) -> str:
        """The name of its receiver."""
        return receiver_of(self.destination)

    @property
    def scopes(self) -> set[str]:
        """What a transaction that records its fate locks: its destination, its reviews' sites."""
        ids = {entry.alert.site_id for entry in self.entries}
        return {
            Scope.DESTINATION.of(self.destination),
            *(Scope.SITE.of(site_id) for site_id in ids if site_id),
        }


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer of a service that accepted a message, and where the message stands on Slack.

    `to_left`: addresses that refused it for now. `refused`: how many refused it for good.
    """

    answer: str
    slack_channel: str | None = None
    slack_ts: str | None = None
    to_left: tuple[str, ...] = ()
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """The result of a search for a message in doubt.

    `receipt`: the message was found. Otherwise `position` is the cursor to continue from; if it is
    empty, the search is complete and the message has not arrived.
    `blind`: the service does not allow the search.
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
