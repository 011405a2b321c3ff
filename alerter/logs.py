"""How the log is written: for a terminal, for the journal, or as JSON; whoever logs, third parties too."""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

log = logging.getLogger(__name__)

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")

_STDERR = 2
# What the journal calls them: https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


def log_to_stderr(level: int, environ: Mapping[str, str], *, form: str = "text") -> None:
    """Write one line an event, from this level up."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _formatter(form, in_journal=_leads_to_journal(environ.get("JOURNAL_STREAM", "")))
    )
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    for name in ("httpx", "httpcore", "slack_sdk"):  # they write addresses with their queries
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def complain(*lines: str) -> None:
    """Tell what ends a command: in the plain words themselves, or as the log has it where a machine reads that."""
    if any(isinstance(handler.formatter, _Journal | _Json) for handler in logging.root.handlers):
        for line in lines:
            log.critical(line)
    else:
        sys.stderr.write("".join(f"{line}\n" for line in lines))


def _formatter(form: str, *, in_journal: bool) -> logging.Formatter:
    if form == "json":
        return _Json()
    if in_journal:
        return _Journal("%(message)s")
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S%z")


def _leads_to_journal(stream: str) -> bool:
    """Whether stderr is what systemd connected to the journal: the variable stays when stderr leads elsewhere.

    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
    """
    try:
        stderr = os.fstat(_STDERR)
    except OSError:
        return False
    return stream == f"{stderr.st_dev}:{stderr.st_ino}"


class _Journal(logging.Formatter):
    """The journal has its own clock, and takes the level from the beginning of each line."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(
            (number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG
        )
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class _Json(logging.Formatter):
    """One JSON object a line, whatever is in it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        told = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)
