"""Wix's webhooks: checked, recorded and answered; then receivers are notified."""

import asyncio
import logging
from collections import defaultdict
from contextlib import nullcontext
from functools import cached_property

from aiohttp import web

from alerter.config import Config, Site
from alerter.counters import counts
from alerter.errors import StateError
from alerter.watch.alerts import Changes
from alerter.watch.intake import Intake
from alerter.web.signature import BadSignature, Signatures, check_algorithm, parse_token
from alerter.wix.event import BadReviewId, Envelope, UnreadableEvent, parse_envelope, parse_event
from alerter.wix.review import UnreadableReview

log = logging.getLogger(__name__)

# The outcomes of a webhook, as they are counted.
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
_MOST_WARNINGS = 100
# Each takes some milliseconds, so that the last is answered within the 1.25 s that Wix waits.
_MOST_AT_ONCE = 128
# Parsing a large one takes milliseconds; most webhooks have a few kilobytes.
_LARGE = 16 * 1024
_LARGE_AT_ONCE = 4
_ANSWERS = {
    "busy": (503, "busy, try again"),
    "failed": (503, "cannot be recorded now, try again"),
    "refused": (401, "the signature is not valid"),
}


class WebhookEndpoint:
    """Receive Wix's webhooks."""

    def __init__(self, config: Config, intake: Intake) -> None:
        self._config = config
        self._intake = intake
        self._signatures = Signatures(config.apps)
        self._at_work = 0
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._recorded: defaultdict[str, list[Changes]] = defaultdict(list)
        self._notifying: dict[str, asyncio.Task[None]] = {}
        self._logged: set[str] = set()
        self._failing: str | None = None

    @cached_property
    def _by_id(self) -> dict[str, list[Site]]:
        return {site.site_id.lower(): [site] for site in self._config.sites}

    @cached_property
    def _by_instance(self) -> dict[str, list[Site]]:
        found: defaultdict[str, list[Site]] = defaultdict(list)
        for site in self._config.sites:
            if site.instance_id:
                found[site.instance_id].append(site)
        return dict(found)

    async def receive(self, request: web.Request) -> web.Response:
        """Answer one webhook: 200 once its event is recorded, or does not concern us."""
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
        """Check and record a webhook, and return its outcome.

        Raises BadSignature or BadReviewId.
        """
        check_algorithm(body)
        if self._at_work >= _MOST_AT_ONCE:
            return "busy"
        self._at_work += 1
        try:
            async with self._large if len(body) > _LARGE else nullcontext():
                # All that have arrived are counted before the first is parsed.
                await asyncio.sleep(0)
                token = parse_token(body)
                return self._record(token.data, await self._signatures.signer(token))
        finally:
            self._at_work -= 1

    def _record(self, data: object, signer: str) -> str:
        """Record a webhook that was signed for an app, and return its outcome.

        Raises BadReviewId.
        """
        try:
            envelope = parse_envelope(data)
            event = parse_event(envelope)
        # It is acknowledged, as Wix would send the same again; a rescan reads the review itself.
        except UnreadableEvent as error:
            self._log_once(f"a webhook is ignored: {error}")
            return "unreadable"
        except UnreadableReview as error:
            self._log_once(f"a webhook is ignored: its review {error}")
            return "unreadable"
        if event is None:
            return "unknown_event"
        site = self._find_site(envelope, signer)
        if site is None:
            return "unknown_site"
        try:
            changes = self._intake.record_event(site, event)
        except StateError as error:
            self._log_failure(str(error))
            return "failed"
        self._log_recovery()
        self._notify_later(site, changes)
        return "taken"

    def _find_site(self, envelope: Envelope, signer: str) -> Site | None:
        """Return the site of a webhook; None, and a warning, if its app may not report on it.

        The site is found by the app's instance id, which Wix promises to send, else by its site id.
        A site id in the webhook has to match, since any config may name another's instance id.
        """
        by_instance = self._by_instance.get(envelope.instance_id or "", [])
        by_id = self._by_id.get((envelope.site_id or "").lower(), [])
        found = [site for site in by_instance if envelope.site_id is None or site in by_id] or by_id
        instance = _printable(envelope.instance_id)
        if by_instance and not found:
            reason = f"it names another site than that of its instance ({instance})"
        elif not found:
            reason = f"its site is not in the config (instance {instance})"
        elif not self._may_report(signer, found[0], envelope):
            reason = f'it is not signed for the app_id of site "{found[0].name}"'
        else:
            return found[0]
        self._log_once(f"a webhook is ignored: {reason}")
        return None

    def _may_report(self, signer: str, site: Site, envelope: Envelope) -> bool:
        """Return whether a site accepts an app's webhooks.

        It accepts its own app's; without an app_id those that name its site id, or of the only app.
        """
        if site.app_id is not None:
            return site.app_id == signer
        return envelope.names_site(site.site_id) or len(self._config.apps) == 1

    def _notify_later(self, site: Site, changes: Changes) -> None:
        """Notify receivers after Wix has its answer: fetching product names may take seconds."""
        self._recorded[site.site_id].append(changes)
        if site.site_id not in self._notifying:
            self._notifying[site.site_id] = asyncio.create_task(self._notify(site))

    async def _notify(self, site: Site) -> None:
        """Notify receivers of everything recorded; what arrives meanwhile is the next batch."""
        try:
            while recorded := self._recorded.pop(site.site_id, None):
                try:
                    await self._intake.announce(site, *recorded)
                except StateError as error:  # erased text is not overwritten yet
                    self._log_failure(str(error))
        finally:
            del self._notifying[site.site_id]

    async def stop(self) -> None:
        """Cancel the tasks at work: their alerts are in the outbox."""
        tasks = list(self._notifying.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _log_once(self, text: str) -> None:
        if text not in self._logged and len(self._logged) < _MOST_WARNINGS:
            self._logged.add(text)
            log.warning(text)

    def _log_failure(self, text: str) -> None:
        if text != self._failing:
            log.error("webhooks cannot be recorded, Wix sends them again: %s", text)
            self._failing = text

    def _log_recovery(self) -> None:
        if self._failing:
            log.info("webhooks are recorded again")
            self._failing = None


def _printable(instance_id: str | None) -> str:
    return (
        instance_id
        if instance_id and len(instance_id) <= 64 and instance_id.isprintable()
        else "without a name"
    )
