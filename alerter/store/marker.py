"""What a process records outside the database, such as that people were notified."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from alerter.store.file_lock import real_path

# Where the config of a cluster is in a folder that is not writable: the first outlives a boot.
_FOLDERS = ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")


class Marker:
    """A file beside the state file, or in a folder that systemd names if that is not possible.

    With another database it is where the state file would be. It survives the process, so that a
    restart does not notify people again.
    """

    def __init__(self, state: Path, environ: Mapping[str, str], ending: str = "told") -> None:
        self._state = real_path(state)
        self._ending = ending
        named = [environ.get(name, "").partition(":")[0] for name in _FOLDERS]
        self._folders = [self._state.parent, *(Path(folder) for folder in named if folder)]

    def place(self) -> bool:
        """Create an empty marker; return False if there is one. Raise OSError if it fails."""
        fault = OSError("there is no folder for the marker")
        for path in self._paths():
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            except FileExistsError:
                return False
            except OSError as error:
                fault = error
            else:
                return True
        raise fault

    def write(self, text: str) -> bool:
        """Write a text to the marker, in the first folder with space; return False if none has."""
        for path in self._paths():
            with suppress(OSError):
                fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(text)
                return True
        return False

    def text(self) -> str:
        """Return the text of the marker; an empty one if there is none or there was no space."""
        for path in self._paths():
            with suppress(OSError, UnicodeDecodeError):
                if text := path.read_text(encoding="utf-8"):
                    return text
        return ""

    def remove(self) -> None:
        """Remove the marker: the database works again, or no one could be notified."""
        for path in self._paths():
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _paths(self) -> Iterator[Path]:
        for folder in self._folders:
            yield folder / f"{self._state.name}.{self._ending}"
