"""§D The worked example of the document: a small stream with its bytes, its elements and what it decodes to."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformance.generate import generate
from reference_decoder import Camera, Decoder, Frame
from reference_decoder.units import UnitReader
from tools.trace import Trace

_PRESETS = {
    "template_family": 0,
    "joint_count": 2,
    "gaussian_count": 3,
    "chunk_size": 3,
    "influence_limit": 1,
    "sh_degree": 0,
    "expression_count": 1,
    "several_flag": 1,
    "frame_count": 1,
    "group_shift": 1,
}
_UNITS = ["sequence", "avatar", "metadata", "canonical", "expression", "motion", "end"]
_SIZE = 8  # pixels across the picture
_SEEDS = 400
_ROW = {"joints": 12, "gaussians": 21, "projected": 11, "pixels": 4 * _SIZE}  # values shown on a line
_BYTES = 16  # bytes shown on a line


def sections() -> dict[str, str]:
    """§D The HTML of each directive of the annex."""
    data = _stream()
    return {
        "example_stream": "".join(_units(data)),
        "example_stages": "".join(_stages(data)),
    }


def _stream() -> bytes:
    """The shortest of some random streams that has one unit of each type and shows something in every frame."""
    streams = (generate(seed, _PRESETS, units=1, size=_SIZE) for seed in range(_SEEDS))
    for data in sorted(streams, key=len):
        if [unit.type for unit in UnitReader(data)] == _UNITS:
            decoder = Decoder(data, strict=True)
            if all(len(frame.projected(decoder.cameras[0])) for frame in decoder.frames()):
                return data
    raise ValueError(f"none of {_SEEDS} random streams has the units {', '.join(_UNITS)} and shows something")


def _units(data: bytes) -> Iterator[str]:
    records: list[dict[str, Any]] = []
    Trace(data, records.append).run()
    for unit in UnitReader(data):
        yield f"<h4>Unit {unit.index}: {unit.type}</h4>{_hexadecimal(data, unit.start, unit.end)}"
        rows = [_element(r) for r in records if r["unit"] == unit.index and "element" in r]
        yield _listing(("  bit", "clause", "element", "value", "range"), rows)


def _hexadecimal(data: bytes, start: int, end: int) -> str:
    lines = (
        f"{place:4d}  {data[place : min(place + _BYTES, end)].hex(' ')}"
        for place in range(start, end, _BYTES)
    )
    return _pre("\n".join(lines))


def _element(record: dict[str, Any]) -> tuple[str, ...]:
    name = record["element"] + "".join(f"[{index}]" for index in record["index"])
    bounds = f"{record['low']} to {record['high']}" if "low" in record else ""
    return str(record["bit"]).rjust(5), record["clause"], name, str(record["value"]), bounds


def _stages(data: bytes) -> Iterator[str]:
    decoder = Decoder(data, strict=True)
    for frame in decoder.frames():
        if frame.random_access:
            yield f"<h4>canonical</h4>{_stage(frame, 'canonical', None)}"
        for stage in ("symbols", "pose", "joints", "gaussians", "projected", "pixels"):
            yield f"<h4>Frame {frame.index}: {stage}</h4>{_stage(frame, stage, decoder.cameras[0])}"


def _stage(frame: Frame, stage: str, camera: Camera | None) -> str:
    kind = np.uint8 if stage == "pixels" else np.dtype("<i4")
    values = np.frombuffer(frame.stage_bytes(stage, camera), kind)
    width = _ROW.get(stage, 16)
    lines = [" ".join(map(str, values[start : start + width])) for start in range(0, len(values), width)]
    return _pre("\n".join([*lines, f"digest {frame.digest(stage, camera).hex()}"]))


def _listing(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in (heads, *rows)
    )
    return _pre("\n".join(line.rstrip() for line in lines))


def _pre(text: str) -> str:
    return f'<pre class="code"><code>{html.escape(text)}</code></pre>'
