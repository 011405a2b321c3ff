"""One page with all mails and Slack messages of a demo."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape

from alerter.demo.mailbox import Mail
from alerter.demo.slack import Post
from alerter.render.page import block_html, html_page, markup_html

_TABS = "allow-popups allow-popups-to-escape-sandbox"


def render_page(mails: Sequence[Mail], posts: Sequence[Post], *, title: str) -> str:
    """Return one self-contained HTML page: the Slack messages beside the mails."""
    slack = "".join(map(post_html, posts)) or "<p>Nothing.</p>"
    email = "".join(map(mail_html, mails)) or "<p>Nothing.</p>"
    return html_page(
        title,
        f"<h1>{escape(title)}</h1><main><section><h2>Slack</h2>{slack}</section>"
        f"<section><h2>Email</h2>{email}</section></main>",
    )


def mail_html(mail: Mail) -> str:
    """Return the HTML of a mail: its headers, and its HTML in a frame that runs nothing.

    Its links open in a tab of their own, as the review page refuses to be framed.
    """
    rows = [(name, str(mail.message[name] or "")) for name in ("From", "To", "Subject", "Date")]
    headers = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    html = mail.html.replace("<head>", '<head><base target="_blank">', 1)
    frame = (
        f'<iframe sandbox="{_TABS}" title="HTML part" srcdoc="{escape(html)}"></iframe>'
        if mail.html
        else ""
    )
    unfolded = "" if frame else " open"
    text = (
        f"<details{unfolded}><summary>Plain text</summary><pre>{escape(mail.text)}</pre></details>"
        if mail.text
        else ""
    )
    return f"<article><dl>{headers}</dl>{frame}{text}</article>"


def post_html(post: Post) -> str:
    """Return the HTML of a Slack message."""
    when = datetime.fromtimestamp(float(post.ts), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    edited = " · edited" if post.edits else ""
    about = f"#{escape(post.channel_name)} · {when}{edited}"
    content = (
        "".join(map(block_html, post.blocks))
        or f'<div class="words">{markup_html(post.text)}</div>'
    )
    kind = ' class="reply"' if post.thread_ts else ""
    return f'<article{kind}><div class="about">{about}</div>{content}</article>'
