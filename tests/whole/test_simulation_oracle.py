"""The oracle of the simulator: a good history passes, and every rule finds a history that breaks
it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.simulation import oracle
from tests.simulation.history import (
    Attempt,
    Storage,
)
from tests.simulation.oracle import restore_scenes, trouble_scenes
from tests.simulation.oracle.cluster_scenes import (
    clustered,
    clustered_and_restored,
    clustered_in_a_digest,
    clustered_twice,
    clustered_with_another_site,
    of_cluster,
)
from tests.simulation.oracle.ideal import Ideal
from tests.simulation.oracle.rules import RULES
from tests.simulation.oracle.scene import BOSS, CONFIG, OWNER, Scene, a_status, at
from tests.simulation.oracle.scenes import (
    after_changed,
    alerted,
    alerted_restored_and_backfilled,
    answered,
    answered_after_a_webhook_moved,
    answered_after_mails,
    answered_at_a_lower_threshold,
    answered_at_a_raise,
    answered_before_it_left,
    answered_while_in_doubt,
    answered_with_a_reminder_in_doubt,
    at_night,
    backfilled,
    baseline,
    changed_while_its_site_is_away,
    channel_moved,
    closed_before_the_round_of_its_escalation,
    closed_by_a_lie,
    config_refused,
    deleted_at_rest,
    deleted_while_forbidden,
    disk_full_and_soft_address,
    each,
    edited,
    edited_after_anonymized,
    edited_after_wix_left_out,
    erased,
    erased_after_a_restore,
    erasure_refused,
    erasure_refused_while_parked,
    escalated,
    explained,
    failed_and_not_told,
    gone_for_a_day,
    gone_receiver_updated,
    held,
    held_and_restored,
    held_by_a_wrong_clock,
    imported,
    in_digests,
    in_the_thread,
    killed_before_the_commit,
    killed_in_a_webhook,
    killed_in_the_call,
    late_one,
    left_in_trouble,
    locked,
    looked_at_before_a_raise,
    lowered,
    lowered_after_a_backfill,
    lowered_in_a_backfill,
    lowered_in_quiet_hours,
    lowered_twice_while_mail_is_down,
    lowered_while_slack_is_down,
    mail_in_doubt,
    mail_retried_under_another_id,
    many,
    moved,
    moved_and_renamed_updated,
    narrowed,
    new_after_lowered,
    new_in_a_backfill,
    old_words,
    old_words_of_what_failed,
    one_by_one,
    one_mail_in_the_way,
    parked,
    parked_in_a_hurry,
    parked_while_locked,
    post_in_doubt,
    post_in_doubt_forgotten,
    private_forbidden,
    quiet_removed,
    raised_before_it_was_written_down,
    raised_minimum,
    raised_while_unread,
    read_after_429,
    recorded_at_a_raise,
    recovered_on_slack,
    refused_after_a_snooze,
    refused_since_before_a_rename,
    reminded,
    reminded_after_quiet_hours,
    reminded_at_a_kill,
    reminded_of_what_waited,
    reminded_with_a_lowered,
    renamed,
    renamed_and_reopened,
    renamed_at_night,
    renamed_in_trouble,
    reopened,
    reopened_after,
    reopened_in_quiet_hours,
    reopened_without_its_keyword,
    restored,
    restored_in_trouble,
    retried_and_restored,
    sent_of_nothing,
    several_at_once,
    site_leaves_after_a_change,
    slack_down,
    slack_down_told,
    snoozed_again,
    snoozed_until_quiet_hours,
    soft_address,
    soft_address_over,
    stale_page,
    stored,
    threshold,
    threshold_low_for_an_hour,
    threshold_lowered,
    threshold_lowered_before_a_late_webhook,
    throttled,
    throttled_and_refused,
    told_at_start,
    told_directly,
    told_late_of_an_end,
    told_lowered,
    told_to_others,
    told_to_the_site,
    twice_in_an_hour,
    two_addresses,
    two_reminders_in_one,
    unconfirmed_webhook,
    unknown_to_explain,
    unread_at_a_raise,
    unread_site,
    unread_status,
    unread_until_restored,
    waiting,
    waiting_while_its_site_leaves,
    webhook_first,
    webhooked_before_quiet_hours,
    webhooks_late,
    with_summary,
    wix_down,
    wix_down_told,
)

QUERY = "/reviews/v1/reviews/query"
GOOD: dict[str, Callable[[], Scene]] = {
    "nothing happens": Scene,
    "everybody is notified of a new review": alerted,
    "an answer closes it": answered,
    "a rating falls": told_lowered,
    "the baseline is silent": baseline,
    "a reminder comes after its span": reminded,
    "the last reminder goes to the boss too": lambda: escalated()
    .mail(at(2, 0, 4, 10), "reminder", "r1", to=BOSS.emails[0]),
    "a claim holds a reminder": lambda: held("claim", at(3, 12))
    .notify(at(3, 12, 4), "reminder", "r1"),
    "one reminder follows a snooze": lambda: held("snooze", at(2, 12))
    .notify(at(2, 12, 4), "reminder", "r1"),
    "a mail shows what is so when it leaves": lambda: lowered_twice_while_mail_is_down(after=1),
    "a snooze ends, and quiet hours hold": lambda: snoozed_until_quiet_hours(reminds=True),
    "a snooze after a snooze has one reminder": lambda: snoozed_again()
    .notify(at(2, 2, 4), "reminder", "r1"),
    "many leave as a digest": in_digests,
    "a mail in doubt goes out three times": mail_in_doubt,
    "a post in doubt is repeated and says so": post_in_doubt,
    "Wix is down and somebody is told": wix_down_told,
    "an end comes while the fault is back": lambda: told_late_of_an_end(followed=True),
    "a renamed receiver is told that it is over": renamed_in_trouble,
    "a trouble may be over after a restore": restored_in_trouble,
    "trouble of a site goes to those who get its alerts": told_to_the_site,
    "a backfill finds that a rating fell": lowered_in_a_backfill,
    "a threshold that is raised while a site is not read": raised_while_unread,
    "a receiver on Slack is reached again while mail is not": recovered_on_slack,
    "a refused channel that is only seen throttled": throttled_and_refused,
    "Wix is down for a moment": lambda: wix_down(0.2),
    "Slack is down and the mail tells": slack_down_told,
    "what is deleted is gone": erased,
    "what a wrong clock held waits for the end of quiet hours": lambda: held_by_a_wrong_clock(1),
    "what cannot be written down is not parked": parked_while_locked,
    "a held alert goes to the new name of its receiver": renamed_at_night,
    "of what was at rest for long no message is updated": lambda: reopened_after(0.9),
    "of what counts as anonymized no text is shown": lambda: edited_after_wix_left_out(author=True),
    "of what was anonymized no later text is shown": lambda: edited_after_anonymized(erased=True),
    "a reminder waits for the round and for quiet hours": lambda: reminded_after_quiet_hours(14.1),
    "reminders count from what asks again": lambda: reopened_in_quiet_hours(reminds=True),
    "what a command has queued leaves soon": lambda: waiting().run("reply", at(1, 23, 58)),
    "a start tells by the config that it has read": lambda: told_at_start("start"),
    "quiet hours hold": lambda: at_night().notify(at(2, 1, 0, 5), "new", "r1"),
    "a receiver that replaces another gets what waits": lambda: moved()
    .mail(at(1, 0, 21), "new", "r1", to=BOSS.emails[0]),
    "a backfill speaks of the past": backfilled,
    "what a backfill finds is new and reminded of": new_in_a_backfill,
    "a late one says that it is older": lambda: late_one().notify(at(2, 13, 0, 1), "new", "r2",
    says_older=True),
    "the difference of a raised threshold moves no checkpoint": lambda: unread_at_a_raise()
    .notify(at(3, 0, 5, 1), "new", "r1"),
    "an answer that is taken back asks again": reopened,
    "a new text updates the message": edited,
    "a refused channel is parked": parked,
    "a throttled method waits": throttled,
    "a closing on Slack that only updates its message": lambda: in_the_thread(updated=True),
    "a quiet closing in its thread": lambda: in_the_thread(in_thread=True),
    "explain says what is so": explained,
    "an open review keeps its words": lambda: stored(("r1", "word-r1-0", "db")),
    "status shows what is open": lambda: alerted().add("statuses", a_status(at(3), open_reviews=1)),
    "status exits 1 while a site is not read": lambda: wix_down_told().add("statuses",
    unread_status(at(1, 4))),
}  # fmt: skip

GOOD |= {
    "a restore has alerter forget a cluster": lambda: clustered_and_restored(taken=at(1, 1)),
    "a cluster names its reviews": lambda: clustered("r1", "r2", "r3"),
    "killed in the call": killed_in_the_call,
    "killed before the commit": killed_before_the_commit,
    "a raised threshold says nothing of what is open": lambda: threshold(3),
    "a lowered threshold closes silently": threshold_lowered,
    "an import is silent": imported,
    "lowered and answered between two reads": several_at_once,
    "what was not sent is cancelled by an answer": lambda: answered_before_it_left(mail=False),
    "a stale page changes nothing": stale_page,
    "a webhook comes before the poll": webhook_first,
    "late webhooks of two states are taken": lambda: webhooks_late(0, 1),
    "a webhook is recorded, and the daemon dies before it answers": killed_in_a_webhook,
    "a restore forgets an alert, and a backfill sends it": lambda: alerted_restored_and_backfilled(
        0.5
    ),
    "a site leaves the config before a change is read": site_leaves_after_a_change,
    "what a raised threshold covers later is past": lambda: answered_at_a_raise(at(1)),
    "what a lowered threshold has closed": answered_at_a_lower_threshold,
    "a digest entry stands for two reminders": lambda: two_reminders_in_one(sent=3),
    "a rating falls after a backfill": lambda: lowered_after_a_backfill(remind=True),
    "a site may have left the config while nothing ran": lambda: unknown_to_explain(running=False),
    "a digest has one entry for a review": lambda: lowered_while_slack_is_down(digest=True),
    "a digest may have one entry in all": lambda: lowered_in_quiet_hours(digest=True),
    "a reminder after a snooze may have failed": lambda: refused_after_a_snooze(tried=True),
    "a restore may not know of a retry": lambda: retried_and_restored(before=True),
    "a restore may repeat what came after the backup": lambda: restored(0.5),
    "what came before a restore is recorded": lambda: unread_until_restored(at(3, 0, 1)),
    "what came after a restore is alerted": lambda: unread_until_restored(at(3, 0, 20)).notify(
        at(3, 0, 27), "new", "r1"
    ),
    "what a receiver may not get any more is cancelled": lambda: narrowed(late=False),
    "a lower maximum cancels too": lambda: raised_minimum(late=False),
    "a read by id moves no checkpoint": lambda: late_one(by_id=True).notify(
        at(2, 13.1), "new", "r2"
    ),
    "what was due before quiet hours": lambda: webhooked_before_quiet_hours(restored=True),
    "quiet hours that are removed hold nothing": lambda: quiet_removed(18),
    "an address that was refused for now gets the mail later": lambda: soft_address_over(
        again=True
    ),
    "a direct mail is not tried again": disk_full_and_soft_address,
    "an address that is refused for now holds up none": lambda: soft_address(remind=True),
    "a changed span keeps its reminder": lambda: after_changed(remind=True),
    "what is new passes a backfill": lambda: each(2),
    "a summary a day": lambda: with_summary(1, 2),
    "an update that is refused parks nothing": lambda: channel_moved(refused=False),
    "a mail in doubt holds up none": lambda: one_mail_in_the_way(0),
    "nobody is reminded of what is not found": lambda: deleted_while_forbidden(private=True),
    "unpublished reviews are read again": lambda: private_forbidden(shown=True),
    "a renamed receiver keeps what it was sent": renamed,
    "never low-rated while it could be written": raised_before_it_was_written_down,
    "a restore forgets what was held": lambda: held_and_restored(restored=True),
    "a reminder in doubt shows the answer": lambda: answered_with_a_reminder_in_doubt("<one@test>"),
    "a reminder may be in doubt after a kill": lambda: reminded_at_a_kill(2.01),
    "a mail in doubt says that its review was answered": lambda: answered_while_in_doubt(
        killed=True
    ),
    "what waits when its site leaves the config is sent": lambda: waiting_while_its_site_leaves(
        narrowed=False
    ),
    "a renamed receiver's message is updated where it was": moved_and_renamed_updated,
    "what was sent is asked again, whatever its words are now": reopened_without_its_keyword,
    "only by mail has one reminder to ask again": lambda: reopened_without_its_keyword(hook=False),
    "a renamed receiver is asked again": lambda: renamed_and_reopened(asks=True),
    "others receive trouble while the one marked for it is not reached": told_to_others,
    "a lowered threshold closes without a read": threshold_low_for_an_hour,
    "a late webhook opens nothing again": threshold_lowered_before_a_late_webhook,
    "throttled for a day, and told": lambda: gone_for_a_day(told=True),
    "what has failed keeps its review": lambda: old_words_of_what_failed("owner"),
    "what has failed keeps its cluster": lambda: old_words_of_what_failed(
        "owner", of_cluster("r1")
    ),
    "nobody is notified twice of a channel that refuses": lambda: erasure_refused_while_parked(
        lasts=True
    ),
    "of what was at rest the messages are forgotten": lambda: deleted_at_rest(1),
    "who leaves in trouble misses its end": lambda: left_in_trouble(left=True),
    "of what may have failed no end is sent": lambda: answered_after_mails(confirmed=False),
    "who moves to Teams gets no end": lambda: answered_after_a_webhook_moved("teams"),
    "of what may have failed no one is reminded": lambda: unconfirmed_webhook(confirmed=False),
    "a webhook of a site that left shows nothing": lambda: changed_while_its_site_is_away(
        away=True
    ),
    "the store alone throttles": lambda: read_after_429("/stores/v3/provision/version"),
    "Slack fails after it may have taken a message": lambda: told_directly("503"),
    "a refusal is of the receiver's new name": lambda: refused_since_before_a_rename(notified=True),
    "what is answered before its round does not escalate": (
        closed_before_the_round_of_its_escalation
    ),
    "a digest shows the news and not the reminder": lambda: reminded_with_a_lowered(digest=True),
    "a review rests from when a raised threshold has it recorded": lambda: recorded_at_a_raise(3),
    "a look of a command records nothing": lambda: looked_at_before_a_raise(3),
    "killed before it noted a throttle": lambda: read_after_429(QUERY, killed=True),
}
GOOD |= trouble_scenes.GOOD | restore_scenes.GOOD


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_passes(name: str) -> None:
    assert [str(violation) for violation in oracle.judge(GOOD[name]().history())] == []


BAD: list[tuple[str, Callable[[], Scene]]] = [
    # 1, 2, 3, 4 and triage: who is notified of what
    ("lost", many),
    ("lost", lowered),
    ("lost", lambda: alerted().review("r2", at(2)).read(at(2, 0, 4), "r2").mail(at(2, 0, 5),
    "new", "r2")),
    ("lost", lambda: moved(OWNER)),
    ("lost", lambda: answered().change("r1", at(3), "answer_removed", reply=None).read(at(3, 0,
    4), "r1")),
    ("lost", lambda: renamed_and_reopened(asks=False)),
    ("lost", lambda: reopened_without_its_keyword(mail=False)),
    ("lost", late_one),
    ("late", lambda: held_by_a_wrong_clock(4)),
    ("late", lambda: held_and_restored(restored=False)),
    ("quiet", lambda: webhooked_before_quiet_hours(restored=False)),
    ("late", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1").notify(at(1, 3), "new",
    "r1")),
    ("repeated", lambda: alerted().mail(at(1, 1), "new", "r1")),
    ("repeated", lambda: alerted().post(at(1, 1), "new", "r1")),
    ("repeated", lambda: alerted().post(at(1, 1), "new", "r1", after=1, says_repeat=True)),
    ("repeated", lambda: post_in_doubt().post(at(1, 0, 40), "new", "r1", says_repeat=True)),
    ("repeated", lambda: alerted().mail(at(1, 1), "new", "r1",
    message_id=f"<{at(1, 0, 4, 1).timestamp()}@test>")),
    ("repeated", lambda: told_lowered().mail(at(2, 1), "lowered", "r1", before=2, after=1)),
    ("past", lambda: baseline().mail(at(0, 2, 1), "new", "r0")),
    ("not_due", lambda: alerted().notify(at(2), "lowered", "r1", before=2, after=1)),
    ("not_due", lambda: Scene().review("r1", at(1), rating=5).read(at(1, 0, 4), "r1").mail(at(1,
    0, 5), "new", "r1")),
    ("closed_to_none", lambda: answered_while_in_doubt(killed=False)),
    ("closed_to_none", lambda: answered_with_a_reminder_in_doubt("<two@test>")),
    ("closed_to_none", lambda: reminded_at_a_kill(1.9)),
    ("not_due", lambda: waiting_while_its_site_leaves(narrowed=True)),
    ("wrong_details", lambda: lowered().notify(at(2, 0, 4, 1), "lowered", "r1", before=5, after=1)),
    ("wrong_details", lambda: alerted().change("r1", at(2), "answered", reply="Sorry").read(at(2,
    0, 4), "r1")
     .post(at(2, 0, 4, 1), "closed", "r1", reason="gone")),
    ("wrong_details", lambda: lowered_twice_while_mail_is_down(after=3)),
    ("closed_to_none", lambda: answered().mail(at(2, 0, 5), "closed", "r1", reason="answered")),
    ("closed_to_none", lambda: alerted().post(at(2, 0, 4, 1), "closed", "r1", reason="gone")),
    ("after_closing", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4),
    "r1").fault("smtp_down", at(1), at(1, 2))
     .post(at(1, 0, 4, 1), "new", "r1").change("r1", at(1, 1), "answered",
     reply="Sorry").read(at(1, 1, 4), "r1")
     .post(at(1, 1, 4, 1), "closed", "r1").mail(at(1, 2, 1), "new", "r1")),
    ("out_of_order", new_after_lowered),
    ("older_unsaid", lambda: late_one().notify(at(2, 13, 0, 1), "new", "r2")),
    ("older_unsaid", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .notify(at(1, 0, 5), "new", "r1", says_older=True)),
    ("quiet", lambda: at_night().notify(at(1, 16, 5), "new", "r1")),
    ("rerouted_lost", moved),
    ("reminder_missing", lambda: alerted(config=replace(CONFIG,
    reminders_after=(timedelta(days=1),)))),
    ("reminder_early", lambda: reminded().mail(at(1, 6), "reminder", "r1")),
    ("reminder_too_many", lambda: reminded().mail(at(2, 6), "reminder", "r1")),
    ("reminder_after_closing", lambda: answered().mail(at(2, 1), "reminder", "r1")),
    ("backfill_reminded", lambda: backfilled().mail(at(2, 6), "reminder", "r0")),
    ("reminder_missing", lambda: lowered_after_a_backfill(remind=False)),
    ("closed_to_none", lambda: deleted_while_forbidden(private=False)),
    ("escalation_missing", escalated),
    ("reminder_held", lambda: held("claim", at(3, 12)).notify(at(2, 0, 4), "reminder", "r1")),
    ("reminder_held", lambda: held("snooze", at(3, 12)).notify(at(2, 0, 4), "reminder", "r1")),
    ("snooze_forgotten", lambda: held("snooze", at(1, 18))),
    ("snooze_forgotten", snoozed_again),
    ("snooze_forgotten", lambda: refused_after_a_snooze(tried=False)),
    ("snooze_forgotten", lambda: snoozed_until_quiet_hours(reminds=False)),
    ("not_read", lambda: Scene().review("r1", at(1))),
    ("not_read", lambda: alerted().change("r1", at(2), "answered", reply="Sorry")),
    ("not_updated", lambda: alerted().change("r1", at(2), "edited").read(at(2, 0, 4), "r1")),
    ("repeated", lambda: killed_in_the_call().post(at(1, 0, 11), "new", "r1")),
    ("past", lambda: imported().mail(at(1, 0, 5), "new", "r1")),
    ("after_closing", lambda: answered_before_it_left(mail=True)),
    ("repeated", lambda: stale_page().notify(at(2, 1, 1), "lowered", "r1", before=1, after=1)),
    ("repeated", lambda: restored(2)),
    ("lost", lambda: answered_at_a_raise(at(2, 2))),
    ("lost", lambda: lowered_while_slack_is_down(digest=False)),
    ("lost", lambda: lowered_in_quiet_hours(digest=False)),
    ("reminder_missing", lambda: retried_and_restored(before=False)),
    ("repeated", lambda: alerted_restored_and_backfilled(2)),
    ("not_due", lambda: killed_in_a_webhook(killed=False)),
    ("closed_to_none", lambda: webhooks_late(0)),
    ("lost", lambda: unread_until_restored(at(3, 0, 20))),
    ("foreign", lambda: narrowed(late=True)),
    ("not_due", lambda: raised_minimum(late=True)),
    ("late", lambda: quiet_removed(25)),
    ("reminder_missing", lambda: soft_address(remind=False)),
    ("reminder_missing", lambda: reminded_with_a_lowered(digest=False)),
    ("reminder_missing", lambda: after_changed(remind=False)),
    ("reminder_missing", closed_by_a_lie),
    ("not_updated", lambda: reopened_after(365)),
    ("not_updated", lambda: edited_after_wix_left_out(author=False)),
    ("not_updated", lambda: edited_after_anonymized(erased=False)),
    ("reminder_missing", lambda: reminded_after_quiet_hours(18)),
    ("reminder_missing", lambda: reopened_in_quiet_hours(reminds=False)),
    ("closed_to_none", lambda: closed_by_a_lie().post(at(1, 6, 1), "closed", "r1", reason="gone")),
    ("lost", lambda: channel_moved(refused=True)),
    ("late", lambda: one_mail_in_the_way(5)),
    ("closed_to_none", lambda: threshold_lowered().post(at(2, 0, 6), "closed", "r1",
    reason="raised")),
    ("foreign", gone_receiver_updated),
    ("not_read", lambda: private_forbidden(shown=False)),
    ("not_read", lambda: Scene().review("r1", at(1)).fault("clock_step", at(0, 12), at(2))),
    ("silent", lambda: gone_for_a_day(told=False)),
    ("behind_backfill", lambda: each(30)),
    ("summary_missing", lambda: with_summary(1)),
    ("summary_not_due", lambda: with_summary(1, 1.5, 2)),
    # 2: repeats
    ("repeat_unfounded", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .notify(at(1, 0, 5), "new", "r1", says_repeat=True)),
    ("repeat_early", lambda: Scene().review("r1", at(1)).read(at(1, 0, 4), "r1")
     .mail(at(1, 0, 5), "new", "r1").post(at(1, 0, 5), "new", "r1", answered=False)
     .post(at(1, 0, 7), "new", "r1", says_repeat=True)),
    ("mail_hurried", lambda: mail_in_doubt()
     .mail(at(1, 0, 4, 2), "new", "r1", message_id="<one@test>", answered=False)),
    ("mail_too_often", lambda: mail_in_doubt().mail(at(1, 0, 7), "new", "r1",
    message_id="<one@test>", answered=False)),
    ("mail_too_often", lambda: Scene().add("attempts", *(
        Attempt(at(1, 0, minute), "smtp", "owner@bakery.test", outcome="dropped",
        message_id="<one@test>")
        for minute in range(5)))),
    ("failed_silently", failed_and_not_told),
    ("other_message_id", mail_retried_under_another_id),
    ("lost", post_in_doubt_forgotten),
    ("trouble_to_none", lambda: wix_down_told().mail(at(1, 0, 36), "trouble", about="site:bakery",
    to=BOSS.emails[0])
     .with_config(replace(CONFIG, receivers=(*CONFIG.receivers, replace(BOSS, trouble=False))))),
    ("status_parked", lambda: parked().add("statuses", a_status(at(1, 1), 1, open_reviews=1))),
    ("status_site", lambda: wix_down_told().add("statuses", a_status(at(1, 4), 1))),
    # errors in delivery
    ("address_left_out", two_addresses),
    ("address_left_out", lambda: soft_address_over(again=False)),
    ("throttle_ignored", lambda: throttled(1)),
    ("throttle_ignored", lambda: read_after_429(QUERY)),
    ("stray", lambda: in_the_thread(in_thread=False)),
    ("stray", lambda: in_the_thread(in_thread=False, closings=False)),
    # 5: floods
    ("pace", lambda: told_lowered().post(at(2, 0, 4, 1.5), "summary")),
    ("flood", one_by_one),
    ("trouble_repeated", lambda: wix_down_told().mail(at(1, 2), "trouble", about="site:bakery")),
    ("trouble_flood", twice_in_an_hour),
    ("silent", lambda: refused_since_before_a_rename(notified=False)),
    ("recovered_of_nothing", lambda: told_directly("429")),
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
    ("premature", lambda: told_late_of_an_end(followed=False)),
    ("status_blind", lambda: wix_down_told().add("statuses", a_status(at(1, 3)))),
    ("status_blind", lambda: slack_down_told().add("statuses", a_status(at(1, 3), open_reviews=1))),
    ("status_alarm", lambda: Scene().add("statuses", a_status(at(2), 1))),
    ("status_alarm", lambda: Scene().add("statuses", a_status(at(2), 1,
    parked=("receiver:team",)))),
    ("status_exit", lambda: Scene().add("statuses", a_status(at(2), 0, troubles=("site:bakery",)))),
    ("status_exit", lambda: Scene().add("statuses", a_status(at(2), 3))),
    ("status_counts", lambda: Scene().add("statuses", a_status(at(2), receivers=()))),
    ("status_site", lambda: Scene().add("statuses", a_status(at(2), sites=(unread_site(),)))),
    ("status_open", lambda: alerted().add("statuses", a_status(at(3)))),
    ("pending", waiting),
    ("pending", lambda: waiting().run("reply", at(1, 23, 30))),
    ("sent_of_nothing", sent_of_nothing),
    ("sent_of_nothing", lambda: two_reminders_in_one(sent=4)),
    ("sent_of_nothing", lambda: reminded_of_what_waited(sent=3)),
    ("explain", lambda: unknown_to_explain(running=True)),
    ("explain", lambda: explained(state="closed")),
    ("explain", lambda: explained(received=(("owner", "new"),))),
    ("explain", lambda: explained(received=(("owner", "new"), ("team", "new"), ("flora", "new")))),
    # 8: each customer's own
    ("foreign", lambda: alerted().mail(at(1, 0, 5), "new", "r1", to="flora@florist.test")),
    ("foreign", lambda: Scene().review("r1", at(1), rating=5)
     .mail(at(1), "summary", to="flora@florist.test", text="word-r1-0")),
    ("foreign", lambda: wix_down_told().mail(at(1, 1), "trouble", about="site:bakery",
    to="flora@florist.test")),
    ("foreign", lambda: alerted().mail(at(1, 0, 5), "new", "r1", to="stranger@example.test")),
    ("foreign", lambda: told_at_start("reload")),
    # 9: what is deleted is gone
    ("words_kept", lambda: erased().add("storage", Storage(at(3, 1), (("r1", "word-r1-0",
    "wal"),)))),
    ("words_stand", lambda: erased_after_a_restore(2.5)),
    ("words_stand", lambda: erased().update(at(2, 0, 5), at(1, 0, 4, 1), "still word-r1-0")),
    ("words_sent", lambda: erased().mail(at(3), "summary", text="see word-r1-0")),
    ("erasure_silent", erasure_refused),
    ("words_stand", lambda: deleted_at_rest(40)),
    ("erasure_silent", lambda: erasure_refused_while_parked(lasts=False)),
    ("kept_too_long", old_words),
    ("kept_too_long", lambda: recorded_at_a_raise(2)),
    ("kept_too_long", lambda: looked_at_before_a_raise(2)),
    ("kept_too_long", lambda: changed_while_its_site_is_away(away=False)),
    ("lost", lambda: answered_after_mails(confirmed=True)),
    ("lost", lambda: answered_after_a_webhook_moved("webhook")),
    ("reminder_missing", lambda: unconfirmed_webhook(confirmed=True)),
    ("trouble_repeated", lambda: left_in_trouble(left=False)),
    ("kept_too_long", lambda: old_words_of_what_failed("team")),
    ("kept_too_long", lambda: old_words_of_what_failed("owner", of_cluster("r2"))),
    ("erased_falsely", stored),
    # clusters
    ("cluster_twice", clustered_twice),
    ("cluster_twice", lambda: clustered_and_restored(taken=at(1, 6, 30))),
    ("cluster_unnamed", lambda: clustered("r1", "r3")),
    ("cluster_mixed", clustered_with_another_site),
    ("cluster_in_digest", clustered_in_a_digest),
]  # fmt: skip
BAD += trouble_scenes.BAD + restore_scenes.BAD


@pytest.mark.parametrize(
    ("rule", "scene"), BAD, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(BAD)]
)
def test_a_rule_finds_what_breaks_it(rule: str, scene: Callable[[], Scene]) -> None:
    assert rule in scene().rules()


@pytest.mark.parametrize("seed", range(3))
def test_a_flawless_alerter_passes(seed: int) -> None:
    assert [
        str(violation) for violation in oracle.judge(Ideal(seed, days=2).play().history())
    ] == []


@pytest.mark.parametrize("part", ["mails", "slack"])
def test_each_message_that_is_left_out_is_missed(part: str) -> None:
    history = Ideal(4, days=2).play().history()
    messages = getattr(history, part)
    left_out = [
        one for one in messages if one.items and one.time < history.end - timedelta(hours=2)
    ][::9]

    missed = [
        one for one in left_out
        if oracle.judge(
            history.with_(**{part: tuple(each for each in messages if each is not one)})
        )
    ]  # fmt: skip

    assert left_out
    assert missed == left_out


def test_every_rule_of_the_oracle_has_a_history_that_breaks_it() -> None:
    sources = Path(oracle.__file__).parent.glob("*.py")
    rules = {
        rule
        for source in sources
        for rule in re.findall(r'Violation\(\s*"(\w+)"', source.read_text("utf-8"))
    }

    assert rules == {rule for rule, _ in BAD} == set(RULES)
