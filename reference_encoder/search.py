"""§7.3 The residuals and the coarseness of Gaussians by what they cost in bits and in pictures."""

from __future__ import annotations

import numpy as np
from numba import njit

import spec
from reference_decoder import jit

_C = spec.standard().constant_values
_neighbour_mean, _residual_context = jit.function("neighbour_mean"), jit.function("residual_context")
_widened_scale, _rotation_shift = jit.function("widened_scale"), jit.function("rotation_shift")
_zero_probability, _update_context = jit.function("zero_probability"), jit.function("update_context")

COARSEST = 6
_CLASSES = 24  # of magnitudes, by their number of significant bits
_MEMORY = 1024  # residuals after which older ones count half
_LUMA, _ORANGE, _GREEN = 3.0, 0.5, 0.75  # what an error of each does to three colour components
_UNKNOWN = _C["ESTIMATE_ONE"] // 2


@njit(**jit.OPTIONS)
def search_geometry(
    low, unread, scale, rotation, felt, neighbour, scale_step, scale_blur, price, coarseness, scale_residual,
    rotation_residual,
):  # fmt: skip
    """§5.6 Fills the coarseness of geometry, and the residuals of scales and rotations, Gaussian by Gaussian.

    Each takes the coarseness of least cost, errors in pictures plus `price` for each bit.

    low, unread (N, 3): position within the cell and its bits; felt (N, 7).
    """
    count = len(scale)
    contexts = np.full(2 * 7 * 7, _UNKNOWN, np.int64)
    scales, turns = _counts(3 * 32), _counts(3 * 32)
    value, widened = np.zeros((count, 3), np.int64), np.zeros(3, np.int64)
    tried, best = np.zeros(9, np.int64), np.zeros(9, np.int64)
    prediction = np.zeros(3, np.int64)
    for i in range(count):
        first = 7 * _neighbour_mean(coarseness, neighbour, i, 0)
        for c in range(3):
            prediction[c] = _neighbour_mean(value, neighbour, i, c)
        least, chosen = np.inf, 0
        for candidate in range(COARSEST + 1 if price > 0 else 1):
            cost = price * _tree_bits(contexts, first, candidate)
            dropped = min(candidate, unread[i, 0])
            for c in range(3):
                error = low[i, c] - ((low[i, c] >> dropped << dropped) + ((1 << dropped) >> 1))
                cost += felt[i, 0] * error * error + price * (unread[i, c] - dropped)
            for c in range(3):
                at = _residual_context(scale_residual, neighbour, i, c, candidate)
                away = scale[i, c] - prediction[c]
                tried[c], extra = _rounded(away, candidate, felt[i, 1 + c], price, scales, at)
                cost += extra
                coded = prediction[c] + (tried[c] << candidate)
                widened[c] = _widened_scale(coded, scale_step, scale_blur)
            for c in range(3):
                shift = _rotation_shift(widened[(c + 1) % 3], widened[(c + 2) % 3])
                tried[6 + c] = min(COARSEST, candidate + shift)
                at = _residual_context(rotation_residual, neighbour, i, c, tried[6 + c])
                tried[3 + c], extra = _rounded(rotation[i, c], tried[6 + c], felt[i, 4 + c], price, turns, at)
                cost += extra
            if cost < least:
                least, chosen = cost, candidate
                best[:] = tried
        coarseness[i, 0] = chosen
        _update_tree(contexts, first, chosen)
        for c in range(3):
            at = _residual_context(scale_residual, neighbour, i, c, chosen)
            _note(scales, at, best[c])
            at = _residual_context(rotation_residual, neighbour, i, c, best[6 + c])
            _note(turns, at, best[3 + c])
        for c in range(3):
            scale_residual[i, c] = best[c]
            rotation_residual[i, c] = best[3 + c]
            value[i, c] = prediction[c] + (best[c] << chosen)


@njit(**jit.OPTIONS)
def search_appearance(
    appearance, sh, felt, band, neighbour, price, coarseness, appearance_residual, sh_residual
):
    """§5.6 Fills the coarseness of appearance and its residuals as `search_geometry` does those of geometry.

    felt (N, 2): root of the opacity, a colour component of band 0; band (K,): what one of another coefficient
    counts for, in that of band 0.
    """
    count, harmonics = sh.shape
    contexts = np.full(2 * 7 * 7, _UNKNOWN, np.int64)
    looks, directions = _counts(4 * 32), _counts(32 * harmonics)
    value = np.zeros((count, 4), np.int64)
    tried, best = np.zeros(4 + harmonics, np.int64), np.zeros(4 + harmonics, np.int64)
    weight, prediction = np.array([1.0, _LUMA, _ORANGE, _GREEN]), np.zeros(4, np.int64)
    for i in range(count):
        first = 7 * _neighbour_mean(coarseness, neighbour, i, 1)
        for c in range(4):
            prediction[c] = _neighbour_mean(value, neighbour, i, c)
        least, chosen = np.inf, 0
        for candidate in range(COARSEST + 1 if price > 0 else 1):
            cost = price * _tree_bits(contexts, first, candidate)
            for c in range(4):
                coarse = candidate + (c > 1)
                at = _residual_context(appearance_residual, neighbour, i, c, coarse)
                worth = felt[i, min(c, 1)] * weight[c]
                tried[c], extra = _rounded(appearance[i, c] - prediction[c], coarse, worth, price, looks, at)
                cost += extra
            for k in range(harmonics):
                coarse = candidate + (k % 3 > 0)
                at = _residual_context(sh_residual, neighbour, i, k, coarse)
                worth = felt[i, 1] * weight[1 + k % 3] * band[k // 3]
                tried[4 + k], extra = _rounded(sh[i, k], coarse, worth, price, directions, at)
                cost += extra
                if cost >= least:
                    break
            if cost < least:
                least, chosen = cost, candidate
                best[:] = tried
        coarseness[i, 1] = chosen
        _update_tree(contexts, first, chosen)
        for c in range(4):
            at = _residual_context(appearance_residual, neighbour, i, c, chosen + (c > 1))
            _note(looks, at, best[c])
            appearance_residual[i, c] = best[c]
            value[i, c] = prediction[c] + (best[c] << (chosen + (c > 1)))
        for k in range(harmonics):
            at = _residual_context(sh_residual, neighbour, i, k, chosen + (k % 3 > 0))
            _note(directions, at, best[4 + k])
            sh_residual[i, k] = best[4 + k]


@njit(**jit.OPTIONS)
def _counts(contexts):
    """How often each class of magnitude was met in each context, and all of them: few large ones at first."""
    counts = np.zeros((contexts, _CLASSES + 1))
    for n in range(_CLASSES):
        counts[:, n] = 4.0 * 0.6**n + 0.01
    counts[:, _CLASSES] = counts[:, :_CLASSES].sum(axis=1)
    return counts


@njit(**jit.OPTIONS)
def _class(residual):
    size, bits = abs(residual), 0
    while size > 0:
        size >>= 1
        bits += 1
    return min(bits, _CLASSES - 1)


@njit(**jit.OPTIONS)
def _rounded(value, coarse, worth, price, counts, at):
    """The nearest multiple of 1 << coarse, in such multiples, and its cost: error and bits."""
    size = (abs(value) + ((1 << coarse) >> 1)) >> coarse
    error = abs(value) - (size << coarse)
    kind = _class(size)
    bits = kind + np.log2(counts[at, _CLASSES] / counts[at, kind])
    return (-size if value < 0 else size), worth * error * error + price * bits


@njit(**jit.OPTIONS)
def _note(counts, at, residual):
    counts[at, _class(residual)] += 1
    counts[at, _CLASSES] += 1
    if counts[at, _CLASSES] > _MEMORY:
        counts[at] *= 0.5


@njit(**jit.OPTIONS)
def _tree_bits(contexts, first, value):
    bits, n = 0.0, 1
    for level in range(3):
        bin = value >> (2 - level) & 1
        zero = _zero_probability(contexts, first + n - 1)
        bits -= np.log2((zero if bin == 0 else 32768 - zero) / 32768)
        n = 2 * n + bin
    return bits


@njit(**jit.OPTIONS)
def _update_tree(contexts, first, value):
    n = 1
    for level in range(3):
        bin = value >> (2 - level) & 1
        _update_context(contexts, first + n - 1, bin)
        n = 2 * n + bin
