"""A corpus of three streams for the tests of the runner: two valid ones, and one with an error between its frames."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from conformance.generate import generate
from reference_decoder import Decoder
from reference_decoder.units import UnitReader

PRESETS = {"several_flag": 1, "frame_count": 2, "expression_count": 1, "sh_degree": 1}


def write_corpus(folder: Path) -> None:
    """Writes alpha and beta, which are valid, and gamma, which has one motion unit twice."""
    streams = {"alpha": generate(3, PRESETS, size=24, keys=0), "beta": generate(5, PRESETS, size=24, keys=0)}
    streams["gamma"] = repeated(streams["beta"])
    for name, data in streams.items():
        (folder / f"{name}.hga").write_bytes(data)
        (folder / f"{name}.json").write_text(json.dumps(record(name, data)))


def repeated(data: bytes) -> bytes:
    """A stream with its first motion unit twice: the frames of the copy do not follow."""
    unit = next(unit for unit in UnitReader(data) if unit.type == "motion")
    return data[: unit.end] + data[unit.start : unit.end] + data[unit.end :]


def record(name: str, data: bytes) -> dict[str, Any]:
    """The record of a stream, from the reference decoder."""
    decoder = Decoder(data)
    frames = [
        {
            "frame": frame.index,
            "time": str(frame.time),
            "random_access": frame.random_access,
            "digests": {stage: frame.digest(stage, decoder.cameras[0]).hex() for stage in frame.stages},
        }
        for frame in decoder.frames()
    ]
    return {
        "id": f"test/{name}", "purpose": "tests the runner", "catches": "a runner that errs",
        "causes": {"pose": "the order of the residuals"}, "clauses": ["7.5.2"], "constraints": [],
        "profile": "canonical", "level": 1, "stream": f"{name}.hga", "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(), "frames": frames,
        "errors": [error.as_dict() for error in decoder.errors],
    }  # fmt: skip
