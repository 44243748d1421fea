"""§E.4 The tolerance holds a right rendering in floating-point numbers and shows what is wrong with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import spec
from conformance.examples.float_renderer import picture
from conformance.generate import generate
from conformance.runner.tolerance import UNJUDGED, first_outside
from conformance.tolerance import constant, floats, gaussian_errors, integers, tolerance
from reference_decoder import Camera, Decoder, Frame
from reference_encoder import float_render
from reference_encoder.float_render import FloatCamera, project_float

SEEDS = (2, 3, 10, 13, 22, 29, 36)
"""Streams with ties, with pixels that are finished at the limit, and with thin Gaussians."""


@cache
def scene(seed: int) -> tuple[Frame, Camera, np.ndarray, np.ndarray]:
    """The second frame of a random stream with its camera, picture and tolerance."""
    decoder = Decoder(generate(seed, size=40))
    frame = list(decoder.frames())[1]
    camera = decoder.cameras[min(decoder.cameras)]
    levels, _ = tolerance(frame, camera)
    return frame, camera, frame.render(camera), levels


@pytest.mark.parametrize("seed", SEEDS)
def test_a_float64_and_a_float32_rendering_are_within(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    frame, camera, expected, levels = scene(seed)
    assert first_outside(picture(frame, camera), expected, levels) == ""
    project = float_render.project_float

    def single(*arguments: np.ndarray, **options: float) -> float_render.Projection:
        """Every input and intermediate value of the projection in binary32."""
        *arrays, view = arguments
        singles = [np.asarray(array, np.float32) for array in arrays]
        return project(*singles, replace(
            view, rotation=view.rotation.astype(np.float32), translation=view.translation.astype(np.float32),
        ), **options)  # fmt: skip

    monkeypatch.setattr(float_render, "project_float", single)
    assert first_outside(picture(frame, camera), expected, levels) == ""


DEFECTS: dict[str, tuple[str, float]] = {
    "less blur": ("LOW_PASS", 0.28),
    "no least alpha": ("ALPHA_MIN", 1e-4),
    "a greater least alpha": ("ALPHA_MIN", 1.5 / 255),
    "pixels finished early": ("TRANSMITTANCE_MIN", 0.03),
    "alpha limited": ("ALPHA_MAX", 0.97),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_wrong_constant_is_seen(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [scene(seed) for seed in (2, 3, 13)]
    monkeypatch.setattr(float_render, *DEFECTS[defect])
    monkeypatch.setattr(
        float_render, "_blend", float_render._blend.py_func
    )  # compiled code keeps its constants
    assert any(first_outside(picture(f, c), expected, levels) for f, c, expected, levels in scenes)


CHANGES: dict[str, Callable[[Camera], Camera]] = {
    "a twentieth of a pixel": lambda c: replace(c, principal=(c.principal[0] + 13, c.principal[1])),
    "a focal length off by 1 %": lambda c: replace(c, focal=(c.focal[0] * 101 // 100, c.focal[1])),
    "another background": lambda c: replace(c, background=tuple((b + 3) % 256 for b in c.background)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_camera_is_seen(change: str) -> None:
    frame, camera, expected, levels = scene(3)
    where = first_outside(picture(frame, CHANGES[change](camera)), expected, levels)
    assert "within" in where and "bytes are outside" in where


def test_most_bytes_may_be_off_by_one() -> None:
    levels = np.concatenate([scene(seed)[3].ravel() for seed in (2, 3, 13)])
    assert (levels == 1).mean() > 0.85 and (levels == UNJUDGED).mean() < 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_the_integers_are_within_the_bounds_of_every_gaussian(seed: int) -> None:
    """§E.3 Mean and rows of the projected list against the same without rounding."""
    frame, camera, _, _ = scene(seed)
    real = FloatCamera.of(camera)
    mean, factor, blend = (np.asarray(part, float) for part in frame.gaussians)
    opacity, sh = (np.asarray(part) for part in frame.appearance)
    p = project_float(
        mean / 2**20, (factor / 2**24).reshape(-1, 3, 3), (blend / 2**30).reshape(-1, 3, 3),
        opacity / 2**14, sh / 2**12, real,
    )  # fmt: skip
    records = np.asarray(frame.projected(camera))
    order = np.argsort(records[:, 0])
    ours = np.argsort(_indices(mean / 2**20, p, real))
    bounds = gaussian_errors(p, real, integers())
    fine = ~bounds.ill[ours]
    assert len(records) == len(p.inside)
    scaled = records[order] / np.array([1, 2**20, *[2**12] * 2, *[2**24] * 3, *[2**12] * 3, 2**14])
    for columns, exact, bound in ((slice(2, 4), p.centres, bounds.mean), (slice(4, 7), p.rows, bounds.rows),
                                  (slice(7, 10), p.colours, bounds.colour)):  # fmt: skip
        assert (np.abs(scaled[:, columns] - exact[ours]) <= bound[ours] + 1e-12)[fine].all()


def _indices(means: np.ndarray, p: float_render.Projection, camera: FloatCamera) -> np.ndarray:
    """The index of each projected Gaussian among all."""
    inside = means @ camera.rotation.T + camera.translation
    visible = np.flatnonzero(inside[:, 2] >= float_render.NEAR)
    return visible[np.argsort(inside[visible, 2], kind="stable")]


def test_the_numbers_of_the_annex() -> None:
    """§E.2 The weight over all fractions that `pixel_alpha` distinguishes, and the gradients of the basis."""
    function = spec.document().unchecked["pixel_alpha"]
    fractions = np.arange(32768)
    exact = [
        function(int(np.sqrt(n << 13)), 0, 16384) for n in range(0, 32768, 64)
    ]  # the function itself, now and then
    c0, c1, c2 = spec.standard().constant_values["EXP2_CUBIC"]
    slope = c0 - ((c1 - (c2 * fractions >> 15)) * fractions >> 15)
    weight = 65536 - (slope * fractions >> 14)
    roots = np.array([int(np.sqrt(n << 13)) ** 2 >> 13 for n in range(0, 32768, 64)])
    assert (np.minimum(weight[roots], 65470) == exact).all()
    ends = [weight / 65536 / 2.0 ** -((fractions + last) / 32768) - 1 for last in (0, 1)]
    worst = max(float(np.abs(end).max()) for end in ends) * 2**24
    assert constant("TOLERANCE_WEIGHT_Q24") - 1 < worst <= constant("TOLERANCE_WEIGHT_Q24")
    directions = np.random.default_rng(0).normal(size=(20000, 3))
    steep = _steepest(directions / np.linalg.norm(directions, axis=1, keepdims=True)) * 2**8
    assert (steep <= spec.standard().constant_values["TOLERANCE_SLOPES_Q8"]).all()
    assert floats().unit == 2.0**-24


def _steepest(p: np.ndarray) -> np.ndarray:
    """The greatest gradient along the unit sphere of the basis functions of each degree."""
    gradients = np.zeros((len(p), 16))
    half = np.eye(16)[:, :, None] * np.full(
        3, 0.5
    )  # a colour of one half plus half a basis function is not clamped
    for axis in np.eye(3):
        across = (axis - (p @ axis)[:, None] * p) * 1e-5
        plus, minus = (
            np.stack([float_render.sh_colours(p + way, sh[None])[:, 0] for sh in half], 1)
            for way in (across, -across)
        )
        gradients += ((plus - minus) / 1e-5) ** 2
    degrees = [slice(0, 1), slice(1, 4), slice(4, 9), slice(9, 16)]
    return np.array([np.sqrt(gradients[:, degree].max()) for degree in degrees])
