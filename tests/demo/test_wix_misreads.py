"""The embedded Wix may answer what is not so: stale pages, missing reviews and fields, refusals,
odd media.
"""

from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

import httpx
import pytest

from alerter.demo.wix import EmbeddedWix, Meanwhile, Misread
from alerter.demo.wix_media import HOSTILE_IDS, HOSTILE_URLS, MEDIA
from tests.support.clock import SetClock
from tests.support.demo_wix import http
from tests.support.values import SITE

__all__ = ["http"]

QUERY, COUNT, REVIEW = (
    "/reviews/v1/reviews/query",
    "/reviews/v1/reviews/count",
    "/reviews/v1/reviews/a",
)
BY_ID = {"query": {"filter": {"id": {"$in": ["a", "b"]}}}}


@pytest.fixture
async def wix(clock: SetClock) -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix(clock=clock) as wix:
        wix.add_site(SITE, api_key="key")
        for second, name in enumerate("ab"):
            created = f"2026-11-20T10:00:{second:02}.000Z"
            wix.add(
                SITE,
                {
                    "id": name,
                    "createdDate": created,
                    "author": {"authorName": "Ann"},
                    "content": {"rating": 1},
                },
            )
        yield wix


def ids(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return "".join(review["id"] for review in answer.json()["reviews"])


async def test_an_answer_may_be_some_minutes_old(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    misreads = wix.sites[SITE].misreads
    clock.advance(minutes=10)
    wix.change(SITE, "a", content={"rating": 5})
    clock.advance(minutes=2)
    wix.add(SITE, {"id": "c"})
    wix.delete(SITE, "b")
    wix.add(SITE, {"id": "d"}, visible_after=30)
    clock.advance(minutes=1)
    misreads.always("*", Misread(stale=120))
    assert ids(await http.post(QUERY, json={})) == "ab"
    assert (await http.get(REVIEW)).json()["review"]["content"]["rating"] == 5
    assert (await http.get("/reviews/v1/reviews/c")).status_code == 404
    assert (await http.post(COUNT, json={})).json() == {"count": 2}
    misreads.always("*", Misread(stale=200))
    assert (await http.get(REVIEW)).json()["review"]["content"]["rating"] == 1
    misreads.clear()
    assert ids(await http.post(QUERY, json={})) == "acd"
    misreads.add("query", Misread(stale=45))
    assert ids(await http.post(QUERY, json={})) == "ac"
    assert ids(await http.post(QUERY, json={})) == "acd"
    misreads.always("*", Misread(stale=3600))
    assert ids(await http.post(QUERY, json={})) == ""


async def test_what_was_just_written_is_read_by_those_who_say_so(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    clock.advance(minutes=10)
    wix.sites[SITE].misreads.always("*", Misread(stale=120))
    answer = await http.patch(f"{REVIEW}/reply", json={"message": "Sorry"})
    consistent = answer.headers["X-Wix-Consistent"]
    assert consistent
    assert "reply" not in (await http.get(REVIEW)).json()["review"]
    seen = (await http.get(REVIEW, headers={"X-Wix-Consistent": consistent})).json()["review"]
    assert seen["reply"]["message"] == "Sorry"
    assert wix.requests[-1].headers["X-Wix-Consistent"] == consistent
    assert "X-Wix-Consistent" not in (await http.post(QUERY, json={})).headers


async def test_an_older_write_does_not_vouch_for_a_later_one(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    clock.advance(minutes=10)
    wix.sites[SITE].misreads.always("get", Misread(stale=120))
    mine = await http.patch(f"{REVIEW}/reply", json={"message": "Mine"})
    clock.advance(seconds=1)
    theirs = await http.patch(f"{REVIEW}/reply", json={"message": "Theirs"})

    async def reply(consistent: str) -> str | None:
        answer = await http.get(REVIEW, headers={"X-Wix-Consistent": consistent})
        message = answer.json()["review"].get("reply", {}).get("message")
        return str(message) if message else None

    assert await reply(mine.headers["X-Wix-Consistent"]) == "Mine"
    assert await reply(theirs.headers["X-Wix-Consistent"]) == "Theirs"
    assert await reply("made up") is None


async def test_somebody_else_may_act_between_two_calls(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    site = wix.sites[SITE]
    site.meanwhile.add(
        "after get", Meanwhile(lambda: wix.change(SITE, "a", content={"body": "Worse"}), only="a")
    )
    site.meanwhile.add("before reply", Meanwhile(lambda: wix.reply(SITE, "a", "Theirs")))
    site.meanwhile.add("after reply", Meanwhile(lambda: wix.reply(SITE, "a", "Theirs again")))
    site.meanwhile.add("before moderate", Meanwhile(lambda: wix.delete(SITE, "b")))
    assert (await http.get("/reviews/v1/reviews/b")).status_code == 200
    assert "body" not in (await http.get(REVIEW)).json()["review"]["content"]
    assert (await http.get(REVIEW)).json()["review"]["content"]["body"] == "Worse"
    answered = (await http.patch(f"{REVIEW}/reply", json={"message": "Mine"})).json()["review"]
    assert (answered["reply"]["message"], answered["revision"]) == ("Mine", "4")
    review = (await http.get(REVIEW)).json()["review"]
    assert (review["reply"]["message"], review["revision"]) == ("Theirs again", "5")
    gone = "/reviews/v1/reviews/b/moderate"
    assert (await http.patch(gone, json={"status": "REJECTED"})).status_code == 404


async def test_wix_may_keep_less_of_a_reply_than_was_sent(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.sites[SITE].keep_reply = lambda message: message.replace("\r\n", "\n")[:1000]
    answer = await http.patch(f"{REVIEW}/reply", json={"message": "Dear\r\n" + "x" * 2000})
    assert answer.json()["review"]["reply"]["message"] == "Dear\n" + "x" * 995


async def test_a_query_by_id_may_wrongly_find_nothing(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.sites[SITE].misreads.add("ids", Misread(empty=True), Misread(empty=True, only="b"))
    assert ids(await http.post(QUERY, json={})) == "ab"
    assert ids(await http.post(QUERY, json=BY_ID)) == ""
    assert ids(await http.post(QUERY, json=BY_ID)) == "a"
    assert ids(await http.post(QUERY, json=BY_ID)) == "ab"


async def test_a_get_may_wrongly_find_nothing(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    wix.sites[SITE].misreads.add("get", Misread(empty=True))
    assert (await http.get(REVIEW)).status_code == 404
    assert (await http.get(REVIEW)).status_code == 200


async def test_one_answer_may_leave_fields_out(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    wix.sites[SITE].misreads.add("query", Misread(without=("author",), only="a"))
    answers = [(await http.post(QUERY, json={})).json()["reviews"] for _ in range(2)]
    assert [["author" in review for review in reviews] for reviews in answers] == [
        [False, True],
        [True, True],
    ]
    wix.sites[SITE].misreads.add("get", Misread(without=("author", "content")))
    assert {"author", "content"} & set((await http.get(REVIEW)).json()["review"]) == set()
    assert wix.sites[SITE].reviews.get("a").review["author"] == {"authorName": "Ann"}


async def test_private_reviews_may_be_refused_once(
    wix: EmbeddedWix, http: httpx.AsyncClient
) -> None:
    wix.moderate(SITE, "a", "IN_MODERATION")
    wix.sites[SITE].misreads.add("query", Misread(forbidden=True), Misread(forbidden=True))
    assert (await http.post(QUERY, json={"returnPrivateReviews": True})).status_code == 403
    assert ids(await http.post(QUERY, json={})) == "b"
    assert ids(await http.post(QUERY, json={"returnPrivateReviews": True})) == "ab"
    wix.sites[SITE].misreads.add("get", Misread(forbidden=True))
    params = {"returnPrivateReviews": "true"}
    assert [(await http.get(REVIEW, params=params)).status_code for _ in range(2)] == [404, 200]


async def test_a_site_can_be_throttled_for_a_day(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    wix.add_site("other", api_key="other")
    wix.throttle(86_400, SITE)
    clock.advance(hours=1)
    answer = await http.post(QUERY, json={})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "82800")
    elsewhere = {"Authorization": "other", "wix-site-id": "other"}
    assert (await http.post(QUERY, json={}, headers=elsewhere)).status_code == 200
    wix.throttle(60)
    assert (await http.post(QUERY, json={}, headers=elsewhere)).status_code == 429
    clock.advance(seconds=60)
    assert (await http.post(QUERY, json={})).status_code == 200


async def test_its_clock_may_differ(
    wix: EmbeddedWix, http: httpx.AsyncClient, clock: SetClock
) -> None:
    wix.skew = 3600
    date = parsedate_to_datetime((await http.post(QUERY, json={})).headers["Date"])
    assert (date - clock.now()).total_seconds() == 3600


async def test_media_come_as_they_are_stored(wix: EmbeddedWix, http: httpx.AsyncClient) -> None:
    media = [
        *MEDIA.values(),
        *({"image": {"url": url}} for url in HOSTILE_URLS),
        *({"image": {"id": each}} for each in HOSTILE_IDS),
    ]
    wix.change(SITE, "a", content={"media": media})
    assert (await http.get(REVIEW)).json()["review"]["content"]["media"] == media


async def test_reviews_made_in_the_same_order_have_the_same_ids(clock: SetClock) -> None:
    made = []
    for _ in range(2):
        wix = EmbeddedWix(clock=clock)
        wix.add_site(SITE)
        made.append([wix.add(SITE, {}) for _ in range(3)])
    assert made[0] == made[1]
    assert (
        len({review["id"] for review in made[0]} | {review["entityId"] for review in made[0]}) == 6
    )
