"""What people on Slack are shown about what they did, where only they see it."""

import asyncio
import logging

from alerter.actions import Action, ActionKind, ActionStatus, Outcome
from alerter.errors import DeliveryError, ErrorKind, StateError
from alerter.links import reviews_dashboard_url
from alerter.models import Content
from alerter.render.answers import view_answer
from alerter.render.language import Language, get_language
from alerter.render.outcomes import describe_action
from alerter.respond.interactions import Place
from alerter.scopes import Scope
from alerter.slack.api import SlackApi
from alerter.store import State, actions

log = logging.getLogger(__name__)

_AT_ONCE = 20
_LATER = (ErrorKind.TRANSIENT, ErrorKind.THROTTLED, ErrorKind.SERVICE)
# Refusals after which the person may look at the review and send the reply again.
_MAY_SEND_AGAIN = (Outcome.OTHER_REPLY, Outcome.OTHER_TEXT)


class SlackReports:
    """Reports to people on Slack what became of their actions, once, over a restart too."""

    def __init__(self, state: State, api: SlackApi) -> None:
        self._state = state
        self._api = api
        self._reporting = asyncio.Lock()
        self._failure = ""

    async def round(self) -> None:
        """Report what has been settled since; what Slack does not take now waits."""
        async with self._reporting:
            failure = ""
            try:
                for action in actions.unreported_actions(self._state, _AT_ONCE):
                    await self._report(action)
            except (DeliveryError, StateError) as error:
                failure = str(error)
            if failure not in ("", self._failure):
                log.warning("results of actions are shown later: %s", failure)
            self._failure = failure

    async def say(self, place: Place, user_id: str, text: str) -> None:
        """Show a text to a person; what Slack does not take is logged."""
        try:
            await self._post(place, user_id, view_answer(text, get_language("en")))
        except DeliveryError as error:
            log.warning("a person on Slack was not answered: %s", error)

    async def _report(self, action: Action) -> None:
        """Show the result of an action, and record that. Raise DeliveryError, StateError."""
        place = action.new.place
        language = get_language(place.get("language", "en"))
        content = _content(action, language)
        if content is not None:
            where = Place(place.get("channel", ""), place.get("thread", ""))
            try:
                await self._post(where, action.new.person.slack_id, content)
            except DeliveryError as error:
                if error.kind in _LATER:
                    raise
                log.warning("the result of an action could not be shown: %s", error)
        with self._state.transaction(Scope.SITE.of(action.new.site_id)):
            actions.mark_reported(self._state, action.id)

    async def _post(self, place: Place, user_id: str, content: Content) -> None:
        """Show a message to one person; in a direct message where Slack shows it nowhere else."""
        thread = {"thread_ts": place.thread} if place.thread else {}
        shown = {"text": content.text, "blocks": list(content.blocks)}
        client = self._api.client
        try:
            await self._api.call(
                client.chat_postEphemeral,
                channel=place.channel,
                user=user_id,
                **thread,
                **shown,
            )
        except DeliveryError as error:
            if error.kind in _LATER:
                raise
            await self._api.call(client.chat_postMessage, channel=user_id, **shown)


def _content(action: Action, language: Language) -> Content | None:
    """Return what the person is shown; None where the message in the channel says it."""
    new, outcome = action.new, action.outcome
    if action.status is ActionStatus.DONE and outcome is Outcome.DONE:
        if new.kind is not ActionKind.CLAIM or not action.answer:
            return None
        return view_answer(describe_action(action, language), language)
    text = describe_action(action, language)
    url = reviews_dashboard_url(new.site_id)
    if action.status is ActionStatus.DONE:
        return view_answer(text, language, url=url)
    may_send_again = bool(new.reply) and outcome in _MAY_SEND_AGAIN
    again = str(action.id) if may_send_again else ""
    return view_answer(text, language, reply=new.reply, url=url, again=again)
