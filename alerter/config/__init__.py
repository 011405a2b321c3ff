"""TOML and environment read into a frozen, checked `Config`, or every fault at once."""

from alerter.config.accounts import with_account_sites
from alerter.config.receivers import Quiet, Receiver, ReminderSchedule, Slack, Smtp, Summary
from alerter.config.schema import CannedReply, Config, Topic, load_config
from alerter.config.sites import SHORTEST_RECORD, Account, App, ClusterSize, Limits, Site

__all__ = [
    "SHORTEST_RECORD",
    "Account",
    "App",
    "CannedReply",
    "ClusterSize",
    "Config",
    "Limits",
    "Quiet",
    "Receiver",
    "ReminderSchedule",
    "Site",
    "Slack",
    "Smtp",
    "Summary",
    "Topic",
    "load_config",
    "with_account_sites",
]
