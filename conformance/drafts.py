"""§C.1 Units that can be written again with another value, even one that the standard forbids."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import spec
from reference_decoder.units import UNIT_STRUCTURES, crc32
from spec.bits import BitReader, BitWriter
from spec.errors import StreamError
from spec.load import Check, Element, Standard
from spec.ports import ReadPort, Source, Tracer, Values, WritePort
from spec.walk import walk

Place = tuple[str, int]
"""An element by name, and which of its occurrences in the unit; -1 is the last."""

Changes = Mapping[Place, Any]
"""Other values: an integer, the name of a function of FORGERIES, or bytes that take the place of a leb128."""

FORGERIES: dict[str, Callable[[int, int], int]] = {
    "low": lambda low, high: low,
    "high": lambda low, high: high,
    "below": lambda low, high: low - 1,
    "above": lambda low, high: high + 1,
}
"""Values by the range that the element has at its place."""

Value = tuple[str, Any, int]
"""An element, its value, and its first bit in the payload."""


@dataclass(frozen=True)
class Draft:
    """§C.1 One unit of a stream in the making: the values of its elements, and what was known before it."""

    kind: str
    header: Mapping[str, int]  # unit_type, unit_layer_flag, ...: all of the unit header but unit_size
    known: Mapping[str, Any] = field(default_factory=dict)
    contexts: Mapping[str, Any] = field(default_factory=dict)
    values: tuple[Value, ...] = ()  # in the order of the syntax
    written: bytes = b""  # the payload with these values; all there is of a unit without syntax

    def occurrences(self, element: str) -> int:
        """How often an element occurs in the payload."""
        return sum(name == element for name, _, _ in self.values)

    def write(self) -> bytes:
        """§5.3 The unit with its header."""
        return framed(self.header, self.written)

    def changed(self, changes: Changes, waived: Collection[str] = ()) -> Draft:
        """§C.1 The unit with some values changed, whatever their ranges; `waived` constraints may not hold.

        `changes` may name elements of the header and of the checksum too. Behind a value outside its range
        and a constraint that does not hold, at which a decoder stops, the bits are those that were there.
        """
        header = {name: value for (name, _), value in changes.items() if name.startswith("unit_")}
        inner = {place: value for place, value in changes.items() if place[0] not in header}
        made = replace(self, header={**self.header, **header})
        return made._rewritten(inner, waived) if inner else made

    def with_payload(self, payload: bytes) -> Draft:
        """§5.3 The header with other bytes behind it, whose elements are no longer known."""
        return replace(self, values=(), written=payload)

    def _rewritten(self, changes: Changes, waived: Collection[str]) -> Draft:
        places = {(n, at if at >= 0 else self.occurrences(n) + at): v for (n, at), v in changes.items()}
        writer = BitWriter()
        port = _ForgingPort(self, places, waived, writer)
        try:
            walk(port.standard, UNIT_STRUCTURES[self.kind], port)
        except _Forbidden as stopped:
            _continue(writer, self.written, self._end_of(stopped.place))
            return self.with_payload(writer.bytes())
        return replace(self, values=tuple(port.written), written=writer.bytes())

    def _end_of(self, place: Place) -> int:
        """The bit of the payload behind an occurrence of an element."""
        bits = [bit for _, _, bit in self.values] + [8 * len(self.written)]
        found = [number for number, (name, _, _) in enumerate(self.values) if name == place[0]]
        return bits[found[place[1]] + 1]


def draft(
    kind: str,
    source: Source,
    known: Values,
    contexts: dict[str, Any] | None = None,
    *,
    checksum: bool = False,
) -> Draft:
    """§5.1 One unit whose elements `source` chooses; `known` and `contexts` grow as the writer's do."""
    before, kept = dict(known), copy.deepcopy(contexts or {})
    values: list[Value] = []

    def recorded(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        value = source(element, index, low, high)
        values.append((element.name, value, writer.position))
        return value

    standard = spec.standard()
    functions = spec.document().unchecked
    writer = BitWriter()
    walk(standard, UNIT_STRUCTURES[kind], WritePort(standard, known, writer, functions, recorded, contexts))
    header = unit_header(kind, checksum=checksum)
    return Draft(kind, header, before, kept, tuple(values), writer.bytes())


def redrafted(kind: str, payload: bytes) -> Draft:
    """§5.1 The draft of a payload without coded parts that needs nothing of other units."""
    values: list[Value] = []

    def sink(element: Element, index: tuple[int, ...], value: Any, bit: int) -> None:
        values.append((element.name, value, bit))

    reader = BitReader(payload)
    walk(
        spec.standard(),
        UNIT_STRUCTURES[kind],
        ReadPort(spec.standard(), {}, reader, {}, observer=Tracer(sink)),
    )
    return Draft(kind, unit_header(kind), {}, {}, tuple(values), payload)


def skipped(kind: int | str, payload: bytes, *, layer: int = 0, checksum: bool = False) -> Draft:
    """§6.3 A unit that a decoder skips, or whose payload is no concern of the syntax."""
    return Draft(str(kind), unit_header(kind, layer=layer, checksum=checksum), written=payload)


def unit_header(kind: int | str, *, layer: int = 0, checksum: bool = False) -> dict[str, int]:
    """§5.3 The elements of a unit header that do not depend on the payload."""
    numbers = {name: number for number, (name, _) in spec.standard().enumerations["unit_type"].items()}
    return {
        "unit_type": numbers[kind] if isinstance(kind, str) else kind,
        "unit_checksum_flag": int(checksum),
        "unit_layer_flag": int(layer > 0),
        "unit_reserved_bit": 0,
        "unit_layer": layer,
    }


def framed(header: Mapping[str, int], payload: bytes) -> bytes:
    """§5.3 A payload with its unit header and checksum, whatever `header` says; its size and checksum are right
    unless `header` has `unit_size` or `unit_checksum`."""
    layer, checksum = header["unit_layer_flag"], header["unit_checksum_flag"]
    size = unit_size(header, payload)
    values = {"unit_size": size, **header}
    standard, writer = spec.standard(), BitWriter()
    order = [element.name for element in standard.elements("unit_header")]
    every = {(name, 0): values[name] for name in order}
    known = {"bytes_left": size, "max_unit_size": size}
    checks = [check.constraint for check in standard.nodes("unit_header") if isinstance(check, Check)]
    port = _ForgingPort(Draft("", {}), every, checks, writer, known, lenient=True)
    walk(standard, "unit_header", port)
    data = writer.bytes()
    covered = data[len(data) - 1 - layer :] + payload
    if not checksum:
        return data + payload
    right = crc32(covered, 0, len(covered))
    return data + payload + (header.get("unit_checksum", right) & 0xFFFFFFFF).to_bytes(4, "big")


def unit_size(header: Mapping[str, int], payload: bytes) -> int:
    """§5.3 The bytes of a unit behind its size."""
    return 1 + header["unit_layer_flag"] + len(payload) + 4 * header["unit_checksum_flag"]


class _Forbidden(Exception):
    """What a decoder does not go beyond has been written: a value that breaks its range or a constraint."""

    def __init__(self, place: Place):
        super().__init__()
        self.place = place


def _continue(writer: BitWriter, old: bytes, bit: int) -> None:
    """Writes the bits of `old` from `bit` on."""
    left = 8 * len(old) - bit
    if left:
        writer.write("u", left, int.from_bytes(old, "big") & ((1 << left) - 1))


class _ForgingPort(WritePort):
    """§C.1 Writes the values of a draft again; those of `changes` are written whatever their range."""

    def __init__(
        self,
        origin: Draft,
        changes: Changes,
        waived: Collection[str],
        writer: BitWriter,
        known: Mapping[str, Any] | None = None,
        lenient: bool = False,  # goes on behind a constraint that does not hold
    ):
        standard: Standard = spec.standard()
        before = dict(origin.known if known is None else known)
        kept = copy.deepcopy(dict(origin.contexts))
        functions = spec.document().unchecked
        super().__init__(standard, before, writer, functions, self._value, kept)
        self._changes, self._waived, self._lenient = changes, frozenset(waived), lenient
        self._last: Place = ("", 0)
        self._stops: set[Place] = set()  # places of values that a decoder does not go beyond
        self.written: list[Value] = []
        self._met: Counter[str] = Counter()
        self._old: dict[str, list[Any]] = {}
        for name, value, _ in origin.values:
            self._old.setdefault(name, []).append(value)

    def element(self, element: Element) -> None:
        super().element(element)
        self._last = (element.name, self._met[element.name])
        if self._last in self._stops:
            raise _Forbidden(self._last)
        self._met[element.name] += 1

    def _value(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        at = self._met[element.name]
        change = self._changes.get((element.name, at))
        if change is not None and not (isinstance(change, bytes) and element.descriptor.kind == "leb128"):
            return FORGERIES[change](low, high) if isinstance(change, str) else change
        old = self._old.get(element.name, [])
        missing = (
            bytes(element.descriptor.size.evaluate(self.scope)) if element.descriptor.kind == "b" else low
        )
        value = old[at] if at < len(old) else missing
        return value if isinstance(value, bytes) else min(max(value, low), high)

    def code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        bit = self.position()
        value = self._code(element, index, low, high)
        self.written.append((element.name, value, bit))
        return value

    def _code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        change = self._changes.get((element.name, self._met[element.name]))
        if element.descriptor.kind != "leb128" or not isinstance(change, bytes):
            return super().code(element, index, low, high)
        self.writer.write("b", len(change), change)
        self._stop(element)
        return self._value(element, index, low, high)

    def judge_range(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        if (element.name, self._met[element.name]) not in self._changes:
            super().judge_range(element, index, value, low, high, bit)
        elif isinstance(value, int) and not low <= value <= high:
            self._stop(element)

    def _stop(self, element: Element) -> None:
        """Nothing is written behind this element but what was there; a coded payload is written to its end."""
        if element.descriptor.kind != "ae" and not element.name.startswith("unit_"):
            self._stops.add((element.name, self._met[element.name]))

    def check(self, check: Check) -> None:
        try:
            super().check(check)
        except StreamError:
            if check.constraint not in self._waived:
                raise
            if not self._lenient and self._active is None:
                raise _Forbidden(self._last) from None
