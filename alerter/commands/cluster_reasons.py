"""What `alerter explain` says of the cluster of a review, or of why it is in none."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from alerter.commands.terminal import words_for
from alerter.config import ClusterSize, Config, Site
from alerter.models import StoredReview
from alerter.store import State, clusters
from alerter.watch.cluster_alerts import get_record
from alerter.watch.clusters import ClusterFinding, Figures, figures_of

_DAY = "%Y-%m-%d"


def get_figures(
    config: Config, state: State, site: Site, known: StoredReview, now: datetime
) -> Figures | None:
    """Return the figures of the fullest span with a review; None where the rule omits it."""
    size = config.alerts.cluster
    if size is None or known.pruned or known.review.rating > config.threshold(site):
        return None
    entity_id, threshold = known.review.entity_id, config.threshold(site)
    begin = (known.review.created or now) - size.within
    rated = clusters.low_rated(state, site.site_id, entity_id, begin, threshold)
    record = get_record(state, config, site, entity_id, rated, begin, now)
    return figures_of(rated, known.review.id, size, record)


def phrase_cluster(detail: Mapping[str, Any], reviews: int) -> str:
    """Return why a cluster was raised; `reviews` is how many it has by now."""
    if not detail:
        return f"one of {reviews}; its figures are erased"
    figures = Figures(
        ClusterFinding.CLUSTER,
        detail["number"],
        detail["past"],
        datetime.fromisoformat(detail["since"]) if detail["since"] else None,
        detail["expected"],
        detail["p"],
        detail["by_chance"],
    )
    within = timedelta(seconds=detail["within"])
    return f"one of {reviews}: {_phrase_figures(figures, within)}"


def phrase_no_cluster(figures: Figures, size: ClusterSize, at: Callable[[datetime], str]) -> str:
    """Return why a review is in no cluster."""
    finding, within = figures.finding, words_for(size.within)
    if finding is ClusterFinding.FEW:
        number = f"{figures.number} low-rated within {within}"
        return f"in no cluster: {number}, {finding} ({size.count})"
    if finding is ClusterFinding.YOUNG and figures.since:
        return f"in no cluster: {finding}, as it begins at {at(figures.since)}"
    if finding is ClusterFinding.CLUSTER:
        reason = "unlikely, but it was on record before it could be alerted as a cluster"
    else:
        reason = str(finding)
    return f"in no cluster: {_phrase_figures(figures, size.within)}: {reason}"


def _phrase_figures(figures: Figures, within: timedelta) -> str:
    since = f" since {figures.since:{_DAY}}" if figures.since else ""
    return (
        f"{figures.number} low-rated within {words_for(within)}, where {figures.expected:.2g} are"
        f" expected by its record ({figures.past}{since}); p = {figures.p:.2g}, and by chance"
        f" {figures.by_chance:.2g} a year"
    )
