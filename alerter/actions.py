"""Actions: what people do about a review, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from unicodedata import normalize


class ActionKind(StrEnum):
    """What a person does about a review; `publish` and `reject` moderate it."""

    REPLY = "reply"
    PUBLISH = "publish"
    REJECT = "reject"
    CLAIM = "claim"
    RELEASE = "release"
    SNOOZE = "snooze"

    @property
    def is_call(self) -> bool:
        """Whether it is a call to Wix; the others change our own records only."""
        return self in (ActionKind.REPLY, ActionKind.PUBLISH, ActionKind.REJECT)


class ActionStatus(StrEnum):
    """The state of an action: `sending` from before its call to Wix until its fate is known."""

    PENDING = "pending"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"


class Through(StrEnum):
    """Where a person acted."""

    SLACK = "slack"
    PAGE = "page"
    COMMAND = "command"


class Outcome(StrEnum):
    """Why an action is done, or has failed."""

    DONE = "done"
    ALREADY = "already"  # Wix has it so already, so nothing was sent
    CHANGED_MEANWHILE = "changed_meanwhile"  # done, but something else changed at the same moment
    OTHER_REPLY = "other_reply"  # it has a reply that the person has not seen
    OTHER_TEXT = "other_text"  # its text has changed since the person read it
    GONE = "gone"  # Wix does not have the review, or we may not see it
    NOT_OPEN = "not_open"  # it needs no answer: there is nothing to claim or to snooze
    FORBIDDEN = "forbidden"  # the key or app lacks the permission
    REFUSED = "refused"  # Wix refuses the call for another reason
    UNREACHABLE = "unreachable"  # Wix could not be asked for too long; nothing was sent
    LOST = "lost"  # sent twice, and Wix does not have it
    RESTORED = "restored"  # it waited in a backup that was restored, and may have been sent since


@dataclass(frozen=True, slots=True)
class Person:
    """Who acts: a name, and the id of a Slack user."""

    name: str
    slack_id: str = ""


@dataclass(frozen=True, slots=True)
class NewAction:
    """An action that a person asks for.

    `key` is the same whenever the same press, submission or form arrives again.
    `seen` and `seen_reply` are the digests of the text and of the reply that the person has seen;
    a reply that was seen is overwritten with `replace` only. `reply` is what to send.
    `until`: the end of a claim or a snooze. `place`: where on Slack the person gets the result.
    """

    key: str
    kind: ActionKind
    site_id: str
    review_id: str
    person: Person
    through: Through
    revision: int = 0
    seen: str = ""
    seen_reply: str = ""
    reply: str = ""
    replace: bool = False
    until: datetime | None = None
    place: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Action:
    """A recorded action.

    `calls`: how many calls to Wix have begun; above 0 while `sending`, it may have arrived.
    `looked`: the review's revision right before the last of them.
    `owner`: the process that carries it out, until `lease_until`. `answer`: what Wix said.
    `ended_at`: when a claim or a snooze ended early.
    """

    id: int
    new: NewAction
    at: datetime
    status: ActionStatus
    calls: int = 0
    looked: int = 0
    owner: str = ""
    lease_until: datetime | None = None
    due_at: datetime | None = None
    outcome: Outcome | None = None
    answer: str = ""
    finished_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is done or has failed."""
        return self.status in (ActionStatus.DONE, ActionStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Response:
    """What people do about a review at present, as messages and pages show it.

    Each name is empty where there is none. `replied_at` is when the reply of `replied_by` arrived,
    `reply` its words as Wix shows them. `moderation`: what `moderated_by` did last.
    """

    claimed_by: str = ""
    claimed_until: datetime | None = None
    snoozed_by: str = ""
    snoozed_until: datetime | None = None
    replying: str = ""
    replied_by: str = ""
    replied_at: datetime | None = None
    reply: str = ""
    moderated_by: str = ""
    moderation: ActionKind | None = None


NO_RESPONSE = Response()

# The review object documents 1,000 characters of a reply, though Set Reply takes 10,000:
# https://dev.wix.com/docs/rest/business-management/reviews/reviews/review-object
MOST_SHOWN = 1_000


def normalize_reply(text: str) -> str:
    """Return what a reply is recognised by: its first 1,000 characters, in one form."""
    text = normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
    return text[:MOST_SHOWN].rstrip()


def is_same_text(found: str, sent: str) -> bool:
    """Return whether a reply that is found at Wix, maybe cut off, is the one that was sent."""
    theirs, ours = normalize_reply(found), normalize_reply(sent)
    is_cut = len(theirs.encode("utf-16-le")) // 2 >= MOST_SHOWN - 1
    return theirs == ours or (is_cut and ours.startswith(theirs))


def digest(*texts: str) -> str:
    """Return what texts are compared by, without keeping them."""
    return sha256("\0".join(texts).encode()).hexdigest()[:16]
