"""§5.1 The values of a stream's elements, unit by unit, in a form that another version of the standard can write."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import spec
from reference_decoder.units import Unit, UnitReader
from tools.trace import Trace

UnitValues = dict[str, Any]
"""`kind`, `layer`, `checksum` and either `raw` (hexadecimal) or `elements`: name -> place -> value."""


def place(index: Iterable[int], occurrences: int) -> str:
    """The key of a value of an element: its index, or how often the element came before if it has none."""
    return ",".join(map(str, index)) or f"#{occurrences}"


def unit_values(data: bytes) -> list[UnitValues]:
    """§5.1 What each unit of a stream says; units that a decoder skips are kept as bytes, frame hashes are left out.

    Raises the StreamError of a stream that has one.
    """
    units = list(UnitReader(data))
    elements: list[dict[str, dict[str, Any]]] = [{} for _ in units]

    def keep(record: dict[str, Any]) -> None:
        if "element" in record:
            found = elements[record["unit"]].setdefault(record["element"], {})
            found[place(record["index"], len(found))] = record["value"]

    trace = Trace(data, keep)
    trace.run()
    for error in trace.decoder.errors:
        raise error
    said = (_unit(data, unit, found) for unit, found in zip(units, elements, strict=True))
    return [unit for unit in said if "hash_frame" not in unit.get("elements", {})]


def _unit(data: bytes, unit: Unit, elements: dict[str, dict[str, Any]]) -> UnitValues:
    kind = {"layer": unit.layer, "checksum": elements["unit_checksum_flag"]["#0"]}
    standard = spec.standard()
    frame = {element.name for name in ("unit_header", "unit_checksum") for element in standard.elements(name)}
    payload = {name: values for name, values in elements.items() if name not in frame}
    items = standard.enumerations["metadata_type"]
    if payload and payload.get("metadata_type", {"#0": next(iter(items))})["#0"] in items:
        return kind | {"kind": unit.type, "elements": payload}
    return kind | {"kind": unit.type_number, "raw": data[unit.payload_start : unit.payload_end].hex()}
