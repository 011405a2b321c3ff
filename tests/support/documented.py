"""The commands that the documents show, and how each is run."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
_DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md")))
# What stands for something of the reader's.
_PLACEHOLDERS = {
    "REVIEW_ID": "r1",
    "ID": "r1",
    "TEXT": "We are sorry.",
    "DATE": "30d",
    "DAY": "yesterday",
    "NAME": "Corner Bakery",
    "FILE": "file.db",
    "DIR": "exported",
    "[KIND]": "new",
    "UNTIL": "2h",
    "[RECEIVER]…": "owner",
    "RECEIVER": "owner",
    "helpdesk": "owner",  # the receiver with a webhook of an example
    "8f14e45f": "r1",
    "…": "55555555-5555-4555-8555-555555555555",
    "/backup/alerter-$(date +%F).db": "backup/alerter-2026-11-24.db",
}
# What a command cannot do here as it is documented, and is given besides; `{wix}` and the like are
# the addresses of the embedded services.
_ADDED = {
    "init": [
        *("--wix-base-url", "{wix}", "--slack-base-url", "{slack}", "--smtp-host", "127.0.0.1"),
        *("--smtp-port", "{smtp}", "--smtp-security", "none", "--config", "made.toml"),
    ],
    "sites": ["--wix-base-url", "{wix}"],
    # They ask on a terminal only.
    "reply": ["--yes"],
    "moderate": ["--yes"],
    "service": ["--root", "root"],  # not into the system of who runs the tests
}
# The commands that need a review that is open, which is another one.
OPEN_REVIEW = "r2"
_OF_OPEN = ("claim", "snooze")
NOT_RUN = {
    "alerter reply REVIEW_ID": "tests/commands/test_respond.py writes in its editor",
    "alerter COMMAND": "it stands for any command",
    "alerterctl COMMAND": "it stands for any command",
    "/opt/alerter/bin/alerter init --systemd": "it asks, and writes to /etc/alerter",
    "alerter init --systemd": "it asks, and writes to /etc/alerter",
    "alerter init": "tests/commands/test_init_terminal.py answers its questions",
    "alerter run --config config.toml": "a process of its own, with --log-format json",
    "alerter demo": "tests/demo/test_story.py plays it",
    "alerter demo --serve": "tests/demo/test_story.py serves it",
    "alerter run": "a process of its own, with --log-format json",
    "alerter run --log-format json": "a process of its own, while others are run",
}


def documented_commands(**addresses: str) -> dict[str, list[str]]:
    """Every command of the documents as it stands there, with its arguments to run it by.

    A mere name, such as `alerter backup` in a sentence, is no command where it needs arguments.
    """
    found: dict[str, list[str]] = {}
    for path in _DOCUMENTS:
        for text in _lines(path.read_text("utf-8")):
            words = shlex.split(re.sub(r"\$\(.*?\)", lambda match: f"'{match[0]}'", text))
            if len(words) > 1:
                arguments = [_here(_PLACEHOLDERS.get(word, word)) for word in words[1:]]
                if words[1] in _OF_OPEN:
                    arguments[1:2] = [OPEN_REVIEW]
                added = [each.format(**addresses) for each in _ADDED.get(arguments[0], [])]
                found[text] = [*arguments, *added]
    return found


def _lines(document: str) -> list[str]:
    """The commands in console blocks, after their prompt, and those in a sentence."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", document, re.DOTALL):
        whole = block.replace("\\\n", " ")
        for line in re.findall(r"(?m)^(?:\w+ )?[$#] (.*)$", whole):
            found += [re.sub(r"\s{2,}#.*", "", part).strip() for part in line.split("&&")]
    prose = " ".join(re.sub(r"```.*?```", "", document, flags=re.DOTALL).split())
    found += re.findall(r"`([^`]+)`", prose)
    return [text for text in found if re.match(r"(\S*/)?alerter(ctl)? ", text)]


def _here(argument: str) -> str:
    """A path in the folder of the test, for one from the root."""
    return argument.lstrip("/")
