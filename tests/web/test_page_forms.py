"""What is sent to the review page: forms that it has shown, and others."""

import pytest

from alerter.store import actions
from alerter.web.forms import is_from_own_page
from tests.support.pages import BROWSER, PUBLIC_URL, Pages, config, pages
from tests.support.responding import desk, wix
from tests.support.values import SITE

__all__ = ["config", "desk", "pages", "wix"]

SEND = "Send the reply"


async def reply(pages: Pages, **more: str) -> dict[str, str]:
    """The fields of a reply from the page of the review."""
    return (await pages.get(pages.link())).press(SEND, text="We are sorry.", **more)


def nothing_was_done(pages: Pages) -> bool:
    return pages.desk.calls() == 0 and actions.get_actions(pages.desk.state, SITE, "r1") == []


@pytest.mark.parametrize(
    "form", ["", "nonsense", "a.b.c"], ids=["none", "nonsense", "three parts of nonsense"]
)
async def test_a_form_without_its_token_does_nothing(pages: Pages, form: str) -> None:
    shown = await pages.post(pages.link(), await reply(pages) | {"form": form})

    assert shown.status == 403
    assert "did not come from this page" in shown.text
    assert shown.kept == "We are sorry."
    assert nothing_was_done(pages)


async def test_a_form_of_another_page_does_nothing(pages: Pages) -> None:
    theirs = (await pages.get(pages.link(name="Ada"))).press(SEND, text="We are sorry.")
    for link in (pages.link(), pages.list_link()):
        shown = await pages.post(link, theirs)
        assert shown.status == 403
        assert "We are sorry." in shown.source
    assert nothing_was_done(pages)


async def test_the_link_itself_is_no_token_of_a_form(pages: Pages) -> None:
    form = pages.link().rpartition("/")[2]
    assert (await pages.post(pages.link(), await reply(pages) | {"form": form})).status == 403
    assert nothing_was_done(pages)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://reviews.example.com"},
        {"Origin": f"{PUBLIC_URL}:8443"},
        {"Origin": f"{PUBLIC_URL}.evil.example"},
        {"Origin": "https://[::1"},
    ],
    ids=str,
)
async def test_a_form_that_a_browser_knows_to_be_from_elsewhere_does_nothing(
    pages: Pages, headers: dict[str, str]
) -> None:
    shown = await pages.post(pages.link(), await reply(pages), headers)

    assert shown.status == 403
    assert shown.kept == "We are sorry."
    assert nothing_was_done(pages)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        BROWSER,
        {"Origin": PUBLIC_URL},
        {"Origin": f"{PUBLIC_URL}:443", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
    ids=str,
)
async def test_a_form_of_the_page_itself_is_carried_out(
    pages: Pages, headers: dict[str, str]
) -> None:
    assert (await pages.post(pages.link(), await reply(pages), headers)).status == 303
    assert pages.desk.reply() == "We are sorry."


def test_the_port_of_a_public_url_counts() -> None:
    url = "http://127.0.0.1:8080/alerter"
    assert is_from_own_page({"Origin": "http://127.0.0.1:8080"}, url)
    assert not is_from_own_page({"Origin": "http://127.0.0.1"}, url)


async def test_a_form_that_arrives_twice_is_one_action(pages: Pages) -> None:
    fields = await reply(pages)
    first, second = [await pages.post(pages.link(), fields) for _ in range(2)]

    assert first.status == second.status == 303
    assert first.headers["Location"] == second.headers["Location"]
    assert pages.desk.calls() == 1


async def test_a_form_that_was_sent_before_does_not_lose_other_words(pages: Pages) -> None:
    fields = await reply(pages)
    await pages.post(pages.link(), fields)
    shown = await pages.post(pages.link(), fields | {"text": "Better words."})

    assert shown.status == 409
    assert "this form was sent before" in shown.text
    assert shown.kept == "Better words."
    assert pages.desk.reply() == "We are sorry."


async def test_a_form_does_one_thing_only(pages: Pages) -> None:
    fields = (await pages.get(pages.link())).press("I’m on it")
    assert (await pages.post(pages.link(), fields)).status == 303
    shown = await pages.post(pages.link(), fields | {"do": "release"})
    assert shown.status == 409


async def test_a_claim_that_arrives_twice_is_one_claim(pages: Pages) -> None:
    link = pages.link()
    fields = (await pages.get(link)).press("I’m on it")
    await pages.post(link, fields)
    pages.desk.clock.advance(seconds=1)
    assert (await pages.post(link, fields)).status == 303
    assert len(actions.get_actions(pages.desk.state, SITE, "r1")) == 1


async def test_a_form_that_was_open_for_hours_keeps_its_text(pages: Pages) -> None:
    link, fields = pages.link(), await reply(pages)
    pages.desk.clock.advance(hours=4)
    shown = await pages.post(link, fields)

    assert shown.status == 409
    assert "open for too long" in shown.text
    assert shown.kept == "We are sorry."
    assert nothing_was_done(pages)
    assert (await pages.post(link, shown.press(SEND))).status == 303


@pytest.mark.parametrize("do", ["", "delete", "REPLY"])
async def test_a_form_that_asks_for_nothing_known_is_refused(pages: Pages, do: str) -> None:
    shown = await pages.post(pages.link(), await reply(pages) | {"do": do})
    assert shown.status == 422
    assert shown.kept == "We are sorry."
    assert nothing_was_done(pages)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"a=b&" * 11, "application/x-www-form-urlencoded", 400),
        (b"text=" + b"x" * 150_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"--x--", "multipart/form-data; boundary=x", 415),
        (b"text=\xff%ff&form=\x00", "application/x-www-form-urlencoded; charset=utf-99", 403),
    ],
    ids=["many fields", "large", "JSON", "multipart", "no UTF-8"],
)
async def test_a_body_that_is_no_form_is_refused(
    pages: Pages, body: bytes, kind: str, status: int
) -> None:
    shown = await pages.post(pages.link(), body, BROWSER | {"Content-Type": kind})
    assert shown.status == status
    assert "Nothing was done" in shown.text
    assert nothing_was_done(pages)


async def test_a_reply_of_ten_thousand_emoji_fits_into_a_form(pages: Pages) -> None:
    shown = await pages.post(pages.link(), await reply(pages) | {"text": "\U0001f622" * 10_000})
    assert shown.status == 303


async def test_a_database_that_is_busy_keeps_the_text(pages: Pages) -> None:
    fields = await reply(pages)
    pages.desk.state.execute("ALTER TABLE actions RENAME TO other")
    shown = await pages.post(pages.link(), fields)
    pages.desk.state.execute("ALTER TABLE other RENAME TO actions")

    assert shown.status == 503
    assert shown.headers["Retry-After"] == "60"
    assert "We are sorry." in shown.source
    assert (await pages.post(pages.link(), fields)).status == 303


async def test_other_methods_are_refused(pages: Pages) -> None:
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await pages.get(pages.link(), method)).status == 405
