"""The page of a review: what it shows, and what comes of its forms."""

from alerter.models import Status
from tests.support.pages import Pages, config, pages
from tests.support.responding import desk, wix

__all__ = ["config", "desk", "pages", "wix"]


async def test_a_review_is_answered_from_its_page(pages: Pages) -> None:
    shown = await pages.press(pages.link(), "Send the reply", text="We are sorry.")

    assert shown.status == 200
    assert "Your reply is at Wix." in shown.text
    assert "We are sorry." in shown.text
    assert pages.desk.reply() == "We are sorry."
    assert pages.desk.status() is Status.CLOSED
