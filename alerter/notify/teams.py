"""The notifier for Teams, through a workflow that a webhook starts.

https://support.microsoft.com/en-us/office/create-incoming-webhooks-with-workflows-for-microsoft-teams-8ae491c7-0394-4861-ba59-055e33f75498
"""

from alerter.errors import DeliveryError, ErrorKind
from alerter.models import Content, Message, Receipt
from alerter.notify.http_address import HttpNotifier, HttpRefusal, HttpRequest
from alerter.render.teams import request_body
from alerter.text import table_in

# What a workflow refuses in a request, and not in every one:
# https://learn.microsoft.com/en-us/azure/logic-apps/logic-apps-http-endpoint
_OF_THE_MESSAGE = ("InvalidRequestContent", "RequestEntityTooLarge")
# A connector, as there were before workflows, answers 200 where Teams refused:
# https://github.com/MicrosoftDocs/msteams-docs/issues/400
_REFUSED = b"Webhook message delivery failed"


class TeamsNotifier(HttpNotifier):
    """Starts one receiver's workflow, which posts later and does not say whether it did."""

    def request_of(self, message: Message, content: Content) -> HttpRequest:  # noqa: ARG002 - as ntfy's
        """Return the card of a message."""
        body = request_body(content.blocks[0])
        return HttpRequest(body, {"Content-Type": "application/json"})

    async def send(self, message: Message, content: Content) -> Receipt:
        """Start the workflow; raise DeliveryError."""
        try:
            reply = await self._address.call(self.request_of(message, content))
        except HttpRefusal as error:
            code = table_in(error.reply.read_object(), "error").get("code")
            if error.kind is ErrorKind.MESSAGE and code not in (None, *_OF_THE_MESSAGE):
                error.kind = ErrorKind.RECEIVER  # such as a workflow that is turned off
            raise
        if reply.body.startswith(_REFUSED):
            kind = ErrorKind.THROTTLED if b"error 429" in reply.body else ErrorKind.TRANSIENT
            text = "the address has a fault of its own: Teams refuses what its connector got"
            raise DeliveryError(text, kind)
        if reply.body.lstrip().startswith(b"<"):
            text = "the answer of the address was lost (it is a page, and no workflow's)"
            raise DeliveryError(text, ErrorKind.TRANSIENT, in_doubt=True)
        return Receipt(str(reply.status))
