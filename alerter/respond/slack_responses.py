"""Do what people press and submit on Slack."""

import json
import logging
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from alerter.actions import Action, ActionKind, ActionStatus, NewAction, Person, Through
from alerter.clock import Clock
from alerter.config import Config, Receiver
from alerter.errors import DeliveryError, RenderError, StateBusy, StateError
from alerter.models import Medium
from alerter.render.answers import Notice, describe_notice
from alerter.render.buttons import (
    MenuChoice,
    NamedReview,
    Pressed,
    review_of_block,
    review_of_key,
)
from alerter.render.language import Language, get_language
from alerter.render.outcomes import describe_invalid_reply
from alerter.respond.interactions import (
    Place,
    Press,
    Presser,
    ReplyForm,
    SubmittedModal,
    View,
    parse_interaction,
)
from alerter.respond.permission import get_denial
from alerter.respond.reply_modals import ReplyModals
from alerter.respond.reports import SlackReports
from alerter.respond.responder import PendingActions, Responder
from alerter.respond.rules import MOST_CHARACTERS, InvalidReply, parse_reply
from alerter.slack.api import SlackApi
from alerter.slack.app import SlackApp
from alerter.slack.socket import Acknowledge
from alerter.snoozes import snooze_choices
from alerter.store import State, actions
from alerter.store.channels import ChannelIds

log = logging.getLogger(__name__)

# Seconds in which an action has to be recorded: Slack waits for three.
_RECORD_WITHIN = 2.0
_TRY_AGAIN_AFTER = 0.1
# Seconds for which a result is waited for here; later ones are shown by the next round.
_WAIT_FOR_RESULT = 120.0
# Slack closes a connection that sends it more than 20,480 bytes at once:
# https://github.com/revelrylabs/slax/pull/614
_LARGEST_ANSWER = 20_000
# The largest id that SQLite holds.
_LARGEST = 2**63 - 1
# Presses that open or fill in a window, which Slack may send again for a while; choices in menus.
_REMEMBERED = 1000
_KINDS = {MenuChoice.PUBLISH: ActionKind.PUBLISH, MenuChoice.REJECT: ActionKind.REJECT}


class _Objection(NamedTuple):
    """Why a reply is not recorded, and what the modal shows then, if not that alone."""

    text: str
    view: Mapping[str, Any] | None = None


class SlackResponses:
    """Records what people do before Slack is sent the acknowledgement, and then does it."""

    def __init__(
        self,
        state: State,
        config: Config,
        clock: Clock,
        app: SlackApp,
        api: SlackApi,
        responder: Responder,
        pending: PendingActions,
        reports: SlackReports,
    ) -> None:
        self._state = state
        self._config = config
        self._clock = clock
        self._app = app
        self._api = api
        self._responder = responder
        self._pending = pending
        self._reports = reports
        self._modals = ReplyModals(state, config, clock)
        self._channels = ChannelIds(state, str(Medium.SLACK))
        self._recent: deque[str] = deque(maxlen=_REMEMBERED)
        self._chosen: dict[tuple[str, str], str] = {}

    async def handle(self, payload: Mapping[str, Any], acknowledge: Acknowledge) -> None:
        """Handle what a person did; what is of no known form is acknowledged and ignored."""
        found = parse_interaction(payload)
        if isinstance(found, SubmittedModal):
            await self._submit(found, acknowledge)
            return
        try:
            named = self._named(found) if found else None
        except StateError as error:
            log.warning("a press could not be read: %s", error)
            named = None
        if found is None or named is None:
            await acknowledge(None)
        else:
            await self._press(found, named, acknowledge)

    def _named(self, press: Press) -> NamedReview | None:
        """Return the review that a press is about; None for none, such as a link."""
        if press.action_id == Pressed.CHOOSE:
            return review_of_key(self._choice(press))
        if press.action_id == Pressed.CANNED and press.view:
            return NamedReview(press.view.form.site_id, press.view.form.review_id)
        if press.action_id == Pressed.MENU and press.value == MenuChoice.DASHBOARD:
            return None
        if press.action_id in (Pressed.REPLY, Pressed.CLAIM, Pressed.MENU):
            return review_of_block(press.block_id)
        if press.action_id == Pressed.AGAIN:
            action = self._refused_reply(press)
            return NamedReview(action.new.site_id, action.new.review_id) if action else None
        return None

    def _choice(self, press: Press) -> str:
        """Return what a person chose in a menu: Slack sends nothing if it is the same again."""
        menu = (press.person.id, press.element)
        value = press.value or self._chosen.get(menu, "")
        self._chosen[menu] = value
        if len(self._chosen) > _REMEMBERED:
            del self._chosen[next(iter(self._chosen))]
        return value

    async def _press(self, press: Press, named: NamedReview, acknowledge: Acknowledge) -> None:
        if self._is_repeated(press):
            await acknowledge(None)
            return
        receivers = self._receivers(press.place, press.person, named.site_id)
        language = _language(receivers)
        if denial := get_denial(press.person, receivers, self._app.team_id):
            await acknowledge(None)
            await self._say(press, denial, language)
        elif press.action_id in (Pressed.REPLY, Pressed.CHOOSE, Pressed.AGAIN):
            await acknowledge(None)
            await self._open(press, named, language)
        elif press.action_id == Pressed.CANNED and press.view:
            await acknowledge(None)
            await self._fill_in(press, press.view, language)
        else:
            await self._act(press, named, language, acknowledge)

    def _is_repeated(self, press: Press) -> bool:
        """Return whether a press was handled before; an action is known by its record."""
        if press.action_id in (Pressed.CLAIM, Pressed.MENU):
            return False
        known = press.key in self._recent
        self._recent.append(press.key)
        return known

    async def _act(
        self, press: Press, named: NamedReview, language: Language, acknowledge: Acknowledge
    ) -> None:
        """Record a claim, a snooze or a decision, and carry it out."""
        try:
            new = self._new(press, named, language)
            action = await self._record(new) if new else None
        except StateError as error:
            log.warning("an action could not be recorded: %s", error)
            await acknowledge(None)
            await self._say(press, Notice.BUSY, language)
            return
        await acknowledge(None)
        if action is None:
            await self._say(press, Notice.PAST, language)
            return
        await self._carry_out(action)
        if press.view:
            await self._update(press, press.view.form, language)

    def _new(self, press: Press, named: NamedReview, language: Language) -> NewAction | None:
        """Return the action that a press asks for; None for a moment that is past."""
        now, until = self._clock.now(), None
        if press.action_id == Pressed.CLAIM:
            holder = actions.get_claimant(self._state, named.site_id, named.review_id, now)
            is_own = holder is not None and holder.slack_id == press.person.id
            kind = ActionKind.RELEASE if is_own else ActionKind.CLAIM
            until = None if is_own else now + self._config.reminders.claimed_for
        elif press.value in _KINDS:
            kind = _KINDS[MenuChoice(press.value)]
        else:
            kind = ActionKind.SNOOZE
            choices = snooze_choices(now, self._config.timezone)
            until = {str(each): at for each, at in choices.items()}.get(press.value)
            if until is None:
                return None
        return NewAction(
            key=press.key,
            kind=kind,
            site_id=named.site_id,
            review_id=named.review_id,
            person=Person(press.person.name, press.person.id),
            through=Through.SLACK,
            seen=named.seen if kind.is_call else "",
            until=until,
            place=_place(press.place, language),
        )

    async def _record(self, new: NewAction) -> Action:
        """Record an action within two seconds; raise StateError."""
        ends = self._clock.monotonic() + _RECORD_WITHIN
        while True:
            try:
                return self._responder.request(new)
            except StateBusy:
                if self._clock.monotonic() + _TRY_AGAIN_AFTER >= ends:
                    raise
            await self._clock.sleep(_TRY_AGAIN_AFTER)

    async def _carry_out(self, action: Action) -> None:
        """Carry an action out, and show its result."""
        self._pending.start(action)
        await self._pending.wait(action, _WAIT_FOR_RESULT)
        await self._reports.round()

    async def _open(self, press: Press, named: NamedReview, language: Language) -> None:
        """Open a modal, within the three seconds of the press."""
        text, has_buttons = "", press.action_id == Pressed.CHOOSE
        try:
            if press.action_id == Pressed.AGAIN and (action := self._refused_reply(press)):
                text = action.new.reply
            form = self._modals.new_form(named, press.place, has_buttons=has_buttons)
            made = self._modals.view(form, language, text=text) if form else None
        except StateError:
            await self._say(press, Notice.BUSY, language)
            return
        if made is None:
            await self._say(press, Notice.GONE, language)
            return
        try:
            await self._api.call(
                self._api.client.views_open, trigger_id=press.trigger_id, view=made[1]
            )
        except DeliveryError as error:
            log.warning("a window on Slack did not open: %s", error)
            await self._say(press, Notice.NOT_SHOWN, language)

    async def _fill_in(self, press: Press, view: View, language: Language) -> None:
        """Fill a canned reply in, for the person to change."""
        try:
            text = self._modals.canned_text(view.form, press.value)
        except (RenderError, StateError) as error:
            fault = error.fault if isinstance(error, RenderError) else str(error)
            log.warning("a canned reply could not be used: %s", fault)
            text = None
        if text is None:
            await self._say(press, Notice.NOT_FILLED, language)
            return
        await self._update(press, view.form.filled_again(), language, text=text)

    async def _update(
        self, press: Press, form: ReplyForm, language: Language, *, text: str = ""
    ) -> None:
        """Show the modal of a press again, as things are now."""
        view = press.view
        try:
            made = self._modals.view(form, language, text=text)
        except StateError as error:
            log.warning("a window on Slack was not updated: %s", error)
            return
        if view is not None and made is not None:
            await self._show(view, made[1])

    async def _show(self, view: View, shown: Mapping[str, Any]) -> None:
        """Show something else in an open modal."""
        try:
            await self._api.call(
                self._api.client.views_update, view_id=view.id, hash=view.hash, view=shown
            )
        except DeliveryError as error:
            log.warning("a window on Slack was not updated: %s", error)

    async def _submit(self, submission: SubmittedModal, acknowledge: Acknowledge) -> None:
        """Judge a reply and record it: what is wrong is shown in the modal, which stays open."""
        form, language = submission.view.form, _language([])
        objection: _Objection | None = None
        action: Action | None = None
        try:
            receivers = self._receivers(form.place, submission.person, form.site_id)
            language = _language(receivers)
            if denial := get_denial(submission.person, receivers, self._app.team_id):
                objection = _Objection(describe_notice(denial, language))
            else:
                reply = parse_reply(submission.view.texts.get(form.field, ""))
                objection = self._objection(submission, reply, language)
                if objection is None:
                    action = await self._record(_new_reply(submission, reply, language))
        except InvalidReply as error:
            fault = describe_invalid_reply(error.fault, error.length, MOST_CHARACTERS, language)
            objection = _Objection(fault)
        except StateError as error:
            log.warning("a reply could not be recorded: %s", error)
            objection = _Objection(describe_notice(Notice.BUSY, language))
        if objection is not None:
            await self._object(submission.view, objection, acknowledge)
        else:
            await acknowledge(None)
        if action is not None:
            await self._carry_out(action)

    async def _object(self, view: View, objection: _Objection, acknowledge: Acknowledge) -> None:
        """Show in a modal why its reply is not recorded."""
        answer: dict[str, Any] = {"response_action": "update", "view": objection.view}
        if objection.view and len(json.dumps(answer)) <= _LARGEST_ANSWER:
            await acknowledge(answer)
            return
        errors = {view.form.field: objection.text}
        await acknowledge({"response_action": "errors", "errors": errors})
        if objection.view:
            await self._show(view, objection.view)

    def _objection(
        self, submission: SubmittedModal, reply: str, language: Language
    ) -> _Objection | None:
        """Return what is shown instead of recording a reply; None to record it."""
        form = submission.view.form
        before = actions.get_action_by_key(self._state, submission.key)
        if before is not None:
            same = before.new.reply == reply or before.status is ActionStatus.DONE
            return None if same else _Objection(describe_notice(Notice.SENT_BEFORE, language))
        difference = self._modals.difference(form)
        if difference == "":
            return None
        made = None
        if difference is not None:
            made = self._modals.view(form.filled_again(), language, text=reply, notice=difference)
        if difference is None or made is None:
            return _Objection(describe_notice(Notice.GONE, language))
        return _Objection(language.gettext(difference), made[1])

    def _refused_reply(self, press: Press) -> Action | None:
        """Return the reply that a person may look at again: their own, which was refused."""
        number = int(press.value) if press.value.isascii() and press.value.isdigit() else 0
        action = actions.get_action(self._state, min(number, _LARGEST))
        is_own = action is not None and action.new.person.slack_id == press.person.id
        return action if is_own and action and action.new.reply else None

    def _receivers(self, place: Place, person: Presser, site_id: str) -> list[Receiver]:
        """Return the receivers whose channel a place is, and that get alerts of the site."""
        name = self._config.site_names.get(site_id)
        return [
            receiver
            for receiver in self._config.receivers
            if name is not None
            and receiver.slack
            and receiver.token is None
            and receiver.covers(name)
            and self._is_channel(receiver.slack, place, person)
        ]

    def _is_channel(self, written: str, place: Place, person: Presser) -> bool:
        """Return whether a place is the channel that the config names: in any of its forms."""
        if written.startswith("#"):
            return self._channels.get(written) == place.channel
        if written[0] in "UW":  # a direct message, whose own id the config does not have
            return place.channel.startswith("D") and person.id == written
        return written == place.channel

    async def _say(self, press: Press, notice: Notice, language: Language) -> None:
        text = describe_notice(notice, language)
        await self._reports.say(press.place, press.person.id, text)


def _new_reply(submission: SubmittedModal, reply: str, language: Language) -> NewAction:
    form = submission.view.form
    return NewAction(
        key=submission.key,
        kind=ActionKind.REPLY,
        site_id=form.site_id,
        review_id=form.review_id,
        person=Person(submission.person.name, submission.person.id),
        through=Through.SLACK,
        revision=form.revision,
        seen=form.seen,
        seen_reply=form.seen_reply,
        reply=reply,
        replace=form.replace,
        place=_place(form.place, language),
    )


def _place(place: Place, language: Language) -> dict[str, str]:
    return {"channel": place.channel, "thread": place.thread, "language": language.code}


def _language(receivers: list[Receiver]) -> Language:
    return get_language(receivers[0].language if receivers else "en")
