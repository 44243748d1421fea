"""§5 The shipped syntax is consistent: names resolve, arrays have one shape, constraints are cited, contexts apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import spec
from spec.expr import PLACE_VALUES, Expression
from spec.load import Call, Check, Element, For, If, Let, Node, While

STANDARD = spec.standard()
ROOT = Path(spec.__file__).parent.parent
UNITS = [
    "sequence_header",
    "avatar_header",
    "canonical_unit",
    "expression_unit",
    "generator_unit",
    "motion_unit",
    "metadata_unit",
]
ALONE = {"i": [0], "neighbour": [[[0, 0]]], **{n: [f] for n, f in spec.document().functions.items()}}
FAR = [[[0] * 45], [[9] * 45]]


def all_nodes() -> Iterator[Node]:
    for name, structure in STANDARD.structures.items():
        yield from STANDARD._flat(structure.nodes, follow=False)
        assert structure.name == name


def expressions(node: Node) -> list[Expression]:
    if isinstance(node, Element):
        contexts = [node.context_set, node.context_sets]
        return [node.low, node.high, node.descriptor.size, *node.index, *node.dims, *contexts]
    if isinstance(node, Let):
        return [node.value, *node.index, *node.dims]
    if isinstance(node, Check):
        requires = STANDARD.constraints[node.constraint].requires
        return [requires] if requires else []
    if isinstance(node, For):
        return [node.count]
    return [node.condition] if isinstance(node, If | While) else []


def unresolved(nodes: tuple[Node, ...], known: set[str]) -> list[str]:
    """Names that no element, derived value or loop before them defines; `known` grows."""
    missing: list[str] = []
    for node in nodes:
        here = known | {"payload_left"}
        own = (
            {node.name} if isinstance(node, Element) and node.dims else set()
        )  # earlier entries of its array
        missing += [f"{node}: {n}" for e in expressions(node) for n in sorted(e.names - here - own)]
        if isinstance(node, Element | Let):
            known.add(node.name)
        elif isinstance(node, For):
            inner = [n for n in STANDARD._flat(node.body, True) if isinstance(n, Element | Let)]
            earlier = {n.name for n in inner if n.index}  # entries of the iterations before
            missing += unresolved(node.body, known | {node.variable} | earlier)
            known |= {n.name for n in inner}
        elif isinstance(node, While):
            missing += unresolved(node.body, known)
        elif isinstance(node, If):
            then, other = set(known), set(known)
            missing += unresolved(node.then, then) + unresolved(node.otherwise, other)
            known |= then | other
        elif isinstance(node, Call):
            missing += unresolved(STANDARD.structures[node.structure].nodes, known)
    return missing


def test_every_name_in_an_expression_is_defined_before_it() -> None:
    constants = set(STANDARD.constant_values)
    known = constants | set(STANDARD.limits) | {"bytes_left"}
    for structure in ("unit_header", "unit_checksum", "end_of_sequence", "sequence_header", "metadata_unit"):
        assert unresolved(STANDARD.structures[structure].nodes, set(known)) == []
    headers = set(known)
    assert unresolved(STANDARD.structures["avatar_header"].nodes, headers) == []
    for structure in ("canonical_unit", "expression_unit", "motion_unit"):
        assert (
            unresolved(
                STANDARD.structures[structure].nodes,
                headers | {"next_frame", "next_order", "surface_neighbour"},
            )
            == []
        )


def test_the_check_above_sees_a_missing_name() -> None:
    nodes = STANDARD.structures["canonical_unit"].nodes
    assert any(
        "gaussian_count" in line for line in unresolved(nodes, {"chunk_size", *STANDARD.constant_values})
    )


def test_every_structure_is_reached() -> None:
    called = {node.structure for node in all_nodes() if isinstance(node, Call)}
    assert called | {*UNITS, "unit_header", "unit_checksum", "end_of_sequence"} == STANDARD.structures.keys()


def test_elements_have_one_name_each() -> None:
    names = [element.name for element in STANDARD.elements()]
    assert len(names) == len(set(names))
    assert not set(names) & (STANDARD.constant_values.keys() | STANDARD.limits.keys() | PLACE_VALUES)


def test_every_constraint_is_checked_by_the_syntax_or_by_the_decoder() -> None:
    checked = {node.constraint for node in all_nodes() if isinstance(node, Check)}
    assert checked <= STANDARD.constraints.keys()
    assert all(STANDARD.constraints[name].requires is not None for name in checked)
    files = [*(ROOT / "spec").glob("*.py"), *(ROOT / "reference_decoder").glob("*.py")]
    code = "\n".join(path.read_text() for path in files)
    cited = {name for name in STANDARD.constraints if re.search(rf'"{name}"', code)}
    cited |= {f"{unit}_repeated" for unit in ("sequence", "avatar") if '{unit.type}_repeated"' in code}
    cited |= {
        f"{unit}_after_canonical" for unit in ("expression", "generator") if '.type}_after_canonical"' in code
    }
    assert STANDARD.constraints.keys() - checked == cited - checked


@pytest.mark.parametrize("element", list(STANDARD.elements()), ids=lambda element: element.name)
def test_element_is_consistent(element: Element) -> None:
    assert len(element.index) == len(element.dims)
    assert bool(element.enumeration) <= (element.enumeration in STANDARD.enumerations)
    if element.descriptor.kind == "ae":
        assert element.descriptor.binarisation in STANDARD.binarisations
    else:
        assert str(element.context_sets) == "1" and str(element.context_set) == "0"
    if not element.low.names | element.high.names:
        low, high = element.low.evaluate({}), element.high.evaluate({})
        assert low <= high
        assert can_say(element, low) and can_say(element, high)


def can_say(element: Element, value: int) -> bool:
    """Whether the descriptor can express a value."""
    kind, size = element.descriptor.kind, element.descriptor.size
    if kind == "u":
        return 0 <= value < 1 << size.evaluate({})
    if kind == "s":
        return -(1 << size.evaluate({}) - 1) <= value < 1 << size.evaluate({}) - 1
    if kind == "leb128":
        return 0 <= value < 1 << 35
    if kind == "ae" and element.descriptor.binarisation == "signed":
        return abs(value) < 1 << 24
    return True


def test_arrays_that_are_also_derived_have_the_shape_of_their_element() -> None:
    dims = {element.name: element.dims for element in STANDARD.elements()}
    lets = [node for node in all_nodes() if isinstance(node, Let) and node.index]
    for let in lets:
        others = [n.dims for n in lets if n.name == let.name and n.dims] + [dims.get(let.name, ())]
        shape = next(d for d in others if d)
        assert len(let.index) == len(shape)
        assert let.dims in ((), shape)


def test_entries_of_an_enumeration_lie_in_the_range_of_its_element() -> None:
    for element in STANDARD.elements():
        for value in STANDARD.enumerations.get(element.enumeration, {}):
            assert element.low.evaluate({}) <= value <= element.high.evaluate({})


def test_every_enumeration_is_used() -> None:
    used = {element.enumeration for element in STANDARD.elements()}
    # clause 7.8 numbers the bits of hash_stages by one, clause 5.11.2 the entries of head_flag by the other
    assert STANDARD.enumerations.keys() - used == {"stage", "head"}


def test_contexts_of_the_elements_of_a_payload_are_apart_and_fill_it() -> None:
    for name in ("canonical_gaussians", "expression_offsets", "motion_frames"):
        spans = []
        for element in STANDARD.elements(name):
            count = STANDARD.contexts_of(element) * element.context_sets.evaluate(STANDARD.constant_values)
            spans.append((STANDARD.context_bases[element.name], count))
        ends = [base + count for base, count in spans]
        assert [base for base, _ in spans] == [0, *ends[:-1]]
        assert ends[-1] == STANDARD.context_count(name)


def test_context_bases_by_hand() -> None:
    """An expression's payload: 12 sets of 1 context for the flags, then 24 sets of 47 for the offsets."""
    assert STANDARD.context_bases["offset_flag"] == 0
    assert STANDARD.context_bases["offset_residual"] == 12
    assert STANDARD.context_count("expression_offsets") == 12 + 24 * 47
    # four sets of a tree of 2 bins for the shift, 15 sets of 47 for magnitudes, 4 for signs
    assert STANDARD.context_bases["residual_magnitude"] == 12
    assert STANDARD.context_bases["residual_sign"] == 12 + 15 * 47
    assert STANDARD.context_count("motion_frames") == 12 + 15 * 47 + 4


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("coarseness", {"c": range(2), "coarseness": [[[6, 6]]], **ALONE}),
        ("scale_residual", {"c": range(3), "coarseness": [[[6, 6]]], "scale_residual": FAR, **ALONE}),
        ("rotation_residual", {"c": range(3), "rotation_coarseness": [6], "rotation_residual": FAR, **ALONE}),
        (
            "appearance_residual",
            {"c": range(4), "chroma": [0, 1], "coarseness": [[[6, 6]]], "appearance_residual": FAR, **ALONE},
        ),
        (
            "sh_residual",
            {"k": range(45), "chroma": [0, 1], "coarseness": [[[6, 6]]], "sh_residual": FAR, **ALONE},
        ),
        ("one_side_flag", {"node_set": [0, 155]}),
        ("skin_joint", {"k": range(8)}),
        ("weight_residual", {"k": range(8), "same_joints_flag": [[0], [1]], "i": [0]}),
        (
            "residual_magnitude",
            {
                "key_frame": [0, 1],
                "n": [0],
                "bank": [0],
                "component_count": [1],
                "residual_mean": [[0], [24], [65280]],
                **ALONE,
            },
        ),
        (
            "residual_sign",
            {
                "key_frame": [0, 1],
                "n": [0],
                "bank": [0],
                "component_count": [1],
                "previous_sign": [[0], [1], [2]],
            },
        ),
        ("step_shift", {"bank": range(4)}),
        (
            "offset_flag",
            {"offset_flag": [[0], [1]], "offset_value": FAR, "surface_neighbour": [[[0, 0]]], **ALONE},
        ),
        (
            "offset_residual",
            {"c": range(3), "offset_residual": FAR, "surface_neighbour": [[[0, 0]]], **ALONE},
        ),
    ],
)
def test_the_context_set_stays_below_the_number_of_sets(name: str, sizes: dict) -> None:
    import itertools

    element = next(element for element in STANDARD.elements() if element.name == name)
    count = element.context_sets.evaluate(STANDARD.constant_values)
    values = [dict(zip(sizes, choice, strict=True)) for choice in itertools.product(*sizes.values())]
    assert {element.context_set.evaluate(v) for v in values} <= set(range(count))


def test_expressions_call_functions_of_the_document_and_persistent_arrays_have_one_dimension() -> None:
    called = {
        name for node in all_nodes() for expression in expressions(node) for name in expression.functions
    }
    assert {"residual_class", "running_mean", "split_node"} <= called <= spec.document().blocks.keys()
    persistent = [name for name, structure in STANDARD.structures.items() if structure.persistent]
    assert persistent == ["motion_frames"] and not STANDARD.persistent_arrays("canonical_gaussians")
    arrays = STANDARD.persistent_arrays("motion_frames")
    assert arrays.keys() == {"residual_mean", "previous_sign"}
    assert all(len(dims) == 1 for dims in arrays.values())


def test_levels_set_every_limit_and_grow() -> None:
    levels = list(STANDARD.levels.values())
    assert [level["number"] for level in levels] == [1, 2, 3]
    for level in levels:
        assert level.keys() - {"number"} == STANDARD.limits.keys()
    for name in STANDARD.limits:
        assert levels[0][name] <= levels[1][name] <= levels[2][name]


def test_profiles_name_listed_unit_types() -> None:
    types = {name for name, _ in STANDARD.enumerations["unit_type"].values()}
    for profile in STANDARD.profiles.values():
        assert set(profile["units"]) <= types


def test_types_are_ranges_within_64_bits_and_carry_their_fraction() -> None:
    for name, type_ in STANDARD.types.items():
        assert -(1 << 63) <= type_.minimum < type_.maximum < 1 << 63, name
        if match := re.search(r"_?q(\d+)$", name):
            assert type_.q == int(match[1]), name


def test_binarisations_name_functions_of_the_document() -> None:
    functions = spec.document().blocks
    for binarisation in STANDARD.binarisations.values():
        assert functions[binarisation.decode].clause == binarisation.clause
        assert binarisation.encode in functions
