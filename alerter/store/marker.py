"""What is noted of a state file that cannot be used: that people were told; a service is started again and again."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from alerter.store.lock import real


def place(state: Path, environ: Mapping[str, str]) -> bool:
    """Note that people are being told; False where that is noted already. Raises OSError where it cannot be noted."""
    fault = OSError("there is no folder for it")
    for marker in _markers(state, environ):
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        except OSError as error:
            fault = error
        else:
            return True
    raise fault


def remove(state: Path, environ: Mapping[str, str]) -> None:
    """The state file can be used, or nobody could be told."""
    for marker in _markers(state, environ):
        with suppress(OSError):
            marker.unlink(missing_ok=True)


def _markers(state: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Beside the state file, or, on a disk that nobody can write to, in the folder that systemd keeps for a service."""
    state = real(state)
    yield state.with_name(f"{state.name}.told")
    if runtime := environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        yield Path(runtime) / f"{state.name}.told"
