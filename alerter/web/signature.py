"""Wix's signature on a webhook: the body is a token, signed for one of our apps."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast

import jwt
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from alerter.config import App

_ALGORITHM = "RS256"
_LONGEST_HEADER = 4096
# Nothing but the signature and the end of its life counts: Wix promises neither an audience nor a subject, and a
# clock of ours that is a second behind must not make a token come from the future.
_OPTIONS: jwt.types.Options = {
    "verify_signature": False,  # `Signatures.signers` does that
    "require": ["exp"],
    "verify_exp": True,
    "verify_nbf": True,
}
# What a body from anybody may raise: what PyJWT does not foresee in it is no better than what it does.
_FAULTS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
# So many keys take about a millisecond; after that others get their turn.
_AT_ONCE = 32
_TOKENS_AT_ONCE = 8


class BadSignature(Exception):
    """A body that Wix has not signed for any of our apps, or whose time is over."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that is well formed and still valid; its signature has not been checked yet."""

    data: object
    audience: object
    digest: bytes
    signature: bytes


def check_algorithm(body: bytes) -> None:
    """Look at nothing but a token's header, which is cheap. Raises BadSignature unless it says RS256."""
    header = body.partition(b".")[0]
    try:
        found = (
            json.loads(jwt.utils.base64url_decode(header))
            if len(header) <= _LONGEST_HEADER
            else None
        )
    except _FAULTS:
        found = None
    if not isinstance(found, dict) or found.get("alg") != _ALGORITHM or "b64" in found:
        raise BadSignature


def parse_token(body: bytes) -> Token:
    """Read a token once, whatever the number of keys. Raises BadSignature."""
    try:
        found: dict[str, Any] = jwt.decode_complete(body, options=_OPTIONS)
    except _FAULTS:
        raise BadSignature from None
    payload = found["payload"]
    digest = sha256(body.rpartition(b".")[0]).digest()
    return Token(payload.get("data"), payload.get("aud"), digest, found["signature"])


class Signatures:
    """Check tokens with the public keys of the apps, each of which is parsed once."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._keys = {
            app.app_id: cast("RSAPublicKey", load_pem_public_key(app.public_key.encode()))
            for app in apps
        }
        self._turns = asyncio.Semaphore(_TOKENS_AT_ONCE)

    async def signer(self, token: Token) -> str:
        """Return the app that a token was signed for, by its id. Raises BadSignature.

        Other tasks run between every few keys.
        """
        # Wix does not promise that the audience is the app. Where it is, one key is enough.
        if isinstance(token.audience, str) and self._holds(token.audience, token):
            return token.audience
        async with self._turns:
            for number, app_id in enumerate(self._keys, 1):
                if self._holds(app_id, token):
                    return app_id
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        raise BadSignature

    def _holds(self, app_id: str, token: Token) -> bool:
        key = self._keys.get(app_id)
        try:
            if key:
                key.verify(token.signature, token.digest, PKCS1v15(), Prehashed(SHA256()))
        except InvalidSignature:
            return False
        return key is not None
