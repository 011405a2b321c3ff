"""The page shows what was sent, and nothing on it can do harm."""

from email import message_from_string, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import pytest

from alerter.demo.mailbox import Mail
from alerter.demo.page import render_page
from alerter.demo.slack import Post
from alerter.demo.slack_workspace import Edit

HOSTILE = (
    '</pre></iframe><script>alert(1)</script>"><img src=x onerror=alert(2)>'
    " <!channel> <javascript:alert(3)|x>"
)
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "h3",
        "main",
        "section",
        "article",
        "div",
        "p",
    ),
    *(
        "dl",
        "dt",
        "dd",
        "iframe",
        "details",
        "summary",
        "pre",
        "a",
        "b",
        "i",
        "s",
        "code",
        "blockquote",
        "hr",
        "span",
    ),
    *("ul", "ol", "li"),
}
ATTRIBUTES = {
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "sandbox",
    "title",
    "srcdoc",
    "open",
    "href",
}
ATTRIBUTES |= {"rel"}


class Reader(HTMLParser):
    """Collects what a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def mail(text: str, html: str = "", subject: str = "Hello") -> Mail:
    message = EmailMessage(policy=policy.default)
    message["From"] = "Alerts <alerts@example.com>"
    message["To"] = "ann@example.com"
    message["Subject"] = subject
    message["Date"] = "Mon, 23 Nov 2026 12:00:00 +0000"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return Mail("alerts@example.com", ("ann@example.com",), message, bytes(message), 0.0)


def post(*blocks: dict[str, Any], text: str = "fallback", **more: Any) -> Post:
    return Post("C1", "reviews", "1795435200.000000", text, list(blocks), None, **more)


def show(*posts: Post) -> Reader:
    return Reader(render_page([], posts, title="Demo"))


def everything(text: str) -> list[dict[str, Any]]:
    """Blocks of every kind that say this text wherever a text can stand."""
    plain, marked = {"type": "plain_text", "text": text}, {"type": "mrkdwn", "text": text}
    picture = {"type": "image", "image_url": text, "alt_text": text}
    button = {"type": "button", "text": plain, "url": text}
    menu = {"type": "overflow", "options": [{"text": plain}, {"text": plain, "url": text}]}
    inline = [
        {
            "type": "text",
            "text": text,
            "style": {"bold": True, "italic": True, "strike": True, "code": True},
        },
        {"type": "link", "url": text, "text": text},
        {"type": "link", "url": text},
        {"type": "emoji", "name": text},
        {"type": "date", "timestamp": 1, "format": text, "fallback": text},
        {"type": "user", "user_id": text},
        {"type": "usergroup", "usergroup_id": text},
    ]
    section = {"type": "rich_text_section", "elements": inline}
    kinds = [
        {"type": f"rich_text_{kind}", "elements": inline}
        for kind in ("section", "quote", "preformatted")
    ]
    lists = [
        {"type": "rich_text_list", "style": style, "elements": [section]}
        for style in ("bullet", "ordered")
    ]
    return [
        {"type": "section", "text": marked, "fields": [plain, marked], "accessory": button},
        {"type": "header", "text": plain},
        {"type": "divider"},
        {"type": "context", "elements": [plain, marked, picture]},
        {"type": "actions", "elements": [button, menu]},
        picture,
        {"type": "rich_text", "elements": [*kinds, *lists]},
        {"type": "unheard of"},
    ]


def test_a_mail_is_shown_as_a_client_shows_it() -> None:
    page = Reader(
        render_page([mail("Plain ä", "<p>Rich <b>ä</b></p>", "Grüße")], [], title="What <you> got")
    )
    for words in (
        "What <you> got",
        "Alerts <alerts@example.com>",
        "ann@example.com",
        "Grüße",
        "23 Nov 2026",
        "Plain ä",
    ):
        assert words in page.words
    (frame,) = page.all("iframe")
    assert "allow-scripts" not in (frame["sandbox"] or "")
    assert (frame["srcdoc"] or "").strip() == "<p>Rich <b>ä</b></p>"
    assert page.all("details") == [{}]


def test_links_of_a_mail_open_in_a_tab_of_their_own() -> None:
    html = '<html><head></head><body><a href="https://x.example">Respond</a></body></html>'
    (frame,) = Reader(render_page([mail("x", html)], [], title="Demo")).all("iframe")
    assert frame["sandbox"] == "allow-popups allow-popups-to-escape-sandbox"
    assert '<base target="_blank">' in (frame["srcdoc"] or "")


def test_a_mail_without_html_or_headers_shows_its_text() -> None:
    page = Reader(render_page([mail("Only text")], [], title="Demo"))
    assert page.all("iframe") == []
    assert page.all("details") == [{"open": None}]
    bare = message_from_string("", policy=policy.default)
    assert "Subject" in render_page([Mail("", (), bare, b"", 0.0)], [], title="Demo")


def test_a_slack_message_is_shown_block_by_block() -> None:
    page = show(
        post(
            *everything("https://x.example/?a=1&b=2"),
            thread_ts="1",
            edits=[Edit("before", [], None)],
        )
    )
    assert "#reviews · 2026-11-23 12:00:00 UTC · edited" in page.words
    assert page.all("article") == [{"class": "reply"}]
    assert {link["href"] for link in page.all("a")} == {"https://x.example/?a=1&b=2"}
    shown = {tag for tag, _ in page.tags}
    assert {"h3", "hr", "blockquote", "pre", "ul", "ol", "li", "b", "i", "s", "code"} <= shown


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("*bold* _italic_ `co*d*e`", "<b>bold</b> <i>italic</i> <code>co*d*e</code>"),
        ("2 * 3 * 4 snake_case_name", "2 * 3 * 4 snake_case_name"),
        (
            "<https://x.example?a=1&amp;b=2|see &amp; *read*>",
            (
                '<a href="https://x.example?a=1&amp;b=2" rel="noopener noreferrer">see &amp; '
                "*read*</a>"
            ),
        ),
        ("&lt;b&gt; &amp;amp; &quot;", "&lt;b&gt; &amp;amp; &amp;quot;"),
        (":star: :nonsense:", "⭐ :nonsense:"),
        ("<@U1> <!here>", "@U1 !here"),
        ("<javascript:alert(1)|here>", "here"),
    ],
    ids=["styles", "no styles", "link", "entities", "emoji", "mentions", "bad link"],
)
def test_slack_markup_is_read(text: str, html: str) -> None:
    assert f'<div class="words">{html}</div>' in render_page([], [post(text=text)], title="Demo")


@pytest.mark.parametrize(
    "text", [HOSTILE, "`*" + HOSTILE + "*`", "javascript:alert(1)", "\0<\1>&lt;b&gt;"]
)
def test_hostile_text_does_nothing_anywhere(text: str) -> None:
    head = text.replace("\0", "").replace("\1", "")
    mails = [mail(text, text, head), mail(head, f"<p>{text}</p>")]
    posts = [post(*everything(text)), post(text=text)]
    whole = render_page(mails, posts, title=text)
    page = Reader(whole)
    assert {tag for tag, _ in page.tags} <= TAGS
    assert {name for _, attributes in page.tags for name in attributes} <= ATTRIBUTES
    assert all("sandbox" in frame for frame in page.all("iframe"))
    assert all((link["href"] or "").startswith(("http", "mailto:")) for link in page.all("a"))
    assert "default-src 'none'" in str(page.all("meta"))


def test_nothing_at_all_is_a_page_too() -> None:
    page = show()
    assert page.words.count("Nothing.") == 2
