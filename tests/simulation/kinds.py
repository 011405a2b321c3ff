"""The kinds of thing that may happen in a run."""

from collections.abc import Mapping

HOUR = 3600.0
DAY = 24 * HOUR

# Kinds of fault: how they are scoped, and the codes that they may have.
FAULTS: Mapping[str, tuple[str, ...]] = {
    "wix_down": ("503", "drop", "hang", "500"),
    "wix_throttled": ("429",),
    "wix_nonsense": ("html", "json"),
    "wix_stale": ("",),
    "wix_empty": ("",),
    "wix_unauthorized": ("401", "403"),
    "wix_private_forbidden": ("403",),
    "wix_token": ("500", "401"),
    "wix_no_author": ("",),
    "slack_down": ("503", "drop", "hang", "internal_error"),
    "slack_throttled": ("429",),
    "slack_auth": ("invalid_auth", "token_revoked", "account_inactive"),
    "slack_channel_refused": (
        "channel_not_found",
        "is_archived",
        "not_in_channel",
        "no_permission",
        "restricted_action",
    ),
    "slack_message_refused": ("invalid_blocks", "msg_too_long"),
    "slack_update_refused": (
        "update_failed",
        "cant_update_message",
        "channel_not_found",
        "edit_window_closed",
    ),
    "slack_dropped_before": ("",),
    "slack_dropped_after": ("",),
    "slack_nonsense": ("html", "json"),
    "slack_history_limited": ("429",),
    "smtp_down": ("421 4.3.2 not available", "drop", "554 5.3.2 no"),
    "smtp_busy": ("451 4.3.0 try again later", "452 4.3.1 full"),
    "smtp_auth": ("535",),
    "smtp_address_hard": ("550 5.1.1 no such user", "553 5.1.2 never"),
    "smtp_address_soft": ("450 4.2.1 later", "452 4.2.2 over quota"),
    "smtp_message_refused": ("554 5.7.1 no", "552 5.3.4 too large"),
    "smtp_dropped_before": ("",),
    "smtp_dropped_after": ("",),
    "smtp_nonsense": ("",),
    "posted_down": ("503", "drop", "hang", "500"),
    "posted_redirected": ("302", "307"),
    "posted_throttled": ("429", "429 date"),
    "posted_gone": ("410", "404", "403", "401"),
    "posted_message_refused": ("413", "422"),
    "posted_dropped_before": ("",),
    "posted_dropped_after": ("",),
    "posted_nonsense": ("html",),
    "disk_full": ("",),
    "state_locked": ("",),
}
OTHERS = (
    "edited", "rated", "replied", "unreplied", "moderated", "deleted", "anonymized", "voted", "imported", "late",
    "hooks", "config", "config_faulty", "kill", "stop", "clock_step", "backfill", "retry", "reply", "backup", "restore",
    "quiet", "reminders", "summary", "prune",
)  # fmt: skip
LENGTHS = (60.0, 300.0, 1200.0, HOUR, 5 * HOUR, DAY, 3 * DAY)
# While these last, alerter tries again each minute: days of that take too much of the time that
# there is.
TRIED_OFTEN = {"slack_down", "slack_nonsense", "slack_dropped_before", "slack_dropped_after", "smtp_down", "smtp_busy",
                "smtp_nonsense", "smtp_dropped_before", "smtp_dropped_after", "smtp_address_soft",
                "posted_down", "posted_redirected", "posted_dropped_before", "posted_dropped_after",
                "posted_nonsense"}  # fmt: skip
# A fault that is spelt out for a few calls is as likely as one that lasts.
ONE_CALL = {
    "slack_dropped_before", "slack_dropped_after", "slack_nonsense", "smtp_dropped_before", "smtp_dropped_after",
    "posted_dropped_before", "posted_dropped_after", "posted_nonsense",
    "smtp_nonsense", "wix_no_author", "wix_stale", "wix_nonsense", "wix_empty",
}  # fmt: skip
