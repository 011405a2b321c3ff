"""Health and metrics: what is served, and when it says that something is wrong."""

import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from alerter.config import Config
from alerter.counters import counts
from alerter.models import Alert, AlertKind, to_ms
from alerter.store import State, known_sites, raised_alerts, troubles
from alerter.store.configs import register_config
from alerter.store.queue import defer_deliveries
from alerter.store.raised_alerts import NewAlert
from alerter.store.troubles import Trouble
from alerter.store.workers import WorkerProcess, put_worker, server_time
from alerter.web.server import open_web
from tests.support.clock import SetClock
from tests.support.values import SITE
from tests.support.waiting import HANG

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "alerter.rules.yml"
SERIES = {
    "alerter_rounds_total": {"outcome"},
    "alerter_reviews_total": {"outcome"},
    "alerter_alerts_total": {"kind"},
    "alerter_deliveries_total": {"receiver", "outcome"},
    "alerter_oldest_pending_age_seconds": set(),
    "alerter_oldest_success_timestamp_seconds": set(),
    "alerter_open_reviews": set(),
    "alerter_unsent_deliveries": {"receiver", "status"},
    "alerter_open_troubles": {"kind"},
    "alerter_wix_calls_total": {"status"},
    "alerter_webhooks_total": {"outcome"},
    "alerter_transaction_seconds_count": set(),
    "alerter_transaction_seconds_sum": set(),
}
OF_A_CLUSTER = {
    "alerter_workers": {"config"},
    "alerter_jobs_waiting": {"queue"},
    "alerter_oldest_due_round_age_seconds": set(),
}


@dataclass
class Look:
    """What anybody sees who asks."""

    url: str
    state: State
    clock: SetClock
    http: aiohttp.ClientSession
    finished: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def health(self, **headers: str) -> tuple[int, dict[str, Any]]:
        async with self.http.get(f"{self.url}/healthz", headers=headers) as response:
            return response.status, await response.json()

    async def metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        async with self.http.get(f"{self.url}/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain")
            families = text_string_to_metric_families(await response.text())
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in families:
            for sample in family.samples:
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found

    async def value(self, name: str, **labels: str) -> float:
        [value] = [value for its, value in (await self.metrics())[name] if its == labels]
        return value


@pytest.fixture
async def look(config: Config, state: State, clock: SetClock) -> AsyncIterator[Look]:
    finished, faults = {SITE: clock.monotonic()}, list[str]()
    served = open_web(
        ("127.0.0.1", 0),
        config,
        state,
        clock,
        None,
        finished,
        fault=lambda: faults[0] if faults else None,
    )
    async with served as web, aiohttp.ClientSession() as http:
        yield Look(f"http://127.0.0.1:{web.port}", state, clock, http, finished, faults)


def raise_alert(state: State, clock: SetClock, key: str, kind: AlertKind = AlertKind.NEW) -> None:
    with state.transaction():
        raised_alerts.raise_alerts(
            state, [NewAlert(Alert(key, kind, SITE, "r1"), [("owner", None)])], clock.now()
        )


async def test_all_is_well_while_rounds_end_within_three_periods(look: Look) -> None:
    assert await look.health() == (200, {"ok": True, "reasons": [], "troubles": []})
    look.clock.advance(seconds=180)
    assert (await look.health())[0] == 200
    look.clock.advance(seconds=1)
    status, report = await look.health()
    assert status == 503
    assert report["reasons"] == ["no round of 1 of 1 site has ended for 180 s: Corner Bakery"]
    look.finished[SITE] = look.clock.monotonic()
    assert (await look.health())[0] == 200


async def test_open_trouble_is_shown_and_is_no_reason_to_restart_us(look: Look) -> None:
    with look.state.transaction():
        troubles.put_trouble(
            look.state, Trouble(f"site:{SITE}", look.clock.now(), "Wix refuses us: 403")
        )
    status, report = await look.health()
    assert status == 200
    since = look.clock.now().isoformat()
    assert report["troubles"] == [
        {"scope": f"site:{SITE}", "since": since, "reason": "Wix refuses us: 403"}
    ]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "Host"])
async def test_who_asks_from_elsewhere_sees_no_name_no_path_and_no_words(
    look: Look, header: str
) -> None:
    look.clock.advance(seconds=181)
    since = look.clock.now()
    with look.state.transaction():
        troubles.put_trouble(
            look.state,
            Trouble("service:slack:file:/etc/alerter/token", since, "Slack: invalid_auth"),
        )
    look.state.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(look.state.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, report = await look.health(**{header: "192.0.2.1"})
        other.execute("ROLLBACK")
    reasons = ["no round of 1 of 1 site has ended for 180 s", "the state file takes no writes"]
    found = [{"scope": "service", "since": since.isoformat()}]
    assert (status, report) == (503, {"ok": False, "reasons": reasons, "troubles": found})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "[::1]"])
async def test_who_asks_this_machine_by_its_own_names_sees_everything(
    look: Look, host: str
) -> None:
    with look.state.transaction():
        troubles.put_trouble(
            look.state, Trouble(f"site:{SITE}", look.clock.now(), "Wix refuses us: 403")
        )
    assert (await look.health(Host=host))[1]["troubles"][0]["reason"] == "Wix refuses us: 403"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "[::1", "a@localhost", "\u202e", ""]
)
async def test_a_page_or_a_proxy_that_asks_by_another_name_is_a_stranger(
    look: Look, host: str
) -> None:
    with look.state.transaction():
        troubles.put_trouble(
            look.state, Trouble(f"site:{SITE}", look.clock.now(), "Wix refuses us: 403")
        )
    assert "reason" not in (await look.health(Host=host))[1]["troubles"][0]


async def test_a_state_file_that_takes_no_writes_is_reported(look: Look) -> None:
    look.state.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(look.state.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, report = await look.health()
        assert (status, report["ok"]) == (503, False)
        assert report["reasons"][0].startswith("the state file takes no writes: ")
        other.execute("ROLLBACK")
    assert (await look.health())[0] == 503  # it was tried a moment ago
    look.clock.advance(seconds=1)
    assert (await look.health())[0] == 200


async def test_proving_that_the_state_file_takes_writes_really_writes(state: State) -> None:
    state.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    wal = state.database.with_name(state.database.name + "-wal")
    assert wal.stat().st_size == 0
    state.prove_writable()
    assert wal.stat().st_size > 0


async def test_every_series_exists_at_once_and_none_has_a_label_per_site(
    look: Look,
) -> None:
    counts["wix_calls_200"] += 1
    found = await look.metrics()
    assert {
        name: set(samples[0][0]) for name, samples in found.items() if not name.endswith("_created")
    } == SERIES
    assert not any("Bakery" in str(samples) or SITE in str(samples) for samples in found.values())


async def test_what_was_counted_is_shown(look: Look) -> None:
    counts.update(
        {
            "rounds": 7,
            "rounds_failed": 2,
            "reviews_new": 3,
            "reviews_unreadable": 1,
            "deliveries_sent:owner": 5,
            "deliveries_failed:support": 1,
            "wix_calls_429": 4,
            "wix_calls_lost": 1,
            "webhooks_taken": 6,
        }
    )
    assert await look.value("alerter_rounds_total", outcome="good") == 7
    assert await look.value("alerter_rounds_total", outcome="failed") == 2
    assert await look.value("alerter_reviews_total", outcome="new") == 3
    assert await look.value("alerter_reviews_total", outcome="unreadable") == 1
    assert await look.value("alerter_deliveries_total", receiver="owner", outcome="sent") == 5
    assert await look.value("alerter_deliveries_total", receiver="owner", outcome="failed") == 0
    assert await look.value("alerter_deliveries_total", receiver="support", outcome="failed") == 1
    assert await look.value("alerter_wix_calls_total", status="429") == 4
    assert await look.value("alerter_wix_calls_total", status="lost") == 1
    assert await look.value("alerter_webhooks_total", outcome="taken") == 6


async def test_alerts_are_counted_from_the_state_file_whatever_raised_them(look: Look) -> None:
    raise_alert(look.state, look.clock, "new:1")
    raise_alert(look.state, look.clock, "new:1")
    assert await look.value("alerter_alerts_total", kind="new") == 1
    raise_alert(look.state, look.clock, "new:2")
    raise_alert(look.state, look.clock, "closed:1", AlertKind.CLOSED)
    assert await look.value("alerter_alerts_total", kind="new") == 2
    assert await look.value("alerter_alerts_total", kind="closed") == 1


async def test_ages_are_those_of_the_oldest(look: Look) -> None:
    assert await look.value("alerter_oldest_pending_age_seconds") == 0
    assert await look.value("alerter_oldest_success_timestamp_seconds") == 0
    raise_alert(look.state, look.clock, "new:1")
    with look.state.transaction():
        known_sites.mark_poll_success(look.state, SITE, look.clock.now(), sees_private=True)
        known_sites.mark_poll_success(
            look.state,
            "a site of the past",
            look.clock.now() - timedelta(days=9),
            sees_private=True,
        )
    before = look.clock.now().timestamp()
    look.clock.advance(seconds=90)
    assert await look.value("alerter_oldest_pending_age_seconds") == 90
    assert await look.value("alerter_oldest_success_timestamp_seconds") == before


async def test_what_is_open_and_unsent_is_shown_as_it_is_now(look: Look) -> None:
    state, now = look.state, look.clock.now()
    raise_alert(state, look.clock, "new:1")
    raise_alert(state, look.clock, "new:2")
    state.execute("UPDATE deliveries SET destination = 'email:owner'")
    state.execute("UPDATE deliveries SET status = 'failed' WHERE alert = 1")
    state.execute_many(
        "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered,"
        " rejected, as_of, content) VALUES (:site, :id, 1, 1, :status, 0, 0, 0, 0, '{}')",
        [
            {"site": SITE, "id": "r1", "status": "open"},
            {"site": SITE, "id": "r2", "status": "closed"},
            {"site": "a site of the past", "id": "r1", "status": "open"},
        ],
    )
    with state.transaction():
        troubles.put_trouble(state, Trouble(f"site:{SITE}", now, "Wix refuses us: 403"))
        troubles.put_trouble(state, Trouble("site:other", now, "over", over_at=now))
    assert await look.value("alerter_open_reviews") == 1
    for status in ("pending", "failed"):
        unsent = {"receiver": "owner", "status": status}
        assert await look.value("alerter_unsent_deliveries", **unsent) == 1
    assert await look.value("alerter_unsent_deliveries", receiver="support", status="pending") == 0
    assert await look.value("alerter_open_troubles", kind="site") == 1
    assert await look.value("alerter_open_troubles", kind="service") == 0


async def test_writing_is_timed(look: Look) -> None:
    before = counts["transactions"]
    with look.state.transaction(), look.state.transaction():
        pass
    assert await look.value("alerter_transaction_seconds_count") == before + 1
    assert 0 < await look.value("alerter_transaction_seconds_sum") < 60


async def test_counts_are_shown_even_while_the_state_file_cannot_be_read(look: Look) -> None:
    look.state.execute("ALTER TABLE alerts RENAME TO others")
    found = await look.metrics()
    assert "alerter_rounds_total" in found
    assert "alerter_alerts_total" not in found


def rules(group: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    [found] = [each["rules"] for each in groups if each["name"] == group]
    return found


async def test_the_alert_rules_ask_for_what_is_there(look: Look) -> None:
    counts["wix_calls_403"] += 1
    found = await look.metrics()
    for rule in rules("alerter"):
        _looks_right(rule["expr"], found)


def test_each_alert_rule_has_a_name_and_says_what_to_do() -> None:
    found = [*rules("alerter"), *rules("alerter-cluster")]
    assert len({rule["alert"] for rule in found}) == len(found) > 5
    for rule in found:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")


def _looks_right(expression: str, found: dict[str, list[tuple[dict[str, str], float]]]) -> None:
    """Every series that an expression names is served, with the labels and the values that it asks
    for.
    """
    assert expression.count("(") == expression.count(")")
    named = re.findall(r"(alerter_\w+)(?:\{([^}]*)\})?", expression)
    assert named or "up" in expression
    for name, matchers in named:
        assert name in found, f"{expression}: there is no {name}"
        for label, operator, value in re.findall(r'(\w+)(=~?|!=)"([^"]*)"', matchers):
            there = [labels[label] for labels, _ in found[name]]
            assert operator == "!=" or any(re.fullmatch(value, each) for each in there), (
                f"{expression}: {label}"
            )


# --- the dashboard for Grafana


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana" / "alerter.json").read_text())
    return found


def expressions() -> list[str]:
    """What the panels ask for, as Prometheus stores it: the job is a label of its own."""
    return [
        re.sub(r'job="\$job"(, )?', "", target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


async def test_the_dashboard_asks_for_what_is_there_and_for_all_of_it(look: Look) -> None:
    counts["wix_calls_200"] += 1
    found = await look.metrics()
    asked = expressions()
    for expression in asked:
        if not any(name in expression for name in OF_A_CLUSTER):
            _looks_right(expression, found)
    shown = {name for name in found if not name.endswith("_created")}
    assert set(re.findall(r"alerter_\w+", " ".join(asked))) == shown | OF_A_CLUSTER.keys()


@pytest.mark.postgresql
async def test_the_dashboard_of_a_cluster_asks_for_what_is_there(look: Look) -> None:
    counts["wix_calls_200"] += 1
    found = await look.metrics()
    for expression in expressions():
        _looks_right(expression, found)


def test_each_panel_of_the_dashboard_has_its_place_and_says_what_it_shows() -> None:
    board = dashboard()
    assert {each["name"] for each in board["templating"]["list"]} == {"datasource", "job"}
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["description"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


# --- a worker of a cluster


@pytest.mark.postgresql
async def test_a_worker_says_why_it_does_none_of_the_work(look: Look) -> None:
    look.finished.clear()
    look.clock.advance(hours=1)
    assert await look.health() == (200, {"ok": True, "reasons": [], "troubles": []})
    look.faults.append("this worker has not reported itself for 60 s")
    status, report = await look.health()
    assert (status, report["reasons"]) == (503, ["this worker has not reported itself for 60 s"])


@pytest.mark.postgresql
async def test_metrics_show_the_workers_and_what_waits_for_them(look: Look) -> None:
    state, now = look.state, server_time(look.state)
    register_config(state, "older", "{}", now, is_asked=True)
    register_config(state, "newer", "{}", now, is_asked=True)
    for name, config in (("a", 1), ("b", 2), ("c", 2)):
        put_worker(state, WorkerProcess(name, "host", 1, "3.0", config, now, now))
    defer_deliveries(state, {"email:owner": "smtp"})
    known_sites.mark_poll_success(state, SITE, now, sees_private=True)
    state.execute("UPDATE sites SET shard = 1, next_round = ?", [to_ms(now) - 90_000])
    found = await look.metrics()
    assert {name: set(found[name][0][0]) for name in found.keys() - SERIES.keys()} == OF_A_CLUSTER
    assert await look.value("alerter_workers", config="newest") == 2
    assert await look.value("alerter_workers", config="older") == 1
    assert await look.value("alerter_jobs_waiting", queue="deliver") == 1
    assert await look.value("alerter_jobs_waiting", queue="rounds") == 0
    assert 90 <= await look.value("alerter_oldest_due_round_age_seconds") < 90 + HANG


@pytest.mark.postgresql
async def test_the_alert_rules_of_a_cluster_ask_for_what_is_there(look: Look) -> None:
    found = await look.metrics()
    for rule in rules("alerter-cluster"):
        _looks_right(rule["expr"], found)


@pytest.mark.postgresql
async def test_an_alert_that_is_committed_late_is_counted(look: Look) -> None:
    with State.open(look.state.database, migrate=False) as other, other.transaction():
        raise_alert(other, look.clock, "new:1")
        raise_alert(look.state, look.clock, "new:2")
        assert await look.value("alerter_alerts_total", kind="new") == 1
    assert await look.value("alerter_alerts_total", kind="new") == 2
    look.clock.advance(minutes=3)
    for _ in range(2):
        assert await look.value("alerter_alerts_total", kind="new") == 2
