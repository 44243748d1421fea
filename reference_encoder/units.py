"""§5.3 Integers to units to bytes: the write side of the one walk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import spec
from reference_decoder import jit
from reference_decoder.payload import ArrayPort, int_zeros, write_payload
from reference_decoder.units import UNIT_STRUCTURES, crc32
from spec.bits import BitWriter
from spec.load import Structure
from spec.ports import Source, WritePort, given
from spec.walk import walk


class FastWritePort(ArrayPort, WritePort):
    """§C A WritePort whose coded payloads are written by compiled code, from arrays in `arrays`."""

    arrays: Mapping[str, Any] = {}

    def structure(self, structure: Structure) -> Iterator[None]:
        if not structure.coded:
            yield
            return
        contexts = self.start_contexts(structure, self.contexts, int_zeros)
        payload = write_payload(structure, {**self.arrays, **self.values}, contexts)
        self.writer.write("b", len(payload), payload)


def unit(
    kind: str,
    values: Mapping[str, Any],
    known: Mapping[str, Any],
    contexts: dict[str, Any] | None = None,
    *,
    checksum: bool = False,
) -> bytes:
    """§5.3 One unit of type `kind` whose elements are in `values`.

    `known` holds what earlier units said (counts, limits); `contexts` keeps the contexts of motion
    payloads from unit to unit. Raises a StreamError for a value outside its range.
    """
    standard = spec.standard()
    writer = BitWriter()
    functions = {name: jit.function(name) for name in ("reset_contexts", "start_sets")}
    port = FastWritePort(standard, dict(known), writer, functions, given(values), contexts)
    port.arrays = values
    walk(standard, UNIT_STRUCTURES[kind], port)
    return frame_unit(kind, writer.bytes(), checksum=checksum)


def unit_from_source(
    kind: str,
    source: Source,
    known: dict[str, Any],
    contexts: dict[str, Any] | None = None,
    *,
    checksum: bool = False,
) -> bytes:
    """§5.1 One unit whose elements `source` chooses, written by the interpreted walk; `known` grows."""
    standard = spec.standard()
    writer = BitWriter()
    walk(
        standard,
        UNIT_STRUCTURES[kind],
        WritePort(standard, known, writer, spec.document().unchecked, source, contexts),
    )
    return frame_unit(kind, writer.bytes(), checksum=checksum)


def frame_unit(kind: str | int, payload: bytes, *, layer: int = 0, checksum: bool = False) -> bytes:
    """§5.3 A payload with its unit header, and its checksum if wanted."""
    standard = spec.standard()
    numbers = {name: number for number, (name, _) in standard.enumerations["unit_type"].items()}
    size = 1 + (layer > 0) + len(payload) + 4 * checksum
    values = {
        "unit_size": size,
        "unit_type": numbers[kind] if isinstance(kind, str) else kind,
        "unit_checksum_flag": int(checksum),
        "unit_layer_flag": int(layer > 0),
        "unit_reserved_bit": 0,
        "unit_layer": layer,
    }
    known = {"bytes_left": size, "max_unit_size": size}
    writer = BitWriter()
    walk(standard, "unit_header", WritePort(standard, known, writer, {}, given(values)))
    header = writer.bytes()
    if not checksum:
        return header + payload
    covered = header[-1 - (layer > 0) :] + payload
    return header + payload + crc32(covered, 0, len(covered)).to_bytes(4, "big")
