"""Make the docs' pictures: `make pictures`.

Those of messages and pages come from `alerter preview` and a headless Chromium.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from chat_picture import draw_chats
from cluster_picture import draw_cluster
from replay_picture import draw_replay

from alerter.actions import Response
from alerter.render.history import HistoryLine
from alerter.render.page import render_blocks
from alerter.render.renderer import Renderer
from alerter.render.review_page import EntryView, PageRenderer
from alerter.render.samples import sample
from alerter.snoozes import snooze_choices

CONFIG = """
state = "state.db"
timezone = "Europe/Berlin"

[[sites]]
name = "Corner Bakery"
site_id = "11111111-1111-4111-8111-111111111111"
api_key = "env:UNUSED"

[slack]
token = "env:UNUSED"

[[receivers]]
name = "team"
slack = "C0123456789"
"""
PICTURES = Path(__file__).parent / "pictures"
WIDTH = 640
# The files of `alerter preview` by language, and their pictures.
FILES = {
    "en/new.html": "mail.png",
    "en/new.slack.html": "slack.png",
    "en/summary.html": "summary.png",
    "en/summary.slack.html": "summary-slack.png",
    "en/cluster.html": "clusters-mail.png",
    "en/cluster.slack.html": "clusters-slack.png",
    "de/reminder.html": "mail-de.png",
    "he/reminder.html": "mail-he.png",
}
# The picture of the README: a mail, and beside it a Slack message and its end.
TOGETHER = ("new.html", "new.slack.html", "closed.slack.html")
HALF = 500


def chromium(*arguments: str) -> str:
    """Run Chromium and return its output."""
    found = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if found is None:
        sys.exit("Chromium is needed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
        ]
        done = subprocess.run(
            [found, *flags, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    return done.stdout


def height(page: Path, width: int = WIDTH) -> int:
    """Return the height of a page at a width."""
    frame = (
        f'<iframe style="width:{width}px;height:10px" srcdoc="{escape(page.read_text("utf-8"))}"'
    )
    look = 'onload="document.title = this.contentDocument.documentElement.scrollHeight"></iframe>'
    wrapper = page.with_suffix(".measured.html")
    wrapper.write_text(f"<!doctype html><title></title>{frame} {look}", "utf-8")
    found = re.search(r"<title>(\d+)</title>", chromium("--dump-dom", wrapper.as_uri()))
    if found is None:
        sys.exit(f"{page.name} cannot be measured")
    return int(found[1])


def together(folder: Path) -> Path:
    """Write a page with a mail, beside it the same alert on Slack and its end there."""
    mail, *slack = (
        f'<iframe style="width:{HALF}px;height:{height(page, HALF)}px"'
        f' srcdoc="{escape(page.read_text("utf-8"))}"></iframe>'
        for page in (folder / f"en/{name}" for name in TOGETHER)
    )
    page = folder / "together.html"
    page.write_text(
        "<!doctype html><style>body { margin: 0; display: flex; } iframe { border: 0; }"
        " div { display: flex; flex-direction: column; justify-content: center; }</style>"
        f"<div>{mail}</div><div>{''.join(slack)}</div>",
        "utf-8",
    )
    return page


def review_page(folder: Path) -> Path:
    """Write the page of a review."""
    now, site_id = datetime.now(UTC), "11111111-1111-4111-8111-111111111111"
    renderer = PageRenderer("en", ZoneInfo("Europe/Berlin"), {site_id: "Corner Bakery"})
    item = replace(
        sample("new", site_id, now).entries[0],
        response=Response(claimed_by="Ada", claimed_until=now + timedelta(hours=48)),
    )
    history = (
        (5, "The customer wrote it."),
        (4, "“owner” got an alert."),
        (1, "Ada is on it."),
    )
    entry = EntryView(
        review=renderer.view(item, now),
        anchor="sample",
        receiver="owner",
        is_open=True,
        is_gone=False,
        is_hidden=False,
        answer="",
        answered_at=None,
        claimed_until=renderer.local(now + timedelta(hours=48)),
        is_own_claim=False,
        next_reminder=None,
        forms={"reply": "-", "claim": "-", "snooze": "-", "moderate": ""},
        snoozes=renderer.snoozes(snooze_choices(now, renderer.timezone).items()),
        canned=("Sorry", "A fresh box is on its way"),
        history=[
            HistoryLine(now.astimezone(renderer.timezone) - timedelta(minutes=ago), text)
            for ago, text in history
        ],
    )
    page = folder / "page.html"
    page.write_text(renderer.review_page(entry, "https://reviews.example.com/"), "utf-8")
    return page


def buttons_page(folder: Path) -> Path:
    """Write a page with an alert on Slack that has buttons, and that somebody has claimed."""
    now, site_id = datetime(2026, 3, 3, 9, tzinfo=UTC), "11111111-1111-4111-8111-111111111111"
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), {site_id: "Corner Bakery"})
    message = sample("new", site_id, now)
    claimed = Response(claimed_by="Ada", claimed_until=now + timedelta(hours=48))
    entries = (replace(message.entries[0], response=claimed),)
    content = renderer.slack(replace(message, entries=entries), buttons=True)
    page = folder / "buttons.html"
    page.write_text(render_blocks(content.blocks, title=content.subject, language="en"), "utf-8")
    return page


def order_page(folder: Path) -> Path:
    """Write a page with a mail that says what was bought, and when it came."""
    now, site_id = datetime(2026, 3, 3, 9, tzinfo=UTC), "11111111-1111-4111-8111-111111111111"
    renderer = Renderer(None, ZoneInfo("Europe/Berlin"), {site_id: "Corner Bakery"})
    page = folder / "order.html"
    page.write_text(renderer.mail(sample("new", site_id, now, with_order=True)).html, "utf-8")
    return page


def chats_page(folder: Path) -> Path:
    """Write a page with an alert on Discord and in Teams."""
    page = folder / "chats.html"
    page.write_text(draw_chats(), "utf-8")
    return page


def main() -> None:
    """Make every picture."""
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / "cluster.svg").write_text(draw_cluster(), "utf-8")
    (PICTURES / "replay.svg").write_text(draw_replay(), "utf-8")
    print(PICTURES / "cluster.svg")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "config.toml"
        config.write_text(CONFIG, "utf-8")
        command = [sys.executable, "-m", "alerter", "preview", "--config", str(config)]
        for language in dict.fromkeys(file.split("/")[0] for file in FILES):
            options = ["--language", language, "--to", str(folder / language)]
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        for file, picture in FILES.items():
            page = folder / file
            size = f"--window-size={WIDTH},{height(page)}"
            chromium(size, f"--screenshot={PICTURES / picture}", page.as_uri())
            print(PICTURES / picture)
        for page, called in (
            (review_page(folder), "page"),
            (buttons_page(folder), "slack-buttons"),
            (order_page(folder), "order"),
        ):
            size, picture = f"--window-size={WIDTH},{height(page)}", PICTURES / f"{called}.png"
            chromium(size, f"--screenshot={picture}", page.as_uri())
            print(picture)
        for page, called in ((together(folder), "together"), (chats_page(folder), "chats")):
            size, picture = f"--window-size={2 * HALF},{height(page, 2 * HALF)}", PICTURES / called
            shot = f"--screenshot={picture}.png"
            chromium("--force-device-scale-factor=2", size, shot, page.as_uri())
            print(f"{picture}.png")


if __name__ == "__main__":
    main()
