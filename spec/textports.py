"""§5.1 The ports that produce text: the syntax tables of the document, and source code for a compiler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spec.load import Check, Element, Expression, For, If, Let, Node, Standard, Structure, While
from spec.walk import walk


@dataclass(frozen=True)
class Row:
    """One line of a syntax table: indentation, text, and the element or constraint it stands for."""

    indent: int
    text: str
    descriptor: str = ""
    element: str = ""
    constraint: str = ""
    structure: str = ""


class TablePort:
    """§5.1 Collects the rows of the table of one structure; called structures are named, not entered."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._indent = 0
        self._depth = 0

    def element(self, element: Element) -> None:
        self._row(element.name + _subscript(element.index), element.descriptor.text, element=element.name)

    def let(self, let: Let) -> None:
        self._row(f"{let.name}{_subscript(let.index)} = {let.value}")

    def check(self, check: Check) -> None:
        self._row(f"check {check.constraint}", constraint=check.constraint)

    def iterations(self, loop: For) -> Iterator[None]:
        self._row(f"for( {loop.variable} = 0; {loop.variable} < {loop.count}; {loop.variable}++ )")
        yield from self._indented()

    def repetitions(self, loop: While) -> Iterator[None]:
        self._row(f"while( {loop.condition} )")
        yield from self._indented()

    def branches(self, condition: If) -> Iterator[tuple[Node, ...]]:
        self._row(f"if( {condition.condition} )")
        for _ in self._indented():
            yield condition.then
        if condition.otherwise:
            self._row("else")
            for _ in self._indented():
                yield condition.otherwise

    def structure(self, structure: Structure) -> Iterable[None]:
        if self._depth:
            self._row(f"{structure.name}( )", structure=structure.name)
            return
        self._depth += 1
        self._row(f"{structure.name}( ) {{")
        yield from self._indented()
        self._row("}")

    def _indented(self) -> Iterator[None]:
        self._indent += 1
        yield
        self._indent -= 1

    def _row(
        self, text: str, descriptor: str = "", element: str = "", constraint: str = "", structure: str = ""
    ) -> None:
        self.rows.append(Row(self._indent, text, descriptor, element, constraint, structure))


def table(standard: Standard, structure: str) -> list[Row]:
    """§5.1 The syntax table of a structure."""
    port = TablePort()
    walk(standard, structure, port)
    return port.rows


@dataclass(frozen=True)
class PayloadCode:
    """Source of the reader or writer of one coded payload, and the order of its parameters."""

    name: str
    source: str
    scalars: tuple[str, ...]
    arrays: tuple[tuple[str, tuple[Expression, ...]], ...]
    elements: tuple[Element, ...]
    checks: tuple[Check, ...]


FAULT_NONE, FAULT_OVERRUN, FAULT_FULL, FAULT_CHECK = -1, -2, -3, -4
"""First entry of a compiled payload's `fault` array when it is not the number of an element."""


class CompilePort:
    """§8 Emits a function that reads (or writes) a whole coded payload without interpretation.

    The function works on arrays. A writer takes all values of an element from an array of their own, those of an
    element without subscripts in the order of writing, so that functions see what a reader would. An accounting reader
    leaves in such an array the cost of each value, or of all values of an element without subscripts. It stops at the
    first fault and leaves in `fault` the number of the element, its value, its range, the byte position and the index;
    for a constraint that does not hold its number, the byte position and the values that it names.
    """

    def __init__(self, standard: Standard, structure: str, mode: str):
        self.standard = standard
        self.mode = mode
        self.elements = {element.name: element for element in standard.elements(structure)}
        self.numbers = {name: number for number, name in enumerate(self.elements)}
        self.checks: list[Check] = []
        self.lines: list[str] = []
        self._indent = 1

    def element(self, element: Element) -> None:
        binarisation = self.standard.binarisations[element.descriptor.binarisation]
        base = self.standard.context_bases[element.name]
        context = f"{base} + ({element.context_set}) * {self.standard.contexts_of(element)}"
        target = _target(element)
        if self.mode == "write":
            if element.index:
                self._emit(f"value = {_target(element, 'values_of_')}")
            else:
                self._emit(f"value = values_of_{target}[next_{target}]; next_{target} += 1")
            self._range_check(element, "engine[2]")
            self._emit(f"if engine[2] + 64 > len(output): fault[0] = {FAULT_FULL}; return")
            self._emit(
                f"{binarisation.encode}(output, engine, contexts, {context}, {element.descriptor.size}, value)"
            )
            self._emit(f"{target} = value")
            return
        self._emit("before = engine[0]")
        self._emit(
            f"value = {binarisation.decode}(data, engine, contexts, {context}, {element.descriptor.size})"
        )
        self._emit(f"if engine[0] > limit: {self._fault(element, str(FAULT_OVERRUN), 'before')}")
        self._range_check(element, "before")
        self._emit(f"{target} = value")
        if self.mode == "account":
            place = ", ".join(str(i) for i in element.index) or "0"
            self._emit("now = engine_information(engine)")
            self._emit(f"cost_of_{element.name}[{place}] += now - mark")
            self._emit("mark = now")

    def _range_check(self, element: Element, position: str) -> None:
        number = str(self.numbers[element.name])
        self._emit(
            f"if value < ({element.low}) or value > ({element.high}): {self._fault(element, number, position)}"
        )

    def _fault(self, element: Element, code: str, position: str) -> str:
        entries = [
            code,
            "value",
            str(element.low),
            str(element.high),
            position,
            str(self.numbers[element.name]),
        ]
        entries += [str(expression) for expression in element.index]
        return "; ".join(f"fault[{i}] = {entry}" for i, entry in enumerate(entries)) + "; return"

    def let(self, let: Let) -> None:
        self._emit(f"{_target(let)} = {let.value}")

    def check(self, check: Check) -> None:
        requires = self.standard.constraints[check.constraint].requires
        assert requires is not None
        position = "engine[2]" if self.mode == "write" else "engine[0]"
        found = [f"fault[{6 + i}] = {name}" for i, name in enumerate(sorted(requires.names))]
        code = [
            f"fault[0] = {FAULT_CHECK}",
            f"fault[1] = {len(self.checks)}",
            f"fault[4] = {position}",
            *found,
        ]
        self._emit(f"if not ({requires}): {'; '.join(code)}; return")
        self.checks.append(check)

    def iterations(self, loop: For) -> Iterator[None]:
        self._emit(f"for {loop.variable} in range({loop.count}):")
        yield from self._indented()

    def repetitions(self, loop: While) -> Iterator[None]:
        self._emit(f"while {loop.condition}:")
        yield from self._indented()

    def branches(self, condition: If) -> Iterator[tuple[Node, ...]]:
        self._emit(f"if {condition.condition}:")
        for _ in self._indented():
            yield condition.then
        if condition.otherwise:
            self._emit("else:")
            for _ in self._indented():
                yield condition.otherwise

    def structure(self, structure: Structure) -> Iterator[None]:
        yield

    def _indented(self) -> Iterator[None]:
        self._indent += 1
        yield
        self._indent -= 1

    def _emit(self, text: str) -> None:
        self.lines.append("    " * self._indent + text)


def payload_code(standard: Standard, structure: str, mode: str) -> PayloadCode:
    """§8 Source of `{mode}_{structure}` for mode read, write or account (read, and count 1/256 bits)."""
    port = CompilePort(standard, structure, mode)
    walk(standard, structure, port)
    nodes = list(standard.nodes(structure))
    arrays = {n.name: n.dims for n in nodes if isinstance(n, Element | Let) and n.dims}
    local = {n.name for n in nodes if isinstance(n, Element | Let) and not n.index} | {
        n.variable for n in nodes if isinstance(n, For)
    }
    used = frozenset[str]().union(*(e.names for node in nodes for e in expressions_of(node)))
    scalars = sorted(used - arrays.keys() - local - standard.constant_values.keys())
    buffer = "output" if mode == "write" else "data"
    parameters = [buffer, "engine", "contexts", "fault", *scalars, *arrays]
    if mode != "read":
        parameters += [f"{'values' if mode == 'write' else 'cost'}_of_{name}" for name in port.elements]
    head = [f"def {mode}_{structure}({', '.join(parameters)}):"]
    if mode != "write":
        head.append("    limit = engine[1] + ENGINE_MAX_OVERRUN")
    else:
        head += [f"    next_{name} = 0" for name, element in port.elements.items() if not element.index]
    if mode == "account":
        head.append("    mark = engine_information(engine)")
    source = "\n".join(head + port.lines) + "\n"
    name = f"{mode}_{structure}"
    elements, checks = tuple(port.elements.values()), tuple(port.checks)
    return PayloadCode(name, source, tuple(scalars), tuple(arrays.items()), elements, checks)


def expressions_of(node: Node) -> list[Expression]:
    """§5.1 What a compiled payload evaluates at one node of the syntax."""
    if isinstance(node, Element):
        return [node.low, node.high, node.descriptor.size, node.context_set, *node.index, *node.dims]
    if isinstance(node, Let):
        return [node.value, *node.index, *node.dims]
    if isinstance(node, For):
        return [node.count]
    if isinstance(node, If | While):
        return [node.condition]
    return []


def _target(node: Element | Let, prefix: str = "") -> str:
    """Where a compiled payload keeps a value."""
    name = prefix + node.name
    return f"{name}[{', '.join(str(i) for i in node.index)}]" if node.index else name


def _subscript(index: tuple[Expression, ...]) -> str:
    return "".join(f"[ {expression} ]" for expression in index)
