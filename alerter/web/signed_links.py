"""Signed links to the review page, and the tokens in its forms: JSON Web Tokens (HS256).

A mail that is rendered twice has the same links, so nothing in them is random, and they end a fixed
time after the alert.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt

from alerter.actions import digest
from alerter.config import Config, Receiver
from alerter.models import Medium, MessageItem, Review
from alerter.watch.routing import may_respond

_ALGORITHM = "HS256"
# What a token is for; one for another purpose is not valid.
_REVIEW, _OPEN_REVIEWS, _FORM = "review", "reviews", "form"
# How long a form may be sent after it was shown; then its text is shown again in a new form.
FORM_LASTS = timedelta(hours=4)


class BadLink(Exception):
    """A link that alerter has not signed, or that has ended, or that is for another purpose."""


class BadForm(Exception):
    """A form that alerter has not made for this page."""


@dataclass(frozen=True, slots=True)
class Link:
    """What a link opens for a receiver: a review, or without one all its open reviews.

    `key` names the link: the forms of a page are bound to it.
    """

    key: str
    receiver: str
    addresses: str
    ends_at: datetime
    site_id: str = ""
    review_id: str = ""


@dataclass(frozen=True, slots=True)
class FormToken:
    """What a form is about: a review as the person was shown it.

    `key` is unique for each form. `is_over`: it was shown too long ago to be sent.
    """

    key: str
    is_over: bool
    site_id: str
    review_id: str
    seen: str
    seen_reply: str
    revision: int


class LinkSigner:
    """Makes and reads links and form tokens with the `link_secret` of a config."""

    def __init__(self, public_url: str, secret: str, lasts: timedelta) -> None:
        self._public_url = public_url
        self._secret = secret
        self._lasts = lasts

    def review_url(
        self, receiver: Receiver, site_id: str, review_id: str, ends_at: datetime
    ) -> str:
        """Return the address where a receiver responds to a review."""
        claims = self._of(receiver, ends_at) | {"site": site_id, "review": review_id}
        return f"{self._public_url}/review/{self._sign(_REVIEW, claims)}"

    def open_reviews_url(self, receiver: Receiver, ends_at: datetime) -> str:
        """Return the address of a receiver's open reviews."""
        return (
            f"{self._public_url}/reviews/{self._sign(_OPEN_REVIEWS, self._of(receiver, ends_at))}"
        )

    def ends_at(self, raised_at: datetime) -> datetime:
        """Return when the links of an alert end."""
        return raised_at + self._lasts

    def read_link(self, token: str, now: datetime, *, of_review: bool) -> Link:
        """Return what a link opens. Raise BadLink."""
        try:
            claims = self._read(_REVIEW if of_review else _OPEN_REVIEWS, token)
            if claims["exp"] <= now.timestamp():
                raise BadLink
            return Link(
                key=digest(token),
                receiver=claims["sub"],
                addresses=claims["to"],
                ends_at=datetime.fromtimestamp(claims["exp"], now.tzinfo),
                site_id=claims["site"] if of_review else "",
                review_id=claims["review"] if of_review else "",
            )
        except _FAULTS as error:
            raise BadLink from error

    def form(self, link: Link, site_id: str, review: Review, now: datetime) -> str:
        """Return the token of a form that is shown now, on the page of a link."""
        claims = {
            "sub": link.key,
            "exp": int((now + FORM_LASTS).timestamp()),
            "jti": uuid4().hex,
            "site": site_id,
            "review": review.id,
            "seen": review.text_digest,
            "reply": review.reply_digest,
            "rev": review.revision,
        }
        return self._sign(_FORM, claims)

    def read_form(self, token: str, link: Link, now: datetime) -> FormToken:
        """Return what a form of a link's page is about. Raise BadForm."""
        try:
            claims = self._read(_FORM, token)
            if claims["sub"] != link.key:
                raise BadForm
            return FormToken(
                key=claims["jti"],
                is_over=claims["exp"] <= now.timestamp(),
                site_id=claims["site"],
                review_id=claims["review"],
                seen=claims["seen"],
                seen_reply=claims["reply"],
                revision=claims["rev"],
            )
        except _FAULTS as error:
            raise BadForm from error

    def _of(self, receiver: Receiver, ends_at: datetime) -> dict[str, Any]:
        return {
            "sub": receiver.name,
            "to": addresses_digest(receiver),
            "exp": int(ends_at.timestamp()),
        }

    def _sign(self, purpose: str, claims: dict[str, Any]) -> str:
        return jwt.encode({"aud": purpose} | claims, self._secret, algorithm=_ALGORITHM)

    def _read(self, purpose: str, token: str) -> dict[str, Any]:
        """Return the claims of a token. Raise one of _FAULTS."""
        claims: dict[str, Any] = jwt.decode(
            token, self._secret, algorithms=[_ALGORITHM], audience=purpose, options=_OPTIONS
        )
        # A signature has several spellings in base64, and only ours is a token of ours.
        if self._sign(purpose, claims) != token:
            raise jwt.InvalidTokenError
        return claims


# `exp` is compared with our own clock, as all moments are.
_OPTIONS: jwt.types.Options = {"require": ["exp", "aud", "sub"], "verify_exp": False}
# PyJWT raises errors of others, too, for tokens that it does not foresee.
_FAULTS = (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError, RecursionError)


class MailLinks:
    """The links in the mails of one receiver."""

    def __init__(self, signer: LinkSigner, config: Config, receiver: Receiver) -> None:
        self._signer = signer
        self._receiver = receiver
        self._sites = config.site_names
        self._is_last = receiver.name == config.reminders.escalate_to

    def review(self, item: MessageItem) -> str:
        """Return the address where the review of an item is answered.

        Empty for a sample, and where the page would not show the review to the receiver.
        """
        alert, review = item.alert, item.review
        if not (review and item.raised_at and alert.site_id and alert.review_id):
            return ""
        site = self._sites.get(alert.site_id)
        if site is None or not may_respond(
            self._receiver, review, site, is_open=not item.closing, is_last=self._is_last
        ):
            return ""
        ends_at = self._signer.ends_at(item.raised_at)
        return self._signer.review_url(self._receiver, alert.site_id, alert.review_id, ends_at)

    def open_reviews(self, raised_at: datetime | None) -> str:
        """Return the address of its open reviews, in the mail of an alert; empty for a sample."""
        if raised_at is None:
            return ""
        return self._signer.open_reviews_url(self._receiver, self._signer.ends_at(raised_at))


def get_signer(config: Config) -> LinkSigner | None:
    """Return the signer of a config; None where it has no `public_url`, or no secrets were read."""
    web = config.web
    secret = web.link_secret.get_secret_value() if web and web.link_secret else ""
    if web is None or web.public_url is None or not secret:
        return None
    return LinkSigner(web.public_url, secret, config.poll.rescan_window)


def addresses_digest(receiver: Receiver) -> str:
    """Return the digest of the addresses that a receiver's mails go to."""
    return digest(*sorted(each.casefold() for each in receiver.addresses(Medium.EMAIL)))
