"""Calls to Slack, and what its refusals mean."""

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
from alerter.text import LONGEST_REPLY, clean_reply, is_excessive_json

Method = Callable[..., Awaitable[AsyncSlackResponse]]

TIMEOUT = 30
# A page of 200 posts of 40,000 characters, in the longest spelling of JSON, is larger than any
# that Slack sends: https://docs.slack.dev/reference/methods/conversations.history
_MOST_BYTES = 16 << 20
_ID = re.compile(r"[A-Z0-9]{1,40}")
_TS = re.compile(r"[0-9]{1,15}\.[0-9]{1,9}")
_CURSOR = re.compile(r"[!-~]{1,500}")
# https://docs.slack.dev/reference/methods/chat.postMessage#errors
_FAULT_OF_SERVICE = {
    "account_inactive", "enterprise_is_restricted", "invalid_auth", "missing_scope",
    "not_allowed_token_type", "not_authed", "org_login_required", "team_access_not_granted",
    "team_not_found", "token_expired", "token_revoked", "two_factor_setup_required",
}  # fmt: skip
_FAULT_OF_MESSAGE = {
    "as_user_not_supported", "invalid_arg_name", "invalid_arguments", "invalid_array_arg",
    "invalid_blocks", "invalid_blocks_format", "invalid_charset", "invalid_form_data",
    "invalid_json", "invalid_metadata_format", "invalid_metadata_schema",
    "markdown_text_conflict", "metadata_too_large", "msg_blocks_too_long", "msg_too_long",
    "no_text", "too_many_attachments",
}  # fmt: skip
# Slack says of these that some of the work may have been done.
_IN_DOUBT = {"fatal_error", "internal_error", "request_timeout", "service_unavailable"}
_SLOW_DOWN = {"ratelimited", "rate_limited", "message_limit_exceeded", "accesslimited"}
# Not in the way of posting: a public channel may be written to without being a member.
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
    """The connections to Slack, shared by all receivers."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=TIMEOUT),
        cookie_jar=aiohttp.DummyCookieJar(),  # one workspace's cookies must not reach another
        # Uncompressed, so that a small answer cannot become a large one here.
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        response_class=_Answer,
        middlewares=[_bound_answer],
    ) as session:
        yield session


class _Redirected(aiohttp.ClientError):
    """Slack sends us to another address, which would get the message instead."""


class _TooLarge(aiohttp.ClientError):
    """Slack's answer is larger than any that makes sense."""


class _Answer(aiohttp.ClientResponse):
    """An answer in UTF-8, whatever its headers say: some of Python's codecs take hours for a body."""

    def get_encoding(self) -> str:
        return "utf-8"


async def _bound_answer(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Follow no redirect, and read no more of an answer than a page of history can hold."""
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
    response._body = body  # noqa: SLF001 - the client reads it from there; there is no setter
    return response


class Refused(DeliveryError):
    """Slack said no: `code` is its word for why, `needed` the scope that it names."""

    code = ""
    needed = ""


class CannotLook(DeliveryError):
    """The token may not do what is asked, which is not needed for posting."""


class SlackApi:
    """Calls Slack with one token. Every failure leaves here as a DeliveryError."""

    def __init__(self, slack: Slack, session: aiohttp.ClientSession, clock: Clock) -> None:
        self._clock = clock
        self._token = slack.token.get_secret_value()
        self._ahead: timedelta | None = None
        self.client = AsyncWebClient(
            token=self._token,
            base_url=slack.base_url + "/",
            timeout=TIMEOUT,
            session=session,
            retry_handlers=[],  # the default one posts again after a lost answer
        )
        if loopback_mounts(slack.base_url):
            self.client.proxy = None  # the client takes one from the environment for every address

    def clean(self, said: object, *, most: int = LONGEST_REPLY) -> str:
        """Return what Slack said, safe to keep and to show."""
        return clean_reply(said, secrets=[self._token], most=most)

    def time_there(self, now: datetime) -> datetime | None:
        """Return the time by Slack's clock, as far as one of its answers has told it."""
        return now + self._ahead if self._ahead is not None else None

    async def look(self, method: Method, **arguments: Any) -> AsyncSlackResponse:
        """Call a method that posting does not need. Raises CannotLook where only that is refused."""
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
            # The client's own timeout is one for each step.
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
        # The client takes every JSON for an object, and some is nested deeper than Python reads.
        except (AttributeError, TypeError, RecursionError) as error:
            raise unreadable() from error
        if not isinstance(answer.data, dict):
            raise unreadable()
        self._read_clock(answer)
        return answer

    def _read_clock(self, response: Any) -> None:
        if dated := http_date(headers_of(response).get("date")):
            self._ahead = dated - self._clock.now()

    def _refusal(self, response: Any) -> Refused:
        """Return what a refusal means.

        The client hands over its own response, or aiohttp's where there is no JSON.
        """
        data = getattr(response, "data", None)
        data = data if isinstance(data, dict) else {}
        status = int(
            getattr(response, "status_code", None) or getattr(response, "status", None) or 0
        )
        code = self.clean(data.get("error") or "", most=100)
        named = headers_of(response).get("retry-after")
        error = _meaning(status, code, seconds_from(named, self._clock.now()))
        error.code = code
        error.needed = self.clean(data.get("needed") or "", most=100)
        return error


def unreadable() -> DeliveryError:
    """Return the error for an answer of another form than Slack's."""
    return DeliveryError("Slack's answer cannot be understood", ErrorKind.TRANSIENT, in_doubt=True)


def _meaning(status: int, code: str, retry_after: float | None) -> Refused:
    if status == 429 or code in _SLOW_DOWN:
        return Refused("Slack asks us to slow down", ErrorKind.THROTTLED, retry_after=retry_after)
    if status >= 500 or not code or code in _IN_DOUBT:
        text = f"Slack has a fault of its own ({code or status})"
        kind = ErrorKind.TRANSIENT if retry_after is None or status < 500 else ErrorKind.THROTTLED
        return Refused(text, kind, retry_after=retry_after, in_doubt=True)
    if code in _FAULT_OF_SERVICE:
        text = f"Slack refuses the token ({code}); renew it, or grant it chat:write"
        return Refused(text, ErrorKind.SERVICE)
    if code in _FAULT_OF_MESSAGE:
        return Refused(f"Slack refuses this message ({code})", ErrorKind.MESSAGE)
    # Unknown ones too: the channel is parked and a person notified, and nothing is lost.
    remedy = _REMEDIES.get(code, "look at it in Slack")
    return Refused(f"Slack refuses the channel ({code}); {remedy}", ErrorKind.RECEIVER)


def headers_of(response: Any) -> dict[str, str]:
    """Return the headers of an answer, under lower-case names."""
    return {str(name).lower(): str(value) for name, value in dict(response.headers).items()}


def table_in(answer: Any, name: str) -> Mapping[str, Any]:
    """Return an object within an answer; empty where there is none."""
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


def id_in(answer: Any, name: str) -> str | None:
    """Return the id of a conversation within an answer, where that is one."""
    return _matching(_ID, answer.get(name))


def ts_in(answer: Any) -> str | None:
    """Return where a message stands by an answer, where that says so."""
    return _matching(_TS, answer.get("ts"))


def cursor_in(answer: Any) -> str:
    """Return Slack's cursor for the next page; empty where there is none. Raises DeliveryError."""
    cursor = table_in(answer, "response_metadata").get("next_cursor") or ""
    if cursor and not _matching(_CURSOR, cursor):
        raise unreadable()
    return str(cursor)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def metadata_of(uid: str) -> dict[str, Any]:
    """Return the metadata that names a message for ever."""
    return {"event_type": "alerter_message", "event_payload": {"message": uid}}


def names(post: Mapping[str, Any], uid: str) -> bool:
    """Whether a post is the message of that id."""
    metadata = table_in(post, "metadata")
    if metadata.get("event_type") != "alerter_message":
        return False
    return bool(table_in(metadata, "event_payload").get("message") == uid)
