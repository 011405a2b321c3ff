"""The story that `alerter demo` plays on the real daemon."""

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerter.demo.arrivals import Arrivals
from alerter.demo.daemon import Daemon
from alerter.demo.faults import Fault
from alerter.demo.slack import Post
from alerter.demo.stage import ADA, PRODUCT_ID, SITE_ID, Say, Stage, open_stage, play_until
from alerter.errors import AlerterError
from alerter.service.signals import stop_signals
from alerter.text import counted

# Seconds after which the story gives up, however slow the machine is.
_PATIENCE = 120.0
_POLL_EVERY = 0.05
_HISTORY = [
    (1, "Burnt"),
    (2, "Too salty"),
    (5, "Lovely"),
    (4, "Good bread"),
    (1, "Never again"),
    (5, "Perfect"),
]


async def play(reviews: Path | None, say: Say) -> bool:
    """Play the story. Return whether nothing was lost and nothing repeated.

    Ctrl-C ends it early, and leaves nothing behind.
    """
    with (
        tempfile.TemporaryDirectory(prefix="alerter-demo-") as folder,
        stop_signals() as stop,
    ):
        async with open_stage(Path(folder), reviews) as stage:
            story = _Story(stage, say)
            try:
                if not await play_until(stop, story.play()):
                    say("\nStopped.", "note")
                    return True
            finally:
                await story.end()
            lost, repeated = story.count()
            say(f"\nThe mails and Slack messages, as they look: {_keep_page(stage)}", "note")
            alerted = f"{counted(len(story.expected), 'review')} alerted by email and on Slack"
            say(f"{alerted}: {lost} lost, {repeated} repeated", "result")
            return not lost + repeated


def _keep_page(stage: Stage) -> Path:
    """Write all messages to a page that outlives the demo, and return its path."""
    page = Path(tempfile.mkdtemp(prefix="alerter-demo-")) / "messages.html"
    stage.write_page(page)
    return page


class _Story:
    """The story: a daemon as a process of its own, and the events around it."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self._say = say
        self.expected: list[str] = []
        self.reminders: list[str] = []
        self._ids: dict[str, str] = {}
        self._stage = stage
        self._steps = 0
        self._config = stage.folder / "config.toml"
        self._daemon = Daemon(self._config)
        self._printer = asyncio.create_task(self._print_messages())

    async def play(self) -> None:
        """Play each scene until its messages have arrived."""
        await self._a_site_with_a_history()
        await self._a_review_and_its_answer()
        await self._an_outage()
        await self._a_response()
        await self._a_reminder()

    async def _a_site_with_a_history(self) -> None:
        self._step("A site has old reviews: they are recorded, and nobody is notified.")
        self._history()
        self._config.write_text(self._stage.config(every="1s"))
        await self._daemon.start()
        await self._rounds(2)

    async def _a_review_and_its_answer(self) -> None:
        self._step("A customer leaves one star.")
        self._add(1, "Stale on arrival", "The croissants were hard as stone, and the box was open.")
        await self._arrival()

        self._step("The customer adds to the review: the message on Slack is updated.")
        self._change(
            "Stale on arrival", body="Hard as stone, and the box was open. The staff only shrugged."
        )
        await self._until(lambda: self._shown("The staff only shrugged"))

        self._step("The owner answers in the dashboard: the message no longer asks for an answer.")
        self._answer("Stale on arrival")
        await self._until(lambda: self._shown("Answered after"))

        self._step(
            "Five stars are not alerted; two stars are, also while they wait for moderation."
        )
        self._add(5, "Wonderful", "Best croissants in town!")
        self._add(2, "Half of it missing", "I ordered six and got three.", status="SUBMITTED")
        await self._arrival()

    async def _an_outage(self) -> None:
        self._step("Slack is down. The mail is sent, the Slack message waits.")
        self._stage.slack.faults.always("chat.postMessage", Fault(status=503))
        self._add(1, "Rude staff", "They laughed when I asked for a refund.")
        await self._until(lambda: self._mailed(self.expected[-1]))
        # The daemon disconnects once it has recorded the mail; killed before, it would repeat it.
        await self._until(lambda: not self._stage.mailbox.connected)
        await self._until(lambda: any(call.status == 503 for call in self._stage.slack.requests))

        self._step("The daemon is killed. Slack comes back, and the daemon is started again.")
        await self._daemon.kill()
        self._stage.slack.faults.clear()
        self._add(1, "Found a hair", "In the bread. A long one.")
        await self._daemon.start()
        await self._arrival()

    async def _a_response(self) -> None:
        self._step("Ada presses *I’m on it* under the message: her team sees it.")
        ada, slack = self._stage.slack.person(ADA), self._stage.slack
        await slack.socket.connected()
        await ada.press(self._post("Rude staff"), "I’m on it")
        await self._until(lambda: "Ada is on it" in self._post("Rude staff").text)

        self._step("She replies from Slack: Wix has the reply, and everybody sees whose it is.")
        await ada.press(self._post("Rude staff"), "Reply")
        await self._until(lambda: bool(ada.modals))
        reply = "We are sorry, and have spoken with our staff. Please come back!"
        await ada.submit({"text": reply})
        await self._until(lambda: "Ada replied" in self._post("Rude staff").text)
        row = self._stage.wix.sites[SITE_ID].reviews.get(self._ids["Rude staff"])
        if row is None or row.review["reply"]["message"] != reply:
            raise AlerterError("Wix does not have the reply that Ada sent")

    async def _a_reminder(self) -> None:
        self._step("One review stays unanswered for a day (here: a second): a reminder.")
        self._answer("Half of it missing")
        await self._until(lambda: "Answered after" in self._post("Half of it missing").text)
        await self._daemon.stop()
        self._config.write_text(self._stage.config(every="1s", reminders='"1s"'))
        await self._daemon.start()
        self.reminders.append("Still unanswered")
        await self._arrival()

    def _step(self, text: str) -> None:
        self._steps += 1
        self._say(f"\n{self._steps}. {text}", "step")

    def _history(self) -> None:
        for days, (rating, title) in enumerate(_HISTORY, 1):
            created = datetime.now(UTC) - timedelta(days=days)
            self._put(rating, title, "", created)

    def _change(self, title: str, **content: str) -> None:
        self._stage.wix.change(SITE_ID, self._ids[title], content=content)

    def _answer(self, title: str) -> None:
        self._stage.wix.reply(
            SITE_ID, self._ids[title], "We are sorry. Please give us another chance!"
        )

    def _add(self, rating: int, title: str, body: str, *, status: str = "APPROVED") -> None:
        review = self._put(rating, title, body, datetime.now(UTC), status)
        if rating <= 2:
            self.expected.append(review["content"]["title"])

    def _put(
        self, rating: int, title: str, body: str, created: datetime, status: str = "APPROVED"
    ) -> dict[str, Any]:
        moment = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        review = self._stage.wix.add(
            SITE_ID,
            {
                "entityId": PRODUCT_ID,
                "content": {"rating": rating, "title": title, "body": body},
                "author": {"authorName": "Robin"},
                "createdDate": moment,
                "reviewDate": moment,
                "moderation": {"moderationStatus": status},
            },
        )
        self._ids[title] = review["id"]
        return review

    async def end(self) -> None:
        """Stop the daemon, and print the last messages."""
        await self._daemon.stop()
        await asyncio.sleep(2 * _POLL_EVERY)
        self._printer.cancel()

    async def _rounds(self, number: int) -> None:
        seen = len(self._stage.wix.queries(SITE_ID))
        await self._until(lambda: len(self._stage.wix.queries(SITE_ID)) >= seen + number)

    async def _arrival(self) -> None:
        await self._until(
            lambda: all(self._mailed(text) and self._posted(text) for text in self._all_expected())
        )

    def _all_expected(self) -> list[str]:
        return [*self.expected, *self.reminders]

    async def _until(self, happened: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while not happened():
                    if self._daemon.ended:
                        raise AlerterError(f"the daemon has ended:\n{self._daemon.last_lines()}")
                    await asyncio.sleep(_POLL_EVERY)
                await asyncio.sleep(2 * _POLL_EVERY)  # until it is printed
        except TimeoutError:
            raise AlerterError(
                f"the story does not continue; the daemon's log:\n{self._daemon.last_lines()}"
            ) from None

    def _post(self, title: str) -> Post:
        """Return the message about a review."""
        return next(post for post in self._stage.slack.posts if title in _first_text(post))

    def _mailed(self, text: str) -> bool:
        return any(text in mail.subject for mail in self._stage.mailbox.mails)

    def _posted(self, text: str) -> bool:
        return any(text in _first_text(post).splitlines()[0] for post in self._stage.slack.posts)

    def _shown(self, text: str) -> bool:
        return any(text in post.text for post in self._stage.slack.posts)

    def count(self) -> tuple[int, int]:
        """Return how many expected messages are missing, and how many others arrived."""
        lost = sum(
            not found(text)
            for text in self._all_expected()
            for found in (self._mailed, self._posted)
        )
        arrived = len(self._stage.mailbox.mails) + len(self._stage.slack.posts)
        return lost, arrived - (2 * len(self._all_expected()) - lost)

    async def _print_messages(self) -> None:
        arrivals = Arrivals(self._stage.mailbox.mails, self._stage.slack.posts)
        while True:
            for arrival in arrivals.new():
                self._say(f"    {arrival.line}", "message")
            await asyncio.sleep(_POLL_EVERY)


def _first_text(post: Post) -> str:
    """Return the text of a message before its edits."""
    return post.edits[0].text if post.edits else post.text
