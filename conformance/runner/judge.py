"""§A.3.3 The verdict on what a decoder made of one stream."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.runner.contract import ContractError, ErrorLine, FrameLine, Output, parse
from conformance.runner.decoders import Decoder
from conformance.runner.process import Finished
from conformance.runner.records import Record
from conformance.runner.stages import Difference

PASS, FAIL, ERROR, TIMEOUT, UNSUPPORTED = "pass", "fail", "error", "timeout", "unsupported"
VERDICTS = (PASS, FAIL, ERROR, TIMEOUT, UNSUPPORTED)
STRICTNESS = {
    "class": ("error",),
    "id": ("error", "constraint"),
    "exact": ("error", "constraint", "unit", "bit_offset"),
}
"""What of an error has to agree -> the fields."""


REJECTED, UNREPORTED, FRAMES, ACCEPTED, OTHER_ERROR = (
    "rejected",
    "unreported",
    "frames",
    "accepted",
    "other error",
)
"""How an answer can be wrong, besides a stage that differs: that is called by its name."""


@dataclass(frozen=True)
class Rules:
    """What the runner has to know of the standard: the stages in their order -> what they are, with clause."""

    stages: Mapping[str, str]


@dataclass(frozen=True)
class Rejection:
    """§6.1 How far the first error that a decoder reports is the expected one."""

    expected: ErrorLine
    found: ErrorLine | None

    @property
    def agrees(self) -> dict[str, bool]:
        """Field of an error -> whether it is right."""
        names = STRICTNESS["exact"]
        return {
            n: self.found is not None and getattr(self.found, n) == getattr(self.expected, n) for n in names
        }

    def __str__(self) -> str:
        if self.found is None:
            return f"accepts it; expected {self.expected}"
        wrong = [name for name, right in self.agrees.items() if not right]
        return f"reports {self.found}, expected {self.expected}" if wrong else f"reports {self.found}"


@dataclass(frozen=True)
class Result:
    """The verdict on one stream, and what led to it."""

    record: Record
    verdict: str
    reason: str = ""
    kind: str = ""  # of a failure: the stage that differs first, or one of those above
    difference: Difference | None = None
    rejection: Rejection | None = None
    compared: Mapping[str, int] = field(default_factory=dict)  # stage -> frames
    missing_frames: int = 0  # of a stream with errors: not a failure
    seconds: float = 0.0
    peak: int = 0  # MiB
    command: str = ""
    stderr: str = ""

    @property
    def cause(self) -> str:
        """The likely cause of the first difference, from the record."""
        return self.record.causes.get(self.difference.stage, "") if self.difference else ""


class _Fail(Exception):
    """A failure and its kind, with the first difference if it is one of frames."""

    def __init__(self, kind: str, reason: str, difference: Difference | None = None):
        super().__init__(reason)
        self.kind = kind
        self.difference = difference


class Judge:
    """Judges streams of one decoder by the rules of one strictness."""

    def __init__(self, decoder: Decoder, rules: Rules, strictness: str = "id"):
        self.decoder = decoder
        self.rules = rules
        self.strictness = strictness

    def __call__(self, record: Record, finished: Finished) -> Result:
        """§A.3.3 The verdict; the output is read only of a command that ended by itself."""
        found: dict[str, Any] = {
            "seconds": finished.seconds,
            "peak": finished.peak,
            "stderr": finished.stderr,
        }
        if finished.stopped == "timeout":
            return Result(record, TIMEOUT, f"no end after {finished.seconds:.1f} s", **found)
        if finished.stopped:
            limit = {"memory": f"took {finished.peak} MiB of memory", "output": "printed more than 64 MiB"}
            return Result(record, ERROR, limit[finished.stopped], **found)
        try:
            if crash := _signal(finished.code):
                return Result(record, ERROR, crash, **found)
            output = parse(finished.stdout)
        except ContractError as error:
            return Result(record, ERROR, crash_reason(finished) or str(error), **found)
        if finished.code and not output.errors:
            return Result(record, ERROR, crash_reason(finished), **found)
        return self._judged(record, output, found)

    def _judged(self, record: Record, output: Output, found: dict[str, Any]) -> Result:
        if record.errors:
            found["rejection"] = Rejection(record.errors[0], output.errors[0] if output.errors else None)
        compared: dict[str, int] = {}
        found["compared"] = compared
        try:
            self._errors(record, output)
            self._frames(record, output, compared)
        except _Fail as failure:
            return Result(record, FAIL, str(failure), failure.kind, failure.difference, **found)
        found["missing_frames"] = len(record.frames) - len(output.frames)
        if not record.errors and not compared and any(frame.digests for frame in record.frames):
            return Result(record, UNSUPPORTED, "none of the declared stages can be had of it", **found)
        return Result(record, PASS, str(found.get("rejection", "")), **found)

    def _errors(self, record: Record, output: Output) -> None:
        """§6.1 A decoder may give up at any error, so what it reports is a beginning of what is expected."""
        if not record.errors:
            if output.errors:
                first = output.errors[0]
                raise _Fail(REJECTED, f"rejects a valid stream: {first} {first.message}".strip())
            return
        if not output.errors:
            raise _Fail(ACCEPTED, str(Rejection(record.errors[0], None)))
        if len(output.errors) > len(record.errors):
            surplus = output.errors[len(record.errors)]
            reason = f"reports {len(output.errors)} errors, expected {len(record.errors)}: {surplus}"
            raise _Fail(OTHER_ERROR, reason)
        for number, (found, expected) in enumerate(zip(output.errors, record.errors, strict=False)):
            fields = STRICTNESS[self.strictness]
            if any(getattr(found, name) != getattr(expected, name) for name in fields):
                place = f"error {number + 1}: " if number else ""
                raise _Fail(OTHER_ERROR, f"{place}{Rejection(expected, found)}")

    def _frames(self, record: Record, output: Output, compared: dict[str, int]) -> None:
        _in_order(output.frames)
        by_index = {frame.frame: frame for frame in output.frames}
        reported = {stage for frame in output.frames for stage in frame.digests}
        wanted = [s for s in self.rules.stages if s in (self.decoder.stages or reported)]
        last = max(by_index, default=-1)
        for expected in record.frames:
            found = by_index.pop(expected.frame, None)
            if found is not None:
                self._frame(found, expected, wanted, compared)
            elif not record.errors or expected.frame < last:  # a decoder that gave up has no frame after that
                raise _frames(expected.frame, "is missing")
        if by_index:
            raise _frames(min(by_index), "is not a frame of the stream")

    def _frame(
        self, found: FrameLine, expected: FrameLine, wanted: Sequence[str], compared: dict[str, int]
    ) -> None:
        """Compares the stages in their order, then what else is said of the frame."""
        stages = [stage for stage in wanted if stage in expected.digests]
        if self.decoder.pixels == "tolerance":
            stages = [stage for stage in stages if stage not in ("projected", "pixels")]
        if expected.digests and not wanted:
            raise _Fail(UNREPORTED, f"frame {found.frame}: the digest of no stage is reported")
        for stage in stages:
            if stage not in found.digests:
                raise _Fail(UNREPORTED, f"frame {found.frame}: the stage {stage} is not reported")
            if found.digests[stage] != expected.digests[stage]:
                where = f"digest {found.digests[stage]}, expected {expected.digests[stage]}"
                difference = Difference(found.frame, stage, self.rules.stages[stage], where)
                raise _Fail(stage, str(difference), difference)
            compared[stage] = compared.get(stage, 0) + 1
        if wrong := _metadata(found, expected):
            raise _frames(found.frame, "; ".join(wrong))


def _metadata(found: FrameLine, expected: FrameLine) -> list[str]:
    """What both sides say of a frame besides its digests, and differs: all of it."""
    pairs = {name: (getattr(found, name), getattr(expected, name)) for name in ("time", "random_access")}
    return [
        f"{name} is {ours}, expected {theirs}"
        for name, (ours, theirs) in pairs.items()
        if ours is not None and theirs is not None and ours != theirs
    ]


def _in_order(frames: Sequence[FrameLine]) -> None:
    for before, after in itertools.pairwise(frames):
        if after.frame <= before.frame:
            twice = after.frame == before.frame
            raise _frames(after.frame, "is reported twice" if twice else f"comes after frame {before.frame}")


def _frames(frame: int, where: str) -> _Fail:
    """A frame that should not be there, or is not, or is of another time."""
    return _Fail(FRAMES, f"frame {frame} {where}", Difference(frame, "", "", where))


def _signal(code: int) -> str:
    if code >= 0:
        return ""
    names = {entry.value: entry.name for entry in signal.Signals}
    return f"crashed: {names.get(-code, f'signal {-code}')}"


def crash_reason(finished: Finished) -> str:
    """Why a command that printed no error counts as crashed, or nothing."""
    if not finished.code:
        return ""
    lines = finished.stderr.strip().splitlines()
    return f"exit code {finished.code} without an error line" + (f": {lines[-1][:200]}" if lines else "")
