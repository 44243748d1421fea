"""§5.1 Loads the syntax description from YAML into frozen nodes, validated against `schema.json`."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spec.expr import Expression, parse

SYNTAX_DIRECTORY = Path(__file__).parent / "syntax"


class SyntaxDescriptionError(Exception):
    """The YAML is wrong: names the file and what stands there."""


class _Entry(dict[str, Any]):
    """A mapping of a file that knows its place there, and tells it where a key that must be there is missing."""

    def __init__(self, entries: dict[str, Any], file: str, content: Any, path: list[Any]):
        super().__init__(entries)
        self._where = file, content, path

    def __missing__(self, key: str) -> Any:
        raise self.error(f"'{key}' is missing")

    def error(self, message: str) -> SyntaxDescriptionError:
        """An error at this place."""
        file, content, path = self._where
        return SyntaxDescriptionError(f"{file}: {_place(content, path)}: {message}")


@dataclass(frozen=True)
class Constant:
    """A named integer, or a tuple of integers, of the standard."""

    name: str
    clause: str
    value: int | tuple[int, ...]
    about: str


@dataclass(frozen=True)
class Type:
    """An inclusive integer range with `q` fraction bits of `unit`."""

    name: str
    minimum: int
    maximum: int
    q: int
    unit: str
    about: str


@dataclass(frozen=True)
class Binarisation:
    """A way to turn bins into a value: the document functions that do it and the contexts it owns."""

    name: str
    clause: str
    decode: str
    encode: str
    contexts: Expression  # of `size`
    about: str


@dataclass(frozen=True)
class Descriptor:
    """How an element is written: `u(n)`, `s(n)`, `leb128`, `b(n)` or `ae(binarisation[, size])`."""

    text: str
    kind: str
    size: Expression
    binarisation: str = ""


@dataclass(frozen=True)
class Constraint:
    """A "shall" of the standard: what must hold, and the error when it does not."""

    id: str
    clause: str
    error: str
    requires: Expression | None
    about: str


@dataclass(frozen=True)
class Element:
    """One syntax element; `index` and `dims` are empty for a scalar."""

    name: str
    clause: str
    descriptor: Descriptor
    low: Expression
    high: Expression
    semantics: str
    unit: str
    error: str
    enumeration: str
    index: tuple[Expression, ...]
    dims: tuple[Expression, ...]
    context_sets: Expression
    context_set: Expression
    context_start: str  # the constant with what its contexts start with, if not all with the same

    @property
    def range_constraint(self) -> str:
        """The id of the constraint that the value is in its range."""
        return f"{self.name}.range"


@dataclass(frozen=True)
class Let:
    """A value that the syntax derives rather than reads: a variable, or an element that is inferred."""

    name: str
    index: tuple[Expression, ...]
    dims: tuple[Expression, ...]
    value: Expression


@dataclass(frozen=True)
class Check:
    """The place in the syntax from which a constraint can be decided."""

    constraint: str


@dataclass(frozen=True)
class For:
    """A loop of `variable` from 0 to `count` - 1."""

    variable: str
    count: Expression
    body: tuple[Node, ...]


@dataclass(frozen=True)
class While:
    """A loop that goes on as long as a condition holds."""

    condition: Expression
    body: tuple[Node, ...]


@dataclass(frozen=True)
class If:
    """A condition; `otherwise` may be empty."""

    condition: Expression
    then: tuple[Node, ...]
    otherwise: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """Another structure stands here."""

    structure: str


Node = Element | Let | Check | For | While | If | Call


@dataclass(frozen=True)
class Structure:
    """A named piece of syntax. A `coded` structure is one arithmetic-coded payload.

    A `persistent` one goes on where the unit before ended: with its contexts and the arrays that it derives.
    """

    name: str
    clause: str
    title: str
    about: str
    coded: bool
    persistent: bool
    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Standard:
    """Everything the YAML files say, merged."""

    constants: Mapping[str, Constant]
    types: Mapping[str, Type]
    enumerations: Mapping[str, Mapping[int, tuple[str, str]]]  # value -> (name, about)
    binarisations: Mapping[str, Binarisation]
    structures: Mapping[str, Structure]
    constraints: Mapping[str, Constraint]
    profiles: Mapping[str, Mapping[str, Any]]
    levels: Mapping[str, Mapping[str, int]]
    limits: Mapping[str, str]  # level limit -> about

    @functools.cached_property
    def constant_values(self) -> dict[str, Any]:
        """Constants, and enumeration values as ENUMERATION_NAME, for the pseudo-code and expressions."""
        values = {name: constant.value for name, constant in self.constants.items()}
        for enumeration, entries in self.enumerations.items():
            values |= {f"{enumeration}_{name}".upper(): value for value, (name, _) in entries.items()}
        return values

    @functools.cached_property
    def type_ranges(self) -> dict[str, tuple[int, int]]:
        """The types as (minimum, maximum)."""
        return {name: (type_.minimum, type_.maximum) for name, type_ in self.types.items()}

    def elements(self, structure: str | None = None) -> Iterator[Element]:
        """The elements of a structure and those it calls, in order; of all structures without a name."""
        for name in [structure] if structure else self.structures:
            for node in self._flat(self.structures[name].nodes, follow=structure is not None):
                if isinstance(node, Element):
                    yield node

    def nodes(self, structure: str) -> Iterator[Node]:
        """All nodes of one structure and those it calls, in order."""
        return self._flat(self.structures[structure].nodes, follow=True)

    def _flat(self, nodes: tuple[Node, ...], follow: bool) -> Iterator[Node]:
        for node in nodes:
            yield node
            if isinstance(node, For | While):
                yield from self._flat(node.body, follow)
            elif isinstance(node, If):
                yield from self._flat(node.then + node.otherwise, follow)
            elif isinstance(node, Call) and follow:
                yield from self._flat(self.structures[node.structure].nodes, follow)

    def settled(self, structure: str) -> dict[str, int]:
        """The elements of a structure whose range is a single value, which needs no choice, with that value."""
        return {
            element.name: element.low.evaluate({})
            for element in self.elements(structure)
            if not element.low.names | element.high.names
            and element.low.evaluate({}) == element.high.evaluate({})
        }

    @functools.cached_property
    def context_bases(self) -> dict[str, int]:
        """§8.3 The first context of each arithmetic-coded element within its payload."""
        bases: dict[str, int] = {}
        for structure in self.structures.values():
            if structure.coded:
                bases |= self._payload_contexts(structure.name)[0]
        return bases

    def persistent_arrays(self, structure: str) -> dict[str, tuple[Expression, ...]]:
        """§5.2.6 The arrays that a persistent payload derives and keeps from unit to unit -> their sizes."""
        if not self.structures[structure].persistent:
            return {}
        return {n.name: n.dims for n in self.nodes(structure) if isinstance(n, Let) and n.dims}

    def context_count(self, structure: str) -> int:
        """§8.3 The number of contexts of a coded payload."""
        return self._payload_contexts(structure)[1]

    def contexts_of(self, element: Element) -> int:
        """§8.3 The number of contexts in one set of an element."""
        contexts = self.binarisations[element.descriptor.binarisation].contexts
        if "size" not in contexts.names:
            return contexts.evaluate({})
        return contexts.evaluate({"size": element.descriptor.size.evaluate(self.constant_values)})

    def _payload_contexts(self, structure: str) -> tuple[dict[str, int], int]:
        bases, total = {}, 0
        for element in self.elements(structure):
            bases[element.name] = total
            total += self.contexts_of(element) * element.context_sets.evaluate(self.constant_values)
        return bases, total


def standard(directory: Path = SYNTAX_DIRECTORY, validate: bool = True) -> Standard:
    """§5.1 The standard in `directory`; raises SyntaxDescriptionError with the file's name."""
    documents = {path.name: _parsed(path) for path in sorted(directory.glob("*.yaml"))}
    if validate:
        _validate(documents, directory / "schema.json")
    merged: dict[str, dict[str, Any]] = {}
    for name, content in documents.items():
        for section, entries in _located(content, name, content, []).items():
            target = merged.setdefault(section, {})
            if repeated := target.keys() & entries.keys():
                raise SyntaxDescriptionError(f"{name}: {section} defined twice: {sorted(repeated)}")
            target |= entries
    return _build(merged)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise SyntaxDescriptionError(f"{path.name}: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SyntaxDescriptionError(f"{path.name}: no sections")
    return content


def _located(value: Any, file: str, content: Any, path: list[Any]) -> Any:
    """A value of a file with all mappings in it as entries that know their places."""
    if isinstance(value, dict):
        inner = {key: _located(item, file, content, [*path, key]) for key, item in value.items()}
        return _Entry(inner, file, content, path)
    if isinstance(value, list):
        return [_located(item, file, content, [*path, number]) for number, item in enumerate(value)]
    return value


def _validate(documents: dict[str, Any], schema_path: Path) -> None:
    import jsonschema  # costs start-up time, and only development needs it

    validator = jsonschema.Draft202012Validator(json.loads(schema_path.read_text(encoding="utf-8")))
    for name, content in documents.items():
        for error in validator.iter_errors(content):
            errors = _meant(error)
            path = list(errors[0].absolute_path)
            messages = "; ".join(e.message for e in errors if list(e.absolute_path) == path)
            raise SyntaxDescriptionError(f"{name}: {_place(content, path)}: {messages}")


def _meant(error: Any) -> list[Any]:
    """What is wrong with the alternative that was meant: the one that shares most keys with what stands there."""
    if error.validator != "anyOf" or not isinstance(error.instance, dict):
        return [error]
    shared = [
        len(choice.get("properties", {}).keys() & error.instance.keys()) for choice in error.validator_value
    ]
    if not any(shared):
        return [error]
    within = [inner for inner in error.context if inner.schema_path[0] == shared.index(max(shared))]
    return [deeper for inner in within for deeper in _meant(inner)]


def _place(content: Any, path: list[Any]) -> str:
    """A path into a YAML file, with the name of the innermost element or variable on it."""
    name = ""
    for part in path:
        content = content[part]
        if isinstance(content, dict):
            name = next((f" ({key} {content[key]})" for key in ("element", "let") if key in content), name)
    return "/".join(str(part) for part in path) + name


def _build(merged: dict[str, dict[str, Any]]) -> Standard:
    def section(name: str) -> dict[str, Any]:
        return merged.get(name, {})

    return Standard(
        constants={
            n: Constant(n, e["clause"], _value(e["value"]), e["about"])
            for n, e in section("constants").items()
        },
        types={
            n: Type(n, e["min"], e["max"], e.get("q", 0), e.get("unit", ""), e["about"])
            for n, e in section("types").items()
        },
        enumerations={
            name: {int(value): (entry["name"], entry["about"]) for value, entry in entries.items()}
            for name, entries in section("enumerations").items()
        },
        binarisations={
            n: Binarisation(n, e["clause"], e["decode"], e["encode"], parse(e["contexts"]), e["about"])
            for n, e in section("binarisations").items()
        },
        structures={name: _structure(name, entry) for name, entry in section("structures").items()},
        constraints={
            n: Constraint(
                n, e["clause"], e["error"], parse(e["requires"]) if "requires" in e else None, e["about"]
            )
            for n, e in section("constraints").items()
        },
        profiles=section("profiles"),
        levels=section("levels"),
        limits=section("limits"),
    )


def _value(value: Any) -> int | tuple[int, ...]:
    return tuple(value) if isinstance(value, list) else value


def _structure(name: str, entry: _Entry) -> Structure:
    nodes = _nodes(entry["syntax"], entry["clause"])
    coded, persistent = entry.get("coded", False), entry.get("persistent", False)
    return Structure(name, entry["clause"], entry["title"], entry["about"], coded, persistent, nodes)


def _nodes(entries: list[_Entry], clause: str) -> tuple[Node, ...]:
    return tuple(_node(entry, clause) for entry in entries)


def _node(entry: _Entry, clause: str) -> Node:
    try:
        return _made(entry, clause)
    except SyntaxDescriptionError:
        raise
    except Exception as error:
        raise entry.error(str(error)) from error


def _made(entry: _Entry, clause: str) -> Node:
    if "element" in entry:
        return _element(entry, clause)
    if "let" in entry:
        return Let(
            entry["let"],
            _expressions(entry.get("index", [])),
            _expressions(entry.get("dims", [])),
            parse(entry["value"]),
        )
    if "check" in entry:
        return Check(entry["check"])
    if "for" in entry:
        return For(entry["for"], parse(entry["count"]), _nodes(entry["do"], clause))
    if "while" in entry:
        return While(parse(entry["while"]), _nodes(entry["do"], clause))
    if "if" in entry:
        return If(parse(entry["if"]), _nodes(entry["then"], clause), _nodes(entry.get("else", []), clause))
    return Call(entry["call"])


def _element(entry: _Entry, clause: str) -> Element:
    descriptor = _descriptor(entry["descriptor"])
    low, high = entry.get("range") or _natural_range(descriptor)
    return Element(
        name=entry["element"],
        clause=clause,
        descriptor=descriptor,
        low=parse(low),
        high=parse(high),
        semantics=entry["semantics"],
        unit=entry.get("unit", ""),
        error=entry.get("error", "ConstraintViolation"),
        enumeration=entry.get("enumeration", ""),
        index=_expressions(entry.get("index", [])),
        dims=_expressions(entry.get("dims", [])),
        context_sets=parse(entry.get("context_sets", 1)),
        context_set=parse(entry.get("context_set", 0)),
        context_start=entry.get("context_start", ""),
    )


def _expressions(texts: list[Any]) -> tuple[Expression, ...]:
    return tuple(parse(text) for text in texts)


def _descriptor(text: str) -> Descriptor:
    match = re.fullmatch(r"(u|s|b)\((.+)\)|(leb128)|ae\((\w+)(?:, *(.+))?\)", text)
    if match is None:
        raise ValueError(f"no such descriptor: {text}")
    if match[3]:
        return Descriptor(text, "leb128", parse(0))
    if match[4]:
        return Descriptor(text, "ae", parse(match[5] or 0), match[4])
    return Descriptor(text, match[1], parse(match[2]))


def _natural_range(descriptor: Descriptor) -> tuple[Any, Any]:
    """The range of an element that declares none: all that its descriptor can say."""
    size = descriptor.size.text
    if descriptor.kind == "u":
        return 0, (1 << int(size)) - 1
    if descriptor.kind == "s":
        return -(1 << (int(size) - 1)), (1 << (int(size) - 1)) - 1
    if descriptor.kind == "b":
        return 0, 0
    if descriptor.binarisation == "flag":
        return 0, 1
    raise ValueError(f"an element with descriptor {descriptor.text} declares its range")
