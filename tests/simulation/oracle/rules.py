"""Each rule of the oracle, and the sentence of the design that it holds alerter to."""

from __future__ import annotations

RULES: dict[str, str] = {
    # promise 1
    "lost": "Nothing is lost. … A delivery leaves the outbox only when its service has said yes.",
    "rerouted_lost": "What is cancelled because its receiver is gone goes to receivers that are new in this config and "
    "fit.",
    "address_left_out": "One address of several refused: the mail counts as delivered to the others from then on.",
    "sent_of_nothing": "A delivery leaves the outbox only when its service has said yes.",
    "erased_falsely": "One answer without `author` erases only when it is so twice, a rescan apart, or a webhook says "
    "so.",
    # promise 2
    "repeated": "Nothing is sent twice.",
    "repeat_unfounded": "After a crash or a lost answer it is in doubt … posted once more and says that it may be a "
    "repeat.",
    "repeat_early": "Ten minutes after the first look … it is posted once more (at once, where Slack does not let us "
    "look at all).",
    "mail_hurried": "A mail whose answer was lost goes out at most three times in all, 5 s and 60 s apart.",
    "mail_too_often": "A mail whose answer was lost goes out at most three times in all, under one Message-ID.",
    "other_message_id": "… under one Message-ID; … `retry` keeps the id.",
    "failed_silently": "A repeat in doubt for ten minutes has failed and is trouble; … then it has failed, is trouble.",
    # clusters
    "cluster_twice": "One alert for each cluster; a poll's reviews make one that names them all.",
    "cluster_unnamed": "Reviews found by one poll make one cluster alert that names them all.",
    "cluster_mixed": "A receiver gets alerts and trouble of its sites only.",
    "cluster_in_digest": "A cluster has a message of its own.",
    # promise 3
    "past": "The past stays quiet. What the first read of a site finds is its baseline.",
    "backfill_reminded": "Only a backfill speaks of the past, and never reminds of it.",
    # promise 4
    "not_read": "Late is found. Spans overlap, and a rescan reads the recent past again.",
    # promise 5
    "flood": "More than `burst` deliveries due at once leave as digests, except `--deliver each`.",
    "behind_backfill": "… except `--deliver each`, behind which nothing new waits.",
    "summary_missing": "summary: one of the kinds of alert; each is sent once, at its time.",
    "summary_not_due": "Nothing is sent twice.",
    "pace": "Slack gets at most one message a second a channel.",
    "trouble_repeated": "One fault is one trouble, however many messages it hits.",
    "trouble_flood": "One that comes and goes is at most one pair an hour.",
    "recovered_of_nothing": "trouble: notified once, and once when it is over (`recovered`).",
    # promise 6
    "silent": "Whatever keeps a site unread, a receiver from being reached, a config from being reloaded or the "
    "database from being written for longer than `trouble_after` is told through a receiver that works.",
    "late": "This holds for every state that the software can be in. (Nothing waits longer than `trouble_after` where "
    "nothing is in its way.)",
    "pending": "No silence … (nothing is pending for ever).",
    "unrecovered": "… ends when its cause ends.",
    "trouble_to_none": "… is told through a receiver that works (one that receives trouble, by the config).",
    "premature": "… ends when its cause ends (and not before).",
    "phantom": "trouble: the daemon cannot do a part of its job.",
    "parked_tried": "What is parked is tried with one message once an hour, at start, at reload, by `check`, `retry`.",
    "status_blind": "… and makes `status` exit 1 meanwhile.",
    "status_alarm": "`status` exits 1 for open trouble, failed deliveries, or a site not read; never for unanswered "
    "reviews.",
    # promise 8
    "foreign": "A receiver gets alerts and trouble of its sites only.",
    # promise 9
    "words_kept": "A review deleted or anonymized at Wix loses its text here: database, write-ahead log.",
    "words_stand": "… Slack messages. An erasure that Slack refuses is tried again daily, then by `chat.delete`.",
    "words_sent": "What is deleted is gone.",
    "erasure_silent": "An erasure that Slack refuses … is trouble while words stand.",
    "kept_too_long": "What is at rest for `keep` loses it too, open or not.",
    # triage and routing
    "not_due": "Triage: the table says no such alert of it, or routing not to this receiver.",
    "wrong_details": "`lowered`, with before and after; `closed` with the reason.",
    "closed_to_none": "No `closed` to a receiver that was sent nothing; closed silently, and not called raised.",
    "after_closing": "Unsent deliveries of it are cancelled.",
    "out_of_order": "Only messages about the same review wait for one in doubt.",
    "older_unsaid": "The alert says that it is older, and was changed or approved since.",
    "quiet": "What is held for quiet hours gets its new time.",
    "not_updated": "Its Slack message is updated; its Slack message asks again.",
    "stray": "Slack posts a reply whose parent was deleted into the channel; a quiet closing must not stay there.",
    "reminder_missing": "open: a low-rated review that was alerted and not answered (it is reminded of at its spans).",
    "reminder_early": "Reminders count anew; reminders count from there.",
    "reminder_too_many": "Remember spans and not numbers: one reminder for each.",
    "reminder_after_closing": "Answered: closed; unsent deliveries of it are cancelled.",
    "reminder_held": "A claim holds the reminders of a review for everybody; a snooze until its time.",
    "snooze_forgotten": "A snooze until its time, then one reminder in place of those that fell due meanwhile.",
    "escalation_missing": "One soft-refused address keeps no reminders and no escalation of everybody from coming.",
    # errors in delivery
    "throttle_ignored": "Nothing through that method of that service before then, over a restart too.",
    # the contract
    "status_exit": "`status` exits 1 for open trouble, failed deliveries, or a site not read; its JSON has …",
    "status_counts": "Its JSON has at least sites, receivers, deliveries.",
    "status_site": "Its JSON has … last_success.",
    "status_parked": "Its JSON has … `parked: [{scope, since, reason}]`.",
    "status_open": "Its JSON has … open_reviews.",
    "explain": "`explain` says what is so.",
}
