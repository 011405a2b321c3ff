"""The addresses that receivers are posted to are secrets: they are shown nowhere."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from alerter.cli import main
from alerter.config import load_config
from alerter.demo.faults import Fault, bomb
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.webhook import EmbeddedWebhook
from alerter.demo.wix import EmbeddedWix
from alerter.notify.worker import IdleReason
from alerter.service.runtime import open_runtime
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.desk import queue
from tests.support.values import OWNER, SECRETS

ENDS = tuple(IdleReason)
PATH, QUERY, KEY = "T0pS3cretPath", "Qu3ryS3cret", b"k3y-0f-32-bytes-k3y-0f-32-bytes-"
RECEIVERS = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]
trouble = true

[[receivers]]
name = "posted"
%s
"""
MEDIA = {
    "webhook": 'webhook = "env:HOOK_URL"\nwebhook_secret = "env:HOOK_SECRET"',
    "ntfy": 'ntfy = "env:HOOK_URL"',
    "discord": 'discord = "env:HOOK_URL"',
    "teams": 'teams = "env:HOOK_URL"',
}
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["explain", "r0"],
    ["export", "--format", "json"],
    ["preview", "--to", "seen"],
    ["check"],
    ["test"],
    ["retry"],
)


def faults(url: str) -> list[Fault]:
    """Every way in which a service may repeat the address that it was called at."""
    said = f'{{"error": "{url}", "path": "/hooks/{PATH}", "query": "{QUERY}"}}'
    return [
        *(Fault(status=status, body=said) for status in (200, 400, 401, 404, 410, 429, 500)),
        Fault(status=503, body=said, headers={"Retry-After": "1"}),
        *(Fault(status=status, headers={"Location": f"{url}&x=%"}) for status in (301, 307)),
        Fault(status=302, headers={"Location": f"{url}:x\\"}, body=said),
        Fault(status=404, body=said.encode("utf-16")),
        Fault(drop="after"),
        Fault(drop="before"),
        bomb(1_000_000),
    ]


@pytest.mark.parametrize("medium", MEDIA)
async def test_an_address_that_its_service_repeats_is_shown_nowhere(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    state: State,
    clock: SetClock,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    medium: str,
) -> None:
    caplog.set_level("DEBUG", "alerter")
    path = write_config(wix, slack, mailbox, receivers=RECEIVERS % MEDIA[medium])
    async with EmbeddedWebhook() as hooks:
        hook = hooks.add(PATH, secret=KEY, query=f"token={QUERY}")
        environ = SECRETS | {"HOOK_URL": hook.url, "HOOK_SECRET": hook.secret}
        config = load_config(path, environ, secrets=True)
        for number, fault in enumerate(faults(hook.url)):
            hooks.faults.add(PATH, fault)
            queue(state, f"r{number}", receivers=(f"{medium}:posted",))
            async with open_runtime(config, state, clock) as runtime:
                await runtime.dispatcher.run(ENDS)
            state.execute("UPDATE blocks SET until = 0, parked = 0")
            clock.advance(minutes=2)
        hook.gone = True
        shown = [
            await asyncio.to_thread(_output, command, path, environ, tmp_path)
            for command in COMMANDS
        ]
        assert len(hooks.requests) > len(faults(hook.url))
    files = [each.read_text() for each in (tmp_path / "seen").iterdir()]
    mails = [mail.raw.decode() for mail in mailbox.mails]
    rows = [str(tuple(row)) for row in state.rows("SELECT * FROM messages")]
    rows += [str(tuple(row)) for row in state.rows("SELECT * FROM blocks")]
    rows += [str(tuple(row)) for row in state.rows("SELECT * FROM troubles")]
    everywhere = "\n".join([caplog.text, *shown, *files, *mails, *rows])
    assert "410" in everywhere
    assert len(everywhere) > 5000
    found = {
        secret for secret in (PATH, QUERY, hook.secret, _base64(QUERY)) if secret in everywhere
    }
    assert found == set()


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def _output(command: list[str], path: Path, environ: dict[str, str], folder: Path) -> str:
    own = [str(folder / each) if each == "seen" else each for each in command]
    return CliRunner().invoke(main, [*own, "--config", str(path)], env=environ).output
