"""What Discord refuses in a message, and whom a message notifies."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits
_MOST_CONTENT = 2000
_MOST_EMBEDS = 10
_MOST_FIELDS = 25
_MOST_IN_ALL = 6000
_TEXTS = {"title": 256, "description": 4096}
_PARTS = {"footer": ("text", 2048), "author": ("name", 256)}
_FIELD = {"name": 256, "value": 1024}
_LARGEST_COLOR = 0xFFFFFF
_ADDRESS = re.compile(r"https?://[^\s/?#]+[^\s]*")
_MENTION = re.compile(r"@everyone|@here|<@!?\d+>|<@&\d+>")
_MENTION_KINDS = {"everyone", "users", "roles"}


class DiscordError(Exception):
    """A refusal with its HTTP status and its code."""

    def __init__(
        self, status: int, code: int, text: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers
        self.body: dict[str, Any] = {"message": text, "code": code}


def find_faults(body: Mapping[str, Any]) -> None:
    """Raise DiscordError for a message that Discord refuses."""
    faults = dict(_faults(body))
    if faults:
        error = DiscordError(400, 50035, "Invalid Form Body")
        error.body["errors"] = {
            path: {"_errors": [{"code": "BASE_TYPE_BAD_LENGTH", "message": text}]}
            for path, text in faults.items()
        }
        raise error
    if not (str(body.get("content") or "").strip() or body.get("embeds")):
        raise DiscordError(400, 50006, "Cannot send an empty message")


def _faults(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    content, embeds = body.get("content"), body.get("embeds") or []
    if content is not None and not isinstance(content, str):
        yield "content", "Could not interpret as string."
    elif length(content or "") > _MOST_CONTENT:
        yield "content", f"Must be {_MOST_CONTENT} or fewer in length."
    if not isinstance(embeds, list) or not all(isinstance(each, dict) for each in embeds):
        yield "embeds", "Only dictionaries may be used in a DictType"
        return
    if len(embeds) > _MOST_EMBEDS:
        yield "embeds", f"Must be {_MOST_EMBEDS} or fewer in length."
    for number, embed in enumerate(embeds):
        for path, text in _embed_faults(embed):
            yield f"embeds.{number}.{path}", text
    if sum(map(_embed_length, embeds)) > _MOST_IN_ALL:
        yield "embeds", f"Embed size exceeds maximum size of {_MOST_IN_ALL}"
    yield from _mention_faults(body.get("allowed_mentions"))


def _embed_faults(embed: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, most in _TEXTS.items():
        yield from _text_faults(embed, key, most)
    for part, (key, most) in _PARTS.items():
        yield from _text_faults(embed.get(part) or {}, key, most)
    fields = embed.get("fields") or []
    if len(fields) > _MOST_FIELDS:
        yield "fields", f"Must be {_MOST_FIELDS} or fewer in length."
    for number, each in enumerate(fields):
        for key, most in _FIELD.items():
            if not str(each.get(key) or "").strip():
                yield f"fields.{number}.{key}", "This field is required"
            yield from _text_faults(each, key, most)
    pictures = [embed.get(part) or {} for part in ("image", "thumbnail")]
    for address in (embed.get("url"), *(each.get("url") for each in pictures)):
        if address is not None and not _ADDRESS.fullmatch(str(address)):
            yield "url", "Not a well formed URL."
    color = embed.get("color", 0)
    if not isinstance(color, int) or not 0 <= color <= _LARGEST_COLOR:
        yield "color", "int value should be between 0 and 16777215."


def _text_faults(part: Mapping[str, Any], key: str, most: int) -> Iterator[tuple[str, str]]:
    value = part.get(key, "")
    if not isinstance(value, str):
        yield key, "Could not interpret as string."
    elif length(value) > most:
        yield key, f"Must be {most} or fewer in length."


def _mention_faults(allowed: Any) -> Iterator[tuple[str, str]]:
    if allowed is None:
        return
    parse = allowed.get("parse", []) if isinstance(allowed, dict) else None
    if not isinstance(parse, list) or not set(parse) <= _MENTION_KINDS:
        yield "allowed_mentions", "Only dictionaries of known kinds may be used"


def _embed_length(embed: Mapping[str, Any]) -> int:
    texts = [embed.get(key) or "" for key in _TEXTS]
    texts += [(embed.get(part) or {}).get(key) or "" for part, (key, _) in _PARTS.items()]
    texts += [each.get(key) or "" for each in embed.get("fields") or [] for key in _FIELD]
    return sum(length(text) for text in texts if isinstance(text, str))


def length(text: str) -> int:
    """Return a length in UTF-16 units: Discord does not say what it counts, and none is more."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def pings(body: Mapping[str, Any]) -> list[str]:
    """Return the mentions in a message's content that notify somebody; in embeds none does."""
    allowed = body.get("allowed_mentions")
    kinds = _MENTION_KINDS if allowed is None else set(allowed.get("parse", []))
    return [
        each for each in _MENTION.findall(str(body.get("content") or "")) if _kind(each) in kinds
    ]


def _kind(mention: str) -> str:
    if mention.startswith("@"):
        return "everyone"
    return "roles" if mention.startswith("<@&") else "users"
