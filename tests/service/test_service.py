"""The service as systemd has it: a real process and a real socket; ready, alive, reloaded,
stopped.
"""

import asyncio
import logging
import os
import re
import signal
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks, free_port
from alerter.service.daemon import serve
from alerter.service.embedded import Scheduler
from alerter.service.host import Host, report_status
from alerter.service.reload import Reload
from alerter.service.runtime import Runtime, open_runtime
from alerter.service.systemd import notify
from alerter.store import Holder, State, lock_of, outbox, troubles
from tests.support.clock import SetClock
from tests.support.forked import Process, start_alerter
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG, until

STALE = {"content": {"rating": 1, "title": "Stale"}}
OTHER = "22222222-2222-4222-8222-222222222222"
CAFE = f"""
[[sites]]
name = "Café"
site_id = "{OTHER}"
api_key = "env:WIX_API_KEY"
[[receivers]]
name = "barista"
email = ["barista@example.com"]
"""


@dataclass
class Systemd:
    """What systemd hears on its socket."""

    address: str
    told: list[str] = field(default_factory=list)

    def heard(self, state: str) -> int:
        return sum(state in states.splitlines() for states in self.told)

    def status(self) -> str:
        return [
            line
            for states in self.told
            for line in states.splitlines()
            if line.startswith("STATUS=")
        ][-1]


@pytest.fixture
async def systemd(tmp_path: Path) -> AsyncIterator[Systemd]:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        found = Systemd(str(tmp_path / "notify"))
        sock.bind(found.address)
        sock.setblocking(False)
        loop.add_reader(sock, lambda: found.told.append(sock.recv(4096).decode()))
        yield found
        loop.remove_reader(sock)


@dataclass
class Daemon:
    process: Process
    path: Path
    log: Path

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def logged(self, text: str) -> bool:
        return text in self.log.read_text()


@pytest.fixture
def path(
    write_config: Callable[..., Path], wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> Path:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    path = write_config(wix, slack, mailbox, extra='[poll]\nevery = "1s"')
    path.write_text('include = "sites.d/*.toml"\n' + path.read_text())
    (path.parent / "sites.d").mkdir()
    return path


@asynccontextmanager
async def running(path: Path, systemd: Systemd, **environ: str) -> AsyncIterator[Daemon]:
    """The daemon, from its start to its clean end."""
    log = path.parent / "daemon.log"
    environment = os.environ | SECRETS | {"NOTIFY_SOCKET": systemd.address} | environ
    with log.open("ab") as out:
        process = await start_alerter("run", "--config", str(path), environ=environment, out=out)
    try:
        yield Daemon(process, path, log)
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(HANG):
            assert await process.wait() == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "Traceback" not in log.read_text()
    assert not [secret for secret in SECRETS.values() if secret in log.read_text()]


@pytest.mark.slow
async def test_systemd_is_notified_of_ready_status_watchdog_and_stopping(
    path: Path, systemd: Systemd, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    async with running(path, systemd, WATCHDOG_USEC="200000"):
        await until(lambda: systemd.heard("WATCHDOG=1") >= 3)
        assert systemd.told[0].splitlines() == [
            "READY=1",
            "STATUS=watching 1 site, 0 deliveries waiting",
        ]
        await until(lambda: len(wix.queries()) >= 2)
        slack.faults.always("chat.postMessage", Fault(status=503))
        wix.add(SITE, STALE)
        await until(lambda: systemd.status() == "STATUS=watching 1 site, 1 delivery waiting")
        assert not systemd.heard("STOPPING=1")
    await until(lambda: systemd.heard("STOPPING=1"))
    assert systemd.heard("READY=1") == 1


@pytest.mark.slow
async def test_an_outage_of_wix_is_no_reason_to_be_restarted(
    path: Path, systemd: Systemd, wix: EmbeddedWix
) -> None:
    wix.faults.always("/query", Fault(status=503))
    async with running(path, systemd, WATCHDOG_USEC="200000") as daemon:
        await until(lambda: len(wix.queries()) >= 3)
        heard = systemd.heard("WATCHDOG=1")
        await until(lambda: systemd.heard("WATCHDOG=1") >= heard + 3)
    assert len(re.findall("poll failed", daemon.log.read_text())) == 1


@pytest.mark.slow
async def test_a_watchdog_that_is_meant_for_another_process_is_not_notified(
    path: Path, systemd: Systemd, wix: EmbeddedWix
) -> None:
    async with running(path, systemd, WATCHDOG_USEC="200000", WATCHDOG_PID="1"):
        await until(lambda: len(wix.queries()) >= 2)
    assert not systemd.heard("WATCHDOG=1")


@pytest.mark.slow
async def test_a_daemon_that_waits_for_a_backfill_takes_a_reload_for_later(
    path: Path, systemd: Systemd, wix: EmbeddedWix
) -> None:
    with lock_of(path.parent / "state.db") as lock:
        lock.acquire(Holder.BACKFILL)
        async with running(path, systemd, WATCHDOG_USEC="60000000") as daemon:
            await until(lambda: systemd.heard("WATCHDOG=1") >= 2)
            daemon.reload()
            await until(lambda: systemd.heard("WATCHDOG=1") >= 3)
            lock.release()
            await until(lambda: systemd.heard("RELOADING=1") and len(wix.queries()) >= 1)


async def signs_of_life(
    rounds: Scheduler, runtime: Runtime, clock: SetClock, systemd: Systemd
) -> int:
    """How many signs of life three reports give to a watchdog with a short patience."""
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "20000"}
    systemd.told.clear()
    host = Host(clock, environ, asyncio.Event(), Reload(asyncio.Event(), None))
    reporting = asyncio.create_task(report_status(host, runtime, rounds))
    await until(lambda: len(systemd.told) >= 3)
    reporting.cancel()
    notify(environ, "X_END=1")  # whatever was sent before has been heard, too, once this is
    await until(lambda: systemd.heard("X_END=1"))
    return systemd.heard("WATCHDOG=1")


async def test_a_scheduler_that_is_stuck_is_a_reason_to_be_restarted(
    config: Config,
    state: State,
    clock: SetClock,
    systemd: Systemd,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        rounds = Scheduler(runtime)
        assert await signs_of_life(rounds, runtime, clock, systemd) >= 3
        clock.advance(seconds=rounds.patience + 1)
        assert await signs_of_life(rounds, runtime, clock, systemd) == 0
        assert caplog.text.count("systemd will restart alerter") == 1
        await rounds._round(config.sites[0])
        assert await signs_of_life(rounds, runtime, clock, systemd) >= 3


async def test_a_round_that_gets_a_page_further_is_alive_however_long_it_takes(
    config: Config, state: State, clock: SetClock, wix: EmbeddedWix
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        rounds = Scheduler(runtime)
        clock.advance(seconds=rounds.patience + 1)
        assert rounds.idle_for() > rounds.patience
        wix.add(SITE, STALE)
        await runtime.poller.round(config.sites[0])
        assert rounds.idle_for() == 0


# Reload


@pytest.mark.slow
async def test_a_reload_adds_a_customer_and_loses_and_repeats_nothing(
    path: Path, systemd: Systemd, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    """The past of the new customer stays quiet."""
    wix.add(OTHER, {"content": {"rating": 1, "title": "Old"}})
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        # One message is taken and its answer lost, the next one waits behind it.
        slack.faults.add("chat.postMessage", Fault(drop="after"))
        wix.add(SITE, {"content": {"rating": 1, "title": "First"}})
        await until(lambda: slack.posts)
        wix.add(SITE, {"content": {"rating": 1, "title": "Second"}})
        await until(lambda: len(mailbox.mails) == 2)
        (path.parent / "sites.d" / "cafe.toml").write_text(CAFE)
        daemon.reload()
        await until(lambda: daemon.logged("running: 2 sites, 3 receivers"))
        await until(lambda: len(slack.posts) == 2)
        with State.open(path.parent / "state.db", migrate=False) as state:
            await until(
                lambda: state.value("SELECT covered_rating FROM sites WHERE site_id = ?", [OTHER])
            )
        wix.add(OTHER, {"content": {"rating": 1, "title": "Cold coffee"}})
        await until(
            lambda: any(mail.recipients == ("barista@example.com",) for mail in mailbox.mails)
        )
        await until(lambda: len(slack.posts) == 3)
    assert [
        mail.text.count("Cold coffee") > 0
        for mail in mailbox.mails
        if "barista" in mail.recipients[0]
    ] == [True]
    assert not [post for post in slack.posts if "Old" in post.text]
    assert len({str(post.metadata) for post in slack.posts}) == 3
    reloading = next(states for states in systemd.told if "RELOADING=1" in states)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d{7,}", reloading)
    assert systemd.heard("READY=1") == 2


@pytest.mark.slow
async def test_one_fault_keeps_the_whole_old_config_until_a_reload_works(
    path: Path, systemd: Systemd, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    good = path.read_text()
    cafe = path.parent / "sites.d" / "cafe.toml"
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        path.write_text(good.replace('name = "owner"', 'name = "renamed"'))
        cafe.write_text(CAFE.replace("[[receivers]]", "max_ratting = 1\n[[receivers]]"))
        daemon.reload()
        await until(lambda: daemon.logged("the old one stays in force"))
        assert daemon.logged("sites.1.max_ratting: is not a known key")
        await until(lambda: len(slack.posts) == len(mailbox.mails) == 1)
        assert mailbox.mails[0].subject == "⚠️ The changed config is not in force"
        assert "sites.d/cafe.toml" in mailbox.mails[0].text
        await until(lambda: systemd.heard("READY=1") == 2)
        daemon.reload()  # nobody is told again
        await until(lambda: systemd.heard("READY=1") == 3)
        wix.add(SITE, STALE)
        await until(lambda: len(slack.posts) == len(mailbox.mails) == 2)
        assert not [query for query in wix.queries() if query.headers.get("wix-site-id") == OTHER]

        path.write_text(good)
        cafe.write_text(CAFE)
        daemon.reload()
        await until(lambda: len(slack.posts) == len(mailbox.mails) == 3)
    assert mailbox.mails[2].subject.startswith("🟢 The changed config is in force, after ")
    assert systemd.heard("RELOADING=1") == 3


@pytest.mark.slow
async def test_a_reload_while_the_state_file_is_locked_is_made_once_it_is_free(
    path: Path, systemd: Systemd, wix: EmbeddedWix
) -> None:
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        (path.parent / "sites.d" / "cafe.toml").write_text(CAFE)
        with closing(sqlite3.connect(path.parent / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            daemon.reload()
            await until(lambda: daemon.logged("the changed config comes into force later"))
        await until(lambda: daemon.logged("running: 2 sites, 3 receivers"))
    assert daemon.log.read_text().count("comes into force later") == 1


@pytest.mark.slow
async def test_a_reload_names_what_needs_a_restart_and_takes_over_the_rest(
    path: Path, systemd: Systemd, wix: EmbeddedWix, mailbox: Mailbox
) -> None:
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        text = (
            path.read_text()
            .replace('"state.db"', '"other.db"')
            .replace(f'"{mailbox.host}"', '"127.0.0.2"')
        )
        path.write_text(text.replace('password = "env:SMTP_PASSWORD"', 'password = "env:OTHER"'))
        (path.parent / "sites.d" / "cafe.toml").write_text(CAFE)
        daemon.reload()
        await until(lambda: daemon.logged("the changed config"))
        assert daemon.logged("smtp.password: the environment variable OTHER is not set")
        path.write_text(text)
        daemon.reload()
        await until(lambda: daemon.logged("running: 2 sites"))
        assert daemon.logged("state has changed in the config: it needs a restart")
        assert daemon.logged("smtp has changed in the config: it needs a restart")
        await until(lambda: any("🟢" in mail.subject for mail in mailbox.mails))
    assert not (path.parent / "other.db").exists()


@pytest.mark.slow
async def test_a_reload_waits_for_the_message_in_hand_and_not_for_ever(
    path: Path, systemd: Systemd, wix: EmbeddedWix, slack: EmbeddedSlack
) -> None:
    async with running(path, systemd, WATCHDOG_USEC="1000000") as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        slack.faults.add("chat.postMessage", Fault(delay=10 * HANG))
        wix.add(SITE, STALE)
        await until(lambda: slack.requests)
        daemon.reload()
        await until(lambda: systemd.heard("READY=1") == 2)
        begun, ended = (
            [number for number, states in enumerate(systemd.told) if state in states.splitlines()][
                -1
            ]
            for state in ("RELOADING=1", "READY=1")
        )
        assert any("WATCHDOG=1" in states for states in systemd.told[begun:ended])
        await until(lambda: len(slack.posts) == 1)
    assert len(slack.posts) == 1


@pytest.mark.slow
async def test_a_stop_during_a_reload_waits_no_longer_than_the_reload(
    path: Path,
    systemd: Systemd,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In one loop with the daemon: then the signal cannot come later than it should."""
    caplog.set_level("INFO")
    config = load_config(path, SECRETS, secrets=True)
    environ = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "1000000"}
    serving = asyncio.create_task(serve(config, Clock(), environ, once=False, load=lambda: config))
    await until(lambda: len(wix.queries()) >= 2)
    slack.faults.add("chat.postMessage", Fault(delay=10 * HANG))
    wix.add(SITE, STALE)
    await until(lambda: slack.requests)
    signal.raise_signal(signal.SIGHUP)
    await until(lambda: "reloading" in caplog.text)
    heard = systemd.heard("WATCHDOG=1")
    await until(lambda: systemd.heard("WATCHDOG=1") >= heard + 8)
    signal.raise_signal(signal.SIGTERM)
    assert await asyncio.wait_for(serving, HANG)
    assert systemd.heard("READY=1") == 1
    # Two signs of life a second: of the eight seconds of grace about four were left.
    assert systemd.heard("WATCHDOG=1") - heard < 8 + 8 + 4


WEB = """
[web]
listen = "127.0.0.1:{port}"
[[apps]]
app_id = "an-app"
public_key = '''{key}'''
"""


@pytest.mark.slow
async def test_webhooks_that_come_in_while_it_reloads_are_alerted_once(
    path: Path, systemd: Systemd, wix: EmbeddedWix, slack: EmbeddedSlack, mailbox: Mailbox
) -> None:
    port = free_port()
    async with Webhooks(f"http://127.0.0.1:{port}/webhooks/wix", app_id="an-app") as webhooks:
        webhooks.watch(wix.sites[SITE], "an-instance")
        text = path.read_text().replace('every = "1s"', 'every = "1h"\n[alerts]\nburst = 1000')
        path.write_text(text + WEB.format(port=port, key=webhooks.public_key))
        async with running(path, systemd) as daemon:
            await until(lambda: daemon.logged("watching"))
            slack.faults.add("chat.postMessage", Fault(delay=1))  # the reload waits for this one
            titles = []
            while systemd.heard("READY=1") < 2:
                titles.append(f"Stale {len(titles):03}")
                wix.add(SITE, {"content": {"rating": 1, "title": titles[-1]}})
                if len(titles) == 3:
                    daemon.reload()
                await asyncio.sleep(0.4)
            await until(lambda: len(mailbox.mails) >= len(titles) <= len(slack.posts))
    for told in (
        [mail.subject for mail in mailbox.mails],
        [post.text.splitlines()[0] for post in slack.posts],
    ):
        assert sorted(re.findall(r"Stale \d+", " ".join(told))) == titles


@pytest.mark.slow
async def test_a_key_that_checks_no_signature_keeps_the_old_config_in_force(
    path: Path, systemd: Systemd, wix: EmbeddedWix
) -> None:
    good = path.read_text() + WEB.format(port=free_port(), key=Webhooks("").public_key)
    path.write_text(good)
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 2)
        key = re.sub(
            r"(KEY-----\n.{27})...", r"\1AAA", Webhooks("").public_key
        )  # what only looks like one
        path.write_text(
            re.sub(r"(?s)(public_key = ''').*?(''')", lambda found: found[1] + key + found[2], good)
        )
        daemon.reload()
        await until(
            lambda: daemon.logged("the changed config: apps.1.public_key: must be the app's public")
        )
        await until(lambda: systemd.heard("READY=1") == 2)
        heard = len(wix.queries())
        await until(lambda: len(wix.queries()) > heard)


# A site that is removed


@pytest.fixture
def cafe(path: Path) -> Iterator[Path]:
    file = path.parent / "sites.d" / "cafe.toml"
    file.write_text(CAFE.partition("[[receivers]]")[0])
    yield file
    file.unlink(missing_ok=True)


@pytest.mark.slow
async def test_of_a_removed_site_new_alerts_leave_and_its_trouble_ends(
    path: Path,
    cafe: Path,
    systemd: Systemd,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
) -> None:
    async with running(path, systemd) as daemon:
        await until(lambda: len(wix.queries()) >= 4)
        slack.faults.always("chat.postMessage", Fault(status=503))
        wix.add(OTHER, {"content": {"rating": 2, "title": "Cold coffee"}})
        await until(lambda: len(mailbox.mails) == 1)
        wix.sites[OTHER].refuse = 401
        await until(lambda: len(mailbox.mails) == 2)
        cafe.unlink()
        daemon.reload()
        await until(lambda: len(mailbox.mails) == 3)
        slack.faults.clear()
        await until(lambda: slack.posts)
        with State.open(path.parent / "state.db", migrate=False) as state:
            await until(
                lambda: (
                    not outbox.pending_count(state, ["email:owner", "slack:support"], Clock().now())
                )
            )
            assert not troubles.get_open_troubles(state)
    assert [mail.subject for mail in mailbox.mails[1:]] == [
        "⚠️ The reviews of Café cannot be read",
        "🟢 Café's reviews can be read again, after less than a minute",
    ]
    assert [post.text.splitlines()[0] for post in slack.posts] == [mailbox.mails[0].subject]
    assert "(Café)" in mailbox.mails[0].subject


async def test_a_round_logs_at_debug_and_each_alert_at_info(
    config: Config,
    state: State,
    clock: SetClock,
    wix: EmbeddedWix,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime(config, state, clock) as runtime:
        await runtime.poller.round(config.sites[0])
        caplog.clear()
        caplog.set_level(logging.DEBUG, "alerter")
        await runtime.poller.round(config.sites[0])
        stale = wix.add(SITE, STALE)
        await runtime.poller.round(config.sites[0])
        await runtime.poller.round(config.sites[0])
    ours = [record for record in caplog.records if record.name.startswith("alerter")]
    assert [(record.levelname, record.message) for record in ours] == [
        ("DEBUG", 'site "Corner Bakery": read; idle'),
        ("INFO", f'site "Corner Bakery": alert raised: kind=new stars=1 review={stale["id"]}'),
        ("DEBUG", 'site "Corner Bakery": read; 1 new'),
        ("DEBUG", 'site "Corner Bakery": read; idle'),
    ]
