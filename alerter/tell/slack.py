"""Messages as Slack posts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from alerter.clock import Clock, seconds_from
from alerter.config import Slack
from alerter.errors import DeliveryError, Kind
from alerter.models import AlertKind, Content, Finding, Message, Receipt
from alerter.tell.slack_scopes import TO_POST, missing

log = logging.getLogger(__name__)

_Method = Callable[..., Awaitable[AsyncSlackResponse]]

_TIMEOUT = 30
_EVENT = "alerter_message"
# What is looked through for a message in doubt: back to a day before its attempt, whatever the clocks say.
_HISTORY_PAGE = 200
_HISTORY_MARGIN = timedelta(days=1)
_HISTORY_PAGES = 25

# https://docs.slack.dev/reference/methods/chat.postMessage#errors
_FAULT_OF_SERVICE = {
    "account_inactive", "access_denied", "ekm_access_denied", "enterprise_is_restricted", "invalid_auth",
    "missing_scope", "no_permission", "not_allowed_token_type", "not_authed", "org_login_required",
    "team_access_not_granted", "team_not_found", "token_expired", "token_revoked", "two_factor_setup_required",
}  # fmt: skip
_FAULT_OF_MESSAGE = {
    "as_user_not_supported", "invalid_arg_name", "invalid_arguments", "invalid_array_arg", "invalid_blocks",
    "invalid_blocks_format", "invalid_charset", "invalid_form_data", "invalid_json", "invalid_metadata_format",
    "invalid_metadata_schema", "markdown_text_conflict", "metadata_too_large", "msg_blocks_too_long", "msg_too_long",
    "no_text", "too_many_attachments",
}  # fmt: skip
# Slack says of these that some of the work may have been done.
_IN_DOUBT = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
_SLOW_DOWN = {"ratelimited", "rate_limited", "message_limit_exceeded", "accesslimited"}
# https://docs.slack.dev/reference/methods/chat.update#errors
_NO_UPDATE = {"cant_update_message", "edit_window_closed", "is_inactive", "message_not_found"}
_NO_THREAD = {"cannot_reply_to_message", "invalid_thread_ts", "message_not_found", "thread_not_found"}
# The ts of a message that no channel has: who may read threads is told that there is none.
_NO_MESSAGE = "1000000000.000000"
# Not in the way of posting: a public channel may be written to without being a member.
_CANNOT_LOOK = {"missing_scope", "not_allowed_token_type", "no_permission", "access_denied", "not_in_channel"}


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """The connections to Slack, shared by all receivers."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session:
        yield session


class SlackNotifier:
    """Posts to one receiver's channel."""

    can_look = True
    # Before this, a message that was taken may not be in the channel's history yet.
    settle_after = timedelta(seconds=5)
    domain = "alerter"

    def __init__(self, slack: Slack, receiver: str, channel: str, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._clock = clock
        self._receiver = receiver
        self._channel = channel
        self._client = AsyncWebClient(
            token=slack.token.get_secret_value(),
            base_url=slack.base_url + "/",
            timeout=_TIMEOUT,
            session=session,
            retry_handlers=[],  # the default one posts again after a lost answer; the outbox does it with care
        )

    async def send(self, message: Message, content: Content) -> Receipt:
        """Post to the channel, or to the thread that the message belongs to. Raises DeliveryError."""
        try:
            return await self._post(message, content, _in_thread(message))
        except _Refused as error:
            if error.code not in _NO_THREAD or message.thread is None:
                raise
        if _is_closing(message):
            return Receipt("what it would have closed is not there any more")
        return await self._post(message, content, {})

    async def _post(self, message: Message, content: Content, place: Mapping[str, Any]) -> Receipt:
        answer = await self._call(
            self._client.chat_postMessage,
            channel=self._channel,
            text=content.text,
            metadata=_metadata(message),
            mrkdwn=False,
            parse="none",
            unfurl_links=False,
            unfurl_media=False,
            **place,
            **({"blocks": list(content.blocks)} if content.blocks else {}),
        )
        return _receipt(answer)

    async def update(self, message: Message, content: Content) -> None:
        """Put new words in the place of a message's old ones. Raises DeliveryError."""
        try:
            await self._call(
                self._client.chat_update,
                channel=message.slack_channel or self._channel,
                ts=message.slack_ts or "",
                text=content.text,
                metadata=_metadata(message),
                parse="none",
                blocks=list(content.blocks),
            )
        except _Refused as error:
            if error.code in _NO_UPDATE:
                raise DeliveryError(str(error), Kind.MESSAGE) from error
            raise

    async def find(self, message: Message) -> Receipt | None:
        """Look for a message that may have been taken, by the metadata that names it. Raises DeliveryError."""
        try:
            channel = await self._conversation()
            if message.thread and message.thread.slack_ts:
                return await self._find_in_thread(message, channel, message.thread.slack_ts)
            return await self._find_in_channel(message, channel)
        except _CannotLook as error:
            log.warning(
                'receiver "%s": Slack does not let us look (%s) whether a message arrived, so it may be posted twice; '
                "invite the app to the channel, and grant it the scope to read its history",
                self._receiver,
                error,
            )
        return None

    async def _find_in_channel(self, message: Message, channel: str) -> Receipt | None:
        newest: datetime | None = None
        async for posts in self._pages(self._client.conversations_history, channel=channel):
            if found := _named(posts, message, channel):
                return found
            # A machine that was in the wrong year has dated its attempt after everything that Slack has.
            newest = newest or (_posted_at(posts[0]) if posts else message.attempted_at)
            if posts and _posted_at(posts[-1]) < min(newest, message.attempted_at) - _HISTORY_MARGIN:
                return None
        return None

    async def _find_in_thread(self, message: Message, channel: str, ts: str) -> Receipt | None:
        """Look through a thread, whose replies a channel's history does not hold but for those that were broadcast."""
        try:
            async for posts in self._pages(self._client.conversations_replies, channel=channel, ts=ts):
                if found := _named(posts, message, channel):
                    return found
        except _CannotLook:
            # Slack's pages disagree on whether a bot may read threads.
            if _is_closing(message):
                raise
            return await self._find_in_channel(message, channel)
        except _Refused as error:
            if error.code not in _NO_THREAD:
                raise
            # Slack posts nothing to a thread whose beginning is gone; it may stand in the channel by itself.
            return await self._find_in_channel(message, channel)
        return None

    async def _pages(self, method: _Method, **arguments: Any) -> AsyncIterator[list[Mapping[str, Any]]]:
        cursor = ""
        for _ in range(_HISTORY_PAGES):
            page = await self._look(
                method,
                limit=_HISTORY_PAGE,
                include_all_metadata=True,
                **arguments,
                **({"cursor": cursor} if cursor else {}),
            )
            yield [post for post in page.get("messages") or () if isinstance(post, dict)]
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return

    async def check(self) -> list[Finding]:
        """Ask who we are, what we may, what the channel is and whether we could look into it, without posting.

        A finding for each scope that we lack.
        """
        try:
            who = await self._call(self._client.auth_test)
            granted = _scopes(who)
            if granted and TO_POST not in granted:
                return [self._finding(f"without {TO_POST} nothing can be posted; grant it to the app")]
            channel, found = await self._see(str(who.get("team", "the workspace")))
            lacks = list(missing(granted, self._channel, channel)) if granted and found.ok else []
            if lacks or not found.ok:
                return [
                    found,
                    *(self._finding(f"{text}; grant it to the app", ok=True, warning=True) for text in lacks),
                ]
            return [found, *await self._blindness()]
        except DeliveryError as error:
            return [self._finding(str(error))]
        return [found, *(self._finding(f"{text}; grant it to the app", ok=True, warning=True) for text in lacks)]

    async def _see(self, team: str) -> tuple[Mapping[str, Any] | None, Finding]:
        """What Slack tells of the channel, if we may ask, and what that means."""
        try:
            info = await self._look(self._client.conversations_info, channel=await self._conversation())
        except _CannotLook as error:
            text = f"the token is good, but may not look at {self._channel} ({error}); `alerter test` shows what it may"
            return None, self._finding(text, ok=True, warning=True)
        channel = info.get("channel") or {}
        return channel, self._about(channel, team)

    def _about(self, channel: Mapping[str, Any], team: str) -> Finding:
        name = channel.get("name") or self._channel
        if channel.get("is_archived"):
            return self._finding(f"channel {name} is archived; unarchive it")
        if channel.get("is_member") is False and not channel.get("is_im"):
            return self._finding(f"not a member of {name}; invite the app to it")
        return self._finding(f"{name} in {team}", ok=True)

    async def _blindness(self) -> list[Finding]:
        """Try whether a message in doubt could be looked for, in the channel and in a thread."""
        for where, method, arguments in (
            ("the channel", self._client.conversations_history, {}),
            ("its threads", self._client.conversations_replies, {"ts": _NO_MESSAGE}),
        ):
            try:
                await self._look(method, channel=await self._conversation(), limit=1, **arguments)
            except _CannotLook as error:
                text = f"we may not look into {where} ({error}), so a message whose answer is lost may be posted twice"
                return [self._finding(text, ok=True, warning=True)]
            except _Refused as error:
                if error.code not in _NO_THREAD:
                    raise
        return []

    def _finding(self, text: str, *, ok: bool = False, warning: bool = False) -> Finding:
        return Finding(ok=ok, subject=f"receiver {self._receiver}", text=f"slack: {text}", warning=warning)

    async def close(self) -> None:
        """The session is shared, and closed by who opened it."""

    async def _conversation(self) -> str:
        """The id of the conversation: a person's is the direct message with them."""
        if not self._channel.startswith("U"):
            return self._channel
        opened = await self._look(self._client.conversations_open, users=self._channel)
        return str((opened.get("channel") or {}).get("id") or self._channel)

    async def _look(self, method: _Method, **arguments: Any) -> AsyncSlackResponse:
        """Call a method that posting does not need. Raises _CannotLook where only that is refused."""
        try:
            return await self._call(method, **arguments)
        except _Refused as error:
            if error.code in _CANNOT_LOOK:
                raise _CannotLook(
                    error.code + (f", needs {error.needed}" if error.needed else ""), error.kind
                ) from error
            raise

    async def _call(self, method: _Method, **arguments: Any) -> AsyncSlackResponse:
        try:
            # The client's own timeout is one for each step.
            async with asyncio.timeout(2 * _TIMEOUT):
                answer = await method(**arguments)
        except SlackApiError as error:
            raise _refusal(error.response, self._clock.now()) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise DeliveryError("Slack's certificate cannot be trusted", Kind.SERVICE) from error
        except aiohttp.ClientConnectorError as error:
            text = f"Slack cannot be reached ({error.os_error.strerror or type(error).__name__})"
            raise DeliveryError(text, Kind.TRANSIENT) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            text = f"Slack's answer was lost ({type(error).__name__})"
            raise DeliveryError(text, Kind.TRANSIENT, in_doubt=True) from error
        except (AttributeError, TypeError) as error:  # the client takes every JSON for an object
            raise DeliveryError("Slack's answer cannot be understood", Kind.TRANSIENT, in_doubt=True) from error
        if not isinstance(answer.data, dict):
            raise DeliveryError("Slack's answer cannot be understood", Kind.TRANSIENT, in_doubt=True)
        return answer


class _CannotLook(DeliveryError):
    """The token may not do what is asked, which is not needed for posting."""


class _Refused(DeliveryError):
    """Slack said no: `code` is its word for why, `needed` the scope that it names."""

    code = ""
    needed = ""


def _refusal(response: Any, now: datetime) -> DeliveryError:
    """What Slack's refusal means. The client hands over its own response, or aiohttp's where there is no JSON."""
    data = getattr(response, "data", None)
    data = data if isinstance(data, dict) else {}
    status = int(getattr(response, "status_code", None) or getattr(response, "status", None) or 0)
    error = _meaning(status, str(data.get("error") or "")[:100], response, now)
    error.code, error.needed = str(data.get("error") or ""), str(data.get("needed") or "")[:100]
    return error


def _meaning(status: int, code: str, response: Any, now: datetime) -> _Refused:
    if status == 429 or code in _SLOW_DOWN:
        return _Refused("Slack asks us to slow down", Kind.THROTTLED, retry_after=_retry_after(response, now))
    if status >= 500 or not code or code in _IN_DOUBT:
        return _Refused(f"Slack has a fault of its own ({code or status})", Kind.TRANSIENT, in_doubt=True)
    if code in _FAULT_OF_SERVICE:
        return _Refused(f"Slack refuses the token ({code}); renew it, or grant it chat:write", Kind.SERVICE)
    if code in _FAULT_OF_MESSAGE:
        return _Refused(f"Slack refuses this message ({code})", Kind.MESSAGE)
    # Unknown ones too: the channel is parked and a person told, and nothing is lost.
    return _Refused(f"Slack refuses the channel ({code}); {_REMEDIES.get(code, 'look at it in Slack')}", Kind.RECEIVER)


def _headers(response: Any) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in response.headers.items()}


def _retry_after(response: Any, now: datetime) -> float | None:
    return seconds_from(_headers(response).get("retry-after"), now)


def _scopes(response: Any) -> list[str]:
    """What the token may do: Slack says so with every answer."""
    return [scope.strip() for scope in _headers(response).get("x-oauth-scopes", "").split(",") if scope.strip()]


def _metadata(message: Message) -> dict[str, Any]:
    return {"event_type": _EVENT, "event_payload": {"message": message.uid}}


def _is_closing(message: Message) -> bool:
    return message.entries[0].alert.kind is AlertKind.CLOSED


def _in_thread(message: Message) -> dict[str, Any]:
    """Where a message goes: what asks for somebody is shown in the channel as well."""
    if message.thread is None or message.thread.slack_ts is None:
        return {}
    return {"thread_ts": message.thread.slack_ts, "reply_broadcast": not _is_closing(message)}


_REMEDIES = {
    "channel_not_found": "correct its id, or invite the app to it",
    "not_in_channel": "invite the app to it",
    "is_archived": "unarchive it, or name another",
}


def _receipt(answer: AsyncSlackResponse) -> Receipt:
    channel, ts = answer.get("channel"), answer.get("ts")
    return Receipt(f"ok, ts {ts}", str(channel) if channel else None, str(ts) if ts else None)


def _named(posts: Iterable[Mapping[str, Any]], message: Message, channel: str) -> Receipt | None:
    for post in posts:
        if _names(post, message.uid):
            return Receipt("found on Slack", channel, str(post.get("ts")))
    return None


def _names(post: Mapping[str, Any], uid: str) -> bool:
    metadata = post.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    return metadata.get("event_type") == _EVENT and payload.get("message") == uid


def _posted_at(post: Mapping[str, Any]) -> datetime:
    try:
        return datetime.fromtimestamp(float(post.get("ts", 0)), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)
