"""§6.1 Negative streams: every rule of the syntax description has a stream that breaks it alone, and a legal twin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

import spec
from conformance import corpus, records
from conformance.negative import breakable
from conformance.recipes import Recipe, released
from reference_decoder import Decoder
from reference_decoder.units import UnitReader
from spec.errors import StreamError

STANDARD = spec.standard()
GROUPS = ("negative", "negative_generator", "levels")


@cache
def recipes() -> dict[str, Recipe]:
    return {recipe.id: recipe for recipe in released() if recipe.group in GROUPS}


@cache
def built(name: str) -> bytes:
    return recipes()[name].build()


@cache
def errors(name: str) -> list[StreamError]:
    decoder = Decoder(built(name))
    for _ in decoder.frames():
        pass
    return decoder.errors


def negatives() -> list[Recipe]:
    return [recipe for recipe in recipes().values() if recipe.expect]


def test_every_constraint_has_a_pair() -> None:
    """Fails for whoever adds a constraint without a stream that breaks it."""
    broken = {rule for recipe in negatives() for rule in recipe.expect}
    assert STANDARD.constraints.keys() - broken == set()


def test_every_end_of_a_range_beyond_which_something_can_be_said_has_a_pair() -> None:
    assert set(found_ranges()) == {(element.name, end) for element, end in breakable()}


def found_ranges() -> Iterator[tuple[str, str]]:
    """Which ends the streams go beyond, as the decoder says it."""
    for recipe in negatives():
        for error in errors(recipe.id):
            found = re.match(r"(\w+)(?:\[\d+\])* is (-?\d+), allowed (-?\d+)\.\.(-?\d+)$", error.message)
            if error.constraint.endswith(".range") and found:
                value, low, high = (int(text) for text in found.groups()[1:])
                yield found[1], "low" if value < low else "high" if value > high else "inside"


def test_every_leb128_is_once_needlessly_long_and_once_endless() -> None:
    names = {element.name for element in STANDARD.elements() if element.descriptor.kind == "leb128"}
    found = {
        (error.message.split(":")[0], "needless" in error.message)
        for recipe in negatives()
        for error in errors(recipe.id)
        if error.constraint == "leb128_length"
    }
    assert found == {(name, needless) for name in names for needless in (True, False)}


def test_every_reserved_value_occurs() -> None:
    """Those of an enumeration that are in range occur in a valid stream; the others are beyond a range."""
    units = list(UnitReader(built("negative/reserved_unit_type")))
    listed = STANDARD.enumerations["unit_type"]
    assert {unit.type_number for unit in units} >= set(range(32)) - listed.keys()
    items = UnitReader(built("negative/reserved_metadata_type"))
    data = built("negative/reserved_metadata_type")
    found = {data[unit.payload_start] for unit in items if unit.type == "metadata"}
    assert found >= set(range(256)) - STANDARD.enumerations["metadata_type"].keys()
    outside = {
        e.name for e in STANDARD.elements() if e.enumeration and e.name not in ("unit_type", "metadata_type")
    }
    assert {(name, "high") for name in outside} <= set(found_ranges())


def test_every_twin_is_there_and_valid() -> None:
    for recipe in negatives():
        assert recipe.twin in recipes(), recipe.id
        assert errors(recipe.twin) == [], recipe.twin


def test_every_stream_has_the_error_that_its_recipe_expects_and_no_other() -> None:
    for recipe in recipes().values():
        found = tuple(error.constraint for error in errors(recipe.id))
        assert found == recipe.expect, recipe.id
        assert len(found) <= 1, recipe.id


def test_the_bit_offset_is_where_the_stream_differs_from_its_base() -> None:
    """Independent of the walk: the first bit that was changed lies within the element that the error names."""
    sizes = {e.name: e.descriptor for e in STANDARD.elements() if e.descriptor.kind in ("u", "s")}
    seen, base = 0, built("negative/base")
    for recipe in negatives():
        if not recipe.id.startswith("negative/range_"):
            continue
        (error,) = errors(recipe.id)
        name, data = error.constraint.removesuffix(".range"), built(recipe.id)
        if name in sizes and len(data) == len(base):
            first = first_difference(data, base)
            assert error.bit_offset <= first < error.bit_offset + sizes[name].size.evaluate({}), recipe.id
            seen += 1
    assert seen > 20


def first_difference(a: bytes, b: bytes) -> int:
    """The first bit in which two streams of one length differ."""
    bits = 8 * len(a)
    return bits - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


SAMPLE = 30
"""One stream in so many is compared with the executed document here; `make conformance` compares all."""


@pytest.mark.parametrize("start", range(0, SAMPLE, 10))
def test_the_executed_document_agrees(start: int) -> None:
    for recipe in sorted(recipes().values(), key=lambda each: each.id)[start::SAMPLE]:
        entry: Any = corpus.make(recipe)
        assert [error["constraint"] for error in entry.record["errors"]] == list(recipe.expect)
        assert records.lint([entry.record]) == []
