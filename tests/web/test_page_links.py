"""Links to the review page: whom they let in, for how long, and how often."""

import base64
import json
import string
from collections.abc import Callable
from datetime import timedelta

import jwt
import pytest

from alerter.models import Form, Medium, Message
from alerter.service.destinations import open_destinations
from alerter.store import items
from alerter.watch.routing import may_respond
from alerter.web.signed_links import LinkSigner, addresses_digest
from tests.support.pages import LINK_SECRET, PUBLIC_URL, Pages, config, pages
from tests.support.responding import desk, wix
from tests.support.reviews import review
from tests.support.values import SITE

__all__ = ["config", "desk", "pages", "wix"]

OTHER_SITE = "22222222-2222-4222-8222-222222222222"
SEND = "Send the reply"


def token(path: str) -> str:
    return path.rpartition("/")[2]


def altered(path: str) -> str:
    head, claims, signature = token(path).split(".")
    found = json.loads(base64.urlsafe_b64decode(claims + "=="))
    found["review"] = "r2"
    changed = base64.urlsafe_b64encode(json.dumps(found).encode()).decode().rstrip("=")
    return f"/review/{head}.{changed}.{signature}"


def signed(pages: Pages, **changes: object) -> str:
    """A link with other claims, signed with our secret."""
    claims = jwt.decode(token(pages.link()), options={"verify_signature": False})
    found = {name: value for name, value in (claims | changes).items() if value is not None}
    return f"/review/{jwt.encode(found, LINK_SECRET, algorithm='HS256')}"


def unsigned(pages: Pages) -> str:
    claims = jwt.decode(token(pages.link()), options={"verify_signature": False})
    return f"/review/{jwt.encode(claims, None, algorithm='none')}"


def of_another_secret(pages: Pages) -> str:
    other = LinkSigner(PUBLIC_URL, "x" * 40, timedelta(days=30))
    ends_at = pages.desk.clock.now() + timedelta(days=1)
    return other.review_url(pages.receiver(), SITE, "r1", ends_at).removeprefix(PUBLIC_URL)


BAD_LINKS: dict[str, Callable[[Pages], str]] = {
    "nonsense": lambda _: "/review/nonsense",
    "three parts of nonsense": lambda _: "/review/a.b.c",
    "altered": lambda pages: altered(pages.link()),
    "cut off": lambda pages: pages.link()[:-1],
    "not signed": unsigned,
    "signed with an old secret": of_another_secret,
    "without an end": lambda pages: signed(pages, exp=None),
    "with an end that is no number": lambda pages: signed(pages, exp="tomorrow"),
    "ended": lambda pages: signed(pages, exp=int(pages.desk.clock.now().timestamp())),
    "with an end beyond all time": lambda pages: signed(pages, exp=10**20),
    "for another purpose": lambda pages: signed(pages, aud="reviews"),
    "for no purpose": lambda pages: signed(pages, aud=None),
    "of no review": lambda pages: signed(pages, review=None),
    "a link of a list as one of a review": lambda pages: "/review/" + token(pages.list_link()),
    "a link of a review as one of a list": lambda pages: "/reviews/" + token(pages.link()),
    "a form as a link": lambda pages: (
        "/review/"
        + pages.signer.form(
            pages.signer.read_link(token(pages.link()), pages.desk.clock.now(), of_review=True),
            SITE,
            review(),
            pages.desk.clock.now(),
        )
    ),
    "of a receiver that is gone": lambda pages: signed(pages, sub="former"),
    "of a receiver with other addresses": lambda pages: pages.link(email=("former@example.com",)),
    "of a receiver with an address more": lambda pages: pages.link(
        email=(*(pages.receiver().email or ()), "former@example.com")
    ),
    "of a receiver without the site": lambda pages: pages.link(name="elsewhere"),
    "of a receiver without the product": lambda pages: pages.link(name="strict"),
    "of a site that is gone": lambda pages: pages.link(site="99999999-2222-4222-8222-222222222222"),
    "of a review that is not on record": lambda pages: pages.link("r2"),
    "of the review of another site": lambda pages: pages.link(site=OTHER_SITE),
    "a list of a receiver that is gone": lambda pages: pages.list_link(email=("former@a.example",)),
}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", BAD_LINKS)
async def test_every_bad_link_gets_one_and_the_same_page(
    pages: Pages, name: str, method: str
) -> None:
    usual = await pages.get("/review/nonsense")
    link = BAD_LINKS[name](pages)
    form = (await pages.get(pages.link())).press(SEND, text="We are sorry.")
    shown = await (pages.get(link) if method == "GET" else pages.post(link, form))

    assert (usual.status, shown.status) == (404, 404)
    assert shown.source == usual.source
    assert without_date(shown.headers) == without_date(usual.headers)
    assert pages.desk.calls() == 0


def without_date(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Date"}


async def test_a_link_has_one_spelling(pages: Pages) -> None:
    """The last letter of a signature has bits that belong to none of its bytes."""
    link = pages.link()
    letters = string.ascii_letters + string.digits + "-_=."
    others = [link[:-1] + each for each in letters if each != link[-1]] + [f"{link}=", f"{link}=="]
    for other in others:
        assert (await pages.get(other)).status == 404


async def test_a_link_ends_with_the_rescan_window(pages: Pages) -> None:
    link, listed = pages.link(), pages.list_link()
    pages.desk.clock.advance(days=30, seconds=-1)
    assert (await pages.get(link)).status == 200
    assert (await pages.get(listed)).status == 200
    pages.desk.clock.advance(seconds=1)
    assert (await pages.get(link)).status == 404
    assert (await pages.get(listed)).status == 404


async def test_no_page_may_be_kept_framed_or_searched_for(pages: Pages) -> None:
    for path in (pages.link(), pages.list_link(), "/review/nonsense"):
        headers = (await pages.get(path)).headers
        policy = headers["Content-Security-Policy"]

        assert policy.startswith("default-src 'none'; img-src https://static.wixstatic.com; style-")
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Robots-Tag"] == "noindex, nofollow"
        assert headers["Server"] == "alerter"


async def test_a_link_may_be_looked_at_often_but_not_without_end(pages: Pages) -> None:
    link = pages.link()
    assert [(await pages.get(link)).status for _ in range(60)] == [200] * 60
    shown = await pages.get(link)

    assert shown.status == 429
    assert shown.headers["Retry-After"] == "60"
    assert "opened too often" in shown.text
    shown = await pages.post(link, {"text": "We are sorry."})
    assert shown.status == 429
    assert ">\nWe are sorry.</textarea>" in shown.source
    assert (await pages.get(pages.link(name="Ada"))).status == 200
    pages.desk.clock.advance(seconds=60)
    assert (await pages.get(link)).status == 200


# --- mails


async def mails(pages: Pages) -> dict[str, str]:
    """The text and HTML of the mail that each receiver gets about the review."""
    alert = pages.desk.state.value("SELECT min(id) FROM alerts")
    entries = items.get_items(pages.desk.state, [alert], pages.desk.clock.now())
    found = {}
    async with open_destinations(pages.config, pages.desk.clock, pages.desk.state) as there:
        for each in there:
            if each.medium == Medium.EMAIL:
                now = pages.desk.clock.now()
                message = Message(1, "uid@alerter", each.name, Form.ALERT, entries, now)
                content = each.render(message)
                assert content == each.render(message)
                found[each.receiver] = content.text + content.html
    return found


def links_in(mail: str) -> set[str]:
    return {
        each.partition('"')[0].removeprefix(PUBLIC_URL)
        for each in mail.split()
        for each in [each[each.find(PUBLIC_URL) :]]
        if PUBLIC_URL in each
    }


async def test_a_mail_has_a_link_of_its_receiver_only(pages: Pages) -> None:
    found = await mails(pages)
    [of_owner], [of_ada] = links_in(found["owner"]), links_in(found["Ada"])

    assert of_owner != of_ada
    assert "“owner”" in (await pages.get(of_owner)).text
    assert "“Ada”" in (await pages.get(of_ada)).text
    assert ">Respond</a>" in found["owner"]


async def test_a_mail_that_is_rendered_again_later_has_the_same_link(pages: Pages) -> None:
    first = links_in((await mails(pages))["owner"])
    pages.desk.clock.advance(days=1)
    assert links_in((await mails(pages))["owner"]) == first


async def test_a_mail_has_no_link_that_its_receiver_could_not_open(pages: Pages) -> None:
    found = await mails(pages)
    for name in ("elsewhere", "strict"):
        assert links_in(found[name]) == set()
        assert "Reply in the dashboard</a>" in found[name]


# --- who may respond


def test_a_receiver_keeps_a_closed_review_that_the_customer_rated_higher(pages: Pages) -> None:
    strict = pages.receiver(max_rating=1)
    for is_open in (False, True):
        found = may_respond(
            strict, review(rating=4), "Corner Bakery", is_open=is_open, is_last=False
        )
        assert found is not is_open


def test_a_receiver_of_last_reminders_gets_all_reviews_of_its_sites(pages: Pages) -> None:
    for name, allowed in (("strict", True), ("elsewhere", False)):
        receiver = pages.receiver(name)
        assert (
            may_respond(receiver, review(), "Corner Bakery", is_open=True, is_last=True) is allowed
        )


def test_the_order_and_the_case_of_addresses_do_not_matter(pages: Pages) -> None:
    turned = [each.upper() for each in reversed(pages.receiver().email or ())]
    same = pages.receiver(email=tuple(turned), slack="C0000000009")
    assert addresses_digest(same) == addresses_digest(pages.receiver())
    assert addresses_digest(pages.receiver("Ada")) != addresses_digest(pages.receiver())
