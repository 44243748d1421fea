"""§8, §C The compiled arithmetic coder is the executed one, bin by bin and payload by payload."""

from __future__ import annotations

import random
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spec
from reference_decoder import jit
from reference_decoder.payload import AccountingPort, FastReadPort, compiled, int_zeros, write_payload
from reference_decoder.units import crc32
from spec.bits import BitReader, BitWriter
from spec.errors import StreamError
from spec.load import Element
from spec.ports import ReadPort, WritePort, chosen, fresh_contexts
from spec.walk import walk

STANDARD = spec.standard()
F = spec.document().functions
COUNT = 80


def calls_of(name: str, contexts: int, smallest: int, largest: int) -> st.SearchStrategy[tuple]:
    """Calls (name, context, size, value) whose values have all numbers of bits alike."""

    def of_size(size: int) -> st.SearchStrategy[tuple]:
        if name == "split":
            parts = st.integers(1, (1 << size) - 1)
            return st.tuples(st.just(name), st.integers(0, contexts), st.just(1 << size), parts)
        low = 1 - (1 << size) if name in ("signed", "residual") else 0
        if name == "weight":
            expected = st.sampled_from((0, *range(2, 18)))
            weights = st.integers(-(1 << size), 1 << size)
            return st.tuples(st.just(name), st.integers(0, contexts), expected, weights)
        declared = size if name in ("tree", "raw") else 0
        values = st.integers(low, (1 << size) - 1) | st.just((1 << size) - 1) | st.just(low)
        return st.tuples(st.just(name), st.integers(0, contexts), st.just(declared), values)

    return st.integers(smallest, largest).flatmap(of_size)


CALLS = st.one_of(
    calls_of("flag", 3, 1, 1), calls_of("tree", 9, 0, 5), calls_of("raw", 0, 0, 24),
    calls_of("magnitude", 3, 0, 24), calls_of("signed", 3, 0, 24),
    calls_of("residual", 3, 0, 24), calls_of("split", 3, 1, 24),
    calls_of("weight", 3, 0, 7),
)  # fmt: skip
REPEATED = st.tuples(
    st.integers(1, 300), st.tuples(st.just("flag"), st.just(0), st.just(0), st.integers(0, 1))
)


def executed_payload(calls: list[tuple]) -> tuple[bytes, list[int]]:
    engine, contexts, output = [0, 0, 0], [0] * (2 * COUNT), [0] * (64 + 16 * len(calls))
    F["reset_contexts"](contexts, COUNT)
    F["start_encoder"](engine)
    for name, context, size, value in calls:
        F["encode_" + name](output, engine, contexts, context, size, value)
    return bytes(output[: F["finish_encoder"](output, engine)]), contexts


def compiled_payload(calls: list[tuple]) -> tuple[bytes, list[int]]:
    engine, contexts = np.zeros(3, np.int64), np.zeros(2 * COUNT, np.int64)
    output = np.zeros(64 + 16 * len(calls), np.uint8)
    jit.function("reset_contexts")(contexts, COUNT)
    jit.function("start_encoder")(engine)
    for name, context, size, value in calls:
        jit.function("encode_" + name)(output, engine, contexts, context, size, value)
    return output[: jit.function("finish_encoder")(output, engine)].tobytes(), contexts.tolist()


def decoded(functions: Any, data: bytes, calls: list[tuple], array: Any) -> list:
    """After every call: its value, the engine's state; at the end the contexts and whether the end is valid."""
    engine, contexts = array([0] * 4), array([0] * (2 * COUNT))
    source = np.frombuffer(data, np.uint8) if array is np.array else data
    functions("reset_contexts")(contexts, COUNT)
    functions("start_engine")(source, engine, 0, len(data))
    trace = []
    for name, context, size, _ in calls:
        value = functions("decode_" + name)(source, engine, contexts, context, size)
        trace.append((value, [int(e) for e in engine]))
    return [*trace, [int(c) for c in contexts], functions("payload_end_is_valid")(engine)]


@given(st.lists(CALLS, max_size=40), st.lists(REPEATED, max_size=3))
def test_both_write_and_read_the_same(calls: list[tuple], repeated: list[tuple]) -> None:
    for count, call in repeated:  # contexts reach their extremes
        calls = calls + [call] * count
    data, contexts = executed_payload(calls)
    assert compiled_payload(calls) == (data, contexts)
    executed = decoded(F.__getitem__, data, calls, list)
    assert executed == decoded(jit.function, data, calls, np.array)
    assert [value for value, _ in executed[:-2]] == [call[3] for call in calls]
    assert executed[-1] == 1


@given(st.binary(max_size=60), st.lists(CALLS, max_size=20))
def test_both_make_the_same_of_any_bytes(data: bytes, calls: list[tuple]) -> None:
    assert decoded(F.__getitem__, data, calls, list) == decoded(jit.function, data, calls, np.array)


@pytest.mark.parametrize("value", [(1 << 24) - 1, 1 - (1 << 24), 1 << 23, -(1 << 23)])
def test_the_largest_values(value: int) -> None:
    calls = [("signed", 0, 0, value)] * 50
    data, _ = executed_payload(calls)
    assert compiled_payload(calls)[0] == data
    assert [v for v, _ in decoded(jit.function, data, calls, np.array)[:-2]] == [value] * 50


@given(st.binary(max_size=50))
def test_the_library_checksum_is_that_of_the_document(data: bytes) -> None:
    expected = F["checksum"](list(data), 0, len(data))
    assert crc32(data, 0, len(data)) == expected == zlib.crc32(data)
    assert jit.function("checksum")(np.frombuffer(data, np.uint8), 0, len(data)) == expected


# Whole payloads

HEADER = {
    "joint_count": 3, "gaussian_count": 9, "chunk_size": 9, "chunk_count": 9, "sh_degree": 1, "influence_limit": 3,
    "skin_weight_bits": 4, "expression_count": 2, "frame_count": 2, "key_flag": 1, "group_shift": 1,
    "component_count": 14, "position_bits": 3, "scale_step": 900, "scale_blur": 900000,
    "surface_neighbour": np.array([[max(n - 1, 0), n // 2] for n in range(9)]),
}  # fmt: skip
PAYLOADS = ("canonical_gaussians", "expression_offsets", "motion_frames")


def written(structure: str, seed: int) -> tuple[bytes, dict[str, Any]]:
    """A random payload by the interpreted walk, and its values."""
    values: dict[str, Any] = dict(HEADER)
    writer, source, scalars = BitWriter(), chosen(random.Random(seed), {}), {}

    def noted(element: Element, index: tuple[int, ...], low: int, high: int) -> Any:
        value = source(element, index, low, high)
        if not index:
            scalars.setdefault(element.name, []).append(value)
        return value

    walk(STANDARD, structure, WritePort(STANDARD, values, writer, F, noted))
    names = [element.name for element in STANDARD.elements(structure) if not element.index]
    return writer.bytes(), values | {name: scalars.get(name, []) for name in names}


def read(structure: str, data: bytes, port: type[ReadPort]) -> dict[str, Any] | dict[str, object]:
    """The arrays of a payload as lists, or its error."""
    values: dict[str, Any] = dict(HEADER)
    functions = F if port is ReadPort else {name: jit.function(name) for name in spec.document().blocks}
    try:
        walk(STANDARD, structure, port(STANDARD, values, BitReader(data), functions))
    except StreamError as error:
        return error.as_dict()
    return {e.name: np.asarray(values[e.name]).tolist() for e in STANDARD.elements(structure) if e.index}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("structure", PAYLOADS)
def test_compiled_payloads_are_the_interpreted_ones(structure: str, seed: int) -> None:
    data, values = written(structure, seed)
    expected = {e.name: values[e.name] for e in STANDARD.elements(structure) if e.index}
    for port in (ReadPort, FastReadPort, AccountingPort):
        assert read(structure, data, port) == expected
    assert (
        write_payload(STANDARD.structures[structure], values | fresh(structure), contexts_of(structure))
        == data
    )


def fresh(structure: str) -> dict[str, Any]:
    """The arrays that a persistent payload of a key unit starts with."""
    return {name: np.zeros(56, np.int64) for name in STANDARD.persistent_arrays(structure)}


def contexts_of(structure: str) -> np.ndarray:
    """The contexts that a payload of a key unit starts with."""
    functions = {name: jit.function(name) for name in ("reset_contexts", "start_sets")}
    return fresh_contexts(STANDARD, structure, functions, int_zeros)


def test_contexts_start_with_what_the_syntax_names() -> None:
    """Context 8 of the shifts is even; the first two of class 2 start at 251/256 and 204/256, its seventh is even."""
    contexts, first = (
        contexts_of("motion_frames").reshape(-1, 2),
        STANDARD.context_bases["residual_magnitude"],
    )
    assert contexts[8].tolist() == [32768] * 2
    rows = contexts[first + 3 * 47 :][:7]
    assert rows[[0, 1, 6], 0].tolist() == [251 << 8, 204 << 8, 32768] and (rows[:, 0] == rows[:, 1]).all()


def test_contexts_and_derived_arrays_go_on_until_a_key_unit() -> None:
    """Three payloads in a row, the last of a key unit: both ways keep the same, and the key unit starts afresh."""
    functions = {name: jit.function(name) for name in spec.document().blocks}
    kept: list[dict[str, Any]] = [{}, {}, {}]
    for number, key in enumerate((1, 0, 1)):
        values, writer = {**HEADER, "key_flag": key}, BitWriter()
        source = chosen(random.Random(number), {})
        walk(STANDARD, "motion_frames", WritePort(STANDARD, values, writer, F, source, kept[0]))
        for port, with_functions, into in ((ReadPort, F, kept[1]), (FastReadPort, functions, kept[2])):
            found = {**HEADER, "key_flag": key}
            walk(
                STANDARD,
                "motion_frames",
                port(STANDARD, found, BitReader(writer.bytes()), with_functions, into),
            )
            assert np.array_equal(found["residual_magnitude"], values["residual_magnitude"])
        assert kept[0].keys() == {"motion_frames", "residual_mean", "previous_sign"}
        for name, entries in kept[0].items():
            assert kept[1][name] == entries and kept[2][name].tolist() == entries
        if number == 2:
            alone: dict[str, Any] = {}
            again = WritePort(STANDARD, dict(HEADER), BitWriter(), F, chosen(random.Random(2), {}), alone)
            walk(STANDARD, "motion_frames", again)
            assert alone == kept[0]


@pytest.mark.parametrize("structure", PAYLOADS)
def test_damaged_payloads_give_the_same_error_at_the_same_bit(structure: str) -> None:
    generator, seen = random.Random(structure), set()
    for seed in range(60):
        data = bytearray(written(structure, seed % 4)[0])
        for _ in range(generator.randint(0, 3)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        piece = bytes(data[: generator.choice((len(data), generator.randrange(len(data))))])
        expected = read(structure, piece, ReadPort)
        assert read(structure, piece, FastReadPort) == expected
        seen.add(expected.get("constraint", "none"))
    assert "coded_payload_length" in seen and len(seen) >= 2


@pytest.mark.parametrize("structure", PAYLOADS)
def test_a_value_out_of_range_is_not_written(structure: str) -> None:
    values = written(structure, 1)[1]
    element = next(
        e for e in STANDARD.elements(structure) if e.descriptor.binarisation in ("residual", "magnitude")
    )
    values[element.name] = np.full(np.shape(values[element.name]), 1 << 25)
    values |= {"offset_flag": [1] * 9} | fresh(structure)
    contexts = contexts_of(structure)
    with pytest.raises(StreamError, match=f"{element.name}.* is {1 << 25}, allowed"):
        write_payload(STANDARD.structures[structure], values, contexts)


@pytest.mark.parametrize("structure", PAYLOADS)
def test_the_information_spent_adds_up_to_the_payload(structure: str) -> None:
    data, _ = written(structure, 2)
    values: dict[str, Any] = dict(HEADER)
    functions = {name: jit.function(name) for name in spec.document().blocks}
    port = AccountingPort(STANDARD, values, BitReader(data), functions)
    walk(STANDARD, structure, port)
    assert port.costs.keys() == {e.name for e in compiled(structure, "read").code.elements}
    for element in STANDARD.elements(structure):
        assert port.costs[element.name].shape == (np.shape(values[element.name]) if element.index else (1,))
    assert sum(cost.sum() for cost in port.costs.values()) / 256 == pytest.approx(8 * len(data), abs=32)
