"""The notifier for Discord: https://docs.discord.com/developers/resources/webhook."""

import json
import re
from datetime import datetime
from typing import Any

from alerter.actions import digest
from alerter.clock import seconds_from
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Finding, Message, Receipt
from alerter.notify.http_address import (
    HttpAddress,
    HttpNotifier,
    HttpRefusal,
    HttpReply,
    HttpRequest,
)

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
_UNKNOWN_MESSAGE = 10008
_OF_THE_MESSAGE = (50006, 50035, 50109)  # empty, invalid form body, invalid JSON
_ID = re.compile(r"[0-9]{1,20}")


class DiscordNotifier(HttpNotifier):
    """Posts through one receiver's webhook; what it posted can be changed later."""

    def __init__(self, receiver: str, address: HttpAddress) -> None:
        super().__init__(receiver, address)
        self._clock = address.clock
        self._free_at = self._clock.monotonic()
        # A name of the webhook and its thread that is no secret, to be stored with a message.
        self._webhook = digest(address.path)[:16]

    async def send(self, message: Message, content: Content) -> Receipt:  # noqa: ARG002 - as Slack's
        """Post a message, and wait until Discord has saved it; raise DeliveryError."""
        if (wait := self._free_at - self._clock.monotonic()) > 0:
            text = "the address asks us to slow down"
            raise DeliveryError(text, ErrorKind.THROTTLED, retry_after=wait)
        reply = await self._call("POST", content, query="wait=true")
        self._free_at = self._clock.monotonic() + (_until_reset(reply, self._clock.now()) or 0.0)
        found = reply.read_object()
        if reply.body and not found:
            text = "the answer of the address was lost (it is not Discord's)"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True)
        posted = str(found.get("id"))
        if not _ID.fullmatch(posted):
            return Receipt(str(reply.status))
        return Receipt(f"ok, id {posted}", slack_channel=self._webhook, slack_ts=posted)

    async def update(self, message: Message, content: Content) -> None:
        """Replace the content of a message that was posted; raise DeliveryError."""
        await self._change("PATCH", message, content)

    async def delete(self, message: Message) -> None:
        """Delete a message, unless it was deleted already; raise DeliveryError."""
        await self._change("DELETE", message)

    async def _change(self, method: str, message: Message, content: Content | None = None) -> None:
        if message.slack_channel != self._webhook:
            raise DeliveryError("it was posted by another webhook", ErrorKind.MESSAGE)
        try:
            await self._call(method, content, path=f"/messages/{message.slack_ts}")
        except HttpRefusal as error:
            if error.reply.read_object().get("code") != _UNKNOWN_MESSAGE:
                raise
            if content is not None and not message.erase:
                raise DeliveryError(str(error), ErrorKind.MESSAGE) from None
            # It was deleted: no words are left there.

    async def check(self) -> list[Finding]:
        """Ask Discord for the webhook, without posting."""
        subject = f"receiver {self._receiver}"
        try:
            await self._call("GET")
        except DeliveryError as error:
            return [Finding(ok=False, subject=subject, text=str(error))]
        return [Finding(ok=True, subject=subject, text="Discord knows its webhook")]

    async def _call(self, method: str, content: Content | None = None, **where: Any) -> HttpReply:
        body, headers = b"", {}
        if content is not None:
            # Nobody is notified by a mention.
            drawn = {**content.blocks[0], "allowed_mentions": {"parse": []}}
            body = json.dumps(drawn, ensure_ascii=False, separators=(",", ":")).encode()
            headers = {"Content-Type": "application/json"}
        try:
            return await self._address.call(HttpRequest(body, headers, method=method, **where))
        except HttpRefusal as error:
            raise _meaning(error, self._clock.now()) from None


def _meaning(error: HttpRefusal, now: datetime) -> HttpRefusal:
    """Return the error with what the body and Discord's own headers say."""
    reply, found = error.reply, error.reply.read_object()
    if reply.status == 429:
        # Cloudflare refuses with Retry-After alone, and Discord rounds it.
        named = seconds_from(str(found.get("retry_after")), now)
        waits = (error.retry_after, named, _until_reset(reply, now))
        error.retry_after = max((each for each in waits if each is not None), default=None)
    elif reply.status == 400 and "code" in found and found["code"] not in _OF_THE_MESSAGE:
        error.kind = ErrorKind.RECEIVER  # such as a forum, which needs `thread_id` in the address
    return error


def _until_reset(reply: HttpReply, now: datetime) -> float | None:
    """Return in how many seconds a limit that is used up begins again; None if it is not.

    https://docs.discord.com/developers/topics/rate-limits#header-format
    """
    if reply.headers.get("x-ratelimit-remaining") != "0":
        return None
    return seconds_from(reply.headers.get("x-ratelimit-reset-after"), now)
