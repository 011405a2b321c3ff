"""`make demo-cluster`: workers share the work, and one after the other fails.

`python -m alerter.demo.cluster [SCENE]…` plays some of the scenes: kill, freeze, stop, restart,
crash.
"""

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from alerter.demo.cluster_screen import Screen
from alerter.demo.cluster_services import open_services
from alerter.demo.cluster_story import ClusterStory
from alerter.demo.stage import play_until
from alerter.errors import AlerterError
from alerter.logs import log_to_stderr
from alerter.service.signals import event_for

SCENES = ("kill", "freeze", "stop", "restart", "crash")


async def _play(scenes: Sequence[str]) -> bool:
    """Play the story. Return whether nothing was lost and nothing repeated.

    Ctrl-C ends it early, and leaves nothing behind.
    """
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with (
        tempfile.TemporaryDirectory(prefix="alerter-cluster-") as folder,
        event_for(*signals) as stop,
    ):
        async with open_services(Path(folder)) as services:
            screen = Screen(sys.stdout)
            story = ClusterStory(services, screen)
            try:
                ended = await play_until(stop, story.play(scenes))
            finally:
                await story.end()
                screen.clear()
            if not ended:
                screen.say("\nStopped.", "note")
                return True
            return story.show_result()


def _main() -> None:
    """Play the scenes that the command line names, or all."""
    scenes = sys.argv[1:] or SCENES
    if unknown := set(scenes) - set(SCENES):
        sys.exit(f"no scenes: {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    log_to_stderr(logging.WARNING, os.environ)
    try:
        sys.exit(0 if asyncio.run(_play(scenes)) else 1)
    except AlerterError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    _main()
