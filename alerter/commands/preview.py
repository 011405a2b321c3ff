"""`alerter preview`: write messages to files, as they would look."""

import difflib
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import (
    config_option,
    config_path,
    find_review_id,
    load_with_sites,
    phrase_near_id,
    unknown_name,
    with_some_site,
)
from alerter.config import Config, Receiver
from alerter.config.fields import LANGUAGES
from alerter.errors import AlerterError, RenderError
from alerter.models import Medium, Message, MessageItem, destination_of
from alerter.render.discord import render_discord
from alerter.render.page import render_blocks, render_index
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, OF_REVIEWS, sample
from alerter.render.teams import render_teams
from alerter.store import State, items

# What a preview shows where there is no config.
_SAMPLE = {
    "state": "state.db",
    "sites": [
        {
            "name": "Corner Bakery",
            "site_id": "11111111-1111-4111-8111-111111111111",
            "api_key": "env:WIX_API_KEY",
        }
    ],
    "slack": {"token": "env:SLACK_BOT_TOKEN"},
    "receivers": [{"name": "owner", "slack": "C0123456789"}],
}


def _load_config(path: Path | None, *, is_needed: bool) -> Config:
    """Load the config; without one, and if none is needed, return a sample. Raise ConfigError."""
    named = path or os.environ.get("ALERTER_CONFIG")
    if is_needed or named or config_path(None).exists():
        return with_some_site(load_with_sites(path, secrets=False))
    click.echo("no config.toml here: a sample site, and the built-in templates", err=True)
    return Config.model_validate(_SAMPLE, context={"secrets": False})


def _chosen_kinds(kind: str | None, *, of_review: bool) -> Sequence[str]:
    """Return the kinds of message to write. Raise BadParameter."""
    known = OF_REVIEWS if of_review else KINDS
    if kind is None:
        return known
    if kind in known:
        return [kind]
    if kind in KINDS:
        raise click.BadParameter(f"a {kind} message is not about one review; leave --review out")
    near = difflib.get_close_matches(kind, known, 1)
    hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known)}"
    raise click.BadParameter(f'there is no kind of message "{kind}"; {hint}')


def _stored_review(config: Config, review_id: str) -> MessageItem:
    """Return the stored review whose id is, or begins with, `review_id`.

    Raise AlerterError if there is none, and BadParameter if there are several.
    """
    with State.read(config.database) as state:
        found = find_review_id(state, None, review_id, "--review")
        item = items.get_review_item(state, found) if found else None
        near = phrase_near_id(state, None, review_id)
    if item is None:
        problem = f'there is no review "{review_id}" on record in {config.database}'
        raise AlerterError(problem + near)
    return item


def _messages(
    config: Config, kinds: Sequence[str], receiver: Receiver | None, item: MessageItem | None
) -> Iterator[tuple[str, Message]]:
    """Yield a message of each kind: about the item, if there is one, else about a sample."""
    site = next(
        (site for site in config.sites if receiver is None or receiver.covers(site.name)),
        config.sites[0],
    )
    site_id = item.alert.site_id if item and item.alert.site_id else site.site_id
    name = receiver.name if receiver else "preview"
    for kind in kinds:
        destination = destination_of(name, Medium.EMAIL)
        yield (
            kind,
            sample(
                kind,
                site_id,
                Clock().now(),
                destination=destination,
                of=item,
                with_order=config.alerts.orders,
            ),
        )


def _write(
    config: Config,
    messages: Iterator[tuple[str, Message]],
    receiver: Receiver | None,
    language: str,
    folder: Path | None,
) -> Iterator[Path | RenderError]:
    """Write messages to files; yield the paths, and the errors of templates. Raise AlerterError.

    Several kinds get an `index.html`.
    """
    written: dict[str, list[str]] = {}
    sites = config.site_names
    renderer = Renderer(config.templates, config.timezone, sites, fall_back=False)
    try:
        folder = folder or Path(tempfile.mkdtemp(prefix="alerter-preview-"))
        folder.mkdir(parents=True, exist_ok=True)
        for kind, message in messages:
            for medium in _media(receiver, kind):
                render = _RENDERERS[medium]
                try:
                    files = render(renderer, message, language, config, receiver)
                except RenderError as error:
                    yield error
                    continue
                for ending, text in files.items():
                    path = folder / f"{kind}.{ending}"
                    path.write_text(text, "utf-8")
                    written.setdefault(kind, []).append(path.name)
                    yield path
        if len(written) > 1:
            (folder / "index.html").write_text(render_index(written), "utf-8")
            yield folder / "index.html"
    except OSError as error:
        raise AlerterError(f"{error.filename}: cannot be written: {error.strerror}") from error


def _media(receiver: Receiver | None, kind: str) -> list[Medium]:
    """Return the media of a receiver that have messages of a kind; email and Slack without one."""
    media = [Medium.EMAIL, Medium.SLACK] if receiver is None else receiver.media
    no_digests = {Medium.WEBHOOK} if kind == "digest" else set()
    return [each for each in media if each in _RENDERERS.keys() - no_digests]


def _has_buttons(config: Config, receiver: Receiver | None) -> bool:
    has_app = config.slack is not None and config.slack.app_token is not None
    return has_app and (receiver is None or receiver.token is None)


class _SampleLinks:
    """Links that lead nowhere, so that mails have the buttons of the review page."""

    def __init__(self, public_url: str) -> None:
        self._public_url = public_url

    def review(self, item: MessageItem) -> str:  # noqa: ARG002 - the same for all
        return f"{self._public_url}/review/sample"

    def open_reviews(self, raised_at: datetime | None) -> str:  # noqa: ARG002 - the same for all
        return f"{self._public_url}/reviews/sample"


def _mail_files(
    renderer: Renderer, message: Message, language: str, config: Config, _: Receiver | None
) -> dict[str, str]:
    public_url = config.web.public_url if config.web else None
    links = _SampleLinks(public_url) if public_url else None
    content = renderer.mail(message, language=language, links=links)
    return {"html": content.html, "txt": f"Subject: {content.subject}\n\n{content.text}"}


def _slack_files(
    renderer: Renderer, message: Message, language: str, config: Config, receiver: Receiver | None
) -> dict[str, str]:
    buttons = _has_buttons(config, receiver)
    if receiver is None:
        content = renderer.slack(message, language=language, buttons=buttons)
    else:
        content = renderer.slack(
            message,
            language=language,
            mention=receiver.mention,
            mention_max_rating=receiver.mention_max_rating,
            buttons=buttons,
        )
    body = {"text": content.text, "blocks": content.blocks}
    return {
        "slack.json": json.dumps(body, indent=2, ensure_ascii=False) + "\n",
        "slack.html": render_blocks(content.blocks, title=content.subject, language=language),
    }


def _webhook_files(
    renderer: Renderer, message: Message, language: str, _config: Config, _: Receiver | None
) -> dict[str, str]:
    body = json.loads(renderer.webhook(message, language=language).text)
    return {"webhook.json": json.dumps(body, indent=2, ensure_ascii=False) + "\n"}


def _ntfy_files(
    renderer: Renderer, message: Message, language: str, _config: Config, _: Receiver | None
) -> dict[str, str]:
    content = renderer.plain(message, Medium.NTFY, language=language)
    links = "".join(f"{label}: {url}\n" for label, url in content.links)
    return {"ntfy.txt": f"Title: {content.subject}\n{links}\n{content.text}\n"}


def _discord_files(
    renderer: Renderer, message: Message, language: str, _config: Config, _: Receiver | None
) -> dict[str, str]:
    body = render_discord(renderer, message, language=language).blocks[0]
    return {"discord.json": json.dumps(body, indent=2, ensure_ascii=False) + "\n"}


def _teams_files(
    renderer: Renderer, message: Message, language: str, _config: Config, _: Receiver | None
) -> dict[str, str]:
    card = render_teams(renderer, message, language=language).blocks[0]
    return {"teams.json": json.dumps(card, indent=2, ensure_ascii=False) + "\n"}


_RENDERERS = {
    Medium.EMAIL: _mail_files,
    Medium.SLACK: _slack_files,
    Medium.WEBHOOK: _webhook_files,
    Medium.NTFY: _ntfy_files,
    Medium.DISCORD: _discord_files,
    Medium.TEAMS: _teams_files,
}


@click.command()
@config_option
@click.argument("kind", required=False, metavar="[KIND]")
@click.option(
    "--receiver", metavar="NAME", help="As this receiver would get it, by what it is reached by."
)
@click.option(
    "--review",
    "review_id",
    metavar="ID",
    help="Of this stored review (its id or the beginning of it), not a made-up one.",
)
@click.option(
    "--language",
    type=click.Choice(list(LANGUAGES)),
    help="In this language; that of the receiver, or English, if left out.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to; a new one if left out.",
)
def command(
    path: Path | None,
    kind: str | None,
    receiver: str | None,
    review_id: str | None,
    language: str | None,
    folder: Path | None,
) -> None:
    """Write messages to files, as they would look, and print their paths.

    KIND is new, lowered, reminder, closed, digest, cluster, summary, trouble or recovered; every
    kind if left out, with an index.html that shows them side by side. Works without a config too.
    """
    config = _load_config(path, is_needed=receiver is not None or review_id is not None)
    kinds = _chosen_kinds(kind, of_review=review_id is not None)
    known = {each.name: each for each in config.receivers}
    if receiver is not None and receiver not in known:
        raise unknown_name("receiver", receiver, known)
    item = _stored_review(config, review_id) if review_id is not None else None
    chosen = known.get(receiver or "")
    language = language or (chosen.language if chosen else "en")
    failed = False
    messages = _messages(config, kinds, chosen, item)
    for result in _write(config, messages, chosen, language, folder):
        is_error = isinstance(result, RenderError)
        failed = failed or is_error
        click.echo(result, err=is_error)
    sys.exit(1 if failed else 0)
