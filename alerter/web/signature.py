"""Wix's signature on a webhook: the body is a JSON Web Token, signed for one of our apps."""

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
# Only the signature and the expiry count: Wix promises no audience and no subject, and `iat` is in
# the future for a clock that is behind Wix's.
_OPTIONS: jwt.types.Options = {
    "verify_signature": False,  # `Signatures.signer` does that
    "require": ["exp"],
    "verify_exp": True,
    "verify_nbf": True,
}
# PyJWT raises errors of others, too, for bodies that it does not foresee.
_FAULTS = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
# Checking so many keys takes about a millisecond; then other tasks run.
_KEYS_AT_ONCE = 32
_TOKENS_AT_ONCE = 8


class BadSignature(Exception):
    """Wix has not signed the body for any of our apps, or its token has expired."""


@dataclass(frozen=True, slots=True)
class WebhookToken:
    """A well-formed token that has not expired; its signature is not checked yet."""

    data: object
    audience: object
    digest: bytes
    signature: bytes


def check_algorithm(body: bytes) -> None:
    """Check the header of a token, which is cheap. Raises BadSignature unless it says RS256."""
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


def parse_token(body: bytes) -> WebhookToken:
    """Parse a token without checking its signature. Raises BadSignature."""
    try:
        found: dict[str, Any] = jwt.decode_complete(body, options=_OPTIONS)
    except _FAULTS:
        raise BadSignature from None
    payload = found["payload"]
    digest = sha256(body.rpartition(b".")[0]).digest()
    return WebhookToken(payload.get("data"), payload.get("aud"), digest, found["signature"])


class Signatures:
    """Check tokens with the public keys of the apps, each of which is parsed once."""

    def __init__(self, apps: Iterable[App]) -> None:
        self._keys = {
            app.app_id: cast("RSAPublicKey", load_pem_public_key(app.public_key.encode()))
            for app in apps
        }
        self._turns = asyncio.Semaphore(_TOKENS_AT_ONCE)

    async def signer(self, token: WebhookToken) -> str:
        """Return the id of the app that a token was signed for. Raises BadSignature.

        Other tasks run between every few keys.
        """
        # Wix does not promise that the audience is the app id. Where it is, one key is enough.
        if isinstance(token.audience, str) and self._is_signed_for(token.audience, token):
            return token.audience
        async with self._turns:
            for number, app_id in enumerate(self._keys, 1):
                if self._is_signed_for(app_id, token):
                    return app_id
                if number % _KEYS_AT_ONCE == 0:
                    await asyncio.sleep(0)
        raise BadSignature

    def _is_signed_for(self, app_id: str, token: WebhookToken) -> bool:
        key = self._keys.get(app_id)
        try:
            if key:
                key.verify(token.signature, token.digest, PKCS1v15(), Prehashed(SHA256()))
        except InvalidSignature:
            return False
        return key is not None
