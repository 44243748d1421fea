"""§5.1 Loading the syntax description: the shipped one is valid, and each kind of mistake is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import spec
from spec import load
from spec.load import SYNTAX_DIRECTORY, Element, For, If, SyntaxDescriptionError

MINIMAL: dict[str, Any] = {
    "constants": {"LIMIT": {"clause": "1.2", "value": 3, "about": "a limit"}},
    "types": {"small": {"min": 0, "max": 9, "about": "a digit"}},
    "structures": {
        "top": {
            "clause": "1.1",
            "title": "Top",
            "about": "A structure.",
            "syntax": [{"element": "size", "descriptor": "u(4)", "semantics": "a size"}],
        }
    },
}


def write(directory: Path, **changes: Any) -> Path:
    """A syntax directory with one file: MINIMAL with sections replaced."""
    (directory / "schema.json").write_text((SYNTAX_DIRECTORY / "schema.json").read_text())
    (directory / "one.yaml").write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return directory


def with_node(directory: Path, *nodes: dict[str, Any]) -> Path:
    return write(directory, structures={"top": {**MINIMAL["structures"]["top"], "syntax": list(nodes)}})


def test_shipped_syntax_satisfies_its_schema() -> None:
    assert load.standard(validate=True) == spec.standard()


def test_minimal_description_loads(tmp_path: Path) -> None:
    standard = load.standard(write(tmp_path))
    assert standard.constant_values == {"LIMIT": 3}
    assert standard.type_ranges == {"small": (0, 9)}
    (element,) = standard.elements("top")
    assert (element.name, element.descriptor.kind, element.error) == ("size", "u", "ConstraintViolation")
    assert (str(element.low), str(element.high), element.range_constraint) == ("0", "15", "size.range")


@pytest.mark.parametrize(
    ("descriptor", "low", "high"),
    [
        ("u(1)", 0, 1),
        ("u(32)", 0, 4294967295),
        ("s(1)", -1, 0),
        ("s(24)", -8388608, 8388607),
        ("ae(flag)", 0, 1),
    ],
)
def test_natural_range_is_all_that_a_descriptor_can_say(
    tmp_path: Path, descriptor: str, low: int, high: int
) -> None:
    node = {"element": "a", "descriptor": descriptor, "semantics": "a value"}
    (element,) = load.standard(with_node(tmp_path, node)).elements("top")
    assert (element.low.evaluate({}), element.high.evaluate({})) == (low, high)


def test_nodes_of_every_kind(tmp_path: Path) -> None:
    element = {"element": "a", "descriptor": "ae(tree, 3)", "range": [0, "n - 1"], "semantics": "a value"}
    loop = {"for": "i", "count": "n", "do": [element]}
    choice = {"if": "n > 1", "then": [loop], "else": [{"let": "m", "value": "n // 2"}]}
    standard = load.standard(with_node(tmp_path, choice, {"check": "fits"}, {"call": "top"}))
    condition, check, call = standard.structures["top"].nodes
    assert isinstance(condition, If) and isinstance(condition.then[0], For)
    inner = condition.then[0].body[0]
    assert isinstance(inner, Element) and inner.descriptor.size.evaluate({}) == 3
    assert inner.descriptor.binarisation == "tree" and inner.high.names == {"n"}
    assert (check.constraint, call.structure) == ("fits", "top")  # type: ignore[union-attr]


REFUSED_BY_SCHEMA = {
    "clause that YAML read as a number": ("constants", {"A": {"clause": 5.1, "value": 1, "about": "x"}}),
    "clause that is no clause": ("constants", {"A": {"clause": "five", "value": 1, "about": "x"}}),
    "constant in small letters": ("constants", {"a": {"clause": "1", "value": 1, "about": "x"}}),
    "constant that is not an integer": ("constants", {"A": {"clause": "1", "value": 1.5, "about": "x"}}),
    "constant without meaning": ("constants", {"A": {"clause": "1", "value": 1}}),
    "type without range": ("types", {"t": {"min": 0, "about": "x"}}),
    "too many fraction bits": ("types", {"t": {"min": 0, "max": 1, "q": 63, "about": "x"}}),
    "unknown section": ("tables", {}),
    "unknown error class": ("constraints", {"c": {"clause": "1", "error": "Oops", "about": "x"}}),
    "structure without syntax": ("structures", {"top": {"clause": "1", "title": "t", "about": "x"}}),
    "enumeration entry without name": ("enumerations", {"e": {"0": {"about": "x"}}}),
    "binarisation without contexts": ("binarisations", {"b": {"clause": "1", "decode": "d", "about": "x"}}),
    "limit that is not text": ("limits", {"max_a": 4}),
    "profile without units": ("profiles", {"p": {"number": 0, "about": "x"}}),
    "level without number": ("levels", {"1": {"max_a": 4}}),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_BY_SCHEMA)
def test_schema_refuses(tmp_path: Path, case: str) -> None:
    section, content = REFUSED_BY_SCHEMA[case]
    with pytest.raises(SyntaxDescriptionError, match=r"^one\.yaml: "):
        load.standard(write(tmp_path, **{section: content}))


REFUSED_NODES = {
    "element without descriptor": {"element": "a", "semantics": "x"},
    "element without semantics": {"element": "a", "descriptor": "u(1)"},
    "index without dims": {"element": "a", "descriptor": "u(1)", "semantics": "x", "index": ["i"]},
    "context set without sets": {
        "element": "a",
        "descriptor": "ae(flag)",
        "semantics": "x",
        "context_set": "c",
    },
    "range of one end": {"element": "a", "descriptor": "u(1)", "semantics": "x", "range": [1]},
    "unknown key": {"check": "a", "because": "b"},
    "loop without body": {"for": "i", "count": 3},
    "condition without branch": {"if": "a"},
    "let without value": {"let": "a"},
    "name in capitals": {"let": "A", "value": 1},
    "nothing known": {"goto": "a"},
}


@pytest.mark.parametrize("case", REFUSED_NODES)
def test_schema_refuses_node(tmp_path: Path, case: str) -> None:
    with pytest.raises(SyntaxDescriptionError, match=r"^one\.yaml: structures/top/syntax/0"):
        load.standard(with_node(tmp_path, REFUSED_NODES[case]))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (
            {"element": "a", "descriptor": "u(1)", "semantic": "x"},
            "0 (element a): 'semantics' is a required property; "
            "Additional properties are not allowed ('semantic' was unexpected)",
        ),
        (
            {"for": "i", "count": 3, "do": [{"check": "fits"}, {"let": "b", "value": 1.5}]},
            "0/do/1/value (let b): 1.5 is not valid under any of the given schemas",
        ),
        ({"if": "a"}, "0: 'then' is a required property"),
    ],
)
def test_schema_names_the_element_and_the_key(tmp_path: Path, node: dict[str, Any], message: str) -> None:
    with pytest.raises(SyntaxDescriptionError) as refused:
        load.standard(with_node(tmp_path, node))
    assert str(refused.value) == f"one.yaml: structures/top/syntax/{message}"


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"element": "a", "descriptor": "v(3)", "semantics": "x"}, "no such descriptor: v"),
        ({"element": "a", "descriptor": "ae(signed)", "semantics": "x"}, "declares its range"),
        ({"element": "a", "descriptor": "leb128", "semantics": "x"}, "declares its range"),
        ({"let": "a", "value": "b ** 2"}, "Pow is not allowed"),
        ({"if": "b.c", "then": []}, "Attribute is not allowed"),
        ({"let": "a"}, r"^one.yaml: structures/top/syntax/0 \(let a\): 'value' is missing$"),
        ({"goto": "a"}, "'call' is missing"),
    ],
)
def test_what_no_schema_sees_is_refused_with_its_place(
    tmp_path: Path, node: dict[str, Any], message: str
) -> None:
    with pytest.raises(SyntaxDescriptionError, match=r"^one\.yaml: structures/top/syntax/0") as refused:
        load.standard(with_node(tmp_path, node), validate=False)
    assert re.search(message, str(refused.value))


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("constants", {"A": {"clause": "1", "value": 1}}, "constants/A: 'about' is missing"),
        ("types", {"t": {"min": 0, "about": "x"}}, "types/t: 'max' is missing"),
        (
            "structures",
            {"top": {"clause": "1", "title": "t", "about": "x"}},
            "structures/top: 'syntax' is missing",
        ),
        ("enumerations", {"e": {"0": {"about": "x"}}}, "enumerations/e/0: 'name' is missing"),
        ("constraints", {"c": {"clause": "1", "about": "x"}}, "constraints/c: 'error' is missing"),
    ],
)
def test_a_missing_key_is_named_without_a_schema_too(
    tmp_path: Path, section: str, content: dict[str, Any], message: str
) -> None:
    with pytest.raises(SyntaxDescriptionError) as refused:
        load.standard(write(tmp_path, **{section: content}), validate=False)
    assert str(refused.value) == f"one.yaml: {message}"


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet", encoding="utf-8")
    with pytest.raises(SyntaxDescriptionError, match=r"^empty\.yaml: no sections"):
        load.standard(tmp_path, validate=False)


def test_a_name_defined_in_two_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "two.yaml").write_text(yaml.safe_dump({"constants": MINIMAL["constants"]}))
    with pytest.raises(SyntaxDescriptionError, match=r"two\.yaml: constants defined twice: \['LIMIT'\]"):
        load.standard(tmp_path)


def test_schema_itself_is_valid() -> None:
    import jsonschema

    schema = json.loads((SYNTAX_DIRECTORY / "schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)


def test_yaml_that_cannot_be_parsed_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("structures: [", encoding="utf-8")
    with pytest.raises(SyntaxDescriptionError, match=r"^broken\.yaml: .*line \d"):
        load.standard(tmp_path, validate=False)
