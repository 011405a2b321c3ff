"""What Prometheus reads: what was counted, and a few cheap questions to the state file."""

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
from alerter.store import State, report
from alerter.watch.triage import Reason
from alerter.web.webhooks import OUTCOMES


class Metrics(Collector):
    """Every series of alerter. None has a label for each site: ten thousand of them would be a burden to both sides."""

    def __init__(self, config: Config, state: State, clock: Clock) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._alerts = Counter[str]()
        self._last_alert = 0

    def describe(self) -> Iterable[Metric]:
        """Nothing is read before somebody asks."""
        return ()

    def text(self) -> bytes:
        """Everything, as Prometheus has it."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Read every series; while the state file cannot be read, those that it holds are missing."""
        yield _labelled(
            "rounds",
            "Rounds of sites.",
            "outcome",
            {"good": counts["rounds"], "failed": counts["rounds_failed"]},
        )
        seen = dict.fromkeys((reason.name.lower() for reason in Reason), 0)
        yield _labelled(
            "reviews",
            "Reviews read, by what was made of them.",
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
        heard = dict.fromkeys(OUTCOMES, 0) | _counted("webhooks_")
        yield _labelled("webhooks", "Webhooks of Wix, by what became of them.", "outcome", heard)
        yield SummaryMetricFamily(
            "alerter_transaction_seconds",
            "Time that writing to the state file took.",
            count_value=counts["transactions"],
            sum_value=counts["transaction_ns"] / 1e9,
        )
        try:
            yield from list(self._from_state())
        except StateError:
            return

    def _from_state(self) -> Iterator[Metric]:
        raised, self._last_alert = report.alerts_raised(self._state, self._last_alert)
        self._alerts.update(raised)
        alerts = dict.fromkeys(AlertKind, 0) | dict(self._alerts)
        yield _labelled("alerts", "Alerts raised since there is this state file.", "kind", alerts)
        oldest = report.oldest_pending(self._state)
        age = (self._clock.now() - oldest).total_seconds() if oldest else 0
        yield GaugeMetricFamily(
            "alerter_oldest_pending_age_seconds",
            "Age of the oldest alert that still waits for somebody.",
            max(age, 0),
        )
        success = report.oldest_success(self._state, [site.site_id for site in self._config.sites])
        yield GaugeMetricFamily(
            "alerter_oldest_success_timestamp_seconds",
            "When the site was last read whose last good round is longest ago; 0 while one was never read.",
            success.timestamp() if success else 0,
        )

    def _deliveries(self) -> Metric:
        family = CounterMetricFamily(
            "alerter_deliveries",
            "Deliveries, by receiver and how they ended.",
            labels=["receiver", "outcome"],
        )
        for outcome in ("sent", "failed"):
            ended = dict.fromkeys((receiver.name for receiver in self._config.receivers), 0)
            for receiver, number in (ended | _counted(f"deliveries_{outcome}:")).items():
                family.add_metric([receiver, outcome], number)
        return family


def _counted(prefix: str) -> dict[str, int]:
    """What was counted under a prefix, by what follows it."""
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
