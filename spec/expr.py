"""§4.5 The expression language of the syntax description: integers, names, comparisons, calls; nothing else.

An expression is text in the YAML. It is parsed once into a whitelisted Python expression tree, so it
can be evaluated against decoded values, printed in the document and compiled into fast parsers.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FUNCTIONS: dict[str, Any] = {"min": min, "max": max, "abs": abs}

PLACE_VALUES = frozenset(
    {
        "active_generator",
        "bytes_left",
        "next_frame",
        "next_order",
        "next_update",
        "payload_left",
        "surface_neighbour",
    }
)
"""§4.5 The names that the place in the stream determines, although no syntax defines them."""

_ALLOWED = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.IfExp, ast.Call, ast.Subscript,
    ast.Name, ast.Constant, ast.Load, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.LShift,
    ast.RShift, ast.BitAnd, ast.BitOr, ast.USub, ast.Not, ast.And, ast.Or, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip


class ExpressionError(Exception):
    """An expression outside the language; says which and why."""


@dataclass(frozen=True)
class Expression:
    """§4.5 One parsed expression: its text, the names it needs and the functions of the document it calls."""

    text: str
    names: frozenset[str]
    functions: frozenset[str] = frozenset()

    def evaluate(self, values: Mapping[str, Any]) -> int:
        """§4.5 The value, with every name and every function of the document taken from `values`."""
        return int(eval(_compiled(self.text), {"__builtins__": FUNCTIONS}, values))

    def __str__(self) -> str:
        return self.text


@functools.cache
def parse(text: str | int) -> Expression:
    """§4.5 Parses an expression; raises ExpressionError for anything outside the whitelist."""
    text = str(text)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        raise ExpressionError(f"'{text}': {error.msg}") from None
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ExpressionError(f"'{text}': {type(node).__name__} is not allowed")
        if isinstance(node, ast.Constant) and type(node.value) is not int:
            raise ExpressionError(f"'{text}': {node.value!r} is not an integer")
        if isinstance(node, ast.Call) and not isinstance(node.func, ast.Name):
            raise ExpressionError(f"'{text}': only functions by name may be called")
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    functions = {call.id for call in calls if isinstance(call, ast.Name)} - FUNCTIONS.keys()
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - FUNCTIONS.keys() - functions
    return Expression(text, frozenset(names), frozenset(functions))


@functools.cache
def _compiled(text: str) -> Any:
    return compile(text, f"<{text}>", "eval")
