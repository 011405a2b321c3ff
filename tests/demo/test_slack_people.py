"""What people do in Slack reaches the app in the form that Slack gives it."""

from typing import Any

import pytest

from alerter.demo.slack import EmbeddedSlack, ImpossibleError, Person
from tests.support.demo_slack import ROOM, TOKEN, clock, error_of, slack
from tests.support.slack_app import BUTTONS, MODAL, SlackApp, ada, app, open_modal

__all__ = ["ada", "app", "clock", "slack"]


async def test_a_pressed_button_reaches_the_app(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    post = await app.post(slack)
    pressed = await ada.press(post, "claim")
    request = await app.received.get()
    payload = request.payload
    assert pressed.acknowledged
    assert (request.type, request.accepts_response_payload) == ("interactive", False)
    trigger_id, response_url = payload.pop("trigger_id"), payload.pop("response_url")
    (button, menu) = payload["message"]["blocks"][0]["elements"]
    assert payload == {
        "type": "block_actions",
        "user": {"id": ada.user.id, "username": "ada", "name": "ada", "team_id": "T00000001"},
        "api_app_id": "A00000001",
        "token": "verification-token",
        "team": {"id": "T00000001", "domain": "embedded"},
        "enterprise": None,
        "is_enterprise_install": False,
        "container": {
            "type": "message",
            "message_ts": post.ts,
            "channel_id": ROOM,
            "is_ephemeral": False,
        },
        "channel": {"id": ROOM, "name": "reviews"},
        "message": {
            "type": "message",
            "ts": post.ts,
            "text": "x",
            "user": "U00000001",
            "bot_id": "B00000001",
            "app_id": "A00000001",
            "team": "T00000001",
            "blocks": [
                {
                    "type": "actions",
                    "block_id": payload["actions"][0]["block_id"],
                    "elements": [button, menu],
                }
            ],
        },
        "state": {"values": {}},
        "actions": [
            {
                "type": "button",
                "action_id": "claim",
                "block_id": payload["actions"][0]["block_id"],
                "text": {"type": "plain_text", "text": "I'm on it", "emoji": True},
                "value": "review-1",
                "action_ts": "1795435200.000001",
            }
        ],
    }
    assert trigger_id.count(".") == 2
    assert response_url.startswith("http://127.0.0.1:")


async def test_each_press_has_its_own_time_and_trigger(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    post = await app.post(slack)
    seen = set()
    for _ in range(2):
        await ada.press(post, "claim")
        payload = (await app.received.get()).payload
        seen.add((payload["trigger_id"], payload["actions"][0]["action_ts"]))
    assert len(seen) == len({ts for _, ts in seen}) == 2


async def test_an_option_of_a_menu_reaches_the_app(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    post = await app.post(slack)
    await ada.choose(post, "more", "Publish")
    (action,) = (await app.received.get()).payload["actions"]
    publish = {
        "text": {"type": "plain_text", "text": "Publish", "emoji": True},
        "value": "publish",
    }
    assert (action["type"], action["action_id"]) == ("overflow", "more")
    assert action["selected_option"] == publish
    await ada.choose(post, "more", "open")
    (action,) = (await app.received.get()).payload["actions"]
    assert action["selected_option"]["url"] == "https://x.example"


async def test_a_menu_keeps_its_choice_and_the_same_choice_takes_it_back(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    options = [
        {"text": {"type": "plain_text", "text": name, "emoji": True}, "value": name}
        for name in ("one", "two")
    ]
    menu = {"type": "static_select", "action_id": "respond", "options": options}
    post = await app.post(slack, [{"type": "actions", "block_id": "b", "elements": [menu]}])
    for choice, sent in [("one", options[0]), ("two", options[1]), ("two", None)]:
        await slack.person(ada.user.id).choose(post, "respond", choice)
        payload = (await app.received.get()).payload
        assert payload["actions"][0]["selected_option"] == sent
        state = {"type": "static_select", "selected_option": sent}
        assert payload["state"]["values"] == {"b": {"respond": state}}
    await ada.choose(post, "respond", "two")
    blocks = [{"type": "actions", "block_id": "b-2", "elements": [menu]}]
    await app.web.chat_update(channel=ROOM, ts=post.ts, text="x", blocks=blocks)
    await app.received.get()
    await ada.choose(post, "respond", "two")
    assert (await app.received.get()).payload["actions"][0]["selected_option"] == options[1]


async def test_ids_that_the_app_does_not_give_are_given_by_slack(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    button = {"type": "button", "text": {"type": "plain_text", "text": "Press"}}
    post = await app.post(slack, [{"type": "section", "text": MODAL["title"], "accessory": button}])
    assert post.blocks[0]["accessory"] == button
    await ada.press(post, "Press")
    payload = (await app.received.get()).payload
    (block,) = payload["message"]["blocks"]
    assert payload["actions"][0]["block_id"] == block["block_id"]
    assert payload["actions"][0]["action_id"] == block["accessory"]["action_id"]
    history = await app.web.conversations_history(channel=ROOM)
    assert history["messages"][0]["blocks"] == [block]
    await app.web.chat_update(channel=ROOM, ts=post.ts, text="x", blocks=post.blocks)
    await ada.press(post, "Press")
    assert (await app.received.get()).payload["actions"][0]["block_id"] != block["block_id"]


async def test_a_guest_from_another_workspace_comes_with_its_team(
    slack: EmbeddedSlack, app: SlackApp
) -> None:
    app.answer = open_modal
    slack.add_user("U0000000009", "guest", team_id="T00000009")
    guest = slack.person("U0000000009")
    await guest.press(await app.post(slack), "claim")
    payload = (await app.received.get()).payload
    assert payload["user"]["team_id"] == payload["team"]["id"] == "T00000009"
    await guest.submit({"text": "x"})
    view = (await app.received.get()).payload["view"]
    assert (view["team_id"], view["app_installed_team_id"]) == ("T00000009", "T00000001")


async def test_a_direct_message_has_no_name_of_its_own(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    await app.web.chat_postMessage(channel=ada.user.id, text="x", blocks=BUTTONS)
    await ada.press(slack.posts[0], "claim")
    payload = (await app.received.get()).payload
    assert payload["channel"] == {"id": "D0000000001", "name": "directmessage"}


async def test_an_ephemeral_message_is_for_one_person(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    answer = await app.web.chat_postEphemeral(
        channel=ROOM, user=ada.user.id, text="only you", blocks=BUTTONS
    )
    (seen,) = ada.ephemerals
    assert (seen.text, seen.ts) == ("only you", answer["message_ts"])
    assert slack.person("U0000000007").ephemerals == []
    assert slack.channels[ROOM].messages == {}
    await ada.press(seen, "claim")
    payload = (await app.received.get()).payload
    assert payload["container"]["is_ephemeral"] is True
    assert "message" not in payload


async def test_a_message_in_a_thread_says_so(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    parent = await app.post(slack)
    await app.web.chat_postMessage(channel=ROOM, text="y", thread_ts=parent.ts, blocks=BUTTONS)
    await ada.press(slack.posts[1], "claim")
    payload = (await app.received.get()).payload
    assert payload["container"]["thread_ts"] == payload["message"]["thread_ts"] == parent.ts


@pytest.mark.parametrize(
    ("name", "do"),
    [
        ("no such button", lambda person, post: person.press(post, "reply")),
        ("no button", lambda person, post: person.press(post, "more")),
        ("no such option", lambda person, post: person.choose(post, "more", "reject")),
        ("no modal", lambda person, _: person.submit()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_people_can_only_do_what_slack_shows(
    slack: EmbeddedSlack, app: SlackApp, ada: Person, name: str, do: Any
) -> None:
    post = await app.post(slack)
    with pytest.raises(ImpossibleError):
        do(ada, post)
    assert slack.socket.interactions == []


async def test_people_act_on_what_they_see_only(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    post = await app.post(slack)
    slack.channels[ROOM].members = {"U0000000007"}
    with pytest.raises(ImpossibleError):
        ada.press(post, "claim")
    slack.channels[ROOM].members = None
    await app.web.chat_update(channel=ROOM, ts=post.ts, text="no buttons any more")
    with pytest.raises(ImpossibleError):
        ada.press(post, "claim")
    other = await app.post(slack)
    slack.delete(ROOM, other.ts)
    with pytest.raises(ImpossibleError):
        ada.press(other, "claim")


async def test_an_ephemeral_message_needs_a_person_in_the_channel(
    slack: EmbeddedSlack, app: SlackApp, ada: Person
) -> None:
    slack.add_channel("C-out", "out", member=False)
    slack.channels[ROOM].members = {"U0000000007"}
    call = app.web.chat_postEphemeral
    for arguments, error in [
        ({"channel": ROOM, "user": ada.user.id}, "user_not_in_channel"),
        ({"channel": ROOM, "user": "U404"}, "user_not_in_channel"),
        ({"channel": "C404", "user": ada.user.id}, "channel_not_found"),
        ({"channel": "C-out", "user": ada.user.id}, "not_in_channel"),
        ({"channel": ROOM, "user": ""}, "invalid_arguments"),
    ]:
        assert await error_of(call(**{"text": "x", **arguments})) == error
    slack.add_token(TOKEN, ["im:write"])
    assert await error_of(call(channel=ROOM, user="U0000000007", text="x")) == "missing_scope"
    assert slack.ephemerals == []
