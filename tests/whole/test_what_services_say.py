"""What services say is kept, logged and shown without secrets, controls and what nobody can
read.
"""

import base64
import json

import pytest

from alerter.commands import check, status
from alerter.config import Config
from alerter.demo.faults import NONSENSE, Fault
from alerter.demo.mailbox import Mailbox, Reply
from alerter.demo.slack import EmbeddedSlack
from alerter.service.destinations import open_destinations
from alerter.service.runtime import open_wix
from alerter.store import blocks, troubles
from alerter.web.health import Health
from tests.support.clock import SetClock
from tests.support.life import Life, begin, life, slack, wix
from tests.support.values import CHANNEL, SECRETS

__all__ = ["begin", "life", "slack", "wix"]

PASSWORD = SECRETS["SMTP_PASSWORD"]
SPELLINGS = (
    PASSWORD,
    base64.b64encode(f"\0alerts\0{PASSWORD}".encode()).decode(),
    base64.b64encode(PASSWORD.encode()).decode(),
)


def shown(life: Life) -> str:
    """All that status, explain, trouble and /healthz have to say."""
    now = life.clock.now()
    standing = status.get_status(life.config, life.state, now)
    return "\n".join(
        [
            status.as_json(standing),
            status.as_text(standing, now),
            json.dumps(Health(life.config, life.state, life.clock, {}).report(details=True)),
            *(each.reason for each in troubles.get_troubles(life.state)),
            *(each.reason for each in blocks.get_blocks(life.state)),
            *(str(row["error"]) for row in life.state.rows("SELECT error FROM messages")),
        ]
    )


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_login_that_a_mail_server_echoes_is_shown_nowhere(
    life: Life,
    mailbox: Mailbox,
    slack: EmbeddedSlack,
    caplog: pytest.LogCaptureFixture,
    mechanism: str,
) -> None:
    caplog.set_level("DEBUG", "alerter")
    mailbox.mechanisms = (mechanism,)
    said = b"535 5.7.8 refused " + b" ".join(each.encode() for each in SPELLINGS)
    mailbox.faults.always("AUTH", Reply(said, echo=True))
    life.put()
    await life.minutes(3)
    assert life.open() == ["service:smtp"]
    assert "535" in shown(life)
    everywhere = shown(life) + caplog.text + str([post.args for post in slack.posts])
    assert not [spelling for spelling in SPELLINGS if spelling in everywhere]


@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "MAIL", "RCPT", "."])
@pytest.mark.parametrize("code", ["250", "451", "550"])
async def test_a_password_that_a_mail_server_repeats_later_is_shown_nowhere(
    life: Life,
    mailbox: Mailbox,
    slack: EmbeddedSlack,
    caplog: pytest.LogCaptureFixture,
    command: str,
    code: str,
) -> None:
    caplog.set_level("DEBUG", "alerter")
    said = f"{code} 5.7.1 you are {' '.join(SPELLINGS)}".encode()
    mailbox.faults.always(command, Reply(said))
    life.put()
    await life.minutes(3)
    workers = life.runtime.dispatcher._workers.values()
    findings = [
        each.text for worker in workers for each in await worker._destination.notifier.check()
    ]
    rows = [str(tuple(row)) for row in life.state.rows("SELECT * FROM messages")]
    everywhere = "".join(
        [shown(life), caplog.text, str([post.args for post in slack.posts]), *findings, *rows]
    )
    assert not [spelling for spelling in SPELLINGS if spelling in everywhere]


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "."])
async def test_a_refusal_that_is_not_utf_8_is_recorded_and_shown_clean(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack, command: str
) -> None:
    mailbox.faults.always(command, Reply(b"550 5.7.1 caf\xe9 \xff\xfe \x1b[2J no"))
    life.put()
    await life.minutes(3)
    assert len(life.open()) == 1
    assert "caf" in shown(life)
    shown(life).encode()
    assert "\x1b" not in shown(life)
    mailbox.faults.clear()
    life.state.execute("UPDATE blocks SET until = 0")
    life.put()
    await life.minutes(2)
    assert any("Title 2" in mail.text for mail in mailbox.mails)


@pytest.mark.parametrize("nonsense", ["lone surrogate", "not UTF-8", "terminal escapes"])
async def test_an_unreadable_error_of_slack_is_recorded_and_shown_clean(
    life: Life, mailbox: Mailbox, slack: EmbeddedSlack, nonsense: str
) -> None:
    slack.faults.always("chat.postMessage", Fault(status=200, body=NONSENSE[nonsense]))
    life.put()
    await life.minutes(20)
    assert life.open()
    shown(life).encode()
    assert not [char for char in shown(life) if char != "\n" and not char.isprintable()]
    slack.faults.clear()
    life.state.execute("UPDATE blocks SET until = 0")
    await life.minutes(15)
    assert any("Title 1" in str(post.blocks) for post in slack.posts)


async def test_terminal_escapes_in_names_on_slack_do_not_reach_a_check(
    config: Config, clock: SetClock, slack: EmbeddedSlack
) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\nok  forged"
    slack.channels[CHANNEL].name = evil
    slack.tokens[SECRETS["SLACK_BOT_TOKEN"]].team = evil
    for archived in (False, True):
        slack.channels[CHANNEL].archived = archived
        async with open_wix(config, clock) as wix, open_destinations(config, clock) as destinations:
            findings = await check.check_services(config, clock, wix, destinations)
        texts = [f"{finding.subject}: {finding.text}" for finding in findings]
        assert any("forged" in text for text in texts)
        assert all(text.isprintable() for text in texts)
