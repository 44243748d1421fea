"""§7 Each arithmetic function: by hand, at both ends of its ranges, executed against compiled, and against float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spec
from reference_decoder import jit
from reference_encoder.float_model import rotation_matrix

F = spec.document().functions
C = spec.document().constants
TYPES = spec.document().types
ONE = 1 << 30
ANGLE = C["ROTATION_LIMIT"]


def compiled(name: str) -> Any:
    return jit.function(name)


def both(name: str, *arguments: int) -> Any:
    """The result of a scalar function, executed with unbounded integers and compiled; they must agree."""
    result = F[name](*arguments)
    assert compiled(name)(*arguments) == result
    return result


def in_place(name: str, arguments: list[Any], outputs: list[int]) -> list[Any]:
    """The arrays that a function fills, executed on lists; compiled on int32 and int64 arrays it fills the same."""
    lists = [a.tolist() if isinstance(a, np.ndarray) else a for a in arguments]
    F[name](*lists)
    for dtype in (np.int32, np.int64):
        arrays = [a.astype(dtype) if isinstance(a, np.ndarray) else a for a in arguments]
        compiled(name)(*arrays)
        for output in outputs:
            assert arrays[output].tolist() == lists[output]
    return [lists[output] for output in outputs]


# 7.2


@pytest.mark.parametrize(
    ("value", "bits", "expected"),
    [
        (0, 1, 0), (1, 1, 1), (-1, 1, 0), (2, 2, 1), (-2, 2, 0), (-3, 2, -1), (5, 1, 3), (-5, 1, -2),
        (7, 3, 1), (-7, 3, -1),
        (1 << 61, 62, 1), ((1 << 61) - 1, 62, 0), (-(1 << 61), 62, 0), (-(1 << 61) - 1, 62, -1),
    ],
)  # fmt: skip
def test_round_shift_rounds_half_up(value: int, bits: int, expected: int) -> None:
    assert both("round_shift", value, bits) == expected


@pytest.mark.parametrize(
    ("value", "bound", "expected"),
    [(5, 7, 5), (7, 7, 7), (8, 7, 7), (-7, 7, -7), (-8, 7, -7), (-(1 << 63), 1 << 62, -(1 << 62)), (3, 0, 0)],
)
def test_limit(value: int, bound: int, expected: int) -> None:
    assert both("limit", value, bound) == expected


@pytest.mark.parametrize(
    ("value", "bits", "expected"),
    [
        (0, 1, 0), (1, 1, -1), (127, 8, 127), (128, 8, -128), (-128, 8, -128), (-129, 8, 127), (256, 8, 0),
        (-256, 8, 0),
        (8388608, 24, -8388608), (-8388609, 24, 8388607), (1 << 62, 62, 0), (-(1 << 61), 62, -(1 << 61)),
    ],
)  # fmt: skip
def test_wrap(value: int, bits: int, expected: int) -> None:
    assert both("wrap", value, bits) == expected


def test_rotations_by_hand() -> None:
    """Nothing; a quarter turn about z takes x to y; a half turn about x; two pi about y is nothing again."""
    quarter, half = round(math.pi / 2 * 2**28), round(math.pi * 2**28)
    assert both("quaternion_from_vector", 0, 0, 0) == (ONE, 0, 0, 0)
    assert both("matrix_from_vector", 0, 0, 0) == (ONE, 0, 0, 0, ONE, 0, 0, 0, ONE)
    expectations = {
        (0, 0, quarter): [0, -1, 0, 1, 0, 0, 0, 0, 1],
        (half, 0, 0): [1, 0, 0, 0, -1, 0, 0, 0, -1],
        (0, ANGLE, 0): [1, 0, 0, 0, 1, 0, 0, 0, 1],
    }
    for vector, matrix in expectations.items():
        assert np.array(both("matrix_from_vector", *vector)) / ONE == pytest.approx(matrix, abs=1e-7)


def test_small_rotation_by_hand() -> None:
    """2^-14 rad about z: half angle 2^-15, its square 2^-30 is below the last bit of t: cosine 1, sine the angle."""
    assert both("quaternion_from_vector", 0, 0, 1 << 14) == (ONE, 0, 0, 1 << 15)


components = st.integers(-ANGLE, ANGLE) | st.sampled_from(
    [-ANGLE, ANGLE, 0, 1, -1, ANGLE - 1, round(math.pi * 2**28)]
)


@given(components, components, components)
def test_rotation_is_within_1e_7_of_float64(x: int, y: int, z: int) -> None:
    expected = rotation_matrix(np.array([x, y, z]) / 2**28).ravel()
    assert np.abs(np.array(both("matrix_from_vector", x, y, z)) / ONE - expected).max() < 1e-7


def test_rotations_at_every_extreme_stay_in_range() -> None:
    """The worst angle is sqrt(3) * 2 pi: every sign of the ends and their neighbours."""
    ends = (-ANGLE, -ANGLE + 1, -1, 0, 1, ANGLE - 1, ANGLE)
    for x in ends:
        for y in ends:
            for z in ends:
                both("matrix_from_vector", x, y, z)


@pytest.mark.parametrize(
    ("x", "expected"), [(0, 1 << 24), (-1 << 16, 1 << 23), (-24 << 16, 1), (1 << 16, 1 << 25)]
)
def test_power_of_two_by_hand(x: int, expected: int) -> None:
    assert both("exp2_q24", x) == pytest.approx(expected, rel=2e-7, abs=0)


@given(st.integers(C["LOG_SCALE_MIN"], C["LOG_SCALE_MAX"]))
def test_power_of_two_is_within_its_error(x: int) -> None:
    exact = 2.0 ** (x / 65536 + 24)
    assert abs(both("exp2_q24", x) - exact) <= 0.5 + 2e-7 * exact


def test_power_of_two_never_falls() -> None:
    values = [F["exp2_q24"](x) for x in range(C["LOG_SCALE_MIN"], C["LOG_SCALE_MAX"] + 1, 97)]
    assert values == sorted(values)
    for exponent in range(-24, 1):  # across the seam of each octave
        seam = [
            F["exp2_q24"]((exponent << 16) + n)
            for n in range(-2, 3)
            if (exponent << 16) + n >= C["LOG_SCALE_MIN"]
        ]
        assert seam == sorted(seam)


Q30 = st.integers(-ONE, ONE) | st.sampled_from([-ONE, ONE])
INT32 = st.integers(-(1 << 31), (1 << 31) - 1) | st.sampled_from([-(1 << 31), (1 << 31) - 1])


@given(Q30, Q30, Q30, INT32, INT32, INT32)
def test_rotate_row_is_the_rounded_dot_product(a: int, b: int, c: int, x: int, y: int, z: int) -> None:
    assert both("rotate_row", a, b, c, x, y, z) == (a * x + b * y + c * z + (1 << 29)) >> 30


# 7.3


def test_positions_by_hand() -> None:
    """Steps of 10: 3, 3 + 4, then a wrap of 24 bits: 7 + 8388600 = 8388607 and one more is -8388608, limited."""
    residual = np.array([[3, 0, -1], [4, 0, -1], [8388600, 0, 0], [1, 0, 0]])
    position = np.full((6, 3), 99)
    (filled,) = in_place("decode_positions", [residual, 10, 4, 1, position], [4])
    limit = C["POSITION_LIMIT"]
    assert filled == [[99] * 3, [30, 0, -10], [70, 0, -20], [limit, 0, -20], [-limit, 0, -20], [99] * 3]


@pytest.mark.parametrize(
    ("quantised", "step", "exponent"),
    [
        (0, 1, -24 << 16),
        (-1, 524288, -24 << 16),
        (24, 1 << 16, 0),
        (25, 1 << 16, 1 << 16),
        (2097151, 524288, 1 << 16),
    ],
)
def test_scale_by_hand(quantised: int, step: int, exponent: int) -> None:
    assert both("decode_scale", quantised, step) == F["exp2_q24"](exponent)


def test_factors_by_hand() -> None:
    """No rotation: the scales 1, 1/2 and 1/4 m on the diagonal; then half a radian about z turns them."""
    step = 1 << 16
    scale = np.array([[24, 23, 22], [0, 0, 0]])
    rotation = np.array([[0, 0, 0], [0, 0, 1]])
    factor = np.zeros((2, 3, 3), np.int64)
    (filled,) = in_place("decode_factors", [scale, rotation, step, 1 << 27, 2, 0, factor], [6])
    a, b, c = (F["exp2_q24"](-n << 16) for n in range(3))
    assert filled[0] == [[a, 0, 0], [0, b, 0], [0, 0, c]]
    sine, cosine = math.sin(0.5), math.cos(0.5)
    expected = np.array([[cosine, -sine / 2, 0], [sine, cosine / 2, 0], [0, 0, 0.25]])
    assert np.array(filled[1]) / 2**24 == pytest.approx(expected, abs=1e-6)


def test_opacities_by_hand() -> None:
    """Steps of 1000: 5 is 5000; 20 is above 1; then below 0; 32767 wraps to -32768 with one more."""
    residual = np.array([5, 15, -21, 32767 + 1, 1])
    (filled,) = in_place("decode_opacities", [residual, 1000, 5, 0, np.zeros(5, np.int64)], [4])
    assert filled == [5000, 16384, 0, 16384, 0]


def test_colours_by_hand() -> None:
    """Band 0 accumulates with 17 bits; the others do not; each band has its step; both limits."""
    residual = np.zeros((3, 4, 3), np.int64)
    residual[:, 0, 0] = [10, -4, 65535]  # 10, 6, 65541 - 131072 = -65531
    residual[:, 1, 1] = [7, 7, -7]
    residual[1, 3, 2] = 65535
    steps = np.array([100, 3, 1, 1])
    (sh,) = in_place("decode_colours", [residual, steps, 1, 3, 0, np.zeros((3, 4, 3), np.int64)], [5])
    assert [gaussian[0][0] for gaussian in sh] == [1000, 600, -32767]
    assert [gaussian[1][1] for gaussian in sh] == [21, 21, -21]
    assert sh[1][3][2] == 32767


def test_skin_by_hand() -> None:
    """9 bits: weights of 512 become weights of 65536; what is not present is joint 0 with weight 0."""
    joints = np.array([[4, 2, 9, 9, 9, 9, 9, 9], [1] * 8])
    weights = np.array([[500, 12, 9, 9, 9, 9, 9, 9], [64] * 8])
    counts = np.array([1, 7])
    out = np.full((2, 8), 77)
    joint, weight = in_place(
        "decode_skin", [joints, weights, counts, 0, 2, 0, out.copy(), out.copy()], [6, 7]
    )
    assert joint == [[4, 2, 0, 0, 0, 0, 0, 0], [1] * 8]
    assert weight == [[64000, 1536, 0, 0, 0, 0, 0, 0], [8192] * 8]
    assert [sum(row) for row in weight] == [65536, 65536]


# 7.4


def test_expression_by_hand() -> None:
    """Predicted from the last Gaussian that moves; 18 bits; the limit is 2 m."""
    flags = np.array([0, 1, 0, 1, 1])
    residual = np.array([[9, 9, 9], [2, 0, 131071], [9, 9, 9], [3, -1, 1], [-5, 0, 0]])
    (offset,) = in_place("decode_expression", [flags, residual, 100, 5, np.full((5, 3), 55)], [4])
    limit = C["OFFSET_LIMIT"]
    assert offset == [[0, 0, 0], [200, 0, limit], [0, 0, 0], [500, -100, -limit], [0, -100, -limit]]


# 7.5


@pytest.mark.parametrize(
    ("previous", "before", "slope", "residual", "bits", "expected"),
    [
        (10, 4, 0, 1, 16, 11), (10, 4, 1, 1, 16, 17), (32767, 0, 0, 1, 16, -32768),
        (32767, -32768, 1, 65535, 16, 32765),
        (-32768, 32767, 1, -65535, 16, -32766), (8388607, -8388608, 1, 16777215, 24, 8388605),
    ],
)  # fmt: skip
def test_symbol_by_hand(
    previous: int, before: int, slope: int, residual: int, bits: int, expected: int
) -> None:
    """The last three: 32767 + 65535 + 65535 less 2 * 65536, the same negated, and likewise with 24 bits."""
    assert both("decode_symbol", previous, before, slope, residual, bits) == expected


def test_symbols_layout_and_earlier_poses() -> None:
    """One joint, one expression: translation, rotation, weight; a first frame makes both earlier poses its own."""
    previous, before = np.zeros(7, np.int64), np.zeros(7, np.int64)
    residuals = [np.array([[1, 2, 3]]), np.array([[[4, 5, 6]]]), np.array([[7]])]
    arguments = [0, 0, np.array([0]), *residuals, 1, 1, previous, before, np.zeros(7, np.int64)]
    assert in_place("decode_symbols", arguments, [8, 9, 10]) == [[1, 2, 3, 4, 5, 6, 7]] * 3
    arguments[1], arguments[2] = 1, np.array([1])
    arguments[8], arguments[9] = np.full(7, 10), np.full(7, 8)
    now = [13, 14, 15, 16, 17, 18, 19]  # 10 + (10 - 8) + residual
    assert in_place("decode_symbols", arguments, [8, 9, 10]) == [now, [10] * 7, now]


def test_pose_by_hand_and_its_limits() -> None:
    symbols = np.array([5, 8388607, -8388608, 3, 32767, -32768, 2, 32767, -32768])
    arguments = [symbols, 1 << 20, np.array([1 << 27]), 100, 1, 3, np.zeros(9, np.int64)]
    arguments[1] = 16  # 5 * 16 and 8388607 * 16 beyond 64 m
    (pose,) = in_place("decode_pose", arguments, [6])
    world, weight = C["WORLD_LIMIT"], C["EXPRESSION_WEIGHT_LIMIT"]
    assert pose == [80, world, -world, 3 << 27, ANGLE, -ANGLE, 200, weight, -weight]


# 7.6, 7.7


def joints(pose: list[int], parents: list[int], offsets: list[list[int]]) -> list[list[int]]:
    count = len(parents)
    arrays = [np.array(pose), np.array(parents), np.array(offsets), count]
    outputs = [np.zeros(3 * count, np.int64), np.zeros(3 * count, np.int64), np.zeros((count, 12), np.int64)]
    return in_place("decode_joints", [*arrays, *outputs], [6])[0]


def test_joint_matrices_by_hand() -> None:
    """The root at (1, 0, 0) moved by (0, 2, 0), a child 1 m above it; the root turns a quarter about z."""
    metre, quarter = 1 << 20, round(math.pi / 2 * 2**28)
    pose = [0, 2 * metre, 0, 0, 0, quarter, 0, 0, 0]
    root, child = joints(pose, [0, 0], [[metre, 0, 0], [0, metre, 0]])
    turn = [0, -1, 0, 1, 0, 0, 0, 0, 1]
    # x' = R (x - (1, 0, 0)) + (1, 2, 0): the translation is (1, 2, 0) - R (1, 0, 0) = (1, 1, 0) for both joints.
    for matrix in (root, child):
        assert np.array(matrix[:9]) / ONE == pytest.approx(turn, abs=1e-7)
        assert np.array(matrix[9:]) / metre == pytest.approx([1, 1, 0], abs=3e-6)


def test_a_child_turns_about_its_own_joint() -> None:
    metre, half = 1 << 20, round(math.pi * 2**28)
    _, child = joints([0, 0, 0, 0, 0, 0, 0, half, 0], [0, 0], [[0, 0, 0], [metre, 0, 0]])
    # A half turn about y around (1, 0, 0): x' = (2 - x, y, -z).
    assert np.array(child[:9]) / ONE == pytest.approx([-1, 0, 0, 0, 1, 0, 0, 0, -1], abs=1e-7)
    assert np.array(child[9:]) / metre == pytest.approx([2, 0, 0], abs=3e-6)


EXTREME_ANGLES = st.sampled_from(
    [-ANGLE, ANGLE, 0, ANGLE // 2, ANGLE // 4, -ANGLE // 4, round(math.pi * 2**28)]
)
EXTREME_OFFSETS = st.sampled_from([-(1 << 23), (1 << 23) - 1, 0, 1])


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_of_255_joints_at_the_ends_of_all_ranges(seed: int) -> None:
    """Every joint eight metres off and turned by any amount: the limits hold each result in its range."""
    rng = np.random.default_rng(seed)
    offsets = rng.choice([-(1 << 23), (1 << 23) - 1], (255, 3)) if seed else np.full((255, 3), (1 << 23) - 1)
    angles = rng.choice([-ANGLE, ANGLE, ANGLE // 8, ANGLE // 4, 0, round(math.pi * 2**28)], 3 * 255)
    angles = angles if seed % 2 else np.zeros(3 * 255, np.int64)
    parents = [0, *range(254)] if seed < 4 else [0, *(int(rng.integers(0, j)) for j in range(1, 255))]
    world = C["WORLD_LIMIT"]
    matrices = np.array(joints([*rng.choice([-world, world], 3), *angles], parents, offsets.tolist()))
    assert np.abs(matrices[:, :9]).max() <= ONE
    assert np.abs(matrices[:, 9:]).max() <= TYPES["matrix_translation"][1]


@given(st.lists(st.tuples(EXTREME_ANGLES, EXTREME_ANGLES, EXTREME_ANGLES), min_size=1, max_size=8), st.data())
def test_short_chains_at_the_ends_of_all_ranges(angles: list, data: st.DataObject) -> None:
    offsets = [[data.draw(EXTREME_OFFSETS) for _ in range(3)] for _ in angles]
    parents = [0] + [data.draw(st.integers(0, j)) for j in range(len(angles) - 1)]
    joints([0, 0, 0, *(a for angle in angles for a in angle)], parents, offsets)


def test_displacement_by_hand() -> None:
    """Weights 1/2 and -1/4 of offsets 10 and 6: 5 - 1.5 = 3.5, rounded up; then both limits."""
    pose = np.array([0] * 6 + [8192, -4096])
    offsets = np.array([[[10, 0, 0]], [[6, 0, 0]]])
    arrays: list[Any] = [pose, offsets]
    for expected, c in ((4, 0), (0, 1)):
        assert F["displace"](pose.tolist(), offsets.tolist(), 1, 2, 0, c) == expected
        assert compiled("displace")(*arrays, 1, 2, 0, c) == expected
    many = np.full((255, 1, 3), C["OFFSET_LIMIT"])
    for sign in (1, -1):
        pose = np.array([0] * 6 + [sign * C["EXPRESSION_WEIGHT_LIMIT"]] * 255)
        value = F["displace"](pose.tolist(), many.tolist(), 1, 255, 0, 0)
        assert value == compiled("displace")(pose, many, 1, 255, 0, 0) == sign * C["DISPLACEMENT_LIMIT"]
