"""The notifier for Slack."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from alerter.clock import Clock
from alerter.config import Slack
from alerter.errors import DeliveryError, ErrorKind
from alerter.models import AlertKind, Content, Finding, Look, Message, Receipt
from alerter.slack import check as slack_check
from alerter.slack import look as slack_look
from alerter.slack.api import Refused, SlackApi, id_in, metadata_of, open_session, ts_in
from alerter.slack.app import SlackApp
from alerter.slack.channels import ChannelAddress
from alerter.store.channels import ChannelIds
from alerter.text import table_in

__all__ = ["SlackNotifier", "open_session"]

log = logging.getLogger(__name__)

# https://docs.slack.dev/reference/methods/chat.update#errors
_NO_UPDATE = {"cant_update_message", "edit_window_closed", "is_inactive", "message_not_found"}
_IS_DELETED = {"message_not_found", "thread_not_found"}
_NO_THREAD = {
    "cannot_reply_to_message",
    "invalid_thread_ts",
    "message_not_found",
    "thread_not_found",
}


class SlackNotifier:
    """Posts to one receiver's channel."""

    can_look = True
    keeps_uid = False
    can_check = True
    # A message that was accepted may be missing in the channel's history for this long.
    settle_after = timedelta(seconds=5)
    domain = "alerter"

    def __init__(
        self,
        slack: Slack,
        receiver: str,
        channel: str,
        session: aiohttp.ClientSession,
        clock: Clock,
        known: ChannelIds,
        app: SlackApp | None = None,
    ) -> None:
        self._receiver = receiver
        self._api = SlackApi(slack, session, clock)
        self._address = ChannelAddress(self._api, channel, known)
        self._app = app

    def service_time(self, now: datetime) -> datetime | None:
        """Return the time by Slack's clock, from the Date of its answers; None before one."""
        return self._api.service_time(now)

    async def prepare(self) -> None:
        """Look the channel up where the config has its name; raise DeliveryError."""
        await self._address.resolve()

    async def send(self, message: Message, content: Content) -> Receipt:
        """Post to the channel, or to the thread of the message; raise DeliveryError."""
        thread = _thread_arguments(message)
        try:
            answer = await self._post(message, content, thread)
        except Refused as error:
            if error.code not in _NO_THREAD or message.thread is None:
                raise
            if _is_closing(message):
                return Receipt("the message that it would have closed was deleted")
            answer = await self._post(message, content, {})
        else:
            if thread and _is_closing(message) and not _is_reply(answer):
                return await self._retract(_receipt(answer))
        return _receipt(answer)

    async def _post(
        self, message: Message, content: Content, thread: Mapping[str, Any]
    ) -> AsyncSlackResponse:
        try:
            answer = await self._api.call(
                self._api.client.chat_postMessage,
                channel=await self._address.resolve(),
                text=content.text,
                metadata=metadata_of(message.uid),
                mrkdwn=False,
                parse="none",
                unfurl_links=False,
                unfurl_media=False,
                **thread,
                **({"blocks": list(content.blocks)} if content.blocks else {}),
            )
        except Refused as error:
            if error.code == "channel_not_found":
                self._address.forget()
            raise
        if self._app is not None:
            self._app.record_post(message, id_in(table_in(answer, "message"), "app_id"))
        return answer

    async def _retract(self, receipt: Receipt) -> Receipt:
        """Delete a closing that Slack posted in the channel because its thread was deleted."""
        try:
            await self._delete(receipt.slack_channel, receipt.slack_ts)
        except DeliveryError as error:
            log.warning('receiver "%s": a closing stays in the channel: %s', self._receiver, error)
            return receipt
        return Receipt("the message that it would have closed was deleted")

    async def update(self, message: Message, content: Content) -> None:
        """Replace the content of a message; raise DeliveryError."""
        try:
            await self._api.call(
                self._api.client.chat_update,
                channel=message.slack_channel or await self._address.resolve(),
                ts=message.slack_ts or "",
                text=content.text,
                metadata=metadata_of(message.uid),
                parse="none",
                blocks=list(content.blocks),
            )
        except Refused as error:
            if error.code in _IS_DELETED and message.erase:
                return  # no text is left there
            if error.code in _NO_UPDATE:
                raise DeliveryError(str(error), ErrorKind.MESSAGE) from error
            raise

    async def delete(self, message: Message) -> None:
        """Delete a message, unless it was deleted already; raise DeliveryError."""
        try:
            await self._delete(message.slack_channel, message.slack_ts)
        except Refused as error:
            if error.code not in _IS_DELETED:
                raise

    async def _delete(self, channel: str | None, ts: str | None) -> None:
        channel = channel or await self._address.resolve()
        await self._api.call(self._api.client.chat_delete, channel=channel, ts=ts or "")

    async def look(self, message: Message) -> Look:
        """Search one page for a message in doubt; raise DeliveryError."""
        channel = await self._address.resolve()
        found = await slack_look.look(self._api, self._receiver, channel, message)
        if (
            found.receipt
            and _thread_arguments(message)
            and _is_closing(message)
            and slack_look.is_in_channel(message)
        ):
            return replace(found, receipt=await self._retract(found.receipt))
        return found

    async def check(self) -> list[Finding]:
        """Check the token, its scopes and the channel, without posting."""
        return await slack_check.check(self._api, self._receiver, self._address)

    async def close(self) -> None:
        """Do nothing: the session is shared, and closed where it was opened."""


def _is_closing(message: Message) -> bool:
    return message.entries[0].alert.kind is AlertKind.CLOSED


def _thread_arguments(message: Message) -> dict[str, Any]:
    """Return the arguments for its thread; all but a closing are shown in the channel as well."""
    if message.thread is None or message.thread.slack_ts is None:
        return {}
    return {"thread_ts": message.thread.slack_ts, "reply_broadcast": not _is_closing(message)}


def _is_reply(answer: AsyncSlackResponse) -> bool:
    """Return whether a post is in its thread: without the parent, Slack posts to the channel."""
    return bool(table_in(answer, "message").get("thread_ts"))


def _receipt(answer: AsyncSlackResponse) -> Receipt:
    ts = ts_in(answer)
    return Receipt(
        f"ok, ts {ts}" if ts else "ok",
        slack_channel=id_in(answer, "channel"),
        slack_ts=ts,
    )
