"""What becomes of the forms that people send from the review page."""

from collections.abc import Mapping
from dataclasses import dataclass

from alerter.actions import Action, ActionStatus, NewAction, Outcome
from alerter.clock import Clock
from alerter.config import Config
from alerter.errors import StateError
from alerter.render.language import Language
from alerter.render.outcomes import describe_action, describe_invalid_reply
from alerter.render.review_page import Feedback, PageFault
from alerter.respond.responder import PendingActions, Responder
from alerter.respond.rules import MOST_CHARACTERS, InvalidReply
from alerter.store import State, actions
from alerter.web.entries import Visit
from alerter.web.forms import Past, Submission, action_of, is_from_own_page, is_same
from alerter.web.signed_links import FormToken

# Seconds that a form waits for Wix; its connection has five in all.
_WAITS = 3.0
_CONFLICTS = (Outcome.OTHER_REPLY, Outcome.OTHER_TEXT)
# The status of an answer to an action that was refused; 422 for the others.
_STATUS = {
    Outcome.OTHER_REPLY: 409,
    Outcome.OTHER_TEXT: 409,
    Outcome.NOT_OPEN: 409,
    Outcome.GONE: 410,
    Outcome.FORBIDDEN: 403,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a form: the page again with `feedback`, or else the result of an action."""

    status: int = 303
    feedback: Feedback | None = None
    key: str = ""


class Submissions:
    """Turns forms into actions, and actions into what their page says."""

    def __init__(
        self,
        config: Config,
        state: State,
        clock: Clock,
        responder: Responder,
        pending: PendingActions,
    ) -> None:
        self._config = config
        self._state = state
        self._clock = clock
        self._responder = responder
        self._pending = pending
        self._public_url = (config.web and config.web.public_url) or ""

    async def act(
        self, visit: Visit, headers: Mapping[str, str], sent: Submission, token: FormToken | None
    ) -> Answer:
        """Do what a form says. `token`: None where it is not of this page. Raise StateError."""
        renderer = visit.renderer
        if token is None or not is_from_own_page(headers, self._public_url):
            return _refuse(403, renderer.fault(PageFault.FOREIGN_FORM), sent.text)
        if token.is_over:
            return _refuse(409, renderer.fault(PageFault.OLD_FORM), sent.text)
        try:
            new = action_of(
                sent,
                token,
                visit.receiver.name,
                self._clock.now(),
                self._config.timezone,
                self._config.reminders.claimed_for,
            )
        except InvalidReply as error:
            problem = describe_invalid_reply(
                error.fault, error.length, MOST_CHARACTERS, renderer.language
            )
            return Answer(422, Feedback(problem=problem, text=sent.text, invalid=True))
        except Past:
            return _refuse(422, renderer.fault(PageFault.NO_MOMENT), sent.text)
        if new is None:
            return _refuse(422, renderer.fault(PageFault.UNREADABLE), sent.text)
        return await self._carry_out(visit, new, token.key, sent.text)

    def edit(self, visit: Visit, sent: Submission, canned: str) -> Answer:
        """Put a canned reply above what the person has written; nothing is sent."""
        if not canned:
            return _refuse(422, visit.renderer.fault(PageFault.NO_CANNED), sent.text)
        text = "\n\n".join(each for each in (canned, sent.text.strip()) if each)
        return Answer(200, Feedback(text=text, edited=True))

    async def _carry_out(self, visit: Visit, new: NewAction, key: str, text: str) -> Answer:
        """Record an action, and wait a little for its result."""
        action = self._responder.request(new)
        if not is_same(action.new, new):
            return _refuse(409, visit.renderer.fault(PageFault.USED_FORM), text)
        self._pending.start(action)
        await self._pending.wait(action, _WAITS)
        try:
            action = actions.get_action(self._state, action.id) or action
        except StateError:  # it is recorded, and its page shows what becomes of it
            return Answer(key=key)
        if action.status is ActionStatus.FAILED:
            status = _STATUS.get(action.outcome or Outcome.REFUSED, 422)
            return Answer(status, feedback_of(action, visit.renderer.language))
        return Answer(key=key)


def feedback_of(action: Action, language: Language) -> Feedback:
    """Return what a page says about an action; a reply that was not sent is shown again."""
    said = describe_action(action, language)
    if action.status is ActionStatus.FAILED:
        return Feedback(problem=said, text=action.new.reply, conflict=action.outcome in _CONFLICTS)
    return Feedback(notice=said, under_way=not action.is_settled)


def _refuse(status: int, problem: str, text: str) -> Answer:
    return Answer(status, Feedback(problem=problem, text=text))
