"""Buttons in the daemon: only where a press is received, and never a reason to hold an alert up."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from alerter.clock import Clock
from alerter.config import Config, load_config
from alerter.demo.mailbox import Mailbox
from alerter.demo.slack import EmbeddedSlack
from alerter.demo.wix import EmbeddedWix
from alerter.service.daemon import serve
from alerter.store import State, blocks, troubles
from tests.support.app_socket import APP_TOKEN, HeldClock
from tests.support.buttons import (
    RECEIVERS,
    REPLIES,
    TOKENS,
    at_counter,
    buttons_of,
    clock,
    config,
    slack,
    text_of,
    wix,
    write,
)
from tests.support.values import SITE
from tests.support.waiting import until

__all__ = ["clock", "config", "slack", "wix", "write"]

OWNER = '\n[[receivers]]\nname = "owner"\nemail = ["owner@example.com"]\ntrouble = true\n'


def reasons(state: State) -> list[str]:
    return [each.reason for each in troubles.get_troubles(state) if each.over_at is None]


async def test_a_refused_app_token_is_trouble_and_holds_up_no_alert(
    write: Callable[..., Config],
    state: State,
    clock: HeldClock,
    slack: EmbeddedSlack,
    wix: EmbeddedWix,
    mailbox: Mailbox,
) -> None:
    slack.revoke(APP_TOKEN)
    async with at_counter(write(RECEIVERS + OWNER), state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        post = await counter.alert()
        assert "respond:reply" not in buttons_of(post)
        assert reasons(state) == [
            "Slack refuses the app_token (token_revoked); renew it, or grant it connections:write"
        ]
        assert blocks.get_blocks(state) == []
        counter.runtime.dispatcher.troubles.refresh()
        assert len(reasons(state)) == 1
        await counter.deliver("email:owner")
        assert "buttons under alerts on Slack do not work" in mailbox.mails[0].text
        slack.add_app_token(APP_TOKEN)
        clock.go.set()
        await slack.socket.connected()
        clock.go.clear()
        await until(lambda: not reasons(state))


async def test_a_slack_without_a_connection_for_buttons_gets_its_alerts(
    config: Config, state: State, clock: HeldClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> None:
    slack.socket.fail_handshakes(999)
    waiting = asyncio.create_task(until(lambda: clock.slept))
    waiting.add_done_callback(lambda _: clock.advance(seconds=4))
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        assert "respond:reply" not in buttons_of(await counter.alert())
        assert reasons(state) == []


async def test_messages_of_another_app_lose_their_buttons(
    config: Config, state: State, clock: HeldClock, slack: EmbeddedSlack, wix: EmbeddedWix
) -> None:
    for token in slack.tokens.values():
        token.app_id = "A00000009"
    async with at_counter(config, state, clock, slack, wix) as counter:
        await counter.read()
        clock.advance(minutes=1)
        post = await counter.alert()
        await counter.deliver()
        assert "respond:reply" in str(post.edits[0].blocks)
        assert "respond:reply" not in buttons_of(post)
        assert "of another app" in reasons(state)[0]


async def test_alerts_of_a_run_that_ends_have_no_buttons(
    config: Config, slack: EmbeddedSlack, wix: EmbeddedWix, clock: HeldClock
) -> None:
    assert await serve(config, clock, {}, once=True)
    clock.advance(minutes=1)
    wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale", "body": "As stone."}})
    assert await serve(config, clock, {}, once=True)
    assert buttons_of(slack.posts[0]) == ["reply"]
    assert slack.socket.opened == 0


@pytest.mark.slow
async def test_a_reload_opens_and_closes_the_connection(
    write: Callable[..., Config], mailbox: Mailbox
) -> None:
    async with EmbeddedWix(requests_per_minute=None) as wix, EmbeddedSlack(pace=None) as slack:
        wix.add_site(SITE, api_key=TOKENS["WIX_API_KEY"])
        slack.add_token(TOKENS["SLACK_BOT_TOKEN"])
        slack.add_app_token(APP_TOKEN)
        slack.add_channel("C0123456789", "reviews")
        config = write(RECEIVERS, REPLIES + '\n[poll]\nevery = "1s"\n')
        path = config.database.parent / "config.toml"
        text = path.read_text()
        for old, new in (("wix", wix.base_url), ("slack", slack.base_url)):
            text = _with_base_url(text, old, new)
        without = text.replace('app_token = "env:SLACK_APP_TOKEN"\n', "")
        path.write_text(without)

        def load() -> Config:
            return load_config(path, TOKENS, secrets=True)

        running = asyncio.create_task(serve(load(), Clock(), {}, once=False, load=load))
        try:
            await until(lambda: len(wix.queries()) >= 2)
            wix.add(SITE, {"id": "r1", "content": {"rating": 1, "title": "Stale", "body": "x"}})
            await until(lambda: slack.posts)
            assert "respond:reply" not in buttons_of(slack.posts[0])
            path.write_text(text)
            os.kill(os.getpid(), signal.SIGHUP)
            await slack.socket.connected()
            wix.add(SITE, {"id": "r2", "content": {"rating": 1, "title": "Stale", "body": "y"}})
            await until(lambda: len(slack.posts) > 1)
            assert "respond:reply" in buttons_of(slack.posts[1])
            path.write_text(without)
            os.kill(os.getpid(), signal.SIGHUP)
            await slack.socket.connected(0)
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        assert "Stale" in text_of(slack.posts[0])


def _with_base_url(text: str, table: str, url: str) -> str:
    before, _, after = text.partition(f"[{table}]")
    head, _, tail = after.partition("base_url = ")
    return f'{before}[{table}]{head}base_url = "{url}"\n{tail.partition(chr(10))[2]}'
