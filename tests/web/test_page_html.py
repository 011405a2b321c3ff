"""The HTML of the review page: without a fault, and without anything of others."""

import re
from collections import Counter
from itertools import pairwise
from typing import Any

import html5lib
import pytest

from alerter.demo.faults import Fault
from tests.support.pages import Pages, config, pages
from tests.support.responding import desk, wix
from tests.support.values import SITE

__all__ = ["config", "desk", "pages", "wix"]

MEDIA = [
    {"image": {"id": "a.jpg", "width": 10, "height": 10}},
    {"image": {"url": "https://photos.example/x.jpg", "width": 10, "height": 10}},
]


async def sources(pages: Pages, receiver: str) -> dict[str, str]:
    """The HTML of each page of a receiver, by what it shows."""
    content = {"rating": 1, "title": "Stale", "body": "As stone.", "media": MEDIA}
    pages.desk.wix.add(SITE, {"id": "r2", "content": content})
    site = pages.config.sites[0]
    pages.desk.wix.moderate(SITE, "r2", "IN_MODERATION")
    review = await pages.desk.client.review(site, "r2")
    await pages.desk.responder()._record(site, review)
    link, listed = pages.link("r2", name=receiver), pages.list_link(name=receiver)
    found = {"review": (await pages.get(link)).source, "list": (await pages.get(listed)).source}
    forms = [form for form in (await pages.get(link)).forms if "text" in form.fields]
    pages.desk.wix.faults.add("/reply", Fault(status=400, body="{}"))
    sent = forms[0].fields | {"do": "reply", "text": "Sorry"}
    found["refused"] = (await pages.post(link, sent)).source
    found["unreadable"] = (await pages.post(link, b"", {"Content-Type": "text/plain"})).source
    pages.desk.wix.reply(SITE, "r2", "Sorry")
    await pages.desk.responder()._record(site, await pages.desk.client.review(site, "r2"))
    found["answered"] = (await pages.get(link)).source
    return found | {"not found": (await pages.get("/review/x")).source}


def tree(source: str) -> Any:
    """A page as a browser understands it; the least fault in its HTML fails."""
    return html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(source)


@pytest.mark.parametrize("receiver", ["owner", "de", "he"])
async def test_every_page_is_html_without_a_fault(pages: Pages, receiver: str) -> None:
    for name, source in (await sources(pages, receiver)).items():
        root = tree(source)
        code = "en" if receiver == "owner" or name == "not found" else receiver
        assert (root.get("lang"), root.get("dir")) == (code, "rtl" if code == "he" else None)
        assert len(list(root.iter("main"))) == len(list(root.iter("h1"))) == 1, name
        levels = [int(each.tag[1]) for each in root.iter() if re.fullmatch("h[1-6]", str(each.tag))]
        assert all(after - before <= 1 for before, after in pairwise(levels))
        ids = Counter(each.get("id") for each in root.iter() if each.get("id"))
        assert {each for each, number in ids.items() if number > 1} == set()


# What is not translated: names, what the customer and Wix wrote, and the one page for bad links.
FOREIGN = "Corner Bakery Stale As stone he Sorry Wix alerter photos example refuses the request"


async def test_no_english_is_left_on_a_hebrew_page(pages: Pages) -> None:
    found = await sources(pages, "he")
    for name in found.keys() - {"not found"}:
        text = re.sub(
            r"<style>.*?</style>|<[^>]*>|[0-9a-f-]{36}", " ", found[name], flags=re.DOTALL
        )
        words = set(re.findall(r"\b[A-Za-z]{2,}\b", text))
        assert words - set(FOREIGN.split()) == set(), name


async def test_every_control_has_a_name_and_each_reference_a_target(pages: Pages) -> None:
    for source in (await sources(pages, "owner")).values():
        root = tree(source)
        ids = {each.get("id") for each in root.iter()}
        labels = {each.get("for") for each in root.iter("label")}
        assert {each.get("id") for each in root.iter("textarea")} == labels
        assert all("".join(each.itertext()).strip() for each in root.iter("button"))
        for each in root.iter():
            for name in ("for", "aria-describedby", "aria-labelledby"):
                assert set((each.get(name) or "").split()) <= ids
            if (each.get("href") or "").startswith("#"):
                assert each.get("href")[1:] in ids


async def test_a_page_loads_thumbnails_of_wix_and_nothing_else(pages: Pages) -> None:
    for name, source in (await sources(pages, "owner")).items():
        root = tree(source)
        loaded = [each.get("src") for each in root.iter() if each.get("src")]
        assert len(loaded) == (1 if name in ("review", "list", "refused", "answered") else 0)
        assert all(
            each.startswith("https://static.wixstatic.com/media/a.jpg/v1/") for each in loaded
        )
        names = {each.tag for each in root.iter()}
        assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "video"})
        assert [each for each in root.iter() if each.get("style") or each.get("onclick")] == []
        leading = [each.get("href") for each in root.iter("a")]
        assert all(re.match("https://|#|\\?", each) or each == "" for each in leading)
        assert {each.get("method") for each in root.iter("form")} <= {"post"}
        assert {each.get("action") for each in root.iter("form")} <= {None}
