"""Webhooks of the embedded Wix, sent as Wix does. Needs the extra `web`."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import NAMESPACE_OID, uuid5

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from alerter.clock import Clock
from alerter.demo.wix_reviews import Json, stamp
from alerter.demo.wix_site import Site

_FQDN = "wix.reviews.v1.review"
_LIFETIME = timedelta(minutes=5)
_PATIENCE = 1.25
_FIRST_WAIT = 0.25
_LONGEST_WAIT = 10.0


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@dataclass
class Sent:
    """A webhook, and the answer to each attempt; None for a late or missing one."""

    event_type: str
    event: Json
    statuses: list[int | None] = field(default_factory=list)

    @property
    def taken(self) -> bool:
        """Whether it was answered with 200."""
        return 200 in self.statuses


class Webhooks:
    """Send signed events of the watched sites to an address until it answers with 200."""

    def __init__(self, url: str, *, app_id: str = "demo-app", clock: Clock | None = None) -> None:
        self.url = url
        self.app_id = app_id
        self.sent: list[Sent] = []
        self._clock = clock or Clock()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._sequences: Counter[str] = Counter()
        self._sending: set[asyncio.Task[None]] = set()
        self._http: aiohttp.ClientSession

    @property
    def public_key(self) -> str:
        """The public key as PEM, as the app's dashboard shows it."""
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem.decode()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PATIENCE))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._http.close()

    def watch(self, site: Site, instance_id: str) -> None:
        """Send the events of a site from now on, for this instance of the app."""

        def listen(slug: str, review: Json) -> None:
            event_type, event = f"{_FQDN}_{slug}", self.event(slug, review)
            sent = Sent(event_type, event)
            self.sent.append(sent)
            task = asyncio.create_task(
                self._send(sent, self.envelope(event_type, event, instance_id, site.site_id))
            )
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

        site.listen = listen

    def event(self, slug: str, review: Mapping[str, Any]) -> Json:
        """Return the domain event of Wix for a change of a review."""
        self._sequences[review["id"]] += 1
        bodies: dict[str, Json] = {
            "created": {"createdEvent": {"entity": review}},
            "updated": {"updatedEvent": {"currentEntity": review}},
            "deleted": {"deletedEvent": {}},
        }
        head: Json = {
            "id": self._id(f"{slug} {review['id']} {self._sequences[review['id']]}"),
            "entityFqdn": _FQDN,
            "slug": slug,
            "entityId": review["id"],
            "eventTime": stamp(self._clock.now()),
            "entityEventSequence": str(self._sequences[review["id"]]),
            "triggeredByAnonymizeRequest": False,
        }
        return head | bodies.get(slug, {"actionEvent": {"body": {"review": review}}})

    def _id(self, name: str) -> str:
        """Return an id that is the same in every run."""
        return str(uuid5(NAMESPACE_OID, f"{self.app_id} {name}"))

    def envelope(
        self,
        event_type: str,
        event: Mapping[str, Any],
        instance_id: str | None,
        site_id: str | None,
    ) -> str:
        """Return the claim `data` of a webhook."""
        claim = {
            "eventType": event_type,
            "instanceId": instance_id,
            "accountInfo": {"accountId": self._id("account"), "siteId": site_id},
            "identity": json.dumps(
                {"identityType": "ANONYMOUS_VISITOR", "anonymousVisitorId": self._id("visitor")}
            ),
            "data": json.dumps(event),
        }
        return json.dumps({name: value for name, value in claim.items() if value is not None})

    def sign(self, data: object, **claims: Any) -> str:
        """Return a token with `data`, signed as by Wix; `claims` replace others (None removes)."""
        now = self._clock.now()
        usual = {
            "data": data,
            "iat": now,
            "exp": now + _LIFETIME,
            "iss": "wix.com",
            "aud": self.app_id,
        }
        payload = {name: value for name, value in (usual | claims).items() if value is not None}
        return jwt.encode(payload, self._key, algorithm="RS256")

    async def _send(self, sent: Sent, data: str) -> None:
        wait = _FIRST_WAIT
        while not sent.taken:
            sent.statuses.append(await self._post(self.sign(data)))
            if not sent.taken:
                await self._clock.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)

    async def _post(self, token: str) -> int | None:
        try:
            async with self._http.post(
                self.url, data=token, headers={"Content-Type": "text/plain"}
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
