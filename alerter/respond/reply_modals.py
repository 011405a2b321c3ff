"""The modals in which people on Slack reply: filled from what is on record."""

from dataclasses import replace
from typing import Any

from alerter.actions import NO_RESPONSE
from alerter.clock import Clock
from alerter.config import Config
from alerter.models import Alert, AlertKind, MessageItem, Review, Status
from alerter.render.buttons import NamedReview, view_buttons
from alerter.render.canned import CannedReplies
from alerter.render.formatting import clean_lines
from alerter.render.language import Language
from alerter.render.modals import (
    OTHER_REPLY,
    OTHER_TEXT,
    ReplyModal,
    canned_key,
    view_reply_modal,
)
from alerter.render.views import view_review
from alerter.respond.interactions import Place, ReplyForm
from alerter.respond.rules import parse_reply
from alerter.store import State, report
from alerter.store.actions import get_responses
from alerter.store.report import ReviewRecord


class ReplyModals:
    """Makes modals, and compares what people saw in them with what is on record."""

    def __init__(self, state: State, config: Config, clock: Clock) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._canned = CannedReplies(config.replies, parse_reply)

    def new_form(
        self, named: NamedReview, place: Place, *, has_buttons: bool = False
    ) -> ReplyForm | None:
        """Return the form of a modal about a review as it is now; None if its text is gone."""
        record = self._record(named.site_id, named.review_id)
        if record is None:
            return None
        form = ReplyForm(
            named.site_id,
            named.review_id,
            place.channel,
            place.thread,
            has_buttons=has_buttons,
        )
        return _seen(form, record.known.review)

    def view(
        self, form: ReplyForm, language: Language, *, text: str = "", notice: str = ""
    ) -> tuple[ReplyForm, dict[str, Any]] | None:
        """Return a modal with the review as it is now, and its form; None if its text is gone."""
        record = self._record(form.site_id, form.review_id)
        if record is None:
            return None
        review, now = record.known.review, self._clock.now()
        form = _seen(form, review)
        item = self._item(form, record)
        timezone = self._config.timezone
        view = view_review(item, now, timezone, self._config.site_names, language)
        if form.has_buttons and record.known.status is Status.OPEN:
            pressed = (form.site_id, review, view.what, now, timezone, language)
            view = replace(view, buttons=view_buttons(*pressed))
        said = notice or (OTHER_REPLY if form.replace else "")
        modal = ReplyModal(
            view,
            form.dump(),
            form.field,
            current=clean_lines(review.reply.message) if review.reply else "",
            text=text,
            canned=self._canned.names,
            notice=language.gettext(said) if said else "",
            replaces=form.replace,
            has_buttons=form.has_buttons,
        )
        return form, view_reply_modal(modal, language)

    def canned_text(self, form: ReplyForm, key: str) -> str | None:
        """Return the text of a canned reply to the review; None without one. Raise RenderError."""
        record = self._record(form.site_id, form.review_id)
        name = next((each for each in self._canned.names if canned_key(each) == key), None)
        if record is None or name is None:
            return None
        site_name = self._config.site_names.get(form.site_id, "")
        return self._canned.text(name, self._item(form, record), site_name)

    def difference(self, form: ReplyForm) -> str | None:
        """Return what has changed since the person saw the review; empty if nothing.

        None if its text is gone.
        """
        record = self._record(form.site_id, form.review_id)
        if record is None:
            return None
        review = record.known.review
        if review.text_digest != form.seen:
            return OTHER_TEXT
        if review.reply and review.reply_digest != form.seen_reply:
            return OTHER_REPLY
        return ""

    def _record(self, site_id: str, review_id: str) -> ReviewRecord | None:
        record = report.get_review_record(self._state, site_id, review_id)
        if record is None or record.unverified or record.known.redacted or record.known.pruned:
            return None
        return record

    def _item(self, form: ReplyForm, record: ReviewRecord) -> MessageItem:
        pair, now = (form.site_id, form.review_id), self._clock.now()
        responses = get_responses(self._state, [pair], now)
        return MessageItem(
            Alert("modal", AlertKind.NEW, *pair),
            record.known.review,
            record.product,
            response=responses.get(pair, NO_RESPONSE),
        )


def _seen(form: ReplyForm, review: Review) -> ReplyForm:
    """Return the form of a modal that shows a review: sending replaces the reply in it."""
    return replace(
        form,
        seen=review.text_digest,
        seen_reply=review.reply_digest,
        revision=review.revision,
        replace=review.reply is not None,
    )
