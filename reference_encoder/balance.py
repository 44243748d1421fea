"""§5.5 Quantiser steps of which none is too fine for the others, by a model of bits and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

import spec
from reference_encoder.content import Gaussians
from reference_encoder.quantise import Settings, equivalent_axes, spatial_order
from reference_encoder.sensitivity import Sensitivity, thinness, unlikeness

_C = spec.standard().constant_values
_SAMPLE = 3000  # Gaussians that the model looks at
_WINDOW = _C["NEIGHBOUR_WINDOW"]
_COARSER = np.arange(7)  # how often steps may be doubled
_SPARE = (
    0.5  # of the steps that the model finds best: a few Gaussians need them finer than any that it looks at
)
_ROUNDS = 20
_MOVE = 0.5  # octaves


def balanced(gaussians: Gaussians, seen: Sensitivity, theta: float, settings: Settings) -> Settings:
    """§5.5 The settings with steps, opacity power and blur of least modelled cost.

    `theta` is the squared error that a value may make in the pictures (levels squared). Each Gaussian is taken
    to choose its coarseness; a value with spread s coded in steps q costs about log2(1 + (s/q)^2) / 2 bits.
    """
    if theta <= 0 or not seen.opacity.any():
        return settings
    model = _Model(gaussians, seen, theta, settings)
    size = max(float(np.ptp(gaussians.positions, axis=0).max()), 2.0**-16)
    start = np.log2([settings.position_step, settings.scale_step, settings.rotation_step])
    blurs = [settings.scale_blur] if settings.scale_blur else size / 1600 * 2.0 ** np.arange(-2, 3)
    found = [(*_descend(partial(model.geometry, blur), start), blur) for blur in blurs]
    _, steps, blur = min(found, key=lambda result: result[0])
    powers = [settings.opacity_power] if settings.opacity_power else [1, 2, 3]
    start = np.log2([settings.opacity_step, settings.colour_step])
    tried = [(*_descend(partial(model.appearance, power), start), power) for power in powers]
    _, looks, power = min(tried, key=lambda result: result[0])
    position, scale, rotation = (_SPARE * 2.0**steps).tolist()
    opacity, colour = (_SPARE * 2.0**looks).tolist()
    return replace(
        settings,
        position_step=position,
        scale_step=scale,
        rotation_step=rotation,
        scale_blur=float(blur),
        opacity_step=opacity,
        colour_step=colour,
        sh_step=colour * settings.sh_step / settings.colour_step,
        opacity_power=power,
    )


def _descend(cost: Callable[[np.ndarray], float], start: np.ndarray) -> tuple[float, np.ndarray]:
    """The least cost around `start` and where it is, one coordinate moved at a time."""
    place, least = start, cost(start)
    for _ in range(_ROUNDS):
        before = least
        for move in np.concatenate([np.eye(len(start)), -np.eye(len(start))]) * _MOVE:
            if (tried := cost(place + move)) < least:
                place, least = place + move, tried
        if least == before:
            break
    return least, place


class _Model:
    """Modelled bits, and errors of pictures as bits, of a sample of Gaussians."""

    def __init__(self, gaussians: Gaussians, seen: Sensitivity, theta: float, settings: Settings) -> None:
        order = spatial_order(gaussians.positions)
        rows = order[np.linspace(0, len(order) - 1, min(_SAMPLE, len(order))).astype(int)]
        vectors, turns = equivalent_axes(gaussians.rotations)
        thickest = 2.0 ** (_C["LOG_SCALE_MAX"] / 2**16)
        scales = np.einsum("ni,nij->nj", gaussians.scales.clip(settings.smallest_scale, thickest), turns)
        self.price = 2 * np.log(2) * theta
        self.scales = scales[rows]
        self.seen = seen.part(rows)
        self.seen_scale = np.einsum("ni,nij->nj", seen.scale, turns)[rows]
        self.seen_rotation = np.einsum("ni,nij->nj", seen.rotation, turns)[rows]
        self.opacities = gaussians.opacities[rows].clip(0, 1)
        near = _nearest(gaussians.positions[order])
        self.spacing = near[np.argsort(order, kind="stable")][rows][:, None]
        self.scale_spread = 2 * _roughness(np.log2(scales[order]))
        self.turn_spread = 2 * float(np.abs(vectors).mean())
        self.colour_spread = 2 * _roughness(gaussians.sh[order, 0])
        self.all_opacities = gaussians.opacities[order].clip(0, 1)

    def geometry(self, blur: float, logarithms: np.ndarray) -> float:
        """Bits of a Gaussian; binary logarithms of the steps of position, scale and rotation."""
        steps = 2.0**logarithms
        thin, alike = thinness(self.scales, blur), unlikeness(self.scales, blur)
        error = (
            3 * self.seen.position * steps[0] ** 2
            + (self.seen_scale * np.log(2) ** 2 * thin).sum(axis=1) * steps[1] ** 2
            + (self.seen_rotation / alike**2).sum(axis=1) * steps[2] ** 2
        )
        bits = 3 * _bits(0.6 * self.spacing, steps[0])
        for k in range(3):
            bits = bits + _bits(self.scale_spread / np.sqrt(thin[:, k, None]), steps[1])
            bits = bits + _bits(self.turn_spread * alike[:, k, None], steps[2])
        return self._cost(error, bits)

    def appearance(self, power: int, logarithms: np.ndarray) -> float:
        """Bits of a Gaussian; binary logarithms of the steps of opacity and colour."""
        opacity, colour = 2.0**logarithms
        roots = self.opacities ** (1 / power)
        slope = power * np.maximum(roots, 0.02) ** (power - 1)
        error = self.seen.opacity * slope**2 * opacity**2 + 8 * self.seen.colour * colour**2
        spread = 2 * _roughness(self.all_opacities ** (1 / power))
        one = np.ones((1, 1))
        bits = _bits(spread * one, opacity) + _bits(self.colour_spread * one, colour)
        return self._cost(error, bits + 2 * _bits(self.colour_spread * one, 4 * colour))

    def _cost(self, error: np.ndarray, bits: np.ndarray) -> float:
        each = error[:, None] / 12 * 4.0**_COARSER + self.price * bits
        return float(each.min(axis=1).mean()) / self.price


def _bits(spread: np.ndarray, step: float) -> np.ndarray:
    """(N, 7) bits of a value for each coarseness; spread (N, 1)."""
    return 0.5 * np.log2(1 + (spread / (step * 2.0**_COARSER)) ** 2)


def _roughness(values: np.ndarray) -> float:
    """The mean difference of a value and the one before it."""
    return float(np.abs(np.diff(values, axis=0)).mean()) if len(values) > 1 else 1.0


def _nearest(points: np.ndarray) -> np.ndarray:
    """(N,) how far the nearest of the points just before each one is; points (N, 3)."""
    least = np.full(len(points), np.inf)
    for back in range(1, min(_WINDOW, len(points) - 1) + 1):
        least[back:] = np.minimum(least[back:], np.linalg.norm(points[back:] - points[:-back], axis=1))
    least[0] = least[1] if len(points) > 1 else 1.0
    return least
