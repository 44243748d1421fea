"""§4.6 Limits of time and memory for programs that may hang or eat memory because a fault was put into them."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import resource
import signal
from collections.abc import Iterator
from typing import Any

PATIENCE, LEAST_SECONDS = 20, 0.5
"""What takes this many times as long as it should, and this many seconds more, hangs."""

MEMORY = 6 << 30
"""Bytes of address space that a process with faults may have."""


_PERTURB, _PATTERN = -6, 0xA5
"""What sets the bytes of memory that has just been taken, and their values, in the C library."""


class Hangs(BaseException):
    """Something takes too long."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises Hangs in what takes far longer than `seconds`; compiled code that does not listen ends the process."""
    allowed = PATIENCE * seconds + LEAST_SECONDS
    signal.setitimer(signal.ITIMER_VIRTUAL, allowed)
    signal.setitimer(signal.ITIMER_PROF, 4 * allowed)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def limit_process() -> None:
    """Prepares a process of its own for faults."""
    faulthandler.disable()  # that a fault ends the process is a verdict
    signal.signal(signal.SIGVTALRM, _hang)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).mallopt(
        _PERTURB, _PATTERN
    )  # or what is not set may still have the right value of a run before


def _hang(number: int, frame: Any) -> None:
    raise Hangs
