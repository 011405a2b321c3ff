"""What `alerter check` finds in the files that `alerter run` needs, and in the catalog."""

import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.commands.check import check_services
from alerter.commands.local_checks import check_files, check_state
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.wix import EmbeddedWix
from alerter.models import Finding
from alerter.service.runtime import open_wix
from alerter.store import Holder, State, lock_of
from tests.support.config import LEAST
from tests.support.values import SECRETS, SITE

Check = Callable[..., list[str]]
NOBODY = 65534
NO_SERVER = "postgresql://127.0.0.1:1/alerter"
ENVIRON = {"WIX": "k", "SLACK": "x", "DATABASE_URL": NO_SERVER}


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check the files of a config; return the lines that are not good."""

    def check(config: str = LEAST) -> list[str]:
        path = tmp_path / "config.toml"
        path.write_text(config)
        found = check_files(path, load_config(path, ENVIRON, secrets=True))
        words = {True: "warn", False: "FAIL"}
        return [
            f"{words[each.ok]}  {each.subject}: {each.text}"
            for each in found
            if each.warning or not each.ok
        ]

    return check


# The state file


def test_a_state_file_that_is_there_is_good(check: Check, tmp_path: Path) -> None:
    assert check() == []
    with State.open(tmp_path / "state.db", migrate=True):
        assert check() == []


def test_a_state_folder_that_is_not_there_fails(check: Check, tmp_path: Path) -> None:
    [line] = check(LEAST.replace("state.db", "var/state.db"))
    assert line == (
        f"FAIL  state: there is no folder {tmp_path / 'var'}: create it, owned by the user that"
        " runs alerter"
    )
    assert not (tmp_path / "var").exists()


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("what", ["the folder", "the lock"])
def test_a_state_that_cannot_be_written_fails(tmp_path: Path, what: str) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/tmp")))
        file = folder
        if what == "the lock":
            file = folder / "state.db.lock"
            file.touch(0o444)
        folder.chmod(0o777 if what == "the lock" else 0o555)
        (tmp_path / "config.toml").write_text(LEAST.replace("state.db", f"{folder}/state.db"))
        config = load_config(tmp_path / "config.toml", {}, secrets=False)
        assert check_state(config.database).ok or os.geteuid()
        with as_somebody_else():
            finding = check_state(config.database)
    assert not finding.ok
    assert finding.text.startswith(f"{file} cannot be written by the user ")


def test_a_file_that_is_no_state_file_fails(check: Check, tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("Dear diary, " * 1000)
    [line] = check()
    assert line.startswith(f"FAIL  state: {tmp_path / 'state.db'}: is not a state file")


@pytest.mark.parametrize("daemon", [False, True], ids=["of another", "of our daemon"])
def test_a_port_in_use_fails_unless_our_daemon_listens_there(
    check: Check, tmp_path: Path, *, daemon: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, lock_of(tmp_path / "state.db") as lock:
        port = server.getsockname()[1]
        if daemon:
            assert lock.acquire(Holder.RUN) is None
        found = check(f'{LEAST}\n[web]\nlisten = "127.0.0.1:{port}"\n')
    fault = f"FAIL  web.listen: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert found == ([] if daemon else [f"{fault}; name another place"])
    assert check(f'{LEAST}\n[web]\nlisten = "127.0.0.1:{port}"\n') == []


def test_a_port_in_use_is_no_fault_while_the_database_cannot_be_asked(check: Check) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        state = '[state]\nurl = "env:DATABASE_URL"'
        config = re.sub("state = .*", "", LEAST) + f'{state}\n[web]\nlisten = "127.0.0.1:{port}"\n'
        *_, line = check(config)
    assert line.startswith(f"warn  web.listen: something listens on 127.0.0.1:{port}; if it is not")


# Secrets, included files, templates


def test_secrets_that_everybody_can_read_are_warned_of(check: Check, tmp_path: Path) -> None:
    config = LEAST.replace("env:WIX", "file:wix").replace("env:SLACK", "file:slack")
    for name, mode in (("wix", 0o644), ("slack", 0o640)):
        (tmp_path / name).write_text("secret-7f3a")
        (tmp_path / name).chmod(mode)
    [line] = check(config)
    assert line == (
        f"warn  secrets: every user of this machine can read {tmp_path / 'wix'}: `chmod 600` and"
        " give it to the user that runs alerter"
    )
    (tmp_path / "slack").chmod(0o604)
    assert f"{tmp_path / 'wix'} and {tmp_path / 'slack'}: `chmod 600`" in check(config)[0]
    for name in ("wix", "slack"):
        (tmp_path / name).chmod(0o640)
    assert check(config) == []


def test_secrets_of_included_files_are_looked_at_too(check: Check, tmp_path: Path) -> None:
    (tmp_path / "sites.d").mkdir()
    (tmp_path / "sites.d" / "key").write_text("secret-7f3a")
    (tmp_path / "sites.d" / "key").chmod(0o644)
    cafe = (
        '[[sites]]\nname = "Café"\nsite_id = "22222222-2222-4222-8222-222222222222"\n'
        'api_key = "file:key"\n'
    )
    (tmp_path / "sites.d" / "cafe.toml").write_text(cafe)
    config = f'include = "sites.d/*.toml"\ninclude_env = []\n{LEAST}'
    [line] = check(config)
    assert f"every user of this machine can read {tmp_path / 'sites.d' / 'key'}: `chmod" in line


def test_an_include_that_matches_nothing_is_warned_of(check: Check) -> None:
    assert check(f'include = "*.tml"\ninclude_env = []\n{LEAST}') == [
        'warn  include: no file matches "*.tml", so nothing is included'
    ]


def test_a_template_that_replaces_nothing_is_warned_of(check: Check, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name, text in {
        "nwe.txt": "{{ review.body }}",
        "new.txt": '{% include "_mine.txt" %}',
        "_mine.txt": "{{ review.body }}",
        "README.md": "Ours",
    }.items():
        (mine / name).write_text(text)
    assert check(f'templates = "mine"\n{LEAST}') == [
        f"warn  templates: {mine / 'nwe.txt'} replaces no template; did you mean new.txt?"
    ]


# The catalog


async def about_the_site(config: Config) -> list[Finding]:
    async with open_wix(config, Clock()) as wix:
        return await check_services(config, Clock(), wix, [])


async def test_a_catalog_that_may_be_read_has_no_line(config: Config) -> None:
    [finding] = await about_the_site(config)
    assert (finding.ok, finding.warning) == (True, False)


@pytest.mark.parametrize(
    ("refusal", "advice"),
    [
        (403, "grant it Read v3 catalog (of Wix Stores)"),
        (503, "try again later"),
    ],
    ids=["refused", "down"],
)
async def test_a_catalog_that_cannot_be_read_is_warned_of(
    wix: EmbeddedWix, config: Config, refusal: int, advice: str
) -> None:
    if refusal == 403:
        wix.forbid(SECRETS["WIX_API_KEY"], "READ_CATALOG")
    else:
        wix.faults.always("/stores/v3/provision/version", Fault(status=refusal))
    reviews, catalog = await about_the_site(config)
    assert (reviews.ok, reviews.warning) == (True, False)
    assert (catalog.ok, catalog.warning, catalog.subject) == (True, True, "site Corner Bakery")
    assert catalog.text.startswith("its products have no names in alerts, as its catalog cannot")
    assert catalog.text.endswith(advice)


async def test_the_catalog_of_a_site_that_cannot_be_read_is_left_alone(
    wix: EmbeddedWix, config: Config
) -> None:
    wix.sites[SITE].refuse = 401
    [finding] = await about_the_site(config)
    assert not finding.ok
