"""What a person sends from a page: the fields of a form, and the action that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

from alerter.actions import ActionKind, NewAction, Person, Through
from alerter.respond.rules import parse_reply
from alerter.respond.snoozing import parse_until
from alerter.web.signed_links import FormToken

_MOST_FIELDS = 10
_FORM = "application/x-www-form-urlencoded"
# A browser names the page that a form was sent from; without a referrer it says `null`.
_OWN_SITES = (None, "same-origin", "none")
_DEFAULT_PORTS = {"http": 80, "https": 443}
KEY = "page:{}"


class BadBody(Exception):
    """A body that is no form; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Past(ValueError):
    """A snooze until a moment that is no choice, or that is past."""


@dataclass(frozen=True, slots=True)
class Submission:
    """The fields of a form."""

    form: str
    do: str
    text: str
    until: str
    canned: str


async def read_submission(request: web.Request) -> Submission:
    """Read the body of a form. Raise BadBody."""
    if request.content_type != _FORM:
        raise BadBody(415)
    try:
        body = (await request.read()).decode("utf-8", "replace")
        fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except web.HTTPRequestEntityTooLarge:
        raise BadBody(413) from None
    except ValueError:
        raise BadBody(400) from None
    names = ("form", "do", "text", "until", "canned")
    return Submission(*(fields.get(name, "") for name in names))


def is_from_own_page(headers: Mapping[str, str], public_url: str) -> bool:
    """Return whether a browser says that a form was sent from a page of ours, or says nothing.

    The token in the form proves it; this refuses what browsers know to be from elsewhere.
    """
    origin = headers.get("Origin")
    return headers.get("Sec-Fetch-Site") in _OWN_SITES and (
        origin in (None, "null") or _origin(origin or "") == _origin(public_url)
    )


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", "", None
    return parts.scheme, parts.hostname or "", port


def action_of(
    sent: Submission,
    token: FormToken,
    receiver: str,
    now: datetime,
    timezone: tzinfo,
    claimed_for: timedelta,
) -> NewAction | None:
    """Return the action that a form stands for; None where it names none.

    Raise InvalidReply or Past.
    """
    if sent.do not in tuple(ActionKind):
        return None
    kind = ActionKind(sent.do)
    until = None
    if kind is ActionKind.SNOOZE:
        try:
            until = parse_until(sent.until, now, timezone)
        except ValueError as error:
            raise Past from error
    elif kind is ActionKind.CLAIM:
        until = now + claimed_for
    return NewAction(
        key=KEY.format(token.key),
        kind=kind,
        site_id=token.site_id,
        review_id=token.review_id,
        person=Person(receiver),
        through=Through.PAGE,
        revision=token.revision,
        seen=token.seen,
        seen_reply=token.seen_reply,
        reply=parse_reply(sent.text) if kind is ActionKind.REPLY else "",
        replace=kind is ActionKind.REPLY and bool(token.seen_reply),
        until=until,
    )


def is_same(one: NewAction, other: NewAction) -> bool:
    """Return whether two submissions of one form ask for the same."""
    return (one.kind, one.reply) == (other.kind, other.reply) and (
        one.until == other.until or one.kind is not ActionKind.SNOOZE
    )
