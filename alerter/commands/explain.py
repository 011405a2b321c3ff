"""`alerter explain`: why a review was alerted or not, to whom, when, with what answer, and what comes next."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path

import click

from alerter.clock import Clock
from alerter.commands.options import config_option, find_review_id, find_site, load
from alerter.commands.terminal import local_time, phrase_product, plain, table, title
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
from alerter.render.formatting import duration, stars
from alerter.render.views import REOPENED
from alerter.store import State, blocks, report, troubles
from alerter.store.report import AlertReport, DeliveryReport, ReviewRecord
from alerter.watch.routing import excluded_by
from alerter.watch.triage import Reason, due_reminder, is_import

_LONGEST = 100
_HEAD = ["receiver", "status", "form", "attempts", "last attempt", "answer"]
_CLOSED = {
    CloseReason.ANSWERED: "it was answered",
    CloseReason.RAISED: "its rating is no longer low",
    CloseReason.REJECTED: "moderation rejected it",
    CloseReason.GONE: "it is gone from Wix, and its text was erased here",
}


def explain(
    config: Config, state: State | None, sites: Sequence[Site], review_id: str, now: datetime
) -> list[str]:
    """All that is on record of a review on these sites, as lines; none where there is nothing."""
    lines: list[str] = []
    for site in sites if state else ():
        if state and (record := report.get_review_record(state, site.site_id, review_id)):
            lines += [""] * bool(lines) + _Story(config, state, site, record, now).lines()
    return lines


def not_on_record(
    config: Config, state: State | None, sites: Sequence[Site], review_id: str
) -> list[str]:
    """What is usually the reason that a review is not on record."""
    lines = [
        f"review {plain(review_id, _LONGEST)} is not on record of {', '.join(site.name for site in sites)}; either"
    ]
    found = report.site_reports(state) if state else {}
    for site in sites:
        seen = found.get(site.site_id)
        lines.append(
            f"- it is rated higher than {stars(config.threshold(site))}, the threshold of {site.name}"
        )
        if seen is None or seen.last_success is None:
            lines.append(f"- or it was not read yet: {site.name} was never read")
        else:
            lines.append(
                f"- or it came after {_time(config, seen.last_success)}, when {site.name} was read last"
            )
        if seen and not seen.sees_private:
            lines.append(
                f"- or it waits for moderation: {site.name} lets us read published reviews only"
            )
    return [
        *lines,
        "- or this is not the id that Wix gives it, or of a site that is not in the config",
    ]


def _time(config: Config, moment: datetime) -> str:
    return f"{local_time(moment, config.timezone):%Y-%m-%d %H:%M:%S %Z}"


class _Story:
    """What there is to tell of one review on one site."""

    def __init__(
        self, config: Config, state: State, site: Site, record: ReviewRecord, now: datetime
    ) -> None:
        self._config = config
        self._state = state
        self._site = site
        self._record = record
        self._review = record.known.review
        self._alerts = report.alert_reports(state, site.site_id, record.known.review.id)
        self._now = now

    def lines(self) -> list[str]:
        next_steps = [*self._of_deliveries(), *self._of_review()]
        return [
            *self._head(),
            "",
            *self._of_alerts(),
            "",
            "what comes next",
            *(f"- {step}" for step in next_steps),
        ]

    def _head(self) -> Iterator[str]:
        review = self._review
        about = phrase_product(review, self._record.product, _LONGEST)
        yield f"{self._site.name}: review {review.id}"
        yield f"{stars(review.rating)}  {title(review.title)} for {about}"
        if created := self._record.created:
            yield f"created {self._at(created)}, {duration(self._now - created)} ago"
        if self._record.unverified:
            yield "its words are not shown: it was restored, and Wix has not been asked since whether it is still there"
        told = bool(self._alerts) or self._record.known.pruned
        yield f"on record as {self._record.known.status}: {_why(self._record.known, told=told)}"

    def _of_alerts(self) -> Iterator[str]:
        if self._record.known.pruned:
            yield "its text and what was sent of it are erased: it was at rest for longer than [state] keep"
        elif not self._alerts:
            yield "it was never alerted"
        for alert in self._alerts:
            yield f"{alert.kind}, {self._at(alert.raised_at)}: {_reason(alert)}"
            if alert.deliveries:
                yield from (
                    f"  {line}"
                    for line in table(_HEAD, [self._row(each) for each in alert.deliveries])
                )
            elif alert.kind is AlertKind.CLOSED:
                yield "  no message of its own; where the review stands on Slack, that is changed in its place"
            else:
                yield "  nobody was to hear of it: no receiver of the config took it"
        for receiver in self._config.receivers:
            key = excluded_by(receiver, self._review, self._site.name)
            if key and key != "sites":
                yield f"as it is now, {receiver.name} is left out by its {key}"

    def _row(self, delivery: DeliveryReport) -> list[str]:
        status = "in doubt" if delivery.in_doubt else delivery.status
        form, attempts, at = "-", "-", "-"
        if delivery.form and delivery.attempted_at:
            form, attempts, at = (
                delivery.form,
                str(delivery.attempts),
                self._at(delivery.attempted_at),
            )
        return [
            phrase_destination(delivery.destination),
            status,
            form,
            attempts,
            at,
            _answer(delivery),
        ]

    def _of_deliveries(self) -> Iterator[str]:
        for delivery in (each for alert in self._alerts for each in alert.deliveries):
            step = self._step(delivery)
            if step:
                yield f"{phrase_destination(delivery.destination)}: {step}"

    def _step(self, delivery: DeliveryReport) -> str | None:
        """What is still to come of a delivery."""
        if delivery.status == "failed":
            return "given up; `alerter retry` queues it again"
        if delivery.status == "sent" and delivery.partly_taken:
            return "some of its addresses have it; the others are tried again"
        if delivery.status == "sent" and delivery.stale and delivery.slack_ts:
            return "the message on Slack is to be changed, as the review has changed since"
        return self._wait(delivery) if delivery.status == "pending" else None

    def _wait(self, delivery: DeliveryReport) -> str:
        """What a delivery waits for."""
        receiver = self._config.destinations().get(delivery.destination)
        if receiver is None:
            return "is not in the config any more; it is cancelled at the next start"
        scopes = self._config.scopes(receiver, delivery.destination)
        if block := blocks.get_block(self._state, scopes, self._now):
            if block.parked:
                return f"waits, parked: {block.reason}; mend it, then `alerter check` or `alerter retry`"
            return f"waits until {self._at(block.until)}: {block.reason}"
        if delivery.in_doubt:
            look = (
                "is looked for before it is sent again"
                if medium_of(delivery.destination) == Medium.SLACK
                else "goes out again as the same mail"
            )
            return f"whether it arrived is in doubt; it {look}"
        if delivery.due_at > self._now:
            return f"hears of it at {self._at(delivery.due_at)}, when its quiet hours end"
        theirs = (each for alert in self._alerts for each in alert.deliveries)
        if any(each.in_doubt and each.destination == delivery.destination for each in theirs):
            return "waits until it is known whether the message before about this review arrived"
        return "is due now; a running daemon sends it, or `alerter run --once`"

    def _of_review(self) -> Iterator[str]:
        trouble = next(
            (
                each
                for each in troubles.get_open_troubles(self._state)
                if each.scope == f"site:{self._site.site_id}"
            ),
            None,
        )
        if trouble and trouble.over_at is None:
            yield f"the site cannot be read at present: {trouble.reason}"
        known = self._record.known
        if known.closing is CloseReason.GONE:
            yield "nothing more"
        elif known.status is Status.OPEN:
            yield from self._of_open(known)
        elif known.status is Status.CLOSED:
            yield "nothing, unless it is edited for the worse, or what closed it is taken back"
        else:
            yield "nothing, unless its rating falls; `alerter backfill` tells of it if it is not answered"

    def _of_open(self, known: StoredReview) -> Iterator[str]:
        yield from self._of_reminders()
        window = self._config.poll.rescan_window
        if known.alerted_at and known.alerted_at + window > self._now:
            yield f"until it is answered it is followed, at most until {self._at(known.alerted_at + window)}"
        else:
            yield f"it is followed no longer: nobody answered it within {duration(window)}"

    def _of_reminders(self) -> Iterator[str]:
        after, window = self._config.reminders.after, self._config.poll.rescan_window
        for each in self._record.reminders if after else ():
            name = phrase_destination(each.destination)
            if due := due_reminder(self._now - each.since, each.reminded, after, window):
                yield f"{name}: unless it is answered, the reminder after {duration(due)} with the next round"
            for wait in after:
                if wait > each.reminded and each.since + wait > self._now:
                    when = self._at(each.since + wait)
                    yield f"{name}: unless it is answered, the reminder after {duration(wait)} at {when}"

    def _at(self, moment: datetime) -> str:
        return _time(self._config, moment)


def _why(known: StoredReview, *, told: bool) -> str:
    """Why a review stands where it does."""
    if known.closing is CloseReason.GONE:
        return _CLOSED[CloseReason.GONE]
    if known.status is Status.OPEN:
        return "low-rated, and not answered"
    if known.status is Status.CLOSED:
        reason = _CLOSED[known.closing] if known.closing else Reason.ABOVE
        return reason if told else f"{reason}, before anybody was alerted of it"
    if is_import(known.review):
        return Reason.IMPORTED
    return Reason.BASELINE


def _reason(alert: AlertReport) -> str:
    """Why an alert was raised."""
    if alert.kind is AlertKind.REMINDER:
        if "reopened" in alert.detail:
            return f"it is open again: {REOPENED[CloseReason(alert.detail['reopened'])]}"
        after = alert.detail.get("after")  # an old one does not say
        return f"reminder{f' after {duration(timedelta(seconds=after))}' if after else ''}: it was still not answered"
    if alert.kind is AlertKind.CLOSED:
        return _CLOSED[CloseReason(alert.detail["reason"])]
    if "before" in alert.detail:
        return f"{Reason.LOWERED}, from {alert.detail['before']['rating']} to {alert.detail.get('after', 'fewer')}"
    if "backfill" in alert.detail:
        return "a backfill was asked to tell of the past"
    return Reason.LATE if "late" in alert.detail else Reason.NEW


def _answer(delivery: DeliveryReport) -> str:
    """What the service said."""
    if delivery.status == "sent" and delivery.slack_ts:
        return f"ok, ts {delivery.slack_ts} in {delivery.slack_channel}"
    if delivery.status == "sent":
        return f"taken as <{delivery.message_id}>" + (
            f"; {delivery.error}" if delivery.error else ""
        )
    return delivery.error or "-"


@click.command()
@config_option
@click.argument("review_id", metavar="REVIEW_ID")
@click.option(
    "--site", "name", metavar="NAME", help="Only this site, where more than one has that review."
)
def command(path: Path | None, review_id: str, name: str | None) -> None:
    """Show why a review was alerted or not, to whom, and what comes next.

    Exits 1 if it is not on record.
    """
    config = load(path, secrets=False)
    sites = [find_site(config, name)] if name else config.sites
    with State.read(config.state_path) or nullcontext() as state:
        full_id = find_review_id(state, sites, review_id, "REVIEW_ID")
        found = explain(config, state, sites, full_id, Clock().now()) if full_id else []
        lines = found or not_on_record(config, state, sites, review_id)
    click.echo("\n".join(lines))
    sys.exit(0 if found else 1)
