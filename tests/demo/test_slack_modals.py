"""Modals of the embedded Slack: opened in time, checked, changed, filled in and submitted."""

import asyncio
from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.request import SocketModeRequest

from alerter.demo.slack import EmbeddedSlack, ImpossibleError, Interaction, Person
from alerter.demo.slack_modals import faults_of_view
from tests.support.clock import SetClock
from tests.support.demo_slack import ROOM, TOKEN, error_of, http
from tests.support.slack_app import MODAL, SlackApp, ada, app
from tests.support.waiting import until

__all__ = ["ada", "app", "http"]
CHOICE = {
    "type": "input",
    "block_id": "canned",
    "dispatch_action": True,
    "optional": True,
    "label": {"type": "plain_text", "text": "Reply"},
    "element": {
        "type": "static_select",
        "action_id": "pick",
        "options": [
            {"text": {"type": "plain_text", "text": "Sorry"}, "value": "sorry"},
            {"text": {"type": "plain_text", "text": "Thanks"}, "value": "thanks"},
        ],
    },
}


def plain(text: str = "x") -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def view(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {**MODAL, **({"blocks": list(blocks)} if blocks else {}), **more}


def words(**more: Any) -> dict[str, Any]:
    block = deepcopy(MODAL["blocks"][0])
    block["element"] |= more
    return block


def field(element: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "input", "label": plain(), "element": element, **more}


def select(count: int = 2, **more: Any) -> dict[str, Any]:
    options = [{"text": plain(), "value": f"{number}"} for number in range(count)]
    return field({"type": "static_select", "options": options, **more})


@pytest.fixture
async def slack(clock: SetClock) -> AsyncIterator[EmbeddedSlack]:
    async with EmbeddedSlack(clock=clock, pace=None) as slack:
        slack.add_token(TOKEN)
        slack.add_channel(ROOM, "reviews")
        yield slack


async def pressed(slack: EmbeddedSlack, app: SlackApp, ada: Person) -> str:
    """Press a button and return the trigger id."""
    await ada.press(await app.post(slack), "claim")
    return str((await app.received.get()).payload["trigger_id"])


async def opened(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, shown: dict[str, Any] = MODAL
) -> Any:
    """Open a modal and return it as Slack answers it."""
    trigger_id = await pressed(slack, app, ada)
    return (await app.web.views_open(trigger_id=trigger_id, view=shown))["view"]


GOOD: dict[str, dict[str, Any]] = {
    "longest": view(
        title=plain("x" * 24),
        submit=plain("x" * 24),
        close=plain("x" * 24),
        callback_id="x" * 255,
        private_metadata="x" * 3000,
        external_id="x" * 255,
    ),
    "100 blocks": view(*[{"type": "divider"}] * 100),
    "no submit without inputs": view({"type": "divider"}, submit=None, close=None),
    "long first words": view(words(initial_value="x" * 10_000)),
    "limits of length": view(words(min_length=0, max_length=3000)),
    "100 options": view(select(100)),
    "longest option": view(
        select(options=[{"text": plain("x" * 75), "value": "x" * 150, "description": plain("x")}])
    ),
    "chosen already": view(select(initial_option={"text": plain(), "value": "1"})),
    "groups": view(
        field(
            {
                "type": "static_select",
                "option_groups": [{"label": plain(), "options": [{"text": plain(), "value": "1"}]}],
                "initial_option": {"text": plain(), "value": "1"},
            }
        )
    ),
    "dispatching": view(
        words(dispatch_action_config={"trigger_actions_on": ["on_enter_pressed"]}), CHOICE
    ),
}
BAD: dict[str, tuple[Any, str]] = {
    "no view": ("x", "must provide an object [json-pointer:/view]"),
    "home": (view(type="home"), "unsupported type: home [json-pointer:/view/type]"),
    "no title": (
        {key: value for key, value in MODAL.items() if key != "title"},
        "missing required field: title [json-pointer:/view]",
    ),
    "long title": (
        view(title=plain("x" * 25)),
        "must be less than 25 characters [json-pointer:/view/title/text]",
    ),
    "long submit": (
        view(submit=plain("x" * 25)),
        "must be less than 25 characters [json-pointer:/view/submit/text]",
    ),
    "long close": (
        view(close=plain("x" * 25)),
        "must be less than 25 characters [json-pointer:/view/close/text]",
    ),
    "marked title": (
        view(title={"type": "mrkdwn", "text": "x"}),
        "unsupported type: mrkdwn [json-pointer:/view/title/type]",
    ),
    "inputs without submit": (
        view(submit=None),
        "`submit` is required when an input block is present [json-pointer:/view/submit]",
    ),
    "long callback id": (
        view(callback_id="x" * 256),
        "must be less than 256 characters [json-pointer:/view/callback_id]",
    ),
    "long metadata": (
        view(private_metadata="x" * 3001),
        "must be less than 3001 characters [json-pointer:/view/private_metadata]",
    ),
    "101 blocks": (
        view(*[{"type": "divider"}] * 101),
        "no more than 100 items allowed [json-pointer:/view/blocks]",
    ),
    "no blocks": (view(blocks=[]), "no less than 1 items allowed [json-pointer:/view/blocks]"),
    "unknown block": (
        view({"type": "file"}),
        "unsupported type: file [json-pointer:/view/blocks/0/type]",
    ),
    "unknown property": (
        view(color="red"),
        "invalid additional property: color [json-pointer:/view]",
    ),
    "same block ids": (
        view(words(), words()),
        "block_id already exists: words [json-pointer:/view/blocks/1/block_id]",
    ),
    "max_length": (
        view(words(max_length=3001)),
        "must be less than 3001 [json-pointer:/view/blocks/0/element/max_length]",
    ),
    "no max_length": (
        view(words(max_length=0)),
        "must be greater than 0 [json-pointer:/view/blocks/0/element/max_length]",
    ),
    "101 options": (
        view(select(101)),
        "no more than 100 items allowed [json-pointer:/view/blocks/0/element/options]",
    ),
    "long option": (
        view(select(options=[{"text": plain("x" * 76), "value": "1"}])),
        "must be less than 76 characters [json-pointer:/view/blocks/0/element/options/0/text/text]",
    ),
    "long value": (
        view(select(options=[{"text": plain(), "value": "x" * 151}])),
        "must be less than 151 characters [json-pointer:/view/blocks/0/element/options/0/value]",
    ),
    "option with an address": (
        view(select(options=[{"text": plain(), "value": "1", "url": "https://x.example"}])),
        "invalid additional property: url [json-pointer:/view/blocks/0/element/options/0]",
    ),
    "chosen outside": (
        view(select(initial_option={"text": plain("y"), "value": "1"})),
        "must match one of the options [json-pointer:/view/blocks/0/element/initial_option]",
    ),
    "no options": (
        view(field({"type": "static_select"})),
        "must define either `options` or `option_groups` [json-pointer:/view/blocks/0/element]",
    ),
    "options and groups": (
        view(
            select(option_groups=[{"label": plain(), "options": [{"text": plain(), "value": "1"}]}])
        ),
        "cannot have both `options` and `option_groups` [json-pointer:/view/blocks/0/element]",
    ),
    "button as input": (
        view(field({"type": "button", "text": plain()})),
        "unsupported type: button [json-pointer:/view/blocks/0/element/type]",
    ),
    "no label": (
        view({"type": "input", "element": {"type": "plain_text_input"}}),
        "missing required field: label [json-pointer:/view/blocks/0]",
    ),
    "two in focus": (
        view(words(focus_on_load=True), {**words(focus_on_load=True), "block_id": "b"}),
        (
            "only one element can have focus_on_load "
            "[json-pointer:/view/blocks/1/element/focus_on_load]"
        ),
    ),
}


@pytest.mark.parametrize("shown", GOOD.values(), ids=GOOD)
def test_a_good_modal_has_no_faults(shown: dict[str, Any]) -> None:
    assert faults_of_view(shown) == []


@pytest.mark.parametrize(("shown", "fault"), BAD.values(), ids=BAD)
def test_a_bad_modal_has_its_fault_at_its_place(shown: Any, fault: str) -> None:
    assert faults_of_view(shown) == [
        "failed to match all allowed schemas [json-pointer:/view]",
        fault,
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "blocks", "element", "options", "option_groups", "initial_option", "text"]
            ),
            inner | st.sampled_from(["modal", "input", "section", "static_select", "overflow"]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_whatever_is_no_modal_is_refused_with_a_place(shown: Any) -> None:
    for given_view in (shown, view(blocks=shown), view(shown), view(field(shown))):
        faults = faults_of_view(given_view)
        assert faults
        assert all("[json-pointer:/view" in fault for fault in faults)


async def test_a_bad_modal_is_refused_and_costs_no_trigger(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    trigger_id = await pressed(slack, app, ada)
    with pytest.raises(SlackApiError) as caught:
        await app.web.views_open(trigger_id=trigger_id, view=view(title=plain("x" * 25)))
    answer = caught.value.response
    assert answer["error"] == "invalid_arguments"
    assert answer["response_metadata"]["messages"] == [
        "[ERROR] failed to match all allowed schemas [json-pointer:/view]",
        "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]",
    ]
    large = view(*[{"type": "section", "text": plain("x" * 3000)}] * 90)
    call = app.web.views_open(trigger_id=trigger_id, view=large)
    assert await error_of(call) == "view_too_large"
    assert ada.modals == []
    await app.web.views_open(trigger_id=trigger_id, view=MODAL)


async def test_a_trigger_is_for_one_modal_within_3_seconds(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, clock: SetClock
) -> None:
    async def refusal(trigger_id: str, token: str = TOKEN) -> str:
        call = app.web.views_open(trigger_id=trigger_id, view=MODAL, token=token)
        return await error_of(call)

    used, late = await pressed(slack, app, ada), await pressed(slack, app, ada)
    slack.add_token("xoxb-other", bot_id="B00000002")
    assert await refusal(used, "xoxb-other") == "invalid_trigger_id"
    clock.advance(seconds=2.9)
    await app.web.views_open(trigger_id=used, view=MODAL)
    assert await refusal(used) == "exchanged_trigger_id"
    clock.advance(seconds=0.1)
    assert await refusal(late) == "expired_trigger_id"
    assert await refusal("1.2.abc") == "invalid_trigger_id"
    assert await refusal("") == "invalid_arguments"


async def test_a_modal_is_answered_as_slack_shows_it(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    shown = await opened(slack, app, ada, view(words(initial_value="Dear"), CHOICE))
    assert (shown["id"], shown["root_view_id"], shown["previous_view_id"]) == (
        "V00000001",
        "V00000001",
        None,
    )
    assert (shown["app_id"], shown["bot_id"], shown["team_id"]) == (
        "A00000001",
        "B00000001",
        "T00000001",
    )
    assert (shown["private_metadata"], shown["callback_id"], shown["external_id"]) == (
        "review-1",
        "reply",
        "",
    )
    assert shown["state"]["values"] == {
        "words": {"text": {"type": "plain_text_input", "value": "Dear"}},
        "canned": {"pick": {"type": "static_select", "selected_option": None}},
    }


async def test_an_update_keeps_what_was_entered_into_the_same_inputs(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    shown = await opened(slack, app, ada, view(words(), CHOICE))
    ada.enter("text", "My own words")
    pick = ada.enter("pick", "Sorry")
    assert pick
    payload = (await app.received.get()).payload
    assert payload["container"] == {"type": "view", "view_id": shown["id"]}
    assert payload["actions"][0]["selected_option"]["value"] == "sorry"
    assert payload["view"]["state"]["values"]["words"]["text"]["value"] == "My own words"
    assert {"message", "channel", "response_url"} & payload.keys() == set()
    same = words(initial_value="We are sorry.")
    await app.web.views_update(view_id=shown["id"], view=view(same, CHOICE))
    assert ada.modal.entered["words", "text"] == "My own words"
    other = {**same, "block_id": "words-sorry"}
    await app.web.views_update(view_id=shown["id"], view=view(other, CHOICE))
    assert ada.modal.entered["words-sorry", "text"] == "We are sorry."
    assert ada.modal.entered["canned", "pick"]["value"] == "sorry"


async def test_an_update_of_a_modal_that_changed_meanwhile_is_refused(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    shown = await opened(slack, app, ada, view(external_id="mine"))
    update = app.web.views_update
    changed = await update(external_id="mine", view=view(external_id="mine"), hash=shown["hash"])
    assert changed["view"]["hash"] != shown["hash"]
    again = update(view_id=shown["id"], view=MODAL, hash=shown["hash"])
    assert await error_of(again) == "hash_conflict"
    await update(view_id=shown["id"], view=MODAL)
    assert await error_of(update(external_id="mine", view=MODAL)) == "not_found"
    assert await error_of(update(view_id="V404", view=MODAL)) == "not_found"
    nameless = app.web.api_call("views.update", json={"view": MODAL})
    assert await error_of(nameless) == "invalid_arguments"
    slack.add_token("xoxb-other", bot_id="B00000002")
    call = update(view_id=shown["id"], view=MODAL, token="xoxb-other")
    assert await error_of(call) == "not_found"
    ada.close()
    assert await error_of(update(view_id=shown["id"], view=MODAL)) == "not_found"


async def test_an_external_id_is_for_one_open_modal(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await opened(slack, app, ada, view(external_id="mine"))
    trigger_id = await pressed(slack, app, ada)
    call = app.web.views_open(trigger_id=trigger_id, view=view(external_id="mine"))
    assert await error_of(call) == "duplicate_external_id"
    ada.close()
    await opened(slack, app, ada, view(external_id="mine"))


async def test_a_modal_is_submitted_with_what_was_entered(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    shown = await opened(slack, app, ada)
    submitted = await ada.submit({"text": "Thank you"})
    request = await app.received.get()
    payload = request.payload
    assert submitted.acknowledged
    assert request.accepts_response_payload is True
    assert (payload["type"], payload["response_urls"]) == ("view_submission", [])
    assert payload["user"]["id"] == ada.user.id
    assert payload["view"] == {
        **shown,
        "state": {
            "values": {"words": {"text": {"type": "plain_text_input", "value": "Thank you"}}}
        },
    }
    assert ada.modals == []


async def submitted(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, answer: Any, shown: Any = MODAL
) -> Interaction:
    """Open a modal, submit it and return what became of it."""

    async def respond(app: SlackApp, request: SocketModeRequest) -> Any:
        return answer if request.payload["type"] == "view_submission" else None

    app.answer = respond
    await opened(slack, app, ada, shown)
    return await ada.submit({"text": "Thank you"})


async def test_an_app_may_show_errors_at_inputs(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    answer = {"response_action": "errors", "errors": {"words": "10,000 characters at most"}}
    assert (await submitted(slack, app, ada, answer)).acknowledged
    assert ada.modal.errors == {"words": "10,000 characters at most"}
    assert ada.modal.entered["words", "text"] == "Thank you"
    app.answer = None
    await ada.submit()
    assert ada.modals == []


async def test_an_app_may_replace_the_modal_or_put_one_on_top(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    other = view({"type": "divider"}, title=plain("Sure?"))
    await submitted(slack, app, ada, {"response_action": "update", "view": other})
    assert [each.content["title"]["text"] for each in ada.modals] == ["Sure?"]
    ada.close()
    await submitted(slack, app, ada, {"response_action": "push", "view": other})
    assert [each.content["title"]["text"] for each in ada.modals] == ["Reply", "Sure?"]
    assert ada.modal.shown()["previous_view_id"] == ada.modals[0].id
    ada.close()
    assert [each.content["title"]["text"] for each in ada.modals] == ["Reply"]


async def test_an_app_may_close_all_modals_at_once(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await submitted(slack, app, ada, {"response_action": "push", "view": MODAL})
    app.answer = lambda *_: asyncio.sleep(0, {"response_action": "clear"})
    await ada.submit({"text": "x"})
    assert ada.modals == []


async def test_three_modals_are_the_most_on_top_of_each_other(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await submitted(slack, app, ada, {"response_action": "push", "view": MODAL})
    assert (await ada.submit({"text": "x"})).acknowledged
    refused = await ada.submit({"text": "x"})
    assert "push_limit_reached" in str(refused.failed)
    assert len(ada.modals) == 3


@pytest.mark.parametrize(
    "answer",
    [
        {"response_action": "dance"},
        {"response_action": "errors"},
        {"response_action": "errors", "errors": {"canned": "x"}},
        {"response_action": "errors", "errors": {"words": ""}},
        {"response_action": "update"},
        {"response_action": "update", "view": view(title=plain("x" * 25))},
        {"text": "x"},
    ],
    ids=str,
)
async def test_an_answer_that_slack_cannot_read_fails_for_the_person(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, answer: Any
) -> None:
    outcome = await submitted(slack, app, ada, answer)
    assert (outcome.acknowledged, outcome.answer) == (False, answer)
    assert ada.modal.entered["words", "text"] == "Thank you"


async def test_a_modal_that_is_not_acknowledged_stays_open(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, clock: SetClock
) -> None:
    await opened(slack, app, ada)
    app.mute = True
    waiting = ada.submit({"text": "Thank you"})
    request = await app.received.get()
    clock.advance(seconds=3)
    assert (await waiting).failed
    await app.client.send_socket_mode_response({"envelope_id": request.envelope_id})
    await until(lambda: waiting.envelopes[0].acked_at is not None)
    assert ada.modal.entered["words", "text"] == "Thank you"


async def test_a_submission_may_come_twice_and_the_first_answer_counts(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    slack.socket.copies = 2
    await opened(slack, app, ada)
    await app.received.get()
    sent = await ada.submit({"text": "x"})
    views = [(await app.received.get()).payload["view"]["id"] for _ in range(2)]
    assert views == ["V00000001"] * 2
    assert sent.acknowledged


@pytest.mark.parametrize(
    ("element", "entry", "why"),
    [
        ({}, "", "Your reply is required"),
        ({"max_length": 5}, "123456", "Your reply is too long"),
        ({"min_length": 5}, "1234", "Your reply is too short"),
    ],
)
async def test_slack_itself_asks_for_what_is_missing(
    slack: EmbeddedSlack,
    app: SlackApp,
    ada: Person,
    element: dict[str, Any],
    entry: str,
    why: str,
) -> None:
    await opened(slack, app, ada, view(words(**element)))
    count = len(slack.socket.interactions)
    with pytest.raises(ImpossibleError, match=why):
        ada.submit({"text": entry})
    assert len(slack.socket.interactions) == count


async def test_without_a_limit_of_its_own_a_field_takes_any_length(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await opened(slack, app, ada)
    await ada.submit({"text": "x" * 20_000})
    view = (await app.received.get()).payload["view"]
    assert len(view["state"]["values"]["words"]["text"]["value"]) == 20_000


async def test_closing_is_an_event_if_the_app_asks_for_it(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await opened(slack, app, ada)
    assert ada.close() is None
    shown = await opened(slack, app, ada, view(notify_on_close=True))
    closed = ada.close()
    assert closed
    payload = (await app.received.get()).payload
    assert (payload["type"], payload["view"]["id"], payload["is_cleared"]) == (
        "view_closed",
        shown["id"],
        False,
    )
    assert "trigger_id" not in payload
    assert ada.modals == []
    with pytest.raises(ImpossibleError):
        ada.close()


async def test_a_button_in_a_modal_reaches_the_app(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    button = {"type": "button", "action_id": "replace", "text": plain("Replace"), "value": "1"}
    shown = view({"type": "actions", "elements": [button]}, submit=None)
    await opened(slack, app, ada, shown)
    modal = ada.modal
    await ada.press(modal, "replace")
    payload = (await app.received.get()).payload
    assert (payload["actions"][0]["value"], payload["view"]["id"]) == ("1", modal.id)
    with pytest.raises(ImpossibleError):
        ada.submit()
    ada.close()
    with pytest.raises(ImpossibleError):
        ada.press(modal, "replace")


async def test_a_view_may_come_as_a_form(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, http: aiohttp.ClientSession
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    for body, error in [
        ({"view": "{"}, "invalid_arguments"),
        ({}, "invalid_arguments"),
        ({"view": '{"type": "modal"}'}, "invalid_arguments"),
    ]:
        async with http.post(
            f"{slack.base_url}views.open", data={"trigger_id": "1.2.a", **body}, headers=headers
        ) as answer:
            assert (await answer.json())["error"] == error
