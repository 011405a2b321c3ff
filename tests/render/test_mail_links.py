"""Where mails lead to the review page."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alerter.models import AlertKind, Message, MessageItem
from alerter.render.renderer import Renderer
from alerter.render.samples import sample
from tests.support.rendered import BERLIN, CREATED, DASHBOARD, SITES, Page, digest, entry, message
from tests.support.values import SITE

PAGE, LIST = "https://reviews.example.com/review/x", "https://reviews.example.com/reviews/"


class Links:
    """Links as the daemon makes them, which end some time after the alert."""

    def review(self, item: MessageItem) -> str:
        return PAGE

    def open_reviews(self, raised_at: datetime | None) -> str:
        return f"{LIST}{raised_at:%H%M}" if raised_at else ""


def mail(of: Message, *, links: bool = True) -> tuple[Page, str]:
    renderer = Renderer(None, BERLIN, SITES)
    content = renderer.mail(of, links=Links() if links else None)
    return Page(content.html), content.text


@pytest.mark.parametrize("kind", [AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER])
def test_the_button_of_an_alert_is_respond_and_the_dashboard_a_link(kind: AlertKind) -> None:
    detail = {"before": {"rating": 3}} if kind is AlertKind.LOWERED else {}
    page, text = mail(message(entry(kind=kind, **detail)))

    assert page.links.index(PAGE) < page.links.index(DASHBOARD)
    assert f"\nRespond: {PAGE}\nReply in the dashboard: {DASHBOARD}\n" in text


def test_without_a_page_the_button_leads_to_the_dashboard() -> None:
    page, text = mail(message(entry()), links=False)

    assert page.links == [DASHBOARD]
    assert "Respond" not in page.text + text


def test_a_digest_leads_to_all_open_reviews_while_its_last_alert_lasts() -> None:
    entries = [replace(entry(), raised_at=CREATED + timedelta(hours=hours)) for hours in (1, 3, 2)]
    page, text = mail(digest(*entries))

    assert page.links[-1] == f"{LIST}1500"
    assert f"See all open reviews, and respond: {LIST}1500" in text
    assert f"Reply in the dashboard: {DASHBOARD}" in text


def test_a_summary_leads_to_all_open_reviews() -> None:
    of = sample("summary", SITE, CREATED)
    of = replace(of, entries=tuple(replace(each, raised_at=CREATED) for each in of.entries))
    page, text = mail(of)

    assert page.links.count(f"{LIST}1200") == 1
    assert f"See all open reviews, and respond: {LIST}1200" in text


@pytest.mark.parametrize("kind", ["closed", "trouble", "recovered"])
def test_what_needs_no_response_has_no_link_to_a_page(kind: str) -> None:
    page, text = mail(sample(kind, SITE, CREATED))

    assert "reviews.example.com" not in f"{page.links} {text}"
