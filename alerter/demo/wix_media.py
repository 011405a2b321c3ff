"""Media of reviews: as Wix has them, and as an attacker would write them."""

from collections.abc import Mapping

from alerter.demo.wix_reviews import Json

_ID = "e6a89e_0123456789abcdef0123456789abcdef~mv2.png"
_VIDEO = "e6a89e_fedcba9876543210fedcba9876543210"

# As Wix's client and site write them: `id` is reliable, `url` is often missing or no address.
MEDIA: Mapping[str, Json] = {
    "image by id": {"image": {"id": _ID, "width": 800, "height": 600}},
    "image with url": {"image": {"id": _ID, "url": f"https://static.wixstatic.com/media/{_ID}"}},
    "image with wix:image url": {
        "image": {
            "id": _ID,
            "url": f"wix:image://v1/{_ID}/cake.png#originWidth=800&originHeight=600",
            "altText": "Cake",
        }
    },
    "wix:image url alone": {
        "image": {"url": f"wix:image://v1/{_ID}/cake.png#originWidth=800&originHeight=600"}
    },
    "bare file name": {"image": {"url": _ID}},
    "video by url": {
        "video": {
            "id": _VIDEO,
            "url": f"https://video.wixstatic.com/video/{_VIDEO}/720p/mp4/file.mp4",
            "posters": [{"id": f"{_VIDEO}f000.jpg", "width": 1280, "height": 720}],
        }
    },
    "video by resolutions": {
        "video": {
            "id": _VIDEO,
            "resolutions": [
                {
                    "url": f"https://video.wixstatic.com/video/{_VIDEO}/480p/mp4/file.mp4",
                    "format": "mp4",
                }
            ],
        }
    },
}

# None of these is an address of Wix.
HOSTILE_URLS = (
    "https://evil.example\\.wixstatic.com/media/x.png",
    "https://evil.example/\\.wixstatic.com/media/x.png",
    "https://evil.example#.wixstatic.com/media/x.png",
    "https://evil.example?.wixstatic.com/media/x.png",
    "https://static.wixstatic.com@evil.example/media/x.png",
    "https://static.wixstatic.com:x@evil.example/media/x.png",
    "https://static.wixstatic.com.evil.example/media/x.png",
    "https://evilwixstatic.com/media/x.png",
    "https:\\\\evil.example\\media\\x.png",
    "https:/\\evil.example/media/x.png",
    "//evil.example/.wixstatic.com/x.png",
    "http://static.wixstatic.com/media/x.png",
    "https://static.wixstatic.com:8443/media/x.png",
    "https://ev\til.example\n/.wixstatic.com/x.png",
    "https://evil。example/.wixstatic.com/x.png",
    "javascript:alert(1)//static.wixstatic.com/media/x.png",
    "data:image/png;base64,AAAA",
    "file:///etc/passwd",
    "wix:image://v1/../../evil/x.png#originWidth=1",
    "wix:image://v1/evil.example%2f..%2fx/x.png",
    "../../evil.png",
    "e6a89e_x.png?redirect=https://evil.example",
)
HOSTILE_IDS = (
    "../../etc/passwd",
    "https://evil.example/x.png",
    "x.png?u=evil",
    "a\\b.png",
    "a b\n.png",
    "\ud800.png",
    "",
)
