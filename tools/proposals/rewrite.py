"""§5.1 Writes streams again under the standard of this tree; runs within the tree of a proposal.

It reads one JSON object from stdin: `values`, what new elements take, and `streams`, id -> units (`values.py`).
It prints one line of JSON for each stream: `id`, `stream` (hexadecimal) and `frames`, or `refused`, which says why.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import spec
from reference_decoder import Decoder
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Executed
from reference_decoder.units import level_limits
from reference_encoder.units import frame_unit, unit_from_source
from spec.errors import StreamError
from spec.load import Element
from spec.ports import MissingValue, Source
from tools.proposals.values import place

STAGES = ("symbols", "pose", "joints", "gaussians", "projected", "pixels")


class Rewriter:
    """§5.1 One stream in the making, from the values of another."""

    def __init__(self, defaults: Mapping[str, int]):
        self._defaults = defaults
        self._known: dict[str, Any] = {}
        self._contexts: dict[str, Any] = {}
        self._canonical: Canonical | None = None
        self._next_frame = -1

    def unit(self, unit: Mapping[str, Any]) -> bytes:
        """One unit. Raises StreamError or MissingValue for values that this standard cannot express."""
        checksum = bool(unit["checksum"])
        if "raw" in unit:
            return frame_unit(unit["kind"], bytes.fromhex(unit["raw"]), layer=unit["layer"], checksum=checksum)
        kind, values = unit["kind"], {**self._known, "next_frame": self._next_frame}
        source = _source(unit["elements"], self._defaults)
        data = unit_from_source(kind, source, values, self._contexts, checksum=checksum)
        self._follow(kind, values)
        return data

    def _follow(self, kind: str, values: dict[str, Any]) -> None:
        """What later units depend on."""
        if kind == "sequence" and not self._known:
            self._known = values | level_limits(spec.standard(), values["level"])
        elif kind == "avatar" and self._canonical is None:
            self._known = {**self._known, "joint_parent": [0], **values}
            self._canonical = Canonical.empty(Executed(), self._known)
        elif kind == "canonical" and self._canonical is not None:
            self._canonical.add_chunk(Executed(), values)
            if self._canonical.is_complete(self._known):
                self._known["surface_neighbour"] = self._canonical.neighbours(Executed(), self._known)
        elif kind == "motion":
            self._next_frame = values["first_frame"] + values["frame_count"] + 1


def _source(elements: Mapping[str, Mapping[str, Any]], defaults: Mapping[str, int]) -> Source:
    met: Counter[str] = Counter()

    def source(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        at = place(index, met[element.name])
        met[element.name] += 1
        if at in elements.get(element.name, {}):
            value = elements[element.name][at]
            return bytes.fromhex(value) if isinstance(value, str) else value
        if element.name not in defaults:
            raise MissingValue(f"the proposal gives no value for {element.name}")
        return defaults[element.name]

    return source


def rewrite(units: list[dict[str, Any]], defaults: Mapping[str, int]) -> bytes:
    """§5.1 The stream that says the same under the standard of this tree."""
    rewriter = Rewriter(defaults)
    return b"".join(rewriter.unit(unit) for unit in units)


def digests(data: bytes) -> list[dict[str, Any]]:
    """§7.8 The digests of every frame as the decoder of this tree obtains them."""
    decoder, frames = Decoder(data, strict=True), []
    for frame in decoder.frames():
        camera = decoder.cameras[min(decoder.cameras)] if decoder.cameras else None
        stages = STAGES if camera else STAGES[:4]
        found = {stage: frame.digest(stage, camera).hex() for stage in ("canonical", *stages)}
        frames.append({"frame": frame.index, "digests": found})
    return frames


def main() -> None:
    request = json.load(sys.stdin)
    for name, units in request["streams"].items():
        try:
            data = rewrite(units, request["values"])
            result = {"stream": data.hex(), "frames": digests(data)}
        except (StreamError, MissingValue) as error:
            result = {"refused": str(error)}
        print(json.dumps({"id": name, **result}), flush=True)


if __name__ == "__main__":
    main()
