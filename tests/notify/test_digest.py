"""How much of a digest fits into one message of a destination."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from alerter.errors import RenderError
from alerter.models import Content, Message
from alerter.notify.destination import Destination, Notifier
from alerter.notify.digest import largest_that_fits, length_of
from alerter.store import State
from tests.support.outbox import queue

T0 = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def hundred_each(message: Message, *, test: bool = False) -> Content:
    return Content("", "", blocks=tuple({"text": {"text": "x" * 100}} for _ in message.entries))


OUTLET = Destination("email:owner", "smtp", cast(Notifier, None), hundred_each, 1000, budget=1000)


def test_every_text_of_the_blocks_counts_and_nothing_else() -> None:
    image = {"type": "image", "alt_text": "123", "image_url": "https://example.com"}
    section = {
        "type": "section",
        "text": {"type": "plain_text", "text": "12345"},
        "fields": ({"text": "1"},),
    }
    context = {"elements": [{"text": "12"}, image]}
    assert length_of(Content("", "not this", blocks=(section, context))) == 5 + 1 + 2 + 3


@pytest.mark.parametrize(
    ("budget", "count"), [(None, 40), (4000, 40), (3999, 39), (1000, 10), (99, 1)]
)
def test_as_many_leave_together_as_fit(state: State, budget: int | None, count: int) -> None:
    alerts = list(range(1, 41))
    queue(state, *alerts)
    assert largest_that_fits(state, replace(OUTLET, budget=budget), alerts, T0) == alerts[:count]


def test_what_cannot_be_rendered_is_not_cut(state: State) -> None:
    def fail(message: Message, *, test: bool = False) -> Content:
        raise RenderError("template")

    queue(state, 1, 2)
    destination: Any = replace(OUTLET, render=fail)
    assert largest_that_fits(state, destination, [1, 2], T0) == [1, 2]
