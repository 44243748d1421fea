"""§7.7 Skinning: the document's per-Gaussian function, run over all Gaussians on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, prange

from reference_decoder import jit
from reference_decoder.threads import PARALLEL

_skin_gaussian = jit.function("skin_gaussian")
_offset_gaussian = jit.function("offset_gaussian")
_round_shift = jit.function("round_shift")
_limit = jit.function("limit")
DISPLACEMENT_LIMIT = jit.document_module().DISPLACEMENT_LIMIT


def displacement(weights: np.ndarray, sparse: list[tuple[np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """§7.7.1 (N, 3) Q.20 m: what expressions add to the positions.

    weights (E,) Q.14; sparse: per expression the Gaussians it moves and their offsets (Q.20 m). Only
    expressions with a weight are visited; sums of integers do not depend on the order.
    """
    total = np.zeros((count, 3), np.int64)
    for weight, (moved, offsets) in zip(weights, sparse, strict=True):
        if weight:
            _add_offsets(int(weight), moved, offsets, total)
    return _rounded(total)


@njit(**jit.OPTIONS)
def _add_offsets(weight, moved, offsets, total):
    for n in range(len(moved)):
        for c in range(3):
            total[moved[n], c] += weight * offsets[n, c]


@njit(**jit.OPTIONS)
def _rounded(total):
    result = np.empty(total.shape, np.int32)
    for i in range(total.shape[0]):
        for c in range(3):
            result[i, c] = _limit(_round_shift(total[i, c], 14), DISPLACEMENT_LIMIT)
    return result


def skin(
    matrices: np.ndarray,
    joint: np.ndarray,
    weight: np.ndarray,
    position: np.ndarray,
    displaced: np.ndarray,
    factor: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """§7.7.2 mean (N, 3) Q.20 m, factor (N, 9) Q.24 m and blend (N, 9) Q.30 of every Gaussian."""
    count = len(position)
    mean = np.empty((count, 3), np.int32)
    skinned = np.empty((count, 9), np.int32)
    blend = np.empty((count, 9), np.int32)
    with PARALLEL:
        _skin_all(matrices, joint, weight, position, displaced, factor, mean, skinned, blend)
    return mean, skinned, blend


@njit(parallel=True, **jit.OPTIONS)
def _skin_all(matrices, joint, weight, position, displaced, factor, mean, skinned, blend):
    for i in prange(len(position)):
        _skin_gaussian(i, matrices, joint, weight, position, displaced, factor, mean, skinned, blend)


def offset(
    places: tuple[Any, ...], displaced: np.ndarray, canonical: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """§7.9.9 displacement (N, 3) Q.20 m, shape factor (N, 3, 3) Q.24 m, opacity (N,) Q.14 and colour (N, 3) Q.12.

    places: what `Generator.place_arguments` gives; displaced (N, 3): the displacements by expressions.
    """
    n = len(displaced)
    moved = (
        np.empty((n, 3), np.int32),
        np.empty((n, 3, 3), np.int32),
        np.empty(n, np.int32),
        np.empty((n, 3), np.int16),
    )
    with PARALLEL:
        _offset_all(*places, displaced, canonical.factor, canonical.opacity, canonical.sh, *moved)
    return moved


@njit(parallel=True, **jit.OPTIONS)
def _offset_all(maps, heads, head_channels, bits, side, u, v, displaced, factor, opacity, sh, a, b, c, d):
    for i in prange(len(displaced)):
        _offset_gaussian(
            i, maps, heads, head_channels, bits, side, u, v, displaced, factor, opacity, sh, a, b, c, d
        )
