"""§E.1 How far a rendering with floating-point numbers may be from the picture of clause 9, pixel by pixel."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numba import njit

import spec
from reference_decoder import Camera, Frame
from reference_encoder.float_render import (
    ALPHA_MAX,
    ALPHA_MIN,
    NEAR,
    TRANSMITTANCE_MIN,
    FloatCamera,
    Projection,
    project_float,
)

UNJUDGED = 255
"""The tolerance of a pixel that the derivation says nothing of."""

_ILL = 0.25  # relative error of a variance beyond which a Gaussian is not followed


@dataclass(frozen=True)
class Rounding:
    """§E.2 The rounding of one kind of arithmetic: errors of quantities, 0 where there is none; `unit` is relative."""

    unit: float = 0.0
    coordinate: float = 0.0
    ratio: float = 0.0
    mean: float = 0.0
    factor: float = 0.0
    magnification: float = 0.0
    extent: float = 0.0
    row: float = 0.0
    reach: float = 0.0
    weight: float = 0.0
    alpha: float = 0.0
    blend: float = 0.0
    direction: float = 0.0
    component: float = 0.0
    basis: float = 0.0
    colour: float = 0.0
    short_bits: int = 0  # of the covariance, from which the first row is computed; 0: all of them


@functools.cache
def integers() -> Rounding:
    """§E.2 What the formats of clause 9 leave out: half a unit where they round, a unit where they drop bits."""
    q = {name: kind.q for name, kind in spec.standard().types.items()}
    return Rounding(
        coordinate=0.5**(q["view_q20"] + 1), ratio=0.5**q["view_ratio_q24"], mean=0.5**(q["screen_q12"] + 1),
        factor=0.5**(q["turned_factor_q24"] + 1), magnification=0.5**q["magnification_q14"],
        extent=0.5**(q["extent_q16"] + 1), row=2 * 0.5**q["row_q24"], reach=1.01 * 0.5**q["reach_q14"],
        weight=constant("TOLERANCE_WEIGHT_Q24") / 2**24, alpha=0.5**q["alpha_q16"],
        blend=0.5**15, direction=0.5**(q["direction_q18"] + 1), component=0.5**(q["unit_q15"] + 1),
        basis=0.5**(q["basis_q14"] + 1), colour=0.5**(q["colour_q12"] + 1), short_bits=31,
    )  # fmt: skip


@functools.cache
def floats() -> Rounding:
    """§E.2 Binary32 with results right to a unit in the last place."""
    return Rounding(
        unit=0.5 ** constant("TOLERANCE_FLOAT_BITS"), weight=8 * 0.5 ** constant("TOLERANCE_FLOAT_BITS")
    )


def constant(name: str) -> int:
    """§E.2 A constant of the annex."""
    value = spec.standard().constant_values[name]
    assert isinstance(value, int)
    return value


@dataclass(frozen=True)
class Errors:
    """§E.3 Bounds of the errors of N Gaussians in one arithmetic: rows are l00, l01, l11."""

    mean: np.ndarray  # (N, 2) px
    rows: np.ndarray  # (N, 3) 1/px
    colour: np.ndarray  # (N, 3)
    depth: np.ndarray  # (N,) m
    ill: np.ndarray  # (N,) whether the bounds say nothing


def gaussian_errors(p: Projection, camera: FloatCamera, r: Rounding) -> Errors:
    """§E.3 How far mean, rows and colour of each Gaussian may be from their values without any rounding."""
    roundings = constant("TOLERANCE_ROUNDINGS") * r.unit
    place = r.coordinate + roundings * p.coordinate_sizes
    depth, z = place[:, 2], p.inside[:, 2]
    nearer = 1 / np.maximum(z - depth, NEAR / 2)
    ratio = (place[:, :2] + np.abs(p.ratio) * depth[:, None]) * nearer[:, None]
    ratio += r.ratio + roundings * np.abs(p.ratio)
    focal, principal = np.array(camera.focal), np.abs(camera.principal)
    mean = focal * ratio + r.mean + roundings * (focal * np.abs(p.ratio) + principal)
    rows, ill = _row_errors(p, _extent_errors(p, camera, r, ratio + r.ratio, depth * nearer), r)
    return Errors(mean, rows, _colour_errors(p, r), depth, ill)


def _extent_errors(
    p: Projection, camera: FloatCamera, r: Rounding, slope: np.ndarray, relative_depth: np.ndarray
) -> np.ndarray:
    """§E.3 (N, 2): bounds of the norms of the errors of the two rows of the projected factor, px."""
    roundings = constant("TOLERANCE_ROUNDINGS") * r.unit
    turned = r.factor + roundings * p.factor_sizes
    across, along = turned[:, :2], turned[:, 2:]
    slopes, magnification = np.abs(p.slope)[..., None], p.magnification[..., None]
    size = np.abs(p.turned[:, :2]) + slopes * np.abs(p.turned[:, 2:])
    sheared = across + slopes * along + slope[..., None] * (np.abs(p.turned[:, 2:]) + along)
    sheared += r.factor + roundings * size
    magnified = magnification * (relative_depth[:, None, None] + roundings) + r.magnification
    error = magnification * sheared + (np.abs(p.sheared) + sheared) * magnified
    error += r.extent + r.unit * np.abs(p.extents)
    return np.linalg.norm(error, axis=2)


def _row_errors(p: Projection, extent: np.ndarray, r: Rounding) -> tuple[np.ndarray, np.ndarray]:
    """§E.3 (N, 3) and (N,): errors of l00, l01, l11, and where they cannot be bounded."""
    roundings = constant("TOLERANCE_ROUNDINGS") * r.unit
    a, b, c = p.covariances.T
    k, ex, ey = np.abs(b / c), extent[:, 0], extent[:, 1]
    g = a - b * b / c
    short = 2.0 ** (np.ceil(np.log2(np.maximum(a, c)) / 2 + 0.5) * 2 - r.short_bits) if r.short_bits else 0.0
    both = ex + k * ey
    error_c = 2 * np.sqrt(c) * ey + ey**2 + roundings * c
    error_k = (both * np.sqrt(c) + np.sqrt(g) * ey + roundings * np.sqrt(a * c) + short * (1 + k)) / c
    error_k = 2 * error_k + roundings * k
    both = both + error_k * ey
    error_g = 2 * np.sqrt(g) * both + both**2 + roundings * a + short * ((1 + k) ** 2 + 1)
    c_part, g_part = error_c / c, error_g / g
    ill = (c_part > _ILL) | (g_part > _ILL)
    c_part, g_part = np.minimum(c_part, _ILL), np.minimum(g_part, _ILL)
    l00, l01, l11 = np.abs(p.rows.T)
    error_00 = l00 * (_root(g_part) + roundings) + r.row
    error_01 = (k + error_k) * error_00 + l00 * error_k + r.row + roundings * l01
    error_11 = l11 * (_root(c_part) + roundings) + r.row
    return np.stack([error_00, error_01, error_11], axis=1), ill


def _root(part: np.ndarray) -> np.ndarray:
    """The greatest relative error of 1/sqrt(x), if that of x is at most `part`."""
    return 1 / np.sqrt(1 - part) - 1


def _colour_errors(p: Projection, r: Rounding) -> np.ndarray:
    """§E.3 (N, 3): errors of the colours."""
    roundings = constant("TOLERANCE_ROUNDINGS") * r.unit
    length = np.maximum(np.linalg.norm(p.direction, axis=1), 1e-9)
    moved = np.sqrt(3) * (2 * r.coordinate + r.direction + roundings * p.direction_sizes) / length
    turned = moved + np.sqrt(3) * r.component + roundings
    steep = np.array(spec.standard().constant_values["TOLERANCE_SLOPES_Q8"]) / 2**8
    degree = np.array([0, *[1] * 3, *[2] * 5, *[3] * 7])[: p.sh.shape[1]]
    basis = r.basis + steep[degree] * turned[:, None] + 4 * roundings
    return np.einsum("nk,nkc->nc", np.where(degree, basis, r.basis + roundings), np.abs(p.sh)) + r.colour


def tolerance(frame: Frame, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """§E.4 How much each byte of a picture may be off, (H, W, 4) uint8, and the picture without rounding, float64.

    UNJUDGED where the derivation says nothing.
    """
    real = FloatCamera.of(camera)
    mean, factor, blend = (np.asarray(part, float) for part in frame.gaussians)
    opacity, sh = frame.appearance
    slack = float(np.max(floats().unit * 1e3 + integers().coordinate))
    projection = project_float(
        mean / 2**20, (factor / 2**24).reshape(-1, 3, 3), (blend / 2**30).reshape(-1, 3, 3),
        np.asarray(opacity) / 2**14, np.asarray(sh) / 2**12, real, near=NEAR - slack,
    )  # fmt: skip
    sides = [gaussian_errors(projection, real, r) for r in (integers(), floats())]
    window = 2 * (sides[0].depth + sides[1].depth)
    doubtful = np.abs(projection.inside[:, 2] - NEAR) <= window
    ill = sides[0].ill | sides[1].ill | (np.abs(projection.extents) > 4000).any((1, 2))
    state = np.zeros((camera.height, camera.width, _STATE))
    state[..., _T : _T_HIGH + 1] = 1
    state[..., _LEAST : _LEAST + 3] = state[..., _MOST : _MOST + 3] = real.background
    _gather(
        projection.centres, projection.rows, projection.opacities, projection.colours, projection.inside[:, 2],
        np.stack([side.mean for side in sides]), np.stack([side.rows for side in sides]),
        sides[0].colour + sides[1].colour, window, doubtful, ill,
        np.array([[getattr(r, name) for name in _PER_PIXEL] for r in (integers(), floats())]), state,
    )  # fmt: skip
    return _levels(state), _picture(state, np.array(real.background))


_PER_PIXEL = ("reach", "weight", "alpha", "blend", "unit")
# The state of a pixel: transmittance and its limits, the sums of E.4, the range of colours behind it
_T, _T_LOW, _T_HIGH, _SUM, _CLUSTER, _CLUSTER_ALPHA, _CLUSTER_DEPTH, _DONE, _DOUBT, _LOST = range(10)
_COLOUR_SUM, _LEAST, _MOST, _COLOUR, _STATE = 10, 13, 16, 19, 22


def _levels(state: np.ndarray) -> np.ndarray:
    colour = 255 * (
        state[..., _SUM : _SUM + 1] * (state[..., _MOST : _MOST + 3] - state[..., _LEAST : _LEAST + 3])
        + state[..., _COLOUR_SUM : _COLOUR_SUM + 3]
    )
    levels = np.concatenate([colour, 255 * state[..., _SUM : _SUM + 1]], axis=2)
    levels = np.minimum(np.floor(levels + 1 + 255 * 2.0**-19), UNJUDGED)
    return np.where(state[..., _LOST : _LOST + 1] > 0, UNJUDGED, levels).astype(np.uint8)


def _picture(state: np.ndarray, background: np.ndarray) -> np.ndarray:
    shown = state[..., _COLOUR : _COLOUR + 3] + state[..., _T : _T + 1] * background
    return 255 * np.clip(np.concatenate([shown, 1 - state[..., _T : _T + 1]], axis=2), 0, 1)


@njit(cache=True)
def _gather(
    centres, rows, opacities, colours, depths, d_mean, d_rows, d_colour, window, doubtful, ill, r, state
):
    """§E.4 Takes the Gaussians by depth, twice: first for the range of colours, then for the sums."""
    height, width = state.shape[:2]
    for second in range(2):
        for n in range(len(centres)):
            if opacities[n] < 0.5 * ALPHA_MIN:
                continue
            l00, l01, l11 = rows[n]
            e00, e01, e11 = d_rows[0, n] + d_rows[1, n]
            far = np.sqrt(max(0.0, np.log2(opacities[n] / ALPHA_MIN) + 0.1)) * (1.5 if ill[n] else 1.0)
            half_y = far / max(l11 - e11, 1e-6) + d_mean[0, n, 1] + d_mean[1, n, 1] + 0.5
            skew = (abs(l01) + e01) / max(l11 - e11, 1e-6)
            half_x = (
                far / max(l00 - e00, 1e-6) * np.sqrt(1 + skew * skew)
                + d_mean[0, n, 0]
                + d_mean[1, n, 0]
                + 0.5
            )
            cx, cy = centres[n]
            y0, y1 = (
                int(max(0.0, np.floor(cy - half_y - 0.5))),
                int(min(height - 1.0, np.ceil(cy + half_y - 0.5))),
            )
            x0, x1 = (
                int(max(0.0, np.floor(cx - half_x - 0.5))),
                int(min(width - 1.0, np.ceil(cx + half_x - 0.5))),
            )
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    s = state[y, x]
                    if ill[n]:
                        s[_LOST] = 1
                        continue
                    dx, dy = x + 0.5 - cx, y + 0.5 - cy
                    alpha, errors = _alpha(dx, dy, rows[n], opacities[n], d_mean[:, n], d_rows[:, n], r)
                    if alpha + errors[0] + errors[1] < ALPHA_MIN:
                        continue
                    if second == 0:
                        for channel in range(3):
                            s[_LEAST + channel] = min(s[_LEAST + channel], colours[n, channel])
                            s[_MOST + channel] = max(s[_MOST + channel], colours[n, channel])
                    elif s[_DONE] == 0:
                        _add(
                            s,
                            alpha,
                            errors,
                            colours[n],
                            d_colour[n],
                            depths[n],
                            window[n],
                            doubtful[n],
                            r[0, 3],
                        )


@njit(inline="always")
def _alpha(dx, dy, rows, opacity, d_mean, d_rows, r):
    """§E.4 The alpha of a Gaussian at a pixel, and its errors in both arithmetics."""
    u, v = rows[0] * dx + rows[1] * dy, rows[2] * dy
    size = (abs(rows[0] * dx) + abs(rows[1] * dy)) ** 2 + v * v
    alpha = min(ALPHA_MAX, opacity * 2.0 ** -(u * u + v * v))
    errors = np.empty(2)
    for side in range(2):
        mx, my = d_mean[side]
        e00, e01, e11 = d_rows[side]
        du = (rows[0] + e00) * mx + (abs(rows[1]) + e01) * my + e00 * abs(dx) + e01 * abs(dy) + r[side, 0]
        dv = (rows[2] + e11) * my + e11 * abs(dy) + r[side, 0]
        exponent = 2 * (abs(u) * du + abs(v) * dv) + du * du + dv * dv + 8 * r[side, 4] * size
        errors[side] = min(1.0, alpha * (2.0 ** min(exponent, 30.0) * (1 + r[side, 1]) - 1) + r[side, 2])
    return alpha, errors


@njit(inline="always")
def _add(s, alpha, errors, colour, d_colour, depth, window, doubtful, blend):
    """§E.4 One Gaussian at one pixel that is not finished."""
    present = alpha if alpha >= ALPHA_MIN else 0.0
    change, low, high = 0.0, present, present
    for side in range(2):
        near_limit = doubtful or abs(alpha - ALPHA_MIN) <= errors[side]
        if near_limit:
            change += alpha + errors[side]
            low, high = 0.0, max(high, alpha + errors[side])
        elif present > 0:
            change += errors[side]
            low, high = max(0.0, low - errors[side]), min(ALPHA_MAX + 1e-5, high + errors[side])
    if depth - s[_CLUSTER_DEPTH] > window or s[_CLUSTER_ALPHA] == 0:
        s[_CLUSTER], s[_CLUSTER_ALPHA] = s[_T_HIGH], 0.0
    s[_SUM] += s[_CLUSTER] * high * s[_CLUSTER_ALPHA]
    tied = s[_CLUSTER_ALPHA] > 0
    s[_CLUSTER_ALPHA] += high
    s[_CLUSTER_DEPTH] = depth
    rest_low, rest_high = s[_T_LOW] * (1 - high), s[_T_HIGH] * (1 - low) + blend * high + 2.0**-30
    may_end, may_go_on = (
        rest_low < TRANSMITTANCE_MIN * (1 + 1e-4),
        rest_high >= TRANSMITTANCE_MIN * (1 - 1e-4),
    )
    if s[_DOUBT] == 0 and may_end and (tied or may_go_on):
        s[_SUM] += s[_CLUSTER]
        s[_DOUBT] = 1
    rest = s[_T] * (1 - present)
    if rest < TRANSMITTANCE_MIN:
        s[_DONE] = 1
        return
    s[_SUM] += s[_T] * change + blend * high + 2.0**-30
    for channel in range(3):
        s[_COLOUR_SUM + channel] += (
            s[_T] * (present + change) * d_colour[channel] + 2.0**-17 * colour[channel]
        )
        s[_COLOUR + channel] += s[_T] * present * colour[channel]
    s[_T] = rest
    s[_T_LOW], s[_T_HIGH] = max(0.0, rest_low), min(1.0, rest_high)
