"""§4.6 Loops whose rounds may be taken in any order: a mutant that turns such a loop round changes nothing."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

REASON = "data flow shows that the rounds of the loop do not depend on each other (conformance/order.py)"
"""Why a mutant that takes the rounds of a loop in another order survives."""

_PURE = frozenset({"min", "max", "abs", "len", "range", "zeros", "isinstance"})
_SAME_IN_ANY_ORDER = (ast.Add, ast.Sub, ast.BitOr, ast.BitXor)


def changes_nothing(call: ast.AST, function: ast.FunctionDef, pure: frozenset[str], exact: bool) -> bool:
    """Whether the rounds of the loop that `call`, a call of `range`, counts give the same in any order.

    `pure` are functions that change none of their arguments; `exact` says that sums are those of integers.
    It may say no of a loop that is free, never yes of one that is not, as long as arrays of different names are
    different arrays.
    """
    loop = next((n for n in ast.walk(function) if isinstance(n, ast.For) and n.iter is call), None)
    if loop is None or not isinstance(loop.target, ast.Name):
        return False
    return _Loop(loop, loop.target.id, function, pure | _PURE, exact).is_free()


def pure_functions(sources: Iterable[str]) -> frozenset[str]:
    """Those of the functions that neither store into an array nor call a function that does."""
    bodies = {
        tree.name: tree
        for source in sources
        for tree in ast.parse(source).body
        if isinstance(tree, ast.FunctionDef)
    }
    found = {
        name for name, body in bodies.items() if not any(isinstance(s, ast.Subscript) for s in _stores(body))
    }
    while True:
        kept = {name for name in found if _called(bodies[name]) <= found | _PURE}
        if kept == found:
            return frozenset(kept)
        found = kept


def _stores(tree: ast.AST) -> Iterator[ast.expr]:
    return (
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.expr) and isinstance(getattr(n, "ctx", None), ast.Store)
    )


def _called(tree: ast.AST) -> set[str]:
    return {
        n.func.id if isinstance(n.func, ast.Name) else "" for n in ast.walk(tree) if isinstance(n, ast.Call)
    }


@dataclass(frozen=True)
class _Loop:
    loop: ast.For
    variable: str
    function: ast.FunctionDef
    pure: frozenset[str]
    exact: bool

    def is_free(self) -> bool:
        body = self.loop.body
        if all(self.variable not in (getattr(node, "id", "") for node in ast.walk(part)) for part in body):
            return not self._is_used_behind({self.variable})  # all rounds are the same
        leaving = (ast.Break, ast.Return, ast.Raise, ast.Continue, ast.Attribute, ast.Starred, ast.Slice)
        if any(isinstance(node, leaving) for statement in body for node in ast.walk(statement)):
            return False
        if not all(_called(statement) <= self.pure for statement in body):
            return False
        sums = self._sums()
        arrays = {_name(s) for statement in body for s in _stores(statement) if isinstance(s, ast.Subscript)}
        changed = self._changed() - sums
        return (
            None not in arrays
            and _known_after(body, {self.variable}, changed - {self.variable}) is not None
            and not self._is_used_behind(changed | {self.variable})
            and all(array in sums or self._is_divided(str(array)) for array in arrays)
        )

    def _changed(self) -> set[str]:
        return {s.id for statement in self.loop.body for s in _stores(statement) if isinstance(s, ast.Name)}

    def _sums(self) -> set[str]:
        """Names and arrays that the body only adds to, or takes the greatest or least of."""
        if not self.exact:
            return set()
        met: Counter[str] = Counter()
        added: Counter[str] = Counter()
        for statement in self.loop.body:
            met.update(n.id for n in ast.walk(statement) if isinstance(n, ast.Name))
            for node in ast.walk(statement):
                if (name := _added_to(node)) is not None:
                    added[name] += 1 if isinstance(node, ast.AugAssign) else 2
        return {name for name in added if met[name] == added[name]}

    def _is_used_behind(self, names: set[str]) -> bool:
        """Whether any of the names may be read after the loop as the loop has left it."""
        return _Behind(self.loop, frozenset(names)).is_read(self.function)

    def _is_divided(self, array: str) -> bool:
        """Whether no two rounds touch the same entry of an array that the body stores into."""
        places = [_places(n) for s in self.loop.body for n in _outermost(s) if _name(n) == array]
        whole = sum(isinstance(n, ast.Name) and n.id == array for s in self.loop.body for n in ast.walk(s))
        if whole != len(places):
            return False
        for dimension in range(min(map(len, places))):
            indices = [self._inlined(indices[dimension]) for indices in places]
            alike = len({ast.unparse(index) for index in indices}) == 1
            if alike and self._slope(indices[0]):
                return True
            if all(self._is_residue(index) for index in indices) or self._are_blocks(indices):
                return True
        return False

    def _inlined(self, index: ast.expr) -> ast.expr:
        """An index in which names that the body sets once, before anything else, are written out."""
        values = {
            s.targets[0].id: s.value
            for s in self.loop.body
            if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)
        }
        set_ = Counter(s.id for b in self.loop.body for s in _stores(b) if isinstance(s, ast.Name))
        return _Inlining({n: v for n, v in values.items() if set_[n] == 1}).visit(
            ast.parse(ast.unparse(index), mode="eval").body
        )

    def _slope(self, index: ast.AST) -> int | None:
        """By how much an index grows from round to round; None if that is not known."""
        if isinstance(index, ast.Name) and index.id == self.variable:
            return 1
        if isinstance(index, ast.BinOp) and isinstance(index.op, ast.Add | ast.Sub):
            left, right = self._slope(index.left), self._slope(index.right)
            if left is None or right is None:
                return None
            return left + right if isinstance(index.op, ast.Add) else left - right
        if (factor := _factor(index)) is not None:
            slope = self._slope(index.right)  # type: ignore[attr-defined]
            return None if slope is None else factor * slope
        names = {n.id for n in ast.walk(index) if isinstance(n, ast.Name)}
        changed = {_name(s) for statement in self.loop.body for s in _stores(statement)}
        return None if names & (changed | {self.variable}) else 0

    def _is_residue(self, index: ast.AST) -> bool:
        """Whether an index is the round plus a multiple of at least as many as there are rounds."""
        rounds = self.loop.iter.args  # type: ignore[attr-defined]
        if len(rounds) != 1 or not isinstance(rounds[0], ast.Constant):
            return False
        if isinstance(index, ast.Name):
            return index.id == self.variable
        if not _is_sum(index):
            return False
        return any(
            isinstance(one, ast.Name) and one.id == self.variable and _factor(other) == rounds[0].value
            for one, other in ((index.left, index.right), (index.right, index.left))
        )

    def _are_blocks(self, indices: list[ast.expr]) -> bool:
        """Whether each index is the round times a number, plus one that is less."""
        parts = [
            (index.left, index.right) if _is_sum(index) else (index, ast.Constant(0)) for index in indices
        ]
        factors = {
            _factor(base) if ast.unparse(base).endswith(f"* {self.variable}") else None for base, _ in parts
        }
        (factor,) = factors if len(factors) == 1 else (None,)
        return factor is not None and all(
            isinstance(rest, ast.Constant) and type(rest.value) is int and 0 <= rest.value < factor
            for _, rest in parts
        )


def _is_sum(node: ast.AST) -> TypeGuard[ast.BinOp]:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add)


def _factor(node: ast.AST) -> int | None:
    """The number by which a product begins."""
    if not (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant)
    ):
        return None
    return node.left.value if type(node.left.value) is int else None


class _Inlining(ast.NodeTransformer):
    def __init__(self, values: dict[str, ast.expr]):
        self.values = values

    def visit_Name(self, node: ast.Name) -> Any:
        if node.id not in self.values:
            return node
        others = {name: value for name, value in self.values.items() if name != node.id}
        return _Inlining(others).visit(ast.parse(ast.unparse(self.values[node.id]), mode="eval").body)


def _name(node: ast.AST) -> str | None:
    """The name of a variable or of the array of an entry."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def _places(node: ast.AST) -> list[ast.expr]:
    found: list[ast.expr] = []
    while isinstance(node, ast.Subscript):
        found[:0] = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        node = node.value
    return found


def _outermost(tree: ast.AST) -> Iterator[ast.Subscript]:
    """Subscripts that are not the array of another one."""
    inner = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Subscript)}
    return (n for n in ast.walk(tree) if isinstance(n, ast.Subscript) and id(n) not in inner)


def _added_to(node: ast.AST) -> str | None:
    """The name or the array that a statement adds to, if that is all it does with it."""
    if isinstance(node, ast.AugAssign) and isinstance(node.op, _SAME_IN_ANY_ORDER):
        return _name(node.target)
    if not (isinstance(node, ast.Assign) and len(node.targets) == 1):
        return None
    target = ast.unparse(node.targets[0])
    value = node.value
    if isinstance(value, ast.BinOp) and isinstance(value.op, _SAME_IN_ANY_ORDER):
        return _name(node.targets[0]) if ast.unparse(value.left) == target else None
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("min", "max"):
        return _name(node.targets[0]) if ast.unparse(value.args[0]) == target else None
    return None


def _known_after(body: list[ast.stmt], known: set[str], private: set[str]) -> set[str] | None:
    """What is known after a body; None if it reads a name of `private` before it has set it."""
    for statement in body:
        reads = {
            n.id for n in _read_first(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        }
        if isinstance(statement, ast.AugAssign):
            reads |= {_name(statement.target) or ""}
        if reads & private - known:
            return None
        if isinstance(statement, ast.If):
            branches = [
                _known_after(part, set(known), private) for part in (statement.body, statement.orelse)
            ]
            if branches[0] is None or branches[1] is None:
                return None
            known = branches[0] & branches[1]
        elif isinstance(statement, ast.For | ast.While):
            target = (
                {statement.target.id}
                if isinstance(statement, ast.For) and isinstance(statement.target, ast.Name)
                else set()
            )
            if _known_after(statement.body, known | target, private) is None:
                return None
        else:
            known = known | {n.id for n in _stores(statement) if isinstance(n, ast.Name)}
    return known


def _read_first(statement: ast.stmt) -> Iterator[ast.AST]:
    """The parts of a statement that are computed before the statements in it."""
    if isinstance(statement, ast.If | ast.While):
        return ast.walk(statement.test)
    return ast.walk(statement.iter) if isinstance(statement, ast.For) else ast.walk(statement)


@dataclass(frozen=True)
class _Behind:
    """Follows names that a loop leaves behind to where they are read."""

    loop: ast.For
    names: frozenset[str]

    def is_read(self, function: ast.FunctionDef) -> bool:
        """Whether a name is read after the loop before it is set again."""
        return self._body(function.body, frozenset()) is None

    def _body(self, body: list[ast.stmt], left: frozenset[str]) -> frozenset[str] | None:
        """The names that are still as the loop left them after a body; None if one of them is read in it."""
        for statement in body:
            reads = {
                n.id
                for n in _read_first(statement)
                if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
            }
            if reads & left:
                return None
            after: frozenset[str] | None
            if isinstance(statement, ast.If):
                after = _either(self._body(statement.body, left), self._body(statement.orelse, left))
            elif isinstance(statement, ast.For | ast.While):
                after = self._rounds(statement, left)
            else:
                set_ = {n.id for n in _stores(statement) if isinstance(n, ast.Name)}
                after = None if isinstance(statement, ast.AugAssign) and set_ & left else left - set_
            if after is None:
                return None
            left = after
        return left

    def _rounds(self, loop: ast.For | ast.While, left: frozenset[str]) -> frozenset[str] | None:
        if loop is self.loop:
            return left | self.names
        target = (
            {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
            if isinstance(loop, ast.For)
            else set()
        )
        before = left
        for _ in range(2):  # what the end of a round leaves meets the beginning of the next one
            after = self._body(loop.body, before - target)
            if after is None:
                return None
            if isinstance(loop, ast.While) and after & {
                n.id for n in ast.walk(loop.test) if isinstance(n, ast.Name)
            }:
                return None
            before = before | after
        return before


def _either(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other
