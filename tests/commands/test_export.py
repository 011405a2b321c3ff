"""`alerter export`: one line a review, for spreadsheets and programs."""

import csv
import io
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.clock import Clock
from alerter.commands.export import COLUMNS
from alerter.demo.wix import EmbeddedWix
from alerter.demo.wix_reviews import stamp
from alerter.models import to_ms
from alerter.store import State
from tests.support.answering import OTHER, Run, alerted, alerter, load, path, put, watch
from tests.support.values import SECRETS, SITE
from tests.support.waiting import HANG

__all__ = ["alerter", "path"]

FORMULA = '=HYPERLINK("https://evil.example","x")'


async def rows(alerter: Run, form: str, *args: str) -> list[dict[str, Any]]:
    result = await alerter("export", "--format", form, *args)
    assert result.exit_code == 0, result.output
    text = result.stdout_bytes.decode()
    if form == "csv":
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


async def test_each_review_is_a_line_with_its_alerts_and_answer(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    put(wix, "r0")
    await alerted(path, wix, "r1", "r2")
    reply = await alerter("reply", "r1", "--message", "Sorry!", "--yes")
    assert reply.exit_code == 0, reply.output
    wix.reply(SITE, "r2", "From the dashboard")
    await watch(path)

    baseline, ours, theirs = await rows(alerter, "json")
    assert [each["review_id"] for each in (baseline, ours, theirs)] == ["r0", "r1", "r2"]
    assert list(ours) == list(COLUMNS)
    assert (baseline["status"], baseline["alerts"], baseline["alerted_at"]) == ("baseline", 0, None)
    assert baseline["answered"] is False
    assert baseline["seconds_to_answer"] is None
    assert (
        ours
        | {
            "site": "Corner Bakery",
            "rating": 1,
            "title": "Title of r1",
            "body": "Hard as stone.\nNever again.",
            "status": "closed",
            "closing": "answered",
            "alerts": 1,
            "reminders": 0,
            "answered": True,
        }
        == ours
    )
    assert ours["answered_by"]
    assert 0 <= ours["seconds_to_answer"] < HANG
    assert ours["created_at"] <= ours["answered_at"]
    assert (theirs["answered"], theirs["answered_by"]) == (True, "")
    assert theirs["seconds_to_answer"] is not None

    wix.reply(SITE, "r1", "A better one, from the dashboard")
    await watch(path)
    sheet = await rows(alerter, "csv")
    assert sheet[1]["answered_by"] == ""
    assert [each["review_id"] for each in sheet] == ["r0", "r1", "r2"]
    assert sheet[1]["body"] == "Hard as stone. Never again."
    assert [each["answered"] for each in sheet] == ["false", "true", "true"]
    assert sheet[0]["alerted_at"] == sheet[0]["seconds_to_answer"] == ""


async def test_each_kind_of_alert_has_its_time_in_a_column(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix, "r1")
    [row] = await rows(alerter, "json")
    assert (row["new_at"], row["lowered_at"]) == (row["alerted_at"], None)
    assert (row["reminded_at"], row["closed_at"]) == (None, None)

    wix.reply(SITE, "r1", "Sorry!")
    await watch(path)
    now = Clock().now()
    with State.open(load(path).database, migrate=False) as state:
        for kind in ("lowered", "reminder"):
            state.execute(
                "INSERT INTO alerts (key, kind, site_id, review_id, detail, raised_at)"
                " VALUES (?, ?, ?, 'r1', '{}', ?)",
                [f"{kind}:r1", kind, SITE, to_ms(now)],
            )
    [row] = await rows(alerter, "json")
    at = now.isoformat(timespec="seconds")
    assert (row["lowered_at"], row["reminded_at"]) == (at, at)
    assert row["alerted_at"] == row["new_at"] <= row["closed_at"] <= at
    assert (row["alerts"], row["reminders"]) == (3, 1)
    [line] = await rows(alerter, "csv")
    for column in ("new_at", "lowered_at", "reminded_at", "closed_at"):
        assert line[column] == row[column]


@pytest.mark.parametrize(
    "begins",
    [
        *("=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", "  @a", "'=1", '"=1', "\ufeff\u200b=1"),
        *("\uff1d1", "\uff0b1", "\uff0d1", "\uff20a", "\ufe621", "\u22121", "\u207a1"),
    ],
)
async def test_no_cell_is_a_formula(
    alerter: Run, path: Path, wix: EmbeddedWix, begins: str
) -> None:
    await alerted(path, wix)
    with State.open(load(path).database, migrate=False) as state:
        add(state, 1, title=f"{begins} {FORMULA}", body=begins, author=begins)
    [row] = await rows(alerter, "csv")
    for name in ("title", "body", "author"):
        assert row[name].startswith("'")
    [whole] = await rows(alerter, "json")
    assert whole["body"] == begins


def add(state: State, number: int, **content: str) -> None:
    """Record reviews, without their alerts."""
    found = {"title": "Stale", "body": "Hard", "author": "Ada"} | content
    now = to_ms(Clock().now())
    state.execute_many(
        "INSERT INTO reviews (site_id, review_id, revision, rating, status, created_at, answered,"
        " rejected, as_of, content) VALUES (:site, :id, 1, 1, 'baseline', :now, 0, 0, :now, :it)",
        [
            {"site": SITE, "id": f"r{each}", "now": now, "it": json.dumps(found)}
            for each in range(number)
        ],
    )


async def test_topics_are_a_list_and_in_csv_one_cell(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix)
    with State.open(load(path).database, migrate=False) as state:
        add(state, 1)
        topics = json.dumps(["=own", "hygiene"])
        state.execute("UPDATE reviews SET topics = ? WHERE review_id = 'r0'", [topics])
    assert [row["topics"] for row in await rows(alerter, "json")] == [["=own", "hygiene"]]
    assert [row["topics"] for row in await rows(alerter, "csv")] == ["'=own, hygiene"]


async def test_nothing_in_a_review_ends_its_line_or_controls_a_terminal(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix)
    with State.open(load(path).database, migrate=False) as state:
        add(state, 1, body="one\ntwo\x1b[31m\x9b31m\u2028three\r\nfour \u202e café 👩‍👩‍👧")
    for form in ("csv", "json"):
        result = await alerter("export", "--format", form)
        *_, line = result.stdout_bytes.decode().splitlines()
        assert len(result.stdout_bytes.splitlines()) == (2 if form == "csv" else 1)
        assert not set(line) & set("\x1b\x9b\u2028\r\n")
        assert "café 👩‍👩‍👧" in line


async def test_only_reviews_of_the_config_since_a_day_are_written(
    alerter: Run, path: Path, wix: EmbeddedWix
) -> None:
    await alerted(path, wix)
    old = stamp(Clock().now() - timedelta(days=20))
    put(wix, "old", createdDate=old)
    put(wix, "new")
    await watch(path)
    with State.open(load(path).database, migrate=False) as state:
        add(state, 1)
        state.execute("UPDATE reviews SET site_id = ? WHERE review_id = 'r0'", [OTHER])
    found = {each["review_id"] for each in await rows(alerter, "csv")}
    assert "new" in found
    assert "r0" not in found
    assert [each["review_id"] for each in await rows(alerter, "csv", "--since", "7d")] == ["new"]
    bad = await alerter("export", "--format", "csv", "--since", "soon")
    assert bad.exit_code == 2
    assert (await alerter("export")).exit_code == 2


async def test_without_a_state_file_there_are_no_reviews(alerter: Run, path: Path) -> None:
    assert await rows(alerter, "json") == []
    result = await alerter("export", "--format", "csv")
    assert result.stdout == ",".join(COLUMNS) + "\n"
    assert not load(path).database.exists()


def test_a_reader_that_ends_early_is_no_fault_and_any_locale_gets_utf_8(path: Path) -> None:
    with State.open(load(path).database, migrate=True) as state:
        add(state, 3_000, title="Café 👩‍🍳")
    command = [sys.executable, "-m", "alerter", "export", "--format", "json"]
    with subprocess.Popen(
        [*command, "--config", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | SECRETS | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ) as process:
        assert process.stdout
        assert process.stderr
        line = process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(HANG)
    assert "Café 👩‍🍳" in line.decode()
    assert errors == b""
