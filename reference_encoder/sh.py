"""Spherical harmonics under a rotation of each Gaussian's own (`splat_transform` turns a whole splat)."""

from __future__ import annotations

from functools import cache

import numpy as np

from reference_encoder.content import ContentError
from reference_encoder.splat_transform import sh_basis

MAX_DEGREE = 3
_CHUNK = 8192  # Gaussians at a time: 16 MiB of basis values


def rotate_sh_each(sh: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """Coefficients (N, (degree + 1)^2, C) of N functions, each turned by its own matrix (N, 3, 3).

    The result g of f satisfies g(R d) = f(d). Each band turns within itself, so its new coefficients
    follow from the values of f at a few well-spread directions: exact but for rounding.
    Raises ContentError for a degree above 3.
    """
    degree = round(sh.shape[1] ** 0.5) - 1
    if (degree + 1) ** 2 != sh.shape[1] or not 0 <= degree <= MAX_DEGREE:
        raise ContentError(f"SH: {sh.shape[1]} coefficients are no degree from 0 to {MAX_DEGREE}")
    turned = np.array(sh, dtype=np.float64)
    if degree == 0:
        return turned
    directions, inverses = _samples()
    for start in range(0, len(sh), _CHUNK):
        part = slice(start, start + _CHUNK)
        before = directions @ rotations[part]  # rows are R^T d
        basis = sh_basis(before.reshape(-1, 3), degree).reshape(*before.shape[:2], -1)
        for band in range(1, degree + 1):
            span = slice(band**2, (band + 1) ** 2)
            turned[part, span] = inverses[band] @ (basis[..., span] @ sh[part, span])
    return turned


@cache
def _samples() -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Directions (16, 3) on a spiral and, for each band, the inverse of its basis there."""
    index = np.arange(16)
    height = 1 - (2 * index + 1) / 16
    azimuth, radius = np.pi * (3 - np.sqrt(5)) * index, np.sqrt(1 - height**2)
    directions = np.stack([radius * np.cos(azimuth), radius * np.sin(azimuth), height], axis=1)
    basis = sh_basis(directions, MAX_DEGREE)
    bands = tuple(np.linalg.pinv(basis[:, band**2 : (band + 1) ** 2]) for band in range(MAX_DEGREE + 1))
    return directions, bands
