"""§7.3.5, §7.3.6 Opacities and colours that make up in pictures for what is spoilt elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_decoder import Camera
from reference_decoder.canonical import Canonical
from reference_decoder.rendering import project
from reference_encoder.blending import Blending, blending, in_threads
from reference_encoder.quantise import to_integers
from reference_encoder.sensitivity import DC, View

_HOLD = 0.01  # squared shares of a Gaussian in a picture that count as much as the colour that it had
_HOLD_OPACITY = 0.001  # squared changes of a picture that count as much as the opacity that it had


def refit(
    records: Sequence[np.ndarray],
    cameras: Sequence[Camera],
    pictures: Sequence[np.ndarray],
    free: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """§7.3.5, §7.3.6 (N, 4) changes of colours, in coefficients of band 0, and opacities: `pictures` are met best.

    `records` (M, 11) are the projected list of §9.6 for each camera; what is not `free` (N, 4) stays. Least squares
    around the looks that the Gaussians have, by conjugate gradients (Hestenes and Stiefel 1952) scaled by the
    diagonal, `rounds` steps.
    """

    def error(view: tuple[np.ndarray, Camera, np.ndarray]) -> tuple[Blending, np.ndarray]:
        record, camera, picture = view
        parts, made = blending(record, camera)
        return parts, picture - made

    found = in_threads(error, list(zip(records, cameras, pictures, strict=True)))
    return _least_squares(found, free, rounds) / [DC, DC, DC, 1]


def decoded_projected(decoded: Canonical, view: View) -> np.ndarray:
    """§9.6 (M, 11) the projected list of decoded Gaussians."""
    factors = to_integers(view.blends @ decoded.factor, 1)
    mean, blends = to_integers(view.positions, 2.0**-20), to_integers(view.blends, 2.0**-30)
    return project(mean, factors, blends, decoded.opacity, decoded.sh, view.camera).records


def _least_squares(found: Sequence[tuple[Blending, np.ndarray]], free: np.ndarray, rounds: int) -> np.ndarray:
    """(N, 4) the change of looks that leaves least of the errors of pictures, and is small where few pixels ask."""
    hold, count = len(found) * np.array([_HOLD, _HOLD, _HOLD, _HOLD_OPACITY]), len(free)
    scale = free / (hold + np.sum([parts.squares(count) for parts, _ in found], axis=0))

    def normal(change: np.ndarray) -> np.ndarray:
        each = in_threads(lambda pair: pair[0].gather(pair[0].mix(change, len(pair[1])), count), found)
        return np.sum(each, axis=0) + hold * change

    change = np.zeros((count, 4))
    residual = np.sum(in_threads(lambda pair: pair[0].gather(pair[1], count), found), axis=0)
    direction = step = scale * residual
    energy = float((residual * step).sum())
    for _ in range(rounds):
        turned = normal(direction)
        length = energy / max(float((direction * turned).sum()), 1e-300)
        change += length * direction
        residual = residual - length * turned
        step = scale * residual
        last, energy = energy, float((residual * step).sum())
        direction = step + energy / max(last, 1e-300) * direction
    return change
