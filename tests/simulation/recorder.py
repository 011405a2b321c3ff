"""Writes down what alerter says and keeps, and in the end what happened."""

import asyncio
import json
import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tests.simulation import history as h
from tests.simulation.loop import Process
from tests.simulation.plan import START
from tests.simulation.reading import about
from tests.simulation.setup import SITE_IDS, Json

if TYPE_CHECKING:
    from tests.simulation.world import World

_SAMPLES = 12 * 3600.0
_SAMPLES_OF_MONTHS = 36 * 3600.0
_ALIVE_FOR_ANSWER = 2.0
_WORDS = re.compile(rb"Zq[tb]r\d+x\d+z")


class Recorder:
    """Samples a world, and makes a history of it."""

    def __init__(self, world: "World") -> None:
        self._world = world

    async def go_on(self) -> None:
        while True:
            await asyncio.sleep(
                _SAMPLES if self._world.plan.length < 20 * 86400 else _SAMPLES_OF_MONTHS
            )
            self.sample()

    def sample(self) -> None:
        """Ask `status` and `explain`, and look into the files."""
        if self._world.spec.get("fault") or self._world.disk.full or self._world.disk.locked:
            return
        code, said = self._world.commands.command("status", "status", "--json")
        if said:
            self._world.statuses.append(self._status(code, json.loads(said)))
        if self._world.written:
            review = self._world.random.choice(self._world.written[-50:]).after
            code, said = self._world.commands.command("explain", "explain", review.review_id)
            self._world.explains.append(
                h.Explain(self._world.true.now(), review.review_id, code, said)
            )
        self._world.storage.append(self._storage())

    def _status(self, code: int, said: Json) -> h.Status:
        names = [each["name"] for each in self._world.spec["receivers"]]
        counted = said["deliveries"]
        return h.Status(
            self._world.true.now(),
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
            if (self._world.folder / name).exists():
                words = set(_WORDS.findall((self._world.folder / name).read_bytes()))
                found += [
                    (word[3:].partition(b"x")[0].decode(), word.decode(), where)
                    for word in sorted(words)
                ]
        return h.Storage(self._world.true.now(), tuple(found))

    def _alive(self, process: Process, at: datetime) -> bool:
        """Whether a process lived for long enough to get an answer."""
        death = self._world.deaths.get(process)
        return not (process.dead and death and death - at < timedelta(seconds=_ALIVE_FOR_ANSWER))

    def history(self) -> h.History:
        names = [
            each["name"]
            for version in self._world.configs
            for each in ({"name": r.name} for r in version.config.receivers)
        ]
        names = list(dict.fromkeys(names))

        def named(items: tuple[h.Item, ...]) -> tuple[h.Item, ...]:
            return tuple(
                h.replace(item, about=about(item.about, SITE_IDS, names)) if item.about else item
                for item in items
            )

        def sites(text: str) -> tuple[str, ...]:
            return tuple(
                site_id for name, site_id in SITE_IDS.items() if name in text or site_id in text
            )

        folder = str(self._world.folder)  # it has another name in each run
        begun = self._world.true.now() - timedelta(
            seconds=self._world.plan.length + self._world.plan.settle
        )
        attempts = [
            h.replace(each, items=named(each.items))
            for each in (
                *self._world.slack.attempts,
                *self._world.mailbox.attempts,
                *self._world.posts.attempts,
            )
        ]
        return h.History(
            start=min(begun, START),
            end=self._world.true.now(),
            configs=tuple(self._world.configs),
            daemon=tuple(self._world.spans),
            reviews=tuple(self._world.written),
            reads=tuple(
                h.replace(read, arrived=read.arrived and self._alive(process, read.time))
                for read, process in self._world.wix.reads
            ),
            webhooks=tuple(self._world.webhooks),
            faults=tuple(
                sorted(
                    (*self._world.faults.written(), *self._world.other_faults),
                    key=lambda fault: (fault.start, fault.kind),
                )
            ),
            runs=tuple(self._world.runs),
            slack=tuple(
                h.replace(
                    call,
                    text=call.text.replace(folder, ""),
                    items=named(call.items),
                    site_ids=sites(call.text),
                    answered=call.answered and self._alive(process, call.time),
                )
                for call, process in self._world.slack.calls
            ),
            mails=tuple(
                h.replace(
                    mail,
                    text=mail.text.replace(folder, ""),
                    items=named(mail.items),
                    site_ids=sites(mail.subject + mail.text),
                    answered=mail.answered and self._alive(process, mail.time),
                )
                for mail, process in self._world.mailbox.taken
            ),
            posted=tuple(
                h.replace(
                    call,
                    text=call.text.replace(folder, ""),
                    items=named(call.items),
                    site_ids=sites(call.text),
                    answered=call.answered and self._alive(process, call.time),
                )
                for call, process in self._world.posts.calls
            ),
            attempts=tuple(
                sorted((*attempts, *self._world.wix.attempts), key=lambda attempt: attempt.time)
            ),
            statuses=tuple(self._world.statuses),
            explains=tuple(self._world.explains),
            storage=tuple(self._world.storage),
            seed=str(self._world.plan.seed),
            notes=tuple(self._world.notes),
        )
