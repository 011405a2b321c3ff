"""The notifier for Discord: https://docs.discord.com/developers/resources/webhook."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from math import isfinite
from typing import Any

from alerter.actions import digest
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Finding, Message, Receipt
from alerter.notify.http_address import HttpNotifier, HttpRefusal, HttpReply, HttpRequest

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
_UNKNOWN_MESSAGE = 10008
_OF_THE_MESSAGE = {50006, 50035, 50109}  # empty, invalid form body, invalid JSON
_LONGEST_WAIT = timedelta(days=1).total_seconds()
_ID = re.compile(r"[0-9]{1,20}")


class DiscordNotifier(HttpNotifier):
    """Posts through one receiver's webhook; what it posted can be changed later."""

    async def send(self, message: Message, content: Content) -> Receipt:  # noqa: ARG002 - as Slack's
        """Post a message, and wait until Discord has saved it; raise DeliveryError."""
        reply = await self._call("POST", content, query="wait=true")
        if reply.body and not (found := _answer(reply.body)):
            text = "the answer of the address was lost (it is not Discord's)"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True)
        posted = str(found.get("id")) if reply.body else ""
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
            if _code(error) != _UNKNOWN_MESSAGE:
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

    @property
    def _webhook(self) -> str:
        """A name of the webhook that is no secret, so that it may be stored with a message."""
        return digest(self._address.path)[:16]

    async def _call(self, method: str, content: Content | None = None, **where: Any) -> HttpReply:
        body = b"" if content is None else _body(content.blocks[0])
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            return await self._address.call(HttpRequest(body, headers, method=method, **where))
        except HttpRefusal as error:
            raise _meaning(error) from None


def _body(drawn: Mapping[str, Any]) -> bytes:
    """Return a message that notifies nobody by a mention in it."""
    body = {**drawn, "allowed_mentions": {"parse": []}}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _answer(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object of an answer; empty if there is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _code(error: HttpRefusal) -> object:
    return _answer(error.body).get("code")


def _meaning(error: HttpRefusal) -> HttpRefusal:
    """Return the error with what Discord says in the body of its answer.

    https://docs.discord.com/developers/topics/rate-limits
    """
    if error.status == 429:
        # Cloudflare refuses with the header alone. Discord's header is rounded.
        named: Any = _answer(error.body).get("retry_after")
        is_number = isinstance(named, int | float) and not isinstance(named, bool)
        if is_number and isfinite(named):
            wait = max(named, error.retry_after or 0.0, 0.0)
            error.retry_after = min(wait, _LONGEST_WAIT)
    elif error.status == 400 and _code(error) is not None and _code(error) not in _OF_THE_MESSAGE:
        error.kind = ErrorKind.RECEIVER  # such as a forum, which needs `thread_id` in the address
    return error
