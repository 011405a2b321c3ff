"""How much memory this process takes, the servers of a test included."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATUS = Path("/proc/self/status")


def _kilobytes(name: str) -> int:
    [line] = [each for each in _STATUS.read_text().splitlines() if each.startswith(f"{name}:")]
    return int(line.split()[1])


@contextmanager
def memory_bounded(most: int) -> Iterator[None]:
    """Fail where the process grows by more than so many bytes at any moment.

    The kernel counts: to trace millions of small objects takes seconds.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # forgets the highest that it has seen
    before = _kilobytes("VmRSS")
    yield
    grown = (_kilobytes("VmHWM") - before) << 10
    assert grown < most, f"{grown:,} bytes"
