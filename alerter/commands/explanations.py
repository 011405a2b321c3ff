"""What is stored about a review, as `alerter explain` shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from alerter.actions import NO_RESPONSE, Action, Response
from alerter.commands.cluster_reasons import get_figures
from alerter.config import Config, Site
from alerter.scopes import Scope
from alerter.store import State, actions, blocks, orders, report, troubles
from alerter.store.blocks import Block
from alerter.store.report import AlertReport, ReviewRecord
from alerter.watch.clusters import Figures


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is stored about a review on one site.

    `actions`: what people did, `response`: what they do about it at present. `blocks`: what holds
    back a destination that it is for. `site_faults`: why its site cannot be read at present.
    `orders_after`: until then the site is not asked for orders, as it refused.
    `figures`: those of the rule of clusters, where it is in none.
    """

    site: Site
    record: ReviewRecord
    alerts: list[AlertReport]
    actions: list[Action]
    response: Response
    blocks: Mapping[str, Block]
    site_faults: list[str]
    orders_after: datetime | None = None
    figures: Figures | None = None


def get_explanations(
    config: Config, state: State, sites: Sequence[Site], review_id: str, now: datetime
) -> list[Explanation]:
    """Return what is stored about a review on each site that has it."""
    receivers = config.destinations()
    found = []
    for site in sites:
        record = report.get_review_record(state, site.site_id, review_id)
        if record is None:
            continue
        alerts = report.alert_reports(state, site.site_id, review_id)
        clusters = report.cluster_reports(state, site.site_id, review_id)
        figures = None if clusters else get_figures(config, state, site, record.known, now)
        alerts = sorted([*alerts, *clusters], key=lambda each: each.raised_at)
        names = {each.destination for alert in alerts for each in alert.deliveries}
        held = {
            name: block
            for name in names & receivers.keys()
            if (block := blocks.get_block(state, config.scopes(receivers[name], name), now))
        }
        faults = troubles.get_troubles_of(state, [Scope.SITE.of(site.site_id)])
        reasons = [each.reason for each in faults if each.over_at is None]
        done = actions.get_actions(state, site.site_id, review_id)
        of = (site.site_id, review_id)
        response = actions.get_responses(state, [of], now).get(of, NO_RESPONSE)
        waits_until = orders.refused_until(state, site.site_id, now)
        explanation = Explanation(site, record, alerts, done, response, held, reasons)
        found.append(replace(explanation, orders_after=waits_until, figures=figures))
    return found
