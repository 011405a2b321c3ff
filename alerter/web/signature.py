"""Wix's signature on a webhook: the body is a token, signed for one of our apps."""

from collections.abc import Iterable
from typing import cast

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import RSAAlgorithm

from alerter.config import App
from alerter.errors import ConfigError

# Nothing but the signature and the end of its life counts: Wix promises neither an audience nor a subject, and a
# clock of ours that is a second behind must not make a token come from the future.
_OPTIONS: jwt.types.Options = {
    "require": ["exp"],
    "verify_aud": False,
    "verify_iat": False,
    "verify_jti": False,
    "verify_sub": False,
}


class BadSignature(Exception):
    """A body that Wix has not signed for any of our apps, or whose time is over."""


class Signatures:
    """Checks tokens with the public keys of the apps, each parsed once. Raises ConfigError where one is no key."""

    def __init__(self, apps: Iterable[App]) -> None:
        algorithm = RSAAlgorithm(RSAAlgorithm.SHA256)
        self._keys: list[RSAPublicKey] = []
        for number, app in enumerate(apps, 1):
            try:
                self._keys.append(cast("RSAPublicKey", algorithm.prepare_key(app.public_key)))
            except (jwt.PyJWTError, ValueError, TypeError):
                raise ConfigError([f"apps.{number}.public_key: is not a public key that can be read"]) from None

    def data(self, token: bytes) -> object:
        """The claim `data` of a token that Wix has signed. Raises BadSignature."""
        for key in self._keys:
            try:
                return jwt.decode(token, key, algorithms=["RS256"], options=_OPTIONS).get("data")
            # A body from anybody: what PyJWT does not foresee in it is no better than what it does.
            except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
                continue
        raise BadSignature
