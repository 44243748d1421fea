"""§5.1 Mutants of the syntax description: ranges, descriptors, conditions, counts, derived values, rules, limits."""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import spec
from conformance.mutants import Mutant, node_places, unparsed_with, variants
from conformance.negative import expressible
from spec.expr import Expression, parse
from spec.load import Check, Descriptor, Element, For, If, Let, Node, Standard, Structure, While

Change = tuple[Any, Any, Any]
"""An object, the name of a field or the key of an entry of it, and what takes the place of its value."""

_NUMBERS_MATTER = ("unit_type", "metadata_type", "stage", "profile")
"""Enumerations whose numbers a decoder acts upon."""


@dataclass(frozen=True)
class SyntaxMutant(Mutant):
    """A fault in the syntax description. `line` is the identity of the node that has to be passed, 0 for all."""

    changes: tuple[Change, ...] = ()
    coded: bool = False  # whether it stands in an arithmetic-coded payload

    @contextlib.contextmanager
    def planted(self) -> Iterator[None]:
        """Changes the shipped standard for a while."""
        kept = [_get(target, name) for target, name, _ in self.changes]
        try:
            for target, name, value in self.changes:
                _set(target, name, value)
            yield
        finally:
            for (target, name, _), value in zip(self.changes, kept, strict=True):
                _set(target, name, value)


def _get(target: Any, name: Any) -> Any:
    return target[name] if isinstance(target, dict) else getattr(target, name)


def _set(target: Any, name: Any, value: Any) -> None:
    if isinstance(target, dict):
        target[name] = value
    else:
        object.__setattr__(target, name, value)  # nodes are frozen, for everybody else
    spec.standard().__dict__.pop("context_bases", None)  # which depends on descriptors


def syntax_mutants(standard: Standard) -> Iterator[SyntaxMutant]:
    """§5.1 Every mutant of the syntax tables, of the constraints, and of the tables of levels and profiles."""
    coded = _coded(standard)
    for structure in standard.structures.values():
        yield from _StructureMutants(standard, structure, structure.name in coded).all()
    yield from _level_mutants(standard)
    yield from _profile_mutants(standard)
    yield from _enumeration_mutants(standard)


def _coded(standard: Standard) -> frozenset[str]:
    """The structures that stand in arithmetic-coded payloads."""
    found = {name for name, structure in standard.structures.items() if structure.coded}
    calls = {n.structure for name in found for n in standard.nodes(name) if hasattr(n, "structure")}
    return frozenset(found | calls)


class _StructureMutants:
    """The mutants of one structure; a row is the number of a node in it."""

    def __init__(self, standard: Standard, structure: Structure, coded: bool):
        self.standard, self.structure, self.coded = standard, structure, coded
        self.row = 0

    def all(self) -> Iterator[SyntaxMutant]:
        yield from self._nodes(self.structure, "nodes")

    def _nodes(self, parent: Any, field: str) -> Iterator[SyntaxMutant]:
        nodes: tuple[Node, ...] = getattr(parent, field)
        for place, node in enumerate(nodes):
            self.row += 1
            yield from self._node(node)
            following = nodes[place + 1] if place + 1 < len(nodes) else None
            if isinstance(node, Element) and isinstance(following, Element):
                order = (*nodes[:place], following, node, *nodes[place + 2 :])
                yield self._mutant(
                    node, node.name, "order", node.name, f"after {following.name}", (parent, field, order)
                )
            for body in ("body", "then", "otherwise"):
                if hasattr(node, body):
                    yield from self._nodes(node, body)

    def _node(self, node: Node) -> Iterator[SyntaxMutant]:
        if isinstance(node, Element):
            yield from self._element(node)
        elif isinstance(node, Let):
            yield from self._expression(node, node.name, "value", node.value)
            yield from self._places(node)
        elif isinstance(node, Check):
            yield from self._check(node)
        elif isinstance(node, For):
            yield from self._expression(node, node.variable, "count", node.count)
            for delta in ("+ 1", "- 1"):
                yield self._replaced(
                    node, node.variable, "count", delta[::2], node.count, f"({node.count}) {delta}"
                )
        elif isinstance(node, If | While):
            yield from self._expression(node, type(node).__name__.lower(), "condition", node.condition)

    def _element(self, node: Element) -> Iterator[SyntaxMutant]:
        for field, end, widening in (("low", "low", "- 1"), ("high", "high", "+ 1")):
            if node.descriptor.kind == "b":
                continue
            bound: Expression = getattr(node, field)
            for delta in ("+ 1", "- 1"):
                if delta != widening or expressible(node, end):
                    yield self._replaced(node, node.name, field, delta[::2], bound, f"({bound}) {delta}")
        for operator, descriptor in _descriptors(node.descriptor, self._greatest(node.high)):
            about = descriptor.text
            change: Change = node, "descriptor", descriptor
            yield self._mutant(node, node.name, f"descriptor:{operator}", node.descriptor.text, about, change)
        if node.descriptor.kind == "ae":
            yield from self._expression(node, node.name, "context_set", node.context_set)
        yield from self._places(node)
        if node.context_start:
            change = node, "context_start", ""
            yield self._mutant(
                node, node.name, "context_start:omitted", node.context_start, "nothing", change
            )

    def _greatest(self, high: Expression) -> int:
        """The greatest value that an expression can have, as far as it is known."""
        known = self.standard.constant_values
        return high.evaluate(known) if high.names <= known.keys() else 1 << 62

    def _places(self, node: Element | Let) -> Iterator[SyntaxMutant]:
        for number, expression in enumerate(node.index):
            for operator, text in _texts(expression, self.standard.constant_values):
                index = (*node.index[:number], parse(text), *node.index[number + 1 :])
                change = node, "index", index
                yield self._mutant(
                    node, node.name, f"index{number}:{operator}", str(expression), text, change
                )

    def _check(self, node: Check) -> Iterator[SyntaxMutant]:
        rule = self.standard.constraints[node.constraint]
        if rule.requires is None:
            return
        yield self._replaced(node, rule.id, "requires", "omitted", rule.requires, "1", rule)
        for operator, text in _texts(rule.requires, self.standard.constant_values):
            yield self._replaced(node, rule.id, "requires", operator, rule.requires, text, rule)

    def _expression(
        self, node: Node, name: str, field: str, expression: Expression
    ) -> Iterator[SyntaxMutant]:
        for operator, text in _texts(expression, self.standard.constant_values):
            yield self._replaced(node, name, field, operator, expression, text)

    def _replaced(
        self,
        node: Node,
        name: str,
        field: str,
        operator: str,
        before: Expression,
        after: str,
        owner: Any = None,
    ) -> SyntaxMutant:
        change = owner or node, field, parse(after)
        return self._mutant(node, name, f"{field}:{operator}", before.text, after, change)

    def _mutant(
        self, node: Node, name: str, operator: str, before: str, after: str, change: Change
    ) -> SyntaxMutant:
        s = self.structure
        identity = f"{s.clause}/{s.name}:{self.row}.{name}.{operator}"
        line = f"{name}: {before}"
        return SyntaxMutant(
            identity, s.name, id(node), line, f"{before} -> {after}", changes=(change,), coded=self.coded
        )


def _texts(expression: Expression, constants: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What may stand in place of an expression: operator with place, and text."""
    tree = ast.parse(expression.text, mode="eval")
    places, seen = node_places(tree), {ast.unparse(tree)}
    for node in ast.walk(tree.body):
        for operator, replacement in variants(node, constants):
            text = unparsed_with(tree, places[id(node)], replacement)
            if text not in seen and "_truncated" not in text:  # nothing that is divided here is negative
                seen.add(text)
                yield f"{node.col_offset}-{node.end_col_offset}:{operator}", text  # type: ignore[attr-defined]


def _descriptors(descriptor: Descriptor, high: int) -> Iterator[tuple[str, Descriptor]]:
    """Other sizes, and the other reading of the first bit."""
    kind, size = descriptor.kind, descriptor.size
    if kind == "s" or (
        kind == "u" and high >= 1 << (int(size.text) - 1)
    ):  # or what turns negative is an error anyway
        other = "s" if kind == "u" else "u"
        yield "sign", replace(descriptor, kind=other, text=f"{other}({size})")
    if kind in ("u", "s", "b") or descriptor.binarisation in ("tree", "raw", "split"):
        for delta in ("+ 1", "- 1"):
            text = f"{kind}, {descriptor.binarisation}, ({size}) {delta}"
            yield f"size{delta[::2]}", replace(descriptor, size=parse(f"({size}) {delta}"), text=text)
    if kind == "leb128":
        yield "u(8)", Descriptor("u(8)", "u", parse(8))
    elif kind == "ae":
        other = {"flag": "raw", "raw": "tree", "tree": "raw", "magnitude": "signed", "signed": "residual",
                 "residual": "signed", "weight": "signed", "split": "raw"}[descriptor.binarisation]  # fmt: skip
        yield other, replace(descriptor, binarisation=other, text=f"ae({other})")


def _entry(identity: str, table: Any, key: Any, after: Any, name: str) -> SyntaxMutant:
    change = f"{name}: {table[key]} -> {after}"
    return SyntaxMutant(identity, name, 0, f"{name}: {table[key]}", change, changes=((table, key, after),))


def _level_mutants(standard: Standard) -> Iterator[SyntaxMutant]:
    for level, entries in standard.levels.items():
        for name in standard.limits:
            for delta in (1, -1):
                identity = f"A.2/level_{level}:{name}:{delta:+}"
                yield _entry(identity, entries, name, entries[name] + delta, f"level_{level}")


def _profile_mutants(standard: Standard) -> Iterator[SyntaxMutant]:
    for profile, entry in standard.profiles.items():
        for unit in entry["units"]:
            rest = [other for other in entry["units"] if other != unit]
            yield _entry(f"A.1/{profile}:{unit}:omitted", entry, "units", rest, profile)


def _enumeration_mutants(standard: Standard) -> Iterator[SyntaxMutant]:
    for name in _NUMBERS_MATTER:
        table: dict[int, Any] = standard.enumerations[name]  # type: ignore[assignment]
        for a, b in itertools.pairwise(table):
            about = f"{table[a][0]} and {table[b][0]} exchanged"
            changes = (table, a, table[b]), (table, b, table[a])
            yield SyntaxMutant(f"5/{name}:{a}:exchanged", name, 0, f"{name}: {a}", about, changes=changes)
