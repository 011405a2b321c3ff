"""Format the log for a terminal, for the systemd journal or as JSON, third parties' lines too."""

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
# Priorities of the journal: https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7


def log_to_stderr(level: int, environ: Mapping[str, str], *, form: str = "text") -> None:
    """Write one line to stderr for each event of this level or above; `form` is one of FORMATS."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _formatter(form, in_journal=_leads_to_journal(environ.get("JOURNAL_STREAM", "")))
    )
    logging.basicConfig(level=level, handlers=[handler])
    logging.captureWarnings(True)
    for name in ("httpx", "httpcore", "slack_sdk"):  # they log addresses with their queries
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    for name in ("procrastinate", "psycopg.pool"):  # `service.cluster` reports what matters
        logging.getLogger(name).setLevel(logging.CRITICAL)


def print_error(*lines: str) -> None:
    """Print the error that ends a command, as log lines if a machine reads the log."""
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
    """Whether stderr is the stream that systemd connected to the journal.

    JOURNAL_STREAM alone does not say so: it stays set when stderr is redirected.
    https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM
    """
    try:
        stderr = os.fstat(_STDERR)
    except OSError:
        return False
    return stream == f"{stderr.st_dev}:{stderr.st_ino}"


class _Journal(logging.Formatter):
    """Lines with a priority in front and without a time, which the journal adds itself."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next(
            (number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG
        )
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


class _Json(logging.Formatter):
    """One JSON object on one line for each event."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        fields = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)
