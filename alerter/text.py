"""Read and clean the replies of services, so that they are safe to store, log and show."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple
from unicodedata import category

LONGEST_REPLY = 200
# Shorter pieces of base64 also occur in ordinary text.
_SHORTEST_BASE64 = 4
_URL_SAFE = str.maketrans("+/", "-_")
# Parsed values: 16 MB of `{},` take 424 MB of memory.
_MOST_VALUES = 2_000_000
_VALUE = re.compile(rb'[,\[{]|"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_ADDRESS = re.compile(r"[^\s<>@]{1,200}@[^\s<>@]{1,200}")


def clean_reply(reply: object, *, secrets: Iterable[str] = (), most: int = LONGEST_REPLY) -> str:
    """Return a service's reply as one line of at most `most` characters that is safe to show.

    Control characters, email addresses and `secrets` are replaced. `secrets` are those that were
    sent to the service, which it may repeat, also in base64. Every reply of a service passes
    through here before it is stored, logged or shown.
    """
    whole, hidden = str(reply), _secret_pattern(secrets)
    text = whole[: 20 * most]
    if hidden is not None:
        text = hidden.pattern.sub("[secret]", text)
        if len(whole) > 20 * most:
            # The cut may leave the beginning of a secret at the end.
            text = text[: -hidden.longest]
    text = "".join(char if _is_shown(char) else " " for char in text)
    text = _ADDRESS.sub("[address]", text)
    return " ".join(text.split())[:most]


def is_excessive_json(body: bytes) -> bool:
    """Whether JSON holds more values than any answer of a service, and must not be parsed."""
    if 2 * sum(map(body.count, (b",", b"[", b"{"))) <= _MOST_VALUES:
        return False
    # A text may hold any number of commas.
    counted = islice(_VALUE.finditer(body), _MOST_VALUES + 1)
    return sum(1 for _ in counted) > _MOST_VALUES


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as `1 site` and `2 sites`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def table_in(answer: Any, name: str) -> Mapping[str, Any]:
    """Return the JSON object under a key of a service's answer; empty if there is none."""
    found = answer.get(name)
    return found if isinstance(found, dict) else {}


class _SecretPattern(NamedTuple):
    pattern: re.Pattern[str]
    longest: int


def _secret_pattern(secrets: Iterable[str]) -> _SecretPattern | None:
    """Return a pattern that matches each secret, plain or in base64; None without secrets.

    A single pattern, longest first, never searches its own replacements.
    """
    spellings = {each for secret in secrets for each in _spellings(secret)}
    if not spellings:
        return None
    longest_first = sorted(spellings, key=lambda each: (-len(each), each))
    return _SecretPattern(
        re.compile("|".join(map(re.escape, longest_first))), len(longest_first[0])
    )


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret plain and as it may appear inside a longer base64 text."""
    if secret:
        yield secret
    raw = secret.encode(errors="surrogatepass")
    for offset in range(3):  # base64 depends on where in a group of 3 bytes it begins
        encoded = b64encode(b"\0" * offset + raw).decode()
        whole = encoded.rstrip("=")[-(-offset * 8 // 6) :]
        for spelling in (whole, whole.translate(_URL_SAFE)):
            yield from (each for each in (spelling, spelling[:-1]) if len(each) >= _SHORTEST_BASE64)


def _is_shown(char: str) -> bool:
    """Whether a character is visible: not a control, format (bidi), surrogate or private one."""
    return category(char)[0] != "C" and category(char) not in ("Zl", "Zp")
