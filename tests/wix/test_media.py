"""Which photos and videos of a review are shown, linked or refused."""

from typing import Any

import pytest

from alerter.demo.wix_media import HOSTILE_IDS, HOSTILE_URLS, MEDIA
from alerter.links import foreign_host
from alerter.models import Media
from alerter.store import State
from alerter.wix.review import parse_review
from tests.support.wix_reviews import LONGEST, assert_storable, content, state

__all__ = ["state"]


def image(url: object) -> dict[str, Any]:
    return {"image": {"url": url, "width": 10, "height": 10, "altText": "<b>"}}


def video(url: object, poster: object = None) -> dict[str, Any]:
    return {
        "video": {
            "id": "v",
            "posters": [{"url": poster}],
            "resolutions": [{"url": url, "format": "mp4"}],
        }
    }


IMAGE = "https://static.wixstatic.com/media/a_1~mv2.jpg"
SMALL = f"{IMAGE}/v1/fill/w_240,h_240,al_c,q_80/small.jpg"
VIDEO = "https://video.wixstatic.com/v.mp4"


@pytest.mark.parametrize(
    ("item", "media"),
    [
        (image(IMAGE), [Media("photo", IMAGE, SMALL)]),
        (video(VIDEO, IMAGE), [Media("video", VIDEO, SMALL)]),
        (video(VIDEO), [Media("video", VIDEO)]),
        (video(VIDEO, "javascript:alert(1)"), [Media("video", VIDEO)]),
        (
            {"video": {"resolutions": [{"url": "http://x/"}, None, {"url": VIDEO}]}},
            [Media("video", VIDEO)],
        ),
        ({"video": {"posters": "p", "resolutions": {"url": VIDEO}}}, []),
        ({"video": {"posters": [None], "resolutions": [{"url": VIDEO}]}}, [Media("video", VIDEO)]),
        ({"image": [IMAGE]}, []),
        ({"image": None, "video": None}, []),
        ({"audio": {"url": IMAGE}}, []),
        ({}, []),
        (IMAGE, []),
        (None, []),
        ([image(IMAGE)], []),
    ],
    ids=[
        "image",
        "video with a poster",
        "video without one",
        "video with a poster that is none",
        "the first resolution of use",
        "an object for a list",
        "a poster that is null",
        "a list for an image",
        "nulls",
        "neither image nor video",
        "empty",
        "a text",
        "null",
        "a list",
    ],
)
def test_media_is_what_can_be_opened(state: State, item: object, media: list[Media]) -> None:
    review = parse_review(content(media=[item]))

    assert review.media == tuple(media)
    assert_storable(review, state)


@pytest.mark.parametrize(
    "url",
    [
        "https://photos.example/a.jpg",
        "https://static.wixstatic.com.evil.example/media/a.jpg",
        "https://static.wixstatic.com:8443/media/a.jpg",
        "https://static.wixstatic.com/media/..",
        "https://static.wixstatic.com/media/../a.jpg",
        "https://static.wixstatic.com/media/a.jpg?to=evil",
        f"https://static.wixstatic.com/media/{'a' * 2900}.jpg",
    ],
    ids=lambda url: f"{url!r:.60}",
)
def test_a_picture_that_wix_may_not_keep_is_linked_to_and_not_shown(url: str) -> None:
    assert parse_review(content(media=[image(url), video(VIDEO, url)])).media == (
        Media("photo", url),
        Media("video", VIDEO),
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://static.wixstatic.com/a.jpg",
        "javascript:alert(1)",
        "data:text/html,<script>",
        "//static.wixstatic.com/a.jpg",
        "https://",
        "https:///a.jpg",
        "https://[a/b.jpg",
        "https://a b",
        "https://a\nb",
        "https://a/\n",
        "https://a/<script>",
        pytest.param('https://a/"onerror="alert(1)'),
        pytest.param("https://a/'onerror='alert(1)"),
        "https://a/é",
        "https://a/" + "x" * LONGEST,
        " https://a/",
        "https://a\\.wixstatic.com/b.jpg",
        "https://a/\\b.jpg",
        "https://static.wixstatic.com@a/b.jpg",
        "https://a:b@static.wixstatic.com/b.jpg",
        "https://a%2ewixstatic.com/b.jpg",
        "https://a。example/b.jpg",
        "https://static.wixstatic.com./b.jpg",
        "https://a:/b.jpg",
        "https://a:b/c.jpg",
        "",
        None,
        7,
        ["https://a/"],
    ],
    ids=lambda url: f"{url!r:.24}",
)
def test_an_address_that_is_not_plain_https_is_refused(url: object) -> None:
    review = parse_review(content(media=[image(url), video(url, url)]))

    assert review.media == ()


def test_ten_media_are_kept_and_bad_ones_do_not_spoil_the_others() -> None:
    several = [None, image("http://a/"), *(image(f"https://a/{number}") for number in range(20))]

    assert [media.url for media in parse_review(content(media=several)).media] == [
        f"https://a/{n}" for n in range(8)
    ]


KEPT = "https://static.wixstatic.com/media/"
FILE = "e6a89e_0123456789abcdef0123456789abcdef~mv2.png"
CLIP = "https://video.wixstatic.com/video/e6a89e_fedcba9876543210fedcba9876543210"
POSTER = f"{KEPT}e6a89e_fedcba9876543210fedcba9876543210f000.jpg"
SHRUNK = "/v1/fill/w_240,h_240,al_c,q_80/small.jpg"
AS_WIX_KEEPS_THEM = {
    "image by id": Media("photo", KEPT + FILE, KEPT + FILE + SHRUNK),
    "image with url": Media("photo", KEPT + FILE, KEPT + FILE + SHRUNK),
    "image with wix:image url": Media("photo", KEPT + FILE, KEPT + FILE + SHRUNK),
    "wix:image url alone": Media("photo", KEPT + FILE, KEPT + FILE + SHRUNK),
    "bare file name": Media("photo", KEPT + FILE, KEPT + FILE + SHRUNK),
    "video by url": Media("video", f"{CLIP}/720p/mp4/file.mp4", POSTER + SHRUNK),
    "video by resolutions": Media("video", f"{CLIP}/480p/mp4/file.mp4"),
}


@pytest.mark.parametrize("name", MEDIA)
def test_media_as_wix_writes_them_can_all_be_opened(name: str) -> None:
    assert parse_review(content(media=[MEDIA[name]])).media == (AS_WIX_KEEPS_THEM[name],)


@pytest.mark.parametrize(
    ("item", "media"),
    [
        ({"image": {"id": FILE, "url": "https://photos.example/a.jpg"}}, KEPT + FILE),
        (
            {"image": {"id": "1234", "url": "https://photos.example/a.jpg"}},
            "https://photos.example/a.jpg",
        ),
        ({"image": {"id": "1234"}}, f"{KEPT}1234"),
        ({"image": {"id": "../x.png", "url": FILE}}, KEPT + FILE),
        ({"video": {"id": "v", "posters": [{"id": FILE}]}}, KEPT + FILE),
        ({"video": {"url": "https:\\\\evil.example", "resolutions": [{"url": VIDEO}]}}, VIDEO),
    ],
    ids=[
        "an id before an address",
        "an id of another's",
        "an id alone",
        "a bad id",
        "a poster alone",
        "a bad address",
    ],
)
def test_a_file_of_wixs_is_known_by_its_id_first(item: dict[str, Any], media: str) -> None:
    assert [each.url for each in parse_review(content(media=[item])).media] == [media]


@pytest.mark.parametrize("url", HOSTILE_URLS, ids=repr)
def test_an_address_that_means_harm_never_passes_for_wixs(url: str) -> None:
    review = parse_review(content(media=[image(url), video(url, url), {"video": {"url": url}}]))

    for media in review.media:
        assert media.thumbnail is None
        assert foreign_host(media.url) in (
            "evil.example",
            "evilwixstatic.com",
            "static.wixstatic.com.evil.example",
            "static.wixstatic.com:8443",
        )


@pytest.mark.parametrize("file_id", HOSTILE_IDS, ids=repr)
def test_an_id_that_means_harm_makes_no_address(file_id: str) -> None:
    items = [{"image": {"id": file_id}}, {"image": {"url": f"wix:image://v1/{file_id}/x.png"}},
             {"video": {"posters": [{"id": file_id}]}}]  # fmt: skip
    assert parse_review(content(media=items)).media == ()
