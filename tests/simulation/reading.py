"""Reads what messages say. The templates of the simulation name, in a line of their own, what they
are about.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alerter.render.templates import builtin_templates
from tests.simulation import history as h

_LINE = re.compile(r"\[\[(\w+)\|([^\]]*)\]\]")
_ENDS = {"Answered": "answered", "Rated": "raised", "Rejected": "rejected", "Deleted": "gone"}
_WORD = re.compile(r"Zq[tb](r\d+)x\d+z")

_REVIEW = (
    "[[{{ kind }}|{{ review.id }}|{{ review.rating }}"
    "|{{ review.before.rating if review.before else '' }}"
    "|{{ review.closing }}|{{ 1 if review.late else 0 }}]]\n"
)
_DIGEST = (
    "{% for review in reviews %}[[d|{{ review.id }}|{{ review.rating }}"
    "|{{ review.notes }}|{{ review.closing }}|{{ 1 if review.late else 0 }}]]\n{% endfor %}"
)
_TROUBLE = "[[{kind}|{{{{ trouble.what }}}}]]\n"
_SUMMARY = "[[summary|]]\n"
_CLUSTER = '[[cluster|{{ cluster.site.id }}|{{ reviews | map(attribute="id") | join(" ") }}]]\n'

_LINES = {
    "review": _REVIEW, "digest": _DIGEST, "summary": _SUMMARY, "cluster": _CLUSTER,
    "trouble": _TROUBLE.format(kind="trouble"), "recovered": _TROUBLE.format(kind="recovered"),
}  # fmt: skip

# What a reminder says: of a span, or of a review that is open again.
_REMINDS = re.compile(r"\bstill unanswered\b|\bopen again\b", re.IGNORECASE)


def write_templates(folder: Path) -> None:
    """Write the built-in text templates, each with a line before it that says what it is about."""
    folder.mkdir(exist_ok=True)
    for file in builtin_templates().iterdir():
        name = file.name.removesuffix(".txt")
        if file.suffix == ".txt" and (line := _LINES.get(name)):
            (folder / file.name).write_text(line + file.read_text())


def marked(name: str, source: str) -> str:
    """Return a built-in template for Slack with what it is about, for media that draw these."""
    kind = name.removesuffix(".slack.json")
    line = _LINES.get(kind) if name.endswith(".slack.json") else None
    if line is None:
        return source
    head, bracket, body = source.partition("\n[\n")
    assert bracket, name
    return f"{head}\n{{% set marks %}}{line}{{% endset %}}\n[\n{{{{ slack.line(marks) }}}},\n{body}"


def read_items(text: str) -> tuple[h.Item, ...]:
    """What a message is about."""
    found: dict[h.Item, None] = {}
    for kind, fields in _LINE.findall(text):
        found[_item(kind, fields.split("|"))] = None
    return tuple(found) or _unmarked(text)


def _unmarked(text: str) -> tuple[h.Item, ...]:
    """The same of a message by the built-in templates, which stand in where ours are refused: by
    its words.
    """
    review_ids = dict.fromkeys(_WORD.findall(text))
    if not review_ids:
        return ()
    if "in a short time" in text:
        return (h.Item("cluster", about="cluster", reviews=tuple(review_ids)),)
    rating = re.search(r"(\d) of 5", text)
    after = int(rating[1]) if rating else None
    lowered = re.search(r"lowered from (\d)", text)
    kind: h.AlertKind = "lowered" if lowered else "reminder" if _REMINDS.search(text) else "new"
    before = int(lowered[1]) if lowered else None
    reason: Any = next(
        (
            name
            for word, name in _ENDS.items()
            if re.search(rf"^(?:✅ )?{word}\b", text, re.MULTILINE)
        ),
        None,
    )
    if reason:
        return tuple(h.Item("closed", each, after=after, reason=reason) for each in review_ids)
    return tuple(h.Item(kind, each, before=before, after=after) for each in review_ids)


def _item(kind: str, fields: list[str]) -> h.Item:
    if kind in {"trouble", "recovered"}:
        return h.Item(kind, about=fields[0])
    if kind == "summary":
        return h.Item("summary", about="other:summary")
    if kind == "cluster":
        site_id, review_ids = fields
        return h.Item("cluster", about=f"site:{site_id}/cluster", reviews=tuple(review_ids.split()))
    review_id, rating, before, closing, late = fields
    number = None
    in_digest = kind == "d"
    if in_digest:
        kind, before = _kind_in_digest(before, closing)
    reason: Any = closing or None
    return h.Item(
        kind,
        review_id,
        before=int(before) if before else None,
        after=int(rating),
        reason=reason,
        number=number,
        says_older=late == "1",
        in_digest=in_digest,
    )


def _kind_in_digest(notes: str, closing: str) -> tuple[str, str]:
    if closing:
        return "closed", ""
    if lowered := re.search(r"lowered from (\d)", notes):
        return "lowered", lowered[1]
    return ("reminder", "") if _REMINDS.search(notes) else ("new", "")


def repeats(text: str) -> bool:
    """Whether a message says that it may be a repeat."""
    return bool(
        re.search(
            r"may (be|have been).{0,40}(repeat|second time|twice|already)|\brepeat\b",
            text,
            re.IGNORECASE,
        )
    )


def said_in_blocks(blocks: Any) -> str:
    """Every text of a Slack message's blocks."""
    if isinstance(blocks, str):
        import json

        blocks = json.loads(blocks or "[]")
    return "\n".join(_words(blocks or []))


def _words(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in {"text", "alt_text", "url", "fallback"} and isinstance(inner, str):
                yield inner
            else:
                yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)


# Different faults of one site, receiver or service, by the words and by the scope of their trouble.
_PARTS = (
    ("not published", "unpublished"), ("private:", "unpublished"),
    ("go to no receiver", "unrouted"), ("unrouted:", "unrouted"),
    ("can look whether", "look"), ("can change messages", "update"), ("method:", "method"),
    ("does not take messages now", "throttled"), ("service:webhook", "throttled"), ("service:ntfy", "throttled"),
    ("service:discord", "throttled"), ("service:teams", "throttled"),
    ("refused for good", "messages"), ("message:", "messages"), ("some addresses", "addresses"),
    ("addresses:", "addresses"), ("words of a deleted", "erasure"), ("erasure:", "erasure"),
)  # fmt: skip


def about(what: str, sites: Mapping[str, str], receivers: Iterable[str]) -> str:
    """What a trouble concerns, from what it says; `sites` has their ids by name. A scope of
    `status` will do too.

    What is after a slash tells apart the faults of one site, receiver or service.
    """
    found = _whole(what, sites, receivers)
    part = next((part for words, part in _PARTS if words in what), None)
    return f"{found}/{part}" if part else found


def _whole(what: str, sites: Mapping[str, str], receivers: Iterable[str]) -> str:
    kind, _, name = what.partition(":")
    if kind in {"private", "unrouted"} and name:
        return f"site:{name}"
    if kind in {"site", "template"} and name:
        return what
    if found := re.match(r"the template (\S+) does not work", what):
        return f"template:{found[1]}"
    if kind in {"receiver", "addresses", "message", "destination", "erasure"} and name:
        return f"receiver:{_receiver(name, receivers) or name}"
    if kind == "service" and name.partition(":")[0] in h.POSTED:
        return f"receiver:{_receiver(name, receivers) or name}"
    if kind == "service" and name:
        return "smtp" if name == "smtp" else "slack"
    if kind == "config":
        return "config"
    if found := _receiver(what, receivers):
        return f"receiver:{found}"
    for site, site_id in sites.items():
        if site in what:
            return f"site:{site_id}"
    text = what.lower()
    for word, scope in (
        ("slack", "slack"), ("mail server", "smtp"), ("smtp", "smtp"), ("config", "config"), ("state", "database"),
        ("database", "database"), ("alerter does not start", "database"), ("wix", "wix"),
    ):  # fmt: skip
        if word in text:
            return scope
    return f"other:{what[:80]}"


def _receiver(text: str, receivers: Iterable[str]) -> str | None:
    words = re.split(r"[^\w-]+", text.lower())
    return next((name for name in receivers if name.lower() in words), None)
