"""§9.7-§9.9 Blending of projected Gaussians in floats and its derivative, tile by tile, in Numba.

The method is that of 3D Gaussian splatting (Kerbl et al. 2023). A row of `splats` is what blending needs of
one Gaussian: centre x, y in pixels, the three entries of the inverse covariance, opacity, then C colours.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

from reference_decoder import jit
from reference_decoder.threads import PARALLEL
from reference_encoder.float_render import ALPHA_MAX, ALPHA_MIN, TRANSMITTANCE_MIN

TILE = 16
CENTRE_X, CENTRE_Y, CONIC_A, CONIC_B, CONIC_C, OPACITY, COLOUR = range(7)


class Blended:
    """An image with what its derivative needs: `image` (H, W, C) and `transmittance` (H, W) behind all."""

    def __init__(self, splats: np.ndarray, order: np.ndarray, width: int, height: int):
        """Blends the rows `order` of `splats`, nearest first, into an image without background."""
        channels = splats.shape[1] - COLOUR
        self.splats = splats
        self.image = np.zeros((height, width, channels), splats.dtype)
        self.transmittance = np.ones((height, width), splats.dtype)
        self._last = np.full((height, width), -1, np.int64)
        self._centres = np.arange(max(width, height)).astype(splats.dtype) + splats.dtype.type(0.5)
        self._limits = np.array([ALPHA_MIN, ALPHA_MAX, TRANSMITTANCE_MIN, 1, 0.5], splats.dtype)
        with PARALLEL:
            self._binned = _bin(splats, order, width, height)
            _blend_tiles(
                splats, *self._binned, self._centres, self._limits, self.image, self.transmittance, self._last
            )

    def gradient(self, image: np.ndarray, transmittance: np.ndarray) -> np.ndarray:
        """The derivative of a loss by `splats`, from its derivatives by `image` and `transmittance`."""
        pairs = self._binned[-1]
        parts = np.zeros((len(pairs), self.splats.shape[1]), self.splats.dtype)
        with PARALLEL:
            _differentiate_tiles(
                self.splats, *self._binned, self._centres, self._limits, self.transmittance, self._last,
                np.ascontiguousarray(image), np.ascontiguousarray(transmittance), parts,
            )  # fmt: skip
        return _gather(pairs, parts, np.zeros_like(self.splats))


@njit(**jit.OPTIONS)
def _extent(splat, width, height):
    """The pixels x0 <= x < x1, y0 <= y < y1 in which a Gaussian's alpha can reach ALPHA_MIN."""
    opacity, determinant = splat[OPACITY], splat[CONIC_A] * splat[CONIC_C] - splat[CONIC_B] ** 2
    if opacity < ALPHA_MIN or determinant <= 0:
        return 0, 0, 0, 0
    reach = 2 * math.log(opacity / ALPHA_MIN)
    across = math.sqrt(reach * splat[CONIC_C] / determinant)
    along = math.sqrt(reach * splat[CONIC_A] / determinant)
    x, y = splat[CENTRE_X] - 0.5, splat[CENTRE_Y] - 0.5
    if not (x + across >= 0 and x - across < width and y + along >= 0 and y - along < height):
        return 0, 0, 0, 0
    return (
        max(0, math.ceil(x - across)),
        min(width, math.floor(x + across) + 1),
        max(0, math.ceil(y - along)),
        min(height, math.floor(y + along) + 1),
    )


@njit(**jit.OPTIONS)
def _bin(splats, order, width, height):
    """What each tile shows: boxes of pixels (N, 4), starts (T + 1,) of the tiles, row by row, in rows (P,).

    The rows of a tile, which are Gaussians that reach it, are in the given order.
    """
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    starts = np.zeros(columns * rows + 1, np.int64)
    boxes = np.zeros((len(splats), 4), np.int32)
    for k in order:
        box = boxes[k]
        box[0], box[1], box[2], box[3] = _extent(splats[k], width, height)
        if box[1] > box[0]:
            for row in range(box[2] // TILE, (box[3] + TILE - 1) // TILE):
                for column in range(box[0] // TILE, (box[1] + TILE - 1) // TILE):
                    starts[row * columns + column + 1] += 1
    starts = np.cumsum(starts)
    place, pairs = starts.copy(), np.empty(starts[-1], np.int64)
    for k in order:
        box = boxes[k]
        if box[1] > box[0]:
            for row in range(box[2] // TILE, (box[3] + TILE - 1) // TILE):
                for column in range(box[0] // TILE, (box[1] + TILE - 1) // TILE):
                    tile = row * columns + column
                    pairs[place[tile]] = k
                    place[tile] += 1
    return boxes, starts, pairs


@njit(parallel=True, **jit.OPTIONS)
def _blend_tiles(splats, boxes, starts, pairs, centres, limits, image, transmittance, last):
    """`centres` are those of pixels, `limits` the constants of clause 9, 1 and 0.5, in the type of `splats`."""
    height, width, channels = image.shape
    columns = (width + TILE - 1) // TILE
    alpha_min, alpha_max, rest_min, one, half = limits
    for tile in prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        finished = np.zeros((TILE, TILE), np.bool_)
        going_on = min(TILE, width - left) * min(TILE, height - top)
        for k in range(starts[tile], starts[tile + 1]):
            if going_on == 0:
                break
            splat, box = splats[pairs[k]], boxes[pairs[k]]
            for y in range(max(box[2], top), min(box[3], top + TILE)):
                dy = centres[y] - splat[CENTRE_Y]
                for x in range(max(box[0], left), min(box[1], left + TILE)):
                    if finished[y - top, x - left]:
                        continue
                    dx = centres[x] - splat[CENTRE_X]
                    power = half * (splat[CONIC_A] * dx * dx + splat[CONIC_C] * dy * dy)
                    alpha = min(alpha_max, splat[OPACITY] * math.exp(-power - splat[CONIC_B] * dx * dy))
                    if alpha < alpha_min:
                        continue
                    before = transmittance[y, x]
                    if before * (one - alpha) < rest_min:
                        finished[y - top, x - left] = True
                        going_on -= 1
                        continue
                    for channel in range(channels):
                        image[y, x, channel] += before * alpha * splat[COLOUR + channel]
                    transmittance[y, x] = before * (one - alpha)
                    last[y, x] = k


@njit(parallel=True, **jit.OPTIONS)
def _differentiate_tiles(
    splats, boxes, starts, pairs, centres, limits, transmittance, last, by_image, by_transmittance, parts
):
    """One row of `parts` for each pair: the derivative by that Gaussian, over that tile's pixels.

    From the back, `behind` is the loss's derivative along all that a pixel shows behind the Gaussian.
    """
    height, width, channels = by_image.shape
    columns = (width + TILE - 1) // TILE
    alpha_min, alpha_max, _, one, half = limits
    for tile in prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        rest = np.empty((TILE, TILE), splats.dtype)
        behind = np.empty((TILE, TILE), splats.dtype)
        furthest = -1
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                rest[y - top, x - left] = transmittance[y, x]
                behind[y - top, x - left] = transmittance[y, x] * by_transmittance[y, x]
                furthest = max(furthest, last[y, x])
        for k in range(furthest, starts[tile] - 1, -1):
            splat, box, part = splats[pairs[k]], boxes[pairs[k]], parts[k]
            for y in range(max(box[2], top), min(box[3], top + TILE)):
                dy = centres[y] - splat[CENTRE_Y]
                for x in range(max(box[0], left), min(box[1], left + TILE)):
                    if k > last[y, x]:
                        continue
                    dx = centres[x] - splat[CENTRE_X]
                    power = half * (splat[CONIC_A] * dx * dx + splat[CONIC_C] * dy * dy)
                    shape = math.exp(-power - splat[CONIC_B] * dx * dy)
                    raw = splat[OPACITY] * shape
                    alpha = min(alpha_max, raw)
                    if alpha < alpha_min:
                        continue
                    before = rest[y - top, x - left] / (one - alpha)
                    seen = splat[COLOUR] * by_image[y, x, 0]
                    part[COLOUR] += by_image[y, x, 0] * before * alpha
                    for channel in range(1, channels):
                        seen += by_image[y, x, channel] * splat[COLOUR + channel]
                        part[COLOUR + channel] += by_image[y, x, channel] * before * alpha
                    by_alpha = before * seen - behind[y - top, x - left] / (one - alpha)
                    behind[y - top, x - left] += before * alpha * seen
                    rest[y - top, x - left] = before
                    if raw < alpha_max:
                        by_power = -raw * by_alpha
                        part[OPACITY] += by_alpha * shape
                        part[CENTRE_X] -= by_power * (splat[CONIC_A] * dx + splat[CONIC_B] * dy)
                        part[CENTRE_Y] -= by_power * (splat[CONIC_C] * dy + splat[CONIC_B] * dx)
                        part[CONIC_A] += by_power * half * dx * dx
                        part[CONIC_B] += by_power * dx * dy
                        part[CONIC_C] += by_power * half * dy * dy


@njit(**jit.OPTIONS)
def _gather(pairs, parts, total):
    """Sums the rows of `parts` by Gaussian, in one order whatever the threads did."""
    for k in range(len(pairs)):
        for column in range(parts.shape[1]):
            total[pairs[k], column] += parts[k, column]
    return total
