"""§5.1 The one walk with its ports: reading, writing, generating, covering, tracing, tables and source text."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml

import spec
from spec import load
from spec.bits import BitReader, BitWriter
from spec.errors import ConstraintViolation, Malformed, StreamError, Unsupported
from spec.load import Standard
from spec.ports import Coverage, ReadPort, Tracer, WritePort, chosen, given
from spec.textports import Row, payload_code, table
from spec.walk import walk

STANDARD = spec.standard()
F = spec.document().functions

TOY = """
structures:
  toy:
    clause: "1.1"
    title: Toy
    about: All kinds of nodes.
    syntax:
      - {element: size, descriptor: u(4), range: [1, 9], semantics: a size}
      - {check: small}
      - {let: twice, value: 2 * size}
      - for: i
        count: size
        do:
          - if: i % 2 == 0
            then:
              - {element: even, descriptor: s(4), index: [i], dims: [size], error: Unsupported, semantics: x}
            else:
              - {let: even, index: [i], value: 7}
      - {element: tail, descriptor: b(payload_left), semantics: the rest}
      - {call: nothing}
  nothing: {clause: "1.2", title: Nothing, about: Empty., syntax: []}
constraints:
  small: {clause: "1.3", error: Malformed, requires: size < 6 and payload_left >= 0, about: a size below 6}
"""


@pytest.fixture
def toy(tmp_path: Path) -> Standard:
    (tmp_path / "toy.yaml").write_text(TOY)
    assert yaml.safe_load(TOY)
    return load.standard(tmp_path, validate=False)


def read(standard: Standard, data: bytes, observer: Any = None, structure: str = "toy") -> dict[str, Any]:
    values: dict[str, Any] = {}
    walk(standard, structure, ReadPort(standard, values, BitReader(data), F, observer=observer))
    return values


def write(
    standard: Standard, source: Any, structure: str = "toy", **known: Any
) -> tuple[bytes, dict[str, Any]]:
    writer, values = BitWriter(), {"payload_left": 0, **known}
    walk(standard, structure, WritePort(standard, values, writer, F, source))
    return writer.bytes(), values


def test_reading_and_writing_by_hand(toy: Standard) -> None:
    """size 3: 0011; even[0] = -2: 1110; even[1] is derived; even[2] = 5: 0101; padding is part of the tail's bits."""
    data = bytes([0b00111110, 0b01010110])
    values: dict[str, Any] = {}
    reader = BitReader(data + b"!", 0, 12)
    walk(toy, "toy", ReadPort(toy, values, reader, F))
    assert (values["size"], values["twice"], values["even"], values["tail"]) == (3, 6, [-2, 7, 5], b"")
    assert reader.position == 12
    written, _ = write(toy, given({"size": 3, "even": [-2, 0, 5], "tail": b""}))
    assert written == bytes([0b00111110, 0b01010000])


def test_the_rest_of_the_payload_is_read(toy: Standard) -> None:
    assert read(toy, bytes([0b00010011]) + b"abc")["tail"] == b"abc"


@pytest.mark.parametrize(
    ("bits", "kind", "constraint", "bit"),
    [
        ("00000000", ConstraintViolation, "size.range", 0),
        ("10100000", ConstraintViolation, "size.range", 0),
        ("01110000", Malformed, "small", 4),  # decided after size has been read
        ("0011", Malformed, "unit_truncated", 4),
    ],
)
def test_errors_say_which_rule_and_where(
    toy: Standard, bits: str, kind: type[StreamError], constraint: str, bit: int
) -> None:
    data = int(bits.ljust(8, "0"), 2).to_bytes(1, "big")
    standard = toy
    if constraint == "unit_truncated":
        standard = Standard(**{**toy.__dict__, "constraints": {**toy.constraints, **STANDARD.constraints}})
    port = ReadPort(standard, {}, BitReader(data, 0, len(bits)), F)
    with pytest.raises(kind) as caught:
        walk(standard, "toy", port)
    assert (caught.value.constraint, caught.value.bit_offset, caught.value.kind) == (
        constraint,
        bit,
        kind.__name__,
    )


def test_an_element_may_name_its_class_of_error(toy: Standard) -> None:
    with pytest.raises(Unsupported, match=r"even\[0\] is 9, allowed -8\.\.7"):
        write(toy, given({"size": 1, "even": [9], "tail": b""}))


def test_generated_streams_read_back_and_are_decided_by_the_seed(toy: Standard) -> None:
    for seed in range(20):
        data, written = write(
            toy, chosen(random.Random(seed), {"size": lambda g, low, high: g.randint(low, 5)})
        )
        assert (
            write(toy, chosen(random.Random(seed), {"size": lambda g, low, high: g.randint(low, 5)}))[0]
            == data
        )
        values = read(toy, data)
        assert (values["size"], values["even"]) == (written["size"], written["even"])


def test_presets_fix_values_lists_and_functions_and_stay_in_range(toy: Standard) -> None:
    presets = {"size": 5, "even": [1, 0, 2, 0, 99], "tail": b"xy"}
    _, values = write(toy, chosen(random.Random(1), presets))
    assert (values["size"], values["even"], values["tail"]) == (5, [1, 7, 2, 7, 7], b"xy")


def test_coverage_and_trace(toy: Standard) -> None:
    coverage = Coverage()
    read(toy, bytes([0b00110111, 0b10000000]), coverage)  # size 3, even 7, -8
    assert coverage.elements == {"size": 1, "even": 2, "tail": 1}
    assert {("even", "low"), ("even", "high")} <= coverage.range_ends
    assert ("size", "low") not in coverage.range_ends
    assert coverage.branches == {("i % 2 == 0", True), ("i % 2 == 0", False)}
    assert coverage.loops == {("size", "entered")}
    seen: list[tuple] = []
    read(
        toy,
        bytes([0b00010101]),
        Tracer(lambda element, index, value, bit: seen.append((element.name, index, value, bit))),
    )
    assert seen == [("size", (), 1, 0), ("even", (0,), 5, 4), ("tail", (), b"", 8)]


def test_table_of_the_toy(toy: Standard) -> None:
    assert table(toy, "toy") == [
        Row(0, "toy( ) {"),
        Row(1, "size", "u(4)", "size"),
        Row(1, "check small", constraint="small"),
        Row(1, "twice = 2 * size"),
        Row(1, "for( i = 0; i < size; i++ )"),
        Row(2, "if( i % 2 == 0 )"),
        Row(3, "even[ i ]", "s(4)", "even"),
        Row(2, "else"),
        Row(3, "even[ i ] = 7"),
        Row(1, "tail", "b(payload_left)", "tail"),
        Row(1, "nothing( )", structure="nothing"),
        Row(0, "}"),
    ]


@pytest.mark.parametrize("structure", STANDARD.structures)
def test_tables_of_the_shipped_syntax_name_every_element_once(structure: str) -> None:
    rows = table(STANDARD, structure)
    own = [
        n.name
        for n in STANDARD._flat(STANDARD.structures[structure].nodes, False)
        if hasattr(n, "descriptor")
    ]
    assert [row.element for row in rows if row.element] == own
    assert (rows[0].text, rows[-1].text) == (f"{structure}( ) {{", "}")


@pytest.mark.parametrize("mode", ["read", "write", "account"])
@pytest.mark.parametrize("structure", ["canonical_gaussians", "expression_offsets", "motion_frames"])
def test_source_of_payloads_is_python_with_all_arrays(structure: str, mode: str) -> None:
    code = payload_code(STANDARD, structure, mode)
    compile(code.source, "payload", "exec")
    assert {element.name for element in code.elements if element.index} <= {name for name, _ in code.arrays}
    assert code.name == f"{mode}_{structure}" and not set(code.scalars) & set(STANDARD.constant_values)


def example(kind: str, **known: Any) -> tuple[bytes, dict[str, Any]]:
    """A random payload of a shipped structure, small."""
    presets = {
        "joint_count": 3, "gaussian_count": 5, "chunk_size": 5, "frame_count": 1, "expression_count": 2, "level": 1,
    }  # fmt: skip
    limits = dict.fromkeys(STANDARD.limits, 1 << 30)
    return write(STANDARD, chosen(random.Random(kind), presets), kind, **limits, bytes_left=1 << 30, **known)


@pytest.mark.parametrize(
    "structure", ["sequence_header", "avatar_header", "end_of_sequence", "unit_checksum", "camera"]
)
def test_shipped_structures_without_coded_payload_round_trip(structure: str) -> None:
    data, written = example(structure)
    values: dict[str, Any] = dict.fromkeys(STANDARD.limits, 1 << 30)
    walk(STANDARD, structure, ReadPort(STANDARD, values, BitReader(data), F))
    for element in STANDARD.elements(structure):
        assert values.get(element.name) == written.get(element.name), element.name


@pytest.mark.parametrize("structure", ["canonical_unit", "expression_unit", "motion_unit"])
def test_shipped_structures_with_coded_payload_round_trip(structure: str) -> None:
    _, header = example("avatar_header")
    known = {
        name: header[name] for name in (e.name for e in STANDARD.elements("avatar_header")) if name in header
    }
    known |= {"next_frame": 0, "next_order": 0}
    known["surface_neighbour"] = [[0, 0]] * known["gaussian_count"]
    presets = {"several_flag": 1, "frame_count": 3, "first_frame": 0, "key_flag": 1, "group_shift": 1}
    limits = dict.fromkeys(STANDARD.limits, 1 << 30)
    writer, written = BitWriter(), {**limits, **known}
    port = WritePort(STANDARD, written, writer, F, chosen(random.Random(structure), presets))
    walk(STANDARD, structure, port)
    values: dict[str, Any] = {**limits, **known}
    reader = BitReader(writer.bytes())
    coverage = Coverage()
    walk(STANDARD, structure, ReadPort(STANDARD, values, reader, F, observer=coverage))
    assert reader.position == reader.end
    for element in STANDARD.elements(structure):
        assert values[element.name] == written[element.name], element.name
    assert coverage.elements.keys() <= {element.name for element in STANDARD.elements(structure)}
