"""The web server of a site that was read before, and Wix's side of its webhooks."""

from dataclasses import dataclass, field
from typing import Any

import aiohttp

from alerter.demo.wix_webhooks import Webhooks
from alerter.store import State, reviews
from alerter.watch.intake import Intake
from tests.support.clock import SetClock
from tests.support.values import SITE

INSTANCE = "55555555-5555-4555-8555-555555555555"
STALE = {"id": "r1", "content": {"rating": 1, "title": "Stale"}, "revision": "1"}


@dataclass
class Door:
    """Where webhooks come in, and what came of them."""

    url: str
    state: State
    signer: Webhooks
    http: aiohttp.ClientSession
    intake: Intake
    clock: SetClock  # the catalog's
    woken: list[str] = field(default_factory=list)

    async def post(self, body: str | bytes, path: str = "/webhooks/wix") -> int:
        async with self.http.post(self.url + path, data=body) as response:
            return response.status

    async def send(
        self,
        slug: str,
        review: dict[str, Any],
        *,
        instance: str | None = INSTANCE,
        site: str | None = None,
        **changes: Any,
    ) -> int:
        event = self.signer.event(slug, review) | changes
        data = self.signer.envelope(f"wix.reviews.v1.review_{slug}", event, instance, site)
        return await self.post(self.signer.sign(data))

    def alerts(self) -> list[str]:
        return [row["key"] for row in self.state.rows("SELECT key FROM alerts ORDER BY id")]

    def status(self, review_id: str = "r1") -> str | None:
        known = reviews.get_reviews(self.state, SITE, [review_id]).get(review_id)
        return f"{known.status} {known.closing or ''}".strip() if known else None
