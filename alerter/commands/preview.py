"""`alerter preview`: messages as files to look at; `alerter templates export`: the built-in templates, to edit."""

import difflib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load, unknown_name
from alerter.config import Config, Receiver
from alerter.errors import AlerterError, RenderError
from alerter.models import Medium, Message, MessageItem, destination_of
from alerter.render.page import render_blocks
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, OF_REVIEWS, sample
from alerter.render.templates import builtin_names, builtin_templates
from alerter.store import State, on_record


def kinds(kind: str | None, *, of_review: bool) -> Sequence[str]:
    """The kinds of message that are meant. Raises BadParameter."""
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


def find(config: Config, review_id: str) -> MessageItem:
    """A review on record. Raises AlerterError where there is none."""
    state = State.read(config.state_path)
    try:
        found = on_record.entry(state, review_id) if state else None
    finally:
        if state:
            state.close()
    if found is None:
        raise AlerterError(f'there is no review "{review_id}" on record in {config.state_path}')
    return found


def write(
    config: Config,
    clock: Clock,
    kinds: Sequence[str],
    receiver: Receiver | None,
    of: MessageItem | None,
    folder: Path | None,
) -> Iterator[Path | RenderError]:
    """Write a message of each kind to files and yield their paths, or what breaks. Raises AlerterError."""
    sites = {site.site_id: site.name for site in config.sites}
    renderer = Renderer(config.templates, config.timezone, sites, fall_back=False)
    ways = [
        way
        for way, wanted in (
            (_mail, receiver is None or receiver.email),
            (partial(_slack, receiver), receiver is None or receiver.slack),
        )
        if wanted
    ]
    site = next(
        site for site in config.sites if receiver is None or site.name in config.sites_of(receiver)
    )
    try:
        folder = folder or Path(tempfile.mkdtemp(prefix="alerter-preview-"))
        folder.mkdir(parents=True, exist_ok=True)
        for kind in kinds:
            site_id = of.alert.site_id if of and of.alert.site_id else site.site_id
            name = receiver.name if receiver else "preview"
            message = sample(
                kind, site_id, clock.now(), destination=destination_of(name, Medium.EMAIL), of=of
            )
            for way in ways:
                try:
                    files = way(renderer, message)
                except RenderError as error:
                    yield error
                else:
                    yield from (
                        _written(folder / f"{kind}.{ending}", text)
                        for ending, text in files.items()
                    )
    except OSError as error:
        raise AlerterError(f"{error.filename}: cannot be written: {error.strerror}") from error


def _mail(renderer: Renderer, message: Message) -> dict[str, str]:
    content = renderer.mail(message)
    return {"html": content.html, "txt": f"Subject: {content.subject}\n\n{content.text}"}


def _slack(receiver: Receiver | None, renderer: Renderer, message: Message) -> dict[str, str]:
    if receiver is None:
        content = renderer.slack(message)
    else:
        content = renderer.slack(
            message, mention=receiver.mention, mention_max_rating=receiver.mention_max_rating
        )
    said = {"text": content.text, "blocks": content.blocks}
    return {
        "slack.json": json.dumps(said, indent=2, ensure_ascii=False) + "\n",
        "slack.html": render_blocks(content.blocks, title=content.subject),
    }


def _written(file: Path, text: str) -> Path:
    file.write_text(text, "utf-8")
    return file


def export(folder: Path) -> Iterator[str]:
    """Copy the built-in templates, and yield what became of each; one that is there is left alone.

    Raises AlerterError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in builtin_names():
            own, builtin = folder / name, (builtin_templates() / name).read_text("utf-8")
            if not own.exists():
                with own.open(
                    "x", encoding="utf-8"
                ) as file:  # never over one that was made just now
                    file.write(builtin)
                yield f"copied  {own}"
            elif own.read_bytes() == builtin.encode():
                yield f"same    {own}"
            else:
                yield f"kept    {own}: differs from the built-in one"
    except OSError as error:
        raise AlerterError(
            f"{error.filename or folder}: cannot be written: {error.strerror}"
        ) from error


@click.command()
@config_option
@click.argument("kind", required=False, metavar="[KIND]")
@click.option(
    "--receiver", metavar="NAME", help="As this receiver would get it: by email, or on Slack."
)
@click.option(
    "--review",
    "review_id",
    metavar="ID",
    help="Of this review on record, instead of a made-up one.",
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
    folder: Path | None,
) -> None:
    """Write messages to files, as they would look, and print their paths.

    KIND is new, lowered, reminder, closed, digest, summary, trouble or recovered; every kind if
    left out.
    """
    config = load(path, secrets=False)
    chosen = kinds(kind, of_review=review_id is not None)
    known = {each.name: each for each in config.receivers}
    if receiver is not None and receiver not in known:
        raise unknown_name("receiver", receiver, known)
    of = find(config, review_id) if review_id is not None else None
    good = True
    for written in write(config, Clock(), chosen, known.get(receiver or ""), of, folder):
        good = good and not isinstance(written, AlerterError)
        click.echo(written, err=isinstance(written, AlerterError))
    sys.exit(0 if good else 1)
