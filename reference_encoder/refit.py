"""§7.3.6 Colours that make up in pictures for what the quantisation of everything else has spoilt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reference_decoder.canonical import Canonical
from reference_decoder.rendering import project
from reference_encoder.blending import Blending, blending, in_threads
from reference_encoder.quantise import to_integers
from reference_encoder.sensitivity import DC, View

_HOLD = 0.01  # squared shares of a Gaussian in a picture that count as much as the colour that it had


def refit_colours(
    decoded: Canonical,
    views: Sequence[View],
    pictures: Sequence[np.ndarray],
    colours: np.ndarray,
    rounds: int,
) -> np.ndarray:
    """§7.3.6 (N, 3) coefficients of band 0 with which decoded Gaussians look most like `pictures`.

    `views` show the decoded Gaussians, `colours` (N, 3) are those of the source in their order. Least
    squares by conjugate gradients (Hestenes and Stiefel 1952), scaled by the diagonal, `rounds` steps from `colours`.
    """
    sh = np.array(decoded.sh)
    sh[:, 0] = to_integers(colours, 2.0**-12).clip(-32767, 32767)

    def error(pair: tuple[View, np.ndarray]) -> tuple[Blending, np.ndarray]:
        view, picture = pair
        parts, made = blending(decoded_projected(decoded, view, sh), view.camera)
        return parts, picture - made

    found = in_threads(error, list(zip(views, pictures, strict=True)))
    return colours + _least_squares(found, len(colours), rounds) / DC


def decoded_projected(decoded: Canonical, view: View, sh: np.ndarray | None = None) -> np.ndarray:
    """§9.6 (M, 11) the projected list of decoded Gaussians, with other coefficients if `sh` is given."""
    factors = to_integers(view.blends @ decoded.factor, 1)
    mean, blends = to_integers(view.positions, 2.0**-20), to_integers(view.blends, 2.0**-30)
    colours = decoded.sh if sh is None else sh
    return project(mean, factors, blends, decoded.opacity, colours, view.camera).records


def _least_squares(found: Sequence[tuple[Blending, np.ndarray]], count: int, rounds: int) -> np.ndarray:
    """(N, 3) the change of colours that leaves least of the errors of pictures, and is small where few pixels ask."""
    hold = _HOLD * len(found)
    scale = 1 / (hold + np.sum([parts.squares(count) for parts, _ in found], axis=0))[:, None]

    def normal(change: np.ndarray) -> np.ndarray:
        each = in_threads(lambda pair: pair[0].gather(pair[0].mix(change, len(pair[1])), count), found)
        return np.sum(each, axis=0) + hold * change

    change = np.zeros((count, 3))
    residual = np.sum(in_threads(lambda pair: pair[0].gather(pair[1], count), found), axis=0)
    direction = step = scale * residual
    energy = (residual * step).sum(axis=0)
    for _ in range(rounds):
        turned = normal(direction)
        length = energy / np.maximum((direction * turned).sum(axis=0), 1e-300)
        change += length * direction
        residual = residual - length * turned
        step = scale * residual
        last, energy = energy, (residual * step).sum(axis=0)
        direction = step + energy / np.maximum(last, 1e-300) * direction
    return change
