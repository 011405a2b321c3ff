"""The notifier for ntfy: https://docs.ntfy.sh/publish/."""

import json
from email.header import Header

from alerter.models import AlertKind, Content, Message, MessageItem
from alerter.notify.http_address import HttpNotifier, HttpRequest
from alerter.render.formatting import cut

# A longer message becomes an attachment (https://docs.ntfy.sh/publish/#limitations), and so does
# one of 4,096 bytes: `Peek` and `handlePublishBody` in its server.
LARGEST_TEXT = 4095
# A repeat begins with a note, and has to name each review of its digest all the same.
LARGEST_DIGEST = LARGEST_TEXT - 200
_LONGEST_TITLE = 200
# Proxies commonly refuse a header of more than 8 kB.
_LONGEST_CLICK = 2000
_LONGEST_ACTIONS = 4000
_MOST_ACTIONS = 3  # https://docs.ntfy.sh/publish/#action-buttons
_LOW, _DEFAULT, _HIGH = "2", "3", "4"  # https://docs.ntfy.sh/publish/#message-priority


class NtfyNotifier(HttpNotifier):
    """Publishes to one receiver's topic."""

    def request_of(self, message: Message, content: Content) -> HttpRequest:
        """Return the text of a message, with its subject as the title and its links to press."""
        headers = {
            "Title": _encoded(cut(content.subject, _LONGEST_TITLE)),
            # Under its other name Cloudflare may replace it: RFC 9218.
            "X-Priority": _priority(message),
            "Content-Type": "text/plain; charset=utf-8",
            **_links(content),
        }
        return HttpRequest(_shortened(content.text), headers)


def _encoded(title: str) -> str:
    """Return a title as a header: in encoded words (RFC 2047) unless it is plain."""
    if title.isascii() and "=?" not in title:
        return title
    # A word has 75 characters at most, and a line of several begins with a space.
    return Header(title, "utf-8", maxlinelen=76, header_name="Title").encode(linesep="")


def _priority(message: Message) -> str:
    """Return the priority of the most important alert of a message."""
    return max(map(_priority_of, message.entries))


def _priority_of(item: MessageItem) -> str:
    kind = item.alert.kind
    if item.closing or kind in (AlertKind.CLOSED, AlertKind.SUMMARY):
        return _LOW
    is_worst = item.review is not None and item.review.rating == 1
    return _HIGH if is_worst or kind is AlertKind.TROUBLE else _DEFAULT


def _links(content: Content) -> dict[str, str]:
    """Return the headers for the links of a message, without those that are too long."""
    headers = {}
    # What looks like an encoded word would be decoded.
    links = [(label, url.replace("=?", "=%3F")) for label, url in content.links]
    if links and len(links[0][1]) <= _LONGEST_CLICK:
        headers["Click"] = links[0][1]
    views = [{"action": "view", "label": label, "url": url} for label, url in links]
    actions = json.dumps(views[:_MOST_ACTIONS])
    if views and len(actions) <= _LONGEST_ACTIONS:
        headers["Actions"] = actions
    return headers


def _shortened(text: str) -> bytes:
    """Return a text in UTF-8, cut at a whole character where it is too long."""
    whole = text.encode()
    if len(whole) <= LARGEST_TEXT:
        return whole
    end = "…".encode()
    return whole[: LARGEST_TEXT - len(end)].decode(errors="ignore").encode() + end
