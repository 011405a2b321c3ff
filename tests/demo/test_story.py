"""`alerter demo`, as a newcomer would use it."""

import asyncio
import json
import os
import signal
import tomllib
from pathlib import Path

import httpx
import pytest

from tests.support.forked import Process, start_alerter
from tests.support.waiting import HANG

pytestmark = pytest.mark.slow(10)


async def start(*arguments: str, cwd: Path) -> Process:
    return await start_alerter(*arguments, environ=os.environ | {"TMPDIR": str(cwd)}, folder=cwd)


async def output(*arguments: str, cwd: Path) -> tuple[int, str]:
    process = await start(*arguments, cwd=cwd)
    async with asyncio.timeout(HANG):
        out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


async def test_the_story_ends_by_itself_with_nothing_lost_or_repeated(tmp_path: Path) -> None:
    code, out = await output("demo", cwd=tmp_path)
    assert code == 0, out
    lines = out.splitlines()
    assert lines[-1] == "4 reviews alerted by email and on Slack: 0 lost, 0 repeated"
    assert sum(line.startswith("    mail ") for line in lines) == 5
    assert sum(line.startswith("    Slack ") for line in lines) == 5
    assert sum(line.startswith("    Slack, changed ") for line in lines) >= 4
    assert "Still unanswered" in out
    page = Path(lines[-2].rpartition(": ")[2])
    assert "Stale on arrival" in page.read_text()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [page]
    assert page.stat().st_mode & 0o777 == 0o600


async def test_ctrl_c_ends_the_story_and_leaves_nothing_behind(tmp_path: Path) -> None:
    story = await start("demo", cwd=tmp_path)
    assert story.stdout is not None
    async with asyncio.timeout(HANG):
        await story.stdout.readuntil(b"1. ")
        story.send_signal(signal.SIGINT)
        out, _ = await story.communicate()
    assert story.returncode == 0
    assert out.decode().splitlines()[-1] == "Stopped."
    assert b"Traceback" not in out
    assert not list(tmp_path.iterdir())


async def test_serve_prints_a_config_that_any_command_works_with(tmp_path: Path) -> None:
    reviews = tmp_path / "reviews.jsonl"
    created = "2026-01-01T12:00:00.000Z"
    reviews.write_text(
        "".join(
            json.dumps(
                {"id": f"r{number}", "createdDate": created, "content": {"rating": 1 + number % 5}}
            )
            + "\n"
            for number in range(50)
        )
    )
    serving = await start("demo", "--serve", "--reviews", str(reviews), cwd=tmp_path)
    assert serving.stdout is not None
    try:
        async with asyncio.timeout(HANG):
            printed = b""
            while b"C0123456789" not in printed:
                printed += await serving.stdout.readline()
        (tmp_path / "config.toml").write_bytes(printed)
        added = [
            line.split()[-1] for line in printed.decode().splitlines() if "/demo/reviews" in line
        ]
        sites = tomllib.loads(printed.decode())["sites"]
        assert ["api_key" in site for site in sites] == [True, False]
        assert {"app_id", "app_secret", "instance_id"} <= set(sites[1])
        assert all(
            secret.startswith("file:/") for secret in (sites[0]["api_key"], sites[1]["app_secret"])
        )

        assert (await output("check", cwd=tmp_path))[0] == 0
        code, out = await output("backfill", "--since", "2018-01-01", "--dry-run", cwd=tmp_path)
        assert code == 0
        assert out.splitlines()[0] == "Corner Bakery: would alert 20 reviews"
        assert out.splitlines()[21:] == ["Tea House: would alert 0 reviews"]
        assert not (tmp_path / "demo-state.db").exists()

        assert (await output("run", "--once", cwd=tmp_path))[0] == 0
        async with httpx.AsyncClient(timeout=HANG) as http:
            for address, title in zip(added, ("Stale", "Cold"), strict=True):
                answer = await http.post(address, json={"content": {"rating": 1, "title": title}})
                assert answer.status_code == 201
        assert (await output("run", "--once", cwd=tmp_path))[0] == 0
        status = json.loads((await output("status", "--json", cwd=tmp_path))[1])
        assert status["deliveries"] == {"pending": 0, "sent": 4, "failed": 0, "cancelled": 0}
    finally:
        serving.send_signal(signal.SIGTERM)
        out, _ = await serving.communicate()
    assert serving.returncode == 0
    assert out.count(b"# mail   ") == out.count(b"# Slack  ") == 2
    assert out.decode().splitlines()[-1] == "# 2 mails, 2 Slack messages"
    assert not list(tmp_path.glob("alerter-demo-*"))


async def test_a_line_that_is_no_review_is_named(tmp_path: Path) -> None:
    (tmp_path / "reviews.jsonl").write_text('{"content": {"rating": 1}}\nnonsense\n')
    code, out = await output("demo", "--serve", "--reviews", "reviews.jsonl", cwd=tmp_path)
    assert code == 1
    assert "line 2" in out
    assert "Traceback" not in out
