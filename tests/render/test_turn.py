"""Posts with the same words are rendered once in a turn of the loop, and not kept beyond it."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerter.models import Message
from alerter.render.renderer import Renderer
from alerter.render.turn import TurnCache
from tests.support.rendered import BERLIN, SITES, STALE, new

KNOWN = new()
OTHERS: dict[str, tuple[Message, dict[str, Any]]] = {
    "another review": (new(replace(STALE, title="Old")), {}),
    "the same review with other words": (new(replace(STALE, body="Fresh.")), {}),
    "a second later": (replace(KNOWN, attempted_at=KNOWN.attempted_at + timedelta(seconds=1)), {}),
    "a possible repeat": (replace(KNOWN, repeat=True), {}),
    "plain text": (replace(KNOWN, plain=True), {}),
    "another language": (KNOWN, {"language": "de"}),
    "a mention": (KNOWN, {"mention": "U0000000001"}),
    "buttons": (KNOWN, {"buttons": True}),
    "a test": (KNOWN, {"test": True}),
}


async def test_a_value_is_kept_for_one_turn_of_the_loop() -> None:
    cache, made = TurnCache[int](), iter(range(9))
    assert [cache.get("key", [1], made.__next__) for _ in range(2)] == [0, 0]
    await asyncio.sleep(0)
    assert cache.get("key", [1], made.__next__) == 1
    assert cache.get("key", [2], made.__next__) == 2
    assert cache.get("other", [2], made.__next__) == 3


def test_without_a_loop_nothing_is_kept() -> None:
    cache, made = TurnCache[int](), iter(range(9))
    assert [cache.get("key", [1], made.__next__) for _ in range(2)] == [0, 1]


async def test_receivers_of_the_same_words_share_their_blocks() -> None:
    renderer = Renderer(None, BERLIN, SITES)
    first = renderer.slack(KNOWN)
    twin = replace(KNOWN, id=2, uid="2@alerter", destination="slack:twin")
    assert renderer.slack(twin) is first
    await asyncio.sleep(0)
    later = renderer.slack(twin)
    assert later == first
    assert later is not first


@pytest.mark.parametrize(("other", "options"), OTHERS.values(), ids=OTHERS)
async def test_what_differs_is_rendered_by_itself(other: Message, options: dict[str, Any]) -> None:
    renderer = Renderer(None, BERLIN, SITES)
    first = renderer.slack(KNOWN)
    content = renderer.slack(other, **options)
    assert content is not first
    assert content == Renderer(None, BERLIN, SITES).slack(other, **options)


async def test_templates_of_an_owner_see_each_receiver(tmp_path: Path) -> None:
    (tmp_path / "review.txt").write_text("for {{ receiver }}")
    renderer = Renderer(tmp_path, BERLIN, SITES)
    shown = [
        renderer.slack(replace(KNOWN, destination=f"slack:{name}")).text for name in ("ada", "bo")
    ]
    assert [text.rpartition(" ")[2] for text in shown] == ["ada", "bo"]
