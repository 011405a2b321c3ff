"""How mails look: HTML without a fault, colours that can be read, absolute links, nothing wider
than a phone.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import html5lib
import pytest

from alerter.models import (
    Alert,
    AlertKind,
    CloseReason,
    Media,
    Message,
    MessageItem,
    Product,
    Reply,
    Review,
)
from alerter.render.renderer import Renderer
from alerter.render.samples import awkward, sample
from tests.support.browser import BROWSER, WIDTHS, look
from tests.support.rendered import (
    ALL,
    CREATED,
    ELSEWHERE,
    OTHER_SITE,
    PAGE,
    PHOTO,
    SITES,
    STALE,
    VIDEO,
    digest,
    entry,
    message,
)
from tests.support.values import SITE

GMAIL_CLIPS_AT = 102_000

FULL = replace(
    STALE,
    moderation="SUBMITTED",
    verified=True,
    helpful=3,
    unhelpful=1,
    origin="APP",
    media=(PHOTO, ELSEWHERE, VIDEO),
)
REVIEWS = {
    "usual": FULL,
    "bare": replace(STALE, title="", body="", author=""),
    "endless words": replace(
        FULL, title="W" * 300, body="https://example.com/" + "x" * 900, author="A" * 100
    ),
    "right to left": replace(
        FULL, title="خدمة سيئة جدا", body="وصل الخبز قديماً.\nلن أطلب مرة أخرى.", author="محمد"
    ),
    "emoji": replace(FULL, title="😡" * 99, body="👩‍👩‍👧‍👦" * 200, author="🥐" * 50),
    "markup": replace(
        FULL, title="</td></table>", body="<!-- <style> {{ 7*7 }} & <b>", author='"><img src=x>'
    ),
    "ten pictures": replace(FULL, media=(PHOTO,) * 10),
}
TROUBLE = {"what": f'The site "{"W" * 60}"', "reason": "403 " + "x" * 300, "remedy": "Mend it.",
           "since": CREATED.isoformat()}  # fmt: skip


def alert(kind: AlertKind, about: Review) -> Message:
    detail = (
        {"before": {"rating": 4, "title": about.title, "body": about.body}}
        if kind is AlertKind.LOWERED
        else {}
    )
    product = Product("P" * 90 if about.title.startswith("W") else "Rye bread", PAGE)
    return message(replace(entry(about, kind, product, **detail), context=ALL))


def closed(about: Review) -> Message:
    answered = replace(about, reply=Reply(about.body or "Sorry.", CREATED))
    return message(
        replace(entry(answered, AlertKind.CLOSED, reason="answered"), closing=CloseReason.ANSWERED)
    )


def trouble(kind: AlertKind) -> Message:
    return message(MessageItem(Alert("t", kind, detail=TROUBLE)))


ASKING = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER)
MESSAGES: Mapping[str, Message] = {
    **{f"{kind}, {name}": alert(kind, about) for kind in ASKING for name, about in REVIEWS.items()},
    **{f"closed, {name}": closed(about) for name, about in REVIEWS.items()},
    "a digest": digest(
        *map(entry, REVIEWS.values()),
        entry(STALE, AlertKind.LOWERED, site=OTHER_SITE, before={"rating": 4}, after=1),
    ),
    "trouble": trouble(AlertKind.TROUBLE),
    "recovered": trouble(AlertKind.RECOVERED),
    "summary": sample("summary", SITE, CREATED),
    **{f"summary, {name}": of for name, of in awkward("summary", SITE, CREATED)},
}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Every kind of mail about every awkward review."""
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), SITES)
    return {name: renderer.mail(of, test="usual" in name).html for name, of in MESSAGES.items()}


def tree(page: str) -> Any:
    """A mail as a browser understands it; the least fault in its HTML fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(page)


@pytest.mark.parametrize("name", MESSAGES)
def test_the_html_of_a_mail_has_no_fault(pages: dict[str, str], name: str) -> None:
    assert tree(pages[name]).find("body") is not None


def test_a_fault_in_html_would_be_found(pages: dict[str, str]) -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        tree(pages["trouble"].replace("</table>", "", 1))


@pytest.mark.parametrize("name", MESSAGES)
def test_every_address_in_a_mail_is_absolute(pages: dict[str, str], name: str) -> None:
    found = [
        value
        for each in tree(pages[name]).iter()
        for key, value in each.attrib.items()
        if key in ("href", "src")
    ]

    assert [
        each for each in found if urlsplit(each).scheme != "https" or not urlsplit(each).netloc
    ] == []
    assert (
        found
        or name in ("trouble", "recovered", "summary, nothing happened")
        or name.startswith("closed")
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_a_mail_can_be_understood_without_pictures_and_without_sight(
    pages: dict[str, str], name: str
) -> None:
    root = tree(pages[name])

    assert [each for each in root.iter("img") if not each.get("alt")] == []
    assert {each.get("role") for each in root.iter("table")} == {"presentation"}
    for each in root.iter():
        if each.get("role") == "img":
            stars = "".join(each.itertext())
            assert each.get("aria-label") == f"{stars.count('★')} of 5 stars"
            assert len(stars) == 5
        else:
            parts = [part.text or "" for part in each if part.get("role") != "img"]
            drawn = each.get("role") != "img" and any(re.fullmatch("[★☆]+", part) for part in parts)
            assert not drawn, "stars that have no name"
    assert root.find("head/title").text.strip()


@pytest.mark.parametrize("name", MESSAGES)
def test_the_line_beside_the_subject_says_what_the_mail_is_about(
    pages: dict[str, str], name: str
) -> None:
    preheader = tree(pages[name]).find("body")[0]

    assert "display:none" in preheader.get("style")
    assert 5 < len(preheader.text.split("\u034f")[0].strip()) <= 240


# --- colours


@dataclass
class Sheet:
    """What a mail's style element says, for a light or for a dark client: by tag or class, and
    whether it insists.
    """

    rules: dict[str, dict[str, tuple[str, bool]]]

    @classmethod
    def of(cls, page: str, *, dark: bool) -> "Sheet":
        [source] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        light, _, media = source.partition("@media (prefers-color-scheme: dark) {")
        assert media.count("{") + 1 == media.count("}")
        rules: dict[str, dict[str, tuple[str, bool]]] = {}
        for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", light + (media if dark else "")):
            for selector in map(str.strip, selectors.split(",")):
                for declaration in filter(str.strip, body.split(";")):
                    name, _, value = declaration.partition(":")
                    insists = "!important" in value
                    rules.setdefault(selector, {})[name.strip()] = (
                        value.replace("!important", "").strip(),
                        insists,
                    )
        return cls(rules)

    def colour(self, element: Any, name: str) -> str | None:
        inline = dict(
            re.findall(r"(?:^|;)\s*([\w-]+)\s*:\s*([^;]+)", element.get("style") or "")
        ).get(name)
        said = (inline, False) if inline else None
        for selector in (
            element.tag,
            *(f".{each}" for each in (element.get("class") or "").split()),
        ):
            if (found := self.rules.get(selector, {}).get(name)) and (found[1] or not inline):
                said = found
        return said[0] if said else None


def pairs(
    element: Any, sheet: Sheet, colours: tuple[str, str] = ("", "")
) -> Iterator[tuple[str, str, str]]:
    """Every text of a mail, with its colour and what is behind it."""
    if element.tag in ("head", "style") or "display:none" in (element.get("style") or ""):
        return
    front, back = (
        sheet.colour(element, "color") or colours[0],
        sheet.colour(element, "background-color") or colours[1],
    )
    if (element.text or "").strip("\xa0 \n"):
        yield element.text, front, back
    for child in element:
        if isinstance(child.tag, str):
            yield from pairs(child, sheet, (front, back))
        if (child.tail or "").strip("\xa0 \n"):
            yield child.tail, front, back


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """How well one colour can be told from another: from 1, not at all, to 21, black on white."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", MESSAGES)
def test_every_text_is_distinguishable_from_what_is_behind_it(
    pages: dict[str, str], name: str, dark: bool
) -> None:
    found = list(pairs(tree(pages[name]), Sheet.of(pages[name], dark=dark)))

    assert len(found) >= 3
    assert [(text, front, back) for text, front, back in found if contrast(front, back) < 4.5] == []
    # The page itself has changed its colours.
    assert (luminance(found[-1][2]) < 0.1) is dark


def test_contrast_is_measured_as_the_standard_does() -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


# --- sizes


@pytest.mark.parametrize(
    "character", ["😡", "&", '"', "\n", "\n<"], ids=["emoji", "ampersand", "quote", "line", "tag"]
)
def test_a_mail_about_the_largest_review_is_not_clipped(character: str) -> None:
    words = (character * 3000)[:3000]
    about = replace(
        FULL, title=words.replace("\n", "x"), body=words, author="😡" * 100, reply=Reply(words),
        media=(Media("photo", "https://photos.example/" + "x" * 200),) * 10,
    )  # fmt: skip
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), SITES)
    sizes = [
        len(renderer.mail(of).html.encode())
        for of in (*(alert(kind, about) for kind in ASKING), closed(about))
    ]

    assert max(sizes) < 100_000


def test_a_digest_is_compact_and_says_at_its_top_how_many_there_are() -> None:
    about = replace(
        STALE, title="Stale on arrival", body="The bread was stale, and the box was open. " * 9
    )
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), SITES)
    mails = {count: renderer.mail(digest(*[entry(about)] * count)).html for count in (100, 1000)}

    assert len(mails[100].encode()) < GMAIL_CLIPS_AT
    assert "1000 low-rated reviews" in mails[1000][: GMAIL_CLIPS_AT // 20]
    assert mails[1000].count("1 of 5 stars") == 1000


# --- a real browser


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="there is no chromium here to show mails")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_browser_shows_every_mail_without_scrolling_sideways(
    pages: dict[str, str], tmp_path: Path, dark: bool
) -> None:
    found = look(tmp_path, pages, dark=dark)

    assert len(found) == len(WIDTHS[dark]) * len(pages)
    # Names and words of others may be longer than a line.
    faults = {name: [each for each in of if "split" not in each] for name, of in found.items()}
    assert {name: of for name, of in faults.items() if of} == {}
