"""`alerter replay`: what it prints, and what it refuses."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from alerter.cli import main
from alerter.clock import Clock
from alerter.demo.wix import EmbeddedWix
from alerter.models import to_ms
from alerter.store import State
from tests.support.answering import MAIL_ONLY, OTHER, TWO, Run, alerted, alerter, load, path, watch
from tests.support.values import SECRETS, SITE

__all__ = ["alerter", "path"]


@pytest.fixture
def other(path: Path) -> Callable[..., Path]:
    """A copy of the config with something else in it."""

    def write(old: str, new: str, name: str = "new.toml") -> Path:
        text = path.read_text()
        assert old in text
        return written(path.with_name(name), text.replace(old, new))

    return write


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


async def replayed(path: Path, *args: str) -> Result:
    command = ["replay", "--config", str(path), *(args or ("--since", "2d"))]
    return await asyncio.to_thread(CliRunner().invoke, main, command, env=SECRETS)


async def test_the_config_in_force_changes_nothing(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1-and-more", "r2")
    wix.reply(SITE, "r2", "Sorry!")
    await watch(path)

    result = await alerter("replay", "--since", "today")
    assert result.exit_code == 0, result.output
    first, second, *notes = result.stdout.splitlines()
    mark, at, *rest = first.split("\t")
    assert (mark, rest) == (" ", ["new", "1 star", "r1-and-m", "Corner Bakery", "owner (email)"])
    assert at.endswith((" CET", " CEST"))
    assert second.split("\t")[4] == "r2"
    assert notes[-1] == "2 alerts, all as on record: this config changes nothing."
    assert notes[0].startswith("From ")
    assert len(notes) == 2
    assert "\x1b" not in result.stdout


async def test_a_changed_receiver_is_shown_beside_what_was(
    alerter: Run, path: Path, wix: EmbeddedWix, other: Callable[..., Path]
) -> None:
    await alerted(path, wix, "r1")
    more = MAIL_ONLY + '[[receivers]]\nname = "manager"\nemail = ["m@example.com"]\n'

    result = await replayed(other(MAIL_ONLY, more))
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
    assert [(line[0], line[-1]) for line in lines] == [
        ("-", "owner (email)"),
        ("+", "manager (email), owner (email)"),
    ]
    assert "0 alerts as on record; this config adds 1 (+) and takes away 1 (-)." in result.stdout
    assert "This config is not the one in force." in result.stdout
    with State.read(load(path).database) as state:
        assert state.value("SELECT count(*) FROM configs") == 1


async def test_all_that_a_removed_site_alerted_is_taken_away(
    path: Path, wix: EmbeddedWix, other: Callable[..., Path]
) -> None:
    wix.add_site(OTHER, api_key=SECRETS["WIX_API_KEY"])
    path.write_text(path.read_text() + TWO)
    await alerted(path, wix, "r1")

    result = await replayed(other(SITE, "33333333-3333-4333-8333-333333333333"))
    assert result.exit_code == 0, result.output
    [line] = [line.split("\t") for line in result.stdout.splitlines() if "\t" in line]
    assert (line[0], *line[4:]) == ("-", "r1", "Corner Bakery", "owner (email)")


async def test_no_call_is_made(alerter: Run, path: Path, wix: EmbeddedWix) -> None:
    await alerted(path, wix, "r1")
    calls = len(wix.requests)
    await alerter("replay", "--since", "1d")
    assert len(wix.requests) == calls


async def test_what_a_higher_threshold_would_alert_is_said_to_be_unknown(
    path: Path, wix: EmbeddedWix, other: Callable[..., Path]
) -> None:
    await alerted(path, wix, "r1")
    higher = other("[wix]", "[alerts]\nthreshold = 4\n\n[wix]")

    result = await replayed(higher)
    assert "Reviews rated above 2 were not read by the config in force (1 site)" in result.stdout
    assert "`alerter backfill --dry-run`" in result.stdout

    await asyncio.to_thread(path.write_text, higher.read_text())
    await watch(path)
    result = await replayed(path)
    assert "Reviews rated above 2 were not read until 20" in result.stdout
    assert "This config is in force since 20" in result.stdout


async def test_reviews_that_only_topics_would_alert_are_said_to_be_unknown(
    path: Path, wix: EmbeddedWix, other: Callable[..., Path]
) -> None:
    await alerted(path, wix, "r1")

    result = await replayed(other("[wix]", "[alerts]\ntopics_up_to = 3\n\n[wix]"))
    assert "Reviews rated above 2 were not read by the config in force (1 site)" in result.stdout
    assert "Words of" not in result.stdout


async def test_it_says_from_when_on_the_record_is_complete(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    now = Clock().now()
    with State.open(load(path).database, migrate=False) as state:
        state.execute("UPDATE configs SET added_at = ?", [to_ms(now - timedelta(days=90))])
        state.execute(
            "UPDATE reviews SET pruned_at = ?, as_of = ?, alerted_at = ?",
            [to_ms(now), *[to_ms(now - timedelta(days=30))] * 2],
        )

    result = await alerter("replay", "--since", "60d")
    assert ": earlier reviews were pruned after `state.keep`." in result.stdout.replace(" on:", ":")
    result = await alerter("replay", "--since", "7d")
    assert "Complete" not in result.stdout


async def test_nothing_is_shown_from_before_states_were_kept(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    with State.open(load(path).database, migrate=False) as state:
        state.execute("UPDATE configs SET added_at = ?", [to_ms(Clock().now())])
        state.execute("UPDATE judgements SET source = 'record'")

    result = await alerter("replay", "--since", "30d")
    assert result.stdout.splitlines()[0].startswith("From ")
    assert "0 alerts, all as on record" in result.stdout


@pytest.mark.sqlite
async def test_a_config_with_another_state_is_a_fault(
    path: Path, wix: EmbeddedWix, other: Callable[..., Path]
) -> None:
    await alerted(path, wix, "r1")

    result = await replayed(other('"state.db"', '"other.db"'))
    assert result.exit_code == 2
    assert "there is none at" in result.stderr
    assert "has to name the state of the config in force" in result.stderr
    result = await replayed(other(SITE, OTHER))
    assert result.exit_code == 2
    assert "has none of the sites of this config" in result.stderr


@pytest.mark.parametrize(
    ("since", "said"),
    [("soon", "is not a day such as"), ("2999-01-01", "is in the future"), ("-1d", "is not a day")],
)
async def test_a_wrong_date_is_a_wrong_usage(
    alerter: Run, path: Path, wix: EmbeddedWix, since: str, said: str
) -> None:
    await watch(path)
    result = await alerter("replay", f"--since={since}")
    assert (result.exit_code, said in result.stderr) == (2, True), result.output


async def test_a_faulty_config_is_refused_with_all_its_faults(
    path: Path, other: Callable[..., Path]
) -> None:
    result = await replayed(other("[wix]", "[alerts]\nthreshold = 9\nburts = 1\n\n[wix]"))
    assert result.exit_code == 2
    assert "alerts.threshold" in result.stderr
    assert "did you mean burst?" in result.stderr
    assert "Traceback" not in result.output
