"""TOML and environment read into a frozen, checked `Config`, or every fault at once."""

from alerter.config.receivers import Quiet, Receiver, ReminderSchedule, Slack, Smtp, Summary
from alerter.config.schema import Config, load_config
from alerter.config.sites import App, Site

__all__ = [
    "App",
    "Config",
    "Quiet",
    "Receiver",
    "ReminderSchedule",
    "Site",
    "Slack",
    "Smtp",
    "Summary",
    "load_config",
]
