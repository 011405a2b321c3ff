"""Fixtures: real HTTP, SMTP and SQLite on loopback, and a clock that tests set."""

import gc
import os
import shutil
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import freezegun
import hypothesis
import pytest
import trustme

from alerter.config import Config, Site, load_config
from alerter.config.state import PostgresUrl
from alerter.counters import counts
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.store import State
from tests.support.clock import SetClock
from tests.support.postgres import Emptied, new_database, server
from tests.support.state import open_state
from tests.support.values import CHANNEL, OWNER, SCOPES, SECRETS, SITE

# The suite tries the same orders each time; `make torture` tries many others. No check of
# hypothesis' own times them.
SLOW_IS_FINE = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile(
    "suite", derandomize=True, database=None, max_examples=15, **SLOW_IS_FINE
)
hypothesis.settings.register_profile("torture", max_examples=500, print_blob=True, **SLOW_IS_FINE)
hypothesis.settings.load_profile("suite")
freezegun.configure(extend_ignore_list=["asyncio"])


ENGINES = ("sqlite", "postgresql")
# Tests of the store, of intake, dispatch and responses, and of a review's life.
ON_BOTH_ENGINES = (
    "store/",
    "watch/",
    "notify/",
    "respond/",
    "trouble/",
    "commands/test_replay.py",
    "service/test_database.py",
    "service/test_rerouting.py",
    "service/test_shards.py",
    "web/test_webhooks.py",
    "whole/test_holds.py",
    "whole/test_lifecycle.py",
    "whole/test_orders.py",
    "whole/test_reminders.py",
    "whole/test_replay.py",
    "whole/test_retention.py",
)
MEMORY = Path("/dev/shm")
ROOM = 1 << 30


def pytest_configure() -> None:
    """Keep the files of a run in memory where there is room: a commit waits for no disk then.

    Nothing is searched for garbage while tests are collected, for nothing is thrown away.
    """
    gc.disable()
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one half of the workers begin with the slow tests, and the other half compute meanwhile.

    Slow tests wait more than they compute. A worker that has nothing left takes tests from the end
    of what another one has, so no slow test is among the last.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = _in_shares(items, workers)


def _in_shares(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Return the tests in an order of which each worker gets a part of equal length."""
    slow = _dealt([item for item in items if _seconds(item)], workers // 2)
    quick = [item for item in items if not _seconds(item)]
    ordered, left = [], len(items)
    for share in range(workers):
        size = left // (workers - share)
        left -= size
        first = slow[share][:size] if share < len(slow) else []
        ordered += first + quick[: size - len(first)]
        del quick[: size - len(first)]
    placed = set(ordered)
    return ordered + [item for item in items if item not in placed]


def _dealt(slow: list[pytest.Item], hands: int) -> list[list[pytest.Item]]:
    """Deal the slow tests out, the longest first; those of a file share what it prepares."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in sorted(slow, key=_seconds, reverse=True):
        files.setdefault(item.path, []).append(item)
    dealt: list[list[pytest.Item]] = [[] for _ in range(hands)]
    for of_file in files.values():
        min(dealt, key=lambda hand: sum(map(_seconds, hand))).extend(of_file)
    return dealt


def _seconds(item: pytest.Item) -> float:
    """Return about how long a test takes that is marked as slow; 0 for the others."""
    marker = item.get_closest_marker("slow")
    return (marker.args or (2,))[0] if marker else 0


def pytest_collection_finish() -> None:
    """Take what was collected out of all searches for garbage: it stays until the end."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test or its processes leave among the temporary files goes with the run's folder."""
    folder = str(tmp_path_factory.mktemp("tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of one authority that signs nothing."""
    path = tmp_path_factory.mktemp("trust") / "strangers.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch, strangers: str) -> None:
    """Nothing of this machine's environment reaches a test.

    Nor do the authorities that it trusts: reading all of them takes 30 ms for each TLS context.
    """
    for name in (
        "ALERTER_CONFIG",
        "NOTIFY_SOCKET",
        "CREDENTIALS_DIRECTORY",
        "JOURNAL_STREAM",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", strangers)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    counts.clear()


@pytest.fixture
def clock() -> SetClock:
    return SetClock(datetime(2026, 11, 24, 12, 0, tzinfo=UTC))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of what the database decides on each engine, and all others on SQLite."""
    if "database" in metafunc.fixturenames:
        path = metafunc.definition.path.relative_to(Path(__file__).parent).as_posix()
        only = [each for each in ENGINES if metafunc.definition.get_closest_marker(each)]
        both = ENGINES if path.startswith(ON_BOTH_ENGINES) else ENGINES[:1]
        again = () if path.startswith("store/") else pytest.mark.again
        marks = {"postgresql": () if only else again}
        params = [pytest.param(each, marks=marks.get(each, ())) for each in only or both]
        metafunc.parametrize("database", params, indirect=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Emptied]:
    """A server that the workers of a run share, and a database of this one's own.

    Not in the folder of pytest, which another run closes to all other users: where root runs the
    tests, the server is another user.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(os.environ.get("PYTEST_DEBUG_TEMPROOT", "/tmp")) / f"alerter-postgres-{run[:12]}"
    with (
        server(folder) as its,
        closing(Emptied(new_database(its.url, f"alerter_{worker or 'tests'}"))) as emptied,
    ):
        yield emptied


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | PostgresUrl:
    """Where a test keeps its state: a new state file, or an empty database of PostgreSQL."""
    if request.param == "sqlite":
        return tmp_path / "state.db"
    emptied: Emptied = request.getfixturevalue("postgres")
    (tmp_path / "database.url").write_text(emptied.url.url)
    return emptied.emptied()


@pytest.fixture
def state(database: Path | PostgresUrl) -> Iterator[State]:
    with open_state(database) as state:
        yield state


@pytest.fixture
async def wix() -> AsyncIterator[EmbeddedWix]:
    async with EmbeddedWix() as wix:
        wix.add_site(SITE, api_key=SECRETS["WIX_API_KEY"])
        yield wix


@pytest.fixture
async def slack() -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(pace=None) as slack:
        slack.add_token(SECRETS["SLACK_BOT_TOKEN"], scopes=SCOPES)
        slack.add_channel(CHANNEL, "reviews")
        yield slack


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox(username="alerts", password=SECRETS["SMTP_PASSWORD"]) as mailbox:
        yield mailbox


@pytest.fixture
def write_config(tmp_path: Path, database: Path | PostgresUrl) -> Callable[..., Path]:
    """Write a config for the embedded services; `extra` is more TOML, `receivers` replaces the two
    of them.
    """

    def write(
        wix: EmbeddedWix,
        slack: EmbeddedSlack,
        mailbox: Mailbox,
        *,
        extra: str = "",
        receivers: str | None = None,
    ) -> Path:
        two = f"""
[[receivers]]
name = "owner"
email = ["{OWNER}"]

[[receivers]]
name = "support"
slack = "{CHANNEL}"
"""
        path = tmp_path / "config.toml"
        path.write_text(
            f"""
state = {'"state.db"' if isinstance(database, Path) else '{url = "file:database.url"}'}
timezone = "Europe/Berlin"

[wix]
base_url = "{wix.base_url}"

[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"

[smtp]
host = "{mailbox.host}"
port = {mailbox.port}
security = "none"
username = "alerts"
password = "env:SMTP_PASSWORD"
from = "Review alerts <alerts@example.com>"

[slack]
token = "env:SLACK_BOT_TOKEN"
base_url = "{slack.base_url}"
{two if receivers is None else receivers}
{extra}
"""
        )
        return path

    return write


@pytest.fixture
def config(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Config:
    """A checked config of one site and two receivers, all embedded."""
    return load_config(write_config(wix, slack, mailbox), SECRETS, secrets=True)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """A certificate authority that only tests trust; making its keys takes a moment."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def site(config: Config) -> Site:
    return config.sites[0]
