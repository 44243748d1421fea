"""Why a stream was not passed: the first entry that differs, the syntax around it, and where two traces part."""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.runner import process
from conformance.runner.contract import stage_file
from conformance.runner.decoders import Decoder
from conformance.runner.judge import Result
from conformance.runner.report import details
from conformance.runner.stages import locate

_AROUND = 4  # elements shown on each side of a place
_TRACED = ("unit", "element", "index", "value")
Sections = dict[str, list[str]]
"""Heading -> lines."""


class _Unknown(Exception):
    """Something that a side could not be made to say."""


@dataclass(frozen=True)
class Explainer:
    """Asks both sides for more about one stream; `reference` is described like any decoder."""

    decoder: Decoder
    reference: Decoder

    def __call__(self, result: Result) -> Sections:
        """What can be said of a verdict that is no pass."""
        sections: Sections = {"verdict": [f"{result.verdict}: {result.reason}"]}
        sections |= {name: [value] for name, value in details(result).items()}
        elements = list(self._trace(self.reference, result.record.stream))
        difference = result.difference
        if difference and difference.stage:
            sections["first entry"] = [self._entry(result, difference.frame, difference.stage, elements)]
        if result.rejection:
            sections |= {
                "expected": [str(result.rejection.expected)],
                "reported": [str(result.rejection.found)],
            }
            place = result.rejection.expected
            sections["syntax around the error"] = around(elements, place.unit, place.bit_offset)
        elif difference:
            sections["unit of the frame"] = unit_of_frame(elements, difference.frame)
        if self.decoder.trace:
            sections["traces"] = [parted(elements, list(self._trace(self.decoder, result.record.stream)))]
        if result.stderr:
            sections["standard error"] = result.stderr.splitlines()[-10:]
        return {name: lines for name, lines in sections.items() if lines}

    def _entry(self, result: Result, frame: int, stage: str, elements: Sequence[Mapping[str, Any]]) -> str:
        """The first joint, Gaussian or pixel that differs."""
        if not self.decoder.dump:
            return "not known: the description of the decoder has no command `dump`"
        stream = result.record.stream
        try:
            ours, theirs = (
                self._bytes(side, stream, frame, stage) for side in (self.decoder, self.reference)
            )
        except _Unknown as error:
            return f"not known: {error}"
        if ours == theirs:
            return (
                "none: the bytes that `dump` writes are right, so the digest is not taken of them as 7.8 says"
            )
        widths = [element["value"] for element in elements if element.get("element") == "camera_width"]
        return locate(stage, ours, theirs, widths[0] if len(set(widths)) == 1 else None)

    def _bytes(self, side: Decoder, stream: Path, frame: int, stage: str) -> bytes:
        """The bytes of a stage as a side writes them; raises _Unknown."""
        with tempfile.TemporaryDirectory(prefix="hga-explain-") as folder:
            places = {"stream": stream.resolve(), "stage": stage, "frame": frame, "output": folder}
            finished = _run(side, side.dump, places)
            file = Path(folder) / stage_file(frame, stage)
            if file.is_file():
                return file.read_bytes()
            why = (
                finished.stopped
                or (finished.stderr.strip().splitlines() or [f"exit code {finished.code}"])[-1]
            )
            raise _Unknown(f"{side.name} wrote no file {file.name}: {why}")

    def _trace(self, side: Decoder, stream: Path) -> Iterator[dict[str, Any]]:
        """The elements that a side reads; lines that are no elements are left out."""
        for line in _run(side, side.trace, {"stream": stream.resolve()}).stdout.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and ("element" in value or "type" in value):
                yield value


def _run(side: Decoder, template: str, places: Mapping[str, object]) -> process.Finished:
    return process.run(side.arguments(template, **places), side.timeout, side.memory, threading.Event())


def around(elements: Sequence[Mapping[str, Any]], unit: int | None, bit: int | None) -> list[str]:
    """The elements of a unit next to a bit offset, those from it on marked by an arrow."""
    within = [e for e in elements if "element" in e and (unit is None or e["unit"] == unit)]
    if bit is None:
        return [shown(element) for element in within[:_AROUND]]
    before = [e for e in within if e["bit"] < bit][-_AROUND:]
    after = [e for e in within if e["bit"] >= bit][:_AROUND]
    return [*(shown(e) for e in before), f"  -> bit {bit}", *(shown(e) for e in after)]


def unit_of_frame(elements: Sequence[Mapping[str, Any]], frame: int) -> list[str]:
    """The first elements of the motion unit that carries a frame."""
    following = 0
    following = 0
    for number, unit in itertools.groupby(elements, key=lambda element: element["unit"]):
        members = list(unit)
        if members[0].get("type") != "motion":
            continue
        read = [element for element in members if "element" in element]
        values = {element["element"]: element["value"] for element in read if not element["index"]}
        first = values.get("first_frame", following)  # only key units say it
        following = first + values.get("frame_count", 0) + 1
        if first <= frame < following:
            return [f"unit {number}", *(shown(element) for element in read[: 3 * _AROUND])]
    return []


def shown(element: Mapping[str, Any]) -> str:
    """One element as a line."""
    name = element["element"] + "".join(f"[{i}]" for i in element["index"])
    allowed = f"  ({element['low']}..{element['high']})" if "low" in element else ""
    return f"bit {element['bit']:8}  {element.get('clause', ''):6} {name} = {str(element['value'])[:40]}{allowed}"


def parted(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> str:
    """The first element on which the reference's trace and that of the decoder do not agree."""
    ours, theirs = ([e for e in side if "element" in e] for side in (ours, theirs))
    for number, (expected, found) in enumerate(zip(ours, theirs, strict=False)):
        if any(expected[name] != found.get(name) for name in _TRACED):
            what = {name: found.get(name) for name in _TRACED}
            return (
                f"element {number} is {json.dumps(what)}, expected unit {expected['unit']}, {shown(expected)}"
            )
    if len(ours) == len(theirs):
        return f"all {len(ours)} elements agree"
    longer, side = (ours, "the decoder") if len(ours) > len(theirs) else (theirs, "the reference")
    at = min(len(ours), len(theirs))
    return f"{side} has {at} elements and stops before {json.dumps({n: longer[at].get(n) for n in _TRACED})}"
