"""One run: the embedded services, the daemon and its commands, and the plan that happens to them."""

import asyncio
import contextlib
import contextvars
import io
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import aiohttp
import click

from alerter import backfill as backfill_command
from alerter.cli import main as cli
from alerter.config import load_config
from alerter.daemon import serve
from alerter.demo.wix import App
from alerter.demo.wix_reviews import microseconds
from alerter.demo.wix_webhooks import Webhooks
from alerter.errors import AlerterError, ConfigError
from alerter.models import Grouping
from tests.simulation import history as h
from tests.simulation.faults import Active, ActiveFaults
from tests.simulation.loop import Killed, Process, Stuck, VirtualLoop, current, kill
from tests.simulation.plan import START, Event, Plan
from tests.simulation.reading import about, write_templates
from tests.simulation.seams import Disk, MachineClock, TrueClock, entered
from tests.simulation.services import SimMailbox, SimSlack, SimWix
from tests.simulation.setup import APP, SECRETS, SITE_IDS, WEB_PORT, Addresses, Json, as_history, changed, toml

_RESTART = 5.0
_LONGEST_RESTART = 300.0
_SAMPLES = 8 * 3600.0
_TRIES_OF_HOOK = (0.0, 60.0, 600.0, 3600.0, 6 * 3600.0)
_ALIVE_FOR_ANSWER = 2.0
_WORDS = re.compile(rb"Zq[tb]r\d+x\d+z")


class World:
    """The world of one run."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.loop = asyncio.get_running_loop()
        self.random = Random(plan.seed)  # noqa: S311
        self.true = TrueClock(START)
        self.machine = MachineClock(START)
        self.disk = Disk()
        self.faults = ActiveFaults(Random(plan.seed + 1))  # noqa: S311
        self.wix = SimWix(self.faults, clock=self.true)
        self.slack = SimSlack(self.faults, clock=self.true)
        self.mailbox = SimMailbox(self.faults, username="alerts", password=SECRETS["SMTP_PASSWORD"], clock=self.true)
        self.spec: Json = plan.spec
        self.path = folder / "config.toml"
        self.hooks = _hooks()
        self.hook_plan: list[float] | None = None
        self.hook_number = 0
        self.written: list[h.ReviewEvent] = []
        self.webhooks: list[h.Webhook] = []
        self.configs: list[h.ConfigVersion] = []
        self.spans: list[h.DaemonSpan] = []
        self.runs: list[h.Run] = []
        self.statuses: list[h.Status] = []
        self.explains: list[h.Explain] = []
        self.storage: list[h.Storage] = []
        self.other_faults: list[h.Fault] = []
        self.notes: list[str] = []
        self.deaths: dict[Process, datetime] = {}
        self.daemon: Process | None = None
        self.wanted = True
        self.crashes = 0
        self.downs = 0
        self.backups: list[tuple[Path, datetime]] = []
        self.restores = 0
        self.words = 0
        self.where: Addresses
        self.tasks: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------ the run

    async def run(self) -> h.History:
        """Let the plan happen, then let everything be well for a while, and return what happened."""
        with entered(self.machine, self.disk, self.plan.seed, self._tick()), _quiet(self):
            async with self.wix, self.slack, self.mailbox:
                self._prepare()
                self._start()
                self.spawn(self._samples())
                await self._play()
                await self._calm()
                history = self._history()
                self.wanted = False
                if self.daemon:
                    await kill(self.daemon)
                for task in self.tasks:
                    task.cancel()
                return history

    def _tick(self) -> float:
        """How often the idle look again, in seconds: in a minute, or less often where rounds are rare too."""
        every = self.plan.spec["every"]
        return {"m": 60.0, "h": 3600.0}[every[-1]] * int(every[:-1]) / (2 if every[-1] == "h" else 1)

    def _prepare(self) -> None:
        self.wix.add_site(SITE_IDS["Bakery"], api_key=SECRETS["WIX_API_KEY"])
        app = App(APP["app_id"], SECRETS["WIX_APP_SECRET"], APP["instance_id"])
        self.wix.add_site(SITE_IDS["Tearoom"], app=app)
        self.slack.add_token(SECRETS["SLACK_BOT_TOKEN"])
        for name, site_id in SITE_IDS.items():
            self.wix.add_product(site_id, f"p-{name}", f"Product of {name}", f"https://{name}.example/p")
            self.wix.sites[site_id].listen = lambda slug, review, site_id=site_id: self._happened(site_id, slug, review)
        host, port = self.mailbox.host, self.mailbox.port
        self.where = Addresses(self.wix.base_url, self.slack.base_url, (host, port), self.hooks.public_key)
        self.hooks._clock = self.true
        write_templates(self.folder / "templates")
        self._write()

    async def _play(self) -> None:
        begun = self.loop.time()
        for event in self.plan.events:
            if (wait := begun + event.at - self.loop.time()) > 0:
                await asyncio.sleep(wait)
            done = getattr(self, f"do_{event.kind}")(**event.args)
            if isinstance(done, Coroutine):
                self.spawn(done)
        if (wait := begun + self.plan.length - self.loop.time()) > 0:
            await asyncio.sleep(wait)

    async def _calm(self) -> None:
        """Everything is well again, for as long as it takes to see that nothing is left."""
        for fault in list(self.faults.now):
            self._end(fault)
        self.machine.ahead = timedelta()
        if self.spec.get("fault"):
            self.spec = self.spec | {"fault": None}
            self._write()
            self._reload()
        self.wanted = True
        if self.daemon is None:
            self._start()
        await asyncio.sleep(self.plan.settle)

    def spawn(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let something of the plan go on by itself."""
        task = asyncio.create_task(coro)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # ------------------------------------------------------------ the daemon

    def _load(self) -> Any:
        return load_config(self.path, SECRETS, secrets=True)

    def _write(self) -> None:
        for receiver in self.spec["receivers"]:
            if (channel := receiver.get("slack")) and channel not in self.slack.channels:
                self.slack.add_channel(channel, channel.lower())
        self.path.write_text(toml(self.spec, self.where, self.folder / "templates"))

    def _asked(self, how: Any) -> None:
        self.configs.append(h.ConfigVersion(self.true.now(), as_history(self.spec), None, how))

    def _start(self) -> None:
        if self.daemon is not None or not self.wanted:
            return
        process = self.daemon = Process("daemon")
        process.died = lambda: self.loop.call_soon(lambda: self.spawn(self._bury(process)))
        self._asked("start")
        self.spans.append(h.DaemonSpan(self.true.now(), None))
        task = self._in(process, self._serve())
        task.add_done_callback(lambda task: self._ended(process, task))

    def _in(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current.set, process)
        return self.loop.create_task(coro, context=context)

    async def _serve(self) -> bool:
        environ = {"RUNTIME_DIRECTORY": str(self.folder)}
        return await serve(self._load(), self.machine, environ, once=False, load=self._load)

    def _ended(self, process: Process, task: asyncio.Task[Any]) -> None:
        if self.daemon is not process:
            return
        self.daemon = None
        self.deaths[process] = self.true.now()
        how: Any = "stopped"
        if process.dead:
            how = "killed"
        elif not task.cancelled() and (error := task.exception()):
            how = "crashed"
            self.notes.append(f"{self.true.now():%d %b %H:%M:%S} the daemon ended: {error!r}"[:300])
            if not isinstance(error, AlerterError):
                raise error
        self.spans[-1] = h.DaemonSpan(self.spans[-1].start, self.true.now(), how)
        if self.wanted:
            self.crashes = self.crashes + 1 if how == "crashed" else 0
            wait = min(_RESTART * 2 ** min(self.crashes, 10), _LONGEST_RESTART)
            self.loop.call_later(wait, self._start)

    async def _bury(self, process: Process) -> None:
        self.deaths.setdefault(process, self.true.now())
        await kill(process)

    def ready(self, *, taken: bool) -> None:
        """The daemon said that a config is in force, or that it does not take it."""
        if self.configs and self.configs[-1].in_force is None:
            last = self.configs[-1]
            in_force = self.true.now() if taken else None
            self.configs[-1] = h.ConfigVersion(last.time, last.config, in_force, last.how)

    def _reload(self) -> None:
        if self.daemon:
            self._asked("reload")
            self.daemon.signal(1)

    # ------------------------------------------------------------ reviews

    def _happened(self, site_id: str, slug: str, review: Json) -> None:
        """A site of the embedded Wix says what happened to a review."""
        if self.hook_plan is None or not slug:
            return
        event = self.hooks.event(slug, review)
        if self._anonymizing:
            event["triggeredByAnonymizeRequest"] = True
        version = None if slug == "deleted" else self._version(site_id, review["id"])
        for wait in self.hook_plan:
            self.spawn(self._send(wait, site_id, slug, review["id"], version, event, self.true.now()))

    def _version(self, site_id: str, review_id: str) -> int:
        return len(self.wix.versions.get((site_id, review_id), ()))

    async def _send(
        self, wait: float, site_id: str, slug: str, review_id: str, version: int | None, event: Json, at: datetime
    ) -> None:
        await asyncio.sleep(wait)
        event_type = f"wix.reviews.v1.review_{slug}"
        instance = APP["instance_id"] if site_id == SITE_IDS["Tearoom"] else None
        data = self.hooks.envelope(event_type, event, instance, site_id)
        for pause in _TRIES_OF_HOOK:
            await asyncio.sleep(pause)
            status = await self._post(self.hooks.sign(data))
            self.webhooks.append(
                h.Webhook(
                    self.true.now(), event["id"], site_id, review_id, slug, version, status == 200,  # type: ignore[arg-type]
                    bool(event["triggeredByAnonymizeRequest"]), at,
                )
            )  # fmt: skip
            if status == 200:
                return

    async def _post(self, token: str) -> int | None:
        url = f"http://127.0.0.1:{WEB_PORT}/webhooks/wix"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http,
                http.post(url, data=token, headers={"Content-Type": "text/plain"}) as response,
            ):
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None

    _anonymizing = False

    def _note(self, site_id: str, review_id: str, change: Any, **more: Any) -> None:
        """Write down the state that a review has now."""
        key = (site_id, review_id)
        row = self.wix.sites[site_id].reviews.get(review_id)
        known = self.wix.versions.setdefault(key, [])
        if row is None:
            state = h.replace(known[-1][1], deleted=True, version=len(known))
            known.append((self.true.now(), state, ""))
            self.written.append(h.ReviewEvent(self.true.now(), change, state))
            return
        review = row.review
        content = review.get("content") or {}
        title, body = content.get("title") or "", content.get("body") or ""
        visible = known[0][1].visible_from if known else more.get("visible_from")
        state = h.Review(
            review_id,
            site_id,
            content["rating"],
            _moment(review["createdDate"]),
            len(known),
            int(review["revision"]),
            _moment(review["updatedDate"]),
            _moment(review["reviewDate"]),
            review.get("entityId"),
            tuple(word for word in f"{title} {body}".split() if word.startswith("Zq")),
            f"{title}\n{body}",
            (review.get("author") or {}).get("authorName"),
            (review.get("reply") or {}).get("message"),
            review["moderation"]["moderationStatus"],
            visible,
            anonymized=bool(known and known[-1][1].anonymized) or change == "anonymized",
        )
        known.append((self.true.now(), state, json.dumps(review, sort_keys=True)))
        self.written.append(h.ReviewEvent(self.true.now(), change, state))

    @contextlib.contextmanager
    def _telling(self, hooks: Any) -> Iterator[None]:
        self.hook_plan = list(hooks) if hooks is not None and self.spec["web"] else None
        try:
            yield
        finally:
            self.hook_plan = None

    def _text(self, review_id: str, *, refund: bool | None) -> Json:
        self.words += 1
        mark = f"{review_id}x{self.words}z"
        return {
            "title": f"Zqt{mark} title",
            "body": f"Zqb{mark} I want a refund" if refund else f"Zqb{mark} it was bad",
        }

    def do_review(
        self, id: str, site: str, rating: int, *, refund: Any = None, silent: Any = None, visible_after: float = 0,
        imported: Any = None, moderation: Any = None, hooks: Any = None,
    ) -> None:  # fmt: skip
        site_id = SITE_IDS[site]
        content = {"rating": rating} | ({} if silent else self._text(id, refund=refund))
        review: Json = {
            "id": id, "entityId": f"p-{site}", "content": content,
            "author": {"authorName": "Robin", "contactId": f"c-{id}"},
        }  # fmt: skip
        if moderation:
            review["moderation"] = {"moderationStatus": moderation, "manuallyChanged": False}
        now = self.true.now()
        if imported:
            written = now - timedelta(days=imported)
            review["reviewDate"] = written.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        visible = now + timedelta(seconds=visible_after) if visible_after else None
        with self._telling(hooks):
            self.wix.add(site_id, review, visible_after=visible_after)
        self._note(site_id, id, "imported" if imported else "created", visible_from=visible)

    def _change(self, site: str, id: str, change: str, hooks: Any, do: Callable[[str], Any]) -> None:
        site_id = SITE_IDS[site]
        if self.wix.sites[site_id].reviews.get(id) is None:
            return
        with self._telling(hooks):
            do(site_id)
        self._note(site_id, id, change)

    def do_edited(self, id: str, site: str, *, refund: Any = None, hooks: Any = None) -> None:
        self._change(site, id, "edited", hooks, lambda s: self.wix.change(s, id, content=self._text(id, refund=refund)))

    def do_rated(self, id: str, site: str, rating: int, *, edited: Any = None, hooks: Any = None) -> None:
        content = {"rating": rating} | (self._text(id, refund=None) if edited else {})
        self._change(site, id, "rating_changed", hooks, lambda s: self.wix.change(s, id, content=content))

    def do_replied(self, id: str, site: str, *, hooks: Any = None) -> None:
        self._change(site, id, "answered", hooks, lambda s: self.wix.reply(s, id, "We are sorry."))

    def do_unreplied(self, id: str, site: str, *, hooks: Any = None) -> None:
        self._change(site, id, "answer_removed", hooks, lambda s: self.wix.unreply(s, id))

    def do_moderated(self, id: str, site: str, status: str, *, hooks: Any = None) -> None:
        change = {"APPROVED": "approved", "REJECTED": "rejected"}[status]
        self._change(site, id, change, hooks, lambda s: self.wix.moderate(s, id, status))

    def do_deleted(self, id: str, site: str, *, hooks: Any = None) -> None:
        self._change(site, id, "deleted", hooks, lambda s: self.wix.delete(s, id))

    def do_voted(self, id: str, site: str, *, hooks: Any = None) -> None:
        def vote(site_id: str) -> None:
            row = self.wix.sites[site_id].reviews.get(id)
            assert row
            self.wix.change(site_id, id, foundHelpful=row.review["foundHelpful"] + 1)

        self._change(site, id, "voted", hooks, vote)

    def do_anonymized(self, id: str, site: str, *, hooks: Any = None) -> None:
        def anonymize(site_id: str) -> None:
            reviews = self.wix.sites[site_id].reviews
            row = reviews.get(id)
            assert row
            reviews.put({key: value for key, value in row.review.items() if key != "author"})
            self.wix.change(site_id, id)

        self._anonymizing = True
        try:
            self._change(site, id, "anonymized", hooks, anonymize)
        finally:
            self._anonymizing = False

    # ------------------------------------------------------------ what goes wrong

    def do_fault(
        self, fault: str, length: float, *, code: str = "", calls: int | None = None, share: float = 1.0,
        retry_after: float | None = None, **scope: Any,
    ) -> None:  # fmt: skip
        now = self.true.now()
        active = self.faults.begin(
            Active(fault, now, now + timedelta(seconds=length), scope, code, share, calls, retry_after)
        )
        self._machine_fault(fault)
        self.loop.call_later(length, self._end, active)

    def _end(self, fault: Active) -> None:
        self.faults.end(fault, self.true.now())
        self._machine_fault(fault.kind)

    def _machine_fault(self, kind: str) -> None:
        there = any(fault.kind == kind for fault in self.faults.now)
        if kind == "disk_full":
            self.disk.full = there
        elif kind == "state_locked":
            self.disk.locked = there

    async def do_clock_step(self, seconds: float, length: float) -> None:
        if self.machine.ahead:
            return
        self.machine.ahead = timedelta(seconds=seconds)
        now = self.true.now()
        await asyncio.sleep(length)
        self.machine.ahead = timedelta()
        self.other_faults.append(h.Fault("clock_step", now, self.true.now(), step=timedelta(seconds=seconds)))

    def do_config(self, ops: list[Any]) -> None:
        for op, *args in ops:
            self.spec = changed(self.spec, op, *args)
        self._write()
        self._reload()

    async def do_config_faulty(self, length: float) -> None:
        begun = self.true.now()
        self.spec = self.spec | {"fault": "[nonsense]\nkey = 1"}
        self._write()
        if self.daemon:
            self._reload()
        await asyncio.sleep(length)
        if self.spec.get("fault"):
            self.spec = self.spec | {"fault": None}
            self._write()
            self._reload()
        self.other_faults.append(h.Fault("config_faulty", begun, self.true.now()))

    async def do_kill(self, *, commits: int | None = None, after: Any = None, down: float = 5.0) -> None:
        process = self.daemon
        if process is None or process.dead:
            return
        if commits is not None:
            process.kill_after = bool(after)
            process.kill_at = process.commits + commits
            return
        self._hold(down)
        self.deaths[process] = self.true.now()
        await kill(process)

    def _hold(self, down: float) -> None:
        """Keep the daemon from being started for a while."""
        self.wanted = False
        self.downs += 1

        def again() -> None:
            self.downs -= 1
            if self.downs == 0:
                self.wanted = True
                self._start()

        self.loop.call_later(down, again)

    async def do_stop(self, *, down: float) -> None:
        if self.daemon:
            self._hold(down)
            self.daemon.signal(15)

    # ------------------------------------------------------------ commands

    async def do_backfill(self, days: float, deliver: Any, *, site: str | None = None, kill: int | None = None) -> None:
        since = (self.true.now() - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        try:
            config = self._load()
        except ConfigError:
            return
        sites = [each for each in config.sites if site in (None, each.name)]
        if not sites:
            return
        past = backfill_command.Past(sites, since, None)
        ids = tuple(SITE_IDS[each.name] for each in sites)
        run = h.Run(
            f"backfill-{len(self.runs)}", "backfill", self.true.now(), None, sites=ids, since=since, deliver=deliver
        )
        grouping = None if deliver == "none" else Grouping(deliver)
        await self._run(run, lambda: backfill_command.run(config, self.machine, past, grouping), kill)

    async def _run(self, run: h.Run, make: Callable[[], Coroutine[Any, Any, Any]], kill_at: int | None = None) -> None:
        number = len(self.runs)
        self.runs.append(run)
        process = Process(run.run_id)
        process.kill_at = kill_at
        process.died = lambda: self.loop.call_soon(lambda: self.spawn(self._bury(process)))
        task = self._in(process, make())
        await asyncio.wait([task])
        self.deaths[process] = self.true.now()
        if process.dead or task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, AlerterError):
            raise error
        code = 1 if error or task.result() is False else 0
        self.runs[number] = h.replace(run, end=self.true.now(), exit_code=code)

    def _command(self, name: str, *args: str) -> tuple[int, str]:
        """Run a command line in a process of its own."""
        process = Process(name)
        context = contextvars.copy_context()
        context.run(current.set, process)
        code, said = context.run(self._invoke, *args)
        self.deaths[process] = self.true.now()
        return code, said

    def _invoke(self, *args: str) -> tuple[int, str]:
        out, code = io.StringIO(), 0
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(io.StringIO()),
            mock.patch("alerter.clock.Clock", lambda: self.machine),
            mock.patch("alerter.cli.log_to_stderr", lambda *_, **__: None),
            mock.patch.object(asyncio, "run", self.loop.run_nested),  # type: ignore[attr-defined]
            mock.patch.dict(os.environ, SECRETS),
        ):
            try:
                code = cli([*args, "--config", str(self.path)], standalone_mode=False) or 0
            except SystemExit as end:
                code = int(end.code or 0)
            except click.ClickException as error:
                code = error.exit_code
        return code, out.getvalue()

    def _noted(self, run: h.Run, *args: str) -> str:
        code, said = self._command(run.run_id, *args)
        self.runs.append(h.replace(run, end=self.true.now(), exit_code=code))
        return said

    def do_retry(self) -> None:
        self._noted(h.Run(f"retry-{len(self.runs)}", "retry", self.true.now(), None), "retry")

    def do_reply(self, id: str, site: str) -> None:
        site_id = SITE_IDS[site]
        run = h.Run(f"reply-{len(self.runs)}", "reply", self.true.now(), None, review_id=id)
        before = self.wix.sites[site_id].reviews.get(id)
        self._noted(run, "reply", id, "--site", site, "--message", "We are so sorry.", "--yes")
        after = self.wix.sites[site_id].reviews.get(id)
        if after is not None and before is not None and after.review != before.review:
            self._note(site_id, id, "answered")

    def do_backup(self) -> None:
        target = self.folder / f"backup-{len(self.backups)}.db"
        run = h.Run(f"backup-{len(self.runs)}", "backup", self.true.now(), None)
        self._noted(run, "backup", str(target))
        if target.exists():
            self.backups.append((target, self.true.now()))

    async def do_restore(self, *, down: float) -> None:
        if not self.backups or self.daemon is None:
            return
        self._hold(down + 15)
        self.daemon.signal(15)
        while self.daemon is not None:
            await asyncio.sleep(1)
        source, taken = self.backups[-1]
        run = h.Run(f"restore-{len(self.runs)}", "restore", self.true.now(), None, backup_taken=taken)
        self._noted(run, "restore", str(source))

    # ------------------------------------------------------------ samples

    async def _samples(self) -> None:
        while True:
            await asyncio.sleep(_SAMPLES)
            self.sample()

    def sample(self) -> None:
        """Ask `status` and `explain`, and look into the files."""
        if self.spec.get("fault") or self.disk.full or self.disk.locked:
            return
        code, said = self._command("status", "status", "--json")
        if said:
            self.statuses.append(self._status(code, json.loads(said)))
        if self.written:
            review = self.random.choice(self.written[-50:]).after
            code, said = self._command("explain", "explain", review.review_id)
            self.explains.append(h.Explain(self.true.now(), review.review_id, code, said))
        self.storage.append(self._storage())

    def _status(self, code: int, said: Json) -> h.Status:
        names = [each["name"] for each in self.spec["receivers"]]
        counted = said["deliveries"]
        return h.Status(
            self.true.now(),
            code,
            tuple(
                h.SiteStatus(
                    each["site_id"],
                    datetime.fromisoformat(each["last_success"]) if each["last_success"] else None,
                    bool(each["trouble"]),
                    each["open_reviews"],
                )
                for each in said["sites"]
            ),
            tuple(
                h.ReceiverStatus(each["name"], each["pending"], each["sent"], each["failed"])
                for each in said["receivers"]
            ),
            counted["pending"],
            counted["sent"],
            counted["failed"],
            tuple(about(each["scope"], SITE_IDS, names) for each in said["troubles"]),
            tuple(about(each["scope"], SITE_IDS, names) for each in said["parked"]),
        )

    def _storage(self) -> h.Storage:
        found = []
        for where, name in (("db", "state.db"), ("wal", "state.db-wal")):
            if (self.folder / name).exists():
                words = set(_WORDS.findall((self.folder / name).read_bytes()))
                found += [(word[3:].partition(b"x")[0].decode(), word.decode(), where) for word in sorted(words)]
        return h.Storage(self.true.now(), tuple(found))

    # ------------------------------------------------------------ what happened

    def _alive(self, process: Process, at: datetime) -> bool:
        """Whether a process lived for long enough to get an answer."""
        death = self.deaths.get(process)
        return not (process.dead and death and death - at < timedelta(seconds=_ALIVE_FOR_ANSWER))

    def _history(self) -> h.History:
        names = [
            each["name"] for version in self.configs for each in ({"name": r.name} for r in version.config.receivers)
        ]
        names = list(dict.fromkeys(names))

        def named(items: tuple[h.Item, ...]) -> tuple[h.Item, ...]:
            return tuple(
                h.replace(item, about=about(item.about, SITE_IDS, names)) if item.about else item for item in items
            )

        def sites(text: str) -> tuple[str, ...]:
            return tuple(site_id for name, site_id in SITE_IDS.items() if name in text or site_id in text)

        begun = self.true.now() - timedelta(seconds=self.plan.length + self.plan.settle)
        attempts = [h.replace(each, items=named(each.items)) for each in (*self.slack.attempts, *self.mailbox.attempts)]
        return h.History(
            start=min(begun, START),
            end=self.true.now(),
            configs=tuple(self.configs),
            daemon=tuple(self.spans),
            reviews=tuple(self.written),
            reads=tuple(
                h.replace(read, arrived=read.arrived and self._alive(process, read.time))
                for read, process in self.wix.reads
            ),
            webhooks=tuple(self.webhooks),
            faults=tuple(
                sorted((*self.faults.written(), *self.other_faults), key=lambda fault: (fault.start, fault.kind))
            ),
            runs=tuple(self.runs),
            slack=tuple(
                h.replace(
                    call,
                    items=named(call.items),
                    site_ids=sites(call.text),
                    answered=call.answered and self._alive(process, call.time),
                )
                for call, process in self.slack.calls
            ),
            mails=tuple(
                h.replace(
                    mail,
                    items=named(mail.items),
                    site_ids=sites(mail.subject + mail.text),
                    answered=mail.answered and self._alive(process, mail.time),
                )
                for mail, process in self.mailbox.taken
            ),
            attempts=tuple(sorted((*attempts, *self.wix.attempts), key=lambda attempt: attempt.time)),
            statuses=tuple(self.statuses),
            explains=tuple(self.explains),
            storage=tuple(self.storage),
            seed=str(self.plan.seed),
            notes=tuple(self.notes),
        )


class _Log(logging.Handler):
    """Hears from the daemon's log when a config is in force."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "alerter.daemon" and text.startswith("running"):
            self._world.ready(taken=True)
        elif "is not taken over" in text:
            self._world.ready(taken=False)
        if record.levelno < logging.ERROR or not record.exc_info or len(self._world.notes) > 100:
            return
        if not issubclass(record.exc_info[0] or Exception, Killed):
            import traceback

            text += "".join(traceback.format_exception(record.exc_info[1])[-3:])
            self._world.notes.append(f"{self._world.true.now():%d %b %H:%M:%S} {text}: {record.exc_info[1]!r}"[:900])


@contextlib.contextmanager
def _quiet(world: World) -> Iterator[None]:
    log, handler = logging.getLogger("alerter"), _Log(world)
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    logs = [log, logging.getLogger("apscheduler")]
    for each in logs:
        each.addHandler(handler)
    others = [logging.getLogger(name) for name in ("aiohttp", "asyncio", "mail.log", "slack_sdk")]
    levels = [other.level for other in others]
    for other in others:
        other.setLevel(logging.CRITICAL + 1)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for each in logs:
            each.removeHandler(handler)
        log.level, log.propagate = before
        for other, level in zip(others, levels, strict=True):
            other.setLevel(level)


_HOOKS: list[Webhooks] = []


def _hooks() -> Webhooks:
    """What signs webhooks; its key takes long to make."""
    if not _HOOKS:
        _HOOKS.append(Webhooks("", app_id=APP["app_id"]))
    _HOOKS[0]._sequences.clear()
    return _HOOKS[0]


def _moment(text: str) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds(text))


def run(plan: Plan) -> h.History:
    """Let a plan happen; returns what happened."""
    shm = Path("/dev/shm")  # noqa: S108 - a disk that is memory
    folder = Path(tempfile.mkdtemp(prefix="alerter-simulation-", dir=shm if shm.is_dir() else None))
    chance = Random(plan.seed + 2)  # noqa: S311
    loop = VirtualLoop((lambda: chance.uniform(0.2, 1) * plan.latency) if plan.latency else lambda: 0.0)
    loop.set_exception_handler(_ignore_the_dead)
    try:
        asyncio.set_event_loop(loop)

        async def whole() -> h.History:
            return await World(plan, folder).run()

        return loop.run_until_complete(whole())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)


def _ignore_the_dead(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asks for the exceptions of what was killed, or of a connection that was cut."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None and not isinstance(error, Killed | ConnectionError):
        raise error


__all__ = ["Event", "World", "run"]
