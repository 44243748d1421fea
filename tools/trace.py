"""§5.2 Every syntax element of a stream with its place, as a decoder meets it; errors where they occur."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import spec
from reference_decoder import Compiled, Decoder
from reference_decoder.payload import FastReadPort
from reference_decoder.units import UNIT_STRUCTURES, Unit, UnitReader, widest_limits
from spec.bits import BitReader
from spec.errors import StreamError
from spec.load import Element, For, If
from spec.ports import Observer, ReadPort, Values
from spec.walk import walk

Sink = Callable[[dict[str, Any]], None]


class _Enough(Exception):
    """The unit has shown as many elements as were asked for."""


class Trace:
    """§5.2 Decodes a stream and hands records to `sink`.

    A record is a unit header (`unit`, `type`, `bytes`), an element (`unit`, `bit`, `clause`,
    `element`, `index`, `value`, `low`, `high`, `meaning`), what a unit keeps back beyond `most` elements
    (`unit`, `left_out`), or an error.
    """

    def __init__(self, data: bytes, sink: Sink, unit: int | None = None, most: int | None = None):
        self._data = data
        self._sink = sink
        self._only = unit
        self._most = most
        self._units = list(UnitReader(data))
        self._by_payload = {u.payload_start: u for u in self._units if u.error is None}
        self._shown_units = 0
        self._shown_errors = 0
        self._elements = 0
        self._current = 0
        self.decoder = Decoder(data, _TracingEngine(self))

    def run(self) -> None:
        """Decodes to the end; damage is left in `decoder.errors`."""
        for _ in self.decoder.frames():
            pass
        self._headers_until(len(self._units))
        self._errors()

    def unit(self, values: Values, reader: BitReader, contexts: dict[str, Any]) -> None:
        """Called before the decoder reads a unit: shows the headers up to it, and its elements, interpreted."""
        unit = self._by_payload[reader.position // 8]
        self._headers_until(unit.index + 1)
        if not self._wanted(unit.index):
            return
        again = BitReader(self._data, reader.position, reader.end)
        kept = {name: [int(entry) for entry in entries] for name, entries in contexts.items()}
        functions = spec.document().unchecked
        port = ReadPort(spec.standard(), dict(values), again, functions, kept, _Observer(self))
        _walk(UNIT_STRUCTURES[unit.type], port)

    def element(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        """One element of the current unit."""
        if self._most is not None and self._elements >= self._most:
            if self._elements == self._most:
                self._sink({"unit": self._current, "left_out": f"elements after the first {self._most}"})
                self._elements += 1
            raise _Enough
        self._elements += 1
        record = {"unit": self._current, "bit": bit, "clause": element.clause, "element": element.name}
        record["index"] = list(index)
        if isinstance(value, bytes):
            self._sink(record | {"value": value.hex(), "meaning": _text(element, value)})
            return
        meaning = spec.standard().enumerations.get(element.enumeration, {}).get(value, ("", ""))[0]
        self._sink(record | {"value": value, "low": low, "high": high, "meaning": meaning or element.unit})

    def _wanted(self, unit: int) -> bool:
        return self._only is None or unit == self._only

    def _headers_until(self, stop: int) -> None:
        while self._shown_units < stop:
            unit = self._units[self._shown_units]
            self._errors()
            self._shown_units += 1
            if self._wanted(unit.index):
                self._header(unit)

    def _header(self, unit: Unit) -> None:
        self._current, self._elements = unit.index, 0
        self._sink(
            {"unit": unit.index, "type": unit.type or str(unit.type_number), "bytes": unit.end - unit.start}
        )
        reader = BitReader(self._data, unit.start * 8)
        port = ReadPort(
            spec.standard(), dict(widest_limits(spec.standard())), reader, {}, None, _Observer(self)
        )
        _walk("unit_header", port)

    def _errors(self) -> None:
        """The errors met since the last look, which belong before whatever comes next."""
        errors = self.decoder.errors
        while self._shown_errors < len(errors):
            error = errors[self._shown_errors]
            self._shown_errors += 1
            if error.unit is None or self._wanted(error.unit):
                self._sink(error.as_dict())


def _walk(structure: str, port: ReadPort) -> None:
    """Walks until the end, until enough was shown, or up to an error, which the decoder itself will meet and report."""
    with contextlib.suppress(_Enough, StreamError):
        walk(spec.standard(), structure, port)


def _text(element: Element, value: bytes) -> str:
    return repr(value.decode("utf-8", "replace")) if element.name.endswith("_text") else ""


class _Observer:
    """Hands elements on to the trace."""

    def __init__(self, trace: Trace):
        self.on_element = trace.element

    def on_branch(self, condition: If, taken: bool) -> None:
        pass

    def on_loop(self, loop: For, count: int) -> None:
        pass


class _TracingEngine(Compiled):
    """The compiled decoder; before it reads a unit, the trace walks the unit on copies of what it may change."""

    def __init__(self, trace: Trace):
        self._trace = trace

    def read_port(
        self, values: Values, reader: BitReader, contexts: dict[str, Any], observer: Observer | None
    ) -> ReadPort:
        self._trace.unit(values, reader, contexts)
        return FastReadPort(spec.standard(), values, reader, self.functions, contexts)
