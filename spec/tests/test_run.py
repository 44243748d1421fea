"""§4.6 The pseudo-code: which text is refused, and that every declared range is checked when it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import spec
from spec import run
from spec.run import Block, Document, DocumentError, RangeError

TYPES = {"small": (0, 9), "wide": (-(1 << 63), (1 << 63) - 1), "flag": (0, 1)}
CONSTANTS = {"FOUR": 4, "TABLE": (10, 20, 30)}


def document(*sources: str) -> Document:
    """A document of one function per source; the name is that after `def`."""
    blocks = [Block(s.split("(")[0].removeprefix("def ").strip(), "9.9", s, "9_test.md", 40) for s in sources]
    return Document(blocks, CONSTANTS, TYPES)


def function(body: str, parameters: str = "a: wide, b: wide", result: str = "wide") -> str:
    lines = "\n".join("    " + line for line in body.splitlines())
    return f"def f({parameters}) -> {result}:\n{lines}\n"


def call(body: str, *arguments: object, parameters: str = "a: wide, b: wide", result: str = "wide") -> object:
    return document(function(body, parameters, result)).functions["f"](*arguments)


def test_every_permitted_statement_and_operator() -> None:
    body = """\
x = zeros(3)
x[0] = a
x[1] += b
total: wide = 0
for i in range(len(x)):
    if i == 2:
        continue
    total += x[i] * FOUR
while total > 100:
    total = total - TABLE[1]
    if total < 50 or not total > 0:
        break
pass
p, q = (max(a, b), min(a, b))
return (total if p >= q else -1) ^ (a & ~b | 1 << 3) % 1000 // 1"""
    total = 5 * 4 + 7 * 4  # not above 100
    assert call(body, 5, 7) == total ^ ((5 & ~7 | 8) % 1000)


@pytest.mark.parametrize(
    "body",
    [
        "return 1.5", "return a / b", "return a ** b", "return a @ b", "return +a", "return a.real", "return [a]",
        "return {a}", "return {a: b}", "return [x for x in range(a)]", "return lambda: a", "return f'{a}'",
        "return True", "return None", "return sum(a)", "return print(a)", "return unknown", "return a is b",
        "return a in b", "return a[1:2]", "return max(a, b, key=a)", "return g(a)", "return (a := b)", "return b'1'",
        "for x in a:\n    pass\nreturn a", "for x in len(a):\n    pass\nreturn a", "import os\nreturn a",
        "global a\nreturn a", "del a\nreturn a", "try:\n    pass\nfinally:\n    pass\nreturn a", "assert a\nreturn a",
        "raise a\nreturn a", "with a:\n    pass\nreturn a", "class c:\n    pass\nreturn a", "yield a",
        "x = max\nreturn x(a)",
        "return max(*a)", "match a:\n    case 1:\n        pass\nreturn a",
    ],
)  # fmt: skip
def test_outside_the_subset(body: str) -> None:
    with pytest.raises(DocumentError, match=r"^9_test\.md:4[0-4]: "):
        document(function(body))


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(DocumentError, match=r"(type|name) 'tiny'"):
        _ = document(function("return a", parameters="a: tiny")).functions


@pytest.mark.parametrize("header", ["def f(a) -> wide:", "def f(a: wide):"])
def test_an_argument_or_result_without_a_type_is_refused(header: str) -> None:
    with pytest.raises(DocumentError, match=r"9_test\.md:40"):
        document(f"{header}\n    return a\n")


def test_two_functions_of_one_name_are_refused() -> None:
    with pytest.raises(DocumentError, match="defined twice: \\['f'\\]"):
        document(function("return a"), function("return b"))


BIG = 1 << 62


@pytest.mark.parametrize(
    ("body", "a", "b"),
    [
        ("return a + b", BIG, BIG), ("return a - b", -BIG, BIG + 1), ("return a * b", BIG, 2), ("return a << b", 1, 63),
        ("return a << b", 1, 64), ("return a << b", 1, -1), ("return a >> b", 1, 64), ("return a >> b", 1, -1),
        ("return a // b", 1, 0), ("return a // b", 1, -1), ("return a % b", 1, 0), ("return a % b", 1, -2),
        ("a += b\nreturn a", BIG, BIG),
        ("x = zeros(1)\nx[0] = BIGGER\nreturn a", 0, 0), ("x = -a\nreturn x >> 1", -(1 << 63), 0),
        ("return abs(a)", -(1 << 63), 0),
    ],
)  # fmt: skip
def test_leaving_64_bits_shifting_too_far_and_dividing_wrongly(body: str, a: int, b: int) -> None:
    body = body.replace("BIGGER", "(1 << 62) * 2")
    with pytest.raises(RangeError):
        call(body, a, b)


def test_the_ends_of_64_bits_are_inside() -> None:
    assert call("return a + b", BIG, BIG - 1) == (1 << 63) - 1
    assert call("return a * b", -BIG, 2) == -(1 << 63)
    assert call("return a << b", -1, 63) == -(1 << 63)
    assert call("return a >> b", -1, 63) == -1


@pytest.mark.parametrize("value", [-1, 10])
def test_parameters_variables_and_results_keep_their_types(value: int) -> None:
    with pytest.raises(RangeError, match=r"f \(clause 9\.9\): a is -?\d+, declared 0\.\.9"):
        call("return 0", value, parameters="a: small")
    with pytest.raises(RangeError, match="result is"):
        call("return a", value, parameters="a: wide", result="small")
    with pytest.raises(RangeError, match="x is"):
        call("x: small = a\nreturn 0", value, parameters="a: wide")
    with pytest.raises(RangeError, match="a is"):
        call("return 0", [3, value], parameters="a: array[small]")
    with pytest.raises(RangeError, match="result is"):
        call("return (0, a)", value, parameters="a: wide", result="(small, small)")


@pytest.mark.parametrize("value", [0, 9])
def test_both_ends_of_a_type_are_inside(value: int) -> None:
    assert call("x: small = a\nreturn x", value, parameters="a: small", result="small") == value
    assert call("return (a, a)", value, parameters="a: small", result="(small, small)") == (value, value)


def test_a_result_of_the_wrong_number_of_parts() -> None:
    with pytest.raises(RangeError, match="2 parts, declared 3"):
        call("return (a, a)", 1, parameters="a: small", result="(small, small, small)")


def test_unchecked_functions_have_unbounded_integers() -> None:
    assert document(function("return a * b")).unchecked["f"](1 << 40, 1 << 40) == 1 << 80


def test_source_has_no_annotations_and_the_same_values() -> None:
    namespace: dict = {}
    exec(document(function("x: small = a\nreturn x + b")).source(), namespace)
    assert namespace["f"](4, 5) == 9 and not namespace["f"].__annotations__


def test_clauses_and_blocks_of_a_text(tmp_path: Path) -> None:
    (tmp_path / "2_b.md").write_text("# 2 Two\n```python\ndef g(a: wide) -> wide:\n    return a\n```\n")
    (tmp_path / "10_c.md").write_text("# 10 Ten\ntext\n## 10.1 Sub\n```\n# 11 no heading\n```\n")
    (tmp_path / "A_d.md").write_text("# Annex A Letters\n## A.1 One\n")
    numbers = [(clause.number, clause.title) for clause in run.clauses(tmp_path)]
    assert numbers == [("2", "Two"), ("10", "Ten"), ("10.1", "Sub"), ("A", "Letters"), ("A.1", "One")]
    (block,) = run.blocks(tmp_path)
    assert (block.name, block.clause, block.file, block.line) == ("g", "2", "2_b.md", 3)


@pytest.mark.parametrize("code", ["x = 1", "def f(:", "import os"])
def test_a_block_that_is_no_function_is_refused_with_its_line(tmp_path: Path, code: str) -> None:
    (tmp_path / "2_b.md").write_text(f"# 2 Two\n\n```python\n{code}\n```\n")
    with pytest.raises(DocumentError, match=r"2_b\.md:4"):
        list(run.blocks(tmp_path))


def test_every_function_of_the_document_is_in_the_subset_and_used() -> None:
    shipped = spec.document()
    called = {name for block in shipped.blocks for name in shipped.calls(block)}
    named = {n for b in spec.standard().binarisations.values() for n in (b.decode, b.encode)}
    assert called | named <= shipped.blocks.keys()
    assert len(shipped.functions) == len(shipped.blocks) > 60
