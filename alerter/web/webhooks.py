"""Webhooks of Wix: checked, recorded, answered; then people are told."""

import asyncio
import logging
from collections import defaultdict

from aiohttp import web

from alerter.config import Config, Site
from alerter.counters import counts
from alerter.errors import StateError
from alerter.watch.changes import Changes
from alerter.watch.intake import Intake
from alerter.watch.wix_event import Notice, UnreadableEvent, read_event, read_notice
from alerter.watch.wix_review import UnreadableReview
from alerter.web.signature import BadSignature, Signatures

log = logging.getLogger(__name__)

# What becomes of a webhook, as it is counted.
OUTCOMES = ("taken", "refused", "too_large", "unknown_site", "unknown_event", "unreadable", "failed")
_MOST_REMEMBERED = 100


class Webhooks:
    """Takes what Wix sends."""

    def __init__(self, config: Config, intake: Intake) -> None:
        self._config = config
        self._intake = intake
        self._signatures = Signatures(config.apps)
        self._recorded: defaultdict[str, list[Changes]] = defaultdict(list)
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()
        self._failing: str | None = None

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook: 200 once what it says is on record, or is of no concern to us."""
        try:
            token = await request.read()
            data = self._signatures.data(token.strip())
        except web.HTTPRequestEntityTooLarge:
            counts["webhooks_too_large"] += 1
            raise
        except BadSignature:
            counts["webhooks_refused"] += 1
            self._tell_once("a webhook was refused: Wix has not signed it with the key of any app in [[apps]]")
            return web.Response(status=401, text="the signature does not hold\n")
        outcome = self._take(data)
        counts[f"webhooks_{outcome}"] += 1
        if outcome == "failed":
            return web.Response(status=503, text="cannot be recorded now, try again\n")
        return web.Response(text=f"{outcome}\n")

    def _take(self, data: object) -> str:
        """Record what a signed webhook says, and return what became of it. Nothing is awaited on the way."""
        try:
            notice = read_notice(data)
            event = read_event(notice)
        # Sent again it would be no better; the next round or rescan reads the review itself.
        except UnreadableEvent as error:
            self._tell_once(f"a webhook is left out: {error}")
            return "unreadable"
        except UnreadableReview as error:
            self._tell_once(f"a webhook is left out: its review {error}")
            return "unreadable"
        if event is None:
            return "unknown_event"
        site = self._site(notice)
        if site is None:
            self._tell_once(f"a webhook is of a site that is not in the config (instance {_shown(notice.instance_id)})")
            return "unknown_site"
        try:
            changes = self._intake.hear(site, event)
        except StateError as error:
            self._failed(str(error))
            return "failed"
        self._worked()
        self._tell_later(site, changes)
        return "taken"

    def _site(self, notice: Notice) -> Site | None:
        """The site by the app's instance, which is what Wix promises to send, else by its own id."""
        sites = self._config.sites
        by_instance = (site for site in sites if notice.instance_id and site.instance_id == notice.instance_id)
        by_id = (site for site in sites if site.site_id == notice.site_id)
        return next(by_instance, None) or next(by_id, None)

    def _tell_later(self, site: Site, changes: Changes) -> None:
        """Have people told, but not before Wix has its answer: names of products may take seconds."""
        self._recorded[site.site_id].append(changes)
        if site.site_id not in self._telling:
            self._telling[site.site_id] = asyncio.create_task(self._tell(site))

    async def _tell(self, site: Site) -> None:
        """Tell of all that has come in; what comes meanwhile is told of together, so a burst asks for a name once."""
        try:
            while recorded := self._recorded.pop(site.site_id, None):
                try:
                    await self._intake.tell(site, *recorded)
                except StateError as error:  # what was erased is not overwritten yet
                    self._failed(str(error))
        finally:
            del self._telling[site.site_id]

    async def stop(self) -> None:
        """End what is under way: what it would tell is in the outbox."""
        telling = list(self._telling.values())
        for task in telling:
            task.cancel()
        await asyncio.gather(*telling, return_exceptions=True)

    def _tell_once(self, text: str) -> None:
        if text not in self._told and len(self._told) < _MOST_REMEMBERED:
            self._told.add(text)
            log.warning(text)

    def _failed(self, text: str) -> None:
        if text != self._failing:
            log.error("webhooks are not taken, Wix sends them again: %s", text)
            self._failing = text

    def _worked(self) -> None:
        if self._failing:
            log.info("webhooks are taken again")
            self._failing = None


def _shown(instance_id: str | None) -> str:
    return instance_id if instance_id and len(instance_id) <= 64 and instance_id.isprintable() else "without a name"
