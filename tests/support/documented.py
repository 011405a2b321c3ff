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
    "[RECEIVER]…": "owner",
    "/backup/alerter-$(date +%F).db": "backup/alerter-2026-11-24.db",
}
# What a command cannot do here as it is documented, and is given besides.
_ADDED = {
    "reply": ["--yes"],  # it asks on a terminal only
    "service": ["--root", "root"],  # not into the system of who runs the tests
}
NOT_RUN = {
    "alerter COMMAND": "it stands for any command",
    "alerterctl COMMAND": "it stands for any command",
    "alerter init": "it asks: tests/commands/test_init_terminal.py answers",
    "/opt/alerter/bin/alerter init --systemd": "it asks, and writes to /etc",
    "alerter run --config config.toml": "a process of its own, with --log-format json",
    "alerter demo": "tests/demo/test_story.py plays it",
    "alerter demo --serve": "tests/demo/test_story.py serves it",
    "alerter run": "a process of its own, with --log-format json",
    "alerter run --log-format json": "a process of its own, while others are run",
}


def documented_commands() -> dict[str, list[str]]:
    """Every command of the documents as it stands there, with its arguments to run it by.

    A mere name, such as `alerter backup` in a sentence, is no command where it needs arguments.
    """
    found: dict[str, list[str]] = {}
    for path in _DOCUMENTS:
        for text in _lines(path.read_text("utf-8")):
            words = shlex.split(re.sub(r"\$\(.*?\)", lambda match: f"'{match[0]}'", text))
            if len(words) > 1:
                arguments = [_here(_PLACEHOLDERS.get(word, word)) for word in words[1:]]
                found[text] = [*arguments, *_ADDED.get(arguments[0], [])]
    return found


def _lines(document: str) -> list[str]:
    """The commands in console blocks, after their prompt, and those in a sentence."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", document.replace("\\\n", ""), re.DOTALL):
        for line in re.findall(r"(?m)^(?:\w+ )?[$#] (.*)$", block):
            found += [re.sub(r"\s{2,}#.*", "", part).strip() for part in line.split("&&")]
    prose = " ".join(re.sub(r"```.*?```", "", document, flags=re.DOTALL).split())
    found += re.findall(r"`([^`]+)`", prose)
    return [text for text in found if re.match(r"(\S*/)?alerter(ctl)? ", text)]


def _here(argument: str) -> str:
    """A path in the folder of the test, for one from the root."""
    return argument.lstrip("/")
