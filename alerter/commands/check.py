"""`alerter check`: check the config, sites, tokens and receivers, and send nothing.

Also the samples that `alerter test` sends.
"""

import asyncio
import logging
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.account_checks import check_accounts, check_names, sites_to_read
from alerter.commands.local_checks import check_files
from alerter.commands.options import (
    config_option,
    config_path,
    load,
    load_with_sites,
    with_some_site,
)
from alerter.commands.server_checks import check_cluster, check_server
from alerter.commands.shop_checks import check_catalog, check_orders
from alerter.commands.terminal import print_findings
from alerter.config import Config, Receiver, Site
from alerter.config.fields import LISTENS_BEYOND_LOOPBACK, is_loopback
from alerter.config.state import PostgresUrl
from alerter.errors import DeliveryError, RenderError, StateError, WixAuthError, WixError
from alerter.logs import log_to_stderr
from alerter.models import Finding
from alerter.notify.destination import Destination
from alerter.render.canned import CannedReplies
from alerter.render.formatting import cut
from alerter.render.renderer import Renderer
from alerter.render.samples import KINDS, awkward, sample
from alerter.render.templates import template_names
from alerter.respond.rules import parse_reply
from alerter.scopes import ALL_TROUBLE, Scope, is_lock
from alerter.service.destinations import open_recorded_destinations
from alerter.service.runtime import open_wix
from alerter.store import State, blocks, is_there
from alerter.text import counted
from alerter.trouble.tracker import Troubles
from alerter.watch.routing import uncovered_ratings
from alerter.wix.client import WixClient

_LONGEST = 300


def size_of(config: Config) -> Finding:
    """Return how much a good config holds."""
    sizes = f"{counted(len(config.sites), 'site')}, {counted(len(config.receivers), 'receiver')}"
    return Finding(ok=True, subject="config", text=sizes)


def check_config(config: Config, clock: Clock) -> list[Finding]:
    """Check everything that needs no service."""
    return [
        *check_exposure(config),
        *check_routing(config),
        *check_templates(config, clock),
        *check_replies(config, clock),
    ]


def check_routing(config: Config) -> list[Finding]:
    """Warn of low-rated reviews that would be recorded without notifying anybody.

    Sites of an account with the same fault share a line.
    """
    covering: defaultdict[str, list[Receiver]] = defaultdict(list)
    for receiver in config.receivers:
        for name in config.sites_of(receiver):
            covering[name].append(receiver)
    faulty: defaultdict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in config.sites:
        subject = f"account {site.account}" if site.account else f"site {site.name}"
        for text in _routing_faults(config, site, covering[site.name]):
            faulty[subject, text].append(site)
    findings = check_names(config)
    for (subject, text), sites in faulty.items():
        of = f" ({counted(len(sites), 'site')}, such as {sites[0].name})"
        whole = text + of if sites[0].account else text
        findings.append(Finding(ok=True, subject=subject, text=whole, warning=True))
    return findings


def _routing_faults(config: Config, site: Site, covering: Sequence[Receiver]) -> Iterator[str]:
    uncovered, limited = uncovered_ratings(site.name, config.limits(site).with_topic, covering)
    if uncovered:
        yield f"no receiver gets its reviews with {_phrase_ratings(uncovered)}; add one that does"
    if limited:
        yield (
            f"its reviews with {_phrase_ratings(limited)} are routed by product, keyword or"
            " topic only; no receiver gets those that match none"
        )


def check_exposure(config: Config) -> list[Finding]:
    """Warn of what the config opens to others."""
    findings = []
    if config.web and not is_loopback(config.web.listen[0]):
        text = LISTENS_BEYOND_LOOPBACK
        findings.append(Finding(ok=True, subject="web.listen", text=text, warning=True))
    if config.include and config.include_env is None:
        text = (
            "its files may use every variable and credential;"
            ' list those that they need: include_env = ["…"]'
        )
        findings.append(Finding(ok=True, subject="include", text=text, warning=True))
    return findings


def _phrase_ratings(ratings: Sequence[int]) -> str:
    """Return ratings such as `1 star` or `1, 2 or 3 stars`."""
    *others, last = map(str, ratings)
    if others:
        return f"{', '.join(others)} or {last} stars"
    return f"{last} star{'' if last == '1' else 's'}"


def check_templates(config: Config, clock: Clock) -> list[Finding]:
    """Render every kind of message about usual and awkward reviews, to find broken templates.

    In each language that a receiver has. The built-in templates are known to take awkward reviews.
    """
    site = with_some_site(config).sites[0]
    renderer = Renderer(
        config.templates, config.timezone, {site.site_id: site.name}, fall_back=False
    )
    languages = sorted({receiver.language for receiver in config.receivers})
    has_app = config.slack is not None and config.slack.app_token is not None
    slack = partial(renderer.slack, buttons=has_app)
    renders: tuple[Callable[..., object], ...] = (renderer.mail, slack)
    faults: dict[str, str] = {}
    for kind in KINDS:
        usual = sample(kind, site.site_id, clock.now())
        unusual = awkward(kind, site.site_id, clock.now()) if config.templates else ()
        for name, message in (("a usual one", usual), *unusual):
            for language, render in product(languages, renders):
                try:
                    render(message, language=language)
                except RenderError as error:
                    text = f"{cut(str(error), _LONGEST)} (found with {kind}: {name})"
                    faults.setdefault(error.fault, text)
    return [Finding(ok=False, subject="templates", text=text) for text in faults.values()] or [
        Finding(ok=True, subject="templates", text="every kind of message renders")
    ]


def check_replies(config: Config, clock: Clock) -> list[Finding]:
    """Render each canned reply about usual and awkward reviews; no finding without any."""
    canned = CannedReplies(config.replies, parse_reply)
    site = with_some_site(config).sites[0]
    usual, now = sample("new", site.site_id, clock.now()), clock.now()
    faults: dict[str, str] = {}
    for sort, message in (("a usual one", usual), *awkward("new", site.site_id, now)):
        for name in canned.names:
            try:
                canned.text(name, message.entries[0], site.name)
            except RenderError as error:
                text = f"{cut(str(error), _LONGEST)} (found with: {sort})"
                faults.setdefault(error.fault, text)
    if canned.names and not faults:
        text = f"{counted(len(canned.names), 'canned reply', 'canned replies')} can be sent"
        return [Finding(ok=True, subject="replies", text=text)]
    return [Finding(ok=False, subject="replies", text=text) for text in faults.values()]


def template_scopes() -> list[str]:
    """Return the scopes of trouble that end when every template renders."""
    return [Scope.TEMPLATE.of(name) for name in template_names()]


async def check_site(wix: WixClient, site: Site) -> Finding:
    """Request one review of a site, and return what its answer means."""
    subject = f"site {site.name}"
    try:
        await wix.probe(site, private=True)
    except WixAuthError as error:
        if error.status == 403:
            return await _check_published(wix, site, error)
        text = f"{error}; check its key or app in the config"
        return Finding(ok=False, subject=subject, text=text)
    except WixError as error:
        return Finding(ok=False, subject=subject, text=f"{error}; try again later")
    except Exception as error:  # noqa: BLE001 - the other lines are checked all the same
        return _defect(subject, error)
    if wix.credentials.is_unverified(site):
        text = (
            "its reviews can be read, but Wix does not name the site:"
            " check that instance_id belongs to it"
        )
        return Finding(ok=True, subject=subject, text=text, warning=True)
    return Finding(ok=True, subject=subject, text="its reviews can be read, unpublished ones too")


def _defect(subject: str, error: Exception) -> Finding:
    text = (
        f"a defect of alerter ({type(error).__name__}); the log of a running daemon has the details"
    )
    return Finding(ok=False, subject=subject, text=text)


async def _check_published(wix: WixClient, site: Site, refusal: WixAuthError) -> Finding:
    subject = f"site {site.name}"
    try:
        await wix.probe(site, private=False)
    except WixError:
        text = f"{refusal}; grant it Read Reviews and Manage Reviews"
        return Finding(ok=False, subject=subject, text=text)
    text = (
        "only published reviews can be read;"
        " grant Manage Reviews (REVIEWS.READ_PRIVATE_REVIEWS) to see pending ones"
    )
    return Finding(ok=True, subject=subject, text=text, warning=True)


async def _check_reads(config: Config, wix: WixClient, site: Site) -> list[Finding]:
    """Check that a site's reviews can be read, then the names of its products, and its orders."""
    finding = await check_site(wix, site)
    if not finding.ok:
        return [finding]
    catalog = await check_catalog(wix, site)
    of_orders = await check_orders(config, wix, site) if config.alerts.orders else []
    return [finding, *([catalog] if catalog else []), *of_orders]


async def check_online(
    config: Config, clock: Clock, working_scopes: Sequence[str] = ()
) -> list[Finding]:
    """Check every site and destination of a config, and unpark what works."""
    async with (
        open_wix(config, clock) as wix,
        open_recorded_destinations(config, clock) as destinations,
    ):
        findings = await check_services(config, clock, wix, destinations, working_scopes)
    if config.slack and config.slack.app_token:
        from alerter.slack.check import check_buttons  # noqa: PLC0415 - its client takes 12 MB

        findings.append(await check_buttons(config.slack, clock))
    return findings


async def check_services(
    config: Config,
    clock: Clock,
    wix: WixClient,
    destinations: Sequence[Destination],
    working_scopes: Sequence[str] = (),
) -> list[Finding]:
    """Check every site and destination, and unpark what works.

    `working_scopes` are further scopes that were found to work.
    """
    sites = await asyncio.gather(
        *(_check_reads(config, wix, site) for site in sites_to_read(config))
    )
    checks = await asyncio.gather(*(_check_destination(each) for each in destinations))
    working = [
        destination
        for destination, findings in zip(destinations, checks, strict=True)
        if destination.notifier.can_check and all(finding.ok for finding in findings)
    ]
    untried = [each for each in destinations if not each.notifier.can_check]
    unparked = _unpark(config, clock, working, working_scopes, untried)
    return [*(finding for findings in (*sites, *checks) for finding in findings), *unparked]


async def _check_destination(destination: Destination) -> list[Finding]:
    try:
        return await destination.notifier.check()
    except Exception as error:  # noqa: BLE001 - the other lines are checked all the same
        return [_defect(f"receiver {destination.receiver}", error)]


def _unpark(
    config: Config,
    clock: Clock,
    working: Sequence[Destination],
    working_scopes: Sequence[str] = (),
    untried: Sequence[Destination] = (),
) -> list[Finding]:
    """Unpark destinations that work, and end their trouble; the next round sends what waited.

    What is `untried` is tried with its next message, at once.
    """
    scopes = {Scope.ADDRESSES.of(each.receiver) for each in working}
    ordered = [*sorted(scopes | _scopes_of(config, working)), *working_scopes]
    try:
        if not is_there(config.database):
            return []
        locks = {ALL_TROUBLE, *filter(is_lock, ordered)}
        with State.open(config.database, migrate=False) as state, state.transaction(*locks):
            unparked = blocks.lift_blocks(state, ordered)
            waiting = blocks.retry_parked(state, _scopes_of(config, untried))
            Troubles(state, config, clock, wake=lambda _: None).end(ordered)
    except StateError as error:
        return [Finding(ok=False, subject="state", text=str(error))]
    text = "is parked; its next message tries it"
    return [
        *(
            Finding(ok=True, subject=scope, text="was parked, and works again")
            for scope in unparked
        ),
        *(Finding(ok=True, subject=scope, text=text, warning=True) for scope in waiting),
    ]


def _scopes_of(config: Config, destinations: Sequence[Destination]) -> set[str]:
    """Return the scopes whose blocks keep messages from some destinations."""
    receivers = config.destinations()
    return {
        scope for each in destinations for scope in config.scopes(receivers[each.name], each.name)
    }


async def send_samples(config: Config, clock: Clock, receivers: Collection[str]) -> list[Finding]:
    """Send a sample alert, marked as a test, to these receivers, and return the answers."""
    config = with_some_site(config)
    async with open_recorded_destinations(config, clock) as destinations:
        chosen = [destination for destination in destinations if destination.receiver in receivers]
        findings = await asyncio.gather(*(_send_sample(config, clock, each) for each in chosen))
    working = [
        destination for destination, finding in zip(chosen, findings, strict=True) if finding.ok
    ]
    return [*findings, *_unpark(config, clock, working)]


async def _send_sample(config: Config, clock: Clock, destination: Destination) -> Finding:
    subject = f"receiver {destination.receiver}"
    site, domain = config.sites[0], destination.notifier.domain
    message = sample(
        "new",
        site.site_id,
        clock.now(),
        destination=destination.name,
        domain=domain,
        with_order=config.alerts.orders,
    )
    try:
        receipt = await destination.notifier.send(message, destination.render(message, test=True))
    except (DeliveryError, RenderError) as error:
        return Finding(ok=False, subject=subject, text=f"{destination.medium}: {error}")
    finally:
        await destination.notifier.close()
    if refused := receipt.refused + len(receipt.to_left):
        text = f"{counted(refused, 'address', 'addresses')} refused it, the others accepted it"
        return Finding(ok=False, subject=subject, text=text)
    text = f"{destination.medium}: sent; the answer was {receipt.answer}"
    return Finding(ok=True, subject=subject, text=text)


@click.command()
@config_option
@click.option("--offline", is_flag=True, help="Check config, files and templates only.")
def command(path: Path | None, *, offline: bool) -> None:
    """Check config, files, sites, permissions, tokens and receivers.

    Nothing is sent. Each line begins with ok, warn or FAIL.
    """
    log_to_stderr(logging.ERROR, os.environ)
    clock = Clock()
    try:
        config = load_with_sites(path)
    except StateError:  # `check_files` says what is wrong with it
        config = load(path)
    listed: list[Finding] = []
    if not offline:
        config, listed = asyncio.run(check_accounts(config, clock))
    findings = [size_of(config), *listed]
    findings += check_files(config_path(path), config)
    if isinstance(config.database, PostgresUrl) and not offline:
        findings += [*check_server(config.database, clock), *check_cluster(config, os.environ)]
    findings += check_config(config, clock)
    working = template_scopes() if all(finding.ok for finding in findings) else []
    if not offline:
        failed = {finding.subject for finding in findings if not finding.ok}
        online = asyncio.run(check_online(config, clock, working))
        findings += [finding for finding in online if finding.subject not in failed]
    print_findings(findings)
