"""`make demo-cluster`, as a newcomer would use it."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.waiting import HANG

pytestmark = pytest.mark.slow(60)


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short name, as the name of a socket in it is limited.

    Not below pytest's own, which every other run closes to the user that PostgreSQL has for root.
    """
    with TemporaryDirectory(dir=os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")) as name:
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
