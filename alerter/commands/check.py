"""`alerter check`: the config, then each site, token and receiver, without sending; `alerter test`: a sample, sent."""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, load
from alerter.commands.terminal import print_findings
from alerter.config import Config, Receiver, Site
from alerter.config.fields import LISTENS_BEYOND_LOOPBACK, is_loopback
from alerter.errors import DeliveryError, RenderError, StateError, WixAuthError, WixError
from alerter.logs import log_to_stderr
from alerter.models import Finding
from alerter.notify.destination import Destination
from alerter.render.formatting import cut
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, awkward, sample
from alerter.render.templates import template_names
from alerter.service.runtime import open_destinations, open_wix
from alerter.store import State, blocks
from alerter.trouble.tracker import Troubles
from alerter.watch.routing import uncovered_ratings
from alerter.wix.client import WixClient

_LONGEST = 300


def check_config(config: Config, clock: Clock) -> list[Finding]:
    """Look at everything that needs no service."""
    return [*check_exposure(config), *check_routing(config), *check_templates(config, clock)]


def check_routing(config: Config) -> list[Finding]:
    """Warn of low-rated reviews that would be recorded, and told to nobody."""
    findings = []
    covering: defaultdict[str, list[Receiver]] = defaultdict(list)
    for receiver in config.receivers:
        for name in config.sites_of(receiver):
            covering[name].append(receiver)
    for site in config.sites:
        nobody, choosy = uncovered_ratings(site.name, config.threshold(site), covering[site.name])
        for ratings, text in (
            (
                nobody,
                "nobody would hear of its reviews with {}; let a receiver without those limits hear of them",
            ),
            (
                choosy,
                "its reviews with {} are heard of by product or keyword only; those that fit none go to nobody",
            ),
        ):
            if ratings:
                findings.append(
                    Finding(
                        ok=True,
                        subject=f"site {site.name}",
                        text=text.format(_stars(ratings)),
                        warning=True,
                    )
                )
    return findings


def check_exposure(config: Config) -> list[Finding]:
    """Warn of what the config opens to others."""
    found = []
    if config.web and not is_loopback(config.web.listen[0]):
        found.append(
            Finding(ok=True, subject="web.listen", text=LISTENS_BEYOND_LOOPBACK, warning=True)
        )
    if config.include and config.include_env is None:
        text = 'its files may use every variable and credential; list those that are for them: include_env = ["…"]'
        found.append(Finding(ok=True, subject="include", text=text, warning=True))
    return found


def _stars(ratings: Sequence[int]) -> str:
    *others, last = [str(rating) for rating in ratings]
    return (
        f"{', '.join(others)} or {last} stars"
        if others
        else f"{last} star{'' if last == '1' else 's'}"
    )


def check_templates(config: Config, clock: Clock) -> list[Finding]:
    """Render every kind of message, of plain and of awkward reviews, so that a broken template is found now."""
    site = config.sites[0]
    renderer = Renderer(
        config.templates, config.timezone, {site.site_id: site.name}, fall_back=False
    )
    faults: dict[str, str] = {}
    for kind in KINDS:
        usual = sample(kind, site.site_id, clock.now())
        for name, message in (("a usual one", usual), *awkward(kind, site.site_id, clock.now())):
            for render in (renderer.mail, renderer.slack):
                try:
                    render(message)
                except RenderError as error:
                    faults.setdefault(
                        error.fault, f"{cut(str(error), _LONGEST)} (found with {kind}: {name})"
                    )
    return [Finding(ok=False, subject="templates", text=text) for text in faults.values()] or [
        Finding(ok=True, subject="templates", text="every kind of message renders")
    ]


def template_scopes() -> list[str]:
    """The scopes of trouble that are over when every template works."""
    return [f"template:{name}" for name in template_names()]


async def check_site(wix: WixClient, site: Site) -> Finding:
    """Ask a site for one review, and say what it answered."""
    subject = f"site {site.name}"
    try:
        await wix.probe(site, private=True)
    except WixAuthError as error:
        if error.status == 403:
            return await _check_published(wix, site, error)
        return Finding(
            ok=False, subject=subject, text=f"{error}; look at its key or app in the config"
        )
    except WixError as error:
        return Finding(ok=False, subject=subject, text=f"{error}; try again later")
    except Exception as error:  # noqa: BLE001 - whatever it is, the other lines are checked
        return _unforeseen(subject, error)
    if wix.credentials.is_unverified(site):
        text = "its reviews can be read; Wix does not say whose they are: see that instance_id is of this site"
        return Finding(ok=True, subject=subject, text=text, warning=True)
    return Finding(ok=True, subject=subject, text="its reviews can be read, unpublished ones too")


def _unforeseen(subject: str, error: Exception) -> Finding:
    """A fault that nobody foresaw fails one line of the check; the others are made all the same."""
    text = f"a fault of alerter itself ({type(error).__name__}); the log of a running daemon has its details"
    return Finding(ok=False, subject=subject, text=text)


async def _check_published(wix: WixClient, site: Site, refusal: WixAuthError) -> Finding:
    subject = f"site {site.name}"
    try:
        await wix.probe(site, private=False)
    except WixError:
        return Finding(
            ok=False, subject=subject, text=f"{refusal}; grant it Read Reviews and Manage Reviews"
        )
    text = "only published reviews can be read; grant Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS) to see pending ones"
    return Finding(ok=True, subject=subject, text=text, warning=True)


async def check_services(
    config: Config,
    clock: Clock,
    wix: WixClient,
    destinations: Sequence[Destination],
    mended: Sequence[str] = (),
) -> list[Finding]:
    """Ask every site and every receiver's service; `mended` are further scopes that have been seen to work."""
    sites = await asyncio.gather(*(check_site(wix, site) for site in config.sites))
    receivers = await asyncio.gather(
        *(_check_destination(destination) for destination in destinations)
    )
    for destination in destinations:
        await destination.notifier.close()
    good = [
        destination
        for destination, found in zip(destinations, receivers, strict=True)
        if all(finding.ok for finding in found)
    ]
    back = _bring_back(config, clock, good, mended)
    return [*sites, *(finding for findings in receivers for finding in findings), *back]


async def _check_destination(destination: Destination) -> list[Finding]:
    try:
        return await destination.notifier.check()
    except Exception as error:  # noqa: BLE001 - as above
        return [_unforeseen(f"receiver {destination.receiver}", error)]


def _bring_back(
    config: Config, clock: Clock, good: Sequence[Destination], mended: Sequence[str] = ()
) -> list[Finding]:
    """Unpark receivers that have just been seen to work; what was kept for them leaves with the next round."""
    named = {
        scope
        for destination in good
        for scope in (*destination.scopes, f"addresses:{destination.receiver}")
    }
    scopes = [*sorted(named), *mended]
    try:
        state = State.read(config.state_path)
        if state is None:
            return []
        state.close()
        with State.open(config.state_path, migrate=False) as state, state.transaction():
            lifted = blocks.lift(state, scopes)
            Troubles(state, config, clock, wake=lambda _: None).end(scopes)
    except StateError as error:
        return [Finding(ok=False, subject="state", text=str(error))]
    return [
        Finding(ok=True, subject=scope, text="was parked, and is open again") for scope in lifted
    ]


async def send_samples(config: Config, clock: Clock, receivers: Collection[str]) -> list[Finding]:
    """Send a sample alert, marked as a test, to these receivers, and report what their services answered."""
    async with open_destinations(config, clock) as destinations:
        chosen = [destination for destination in destinations if destination.receiver in receivers]
        findings = await asyncio.gather(
            *(_send_sample(config, clock, destination) for destination in chosen)
        )
    good = [
        destination for destination, finding in zip(chosen, findings, strict=True) if finding.ok
    ]
    return [*findings, *_bring_back(config, clock, good)]


async def _send_sample(config: Config, clock: Clock, destination: Destination) -> Finding:
    subject = f"receiver {destination.receiver}"
    site, domain = config.sites[0], destination.notifier.domain
    message = sample("new", site.site_id, clock.now(), destination=destination.name, domain=domain)
    try:
        receipt = await destination.notifier.send(message, destination.render(message, test=True))
    except (DeliveryError, RenderError) as error:
        return Finding(ok=False, subject=subject, text=f"{destination.medium}: {error}")
    finally:
        await destination.notifier.close()
    if missed := receipt.refused + len(receipt.to_left):
        return Finding(
            ok=False, subject=subject, text=f"{missed} addresses refused it, the others have it"
        )
    return Finding(
        ok=True, subject=subject, text=f"{destination.medium}: sent; it answered {receipt.answer}"
    )


@click.command()
@config_option
@click.option("--offline", is_flag=True, help="Look at the config and the templates only.")
def command(path: Path | None, *, offline: bool) -> None:
    """Check the config, then each site, permission, token and receiver.

    Nothing is sent.
    """
    log_to_stderr(logging.ERROR, os.environ)
    config, clock = load(path), Clock()
    sizes = f"{len(config.sites)} sites, {len(config.receivers)} receivers"
    findings = [Finding(ok=True, subject="config", text=sizes)]
    findings += check_config(config, clock)
    mended = template_scopes() if all(finding.ok for finding in findings) else []

    async def ask() -> list[Finding]:
        async with open_wix(config, clock) as wix, open_destinations(config, clock) as destinations:
            return await check_services(config, clock, wix, destinations, mended)

    if not offline:
        findings += asyncio.run(ask())
    print_findings(findings)
