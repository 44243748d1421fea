"""§A.3.3 The corpus in the repository: whole, small, and what its recipes and the reference decoder give."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from conformance import corpus, records
from conformance.recipes import Recipe, released
from conformance.runner.records import Record, load
from reference_decoder import Decoder

SAMPLE = 12
"""One stream in so many is made and decoded here; `make conformance` takes all."""


@cache
def stored() -> dict[str, Record]:
    return {record.id: record for record in load([corpus.DIRECTORY])}


@cache
def recipes() -> dict[str, Recipe]:
    return {recipe.id: recipe for recipe in released()}


def record_of(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((corpus.DIRECTORY / f"{name}.json").read_bytes())
    return found


def test_every_recipe_has_its_stream_and_every_stream_its_recipe() -> None:
    assert stored().keys() == recipes().keys()
    assert len(corpus.files(corpus.DIRECTORY)) == 2 * len(stored())


def test_records_and_the_size_of_the_corpus_are_as_they_should_be() -> None:
    assert corpus.lint(corpus.DIRECTORY) == []


def test_every_stream_is_the_one_that_its_record_was_written_for() -> None:
    assert [name for name, record in stored().items() if not record.intact()] == []


def test_every_record_is_that_of_its_recipe_of_today() -> None:
    """Fails for whoever changes a recipe and does not run `hga conformance generate`."""
    old = [
        name
        for name, recipe in recipes().items()
        if not records.still_holds(record_of(name), recipe, stored()[name].stream.read_bytes())
    ]
    assert old == []


@pytest.mark.parametrize("start", range(3))
def test_streams_are_made_and_decoded_again_alike(start: int) -> None:
    """The stream from its recipe, byte for byte, and what the reference decoder obtains of it."""
    for recipe in list(recipes().values())[start * SAMPLE // 3 :: SAMPLE]:
        data = stored()[recipe.id].stream.read_bytes()
        assert recipe.content or recipe.build() == data, recipe.id
        found, expected = records.expectation(Decoder(data)), record_of(recipe.id)
        assert {key: expected[key] for key in found} == found, recipe.id


def test_the_smallest_come_first() -> None:
    sizes = [entry["size"] for entry in corpus.read(corpus.DIRECTORY)]
    assert sizes == sorted(sizes) and len(sizes) == len(stored())


def test_git_leaves_the_bytes_of_the_corpus_alone() -> None:
    rules = (Path(corpus.__file__).parents[1] / ".gitattributes").read_text().splitlines()
    assert "conformance/corpus/** -text" in rules and "*.hga binary" in rules
