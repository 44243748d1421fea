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
LEAST, WIDEST = TYPES["wide_scale"]


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
        (1 << 30, 31, 1), ((1 << 30) - 1, 31, 0), (-(1 << 30), 31, 0), (-(1 << 30) - 1, 31, -1),
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
        (0, 18, 0), (131071, 18, 131071), (131072, 18, -131072), (-131072, 18, -131072), (-131073, 18, 131071),
        (262144, 18, 0), (-262144, 18, 0), (524288, 20, -524288), (1 << 31, 22, 0),
        (2097152, 22, -2097152), (-2097153, 22, 2097151), (-(1 << 21), 22, -(1 << 21)),
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


def test_the_farthest_turn_of_a_point_by_hand() -> None:
    """A row whose magnitudes sum to sqrt(3) and 165 units turns a corner of the world farthest."""
    row = both("matrix_from_vector", 1166814006, 1530146205, 1657654434)[:3]
    total = sum(abs(entry) for entry in row)
    assert total == math.isqrt(3 << 60) + 165
    assert (total * C["WORLD_LIMIT"] + (1 << 29)) >> 30 == TYPES["camera_centre_q20"][1]
    assert TYPES["view_q20"][1] == TYPES["camera_centre_q20"][1] + C["WORLD_LIMIT"]


near = st.integers(-3000, 3000)


@given(near, near, near, st.permutations(range(3)))
def test_no_row_or_column_sums_to_more_than_the_text_says(x: int, y: int, z: int, order: list[int]) -> None:
    """Near the rotations with the greatest sums, about each axis."""
    vector = (1166814006 + x, 1530146205 + y, 1657654434 + z)
    matrix = np.abs(np.array(both("matrix_from_vector", *(vector[k] for k in order))).reshape(3, 3))
    assert max(matrix.sum(0).max(), matrix.sum(1).max()) <= math.isqrt(3 << 60) + 166


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
    ends = (C["LOG_SCALE_MIN"], C["LOG_SCALE_MAX"])
    values = [F["exp2_q24"](x) for x in (*range(*ends, 97), ends[1])]
    assert values == sorted(values) and (values[0], values[-1]) == (LEAST, WIDEST)
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


@pytest.mark.parametrize(
    ("size", "level", "run", "expected"),
    [(2, 1, 0, 0), (2, 2, 3, 7), (4, 3, 0, 32), (5, 1, 0, 36), (8, 1, 0, 48), (2048, 1, 0, 144), (9999999, 3, 3, 155)],
)  # fmt: skip
def test_context_of_a_node_by_hand(size: int, level: int, run: int, expected: int) -> None:
    """2, 3 and 4 Gaussians are groups 0 to 2, then 3 bits (5 to 7) are group 3, up to 12 bits and more."""
    assert both("node_context", size, level, run) == expected


def test_splitting_a_node_by_hand() -> None:
    """Level 6 halves x at bit 1; a real split puts the lower half on top, an empty half moves the corner or not."""
    stack = np.zeros((64, 6), np.int64)
    stack[0, :3] = 5, 6, 2
    (node,) = in_place("split_node", [stack.copy(), 1, 2], [0])
    assert node[:2] == [[3, 5, 0, 2, 0, 0], [2, 5, 0, 0, 0, 0]]
    assert both("split_node", stack.copy(), 1, 2) == 2
    for lower, corner in ((0, 2), (5, 0)):
        (node,) = in_place("split_node", [stack.copy(), 1, lower], [0])
        assert node[0] == [5, 5, 3, corner, 0, 0]
        assert both("split_node", stack.copy(), 1, lower) == 1
    stack[0, 1] = 5  # then y, then z
    (node,) = in_place("split_node", [stack.copy(), 1, 0], [0])
    assert node[0] == [5, 4, 3, 0, 2, 0]


def test_positions_by_hand() -> None:
    """Level 4: z has 2 unread bits, x and y 1 each. The centre of the cell (4, 2, 8) is (5, 3, 10)."""
    stack = np.array([[1, 4, 0, 4, 2, 8]])
    cell, level = in_place("place_node", [stack, 1, 0, np.zeros((1, 3), int), np.zeros(1, int)], [3, 4])
    assert (cell, level) == ([[5, 3, 10]], [4])
    for coarse, low, expected in (
        (0, [1, 0, 3], [5, 2, 11]),
        (1, [0, 0, 1], [5, 3, 11]),
        (6, [0, 0, 1], [5, 3, 11]),
    ):
        arrays = [np.array(array) for array in (cell, level, [[coarse, 0]], [low], [100, -7, -8])]
        (position,) = in_place("decode_positions", [*arrays, 10, 1, 1, np.full((2, 3), 99)], [8])
        assert position == [
            [99] * 3,
            [10 * (expected[0] + 100), 10 * (expected[1] - 7), 10 * (expected[2] - 8)],
        ]
    arrays = [np.array(array) for array in ([[0] * 3], [0], [[0, 0]], [[0] * 3], [8388607, -8388608, 0])]
    (position,) = in_place("decode_positions", [*arrays, 2, 1, 0, np.zeros((1, 3), int)], [8])
    assert position == [[C["POSITION_LIMIT"], -C["POSITION_LIMIT"], 0]]


@pytest.mark.parametrize(
    ("quantised", "step", "blur", "exponent"),
    [(0, 1, 0, -24), (-1, 524288, 0, -24), (24, 1 << 16, 0, 0), (25, 1 << 16, 0, 1), (2, 1 << 16, 15 << 16, -7),
     (2097151, 524288, 1638400, 1), (-2097152, 524288, 1638400, -24)],
)  # fmt: skip
def test_widened_scale_by_hand(quantised: int, step: int, blur: int, exponent: int) -> None:
    assert both("widened_scale", quantised, step, blur) == F["exp2_q24"](exponent << 16)


def test_scale_by_hand() -> None:
    """5^2 - 4^2 is 3^2; what is not wider than the blur is 0; the widest with the least blur is nearly itself."""
    assert both("decode_scale", 5 << 20, 4 << 20) == pytest.approx(3 << 20, abs=1)
    assert both("decode_scale", 4 << 20, 4 << 20) == both("decode_scale", LEAST, WIDEST) == 0
    assert both("decode_scale", WIDEST, LEAST) == TYPES["scale"][1] == WIDEST - 1
    assert both("decode_scale", 2, 1) == 1


@given(st.integers(LEAST, WIDEST), st.integers(LEAST, WIDEST))
def test_scales_are_within_their_error(widened: int, blur: int) -> None:
    exact = math.sqrt(max(widened**2 - blur**2, 0))
    assert both("decode_scale", widened, blur) == pytest.approx(exact, rel=2**-25, abs=1)
    assert 0 <= both("rotation_shift", widened, blur) <= 6


def test_rotation_shift_by_hand() -> None:
    """Alike axes have the coarsest step; it is doubled until the relative difference is above 128 / 181 of it."""
    assert both("rotation_shift", 7, 7) == both("rotation_shift", WIDEST, WIDEST) == 6
    assert both("rotation_shift", 1000, LEAST) == both("rotation_shift", LEAST, WIDEST) == 0
    assert (
        both("rotation_shift", 1000, 707) == 1
    )  # half of the square: 0.5 * 181 is less than 128, once doubled not


def test_factors_by_hand() -> None:
    """No rotation: almost the widened scales 1, 1/2 and 1/4 m on the diagonal; then half a radian about z."""
    one = 1 << 24
    widened = np.array([[one, one >> 1, one >> 2]] * 2)
    rotation = np.array([[0, 0, 0], [0, 0, 1]])
    factor = np.zeros((2, 3, 3), np.int64)
    (filled,) = in_place("decode_factors", [widened, rotation, 0, 1 << 27, 2, 0, factor], [6])
    assert np.array(filled[0]) / one == pytest.approx(np.diag([1, 0.5, 0.25]), abs=1e-6)
    sine, cosine = math.sin(0.5), math.cos(0.5)
    expected = np.array([[cosine, -sine / 2, 0], [sine, cosine / 2, 0], [0, 0, 0.25]])
    assert np.array(filled[1]) / one == pytest.approx(expected, abs=1e-6)


def test_opacities_by_hand() -> None:
    """Steps of 1000: 8 is 8000, its square 3906.25 and its cube 1907.35 in Q.14; both limits."""
    values = np.array([[8, 0, 0, 0], [20, 0, 0, 0], [-1, 0, 0, 0]])
    for power, expected in ((1, 8000), (2, 3906), (3, 1907)):
        (filled,) = in_place("decode_opacities", [values, 1000, power, 3, 0, np.zeros(3, np.int64)], [5])
        assert filled == [expected, 16384, 0]


def test_colours_by_hand() -> None:
    """Luma 10, chroma 3 and -4: rest 10 + 2 = 12, green 8, blue 12 - 1 = 11, red 14. The others have no prediction."""
    values = np.array([[0, 10, 3, -4], [0, 524287, 0, 0]])
    residual = np.zeros((2, 9), np.int64)
    residual[0, 3:6] = [10, 3, -4]
    coarse = np.array([[0, 2], [0, 0]])
    steps = np.array([100, 3, 1, 1])
    (sh,) = in_place(
        "decode_colours", [values, residual, coarse, steps, 1, 2, 0, np.zeros((2, 4, 3), int)], [7]
    )
    assert sh[0][0] == [1400, 800, 1100] and sh[1][0] == [32767] * 3
    # shifts of 2 for luma, 3 for chroma: 40, 24, -32: rest 56, green 24, blue 44, red 68
    assert sh[0][1] == [0, 0, 0] and sh[0][2] == [204, 72, 132]


def test_neighbours_by_hand() -> None:
    """On a line at 0, 10, 4, 4 and 5: of equally near ones the later; a window of 2 hides the first ones."""
    points = np.array([[0, 0, 0], [10, 0, 0], [4, 0, 0], [4, 0, 0], [5, 0, 0]])
    for window, expected in (
        (16, [[0, 0], [0, 0], [0, 1], [2, 0], [3, 2]]),
        (1, [[0, 0], [0, 0], [1, 0], [2, 0], [3, 0]]),
    ):
        (neighbour,) = in_place("find_neighbours", [points, 5, window, np.full((5, 2), 9)], [3])
        assert neighbour == expected
    ends = np.array([[-8388607] * 3, [8388607] * 3])
    assert in_place("find_neighbours", [ends, 2, 16, np.full((2, 2), 9)], [3]) == [[[0, 0], [0, 0]]]


def test_prediction_from_neighbours_by_hand() -> None:
    values, neighbour = np.array([[5, -5], [8, -8], [0, 0]]), np.array([[0, 0], [0, 0], [0, 1]])
    assert [both("neighbour_mean", values, neighbour, 2, c) for c in range(2)] == [7, -6]  # halves upward
    assert both("neighbour_mean", values, neighbour, 1, 0) == 5
    sums = {0: 0, 1: 1, 2: 1, 3: 2, 6: 2, 7: 3, 1 << 25: 3}
    for total, group in sums.items():
        residual = np.array([[0, -(total // 2)], [0, total - total // 2], [0, 0]])
        assert both("residual_context", residual, neighbour, 2, 1, 5) == (8 + 5) * 4 + group


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
    """Steps of 100; the limit is 2 m; what does not move stays."""
    values = np.array([[0, 0, 0], [2, -1, 131071], [0, 0, -131072]])
    (offset,) = in_place("decode_expression", [values, 100, 3, np.full((3, 3), 55)], [3])
    limit = C["OFFSET_LIMIT"]
    assert offset == [[0, 0, 0], [200, -100, limit], [0, 0, -limit]]


def test_prediction_of_offsets_by_hand() -> None:
    """Only neighbours that move count; the sets follow from how many do and how far, and from residuals."""
    moved, values = np.array([1, 1, 0, 0]), np.array([[4, 0, -1], [7, 0, -1], [0, 0, 0], [0, 0, 0]])
    for pair, mean, context in (
        ([0, 1], 6, 4 * 2 + 2),
        ([2, 1], 7, 4 + 2),
        ([0, 2], 4, 4 + 2),
        ([2, 2], 0, 0),
    ):
        neighbour = np.array([[0, 0], [0, 0], [0, 0], pair])
        assert both("moved_mean", moved, values, neighbour, 3, 0) == mean
        assert both("moved_context", moved, values, neighbour, 3) == context
    neighbour = np.array([[0, 0], [0, 0], [0, 1]])
    for total, group in {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 8: 4, 16: 5, 40: 6, 41: 7, 1 << 18: 7}.items():
        residual = np.array([[0, total, total], [0, 0, 0], [0, 0, 0]])
        assert both("offset_context", residual, neighbour, 2, 1) == 8 + group
        residual[2, 1] = -1
        assert both("offset_context", residual, neighbour, 2, 2) == 16 + min(
            group + (total in (0, 1, 2, 4, 8, 16, 40)), 7
        )


# 7.5


def test_symbols_by_hand() -> None:
    magnitudes, signs = np.array([[9, 9, 9], [4, 0, 6]]), np.array([[1, 1, 1], [1, 0, 0]])
    assert in_place("decode_symbols", [1, magnitudes, signs, 3, np.zeros(3, np.int64)], [4]) == [[-4, 0, 6]]


@pytest.mark.parametrize(
    ("code", "step"), [(0, 8), (7, 15), (8, 16), (15, 30), (100, 12 << 12), (199, 15 << 24)]
)
def test_steps_by_hand(code: int, step: int) -> None:
    assert both("component_step", code) == step


def test_limits_by_hand() -> None:
    """Two joints: translation, six components of rotation, then weights."""
    limits = [both("component_limit", n, 2) for n in range(11)]
    assert limits == [C["WORLD_LIMIT"]] * 3 + [ANGLE] * 6 + [C["EXPRESSION_WEIGHT_LIMIT"]] * 2


@pytest.mark.parametrize(
    ("place", "order"),
    [
        ((1, 0, 3), [0, 1, 2, 3]),
        ((0, 1, 4), [1, 0, 3, 2, 4]),
        ((0, 2, 3), [3, 1, 0, 2]),
        ((1, 3, 8), [0, 8, 4, 2, 6, 1, 3, 5, 7]),
        ((0, 3, 6), [6, 3, 1, 5, 0, 2, 4]),
        ((1, 3, 0), [0]),
    ],
)
def test_order_of_frames_by_hand(place: tuple[int, int, int], order: list[int]) -> None:
    """(key_flag, group_shift, frame_count); seven frames in a group of eight: 7; 4; 2, 6; 1, 3, 5, counted from 1."""
    assert [both("coded_frame", i, *place) for i in range(place[2] + 1)] == order


def test_spans_and_banks_by_hand() -> None:
    """Seven frames: the last looks back seven, the fourth four and ahead three."""
    place = 0, 3, 6
    assert [both("frame_span", f, *place) for f in range(7)] == [1, 2, 1, 4, 1, 2, 7]
    assert [both("later_span", f, *place) for f in range(7)] == [1, 2, 1, 3, 1, 1, 0]
    assert [both("frame_bank", f, *place) for f in range(7)] == [1, 2, 1, 3, 1, 2, 0]
    for name in ("frame_span", "later_span", "frame_bank"):
        assert both(name, 0, 1, 3, 6) == 0  # the first frame of a key unit
    assert [both("frame_span", f, 1, 0, 3) for f in range(1, 4)] == [1, 1, 1]


@pytest.mark.parametrize("key_flag", [0, 1])
@pytest.mark.parametrize("group_shift", range(4))
def test_every_frame_comes_once_and_after_those_it_is_predicted_from(key_flag: int, group_shift: int) -> None:
    for frame_count in range(20):
        place, known = (key_flag, group_shift, frame_count), set(range(-9, 0))
        for i in range(frame_count + 1):
            f = both("coded_frame", i, *place)
            span, later = both("frame_span", f, *place), both("later_span", f, *place)
            used = {f - span, f - 3 * span, f + later} if later else {f - span, f - span - 1, f - span - 2}
            assert f not in known and (used <= known or (key_flag and f == 0))
            known.add(f)
        assert known == set(range(-9, frame_count + 1))


def predicted(bank: int, first: int, second: int, moments: list[int]) -> int:
    result = F["predicted_change"](first, second, bank, moments)
    assert compiled("predicted_change")(first, second, bank, np.array(moments)) == result
    return result


def test_prediction_by_hand() -> None:
    """Without experience 0.6 (154/256) and -0.1 (-26/256): (154 * 10 - 26 * 4) / 256 = 5.6."""
    assert predicted(0, 10, 4, [0] * 5) == 6
    # S11 + R = 4096, T1 + 1232 = 4048: the first weight is 256 * 4048 / 4096 = 253
    assert predicted(0, 256, 0, [2048, 0, 0, 2816, 0]) == 253
    assert predicted(0, 1, 0, [0, 0, 0, 70000000, 0]) == 4  # weights of at most 4
    assert predicted(0, 0, 1, [0, 0, 0, 0, -70000000]) == -4
    for bank in (1, 2, 3):  # half of what lies between the frames, and a sixteenth of the bend
        assert predicted(bank, 100, -32, [0] * 5) == 48


def test_known_changes_by_hand() -> None:
    """Values 0, 1, 4, 9, ...: the changes before frame 8, and what lies around frame 6."""
    values = np.arange(12) ** 2
    assert both("known_changes", 9, 1, 0, values) == (64 - 49, 49 - 36)
    assert both("known_changes", 11, 3, 0, values) == (3 * 15, 3 * 13)
    assert both("known_changes", 6, 2, 2, values) == (64 - 16, 16 - 0 - 48)
    assert both("known_changes", 6, 2, 1, values) == (4 * (49 - 16) // 3, 16 - 0 - 44)


def test_what_a_component_learns_by_hand() -> None:
    """Changes in 1/16 of the step of 16: 3, -5 (-80 + 8 divided by 16), 10; each moment loses 1/64 first."""
    (moments,) = in_place("learn_change", [3, -5, 10, 16, np.array([64, 65, -1, 0, 128])], [4])
    x, y, z = 3, (16 * -5 + 8) // 16, 10
    assert y == -5 and moments == [63 + x * x, 64 + x * y, y * y, x * z, 126 + y * z]
    assert both("steps_of_change", 2 * ANGLE, 8) == 1023 == -both("steps_of_change", -2 * ANGLE, 8)


HISTORY = C["HISTORY"]


def test_pose_by_hand_and_its_limits() -> None:
    """One joint, one expression; step 16 halved once, in a key frame and after it; then the largest residuals."""
    state = [np.zeros((7, HISTORY + 4), np.int64), np.full((28, 5), 9), np.zeros(7, np.int64)]
    symbols = np.array([1, 2, 3, 4, 5, 6, 7])
    arguments = [0, 1, 0, 1, symbols, np.array([1, 1]), np.full(7, 8), 1, 7, *state]
    track, moments, pose = in_place("decode_pose", arguments, [9, 10, 11])
    assert pose == [8, 16, 24, 32, 40, 48, 56] and moments == [[0] * 5] * 28
    assert track == [[value] * (HISTORY + 1) + [0] * 3 for value in pose]
    arguments[0], arguments[9], arguments[10] = 1, np.array(track), np.array(moments)
    track, moments, pose = in_place("decode_pose", arguments, [9, 10, 11])
    assert pose == [16, 32, 48, 64, 80, 96, 112] and [row[HISTORY + 1] for row in track] == pose
    assert in_place("keep_track", [1, 7, np.array(track)], [2])[0][0][:HISTORY] == [8] * 8 + [16]
    largest = (1 << 24) - 1
    arguments[4] = np.array([largest, -largest] * 3 + [largest])
    arguments[5], arguments[6] = np.array([0, 0]), np.full(7, 199)
    world, weight = C["WORLD_LIMIT"], C["EXPRESSION_WEIGHT_LIMIT"]
    assert in_place("decode_pose", arguments, [11])[0] == [
        world,
        -world,
        world,
        -ANGLE,
        ANGLE,
        -ANGLE,
        weight,
    ]


@pytest.mark.parametrize("step", [8, 4096, 15 << 24])
@pytest.mark.parametrize("group_shift", [0, 3])
@pytest.mark.parametrize("pattern", ["ramp", "two", "three", "random", "random walk"])
def test_no_poses_leave_the_declared_ranges(step: int, group_shift: int, pattern: str) -> None:
    """From end to end of the range, until the moments have settled: executed with every range checked."""
    rng, values, moments = np.random.default_rng(7), [0] * (HISTORY + 601), [[0] * 5 for _ in range(4)]
    place, value = (0, group_shift, 599), 0
    compiled_values, compiled_moments = np.array(values), np.array(moments)
    for n in range(600):
        value = {
            "ramp": min(-ANGLE + n * 64 * step, ANGLE),
            "two": ANGLE if n % 2 else -ANGLE,
            "three": (ANGLE, -ANGLE, 0)[n % 3],
            "random": int(rng.integers(-ANGLE, ANGLE + 1)),
            "random walk": max(-ANGLE, min(ANGLE, value + int(rng.integers(-64, 65)) * step)),
        }[pattern]
        f = F["coded_frame"](n, *place)
        bank, spans = (
            F["frame_bank"](f, *place),
            [F[name](f, *place) for name in ("frame_span", "later_span")],
        )
        rest = HISTORY + f, *spans, bank, step, ANGLE, value
        found = F["follow_component"](*rest, values, moments[bank])
        assert abs(found) <= ANGLE
        assert compiled("follow_component")(*rest, compiled_values, compiled_moments[bank]) == found
        assert compiled_values.tolist() == values and compiled_moments.tolist() == moments
    assert pattern != "two" or step != 8 or group_shift or moments[0][0] > 66_000_000


def test_the_determinant_is_positive_where_the_moments_are_largest() -> None:
    most = 64 * 1023**2 + 63
    for sign in (1, -1):
        assert abs(predicted(0, 5, 5, [most, sign * most, most, sign * most, -most])) <= 40


# 8.3.3


@pytest.mark.parametrize(
    ("mean", "magnitude", "shift", "expected"),
    [
        (256, 0, 0, 205), (256, 3, 1, 281), (0, (1 << 24) - 1, 0, 13005), (1, 0, 0, 0), (0, 0, 3, 0),
        (65280, 255, 0, 65280),
    ],
)  # fmt: skip
def test_running_mean_by_hand(mean: int, magnitude: int, shift: int, expected: int) -> None:
    """256 less 51/256 of it; 384 seen: 25 more; magnitudes count as 255 at most; small means die out."""
    assert both("running_mean", mean, magnitude, shift) == expected


def test_residual_class_by_hand() -> None:
    classes = [both("residual_class", mean) for mean in (0, 1, 12, 13, 5119, 5120, 65280)]
    assert classes == [0, 1, 1, 2, 12, 13, 13]


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
