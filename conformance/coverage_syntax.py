"""§5 Which parts of the syntax a stream exercises: points, and a port that notes them as it reads."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from conformance.coverage_code import Point
from spec.bits import BitReader
from spec.load import Check, Element, For, If, Let, Node, Standard, Structure, While
from spec.ports import Functions, ReadPort, Values
from spec.textports import TablePort
from spec.walk import walk


class SyntaxPoints(TablePort):
    """§5.1 The points of the syntax tables; `rows` tells the row of every node, by identity."""

    def __init__(self, standard: Standard):
        super().__init__()
        self.standard = standard
        self.points: dict[str, Point] = {}
        self.rows_of: dict[int, str] = {}
        self.coded: dict[str, str] = {}
        for structure in standard.structures.values():
            self._structure, self._depth, self.rows = structure, 0, []
            walk(standard, structure.name, self)
        self._values()

    def _point(self, kind: str, name: str, clause: str, about: str, row: int = 0) -> None:
        place = (self._structure.name, row) if row else ("", 0)
        identity = f"{kind}:{name}"
        self.points.setdefault(identity, Point(identity, kind, clause, about, place))

    def _node(self, kind: str, node: Node, name: str, about: str, sides: tuple[str, ...] = ("",)) -> None:
        row = len(self.rows) + 1
        self.rows_of[id(node)] = f"{kind}:{self._structure.name}/{name}@{row}"
        for side in sides:
            full = f"{self._structure.name}/{name}@{row}{side}"
            self._point(kind, full, self._structure.clause, about, row)

    def element(self, element: Element) -> None:
        row = len(self.rows) + 1
        self._point("element", element.name, element.clause, element.semantics, row)
        low, high = element.low.text, element.high.text
        if element.descriptor.kind != "b" and low != high:
            for end, text in (("min", low), ("max", high)):
                self._point(
                    "range", f"{element.name}:{end}", element.clause, f"{element.name} is {text}", row
                )
        for name, about in self._listed(element):
            self._point("enum", f"{element.enumeration}:{name}", element.clause, about, row)
        if _can_leave_its_range(element):
            about = f"{element.name} outside {low}..{high}"
            self._point("constraint", element.range_constraint, element.clause, about, row)
        if element.descriptor.kind == "ae":
            self._contexts(element, row)
        super().element(element)

    def _contexts(self, element: Element, row: int) -> None:
        sets = element.context_sets.evaluate(self.standard.constant_values)
        for number in range(sets if sets > 1 else 0):
            about = f"context set {number} of {element.name}"
            self._point("set", f"{element.name}:{number}", element.clause, about, row)
        for number in range(self.standard.contexts_of(element)):
            about = f"context {number} of a set of {element.name}"
            self._point("context", f"{element.name}:{number}", element.clause, about, row)

    def _listed(self, element: Element) -> Iterator[tuple[str, str]]:
        """The values of an element's enumeration that are allowed, and one for all that are not listed."""
        if not element.enumeration:
            return
        low, high = int(element.low.text), int(element.high.text)
        listed = self.standard.enumerations[element.enumeration]
        yield from ((name, about) for value, (name, about) in listed.items() if low <= value <= high)
        if any(value not in listed for value in range(low, high + 1)):
            yield "reserved", "a value that is not listed"

    def let(self, let: Let) -> None:
        self._node("let", let, let.name, f"{let.name} is derived")
        super().let(let)

    def check(self, check: Check) -> None:
        self._node("check", check, check.constraint, f"{check.constraint} is checked")
        super().check(check)

    def iterations(self, loop: For) -> Iterator[None]:
        sides = (":some",) if loop.count.text.isdigit() else (":zero", ":some")
        self._node("branch", loop, "for", f"{loop.variable} up to {loop.count}", sides)
        return super().iterations(loop)

    def repetitions(self, loop: While) -> Iterator[None]:
        self._node("branch", loop, "while", str(loop.condition), (":zero", ":some"))
        return super().repetitions(loop)

    def branches(self, condition: If) -> Iterator[tuple[Node, ...]]:
        self._node("branch", condition, "if", str(condition.condition), (":then", ":else"))
        return super().branches(condition)

    @functools.cache  # noqa: B019
    def context_points(self, structure: str) -> list[tuple[str, str]]:
        """§8.3 The ids of the set and of the context within it, for every context of a payload."""
        names = []
        for element in self.standard.elements(structure):
            each = self.standard.contexts_of(element)
            for number in range(element.context_sets.evaluate(self.standard.constant_values) * each):
                names.append(
                    (f"set:{element.name}:{number // each}", f"context:{element.name}:{number % each}")
                )
        return names

    def _values(self) -> None:
        """Points that no one table has: constraints and types of units."""
        for constraint in self.standard.constraints.values():
            self._point("constraint", constraint.id, constraint.clause, constraint.about)


def _can_leave_its_range(element: Element) -> bool:
    """Whether the descriptor of an element can say more than its range."""
    kind, size = element.descriptor.kind, element.descriptor.size.text
    low, high = element.low.text, element.high.text
    if kind in ("u", "s") and size.isdigit():
        bits = int(size)
        natural = (0, (1 << bits) - 1) if kind == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)
        return (low, high) != (str(natural[0]), str(natural[1]))
    return kind == "leb128" or (kind == "ae" and element.descriptor.binarisation != "flag")


class CoveringPort(ReadPort):
    """§5.1 A ReadPort that leaves the ids of what it passes in `found`."""

    def __init__(
        self,
        points: SyntaxPoints,
        found: set[str],
        values: Values,
        reader: BitReader,
        functions: Functions,
        contexts: dict[str, Any] | None = None,
    ):
        super().__init__(points.standard, values, reader, functions, contexts, self)
        self._points, self._found = points, found

    def on_element(
        self, element: Element, index: tuple[int, ...], value: Any, low: int, high: int, bit: int
    ) -> None:
        found, name = self._found, element.name
        found.add(f"element:{name}")
        if isinstance(value, int) and low < high:
            if value == low:
                found.add(f"range:{name}:min")
            if value == high:
                found.add(f"range:{name}:max")
        if element.enumeration:
            listed = self.standard.enumerations[element.enumeration].get(value, ("reserved", ""))
            found.add(f"enum:{element.enumeration}:{listed[0]}")

    def on_branch(self, condition: If, taken: bool) -> None:
        self._found.add(self._points.rows_of[id(condition)] + (":then" if taken else ":else"))

    def on_loop(self, loop: For, count: int) -> None:
        self._found.add(self._points.rows_of[id(loop)] + (":some" if count else ":zero"))

    def repetitions(self, loop: While) -> Iterator[None]:
        side = ":zero"
        for _ in super().repetitions(loop):
            side = ":some"
            self._found.add(self._points.rows_of[id(loop)] + side)
            yield
        if side == ":zero":
            self._found.add(self._points.rows_of[id(loop)] + side)

    def let(self, let: Let) -> None:
        super().let(let)
        self._found.add(self._points.rows_of[id(let)])

    def check(self, check: Check) -> None:
        super().check(check)
        self._found.add(self._points.rows_of[id(check)])

    def start_payload(self, structure: Structure) -> None:
        super().start_payload(structure)
        self._active = _Watched(self._active or [])

    def finish_payload(self, structure: Structure) -> None:
        """Notes the contexts of a whole payload only: one that ends in an error may use those of no valid stream."""
        assert isinstance(self._active, _Watched)
        if structure.name in self.contexts:
            self.contexts[structure.name][:] = self._active
        self._note_contexts(structure, self._active.touched)
        super().finish_payload(structure)

    def _note_contexts(self, structure: Structure, touched: set[int]) -> None:
        names = self._points.context_points(structure.name)
        for position in touched:
            self._found.update(names[position // 2])


class _Watched(list[int]):
    """The contexts of a payload, which remember those that were written."""

    def __init__(self, values: list[int]):
        super().__init__(values)
        self.touched: set[int] = set()

    def __setitem__(self, position: Any, value: Any) -> None:
        self.touched.add(position)
        super().__setitem__(position, value)
