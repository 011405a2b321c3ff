"""The log: readable by people, the journal and machines, and silent about what is nobody's
business.
"""

import json
import logging
import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from alerter.demo.faults import Fault
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_webhooks import Webhooks, free_port
from tests.support.process import Spawn, ended, listening, spawn
from tests.support.values import OWNER, SECRETS, SITE
from tests.support.waiting import HANG, until

__all__ = ["spawn"]

PING = "ping-2f7e"
WORDS = "Words for the owner only"
AUTHOR = "Robin Nobody"
PRIVATE = {
    "content": {"rating": 1, "title": WORDS, "body": WORDS},
    "author": {"authorName": AUTHOR},
}
ASIDE = """
import logging, os, sys, warnings
from alerter.logs import log_to_stderr
log_to_stderr(logging.getLevelNamesMapping()[sys.argv[1]], os.environ, form=sys.argv[2])
log = logging.getLogger("alerter.somewhere")
log.debug("a detail")
log.info('site "%s": Zoë ★ is here', "Café")
logging.getLogger("somebody.else").warning("from elsewhere\\u2028in two lines\\nor three")
warnings.warn("an old way", DeprecationWarning, stacklevel=1)
logging.getLogger("httpx").info("GET https://example.com/?secret")
try:
    raise ValueError("what went wrong")
except ValueError:
    log.exception("a fault")
"""


def logged(level: str, form: str, **environ: str) -> str:
    """What a process writes that logs this and that."""
    command = [sys.executable, "-W", "always", "-c", ASIDE, level, form]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | environ, timeout=HANG
    )
    return done.stderr


def test_text_has_the_time_the_level_and_the_words() -> None:
    lines = logged("INFO", "text").splitlines()
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} INFO site \"Café\": Zoë ★ is here", lines[0]
    )
    assert lines[-1] == "ValueError: what went wrong"
    assert not any("a detail" in line or "secret" in line for line in lines)


def test_json_is_one_object_a_line_an_exception_and_third_parties_too() -> None:
    lines = logged("DEBUG", "json").split("\n")
    assert lines.pop() == ""
    told = [json.loads(line) for line in lines]
    assert [(each["level"], each["logger"]) for each in told] == [
        ("debug", "alerter.somewhere"),
        ("info", "alerter.somewhere"),
        ("warning", "somebody.else"),
        ("warning", "py.warnings"),
        ("error", "alerter.somewhere"),
    ]
    assert told[1]["message"] == 'site "Café": Zoë ★ is here'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told[1]["time"])
    assert told[4]["message"] == "a fault"
    assert told[4]["exception"].startswith("Traceback")
    assert "ValueError: what went wrong" in told[4]["exception"]
    assert logged("INFO", "json").isascii()


def test_levels_leave_out_what_is_below_them() -> None:
    assert logged("ERROR", "text").splitlines()[0].endswith("ERROR a fault")


def test_the_journal_gets_each_line_with_its_priority_and_without_a_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        found = os.fstat(theirs.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        command = [sys.executable, "-W", "always", "-c", ASIDE, "DEBUG", "text"]
        environ = os.environ | {"JOURNAL_STREAM": stream}
        subprocess.run(command, stderr=theirs, check=True, env=environ, timeout=HANG)
        lines = ours.recv(65536).decode().splitlines()
    assert lines[0] == "<7>a detail"
    assert lines[1] == '<6>site "Café": Zoë ★ is here'
    assert "<3>ValueError: what went wrong" in lines
    assert all(re.match("<[3467]>", line) for line in lines)


def test_a_log_that_leads_elsewhere_is_not_written_for_the_journal() -> None:
    assert "<6>" not in logged("INFO", "text", JOURNAL_STREAM="1:2")


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def signer() -> Webhooks:
    return Webhooks("")


@pytest.fixture
def path(
    write_config: Callable[..., Path],
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    port: int,
    signer: Webhooks,
) -> Path:
    extra = f"""
[poll]
every = "1s"
{listening(port, signer)}
[heartbeat]
url = "env:PING"
"""
    return write_config(wix, slack, mailbox, extra=extra)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["text", "json"])
async def test_whatever_fails_the_log_holds_no_words_no_address_and_no_secret(
    spawn: Spawn,
    wix: EmbeddedWix,
    slack: EmbeddedSlack,
    mailbox: Mailbox,
    signer: Webhooks,
    path: Path,
    port: int,
    form: str,
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/{PING}"
    process = await spawn("run", "--log-format", form, PING=nobody)
    await until(lambda: len(wix.queries()) >= 2)
    # The services repeat to us what we sent them, as services do.
    slack.faults.always("chat.postMessage", Fault(body='{"ok": false, "error": "invalid_auth"}'))
    mailbox.refuse[OWNER] = f"550 5.1.1 <{OWNER}>: no such user"
    wix.add(SITE, PRIVATE)
    await until(lambda: len(slack.requests) > 0 and mailbox.sessions > 0)
    echo = json.dumps({"message": f"bad key {SECRETS['WIX_API_KEY']}"})
    wix.faults.always("/query", Fault(status=403, body=echo))
    await until(lambda: 403 in [query.status for query in wix.queries()])
    async with aiohttp.ClientSession() as http:
        review = PRIVATE | {"id": "r1"}
        event = signer.event("created", review)
        unreadable = signer.event("created", {"id": "r2", "content": {"title": WORDS}})
        data = [
            signer.envelope("wix.reviews.v1.review_created", event, None, SITE),
            signer.envelope("wix.reviews.v1.review_created", event, None, "of somebody else"),
            signer.envelope("wix.reviews.v1.review_created", unreadable, None, SITE),
        ]
        url = f"http://127.0.0.1:{port}/webhooks/wix"
        answers = [(await http.post(url, data=signer.sign(each))).status for each in data]
        answers.append((await http.post(url, data=WORDS)).status)
        with closing(sqlite3.connect(path.parent / "state.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answers.append((await http.post(url, data=signer.sign(data[0]))).status)
            other.execute("ROLLBACK")
        await until(lambda: [query.status for query in wix.queries()].count(403) >= 4)
    process.terminate()
    code, out = await ended(process)
    assert (code, answers) == (0, [200, 200, 200, 401, 503])
    private = [WORDS, AUTHOR, OWNER, "alerts@example.com", PING, *SECRETS.values()]
    assert [each for each in private if each in out] == [], out
    assert "Traceback" not in out
    lines = out.strip().split("\n")
    for expected in (
        "heartbeat failed",
        "a webhook was refused",
        "poll failed",
        "webhooks cannot be recorded",
    ):
        assert len([line for line in lines if expected in line]) == 1, f"{expected}: {out}"
    if form == "json":
        assert all(json.loads(line)["message"] for line in lines)


@pytest.mark.slow
async def test_an_idle_round_is_logged_at_debug_only(
    write_config: Callable[..., Path], spawn: Spawn, wix: EmbeddedWix
) -> None:
    process = await spawn("run", "--log-level", "debug", PING="http://127.0.0.1:9/")
    await until(lambda: len(wix.queries()) >= 4)
    process.terminate()
    _, out = await ended(process)
    assert len(re.findall('DEBUG site "Corner Bakery": read', out)) >= 2
    assert not any(secret in out for secret in SECRETS.values())


def test_the_levels_are_those_that_logging_knows() -> None:
    from alerter.logs import LEVELS

    assert {level.upper() for level in LEVELS} < set(logging.getLevelNamesMapping())


async def test_what_ends_the_daemon_is_a_line_of_json_too(path: Path, spawn: Spawn) -> None:
    path.write_text(
        path.read_text().replace('"C0123456789"', '"#reviews"').replace("timezone", "timezon")
    )
    code, out = await ended(await spawn("run", "--log-format", "json", "--log-level", "error"))
    told = [json.loads(line) for line in out.splitlines()]
    assert code == 2
    assert {each["level"] for each in told} == {"critical"}
    assert told[0]["message"].endswith("faults in the config:")


def test_what_ends_a_command_reaches_the_journal_with_its_priority(tmp_path: Path) -> None:
    with (tmp_path / "journal").open("w") as journal:
        stream = f"{os.fstat(journal.fileno()).st_dev}:{os.fstat(journal.fileno()).st_ino}"
        command = [sys.executable, "-m", "alerter", "run", "--config", tmp_path / "none.toml"]
        environ = os.environ | {"JOURNAL_STREAM": stream}
        done = subprocess.run(command, stderr=journal, check=False, env=environ, timeout=HANG)
    assert done.returncode == 2
    assert {line[:3] for line in (tmp_path / "journal").read_text().splitlines()} == {"<2>"}
