"""The notifier for ntfy: https://docs.ntfy.sh/publish/."""

from email.header import Header

from alerter.models import Content, Message
from alerter.notify.http_address import HttpNotifier, HttpRequest

# A longer message becomes an attachment: https://docs.ntfy.sh/publish/#limitations
LARGEST_TEXT = 4096


class NtfyNotifier(HttpNotifier):
    """Publishes to one receiver's topic."""

    def request_of(self, message: Message, content: Content) -> HttpRequest:
        """Return the text of a message, with its subject as the title."""
        body = _cut(content.text)
        title = Header(content.subject, "utf-8", maxlinelen=10_000).encode()
        headers = {
            "Title": title,
            "Priority": _priority(message),
            "Content-Type": "text/plain; charset=utf-8",
        }
        return HttpRequest(body, headers)


def _priority(message: Message) -> str:
    """Return 4 (high) for a review of one star, else 3: https://docs.ntfy.sh/publish/#priority."""
    ratings = [item.review.rating for item in message.entries if item.review]
    return "4" if min(ratings, default=5) == 1 else "3"


def _cut(text: str) -> bytes:
    """Return a text in UTF-8, cut at a whole character where it is too long."""
    whole = text.encode()
    if len(whole) <= LARGEST_TEXT:
        return whole
    end = "…".encode()
    return whole[: LARGEST_TEXT - len(end)].decode(errors="ignore").encode() + end
