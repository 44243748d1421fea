"""§4.5 The expression language: what it accepts, what it refuses, and what its operators mean."""

from __future__ import annotations

import pytest

from spec.expr import ExpressionError, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (7, 7),
        ("-7 // 2", -4),  # floors: 4.3
        ("-7 % 4", 1),
        ("-1 >> 1", -1),
        ("-3 & 3", 1),
        ("1 << 4 | 3", 19),
        ("a & 1 == 1", 1),  # comparison binds less than &: 4.3, note 1
        ("not a", 0),
        ("a == 3 and b[1] > 4", 1),
        ("a == 4 or b[0] <= 4", 1),
        ("a if a > 5 else -a", -3),
        ("min(a, 2) + max(a, 9) + abs(-4)", 15),
        ("b[a - 2] * 2", 10),
        ("0x10", 16),
        ("1 < a < 9 and a != 4 and a >= 3", 1),
    ],
)
def test_value_by_hand(text: str | int, value: int) -> None:
    assert parse(text).evaluate({"a": 3, "b": [4, 5]}) == value


def test_names_are_those_that_must_be_given() -> None:
    assert parse("min(a, b[i]) + CONSTANT - 1").names == {"a", "b", "i", "CONSTANT"}


def test_functions_of_the_document_are_called_by_name() -> None:
    expression = parse("max(double(a), b) + double(double(1))")
    assert (expression.names, expression.functions) == ({"a", "b"}, {"double"})
    assert expression.evaluate({"a": 3, "b": 5, "double": lambda value: 2 * value}) == 10
    with pytest.raises((NameError, KeyError)):
        parse("len(a)").evaluate({"a": [1]})


def test_a_missing_name_is_an_error_and_not_a_builtin() -> None:
    with pytest.raises((NameError, KeyError)):
        parse("len + 1").evaluate({})


@pytest.mark.parametrize(
    "text",
    [
        "1.5", "'a'", "True", "None", "a / b", "a ** b", "a ^ b", "~a", "+a", "a @ b", "a is b", "a in b", "[1, 2]",
        "(1, 2)", "{1: 2}", "a.b", "lambda: 1", "[x for x in b]", "min.real(1)", "(min)(1)(2)", "b[1:2]",
        "a := 1", "f'{a}'", "__import__('os')", "min(*b)", "min(a, key=b)", "a b", "", "1 +", "await a",
    ],
)  # fmt: skip
def test_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)
