"""§4.6 Coverage: every point is noted when it is passed and only then; few streams are kept."""

from __future__ import annotations

import pytest
import yaml

from conformance import coverage
from conformance.coverage_code import InstrumentedCode
from conformance.damage import with_checksums
from conformance.edits import Made, edited, joined
from conformance.generate import drafts, generate
from spec.run import Block, Document

SOURCE = """def count_up(low: byte, high: byte) -> byte:
    total: byte = low
    while total < high and total != 7:
        total = total + 1
    for n in range(low):
        if n == 1:
            total = 255
    for n in range(2):
        total = total
    return total"""


def instrumented() -> InstrumentedCode:
    block = Block("count_up", "7.1", SOURCE, "7_decoding.md", 1)
    return InstrumentedCode(Document([block], {}, {"byte": (0, 255)}))


def test_lines_branches_conditions_and_range_ends_of_a_function() -> None:
    code = instrumented()
    assert code.functions["count_up"](0, 0) == 0
    assert code.take() == {
        *(f"line:7.1/count_up:{line}" for line in (2, 3, 5, 8, 9, 10)),
        "branch:7.1/count_up:3:zero", "branch:7.1/count_up:5:zero", "branch:7.1/count_up:8:some",
        "condition:7.1/count_up:3.10:false",
        "range:7.1/count_up/low:min", "range:7.1/count_up/high:min", "range:7.1/count_up/total:min",
        "range:7.1/count_up/result:min",
    }  # fmt: skip
    assert code.functions["count_up"](2, 3) == 255
    assert code.take() == {
        *(f"line:7.1/count_up:{line}" for line in (2, 3, 4, 5, 6, 7, 8, 9, 10)),
        "branch:7.1/count_up:3:some", "branch:7.1/count_up:5:some", "branch:7.1/count_up:8:some",
        "branch:7.1/count_up:6:then", "branch:7.1/count_up:6:else",
        "condition:7.1/count_up:3.10:true", "condition:7.1/count_up:3.10:false",
        "condition:7.1/count_up:3.27:true", "range:7.1/count_up/result:max",
    }  # fmt: skip
    code.functions["count_up"](1, 8)
    assert "condition:7.1/count_up:3.27:false" in code.take()


def test_all_points_of_a_function_are_known_beforehand() -> None:
    points = set(instrumented().points)
    assert "branch:7.1/count_up:8:zero" not in points  # two is more than none
    assert len([point for point in points if point.startswith("line:")]) == 9
    assert len([point for point in points if point.startswith("branch:")]) == 7
    assert len([point for point in points if point.startswith("condition:")]) == 4
    assert len([point for point in points if point.startswith("range:")]) == 8


@pytest.fixture(scope="module")
def found() -> frozenset[str]:
    presets = {
        "gaussian_count": 2,
        "joint_count": 1,
        "expression_count": 0,
        "several_flag": 0,
        "sh_degree": 0,
        "profile": 0,
    }
    return coverage.covered(with_checksums(generate(1, presets, units=1, size=4)))


def test_points_of_a_stream(found: frozenset[str]) -> None:
    points = coverage.points()
    assert found < points.keys()
    assert {"element:joint_offset", "element:unit_checksum", "enum:unit_type:motion"} <= found
    assert {"branch:avatar_header/if@6:else", "range:joint_count:min", "range:sh_degree:min"} <= found
    assert not {"branch:avatar_header/if@6:then", "element:joint_parent", "range:sh_degree:max"} & found
    assert any(point.startswith("line:9.9/render:") for point in found)
    assert any(point.startswith("line:8.6/checksum:") for point in found)
    assert not any(point.startswith(("constraint:", "line:7.4/")) for point in found)


def test_what_is_listed_as_out_of_reach_is_not_reached() -> None:
    listed = coverage.unreachable()
    assert listed and all(listed.values())
    for seed in range(3):
        assert not coverage.covered(generate(seed, units=1, size=8)) & listed.keys()


def test_every_entry_of_the_list_names_a_point() -> None:
    patterns = yaml.safe_load(coverage.UNREACHABLE.read_text(encoding="utf-8"))
    for pattern in patterns:
        assert coverage.listed(pattern), pattern


def test_an_entry_may_have_a_condition_for_the_number_of_a_point() -> None:
    assert coverage.listed("set:residual_sign:* if n % 2 == 1") == [
        "set:residual_sign:1",
        "set:residual_sign:3",
    ]


def test_an_error_covers_its_constraint(found: frozenset[str]) -> None:
    stream = generate(1, {"gaussian_count": 2}, units=1, size=4)
    assert "constraint:unit_size_fits" in coverage.covered(stream[:-1])


def test_a_payload_that_ends_in_an_error_covers_no_context() -> None:
    presets = {"gaussian_count": 2, "scale_residual": 0, "profile": 0}
    units = [Made.of(draft) for draft in drafts(1, presets, units=1, size=0)]
    assert "context:scale_residual:0" in coverage.covered(joined(units))
    beyond = {"unit": "canonical", "element": "scale_residual", "value": 1 << 23, "occurrence": 0}
    found = coverage.covered(joined(edited(units, [{"set": beyond}])))
    assert "constraint:scale_residual.range" in found  # and 24 significant bits, which no valid scale has
    assert not any(point.startswith("context:scale_residual:") for point in found)


def test_the_covering_set_leaves_out_what_others_cover(monkeypatch: pytest.MonkeyPatch) -> None:
    covered = [frozenset("ab"), frozenset("abc"), frozenset("cd"), frozenset("ad"), frozenset()]
    monkeypatch.setattr(coverage, "covered_by_each", lambda *_: covered)
    assert coverage.covering_set([b"1", b"1", b"1", b"1", b"1"]) == [1, 2]
    assert coverage.covering_set([b"1" * 100, b"1" * 500, b"1", b"1", b"1"]) == [2, 0]
    assert coverage.covering_set([b"1"] * 5, already="cd") == [0]
