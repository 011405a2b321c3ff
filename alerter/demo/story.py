"""The story that `alerter demo` plays on the real daemon, and `alerter demo --serve`."""

import asyncio
import sys
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alerter.demo.faults import Fault
from alerter.demo.slack import Post
from alerter.demo.stage import APP, APP_SITE_ID, PRODUCT_ID, SITE_ID, Stage, open_stage
from alerter.errors import AlerterError
from alerter.service.signals import stop_signals

Say = Callable[[str], None]
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


async def serve(reviews: Path | None, say: Say) -> bool:
    """Run the services until a signal arrives, and print a config for them."""
    with (
        tempfile.TemporaryDirectory(prefix="alerter-demo-") as folder,
        stop_signals() as stop,
    ):
        async with open_stage(Path(folder), reviews) as stage, _webhooks(stage) as web:
            say(_guide(stage))
            say(stage.config(every="5s") + web)
            await stop.wait()
            page = stage.write_page()
            kept = Path(tempfile.mkdtemp(prefix="alerter-demo-")) / page.name
            page.rename(kept)
            mails, posts = len(stage.mailbox.mails), len(stage.slack.posts)
            say(f"# {mails} mails, {posts} Slack messages: {kept}")
    return True


@asynccontextmanager
async def _webhooks(stage: Stage) -> AsyncIterator[str]:
    """Yield the config of webhooks, and send them; empty without the extra `web`."""
    if not (find_spec("jwt") and find_spec("cryptography") and find_spec("prometheus_client")):
        yield ""
        return
    from alerter.demo.wix_webhooks import Webhooks, free_port  # noqa: PLC0415 - extra `web`

    port = free_port()
    async with Webhooks(f"http://127.0.0.1:{port}/webhooks/wix", app_id=APP.app_id) as webhooks:
        webhooks.watch(stage.wix.sites[SITE_ID], "demo-instance-of-the-bakery")
        webhooks.watch(stage.wix.sites[APP_SITE_ID], APP.instance_id)
        yield f"""
# The embedded Wix sends webhooks here; /healthz and /metrics answer too.
[web]
listen = "127.0.0.1:{port}"

[[apps]]
app_id = "{webhooks.app_id}"
public_key = "{b64encode(webhooks.public_key.encode()).decode()}"
"""


def _guide(stage: Stage) -> str:
    reviews = f"{stage.wix.base_url}/demo/reviews"
    return f"""# An embedded Wix, Slack and mailbox run until Ctrl-C.
# Save this as config.toml, then in another terminal:
#   alerter check
#   alerter backfill --since 2018-01-01 --dry-run
#   alerter run
# Add a review while it runs, to the first site or to the second:
#   curl -d '{{"content": {{"rating": 1, "title": "Stale"}}}}' {reviews}
#   curl -d '{{"content": {{"rating": 1, "title": "Cold"}}}}' {reviews}?site={APP_SITE_ID}
"""


async def play(reviews: Path | None, say: Say) -> bool:
    """Play the story. Return whether nothing was lost and nothing repeated."""
    folder = Path(tempfile.mkdtemp(prefix="alerter-demo-"))
    async with open_stage(folder, reviews) as stage:
        story = _Story(stage, say)
        try:
            await story.play()
        finally:
            await story.end()
        lost, repeated = story.count()
        say(f"\nThe mails and Slack messages, as they look: {stage.write_page()}")
        alerted = f"{len(story.expected)} reviews alerted by email and on Slack"
        say(f"{alerted}: {lost} lost, {repeated} repeated")
        return not lost + repeated


class _Story:
    """The story: a daemon as a process of its own, and the events around it."""

    def __init__(self, stage: Stage, say: Say) -> None:
        self._say = say
        self.expected: list[str] = []
        self.reminders: list[str] = []
        self._ids: dict[str, str] = {}
        self._stage = stage
        self._config = stage.folder / "config.toml"
        self._daemon: asyncio.subprocess.Process | None = None
        self._printer = asyncio.create_task(self._print_messages())

    async def play(self) -> None:
        """Play each scene until its messages have arrived."""
        await self._a_site_with_a_history()
        await self._a_review_and_its_answer()
        await self._an_outage()
        await self._a_reminder()

    async def _a_site_with_a_history(self) -> None:
        self._history()
        self._config.write_text(self._stage.config(every="1s"))
        await self._start()
        await self._rounds(2)
        self._say("\nA site with old reviews: they are recorded, and nobody is notified.")

    async def _a_review_and_its_answer(self) -> None:
        self._say("\nA customer leaves one star …")
        self._add(1, "Stale on arrival", "The croissants were hard as stone, and the box was open.")
        await self._arrival()

        self._say("\n… and adds to the review: the message on Slack is updated.")
        self._change(
            "Stale on arrival", body="Hard as stone, and the box was open. The staff only shrugged."
        )
        await self._until(lambda: self._shown("The staff only shrugged"))

        self._say("\nThe owner answers in the dashboard: the message no longer asks for an answer.")
        self._answer("Stale on arrival")
        await self._until(lambda: self._shown("Answered after"))

        self._say(
            "\nFive stars are not alerted; two stars are, also while they wait for moderation."
        )
        self._add(5, "Wonderful", "Best croissants in town!")
        self._add(2, "Half of it missing", "I ordered six and got three.", status="SUBMITTED")
        await self._arrival()

    async def _an_outage(self) -> None:
        self._say("\nSlack is down for a moment. The mail goes out, the Slack message waits …")
        self._stage.slack.faults.always("chat.postMessage", Fault(status=503))
        self._add(1, "Rude staff", "They laughed when I asked for a refund.")
        await self._until(lambda: self._mailed(self.expected[-1]))
        # The daemon disconnects once it has recorded the mail; killed before, it would repeat it.
        await self._until(lambda: not self._stage.mailbox.connected)
        await self._until(lambda: any(call.status == 503 for call in self._stage.slack.requests))

        self._say(
            "\n… and the daemon is killed. Slack comes back, and the daemon is started again."
        )
        await self._kill()
        self._stage.slack.faults.clear()
        self._add(1, "Found a hair", "In the bread. A long one.")
        await self._start()
        await self._arrival()

    async def _a_reminder(self) -> None:
        self._say(
            "\nAll but one are answered. A day passes (here: a second): a reminder of that one."
        )
        self._answer("Half of it missing")
        self._answer("Rude staff")
        await self._until(
            lambda: len([post for post in self._stage.slack.posts if "Answered" in post.text]) == 3
        )
        await self._stop()
        self._config.write_text(self._stage.config(every="1s", reminders='"1s"'))
        await self._start()
        self.reminders.append("Still unanswered")
        await self._arrival()

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

    async def _start(self) -> None:
        log = (self._stage.folder / "daemon.log").open("ab")
        with log:
            self._daemon = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "alerter",
                "run",
                "--config",
                str(self._config),
                stderr=log,
                stdout=log,
            )

    async def _kill(self) -> None:
        if self._daemon:
            self._daemon.kill()
            await self._daemon.wait()

    async def _stop(self) -> None:
        if self._daemon and self._daemon.returncode is None:
            self._daemon.terminate()
            await self._daemon.wait()

    async def end(self) -> None:
        """Stop the daemon as systemd would, and print the last messages."""
        await self._stop()
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
                    if self._daemon and self._daemon.returncode is not None:
                        raise AlerterError(
                            f"the daemon has ended: see {self._stage.folder / 'daemon.log'}"
                        )
                    await asyncio.sleep(_POLL_EVERY)
                await asyncio.sleep(2 * _POLL_EVERY)  # until it is printed
        except TimeoutError:
            raise AlerterError(
                f"the story does not continue: see {self._stage.folder / 'daemon.log'}"
            ) from None

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
        mails = posts = 0
        edits: dict[str, int] = {}
        while True:
            for mail in self._stage.mailbox.mails[mails:]:
                self._say(f"    mail   {mail.subject}")
            for post in self._stage.slack.posts[posts:]:
                self._say(f"    Slack  {_first_text(post).splitlines()[0]}")
            for post in self._stage.slack.posts:
                if len(post.edits) > edits.get(post.ts, 0):
                    self._say(f"    Slack, changed  {post.text.splitlines()[0]}")
                edits[post.ts] = len(post.edits)
            mails, posts = len(self._stage.mailbox.mails), len(self._stage.slack.posts)
            await asyncio.sleep(_POLL_EVERY)


def _first_text(post: Post) -> str:
    """Return the text of a message before its edits."""
    return post.edits[0].text if post.edits else post.text
