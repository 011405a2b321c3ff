"""The wheel, away from the checkout: what it holds, and every command of the documents."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest

import alerter
from alerter import __version__
from alerter.cli import main
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.models import Status
from alerter.store import State, reviews
from tests.support.documented import NOT_RUN, OPEN_REVIEW, documented_commands
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

ROOT = Path(__file__).parents[2]
OTHER = "22222222-2222-4222-8222-222222222222"
ACCOUNT = "55555555-5555-4555-8555-555555555555"
# The same environment without what would lead back to the checkout.
ENVIRON = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
}
# Runs commands one after the other, since starting a process takes longer than most of them.
DRIVER = """
import json, sys
import alerter
from click.testing import CliRunner
from alerter.cli import main
print(json.dumps(alerter.__file__), flush=True)
for line in sys.stdin:
    result = CliRunner().invoke(main, json.loads(line))
    defect = None if isinstance(result.exception, (SystemExit, type(None))) else result.exception
    print(json.dumps([result.exit_code, result.output, repr(defect)]), flush=True)
"""


@dataclass(frozen=True)
class Installed:
    """The wheel, and the environment that it is installed in."""

    wheel: Path
    env: Path

    @property
    def python(self) -> Path:
        return self.env / "bin" / "python"


def build(folder: Path) -> None:
    """Build the wheel, and install it in an environment that borrows what alerter depends on."""
    env = folder / "env"
    steps: Sequence[Sequence[str | Path]] = (
        ("hatchling", "build", "--target", "wheel", "--directory", folder),
        ("venv", "--without-pip", env),
        (
            "pip",
            "--python",
            env / "bin" / "python",
            "install",
            "--quiet",
            "--no-deps",
            "--no-index",
        ),
    )
    for step in steps:
        last = [*folder.glob("*.whl")] if step[0] == "pip" else []
        done = subprocess.run(
            [sys.executable, "-m", *step, *last],
            cwd=ROOT,
            env=ENVIRON,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANG,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    [site_packages] = env.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(str(Path(pytest.__file__).parent.parent))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Installed:
    """The wheel, built and installed once, whichever worker comes first."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "wheel"
    with (folder.parent / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            build(folder)
            (folder / "done").touch()
    [wheel] = folder.glob("*.whl")
    return Installed(wheel, folder / "env")


@pytest.mark.slow
def test_the_wheel_holds_the_package_templates_and_units_and_nothing_else(
    installed: Installed,
) -> None:
    names = zipfile.ZipFile(installed.wheel).namelist()
    package = Path(alerter.__file__).parent
    files = {
        str(path.relative_to(package.parent))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    templates = {
        f"alerter/{path.relative_to(ROOT)}"
        for path in (ROOT / "templates").rglob("*")
        if path.is_file()
    }
    units = {
        f"alerter/deploy/{name}"
        for name in ("alerter.service", "alerter-once.service", "alerter-once.timer", "alerterctl")
    }
    held = {name for name in names if ".dist-info/" not in name}
    assert held == files | templates | units | {"alerter/config.example.toml"}


# The documented commands

Run = Callable[[Sequence[str]], Any]
BEFORE, AFTER = (
    ("--version", "init", "check", "test", "sites", "channels", "templates"),
    (
        "run",
        "restore",
        "forget",
    ),
)


@asynccontextmanager
async def driver(installed: Installed, folder: Path) -> AsyncIterator[Run]:
    """A process that runs commands of the wheel in a folder; each is awaited as its exit code,
    its output and its defect.
    """
    process = await asyncio.create_subprocess_exec(
        *(installed.python, "-W", "error", "-c", DRIVER),
        cwd=folder,
        env=ENVIRON | SECRETS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin
    assert stdout

    async def answer() -> Any:
        async with asyncio.timeout(HANG):
            return json.loads(await stdout.readline())

    async def run(arguments: Sequence[str]) -> Any:
        stdin.write(json.dumps(arguments).encode() + b"\n")
        return await answer()

    try:
        assert Path(await answer()).is_relative_to(installed.env)
        yield run
    finally:
        stdin.close()
        await process.wait()


@asynccontextmanager
async def daemon(installed: Installed, folder: Path, wix: EmbeddedWix) -> AsyncIterator[None]:
    """The daemon of the wheel, from the end of its first read to its clean end."""
    process = await asyncio.create_subprocess_exec(
        *(installed.env / "bin" / "alerter", "run", "--log-format", "json"),
        cwd=folder,
        env=ENVIRON | SECRETS,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: {SITE, OTHER} <= {query.site_id for query in wix.queries()[4:]})
        yield
        process.terminate()
        async with asyncio.timeout(HANG):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def is_open(path: Path) -> bool:
    """Whether the daemon has alerted the review that people can take on."""
    with State.read(path) as state:
        found = reviews.get_reviews(state, SITE, [OPEN_REVIEW]).get(OPEN_REVIEW)
    return found is not None and found.status is Status.OPEN


def is_a_name(arguments: Sequence[str]) -> bool:
    """Whether a text only names a command, which needs arguments to run."""
    if len(arguments) > 2 or arguments[0] == "--version":
        return False
    command = main.commands[arguments[0]]
    if isinstance(command, click.Group):
        if len(arguments) == 1:
            return True
        command = command.commands[arguments[1]]
    elif len(arguments) == 2:
        return False
    return any(each.required for each in command.params)


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    """A config of two sites, all embedded, in a folder that has what the documents name."""
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"], name="Tea House")
    wix.sites[SITE].name = "Corner Bakery"
    wix.add_account(ACCOUNT, SECRETS["WIX_API_KEY"], [SITE, OTHER])
    wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale"}})
    other = f'[[sites]]\nname = "Tea House"\nsite_id = "{OTHER}"\napi_key = "env:WIX_API_KEY"\n'
    replies = '[[replies]]\nname = "Sorry"\ntext = "We are sorry."\n'
    path = write_config(wix, slack, mailbox, extra=f'[poll]\nevery = "1s"\n{other}{replies}')
    path.write_text(path.read_text().replace("[wix]", f'[wix]\naccount_id = "{ACCOUNT}"'))
    shutil.copy(path, path.with_name("new.toml"))
    (path.parent / "backup").mkdir()
    (path.parent / "tmp").mkdir()
    return path


@pytest.mark.slow
async def test_every_documented_command_works_from_the_wheel_as_documented(
    installed: Installed, path: Path, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    folder = path.parent
    documented = documented_commands(wix=wix.base_url, slack=slack.base_url, smtp=str(mailbox.port))
    assert len(documented) > 30
    assert set(NOT_RUN) - set(documented) == set(), "take these off the list"
    commands = {
        text: arguments
        for text, arguments in documented.items()
        if text not in NOT_RUN and not is_a_name(arguments)
    }
    failed = {}
    async with driver(installed, folder) as run:

        async def run_all(when: Callable[[str], bool]) -> None:
            # Some stand in two documents in other words.
            chosen = {tuple(each): text for text, each in commands.items() if when(each[0])}
            for arguments, text in chosen.items():
                code, output, defect = await run(arguments)
                if (code, defect) != (0, "None"):
                    failed[text] = f"{code} {defect}: {output}"

        await run_all(lambda name: name in BEFORE)
        async with daemon(installed, folder, wix):
            wix.add(SITE, {"id": OPEN_REVIEW, "content": {"rating": 1}})
            await until(lambda: is_open(folder / "state.db"))
            await run_all(lambda name: name not in (*BEFORE, *AFTER))
        shutil.copy(folder / "before-upgrade.db", folder / "tmp" / "state.db")
        shutil.copy(folder / "before-upgrade.db", folder / "file.db")
        await run_all(lambda name: name == "run")
        await run_all(lambda name: name == "restore")
        text = path.read_text()
        bakery = text[text.index("[[sites]]") : text.index("[smtp]")]
        path.write_text(text.replace(bakery, ""))
        await run_all(lambda name: name == "forget")
        assert await run(["--version"]) == [0, f"alerter, version {__version__}\n", "None"]
    assert failed == {}
