"""The oracle of the simulator: a good history passes, and every rule finds a history that breaks it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import oracle
from tests.simulation.history import (
    AlertKind,
    Attempt,
    Command,
    Config,
    ConfigVersion,
    DaemonSpan,
    Explain,
    Fault,
    FaultKind,
    History,
    Item,
    Mail,
    QuietHours,
    Read,
    Receiver,
    ReceiverStatus,
    Review,
    ReviewChange,
    ReviewEvent,
    Run,
    Site,
    SiteStatus,
    SlackCall,
    Status,
    Storage,
)
from tests.simulation.oracle.rules import RULES


START = datetime(2026, 3, 2, 6, tzinfo=UTC)
OWNER = Receiver("owner", emails=("owner@bakery.test",), sites=("bakery",), trouble=True)
TEAM = Receiver("team", channel="C1", sites=("bakery",), closings=True, trouble=True)
FLORA = Receiver("flora", emails=("flora@florist.test",), sites=("florist",), trouble=True)
BOSS = replace(OWNER, name="boss", emails=("boss@bakery.test",))
CONFIG = Config(sites=(Site("bakery", "Bakery", 2), Site("florist", "Florist", 2)), receivers=(OWNER, TEAM, FLORA))


def at(day: float, hour: float = 0, minute: float = 0, second: float = 0) -> datetime:
    return START + timedelta(days=day, hours=hour, minutes=minute, seconds=second)


class Scene:
    """Builds a history. The site's first read is an hour after the start; what comes later is new."""

    def __init__(self, days: float = 4, config: Config = CONFIG) -> None:
        self.end = at(days)
        self.configs = [ConfigVersion(START, config, START, how="start")]
        self.daemon = [DaemonSpan(START, None)]
        self.reviews: dict[str, list[ReviewEvent]] = {}
        self.reads = [
            Read(at(0, 1), "bakery", "daemon", private=True),
            Read(at(0, 1), "florist", "daemon", private=True),
        ]
        self.parts: dict[str, list[Any]] = {name: [] for name in History.__dataclass_fields__}

    def history(self) -> History:
        parts = {name: tuple(sorted(values, key=_when)) for name, values in self.parts.items() if values}
        events = sorted((event for own in self.reviews.values() for event in own), key=_when)
        reads = tuple(sorted(self.reads, key=_when))
        return History(
            START, self.end, tuple(self.configs), tuple(self.daemon), tuple(events), reads, **parts
        )  # fmt: skip

    def rules(self) -> set[str]:
        return {violation.rule for violation in oracle.judge(self.history())}

    # ---- what happens at Wix

    def review(self, review_id: str, when: datetime, rating: int = 1, site: str = "bakery", **more: Any) -> Scene:
        words = (f"word-{review_id}-0",)
        created = more.pop("created", when)
        state = Review(review_id, site, rating, created, 0, words=words, text=words[0], **more)
        self.reviews[review_id] = [ReviewEvent(when, "created", state)]
        return self

    def change(self, review_id: str, when: datetime, change: ReviewChange, **fields: Any) -> Scene:
        last = self.reviews[review_id][-1].after
        number = last.version + 1
        if change == "edited":
            fields |= {"words": (f"word-{review_id}-{number}",), "text": f"word-{review_id}-{number}"}
        after = replace(last, version=number, revision=last.revision + 1, **fields)
        self.reviews[review_id].append(ReviewEvent(when, change, after))
        return self

    def read(self, when: datetime, *shown: str, site: str = "bakery", by: str = "daemon", **more: Any) -> Scene:
        versions = []
        for review_id in shown:
            states = [event.after.version for event in self.reviews[review_id] if event.time <= when]
            versions.append((review_id, states[-1]))
        self.reads.append(Read(when, site, by, private=True, shown=tuple(versions), **more))
        return self

    def fault(self, kind: FaultKind, start: datetime, end: datetime, **scope: Any) -> Scene:
        return self.add("faults", Fault(kind, start, end, **scope))

    def add(self, part: str, *values: Any) -> Scene:
        self.parts[part] += values
        return self

    def reload(self, when: datetime, config: Config) -> Scene:
        self.configs.append(ConfigVersion(when, config, when))
        return self

    def run(self, command: Command, when: datetime, **more: Any) -> Scene:
        run = Run(command, command, when, more.pop("end", when + timedelta(minutes=5)), 0, **more)
        return self.add("runs", run)

    # ---- what people receive

    def post(self, when: datetime, kind: AlertKind, *ids: str, channel: str = "C1", **more: Any) -> Scene:
        items = self._items(kind, ids, more)
        text = more.pop("text", " ".join(self._words(when, one) for one in ids))
        ts = more.pop("ts", f"{when.timestamp():.6f}")
        return self.add("slack", SlackCall(when, "post", channel, ts, items=items, text=text, **more))

    def update(self, when: datetime, post_time: datetime, text: str = "updated", **more: Any) -> Scene:
        verb = more.pop("verb", "update")
        return self.add("slack", SlackCall(when, verb, "C1", f"{post_time.timestamp():.6f}", text=text, **more))

    def mail(self, when: datetime, kind: AlertKind, *ids: str, to: str = "owner@bakery.test", **more: Any) -> Scene:
        items = self._items(kind, ids, more)
        message_id = more.pop("message_id", f"<{when.timestamp()}@test>")
        text = more.pop("text", " ".join(self._words(when, one) for one in ids))
        return self.add("mails", Mail(when, message_id, (to,), items, text=text, **more))

    def notify(self, when: datetime, kind: AlertKind, *ids: str, **more: Any) -> Scene:
        """Send a mail to the owner and a post to the team."""
        return self.mail(when, kind, *ids, **dict(more)).post(when, kind, *ids, **dict(more))

    def _items(self, kind: AlertKind, ids: tuple[str, ...], more: dict[str, Any]) -> tuple[Item, ...]:
        fields = {name: more.pop(name) for name in ("about", "before", "after", "reason", "says_older") if name in more}
        return tuple(Item(kind, one, **fields) for one in ids) or (Item(kind, **fields),)

    def _words(self, when: datetime, review_id: str) -> str:
        return [event.after.text for event in self.reviews[review_id] if event.time <= when][-1]


def _when(value: Any) -> Any:
    return value.start if isinstance(value, (Fault, Run)) else value.time


def a_status(when: datetime, code: int = 0, **more: Any) -> Status:
    last = when - timedelta(minutes=3)
    opened = more.pop("open_reviews", 0)
    sites = (SiteStatus("bakery", last, trouble=False, open_reviews=opened), SiteStatus("florist", last, False, 0))
    receivers = tuple(ReceiverStatus(one.name, 0, 0, 0) for one in CONFIG.receivers)
    return Status(when, code, more.pop("sites", sites), more.pop("receivers", receivers), **more)


# ---------------------------------------------------------------- scenes that are good


def alerted(days: float = 4, config: Config = CONFIG) -> Scene:
    """A review of one star, read in time, and everybody notified."""
    return Scene(days, config).review("r1", at(1)).read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1", after=1)


def answered() -> Scene:
    scene = alerted().change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")
    return scene.post(at(2, 0, 4, 1), "closed", "r1", reason="answered")


def lowered() -> Scene:
    scene = Scene().review("r1", at(1), rating=2).read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1", after=2)
    return scene.change("r1", at(2), "rating_changed", rating=1).read(at(2, 0, 4), "r1")


def told_lowered() -> Scene:
    return lowered().notify(at(2, 0, 4, 1), "lowered", "r1", before=2, after=1)


def baseline() -> Scene:
    scene = Scene().review("r0", at(-3))
    scene.reads.clear()
    return scene.read(at(0, 1), "r0").read(at(0, 2), "r0").read(at(0, 1), site="florist")


def reminded(**fields: Any) -> Scene:
    config = replace(CONFIG, reminders_after=(timedelta(days=1),), **fields)
    return alerted(config=config).notify(at(2, 0, 4, 10), "reminder", "r1")


def escalated() -> Scene:
    boss = Receiver("boss", emails=BOSS.emails, escalation=True)
    config = replace(
        CONFIG, receivers=(OWNER, TEAM, FLORA, boss), reminders_after=(timedelta(days=1),), escalate_to="boss"
    )
    return alerted(config=config).notify(at(2, 0, 4, 10), "reminder", "r1")


def many(count: int = 8) -> Scene:
    ids = [f"r{number}" for number in range(count)]
    scene = Scene()
    for number, one in enumerate(ids):
        scene.review(one, at(1, 0, 0, number))
    return scene.read(at(1, 0, 4), *ids)


def in_digests() -> Scene:
    scene = many()
    return scene.notify(at(1, 0, 4, 1), "new", *scene.reviews)


def mail_in_doubt() -> Scene:
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("smtp_dropped_after", at(1), at(1, 0, 10))
    scene.post(at(1, 0, 4, 1), "new", "r1")
    for second in (1, 6, 66):
        scene.mail(at(1, 0, 4, second), "new", "r1", message_id="<one@test>", answered=second == 66)
    return scene


def post_in_doubt() -> Scene:
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("slack_dropped_after", at(1), at(1, 0, 10))
    scene.mail(at(1, 0, 4, 1), "new", "r1").post(at(1, 0, 4, 1), "new", "r1", answered=False)
    return scene.post(at(1, 0, 15), "new", "r1", says_repeat=True)


def wix_down(hours: float = 5) -> Scene:
    return Scene().fault("wix_down", at(1), at(1, hours), site_id="bakery")


def wix_down_told() -> Scene:
    scene = wix_down()
    scene.notify(at(1, 0, 35), "trouble", about="site:bakery")
    return scene.notify(at(1, 5, 5), "recovered", about="site:bakery")


def slack_down() -> Scene:
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("slack_down", at(1), at(1, 5))
    scene.mail(at(1, 0, 4, 1), "new", "r1")
    for minute in (4, 5, 7):
        items = (Item("new", "r1"),)
        scene.add("attempts", Attempt(at(1, 0, minute, 1), "slack", "C1", "chat.postMessage", "503", items=items))
    return scene.post(at(1, 5, 1), "new", "r1")


def slack_down_told() -> Scene:
    scene = slack_down().mail(at(1, 0, 40), "trouble", about="receiver:team")
    return scene.mail(at(1, 5, 2), "recovered", about="receiver:team")


def erased() -> Scene:
    scene = alerted().change("r1", at(2), "deleted", deleted=True, words=(), text="")
    scene.read(at(2, 0, 4), absent=("r1",)).read(at(2, 2), absent=("r1",))
    scene.post(at(2, 0, 4, 1), "closed", "r1", reason="gone", text="closed").update(at(2, 0, 4, 3), at(1, 0, 4, 1))
    return scene.add("storage", Storage(at(3)))


def quiet_night() -> Config:
    night = QuietHours(time(20), time(7), "UTC")
    return replace(CONFIG, receivers=(replace(OWNER, quiet=(night,)), replace(TEAM, quiet=(night,)), FLORA))


def at_night() -> Scene:
    return Scene(config=quiet_night()).review("r1", at(1, 16)).read(at(1, 16, 4), "r1")  # 22:04


def moved(after: Receiver = BOSS) -> Scene:
    """A mail server that is down; meanwhile the receiver is replaced by another."""
    scene = Scene(config=replace(CONFIG, receivers=(OWNER, FLORA))).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.fault("smtp_down", at(1), at(1, 0, 20))
    return scene.reload(at(1, 0, 10), replace(CONFIG, receivers=(after, FLORA)))


def backfilled() -> Scene:
    scene = baseline().run("backfill", at(1), since=at(-9))
    scene.reads.append(Read(at(1, 0, 1), "bakery", "backfill", private=True, shown=(("r0", 0),)))
    return scene.notify(at(1, 0, 1, 5), "new", "r0")


def late_one() -> Scene:
    """A review that is approved days after it was written: older than the newest that was read."""
    scene = alerted().review("r2", at(1), moderation="IN_MODERATION", visible_from=at(2, 12))
    scene.reviews["r3"] = [ReviewEvent(at(2, 6), "created", replace(_state("r3"), rating=5, created=at(2, 6)))]
    scene.read(at(2, 6, 4), "r3").change("r2", at(2, 12), "approved", moderation="APPROVED")
    return scene.read(at(2, 13), "r2")


def _state(review_id: str) -> Review:
    return Review(review_id, "bakery", 1, START, 0, words=(f"word-{review_id}-0",), text=f"word-{review_id}-0")


def reopened() -> Scene:
    scene = answered().change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")
    return scene.mail(at(3, 0, 4, 1), "reminder", "r1").update(at(3, 0, 4, 1), at(1, 0, 4, 1))


def edited() -> Scene:
    scene = alerted().change("r1", at(2), "edited").read(at(2, 0, 4), "r1")
    return scene.update(at(2, 0, 4, 2), at(1, 0, 4, 1), "word-r1-1")


def parked() -> Scene:
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    scene.fault("slack_channel_refused", at(1), at(1, 2, 30), channel="C1").mail(
        at(1, 0, 5), "trouble", about="receiver:team"
    )
    for hour in (0, 1, 2):
        items = (Item("new", "r1"),)
        refused = "channel_not_found"
        scene.add("attempts", Attempt(at(1, hour, 4, 1), "slack", "C1", "chat.postMessage", refused, items=items))
    return scene.post(at(1, 3, 4), "new", "r1").mail(at(1, 3, 5), "recovered", about="receiver:team")


def throttled(hours: float = 2.1) -> Scene:
    again = at(1, hours)
    wait = timedelta(hours=2)
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    scene.fault("slack_throttled", at(1), at(1, 0, 30), method="chat.postMessage", retry_after=wait)
    said = Attempt(
        at(1, 0, 4, 1), "slack", "C1", "chat.postMessage", "429", items=(Item("new", "r1"),), retry_after=wait
    )
    scene.add("attempts", said).mail(at(1, 0, 40), "trouble", about="receiver:team")
    return scene.post(again, "new", "r1").mail(again + timedelta(minutes=1), "recovered", about="receiver:team")


def in_the_thread(**more: Any) -> Scene:
    config = replace(CONFIG, receivers=(OWNER, replace(TEAM, closings=False), FLORA))
    scene = alerted(config=config).change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")
    thread = f"{at(1, 0, 4, 1).timestamp():.6f}"
    return scene.post(at(2, 0, 4, 1), "closed", "r1", reason="answered", thread_ts=thread, **more)


def explained(**more: Any) -> Scene:
    said = tuple((name, "new") for name in ("owner", "team"))
    more = {"state": "open", "received": said} | more
    return alerted().add("explains", Explain(at(3), "r1", 0, **more))


def stored(*found: tuple[str, str, str]) -> Scene:
    return alerted().add("storage", Storage(at(3), found))


GOOD: dict[str, Callable[[], Scene]] = {
    "nothing happens": Scene,
    "everybody is notified of a new review": alerted,
    "an answer closes it": answered,
    "a rating falls": told_lowered,
    "the baseline is silent": baseline,
    "a reminder comes after its span": reminded,
    "the last reminder goes to the boss too": lambda: escalated()
    .mail(at(2, 0, 4, 10), "reminder", "r1", to=BOSS.emails[0]),
    "many leave as a digest": in_digests,
    "a mail in doubt goes out three times": mail_in_doubt,
    "a post in doubt is repeated and says so": post_in_doubt,
    "Wix is down and somebody is told": wix_down_told,
    "Wix is down for a moment": lambda: wix_down(0.2),
    "Slack is down and the mail tells": slack_down_told,
    "what is deleted is gone": erased,
    "quiet hours hold": lambda: at_night().notify(at(2, 1, 0, 5), "new", "r1"),
    "a receiver that replaces another gets what waits": lambda: moved()
    .mail(at(1, 0, 21), "new", "r1", to=BOSS.emails[0]),
    "a backfill speaks of the past": backfilled,
    "a late one says that it is older": lambda: late_one().notify(at(2, 13, 0, 1), "new", "r2", says_older=True),
    "an answer that is taken back asks again": reopened,
    "a new text updates the message": edited,
    "a refused channel is parked": parked,
    "a throttled method waits": throttled,
    "a quiet closing in its thread": lambda: in_the_thread(in_thread=True),
    "explain says what is so": explained,
    "an open review keeps its words": lambda: stored(("r1", "word-r1-0", "db")),
    "status shows what is open": lambda: alerted().add("statuses", a_status(at(3), open_reviews=1)),
    "status exits 1 while a site is not read": lambda: wix_down_told().add("statuses", a_status(at(1, 3), 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert [str(violation) for violation in oracle.judge(GOOD[name]().history())] == []


# ---------------------------------------------------------------- scenes that are bad


def twice_in_an_hour() -> Scene:
    scene = Scene()
    for minute in (0, 40):
        scene.fault("wix_down", at(1, 0, minute), at(1, 0, minute + 36), site_id="bakery")
        scene.notify(at(1, 0, minute + 32), "trouble", about="site:bakery")
        scene.notify(at(1, 0, minute + 37), "recovered", about="site:bakery")
    return scene


def one_by_one() -> Scene:
    scene = many()
    for second, one in enumerate(scene.reviews):
        scene.mail(at(1, 0, 4, 11 + 2 * second), "new", one).post(at(1, 0, 4, 11 + 2 * second), "new", one)
    return scene


def config_refused() -> Scene:
    scene = Scene()
    scene.configs.append(ConfigVersion(at(1), CONFIG, None))
    return scene


def locked() -> Scene:
    return Scene().fault("state_locked", at(1), at(1, 3))


def parked_in_a_hurry() -> Scene:
    refused = Attempt(at(1, 0, 14), "slack", "C1", "chat.postMessage", "channel_not_found", items=(Item("new", "r1"),))
    return parked().add("attempts", refused)


def erasure_refused() -> Scene:
    scene = alerted(8).change("r1", at(2), "deleted", deleted=True, words=(), text="")
    scene.read(at(2, 0, 4), absent=("r1",)).read(at(2, 2), absent=("r1",))
    return scene.fault("slack_update_refused", at(2), at(7), channel="C1")


def old_words() -> Scene:
    config = replace(CONFIG, keep=timedelta(days=30))
    return alerted(100, config).add("storage", Storage(at(99), (("r1", "word-r1-0", "db"),)))


def new_after_lowered() -> Scene:
    scene = Scene().review("r1", at(1), rating=2).read(at(1, 0, 4), "r1")
    scene.change("r1", at(1, 0, 5), "rating_changed", rating=1).read(at(1, 0, 8), "r1")
    scene.notify(at(1, 0, 8, 1), "lowered", "r1", before=2, after=1)
    return scene.notify(at(1, 0, 9), "new", "r1", after=2)


def failed_and_not_told() -> Scene:
    receivers = tuple(ReceiverStatus(one.name, 0, 0, int(one.name == "owner")) for one in CONFIG.receivers)
    return Scene().add("statuses", a_status(at(2), 1, receivers=receivers, failed=1))


def waiting() -> Scene:
    receivers = tuple(ReceiverStatus(one.name, int(one.name == "owner"), 0, 0) for one in CONFIG.receivers)
    return Scene().add("statuses", a_status(at(2), receivers=receivers, pending=1))


def sent_of_nothing() -> Scene:
    receivers = tuple(ReceiverStatus(one.name, 0, 5, 0) for one in CONFIG.receivers)
    return Scene().add("statuses", a_status(at(2), receivers=receivers, sent=15))


def unread_site() -> SiteStatus:
    return SiteStatus("bakery", at(1), trouble=False, open_reviews=0)


def two_addresses() -> Scene:
    both = replace(OWNER, emails=("owner@bakery.test", "chef@bakery.test"))
    return alerted(config=replace(CONFIG, receivers=(both, TEAM, FLORA)))


BAD: list[tuple[str, Callable[[], Scene]]] = [
    # 1, 2, 3, 4 and triage: who is notified of what
    ("lost", many),
    ("lost", lowered),
    ("lost", lambda: alerted().review("r2", at(2)).read(at(2, 0, 4), "r2").mail(at(2, 0, 5), "new", "r2")),
    ("lost", lambda: moved(OWNER)),
    ("lost", lambda: answered().change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")),
    ("lost", late_one),
    ("late", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").notify(at(1, 3), "new", "r1")),
    ("repeated", lambda: alerted().mail(at(1, 1), "new", "r1")),
    ("repeated", lambda: alerted().post(at(1, 1), "new", "r1")),
    ("repeated", lambda: alerted().post(at(1, 1), "new", "r1", after=1, says_repeat=True)),
    ("repeated", lambda: post_in_doubt().post(at(1, 0, 40), "new", "r1", says_repeat=True)),
    ("repeated", lambda: alerted().mail(at(1, 1), "new", "r1", message_id=f"<{at(1, 0, 4, 1).timestamp()}@test>")),
    ("repeated", lambda: told_lowered().mail(at(2, 1), "lowered", "r1", before=2, after=1)),
    ("past", lambda: baseline().mail(at(0, 2, 1), "new", "r0")),
    ("not_due", lambda: alerted().notify(at(2), "lowered", "r1", before=2, after=1)),
    ("not_due", lambda: Scene().review("r1", at(1), rating=5).read(at(1, 0, 4), "r1").mail(at(1, 0, 5), "new", "r1")),
    ("wrong_details", lambda: lowered().notify(at(2, 0, 4, 1), "lowered", "r1", before=5, after=1)),
    ("wrong_details", lambda: alerted().change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")
     .post(at(2, 0, 4, 1), "closed", "r1", reason="gone")),
    ("closed_to_none", lambda: answered().mail(at(2, 0, 5), "closed", "r1", reason="answered")),
    ("closed_to_none", lambda: alerted().post(at(2, 0, 4, 1), "closed", "r1", reason="gone")),
    ("after_closing", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("smtp_down", at(1), at(1, 2))
     .post(at(1, 0, 4, 1), "new", "r1").change("r1", at(1, 1), "answered", reply="Sorry").read(at(1, 1, 4), "r1")
     .post(at(1, 1, 4, 1), "closed", "r1").mail(at(1, 2, 1), "new", "r1")),
    ("out_of_order", new_after_lowered),
    ("older_unsaid", lambda: late_one().notify(at(2, 13, 0, 1), "new", "r2")),
    ("older_unsaid", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .notify(at(1, 0, 5), "new", "r1", says_older=True)),
    ("quiet", lambda: at_night().notify(at(1, 16, 5), "new", "r1")),
    ("rerouted_lost", moved),
    ("reminder_missing", lambda: alerted(config=replace(CONFIG, reminders_after=(timedelta(days=1),)))),
    ("reminder_early", lambda: reminded().mail(at(1, 6), "reminder", "r1")),
    ("reminder_too_many", lambda: reminded().mail(at(2, 6), "reminder", "r1")),
    ("reminder_after_closing", lambda: answered().mail(at(2, 1), "reminder", "r1")),
    ("backfill_reminded", lambda: backfilled().mail(at(2, 6), "reminder", "r0")),
    ("escalation_missing", escalated),
    ("not_read", lambda: Scene().review("r1", at(1))),
    ("not_read", lambda: alerted().change("r1", at(2), "answered", reply="Sorry")),
    ("not_updated", lambda: alerted().change("r1", at(2), "edited").read(at(2, 0, 4), "r1")),
    # 2: repeats
    ("repeat_unfounded", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .notify(at(1, 0, 5), "new", "r1", says_repeat=True)),
    ("repeat_early", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .mail(at(1, 0, 5), "new", "r1").post(at(1, 0, 5), "new", "r1", answered=False)
     .post(at(1, 0, 7), "new", "r1", says_repeat=True)),
    ("mail_hurried", lambda: mail_in_doubt()
     .mail(at(1, 0, 4, 2), "new", "r1", message_id="<one@test>", answered=False)),
    ("mail_too_often", lambda: mail_in_doubt().mail(at(1, 0, 7), "new", "r1", message_id="<one@test>", answered=False)),
    ("mail_too_often", lambda: Scene().add("attempts", *(
        Attempt(at(1, 0, minute), "smtp", "owner@bakery.test", outcome="dropped", message_id="<one@test>")
        for minute in range(5)))),
    ("failed_silently", failed_and_not_told),
    # errors in delivery
    ("address_left_out", two_addresses),
    ("throttle_ignored", lambda: throttled(1)),
    ("stray", lambda: in_the_thread(in_thread=False)),
    # 5: floods
    ("pace", lambda: told_lowered().post(at(2, 0, 4, 1.5), "summary")),
    ("flood", one_by_one),
    ("trouble_repeated", lambda: wix_down_told().mail(at(1, 2), "trouble", about="site:bakery")),
    ("trouble_flood", twice_in_an_hour),
    ("recovered_of_nothing", lambda: Scene().mail(at(1), "recovered", about="site:bakery")),
    # 6: silence
    ("silent", wix_down),
    ("silent", slack_down),
    ("silent", config_refused),
    ("silent", locked),
    ("unrecovered", lambda: wix_down().notify(at(1, 0, 35), "trouble", about="site:bakery")),
    ("phantom", lambda: Scene().notify(at(1), "trouble", about="site:bakery")),
    ("premature", lambda: wix_down_told().notify(at(1, 2), "recovered", about="site:bakery")),
    ("parked_tried", parked_in_a_hurry),
    ("status_blind", lambda: wix_down_told().add("statuses", a_status(at(1, 3)))),
    ("status_blind", lambda: slack_down_told().add("statuses", a_status(at(1, 3), open_reviews=1))),
    ("status_alarm", lambda: Scene().add("statuses", a_status(at(2), 1))),
    ("status_alarm", lambda: Scene().add("statuses", a_status(at(2), 1, parked=("receiver:team",)))),
    ("status_exit", lambda: Scene().add("statuses", a_status(at(2), 0, troubles=("site:bakery",)))),
    ("status_exit", lambda: Scene().add("statuses", a_status(at(2), 3))),
    ("status_counts", lambda: Scene().add("statuses", a_status(at(2), receivers=()))),
    ("status_site", lambda: Scene().add("statuses", a_status(at(2), sites=(unread_site(),)))),
    ("status_open", lambda: alerted().add("statuses", a_status(at(3)))),
    ("pending", waiting),
    ("sent_of_nothing", sent_of_nothing),
    ("explain", lambda: explained(state="closed")),
    ("explain", lambda: explained(received=(("owner", "new"),))),
    ("explain", lambda: explained(received=(("owner", "new"), ("team", "new"), ("flora", "new")))),
    # 8: each customer's own
    ("foreign", lambda: alerted().mail(at(1, 0, 5), "new", "r1", to="flora@florist.test")),
    ("foreign", lambda: Scene().review("r1", at(1), rating=5)
     .mail(at(1), "summary", to="flora@florist.test", text="word-r1-0")),
    ("foreign", lambda: wix_down_told().mail(at(1, 1), "trouble", about="site:bakery", to="flora@florist.test")),
    ("foreign", lambda: alerted().mail(at(1, 0, 5), "new", "r1", to="stranger@example.test")),
    # 9: what is deleted is gone
    ("words_kept", lambda: erased().add("storage", Storage(at(3, 1), (("r1", "word-r1-0", "wal"),)))),
    ("words_stand", lambda: erased().update(at(2, 0, 5), at(1, 0, 4, 1), "still word-r1-0")),
    ("words_sent", lambda: erased().mail(at(3), "summary", text="see word-r1-0")),
    ("erasure_silent", erasure_refused),
    ("kept_too_long", old_words),
    ("erased_falsely", stored),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "scene"), BAD, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(BAD)])
def test_a_rule_finds_what_breaks_it(rule: str, scene: Callable[[], Scene]) -> None:
    assert rule in scene().rules()


def test_every_rule_of_the_oracle_has_a_history_that_breaks_it() -> None:
    sources = Path(oracle.__file__).parent.glob("*.py")
    rules = {rule for source in sources for rule in re.findall(r'Violation\(\s*"(\w+)"', source.read_text("utf-8"))}

    assert rules == {rule for rule, _ in BAD} == set(RULES)
