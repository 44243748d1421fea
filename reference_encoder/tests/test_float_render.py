"""§9 The float64 rendering by hand, and as the measure of the integer rendering's error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reference_decoder import rendering
from reference_decoder.rendering import Camera
from reference_encoder.float_render import FloatCamera, render_float, sh_colours

CAMERA = FloatCamera(np.eye(3), np.zeros(3), (16.0, 16.0), (12.5, 10.5), 24, 20, (0.25, 0.5, 1.0))


def body(count: int, degree: int) -> tuple[np.ndarray, ...]:
    """Flat Gaussians of about 6 mm on six ellipsoids arranged like a standing human, in integers."""
    rng = np.random.default_rng(1)
    parts = [((0, 1.2, 0), (0.18, 0.3, 0.12)), ((0, 1.62, 0), (0.1, 0.13, 0.11))]
    parts += [((side * 0.1, 0.5, 0), (0.09, 0.48, 0.09)) for side in (1, -1)]
    parts += [((side * 0.35, 1.2, 0), (0.2, 0.06, 0.06)) for side in (1, -1)]
    which = rng.integers(0, len(parts), count)
    centres, radii = (np.array([part[k] for part in parts])[which] for k in range(2))
    normal = rng.normal(size=(count, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    frame = np.linalg.qr(np.concatenate([normal[..., None], rng.normal(size=(count, 3, 2))], 2))[0]
    factor = frame * (np.exp(rng.normal(size=(count, 1, 3)) * 0.4) * [0.001, 0.005, 0.005])
    sh = rng.normal(size=(count, (degree + 1) ** 2, 3)) * 0.08
    sh[:, 0] = np.sin((centres + normal * radii) * 9) * 0.8
    blend = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    opacity = 1 / (1 + np.exp(-rng.normal(size=count) * 2 - 1))
    scales = (
        (centres + normal * radii, 1 << 20),
        (factor, 1 << 24),
        (blend, 1 << 30),
        (opacity, 1 << 14),
        (sh, 1 << 12),
    )
    return tuple(np.rint(values * scale).astype(np.int32) for values, scale in scales)


def psnr(error: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean(error**2)))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_integer_rendering_is_within_65_db(degree: int) -> None:
    mean, factor, blend, opacity, sh = body(8000, degree)
    camera = Camera.look_at((0.4, 1.1, 2.4), (0, 0.9, 0), 320, 320, 0.75, background=(40, 60, 80))
    integer = rendering.render(mean, factor, blend, opacity, sh, camera).astype(float)
    floats = (mean / 2**20, factor / 2**24, blend / 2**30, opacity / 2**14, sh / 2**12)
    expected = render_float(*floats, FloatCamera.of(camera))
    assert (expected[..., 3] > 0.5).mean() > 0.1
    assert psnr(np.rint(255 * expected) - integer) > 65
    assert psnr(255 * expected - integer) > 58  # 58.9 dB is the rounding to 8 bits alone


def test_pixel_at_the_centre_and_one_standard_deviation_away() -> None:
    # 0.25 m at 2 m with 16 px focal: variance 4 + 0.3 px^2 around the centre of pixel (12, 10).
    image = render_float(
        np.array([[0, 0, 2.0]]), np.eye(3)[None] * 0.25, None, np.array([0.8]), np.zeros((1, 1, 3)), CAMERA
    )
    assert image[10, 12, 3] == pytest.approx(0.8)
    assert image[10, 12, :3] == pytest.approx([0.8 * 0.5 + 0.2 * b for b in (0.25, 0.5, 1)])
    assert image[10, 14, 3] == pytest.approx(0.8 * math.exp(-0.5 * 4 / 4.3))
    assert image[0, 0].tolist() == [0.25, 0.5, 1, 0]


def test_nearer_gaussians_cover_and_finished_pixels_stay() -> None:
    means = np.array([[0, 0, 3.0], [0, 0, 2.0], [0, 0, 0.04]])
    sh = (
        np.array([[[1.0, 0, 0]], [[0, 1.0, 0]], [[0, 0, 1.0]]]) / 0.28209479177387814
        - 0.5 / 0.28209479177387814
    )
    sh = np.maximum(sh, -0.5 / 0.28209479177387814)
    image = render_float(means, np.repeat(np.eye(3)[None], 3, 0), None, np.ones(3), sh, CAMERA)
    # The near one is behind the near plane; the farthest would leave 1e-6 < 1e-4 and is not added.
    assert image[10, 12, 3] == pytest.approx(0.999)


def test_colours_of_degree_one_by_hand() -> None:
    sh = np.zeros((1, 4, 3))
    sh[0, 1:, 0] = 0.1, 0.2, -0.3
    c = 0.4886025119029199
    assert sh_colours(np.array([[0, 2.0, 0]]), sh)[0] == pytest.approx([0.5 - c * 0.1, 0.5, 0.5])
    assert sh_colours(np.array([[0, 0, 9.0]]), sh)[0, 0] == pytest.approx(0.5 + c * 0.2)
    assert sh_colours(np.array([[1.0, 0, 0]]), sh)[0, 0] == pytest.approx(0.5 + c * 0.3)
    assert sh_colours(np.array([[0, 1.0, 0]]), sh * 100)[0, 0] == 0
