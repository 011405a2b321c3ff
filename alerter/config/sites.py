"""The tables of a config that say which sites are watched, and how."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

from pydantic import PrivateAttr

from alerter.config.fields import (
    AccountId,
    Burst,
    ClusterCount,
    ClusterSpan,
    Duration,
    PublicKey,
    Rating,
    SiteId,
    Text,
    Url,
)
from alerter.config.secrets import HeaderSecret, Secret
from alerter.config.table import Problem, Table

RESCAN_WINDOW = timedelta(days=30)
# How far the record of a product has to reach back before a cluster of its reviews is seen.
SHORTEST_RECORD = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Limits:
    """Up to which ratings reviews of a site are low-rated: without a topic, and with one."""

    plain: int
    with_topic: int

    def of(self, topics: Collection[str]) -> int:
        """Return the threshold of a review with these topics."""
        return self.with_topic if topics else self.plain


class Wix(Table):
    """The address of the Wix API, and the account whose sites `alerter sites` lists."""

    base_url: Url = "https://www.wixapis.com"
    account_id: AccountId | None = None


class Site(Table):
    """One Wix site and its credentials: an API key, or those of an app."""

    name: Text
    site_id: SiteId
    api_key: HeaderSecret | None = None
    app_id: Text | None = None
    app_secret: Secret | None = None
    instance_id: Text | None = None
    threshold: Rating | None = None
    # The name of the account that listed it; None for one of [[sites]].
    _account: str | None = PrivateAttr(None)

    @property
    def account(self) -> str | None:
        """The name of the account that it was listed by; None for one of `[[sites]]`."""
        return self._account

    def listed_as(self, site_id: str, name: str, account: str) -> Self:
        """Return a site of an account, with the credentials of this one."""
        site = self.model_copy(update={"site_id": site_id, "name": name})
        site._account = account  # noqa: SLF001 - its own
        return site

    @classmethod
    def rules(cls, raw: Mapping[str, Any]) -> Iterator[Problem]:
        """Yield credentials that are missing, or of both kinds."""
        app = ("app_id", "app_secret", "instance_id")
        if "api_key" in raw:
            if "app_secret" in raw:
                yield Problem(
                    "app_secret", "goes without api_key: use one kind of credentials or the other"
                )
        elif not any(key in raw for key in app):
            yield Problem(
                "api_key", "is missing (or, for an app: app_id, app_secret and instance_id)"
            )
        else:
            for key in app:
                if key not in raw:
                    yield Problem(key, "is missing: app_id, app_secret and instance_id go together")


class Account(Table):
    """A Wix account, all of whose sites are watched, and its API key."""

    name: Text
    api_key: HeaderSecret
    account_id: AccountId


class App(Table):
    """A Wix app whose webhooks are taken, and the key that Wix's signatures are checked with."""

    app_id: Text
    public_key: PublicKey


class Poll(Table):
    """How often sites are read, and how far back a rescan goes."""

    every: Duration = timedelta(seconds=60)
    rescan_every: Duration = timedelta(hours=1)
    rescan_window: Duration = RESCAN_WINDOW
    trouble_after: Duration = timedelta(minutes=15)


class ClusterSize(Table):
    """How many low-rated reviews of a product, within which span, may be a cluster."""

    count: ClusterCount
    within: ClusterSpan


class AlertLimits(Table):
    """Which reviews are low-rated, and how many deliveries at once make a digest.

    `orders`: whether alerts say what was bought, and when it was paid and shipped. Off by default,
    because it reads what other customers bought too. Above the threshold, a review is low-rated up
    to `topics_up_to` where it has a topic.
    """

    threshold: Rating = 2
    topics_up_to: Rating | None = None
    burst: Burst = 10
    orders: bool = False
    cluster: ClusterSize | None = None
