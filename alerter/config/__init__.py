"""TOML and environment read into a frozen, checked `Config`, or every fault at once."""

from alerter.config.schema import (
    App,
    Config,
    Quiet,
    Receiver,
    Reminders,
    Site,
    Slack,
    Smtp,
    Summary,
    load_config,
)

__all__ = [
    "App",
    "Config",
    "Quiet",
    "Receiver",
    "Reminders",
    "Site",
    "Slack",
    "Smtp",
    "Summary",
    "load_config",
]
