"""`alerter explain`: show why a review was alerted or not, to whom, and what comes next."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.action_text import LONGEST_NAME, phrase_action
from alerter.commands.cluster_reasons import phrase_cluster, phrase_no_cluster
from alerter.commands.explanations import Explanation, get_explanations
from alerter.commands.options import (
    config_option,
    find_review_id,
    find_site,
    load_with_sites,
    phrase_near_id,
)
from alerter.commands.order_text import order_lines
from alerter.commands.terminal import phrase_product, plain, table, title, words_for
from alerter.config import Config, Site
from alerter.models import (
    AlertKind,
    CloseReason,
    Medium,
    Status,
    StoredReview,
    medium_of,
    phrase_destination,
)
from alerter.render.formatting import stars
from alerter.render.phrases import REOPENED
from alerter.render.webhook_body import webhook_id
from alerter.store import State, report
from alerter.store.report import AlertReport, DeliveryReport, SiteReport
from alerter.timezones import local_time
from alerter.watch.routing import excluded_by
from alerter.watch.topics import topics_of
from alerter.watch.triage import Reason, due_reminder, is_import

_LONGEST = 100
_HEAD = ["receiver", "status", "form", "attempts", "last attempt", "answer"]
_CLOSED = {
    CloseReason.ANSWERED: "it was answered",
    CloseReason.RAISED: "its rating is no longer low",
    CloseReason.REJECTED: "moderation rejected it",
    CloseReason.GONE: "it is gone from Wix, and its text was erased here",
}


def phrase_explanations(config: Config, found: Sequence[Explanation], now: datetime) -> str:
    """Return explanations as paragraphs and tables."""
    return "\n\n".join("\n".join(_Formatter(config, each, now).lines()) for each in found)


def phrase_not_on_record(
    config: Config,
    reports: Mapping[str, SiteReport],
    sites: Sequence[Site],
    review_id: str,
    near: str = "",
) -> str:
    """Return the usual reasons why a review is not stored; `near` names one with a similar id."""
    names = ", ".join(site.name for site in sites)
    head = f"review {plain(review_id, _LONGEST)} is not on record of {names}{near}"
    lines = [f"{head}{'' if near else ';'} possible reasons:"]
    for site in sites:
        limits = config.limits(site)
        lines.append(
            f"- it is rated higher than {stars(limits.plain)}, the threshold of {site.name}"
        )
        if limits.with_topic > limits.plain:
            lines[-1] += f", and has no topic or more than {stars(limits.with_topic)}"
        found = reports.get(site.site_id)
        if found is None or found.last_success is None:
            lines.append(f"- it was not read yet: {site.name} was never read")
        else:
            read_at = _time(config, found.last_success)
            lines.append(f"- it was created after {read_at}, the last read of {site.name}")
        if found and not found.sees_private:
            lines.append(f"- it waits for moderation: {site.name} shows us published reviews only")
    lines.append("- this is not its id at Wix, or its site is not in the config")
    return "\n".join(lines)


def _time(config: Config, moment: datetime) -> str:
    return f"{local_time(moment, config.timezone):%Y-%m-%d %H:%M:%S %Z}"


class _Formatter:
    """Writes one explanation as lines."""

    def __init__(self, config: Config, found: Explanation, now: datetime) -> None:
        self._config = config
        self._found = found
        self._record = found.record
        self._review = found.record.known.review
        self._topics = topics_of(config)
        self._alerts = found.alerts
        self._now = now

    def lines(self) -> list[str]:
        steps = [*self._delivery_steps(), *self._review_steps()]
        return [
            *self._head(),
            "",
            *self._alert_lines(),
            *order_lines(self._record.order, self._found.orders_after, self._at),
            *self._action_lines(),
            "",
            "what comes next",
            *(f"- {step}" for step in steps),
        ]

    def _head(self) -> Iterator[str]:
        review, known = self._review, self._record.known
        product = phrase_product(review, self._record.product, _LONGEST)
        yield f"{self._found.site.name}: review {review.id}"
        yield f"{stars(review.rating)}  {title(review.title)} for {product}"
        if created := self._record.created:
            yield f"created {self._at(created)}, {words_for(self._now - created)} ago"
        yield from self._topic_lines()
        if self._record.unverified:
            yield (
                "its text is not shown: it was restored,"
                " and Wix has not yet said whether it still exists"
            )
        was_alerted = bool(self._alerts) or known.pruned
        yield f"on record as {known.status}: {_phrase_status(known, was_alerted=was_alerted)}"

    def _topic_lines(self) -> Iterator[str]:
        """Yield the topics of the review, each with the entries of the lists that found it."""
        if self._record.unverified:
            return
        if found := self._topics.words_in(self._review.title, self._review.body):
            named = [f"{topic} ({', '.join(words)})" for topic, words in found.items()]
            yield f"topics: {plain(', '.join(named), 5 * _LONGEST)}"
        if on_record := set(self._review.topics) - found.keys():
            names = plain(", ".join(sorted(on_record)), _LONGEST)
            yield f"topics that were found earlier, in other words or by other lists: {names}"

    def _alert_lines(self) -> Iterator[str]:
        if self._record.known.pruned:
            yield (
                "its text and the messages about it are erased:"
                " it was at rest for longer than [state] keep"
            )
        elif not self._alerts:
            yield "it was never alerted"
        for alert in self._alerts:
            yield f"{alert.kind}, {self._at(alert.raised_at)}: {_phrase_reason(alert)}"
            if alert.deliveries:
                rows = [self._row(alert.key, delivery) for delivery in alert.deliveries]
                yield from (f"  {line}" for line in table(_HEAD, rows))
            elif alert.kind is AlertKind.CLOSED:
                yield "  no message of its own: the messages on Slack are updated instead"
            else:
                yield "  sent to nobody: no receiver of the config matched it"
        judged = self._topics.tagged(self._review)
        for receiver in self._config.receivers:
            key = excluded_by(receiver, judged, self._found.site.name)
            if key and key != "sites":
                yield f"by this config, {receiver.name} does not get it because of its {key}"

        if (size := self._config.alerts.cluster) and self._found.figures:
            yield phrase_no_cluster(self._found.figures, size, self._at)

    def _action_lines(self) -> Iterator[str]:
        if self._found.actions:
            yield ""
            yield "what people did"
        for action in self._found.actions:
            words = "" if self._record.unverified else action.new.reply
            said = f" “{plain(words, _LONGEST)}”" if words else ""
            yield f"- {self._at(action.at)}: {phrase_action(action, self._at)}{said}"

    def _row(self, key: str, delivery: DeliveryReport) -> list[str]:
        status = "in doubt" if delivery.in_doubt else delivery.status
        form, attempts, at = "-", "-", "-"
        if delivery.form and delivery.attempted_at:
            form, attempts = delivery.form, str(delivery.attempts)
            at = self._at(delivery.attempted_at)
        name = phrase_destination(delivery.destination)
        return [name, status, form, attempts, at, _phrase_answer(delivery, key)]

    def _delivery_steps(self) -> Iterator[str]:
        for delivery in (each for alert in self._alerts for each in alert.deliveries):
            if step := self._step(delivery):
                yield f"{phrase_destination(delivery.destination)}: {step}"

    def _step(self, delivery: DeliveryReport) -> str | None:
        """Return what happens to a delivery next; None for nothing."""
        if delivery.status == "failed":
            return "failed; `alerter retry` queues it again"
        if delivery.status == "sent" and delivery.partly_accepted:
            return "some of its addresses accepted it; the others are tried again"
        if delivery.status == "sent" and delivery.stale and delivery.slack_ts:
            shown = Medium(medium_of(delivery.destination)).shown
            return f"its message on {shown} will be updated, as the review has changed"
        return self._wait(delivery) if delivery.status == "pending" else None

    def _wait(self, delivery: DeliveryReport) -> str:
        """Return what a pending delivery waits for."""
        if delivery.destination not in self._config.destinations():
            return "not in the config any more; the next start cancels it"
        if block := self._found.blocks.get(delivery.destination):
            if block.parked:
                return f"parked: {block.reason}; fix it, then `alerter check` or `alerter retry`"
            return f"waits until {self._at(block.until)}: {block.reason}"
        if delivery.in_doubt and medium_of(delivery.destination) == Medium.SLACK:
            return "in doubt; alerter looks for it before it sends it again"
        if delivery.in_doubt:
            return "in doubt; it is sent again"
        if delivery.due_at > self._now:
            return f"held until {self._at(delivery.due_at)}, when its quiet hours end"
        others = (each for alert in self._alerts for each in alert.deliveries)
        if any(each.in_doubt and each.destination == delivery.destination for each in others):
            return "waits for an earlier message about this review that is in doubt"
        return "due now; a running daemon sends it, or `alerter run --once`"

    def _review_steps(self) -> Iterator[str]:
        for reason in self._found.site_faults:
            yield f"the site cannot be read at present: {reason}"
        known = self._record.known
        if known.closing is CloseReason.GONE:
            yield "nothing more"
        elif known.status is Status.OPEN:
            yield from self._reminder_steps()
            window = self._config.poll.rescan_window
            if known.alerted_at and known.alerted_at + window > self._now:
                until = self._at(known.alerted_at + window)
                yield f"it is followed until it is answered, at most until {until}"
            else:
                yield f"it is no longer followed: it was not answered within {words_for(window)}"
        elif known.status is Status.CLOSED:
            yield (
                "nothing, unless it is edited for the worse,"
                " or its answer or rejection is withdrawn"
            )
        else:
            yield "nothing, unless its rating falls; `alerter backfill` alerts it if unanswered"

    def _reminder_steps(self) -> Iterator[str]:
        after, window = self._config.reminders.after, self._config.poll.rescan_window
        claimed, snoozed = self._found.response.claimed_until, self._found.response.snoozed_until
        yield from self._hold_steps()
        held_until = claimed or self._now
        when = f"at {self._at(claimed)}" if claimed else "with the next round"
        for each in self._record.reminders if after else ():
            name = phrase_destination(each.destination)
            due = due_reminder(held_until - each.since, each.reminded, after, window)
            if due and not snoozed:
                yield f"{name}: unless it is answered, the reminder after {words_for(due)} {when}"
            for wait in after:
                starts = max(held_until, snoozed or held_until)
                if wait > each.reminded and each.since + wait > starts:
                    yield (
                        f"{name}: unless it is answered,"
                        f" the reminder after {words_for(wait)} at {self._at(each.since + wait)}"
                    )

    def _hold_steps(self) -> Iterator[str]:
        response = self._found.response
        if until := response.claimed_until:
            name = plain(response.claimed_by, LONGEST_NAME)
            yield f"{name} is on it: reminders wait until {self._at(until)}"
        if response.snoozed_until:
            name = plain(response.snoozed_by, LONGEST_NAME)
            at = max(response.snoozed_until, response.claimed_until or response.snoozed_until)
            yield (
                f"{name} snoozed it: unless it is answered, one reminder to each receiver that"
                f" was sent the alert, at {self._at(at)}"
            )

    def _at(self, moment: datetime) -> str:
        return _time(self._config, moment)


def _phrase_status(known: StoredReview, *, was_alerted: bool) -> str:
    """Return why a review has its status."""
    if known.closing is CloseReason.GONE:
        return _CLOSED[CloseReason.GONE]
    if known.status is Status.OPEN:
        return "low-rated, and not answered"
    if known.status is Status.CLOSED:
        reason = _CLOSED[known.closing] if known.closing else Reason.ABOVE
        return reason if was_alerted else f"{reason}, before it was alerted"
    return Reason.IMPORTED if is_import(known.review) else Reason.BASELINE


def _phrase_reason(alert: AlertReport) -> str:
    """Return why an alert was raised."""
    detail = alert.detail
    if alert.kind is AlertKind.REMINDER:
        if "reopened" in detail:
            return f"it is open again: {REOPENED[CloseReason(detail['reopened'])]}"
        if "snoozed" in detail:
            return "not answered when its snooze ended"
        if after := detail.get("after"):
            return f"not answered for {words_for(timedelta(seconds=after))}"
        return "still not answered"  # by an older version
    if alert.kind is AlertKind.CLUSTER:
        return phrase_cluster(detail, alert.reviews)
    if alert.kind is AlertKind.CLOSED:
        return _CLOSED[CloseReason(detail["reason"])]
    if "before" in detail:
        before, after = detail["before"]["rating"], detail.get("after", "fewer")
        return f"{Reason.LOWERED}, from {before} to {after}"
    if "backfill" in detail:
        return "a backfill alerted the past"
    return Reason.LATE if "late" in detail else Reason.NEW


def _phrase_answer(delivery: DeliveryReport, key: str) -> str:
    """Return what the service answered; `key` is that of the alert."""
    medium = medium_of(delivery.destination)
    if delivery.status == "sent" and delivery.slack_ts:
        if medium != Medium.SLACK:
            return f"ok, id {delivery.slack_ts}"
        return f"ok, ts {delivery.slack_ts} in {delivery.slack_channel}"
    if delivery.status == "sent":
        note = f"; {delivery.error}" if delivery.error else ""
        accepted = {
            Medium.EMAIL: f"accepted as <{delivery.message_id}>",
            Medium.WEBHOOK: f"accepted as {webhook_id(key)}",
        }
        return accepted.get(Medium(medium), "accepted") + note
    return delivery.error or "-"


@click.command()
@config_option
@click.argument("review_id", metavar="REVIEW_ID")
@click.option("--site", "name", metavar="NAME", help="Only this site, if several have that review.")
def command(path: Path | None, review_id: str, name: str | None) -> None:
    """Show why a review was alerted or not, to whom, and what comes next.

    Exit with 1 if it is not on record.
    """
    config = load_with_sites(path, secrets=False)
    sites = [find_site(config, name)] if name else config.sites
    with State.read(config.database) as state:
        full_id = find_review_id(state, sites, review_id, "REVIEW_ID")
        now = Clock().now()
        found = get_explanations(config, state, sites, full_id, now) if full_id else []
        reports = report.site_reports(state)
        near = phrase_near_id(state, sites, review_id)
    if found:
        click.echo(phrase_explanations(config, found, now))
    else:
        click.echo(phrase_not_on_record(config, reports, sites, review_id, near))
    sys.exit(0 if found else 1)
