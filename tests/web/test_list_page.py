"""The page of all open reviews of a receiver."""

import pytest

from alerter.models import Status
from tests.support.pages import Pages, config, pages
from tests.support.responding import desk, wix
from tests.support.values import SITE

__all__ = ["config", "desk", "pages", "wix"]

SEND = "Send the reply"


async def add(pages: Pages, *ids: str, site: str = SITE, **content: object) -> None:
    """Add a review for each id, a minute after the other, and have it alerted."""
    found = next(each for each in pages.config.sites if each.site_id == site)
    for review_id in ids:
        pages.desk.clock.advance(minutes=1)
        said = {"rating": 1, "title": f"Title of {review_id}", "body": "Bad."} | content
        pages.desk.wix.add(site, {"id": review_id, "content": said})
        review = await pages.desk.client.review(found, review_id)
        await pages.desk.responder()._record(found, review)


async def test_open_reviews_are_listed_oldest_first(pages: Pages) -> None:
    await add(pages, "r2", "r3")
    shown = await pages.get(pages.list_link())

    assert "3 reviews are still open" in shown.text
    told = ["Stale", "Title of r2", "Title of r3"]
    assert sorted(told, key=shown.text.index) == told


async def test_a_receiver_sees_what_it_gets_by_todays_config(pages: Pages) -> None:
    assert "No review is open" in (await pages.get(pages.list_link(name="strict"))).text
    shown = await pages.get(pages.list_link(name="elsewhere"))
    assert "No review is open" in shown.text
    assert "Stale" not in shown.text


async def test_a_review_is_answered_from_the_list(pages: Pages) -> None:
    await add(pages, "r2")
    link = pages.list_link()
    page = await pages.get(link)
    form = [each for each in page.forms if SEND in each.buttons][1]
    shown = await pages.follow(link, await pages.post(link, form.pressed(SEND, text="Sorry.")))

    assert "Your reply is at Wix." in shown.text
    assert "1 review is still open" in shown.text
    row = pages.desk.wix.sites[SITE].reviews.get("r2")
    assert row
    assert row.review["reply"]["message"] == "Sorry."
    assert pages.desk.status() is Status.OPEN
    assert "Your reply is at Wix." not in (await pages.get(link)).text


async def test_a_refused_reply_comes_first_in_the_list(pages: Pages) -> None:
    await add(pages, "r2")
    link = pages.list_link()
    form = [each for each in (await pages.get(link)).forms if SEND in each.buttons][1]
    pages.desk.wix.reply(SITE, "r2", "From the dashboard")
    shown = await pages.post(link, form.pressed(SEND, text="Sorry."))

    assert shown.status == 409
    assert shown.text.index("From the dashboard") < shown.text.index("Stale")
    assert shown.kept == "Sorry."


@pytest.mark.parametrize("button", ["I’m on it", "Tomorrow · Wed 25 Nov, 09:00"])
async def test_what_needs_no_call_is_done_from_the_list(pages: Pages, button: str) -> None:
    shown = await pages.press(pages.list_link(), button)
    assert "owner" in shown.text[: shown.text.index("As stone.")]


async def test_each_review_leads_to_its_own_page(pages: Pages) -> None:
    source = (await pages.get(pages.list_link())).source
    [own] = {
        each.partition('"')[0] for each in source.split('href="https://reviews.example.com')[1:]
    }
    assert "What happened so far" in (await pages.get(own)).text
    back = (await pages.get(own)).source.split('href="https://reviews.example.com')[1]
    assert "1 review is still open" in (await pages.get(back.partition('"')[0])).text


async def test_a_long_list_has_several_pages(pages: Pages) -> None:
    await add(pages, *(f"n{number}" for number in range(30)))
    link = pages.list_link()
    first, second = await pages.get(link), await pages.get(f"{link}?page=2")

    assert "31 reviews are still open" in first.text
    assert "Newer reviews" in first.text
    assert "Older reviews" not in first.text
    assert "Title of n23" in first.text
    assert "Title of n24" not in first.text
    assert "Title of n24" in second.text
    assert "Older reviews" in second.text
    assert "Newer reviews" not in second.text
    for page in ("0", "-1", "99", "x", "²", "9" * 5000):
        assert (await pages.get(f"{link}?page={page}")).status == 200
