"""Calls to Slack, and the DeliveryError that each refusal means."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from alerter.clock import Clock, http_date, seconds_from
from alerter.config import Slack
from alerter.config.fields import loopback_mounts
from alerter.errors import DeliveryError, ErrorKind
from alerter.text import LONGEST_REPLY, clean_reply, is_excessive_json, table_in

Method = Callable[..., Awaitable[AsyncSlackResponse]]

TIMEOUT = 30  # seconds
# No page of history is larger: https://docs.slack.dev/reference/methods/conversations.history
_MOST_BYTES = 16 << 20
_ID = re.compile(r"[A-Z0-9]{1,40}")
_TS = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}")
_CURSOR = re.compile(r"[!-~]{1,500}")
# https://docs.slack.dev/reference/methods/chat.postMessage#errors
_SERVICE_ERRORS = {
    "account_inactive", "enterprise_is_restricted", "invalid_auth", "missing_scope",
    "not_allowed_token_type", "not_authed", "org_login_required", "team_access_not_granted",
    "team_not_found", "token_expired", "token_revoked", "two_factor_setup_required",
}  # fmt: skip
_MESSAGE_ERRORS = {
    "as_user_not_supported", "invalid_arg_name", "invalid_arguments", "invalid_array_arg",
    "invalid_blocks", "invalid_blocks_format", "invalid_charset", "invalid_form_data",
    "invalid_json", "invalid_metadata_format", "invalid_metadata_schema",
    "markdown_text_conflict", "metadata_too_large", "msg_blocks_too_long", "msg_too_long",
    "no_text", "too_many_attachments",
}  # fmt: skip
# According to Slack some of the work may have been done.
_IN_DOUBT = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
_THROTTLED = {"ratelimited", "rate_limited", "message_limit_exceeded", "accesslimited"}
# A bot may still post: a public channel needs no membership for that.
_CANNOT_LOOK = {
    "missing_scope",
    "not_allowed_token_type",
    "no_permission",
    "access_denied",
    "not_in_channel",
}
_REMEDIES = {
    "channel_not_found": "correct its id, or invite the app to it",
    "not_in_channel": "invite the app to it",
    "is_archived": "unarchive it, or name another",
}


@asynccontextmanager
async def open_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Open the connections to Slack, which all receivers share."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),  # workspaces must not share cookies
        # Uncompressed, so that a small answer cannot become a large one here.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        response_class=_Answer,
        middlewares=[_bound_answer],
    ) as session:
        yield session


class _Redirected(aiohttp.ClientError):
    """Slack redirects to another address, which would get the message instead."""


class _TooLarge(aiohttp.ClientError):
    """Slack's answer has more than 16 MB."""


class _Answer(aiohttp.ClientResponse):
    """An answer read as UTF-8 whatever its headers say: some of Python's codecs take hours."""

    def get_encoding(self) -> str:
        return "utf-8"


async def _bound_answer(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Follow no redirect, and read no more than 16 MB of an answer."""
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise _Redirected
    read = bytearray()
    async for chunk in response.content.iter_any():
        read += chunk
        if len(read) > _MOST_BYTES:
            response.close()
            raise _TooLarge
    body = bytes(read)
    if is_excessive_json(body):
        response.close()
        raise _TooLarge
    response._body = body  # noqa: SLF001 - there is no setter
    return response


class Refused(DeliveryError):
    """Slack refuses a call: `code` is its error, `needed` the scope that it asks for."""

    code = ""
    needed = ""


class CannotLook(DeliveryError):
    """The token does not allow a call that posting does not need."""


class SlackApi:
    """Call Slack with one token. Every failure is raised as a DeliveryError."""

    def __init__(self, slack: Slack, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.clock = clock
        self._token = slack.token.get_secret_value()
        self._offset: timedelta | None = None
        self.client = AsyncWebClient(
            token=self._token,
            base_url=slack.base_url + "/",
            timeout=TIMEOUT,
            session=session,
            retry_handlers=[],  # the default one posts again after a lost answer
        )
        if loopback_mounts(slack.base_url):
            self.client.proxy = None  # else the environment's, also for this machine

    def clean(self, said: object, *, most: int = LONGEST_REPLY) -> str:
        """Return text of Slack without control characters and the token."""
        return clean_reply(said, secrets=[self._token], most=most)

    def service_time(self, now: datetime) -> datetime | None:
        """Return the time by Slack's clock; None before the first answer with a Date header."""
        return now + self._offset if self._offset is not None else None

    async def look(self, method: Method, **arguments: Any) -> AsyncSlackResponse:
        """Call a method that posting does not need.

        Raises CannotLook if Slack refuses this method only, else DeliveryError.
        """
        try:
            return await self.call(method, **arguments)
        except Refused as error:
            if error.code in _CANNOT_LOOK:
                needs = f", needs {error.needed}" if error.needed else ""
                raise CannotLook(error.code + needs, error.kind) from error
            raise

    async def call(self, method: Method, **arguments: Any) -> AsyncSlackResponse:
        """Call a method. Raises DeliveryError."""
        try:
            # The client's own timeout limits each step, not the whole call.
            async with asyncio.timeout(2 * TIMEOUT):
                answer = await method(**arguments)
        except SlackApiError as error:
            self._read_clock(error.response)
            raise self._refusal(error.response) from error
        except _Redirected as error:
            text = "Slack's answer is a redirect, which is not followed"
            raise DeliveryError(text, ErrorKind.TRANSIENT) from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise DeliveryError(
                "Slack's certificate cannot be trusted", ErrorKind.SERVICE
            ) from error
        except aiohttp.ClientConnectorError as error:
            text = f"Slack cannot be reached ({error.os_error.strerror or type(error).__name__})"
            raise DeliveryError(text, ErrorKind.TRANSIENT) from error
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            text = f"Slack's answer was lost ({type(error).__name__})"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True) from error
        # The client expects JSON to be an object, and some is nested deeper than Python reads.
        except (AttributeError, TypeError, RecursionError) as error:
            raise unreadable() from error
        if not isinstance(answer.data, dict):
            raise unreadable()
        self._read_clock(answer)
        return answer

    def _read_clock(self, response: Any) -> None:
        if dated := http_date(headers_of(response).get("date")):
            self._offset = dated - self.clock.now()

    def _refusal(self, response: Any) -> Refused:
        """Return the error that a refusal means.

        `response` is the client's own, or aiohttp's where there is no JSON.
        """
        data = getattr(response, "data", None)
        data = data if isinstance(data, dict) else {}
        status = int(
            getattr(response, "status_code", None) or getattr(response, "status", None) or 0
        )
        code = self.clean(data.get("error") or "", most=100)
        named = headers_of(response).get("retry-after")
        error = _meaning(status, code, seconds_from(named, self.clock.now()))
        error.code = code
        error.needed = self.clean(data.get("needed") or "", most=100)
        return error


def unreadable() -> DeliveryError:
    """Return the error for an answer of another form than Slack's."""
    return DeliveryError("Slack's answer cannot be understood", ErrorKind.TRANSIENT, in_doubt=True)


def _meaning(status: int, code: str, retry_after: float | None) -> Refused:
    if status == 429 or code in _THROTTLED:
        return Refused("Slack asks us to slow down", ErrorKind.THROTTLED, retry_after=retry_after)
    if status >= 500 or not code or code in _IN_DOUBT:
        text = f"Slack has a fault of its own ({code or status})"
        kind = ErrorKind.TRANSIENT if retry_after is None or status < 500 else ErrorKind.THROTTLED
        return Refused(text, kind, retry_after=retry_after, in_doubt=True)
    if code in _SERVICE_ERRORS:
        text = f"Slack refuses the token ({code}); renew it, or grant it chat:write"
        return Refused(text, ErrorKind.SERVICE)
    if code in _MESSAGE_ERRORS:
        return Refused(f"Slack refuses this message ({code})", ErrorKind.MESSAGE)
    # Unknown codes too: the channel is parked and a person is notified, so nothing is lost.
    remedy = _REMEDIES.get(code, "look at it in Slack")
    return Refused(f"Slack refuses the channel ({code}); {remedy}", ErrorKind.RECEIVER)


def headers_of(response: Any) -> dict[str, str]:
    """Return the headers of an answer, under lower-case names."""
    return {str(name).lower(): str(value) for name, value in dict(response.headers).items()}


def id_in(answer: Any, name: str) -> str | None:
    """Return the id of a conversation in an answer; None if it is not valid."""
    return _matching(_ID, answer.get(name))


def ts_in(answer: Any) -> str | None:
    """Return the timestamp of a message in an answer; None if it is not valid."""
    return _matching(_TS, answer.get("ts"))


def cursor_in(answer: Any) -> str:
    """Return Slack's cursor for the next page, empty on the last. Raises DeliveryError."""
    cursor = table_in(answer, "response_metadata").get("next_cursor") or ""
    if cursor and not _matching(_CURSOR, cursor):
        raise unreadable()
    return str(cursor)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def metadata_of(uid: str) -> dict[str, Any]:
    """Return the metadata that a message is found by after a lost answer."""
    return {"event_type": "alerter_message", "event_payload": {"message": uid}}


def has_uid(post: Mapping[str, Any], uid: str) -> bool:
    """Return whether a post carries the metadata of that message."""
    metadata = table_in(post, "metadata")
    if metadata.get("event_type") != "alerter_message":
        return False
    return bool(table_in(metadata, "event_payload").get("message") == uid)
