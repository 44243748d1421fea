"""§5.3 Cuts a stream into units and reads the structures that stand in them."""

from __future__ import annotations

import contextlib
import zlib
from collections import ChainMap
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import spec
from spec.bits import BitReader
from spec.errors import KINDS, StreamError
from spec.load import Check, Let, Standard, Structure
from spec.ports import Observer, ReadPort
from spec.walk import walk

UNIT_STRUCTURES = {
    "sequence": "sequence_header",
    "avatar": "avatar_header",
    "canonical": "canonical_unit",
    "expression": "expression_unit",
    "generator": "generator_unit",
    "motion": "motion_unit",
    "metadata": "metadata_unit",
    "end": "end_of_sequence",
}
"""§5.3 The structure in the payload of each type of unit."""


@dataclass(frozen=True)
class Unit:
    """§5.3 One unit: its place in the stream (bytes), its header, and what is wrong with it, if anything."""

    index: int
    start: int
    payload_start: int
    payload_end: int
    end: int
    type: str  # a name of the unit_type enumeration, or "" for one that is not listed
    type_number: int
    layer: int
    error: StreamError | None = None


class UnitReader:
    """§5.3 Iterates over the units of a stream; `limits` are those of the level once it is known."""

    def __init__(self, data: bytes):
        self.standard = spec.standard()
        self.data = data
        self.limits = widest_limits(self.standard)

    def __iter__(self) -> Iterator[Unit]:
        """Yields every unit; a header that cannot be read ends the iteration with a unit that carries the error."""
        position, index = 0, 0
        while position < len(self.data):
            unit = self._read(position, index)
            yield unit
            position, index = unit.end, index + 1

    def _read(self, start: int, index: int) -> Unit:
        values: dict[str, Any] = dict(self.limits)
        reader = BitReader(self.data, start * 8)
        port = _HeaderPort(self.standard, values, reader, {})
        try:
            walk(self.standard, "unit_header", port)
        except StreamError as error:
            error.unit = index
            end = port.unit_end or len(self.data)
            return Unit(
                index,
                start,
                end,
                end,
                end,
                "",
                values.get("unit_type", 0),
                values.get("unit_layer", 0),
                error,
            )
        end = port.unit_end
        payload_end = end - 4 * values["unit_checksum_flag"]
        number = values["unit_type"]
        name = self.standard.enumerations["unit_type"].get(number, ("", ""))[0]
        unit = Unit(index, start, reader.position // 8, payload_end, end, name, number, values["unit_layer"])
        if values["unit_checksum_flag"]:
            return self._checked(unit, port)
        return unit

    def _checked(self, unit: Unit, port: _HeaderPort) -> Unit:
        values: dict[str, Any] = {}
        reader = BitReader(self.data, unit.payload_end * 8, unit.end * 8)
        walk(self.standard, "unit_checksum", ReadPort(self.standard, values, reader, {}))
        if values["unit_checksum"] == crc32(self.data, port.size_end, unit.payload_end):
            return unit
        rule = self.standard.constraints["unit_checksum_matches"]
        error = KINDS[rule.error](
            f"unit_checksum is {values['unit_checksum']:#010x}, the bytes of the unit do not agree",
            constraint=rule.id,
            clause=rule.clause,
            bit_offset=unit.payload_end * 8,
            unit=unit.index,
        )
        return Unit(**{**unit.__dict__, "error": error})


class _HeaderPort(ReadPort):
    """Notes where the unit ends as soon as its size is known to fit, so that a bad header costs one unit."""

    unit_end = 0  # not known
    size_end = 0

    def check(self, check: Any) -> None:
        super().check(check)
        if check.constraint == "unit_size_fits":
            self.size_end = self.reader.position // 8
            self.unit_end = self.size_end + self.values["unit_size"]
            self.reader.end = self.unit_end * 8


def crc32(data: bytes, start: int, end: int) -> int:
    """§8.6 The checksum; the library's CRC-32 is this one, by test."""
    return zlib.crc32(data[start:end])


def widest_limits(standard: Standard) -> dict[str, int]:
    """§A.2 The limits that hold before the level is known: the greatest of any level."""
    return {name: max(level[name] for level in standard.levels.values()) for name in standard.limits}


def level_limits(standard: Standard, number: int) -> dict[str, int]:
    """§A.2 The limits of a level by its number."""
    level = next(level for level in standard.levels.values() if level["number"] == number)
    return {name: level[name] for name in standard.limits}


def units_of_profile(standard: Standard, sequence: Mapping[str, Any]) -> Collection[str]:
    """§A.1 The types of units that are not skipped: those of the profile, and every listed type before it is known."""
    if not sequence:
        return UNIT_STRUCTURES.keys()
    name, _ = standard.enumerations["profile"][sequence["profile"]]
    units: Collection[str] = standard.profiles[name]["units"]
    return units


PortFactory = Callable[[dict[str, Any], BitReader, dict[str, Any], Observer | None], ReadPort]


def read_unit(
    data: bytes,
    unit: Unit,
    values: dict[str, Any],
    port_factory: PortFactory,
    contexts: dict[str, Any],
    observer: Observer | None = None,
) -> ReadPort:
    """§5.3 Reads the structure in a unit into `values`; raises a StreamError that names the unit."""
    standard = spec.standard()
    reader = BitReader(data, unit.payload_start * 8, unit.payload_end * 8)
    port = port_factory(values, reader, contexts, observer)
    try:
        walk(standard, UNIT_STRUCTURES[unit.type], port)
        if reader.position != reader.end and not _reserved_metadata(standard, unit, values):
            left = reader.end - reader.position
            port.fail("unit_trailing_bytes", f"{left} bits left over in a unit of type {unit.type}")
    except StreamError as error:
        error.unit = unit.index
        raise
    return port


class _PeekPort(ReadPort):
    """Reads only what stands before a coded payload, and judges nothing but ranges."""

    def check(self, check: Check) -> None:
        pass

    def let(self, let: Let) -> None:
        pass

    def structure(self, structure: Structure) -> Iterator[None]:
        if not structure.coded:
            yield


def peek(data: bytes, unit: Unit, known: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """§5 The elements that stand before the coded payload of a unit, up to the first that cannot be read or derived.

    `known` holds the elements of the headers that their ranges need. Errors are left to the real reading.
    """
    values: dict[str, Any] = {}
    reader = BitReader(data, unit.payload_start * 8, unit.payload_end * 8)
    port = _PeekPort(spec.standard(), ChainMap(values, dict(known)), reader, {})
    with contextlib.suppress(StreamError, NameError):
        walk(spec.standard(), UNIT_STRUCTURES[unit.type], port)
    return values


def peek_motion(data: bytes, unit: Unit) -> tuple[bool, int, int]:
    """§5.8 (key_flag, first_frame or -1 in a unit that does not say it, number of frames) of a motion unit.

    There are no frames if they cannot be read.
    """
    values = peek(data, unit)
    key, last = bool(values.get("key_flag", 0)), "first_frame" if values.get("key_flag", 0) else "unit_order"
    if last not in values or (values["several_flag"] and "frame_count" not in values):
        return key, -1, 0
    return key, values.get("first_frame", -1), values.get("frame_count", 0) + 1


def motion_place(last: Mapping[str, Any] = MappingProxyType({})) -> dict[str, int]:
    """§6.8 `next_frame` and `next_order` after a motion unit with the elements `last`, without before the first one."""
    if not last:
        return {"next_frame": -1, "next_order": 0}
    return {
        "next_frame": last["first_frame"] + last["frame_count"] + 1,
        "next_order": (last["unit_order"] + 1) % 16,
    }


def motion_units(data: bytes) -> Iterator[tuple[Unit, bool, int, int]]:
    """§5.8 (unit, key_flag, first_frame, number of frames) of every motion unit of a stream without losses."""
    next_frame = 0
    for unit in UnitReader(data):
        if unit.type == "motion" and unit.layer == 0:
            key, first, count = peek_motion(data, unit)
            first = first if key else next_frame
            yield unit, key, first, count
            next_frame = first + count


def _reserved_metadata(standard: Standard, unit: Unit, values: dict[str, Any]) -> bool:
    """§6.9 An item of metadata of a type that is not listed is skipped whole."""
    return unit.type == "metadata" and values["metadata_type"] not in standard.enumerations["metadata_type"]
