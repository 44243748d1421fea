"""§E.5 Whether the pictures of a decoder that renders with floating-point numbers are within their tolerance."""

from __future__ import annotations

import json
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from conformance.runner import process
from conformance.runner.contract import stage_file
from conformance.runner.decoders import Decoder, DecoderError
from conformance.runner.judge import FAIL, Result, Rules
from conformance.runner.records import Record
from conformance.runner.stages import Difference

UNJUDGED = 255
_CHANNELS = ("red", "green", "blue", "coverage")


@dataclass(frozen=True)
class ToleranceCheck:
    """§E.5 Compares the files FRAME.pixels that a decoder left with those of the reference and their tolerance."""

    reference: Decoder
    rules: Rules

    def __call__(self, record: Record, result: Result, folder: Path) -> Result:
        """The result, failed at the first byte that is off by more than it may be."""
        if not any("pixels" in frame.digests for frame in record.frames):
            return result
        worst, judged, total = float("inf"), 0, 0
        with tempfile.TemporaryDirectory(prefix="hga-tolerance-") as own:
            for frame, size in self._reference(record, Path(own)).items():
                found, expected, allowed = (
                    _bytes(place / stage_file(frame, kind), size)
                    for place, kind in ((folder, "pixels"), (Path(own), "pixels"), (Path(own), "tolerance"))
                )
                if found is None or expected is None or allowed is None:
                    return self._failed(result, frame, "no picture of the right size was written")
                where = first_outside(found, expected, allowed)
                if where:
                    return self._failed(result, frame, where)
                worst = min(worst, psnr(found, expected))
                judged, total = judged + int((allowed < UNJUDGED).sum()), total + allowed.size
        compared = {**result.compared, "pixels": len(record.frames)}
        reason = (
            f"pictures within their tolerance, PSNR from {worst:.1f} dB, {100 * judged / total:.1f} % judged"
        )
        return replace(result, reason=reason, compared=compared)

    def _reference(self, record: Record, folder: Path) -> dict[int, tuple[int, int]]:
        """Has the pictures and tolerances of a stream written; frame -> height, width."""
        arguments = self.reference.arguments(
            self.reference.tolerance, stream=record.stream.resolve(), output=folder
        )
        finished = process.run(
            arguments, 10 * self.reference.timeout, self.reference.memory, threading.Event()
        )
        if finished.code or finished.stopped:
            raise DecoderError(
                f"{arguments[0]}: no tolerance of {record.id}: {finished.stderr.strip()[-200:]}"
            )
        lines = [json.loads(line) for line in finished.stdout.splitlines()]
        return {line["frame"]: (line["height"], line["width"]) for line in lines}

    def _failed(self, result: Result, frame: int, where: str) -> Result:
        difference = Difference(frame, "pixels", self.rules.stages["pixels"], where)
        return replace(result, verdict=FAIL, reason=str(difference), kind="pixels", difference=difference)


def _bytes(file: Path, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W, 4) of a file, or nothing if it is missing or of another size."""
    data = file.read_bytes() if file.is_file() else b""
    return np.frombuffer(data, np.uint8).reshape(*size, 4) if len(data) == 4 * size[0] * size[1] else None


def first_outside(found: np.ndarray, expected: np.ndarray, allowed: np.ndarray) -> str:
    """The first byte of pictures (H, W, 4) that is off by more than `allowed`, in words; nothing if there is none."""
    off = np.abs(found.astype(int) - expected)
    outside = np.argwhere((off > allowed) & (allowed < UNJUDGED))
    if not len(outside):
        return ""
    y, x, channel = (int(index) for index in outside[0])
    value, wanted, most = (int(image[y, x, channel]) for image in (found, expected, allowed))
    return (
        f"pixel x={x} y={y}, {_CHANNELS[channel]} is {value}, expected {wanted} within {most}; "
        f"{len(outside)} of {off.size} bytes are outside, PSNR {psnr(found, expected):.1f} dB"
    )


def psnr(found: np.ndarray, expected: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pictures of bytes, dB."""
    error = np.mean((found.astype(float) - expected) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
