"""Bring the database in line with this process and its config."""

import logging
from collections.abc import Collection

from alerter.clock import Clock
from alerter.config import Config
from alerter.models import phrase_destination
from alerter.respond.responder import DAEMON
from alerter.scopes import EVERY_SCOPE, Scope
from alerter.service.membership import config_digest
from alerter.service.rounds import first_rounds_within, shard_of, share_of
from alerter.store import (
    State,
    account_sites,
    actions,
    blocks,
    known_sites,
    messages,
    orders,
    outbox,
    rounds,
)
from alerter.store.configs import register_config
from alerter.text import counted
from alerter.trouble.tracker import Troubles
from alerter.watch.judging import scope_of_config
from alerter.watch.rerouting import Rerouted, reroute

log = logging.getLogger(__name__)


def reconcile(
    state: State,
    config: Config,
    clock: Clock,
    *,
    is_read: bool = True,
    alone: bool = True,
    others: Collection[str] = (),
) -> None:
    """Bring the database in line with the config, in one transaction.

    Messages and actions that the last process was sending are in doubt. Every pending delivery is
    routed again. Of sites that left the config, all deliveries but those of new reviews are
    cancelled. Trouble of what left the config ends, and orders are erased without `[alerts]
    orders`. What is parked is tried once. `is_read`: whether the config was read from its files,
    which ends the trouble of one that was refused. `alone`: whether no other process sends; in a
    cluster the rounds are planned too, and configs that `others` have refused stay in trouble.
    """
    in_doubt = 0
    with state.transaction(EVERY_SCOPE):
        accounts = [each.account_id for each in config.accounts]
        account_sites.delete_other_accounts(state, accounts)
        if alone:
            in_doubt = _take_over(state, config, clock)
        outbox.name_media(state, {each.name: each.media[0] for each in config.receivers})
        rerouted = reroute(state, config, clock.now())
        cancelled = known_sites.record_sites(state, config.site_names, clock.now())
        if not alone:
            _plan_rounds(state, config, clock)
        if not config.alerts.orders:
            orders.erase_all_orders(state)
        troubles = Troubles(state, config, clock, wake=lambda _: None)
        troubles.end_unknown(is_read=is_read, others=others)
        _begin_unrouted(troubles, config, rerouted)
        blocks.retry_parked(state)
    if in_doubt:
        log.info("settling messages that the last process was sending: messages=%d", in_doubt)
    _log_rerouted(rerouted)
    for name, number in cancelled.items():
        log.info('site "%s" left the config: deliveries cancelled=%d', name, number)


def _take_over(state: State, config: Config, clock: Clock) -> int:
    """Take over from the last process; return how many of its messages are in doubt."""
    scope, digest = scope_of_config(config), config_digest(config)
    register_config(state, digest, scope, clock.now(), is_asked=False)
    actions.end_leases(state, DAEMON)
    return messages.recover(state)


def _plan_rounds(state: State, config: Config, clock: Clock) -> None:
    """Spread the first rounds of sites, and those that are later than the period allows now."""
    now, every = clock.now(), config.poll.every
    spread = first_rounds_within(config)
    ids = [site.site_id for site in config.sites]
    rounds.plan_rounds(
        state,
        {site_id: shard_of(site_id) for site_id in ids},
        {site_id: now + spread * share_of(site_id) for site_id in ids},
        now + every,
    )


def _begin_unrouted(troubles: Troubles, config: Config, rerouted: Rerouted) -> None:
    for site in config.sites:
        if number := rerouted.unrouted[site.site_id]:
            were = counted(number, "alert was", "alerts were")
            reason = f"{were} for receivers that may not get them now"
            troubles.begin(Scope.UNROUTED.of(site.site_id), reason)


def _log_rerouted(rerouted: Rerouted) -> None:
    for old, new in rerouted.renamed.items():
        log.info("%s is now %s", phrase_destination(old), phrase_destination(new))
    for destination, number in rerouted.cancelled.items():
        log.info(
            "%s may not get them any more by this config: deliveries cancelled=%d",
            phrase_destination(destination),
            number,
        )
    for destination, number in rerouted.added.items():
        log.info(
            "%s gets alerts that it did not get before: deliveries added=%d",
            phrase_destination(destination),
            number,
        )
