"""Raise the alerts of clusters, and add reviews to those that grow, in the transaction of intake.

A cluster is decided once the last page of a read is recorded, so that one alert names all its
reviews. Until then its new reviews wait in the database, also over a crash.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from alerter.config import ClusterSize, Config, Site
from alerter.models import Alert, AlertKind, Grouping, StoredReview
from alerter.store import State, clusters, raised_alerts, reviews
from alerter.store.clusters import DatedReview
from alerter.store.raised_alerts import NewAlert
from alerter.watch.alerts import Alerts, Changes
from alerter.watch.clusters import YEAR, FoundCluster, PastRecord, counted_of, find_clusters
from alerter.watch.triage import is_long_before


class ClusterAlerts:
    """Finds the clusters of new low-rated reviews."""

    def __init__(self, state: State, config: Config, alerts: Alerts) -> None:
        self._state = state
        self._config = config
        self._alerts = alerts

    def raise_for(self, changes: Changes) -> None:
        """Raise and extend the clusters of the recorded changes, within their transaction."""
        size = self._config.alerts.cluster
        site_id = changes.site.site_id
        ids = {each.id for each in changes.low_rated}
        if changes.erased:
            clusters.cancel_empty(self._state, site_id, changes.erased)
        if size is None:
            return
        if changes.more:
            clusters.put_candidates(self._state, site_id, ids)
            return
        ids |= clusters.take_candidates(self._state, site_id)
        if not ids:
            return
        by_product: defaultdict[str | None, dict[str, StoredReview]] = defaultdict(dict)
        for review_id, known in reviews.get_reviews(self._state, site_id, ids).items():
            if not (known.redacted or known.pruned):
                by_product[known.review.entity_id][review_id] = known
        for entity_id, new in by_product.items():
            self._raise_for_product(changes, size, entity_id, new)

    def _raise_for_product(
        self,
        changes: Changes,
        size: ClusterSize,
        entity_id: str | None,
        new: Mapping[str, StoredReview],
    ) -> None:
        moments = [each.review.created or changes.now for each in new.values()]
        begin = min(moments) - size.within
        threshold = self._config.threshold(changes.site)
        recent = clusters.low_rated(self._state, changes.site.site_id, entity_id, begin, threshold)
        if len(recent) < size.count and not any(each.cluster for each in recent):
            return
        record = get_record(
            self._state, self._config, changes.site, entity_id, recent, begin, changes.now
        )
        for found in find_clusters(recent, new, size, record):
            self._write(changes, size, entity_id, found)

    def _write(
        self, changes: Changes, size: ClusterSize, entity_id: str | None, found: FoundCluster
    ) -> None:
        """Add reviews to a cluster, which is raised first if it is new, and queue its message.

        A receiver whose filters fit only a later review gets it then.
        """
        number = found.alert or self._raise(changes, size, entity_id, found)
        clusters.add_reviews(self._state, number, changes.site.site_id, found.reviews)
        members = clusters.reviews_of(self._state, number)
        routes = self._alerts.route_cluster(changes, members)
        raised_alerts.queue_cluster(self._state, number, routes)
        changes.woken |= {destination for destination, _ in routes}
        changes.about += [each for each in members if each.id in found.reviews]
        changes.stale += found.reviews

    def _raise(
        self, changes: Changes, size: ClusterSize, entity_id: str | None, found: FoundCluster
    ) -> int:
        """Raise the alert of a cluster, named for its first review; return its id."""
        site_id, figures = changes.site.site_id, found.figures
        key = f"{AlertKind.CLUSTER}:{site_id}:{found.reviews[0]}"
        detail = {"entity": entity_id, "within": size.within.total_seconds()}
        if figures is not None:
            detail |= {
                "number": figures.number,
                "past": figures.past,
                "since": figures.since.isoformat() if figures.since else None,
                "expected": figures.expected,
                "p": figures.p,
                "by_chance": figures.by_chance,
            }
        alert = Alert(key, AlertKind.CLUSTER, site_id, detail=detail)
        raised_alerts.raise_alerts(self._state, [NewAlert(alert, (), Grouping.EACH)], changes.now)
        changes.clusters.append(alert)
        return clusters.get_alert_id(self._state, key)


def get_record(
    state: State,
    config: Config,
    site: Site,
    entity_id: str | None,
    recent: Sequence[DatedReview],
    begin: datetime,
    now: datetime,
) -> PastRecord:
    """Return what spans that begin at `begin` or later are compared with.

    `recent`: the low-rated reviews since then. The record goes back to the earliest review on
    record of any rating, but no further than the text of reviews at rest is kept: what is pruned
    has no product.
    """
    size, site_id, threshold = config.alerts.cluster, site.site_id, config.threshold(site)
    start = clusters.record_start(state, site_id, entity_id) or now
    start = max(start, now - config.state_file.keep)
    dates = clusters.past_dates(state, site_id, entity_id, begin - YEAR, begin, threshold)
    past = [created for created, written in dates if not is_long_before(written, created)]
    first = past[0] if past else next((each.created for each in counted_of(recent)), None)
    products = clusters.product_count(
        state, site_id, now - YEAR, threshold, size.count if size else 1
    )
    return PastRecord(start, first == start, max(products, 1), past)
