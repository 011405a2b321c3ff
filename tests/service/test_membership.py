"""The workers of a cluster: which of their configs is in force."""

import asyncio
from pathlib import Path

import pytest

from alerter.clock import ServerClock
from alerter.config import Config, load_config
from alerter.scopes import Scope
from alerter.service.daemon import _bring_in_line
from alerter.service.host import Host
from alerter.service.membership import Membership
from alerter.service.reload import Reload
from alerter.store import State, troubles
from alerter.trouble.tracker import Troubles
from tests.support.values import SECRETS, SITE

pytestmark = pytest.mark.postgresql

CONFIG = f"""
state = "state.db"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[slack]
token = "env:SLACK_BOT_TOKEN"
[[receivers]]
name = "team"
slack = "C0123456789"
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "config.toml").write_text(CONFIG)
    return load_config(tmp_path / "config.toml", SECRETS, secrets=True)


def changed(config: Config) -> Config:
    return config.model_copy(update={"alerts": config.alerts.model_copy(update={"threshold": 1})})


def worker(state: State, config: Config) -> Membership:
    """A worker that has started with a config."""
    member = Membership(state, ServerClock())
    take(member, config, is_asked=False)
    return member


def take(member: Membership, config: Config, *, is_asked: bool) -> None:
    member.join(config, is_asked=is_asked)
    member.report()


def test_a_reload_of_what_has_not_changed_undoes_no_change(state: State, config: Config) -> None:
    first, second = worker(state, config), worker(state, config)
    take(first, changed(config), is_asked=True)
    take(second, config, is_asked=True)
    assert second.config < first.config
    first.report()
    assert (first.is_newest, second.is_newest) == (True, False)


class SteppedClock(ServerClock):
    """The monotonic clock of a worker, with steps of its own."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_the_only_worker_with_the_newest_config_may_restart(state: State, config: Config) -> None:
    clock = SteppedClock()
    older = Membership(state, clock)
    take(older, config, is_asked=False)
    newer = worker(state, changed(config))
    newer.leave()
    older.report()
    clock.ahead = 50
    older.report()
    assert not older.has_to_join_again(config)
    again = worker(state, changed(config))
    older.report()
    assert again.config == newer.config > older.config
    again.leave()
    for seconds in (100, 170):
        clock.ahead = seconds
        older.report()
    assert older.has_to_join_again(config)


def test_the_log_says_once_that_a_running_worker_has_an_older_config(
    state: State, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    clock = SteppedClock()
    older = Membership(state, clock)
    take(older, config, is_asked=False)
    newer = worker(state, changed(config))
    said = []
    for seconds in (0, 10, 20, 30):
        clock.ahead = seconds
        newer.report()
        older.report()
        said.append(caplog.text.count("another worker has a newer config"))
    assert said == [0, 0, 1, 1]
    take(older, config, is_asked=True)
    older.join(changed(config), is_asked=False)
    caplog.clear()
    for seconds in (40, 60):
        clock.ahead = seconds
        older.report()
    assert "newer config" not in caplog.text


def test_a_config_that_another_worker_brought_back_is_in_force(
    state: State, config: Config
) -> None:
    first, second = worker(state, config), worker(state, config)
    take(first, changed(config), is_asked=True)
    second.report()
    assert not second.has_to_join_again(config)
    take(first, config, is_asked=True)
    second.report()
    assert second.has_to_join_again(config)
    take(second, config, is_asked=False)
    assert second.config == first.config
    assert second.is_newest


def test_a_refused_config_is_trouble_until_its_own_worker_has_a_good_one(
    state: State, config: Config
) -> None:
    clock = ServerClock()
    host = Host(clock, {}, asyncio.Event(), Reload(asyncio.Event(), None))
    workers = [worker(state, config) for _ in range(3)]
    scopes = [Scope.CONFIG.of(each.name) for each in workers[:2]]
    for scope in scopes:
        Troubles(state, config, clock, wake=lambda _: None).begin(scope, "a fault")

    def reload(member: Membership, config: Config, *, is_read: bool = True) -> list[str]:
        _bring_in_line(state, config, host, member, is_read=is_read, is_asked=is_read)
        return sorted(each.scope for each in troubles.get_open_troubles(state))

    assert reload(workers[0], config, is_read=False) == sorted(scopes)
    assert reload(workers[2], config) == sorted(scopes)
    assert reload(workers[0], config) == [scopes[1]]
    assert reload(workers[2], changed(config)) == [scopes[1]]
    workers[1].leave()
    assert reload(workers[2], changed(config)) == []
