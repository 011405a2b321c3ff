"""Metrics for Prometheus: the process's counters, and a few cheap queries of the database."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from alerter.clock import Clock
from alerter.config import Config
from alerter.counters import counts
from alerter.errors import StateError
from alerter.models import AlertKind
from alerter.scopes import Scope, split_scope
from alerter.store import State, report
from alerter.store.cluster import ClusterReport, get_cluster
from alerter.store.troubles import get_open_troubles
from alerter.watch.triage import Reason
from alerter.web.webhooks import OUTCOMES

_UNSENT = ("pending", "failed")
_TROUBLE_KINDS = {str(kind) for kind in Scope} - {Scope.TROUBLE, Scope.REVIEW, Scope.EVERY}


class Metrics(Collector):
    """Collect every series of alerter.

    None has a label for each site, since there may be ten thousand of them.
    """

    def __init__(self, config: Config, state: State, clock: Clock) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._alerts = Counter[str]()
        self._last_alert = 0

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registration does not collect."""
        return ()

    def text(self) -> bytes:
        """Return every series in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every series; those of the database are missing while it cannot be read."""
        yield _labelled(
            "rounds",
            "Rounds of sites.",
            "outcome",
            {"good": counts["rounds"], "failed": counts["rounds_failed"]},
        )
        seen = dict.fromkeys((reason.name.lower() for reason in Reason), 0)
        yield _labelled(
            "reviews",
            "Reviews read, by the decision on them.",
            "outcome",
            seen | _counted("reviews_"),
        )
        yield self._deliveries()
        yield _labelled(
            "wix_calls",
            "Calls to Wix, by the status of the answer.",
            "status",
            _counted("wix_calls_"),
        )
        webhooks = dict.fromkeys(OUTCOMES, 0) | _counted("webhooks_")
        yield _labelled("webhooks", "Webhooks of Wix, by outcome.", "outcome", webhooks)
        yield SummaryMetricFamily(
            "alerter_transaction_seconds",
            "Time spent in write transactions of the database.",
            count_value=counts["transactions"],
            sum_value=counts["transaction_ns"] / 1e9,
        )
        try:
            yield from list(self._from_state())
        except StateError:
            return

    def _from_state(self) -> Iterator[Metric]:
        settled, raised, self._last_alert = report.alerts_raised(
            self._state, self._last_alert, self._clock.now()
        )
        alerts = dict.fromkeys(AlertKind, 0) | dict(self._alerts + Counter(raised))
        self._alerts.update(settled)
        yield _labelled("alerts", "Alerts in this database since it was created.", "kind", alerts)
        oldest = report.oldest_pending(self._state)
        age = (self._clock.now() - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily(
            "alerter_oldest_pending_age_seconds",
            "Age of the oldest pending delivery.",
            max(age, 0),
        )
        yield from self._of_now()
        if cluster := get_cluster(self._state):
            yield from _of_cluster(cluster)

    def _of_now(self) -> Iterator[Metric]:
        """Yield what `alerter status` shows: sites, open reviews, unsent deliveries, trouble."""
        site_ids = [site.site_id for site in self._config.sites]
        success = report.oldest_success(self._state, site_ids)
        yield GaugeMetricFamily(
            "alerter_oldest_success_timestamp_seconds",
            "The oldest last good round of any site; 0 while one was never read.",
            success.timestamp() if success else 0,
        )
        yield GaugeMetricFamily(
            "alerter_open_reviews",
            "Low-rated reviews that were alerted and are not answered.",
            report.open_review_count(self._state, site_ids),
        )
        unsent = GaugeMetricFamily(
            "alerter_unsent_deliveries",
            "Deliveries that wait or have failed, by receiver.",
            labels=["receiver", "status"],
        )
        none = {(each.name, status): 0 for each in self._config.receivers for status in _UNSENT}
        for labels, number in (none | report.unsent_counts(self._state)).items():
            unsent.add_metric(labels, number)
        yield unsent
        troubles = GaugeMetricFamily(
            "alerter_open_troubles", "Open troubles, by what they are about.", labels=["kind"]
        )
        kinds = Counter(split_scope(each.scope)[0] for each in get_open_troubles(self._state))
        for kind in sorted(_TROUBLE_KINDS | kinds.keys()):
            troubles.add_metric([kind], kinds[kind])
        yield troubles

    def _deliveries(self) -> Metric:
        family = CounterMetricFamily(
            "alerter_deliveries",
            "Deliveries that ended, by receiver and outcome.",
            labels=["receiver", "outcome"],
        )
        for outcome in ("sent", "failed"):
            ended = dict.fromkeys((receiver.name for receiver in self._config.receivers), 0)
            for receiver, number in (ended | _counted(f"deliveries_{outcome}:")).items():
                family.add_metric([receiver, outcome], number)
        return family


def _of_cluster(cluster: ClusterReport) -> Iterator[Metric]:
    """Yield what every worker of a cluster shows alike."""
    workers = GaugeMetricFamily(
        "alerter_workers", "Workers that are alive, by their config.", labels=["config"]
    )
    older = len(cluster.outdated)
    workers.add_metric(["newest"], len(cluster.workers) - older)
    workers.add_metric(["older"], older)
    yield workers
    jobs = GaugeMetricFamily(
        "alerter_jobs_waiting", "Jobs that no worker has begun yet, by queue.", labels=["queue"]
    )
    for queue, number in cluster.waiting.items():
        jobs.add_metric([queue], number)
    yield jobs
    late = (cluster.at - cluster.next_round).total_seconds() if cluster.next_round else 0
    yield GaugeMetricFamily(
        "alerter_oldest_due_round_age_seconds",
        "How late the round of the site is that waits longest.",
        max(late, 0),
    )


def _counted(prefix: str) -> dict[str, int]:
    """Return the counters whose name has a prefix, by the rest of their name."""
    return {
        name.removeprefix(prefix): number
        for name, number in counts.items()
        if name.startswith(prefix)
    }


def _labelled(name: str, text: str, label: str, numbers: dict[str, int]) -> Metric:
    family = CounterMetricFamily(f"alerter_{name}", text, labels=[label])
    for value, number in numbers.items():
        family.add_metric([value], number)
    return family
