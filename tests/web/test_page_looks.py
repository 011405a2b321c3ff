"""The review page in a real browser, without JavaScript: wide and narrow, light and dark."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from alerter.models import Status
from tests.support.browser import BROWSER
from tests.support.chromium import Tab, open_tab
from tests.support.pages import Pages, config, pages
from tests.support.responding import desk, wix
from tests.support.values import SITE

__all__ = ["config", "desk", "pages", "wix"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium here to open pages with"),
]
REPLY, CLAIM = "button[value=reply]", "button[value=claim]"
# The rules of WCAG 2.1 A and AA, and the good practice that axe-core knows.
AXE = (files("axe_core_python") / "axe.min.js").read_text("utf-8")
RUN = "axe.run(document).then(found => JSON.stringify(found))"
# Colours do not depend on the width.
WIDTHS = (320, 1200)
LONG = {
    "id": "r2",
    "content": {
        "rating": 2,
        "title": "W" * 200,
        "body": "https://example.com/" + "x" * 900,
        "media": [{"image": {"id": f"{name}.jpg", "width": 10, "height": 10}} for name in "abc"],
    },
    "author": {"authorName": "A" * 100},
    "moderation": {"moderationStatus": "IN_MODERATION"},
}
ARABIC = {
    "id": "r3",
    "content": {"rating": 1, "title": "خدمة سيئة جدا", "body": "وصل الخبز قديماً.\nلن أطلب."},
    "author": {"authorName": "محمد"},
}


async def prepare(pages: Pages) -> dict[str, str]:
    """Add awkward reviews; return the address of each page to look at."""
    site = pages.config.sites[0]
    for each in (LONG, ARABIC):
        pages.desk.wix.add(SITE, each)
        review = await pages.desk.client.review(site, str(each["id"]))
        await pages.desk.responder()._record(site, review)
    await pages.press(pages.link("r3"), "I’m on it")
    await pages.press(pages.link("r3"), "Tomorrow · Wed 25 Nov, 09:00")
    under_way = pages.desk.new(key="page:1", review_id="r3", person=pages.desk.new().person)
    pages.desk.responder().request(under_way)
    found = {
        "open": pages.link(),
        "long": pages.link("r2"),
        "held": pages.link("r3"),
        "done": pages.link("r3") + "?action=" + await claimed(pages),
        "being sent": pages.link("r3", name="Ada") + "?action=1",
        "list": pages.list_link(),
        "not found": "/review/nonsense",
    }
    for code in ("de", "he"):
        found[f"long, {code}"] = pages.link("r2", name=code)
        found[f"list, {code}"] = pages.list_link(name=code)
    return {name: pages.url + path for name, path in found.items()}


async def claimed(pages: Pages) -> str:
    link = pages.link("r3")
    answer = await pages.post(link, (await pages.get(link)).press("I’m not on it any more"))
    return answer.headers["Location"].partition("=")[2]


async def faults(tab: Tab) -> list[str]:
    """What axe-core finds wrong with a page, and what is wider than it."""
    await tab.allow_scripts(allowed=True)
    await tab.look(f"{AXE}; undefined")
    found: dict[str, Any] = json.loads(await tab.look(RUN))
    await tab.allow_scripts(allowed=False)
    assert len(found["passes"]) > 5
    violations = [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
    ]
    return violations + [f"too wide: {each}" for each in await tab.overflow()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_page_can_be_used_by_everybody(
    pages: Pages, tmp_path: Path, dark: bool
) -> None:
    found = {}
    async with open_tab(tmp_path) as tab:
        for name, url in (await prepare(pages)).items():
            for width in WIDTHS:
                await tab.show(url, width=width, dark=dark)
                found[f"{name} at {width}"] = await faults(tab)
        background = await tab.look("getComputedStyle(document.body).backgroundColor")

    assert {name: of for name, of in found.items() if of} == {}
    assert [each for each in tab.errors if "404" not in each] == []
    assert len(found) == 11 * len(WIDTHS)
    assert background == ("rgb(23, 21, 19)" if dark else "rgb(244, 242, 239)")


async def test_axe_finds_a_fault_that_is_there(pages: Pages, tmp_path: Path) -> None:
    async with open_tab(tmp_path) as tab:
        await tab.show(pages.url + pages.link(), width=320)
        await tab.look(
            "document.querySelector('label').remove();"
            "document.querySelector('h1').style.color = '#ddd';"
            "document.querySelector('textarea').style.width = '400px'"
        )
        found = " ".join(await faults(tab))

    for name in ("label", "color-contrast", "too wide: TEXTAREA"):
        assert name in found


@pytest.mark.parametrize("width", [320, 1200])
async def test_a_person_answers_a_review_without_javascript(
    pages: Pages, tmp_path: Path, width: int
) -> None:
    async with open_tab(tmp_path) as tab:
        await tab.show(pages.url + pages.link(), width=width)
        await tab.submit(CLAIM)
        assert "You are on it." in await tab.focused("it.innerText")
        await tab.type("textarea", "We are sorry.\nTruly.")
        await tab.submit(REPLY)
        assert "Your reply is at Wix." in await tab.focused("it.innerText")

    assert pages.desk.reply() == "We are sorry.\nTruly."
    assert pages.desk.status() is Status.CLOSED
    assert tab.errors == []


async def test_a_refusal_has_the_focus_and_leads_to_the_text(pages: Pages, tmp_path: Path) -> None:
    async with open_tab(tmp_path) as tab:
        await tab.show(pages.url + pages.link(), width=320)
        pages.desk.wix.reply(SITE, "r1", "From the dashboard")
        await tab.type("textarea", "We are sorry.")
        await tab.submit(REPLY)
        assert "has another reply now" in await tab.focused("it.innerText")
        assert await tab.look("document.querySelector('textarea').value") == "We are sorry."
        assert await faults(tab) == []
        target = await tab.look("document.querySelector('.problem a').getAttribute('href')")
        assert await tab.look(f"document.querySelector({target!r}).tagName") == "TEXTAREA"
        await tab.submit(REPLY)
        assert "Your reply is at Wix." in await tab.focused("it.innerText")

    assert pages.desk.reply() == "We are sorry."


async def test_a_canned_reply_has_the_focus(pages: Pages, tmp_path: Path) -> None:
    async with open_tab(tmp_path) as tab:
        await tab.show(pages.url + pages.link())
        await tab.submit("button[name=canned]")
        assert (await tab.focused("it.value")).endswith("we are sorry.")
        await tab.submit(REPLY)

    assert str(pages.desk.reply()).endswith("we are sorry.")
