"""§1 Similarity transforms of Gaussians, their view-dependent colour included."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from reference_encoder.content import ContentError, Gaussians
from reference_encoder.splat_check import SH_C0

ORTHONORMAL_TOLERANCE = 1e-6
DIRECTIONS = (
    64  # sample directions for the fit of SH rotations, over-determined for the 7 functions of band 3
)


def sh_basis(directions: np.ndarray, degree: int) -> np.ndarray:
    """The real SH basis of 3DGS (N, (degree+1)^2) at unit directions (N, 3), degree 0 to 3.

    Order and signs (the Condon-Shortley phase kept) are those of 3DGS, SPZ and SOG files.
    """
    x, y, z = directions.T
    xx, yy, zz = x * x, y * y, z * z
    c1, c2, c3 = np.sqrt(np.array([3 / 4, 15 / 4, 35 / 32]) / np.pi)
    d3, e3 = np.sqrt(np.array([105 / 4, 21 / 32]) / np.pi)
    bands = [
        [np.full_like(x, SH_C0)],
        [-c1 * y, c1 * z, -c1 * x],
        [
            c2 * x * y,
            -c2 * y * z,
            c2 / np.sqrt(12) * (2 * zz - xx - yy),
            -c2 * x * z,
            c2 / 2 * (xx - yy),
        ],
        [
            -c3 * y * (3 * xx - yy),
            d3 * x * y * z,
            -e3 * y * (4 * zz - xx - yy),
            np.sqrt(7 / 16 / np.pi) * z * (2 * zz - 3 * xx - 3 * yy),
            -e3 * x * (4 * zz - xx - yy),
            d3 / 2 * z * (xx - yy),
            -c3 * x * (xx - 3 * yy),
        ],
    ]
    return np.stack([function for band in bands[: degree + 1] for function in band], axis=1)


def _sphere(count: int) -> np.ndarray:
    """Unit directions spread evenly: a Fibonacci lattice."""
    index = np.arange(count) + 0.5
    azimuth, height = np.pi * (1 + np.sqrt(5)) * index, 1 - 2 * index / count
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=1)


def rotate_sh(sh: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """SH coefficients (N, K, 3) of the colour turned by `rotation` R (3, 3): new(R d) = old(d) for all d.

    Method: a band is closed under rotation, so its new coefficients solve basis(d) new = basis(R^T d) old
    exactly; the over-determined system at fixed directions is solved by least squares. Error below 1e-12.
    """
    degree = round(sh.shape[1] ** 0.5) - 1
    directions = _sphere(DIRECTIONS)
    ahead, back = sh_basis(directions, degree), sh_basis(directions @ rotation, degree)
    turned = sh.copy()
    for band in range(1, degree + 1):
        part = slice(band**2, (band + 1) ** 2)
        matrix = np.linalg.lstsq(ahead[:, part], back[:, part], rcond=None)[0]
        turned[:, part] = np.einsum("ij,njc->nic", matrix, sh[:, part])
    return turned


def _quaternion_product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Hamilton product of one quaternion (4,) and many (N, 4), w first."""
    w, v = left[0], left[1:]
    scalar = w * right[:, 0] - right[:, 1:] @ v
    vector = w * right[:, 1:] + right[:, :1] * v + np.cross(v, right[:, 1:])
    return np.concatenate([scalar[:, None], vector], axis=1)


def transform(
    gaussians: Gaussians,
    rotation: ArrayLike | None = None,
    translation: ArrayLike = (0.0, 0.0, 0.0),
    scale: float = 1.0,
) -> Gaussians:
    """§1 Gaussians moved by x -> scale * rotation @ x + translation, with their axes, sizes and SH colours.

    rotation (3, 3), proper and orthonormal to 1e-6, None for none; translation (3,) metres; scale > 0. Raises
    ContentError. SH bands 1 to 3 turn exactly (`rotate_sh`).
    """
    matrix = np.eye(3) if rotation is None else np.asarray(rotation, np.float64)
    shift = np.asarray(translation, np.float64)
    if matrix.shape != (3, 3) or not np.allclose(
        matrix @ matrix.T, np.eye(3), rtol=0, atol=ORTHONORMAL_TOLERANCE
    ):
        raise ContentError("transform: the rotation is not an orthonormal 3x3 matrix")
    if np.linalg.det(matrix) < 0:
        raise ContentError("transform: the rotation is a reflection")
    if shift.shape != (3,) or not np.isfinite(shift).all():
        raise ContentError("transform: the translation is not three finite numbers")
    if not 0 < scale < np.inf:
        raise ContentError(f"transform: the scale {scale} is not positive and finite")
    turn = Rotation.from_matrix(matrix)
    return Gaussians(
        scale * gaussians.positions @ turn.as_matrix().T + shift,
        _quaternion_product(np.roll(turn.as_quat(), 1), gaussians.rotations),
        scale * gaussians.scales,
        gaussians.opacities,
        rotate_sh(gaussians.sh, turn.as_matrix()),
    )
