"""`make demo-cluster`, as a newcomer would use it."""

import asyncio
import io
import os
import re
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from alerter.demo.cluster_screen import Screen, styled
from alerter.demo.cluster_services import EMAIL, Services, open_services
from tests.support.waiting import HANG

pytestmark = pytest.mark.slow(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name, as the name of a socket in it is limited."""
    with TemporaryDirectory() as name:
        yield Path(name)


async def start(*scenes: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alerter.demo.cluster", *scenes),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"TMPDIR": str(folder)},
        start_new_session=True,
    )


def processes_of(folder: Path) -> list[str]:
    """The processes that name a folder in their command line, as workers and PostgreSQL do."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


async def test_a_short_story_ends_with_nothing_lost_or_repeated(folder: Path) -> None:
    story = await start("kill", "stop", "crash", folder=folder)
    async with asyncio.timeout(HANG):
        out, _ = await story.communicate()
    lines = out.decode().splitlines()
    assert story.returncode == 0, out.decode()
    assert re.fullmatch(r"\d+ reviews alerted, 0 lost, 0 repeated", lines[-1])
    assert len([line for line in lines if re.search(r"goes on after \d+\.\d s", line)]) == 3
    assert "\x1b" not in out.decode()
    assert (processes_of(folder), list(folder.iterdir())) == ([], [])


@pytest.mark.parametrize("moment", ["1. ", "2. "], ids=["while it starts", "while workers run"])
async def test_ctrl_c_leaves_nothing_behind(moment: str, folder: Path) -> None:
    story = await start(folder=folder)
    assert story.stdout is not None
    async with asyncio.timeout(HANG):
        begun = b""
        while moment.encode() not in begun:
            line = await story.stdout.readline()
            assert line, begun.decode()
            begun += line
        os.killpg(story.pid, signal.SIGINT)
        out, _ = await story.communicate()
    assert story.returncode == 0
    assert out.decode().splitlines()[-1] == "Stopped."
    assert b"Traceback" not in out
    assert (processes_of(folder), list(folder.iterdir())) == ([], [])


async def send(services: Services, subject: str) -> None:
    """Send a mail to the mailbox, as alerter would."""
    mail = EmailMessage()
    mail["Subject"] = subject
    mail.set_content("A review.")

    def run() -> None:
        with smtplib.SMTP(services.mailbox.host, services.mailbox.port) as smtp:
            smtp.login("alerts", "demo-password")
            smtp.send_message(mail, "alerts@example.com", "owner@example.com")

    await asyncio.to_thread(run)


async def test_what_arrives_is_judged_by_what_was_put_in(tmp_path: Path) -> None:
    async with open_services(tmp_path) as services, httpx.AsyncClient() as http:
        low, good = services.add("Tea House", 1), services.add("Tea House", 5)
        assert services.lost() == [
            f"no. {low} did not arrive at {place}" for place in (EMAIL, "north")
        ]
        assert services.outstanding() == 2
        for subject in (f"no. {low}", f"no. {low}", f"no. {good}", "Trouble"):
            await send(services, subject)
        await http.post(
            f"{services.slack.base_url}chat.postMessage",
            headers={"Authorization": "Bearer xoxb-demo-token"},
            json={"channel": "C0000000002", "text": f"Rude staff, no. {low}"},
        )
        services.take_in()
        assert services.lost() == [f"no. {low} did not arrive at north"]
        assert services.repeated() == [
            f"no. {low} arrived 2 times at {EMAIL}, not 1",
            f"no. {low} arrived 1 times at south, not 0",
            f"no. {good} arrived 1 times at {EMAIL}, not 0",
            "email: Trouble",
        ]


class OnTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_are_shown_above_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    out = OnTerminal()
    screen = Screen(out)
    screen.show(["worker 1", styled("a line that is longer than the terminal", "32")])
    screen.say("It is killed.", "step")
    assert out.getvalue() == (
        "worker 1\na line that is long\n"
        "\x1b[2F\x1b[J\x1b[1mIt is killed.\x1b[0m\n"
        "worker 1\na line that is long\n"
    )
