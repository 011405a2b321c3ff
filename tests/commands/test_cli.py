"""What the command line accepts, prints and exits with."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from alerter import __version__
from alerter.cli import main
from alerter.clock import Clock
from alerter.models import Status, StoredReview
from alerter.store import State, known_sites, reviews, troubles
from alerter.store.troubles import Trouble
from tests.support.reviews import review
from tests.support.values import SITE
from tests.support.waiting import HANG

SECRETS = {"WIX_API_KEY": "wix-key-7f3a", "SLACK_BOT_TOKEN": "xoxb-token-91c2"}
CONFIG = f"""
state = "state.db"
timezone = "Europe/Berlin"
[[sites]]
name = "Corner Bakery"
site_id = "{SITE}"
api_key = "env:WIX_API_KEY"
[slack]
token = "env:SLACK_BOT_TOKEN"
[[receivers]]
name = "support"
slack = "C0123456789"
"""
PYTHON = [sys.executable, "-W", "error"]

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command in this process and a folder with a config; raise what is no AlerterError."""
    (tmp_path / "config.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    umask = os.umask(0o022)

    def run(*args: str, **environ: str | None) -> Result:
        return CliRunner(catch_exceptions=False).invoke(main, args, env=SECRETS | environ)

    yield run
    os.umask(umask)


def without_secrets() -> dict[str, None]:
    return dict.fromkeys(SECRETS)


def process(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYTHON, *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
        env=os.environ | environ,
    )


# Help


def test_help_names_every_command_and_leaves_what_is_heavy_alone() -> None:
    heavy = [
        "httpx",
        "pydantic",
        "aiohttp",
        "apscheduler",
        "slack_sdk",
        "sqlite_utils",
        "jinja2",
        "aiosmtplib",
        "asyncio",
    ]
    look = f"""
import sys
from alerter.cli import main
try:
    main(["--help"])
finally:
    print("loaded:", [name for name in {heavy} if name in sys.modules])
"""
    done = process("-c", look)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded: []\n")
    for command in (
        "run",
        "backfill",
        "check",
        "test",
        "status",
        "explain",
        "reply",
        "retry",
        "demo",
    ):
        assert f"\n  {command} " in done.stdout


def test_no_help_of_a_command_is_cut_at_80_columns(run: Run) -> None:
    lines = run("--help", COLUMNS="80").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(main.commands)
    groups = [name for name, each in main.commands.items() if isinstance(each, click.Group)]
    for name in groups:
        of_group = run(name, "--help", COLUMNS="80").stdout
        lines += of_group.partition("Commands:\n")[2].splitlines()
    cut = [line for line in lines if len(line) > 80 or line[-3:] == "..." or line[-1] != "."]
    assert (groups, cut) == (["templates", "service"], [])


def test_a_misspelt_command_is_answered_with_the_nearest_one(run: Run) -> None:
    result = run("stauts")
    assert result.exit_code == 2
    assert "Did you mean 'status'?" in result.stderr


def test_the_module_is_the_command(run: Run) -> None:
    done = process("-m", "alerter", "--version")
    assert (done.returncode, done.stdout) == (0, f"alerter, version {__version__}\n")


# Which config


def named(name: str) -> str:
    return CONFIG.replace("Corner Bakery", name)


def test_the_config_is_given_else_from_the_environment_else_in_this_folder(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "given.toml").write_text(named("Given"))
    (tmp_path / "environ.toml").write_text(named("Environ"))

    def site(*args: str, **environ: str) -> str:
        return str(json.loads(run("status", "--json", *args, **environ).stdout)["sites"][0]["name"])

    assert site("--config", "given.toml", ALERTER_CONFIG="environ.toml") == "Given"
    assert site(ALERTER_CONFIG="environ.toml") == "Environ"
    assert site(ALERTER_CONFIG="") == "Corner Bakery"
    assert site() == "Corner Bakery"


@pytest.mark.skipif(Path("/etc/alerter").exists(), reason="alerter is installed here")
def test_without_any_config_the_local_name_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").unlink()
    result = run("status")
    assert result.exit_code == 2
    assert "config.toml: there is no such config file" in result.stderr


def test_a_config_of_the_environment_that_is_not_there_is_not_passed_over(run: Run) -> None:
    result = run("status", ALERTER_CONFIG="none.toml")
    assert result.exit_code == 2
    assert "none.toml: there is no such config file" in result.stderr


# Exit code 2


def test_every_fault_of_a_config_is_printed_without_traceback_or_secret(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        CONFIG.replace('"C0123456789"', '"no channel"').replace("timezone", "timezon")
        + 'sites = ["Zoo"]\n'
    )
    done = process(
        "-m", "alerter", "run", "--config", str(path), WIX_API_KEY=SECRETS["WIX_API_KEY"]
    )
    assert done.returncode == 2
    assert done.stdout == ""
    first, *faults = done.stderr.splitlines()
    assert first == "alerter: 4 faults in the config:"
    assert [fault.split(":")[0] for fault in faults] == [
        "  slack.token",
        "  receivers.1.slack",
        "  timezon",
        "  receivers.1.sites.1",
    ]
    assert SECRETS["WIX_API_KEY"] not in done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["run"],
        ["run", "--once"],
        ["check"],
        ["test"],
        ["backfill", "--since", "2026-01-01"],
        ["backfill", "--since", "2026-01-01", "--dry-run"],
        ["reply", "r1", "--message", "Sorry!", "--yes"],
    ],
    ids=" ".join,
)
def test_a_command_that_calls_a_service_needs_every_variable(
    run: Run, tmp_path: Path, args: list[str]
) -> None:
    result = run(*args, **without_secrets())
    assert result.exit_code == 2
    assert "sites.1.api_key: the environment variable WIX_API_KEY is not set" in result.stderr
    assert "slack.token: the environment variable SLACK_BOT_TOKEN is not set" in result.stderr
    assert not list(tmp_path.glob("state.db*"))


BAD_ARGUMENTS = {
    "no day": (["--since", "tomorrow"], '--since: "tomorrow" is not a day such as 2026-01-31'),
    "no number of days": (["--since", "-3d"], '"-3d" is not a day'),
    "hours": (["--since", "12h"], '"12h" is not a day'),
    "days before all time": (["--since", "999999999d"], '"999999999d" is not a day'),
    "more days than fit": (["--since", "9999999999d"], '"9999999999d" is not a day'),
    "today before itself": (["--since", "today", "--until", "0d"], "a later day than --since"),
    "a day that is not": (["--since", "2026-02-30"], '"2026-02-30" is not a day'),
    "a time": (["--since", "2026-01-31T12:00"], '"2026-01-31T12:00" is not a day'),
    "before all time": (["--since", "0001-01-01"], '"0001-01-01" is not a day'),
    "no end": (["--since", "2026-01-01", "--until", "now"], '--until: "now" is not a day'),
    "the end first": (
        ["--since", "2026-01-02", "--until", "2026-01-01"],
        "--until: must be a later day than --since",
    ),
    "no span": (
        ["--since", "2026-01-02", "--until", "2026-01-02"],
        "must be a later day than --since",
    ),
    "an unknown site": (
        ["--since", "2026-01-01", "--site", "Zoo"],
        'no site "Zoo"; there are: Corner Bakery',
    ),
    "a misspelt site": (
        ["--since", "2026-01-01", "--site", "Corner Bakry"],
        'did you mean "Corner Bakery"?',
    ),
    "an unknown way": (
        ["--since", "2026-01-01", "--deliver", "all"],
        "'all' is not one of 'digest', 'each', 'none'",
    ),
    "no beginning": ([], "Missing option '--since'"),
}


@pytest.mark.parametrize(("args", "phrase"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS.keys())
def test_a_backfill_with_bad_options_is_refused(
    run: Run, tmp_path: Path, args: list[str], phrase: str
) -> None:
    result = run("backfill", *args)
    assert result.exit_code == 2
    assert phrase in result.stderr
    assert not list(tmp_path.glob("state.db*"))


def test_a_test_of_an_unknown_receiver_is_refused(run: Run) -> None:
    result = run("test", "nobody")
    assert result.exit_code == 2
    assert 'there is no receiver "nobody"; there are: support' in result.stderr


# Exit code 1


def make_state(path: Path) -> None:
    with State.open(path, migrate=True) as state:
        known_sites.mark_poll_success(state, SITE, Clock().now(), sees_private=True)


def make_corrupt(path: Path) -> None:
    make_state(path)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))


def make_newer(path: Path) -> None:
    make_state(path)
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute(
            "UPDATE _sqlite_migrations SET name = 'a_later_need' WHERE name = 'the_state_file'"
        )


def make_text(path: Path) -> None:
    path.write_text("Dear diary, " * 1000)


@pytest.mark.parametrize(
    ("make", "phrase"),
    [
        (make_corrupt, "malformed"),
        (make_newer, "was written by a newer alerter"),
        (make_text, "is not a state file"),
    ],
    ids=["corrupt", "newer", "no state file"],
)
@pytest.mark.parametrize(
    "args", [["status"], ["explain", "r1"], ["retry"], ["run", "--once"]], ids=" ".join
)
def test_a_state_file_that_cannot_be_used_is_reported(
    run: Run, tmp_path: Path, make: Callable[[Path], None], phrase: str, args: list[str]
) -> None:
    make(tmp_path / "state.db")
    before = (tmp_path / "state.db").read_bytes()
    result = run(*args)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"alerter: {tmp_path / 'state.db'}: ")
    assert phrase in result.stderr
    assert result.stdout == ""
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_state_file_that_cannot_be_opened_is_reported(run: Run, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(CONFIG.replace("state.db", "x" * 300))
    assert run("status").exit_code == 1


def test_retry_makes_no_state_file(run: Run, tmp_path: Path) -> None:
    result = run("retry", **without_secrets())
    assert result.exit_code == 1
    assert "there is no state file yet; `alerter run` creates it" in result.stderr
    assert not list(tmp_path.glob("state.db*"))


def test_a_demo_without_its_mail_server_says_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aiosmtpd", None)
    result = run("demo")
    assert result.exit_code == 1
    assert result.stderr == "alerter: the demo needs aiosmtpd: pip install aiosmtpd\n"


# status


def test_explain_needs_no_secret_and_no_state_file(run: Run, tmp_path: Path) -> None:
    result = run("explain", "r1", **without_secrets())
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout.startswith(
        "review r1 is not on record of Corner Bakery; possible reasons:\n"
    )
    assert not list(tmp_path.glob("state.db*"))


def test_explain_of_what_is_on_record_is_good(run: Run, tmp_path: Path) -> None:
    make_state(tmp_path / "state.db")
    with State.open(tmp_path / "state.db", migrate=False) as state, state.transaction():
        reviews.put_reviews(
            state, SITE, [StoredReview(review("r1"), Status.BASELINE)], Clock().now()
        )
    result = run("explain", "r1", "--site", "Corner Bakery", **without_secrets())
    assert result.exit_code == 0
    assert result.stdout.startswith("Corner Bakery: review r1\n")


@pytest.fixture
def many(tmp_path: Path) -> None:
    """Store twelve reviews whose ids begin with ab, one with _ and one with another letter."""
    ids = [*(f"ab{number:02}" for number in range(12)), "_b", "zz99"]
    make_state(tmp_path / "state.db")
    with State.open(tmp_path / "state.db", migrate=False) as state, state.transaction():
        stored = [StoredReview(review(each), Status.BASELINE) for each in ids]
        reviews.put_reviews(state, SITE, stored, Clock().now())


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(("given", "found"), [("ab07", "ab07"), ("z", "zz99"), ("_", "_b")])
def test_a_review_is_named_by_any_unique_beginning_of_its_id(
    run: Run, given: str, found: str
) -> None:
    explained = run("explain", given)
    assert explained.exit_code == 0
    assert explained.stdout.startswith(f"Corner Bakery: review {found}\n")
    assert run("preview", "new", "--review", given).exit_code == 0


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    "args", [["explain", "ab1"], ["preview", "--review", "ab1"]], ids=["explain", "preview"]
)
def test_a_beginning_of_several_ids_lists_them(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert '"ab1" is the beginning of several ids: ab10, ab11' in result.stderr


@pytest.mark.usefixtures("many")
def test_only_some_of_many_candidates_are_listed(run: Run) -> None:
    result = run("explain", "ab")
    assert result.exit_code == 2
    assert "ab00, ab01, ab02, ab03, ab04, ab05, ab06, ab07, ab08, ab09, …" in result.stderr


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize("args", [["explain", ""], ["preview", "--review", ""]], ids=" ".join)
def test_nothing_is_not_the_beginning_of_an_id(run: Run, args: list[str]) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert "an id cannot be empty" in result.stderr


def test_explain_of_an_unknown_site_is_a_usage_error(run: Run) -> None:
    result = run("explain", "r1", "--site", "Corner Bakry")
    assert result.exit_code == 2
    assert 'there is no site "Corner Bakry"; did you mean "Corner Bakery"?' in result.stderr


def test_status_needs_no_secret_and_no_state_file(run: Run, tmp_path: Path) -> None:
    result = run("status", **without_secrets())
    assert "Corner Bakery  never" in result.stdout
    assert result.exit_code == 1
    assert not list(tmp_path.glob("state.db*"))


def test_status_is_good_once_the_site_is_read(run: Run, tmp_path: Path) -> None:
    make_state(tmp_path / "state.db")
    result = run("status", "--json", **without_secrets())
    assert result.exit_code == 0
    assert json.loads(result.stdout)["sites"][0]["trouble"] is None


def test_status_of_trouble_is_1_for_machines_too(run: Run, tmp_path: Path) -> None:
    make_state(tmp_path / "state.db")
    with State.open(tmp_path / "state.db", migrate=False) as state, state.transaction():
        troubles.put_trouble(state, Trouble(f"site:{SITE}", Clock().now(), "Wix answered 401"))
    result = run("status", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["sites"][0]["trouble"] == "Wix answered 401"


# check --offline


def test_check_offline_checks_the_config_and_the_templates(run: Run, tmp_path: Path) -> None:
    result = run("check", "--offline")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok    config: 1 site, 1 receiver",
        f"ok    state: {tmp_path / 'state.db'}: the first start creates it",
        "ok    templates: every kind of message renders",
    ]


# A file of an owner, its content, and what is said of it. One run of `check` finds each of a group.
BROKEN = {
    "several": {
        "new.txt": ("one\n{{ nope }}", "template new.txt, line 2: 'nope' is undefined"),
        "closed.html": ("1\n2\n{% if %}", "template closed.html, line 3: Expected an expression"),
        "reminder.slack.json": ("{}", "template reminder.slack.json: must make a JSON list"),
        "digest.subject.txt": ("{{ 1 / 0 }}", "template digest.subject.txt, line 1: Zero"),
        "lowered.txt": ("{{ review.__class__.mro() }}", "template lowered.txt, line 1: access"),
        "summary.slack.json": ("[{]", "template summary.slack.json: does not make JSON"),
        "trouble.txt": ("caf\udce9", "template trouble.txt: is not UTF-8"),
    },
    "included": {"_review.txt": ("1\n2\n3\n4\n5\n6\n{{ nope }}", "_review.txt, line 7")},
    "syntax, included": {"_review.txt": ("1\n2\n3\n4\n5\n6\n{% if %}", "_review.txt, line 7")},
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN)
def test_check_names_file_and_line_of_an_owners_broken_template(
    run: Run, tmp_path: Path, files: dict[str, tuple[str, str]]
) -> None:
    (tmp_path / "mine").mkdir()
    for name, (content, _) in files.items():
        (tmp_path / "mine" / name).write_text(content, "utf-8", "surrogateescape")
    (tmp_path / "config.toml").write_text(f'templates = "mine"\n{CONFIG}')
    result = run("check", "--offline")
    assert result.exit_code == 1
    faults = [line for line in result.stdout.splitlines() if line.startswith("FAIL  templates: ")]
    for _, phrase in files.values():
        assert any(phrase in fault for fault in faults), phrase


def test_an_owners_template_that_works_is_good(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "new.txt").write_text("{{ review.stars }} {{ review.body }}")
    (tmp_path / "config.toml").write_text(f'templates = "mine"\n{CONFIG}')
    assert run("check", "--offline").exit_code == 0
