"""§7.3 Canonical Gaussians to the elements of their units: the closed loop of prediction and quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

import spec
from reference_decoder import jit
from reference_encoder.content import Avatar
from reference_encoder.quantise import (
    Settings,
    Steps,
    equivalent_axes,
    integer_weights,
    spatial_order,
    to_integers,
)
from reference_encoder.search import search_appearance, search_geometry
from reference_encoder.sensitivity import Sensitivity, thinness

_C = spec.standard().constant_values
_split_node, _place_node = jit.function("split_node"), jit.function("place_node")
_find_neighbours, _moved_mean = jit.function("find_neighbours"), jit.function("moved_mean")

_DIRECTIONAL = 0.3  # of an error of colour in one direction is left when the colour of band 0 makes up for it
_LEAST_ROOT = 0.02  # of opacities, for how much they change with their roots


@dataclass(frozen=True)
class Quantised:
    """§7.3 The Gaussians of an avatar as integers of the base steps, and what their errors do to pictures."""

    position: np.ndarray  # (N, 3)
    scale: np.ndarray  # (N, 3) binary logarithms of widened scales over the blur
    rotation: np.ndarray  # (N, 3)
    appearance: np.ndarray  # (N, 4) root of the opacity, luma, two chroma components
    sh: np.ndarray  # (N, K) luma and chroma of the other coefficients
    felt: (
        np.ndarray
    )  # (N, 9) squared error in pictures of an error of one base step: position, scales, rotation,
    # root of the opacity, one colour component
    joints: np.ndarray  # (N, 8)
    weights: np.ndarray  # (N, 8)
    influences: np.ndarray  # (N,)

    def part(self, rows: np.ndarray) -> Quantised:
        """The Gaussians with these numbers."""
        return Quantised(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def quantised(avatar: Avatar, steps: Steps, settings: Settings, seen: Sensitivity | None) -> Quantised:
    """§7.3 Floats to integers; without `seen` every Gaussian has the base steps."""
    g = avatar.gaussians
    blur = 2.0 ** ((_C["LOG_SCALE_MIN"] + steps.blur) / 2**16)
    vectors, turns = equivalent_axes(g.rotations)
    widest = 2.0 ** (_C["LOG_SCALE_MAX"] / 2**16)
    scales = np.einsum("ni,nij->nj", g.scales.clip(settings.smallest_scale, widest), turns)
    octaves = 0.5 * np.log2(np.minimum(scales**2 + blur**2, widest**2)) - np.log2(blur)
    roots = g.opacities.clip(0, 1) ** (1 / steps.opacity_power)
    colour = colour_values(g.sh, steps)
    joints, weights, influences = integer_weights(
        avatar.skin_joints, avatar.skin_weights, settings.influences, settings.weight_bits
    )
    return Quantised(
        position=to_integers(g.positions, steps.position / 2**20),
        scale=to_integers(octaves, steps.scale / 2**16),
        rotation=to_integers(vectors, steps.rotation / 2**28),
        appearance=np.concatenate([root_values(g.opacities, steps), colour[:, 0]], axis=1),
        sh=colour[:, 1:].reshape(g.count, -1),
        felt=np.ones((g.count, 9)) if seen is None else felt(seen, scales, turns, roots, blur, steps),
        joints=joints,
        weights=weights,
        influences=influences,
    )


def root_values(opacities: np.ndarray, steps: Steps) -> np.ndarray:
    """§7.3.5 (N, 1) roots of opacities (N,) in their steps."""
    return to_integers(opacities.clip(0, 1) ** (1 / steps.opacity_power), steps.opacity / 2**14)[:, None]


def colour_values(sh: np.ndarray, steps: Steps) -> np.ndarray:
    """§7.3.6 (N, K, 3) coefficients of the bands from 0 on -> luma and chroma in the steps of the bands."""
    limit = _C["SH_LIMIT"] / 2**12
    bands = [
        to_integers(sh[:, b * b : (b + 1) ** 2].clip(-limit, limit), step / 2**12)
        for b, step in enumerate(steps.sh)
    ]
    return luma_chroma(np.concatenate(bands, axis=1))


def luma_chroma(colour: np.ndarray) -> np.ndarray:
    """§7.3.6 (..., 3) red, green, blue -> luma and two chroma components: the inverse of `colour_component`."""
    red, green, blue = np.moveaxis(colour, -1, 0)
    orange = red - blue
    rest = blue + (orange >> 1)
    return np.stack([rest + ((green - rest) >> 1), orange, green - rest], axis=-1)


def felt(
    seen: Sensitivity, scales: np.ndarray, turns: np.ndarray, roots: np.ndarray, blur: float, steps: Steps
) -> np.ndarray:
    """(N, 9) squared change of the pictures (levels squared) for one base step of each kind of value."""
    octave = np.einsum("ni,nij->nj", seen.scale, turns) * np.log(2) ** 2 * thinness(scales, blur)
    turn = np.einsum("ni,nij->nj", seen.rotation, turns)
    power = steps.opacity_power
    slope = power * np.maximum(roots, _LEAST_ROOT) ** (power - 1)
    columns = [
        seen.position[:, None] * (steps.position / 2**20) ** 2,
        octave * (steps.scale / 2**16) ** 2,
        turn * (steps.rotation / 2**28) ** 2,
        (seen.opacity * slope**2)[:, None] * (steps.opacity / 2**14) ** 2,
        seen.colour[:, None] * (steps.sh[0] / 2**12) ** 2,
    ]
    return np.concatenate(columns, axis=1)


def chunks(values: Quantised, size: int) -> list[np.ndarray]:
    """§6.5 The Gaussians of each chunk in the order of its tree."""
    order = spatial_order(values.position.astype(np.float64))
    parts = [order[first : first + size] for first in range(0, len(order), size)]
    return [part[np.argsort(_keys(values.position[part]), kind="stable")] for part in parts]


def _keys(position: np.ndarray) -> np.ndarray:
    """§7.3.2 The bits of the three coordinates in turn, x first."""
    local = position - position.min(axis=0)
    key = np.zeros(len(local), np.int64)
    for bit in range(21):
        for axis in range(3):
            key |= (local[:, axis] >> bit & 1) << (3 * bit + 2 - axis)
    return key


def chunk_values(part: Quantised, steps: Steps, theta: float) -> dict[str, Any]:
    """§5.6 The elements of a chunk whose Gaussians are in the order of the tree.

    `theta` is the squared error that a value may make in the pictures (levels squared).
    """
    origin = part.position.min(axis=0)
    local = part.position - origin
    bits = int(local.max()).bit_length()
    cell, level = np.zeros((len(local), 3), np.int64), np.zeros(len(local), np.int64)
    one_side, upper, lower = _grow(_keys(part.position), bits, cell, level)
    neighbour = np.zeros((len(local), 2), np.int64)
    _find_neighbours(cell, len(cell), _C["NEIGHBOUR_WINDOW"], neighbour)
    unread = (level[:, None] + np.arange(3)) // 3
    low, price = local & ((1 << unread) - 1), 2 * np.log(2) * theta
    found = _searched(part, low, unread, neighbour, steps, price)
    dropped = np.minimum(found["coarseness"][:, :1], level[:, None] // 3)
    return {
        "chunk_origin": origin,
        "position_bits": bits,
        "one_side_flag": one_side,
        "upper_flag": upper,
        "lower_count": lower,
        "position_low": low >> dropped,
        **found,
        **skin_values(part.joints, part.weights, part.influences, neighbour),
    }


def _searched(
    part: Quantised, low: np.ndarray, unread: np.ndarray, neighbour: np.ndarray, steps: Steps, price: float
) -> dict[str, np.ndarray]:
    """§5.6 The elements of a chunk that trade bits for errors."""
    coarseness = np.zeros((len(low), 2), np.int64)
    scale, rotation = np.zeros_like(part.scale), np.zeros_like(part.rotation)
    look, sh = np.zeros_like(part.appearance), np.zeros_like(part.sh)
    shape = (
        part.scale,
        part.rotation,
        np.ascontiguousarray(part.felt[:, :7]),
        neighbour,
        steps.scale,
        steps.blur,
    )
    search_geometry(low, unread, *shape, price, coarseness, scale, rotation)
    bands = np.repeat(np.array(steps.sh, np.float64), 2 * np.arange(len(steps.sh)) + 1)[1:]
    colour = np.ascontiguousarray(part.felt[:, 7:]), _DIRECTIONAL * (bands / steps.sh[0]) ** 2
    search_appearance(part.appearance, part.sh, *colour, neighbour, price, coarseness, look, sh)
    return {
        "coarseness": coarseness,
        "scale_residual": scale,
        "rotation_residual": rotation,
        "appearance_residual": look,
        "sh_residual": sh,
    }


def skin_values(
    joints: np.ndarray, weights: np.ndarray, counts: np.ndarray, neighbour: np.ndarray
) -> dict[str, Any]:
    """§5.6 The elements of `gaussian_skin` for a chunk."""
    nearest = neighbour[:, 0]
    same = ((joints == joints[nearest]).all(axis=1) & (counts == counts[nearest])).astype(np.int64)
    same[0] = 0
    left = weights.sum(axis=1, keepdims=True) - np.cumsum(weights, axis=1) + weights
    predicted = np.where(same[:, None] == 1, np.minimum(weights[nearest], left), 0)
    return {
        "same_joints_flag": same,
        "influence_count": counts - 1,
        "skin_joint": joints,
        "weight_residual": weights - predicted,
    }


def offset_values(offsets: np.ndarray, neighbour: np.ndarray) -> dict[str, Any]:
    """§5.7 The elements of `expression_offsets`; offsets (N, 3) quantised."""
    moved = offsets.any(axis=1).astype(np.int64)
    return {"offset_flag": moved, "offset_residual": _offset_residuals(moved, offsets, neighbour)}


def surface_neighbours(position: np.ndarray) -> np.ndarray:
    """§7.4 (N, 2) the neighbours of each Gaussian for expressions; position (N, 3) as decoded."""
    neighbour = np.zeros((len(position), 2), np.int64)
    jit.function("find_surface")(position, len(position), neighbour)
    return neighbour


def decoded_positions(chunk: Mapping[str, Any], part: Quantised, steps: Steps) -> np.ndarray:
    """§7.3.2 (N, 3) Q.20 m: the positions that a decoder makes of a chunk."""
    cell, level = np.zeros_like(part.position), np.zeros(len(part.position), np.int64)
    _grow(_keys(part.position), chunk["position_bits"], cell, level)
    place = cell, level, chunk["coarseness"], chunk["position_low"], chunk["chunk_origin"]
    position = np.zeros_like(part.position)
    jit.function("decode_positions")(*place, steps.position, len(cell), 0, position)
    return position


@njit(**jit.OPTIONS)
def _grow(key, bits, cell, cell_level):
    """The flags and counts of the tree in the order in which they are read; fills cell and cell_level."""
    node = np.zeros((64, 6), np.int64)
    node[0, 0], node[0, 1] = len(key), 3 * bits
    one_side = np.empty(3 * bits * len(key) + 1, np.uint8)
    upper = np.empty_like(one_side)
    lower = np.empty(len(key), np.int64)
    flags = uppers = splits = placed = 0
    open_nodes = 1
    while open_nodes > 0:
        size, level = node[open_nodes - 1, 0], node[open_nodes - 1, 1]
        if size <= 1 or level == 0:
            placed = _place_node(node, open_nodes, placed, cell, cell_level)
            open_nodes -= 1
            continue
        low, high = placed, placed + size
        while low < high:
            middle = (low + high) // 2
            if key[middle] >> (level - 1) & 1:
                high = middle
            else:
                low = middle + 1
        count = low - placed
        one_side[flags] = count == 0 or count == size
        if one_side[flags]:
            upper[uppers] = count == 0
            uppers += 1
        else:
            lower[splits] = count
            splits += 1
        flags += 1
        open_nodes = _split_node(node, open_nodes, count)
    return one_side[:flags], upper[:uppers], lower[:splits]


@njit(**jit.OPTIONS)
def _offset_residuals(moved, offsets, neighbour):
    residual, flag, value = np.zeros_like(offsets), np.zeros_like(moved), np.zeros_like(offsets)
    for i in range(len(offsets)):
        for c in range(3):
            if moved[i]:
                residual[i, c] = offsets[i, c] - _moved_mean(flag, value, neighbour, i, c)
        flag[i] = moved[i]  # only now: the first Gaussian is its own neighbour
        value[i] = offsets[i]
    return residual
