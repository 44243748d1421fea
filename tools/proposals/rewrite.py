"""§5.1 Writes streams again under the standard of this tree; runs within the tree of a proposal.

It reads one JSON object from stdin: `values`, what some elements take, `points`, what the coverage of the present
standard knows, and `streams`, id -> units (`values.py`). It prints one line of JSON for each stream: `id`, `stream`
(hexadecimal) and `frames`, or `refused`, which says why; then one with `holes`, the new points of coverage that none
of the streams reaches, and what `tests` says of the recipes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import spec
from conformance.coverage import covered, points, unreachable
from conformance.recipes import released
from conformance.records import expectation
from reference_decoder import Decoder
from reference_decoder.canonical import Canonical
from reference_decoder.engine import Executed
from reference_decoder.generator import Generator, known_before
from reference_decoder.units import level_limits, motion_place
from reference_encoder.units import frame_unit, unit_from_source
from spec.errors import StreamError
from spec.load import Element
from spec.ports import MissingValue, Source
from tools.proposals.values import place


class Rewriter:
    """§5.1 One stream in the making, from the values of another."""

    def __init__(self, fixed: Mapping[str, int]):
        self._fixed = fixed
        self._known: dict[str, Any] = {}
        self._contexts: dict[str, Any] = {}
        self._canonical: Canonical | None = None
        self._active: Generator | None = None
        self._place = motion_place()

    def unit(self, unit: Mapping[str, Any]) -> bytes:
        """One unit. Raises StreamError or MissingValue for values that this standard cannot express."""
        checksum = bool(unit["checksum"])
        if "raw" in unit:
            return frame_unit(
                unit["kind"], bytes.fromhex(unit["raw"]), layer=unit["layer"], checksum=checksum
            )
        kind, values = unit["kind"], {**self._known, **self._place}
        if kind == "generator":
            values |= known_before(self._active, bool(unit["elements"]["update_flag"]["#0"]))
        source = _source(unit["elements"], self._fixed)
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
        elif kind == "generator" and self._canonical is not None:
            self._active = Generator.received(Executed(), values, self._canonical.position, self._active)
        elif kind == "motion":
            self._place = motion_place(values)


def _source(elements: Mapping[str, Mapping[str, Any]], fixed: Mapping[str, int]) -> Source:
    met: Counter[str] = Counter()

    def source(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        at = place(index, met[element.name])
        met[element.name] += 1
        if element.name in fixed:
            return fixed[element.name]
        if at in elements.get(element.name, {}):
            value = elements[element.name][at]
            return bytes.fromhex(value) if isinstance(value, str) else value
        raise MissingValue(f"neither the stream nor the proposal has a value for {element.name}")

    return source


def rewrite(units: list[dict[str, Any]], fixed: Mapping[str, int]) -> bytes:
    """§5.1 The stream that says the same under the standard of this tree."""
    rewriter = Rewriter(fixed)
    return b"".join(rewriter.unit(unit) for unit in units)


def frames(data: bytes) -> list[dict[str, Any]]:
    """§A.3.3 What the decoder of this tree obtains of every frame. Raises the StreamError of a stream that has one."""
    return expectation(Decoder(data, strict=True))["frames"]


def holes(streams: Iterable[bytes], known: frozenset[str]) -> list[str]:
    """§4.6 The points of this standard, but for the `known` ones, that no stream exercises."""
    left = set(points()) - known - unreachable().keys()
    for data in streams:
        if not left:
            break
        left -= covered(data)
    return sorted(left)


def tests() -> dict[str, Any]:
    """§A.3.3 `tested`: the constraints that a recipe breaks; `untested`: what the recipes still lack, if anything."""
    try:
        return {"tested": sorted({constraint for recipe in released() for constraint in recipe.expect})}
    except ValueError as error:  # a recipe that this standard needs more for than it has
        return {"untested": str(error)}


def main() -> None:
    request = json.load(sys.stdin)
    made = []
    for name, units in request["streams"].items():
        try:
            data = rewrite(units, request["values"])
            made.append(data)
            result = {"stream": data.hex(), "frames": frames(data)}
        except (StreamError, MissingValue) as error:
            result = {"refused": str(error)}
        print(json.dumps({"id": name, **result}), flush=True)
    print(json.dumps({"holes": holes(made, frozenset(request["points"])), **tests()}))


if __name__ == "__main__":
    main()
