"""Webhooks of Wix: checked, recorded, answered; then people are told."""

import asyncio
import logging
from collections import defaultdict
from contextlib import nullcontext

from aiohttp import web

from alerter.config import Config, Site
from alerter.counters import counts
from alerter.errors import StateError
from alerter.watch.changes import Changes
from alerter.watch.intake import Intake
from alerter.web.signature import BadSignature, Signatures, check_algorithm, parse_token
from alerter.wix.event import BadReviewId, Envelope, UnreadableEvent, parse_envelope, parse_event
from alerter.wix.review import UnreadableReview

log = logging.getLogger(__name__)

# What becomes of a webhook, as it is counted.
OUTCOMES = (
    "taken",
    "refused",
    "too_large",
    "unknown_site",
    "unknown_event",
    "unreadable",
    "busy",
    "failed",
)
_MOST_REMEMBERED = 100
# Each takes some milliseconds, so the last of them is answered within the 1.25 s that Wix waits.
_MOST_IN_HAND = 128
# Reading a large one takes milliseconds by itself; what Wix sends of most reviews is a few kilobytes.
_LARGE = 16 * 1024
_LARGE_AT_ONCE = 4
_ANSWERS = {
    "busy": (503, "busy, try again"),
    "failed": (503, "cannot be recorded now, try again"),
    "refused": (401, "the signature does not hold"),
}


class Webhooks:
    """Takes what Wix sends."""

    def __init__(self, config: Config, intake: Intake) -> None:
        self._config = config
        self._intake = intake
        self._signatures = Signatures(config.apps)
        self._in_hand = 0
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._recorded: defaultdict[str, list[Changes]] = defaultdict(list)
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()
        self._failing: str | None = None

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook: 200 once what it says is on record, or is of no concern to us."""
        try:
            body = (await request.read()).strip()
            outcome = await self._check(body)
        except web.HTTPRequestEntityTooLarge:
            counts["webhooks_too_large"] += 1
            raise
        except BadSignature:
            outcome = "refused"
            self._log_once(
                "a webhook was refused: Wix has not signed it with the key of any app in [[apps]]"
            )
        except BadReviewId as error:
            counts["webhooks_unreadable"] += 1
            self._log_once(f"a webhook was refused: {error}")
            return web.Response(status=400, text=f"{error}\n")
        counts[f"webhooks_{outcome}"] += 1
        status, text = _ANSWERS.get(outcome, (200, outcome))
        headers = {"Retry-After": "1"} if status == 503 else {}
        return web.Response(status=status, text=f"{text}\n", headers=headers)

    async def _check(self, body: bytes) -> str:
        """Check a body and record what it says. Raises BadSignature and BadReviewId."""
        check_algorithm(body)
        if self._in_hand >= _MOST_IN_HAND:
            return "busy"
        self._in_hand += 1
        try:
            async with self._large if len(body) > _LARGE else nullcontext():
                await asyncio.sleep(
                    0
                )  # so that all that have come are counted before the first is worked on
                token = parse_token(body)
                return self._take(token.data, await self._signatures.signer(token))
        finally:
            self._in_hand -= 1

    def _take(self, data: object, signer: str) -> str:
        """Record what a webhook signed for that app says, and return what became of it. Nothing is awaited."""
        try:
            envelope = parse_envelope(data)
            event = parse_event(envelope)
        # Sent again it would be no better; the next round or rescan reads the review itself.
        except UnreadableEvent as error:
            self._log_once(f"a webhook is left out: {error}")
            return "unreadable"
        except UnreadableReview as error:
            self._log_once(f"a webhook is left out: its review {error}")
            return "unreadable"
        if event is None:
            return "unknown_event"
        site = self._site(envelope, signer)
        if site is None:
            return "unknown_site"
        try:
            changes = self._intake.record_event(site, event)
        except StateError as error:
            self._failed(str(error))
            return "failed"
        self._worked()
        self._tell_later(site, changes)
        return "taken"

    def _site(self, envelope: Envelope, signer: str) -> Site | None:
        """The site that a webhook is about, where the app that it is signed for may speak of it.

        It is found by the app's instance, which is what Wix promises to send, else by its own id. Where the webhook
        names a site id, that has to be the site's: anybody can write another's instance into their config.
        """
        by_instance = [
            site
            for site in self._config.sites
            if site.instance_id and site.instance_id == envelope.instance_id
        ]
        by_id = [site for site in self._config.sites if envelope.names_site(site.site_id)]
        found = [site for site in by_instance if envelope.site_id is None or site in by_id] or by_id
        instance = _shown(envelope.instance_id)
        if by_instance and not found:
            self._log_once(
                f"a webhook is left out: it names another site than that of its instance ({instance})"
            )
        elif not found:
            self._log_once(
                f"a webhook is of a site that is not in the config (instance {instance})"
            )
        elif not self._may_speak(signer, found[0], envelope):
            self._log_once(
                f'a webhook of site "{found[0].name}" is left out: it is not signed for the site\'s app_id'
            )
        else:
            return found[0]
        return None

    def _may_speak(self, signer: str, site: Site, envelope: Envelope) -> bool:
        """Whether an app's webhooks about a site count: those of its own app, else those that name its site id."""
        if site.app_id is not None:
            return site.app_id == signer
        return envelope.names_site(site.site_id) or len(self._config.apps) == 1

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
                    await self._intake.announce(site, *recorded)
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

    def _log_once(self, text: str) -> None:
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
    return (
        instance_id
        if instance_id and len(instance_id) <= 64 and instance_id.isprintable()
        else "without a name"
    )
