"""§9.8 Pictures as sums of the colours of Gaussians, in floats: what each Gaussian has in each pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numba
import numpy as np
from numba import njit

from reference_decoder import Camera, jit

LEAST_ALPHA, MOST_ALPHA = 1 / 255, 0.999
LEAST_TRANSMITTANCE = 1e-4
_LEAST_SHARE = 1 / 1024
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Blending:
    """What the pixels of a picture are made of: one row of entries for each projected Gaussian.

    A look is three colour components and the opacity, of which changes are meant.
    """

    index: np.ndarray  # (M,) the Gaussian
    start: np.ndarray  # (M + 1,) where its entries begin
    pixel: np.ndarray  # (E,)
    share: np.ndarray  # (E,) of its colour in that of the pixel; very small ones are left out
    slope: np.ndarray  # (E, 3) what the pixel's colour gains by its opacity

    def mix(self, looks: np.ndarray, pixels: int) -> np.ndarray:
        """(P, 3) what changes of looks (N, 4) do to the picture."""
        picture = np.zeros((pixels, 3))
        _mix(self.index, self.start, self.pixel, self.share, self.slope, looks, picture)
        return picture

    def gather(self, picture: np.ndarray, count: int) -> np.ndarray:
        """(N, 4) for each Gaussian the pixels (P, 3) times what it does there: the transpose of `mix`."""
        sums = np.zeros((count, 4))
        _gather(self.index, self.start, self.pixel, self.share, self.slope, picture, sums)
        return sums

    def squares(self, count: int) -> np.ndarray:
        """(N, 4) sums of squares of what one of each does."""
        each = np.zeros((len(self.share) + 1, 2))
        each[1:, 0] = self.share.astype(np.float64) ** 2
        each[1:, 1] = np.square(self.slope.astype(np.float64)).sum(axis=1)
        totals = np.cumsum(each, axis=0)
        rows = totals[self.start[1:]] - totals[self.start[:-1]]
        colour, opacity = (np.bincount(self.index, row, minlength=count) for row in rows.T)
        return np.stack([colour, colour, colour, opacity], axis=1)


def in_threads(work: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """The results of `work` in the order of the items; as many at a time as Numba has threads."""
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(work, items))


def blending(records: np.ndarray, camera: Camera) -> tuple[Blending, np.ndarray]:
    """What the projected Gaussians (M, 11) of §9.6 have in the pixels, and their picture as of `picture_of`."""
    start, (colour, through) = np.zeros(len(records) + 1, np.int64), _empty(camera)
    _fill(records, camera.width, start, *_NOTHING, colour, through)
    picture = _behind(colour, through, camera)
    entries = (
        np.empty(start[-1], np.int32),
        np.empty(start[-1], np.float32),
        np.empty((start[-1], 3), np.float32),
    )
    _fill(records, camera.width, start, *entries, picture, *_empty(camera))
    return Blending(records[:, 0].astype(np.int64), start, *entries), picture


def picture_of(records: np.ndarray, camera: Camera) -> np.ndarray:
    """(P, 3) the picture of projected Gaussians (M, 11), 1 for white, neither rounded nor limited."""
    colour, through = _empty(camera)
    _fill(records, camera.width, np.zeros(len(records) + 1, np.int64), *_NOTHING, colour, through)
    return _behind(colour, through, camera)


_NOTHING = np.empty(0, np.int32), np.empty(0, np.float32), np.empty((0, 3), np.float32), np.empty((0, 3))


def _empty(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    pixels = camera.width * camera.height
    return np.zeros((pixels, 3)), np.ones(pixels)


def _behind(colour: np.ndarray, through: np.ndarray, camera: Camera) -> np.ndarray:
    return colour + through[:, None] * np.array(camera.background) / 255


@njit(**jit.OPTIONS)
def reach(record, width, height):
    """First and last row and column in which a projected Gaussian may be seen, and the exponent where it ends."""
    exponent = np.log2(max(record[10] / 2**14 / LEAST_ALPHA, 1e-9))
    if exponent <= 0:
        return 0, -1, 0, -1, exponent
    radius = np.sqrt(exponent)
    l00, l01, l11 = record[4] / 2**24, record[5] / 2**24, record[6] / 2**24
    x, y = record[2] / 4096 - 0.5, record[3] / 4096 - 0.5
    half_width, half_height = radius / l00 * np.sqrt(1 + (l01 / l11) ** 2), radius / l11
    left, right = max(int(np.ceil(x - half_width)), 0), min(int(np.floor(x + half_width)), width - 1)
    top, bottom = max(int(np.ceil(y - half_height)), 0), min(int(np.floor(y + half_height)), height - 1)
    return top, bottom, left, right, exponent


@njit(**jit.OPTIONS)
def _fill(records, width, start, pixel, share, slope, picture, colour, through):
    """Blends from front to back; fills `start`, and what is in the pixels unless there is no room for any.

    `picture` is what it comes to: it says what is behind a Gaussian.
    """
    entries = 0
    for n in range(len(records)):
        record = records[n]
        top, bottom, left, right, exponent = reach(record, width, len(through) // width)
        l00, l01, l11 = record[4] / 2**24, record[5] / 2**24, record[6] / 2**24
        mx, my, opacity = record[2] / 4096 - 0.5, record[3] / 4096 - 0.5, record[10] / 2**14
        for y in range(top, bottom + 1):
            v = l11 * (y - my)
            for x in range(left, right + 1):
                at = y * width + x
                u = l00 * (x - mx) + l01 * (y - my)
                r = u * u + v * v
                if through[at] < LEAST_TRANSMITTANCE or r > exponent:
                    continue
                alpha = min(opacity * 2.0**-r, MOST_ALPHA)
                part, before = through[at] * alpha, through[at]
                through[at] *= 1 - alpha
                for c in range(3):
                    colour[at, c] += part * record[7 + c] / 4096
                if part < _LEAST_SHARE:
                    continue
                if len(pixel) > 0:
                    pixel[entries] = at
                    share[entries] = part
                    for c in range(3):
                        behind = (picture[at, c] - colour[at, c]) / through[at]
                        moved = before * (record[7 + c] / 4096 - behind) * alpha / opacity
                        slope[entries, c] = moved if alpha < MOST_ALPHA else 0.0
                entries += 1
        start[n + 1] = entries


@njit(**jit.OPTIONS)
def _mix(index, start, pixel, share, slope, looks, picture):
    for row in range(len(index)):
        look = looks[index[row]]
        for entry in range(start[row], start[row + 1]):
            for c in range(3):
                picture[pixel[entry], c] += share[entry] * look[c] + slope[entry, c] * look[3]


@njit(**jit.OPTIONS)
def _gather(index, start, pixel, share, slope, picture, sums):
    for row in range(len(index)):
        total = sums[index[row]]
        for entry in range(start[row], start[row + 1]):
            for c in range(3):
                total[c] += share[entry] * picture[pixel[entry], c]
                total[3] += slope[entry, c] * picture[pixel[entry], c]
