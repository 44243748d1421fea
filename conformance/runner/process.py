"""One run of a foreign command: with a time limit, a memory limit over all its processes, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
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
_END_LINE = 200  # characters that an end line has at most
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
        if stopped := _exceeded(peak, memory, os.fstat(out.fileno()).st_size, deadline, cancel):
            return stopped, peak
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_POLL)
    return "", peak


def _exceeded(peak: int, memory: int, printed: int, deadline: float, cancel: threading.Event) -> str:
    """The limit that a command has reached, if any; raises Cancelled."""
    if cancel.is_set():
        raise Cancelled
    if peak > memory:
        return "memory"
    if printed > _OUTPUT_LIMIT:
        return "output"
    return "timeout" if time.monotonic() > deadline else ""


class Server:
    """A command that stays: it takes a path on a line, prints what it has to say and then {"end": exit code}."""

    def __init__(self, arguments: Sequence[str], memory: int, cancel: threading.Event):
        self._memory = memory
        self._cancel = cancel
        self._err = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the command)
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._err, start_new_session=True
        )
        limit_memory(self._process.pid, memory)

    @property
    def ended(self) -> bool:
        """Whether the command is gone, so that another one has to be started."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the command."""
        end(self._process)
        self._err.close()

    def ask(self, path: str, timeout: float) -> Finished:
        """What the command says of one stream; ended by whatever limit it reaches; raises Cancelled."""
        began, said, stopped, peak, code = time.monotonic(), bytearray(), "", 0, None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._err.seek(0, os.SEEK_END)
        before = self._err.tell()
        with contextlib.suppress(OSError):  # the command has ended: seen below
            self._process.stdin.write(path.encode() + b"\n")
            self._process.stdin.flush()
        pipe, look = self._process.stdout.fileno(), began
        while code is None and not stopped:
            if select.select([pipe], [], [], _POLL)[0]:
                if not (part := os.read(pipe, 1 << 20)):
                    break
                said += part
                code = _end_line(said)
            if code is None and time.monotonic() >= look:
                peak = max(peak, resident(self._process.pid))
                stopped = _exceeded(peak, self._memory, len(said), began + timeout, self._cancel)
                look = time.monotonic() + _POLL
        if code is None:
            end(self._process)
            code = self._process.returncode
        else:
            del said[_last_line(said) :]
        self._err.seek(before)
        tail = self._err.read(1 << 20).decode("utf-8", "replace")[-_TAIL:]
        return Finished(said.decode("utf-8", "replace"), tail, code, stopped, time.monotonic() - began, peak)


def _last_line(said: bytearray) -> int:
    """Where the last complete line begins."""
    return said.rfind(b"\n", 0, len(said) - 1) + 1


def _end_line(said: bytearray) -> int | None:
    """The exit code in the last line, if that is an end line and complete."""
    begin = _last_line(said)
    if not said.endswith(b"\n") or len(said) - begin > _END_LINE:
        return None
    with contextlib.suppress(ValueError):
        line = json.loads(said[begin:])
        if isinstance(line, dict) and isinstance(line.get("end"), int):
            return int(line["end"])
    return None


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
