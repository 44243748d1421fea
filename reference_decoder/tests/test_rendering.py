"""§9 Rendering: the document by hand, the compiled document and the kernels against the document."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spec
from reference_decoder import jit, rendering
from reference_decoder.lanes import LANES, blend_lanes
from reference_decoder.raster import TILE_HEIGHT, TILE_WIDTH, reach_table
from reference_decoder.rendering import Camera

DOCUMENT = spec.document().functions
UNCHECKED = spec.document().unchecked
C = spec.document().constants
TYPES = spec.document().types
ONE = 1 << 30
Scene = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def front_camera(width: int = 24, height: int = 20, **fields: object) -> Camera:
    """At the origin looking along +z, 16 px focal length, black behind."""
    camera = Camera(np.eye(3, dtype=np.int64) * ONE, np.zeros(3, np.int64), (4096, 4096),
                    (128 * width, 128 * height), width, height)  # fmt: skip
    return replace(camera, **fields)


def scene(means: list, sigmas: list, opacities: list, degree: int = 0, seed: int = 0) -> Scene:
    """Round Gaussians from metres, standard deviations and opacities, with random colours and blends."""
    rng = np.random.default_rng(seed)
    count = len(means)
    factor = np.array(sigmas)[:, None, None] * np.eye(3)
    blend = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0] if count else np.zeros((0, 3, 3))
    return (
        np.rint(np.array(means).reshape(-1, 3) * (1 << 20)).astype(np.int32),
        np.rint(factor * (1 << 24)).astype(np.int32),
        np.rint(blend * ONE).astype(np.int32),
        np.rint(np.array(opacities) * 16384).astype(np.int32),
        rng.integers(-5000, 5000, (count, (degree + 1) ** 2, 3)).astype(np.int16),
    )


def document_list(data: Scene, camera: Camera) -> list[int]:
    mean, factor, blend, opacity, sh = ([int(v) for v in array.ravel()] for array in data)
    degree = math.isqrt(data[4].shape[1]) - 1
    return DOCUMENT["projected_list"](mean, factor, blend, opacity, sh, degree, camera.array().tolist())


def assert_same(data: Scene, camera: Camera) -> np.ndarray:
    """The kernels give the document's list, bytes and image."""
    expected = document_list(data, camera)
    projected = rendering.project(*data, camera)
    assert projected.records.ravel().tolist() == expected
    assert projected.serialise() == bytes(DOCUMENT["serialise_int32"](expected))
    image = rendering.rasterise(projected, camera)
    assert image.ravel().tolist() == DOCUMENT["render"](expected, camera.array().tolist())
    return image


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = numba.get_num_threads()
    numba.set_num_threads(min(request.param, numba.config.NUMBA_NUM_THREADS))
    yield request.param
    numba.set_num_threads(before)


# 9.1


@pytest.mark.parametrize("value", [1, 2, 3, 4, (1 << 30) - 1, 1 << 30, 1 << 57, TYPES["rsqrt_argument"][1]])
def test_reciprocal_sqrt_at_powers_of_four_and_ends(value: int) -> None:
    mantissa, shift = DOCUMENT["reciprocal_sqrt"](value)
    assert mantissa * 2.0 ** -(30 + shift) == pytest.approx(value**-0.5, rel=2**-26)


@settings(deadline=None)
@given(st.integers(0, 56).flatmap(lambda bits: st.integers(1 << bits, (2 << bits) - 1)))
def test_reciprocal_sqrt_is_within_its_stated_error(value: int) -> None:
    mantissa, shift = DOCUMENT["reciprocal_sqrt"](value)
    assert abs(mantissa * 2.0 ** -(30 + shift) * math.sqrt(value) - 1) < 2**-26
    assert jit.function("reciprocal_sqrt")(value) == (mantissa, shift)


# 9.2, 9.4


def test_camera_view_by_hand() -> None:
    # 24 px wide, 16 px focal: the edge is at 12/16, widened by 0.15 * 24/16; the centre is -t.
    camera = front_camera(translation=np.array([1, -2, 3]))
    view = DOCUMENT["camera_view"](camera.array().tolist())
    x, y = int((0.75 + 0.225) * 2**24), int((0.625 + 0.1875) * 2**24)
    assert view == [-x, x, -y, y, -1, 2, -3]


def test_limits_stay_ordered_when_the_image_lies_far_beside_the_axis() -> None:
    for principal in (-2097152, 2097152):
        for focal in (256, 4194304):
            camera = front_camera(1, 4096, principal=(principal, principal), focal=(focal, focal))
            view = DOCUMENT["camera_view"](camera.array().tolist())
            assert view[0] <= view[1] and view[2] <= view[3]


def test_round_gaussian_on_the_axis_by_hand() -> None:
    # 0.25 m at 2 m with 16 px focal: 2 px, variance 4 + 0.3; nothing is sheared.
    record = document_list(scene([[0, 0, 2]], [0.25], [1]), front_camera())
    row = round(math.sqrt(math.log2(math.e) / 2 / 4.3) * 2**24)
    assert record[:4] == [0, 2 << 20, 12 << 12, 10 << 12]
    assert (
        record[4] == pytest.approx(row, abs=2) and record[5] == 0 and record[6] == pytest.approx(row, abs=2)
    )
    assert record[10] == 16384


def test_mean_off_the_axis_by_hand() -> None:
    # x/z = 0.5/2 and y/z = -0.25/2 at 16 px: 4 px right of and 2 px above the principal point.
    record = document_list(scene([[0.5, -0.25, 2]], [0.01], [1]), front_camera())
    assert record[2:4] == [16 << 12, 8 << 12]


def test_visibility_begins_at_the_near_plane_and_ends_at_the_screen_limit() -> None:
    near = C["NEAR_Q20"]
    mean = np.array([[0, 0, near], [0, 0, near - 1], [0, 0, -near], [near, 0, near], [near * 1024, 0, near]])
    data = scene([[0, 0, 1]] * 5, [0.01] * 5, [1] * 5)
    assert document_list((mean, *data[1:]), front_camera())[:: C["PROJECTED_FIELDS"]] == [0, 3]


@given(st.tuples(*[st.floats(-1, 1)] * 4), st.floats(-3, 6), st.floats(-3, 6))
def test_rows_invert_the_covariance(entries: tuple[float, ...], first: float, second: float) -> None:
    t = np.array(entries).reshape(2, 2) * [[2**first], [2**second]]
    cov = t @ t.T + 0.3 * np.eye(2)
    a, b, c = (round(v * 2**32) for v in (cov[0, 0], cov[0, 1], cov[1, 1]))
    l00, l01, l11 = (v / 2**24 for v in DOCUMENT["triangular_rows"](a, b, c))
    expected = np.linalg.inv(cov) * math.log2(math.e) / 2
    actual = np.array([[l00 * l00, l00 * l01], [l00 * l01, l01 * l01 + l11 * l11]])
    assert np.abs(actual - expected).max() <= 3e-5 * np.abs(expected).max()


# 9.5


def float_basis(x: float, y: float, z: float) -> list[float]:
    """Real spherical harmonics from associated Legendre functions, signed as in 3D Gaussian splatting."""
    theta, phi = math.acos(max(-1.0, min(1.0, z))), math.atan2(y, x)
    values = []
    for degree in range(4):
        for order in range(-degree, degree + 1):
            m = abs(order)
            ratio = math.factorial(degree - m) / math.factorial(degree + m)
            scale = math.sqrt((2 * degree + 1) / (4 * math.pi) * ratio) * (math.sqrt(2) if m else 1)
            legendre = _legendre(degree, m, math.cos(theta), math.sin(theta))
            values.append(
                (-1) ** m * scale * legendre * (math.sin(m * phi) if order < 0 else math.cos(m * phi))
            )
    return values


def _legendre(degree: int, order: int, c: float, s: float) -> float:
    """P_degree^order without the Condon-Shortley sign, by the usual recurrence."""
    value = math.prod(range(1, 2 * order, 2)) * s**order
    before = 0.0
    for n in range(order + 1, degree + 1):
        value, before = ((2 * n - 1) * c * value - (n + order - 1) * before) / (n - order), value
    return value


@given(st.floats(-1, 1), st.floats(-math.pi, math.pi))
def test_sh_basis_follows_the_spherical_harmonics(z: float, phi: float) -> None:
    s = math.sqrt(1 - z * z)
    unit = [round(v * 32768) for v in (s * math.cos(phi), s * math.sin(phi), z)]
    basis = [0] * 16
    DOCUMENT["sh_basis"](*unit, 3, basis)
    assert np.abs(np.array(basis) / 16384 - float_basis(s * math.cos(phi), s * math.sin(phi), z)).max() < 3e-4


def test_sh_basis_along_z_by_hand() -> None:
    basis = [0] * 16
    DOCUMENT["sh_basis"](0, 0, 32768, 3, basis)
    # 0.28209 0.48860 0.63078 (2 * 0.31539) 0.74635 (2 * 0.37318) in Q.14; all others vanish on the axis.
    assert {k: v for k, v in enumerate(basis) if v} == {0: 4622, 2: 8005, 6: 10335, 12: 12228}


def test_colour_is_clamped_at_both_ends() -> None:
    basis = [0] * 16
    DOCUMENT["sh_basis"](0, 0, 0, 0, basis)
    colours = [DOCUMENT["sh_colour"](basis, [0, -32767, 32767], 0, 0, channel) for channel in range(3)]
    assert colours == [2048, 0, 2048 + 9244]
    assert DOCUMENT["sh_colour"]([TYPES["basis_q14"][1]] * 16, [32767] * 48, 0, 3, 0) == C["COLOUR_MAX_Q12"]


def test_direction_of_length_zero_stays_zero() -> None:
    assert DOCUMENT["view_direction"]([5, 6, 7], [ONE] * 9, 0, [0, 0, 0, 0, 5, 6, 7]) == (0, 0, 0)


def test_direction_is_turned_back_by_the_transpose() -> None:
    # The matrix takes x to y: a view along y was along x in the canonical pose.
    quarter = [0, -ONE, 0, ONE, 0, 0, 0, 0, ONE]
    assert DOCUMENT["view_direction"]([0, 1 << 20, 0], quarter, 0, [0] * 7) == (32768, 0, 0)


# 9.7, 9.8


def test_pixel_alpha_at_whole_and_half_exponents() -> None:
    alpha = DOCUMENT["pixel_alpha"]
    assert alpha(0, 0, 16384) == C["ALPHA_MAX_Q16"]
    assert alpha(0, 0, 8192) == 32768
    assert alpha(1 << 14, 0, 16384) == 32768
    assert alpha(1 << 14, 1 << 14, 16384) == 16384
    assert alpha(11585, 0, 16384) == pytest.approx(2**-0.5 * 65536, abs=8)


def test_a_clamped_reach_never_contributes() -> None:
    limit = C["REACH_MAX_Q14"]
    for other in (*range(0, 3000, 7), limit - 1, limit):
        assert UNCHECKED["pixel_alpha"](limit, other, 16384) < C["ALPHA_MIN_Q16"]


def test_the_span_bound_leaves_out_nothing() -> None:
    # alpha depends on the exponent's upper 19 bits only and grows with opacity: all cases are here.
    upper = np.arange(1 << 19, dtype=np.int64)
    f, c = upper & 32767, C["EXP2_CUBIC"]
    weight = 65536 - (((c[0] - ((c[1] - (c[2] * f >> 15)) * f >> 15)) * f) >> 14)
    for step, reach in enumerate(reach_table()):
        opacity = min(16384, 64 * step + 63)
        reached = upper[(opacity * weight >> 14 + (upper >> 15)) >= C["ALPHA_MIN_Q16"]]
        furthest = math.sqrt((int(reached.max()) + 1) / 2**15) if len(reached) else 0
        assert furthest == 0 or furthest + 2 / 2**14 <= reach


def test_blend_by_hand() -> None:
    blend = DOCUMENT["blend_pixel"]
    assert blend(ONE, 256) == (ONE, 0)
    assert blend(ONE, 32768) == (ONE // 2, ONE // 2)
    assert blend(ONE // 2, 16384) == (3 * ONE // 8, ONE // 8)
    assert blend(200000, 65470) == (-200000, 0)
    assert blend(-200000, 32768) == (-200000, 0)


def test_final_channels_by_hand() -> None:
    final = DOCUMENT["final_channel"]
    assert final(0, ONE, 200) == 200
    assert final(1 << 28, 0, 9) == 255
    assert final(1 << 27, -ONE // 16, 0) == 128  # 127.5 rounds up
    assert final(1 << 30, ONE, 255) == 255
    assert [DOCUMENT["final_coverage"](t) for t in (ONE, ONE // 2, -ONE // 16)] == [0, 128, 239]


def test_sums_of_colours_stay_in_32_bits() -> None:
    transmittance, total = ONE, 0
    while transmittance > 0:  # the longest possible list: every alpha just reaches 1/255
        transmittance, weight = DOCUMENT["blend_pixel"](transmittance, C["ALPHA_MIN_Q16"])
        total = DOCUMENT["add_colour"](total, weight, C["COLOUR_MAX_Q12"])
    assert 2**29 < total < 2**31


@numba.njit
def _run_lanes(state, u, l00, v_square, opacity, red, green, blue):
    blend_lanes(state, 0, LANES, u, l00, v_square, opacity, red, green, blue)


@settings(deadline=None)
@given(st.data())
def test_lanes_repeat_the_document(data: st.DataObject) -> None:
    def draw(name: str) -> int:
        return data.draw(st.integers(*TYPES[name]))

    u = data.draw(st.one_of(st.integers(-(1 << 30), 1 << 30), st.integers(-(3 << 24), 3 << 24)))
    l00, v = draw("row_u_q24"), draw("reach_q14")
    opacity, colour = draw("opacity_q14"), [draw("colour_q12") for _ in range(3)]
    open_pixel, finished = (
        st.integers(C["TRANSMITTANCE_MIN_Q30"], ONE),
        st.integers(TYPES["transmittance_q30"][0], -1),
    )
    before = [data.draw(st.one_of(open_pixel, finished)) for _ in range(LANES)]
    state = np.array(before + [0] * LANES + [5] * LANES + [1 << 29] * LANES, np.int32)
    _run_lanes(state, u, l00, v * v, opacity, *colour)
    expected = []
    for k in range(LANES):
        alpha = UNCHECKED["pixel_alpha"](DOCUMENT["reach"](u + k * l00), v, opacity)
        after, weight = DOCUMENT["blend_pixel"](before[k], alpha)
        expected.append([after] + [DOCUMENT["add_colour"](t, weight, c)
                                   for t, c in zip((0, 5, 1 << 29), colour, strict=True)])  # fmt: skip
    assert state.reshape(4, LANES).T.tolist() == expected


# Ends of ranges: compiled and unbounded give the same, and nothing leaves its declared range.


def extreme(rng: np.random.Generator, name: str, size: int) -> list[int]:
    """Values of a type: its ends, zero, and all magnitudes between."""
    low, high = TYPES[name]
    spread = (rng.choice([low, high], size) * 2.0 ** -rng.integers(0, 40, size)).astype(np.int64)
    ends = rng.choice([low, high, max(low, 0)], size)
    return [int(v) for v in np.clip(np.where(rng.random(size) < 0.4, ends, spread), low, high)]


def extreme_case(rng: np.random.Generator) -> tuple[list[int], ...]:
    camera = [
        *DOCUMENT["matrix_from_vector"](*extreme(rng, "angle", 3)),
        *extreme(rng, "world_coordinate", 3),
    ]
    camera += extreme(rng, "focal_q8", 2) + extreme(rng, "principal_q8", 2) + extreme(rng, "image_size", 2)
    camera += extreme(rng, "byte", 3)
    return (extreme(rng, "world_coordinate", 3), extreme(rng, "shape_factor", 9), extreme(rng, "q30", 9),
            extreme(rng, "opacity_q14", 1), extreme(rng, "sh_coefficient", 48), camera)  # fmt: skip


def test_projection_at_the_ends_of_all_ranges() -> None:
    rng = np.random.default_rng(7)
    compiled, visible = jit.function("projected_record"), 0
    for _ in range(1500):
        mean, factor, blend, opacity, sh, camera = extreme_case(rng)
        view = DOCUMENT["camera_view"](camera)
        expected, actual = [0] * 11, np.zeros(11, np.int64)
        seen = DOCUMENT["projected_record"](mean, factor, blend, opacity, sh, 3, 0, camera, view, expected, 0)
        arrays = [np.array(values, np.int32) for values in (mean, factor, blend, opacity)]
        wide, limits = np.array(camera, np.int64), jit.function("camera_view")(np.array(camera, np.int64))
        assert compiled(*arrays, np.array(sh, np.int16), 3, 0, wide, limits, actual, 0) == seen
        assert limits.tolist() == view and actual.tolist() == expected
        assert all(-(1 << 31) <= value < 1 << 31 for value in expected)
        visible += seen
    assert visible > 100


def test_pixels_at_the_ends_of_all_ranges() -> None:
    rng = np.random.default_rng(8)
    for _ in range(500):
        mean_x, mean_y = extreme(rng, "screen_q12", 2)
        l00, l01, l11 = (extreme(rng, f"row{which}_q24", 1)[0] for which in ("_u", "", "_v"))
        for pixel in (0, 4095):
            dx, dy = DOCUMENT["pixel_offset"](pixel, mean_x), DOCUMENT["pixel_offset"](4095 - pixel, mean_y)
            u, v = DOCUMENT["pixel_u"](l00, l01, dx, dy), DOCUMENT["pixel_v"](l11, dy)
            assert jit.function("pixel_u")(l00, l01, dx, dy) == u and jit.function("pixel_v")(l11, dy) == v


# Whole images


def random_scene(seed: int, count: int, degree: int) -> Scene:
    """Thin, round, huge and pointlike Gaussians before, behind and beside the camera, some at equal depth."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(count, 3)) * [1.5, 1.2, 0.7] + [0, 0, 2]
    mean[::5, 2] = 2
    data = scene(mean.tolist(), [1] * count, [1] * count, degree, seed)
    scales = 2.0 ** rng.uniform(-10, 0, (count, 3))
    factor = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0] * scales[:, None]
    opacity = rng.choice([0, 64, 65, 1000, 8192, 16384], count).astype(np.int32)
    return data[0], np.rint(factor * (1 << 24)).astype(np.int32), data[2], opacity, data[4]


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_kernels_give_the_document_s_image(degree: int, threads: int) -> None:
    camera = front_camera(background=(10, 200, 255), rotation=np.rint(
        np.array([[0.96, 0, 0.28], [0, 1, 0], [-0.28, 0, 0.96]]) * ONE).astype(np.int64))  # fmt: skip
    image = assert_same(random_scene(degree, 30, degree), camera)
    assert len(np.unique(image[..., 3])) > 50


def test_tiles_and_finished_pixels_do_not_show(threads: int) -> None:
    # Wider and higher than a tile, with more opaque layers than it takes to finish a tile.
    rng = np.random.default_rng(3)
    mean = [[0, 0, 1 + k / 100] for k in range(40)] + (
        rng.normal(size=(12, 3)) * [2, 0.5, 0.1] + [0, 0, 2]
    ).tolist()
    data = scene(mean, [3.0] * 40 + [0.1] * 12, [0.5] * 40 + [1.0] * 12)
    image = assert_same(data, front_camera(TILE_WIDTH + 9, TILE_HEIGHT + 3))
    assert image[..., 3].max() == 255


def test_equal_depths_keep_their_order(threads: int) -> None:
    data = scene([[0, 0, 2]] * 8, [0.2] * 8, [0.6] * 8)
    assert document_list(data, front_camera())[:: C["PROJECTED_FIELDS"]] == list(range(8))
    first = assert_same(data, front_camera())
    second = assert_same(tuple(array[::-1] for array in data), front_camera())
    assert not np.array_equal(first, second)


def test_degenerate_gaussians(threads: int) -> None:
    mean = [[0, 0, 0.05], [0, 0, 0.06], [0.3, 0.1, 1], [50, 0, 1], [0, 0, -1], [-0.4, 0, 3], [0.2, 0.2, 60]]
    data = scene(mean, [0.0, 8.0, 0.0, 8.0, 8.0, 1e-7, 8.0], [1, 0.01, 1, 1, 1, 1, 1])
    data[1][5] = [[1 << 27, 0, 0], [0, 0, 0], [0, 0, 0]]  # a line
    assert_same(data, front_camera(background=(1, 2, 3)))


def test_no_gaussian_leaves_the_background(threads: int) -> None:
    camera = front_camera(background=(7, 0, 255))
    image = assert_same(scene([], [], []), camera)
    assert (image == [7, 0, 255, 0]).all()
    assert_same(scene([[0, 0, -1]], [0.1], [1]), camera)


def test_up_in_the_world_is_up_in_the_image() -> None:
    camera = Camera.look_at((0, 1, 3), (0, 1, 0), 24, 20)
    image = rendering.render(*scene([[0.3, 1.3, 0]], [0.05], [1]), camera)
    row, column = np.unravel_index(image[..., 3].argmax(), (20, 24))
    assert row < 8 and column > 14


def test_a_static_scene_needs_no_blend() -> None:
    data = random_scene(5, 20, 3)
    identity = np.broadcast_to(np.eye(3, dtype=np.int32) << 30, (20, 3, 3))
    without = rendering.project(data[0], data[1], None, data[3], data[4], front_camera())
    with_blend = rendering.project(data[0], data[1], identity, data[3], data[4], front_camera())
    assert np.array_equal(without.records, with_blend.records)


def test_many_gaussians_sort_like_numpy() -> None:
    rng = np.random.default_rng(4)
    records = rng.integers(0, 1 << 28, (5000, 11)).astype(np.int32)
    records[::3, 1] = 0
    records[1::3, 1] = records[1, 1]
    visible = records[records[:, 1] > 0]
    expected = visible[np.argsort(visible[:, 1], kind="stable")]
    assert np.array_equal(rendering.sort(records).records, expected)


def test_two_threads_may_render_at_once() -> None:
    data, camera = random_scene(1, 200, 1), front_camera(200, 150)
    expected = rendering.render(*data, camera)
    images: list[np.ndarray] = []
    workers = [
        threading.Thread(target=lambda: images.append(rendering.render(*data, camera))) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(images) == 4 and all(np.array_equal(image, expected) for image in images)
