"""The note that people were notified of a state file that cannot be used; it outlives the process."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from alerter.store.lock import real


class Marker:
    """A note beside the state file, or, where that folder takes none, in the folder that systemd keeps."""

    def __init__(self, state: Path, environ: Mapping[str, str]) -> None:
        self._state = real(state)
        self._runtime = environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]

    def place(self) -> bool:
        """Make an empty note; False where there is one already. Raises OSError where none can be made."""
        fault = OSError("there is no folder for it")
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
        """Write a text to the note, in the first folder that has room for it; False where none has."""
        for path in self._paths():
            with suppress(OSError):
                fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                with os.fdopen(fd, "w", encoding="utf-8") as file:
                    file.write(text)
                return True
        return False

    def text(self) -> str:
        """Return what the note says; nothing where there is none, or where it had no room."""
        for path in self._paths():
            with suppress(OSError, UnicodeDecodeError):
                if text := path.read_text(encoding="utf-8"):
                    return text
        return ""

    def remove(self) -> None:
        """Remove the note: the state file can be used, or nobody could be notified."""
        for path in self._paths():
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _paths(self) -> Iterator[Path]:
        yield self._state.with_name(f"{self._state.name}.told")
        if self._runtime:
            yield Path(self._runtime) / f"{self._state.name}.told"
