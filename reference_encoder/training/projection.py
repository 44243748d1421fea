"""§9.4 Projection of Gaussians in floats and its derivative, in Numba.

The method is EWA splatting (Zwicker et al. 2001) as 3D Gaussian splatting has it. A row of what comes out is what
blending needs of one Gaussian but its opacity and colour: centre x, y in pixels, three entries of the inverse
covariance. `view` holds the numbers of a camera in the order of `numbers_of`.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from reference_decoder import jit
from reference_encoder.float_render import LIMIT_MARGIN, LOW_PASS, NEAR, FloatCamera

_AXES, _PLACE, _FOCAL, _PRINCIPAL, _LEAST, _MOST, _NEAR, _LOW_PASS = 0, 9, 12, 14, 16, 18, 20, 21


def numbers_of(camera: FloatCamera, dtype: np.dtype) -> np.ndarray:
    """A camera as (22,): rotation, translation, focal lengths, principal point, limits of slopes, constants."""
    focal, principal = np.array(camera.focal), np.array(camera.principal)
    size = np.array([camera.width, camera.height])
    margin = LIMIT_MARGIN * size / focal
    least, most = -principal / focal - margin, (size - principal) / focal + margin
    parts = [np.ravel(camera.rotation), camera.translation, focal, principal, least, most, [NEAR, LOW_PASS]]
    return np.concatenate(parts).astype(dtype)


@njit(inline="always")
def _projected(mean, factor, view, rows, slope, limited):
    """Fills the rows (2, 3) of the projected factor and slopes (2,) with and without limits; depth is returned."""
    depth = view[_PLACE + 2]
    for axis in range(3):
        depth += view[_AXES + 6 + axis] * mean[axis]
    near = max(depth, view[_NEAR])
    for side in range(2):
        place = view[_PLACE + side]
        for axis in range(3):
            place += view[_AXES + 3 * side + axis] * mean[axis]
        slope[side] = place / near
        limited[side] = max(view[_LEAST + side], min(view[_MOST + side], slope[side]))
        for column in range(3):
            total = view[_NEAR] - view[_NEAR]
            for axis in range(3):
                along = view[_AXES + 3 * side + axis] - limited[side] * view[_AXES + 6 + axis]
                total += along * factor[axis, column]
            rows[side, column] = total * view[_FOCAL + side] / near
    return depth


@njit(inline="always")
def _covariance(rows, view):
    """The three entries of the covariance in the picture."""
    a = c = view[_LOW_PASS]
    b = a - a
    for column in range(3):
        a += rows[0, column] * rows[0, column]
        b += rows[0, column] * rows[1, column]
        c += rows[1, column] * rows[1, column]
    return a, b, c


@njit(parallel=True, **jit.OPTIONS)
def project(means, factors, view, splats, depths):
    """Fills the first five columns of `splats` (N, 9) and depths (N,) from means (N, 3), factors (N, 3, 3)."""
    for k in prange(len(means)):
        rows, slope, limited = (
            np.empty((2, 3), means.dtype),
            np.empty(2, means.dtype),
            np.empty(2, means.dtype),
        )
        depths[k] = _projected(means[k], factors[k], view, rows, slope, limited)
        a, b, c = _covariance(rows, view)
        determinant = a * c - b * b
        for side in range(2):
            splats[k, side] = slope[side] * view[_FOCAL + side] + view[_PRINCIPAL + side]
        splats[k, 2], splats[k, 3], splats[k, 4] = c / determinant, -b / determinant, a / determinant


@njit(parallel=True, **jit.OPTIONS)
def project_gradient(means, factors, view, by_splats, by_means, by_factors):
    """Fills the derivatives by means (N, 3) and factors (N, 3, 3) from those by the rows (N, 9)."""
    for k in prange(len(means)):
        rows, slope, limited = (
            np.empty((2, 3), means.dtype),
            np.empty(2, means.dtype),
            np.empty(2, means.dtype),
        )
        by = by_splats[k]
        if not by.any():  # nothing of it is seen
            by_means[k] = 0
            by_factors[k] = 0
            continue
        depth = _projected(means[k], factors[k], view, rows, slope, limited)
        near = max(depth, view[_NEAR])
        a, b, c = _covariance(rows, view)
        determinant = a * c - b * b
        p, q, r = c / determinant, -b / determinant, a / determinant
        # the derivative of an inverse: -K G K, where G holds those by the inverse's entries
        pp, qq, rr = by[2] * p + by[3] * q / 2, by[2] * q + by[3] * r / 2, by[3] * q / 2 + by[4] * r
        qp = by[3] * p / 2 + by[4] * q
        by_a, by_c = -(p * pp + q * qp), -(q * qq + r * rr)
        by_b = -(p * qq + q * rr)
        by_depth = means[k, 0] - means[k, 0]
        by_place = np.empty(2, means.dtype)
        by_factors[k] = 0
        for side in range(2):
            size = view[_FOCAL + side] / near
            own, other = (by_a, by_b) if side == 0 else (by_c, by_b)
            by_limited = by_depth - by_depth
            for column in range(3):
                by_row = 2 * (own * rows[side, column] + other * rows[1 - side, column])
                by_depth -= by_row * rows[side, column] / near
                for axis in range(3):
                    along = view[_AXES + 3 * side + axis] - limited[side] * view[_AXES + 6 + axis]
                    by_factors[k, axis, column] += by_row * size * along
                    by_limited -= by_row * size * view[_AXES + 6 + axis] * factors[k, axis, column]
            by_slope = by[side] * view[_FOCAL + side]
            if limited[side] == slope[side]:
                by_slope += by_limited
            by_place[side] = by_slope / near
            by_depth -= by_slope * slope[side] / near
        if depth < view[_NEAR]:
            by_depth = by_depth - by_depth
        for axis in range(3):
            by_means[k, axis] = (
                view[_AXES + axis] * by_place[0]
                + view[_AXES + 3 + axis] * by_place[1]
                + view[_AXES + 6 + axis] * by_depth
            )
