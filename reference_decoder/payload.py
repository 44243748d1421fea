"""§8 Reads and writes whole arithmetic-coded payloads with code compiled from the syntax description."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np

import spec
from reference_decoder import jit
from spec.errors import StreamError
from spec.load import Check, Element, Let, Structure
from spec.ports import ReadPort, Scope, ValuePort, Values, range_error
from spec.textports import FAULT_CHECK, FAULT_FULL, FAULT_NONE, FAULT_OVERRUN, PayloadCode, payload_code

_SCOPE_DTYPE = np.int32


@dataclass(frozen=True)
class CompiledPayload:
    """§8 One compiled payload function with what its caller must know."""

    code: PayloadCode
    run: Callable[..., None]

    def allocate(
        self, values: Mapping[str, Any], constants: Mapping[str, Any], kept: Mapping[str, Any]
    ) -> dict[str, np.ndarray]:
        """The arrays the payload fills: those in `kept`, others zeroed, of sizes that checked headers give."""
        scope = {**constants, **values}
        return {
            name: kept[name]
            if name in kept
            else np.zeros([dim.evaluate(scope) for dim in dims], _SCOPE_DTYPE)
            for name, dims in self.code.arrays
        }

    def call(
        self,
        buffer: np.ndarray,
        engine: np.ndarray,
        contexts: np.ndarray,
        values: Values,
        arrays: Mapping[str, np.ndarray],
        by_element: Sequence[np.ndarray] = (),
    ) -> np.ndarray:
        """Runs it; returns the fault record. `by_element` are the values to write, or arrays for the costs."""
        fault = np.full(16, FAULT_NONE, np.int64)
        given = (values[name] for name in self.code.scalars)
        scalars = [value if isinstance(value, np.ndarray) else _parameter(value) for value in given]
        filled = [arrays[name] for name, _ in self.code.arrays]
        self.run(buffer, engine, contexts, fault, *scalars, *filled, *by_element)
        return fault


def _parameter(value: Any) -> Any:
    """A value of the walk as compiled code takes it."""
    return np.array(value, np.int64) if isinstance(value, list) else int(value)


@functools.cache
def compiled(structure: str, mode: str) -> CompiledPayload:
    """§8 The compiled reader (`read`, `account`) or writer (`write`) of a coded structure."""
    code = payload_code(spec.standard(), structure, mode)
    header = jit.module_header(spec.document())
    functions = sorted(name for name in spec.document().blocks if name + "(" in code.source)
    header += f"from hga_generated_document import {', '.join(functions)}\n\n" if functions else ""
    jit.document_module()
    module = jit.generated_module(code.name, f"{header}@njit(**{jit.OPTIONS!r})\n{code.source}")
    return CompiledPayload(code, getattr(module, code.name))


class ArrayPort(ValuePort):
    """§5.1 Derives values outside coded payloads as compiled payloads take them: arrays are NumPy arrays."""

    def let(self, let: Let) -> None:
        scope = Scope(self.standard.constant_values, self.values, spec.document().unchecked)
        if let.dims and let.name not in self.values:
            self.values[let.name] = np.zeros([dim.evaluate(scope) for dim in let.dims], np.int64)
        index = tuple(expression.evaluate(scope) for expression in let.index)
        self._store(let.name, index, let.dims, let.value.evaluate(scope))


class FastReadPort(ArrayPort, ReadPort):
    """§8 A ReadPort whose coded payloads are read by compiled code instead of being walked."""

    mode = "read"

    def structure(self, structure: Structure) -> Iterator[None]:
        if structure.coded:
            self._read_payload(structure)
        else:
            yield

    def _read_payload(self, structure: Structure) -> None:
        payload = compiled(structure.name, self.mode)
        contexts = self.start_contexts(structure, self.contexts, int_zeros)
        data = np.frombuffer(self.reader.data, np.uint8)
        engine = np.zeros(4, np.int64)
        self.functions["start_engine"](data, engine, self.reader.position // 8, self.reader.end // 8)
        arrays = payload.allocate(self.values, self.standard.constant_values, self.contexts)
        counts = self.counts(payload.code, arrays)
        fault = payload.call(data, engine, contexts, self.values, arrays, counts)
        if fault[0] != FAULT_NONE:
            self._raise(payload.code, fault)
        self.finish_engine(engine)
        self.values.update(arrays)

    def counts(self, code: PayloadCode, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """§8.5.1 The arrays, by element, in which the compiled code counts what it reads: none."""
        return []

    def _raise(self, code: PayloadCode, fault: np.ndarray) -> NoReturn:
        bit = int(fault[4]) * 8
        if fault[0] == FAULT_CHECK:
            self.fail_check(*failed_check(code, fault))
        element = code.elements[int(fault[5])]
        if fault[0] == FAULT_OVERRUN:
            self.fail("coded_payload_length", f"{element.name} reads beyond the end of its payload", bit)
        raise payload_error(element, fault, bit)


class AccountingPort(FastReadPort):
    """§8.5.1 A FastReadPort that also counts the information spent on each value, in 1/256 bit.

    After the payload is read, `costs` has for each element an array of the shape of its values, or of one entry for
    an element without subscripts. `plain` has the bits of the elements outside it.
    """

    mode = "account"
    costs: Mapping[str, np.ndarray] = MappingProxyType({})

    @functools.cached_property
    def plain(self) -> dict[str, int]:
        """§5.2 The bits of each element that stands outside coded payloads, of those read so far."""
        return {}

    def code(self, element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        before = self.reader.position
        value = super().code(element, index, low, high)
        self.plain[element.name] = self.plain.get(element.name, 0) + self.reader.position - before
        return value

    def counts(self, code: PayloadCode, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        self.costs = {
            element.name: np.zeros(arrays[element.name].shape if element.index else 1, np.int64)
            for element in code.elements
        }
        return list(self.costs.values())


def payload_error(element: Element, fault: np.ndarray, bit: int) -> StreamError:
    """§6.2 The range error that a fault record stands for, equal to the one of the interpreted walk."""
    index = tuple(int(i) for i in fault[6 : 6 + len(element.index)])
    return range_error(element, index, int(fault[1]), int(fault[2]), int(fault[3]), bit)


def failed_check(code: PayloadCode, fault: np.ndarray) -> tuple[Check, int, list[int]]:
    """§6.2 The constraint that a fault record stands for, the bit offset and the values of the names in it."""
    check = code.checks[int(fault[1])]
    requires = spec.standard().constraints[check.constraint].requires
    count = len(requires.names) if requires is not None else 0
    return check, int(fault[4]) * 8, [int(value) for value in fault[6 : 6 + count]]


def write_payload(structure: Structure, values: Values, contexts: np.ndarray) -> bytes:
    """§C Encodes a coded payload from the arrays in `values`; raises the error of the first value out of range."""
    payload = compiled(structure.name, "write")
    kept = {n: values[n] for n in spec.standard().persistent_arrays(structure.name)}
    arrays = payload.allocate(values, spec.standard().constant_values, kept)
    written = [np.ascontiguousarray(values[e.name], _SCOPE_DTYPE) for e in payload.code.elements]
    output = np.zeros(65536 + 8 * sum(array.size for array in written), np.uint8)
    engine = np.zeros(3, np.int64)
    jit.function("start_encoder")(engine)
    fault = payload.call(output, engine, contexts, values, arrays, written)
    if fault[0] == FAULT_FULL:
        raise MemoryError(f"{structure.name}: the payload is larger than its bound")
    if fault[0] == FAULT_CHECK:
        ValuePort(spec.standard(), values, {}).fail_check(*failed_check(payload.code, fault))
    if fault[0] != FAULT_NONE:
        raise payload_error(payload.code.elements[int(fault[5])], fault, int(fault[4]) * 8)
    length = jit.function("finish_encoder")(output, engine)
    return output[:length].tobytes()


def int_zeros(count: int) -> np.ndarray:
    """An array of zeros as compiled payloads take contexts: small, for they are read at random."""
    return np.zeros(count, np.int32)
