"""The idle daemon: one site, polled once a minute."""

import time

from benchmarks.figures import Figure
from benchmarks.processes import Usage, serving
from benchmarks.servers.slack import FastSlack
from benchmarks.servers.smtp import FastSmtp
from benchmarks.servers.wix import FastWix
from benchmarks.world import World, running, worlds

# A poll wakes the process for the connection, the answer, and their timeouts.
_WAKES_A_ROUND = 20


def measure(*, quick: bool) -> list[Figure]:
    """Measure memory, CPU per hour, and wake-ups per poll."""
    minutes = 1 if quick else 3
    with (
        serving(FastWix) as wix,
        serving(FastSlack) as slack,
        serving(FastSmtp) as smtp,
        worlds(World(wix.url, slack.url, smtp.port)) as both,
        worlds(World(wix.url, None, smtp.port)) as mail,
        running(both) as daemon,
        running(mail) as mailing,
    ):
        time.sleep(10)
        before = Usage.of(daemon.pid)
        time.sleep(60 * minutes)
        after, by_mail = Usage.of(daemon.pid), Usage.of(mailing.pid)
    took = after.at - before.at
    return [
        Figure("at rest", "RSS, email alone", by_mail.rss, "≤", 60, "MB"),
        Figure("at rest", "RSS, Slack and email", after.rss, "≤", 60, "MB"),
        Figure("at rest", "CPU an hour", (after.cpu - before.cpu) * 3600 / took, "≤", 5, "s"),
        Figure(
            "at rest",
            "wake-ups a round",
            (after.wakes - before.wakes) / minutes,
            "≤",
            _WAKES_A_ROUND,
            "",
        ),
    ]
