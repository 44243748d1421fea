"""§4.6 Which lines, branches and range ends of the pseudo-code a run passes: points, and functions that note them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from spec.run import CHECKS, Block, Document

MACHINE_TYPES = frozenset({"int32", "int64", "index"})
"""Types that say how wide a register has to be, not what a value can be: their ends are no points."""


@dataclass(frozen=True)
class Point:
    """One thing that a stream can exercise; `place` is a function with a line of it, or a structure with a row."""

    id: str
    kind: str
    clause: str
    about: str
    place: tuple[str, int] = ("", 0)


class InstrumentedCode:
    """§4.6 The decoding functions of a document, which note the points that they pass; range ends only if `checked`."""

    def __init__(self, document: Document, checked: bool = True):
        self.document = document
        self.points: dict[str, Point] = {}
        self._ids: list[str] = []
        self.ends: set[str] = set()
        names: dict[str, Any] = {"_condition": self._condition, "_checked_Declared": self._declared}
        self._names = names
        self._hits = bytearray(1 << 16)
        names["_hit"] = self._hits
        self.functions: Mapping[str, Callable[..., Any]] = document.execute(checked, self._rewrite, names)

    def take(self) -> set[str]:
        """The ids of the points passed since the last call."""
        found = {self._ids[n] for n in range(len(self._ids)) if self._hits[n]} | self.ends
        self._hits[:] = bytes(len(self._hits))
        self.ends.clear()
        return found & self.points.keys()

    def new(self, kind: str, block: Block, line: int, suffix: str, about: str) -> int:
        """The number of a new point of a function."""
        identity = f"{kind}:{block.clause}/{block.name}:{suffix}"
        self.points[identity] = Point(identity, kind, block.clause, about, (block.name, line))
        self._ids.append(identity)
        return len(self._ids) - 1

    def _rewrite(self, block: Block, tree: ast.Module) -> ast.Module:
        if not is_decoding(block):
            return tree
        function = tree.body[0]
        assert isinstance(function, ast.FunctionDef)
        self._declare_ends(block, function)
        _Instrument(self, block).function(function)
        return ast.fix_missing_locations(tree)

    def _condition(self, value: Any, number: int) -> Any:
        self._hits[number + (not value)] = 1
        return value

    def _declared(self, value: Any, ranges: tuple[Any, ...], what: str) -> Any:
        """The check of a declared range, which also notes its ends."""
        if ranges[0] == "range" and ranges[1] < value < ranges[2]:
            return value
        CHECKS["Declared"](value, ranges, what)
        self._note_ends(value, ranges, what)
        return value

    def _note_ends(self, value: Any, ranges: tuple[Any, ...], what: str) -> None:
        if ranges[0] == "range":
            if value == ranges[1]:
                self.ends.add(_end_id(what, "min"))
            if value == ranges[2]:
                self.ends.add(_end_id(what, "max"))
        elif ranges[0] == "tuple":
            for number, (item, inner) in enumerate(zip(value, ranges[1:], strict=True)):
                self._note_ends(item, inner, f"{what}[{number}]")

    def _declare_ends(self, block: Block, function: ast.FunctionDef) -> None:
        declared = [(argument.arg, argument.annotation) for argument in function.args.args]
        declared += [
            (ast.unparse(node.target), node.annotation)
            for node in ast.walk(function)
            if isinstance(node, ast.AnnAssign)
        ]
        returns = function.returns
        if isinstance(returns, ast.Tuple):
            declared += [(f"result[{number}]", item) for number, item in enumerate(returns.elts)]
        elif not is_procedure(function):
            declared.append(("result", returns))
        for name, annotation in declared:
            if isinstance(annotation, ast.Name) and annotation.id in self.document.types:
                self._declare_range(block, name, annotation.id)

    def _declare_range(self, block: Block, name: str, type_name: str) -> None:
        if type_name in MACHINE_TYPES:
            return
        for end, value in zip(("min", "max"), self.document.types[type_name], strict=True):
            what = f"{block.name} (clause {block.clause}): {name}"
            identity = _end_id(what, end)
            about = f"{name} of {block.name} is {value}, the {end} of {type_name}"
            self.points[identity] = Point(identity, "range", block.clause, about, (block.name, 1))


def _end_id(what: str, end: str) -> str:
    """The id of a range end, from the words with which a check names the value."""
    place, name = what.split(": ")
    function, clause = place.split(" (clause ")
    return f"range:{clause[:-1]}/{function}/{name}:{end}"


def is_procedure(function: ast.FunctionDef) -> bool:
    """Whether a function returns one constant only, because it works on arrays."""
    returned = {
        ast.unparse(node.value) for node in ast.walk(function) if isinstance(node, ast.Return) and node.value
    }
    return len(returned) == 1 and all(value.isdigit() for value in returned)


def is_decoding(block: Block) -> bool:
    """Whether a function belongs to the decoding process: those of the annexes do not."""
    return block.clause[0].isdigit()


class _Instrument(ast.NodeTransformer):
    """Puts marks at the lines, branches and conditions of one function."""

    def __init__(self, code: InstrumentedCode, block: Block):
        self.code, self.block = code, block

    def function(self, node: ast.FunctionDef) -> None:
        node.body = self._body(node.body)

    def _body(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for statement in statements:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue
            line = statement.lineno
            result.append(self._mark("line", line, str(line), f"line {line} of {self.block.name}", statement))
            visited = self.visit(statement)
            result += visited if isinstance(visited, list) else [visited]
        return result

    def _mark(self, kind: str, line: int, suffix: str, about: str, place: ast.stmt) -> ast.stmt:
        number = self.code.new(kind, self.block, line, suffix, about)
        return ast.copy_location(ast.parse(f"_hit[{number}] = 1").body[0], place)

    def _branch(self, node: ast.stmt, side: str, about: str) -> ast.stmt:
        return self._mark("branch", node.lineno, f"{node.lineno}:{side}", about, node)

    def visit_If(self, node: ast.If) -> ast.If:
        test = ast.unparse(node.test)
        then = self._branch(node, "then", f"{test} holds")
        otherwise = self._branch(node, "else", f"{test} does not hold")
        node.test = self.visit(node.test)
        node.body = [then, *self._body(node.body)]
        node.orelse = [otherwise, *self._body(node.orelse)]
        return node

    def visit_For(self, node: ast.For) -> list[ast.stmt]:
        return self._loop(node, self._may_be_empty(node))

    def visit_While(self, node: ast.While) -> list[ast.stmt]:
        test = node.test
        result = self._loop(node, True)
        node.test = self.visit(test)
        return result

    def _loop(self, node: ast.For | ast.While, may_be_empty: bool) -> list[ast.stmt]:
        entered = f"_entered_{node.lineno}"
        begin, enter = ast.parse(f"{entered} = 0\n{entered} = 1").body
        body: list[ast.stmt] = [enter, self._branch(node, "some", "the loop runs"), *self._body(node.body)]
        if may_be_empty:
            check = ast.parse(f"if {entered} == 0:\n    pass").body[0]
            assert isinstance(check, ast.If)
            check.body = [self._branch(node, "zero", "the loop runs zero times")]
            node.orelse = [check]
        node.body = body
        for added in (begin, enter, *node.orelse):
            ast.copy_location(added, node)
        return [begin, node]

    def _may_be_empty(self, node: ast.For) -> bool:
        assert isinstance(node.iter, ast.Call)
        known = self.code.document.constants
        if any(isinstance(n, ast.Name) and n.id not in known for a in node.iter.args for n in ast.walk(a)):
            return True
        return len(eval(ast.unparse(node.iter), dict(known))) == 0

    def visit_IfExp(self, node: ast.IfExp) -> ast.IfExp:
        node.test = self._operand(node.test)
        node.body, node.orelse = self.visit(node.body), self.visit(node.orelse)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.BoolOp:
        node.values = [self._operand(value) for value in node.values]
        return node

    def _operand(self, node: ast.expr) -> ast.expr:
        place = f"{node.lineno}.{node.col_offset}"
        text = ast.unparse(node)
        number = self.code.new("condition", self.block, node.lineno, f"{place}:true", f"{text} holds")
        self.code.new("condition", self.block, node.lineno, f"{place}:false", f"{text} does not hold")
        call = ast.Call(ast.Name("_condition", ast.Load()), [self.visit(node), ast.Constant(number)], [])
        return ast.copy_location(call, node)
