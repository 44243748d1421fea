"""§4.6 Mutants: functions, each with one small fault such as a decoder might have."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from conformance import order
from conformance.coverage_code import is_decoding, is_procedure
from spec.run import Block, Document

NOT_DECODING = frozenset({"engine_information", "log2_q8"})
"""Functions outside the annexes that only account for bits (clause 8.5.1): no decoder needs them."""

_OTHER_OPERATOR: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
}  # fmt: skip
_TIES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
}  # fmt: skip
_NEGATION: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault: `source` takes the place of `function`, or `value` that of a constant of this name.

    `line` counts from the first line of the function, 0 for a constant. `before` and `after` show the change.
    `function` may also be a structure, a table or a kernel: mutants of one are tried one after the other.
    """

    id: str
    function: str
    line: int
    before: str
    after: str
    source: str = ""
    value: Any = None
    proof: str = ""  # why it gives the same as the original, where that can be told from the text alone


def truncated(value: int, divisor: int) -> int:
    """The quotient rounded towards zero, as C does and the standard does not."""
    return abs(value) // divisor * (1 if value >= 0 else -1)


NAMES: Mapping[str, Any] = {"_truncated": truncated}
"""What mutants may call beyond the functions of the document."""


def document_mutants(document: Document) -> Iterator[Mutant]:
    """§4.6 Every mutant of the decoding functions and of the constants and tables they use, in reading order."""
    used: set[str] = set()
    pure = order.pure_functions(block.source for block in document.blocks.values())
    for block in document.blocks.values():
        if is_decoding(block) and block.name not in NOT_DECODING:
            tree = ast.parse(block.source)
            used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            prefix = f"{block.clause}/{block.name}"
            yield from function_mutants(prefix, tree, block, document.constants, pure)
    for name, value in document.constants.items():
        if name in used:
            yield from _constant_mutants(name, value)


def _constant_mutants(name: str, value: Any) -> Iterator[Mutant]:
    for delta in (1, -1):
        if isinstance(value, int):
            yield Mutant(
                f"constant/{name}:{delta:+}",
                name,
                0,
                f"{name} = {value}",
                str(value + delta),
                "",
                value + delta,
            )
            continue
        for place, entry in enumerate(value if isinstance(value, tuple) else ()):
            entries = (*value[:place], entry + delta, *value[place + 1 :])
            identity = f"constant/{name}[{place}]:{delta:+}"
            yield Mutant(identity, name, 0, f"{name}[{place}] = {entry}", str(entry + delta), "", entries)


def function_mutants(
    prefix: str, tree: ast.Module, block: Block, constants: Mapping[str, Any],
    pure: frozenset[str] | None = None,
) -> Iterator[Mutant]:  # fmt: skip
    """Every mutant of one function, without those that read the same as another or as the original.

    `pure` are functions that change none of their arguments; None if numbers may be others than integers.
    """
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    function.returns, function.decorator_list = None, []
    for argument in function.args.args:
        argument.annotation = None
    seen = {ast.unparse(function)}
    lines, places = _statement_lines(function), node_places(function)
    for node in list(ast.walk(function)):
        if id(node) not in lines or id(node) not in places:
            continue
        for operator, replacement in [*variants(node, constants), *_statements(node, function)]:
            text = unparsed_with(function, places[id(node)], replacement)
            if text in seen:
                continue
            seen.add(text)
            first = node.lineno  # type: ignore[attr-defined]
            place = f"{first}.{node.col_offset}-{node.end_col_offset}"  # type: ignore[attr-defined]
            before = block.source.splitlines()[first - 1].strip()
            after = ast.unparse(replacement) if not isinstance(replacement, ast.Pass) else "nothing"
            identity, change = f"{prefix}:{place}:{operator}", f"{ast.unparse(node)} -> {after}"
            free = operator == "reversed" and order.changes_nothing(
                node, function, pure or frozenset(), exact=pure is not None
            )
            yield Mutant(
                identity, block.name, lines[id(node)], before, change, text,
                proof=order.REASON if free else "",
            )  # fmt: skip


Place = tuple[ast.AST, str, int]
"""Where a node stands: its parent, the field, and the position if the field is a list, else -1."""


def node_places(tree: ast.AST) -> dict[int, Place]:
    """Where every node of a tree stands, by its identity."""
    found: dict[int, Place] = {}
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            for number, node in enumerate(value) if isinstance(value, list) else ((-1, value),):
                found[id(node)] = (parent, name, number)
    return found


def unparsed_with(tree: ast.AST, place: Place, replacement: ast.AST) -> str:
    """The text of a tree with another node in one place; the tree stays as it is."""
    parent, name, number = place
    kept = getattr(parent, name)
    changed = replacement if number < 0 else [*kept[:number], replacement, *kept[number + 1 :]]
    setattr(parent, name, changed)
    try:
        return ast.unparse(tree)
    finally:
        setattr(parent, name, kept)


def _statement_lines(function: ast.FunctionDef) -> dict[int, int]:
    """The line at which the statement of each node begins.

    Types are left out, and what a procedure returns, which nobody looks at.
    """
    lines: dict[int, int] = {}
    types = [n.annotation for n in ast.walk(function) if isinstance(n, ast.AnnAssign)]
    types += [
        n.args[1]
        for n in ast.walk(function)
        if isinstance(n, ast.Call) and ast.unparse(n.func) == "isinstance"
    ]
    for statement in ast.walk(function):  # from the outside in, so that the innermost statement counts
        if isinstance(statement, ast.stmt) and statement is not function:
            lines |= {id(node): statement.lineno for node in ast.walk(statement)}
    for statement in ast.walk(function):
        if isinstance(statement, ast.Return) and is_procedure(function):
            for node in ast.walk(statement):
                del lines[id(node)]
    for node in (inner for outer in types for inner in ast.walk(outer)):
        lines.pop(id(node), None)
    return lines


Variant = tuple[str, ast.AST]


def variants(node: ast.AST, constants: Mapping[str, Any]) -> Iterator[Variant]:
    """The operators: what may stand in place of one node of an expression."""
    if isinstance(node, ast.BinOp):
        yield from _operations(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign" if isinstance(node.op, ast.USub) else "negation", node.operand
    elif isinstance(node, ast.IfExp):
        yield "swapped", ast.IfExp(node.test, node.orelse, node.body)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        for operator, table in (("tie", _TIES), ("negation", _NEGATION)):
            if type(node.ops[0]) in table:
                yield operator, ast.Compare(node.left, [table[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.BoolOp):
        yield "logic", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        for place, value in enumerate(node.values):
            yield f"only-{place}", value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        yield from _calls(node, node.func.id)
    elif isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "negation", ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        yield "+1", ast.Constant(node.value + 1)
        yield "-1", ast.Constant(node.value - 1)
    elif (
        isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and type(constants.get(node.id)) is int
    ):
        yield "+1", _plus(node, 1)
        yield "-1", _plus(node, -1)


def _plus(node: ast.expr, delta: int) -> ast.expr:
    return ast.BinOp(node, ast.Add() if delta > 0 else ast.Sub(), ast.Constant(abs(delta)))


def _operations(node: ast.BinOp) -> Iterator[Variant]:
    kind = type(node.op)
    if kind in _OTHER_OPERATOR:
        yield _OTHER_OPERATOR[kind].__name__, ast.BinOp(node.left, _OTHER_OPERATOR[kind](), node.right)
    if kind in (ast.LShift, ast.RShift):
        yield "shift+1", ast.BinOp(node.left, node.op, _plus(node.right, 1))
        yield "shift-1", ast.BinOp(node.left, node.op, _plus(node.right, -1))
    if kind is ast.FloorDiv:
        yield "truncated", ast.Call(ast.Name("_truncated", ast.Load()), [node.left, node.right], [])
    if kind is ast.Add and isinstance(node.right, ast.BinOp) and isinstance(node.right.op, ast.LShift):
        yield "rounding", node.left


def _calls(node: ast.Call, name: str) -> Iterator[Variant]:
    if name in ("min", "max"):
        other = ast.Name("max" if name == "min" else "min", ast.Load())
        yield other.id, ast.Call(other, node.args, [])
        for place, argument in enumerate(node.args):
            yield f"only-{place}", argument
    elif name in ("limit", "abs"):
        yield f"no-{name}", node.args[0]
    elif name == "round_shift":
        yield "rounding", ast.BinOp(node.args[0], ast.RShift(), node.args[1])
        yield "shift+1", ast.Call(node.func, [node.args[0], _plus(node.args[1], 1)], [])
        yield "shift-1", ast.Call(node.func, [node.args[0], _plus(node.args[1], -1)], [])
    elif name == "range":
        low = node.args[0] if len(node.args) > 1 else ast.Constant(0)
        high = node.args[-1]
        yield "first", ast.Call(node.func, [_plus(low, 1), high], [])
        yield "last", ast.Call(node.func, [low, _plus(high, -1)], [])
        down = [_plus(high, -1), _plus(low, -1), ast.UnaryOp(ast.USub(), ast.Constant(1))]
        yield "reversed", ast.Call(node.func, down, [])


def _statements(node: ast.AST, function: ast.FunctionDef) -> Iterator[Variant]:
    """Statements left out, unless what they assign would be missing everywhere; conditions without operators."""
    if isinstance(node, ast.Raise | ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "omitted", ast.Pass()
    if isinstance(node, ast.AugAssign) and type(node.op) in _OTHER_OPERATOR:
        other = _OTHER_OPERATOR[type(node.op)]
        yield other.__name__, ast.AugAssign(node.target, other(), node.value)
    if isinstance(node, ast.If) and isinstance(
        node.test, ast.Name | ast.Attribute | ast.Call | ast.Subscript
    ):
        yield "negation", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Subscript | ast.Attribute) or (
            isinstance(target, ast.Name) and _known_before(target, function)
        ):
            yield "omitted", ast.Pass()


def _known_before(name: ast.Name, function: ast.FunctionDef) -> bool:
    stores = [
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Store)
    ]
    arguments = {argument.arg for argument in function.args.args}
    return name.id in arguments or min(stores) < name.lineno
