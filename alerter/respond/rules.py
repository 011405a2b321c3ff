"""Rules of actions: which reply Wix takes, and whether an action may be sent. Pure."""

from unicodedata import category, normalize

from alerter.actions import Action, ActionKind, Outcome, is_same_text
from alerter.models import Reply, Review

# Set Reply takes 10,000 characters, while Wix's review object documents 1,000:
# https://dev.wix.com/docs/rest/business-management/reviews/reviews/set-reply
MOST_CHARACTERS = 10_000
_STATUS = {ActionKind.PUBLISH: "APPROVED", ActionKind.REJECT: "REJECTED"}


class InvalidReply(ValueError):
    """A reply that Wix does not take; `fault` says why, `length` is its number of characters."""

    def __init__(self, fault: str, length: int = 0) -> None:
        super().__init__(fault)
        self.fault = fault
        self.length = length


def parse_reply(message: str) -> str:
    """Return a reply as Wix takes it: NFC, with line feeds only. Raise InvalidReply.

    The faults are `empty`, `too long`, `not text` and `control characters`.
    """
    try:
        message.encode()
    except UnicodeEncodeError:
        raise InvalidReply("not text") from None
    text = normalize("NFC", message.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if not text:
        raise InvalidReply("empty")
    if any(category(char) == "Cc" and char not in "\n\t" for char in text):
        raise InvalidReply("control characters")
    if len(text) > MOST_CHARACTERS:
        raise InvalidReply("too long", len(text))
    return text


def is_same_reply(found: Reply | None, sent: str) -> bool:
    """Return whether a reply at Wix is the one that was sent, which Wix may have cut off."""
    return found is not None and is_same_text(found.message, sent)


def decide(action: Action, review: Review) -> Outcome | None:
    """Return the outcome of an action by what Wix has now; None: it is to be sent."""
    new = action.new
    if _is_done(action, review):
        if not action.calls:
            return Outcome.ALREADY
        # Our call counts the revision up once.
        jumped = action.looked and review.revision > action.looked + 1
        return Outcome.CHANGED_MEANWHILE if jumped else Outcome.DONE
    if new.kind is ActionKind.REPLY and review.reply:
        may_replace = new.replace and review.reply_digest == new.seen_reply
        if not may_replace:
            return Outcome.OTHER_REPLY
    if new.seen and review.text_digest != new.seen:
        return Outcome.OTHER_TEXT
    return None


def _is_done(action: Action, review: Review) -> bool:
    if action.new.kind is ActionKind.REPLY:
        return is_same_reply(review.reply, action.new.reply)
    return review.moderation == _STATUS[action.new.kind]
