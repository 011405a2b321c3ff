"""The channels of a workspace, and the channel that a name in the config stands for."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from alerter.config import Slack
from alerter.demo.faults import Fault
from alerter.demo.slack import EmbeddedSlack
from alerter.errors import DeliveryError, ErrorKind
from alerter.slack.api import SlackApi, open_session
from alerter.slack.channels import ChannelAddress, ListedChannel, list_channels
from alerter.store import State
from alerter.store.channels import ChannelIds
from tests.support.clock import SetClock
from tests.support.slack import TOKEN, methods, saying, slack
from tests.support.state import no_channels
from tests.support.values import CHANNEL, SCOPES

__all__ = ["slack"]

LIST = "conversations.list"
OTHER = "C0000000002"


@pytest.fixture
async def api(slack: EmbeddedSlack, clock: SetClock) -> AsyncIterator[SlackApi]:
    config = Slack.model_construct(token=SecretStr(TOKEN), base_url=slack.base_url.rstrip("/"))
    async with open_session() as session:
        yield SlackApi(config, session, clock)


@pytest.fixture
def known(state: State) -> ChannelIds:
    return ChannelIds(state, "slack")


async def listed(api: SlackApi) -> list[ListedChannel]:
    return [channel async for channel in list_channels(api)]


async def error_of(address: ChannelAddress) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        await address.look_up()
    return caught.value


# The list


async def test_public_channels_and_the_private_ones_of_the_app_are_listed(
    slack: EmbeddedSlack, api: SlackApi
) -> None:
    slack.add_channel("C1", "secret", private=True)
    slack.add_channel("C2", "old", archived=True, member=False)
    slack.add_channel("C3", "hidden", private=True, member=False)
    assert await listed(api) == [
        ListedChannel(CHANNEL, "reviews", is_member=True),
        ListedChannel("C1", "secret", is_private=True, is_member=True),
        ListedChannel("C2", "old", is_archived=True),
    ]


async def test_every_page_is_read(slack: EmbeddedSlack, api: SlackApi) -> None:
    for number in range(2500):
        slack.add_channel(f"C{number:010}", f"room-{number}")
    assert len(await listed(api)) == 2501
    assert [call.args.get("limit") for call in slack.requests] == ["999"] * 3


async def test_without_the_scope_for_private_channels_public_ones_are_listed(
    slack: EmbeddedSlack, api: SlackApi
) -> None:
    slack.add_channel("C1", "secret", private=True)
    slack.add_token(TOKEN, scopes=["chat:write", "channels:read"])
    assert [channel.name for channel in await listed(api)] == ["reviews"]


async def test_without_any_scope_to_list_the_error_names_it(
    slack: EmbeddedSlack, api: SlackApi
) -> None:
    slack.add_token(TOKEN, scopes=["chat:write"])
    with pytest.raises(DeliveryError, match="grant channels:read") as caught:
        await listed(api)
    assert caught.value.kind is ErrorKind.RECEIVER


async def test_the_list_waits_where_slack_asks_to_slow_down(
    slack: EmbeddedSlack, api: SlackApi, clock: SetClock
) -> None:
    slack.faults.add(LIST, saying("ratelimited", 429, **{"Retry-After": "25"}))
    assert len(await listed(api)) == 1
    assert clock.slept == [25.0]


async def test_a_long_limit_is_an_error_that_passes_and_holds_no_other_call(
    slack: EmbeddedSlack, api: SlackApi, clock: SetClock
) -> None:
    slack.faults.always(LIST, saying("ratelimited", 429, **{"Retry-After": "25"}))
    with pytest.raises(DeliveryError) as caught:
        await listed(api)
    assert (caught.value.kind, caught.value.in_doubt) == (ErrorKind.TRANSIENT, False)
    assert clock.slept == [25.0, 25.0]


async def test_an_answer_of_another_form_lists_nothing(slack: EmbeddedSlack, api: SlackApi) -> None:
    for body in ('{"ok": true, "channels": 7}', '{"ok": true, "channels": [7, {"id": "x y"}]}'):
        slack.faults.add(LIST, Fault(body=body))
        assert await listed(api) == []


# A name


async def test_a_name_is_found_whatever_its_case_and_looked_up_once(
    slack: EmbeddedSlack, api: SlackApi, known: ChannelIds
) -> None:
    address = ChannelAddress(api, "#Reviews", known)
    assert [await address.resolve(), await address.resolve()] == [CHANNEL, CHANNEL]
    assert methods(slack) == [LIST]
    assert known.get("#Reviews") == CHANNEL


async def test_an_id_is_never_looked_up(
    slack: EmbeddedSlack, api: SlackApi, known: ChannelIds
) -> None:
    address = ChannelAddress(api, CHANNEL, known)
    assert [await address.resolve(), await address.look_up()] == [CHANNEL, CHANNEL]
    assert slack.requests == []


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("#nowhere-at-all", "correct its name, or invite the app to it if it is private"),
        ("#review", 'did you mean "#reviews"?'),
    ],
)
async def test_an_unknown_name_is_for_a_person_to_correct(
    api: SlackApi, known: ChannelIds, written: str, says: str
) -> None:
    error = await error_of(ChannelAddress(api, written, known))
    assert error.kind is ErrorKind.RECEIVER
    assert f"there is no channel {written}" in str(error)
    assert says in str(error)


async def test_the_channel_that_is_not_archived_has_the_name(
    slack: EmbeddedSlack, api: SlackApi, known: ChannelIds
) -> None:
    slack.channels[CHANNEL].archived = True
    address = ChannelAddress(api, "#reviews", known)
    assert await address.look_up() == CHANNEL
    slack.add_channel("C999", "reviews")
    assert await address.look_up() == "C999"


@pytest.mark.parametrize("cause", ["renamed", "down", "no scope"])
async def test_the_id_from_before_is_used_where_the_name_is_not_found(
    slack: EmbeddedSlack, api: SlackApi, known: ChannelIds, cause: str
) -> None:
    await ChannelAddress(api, "#reviews", known).resolve()
    if cause == "renamed":
        slack.channels[CHANNEL].name = "feedback"
    elif cause == "down":
        slack.faults.always(LIST, saying("internal_error", 503))
    else:
        slack.add_token(TOKEN, scopes=[scope for scope in SCOPES if ":read" not in scope])
    assert await ChannelAddress(api, "#reviews", known).resolve() == CHANNEL


async def test_a_lost_answer_to_the_list_leaves_no_doubt_about_a_message(
    slack: EmbeddedSlack, api: SlackApi, known: ChannelIds
) -> None:
    slack.faults.add(LIST, saying("internal_error", 503))
    error = await error_of(ChannelAddress(api, "#reviews", known))
    assert (error.kind, error.in_doubt) == (ErrorKind.TRANSIENT, False)


def test_ids_are_kept_for_each_workspace(state: State) -> None:
    one, other = ChannelIds(state, "slack"), ChannelIds(state, "slack:env:OTHER")
    one.put("#reviews", CHANNEL)
    other.put("#reviews", OTHER)
    one.put("#reviews", "C3")
    assert (one.get("#reviews"), other.get("#reviews")) == ("C3", OTHER)
    one.delete("#reviews")
    assert (one.get("#reviews"), other.get("#reviews")) == (None, OTHER)
    nothing = no_channels()
    nothing.put("#reviews", CHANNEL)
    nothing.delete("#reviews")
    assert nothing.get("#reviews") is None
