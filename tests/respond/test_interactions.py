"""Payloads of Slack are read strictly: what is missing or of another type is no press of ours."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerter.respond.interactions import (
    Place,
    Press,
    ReplyForm,
    SubmittedModal,
    parse_interaction,
)

FORM = ReplyForm("site", "review", "C01", thread="1.2", seen="ab", fields=3)
USER = {"id": "U01", "name": "ada", "username": "ada", "team_id": "T01"}
PRESS: dict[str, Any] = {
    "type": "block_actions",
    "user": USER,
    "container": {"channel_id": "C01", "message_ts": "1700000000.000100", "thread_ts": "1.2"},
    "trigger_id": "1.2.abc",
    "actions": [
        {
            "action_id": "respond:claim",
            "block_id": "respond:site/review:0123456789abcdef",
            "action_ts": "1700000001.000100",
        }
    ],
}
VIEW: dict[str, Any] = {
    "id": "V01",
    "hash": "1.ab",
    "private_metadata": FORM.dump(),
    "state": {"values": {"reply:3": {"text": {"type": "plain_text_input", "value": "Sorry."}}}},
}
SUBMISSION: dict[str, Any] = {"type": "view_submission", "user": USER, "view": VIEW}


def test_a_press_is_known_by_its_message_button_and_moment() -> None:
    found = parse_interaction(PRESS)
    assert isinstance(found, Press)
    assert found.key == "slack:C01:1700000000.000100:respond:claim:1700000001.000100"
    assert found.place == Place("C01", "1.2")
    assert (found.person.id, found.person.name, found.person.team_id) == ("U01", "ada", "T01")


def test_a_press_in_a_window_is_known_by_the_window() -> None:
    found = parse_interaction({**PRESS, "container": {"type": "view"}, "view": VIEW})
    assert isinstance(found, Press)
    assert found.key == "slack:V01:respond:claim:1700000001.000100"
    assert found.place == FORM.place


def test_a_submission_has_its_form_and_text() -> None:
    found = parse_interaction(SUBMISSION)
    assert isinstance(found, SubmittedModal)
    assert found.view.form == FORM
    assert found.view.texts == {"reply:3": "Sorry."}


def test_a_name_is_one_line_without_control_characters() -> None:
    user = {**USER, "name": "ada\n<!channel>\x1b[31m" + "x" * 500}
    found = parse_interaction({**PRESS, "user": user})
    assert found
    assert found.person.name.startswith("ada <!channel> [31m")
    assert len(found.person.name) == 80


def without(payload: dict[str, Any], *path: str | int, **to: Any) -> dict[str, Any]:
    changed = deepcopy(payload)
    part: Any = changed
    for step in path[:-1]:
        part = part[step]
    if "to" in to:
        part[path[-1]] = to["to"]
    else:
        del part[path[-1]]
    return changed


@pytest.mark.parametrize("path", [("type",), ("user",), ("user", "id"), ("container",),
    ("container", "channel_id"), ("container", "message_ts"), ("actions",),
    ("actions", 0), ("actions", 0, "action_id"), ("actions", 0, "action_ts")], ids=str)  # fmt: skip
@pytest.mark.parametrize("to", [None, "", 5, [], {}, ["x"], "x\n", "<script>"], ids=repr)
def test_a_press_of_another_form_is_ignored(path: tuple[str | int, ...], to: object) -> None:
    assert parse_interaction(without(PRESS, *path)) is None
    assert parse_interaction(without(PRESS, *path, to=to)) is None


@pytest.mark.parametrize("path", [("view",), ("view", "id"), ("view", "private_metadata")], ids=str)
@pytest.mark.parametrize("to", [None, "", 5, [], {}, "x", "{}", "[" * 9999, '{"a": 1}'], ids=repr)
def test_a_window_of_another_form_is_ignored(path: tuple[str, ...], to: object) -> None:
    assert parse_interaction(without(SUBMISSION, *path)) is None
    assert parse_interaction(without(SUBMISSION, *path, to=to)) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("site_id", 5), ("fields", "3"), ("fields", True), ("replace", "yes"), ("channel", "c"),
     ("seen", None), ("more", 1)],
)  # fmt: skip
def test_metadata_of_another_form_is_ignored(name: str, value: object) -> None:
    form = json.loads(FORM.dump()) | {name: value}
    assert (
        parse_interaction(without(SUBMISSION, "view", "private_metadata", to=json.dumps(form)))
        is None
    )


@pytest.mark.parametrize(
    "state",
    [
        None,
        {},
        {"values": []},
        {"values": {"reply:3": None}},
        {"values": {"reply:3": {"text": {"value": None}}}},
        {"values": {"other": {"text": {"value": "x"}}}},
    ],
    ids=str,
)
def test_a_window_without_text_has_an_empty_one(state: object) -> None:
    found = parse_interaction(without(SUBMISSION, "view", "state", to=state))
    assert isinstance(found, SubmittedModal)
    assert found.view.texts.get("reply:3", "") == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda part: (
        st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3)
    ),
)


@given(st.sampled_from([PRESS, SUBMISSION]), st.data())
def test_nothing_that_comes_in_raises(payload: dict[str, Any], data: st.DataObject) -> None:
    changed: Any = deepcopy(payload)
    part = changed
    while isinstance(part, dict | list) and part:
        keys = list(part) if isinstance(part, dict) else list(range(len(part)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(part[key], dict | list) or data.draw(st.booleans()):
            part[key] = data.draw(JSON)
            break
        part = part[key]
    parse_interaction(changed)
