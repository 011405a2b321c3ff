"""What the pages of a receiver show: reviews that it gets by today's config, with their forms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from alerter.actions import NO_RESPONSE, Response, digest
from alerter.clock import Clock
from alerter.config import Config, Receiver, Site
from alerter.models import Alert, AlertKind, CloseReason, MessageItem, Status
from alerter.render.canned import CannedReplies
from alerter.render.formatting import clean_lines
from alerter.render.history import History, HistoryLine
from alerter.render.review_page import EntryView, Feedback, PageRenderer
from alerter.respond.rules import parse_reply
from alerter.snoozes import snooze_choices
from alerter.store import State, actions, items, report, reviews
from alerter.store.report import ReviewRecord
from alerter.watch.routing import may_respond
from alerter.watch.triage import due_reminder
from alerter.web.signed_links import Link, LinkSigner, addresses_digest

# A review of one site.
Named = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Visit:
    """A link that is valid for a receiver of today's config."""

    link: Link
    receiver: Receiver
    renderer: PageRenderer


class Entries:
    """Reads reviews for the pages of receivers."""

    def __init__(self, config: Config, state: State, clock: Clock, signer: LinkSigner) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._signer = signer
        self.canned = CannedReplies(config.replies, parse_reply)
        self._sites = {site.site_id: site for site in config.sites}
        self._receivers = {receiver.name: receiver for receiver in config.receivers}

    def visit(self, link: Link) -> Visit | None:
        """Return the visit of a link; None where its receiver is gone or has other addresses."""
        receiver = self._receivers.get(link.receiver)
        if receiver is None or addresses_digest(receiver) != link.addresses:
            return None
        renderer = PageRenderer(receiver.language, self._config.timezone, self._config.site_names)
        return Visit(link, receiver, renderer)

    def site(self, visit: Visit, site_id: str) -> Site | None:
        """Return a site of the receiver; None where it is not its own."""
        site = self._sites.get(site_id)
        return site if site and visit.receiver.covers(site.name) else None

    def record(self, visit: Visit, named: Named) -> ReviewRecord | None:
        """Return a stored review; None where the receiver does not get it. Raise StateError."""
        site = self.site(visit, named[0])
        record = report.get_review_record(self._state, *named) if site else None
        if site is None or record is None:
            return None
        known = record.known
        allowed = may_respond(
            visit.receiver,
            known.review,
            site.name,
            is_open=known.status is Status.OPEN,
            is_last=visit.receiver.name == self._config.reminders.escalate_to,
        )
        return record if allowed else None

    def open_reviews(self, visit: Visit) -> list[Named]:
        """Return the open reviews that the receiver gets, the oldest first. Raise StateError."""
        receiver = visit.receiver
        is_last = receiver.name == self._config.reminders.escalate_to
        its = {each.site_id: each.name for each in self._config.sites if receiver.covers(each.name)}
        return [
            (site_id, review.id)
            for site_id, review in reviews.open_reviews_of(self._state, its)
            if may_respond(receiver, review, its[site_id], is_open=True, is_last=is_last)
        ]

    def entry(
        self, visit: Visit, named: Named, record: ReviewRecord, feedback: Feedback
    ) -> EntryView:
        """Return a review with its forms; on its own page with its history. Raise StateError."""
        now, known, renderer = self._clock.now(), record.known, visit.renderer
        review, is_gone = known.review, known.closing is CloseReason.GONE
        reply = None if is_gone or record.unverified else review.reply
        found = actions.get_responses(self._state, [named], now).get(named, NO_RESPONSE)
        return EntryView(
            review=renderer.view(self._item(named, record, found), now),
            anchor=digest(*named),
            receiver=renderer.name(visit.receiver.name),
            is_open=known.status is Status.OPEN,
            is_gone=is_gone,
            is_hidden=record.unverified,
            answer=clean_lines(reply.message) if reply else "",
            answered_at=renderer.local(reply.at) if reply else None,
            claimed_until=renderer.local(found.claimed_until),
            is_own_claim=found.claimed_by == visit.receiver.name,
            forms=self._forms(visit, named, record),
            snoozes=renderer.snoozes(snooze_choices(now, self._config.timezone).items()),
            canned=self.canned.names,
            next_reminder=renderer.local(self._next_reminder(visit, record, found)),
            history=self._history(visit, named, record) if visit.link.review_id else (),
            url="" if visit.link.review_id else self._own_page(visit, named),
            feedback=feedback,
        )

    def canned_reply(self, named: Named, record: ReviewRecord, name: str) -> str:
        """Return the text of a canned reply to a review; empty where it cannot be made."""
        item = self._item(named, record, NO_RESPONSE)
        site = self._sites[named[0]].name
        return dict(self.canned.texts(item, site)).get(name, "")

    def _item(self, named: Named, record: ReviewRecord, response: Response) -> MessageItem:
        known = record.known
        is_closed = known.status is Status.CLOSED or known.closing is CloseReason.GONE
        return MessageItem(
            Alert("page", AlertKind.NEW, named[0], known.review.id),
            known.review,
            record.product,
            known.closing if is_closed else None,
            items.get_history(self._state, *named, self._clock.now()),
            response,
            order=record.order,
        )

    def list_url(self, visit: Visit) -> str:
        """Return the address of all open reviews, which ends with the link of the visit."""
        return self._signer.open_reviews_url(visit.receiver, visit.link.ends_at)

    def _own_page(self, visit: Visit, named: Named) -> str:
        return self._signer.review_url(visit.receiver, *named, visit.link.ends_at)

    def _forms(self, visit: Visit, named: Named, record: ReviewRecord) -> Mapping[str, str]:
        """Return a token for each form that is shown, as each press is an action of its own."""
        known, now = record.known, self._clock.now()
        is_there = known.closing is not CloseReason.GONE and not record.unverified
        shown = {
            "reply": is_there,
            "claim": known.status is Status.OPEN,
            "snooze": known.status is Status.OPEN,
            "moderate": known.review.is_pending and is_there,
        }
        return {
            name: self._signer.form(visit.link, named[0], known.review, now) if there else ""
            for name, there in shown.items()
        }

    def _next_reminder(
        self, visit: Visit, record: ReviewRecord, response: Response
    ) -> datetime | None:
        """Return when the receiver is reminded next unless the review is answered, if ever."""
        if record.known.status is not Status.OPEN:
            return None
        held_until = response.claimed_until or self._clock.now()
        if response.snoozed_until:
            return max(response.snoozed_until, held_until)
        after, window = self._config.reminders.after, self._config.poll.rescan_window
        found = []
        for each in record.reminders:
            if each.destination in visit.receiver.destinations and after:
                if due_reminder(held_until - each.since, each.reminded, after, window):
                    found.append(held_until)
                later = (each.since + wait for wait in after if wait > each.reminded)
                found += [moment for moment in later if moment > held_until]
        return min(found, default=None)

    def _history(self, visit: Visit, named: Named, record: ReviewRecord) -> list[HistoryLine]:
        renderer = visit.renderer
        history = History(
            renderer.name(visit.receiver.name),
            visit.receiver.destinations,
            renderer.timezone,
            renderer.language,
        )
        return history.lines(
            record.known.review,
            report.alert_reports(self._state, *named),
            actions.get_actions(self._state, *named),
        )
