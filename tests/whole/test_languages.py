"""Each receiver gets its messages in its language, end to end against the embedded services."""

from collections.abc import Callable
from pathlib import Path

from alerter.clock import Clock
from alerter.config import load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from tests.support.life import wix
from tests.support.values import CHANNEL, OWNER, SECRETS, SITE

__all__ = ["wix"]

RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]
language = "de"

[[receivers]]
name = "partner"
email = ["partner@example.com"]
language = "he"

[[receivers]]
name = "team"
slack = "{CHANNEL}"
language = "he"
"""


async def test_an_alert_is_in_the_language_of_its_receiver(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    path = write_config(wix, slack, mailbox, receivers=RECEIVERS)
    (path.parent / "mine").mkdir()
    (path.parent / "mine" / "new.txt").write_text("{{ _('Reply') }}: {{ review.what }}")
    path.write_text(f'templates = "mine"\n{path.read_text("utf-8")}', "utf-8")
    config = load_config(path, SECRETS, secrets=True)
    assert await serve(config, Clock(), {}, once=True)
    wix.add(SITE, {"content": {"rating": 1, "title": "Stale"}})

    await serve(config, Clock(), {}, once=True)

    mails = {str(mail.message["To"]): mail for mail in mailbox.mails}
    mail, hebrew, [post] = mails[OWNER], mails["partner@example.com"], slack.posts
    assert '<html lang="de">' in mail.html
    assert "Bei Wix antworten" in mail.html
    assert mail.text.startswith("Antworten: ")
    assert '<html lang="he" dir="rtl">' in hebrew.html
    assert "”\u2068Stale\u2069“ (\u2068Corner Bakery\u2069)" in str(hebrew.message["Subject"])
    assert hebrew.text.startswith("להגיב: ")
    assert "להגיב ב-Wix" in str(post.blocks)
