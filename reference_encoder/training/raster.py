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
        with PARALLEL:
            self._starts, self._pairs = _bin(splats, order, width, height)
            _blend_tiles(splats, self._starts, self._pairs, self.image, self.transmittance, self._last)

    def gradient(self, image: np.ndarray, transmittance: np.ndarray) -> np.ndarray:
        """The derivative of a loss by `splats`, from its derivatives by `image` and `transmittance`."""
        parts = np.zeros((len(self._pairs), self.splats.shape[1]), self.splats.dtype)
        with PARALLEL:
            _differentiate_tiles(
                self.splats, self._starts, self._pairs, self.transmittance, self._last,
                np.ascontiguousarray(image), np.ascontiguousarray(transmittance), parts,
            )  # fmt: skip
        return _gather(self._pairs, parts, np.zeros_like(self.splats))


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
    """For each tile, row by row, the Gaussians that reach it in the given order: starts (T + 1,), rows (P,)."""
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    starts = np.zeros(columns * rows + 1, np.int64)
    boxes = np.empty((len(order), 4), np.int64)
    for k in range(len(order)):
        x0, x1, y0, y1 = _extent(splats[order[k]], width, height)
        boxes[k, 0], boxes[k, 1] = x0 // TILE, (x1 + TILE - 1) // TILE if x1 > x0 else 0
        boxes[k, 2], boxes[k, 3] = y0 // TILE, (y1 + TILE - 1) // TILE if y1 > y0 else 0
        for row in range(boxes[k, 2], boxes[k, 3]):
            for column in range(boxes[k, 0], boxes[k, 1]):
                starts[row * columns + column + 1] += 1
    starts = np.cumsum(starts)
    place, pairs = starts.copy(), np.empty(starts[-1], np.int64)
    for k in range(len(order)):
        for row in range(boxes[k, 2], boxes[k, 3]):
            for column in range(boxes[k, 0], boxes[k, 1]):
                tile = row * columns + column
                pairs[place[tile]] = order[k]
                place[tile] += 1
    return starts, pairs


@njit(inline="always")
def _alpha(splat, x, y):
    """The unclamped alpha of a Gaussian at a pixel's centre, and the offsets from its own."""
    dx, dy = x + 0.5 - splat[CENTRE_X], y + 0.5 - splat[CENTRE_Y]
    power = 0.5 * (splat[CONIC_A] * dx * dx + splat[CONIC_C] * dy * dy) + splat[CONIC_B] * dx * dy
    return splat[OPACITY] * math.exp(-power), dx, dy


@njit(parallel=True, **jit.OPTIONS)
def _blend_tiles(splats, starts, pairs, image, transmittance, last):
    height, width, channels = image.shape
    columns = (width + TILE - 1) // TILE
    for tile in prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        finished = np.zeros((TILE, TILE), np.bool_)
        for k in range(starts[tile], starts[tile + 1]):
            splat = splats[pairs[k]]
            x0, x1, y0, y1 = _extent(splat, width, height)
            for y in range(max(y0, top), min(y1, top + TILE)):
                for x in range(max(x0, left), min(x1, left + TILE)):
                    if finished[y - top, x - left]:
                        continue
                    alpha = min(ALPHA_MAX, _alpha(splat, x, y)[0])
                    if alpha < ALPHA_MIN:
                        continue
                    before = transmittance[y, x]
                    if before * (1 - alpha) < TRANSMITTANCE_MIN:
                        finished[y - top, x - left] = True
                        continue
                    for channel in range(channels):
                        image[y, x, channel] += before * alpha * splat[COLOUR + channel]
                    transmittance[y, x] = before * (1 - alpha)
                    last[y, x] = k


@njit(parallel=True, **jit.OPTIONS)
def _differentiate_tiles(splats, starts, pairs, transmittance, last, by_image, by_transmittance, parts):
    """One row of `parts` for each pair: the derivative by that Gaussian, over that tile's pixels.

    From the back, `behind` is the loss's derivative along all that a pixel shows behind the Gaussian.
    """
    height, width, channels = by_image.shape
    columns = (width + TILE - 1) // TILE
    for tile in prange(len(starts) - 1):
        left, top = tile % columns * TILE, tile // columns * TILE
        rest = np.empty((TILE, TILE))
        behind = np.empty((TILE, TILE))
        for y in range(top, min(top + TILE, height)):
            for x in range(left, min(left + TILE, width)):
                rest[y - top, x - left] = transmittance[y, x]
                behind[y - top, x - left] = transmittance[y, x] * by_transmittance[y, x]
        for k in range(starts[tile + 1] - 1, starts[tile] - 1, -1):
            splat, part = splats[pairs[k]], parts[k]
            x0, x1, y0, y1 = _extent(splat, width, height)
            for y in range(max(y0, top), min(y1, top + TILE)):
                for x in range(max(x0, left), min(x1, left + TILE)):
                    if k > last[y, x]:
                        continue
                    raw, dx, dy = _alpha(splat, x, y)
                    alpha = min(ALPHA_MAX, raw)
                    if alpha < ALPHA_MIN:
                        continue
                    before = rest[y - top, x - left] / (1 - alpha)
                    seen = 0.0
                    for channel in range(channels):
                        seen += by_image[y, x, channel] * splat[COLOUR + channel]
                        part[COLOUR + channel] += by_image[y, x, channel] * before * alpha
                    by_alpha = before * seen - behind[y - top, x - left] / (1 - alpha)
                    behind[y - top, x - left] += before * alpha * seen
                    rest[y - top, x - left] = before
                    if raw < ALPHA_MAX:
                        by_power = -raw * by_alpha
                        part[OPACITY] += by_alpha * raw / splat[OPACITY]
                        part[CENTRE_X] -= by_power * (splat[CONIC_A] * dx + splat[CONIC_B] * dy)
                        part[CENTRE_Y] -= by_power * (splat[CONIC_C] * dy + splat[CONIC_B] * dx)
                        part[CONIC_A] += by_power * 0.5 * dx * dx
                        part[CONIC_B] += by_power * dx * dy
                        part[CONIC_C] += by_power * 0.5 * dy * dy


@njit(**jit.OPTIONS)
def _gather(pairs, parts, total):
    """Sums the rows of `parts` by Gaussian, in one order whatever the threads did."""
    for k in range(len(pairs)):
        for column in range(parts.shape[1]):
            total[pairs[k], column] += parts[k, column]
    return total
