"""§5.1 Loads the syntax description from YAML into frozen nodes, validated against `schema.json`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SYNTAX_DIRECTORY = Path(__file__).parent / "syntax"


class SyntaxDescriptionError(Exception):
    """The YAML is wrong: names the file and what stands there."""


@dataclass(frozen=True)
class Constant:
    """A named integer, or a tuple of integers, of the standard."""

    name: str
    clause: str
    value: int | tuple[int, ...]
    about: str


@dataclass(frozen=True)
class Type:
    """An inclusive integer range; `q` fraction bits of `unit`."""

    name: str
    minimum: int
    maximum: int
    q: int
    unit: str
    about: str


@dataclass(frozen=True)
class Standard:
    """Everything the YAML files say, merged."""

    constants: Mapping[str, Constant]
    types: Mapping[str, Type]

    @functools.cached_property
    def constant_values(self) -> dict[str, int | tuple[int, ...]]:
        return {name: constant.value for name, constant in self.constants.items()}

    @functools.cached_property
    def type_ranges(self) -> dict[str, tuple[int, int]]:
        return {name: (type_.minimum, type_.maximum) for name, type_ in self.types.items()}


def standard(directory: Path = SYNTAX_DIRECTORY) -> Standard:
    """§5.1 The standard in `directory`."""
    documents = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.yaml"))}
    constants: dict[str, Constant] = {}
    types: dict[str, Type] = {}
    for content in documents.values():
        for name, entry in content.get("constants", {}).items():
            value = tuple(entry["value"]) if isinstance(entry["value"], list) else entry["value"]
            constants[name] = Constant(name, entry["clause"], value, entry["about"])
        for name, entry in content.get("types", {}).items():
            types[name] = Type(name, entry["min"], entry["max"], entry.get("q", 0), entry.get("unit", ""), entry["about"])
    return Standard(constants, types)
