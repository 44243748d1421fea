"""§9 The rendering process in float64: what the integers of clause 9 approximate, for measuring their error.

The method is 3D Gaussian splatting (Kerbl et al. 2023) with gsplat's clamp of the linearisation point.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numba import njit

from reference_decoder.rendering import Camera

NEAR = 0.05
LOW_PASS = 0.3
LIMIT_MARGIN = 0.15
VIEW_LIMIT = 16.0
COLOUR_MAX = 16383 / 4096
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
    background: tuple[float, ...] = (0.0, 0.0, 0.0)

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
    p = project_float(means, factors, blends, opacities, sh, camera)
    state = np.zeros((camera.height, camera.width, 5))
    state[..., 3:] = 1
    _blend(p.centres, p.covariances, p.opacities, p.colours, state)
    rgb = state[..., :3] + state[..., 3:4] * camera.background
    return np.clip(np.concatenate([rgb, 1 - state[..., 3:4]], -1), 0, 1)


@dataclass(frozen=True)
class Projection:
    """§9.4, §9.5 The M visible Gaussians by depth, with what their projection goes through; lengths in m and px.

    The `sizes` are the sums of the magnitudes of the terms of a sum: what its rounding error is relative to.
    """

    inside: np.ndarray  # (M, 3) camera axes
    coordinate_sizes: np.ndarray  # (M, 3)
    ratio: np.ndarray  # (M, 2) x/z, y/z
    slope: np.ndarray  # (M, 2) the same, clamped
    magnification: np.ndarray  # (M, 2) px/m
    turned: np.ndarray  # (M, 3, 3) factor in camera axes
    factor_sizes: np.ndarray  # (M, 3, 3)
    sheared: np.ndarray  # (M, 2, 3) m
    centres: np.ndarray  # (M, 2)
    direction: np.ndarray  # (M, 3) of view, canonical axes
    direction_sizes: np.ndarray  # (M,)
    opacities: np.ndarray  # (M,)
    sh: np.ndarray  # (M, (degree+1)^2, 3)

    @functools.cached_property
    def extents(self) -> np.ndarray:
        """(M, 2, 3) the projected factor, px."""
        return self.sheared * self.magnification[..., None]

    @functools.cached_property
    def covariances(self) -> np.ndarray:
        """(M, 3): a, b, c of the covariance in the image, px^2."""
        x, y = self.extents[:, 0], self.extents[:, 1]
        return np.stack([(x * x).sum(1) + LOW_PASS, (x * y).sum(1), (y * y).sum(1) + LOW_PASS], 1)

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """(M, 3): l00, l01, l11, 1/px."""
        a, b, c = self.covariances.T
        scale = np.sqrt(np.log2(np.e) / 2)
        l00 = scale / np.sqrt(a - b * b / c)
        return np.stack([l00, -b / c * l00, scale / np.sqrt(c)], 1)

    @functools.cached_property
    def colours(self) -> np.ndarray:
        """(M, 3)."""
        return sh_colours(self.direction, self.sh)


def project_float(
    means: np.ndarray,
    factors: np.ndarray,
    blends: np.ndarray | None,
    opacities: np.ndarray,
    sh: np.ndarray,
    camera: FloatCamera,
    near: float = NEAR,
) -> Projection:
    """§9.4, §9.5 The projection of `render_float`, by depth, equal depths in input order."""
    inside = means @ camera.rotation.T + camera.translation
    visible = np.flatnonzero(inside[:, 2] >= near)
    visible = visible[np.argsort(inside[visible, 2], kind="stable")]
    inside, means = inside[visible], means[visible]
    ratio = inside[:, :2] / inside[:, 2:]
    low, high = _view_limits(camera)
    slope = np.clip(ratio, low, high)
    turned = camera.rotation @ factors[visible]
    centre = camera.rotation.T @ camera.translation
    direction = means + centre
    if blends is not None:
        direction = np.einsum("nji,nj->ni", blends[visible], direction)
    return Projection(
        inside=inside,
        coordinate_sizes=np.abs(means) @ np.abs(camera.rotation.T) + np.abs(camera.translation),
        ratio=ratio,
        slope=slope,
        magnification=np.array(camera.focal) / inside[:, 2:],
        turned=turned,
        factor_sizes=np.abs(camera.rotation) @ np.abs(factors[visible]),
        sheared=turned[:, :2] - slope[..., None] * turned[:, 2:],
        centres=ratio * camera.focal + camera.principal,
        direction=direction,
        direction_sizes=np.linalg.norm(means, axis=1) + np.abs(camera.translation).sum(),
        opacities=np.asarray(opacities, float)[visible],
        sh=sh[visible],
    )


def _view_limits(camera: FloatCamera) -> tuple[np.ndarray, np.ndarray]:
    """§9.2 Between which x/z and y/z are clamped where the projection is linearised."""
    focal, principal = np.array(camera.focal), np.array(camera.principal)
    size = np.array([camera.width, camera.height])
    low = np.clip((-principal - LIMIT_MARGIN * size) / focal, -VIEW_LIMIT, VIEW_LIMIT)
    return low, np.maximum(
        low, np.clip((size - principal + LIMIT_MARGIN * size) / focal, -VIEW_LIMIT, VIEW_LIMIT)
    )


def sh_colours(directions: np.ndarray, sh: np.ndarray) -> np.ndarray:
    """§9.5 Colours (N, 3), clamped to 0..COLOUR_MAX, seen along `directions` (N, 3) of any length."""
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
    return np.clip(0.5 + np.einsum("kn,nkc->nc", np.stack(basis[: sh.shape[1]]), sh), 0, COLOUR_MAX)


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
