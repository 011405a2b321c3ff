"""What commands say about the workers of a cluster."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.commands.server_checks import check_cluster
from alerter.commands.status import as_json
from alerter.commands.status_report import get_status
from alerter.config import load_config
from alerter.config.state import PostgresUrl
from alerter.service.membership import config_digest
from alerter.store import State
from alerter.store.configs import register_config
from alerter.store.queue import defer_deliveries, defer_rounds
from alerter.store.workers import ALIVE_FOR, WorkerProcess, put_worker, server_time
from tests.support.values import SECRETS, SITE

pytestmark = pytest.mark.postgresql

CONFIG = f"""
state = {{url = "file:database.url"}}
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[slack]
token = "env:SLACK_BOT_TOKEN"
[[receivers]]
name = "owner"
slack = "C0123456789"
"""
Run = Callable[..., Result]


@pytest.fixture
def path(database: PostgresUrl, tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def run(path: Path) -> Run:
    def run(*args: str) -> Result:
        return CliRunner().invoke(main, [*args, "--config", str(path)])

    return run


@pytest.fixture
def now(state: State) -> datetime:
    return server_time(state)


def worker(number: int, now: datetime, config: int = 1, version: str = "3.0") -> WorkerProcess:
    started, seen = now - timedelta(hours=number), now - timedelta(seconds=number)
    return WorkerProcess(f"w{number}", "web", 100 + number, version, config, started, seen)


def register(state: State, path: Path, now: datetime) -> int:
    digest = config_digest(load_config(path, SECRETS, secrets=True))
    return register_config(state, digest, "{}", now, is_asked=True)


def test_status_lists_the_living_workers_and_what_waits(
    state: State, path: Path, run: Run, now: datetime
) -> None:
    register(state, path, now)
    dead = now - ALIVE_FOR - timedelta(seconds=1)
    for each in (worker(2, now), worker(3, now), worker(0, dead)):
        put_worker(state, each)
    defer_rounds(state, [1, 2])
    defer_deliveries(state, {"email:owner": "smtp"})
    found = json.loads(run("status", "--json").stdout)
    assert [each["name"] for each in found["workers"]] == ["w3", "w2"]
    assert found["workers"][0] | {"since": "", "last_seen": ""} == {
        "name": "w3",
        "host": "web",
        "version": "3.0",
        "config": 1,
        "since": "",
        "last_seen": "",
    }
    assert found["newest_config"] == 1
    assert found["waiting_jobs"] == {"deliver": 1, "rounds": 2, "regular": 0}
    text = run("status").stdout
    assert "web:103  3.0      1       3 hours" in text
    assert "3 jobs wait" in text
    assert "disagree" not in text


def test_status_says_that_no_worker_is_alive(state: State, run: Run) -> None:
    assert "no worker is alive" in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["workers"] == []


def test_status_says_on_what_workers_disagree(
    state: State, path: Path, run: Run, now: datetime
) -> None:
    register_config(state, "older", "{}", now, is_asked=True)
    register(state, path, now)
    for each in (worker(2, now, config=2), worker(3, now, config=1, version="2.9")):
        put_worker(state, each)
    text = " ".join(run("status").stdout.split())
    assert "workers disagree about the config: web:103 with number 1, while number 2" in text
    assert "workers of different versions run (2.9: web:103; 3.0: web:102)" in text


def findings(path: Path) -> list[str]:
    """What `check` says of the cluster, with a mark before each warning."""
    found = check_cluster(load_config(path, SECRETS, secrets=True), {})
    return [f"{'warn ' * each.warning}{each.text}" for each in found]


def test_check_counts_the_workers_that_have_its_config(
    state: State, path: Path, now: datetime
) -> None:
    register(state, path, now)
    assert findings(path) == []
    for number in range(3):
        put_worker(state, worker(number, now))
    [found] = findings(path)
    assert "3 workers are alive; number 1 is in force since" in found


def test_check_warns_of_another_config_and_of_workers_that_disagree(
    state: State, path: Path, now: datetime
) -> None:
    register(state, path, now)
    register_config(state, "newer", "{}", now, is_asked=True)
    put_worker(state, worker(1, now, config=2))
    _, own = findings(path)
    assert own.startswith("warn this config is another than the one that workers have (number 2")
    put_worker(state, worker(2, now, config=1))
    _, own, others = findings(path)
    assert others.startswith("warn workers disagree about the config: web:102 with number 1")


def test_a_state_file_has_no_workers(tmp_path: Path, path: Path, now: datetime) -> None:
    path.write_text(CONFIG.replace('{url = "file:database.url"}', '"state.db"'))
    config = load_config(path, {}, secrets=False)
    with State.open(tmp_path / "state.db", migrate=True) as state:
        status = get_status(config, state, now)
    assert status.cluster is None
    assert "workers" not in json.loads(as_json(status))
