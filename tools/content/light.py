"""A soft studio light: what reaches each point of a body, and how its shine depends on the view."""

from __future__ import annotations

import numpy as np

from reference_encoder.splat_transform import sh_basis

KEY = np.array([0.45, 0.55, 0.70]) / np.linalg.norm([0.45, 0.55, 0.70])  # towards the main lamp
_CELL = 0.006  # metres of a shadow map's cell
_BIAS = 0.012  # metres that a point may lie behind its cell's nearest and still be lit


def _directions(count: int) -> np.ndarray:
    index = np.arange(count) + 0.5
    height, azimuth = 1 - 2 * index / count, np.pi * (3 - np.sqrt(5)) * index
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(azimuth), height, radius * np.sin(azimuth)], axis=1)


def _lit(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Which points (N, 3) light from `direction` reaches: those near the front of their map cell."""
    side = np.cross(direction, np.eye(3)[np.argmin(np.abs(direction))])
    side /= np.linalg.norm(side)
    plane = points @ np.stack([side, np.cross(direction, side)], axis=1) / _CELL
    cells = np.floor(plane - plane.min(axis=0)).astype(np.int64)
    flat = cells[:, 0] * (cells[:, 1].max() + 1) + cells[:, 1]
    depth = points @ direction
    nearest = np.full(flat.max() + 1, -np.inf)
    np.maximum.at(nearest, flat, depth)
    return depth > nearest[flat] - _BIAS


def irradiance(points: np.ndarray, normals: np.ndarray, *, directions: int = 64) -> np.ndarray:
    """The light (N,) that reaches points of a body past the body itself; about 1 for one that faces the lamp."""
    total, full = np.zeros(len(points)), 0.0
    for direction in _directions(directions):
        lamp = max(0.0, direction @ KEY) ** 4
        power = 0.64 + 0.22 * direction[1] + 1.3 * lamp
        total += power * np.maximum(normals @ direction, 0) * _lit(points, direction)
        full += power * max(0.0, KEY @ direction)
    return 1.06 * total / full


def shine(normals: np.ndarray, strength: np.ndarray, degree: int, power: float = 6.0) -> np.ndarray:
    """SH coefficients (N, (degree+1)^2) of a highlight: strength * max(0, r . v)^power.

    v points to the viewer and r is the lamp mirrored at the normal. A function of the angle to an axis has
    the coefficients f_l Y_lm(axis), f_l its Legendre transform; odd bands change sign because SH colour
    is a function of the direction from the viewer.
    """
    mirrored = 2 * (normals @ KEY)[:, None] * normals - KEY
    nodes, weights = np.polynomial.legendre.leggauss(32)
    lobe = np.maximum(nodes, 0) ** power
    coefficients = sh_basis(mirrored, degree)
    for band in range(degree + 1):
        legendre = np.polynomial.legendre.Legendre.basis(band)(nodes)
        transform = 2 * np.pi * np.sum(weights * lobe * legendre) * (-1) ** band
        coefficients[:, band**2 : (band + 1) ** 2] *= transform
    return coefficients * strength[:, None]
