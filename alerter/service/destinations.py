"""Build the destinations of a config, each with its notifier and its renderer."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from types import ModuleType

from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.errors import StateError
from alerter.models import POSTED, Content, Medium, Message, destination_of
from alerter.notify.destination import Destination, Notifier
from alerter.notify.discord import DiscordNotifier
from alerter.notify.http_address import HttpAddress
from alerter.notify.ntfy import LARGEST_DIGEST, NtfyNotifier
from alerter.notify.teams import TeamsNotifier
from alerter.notify.webhook import WebhookNotifier
from alerter.render.discord import MOST_DESCRIPTION, length_of_embeds, render_discord
from alerter.render.renderer import Links, Renderer
from alerter.render.teams import MOST_BYTES, render_teams, size_of_card
from alerter.slack.app import SlackApp
from alerter.store import State, known_sites
from alerter.store.channels import ChannelIds
from alerter.watch.quiet import quiet_until

# Reviews in a digest. Slack takes what fits into its blocks; Gmail folds a mail past 102 kB.
_SLACK_DIGEST = 90
# Characters in the blocks of a message. Slack refused 11,341, an undocumented limit:
# https://github.com/slackapi/bolt-js/issues/2867
_SLACK_BUDGET = 9000
_MAIL_DIGEST = 1000
_NTFY_DIGEST = 90
_CHAT_DIGEST = 90
# The notifier and the drawing of each chat, how long its messages may be, and how that is counted.
_CHATS = {
    Medium.DISCORD: (DiscordNotifier, render_discord, MOST_DESCRIPTION, length_of_embeds),
    Medium.TEAMS: (TeamsNotifier, render_teams, MOST_BYTES, size_of_card),
}


@asynccontextmanager
async def open_destinations(
    config: Config, clock: Clock, state: State | None = None, app: SlackApp | None = None
) -> AsyncIterator[list[Destination]]:
    """Yield the destinations, each with its renderer and notifier, which are closed at the end.

    `state` has the names of sites that left the config, and the ids of Slack channels; without one
    none of them are known. `app`: the one whose messages have buttons while it is connected, if
    this process is there when people press them.
    """
    async with AsyncExitStack() as stack:
        recorded = state or stack.enter_context(State.empty())
        slack_there = any(
            config.workspace(receiver) for receiver in config.receivers if receiver.slack
        )
        session = await stack.enter_async_context(_slack().open_session()) if slack_there else None
        names = known_sites.site_names(recorded) | config.site_names
        renderer = Renderer(config.templates, config.timezone, names, host=socket.gethostname())
        destinations = []
        for receiver in config.receivers:
            if receiver.email and config.smtp:
                destinations.append(_email_destination(config, receiver, renderer))
            if receiver.slack and session and (workspace := config.workspace(receiver)):
                known = ChannelIds(recorded, config.service(receiver, Medium.SLACK))
                own = app if receiver.token is None else None
                notifier = _slack().SlackNotifier(
                    workspace, receiver.name, receiver.slack, session, clock, known, own
                )
                destinations.append(_slack_destination(config, receiver, notifier, renderer, own))
            destinations += [
                _posted_destination(config, receiver, medium, renderer, clock)
                for medium in receiver.media
                if medium in POSTED
            ]
        for each in destinations:
            stack.push_async_callback(each.notifier.close)
        yield destinations


@asynccontextmanager
async def open_recorded_destinations(
    config: Config, clock: Clock
) -> AsyncIterator[list[Destination]]:
    """Yield the destinations for a command; it reads the database, if there is one."""
    try:
        state = State.read(config.database)
    except StateError:
        state = State.empty()
    with state:
        async with open_destinations(config, clock, state) as destinations:
            yield destinations


def _email_destination(config: Config, receiver: Receiver, renderer: Renderer) -> Destination:
    destination = destination_of(receiver.name, Medium.EMAIL)
    service = config.service(receiver, Medium.EMAIL)
    notifier = _email().EmailNotifier(config.smtp, receiver.name, receiver.email)
    return Destination(
        destination,
        service,
        notifier,
        partial(renderer.mail, language=receiver.language, links=_mail_links(config, receiver)),
        _MAIL_DIGEST,
        refuse=partial(renderer.refuse, ".html"),
        faults=renderer.faults,
        held_until=_held_until(config, receiver),
    )


def _mail_links(config: Config, receiver: Receiver) -> Links | None:
    """Return the links of a receiver's mails to the review page; None without one."""
    if config.web is None or config.web.public_url is None:
        return None
    from alerter.web.signed_links import MailLinks, get_signer  # needs the extra `web`

    signer = get_signer(config)
    return MailLinks(signer, config, receiver) if signer else None


def _slack_destination(
    config: Config,
    receiver: Receiver,
    notifier: Notifier,
    renderer: Renderer,
    app: SlackApp | None,
) -> Destination:
    service = config.service(receiver, Medium.SLACK)

    def render(message: Message, *, test: bool = False) -> Content:
        return renderer.slack(
            message,
            test=test,
            language=receiver.language,
            mention=receiver.mention,
            mention_max_rating=receiver.mention_max_rating,
            buttons=app is not None and app.has_buttons,
        )

    return Destination(
        destination_of(receiver.name, Medium.SLACK),
        service,
        notifier,
        render,
        _SLACK_DIGEST,
        rate_key=f"{service}:{receiver.slack}",
        budget=_SLACK_BUDGET,
        refuse=partial(renderer.refuse, ".slack.json"),
        faults=renderer.faults,
        held_until=_held_until(config, receiver),
    )


def _posted_destination(
    config: Config, receiver: Receiver, medium: Medium, renderer: Renderer, clock: Clock
) -> Destination:
    name = destination_of(receiver.name, medium)
    address = HttpAddress(receiver.addresses(medium)[0], clock)
    if medium is Medium.WEBHOOK:
        return _webhook_destination(config, receiver, renderer, address, clock)
    if medium in _CHATS:
        return _chat_destination(config, receiver, medium, renderer, address)
    return Destination(
        name,
        config.service(receiver, medium),
        NtfyNotifier(receiver.name, address),
        partial(renderer.plain, medium=medium, language=receiver.language),
        _NTFY_DIGEST,
        rate_key=name,
        budget=LARGEST_DIGEST,
        refuse=partial(renderer.refuse, ".txt"),
        faults=renderer.faults,
        held_until=_held_until(config, receiver),
    )


def _chat_destination(
    config: Config, receiver: Receiver, medium: Medium, renderer: Renderer, address: HttpAddress
) -> Destination:
    notifier, render, budget, length = _CHATS[medium]
    name = destination_of(receiver.name, medium)
    return Destination(
        name,
        config.service(receiver, medium),
        notifier(receiver.name, address),
        partial(render, renderer, language=receiver.language),
        _CHAT_DIGEST,
        rate_key=name,
        budget=budget,
        length=length,
        held_until=_held_until(config, receiver),
    )


def _webhook_destination(
    config: Config, receiver: Receiver, renderer: Renderer, address: HttpAddress, clock: Clock
) -> Destination:
    """Return a destination without digests or pace: each alert is a request of its own."""
    secret = receiver.webhook_secret.get_secret_value() if receiver.webhook_secret else ""
    return Destination(
        destination_of(receiver.name, Medium.WEBHOOK),
        config.service(receiver, Medium.WEBHOOK),
        WebhookNotifier(receiver.name, address, secret, clock),
        partial(renderer.webhook, language=receiver.language),
        digest=1,
        held_until=_held_until(config, receiver),
    )


def _held_until(config: Config, receiver: Receiver) -> Callable[[datetime], datetime | None] | None:
    """Return the function from a moment to the end of the quiet hours that it lies in."""
    quiet = receiver.quiet
    if quiet is None:
        return None
    return lambda now: quiet_until(quiet, now, config.timezone)


def _slack() -> ModuleType:
    """Import the Slack notifier where the config has Slack: its client takes 12 MB."""
    from alerter.notify import slack

    return slack


def _email() -> ModuleType:
    from alerter.notify import email

    return email
