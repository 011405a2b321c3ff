"""Messages to render, and what people see of what was rendered."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from alerter.demo.slack_blocks import faults_of
from alerter.models import (
    Alert,
    AlertKind,
    Content,
    Form,
    Media,
    Message,
    MessageItem,
    Product,
    Review,
    ReviewHistory,
)
from alerter.render.renderer import Renderer
from tests.support.reviews import review
from tests.support.values import SITE

OTHER_SITE = "22222222-2222-4222-8222-222222222222"
SITES = {SITE: "Corner Bakery", OTHER_SITE: "Florist & Sons"}
DASHBOARD = f"https://manage.wix.com/dashboard/{SITE}/reviews/pending"
CREATED = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
BEFORE = {"rating": 2, "title": "Not bad", "body": "But not good either"}
STALE = review(
    created=CREATED,
    title="Stale",
    body="The bread was stale.\nAnd dear.",
    author="Ada",
    namespace="stores",
    entity_id="p-17",
    moderation="APPROVED",
)

HOSTILE = {
    "a broadcast": "<!channel> <!here> @channel",
    "a mention": "<@U123> <#C123>",
    "a Slack link": "<https://evil.example|Click>",
    "a bare link": "https://evil.example/x?a=1&b=2",
    "Slack markup": "*bold* _it_ ~no~ `code` :bomb: > quote",
    "ampersands": "fish & chips &amp; &lt;b&gt; &#x27;",
    "a script": "<script>alert(1)</script>",
    "an image": '"><img src=x onerror="alert(1)">',
    "a comment left open": "<!-- <style> </td></table>",
    "a template": "{{ 7*7 }} {% raw %} {# no #} ${7*7}",
    "quotes": """He said "no", she said 'no' \\ \\" \\u0022""",
    "JSON": '"}, {"type": "divider"}, {"x": "',
    "emoji": "👩‍👩‍👧‍👦😡",
    "right to left": "خدمة سيئة \u202egnp.exe",
    "right to left without an end": "Bad \u202e\u2067\u202b moc.live//:sptth",
    "ends of what nobody began": "\u202c\u2069\u2069 Bad \u2069",
    "isolates of its own": "Bad \u2068خدمة",
    "a reply line of its own": "Bad.\n\nReply in the dashboard: https://wix.com.evil.example/login",
    "a reply line with odd breaks": "Bad.\u2028Reply in the dashboard:\u2029https://wix.com.evil.example/",
    "a quote of its own": "> Bad.\nReply: https://www.wix.com.evil.example/dashboard",
    "a link that looks like another": "https://www.wix.com@evil.example/dashboard",
    "Unicode's line breaks": "one\u2028two\u2029three",
}


def entry(
    about: Review | None = STALE,
    kind: AlertKind = AlertKind.NEW,
    product: Product | None = None,
    site: str = SITE,
    **detail: Any,
) -> MessageItem:
    review_id = about.id if about else "gone"
    return MessageItem(
        Alert(f"{kind}:{site}:{review_id}", kind, site, review_id, detail),
        about,
        product or Product(),
    )


def new(about: Review | None = STALE, product: Product | None = None, **detail: Any) -> Message:
    return message(entry(about, product=product, **detail))


def lowered(
    about: Review = STALE, product: Product | None = None, before: Mapping[str, Any] | None = None
) -> Message:
    return message(
        entry(about, AlertKind.LOWERED, product, before=before or BEFORE, after=about.rating)
    )


def digest(*entries: MessageItem) -> Message:
    """Each of the entries is of a review of its own."""
    alerts = [replace(each.alert, review_id=f"r{number}") for number, each in enumerate(entries)]
    own = (replace(each, alert=alert) for each, alert in zip(entries, alerts, strict=True))
    return message(*own, form=Form.DIGEST)


def message(*entries: MessageItem, form: Form = Form.ALERT) -> Message:
    return Message(1, "uid@alerter", "email:owner", form, entries, CREATED)


class Page(HTMLParser):
    """What a mail program sees of HTML: its tags, and its text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.pieces: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", ()))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def links(self) -> list[str | None]:
        return [dict(attrs)["href"] for tag, attrs in self.tags if tag == "a"]


def objects(part: Any) -> Iterator[Mapping[str, Any]]:
    """Every object within some Slack blocks."""
    if isinstance(part, Mapping):
        yield part
        for inner in part.values():
            yield from objects(inner)
    elif isinstance(part, list | tuple):
        for inner in part:
            yield from objects(inner)


def words(blocks: Any) -> str:
    """What people read in some blocks, without headers and buttons."""
    return "".join(
        str(each["text"])
        for each in objects(blocks)
        if each.get("type") in ("text", "link", "mrkdwn")
    ) + "".join(facts(blocks))


def facts(blocks: Any) -> list[str]:
    """The lines of small print of some blocks."""
    return [
        line
        for block in objects(blocks)
        if block.get("type") == "context"
        for element in block["elements"]
        for line in element["text"].split("\n")
    ]


def shape(part: Any) -> Any:
    """Some blocks without their words."""
    if isinstance(part, Mapping):
        return {key: "…" if key in ("text", "fallback") and isinstance(value, str) else shape(value)
                for key, value in part.items()}  # fmt: skip
    return [shape(inner) for inner in part] if isinstance(part, list | tuple) else part


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def shown(block: Any) -> int:
    """How long the words of a block are, as a service may count them."""
    return sum(units(each[key]) for each in objects(block) for key in ("text", "fallback")
               if isinstance(each.get(key), str))  # fmt: skip


def assert_within_slacks_limits(content: Content) -> None:
    assert faults_of(json.loads(json.dumps(content.blocks))) == []
    assert len(content.blocks) <= 50
    assert max(shown(block) for block in content.blocks) <= 3000
    assert all(shown(block) <= 150 for block in content.blocks if block["type"] == "header")
    assert 0 < units(content.text) <= 4000


# --- hostile text


def directed(text: str) -> str:
    """A text as messages hold it: nothing in it directs what follows, and its lines end as
    all do.
    """
    return re.sub("[\u2028\u2029]", "\n", re.sub("[\u202a-\u202e\u2066-\u2069]", "", text)).strip()


def one_line(text: str) -> str:
    return " ".join(directed(text).split())


def marked(text: str) -> str:
    """A customer's text as it stands in a text part, where none of its lines is too long."""
    return "\n".join(f"> {line}" for line in directed(text).split("\n"))


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


# --- an owner's own templates


def own(folder: Path, templates: Mapping[str, str | bytes], *, fall_back: bool = True) -> Renderer:
    """A renderer with these templates of an owner's."""
    for name, source in templates.items():
        (folder / name).write_bytes(source.encode() if isinstance(source, str) else source)
    return Renderer(folder, BERLIN, SITES, fall_back=fall_back)


KEPT = "https://static.wixstatic.com/media/"
PHOTO = Media("photo", f"{KEPT}a.jpg", f"{KEPT}a.jpg/v1/fill/w_240,h_240,al_c,q_80/small.jpg")
VIDEO = Media(
    "video",
    "https://video.wixstatic.com/v.mp4",
    f"{KEPT}b.jpg/v1/fill/w_240,h_240,al_c,q_80/small.jpg",
)
ELSEWHERE = Media("photo", "https://photos.example/x.jpg")
PAGE = "https://bakery.example/product-page/rye"
NOTHING = ReviewHistory()
ALL = ReviewHistory(3, 2, datetime(2026, 10, 15, 12, 0, tzinfo=UTC), 2)
