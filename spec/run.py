"""§4.6 Extracts the document's executable pseudo-code and runs it with unbounded, range-checked integers.

Every fenced ```python block of `spec/text/*.md` is normative. It is written in a small subset of
Python (integers, arrays, functions, if/for/while) that this module enforces, and it is executed in
two ways that must agree: here, where each operation is checked against its declared range, and
compiled to machine code by the reference decoder, which obtains the same text from `source()`.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

TEXT_DIRECTORY = Path(__file__).parent / "text"

_HEADING = re.compile(r"^#{1,6} +(?:Annex +)?((?:\d+|[A-Z])(?:\.\d+)*)\.? +(.+?) *$")
_FENCE = re.compile(r"^```(\w*) *$")

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1

_STATEMENTS = (
    ast.FunctionDef, ast.Assign, ast.AugAssign, ast.AnnAssign, ast.If, ast.For, ast.While,
    ast.Return, ast.Expr, ast.Break, ast.Continue, ast.Pass,
)  # fmt: skip
_EXPRESSIONS = (
    ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Subscript,
    ast.Name, ast.Constant, ast.Tuple,
)  # fmt: skip
_OPERATORS = (
    ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.LShift, ast.RShift, ast.BitAnd, ast.BitOr,
    ast.BitXor, ast.USub, ast.Invert, ast.Not, ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt, ast.LtE,
    ast.Gt, ast.GtE,
)  # fmt: skip
_PLUMBING = (ast.arguments, ast.arg, ast.Load, ast.Store)

BUILTINS = frozenset({"range", "len", "min", "max", "abs", "zeros"})


class DocumentError(Exception):
    """The document itself is wrong: text outside the subset, an unknown name, a duplicate function."""


class RangeError(ArithmeticError):
    """A value left the range that the document declares for it; names the function and the line."""


@dataclass(frozen=True)
class Clause:
    """One numbered heading of the text, with what stands under it up to the next heading."""

    number: str
    title: str
    file: str
    line: int
    body: str


@dataclass(frozen=True)
class Block:
    """One executable function of the document: its clause, its source and where it stands."""

    name: str
    clause: str
    source: str
    file: str
    line: int


def clauses(directory: Path = TEXT_DIRECTORY) -> Iterator[Clause]:
    """§4.6 The clauses of the text in reading order."""
    for path in sorted(directory.glob("*.md"), key=_reading_order):
        number = title = ""
        start, fenced = 0, False
        body: list[str] = []
        for line_number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            fenced ^= bool(_FENCE.match(line))
            heading = None if fenced else _HEADING.match(line)
            if heading:
                if number:
                    yield Clause(number, title, path.name, start, "\n".join(body))
                number, title, start, body = heading[1], heading[2], line_number, []
            else:
                body.append(line)
        if number:
            yield Clause(number, title, path.name, start, "\n".join(body))


def _reading_order(path: Path) -> tuple[int, str]:
    prefix = path.stem.split("_")[0]
    return (int(prefix), "") if prefix.isdigit() else (1000, prefix)


def blocks(directory: Path = TEXT_DIRECTORY) -> Iterator[Block]:
    """§4.6 The executable functions of the document in reading order."""
    for clause in clauses(directory):
        for offset, text in _fenced_python(clause.body):
            try:
                tree = ast.parse(text)
            except SyntaxError as error:
                raise DocumentError(
                    f"{clause.file}:{clause.line + offset + (error.lineno or 0)}: {error.msg}"
                ) from None
            lines = text.splitlines()
            for node in tree.body:
                if not isinstance(node, ast.FunctionDef):
                    where = f"{clause.file}:{clause.line + offset + node.lineno}"
                    raise DocumentError(f"{where}: only functions may stand in pseudo-code")
                source = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                yield Block(node.name, clause.number, source, clause.file, clause.line + offset + node.lineno)


def _fenced_python(body: str) -> Iterator[tuple[int, str]]:
    inside, language, start = False, "", 0
    lines: list[str] = []
    for number, line in enumerate(body.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and not inside:
            inside, language, start, lines = True, fence[1], number, []
        elif fence:
            inside = False
            if language == "python":
                yield start, "\n".join(lines)
        elif inside:
            lines.append(line)


class Document:
    """§4.6 The pseudo-code of one version of the standard.

    `constants` maps names to integers or (nested) tuples of integers, `types` maps the names used in
    annotations to inclusive (min, max) ranges. Both come from `spec/syntax/arithmetic.yaml`.
    """

    def __init__(
        self, functions: list[Block], constants: Mapping[str, Any], types: Mapping[str, tuple[int, int]]
    ):
        self.blocks = MappingProxyType({block.name: block for block in functions})
        self.constants = MappingProxyType(dict(constants))
        self.types = MappingProxyType(dict(types))
        if len(self.blocks) != len(functions):
            names = [block.name for block in functions]
            raise DocumentError(f"defined twice: {sorted({n for n in names if names.count(n) > 1})}")
        for block in functions:
            _check_subset(block, self)

    @functools.cached_property
    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """§4.6 The functions as Python callables with every declared range checked.

        Arrays are lists. An operation whose result leaves 64 bits, or a value outside the range of
        its annotation, raises RangeError.
        """
        return self.execute()

    @functools.cached_property
    def unchecked(self) -> Mapping[str, Callable[..., Any]]:
        """§4.6 The same functions without range checks, for tools that only trace."""
        return self.execute(checked=False)

    def execute(
        self,
        checked: bool = True,
        rewrite: Callable[[Block, ast.Module], ast.Module] = lambda block, tree: tree,
        names: Mapping[str, Any] = MappingProxyType({}),
    ) -> Mapping[str, Callable[..., Any]]:
        """§4.6 The functions after `rewrite` has changed the tree of each; `names` are added to what they see.

        That is how tools count lines or plant faults. A name of `CHECKS` with `_checked_` before it stands for
        the check of that name.
        """
        namespace: dict[str, Any] = dict(self.constants) | {"zeros": _zeros}
        namespace |= {"_checked_" + name: function for name, function in CHECKS.items()} | dict(names)
        for block in self.blocks.values():
            tree = rewrite(block, ast.parse(block.source))
            if checked:
                tree = ast.fix_missing_locations(_Checker(block, self.types).visit(tree))
            else:
                _strip_annotations(tree)
            ast.increment_lineno(tree, block.line - 1)
            exec(compile(tree, block.file, "exec"), namespace)
        return MappingProxyType({name: namespace[name] for name in self.blocks})

    def source(self) -> str:
        """§4.6 The text of all functions, annotations removed, for a compiler."""
        parts = []
        for block in self.blocks.values():
            tree = ast.parse(block.source)
            _strip_annotations(tree)
            parts.append(f"# {block.clause}\n{ast.unparse(tree)}\n")
        return "\n".join(parts)

    def calls(self, name: str) -> frozenset[str]:
        """§4.6 The document functions that function `name` calls."""
        names = {
            node.id for node in ast.walk(ast.parse(self.blocks[name].source)) if isinstance(node, ast.Name)
        }
        return frozenset(names & self.blocks.keys() - {name})


def _zeros(count: int) -> list[int]:
    return [0] * count


def _strip_annotations(tree: ast.AST) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
        for field, body in ast.iter_fields(node):
            if isinstance(body, list) and field in ("body", "orelse"):
                body[:] = [_plain_assignment(statement) for statement in body]


def _plain_assignment(statement: ast.stmt) -> ast.stmt:
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        plain = ast.Assign([statement.target], statement.value)
        return ast.fix_missing_locations(ast.copy_location(plain, statement))
    return statement


def _check_subset(block: Block, document: Document) -> None:
    """Refuses whatever is outside the subset of §4.6, with file and line."""
    tree = ast.parse(block.source).body[0]
    assert isinstance(tree, ast.FunctionDef)
    stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    known = stored | {argument.arg for argument in tree.args.args} | set(document.constants) | BUILTINS
    known |= document.blocks.keys() | document.types.keys() | {"array"}
    for node in ast.walk(tree):
        where = f"{block.file}:{block.line + getattr(node, 'lineno', 1) - 1}"
        if not isinstance(node, _STATEMENTS + _EXPRESSIONS + _OPERATORS + _PLUMBING):
            raise DocumentError(f"{where}: {type(node).__name__} is outside the pseudo-code subset")
        if isinstance(node, ast.Constant) and type(node.value) not in (int, str):
            raise DocumentError(f"{where}: only integers, not {node.value!r}")
        if isinstance(node, ast.Name) and node.id not in known:
            raise DocumentError(f"{where}: unknown name '{node.id}'")
        if isinstance(node, ast.For) and not (
            isinstance(node.iter, ast.Call) and _called(node.iter) == "range"
        ):
            raise DocumentError(f"{where}: for loops run over range() only")
        if isinstance(node, ast.Call) and (
            _called(node) not in BUILTINS | document.blocks.keys() or node.keywords
        ):
            raise DocumentError(f"{where}: only document functions and {sorted(BUILTINS)} may be called")
    for argument in tree.args.args:
        if argument.annotation is None:
            raise DocumentError(f"{block.file}:{block.line}: parameter '{argument.arg}' declares no range")
    if tree.returns is None:
        raise DocumentError(f"{block.file}:{block.line}: the result declares no range")


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


class _Checker(ast.NodeTransformer):
    """Rewrites a function so that every operation and every annotated value is range-checked."""

    def __init__(self, block: Block, types: Mapping[str, tuple[int, int]]):
        self.block, self.types = block, types
        self.returns: ast.expr | None = None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.returns, node.returns = node.returns, None
        checks: list[ast.stmt] = []
        for argument in node.args.args:
            name = ast.Name(argument.arg, ast.Load())
            checks.append(ast.Expr(self._declared(name, argument.annotation, argument.arg)))
            argument.annotation = None
        node.body = checks + [self.visit(statement) for statement in node.body]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.Assign:
        assert node.value is not None
        value = self._declared(self.visit(node.value), node.annotation, ast.unparse(node.target))
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.Assign:
        load = ast.parse(ast.unparse(node.target), mode="eval").body
        operation = ast.copy_location(ast.BinOp(load, node.op, node.value), node)
        return ast.copy_location(ast.Assign([node.target], self.visit(operation)), node)

    def visit_Return(self, node: ast.Return) -> ast.Return:
        self.generic_visit(node)
        if node.value is not None and self.returns is not None:
            node.value = self._declared(node.value, self.returns, "result")
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.USub):
            return node
        return ast.copy_location(ast.Call(ast.Name("_checked_Result", ast.Load()), [node], []), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.Call:
        self.generic_visit(node)
        check = type(node.op).__name__ if type(node.op).__name__ in CHECKS else "Result"
        arguments: list[ast.expr] = [node.left, node.right] if check != "Result" else [node]
        call = ast.Call(ast.Name("_checked_" + check, ast.Load()), arguments, [])
        return ast.copy_location(call, node)

    def _declared(self, value: ast.expr, annotation: ast.expr | None, name: str) -> ast.expr:
        assert annotation is not None
        what = ast.Constant(f"{self.block.name} (clause {self.block.clause}): {name}")
        ranges = ast.parse(repr(self._ranges(annotation)), mode="eval").body
        call = ast.Call(ast.Name("_checked_Declared", ast.Load()), [value, ranges, what], [])
        return ast.copy_location(call, value)

    def _ranges(self, annotation: ast.expr) -> tuple[Any, ...]:
        if isinstance(annotation, ast.Tuple):
            return ("tuple", *(self._ranges(item) for item in annotation.elts))
        if isinstance(annotation, ast.Subscript):
            return ("array", self._ranges(annotation.slice))
        assert isinstance(annotation, ast.Name)
        if annotation.id == "array":
            return ("any",)
        if annotation.id not in self.types:
            raise DocumentError(f"{self.block.file}:{self.block.line}: no type '{annotation.id}'")
        return ("range", *self.types[annotation.id])


def _check_result(value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise RangeError(f"{value} leaves 64 bits")
    return value


def _check_shift_left(value: int, count: int) -> int:
    if not 0 <= count <= 63:
        raise RangeError(f"shift by {count}")
    return _check_result(value << count)


def _check_shift_right(value: int, count: int) -> int:
    if not 0 <= count <= 63:
        raise RangeError(f"shift by {count}")
    return value >> count


def _check_divide(value: int, divisor: int) -> int:
    if divisor <= 0:
        raise RangeError(f"division by {divisor}: divisors are positive (clause 4)")
    return value // divisor


def _check_modulo(value: int, divisor: int) -> int:
    if divisor <= 0:
        raise RangeError(f"modulo {divisor}: divisors are positive (clause 4)")
    return value % divisor


def _check_declared(value: Any, ranges: tuple[Any, ...], what: str) -> Any:
    kind = ranges[0]
    if kind == "range":
        if not ranges[1] <= value <= ranges[2]:
            raise RangeError(f"{what} is {value}, declared {ranges[1]}..{ranges[2]}")
    elif kind == "tuple":
        if len(value) != len(ranges) - 1:
            raise RangeError(f"{what} has {len(value)} parts, declared {len(ranges) - 1}")
        for item, inner in zip(value, ranges[1:], strict=True):
            _check_declared(item, inner, what)
    elif kind == "array":
        for item in value:
            _check_declared(item, ranges if isinstance(item, list | tuple) else ranges[1], what)
    return value


CHECKS: dict[str, Callable[..., Any]] = {
    "Result": _check_result,
    "LShift": _check_shift_left,
    "RShift": _check_shift_right,
    "FloorDiv": _check_divide,
    "Mod": _check_modulo,
    "Declared": _check_declared,
}
