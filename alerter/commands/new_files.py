"""Write files that are not there yet, all of them or none."""

import os
from collections.abc import Sequence
from pathlib import Path

from alerter.errors import AlerterError


def write_new_files(files: Sequence[tuple[Path, str]]) -> None:
    """Create files that only their owner can read, in this order.

    Where one is there already, or cannot be written, or the process is interrupted, those that
    were created are removed. Raises AlerterError.
    """
    created: list[Path] = []
    try:
        for path, text in files:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            created.append(path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(descriptor)
    except BaseException as error:
        for each in created:
            each.unlink()
        if isinstance(error, OSError):
            raise AlerterError(f"{path} cannot be written: {error.strerror}") from error
        raise


def free_path(path: Path) -> Path:
    """Return the path if nothing is there, else `name-2`, `name-3` and so on beside it."""
    number = 1
    free = path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
