"""One run: the embedded services, the daemon and its commands, and the plan that happens to them."""

import asyncio
import contextlib
import contextvars
import gc
import io
import logging
import re
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp.web_app

from alerter.config import load_config
from alerter.demo.wix import App
from alerter.demo.wix_webhooks import Webhooks
from alerter.errors import AlerterError, ConfigError, StateError
from alerter.service.daemon import serve
from tests.simulation import history as h
from tests.simulation.commands import Commands
from tests.simulation.faults import ActiveFaults
from tests.simulation.loop import WORLD, Killed, Process, VirtualLoop, current, kill
from tests.simulation.plan import START, Plan
from tests.simulation.posted import Posts
from tests.simulation.reading import write_templates
from tests.simulation.recorder import Recorder
from tests.simulation.reviews import Reviews
from tests.simulation.seams import Disk, MachineClock, TrueClock, entered
from tests.simulation.services import SimMailbox, SimSlack, SimWix
from tests.simulation.setup import APP, SECRETS, SITE_IDS, Addresses, Json, as_history, toml
from tests.simulation.wrongs import Wrongs

_RESTART = 5.0
_LONGEST_RESTART = 300.0
_TRIES_OF_HOOK = (0.0, 60.0, 600.0, 3600.0, 6 * 3600.0)
_ALIVE_FOR_ANSWER = 2.0
_WORDS = re.compile(rb"Zq[tb]r\d+x\d+z")


Look = Callable[["World"], Awaitable[None]]


class World:
    """The world of one run."""

    def __init__(self, plan: Plan, folder: Path, look: "Look | None" = None) -> None:
        self.plan = plan
        self.look = look
        self.folder = folder
        self.loop = asyncio.get_running_loop()
        self.random = Random(plan.seed)
        self.true = TrueClock(START)
        self.machine = MachineClock(START)
        self.disk = Disk()
        self.faults = ActiveFaults(Random(plan.seed + 1))
        self.wix = SimWix(self.faults, clock=self.true)
        self.slack = SimSlack(self.faults, clock=self.true)
        self.mailbox = SimMailbox(
            self.faults, username="alerts", password=SECRETS["SMTP_PASSWORD"], clock=self.true
        )
        self.posts = Posts(self.faults, self.true)
        self.spec: Json = plan.spec
        self.path = folder / "config.toml"
        self._read: tuple[str, Any] = ("", None)
        self.hooks = signer()
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
        self.reviews, self.wrongs, self.commands = Reviews(self), Wrongs(self), Commands(self)
        self.recorder = Recorder(self)
        self.where: Addresses
        self.tasks: set[asyncio.Task[Any]] = set()

    # ------------------------------------------------------------ the run

    async def run(self) -> h.History:
        """Let the plan happen, then let everything be well for a while, and return what happened."""
        with entered(self.machine, self.disk, self.plan.seed), _quiet(self):
            async with AsyncExitStack() as stack:
                for service in (self.wix, self.slack, self.mailbox, *self.posts.services):
                    await stack.enter_async_context(service)
                self._prepare()
                self.start()
                self.spawn(self.recorder.go_on())
                await self._play()
                await self._calm()
                history = self.recorder.history()
                if self.look:
                    await self.look(self)
                self.wanted = False
                if self.daemon:
                    await kill(self.daemon)
                for task in self.tasks:
                    task.cancel()
                return history

    def _prepare(self) -> None:
        self.wix.add_site(SITE_IDS["Bakery"], api_key=SECRETS["WIX_API_KEY"])
        app = App(APP["app_id"], SECRETS["WIX_APP_SECRET"], APP["instance_id"])
        self.wix.add_site(SITE_IDS["Tearoom"], app=app)
        self.slack.add_token(SECRETS["SLACK_BOT_TOKEN"])
        for name, site_id in SITE_IDS.items():
            self.wix.sites[site_id].quiet = self.plan.spec.get("quiet_wix", False)
            self.wix.add_product(
                site_id, f"p-{name}", f"Product of {name}", f"https://{name}.example/p"
            )
            self.wix.sites[site_id].listen = lambda slug, review, site_id=site_id: (
                self.reviews.happened(site_id, slug, review)
            )
        host, port = self.mailbox.host, self.mailbox.port
        self.where = Addresses(
            self.wix.base_url, self.slack.base_url, (host, port), self.hooks.public_key
        )
        self.hooks._clock = self.true
        write_templates(self.folder / "templates")
        self.write()

    async def _play(self) -> None:
        begun = self.loop.time()
        for event in self.plan.events:
            if (wait := begun + event.at - self.loop.time()) > 0:
                await asyncio.sleep(wait)
            actor = next(
                each
                for each in (self.reviews, self.wrongs, self.commands)
                if hasattr(each, f"do_{event.kind}")
            )
            done = getattr(actor, f"do_{event.kind}")(**event.args)
            if isinstance(done, Coroutine):
                self.spawn(done)
        if (wait := begun + self.plan.length - self.loop.time()) > 0:
            await asyncio.sleep(wait)

    async def _calm(self) -> None:
        """Everything is well again, for as long as it takes to see that nothing is left."""
        for fault in list(self.faults.now):
            self.wrongs.end(fault)
        self.wrongs.set_clock_right()
        if self.spec.get("fault"):
            self.spec = self.spec | {"fault": None}
            self.write()
            self.reload()
        self.wanted = True
        if self.daemon is None:
            self.start()
        await asyncio.sleep(self.plan.settle)

    def spawn(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let something of the plan go on by itself, whichever process is current."""
        task = self.run_in(WORLD, coro)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    # ------------------------------------------------------------ the daemon

    def load(self) -> Any:
        text = self.path.read_text()
        if text != self._read[0]:
            self._read = (text, load_config(self.path, self.secrets, secrets=True))
        return self._read[1]

    @property
    def secrets(self) -> dict[str, str]:
        return SECRETS | self.posts.secrets

    def write(self) -> None:
        for receiver in self.spec["receivers"]:
            if (channel := receiver.get("slack")) and channel not in self.slack.channels:
                self.slack.add_channel(channel, channel.lower())
            for medium in h.POSTED:
                if medium in receiver:
                    self.posts.add(medium, receiver[medium])
        self.path.write_text(toml(self.spec, self.where, self.folder / "templates"))

    def _asked(self, how: Any) -> None:
        self.configs.append(h.ConfigVersion(self.true.now(), as_history(self.spec), None, how))

    def take_over(self) -> None:
        """Note that a command takes the file that may have changed while no daemon ran."""
        now = self.true.now()
        self.configs.append(h.ConfigVersion(now, as_history(self.spec), now, "start"))

    def start(self) -> None:
        if self.daemon is not None or not self.wanted:
            return
        process = self.daemon = Process("daemon")
        process.died = lambda: self.loop.call_soon(lambda: self.spawn(self.bury(process)))
        self._asked("start")
        self.spans.append(h.DaemonSpan(self.true.now(), None))
        task = self.run_in(process, self._serve())
        task.add_done_callback(lambda task: self._ended(process, task))

    def run_in(self, process: Process, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        context = contextvars.copy_context()
        context.run(current.set, process)
        return self.loop.create_task(coro, context=context)

    async def _serve(self) -> bool:
        environ = {"RUNTIME_DIRECTORY": str(self.folder)}
        return await serve(self.load(), self.machine, environ, once=False, load=self.load)

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
            # A start that cannot use the database ends, and systemd makes another.
            in_the_way = isinstance(error, StateError) and (self.disk.full or self.disk.locked)
            if not isinstance(error, ConfigError) and not in_the_way:
                self.notes.append(
                    f"{self.true.now():%d %b %H:%M:%S} the daemon ended: {error!r}"[:300]
                )
            if not isinstance(error, AlerterError):
                raise error
        self.spans[-1] = h.DaemonSpan(self.spans[-1].start, self.true.now(), how)
        if self.wanted:
            self.crashes = self.crashes + 1 if how == "crashed" else 0
            wait = min(_RESTART * 2 ** min(self.crashes, 10), _LONGEST_RESTART)
            self.loop.call_later(wait, self.start)

    async def bury(self, process: Process) -> None:
        self.deaths.setdefault(process, self.true.now())
        await kill(process)

    def ready(self, *, taken: bool) -> None:
        """The daemon said that a config is in force, or that it does not take it."""
        if self.configs and self.configs[-1].in_force is None:
            last = self.configs[-1]
            in_force = self.true.now() if taken else None
            self.configs[-1] = h.ConfigVersion(last.time, last.config, in_force, last.how)

    def hold(self, down: float) -> None:
        """Keep the daemon from being started for a while."""
        self.wanted = False
        self.downs += 1

        def again() -> None:
            self.downs -= 1
            if self.downs == 0:
                self.wanted = True
                self.start()

        self.loop.call_later(down, again)

    def reload(self) -> None:
        if self.daemon:
            self._asked("reload")
            self.daemon.signal(1)


class _Log(logging.Handler):
    """Hears from the daemon's log when a config is in force."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.name == "alerter.service.daemon" and text.startswith("running"):
            self._world.ready(taken=True)
        elif "is not taken over" in text:
            self._world.ready(taken=False)
        if record.levelno < logging.ERROR or not record.exc_info or len(self._world.notes) > 100:
            return
        if not issubclass(record.exc_info[0] or Exception, Killed | asyncio.CancelledError):
            import traceback

            text += "".join(traceback.format_exception(record.exc_info[1])[-3:])
            self._world.notes.append(
                f"{self._world.true.now():%d %b %H:%M:%S} {text}: {record.exc_info[1]!r}"[:900]
            )


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


def signer() -> Webhooks:
    """What signs webhooks; its key takes long to make."""
    if not _HOOKS:
        _HOOKS.append(Webhooks("", app_id=APP["app_id"]))
    _HOOKS[0]._sequences.clear()
    return _HOOKS[0]


def run(plan: Plan, look: Look | None = None) -> h.History:
    """Let a plan happen; returns what happened. `look` sees the world at the end."""
    shm = Path("/dev/shm")  # a disk that is memory
    folder = Path(tempfile.mkdtemp(prefix="alerter-simulation-", dir=shm if shm.is_dir() else None))
    chance = Random(plan.seed + 2)
    loop = VirtualLoop(
        (lambda: chance.uniform(0.2, 1) * plan.latency) if plan.latency else lambda: 0.0
    )
    loop.set_exception_handler(ignore_the_dead)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        asyncio.set_event_loop(loop)

        async def whole() -> h.History:
            return await World(plan, folder, look).run()

        return loop.run_until_complete(whole())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
        shutil.rmtree(folder, ignore_errors=True)
        # It would keep the whole world alive.
        aiohttp.web_app._cached_build_middleware.cache_clear()


def ignore_the_dead(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Nobody asks for the exceptions of what was killed, or of a connection that was cut."""
    error = context.get("exception")
    if isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None and not isinstance(error, Killed | ConnectionError):
        raise error
