"""§9 The rendering process in float64: what the integers of clause 9 approximate, for measuring their error.

The method is 3D Gaussian splatting (Kerbl et al. 2023) with gsplat's clamp of the linearisation point.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from reference_decoder.rendering import Camera

NEAR = 0.05
LOW_PASS = 0.3
LIMIT_MARGIN = 0.15
ALPHA_MIN, ALPHA_MAX = 1 / 255, 0.999
TRANSMITTANCE_MIN = 1e-4


@dataclass(frozen=True)
class FloatCamera:
    """A camera in floats: metres, pixels, background in 0..1; axes as in `Camera`."""

    rotation: np.ndarray  # (3, 3) world to camera
    translation: np.ndarray  # (3,)
    focal: tuple[float, float]
    principal: tuple[float, float]
    width: int
    height: int
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, camera: Camera) -> FloatCamera:
        """The floats that an integer camera stands for."""
        return cls(
            np.asarray(camera.rotation, float) / (1 << 30),
            np.asarray(camera.translation, float) / (1 << 20),
            (camera.focal[0] / 256, camera.focal[1] / 256),
            (camera.principal[0] / 256, camera.principal[1] / 256),
            camera.width,
            camera.height,
            (camera.background[0] / 255, camera.background[1] / 255, camera.background[2] / 255),
        )


def render_float(
    means: np.ndarray,
    factors: np.ndarray,
    blends: np.ndarray | None,
    opacities: np.ndarray,
    sh: np.ndarray,
    camera: FloatCamera,
) -> np.ndarray:
    """§9.9 The image in float64, (height, width, 4) in 0..1: red, green, blue, coverage.

    means (N, 3) and factors (N, 3, 3) in metres, blends (N, 3, 3) or None for the canonical pose,
    opacities (N,) in 0..1, sh (N, (degree+1)^2, 3).
    """
    inside = means @ camera.rotation.T + camera.translation
    visible = np.flatnonzero(inside[:, 2] >= NEAR)
    visible = visible[np.argsort(inside[visible, 2], kind="stable")]
    inside = inside[visible]
    centres = inside[:, :2] / inside[:, 2:] * camera.focal + camera.principal
    covariances = _projected_covariances(inside, factors[visible], camera)
    direction = means[visible] + camera.rotation.T @ camera.translation
    if blends is not None:
        direction = np.einsum("nji,nj->ni", blends[visible], direction)
    colours = sh_colours(direction, sh[visible])
    state = np.zeros((camera.height, camera.width, 5))
    state[..., 3:] = 1
    _blend(centres, covariances, np.asarray(opacities, float)[visible], colours, state)
    rgb = state[..., :3] + state[..., 3:4] * camera.background
    return np.clip(np.concatenate([rgb, 1 - state[..., 3:4]], -1), 0, 1)


def _projected_covariances(inside: np.ndarray, factors: np.ndarray, camera: FloatCamera) -> np.ndarray:
    """§9.4 (N, 3): a, b, c of the covariance in the image, px^2."""
    turned = camera.rotation @ factors
    rows = []
    for axis, size in enumerate((camera.width, camera.height)):
        focal, principal = camera.focal[axis], camera.principal[axis]
        low = -principal / focal - LIMIT_MARGIN * size / focal
        high = (size - principal) / focal + LIMIT_MARGIN * size / focal
        slope = np.clip(inside[:, axis] / inside[:, 2], low, high)
        rows.append((turned[:, axis] - slope[:, None] * turned[:, 2]) * (focal / inside[:, 2:]))
    x, y = rows
    return np.stack([(x * x).sum(1) + LOW_PASS, (x * y).sum(1), (y * y).sum(1) + LOW_PASS], 1)


def sh_colours(directions: np.ndarray, sh: np.ndarray) -> np.ndarray:
    """§9.5 Colours (N, 3), clamped at 0, seen along `directions` (N, 3) of any length."""
    x, y, z = (directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)).T
    xx, yy, zz = x * x, y * y, z * z
    basis = [
        np.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ]  # fmt: skip
    return np.maximum(0.5 + np.einsum("kn,nkc->nc", np.stack(basis[: sh.shape[1]]), sh), 0)


@njit(cache=True)
def _blend(centres, covariances, opacities, colours, state):
    """Blends in order; `state` (H, W, 5): red, green, blue, transmittance, 1 until the pixel is finished."""
    height, width = state.shape[:2]
    for n in range(len(centres)):
        a, b, c = covariances[n]
        if opacities[n] < ALPHA_MIN:
            continue
        reach = 2 * np.log(opacities[n] / ALPHA_MIN)
        determinant = a * c - b * b
        half_height = np.sqrt(reach * c)
        cx, cy = centres[n]
        for y in range(
            max(0, int(np.ceil(cy - half_height - 0.5))), min(height, int(cy + half_height - 0.5) + 1)
        ):
            dy = y + 0.5 - cy
            middle = cx + b / c * dy
            half = np.sqrt(max(0.0, (reach - dy * dy / c) * determinant / c))
            for x in range(
                max(0, int(np.ceil(middle - half - 0.5))), min(width, int(middle + half - 0.5) + 1)
            ):
                dx = x + 0.5 - cx
                exponent = 0.5 * (c * dx * dx - 2 * b * dx * dy + a * dy * dy) / determinant
                alpha = min(ALPHA_MAX, opacities[n] * np.exp(-exponent))
                if alpha >= ALPHA_MIN and state[y, x, 4] > 0:
                    rest = state[y, x, 3] * (1 - alpha)
                    if rest < TRANSMITTANCE_MIN:
                        state[y, x, 4] = 0
                    else:
                        for channel in range(3):
                            state[y, x, channel] += state[y, x, 3] * alpha * colours[n, channel]
                        state[y, x, 3] = rest
