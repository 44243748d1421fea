"""One run of a foreign command: with a time limit, a memory limit over all its processes, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

import psutil

_POLL = 0.02  # seconds between two looks at a running command
_OUTPUT_LIMIT = 64 << 20  # bytes of standard output
_TAIL = 4000  # characters of standard error that are kept
_MIB = 1 << 20


class Cancelled(Exception):
    """The user has interrupted the run."""


@dataclass(frozen=True)
class Finished:
    """How a command ended: `stopped` is "", "timeout", "memory" or "output", by whichever limit ended it."""

    stdout: str
    stderr: str  # its end
    code: int  # negative: the signal
    stopped: str
    seconds: float
    peak: int  # MiB, all processes together, as far as seen


def run(arguments: Sequence[str], timeout: float, memory: int, cancel: threading.Event) -> Finished:
    """Runs a command to its end or to a limit: `timeout` seconds, `memory` MiB; raises Cancelled or OSError."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        try:
            limit_memory(process.pid, memory)
            stopped, peak = _watch(process, out, began + timeout, memory, cancel)
        finally:
            end(process)
        seconds = time.monotonic() - began
        text, tail = _read(out, _OUTPUT_LIMIT), _read(err, 1 << 20)[-_TAIL:]
        return Finished(text, tail, process.returncode, stopped, seconds, peak)


def _watch(
    process: subprocess.Popen[bytes], out: IO[bytes], deadline: float, memory: int, cancel: threading.Event
) -> tuple[str, int]:
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        if cancel.is_set():
            raise Cancelled
        if peak > memory:
            return "memory", peak
        if os.fstat(out.fileno()).st_size > _OUTPUT_LIMIT:
            return "output", peak
        if time.monotonic() > deadline:
            return "timeout", peak
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
    return "", peak


def limit_memory(pid: int, memory: int) -> None:
    """Keeps any one process from outgrowing the limit between two looks; children inherit it. Linux only."""
    import resource

    if hasattr(resource, "prlimit"):
        hard = (memory + memory // 4 + 256) * _MIB
        with contextlib.suppress(OSError):  # the process has ended already
            resource.prlimit(pid, resource.RLIMIT_DATA, (hard, hard))


def resident(pid: int) -> int:
    """MiB that a process and all its descendants hold."""
    total = 0
    with contextlib.suppress(psutil.Error):
        family = psutil.Process(pid)
        for member in [family, *family.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                total += member.memory_info().rss
    return total // _MIB


def end(process: subprocess.Popen[bytes]) -> None:
    """Kills what is left of a command: its session, and descendants that left the session."""
    descendants: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(process.pid).children(recursive=True)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    for descendant in descendants:
        with contextlib.suppress(psutil.Error):
            descendant.kill()
    process.wait()


def _read(file: IO[bytes], most: int) -> str:
    file.seek(0)
    return file.read(most).decode("utf-8", "replace")
