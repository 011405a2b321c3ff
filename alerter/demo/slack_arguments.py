"""Read and check the arguments of a call to Slack: a query string, a form or JSON."""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from alerter.demo.slack_blocks import faults_of, length_of
from alerter.demo.slack_modals import faults_of_view
from alerter.demo.slack_workspace import Json, SlackError

_MOST_METADATA = 8_000
_LARGEST_VIEW = 250_000
_TS = re.compile(r"\d{10}\.\d{6}")


async def read_arguments(request: web.Request) -> Json:
    """Return the arguments of a call. Raises SlackError if they cannot be read."""
    raw = await request.read()
    arguments: Json = dict(request.query)
    if not raw:
        return arguments
    if request.content_type == "application/json":
        return arguments | _json_object(raw)
    if request.content_type == "application/x-www-form-urlencoded":
        try:
            return arguments | dict(
                parse_qsl(raw.decode(), keep_blank_values=True, errors="strict")
            )
        except UnicodeDecodeError:
            raise SlackError("invalid_charset") from None
    raise SlackError("invalid_post_type")


def require(arguments: Mapping[str, Any], name: str) -> str:
    """Return a required text argument."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        fault = (
            f"missing required field: {name}"
            if value in (None, "")
            else f"must be a string: {name}"
        )
        raise _bad_arguments(fault)
    return value


def flag(arguments: Mapping[str, Any], name: str) -> bool:
    """Return a boolean argument: true for `1` or `true`."""
    return str(arguments.get(name, "")).lower() in {"1", "true"}


def read_text(arguments: Mapping[str, Any], most: int) -> str | None:
    """Return the text of a message; None if the call has none."""
    text = arguments.get("text")
    if text is None:
        return None
    if not isinstance(text, str):
        raise _bad_arguments("must be a string: text")
    if len(text) > most:
        raise SlackError("msg_too_long")
    return text


def read_blocks(arguments: Mapping[str, Any], limit: int | None, error: str) -> list[Json] | None:
    """Return the valid blocks of a message; None if the call has none.

    More than `limit` characters are refused with `error`.
    """
    if arguments.get("blocks") in (None, ""):
        return None
    blocks = _structured(arguments["blocks"], "invalid_blocks_format")
    if not isinstance(blocks, list):
        raise SlackError("invalid_blocks_format")
    if blocks and (faults := faults_of(blocks)):
        messages = [f"[ERROR] {fault}" for fault in faults]
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": messages})
    if limit is not None and length_of(blocks) > limit:
        raise SlackError(error)
    return blocks


def read_metadata(arguments: Mapping[str, Any]) -> Json | None:
    """Return the metadata of a message; empty to remove it, None to keep it."""
    if arguments.get("metadata") in (None, ""):
        return None
    metadata = _structured(arguments["metadata"], "invalid_metadata_format")
    if not isinstance(metadata, dict):
        raise SlackError("invalid_metadata_format")
    if not metadata:
        return {}
    event_type = metadata.get("event_type")
    if (
        not isinstance(event_type, str)
        or not event_type
        or not isinstance(metadata.get("event_payload"), dict)
    ):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(metadata)) > _MOST_METADATA:
        raise SlackError("metadata_too_large")
    return metadata


def read_view(arguments: Mapping[str, Any]) -> Json:
    """Return the valid view of a modal."""
    if arguments.get("view") in (None, ""):
        raise _bad_arguments("missing required field: view")
    view = _structured(arguments["view"], "invalid_arguments")
    if faults := faults_of_view(view):
        raise _bad_arguments(*faults)
    if len(json.dumps(view)) > _LARGEST_VIEW:
        raise SlackError("view_too_large")
    return dict(view)


def read_ts(arguments: Mapping[str, Any], name: str, error: str) -> str | None:
    """Return a message id in the exact form of Slack's; None if the call has none."""
    value = arguments.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not _TS.fullmatch(value):
        raise SlackError(
            error, response_metadata={"messages": [f"[ERROR] {value} is not a valid {name}"]}
        )
    return value


def read_limit(arguments: Mapping[str, Any], usual: int, most: int) -> int:
    """Return how many messages a page may hold."""
    try:
        limit = int(arguments.get("limit") or usual)
    except (TypeError, ValueError):
        limit = 0
    if limit < 1:
        raise _bad_arguments("limit has to be positive")
    return min(limit, most)


def read_cursor(arguments: Mapping[str, Any]) -> str | None:
    """Return the id of the message that the page begins with."""
    cursor = arguments.get("cursor")
    if cursor in (None, ""):
        return None
    try:
        kind, _, ts = base64.b64decode(str(cursor), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise SlackError("invalid_cursor") from None
    if kind != "next_ts" or not _TS.fullmatch(ts):
        raise SlackError("invalid_cursor")
    return ts


def cursor_to(ts: str) -> str:
    """Return a cursor for the page that begins with a message."""
    return base64.b64encode(f"next_ts:{ts}".encode()).decode()


def _bad_arguments(*faults: str) -> SlackError:
    messages = [f"[ERROR] {fault}" for fault in faults]
    return SlackError("invalid_arguments", response_metadata={"messages": messages})


def _json_object(raw: bytes) -> Json:
    value = _strict(raw.decode(errors="surrogateescape"), "invalid_json")
    if not isinstance(value, dict):
        raise SlackError("json_not_object")
    return value


def _structured(value: Any, error: str) -> Any:
    return _strict(value, error) if isinstance(value, str) else value


def _strict(text: str, error: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
        if "\\ud" in text.lower():
            # Python reads half of a surrogate pair, but it cannot be encoded.
            json.dumps(value, ensure_ascii=False).encode()
        text.encode()
    except (ValueError, RecursionError):
        raise SlackError(error) from None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
