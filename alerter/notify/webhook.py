"""The notifier for webhooks: signed JSON, one alert a request.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import hmac
from base64 import b64decode, b64encode

from alerter.clock import Clock
from alerter.models import Content, Message
from alerter.notify.http_address import HttpAddress, HttpNotifier, HttpRequest
from alerter.render.webhook_body import webhook_id


class WebhookNotifier(HttpNotifier):
    """Posts to one receiver's webhook."""

    # A repeat has the same webhook-id, by which its receiver recognizes it.
    keeps_uid = True

    def __init__(self, receiver: str, address: HttpAddress, secret: str, clock: Clock) -> None:
        super().__init__(receiver, address)
        self._secret = secret
        self._clock = clock

    def request_of(self, message: Message, content: Content) -> HttpRequest:
        """Return the body of a message, signed for this attempt: receivers refuse an old time."""
        body = content.text.encode()
        name = _id_of(message)
        timestamp = str(int(self._clock.now().timestamp()))
        signed = b".".join((name.encode(), timestamp.encode(), body))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{_signature(self._secret, signed)}",
        }
        return HttpRequest(body, headers)


def _id_of(message: Message) -> str:
    """Return the id of an alert, the same for ever; a sample has that of its message.

    The uid of the message will not do: an alert that is refused for now goes out in a new message.
    """
    item = message.entries[0]
    if item.raised_at is None:
        return f"msg_{message.uid.partition('@')[0]}"
    return webhook_id(item.alert.key)


def _signature(secret: str, content: bytes) -> str:
    """Return the signature of version 1: HMAC-SHA256 in base64."""
    key = b64decode(secret.removeprefix("whsec_"))
    return b64encode(hmac.digest(key, content, "sha256")).decode()
