"""Small histories: good ones, such as use the freedom that the design leaves, and bad ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any, Literal

from tests.simulation.history import (
    AlertKind,
    Attempt,
    Command,
    Config,
    ConfigVersion,
    DaemonSpan,
    Explain,
    Item,
    Medium,
    Posted,
    QuietHours,
    Read,
    Receiver,
    ReceiverStatus,
    Review,
    ReviewEvent,
    SiteStatus,
    SlackCall,
    Status,
    Storage,
    SummaryDue,
    Webhook,
)
from tests.simulation.oracle.scene import (
    BOSS,
    CONFIG,
    FLORA,
    OWNER,
    START,
    TEAM,
    Scene,
    a_status,
    at,
)

# ---------------------------------------------------------------- scenes that are good


def alerted(days: float = 4, config: Config = CONFIG) -> Scene:
    """A review of one star, read in time, and everybody notified."""
    return (
        Scene(days, config)
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .notify(at(1, 0, 4, 1), "new", "r1", after=1)
    )


def answered(days: float = 4) -> Scene:
    scene = alerted(days).change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")
    return scene.post(at(2, 0, 4, 1), "closed", "r1", reason="answered")


def lowered() -> Scene:
    scene = (
        Scene()
        .review("r1", at(1), rating=2)
        .read(at(1, 0, 4), "r1")
        .notify(at(1, 0, 4, 1), "new", "r1", after=2)
    )
    return scene.change("r1", at(2), "rating_changed", rating=1).read(at(2, 0, 4), "r1")


def lowered_twice_while_mail_is_down(after: int) -> Scene:
    """The mails that waited show the rating that the review has by then, or one that it never had."""
    sites = (replace(CONFIG.sites[0], threshold=3), CONFIG.sites[1])
    scene = Scene(config=replace(CONFIG, sites=sites)).review("r1", at(1), rating=3)
    scene.read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1", after=3)
    scene.fault("smtp_down", at(2), at(2, 0, 15))
    for minute, rating in ((0, 2), (5, 1)):
        scene.change("r1", at(2, 0, minute), "rating_changed", rating=rating)
        scene.read(at(2, 0, minute + 4), "r1")
        when, before = at(2, 0, minute + 4, 1), rating + 1
        scene.post(when, "lowered", "r1", before=before, after=rating)
    scene.mail(at(2, 0, 16), "lowered", "r1", before=3, after=after)
    return scene.mail(at(2, 0, 16, 1), "lowered", "r1", before=2, after=1)


def told_lowered() -> Scene:
    return lowered().notify(at(2, 0, 4, 1), "lowered", "r1", before=2, after=1)


def baseline() -> Scene:
    scene = Scene().review("r0", at(-3))
    scene.reads.clear()
    return scene.read(at(0, 1), "r0").read(at(0, 2), "r0").read(at(0, 1), site="florist")


def reminded(**fields: Any) -> Scene:
    config = replace(CONFIG, reminders_after=(timedelta(days=1),), **fields)
    return alerted(config=config).notify(at(2, 0, 4, 10), "reminder", "r1")


def held(command: Command, until: datetime) -> Scene:
    """Somebody claims or snoozes a review at noon, a day before the span of its reminder."""
    config = replace(CONFIG, reminders_after=(timedelta(days=1),))
    return alerted(config=config).run(command, at(1, 12), review_id="r1", until=until)


def snoozed_again() -> Scene:
    """A snooze is over while the review is claimed, and another begins before its reminder."""
    scene = held("snooze", at(1, 18)).run("claim", at(1, 17), review_id="r1", until=at(1, 19))
    return scene.run("snooze", at(1, 18, 30), review_id="r1", until=at(2, 2))


def snoozed_until_quiet_hours(*, reminds: bool) -> Scene:
    """A snooze ends while no process runs; the next starts and is killed within quiet hours."""
    day = (QuietHours(time(8), time(20), "Europe/Berlin"),)
    scene = held("snooze", at(1, 18))
    config = replace(scene.configs[0].config, receivers=(replace(OWNER, quiet=day), TEAM, FLORA))
    scene.with_config(config).daemon = [
        DaemonSpan(START, at(1, 16), "stopped"),
        DaemonSpan(at(2, 4), at(2, 8), "killed"),
        DaemonSpan(at(2, 16), None),
    ]
    scene.post(at(2, 4, 0, 5), "reminder", "r1")
    return scene.mail(at(2, 16, 0, 5), "reminder", "r1") if reminds else scene


def refused_after_a_snooze(*, tried: bool) -> Scene:
    """The reminder after a snooze is refused for good, before a claim would hold another one."""
    scene = held("snooze", at(1, 18)).fault(
        "smtp_message_refused", at(1, 17), at(2, 18), review_id="r1"
    )
    scene.run("claim", at(2, 12), review_id="r1", until=at(3, 12))
    if tried:
        items, (owner,) = (Item("reminder", "r1"),), OWNER.emails
        scene.add("attempts", Attempt(at(1, 18, 4), "smtp", owner, None, "554", items=items))
    return scene.post(at(1, 18, 4), "reminder", "r1")


def reminded_after_quiet_hours(hour: float) -> Scene:
    """Wix is back just before quiet hours, so that the round that reminds may come within them."""
    day = (QuietHours(time(8), time(21), "Europe/Berlin"),)
    config = replace(
        CONFIG,
        receivers=(OWNER, replace(TEAM, quiet=day), FLORA),
        reminders_after=(timedelta(hours=1),),
    )
    scene = alerted(config=config).fault("wix_down", at(1, 1), at(2, 0, 57), site_id="bakery")
    scene.notify(at(1, 1, 35), "trouble", about="site:bakery")
    scene.notify(at(2, 1, 1), "recovered", about="site:bakery")
    return scene.mail(at(2, 1, 1, 5), "reminder", "r1").post(at(2, hour), "reminder", "r1")


def escalated() -> Scene:
    boss = Receiver("boss", emails=BOSS.emails, escalation=True)
    config = replace(
        CONFIG,
        receivers=(OWNER, TEAM, FLORA, boss),
        reminders_after=(timedelta(days=1),),
        escalate_to="boss",
    )
    return alerted(config=config).notify(at(2, 0, 4, 10), "reminder", "r1")


def closed_before_the_round_of_its_escalation() -> Scene:
    """A site is read each four hours: the last reminder of a review is due, and it is answered."""
    scene = escalated()
    scene.with_config(replace(scene.configs[0].config, poll_every=timedelta(hours=4)))
    scene.parts["mails"].pop()
    scene.parts["slack"].pop()
    scene.change("r1", at(2, 0, 30), "answered", reply="Sorry").read(at(2, 4), "r1")
    return scene.post(at(2, 4, 0, 1), "closed", "r1", reason="answered")


def many(count: int = 8) -> Scene:
    ids = [f"r{number}" for number in range(count)]
    scene = Scene()
    for number, one in enumerate(ids):
        scene.review(one, at(1, 0, 0, number))
    return scene.read(at(1, 0, 4), *ids)


def in_digests() -> Scene:
    scene = many()
    return scene.notify(at(1, 0, 4, 1), "new", *scene.reviews)


def lowered_while_slack_is_down(*, digest: bool) -> Scene:
    """A review is alerted and lowered while Slack is down; a digest has one entry for both."""
    scene = Scene().review("r1", at(1), rating=2).review("r2", at(1)).read(at(1, 0, 4), "r1", "r2")
    scene.fault("slack_down", at(1), at(1, 0, 20), code="503").mail(at(1, 0, 4, 1), "new", "r1")
    scene.mail(at(1, 0, 4, 2), "new", "r2").change("r1", at(1, 0, 6), "rating_changed", rating=1)
    scene.read(at(1, 0, 8), "r1", "r2")
    scene.mail(at(1, 0, 8, 1), "lowered", "r1", before=2, after=1)
    low, new = Item("lowered", "r1", before=2, after=1), Item("new", "r2")
    for number, items in enumerate([(low, new)] if digest else [(low,), (new,)]):
        when = at(1, 0, 21, 2 * number)
        call = SlackCall(when, "post", "C1", f"{when.timestamp():.6f}", items=items)
        scene.add("slack", call)
    return scene


def lowered_in_quiet_hours(*, digest: bool) -> Scene:
    """What quiet hours held of one review leaves as a digest with one entry, or its end only."""
    quiet = replace(TEAM, quiet=(QuietHours(time(6), time(20), "Europe/Berlin"),))
    scene = Scene(config=replace(CONFIG, receivers=(OWNER, quiet, FLORA)))
    scene.review("r1", at(1), rating=2).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    scene.change("r1", at(1, 2), "rating_changed", rating=1).read(at(1, 2, 4), "r1")
    scene.mail(at(1, 2, 4, 1), "lowered", "r1", before=2, after=1)
    item = Item("lowered", "r1", before=2, after=1, in_digest=digest)
    when = at(1, 13, 0, 1)
    call = SlackCall(when, "post", "C1", f"{when.timestamp():.6f}", items=(item,))
    return scene.add("slack", call)


def reminded_with_a_lowered(*, digest: bool) -> Scene:
    """A rating falls while quiet hours hold a reminder of the review."""
    quiet = replace(TEAM, quiet=(QuietHours(time(8), time(20), "Europe/Berlin"),))
    scene = Scene(
        config=replace(
            CONFIG,
            receivers=(OWNER, quiet, FLORA),
            reminders_after=(timedelta(hours=2),),
        )
    )
    scene.review("r1", at(1), rating=2).read(at(1, 0, 4), "r1")
    scene.notify(at(1, 0, 4, 1), "new", "r1").mail(at(1, 2, 5), "reminder", "r1")
    scene.change("r1", at(1, 4), "rating_changed", rating=1).read(at(1, 4, 4), "r1")
    scene.mail(at(1, 4, 4, 1), "lowered", "r1", before=2, after=1)
    item = Item("lowered", "r1", before=2, after=1, in_digest=digest)
    when = at(1, 13, 0, 1)
    call = SlackCall(when, "post", "C1", f"{when.timestamp():.6f}", items=(item,))
    return scene.add("slack", call)


def retried_and_restored(*, before: bool) -> Scene:
    """A backup of before or after a `retry` is restored: only the later one has that it was sent."""
    config = replace(CONFIG, reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.fault("smtp_dropped_before", at(1), at(1, 0, 10))
    items, owner = (Item("new", "r1"),), OWNER.emails[0]
    for second in (1, 6, 66):
        when = at(1, 0, 4, second)
        scene.add("attempts", Attempt(when, "smtp", owner, None, "dropped", "<one@test>", items))
    scene.post(at(1, 0, 4, 1), "new", "r1").post(at(1, 0, 6), "trouble", about="receiver:owner")
    scene.run("retry", at(2)).mail(at(2, 0, 0, 1), "new", "r1", message_id="<one@test>")
    scene.post(at(2, 0, 4, 30), "reminder", "r1")
    taken = at(1, 12) if before else at(2, 6)
    return scene.run("restore", at(2, 7), backup_taken=taken).read(at(2, 7, 6), "r1")


def mail_in_doubt() -> Scene:
    scene = (
        Scene()
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .fault("smtp_dropped_after", at(1), at(1, 0, 10))
    )
    scene.post(at(1, 0, 4, 1), "new", "r1")
    for second in (1, 6, 66):
        scene.mail(at(1, 0, 4, second), "new", "r1", message_id="<one@test>", answered=second == 66)
    return scene


def answered_while_in_doubt(*, killed: bool) -> Scene:
    """A review is answered while a mail about it leaves: it goes out again, and says so."""
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").post(at(1, 0, 4, 1), "new", "r1")
    if killed:
        again = DaemonSpan(at(1, 0, 4, 7), None)
        scene.daemon = [DaemonSpan(START, at(1, 0, 4, 2), "killed"), again]
    scene.change("r1", at(1, 0, 4, 3), "answered", reply="Sorry").read(at(1, 0, 4, 8), "r1")
    scene.update(at(1, 0, 4, 9), at(1, 0, 4, 1))
    return scene.mail(at(1, 0, 4, 9), "closed", "r1", reason="answered")


def answered_with_a_reminder_in_doubt(again: str) -> Scene:
    """A review is answered while a reminder by mail is in doubt: it goes out again, and says so."""
    config = replace(CONFIG, receivers=(OWNER, FLORA), reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.mail(at(1, 0, 4, 1), "new", "r1").fault("smtp_dropped_before", at(2), at(2, 0, 10))
    items, owner = (Item("reminder", "r1"),), OWNER.emails[0]
    when = at(2, 0, 5)
    scene.read(when, "r1")
    scene.add("attempts", Attempt(when, "smtp", owner, None, "dropped", "<one@test>", items))
    scene.change("r1", at(2, 0, 5, 2), "answered", reply="Sorry")
    scene.add("webhooks", Webhook(at(2, 0, 5, 3), "e1", "bakery", "r1", "updated", 1, taken=True))
    scene.mail(at(2, 0, 6, 6), "closed", "r1", reason="answered", message_id=again)
    return scene.read(at(2, 0, 10), "r1")


def reminded_at_a_kill(day: float) -> Scene:
    """The same, while the daemon is killed with a reminder under way, or before one is due."""
    config = replace(CONFIG, receivers=(OWNER, FLORA), reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.mail(at(1, 0, 4, 1), "new", "r1").read(at(day), "r1")
    again = DaemonSpan(at(day, 0, 0, 7), None)
    scene.daemon = [DaemonSpan(START, at(day, 0, 0, 2), "killed"), again]
    scene.change("r1", at(day, 0, 0, 3), "answered", reply="Sorry").read(at(day, 0, 0, 8), "r1")
    return scene.mail(at(day, 0, 0, 9), "closed", "r1", reason="answered")


def answered_after_mails(*, confirmed: bool) -> Scene:
    """A review is answered after three mails about it, of which the last or none was confirmed."""
    owner = replace(OWNER, closings=True)
    scene = Scene(config=replace(CONFIG, receivers=(owner, FLORA))).review("r1", at(1))
    scene.read(at(1, 0, 4), "r1").fault("smtp_dropped_after", at(1), at(1, 0, 10))
    for second in (1, 6, 66):
        last = confirmed and second == 66
        scene.mail(at(1, 0, 4, second), "new", "r1", message_id="<one@test>", answered=last)
    return scene.change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")


def unconfirmed_webhook(*, confirmed: bool) -> Scene:
    """A webhook takes an alert three times; a reminder is due if it confirms the last."""
    hook = Receiver("hook", posted="webhook", address="hook-1", sites=("bakery",))
    config = replace(CONFIG, receivers=(OWNER, hook, FLORA), reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.fault("posted_dropped_after", at(1), at(1, 0, 10), address="hook-1")
    for second in (1, 6, 66):
        last = confirmed and second == 66
        item, when = Item("new", "r1"), at(1, 0, 4, second)
        scene.add(
            "posted", Posted(when, "webhook", "hook-1", "post", "msg_1", (item,), answered=last)
        )
    return scene.mail(at(1, 0, 4, 1), "new", "r1").mail(at(2, 0, 4, 2), "reminder", "r1")


def answered_after_a_webhook_moved(medium: Medium) -> Scene:
    """A webhook gets an alert; it moves, to another address or medium, before the answer."""
    hook = Receiver("hook", posted="webhook", address="hook-1", sites=("bakery",))
    config = replace(CONFIG, receivers=(hook, FLORA))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    items, moved_hook = (Item("new", "r1"),), replace(hook, posted=medium, address="hook-2")
    scene.add("posted", Posted(at(1, 0, 4, 1), "webhook", "hook-1", "post", "msg_1", items))
    scene.reload(at(1, 8), replace(config, receivers=(moved_hook, FLORA)))
    return scene.change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")


def post_in_doubt() -> Scene:
    scene = (
        Scene()
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .fault("slack_dropped_after", at(1), at(1, 0, 10))
    )
    scene.mail(at(1, 0, 4, 1), "new", "r1").post(at(1, 0, 4, 1), "new", "r1", answered=False)
    return scene.post(at(1, 0, 15), "new", "r1", says_repeat=True)


def wix_down(hours: float = 5) -> Scene:
    return Scene().fault("wix_down", at(1), at(1, hours), site_id="bakery")


def told_to_others() -> Scene:
    """The only one marked for trouble was not reached; another was, once its own service was back."""
    boss = replace(BOSS, trouble=True)
    team = replace(TEAM, trouble=False)
    owner = replace(OWNER, trouble=False)
    flora = replace(FLORA, trouble=False)
    scene = Scene(config=replace(CONFIG, receivers=(owner, team, flora, boss)))
    scene.fault("wix_down", at(1), at(1, 5), site_id="bakery")
    scene.fault("smtp_down", at(1), at(1, 1)).fault("slack_down", at(1), at(1, 3))
    scene.post(at(1, 3, 2), "trouble", about="site:bakery").mail(
        at(1, 1, 5), "trouble", about="site:bakery", to=boss.emails[0]
    )
    scene.post(at(1, 5, 5), "recovered", about="site:bakery").mail(
        at(1, 5, 5), "recovered", about="site:bakery", to=boss.emails[0]
    )
    return scene


def told_to_the_site() -> Scene:
    """Only a receiver of another site is marked for trouble, so those of this site are told."""
    scene = wix_down_told()
    receivers = (replace(OWNER, trouble=False), replace(TEAM, trouble=False), FLORA)
    scene.parts["faults"][:] = [replace(fault, site_id="bakery") for fault in scene.parts["faults"]]
    return scene.with_config(replace(CONFIG, receivers=receivers))


def recovered_on_slack() -> Scene:
    """A receiver on Slack is reached again while the mail server refuses the login."""
    return parked().fault("smtp_auth", at(1, 3), at(1, 6), code="535")


def throttled_and_refused() -> Scene:
    """A channel is refused, but Slack only says that it is throttled."""
    scene = Scene().fault(
        "slack_channel_refused", at(1), at(1, 2), channel="C1", code="is_archived"
    )
    scene.fault("slack_throttled", at(1), at(1, 2)).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.mail(at(1, 0, 4, 5), "new", "r1")
    for minute in range(5, 125, 5):
        scene.add(
            "attempts",
            Attempt(
                at(1, 0, minute), "slack", "C1", "chat.postMessage", "ratelimited",
                items=(Item("new", "r1"),),
            ),
        )  # fmt: skip
    scene.mail(at(1, 0, 36), "trouble", about="slack")
    return scene.post(at(1, 2, 6), "new", "r1").mail(at(1, 2, 7), "recovered", about="slack")


def recovered_in_doubt() -> Scene:
    """The end of a trouble was lost three times, and has failed."""
    scene = wix_down().notify(at(1, 0, 35), "trouble", about="site:bakery")
    scene.post(at(1, 5, 5), "recovered", about="site:bakery")
    scene.fault("smtp_dropped_before", at(1, 5), at(1, 6))
    item = Item("recovered", about="site:bakery")
    for second in (0, 5, 65):
        lost = Attempt(
            at(1, 5, 5, second), "smtp", OWNER.emails[0], None, "dropped", "<r@test>", (item,)
        )
        scene.add("attempts", lost)
    return scene.post(at(1, 5, 10), "trouble", about="receiver:owner/messages")


def lowered_in_a_backfill() -> Scene:
    """A backfill is the first to read that a rating fell since the baseline."""
    scene = Scene().review("r0", at(-3), rating=2)
    scene.reads.clear()
    scene.read(at(0, 1), "r0").read(at(0, 1), site="florist")
    scene.change("r0", at(1), "rating_changed", rating=1).run("backfill", at(1, 0, 2))
    read = Read(at(1, 0, 3), "bakery", "backfill", private=True, shown=(("r0", 1),))
    scene.reads.append(read)
    return scene.notify(at(1, 0, 3, 5), "lowered", "r0", before=2, after=1)


def raised_while_unread() -> Scene:
    """A threshold is raised while Wix is down; the first read with it records the difference."""
    sites = tuple(replace(site, threshold=3) for site in CONFIG.sites)
    scene = Scene().fault("wix_down", at(1), at(1, 0, 25))
    scene.reload(at(1, 0, 5), replace(CONFIG, sites=sites)).review("r1", at(1, 0, 15), rating=3)
    return scene.read(at(1, 0, 30), "r1")


def unread_at_a_raise() -> Scene:
    """The difference of a raised threshold is read first, and holds what is newer by a day."""
    sites = tuple(replace(site, threshold=4) for site in CONFIG.sites)
    scene = Scene(5).fault("wix_down", at(1), at(3)).review("r1", at(1, 1))
    scene.reload(at(1, 12), replace(CONFIG, sites=sites)).review("r2", at(2, 6), rating=4)
    scene.notify(at(1, 0, 35), "trouble", about="wix").notify(at(3, 0, 5), "recovered", about="wix")
    return scene.read(at(3, 0, 4), "r2").read(at(3, 0, 4, 1), "r1")


def wix_down_told() -> Scene:
    scene = wix_down()
    scene.notify(at(1, 0, 35), "trouble", about="site:bakery")
    return scene.notify(at(1, 5, 5), "recovered", about="site:bakery")


def left_in_trouble(*, left: bool) -> Scene:
    """The team leaves the config while a site is not read, and is back when it is so again."""
    scene = wix_down(2).fault("wix_down", at(2), at(2, 2), site_id="bakery")
    scene.notify(at(1, 0, 35), "trouble", about="site:bakery")
    if left:
        scene.reload(at(1, 1), replace(CONFIG, receivers=(OWNER, FLORA))).reload(at(1, 12), CONFIG)
    scene.mail(at(1, 2, 5), "recovered", about="site:bakery")
    scene.notify(at(2, 0, 35), "trouble", about="site:bakery")
    return scene.notify(at(2, 2, 5), "recovered", about="site:bakery")


def told_late_of_an_end(followed: bool) -> Scene:
    """Slack brings the end of an outage while the next one lasts, and that one directly after it."""
    about = "site:bakery"
    scene = wix_down_told()
    scene.parts["slack"].pop()  # the channel was refused when it was over
    scene.fault("slack_channel_refused", at(1, 4), at(2, 2), channel="C1", code="is_archived")
    item = Item("recovered", about=about)
    scene.add(
        "attempts",
        Attempt(at(1, 5, 5), "slack", "C1", "chat.postMessage", "is_archived", items=(item,)),
    )
    scene.mail(at(1, 5, 6), "trouble", about="receiver:team")
    scene.fault("wix_down", at(2), at(2, 5), site_id="bakery")
    scene.mail(at(2, 0, 35), "trouble", about=about)
    scene.post(at(2, 2, 5), "recovered", about=about)
    if followed:
        scene.post(at(2, 2, 5, 1), "trouble", about=about)
    scene.mail(at(2, 2, 6), "recovered", about="receiver:team")
    scene.mail(at(2, 5, 5), "recovered", about=about)
    return scene.post(at(2, 5, 5), "recovered", about=about) if followed else scene


def slack_down() -> Scene:
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("slack_down", at(1), at(1, 5))
    scene.mail(at(1, 0, 4, 1), "new", "r1")
    for minute in (4, 5, 7):
        items = (Item("new", "r1"),)
        scene.add(
            "attempts",
            Attempt(at(1, 0, minute, 1), "slack", "C1", "chat.postMessage", "503", items=items),
        )
    return scene.post(at(1, 5, 1), "new", "r1")


def slack_down_told() -> Scene:
    scene = slack_down().mail(at(1, 0, 40), "trouble", about="receiver:team")
    return scene.mail(at(1, 5, 2), "recovered", about="receiver:team")


def waiting_while_its_site_leaves(*, narrowed: bool) -> Scene:
    """A review waits for Slack when its site leaves the config, and is posted then.

    Before that the team may have been narrowed to the sites that are left.
    """
    everything, team = replace(OWNER, sites=()), replace(TEAM, sites=())
    config = replace(CONFIG, receivers=(everything, team))
    scene = slack_down_told().with_config(config)
    left = replace(team, sites=("florist",)) if narrowed else team
    return scene.reload(
        at(1, 2), replace(config, sites=CONFIG.sites[1:], receivers=(everything, left))
    )


def erased() -> Scene:
    scene = alerted().change("r1", at(2), "deleted", deleted=True, words=(), text="")
    scene.read(at(2, 0, 4), absent=("r1",)).read(at(2, 2), absent=("r1",))
    scene.post(at(2, 0, 4, 1), "closed", "r1", reason="gone", text="closed").update(
        at(2, 0, 4, 3), at(1, 0, 4, 1)
    )
    return scene.add("storage", Storage(at(3)))


def erased_after_a_restore(backup: float) -> Scene:
    """A review is deleted after a restore, and what stands on Slack since before it is not erased."""
    scene = alerted(8).run("restore", at(3), backup_taken=at(backup)).read(at(3, 0, 10), "r1")
    scene.change("r1", at(4), "deleted", deleted=True, words=(), text="")
    return scene.read(at(4, 0, 4), absent=("r1",)).read(at(4, 2), absent=("r1",))


def quiet_night() -> Config:
    night = QuietHours(time(20), time(7), "UTC")
    return replace(
        CONFIG, receivers=(replace(OWNER, quiet=(night,)), replace(TEAM, quiet=(night,)), FLORA)
    )


def at_night() -> Scene:
    return Scene(config=quiet_night()).review("r1", at(1, 16)).read(at(1, 16, 4), "r1")  # 22:04


def renamed_at_night() -> Scene:
    """What quiet hours hold of a receiver leaves in the morning, by the name that it has then."""
    scene, config = at_night(), quiet_night()
    named = tuple(
        replace(one, name="boss") if one.name == "owner" else one for one in config.receivers
    )
    scene.reload(at(1, 22), replace(config, receivers=named))
    return scene.notify(at(2, 1, 0, 5), "new", "r1")


def held_by_a_wrong_clock(hour: float) -> Scene:
    """By a clock that is ten hours ahead it is night; when it is set right at 22:00, it really is."""
    scene = Scene(config=quiet_night()).review("r1", at(1, 6)).read(at(1, 6, 4), "r1")
    scene.fault("clock_step", at(1, 5), at(1, 16), step=timedelta(hours=10))
    return scene.notify(at(2, hour, 5), "new", "r1")


def moved(after: Receiver = BOSS) -> Scene:
    """A mail server that is down; meanwhile the receiver is replaced by another."""
    scene = (
        Scene(config=replace(CONFIG, receivers=(OWNER, FLORA)))
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
    )
    scene.fault("smtp_down", at(1), at(1, 0, 20))
    return scene.reload(at(1, 0, 10), replace(CONFIG, receivers=(after, FLORA)))


def backfilled() -> Scene:
    scene = baseline().run("backfill", at(1), since=at(-9))
    scene.reads.append(Read(at(1, 0, 1), "bakery", "backfill", private=True, shown=(("r0", 0),)))
    return scene.notify(at(1, 0, 1, 5), "new", "r0")


def lowered_after_a_backfill(remind: bool) -> Scene:
    """The rating of what a backfill spoke of falls: that is news, of which people are reminded."""
    config = replace(CONFIG, reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r0", at(-3), rating=2)
    scene.reads.clear()
    scene.read(at(0, 1), "r0").read(at(0, 1), site="florist")
    scene.run("backfill", at(1), since=at(-9))
    scene.reads.append(Read(at(1, 0, 1), "bakery", "backfill", private=True, shown=(("r0", 0),)))
    scene.notify(at(1, 0, 1, 5), "new", "r0")
    scene.change("r0", at(2), "rating_changed", rating=1).read(at(2, 0, 4), "r0")
    scene.notify(at(2, 0, 4, 1), "lowered", "r0", before=2, after=1)
    return scene.notify(at(3, 0, 5), "reminder", "r0") if remind else scene


def new_in_a_backfill() -> Scene:
    """A backfill finds a review that was written after the last poll."""
    scene = Scene(config=replace(CONFIG, reminders_after=(timedelta(days=1),)))
    scene.review("r1", at(1)).run("backfill", at(1, 0, 2))
    read = Read(at(1, 0, 3), "bakery", "backfill", private=True, shown=(("r1", 0),))
    scene.reads.append(read)
    scene.notify(at(1, 0, 3, 5), "new", "r1").read(at(1, 0, 5), "r1")
    return scene.notify(at(2, 0, 5), "reminder", "r1")


def late_one(*, by_id: bool = False) -> Scene:
    """A review that is approved days after it was written: older than the newest that was read."""
    scene = alerted().review("r2", at(1), moderation="IN_MODERATION", visible_from=at(2, 12))
    scene.reviews["r3"] = [
        ReviewEvent(at(2, 6), "created", replace(_state("r3"), rating=5, created=at(2, 6)))
    ]
    scene.read(at(2, 6, 4), "r3", by_id=by_id).change(
        "r2", at(2, 12), "approved", moderation="APPROVED"
    )
    return scene.read(at(2, 13), "r2")


def _state(review_id: str) -> Review:
    return Review(
        review_id, "bakery", 1, START, 0, words=(f"word-{review_id}-0",), text=f"word-{review_id}-0"
    )


def reopened() -> Scene:
    scene = answered().change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")
    return scene.mail(at(3, 0, 4, 1), "reminder", "r1").update(at(3, 0, 4, 1), at(1, 0, 4, 1))


def reopened_in_quiet_hours(reminds: bool) -> Scene:
    """The mail that asks again is held for quiet hours, and reminders count from it."""
    thursday = (QuietHours(time(8), time(20), "Europe/Berlin", weekdays=(3,)),)
    receivers = (replace(OWNER, quiet=thursday), TEAM, FLORA)
    config = replace(CONFIG, receivers=receivers, reminders_after=(timedelta(days=1),))
    scene = answered(days=6).with_config(config)
    scene.change("r1", at(3, 2), "answer_removed", reply=None).read(at(3, 2, 4), "r1")
    scene.update(at(3, 2, 4, 1), at(1, 0, 4, 1)).mail(at(3, 13, 0, 1), "reminder", "r1")
    scene.post(at(4, 2, 4), "reminder", "r1")
    return scene.mail(at(4, 13, 4), "reminder", "r1") if reminds else scene


def reopened_after(keep: float) -> Scene:
    """Without an update: after `keep` nothing is known of what was sent, and all are reminded."""
    scene = answered().with_config(replace(CONFIG, keep=timedelta(days=keep)))
    scene.change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")
    return scene.notify(at(3, 0, 4, 1), "reminder", "r1")


def edited_after_wix_left_out(author: bool) -> Scene:
    """Without an update: what lacks its author a rescan apart counts as anonymized."""
    scene = alerted().read(at(1, 12), "r1").read(at(2, 13), "r1")
    if author:
        scene.fault("wix_no_author", at(1, 11), at(2, 14), site_id="bakery")
    return scene.change("r1", at(3), "edited").read(at(3, 0, 4), "r1")


def edited_after_anonymized(erased: bool) -> Scene:
    """Without an update: what is anonymized keeps no words, also none that it gets later."""
    scene = Scene().review("r1", at(1)).change("r1", at(1, 0, 1), "anonymized", anonymized=erased)
    scene.read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1", after=1, text="")
    return scene.change("r1", at(2), "edited").read(at(2, 0, 4), "r1")


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
        scene.add(
            "attempts",
            Attempt(at(1, hour, 4, 1), "slack", "C1", "chat.postMessage", refused, items=items),
        )
    return scene.post(at(1, 3, 4), "new", "r1").mail(
        at(1, 3, 5), "recovered", about="receiver:team"
    )


def refused_since_before_a_rename(*, notified: bool) -> Scene:
    """A receiver is renamed before the first message that its channel refuses."""
    crew = replace(TEAM, name="crew")
    scene = Scene().fault("slack_channel_refused", at(0, 12), at(1, 2, 30), channel="C1")
    scene.reload(at(0, 18), replace(CONFIG, receivers=(OWNER, crew, FLORA)))
    scene.review("r1", at(1)).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    refused = "channel_not_found"
    items = (Item("new", "r1"),)
    scene.add(
        "attempts", Attempt(at(1, 0, 4, 1), "slack", "C1", "chat.postMessage", refused, items=items)
    )
    scene.post(at(1, 3, 4), "new", "r1")
    if notified:
        scene.mail(at(1, 0, 5), "trouble", about="receiver:crew")
        scene.mail(at(1, 3, 5), "recovered", about="receiver:crew")
    return scene


def told_directly(answer: str) -> Scene:
    """Of a locked database people are told in one try, which Slack answers like this."""
    scene = Scene().fault("state_locked", at(1), at(1, 2)).fault("slack_down", at(1), at(1, 1))
    scene.mail(at(1, 0, 6), "trouble", about="database")
    items = (Item("trouble", about="database"),)
    scene.add(
        "attempts", Attempt(at(1, 0, 6), "slack", "C1", "chat.postMessage", answer, items=items)
    )
    return scene.notify(at(1, 2, 5), "recovered", about="database")


def throttled(hours: float = 2.1) -> Scene:
    again = at(1, hours)
    wait = timedelta(hours=2)
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    scene.fault("slack_throttled", at(1), at(1, 0, 30), method="chat.postMessage", retry_after=wait)
    said = Attempt(
        at(1, 0, 4, 1),
        "slack",
        "C1",
        "chat.postMessage",
        "429",
        items=(Item("new", "r1"),),
        retry_after=wait,
    )
    scene.add("attempts", said).mail(at(1, 0, 40), "trouble", about="receiver:team")
    return scene.post(again, "new", "r1").mail(
        again + timedelta(minutes=1), "recovered", about="receiver:team"
    )


def in_the_thread(*, updated: bool = False, closings: bool = True, **more: Any) -> Scene:
    """Slack is shown that a review was answered: by a reply in the thread or by an update."""
    team = replace(TEAM, closings=closings)
    config = replace(CONFIG, receivers=(OWNER, team, FLORA))
    scene = (
        alerted(config=config)
        .change("r1", at(2), "answered", reply="Sorry")
        .read(at(2, 0, 4), "r1")
    )
    if updated:
        return scene.update(at(2, 0, 4, 1), at(1, 0, 4, 1))
    thread = f"{at(1, 0, 4, 1).timestamp():.6f}"
    return scene.post(at(2, 0, 4, 1), "closed", "r1", reason="answered", thread_ts=thread, **more)


def explained(**more: Any) -> Scene:
    said = tuple((name, "new") for name in ("owner", "team"))
    more = {"state": "open", "received": said} | more
    return alerted().add("explains", Explain(at(3), "r1", 0, **more))


def unknown_to_explain(running: bool) -> Scene:
    """`explain` knows nothing of a review: while no daemon runs, its site may have left the config."""
    scene = alerted()
    if not running:
        scene.daemon = [DaemonSpan(START, at(2), "stopped"), DaemonSpan(at(3, 1), None)]
    return scene.add("explains", Explain(at(3), "r1", 1))


def stored(*found: tuple[str, str, str]) -> Scene:
    return alerted().add("storage", Storage(at(3), found))


# ---- freedom: what the design leaves open


def killed_in_the_call() -> Scene:
    """The daemon is killed while Slack takes its message, and finds it there after the start."""
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").mail(at(1, 0, 4, 1), "new", "r1")
    scene.daemon = [DaemonSpan(START, at(1, 0, 4, 2), "killed"), DaemonSpan(at(1, 0, 10), None)]
    return scene.post(at(1, 0, 4, 2), "new", "r1", answered=False).read(at(1, 0, 11), "r1")


def killed_before_the_commit() -> Scene:
    """Whether the page was written down before the kill, nobody can know; it is read again."""
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.daemon = [DaemonSpan(START, at(1, 0, 4), "killed"), DaemonSpan(at(1, 3), None)]
    return scene.read(at(1, 3, 1), "r1").notify(at(1, 3, 1, 1), "new", "r1")


def raised_before_it_was_written_down() -> Scene:
    """A review is read while the disk is full, and is no longer low-rated when it can be written."""
    scene = (
        Scene().review("r1", at(1)).fault("disk_full", at(1), at(1, 0, 20)).read(at(1, 0, 4), "r1")
    )
    return scene.change("r1", at(1, 0, 10), "rating_changed", rating=5)


def threshold(now: int) -> Scene:
    sites = (replace(CONFIG.sites[0], threshold=now), CONFIG.sites[1])
    return alerted().reload(at(2), replace(CONFIG, sites=sites))


def answered_at_a_raise(written: datetime) -> Scene:
    """An answered review is read first with a raised threshold, and its answer is removed later."""
    raised = replace(CONFIG, sites=(replace(CONFIG.sites[0], threshold=4), CONFIG.sites[1]))
    scene = Scene().reload(at(2), raised).read(at(2, 0, 1)).review("r1", written, 4, reply="Sorry")
    scene.read(at(2, 6), "r1").change("r1", at(2, 12), "answer_removed", reply=None)
    return scene.read(at(2, 12, 4), "r1")


def site_leaves_after_a_change() -> Scene:
    """A review changes, and its site leaves the config before the next read."""
    scene = alerted().change("r1", at(2), "edited")
    return scene.reload(at(2, 0, 2), replace(CONFIG, sites=CONFIG.sites[1:], receivers=(FLORA,)))


def answered_at_a_lower_threshold() -> Scene:
    """What a lowered threshold has closed without a read need not be read again."""
    scene = Scene().review("r1", at(1), rating=2).read(at(1, 0, 4), "r1")
    scene.notify(at(1, 0, 4, 1), "new", "r1").change("r1", at(2), "answered", reply="Sorry")
    sites = (replace(CONFIG.sites[0], threshold=1), CONFIG.sites[1])
    return scene.reload(at(2, 0, 30), replace(CONFIG, sites=sites))


def reminded_of_what_waited(sent: int) -> Scene:
    """A reminder in a digest, by escalation, stands for the alert too, which had waited."""
    config = replace(
        CONFIG,
        receivers=(OWNER, FLORA, replace(TEAM, sites=())),
        reminders_after=(timedelta(days=1),),
    )
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.mail(at(1, 0, 4, 1), "new", "r1").mail(at(2, 0, 5), "reminder", "r1")
    scene.fault("slack_auth", at(1), at(2, 1), code="invalid_auth")
    scene.post(at(2, 2), "reminder", "r1")
    receivers = tuple(
        ReceiverStatus(one.name, 0, {"team": sent, "owner": 2}.get(one.name, 0), 0)
        for one in config.receivers
    )
    return scene.add("statuses", a_status(at(3), receivers=receivers, open_reviews=1))


def threshold_lowered() -> Scene:
    scene = (
        Scene()
        .review("r1", at(1), rating=2)
        .read(at(1, 0, 4), "r1")
        .notify(at(1, 0, 4, 1), "new", "r1", after=2)
    )
    sites = (replace(CONFIG.sites[0], threshold=1), CONFIG.sites[1])
    return (
        scene.reload(at(2), replace(CONFIG, sites=sites))
        .read(at(2, 0, 4), "r1")
        .update(at(2, 0, 5), at(1, 0, 4, 1))
    )


def threshold_low_for_an_hour() -> Scene:
    """What is open is closed by the lower threshold, though nothing of it is read, and stays
    closed.
    """
    low = tuple(replace(site, threshold=1) for site in CONFIG.sites)
    scene = (
        Scene()
        .review("r1", at(1), rating=2)
        .read(at(1, 0, 4), "r1")
        .notify(at(1, 0, 4, 1), "new", "r1")
    )
    scene.reload(at(2), replace(CONFIG, sites=low)).reload(at(2, 1), CONFIG).read(at(2, 1, 4), "r1")
    return scene.add("statuses", a_status(at(3)))


def threshold_lowered_before_a_late_webhook() -> Scene:
    """The lower threshold has closed it, and a webhook of before it changed opens nothing."""
    low = tuple(replace(site, threshold=1) for site in CONFIG.sites)
    scene = Scene().review("r1", at(1), rating=2).change("r1", at(1, 0, 1), "voted")
    scene.read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1")
    scene.reload(at(2), replace(CONFIG, sites=low))
    scene.add("webhooks", Webhook(at(2, 12), "e1", "bakery", "r1", "created", 0, taken=True))
    return scene.add("statuses", a_status(at(3)))


def imported() -> Scene:
    return Scene().review("r1", at(1), review_date=at(-300)).read(at(1, 0, 4), "r1")


def several_at_once() -> Scene:
    """Between two reads a review was lowered and answered: alerter sees the end of it."""
    scene = (
        Scene()
        .review("r1", at(1), rating=2)
        .read(at(1, 0, 4), "r1")
        .notify(at(1, 0, 4, 1), "new", "r1", after=2)
    )
    scene.change("r1", at(2), "rating_changed", rating=1).change(
        "r1", at(2, 0, 1), "answered", reply="Sorry"
    )
    return scene.read(at(2, 0, 4), "r1").post(at(2, 0, 5), "closed", "r1", reason="answered")


def answered_before_it_left(mail: bool) -> Scene:
    """The mail server is down until after the answer: the mail is cancelled."""
    scene = Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").fault("smtp_down", at(1), at(1, 2))
    scene.post(at(1, 0, 4, 1), "new", "r1").change("r1", at(1, 1), "answered", reply="Sorry").read(
        at(1, 1, 4), "r1"
    )
    scene.post(at(1, 1, 4, 1), "closed", "r1").mail(
        at(1, 2, 1), "trouble", about="other:r1", to=FLORA.emails[0]
    )
    return scene.mail(at(1, 2, 1), "new", "r1") if mail else scene


def stale_page() -> Scene:
    scene = told_lowered()
    scene.reads.append(Read(at(2, 1), "bakery", "daemon", private=True, shown=(("r1", 0),)))
    return scene


def webhook_first(taken: bool = True) -> Scene:
    hook = Webhook(at(1, 0, 0, 5), "e1", "bakery", "r1", "created", 0, taken=taken)
    scene = Scene().review("r1", at(1)).add("webhooks", hook).read(at(1, 0, 4), "r1")
    return scene.notify(at(1, 0, 0, 6), "new", "r1")


def webhooks_late(*numbers: int) -> Scene:
    """A person answers a review that rose; webhooks of its states follow a day later."""
    scene = Scene().review("r1", at(1)).change("r1", at(1, 1), "rating_changed", rating=3)
    scene.run("reply", at(1, 2), review_id="r1").read(at(1, 2), "r1", by="reply")
    scene.change("r1", at(1, 2), "answered", reply="Thank you")
    for minute, number in enumerate(numbers):
        when, event = at(2, 0, minute), f"e{number}"
        scene.add("webhooks", Webhook(when, event, "bakery", "r1", "updated", number, taken=True))
    scene.notify(at(2, 0, 0, 5), "new", "r1")
    return scene.post(at(2, 0, 1, 5), "closed", "r1", reason="raised", in_thread=True)


def killed_in_a_webhook(killed: bool = True) -> Scene:
    """A webhook is recorded, and the daemon dies before it answers."""
    scene = webhook_first(taken=False)
    if killed:
        scene.daemon = [
            DaemonSpan(START, at(1, 0, 0, 5), "killed"),
            DaemonSpan(at(1, 0, 0, 6), None),
        ]
    return scene


def restored(backup: float) -> Scene:
    """A restore: what came after the backup may come again, what came before may not."""
    scene = alerted().run("restore", at(3), backup_taken=at(backup))
    return scene.read(at(3, 0, 10), "r1").notify(at(3, 0, 10, 1), "new", "r1")


def restored_in_trouble() -> Scene:
    """A backup from before the trouble is restored while it lasts."""
    scene = wix_down().notify(at(1, 0, 35), "trouble", about="site:bakery")
    scene.run("restore", at(1, 2), backup_taken=at(0, 12))
    return scene.notify(at(1, 5, 5), "recovered", about="site:bakery")


def held_and_restored(restored: bool) -> Scene:
    """A restore forgets what quiet hours hold, and only a backfill days later speaks of it."""
    config = quiet_night()
    scene = Scene(8, replace(config, receivers=(*config.receivers, BOSS)))
    scene.review("r1", at(1, 16)).read(at(1, 16, 4), "r1")
    scene.mail(at(1, 16, 4, 1), "new", "r1", to=BOSS.emails[0])
    if restored:
        scene.run("restore", at(1, 20), backup_taken=at(1, 8)).read(at(1, 20, 10), "r1")
    scene.run("backfill", at(6), since=at(0))
    scene.reads.append(Read(at(6, 0, 1), "bakery", "backfill", private=True, shown=(("r1", 0),)))
    if restored:
        scene.mail(at(6, 0, 1, 5), "new", "r1", to=BOSS.emails[0])
    return scene.notify(at(6, 0, 1, 5), "new", "r1")


def alerted_restored_and_backfilled(backup: float) -> Scene:
    """A restore forgets an alert; the next read records its review silently, a backfill alerts it."""
    scene = Scene(8).review("r1", at(1)).read(at(1, 0, 4), "r1").notify(at(1, 0, 4, 1), "new", "r1")
    scene.run("restore", at(3), backup_taken=at(backup)).read(at(3, 0, 10), "r1")
    scene.change("r1", at(4), "answered", reply="Sorry").read(at(4, 0, 4), "r1")
    scene.change("r1", at(5), "answer_removed", reply=None).read(at(5, 0, 4), "r1")
    scene.run("backfill", at(6), since=at(0))
    scene.reads.append(Read(at(6, 0, 1), "bakery", "backfill", private=True, shown=(("r1", 2),)))
    return scene.notify(at(6, 0, 1, 5), "new", "r1")


def unread_until_restored(written: datetime) -> Scene:
    """A site that is read again only a while after a restore, and a review that was written
    meanwhile or before.
    """
    scene = (
        Scene()
        .fault("wix_down", at(3), at(3, 0, 25))
        .run("restore", at(3, 0, 5), backup_taken=at(2, 23))
    )
    return scene.review("r1", written).read(at(3, 0, 26), "r1").read(at(3, 0, 41), "r1")


def webhooked_before_quiet_hours(*, restored: bool) -> Scene:
    """What was due before quiet hours, and waited for a restored site to be read, leaves in them."""
    scene = Scene(config=replace(quiet_night(), trouble_after=timedelta(hours=2)))
    scene.fault("wix_down", at(1, 13), at(1, 14, 40))  # until 20:40
    if restored:
        scene.run("restore", at(1, 13, 5), backup_taken=at(1, 12, 55))
    hook = Webhook(at(1, 13, 30, 5), "e1", "bakery", "r1", "created", 0, taken=True)
    scene.review("r1", at(1, 13, 30)).add("webhooks", hook)
    return scene.read(at(1, 14, 42), "r1").notify(at(1, 14, 42, 5), "new", "r1")


def narrowed(late: bool) -> Scene:
    """A receiver is narrowed to another site while a mail to it waits."""
    scene = (
        Scene(config=replace(CONFIG, receivers=(OWNER, FLORA)))
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
    )
    scene.fault("smtp_down", at(1), at(1, 0, 20))
    scene.reload(
        at(1, 0, 10), replace(CONFIG, receivers=(replace(OWNER, sites=("florist",)), FLORA))
    )
    return scene.mail(at(1, 0, 21), "new", "r1") if late else scene


def raised_minimum(late: bool) -> Scene:
    scene = Scene(config=replace(CONFIG, receivers=(OWNER, FLORA))).review("r1", at(1), rating=2)
    scene.read(at(1, 0, 4), "r1").fault("smtp_down", at(1), at(1, 0, 20))
    scene.reload(at(1, 0, 10), replace(CONFIG, receivers=(replace(OWNER, max_rating=1), FLORA)))
    return scene.mail(at(1, 0, 21), "new", "r1") if late else scene


def quiet_removed(hour: float) -> Scene:
    return at_night().reload(at(1, 18), CONFIG).notify(at(1, hour, 1), "new", "r1")


def soft_address(remind: bool) -> Scene:
    both = replace(OWNER, emails=("owner@bakery.test", "chef@bakery.test"))
    config = replace(CONFIG, receivers=(both, FLORA), reminders_after=(timedelta(days=1),))
    scene = Scene(config=config).review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.fault("smtp_address_soft", at(0, 12), at(4), address="chef@bakery.test").mail(
        at(1, 0, 5), "new", "r1"
    )
    scene.mail(at(1, 0, 40), "trouble", about="receiver:owner", to=FLORA.emails[0])
    return scene.mail(at(2, 0, 5), "reminder", "r1") if remind else scene


def soft_address_over(again: bool) -> Scene:
    """An address refuses for a moment; whether it gets the mail afterwards."""
    both = replace(OWNER, emails=("owner@bakery.test", "chef@bakery.test"))
    scene = Scene(config=replace(CONFIG, receivers=(both, FLORA)))
    scene.review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.fault("smtp_address_soft", at(1), at(1, 0, 10), address="chef@bakery.test")
    scene.mail(at(1, 0, 5), "new", "r1", message_id="<one@test>")
    if again:
        scene.mail(at(1, 0, 11), "new", "r1", message_id="<one@test>", to="chef@bakery.test")
    return scene


def disk_full_and_soft_address() -> Scene:
    """Of a full disk people are told directly, which is not tried again at an address that refuses."""
    both = replace(OWNER, emails=("owner@bakery.test", "chef@bakery.test"))
    scene = Scene(config=replace(CONFIG, receivers=(both, FLORA)))
    scene.fault("disk_full", at(1), at(1, 2))
    scene.fault("smtp_address_soft", at(1), at(1, 1), address="chef@bakery.test")
    for receiver in (OWNER, FLORA):
        scene.mail(at(1, 0, 40), "trouble", about="database", to=receiver.emails[0])
    for address in (*both.emails, *FLORA.emails):
        over = f"<{address.partition('@')[2]}>"
        scene.mail(at(1, 2, 9), "recovered", about="database", to=address, message_id=over)
    return scene


def after_changed(remind: bool) -> Scene:
    scene = alerted(config=replace(CONFIG, reminders_after=(timedelta(hours=6), timedelta(days=2))))
    scene.notify(at(1, 6, 4, 5), "reminder", "r1").reload(
        at(2), replace(CONFIG, reminders_after=(timedelta(days=2),))
    )
    return scene.notify(at(3, 0, 4, 5), "reminder", "r1") if remind else scene


def each(before: int) -> Scene:
    """A new review is alerted while a backfill sends message by message."""
    old = [f"old{number}" for number in range(40)]
    scene = Scene().run("backfill", at(1), since=at(-100), deliver="each")
    for one in old:
        scene.review(one, at(-20))
    shown = tuple((one, 0) for one in old)
    scene.reads[0] = replace(scene.reads[0], shown=shown)
    scene.reads.append(Read(at(1, 0, 1), "bakery", "backfill", private=True, shown=shown))
    scene.review("r1", at(1, 0, 1)).read(at(1, 0, 1, 10), "r1")
    new = at(1, 0, 1, 9) + timedelta(seconds=2 * before + 2)
    for number, one in enumerate(old):
        scene.notify(at(1, 0, 1, 10) + timedelta(seconds=2 * number), "new", one)
    return scene.notify(new, "new", "r1")


def with_summary(*days: float) -> Scene:
    scene = Scene().add("summaries", SummaryDue(at(1), "owner"), SummaryDue(at(2), "owner"))
    for day in days:
        scene.mail(at(day, 0, 1), "summary")
    return scene


def channel_moved(refused: bool) -> Scene:
    """The old channel refuses updates; new messages go on in the new one."""
    moved_team = replace(TEAM, channel="C2")
    scene = alerted().reload(at(2), replace(CONFIG, receivers=(OWNER, moved_team, FLORA)))
    scene.fault("slack_update_refused", at(2), at(4), channel="C1").review("r2", at(2, 6)).read(
        at(2, 6, 4), "r2"
    )
    scene.mail(at(2, 6, 5), "new", "r2")
    return scene if refused else scene.post(at(2, 6, 5), "new", "r2", channel="C2")


def one_mail_in_the_way(late: float) -> Scene:
    """One mail's answer is lost; another mail goes on."""
    scene = Scene(config=replace(CONFIG, receivers=(OWNER, FLORA)))
    scene.fault("smtp_dropped_after", at(1), at(3), review_id="r1").review("r1", at(1)).read(
        at(1, 0, 4), "r1"
    )
    for second in (1, 6, 66):
        scene.mail(at(1, 0, 4, second), "new", "r1", message_id="<one@test>", answered=False)
    scene.mail(at(1, 0, 6), "trouble", about="receiver:owner", to=FLORA.emails[0])
    return (
        scene.review("r2", at(1, 0, 6)).read(at(1, 0, 9), "r2").mail(at(1, late, 10), "new", "r2")
    )


def gone_receiver_updated() -> Scene:
    scene = alerted().reload(at(2), replace(CONFIG, receivers=(OWNER, FLORA)))
    return scene.update(at(3), at(1, 0, 4, 1))


def moved_and_renamed_updated() -> Scene:
    """A receiver moves to another channel, and gets another name: its old message is updated."""
    there = replace(TEAM, channel="C2")
    scene = alerted().reload(at(1, 12), replace(CONFIG, receivers=(OWNER, there, FLORA)))
    crew = replace(there, name="crew")
    scene.reload(at(2), replace(CONFIG, receivers=(OWNER, crew, FLORA)))
    return scene.update(at(3), at(1, 0, 4, 1))


def private_forbidden(shown: bool) -> Scene:
    """For an hour Wix does not let alerter see what is not published; then it is read again."""
    scene = Scene().fault("wix_private_forbidden", at(0, 20), at(0, 21))
    scene.review("r1", at(0, 22), moderation="IN_MODERATION")
    return scene.read(at(0, 22, 30), "r1").notify(at(0, 22, 31), "new", "r1") if shown else scene


def deleted_while_forbidden(*, private: bool) -> Scene:
    """A review is deleted while Wix shows only what is published, so that it is closed late: a read
    that does not find it closes nothing, but nobody is reminded of it.
    """
    scene = alerted(config=replace(CONFIG, reminders_after=(timedelta(hours=1),)))
    scene.fault("wix_private_forbidden", at(1, 0, 10), at(1, 2), site_id="bakery")
    scene.change("r1", at(1, 0, 30), "deleted", deleted=True, words=(), text="")
    seen = at(1, 3) if private else at(1, 1, 5)
    for when in (at(1, 1, 5), at(1, 3), at(1, 5)):
        read = Read(when, "bakery", "daemon", private=when > at(1, 2), absent=("r1",))
        scene.reads.append(read)
    scene.post(seen + timedelta(seconds=1), "closed", "r1", reason="gone", text="closed")
    return scene.update(seen + timedelta(seconds=3), at(1, 0, 4, 1))


def gone_for_a_day(told: bool) -> Scene:
    """Wix says: come back in a day."""
    scene = Scene().fault(
        "wix_throttled", at(1), at(1, 0, 10), site_id="bakery", retry_after=timedelta(days=1)
    )
    said = Attempt(at(1, 0, 4), "wix", "bakery", "query", "429", retry_after=timedelta(days=1))
    scene.add("attempts", said)
    if told:
        scene.notify(at(1, 0, 36), "trouble", about="site:bakery").notify(
            at(2, 0, 6), "recovered", about="site:bakery"
        )
    return scene


def read_after_429(path: str, *, killed: bool = False) -> Scene:
    """Wix asks to wait, for its store or for reviews; the reviews are read again soon."""
    wait = timedelta(hours=1)
    scene = Scene().fault("wix_throttled", at(1), at(1, 0, 10), site_id="bakery", retry_after=wait)
    scene.add("attempts", Attempt(at(1, 0, 4), "wix", "bakery", path, "429", retry_after=wait))
    if killed:
        died, again = at(1, 0, 4, 1), at(1, 0, 4, 6)
        scene.daemon = [DaemonSpan(START, died, "killed"), DaemonSpan(again, None)]
    return scene.read(at(1, 0, 20)).read(at(1, 0, 50))


def closed_by_a_lie() -> Scene:
    """Wix answered wrongly that a review is not there."""
    scene = reminded()
    scene.parts["slack"].pop()
    scene.parts["mails"].pop()
    return scene.read(at(1, 6), absent=("r1",), wrong=True)


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
        scene.mail(at(1, 0, 4, 11 + 2 * second), "new", one).post(
            at(1, 0, 4, 11 + 2 * second), "new", one
        )
    return scene


def config_refused() -> Scene:
    scene = Scene()
    scene.configs.append(ConfigVersion(at(1), CONFIG, None))
    return scene


def locked() -> Scene:
    return Scene().fault("state_locked", at(1), at(1, 3))


def told_at_start(how: Literal["start", "reload"]) -> Scene:
    """A start that finds the database locked notifies by the config that it has read."""
    scene = Scene().fault("state_locked", at(1), at(1, 3))
    moved = replace(CONFIG, receivers=(replace(OWNER, emails=("new@bakery.test",)), TEAM, FLORA))
    scene.configs.append(ConfigVersion(at(1), moved, at(1, 3), how))
    scene.mail(at(1, 0, 5), "trouble", to="new@bakery.test", about="database")
    return scene.mail(at(1, 3, 0, 5), "recovered", to="new@bakery.test", about="database")


def parked_in_a_hurry() -> Scene:
    refused = Attempt(
        at(1, 0, 14),
        "slack",
        "C1",
        "chat.postMessage",
        "channel_not_found",
        items=(Item("new", "r1"),),
    )
    return parked().add("attempts", refused)


def parked_while_locked() -> Scene:
    return parked_in_a_hurry().fault("state_locked", at(1, 0, 5), at(1, 0, 20))


def erasure_refused() -> Scene:
    scene = alerted(8).change("r1", at(2), "deleted", deleted=True, words=(), text="")
    scene.read(at(2, 0, 4), absent=("r1",)).read(at(2, 2), absent=("r1",))
    return scene.fault("slack_update_refused", at(2), at(7), channel="C1")


def erasure_refused_while_parked(*, lasts: bool) -> Scene:
    """A channel refuses everything two days before a review is deleted, and people know of it."""
    scene = alerted(9).change("r1", at(4), "deleted", deleted=True, words=(), text="")
    scene.read(at(4, 0, 4), absent=("r1",)).read(at(4, 2), absent=("r1",))
    scene.fault("slack_channel_refused", at(2), at(9), channel="C1", code="is_archived")
    scene.mail(at(2, 0, 1), "trouble", about="receiver:team")
    return scene if lasts else scene.mail(at(2, 12), "recovered", about="receiver:team")


def deleted_at_rest(keep: int) -> Scene:
    """A review is deleted 21 days after its alert, when nobody follows it."""
    days = timedelta(days=10)
    scene = alerted(60, replace(CONFIG, keep=keep * days, rescan_window=days))
    return scene.change("r1", at(22), "deleted", deleted=True, words=(), text="")


def old_words() -> Scene:
    config = replace(CONFIG, keep=timedelta(days=30))
    return alerted(100, config).add("storage", Storage(at(99), (("r1", "word-r1-0", "db"),)))


def changed_while_its_site_is_away(*, away: bool) -> Scene:
    """A webhook shows a change of a review when its site has left the config; a read, 50 days later."""
    config = replace(CONFIG, keep=timedelta(days=30))
    scene = alerted(130, config).change("r1", at(10), "voted")
    scene.add("webhooks", Webhook(at(10), "e1", "bakery", "r1", "updated", 1, taken=True))
    if away:
        scene.reload(at(9), replace(config, sites=CONFIG.sites[1:])).reload(at(59), config)
    scene.read(at(60), "r1")
    return scene.add("storage", Storage(at(90), (("r1", "word-r1-0", "db"),)))


def recorded_at_a_raise(rating: int) -> Scene:
    """A webhook shows a review 50 days before the threshold is raised to its rating."""
    config = replace(CONFIG, keep=timedelta(days=30))
    sites = tuple(replace(site, threshold=3) for site in CONFIG.sites)
    scene = Scene(130, config).review("r1", at(10), rating=rating)
    scene.add("webhooks", Webhook(at(10), "e1", "bakery", "r1", "created", 0, taken=True))
    if rating <= 2:
        scene.notify(at(10, 0, 0, 1), "new", "r1")
    scene.reload(at(60), replace(config, sites=sites)).read(at(60, 0, 1), "r1")
    return scene.add("storage", Storage(at(90), (("r1", "word-r1-0", "db"),)))


def looked_at_before_a_raise(rating: int) -> Scene:
    """A reply looks at a review, and is refused; 50 days later the threshold is raised to it."""
    config = replace(CONFIG, keep=timedelta(days=30))
    sites = tuple(replace(site, threshold=3) for site in CONFIG.sites)
    scene = Scene(130, config).review("r1", at(9), rating=rating).run("reply", at(10))
    if rating <= 2:
        scene.read(at(9, 0, 1), "r1").notify(at(9, 0, 1, 1), "new", "r1")
    scene.read(at(10, 0, 0, 1), "r1", by="reply")
    scene.reload(at(60), replace(config, sites=sites)).read(at(60, 0, 1), "r1")
    return scene.add("storage", Storage(at(90), (("r1", "word-r1-0", "db"),)))


def old_words_of_what_failed(name: str, item: Item | None = None) -> Scene:
    """A mail about an old review was refused, and `status` shows a failed delivery of a receiver."""
    scene = old_words().fault("smtp_message_refused", at(2), at(2, 1), review_id="r1")
    items = (item or Item("reminder", "r1"),)
    scene.add("attempts", Attempt(at(2), "smtp", OWNER.emails[0], outcome="554", items=items))
    scene.post(at(2, 0, 1), "trouble", about="receiver:owner/messages")
    receivers = tuple(
        ReceiverStatus(one.name, 0, 0, int(one.name == name)) for one in CONFIG.receivers
    )
    troubles = ("receiver:owner/messages",)
    return scene.add(
        "statuses", a_status(at(98), 1, receivers=receivers, failed=1, troubles=troubles)
    )


def new_after_lowered() -> Scene:
    scene = Scene().review("r1", at(1), rating=2).read(at(1, 0, 4), "r1")
    scene.change("r1", at(1, 0, 5), "rating_changed", rating=1).read(at(1, 0, 8), "r1")
    scene.notify(at(1, 0, 8, 1), "lowered", "r1", before=2, after=1)
    return scene.notify(at(1, 0, 9), "new", "r1", after=2)


def failed_and_not_told() -> Scene:
    receivers = tuple(
        ReceiverStatus(one.name, 0, 0, int(one.name == "owner")) for one in CONFIG.receivers
    )
    return Scene().add("statuses", a_status(at(2), 1, receivers=receivers, failed=1))


def waiting() -> Scene:
    receivers = tuple(
        ReceiverStatus(one.name, int(one.name == "owner"), 0, 0) for one in CONFIG.receivers
    )
    return Scene().add("statuses", a_status(at(2), receivers=receivers, pending=1))


def sent_of_nothing() -> Scene:
    receivers = tuple(ReceiverStatus(one.name, 0, 5, 0) for one in CONFIG.receivers)
    return Scene().add("statuses", a_status(at(2), receivers=receivers, sent=15))


def two_reminders_in_one(sent: int) -> Scene:
    """A reminder in a digest stands for a shorter one too, which quiet hours had held."""
    day = (QuietHours(time(8), time(21), "Europe/Berlin"),)
    config = replace(
        CONFIG,
        receivers=(replace(OWNER, quiet=day), replace(TEAM, quiet=day), FLORA),
        reminders_after=(timedelta(hours=1), timedelta(hours=12)),
    )
    scene = alerted(config=config).notify(at(1, 14, 5), "reminder", "r1")
    receivers = tuple(
        ReceiverStatus(one.name, 0, sent if one is not FLORA else 0, 0) for one in CONFIG.receivers
    )
    return scene.add("statuses", a_status(at(3), receivers=receivers, sent=6, open_reviews=1))


def renamed() -> Scene:
    """A receiver moves, then is renamed: `status` shows under the new name what came before."""
    there = replace(OWNER, emails=("new@bakery.test",))
    scene = alerted().reload(at(1, 12), replace(CONFIG, receivers=(there, TEAM, FLORA)))
    boss = replace(there, name="boss")
    scene.reload(at(2), replace(CONFIG, receivers=(boss, TEAM, FLORA)))
    sent = (
        ReceiverStatus("boss", 0, 1, 0),
        ReceiverStatus("team", 0, 1, 0),
        ReceiverStatus("flora", 0, 0, 0),
    )
    return scene.add("statuses", a_status(at(3), receivers=sent, sent=2, open_reviews=1))


def renamed_in_trouble() -> Scene:
    """A receiver is renamed during a trouble, and the same address is told of its end."""
    scene = wix_down().notify(at(1, 0, 35), "trouble", about="site:bakery")
    boss = replace(OWNER, name="boss")
    scene.reload(at(1, 2), replace(CONFIG, receivers=(boss, TEAM, FLORA)))
    return scene.notify(at(1, 5, 5), "recovered", about="site:bakery")


def renamed_and_reopened(asks: bool) -> Scene:
    """A receiver is renamed before the answer is taken back: it is asked again, under its new name."""
    scene = answered().reload(
        at(2, 12), replace(CONFIG, receivers=(replace(OWNER, name="boss"), TEAM, FLORA))
    )
    scene.change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")
    scene.update(at(3, 0, 4, 1), at(1, 0, 4, 1))
    return scene.mail(at(3, 0, 9), "reminder", "r1") if asks else scene


def reopened_without_its_keyword(*, mail: bool = True, hook: bool = True) -> Scene:
    """A review loses the word of its receivers while it is closed; then its answer is removed."""
    words = ("word-r1-0",)
    program = Receiver(
        "hook", posted="webhook", address="hook-1", sites=("bakery",), keywords=words
    )
    receivers = (replace(OWNER, keywords=words), program, FLORA)
    scene = Scene(config=replace(CONFIG, receivers=receivers))
    scene.review("r1", at(1)).read(at(1, 0, 4), "r1")
    scene.change("r1", at(2), "answered", reply="Sorry").read(at(2, 0, 4), "r1")
    scene.change("r1", at(2, 6), "edited").read(at(2, 6, 4), "r1")
    scene.change("r1", at(3), "answer_removed", reply=None).read(at(3, 0, 4), "r1")
    kinds: tuple[AlertKind, ...] = ("new", "closed", "reminder")
    for day, kind in enumerate(kinds if hook else kinds[:2], 1):
        item, when = Item(kind, "r1"), at(day, 0, 4, 1)
        scene.add("posted", Posted(when, "webhook", "hook-1", "post", f"msg_{day}", (item,)))
    scene.mail(at(1, 0, 4, 1), "new", "r1")
    return scene.mail(at(3, 0, 4, 1), "reminder", "r1") if mail else scene


def unread_site() -> SiteStatus:
    return SiteStatus("bakery", at(1), trouble=False, open_reviews=0)


def two_addresses() -> Scene:
    both = replace(OWNER, emails=("owner@bakery.test", "chef@bakery.test"))
    return alerted(config=replace(CONFIG, receivers=(both, TEAM, FLORA)))


def mail_retried_under_another_id() -> Scene:
    scene = (
        Scene()
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .fault("smtp_dropped_before", at(1), at(1, 0, 10))
    )
    items, owner = (Item("new", "r1"),), OWNER.emails[0]
    for second in (1, 6, 66):
        scene.add(
            "attempts",
            Attempt(at(1, 0, 4, second), "smtp", owner, None, "dropped", "<one@test>", items),
        )
    return (
        scene.post(at(1, 0, 4, 1), "new", "r1")
        .run("retry", at(1, 1))
        .mail(at(1, 1, 0, 1), "new", "r1")
    )


def refused_and_retried(told: bool) -> Scene:
    """A message is refused, has failed, and leaves with a `retry` a day later."""
    refused = Attempt(
        at(1, 0, 4, 1),
        "slack",
        "C1",
        "chat.postMessage",
        "invalid_blocks",
        items=(Item("new", "r1"),),
    )
    scene = (
        Scene()
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .fault("slack_message_refused", at(1), at(1, 1))
    )
    scene.mail(at(1, 0, 4, 1), "new", "r1").add("attempts", refused).run("retry", at(2)).post(
        at(2, 0, 1), "new", "r1"
    )
    return scene.mail(at(1, 0, 5), "trouble", about="receiver:team") if told else scene


def post_in_doubt_forgotten() -> Scene:
    """A post was dropped before Slack took it, and that was that."""
    scene = (
        Scene()
        .review("r1", at(1))
        .read(at(1, 0, 4), "r1")
        .fault("slack_dropped_before", at(1), at(1, 0, 10))
    )
    dropped = Attempt(
        at(1, 0, 4, 1), "slack", "C1", "chat.postMessage", "dropped", items=(Item("new", "r1"),)
    )
    return scene.mail(at(1, 0, 4, 1), "new", "r1").add("attempts", dropped)


def unread_status(when: datetime) -> Status:
    """What `status` shows of a site that is not read."""
    sites = (
        SiteStatus("bakery", at(1), trouble=True, open_reviews=0),
        SiteStatus("florist", when, False, 0),
    )
    return a_status(when, 1, sites=sites, troubles=("site:bakery",))
