"""§9.7-§9.9 The image: tiles, row spans and threads around the blending rules."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numba import njit, prange

import spec
from reference_decoder import jit
from reference_decoder.lanes import LANES, blend_lanes
from reference_decoder.projection import Camera, Projected
from reference_decoder.threads import PARALLEL

_pixel_offset = jit.function("pixel_offset")
_pixel_v = jit.function("pixel_v")
_final_channel = jit.function("final_channel")
_final_coverage = jit.function("final_coverage")

TILE_WIDTH = 64
TILE_HEIGHT = 16
_STRIDE = TILE_WIDTH + LANES  # a vector that starts at the last pixel of a row ends in the padding
_PLANE = TILE_HEIGHT * _STRIDE
_REFRESH = 32  # Gaussians between two looks at which pixels are finished
_SLACK = 0.0625  # pixels; spans are computed in floating point and must only ever be too wide
_OPACITY_STEP = 64
_TRANSMITTANCE_ONE = spec.document().constants["TRANSMITTANCE_ONE_Q30"]


def reach_table() -> np.ndarray:
    """§9.7 Per 64 steps of opacity, a bound of sqrt(u^2 + v^2) beyond which alpha is below ALPHA_MIN_Q16.

    The exact weight is raised by 3e-4 for the cubic's error, the bound by three steps of u for its rounding.
    """
    opacity = np.minimum(16384, np.arange(257) * _OPACITY_STEP + _OPACITY_STEP - 1)
    exponent = np.log2(opacity * 4 * 1.0003 / spec.document().constants["ALPHA_MIN_Q16"])
    return np.where(exponent > 0, np.sqrt(np.maximum(exponent, 0)) + 3 / 16384, 0.0)


_REACH = reach_table()


@dataclass(frozen=True)
class Tiles:
    """Which Gaussians can touch which tile: `members[starts[t]:starts[t + 1]]`, in sorted order."""

    columns: int
    starts: np.ndarray
    members: np.ndarray


@njit(inline="always")
def _extent(record):
    """Half the width and half the height in pixels of what a record can touch; zero if nothing."""
    reach = _REACH[record[10] // _OPACITY_STEP]
    if reach == 0.0:
        return 0.0, 0.0
    l00, l01, l11 = record[4] / 16777216.0, record[5] / 16777216.0, record[6] / 16777216.0
    skew = l01 / l11
    return reach / l00 * np.sqrt(1.0 + skew * skew) + _SLACK, reach / l11 + _SLACK


@njit(inline="always")
def _tiles(record, columns, rows):
    """The half-open ranges of tile columns and rows that a record can touch."""
    half_width, half_height = _extent(record)
    if half_width == 0.0:
        return 0, 0, 0, 0
    x, y = record[2] / 4096.0 - 0.5, record[3] / 4096.0 - 0.5
    x0 = min(max(np.int64(np.ceil(x - half_width)), 0), columns * TILE_WIDTH) // TILE_WIDTH
    y0 = min(max(np.int64(np.ceil(y - half_height)), 0), rows * TILE_HEIGHT) // TILE_HEIGHT
    x1 = (
        min(max(np.int64(np.floor(x + half_width)), -1), columns * TILE_WIDTH - 1) + TILE_WIDTH
    ) // TILE_WIDTH
    y1 = (
        min(max(np.int64(np.floor(y + half_height)), -1), rows * TILE_HEIGHT - 1) + TILE_HEIGHT
    ) // TILE_HEIGHT
    return x0, x1, y0, y1


@njit(**jit.OPTIONS)
def _bin(records, columns, rows):
    counts = np.zeros(columns * rows + 1, np.int64)
    boxes = np.empty((len(records), 4), np.int32)
    for n in range(len(records)):
        x0, x1, y0, y1 = _tiles(records[n], columns, rows)
        boxes[n, 0], boxes[n, 1], boxes[n, 2], boxes[n, 3] = x0, x1, y0, y1
        for row in range(y0, y1):
            for column in range(x0, x1):
                counts[row * columns + column + 1] += 1
    starts = np.cumsum(counts)
    members = np.empty(starts[-1], np.int32)
    places = starts.copy()
    for n in range(len(records)):
        for row in range(boxes[n, 2], boxes[n, 3]):
            for column in range(boxes[n, 0], boxes[n, 1]):
                tile = row * columns + column
                members[places[tile]] = n
                places[tile] += 1
    return starts, members


@njit(**jit.OPTIONS)
def _blend_tile(state, first, last, records, members, start, stop, left, top):
    for place in range(start, stop):
        if (place - start) % _REFRESH == 0 and place > start:
            alive = False
            for r in range(TILE_HEIGHT):
                lo, hi = first[r], last[r]
                while lo < hi and state[r * _STRIDE + lo] < 0:
                    lo += 1
                while lo < hi and state[r * _STRIDE + hi - 1] < 0:
                    hi -= 1
                first[r], last[r] = lo, hi
                alive |= lo < hi
            if not alive:
                return
        n = members[place]
        l00, l01, l11 = records[n, 4], records[n, 5], records[n, 6]
        opacity, red, green, blue = records[n, 10], records[n, 7], records[n, 8], records[n, 9]
        reach = _REACH[opacity // _OPACITY_STEP]
        mean_x, mean_y = records[n, 2], records[n, 3]
        half_height = reach * 16777216.0 / l11 + _SLACK
        y = mean_y / 4096.0 - 0.5 - top
        r0 = max(np.int64(np.ceil(y - half_height)), 0)
        r1 = min(np.int64(np.floor(y + half_height)) + 1, TILE_HEIGHT)
        inverse = 16777216.0 / l00
        slant = l01 / l00 / 4096.0
        x = mean_x / 4096.0 - 0.5 - left
        for r in range(r0, r1):
            dy = _pixel_offset(r + top, mean_y)
            v = _pixel_v(l11, dy)
            v_real = v * (1.0 / 16384.0)
            room = reach * reach - v_real * v_real
            if room < 0.0:
                continue
            half = np.sqrt(room) * inverse + _SLACK
            centre = x - slant * dy
            x0 = max(np.int64(np.ceil(centre - half)), first[r])
            x1 = min(np.int64(np.floor(centre + half)) + 1, last[r])
            if x0 >= x1:
                continue
            u = np.int32((l00 * _pixel_offset(x0 + left, mean_x) + l01 * dy) >> 12)
            for k in range(x0, x1, LANES):
                blend_lanes(state, r * _STRIDE + k, _PLANE, u, l00, v * v, opacity, red, green, blue)
                u += LANES * l00


@njit(parallel=True, **jit.OPTIONS)
def _blend_all(records, starts, members, jobs, columns, background, image):
    height, width = image.shape[:2]
    for job in prange(len(jobs)):
        state = np.empty(4 * _PLANE, np.int32)
        first = np.empty(TILE_HEIGHT, np.int64)
        last = np.empty(TILE_HEIGHT, np.int64)
        for tile in jobs[job]:
            if tile < 0:
                continue
            left, top = tile % columns * TILE_WIDTH, tile // columns * TILE_HEIGHT
            state[:_PLANE] = _TRANSMITTANCE_ONE
            state[_PLANE:] = 0
            first[:] = 0
            last[:] = min(TILE_WIDTH, width - left)
            last[height - top :] = 0
            _blend_tile(state, first, last, records, members, starts[tile], starts[tile + 1], left, top)
            _finish_tile(state, left, top, background, image)


@njit(**jit.OPTIONS)
def _finish_tile(state, left, top, background, image):
    for r in range(min(TILE_HEIGHT, image.shape[0] - top)):
        for k in range(min(TILE_WIDTH, image.shape[1] - left)):
            p = r * _STRIDE + k
            for channel in range(3):
                total = state[p + (channel + 1) * _PLANE]
                image[top + r, left + k, channel] = _final_channel(total, state[p], background[channel])
            image[top + r, left + k, 3] = _final_coverage(state[p])


def bin_tiles(projected: Projected, camera: Camera) -> Tiles:
    """§9.9 The projected list cut into tiles; a tile's list may hold more than touches it, never less."""
    columns, rows = -(-camera.width // TILE_WIDTH), -(-camera.height // TILE_HEIGHT)
    return Tiles(columns, *_bin(projected.records, columns, rows))


def rasterise(projected: Projected, camera: Camera, tiles: Tiles | None = None) -> np.ndarray:
    """§9.9 The image: (height, width, 4) uint8, red green blue coverage."""
    tiles = tiles or bin_tiles(projected, camera)
    image = np.empty((camera.height, camera.width, 4), np.uint8)
    with PARALLEL:
        _blend_all(
            projected.records, tiles.starts, tiles.members, _jobs(tiles), tiles.columns,
            np.array(camera.background, np.int64), image,
        )  # fmt: skip
    return image


def _jobs(tiles: Tiles) -> np.ndarray:
    """The tiles dealt to the threads, longest lists first, to and fro; -1 fills the last round."""
    threads = numba.get_num_threads()
    order = np.argsort(-np.diff(tiles.starts), kind="stable")
    dealt = np.full((-(-len(order) // threads), threads), -1)
    dealt.ravel()[: len(order)] = order
    dealt[1::2] = dealt[1::2, ::-1]
    return np.ascontiguousarray(dealt.T)
