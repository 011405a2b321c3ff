"""What others wrote, made safe to keep, to log and to show."""

import re
from base64 import b64encode
from collections.abc import Iterable
from unicodedata import category

LONGEST_REPLY = 200
_ADDRESS = re.compile(r"[^\s<>@]{1,200}@[^\s<>@]{1,200}")


def clean_reply(said: object, *, secrets: Iterable[str] = (), most: int = LONGEST_REPLY) -> str:
    """Return what a service said: one line, cut, without control characters, addresses and secrets.

    Every reply of a service passes here before it is kept, logged or shown. `secrets` are those
    that were sent to the service, which it may repeat, also in base64.
    """
    whole, spellings = str(said), list(_spellings(secrets))
    text = whole[: 20 * most]
    for secret in spellings:
        text = text.replace(secret, "[secret]")
    if len(whole) > 20 * most and spellings:
        # The cut may leave the beginning of a secret at the end.
        text = text[: -max(map(len, spellings))]
    text = "".join(char if _is_shown(char) else " " for char in text)
    text = _ADDRESS.sub("[address]", text)
    return " ".join(text.split())[:most]


def _spellings(secrets: Iterable[str]) -> Iterable[str]:
    """Yield each secret as a service may repeat it: plain, in base64, or at the end of base64."""
    for secret in filter(None, secrets):
        yield secret
        raw = secret.encode()
        for offset in range(3):  # base64 has three spellings, by where in a group of 3 it begins
            encoded = b64encode(b"\0" * offset + raw).decode()
            whole = encoded.rstrip("=")[-(-offset * 8 // 6) :]
            yield from (whole, whole[:-1])


def _is_shown(char: str) -> bool:
    """Whether a character shows as itself: no control, format (bidi), surrogate or private one."""
    return category(char)[0] != "C" and category(char) not in ("Zl", "Zp")
