"""A short run of the crash harness, and proof that it would notice."""

from pathlib import Path

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from alerter.store import State
from tests import torture_cluster
from tests.support.cluster_world import Freeze, too_fast
from tests.support.postgres import Emptied, Server
from tests.support.world import CHANNELS, SECRETS, Outcome, World
from tests.torture import torture


@pytest.mark.slow(15)
async def test_nothing_is_lost_or_repeated_however_often_the_daemon_is_killed(
    tmp_path: Path,
) -> None:
    outcome = await torture(tmp_path, kills=3, seed=20261124)
    assert (outcome.lost, outcome.repeated, outcome.pending) == ([], [], [])
    assert outcome.wrong_replies == []
    assert outcome.kills == 3
    assert outcome.faults
    assert outcome.deliveries == 7 * outcome.reviews > 0


@pytest.mark.slow(35)
async def test_nothing_is_lost_or_repeated_however_often_workers_are_killed(
    tmp_path: Path, postgres: Emptied
) -> None:
    blows = ("SIGKILL", "SIGTERM", "SIGKILL")
    its = Server(postgres.url.url)
    folder = tmp_path / "cluster"
    outcome = await torture_cluster.torture(folder, 2, 20261126, blows=blows, its=its)
    assert (outcome.lost, outcome.repeated, outcome.pending) == ([], [], [])
    assert (outcome.too_fast, outcome.out_of_order, outcome.ended_badly) == ([], [], [])
    assert outcome.wrong_replies == []
    assert outcome.kills == 2
    assert outcome.deliveries == 3 * outcome.reviews > 0


def test_a_pace_that_a_call_in_flight_at_a_freeze_broke_is_excused() -> None:
    posts = [("C1", 10.0), ("C2", 10.2), ("C1", 10.4), ("C1", 12.0), ("C1", 12.5)]
    rash, late = (f"{gap} s between two messages in C1" for gap in ("0.400", "0.500"))
    assert too_fast(posts, []) == ([rash, late], [])
    assert too_fast(posts, [Freeze(1.0, 5.0), Freeze(7.0, 11.9)]) == ([rash], [late])


async def test_the_harness_notices_what_is_lost_and_what_is_repeated(tmp_path: Path) -> None:
    world, outcome = World(tmp_path), Outcome()
    State.open(world.state, migrate=True).close()
    async with world.up():
        world.add_review()
        client = AsyncWebClient(
            SECRETS["SLACK_BOT_TOKEN"], base_url=world.slack.base_url, retry_handlers=[]
        )
        for _ in range(2):
            await client.chat_postMessage(channel=CHANNELS[0], text=world.titles[0])
        world.count(outcome)
    assert outcome.lost == [f"{world.titles[0]} by mail", f"{world.titles[0]} in {CHANNELS[1]}"]
    assert outcome.repeated == [f"{world.titles[0]} in {CHANNELS[0]}"]
    assert not outcome.good
